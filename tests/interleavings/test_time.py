"""Time: a local clock that is off, and orders that end at a time the venue knows nothing of."""

from __future__ import annotations

from decimal import Decimal

import pytest

from exchange_kernel.errors import Unsupported
from exchange_kernel.models import IntentStatus
from exchange_kernel.schema import TimeInForce
from tests.interleavings.desk import PRESETS, Desk, buy, play
from tests.interleavings.venues import Timeless

DAY_MS = 86_400_000


@pytest.mark.parametrize("fence", PRESETS)
@pytest.mark.parametrize("skew_ms", [30_000, -30_000])
def test_a_local_clock_half_a_minute_off_changes_nothing(fence: str, skew_ms: int) -> None:
    """Orders go out, lost ones are judged by the venue's time and not by ours, cancels work; no order is made twice."""

    async def scene(desk: Desk) -> None:
        process = await desk.start(skew_ms=skew_ms)
        await process.kernel.place_order(buy(), "rests")
        await desk.reaches("rests", IntentStatus.WORKING)
        await process.kernel.place_order(buy("0.5", "50010"), "trades")
        await desk.reaches("trades", IntentStatus.FILLED)
        await process.kernel.cancel_order("rests")
        await desk.reaches("rests", IntentStatus.CANCELED)
        desk.exchange.faults.once("answer_lost", "order", ms=100)
        await process.kernel.place_order(buy("0.2"), "unanswered")
        if fence == "none":
            await desk.reaches("unanswered", IntentStatus.UNKNOWN)
        else:
            await desk.reaches("unanswered", IntentStatus.WORKING)
        desk.exchange.faults.once("request_lost", "order", ms=100)
        began = desk.loop.time()
        await process.kernel.place_order(buy("0.3"), "lost")
        if fence == "none":
            await desk.reaches("lost", IntentStatus.UNKNOWN)
            return
        await desk.reaches("lost", IntentStatus.WORKING)
        if fence == "time_window":
            assert desk.loop.time() - began > 2.0, "not before the venue's own clock had passed the window"
        await desk.until(lambda: desk.orders("lost") and desk.orders("unanswered"))
        assert len(desk.orders("lost")) == len(desk.orders("unanswered")) == 1

    play(scene, fence=fence)


@pytest.mark.parametrize("skew_ms", [30_000, -30_000])
def test_a_clock_that_is_set_while_orders_are_under_way(skew_ms: int) -> None:
    """The local clock jumps between a loss and its proof: neither is the attempt believed dead too soon, nor for
    ever."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        desk.exchange.faults.once("late", "order", ms=1_500)
        await process.kernel.place_order(buy(), "a")
        await desk.until(lambda: desk.exchange.faults.counts["late"])
        process.clock.skew_ms = skew_ms
        record = await desk.reaches("a", IntentStatus.WORKING, seconds=120)
        assert len(record.attempts) == len(desk.orders("a")) == 1
        await process.kernel.place_order(buy(), "b")
        await desk.reaches("b", IntentStatus.WORKING, seconds=120)

    play(scene)


def test_good_till_date_is_ended_by_the_kernel_where_the_venue_cannot() -> None:
    """At its time the order is cancelled at the venue, and the intent ends EXPIRED, with the fills it had."""

    async def scene(desk: Desk) -> None:
        process = await desk.start(adapter=Timeless)
        until = desk.clock.now_ms() + 60_000
        order = buy("1", time_in_force=TimeInForce.GTD, expire_at=until)
        assert (await process.kernel.dry_run(order)).emulated == ("gtd",)
        await process.kernel.place_order(order, "a")
        await desk.reaches("a", IntentStatus.WORKING)
        desk.trade("0.4")
        await desk.reaches("a", IntentStatus.PARTIALLY_FILLED)
        record = await desk.reaches("a", IntentStatus.EXPIRED, seconds=90)
        assert desk.clock.now_ms() >= until
        assert desk.clock.now_ms() < until + 5_000
        assert record.progress.filled_base == Decimal("0.4")
        assert [o.status for o in desk.orders("a")] == ["CANCELED"]

    play(scene)


def test_a_day_order_is_ended_by_the_kernel_at_midnight_utc() -> None:
    """The venue has no DAY: the kernel's timer ends the order when the UTC day is over, even after a restart."""

    async def scene(desk: Desk) -> None:
        first = await desk.start(adapter=Timeless)
        midnight = (desk.clock.now_ms() // DAY_MS + 1) * DAY_MS
        await first.kernel.place_order(buy(time_in_force=TimeInForce.DAY), "a")
        await desk.reaches("a", IntentStatus.WORKING)
        await first.kernel.stop()
        desk.loop._virtual += (midnight - desk.clock.now_ms()) / 1000 - 600
        second = await desk.start(adapter=Timeless)
        await second.kernel.force_reconciliation()
        assert await desk.status("a") is IntentStatus.WORKING
        await desk.reaches("a", IntentStatus.EXPIRED, seconds=700)
        assert midnight <= desk.clock.now_ms() < midnight + 5_000
        assert [o.status for o in desk.orders("a")] == ["CANCELED"]

    play(scene)


def test_emulation_is_refused_where_the_order_does_not_allow_it() -> None:
    """``allow_emulation`` False: only the venue's own time in force will do."""

    async def scene(desk: Desk) -> None:
        process = await desk.start(adapter=Timeless)
        order = buy(time_in_force=TimeInForce.DAY, allow_emulation=False)
        with pytest.raises(Unsupported, match="day"):
            await process.kernel.place_order(order)

    play(scene)


@pytest.mark.parametrize("tif", [TimeInForce.GTD, TimeInForce.DAY])
def test_where_the_venue_has_it_the_venue_ends_the_order(tif: TimeInForce) -> None:
    """Natively: no cancel of ours is sent, and the intent ends EXPIRED by the venue's word."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        until = desk.clock.now_ms() + 30_000 if tif is TimeInForce.GTD else None
        await process.kernel.place_order(buy(time_in_force=tif, expire_at=until), "a")
        await desk.reaches("a", IntentStatus.WORKING)
        if tif is TimeInForce.DAY:
            midnight = (desk.clock.now_ms() // DAY_MS + 1) * DAY_MS
            desk.loop._virtual += (midnight - desk.clock.now_ms()) / 1000 - 30
        await desk.reaches("a", IntentStatus.EXPIRED, seconds=120)
        assert desk.requests("cancel") == 0
        assert [o.status for o in desk.orders("a")] == ["EXPIRED"]

    play(scene)
