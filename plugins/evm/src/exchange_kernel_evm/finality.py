"""Which block is final, what a reorganisation took, and whose transaction used a number. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from exchange_kernel.errors import Unavailable
from exchange_kernel.value import Value
from exchange_kernel_evm.chains import Chain
from exchange_kernel_evm.endpoint import Answer, Request
from exchange_kernel_evm.rpc import Block

__all__ = ["Branch", "Mined", "Step", "final_block", "final_request", "who_used"]


class Mined(Value, frozen=True):
    """A transaction in a block. ``at``: the block's time, ms UTC; ``gas``: wei paid; ``logs`` as the node has them.

    The block's hash is kept: what is at a height can change, what is in a block can't.
    """

    hash: str
    block: int
    block_hash: str
    at: int
    ok: bool
    gas: int
    logs: tuple[Any, ...] = ()


def final_request(chain: Chain) -> list[Request]:
    """What must be read, with the newest block, to know the final one."""
    return [("eth_getBlockByNumber", ("finalized", False))] if chain.finality.tag else []


def final_block(chain: Chain, head: Block, answers: Sequence[Answer]) -> int:
    """Height of the newest final block; -1 where there is none yet. Raises Unavailable."""
    if not chain.finality.tag:
        return max(-1, head.number - chain.finality.confirmations)
    return min(Block.of(answers[0]).number, head.number)


class Step(Value, frozen=True):
    """What a new block did to the branch: ``gone`` blocks are in it no more, newest first; ``fresh`` ones are, oldest
    first. ``gap``: the blocks between are not known, and must be read first, from this height on."""

    gone: tuple[Block, ...] = ()
    fresh: tuple[Block, ...] = ()
    gap: int | None = None


class Branch:
    """The newest blocks, as one line of parents. ``keep``: how many; beyond them nothing is noticed."""

    def __init__(self, keep: int = 128) -> None:
        self._keep = keep
        self._blocks: list[Block] = []

    @property
    def head(self) -> Block | None:
        """The newest block."""
        return self._blocks[-1] if self._blocks else None

    @property
    def kept(self) -> int:
        """How many blocks are here."""
        return len(self._blocks)

    @property
    def oldest(self) -> int:
        """Height of the oldest block here; -1 for none."""
        return self._blocks[0].number if self._blocks else -1

    def has(self, block_hash: str) -> bool:
        """Is this block one of them?"""
        return any(block.hash == block_hash for block in self._blocks)

    def add(self, blocks: Iterable[Block]) -> Step:
        """Take a line of blocks, oldest first, each the parent of the next.

        Where the first one's parent is not known it is a gap, unless it is older than everything here.
        """
        line = list(blocks)
        for parent, child in itertools.pairwise(line):
            if child.parent != parent.hash:
                raise Unavailable(f"block {child.number} is not the child of the block read before it")
        if not line:
            return Step()
        if not self._blocks:
            self._blocks = line[-self._keep :]
            return Step(fresh=tuple(line))
        known = {block.hash: place for place, block in enumerate(self._blocks)}
        line = [block for block in line if block.hash not in known] if line[-1].hash not in known else [line[-1]]
        if line[-1].hash in known:  # the head went back to a block known before, and nothing new is on it
            place = known[line[-1].hash]
            gone = self._blocks[place + 1 :]
            self._blocks = self._blocks[: place + 1]
            return Step(gone=tuple(reversed(gone)))
        parent_place = known.get(line[0].parent)
        if parent_place is None:
            if line[0].number > self._blocks[0].number:
                return Step(gap=max(self._blocks[0].number, line[0].number - self._keep // 2))
            gone, self._blocks = self._blocks, line[-self._keep :]
        else:
            gone = self._blocks[parent_place + 1 :]
            self._blocks = (self._blocks[: parent_place + 1] + line)[-self._keep :]
        return Step(gone=tuple(reversed(gone)), fresh=tuple(line))


def who_used(transactions: Iterable[Any], address: str, nonce: int) -> Mapping[str, Any] | None:
    """The transaction with this number among a block's, or None."""
    for row in transactions:
        mine = isinstance(row, dict) and str(row.get("from", "")).lower() == address.lower()
        if mine and int(row["nonce"], 16) == nonce:
            found: Mapping[str, Any] = row
            return found
    return None
