"""The stream of an account: what each new block did to it, what a reorganisation took back, and what became final."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from exchange_kernel.errors import RateLimited, Unavailable
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    AccountSnapshot,
    Executed,
    FillVoided,
    Gap,
    Ms,
    OrderReport,
    VenueEvent,
    Watermark,
    Why,
)
from exchange_kernel_evm import reports
from exchange_kernel_evm.answers import NodeError
from exchange_kernel_evm.finality import Branch, Mined
from exchange_kernel_evm.heads import Heads
from exchange_kernel_evm.ledger import Ledger, State
from exchange_kernel_evm.lookups import Lookups, unsigned_of
from exchange_kernel_evm.rpc import Block
from exchange_kernel_evm.transactions import Unsigned, key_of
from exchange_kernel_evm.venue import OnChainVenue, Outcome, Resting, Rests, Terms

__all__ = ["Follow"]

MAX_CATCH_UP = 64
"""Blocks that are followed one by one; after a longer silence the kernel looks instead (a Gap)."""


@dataclass(slots=True)
class _Tracked:
    """A transaction of ours in a block that is not final yet, or one that has ended by another that is not."""

    tx: Unsigned
    terms: Terms
    outcome: Outcome
    mined: Mined


@dataclass(slots=True)
class _Known:
    """What the stream knows while it runs. All of it can be read again: it is here to see what changed."""

    branch: Branch = field(default_factory=Branch)
    tracked: dict[str, _Tracked] = field(default_factory=dict)
    resting: dict[str, Rests] | None = None
    next: int = -1
    seen: Ms = 0


class Follow:
    """The events of one account. ``balances``: the account as it is; ``alive``: False ends the stream."""

    def __init__(
        self,
        ledger: Ledger,
        lookups: Lookups,
        venue: OnChainVenue,
        heads: Heads,
        alive: Callable[[], bool],
        balances: Callable[[], Any],
    ) -> None:
        self._ledger, self._lookups, self._venue, self._heads = ledger, lookups, venue, heads
        self._alive, self._balances = alive, balances

    async def events(self) -> AsyncIterator[VenueEvent]:
        """``Gap`` first, then what happens; ``Gap`` again whenever something may have been missed."""
        known, rows, begun = _Known(), None, False
        while self._alive():
            try:
                state = await self._ledger.state()
                if not begun or (known.branch.head and state.head.number - known.branch.head.number > MAX_CATCH_UP):
                    why = "blocks were missed" if begun else "subscribed"
                    known, begun = _Known(seen=known.seen), True
                    known.branch.add([state.head])
                    known.next = state.next
                    yield VenueEvent(state.head.time, None, Gap(known.seen, None, why))
                elif known.branch.head is None or state.head.hash != known.branch.head.hash:
                    async for body in self._advance(known, state):
                        yield VenueEvent(state.head.time, None, body)
                elif rows is not None:  # nothing changes between blocks
                    await self._heads.wait()
                    continue
                known.seen = state.head.time
                async for report in self._resting(known, state):
                    yield VenueEvent(state.head.time, None, report)
                snapshot: AccountSnapshot = await self._balances()
                if snapshot.balances != rows:
                    rows = snapshot.balances
                    yield VenueEvent(state.head.time, None, revised(snapshot, complete=False))
            except (Unavailable, RateLimited, NodeError) as error:
                begun = False
                yield VenueEvent(known.seen, None, Gap(known.seen, None, str(error)))
            await self._heads.wait()

    async def _advance(self, known: _Known, state: State) -> AsyncIterator[Any]:
        line = await self._line(known, state.head)
        step = known.branch.add(line)
        if step.gap is not None:
            raise Unavailable(f"the blocks from {step.gap} on are not a line")
        seen = state.seen(self._ledger.chain.native)
        for block in step.gone:
            for tx_hash in [h for h, each in known.tracked.items() if each.mined.block_hash == block.hash]:
                gone = known.tracked.pop(tx_hash)
                for body in self._voided(gone, state):
                    yield body
            for tx_hash, each in list(known.tracked.items()):
                if each.outcome.ended is not None and each.outcome.ended.block_hash == block.hash:
                    del known.tracked[tx_hash]  # it rests again
        if step.gone or state.next != known.next:
            for block in step.fresh:
                async for report in self._block(known, block, state):
                    yield report
        known.next = state.next
        for tx_hash, each in list(known.tracked.items()):
            if (each.outcome.ended or each.mined).block <= state.final.number:
                del known.tracked[tx_hash]
                if each.outcome.status.terminal:
                    yield self._report(each, state)
        yield Watermark(ledger_ms=state.final.time, height=seen.final)

    async def _resting(self, known: _Known, state: State) -> AsyncIterator[OrderReport]:
        """Orders that rest and stand otherwise than in the block before: executions come, and go back, without any
        transaction of the account. And those that rest no more."""
        if not isinstance(self._venue, Resting):
            return
        seen, before = state.seen(self._ledger.chain.native), known.resting
        rows = {each.mined.hash: each for each in await self._venue.open_orders(self._ledger)}
        known.resting = rows
        if before is None:
            return
        for tx_hash, each in rows.items():
            was = before.get(tx_hash)
            if was is None or _stands(was) != _stands(each):
                yield reports.rests(each, seen)
        gone = [each for tx_hash, each in before.items() if tx_hash not in rows]
        if not gone:
            return
        mined = await self._ledger.included([each.mined.hash for each in gone], state)
        for each in gone:
            at = mined.get(each.mined.hash)
            if at is None:  # a reorganisation took its own block
                continue
            outcome = await self._lookups.outcome(key_of(each.tx.data), each.terms, at)
            tracked = _Tracked(each.tx, each.terms, outcome, at)
            if tracked.outcome.status.terminal:
                known.tracked[at.hash] = tracked
                yield self._report(tracked, state)

    async def _line(self, known: _Known, head: Block) -> list[Block]:
        """The blocks from the newest common one to the head, oldest first."""
        line, newest = [head], known.branch.head
        while newest is not None and not known.branch.has(line[0].parent) and line[0].number > 0:
            if len(line) > MAX_CATCH_UP + known.branch.kept:
                break
            _, (row,) = await self._ledger.rpc.read([("eth_getBlockByHash", (line[0].parent, False))])
            if row is None or isinstance(row, NodeError):
                raise Unavailable(f"the parent of block {line[0].number} is not known")
            line.insert(0, Block.of(row))
            self._ledger.rpc.remember(line[0])
            if line[0].number <= known.branch.oldest:
                break
        return line

    async def _block(self, known: _Known, block: Block, state: State) -> AsyncIterator[OrderReport]:
        row = await self._ledger.block_with(block.number)
        if row["hash"] != block.hash:
            raise Unavailable(f"block {block.number} changed while it was read")
        mine = [tx for tx in row["transactions"] if str(tx["from"]).lower() == self._ledger.address.lower()]
        mined = await self._ledger.included([str(tx["hash"]) for tx in mine], state)
        for tx in mine:
            at = mined.get(str(tx["hash"]).lower())
            if at is None or at.block_hash != block.hash:
                raise Unavailable(f"block {block.number} changed while it was read")
            tracked = await self._tracked(tx, at)
            if tracked is not None:
                known.tracked[at.hash] = tracked
                yield self._report(tracked, state)

    async def _tracked(self, row: Mapping[str, Any], mined: Mined) -> _Tracked | None:
        tx = unsigned_of(row)
        terms = self._venue.terms(tx)
        if terms is None:
            return None
        return _Tracked(tx, terms, await self._lookups.outcome(key_of(tx.data), terms, mined), mined)

    def _report(self, each: _Tracked, state: State) -> OrderReport:
        seen = state.seen(self._ledger.chain.native)
        return reports.order(key_of(each.tx.data), each.tx.nonce, (), each.terms, each.mined, each.outcome, seen)

    def _voided(self, gone: _Tracked, state: State) -> list[FillVoided | OrderReport]:
        """Its fills never were; its bytes stay valid, and whoever sends them again does the same order."""
        fills = range(len(gone.outcome.trades))
        out: list[FillVoided | OrderReport] = [
            FillVoided(reports.fill_id(gone.mined, n), gone.mined.block, Why.OTHER) for n in fills
        ]
        seen = state.seen(self._ledger.chain.native)
        key, nonce = key_of(gone.tx.data), gone.tx.nonce
        back = reports.pending(key, nonce, [gone.mined.hash], gone.terms, seen)
        return [*out, revised(back, text="a reorganisation took its block", tentative=Executed())]


def _stands(each: Rests) -> tuple[object, ...]:
    return each.outcome.status, each.outcome.tentative, each.outcome.need is None
