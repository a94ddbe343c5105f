"""Many reads of contracts in one, all of the same block: Multicall3's ``aggregate3``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exchange_kernel.errors import Unavailable
from exchange_kernel.value import Value
from exchange_kernel_evm.abi import Function
from exchange_kernel_evm.answers import Meaning, NodeError
from exchange_kernel_evm.endpoint import Request

__all__ = [
    "AGGREGATE3",
    "BLOCK_HASH",
    "BLOCK_NUMBER",
    "BLOCK_TIME",
    "ETH_BALANCE",
    "Read",
    "Result",
    "at_block",
    "read_results",
    "request",
]

AGGREGATE3 = Function.of("aggregate3", ["(address,bool,bytes)[]"], ["(bool,bytes)[]"])
ETH_BALANCE = Function.of("getEthBalance", ["address"], ["uint256"])
BLOCK_NUMBER = Function.of("getBlockNumber", [], ["uint256"])
BLOCK_TIME = Function.of("getCurrentBlockTimestamp", [], ["uint256"])
BLOCK_HASH = Function.of("getBlockHash", ["uint256"], ["bytes32"])


class Read(Value, frozen=True):
    """One call of a contract. ``may_fail``: a revert of it is an answer, and not the end of all of them."""

    to: str
    function: Function
    arguments: tuple[Any, ...] = ()
    may_fail: bool = False


class Result(Value, frozen=True):
    """What one read returned; ``values`` is None where it reverted, with ``data``, or where no contract answered."""

    values: tuple[Any, ...] | None
    data: bytes = b""


def at_block(block_hash: str) -> dict[str, Any]:
    """The parameter that pins a read to one block, whatever becomes of its height (EIP-1898)."""
    return {"blockHash": block_hash, "requireCanonical": True}


def request(multicall3: str, reads: Sequence[Read], block: object, *, sender: str | None = None) -> Request:
    """One ``eth_call`` for all of them. ``block``: a tag, a number in hex, or :func:`at_block`."""
    rows = [(read.to, read.may_fail, read.function.call(*read.arguments)) for read in reads]
    call = {"to": multicall3, "data": "0x" + AGGREGATE3.call(rows).hex()}
    if sender is not None:
        call["from"] = sender
    return "eth_call", [call, block]


def read_results(answer: object, reads: Sequence[Read]) -> list[Result]:
    """Raises Unavailable where the call failed as a whole, or its answer is not one for these reads."""
    if isinstance(answer, NodeError):
        known = answer.meaning in (Meaning.NO_BLOCK, Meaning.NO_STATE)
        raise Unavailable(f"{answer.endpoint}: {'does not have the block' if known else answer.message}")
    try:
        (rows,) = AGGREGATE3.result(bytes.fromhex(str(answer)[2:]))
    except ValueError:
        raise Unavailable("a node's answer to aggregate3 is no data") from None
    if len(rows) != len(reads):
        raise Unavailable(f"aggregate3 answered {len(rows)} of {len(reads)} reads")
    return [_result(read, ok, data) for read, (ok, data) in zip(reads, rows, strict=True)]


def _result(read: Read, ok: bool, data: bytes) -> Result:
    nobody = read.may_fail and not data and read.function.returns  # an address without code succeeds, and says nothing
    return Result(read.function.result(data) if ok and not nobody else None, data)
