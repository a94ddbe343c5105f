"""Cancel is desired state: nothing is committed after it, nothing committed before is sent, CANCELED only with
proof."""

from __future__ import annotations

import asyncio

import pytest

from exchange_kernel.base import Resolution
from exchange_kernel.models import IntentStatus
from exchange_kernel.state.ops import CancelIntents
from tests.interleavings.desk import ACCOUNT, PRESETS, Desk, buy, play


def test_a_cancel_that_overtakes_a_committed_ticket_keeps_it_from_being_sent() -> None:
    """The ticket is in SQL, its bytes are about to leave: the wish to cancel is seen just before (R20)."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        hold = process.points.hold("after commit of place")
        await process.kernel.place_order(buy(), "a")
        await hold.reached()
        await process.kernel.cancel_order("a")
        hold.release()
        await desk.reaches("a", IntentStatus.CANCELED)
        assert desk.arrivals("a", 1) == 0
        assert desk.orders() == []

    play(scene)


def test_a_cancel_by_another_process_keeps_a_delayed_ticket_from_being_sent() -> None:
    """Nobody told this process; because the commit is a while ago it reads SQL once more before it sends (R4)."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        hold = process.points.hold("after commit of place")
        await process.kernel.place_order(buy(), "a")
        await hold.reached()
        await desk.store.execute(CancelIntents(ACCOUNT, ("a",), "somebody else"))
        await asyncio.sleep(0.3)
        hold.release()
        await desk.reaches("a", IntentStatus.CANCELED)
        assert desk.arrivals("a", 1) == 0

    play(scene)


@pytest.mark.parametrize("label", ["before prepare of place", "after prepare of place", "before commit of place"])
def test_no_ticket_is_committed_after_a_committed_cancel(label: str) -> None:
    """Between the decision to submit and its commit the user changes his mind: the commit fails, nothing was opened
    (S7)."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        hold = process.points.hold(label)
        await process.kernel.place_order(buy(), "a")
        await hold.reached()
        await process.kernel.cancel_order("a")
        hold.release()
        record = await desk.reaches("a", IntentStatus.CANCELED)
        assert record.tickets == ()
        assert desk.orders() == []

    play(scene)


@pytest.mark.parametrize("label", ["before send of place", "after send of place", "before record of place"])
def test_a_cancel_while_the_order_is_on_its_way_ends_the_order_that_arrives(label: str) -> None:
    """Too late to stop the bytes: CANCELED is claimed only when the order that came of them is over."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        hold = process.points.hold(label)
        await process.kernel.place_order(buy(), "a")
        await hold.reached()
        await process.kernel.cancel_order("a")
        assert await desk.status("a") is not IntentStatus.CANCELED
        hold.release()
        await desk.reaches("a", IntentStatus.CANCELED)
        assert [order.status for order in desk.orders("a")] == ["CANCELED"]

    play(scene)


def test_a_fill_overtakes_the_cancel() -> None:
    """The order trades before the cancel arrives: the refused cancel proves nothing, the fill is booked."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await process.kernel.place_order(buy(), "a")
        await desk.reaches("a", IntentStatus.WORKING)
        hold = process.points.hold("before send of cancel")
        await process.kernel.cancel_order("a")
        await hold.reached()
        desk.trade("0.1")
        hold.release()
        record = await desk.reaches("a", IntentStatus.FILLED)
        assert record.progress.filled_base == buy().amount

    play(scene)


def test_an_unanswered_cancel_is_issued_again() -> None:
    """The request is lost: after a look the cancel goes out again as a new ticket, until the order is seen to be gone
    (L6)."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await process.kernel.place_order(buy(), "a")
        await desk.reaches("a", IntentStatus.WORKING)
        desk.exchange.faults.once("request_lost", "cancel", times=3, ms=100)
        await process.kernel.cancel_order("a")
        await desk.reaches("a", IntentStatus.CANCELED)
        assert [order.status for order in desk.orders("a")] == ["CANCELED"]
        assert desk.exchange.faults.counts["request_lost"] == 3

    play(scene)


@pytest.mark.parametrize("fence", PRESETS)
@pytest.mark.parametrize("fault", ["answer_lost", "request_lost"])
def test_a_cancel_of_an_order_in_unknown_outcome(fence: str, fault: str) -> None:
    """What the venue can tell decides: proved gone it is CANCELED; where nothing can be proved it stays open and says
    so."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        desk.exchange.faults.once(fault, "order", ms=100)
        await process.kernel.place_order(buy(), "a")
        await desk.until(lambda: desk.exchange.faults.counts[fault])
        await process.kernel.cancel_order("a")
        if fence == "none":
            record = await desk.reaches("a", IntentStatus.UNKNOWN)
            await process.kernel.force_reconciliation()
            assert await desk.status("a") is IntentStatus.UNKNOWN
            assert "never prove" in record.progress.reason or record.progress.reason
        elif fence == "permanent_key" and fault == "request_lost":
            record = await desk.reaches("a", IntentStatus.PARKED)
            assert "is yours to decide" in record.progress.reason
        else:
            await desk.reaches("a", IntentStatus.CANCELED)
            assert not any(order.live for order in desk.orders())
            return
        if fault == "request_lost":
            state = await process.kernel.resolve_order("a", Resolution.NEVER_SENT, actor="op", reason="asked the venue")
            assert state.intent_id == "a"
            await desk.reaches("a", IntentStatus.CANCELED)
            assert desk.orders() == []
        else:
            assert [order.live for order in desk.orders()] == [True]

    play(scene, fence=fence)


def test_a_permanent_key_is_used_up_before_absence_is_believed() -> None:
    """A post-only order cannot trade at once: its lost ticket is sent, so that its key is consumed, and then
    cancelled (R13)."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        desk.exchange.faults.once("request_lost", "order", ms=100)
        await process.kernel.place_order(buy(post_only=True), "a")
        await desk.until(lambda: desk.exchange.faults.counts["request_lost"])
        await process.kernel.cancel_order("a")
        await desk.reaches("a", IntentStatus.CANCELED)
        assert [order.status for order in desk.orders("a")] == ["CANCELED"]

    play(scene, fence="permanent_key")


def test_cancelling_twice_and_after_the_end_is_harmless() -> None:
    """A second wish changes nothing, and a finished intent stays as it is."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await process.kernel.place_order(buy("0.5", "50010"), "a")
        await process.kernel.place_order(buy(), "b")
        await desk.reaches("a", IntentStatus.FILLED)
        await desk.reaches("b", IntentStatus.WORKING)
        for _ in range(2):
            await process.kernel.cancel_order("a")
            await process.kernel.cancel_order("b")
        await desk.reaches("b", IntentStatus.CANCELED)
        assert await desk.status("a") is IntentStatus.FILLED
        assert (await desk.kinds("b")).count("CancelRequested") == 1
        assert "CancelRequested" not in await desk.kinds("a")

    play(scene)
