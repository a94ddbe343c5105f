"""An order that was seen, and that its venue forgot before anybody could ask what became of it (R16)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from exchange_kernel.base import Resolution
from exchange_kernel.errors import IntentConflict
from exchange_kernel.kernel import Kernel
from exchange_kernel.models import IntentStatus
from exchange_kernel.venue import Absent, Found, History, Lookup, OrderReport, Ref
from tests.interleavings.desk import Desk, Process, buy, play

KEPT_MS = 20_000


class NoHistory:
    """The paper venue without a history of what finished or traded, and that forgets both after a while."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        if name == "history":
            raise AttributeError(name)
        return getattr(self.inner, name)

    async def lookup(self, ref: Ref) -> Lookup:
        answer: Lookup = await self.inner.lookup(ref)
        at = answer.at.venue_ms if isinstance(answer, Found) else None
        if at is None or at - ref.placed_at <= KEPT_MS or not isinstance(answer, Found):
            return answer
        if all(isinstance(each, OrderReport) and each.status.terminal for each in answer.reports):
            return Absent(answer.at, at - KEPT_MS, ("orders", "fills"))
        return answer


async def meanwhile(desk: Desk, *, forgotten: bool = True, traded: str = "0.1") -> Process:
    """An order is seen to rest; while no kernel runs, it trades ``traded``, is cancelled, and forgotten."""
    first = await desk.start(adapter=NoHistory)
    assert not isinstance(first.kernel._session.adapter, History)
    await first.kernel.place_order(buy(), "a")
    await desk.reaches("a", IntentStatus.WORKING)
    first.points.stop()
    if traded:
        desk.trade(traded)
    for order in desk.orders("a"):
        if order.live:
            request = {"op": "cancel", "order": order.id}
            desk.exchange.trade("desk", {**request, "ts": desk.clock.now_ms(), "window": 2000})
    await asyncio.sleep(60 if forgotten else 1)
    return await desk.start(adapter=NoHistory)


async def looks(desk: Desk, kernel: Kernel) -> None:
    """Some rounds of snapshots and looks."""
    for _ in range(6):
        await kernel.force_reconciliation()
        await asyncio.sleep(2)


def test_what_it_executed_is_not_claimed_to_be_known() -> None:
    """It is neither WORKING nor over: PARKED, with the reason; a cancel changes nothing about that."""

    async def scene(desk: Desk) -> None:
        second = await meanwhile(desk)
        record = await desk.reaches("a", IntentStatus.PARKED)
        assert "do not tell what it executed" in record.progress.reason
        assert [c.reason for c in record.progress.conditions if c.type == "Unaccounted"] == ["NoHistory"]
        await second.kernel.cancel_order("a")
        await looks(desk, second.kernel)
        assert await desk.status("a") is IntentStatus.PARKED
        assert (await desk.kinds()).count("OrderParked") == 1
        assert len(desk.orders()) == 1

    play(scene)


def test_an_operator_who_asked_the_venue_ends_it() -> None:
    """ENDED closes it with the fills booked; nothing is placed again."""

    async def scene(desk: Desk) -> None:
        second = await meanwhile(desk, traded="")
        await desk.reaches("a", IntentStatus.PARKED)
        with pytest.raises(IntentConflict):
            await second.kernel.resolve_order("a", Resolution.NEVER_SENT, actor="op", reason="no")
        await second.kernel.resolve_order("a", Resolution.ENDED, actor="op", reason="the statement shows no trade")
        record = await desk.reaches("a", IntentStatus.EXPIRED)
        assert not record.progress.conditions
        await looks(desk, second.kernel)
        assert len(desk.orders()) == 1

    play(scene)


def test_no_word_is_taken_where_the_venue_can_tell() -> None:
    """An order that rests is not ended by word; and one that ended inside the retention is told of by the venue."""

    async def scene(desk: Desk) -> None:
        second = await meanwhile(desk, forgotten=False)
        await desk.reaches("a", IntentStatus.FILLED)
        await second.kernel.place_order(buy(), "b")
        await desk.reaches("b", IntentStatus.WORKING)
        with pytest.raises(IntentConflict, match="LOOK_AGAIN"):
            await second.kernel.resolve_order("b", Resolution.ENDED, actor="op", reason="I think so")
        assert await desk.status("b") is IntentStatus.WORKING

    play(scene)
