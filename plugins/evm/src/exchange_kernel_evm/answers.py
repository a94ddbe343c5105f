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
        "geth core/txpool/errors.go",
        (_M.KNOWN, r"already known"),
        (_M.REPLACEMENT_UNDERPRICED, r"replacement transaction underpriced"),
        (_M.UNDERPRICED, r"transaction underpriced|transaction gas price below minimum"),
        (_M.GAS_LIMIT, r"exceeds block gas limit"),
        (_M.SIZE, r"oversized data"),
        (_M.POOL_FULL, r"account limit exceeded|future transaction tries to replace pending"),
        (_M.NONCE_TOO_HIGH, r"in-flight transaction limit"),
    ),
    *_rows(
        "geth core/txpool/legacypool/legacypool.go",
        (_M.POOL_FULL, r"txpool is full"),
        (_M.NONCE_TOO_HIGH, r"gapped-nonce tx"),
    ),
    *_rows(
        "geth core/txpool/validation.go",
        (_M.UNDERPRICED, r"gas tip cap \d+, minimum needed"),
        (_M.FUNDS, r"overshot"),
    ),
    *_rows(
        "geth core/error.go",
        (_M.NONCE_TOO_LOW, r"nonce too low"),
        (_M.NONCE_TOO_HIGH, r"nonce too high"),
        (_M.GAS_LIMIT, r"gas limit reached|transaction gas limit too high"),
        (_M.FUNDS, r"insufficient funds for (?:gas|transfer)"),
        (_M.SIZE, r"max initcode size exceeded"),
        (_M.INTRINSIC_GAS, r"intrinsic gas too low|floor data gas cost"),
        (_M.TIP_ABOVE_FEE, r"max priority fee per gas higher than max fee per gas"),
        (_M.BELOW_BASE_FEE, r"max fee per gas less than block base fee"),
    ),
    *_rows(
        "geth internal/ethapi/api.go (checkTxFee, SubmitTransaction), core/types/transaction_signing.go",
        (_M.FEE_CAP, r"exceeds the configured cap"),
        (_M.WRONG_CHAIN, r"invalid chain id|only replay-protected"),
    ),
    *_rows(
        "geth core/vm/errors.go, internal/ethapi/errors.go, trie/errors.go, eth/state_accessor.go, eth/api_backend.go",
        (_M.REVERTED, r"execution reverted"),
        (_M.NO_STATE, r"missing trie node|state .*is not available|historical state .*not available"),
        (_M.NO_BLOCK, r"header not found|block not found|unknown block|header for hash not found"),
        (_M.NO_METHOD, r"the method .* does not exist"),
    ),
    *_rows(
        "erigon txnprovider/txpool/txpoolcfg/txpoolcfg.go, DiscardReason.String; some with geth's words",
        (_M.KNOWN, r"existing txn? with same hash"),
        (_M.REPLACEMENT_UNDERPRICED, r"could not replace existing tx"),
        (_M.UNDERPRICED, r"^underpriced$|fee too low"),
        (_M.POOL_FULL, r"(?:pending|basefee|queued) sub-pool is full|^spammer$"),
        (_M.INTRINSIC_GAS, r"intrinsicgas\b"),
        (_M.GAS_LIMIT, r"gas limit is too high"),
        (_M.FUNDS, r"insufficient funds"),
        (_M.SIZE, r"rlptoolong|initcode too large"),
    ),
    Row(
        Meaning.NO_STATE,
        r"old data not available",
        None,
        "erigon db/state, HistoryReaderV3: PrunedError",
    ),
    *_rows(
        "nethermind src/Nethermind/Nethermind.TxPool/TxPoolErrorMessages.cs (most are geth's words)",
        (_M.NONCE_TOO_HIGH, r"nonce too far in future|delegation nonce gap"),
        (_M.SIZE, r"transaction too large"),
    ),
    *_rows(
        "nethermind src/Nethermind/Nethermind.TxPool/AcceptTxResult.cs as it was before it had geth's words: its names",
        (_M.KNOWN, r"alreadyknown"),
        (_M.REPLACEMENT_UNDERPRICED, r"replacementnotallowed"),
        (_M.UNDERPRICED, r"feetoolow(?:tocompete)?\b"),
        (_M.NONCE_TOO_LOW, r"oldnonce"),
        (_M.NONCE_TOO_HIGH, r"noncegap|noncetoofarinfuture"),
        (_M.FUNDS, r"insufficientfunds"),
        (_M.GAS_LIMIT, r"gaslimitexceeded"),
        (_M.SIZE, r"maxtxsizeexceeded"),
    ),
    *_rows(
        "nethermind src/Nethermind/Nethermind.Core/Messages/TxErrorMessages.cs",
        (_M.INTRINSIC_GAS, r"intrinsicgastoolow|gas below floor data cost"),
        (_M.TIP_ABOVE_FEE, r"invalidmaxpriorityfeepergas"),
        (_M.WRONG_CHAIN, r"invalidtxchainid"),
    ),
    *_rows(
        "besu ethereum/api/…/jsonrpc/internal/response/RpcErrorType.java; some with geth's words",
        (_M.KNOWN, r"known transaction"),
        (_M.INTRINSIC_GAS, r"intrinsic gas exceeds gas limit"),
        (_M.FUNDS, r"upfront cost exceeds account balance"),
        (_M.RANGE, r"exceeds maximum rpc range limit|exceeds max batch size"),
        (_M.UNDERPRICED, r"gas price below configured minimum"),
        (_M.BELOW_BASE_FEE, r"gas price below current base fee"),
        (_M.WRONG_CHAIN, r"wrong chainid|chainid (?:not supported|is required)"),
        (_M.FEE_CAP, r"transaction fee cap exceeded"),
        (_M.TIP_ABOVE_FEE, r"max priority fee per gas exceeds max fee per gas"),
        (_M.NONCE_TOO_HIGH, r"nonce is too distant|invalid transaction with a lower nonce exists"),
        (_M.NO_STATE, r"world state unavailable|initial sync is still in progress"),
    ),
    *_rows(
        "besu ethereum/core/…/mainnet/MainnetTransactionValidator.java",
        (_M.FUNDS, r"up-front cost .* exceeds transaction sender account balance"),
    ),
    *_rows(
        "reth crates/rpc/rpc-eth-types/src/error/mod.rs (RpcPoolError, RpcInvalidTransactionError, EthApiError); most "
        "are geth's words",
        (_M.GAS_LIMIT, r"intrinsic gas too high|exceeds max transaction gas limit|\bgas limit too high"),
        (_M.UNDERPRICED, r"priority fee below minimum required"),
        (_M.NO_STATE, r"pruned history unavailable"),
    ),
    *_rows(
        "anvil crates/anvil/src/eth/error.rs (BlockchainError, InvalidTransactionError, PoolError); many are geth's",
        (_M.KNOWN, r"already imported"),
        (_M.REPLACEMENT_UNDERPRICED, r"insufficient gas price to replace existing transaction"),
        (_M.GAS_LIMIT, r"gas limit is greater than the block gas limit"),
        (_M.WRONG_CHAIN, r"signed for another chain"),
        (_M.NO_BLOCK, r"blockoutofrange|resource not found"),
        (_M.NO_STATE, r"required data unavailable"),
        (_M.NO_METHOD, r"method not found|rpc endpoint not implemented"),
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
    Row(Meaning.NO_STATE, "", 4444, "reth crates/rpc/rpc-eth-types/src/error/mod.rs; EIP-4444"),
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
