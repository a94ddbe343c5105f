"""Transactions in blocks, read once: kept while the block that they are in is part of the chain."""

from __future__ import annotations

from collections.abc import Mapping

from exchange_kernel.value import Value
from exchange_kernel_evm.finality import Mined
from exchange_kernel_evm.rpc import Block

__all__ = ["Included", "on_branch"]

KEPT = 2_000
"""Transactions that are kept; beyond them the one that was kept first is read again."""


class _Kept(Value, frozen=True):
    """``at``, ``number``: hash and height of the newest block in whose branch it was seen."""

    mined: Mined
    at: str
    number: int
    final: bool = False


def on_branch(block_hash: str, number: int, head: Block | None, headers: Mapping[str, Block]) -> bool | None:
    """Is this block an ancestor of ``head``, or ``head`` itself? None where a header between them is not known."""
    at = head
    while at is not None and at.number > number:
        at = headers.get(at.parent)
    return None if at is None else at.hash == block_hash


class Included:
    """What is known of transactions in blocks. ``headers``: by hash, those that were read."""

    def __init__(self, headers: Mapping[str, Block]) -> None:
        self._headers = headers
        self._kept: dict[str, _Kept] = {}

    def keep(self, mined: Mined, head: Block) -> None:
        """It was read just now, from a node whose newest block was ``head``."""
        self._kept.pop(mined.hash, None)
        newer = head.number > mined.block
        self._kept[mined.hash] = _Kept(
            mined, head.hash if newer else mined.block_hash, head.number if newer else mined.block
        )
        if len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]

    def get(self, tx_hash: str, head: Block | None, final: int) -> Mined | None:
        """It, where it is in the branch that ends in ``head``; None where that must be asked. ``final``: height of the
        newest final block of that branch."""
        kept = self._kept.get(tx_hash)
        if kept is None or kept.final:
            return None if kept is None else kept.mined
        mined = kept.mined
        if head is None or not on_branch(kept.at, kept.number, head, self._headers):
            return None
        self._kept[tx_hash] = _Kept(mined, head.hash, head.number, mined.block <= final)
        return mined
