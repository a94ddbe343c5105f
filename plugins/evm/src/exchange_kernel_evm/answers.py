"""What a node answers instead of a result, put into words by a table.

A refusal is never a verdict (R10): another node may have the transaction, and the bytes stay valid. So no row says that
a transaction had no effect; the rows say what to do next. An answer without a row: nobody knows.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

from exchange_kernel.value import Value

__all__ = ["ROWS", "Meaning", "NodeError", "Row", "meaning", "revert_data"]


class Meaning(StrEnum):
    """What an error of ``eth_sendRawTransaction``, or of a read, says."""

    KNOWN = "known"
    """The node has these very bytes."""
    NONCE_TOO_LOW = "nonce too low"
    """The number is used: by whom, only a look can tell."""
    NONCE_TOO_HIGH = "nonce too high"
    REPLACEMENT_UNDERPRICED = "replacement underpriced"
    UNDERPRICED = "underpriced"
    BELOW_BASE_FEE = "below base fee"
    TIP_ABOVE_FEE = "tip above fee cap"
    FUNDS = "insufficient funds"
    INTRINSIC_GAS = "intrinsic gas"
    GAS_LIMIT = "gas above block limit"
    FEE_CAP = "exceeds the node's fee cap"
    POOL_FULL = "pool full"
    WRONG_CHAIN = "wrong chain"
    SIZE = "too large"
    REVERTED = "reverted"
    RATE_LIMIT = "rate limit"
    NO_STATE = "state not kept"
    NO_BLOCK = "block not known"
    NO_METHOD = "no such method"
    AUTH = "not authorized"
    RANGE = "range too wide"
    UNKNOWN = "unknown"


class NodeError(Exception):
    """A JSON-RPC error. ``endpoint`` names the node without its secrets; ``retry_after`` in seconds, where told."""

    def __init__(self, endpoint: str, code: int, message: str, data: object = None, retry_after: float = 0.0) -> None:
        super().__init__(f"{endpoint}: {message} ({code})")
        self.endpoint, self.code, self.message, self.data, self.retry_after = endpoint, code, message, data, retry_after
        self.meaning = meaning(code, message)


class Row(Value, frozen=True):
    """One row: a pattern of the message, or an error code alone, what it means, and where it is written."""

    meaning: Meaning
    pattern: str
    code: int | None
    source: str


def _rows(source: str, *rows: tuple[Meaning, str]) -> tuple[Row, ...]:
    return tuple(Row(means, pattern, None, source) for means, pattern in rows)


_M = Meaning
ROWS: tuple[Row, ...] = (
    *_rows(
        "geth core/txpool/errors.go, core/error.go, core/txpool/validation.go, internal/ethapi/api.go",
        (_M.KNOWN, r"already known"),
        (_M.REPLACEMENT_UNDERPRICED, r"replacement transaction underpriced"),
        (_M.UNDERPRICED, r"transaction underpriced"),
        (_M.UNDERPRICED, r"gas tip cap .*below"),
        (_M.NONCE_TOO_LOW, r"nonce too low"),
        (_M.NONCE_TOO_HIGH, r"nonce too high"),
        (_M.NONCE_TOO_HIGH, r"in-flight transaction limit|gapped-nonce"),
        (_M.FUNDS, r"insufficient funds for gas"),
        (_M.FUNDS, r"insufficient funds for transfer|overshot"),
        (_M.INTRINSIC_GAS, r"intrinsic gas too low|floor data gas cost"),
        (_M.GAS_LIMIT, r"exceeds block gas limit|transaction gas limit too high"),
        (_M.FEE_CAP, r"exceeds the configured cap"),
        (_M.BELOW_BASE_FEE, r"max fee per gas less than block base fee"),
        (_M.TIP_ABOVE_FEE, r"max priority fee per gas higher than max fee per gas"),
        (_M.POOL_FULL, r"txpool is full"),
        (_M.WRONG_CHAIN, r"invalid chain id|only replay-protected"),
        (_M.SIZE, r"oversized data|max initcode size exceeded"),
        (_M.REVERTED, r"execution reverted"),
        (_M.NO_STATE, r"missing trie node|state .*is not available|historical state .*not available"),
        (_M.NO_BLOCK, r"header not found|block not found|unknown block|header for hash not found"),
        (_M.NO_METHOD, r"the method .* does not exist"),
    ),
    *_rows(
        "erigon txnprovider/txpool/txpoolcfg/txpoolcfg.go, DiscardReason.String",
        (_M.KNOWN, r"existing tx with same hash"),
        (_M.REPLACEMENT_UNDERPRICED, r"could not replace existing tx"),
        (_M.UNDERPRICED, r"fee too low"),
        (
            _M.POOL_FULL,
            r"pending sub-pool is full|basefee sub-pool is full|queued sub-pool is full|account has exceeded",
        ),
        (_M.GAS_LIMIT, r"exceeds max gas|gas limit (?:is )?too big"),
        (_M.FUNDS, r"insufficient funds"),
        (_M.SIZE, r"rlp too long|initcode (?:is )?too (?:large|big)"),
    ),
    *_rows(
        "nethermind src/Nethermind/Nethermind.TxPool/AcceptTxResult.cs",
        (_M.KNOWN, r"already ?known"),
        (_M.REPLACEMENT_UNDERPRICED, r"replacementnotallowed|replacement not allowed"),
        (_M.UNDERPRICED, r"feetoolow(?:tocompete)?\b"),
        (_M.NONCE_TOO_LOW, r"oldnonce"),
        (_M.NONCE_TOO_HIGH, r"noncegap|noncetoofarinfuture|nonce too far in future"),
        (_M.FUNDS, r"insufficientfunds"),
        (_M.GAS_LIMIT, r"gaslimitexceeded"),
        (_M.SIZE, r"maxtxsizeexceeded"),
    ),
    *_rows(
        "besu ethereum/eth TransactionInvalidReason, ethereum/api RpcErrorType",
        (_M.KNOWN, r"transaction already known|known transaction"),
        (_M.NONCE_TOO_LOW, r"nonce below account nonce"),
        (_M.NONCE_TOO_HIGH, r"nonce above (?:sender )?account nonce|nonce too distant"),
        (_M.FUNDS, r"upfront cost exceeds (?:account )?balance"),
        (_M.INTRINSIC_GAS, r"intrinsic gas exceeds gas limit"),
        (_M.UNDERPRICED, r"gas price below configured minimum|gas price below current base fee"),
        (_M.REPLACEMENT_UNDERPRICED, r"gas price too low to replace"),
        (_M.FEE_CAP, r"fee exceeds cap|transaction fee cap exceeded"),
        (_M.WRONG_CHAIN, r"wrong chain ?id"),
        (_M.NO_STATE, r"world state (?:is )?(?:un|not )available"),
    ),
    *_rows(
        "reth crates/rpc/rpc-eth-types/src/error/mod.rs (RpcPoolError, RpcInvalidTransactionError)",
        (_M.KNOWN, r"already imported"),
        (_M.INTRINSIC_GAS, r"call gas cost exceeds the gas limit"),
        (_M.GAS_LIMIT, r"intrinsic gas too high"),
        (_M.FEE_CAP, r"exceeds max (?:configured )?(?:tx )?fee"),
        (_M.NO_STATE, r"state at block .* is pruned|pruned state|old data not available"),
    ),
    *_rows(
        "anvil crates/anvil/src/eth/error.rs (BlockchainError, InvalidTransactionError, PoolError)",
        (_M.KNOWN, r"transaction already imported"),
        (_M.WRONG_CHAIN, r"invalid chain id for signer|chain id mismatch"),
        (_M.FUNDS, r"insufficient funds for gas \* price \+ value"),
        (_M.NO_BLOCK, r"blockoutofrange|out of range"),
        (_M.NO_METHOD, r"method not found"),
    ),
    *_rows(
        "hosted providers: Alchemy, Infura, QuickNode, dRPC and Ankr document code -32005 or HTTP 429 and these words",
        (_M.KNOWN, r"already_exists"),
        (_M.RATE_LIMIT, r"rate.?limit|too many requests|exceeded its (?:compute|request)|capacity limit|throughput"),
        (_M.AUTH, r"unauthorized|invalid (?:api|project) (?:key|id)|must be authenticated|forbidden"),
        (_M.RANGE, r"block range|query returned more than|range is too (?:large|wide)"),
        (_M.NO_STATE, r"archive"),
    ),
    Row(Meaning.REVERTED, "", 3, "geth internal/ethapi/errors.go: code 3 carries revert data"),
    Row(Meaning.NO_METHOD, "", -32601, "JSON-RPC 2.0, section 5.1"),
    Row(Meaning.RATE_LIMIT, "", -32005, "EIP-1474: limit exceeded"),
    Row(Meaning.RATE_LIMIT, "", 429, "RFC 6585, section 4"),
    Row(Meaning.AUTH, "", 401, "RFC 9110, section 15.5.2"),
    Row(Meaning.AUTH, "", 403, "RFC 9110, section 15.5.4"),
)
"""Every row. Words come before codes: many nodes answer everything with one code."""

_PATTERNS = [(re.compile(row.pattern, re.IGNORECASE), row.meaning) for row in ROWS if row.pattern]
_CODES = {row.code: row.meaning for row in ROWS if row.code is not None}
_FIRST = (
    # "fee too low to replace" is about a replacement, "insufficient funds" about money, whatever else they say.
    Meaning.REPLACEMENT_UNDERPRICED,
    Meaning.BELOW_BASE_FEE,
    Meaning.KNOWN,
)


def meaning(code: int, message: str) -> Meaning:
    """What a node's error means; ``UNKNOWN`` where no row fits."""
    found = [means for pattern, means in _PATTERNS if pattern.search(message)]
    for each in _FIRST:
        if each in found:
            return each
    return found[0] if found else _CODES.get(code, Meaning.UNKNOWN)


def revert_data(error: NodeError) -> bytes | None:
    """The data a call reverted with, or None where it did not revert or the node does not tell."""
    data: Any = error.data
    if isinstance(data, dict):
        data = data.get("data", data.get("result"))
    if not isinstance(data, str) or error.meaning is not Meaning.REVERTED:
        return None
    try:
        return bytes.fromhex(data.removeprefix("Reverted ").removeprefix("0x"))
    except ValueError:
        return None
