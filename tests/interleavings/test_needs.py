"""What the venue says an order needs: its proceeds taken, exactly once, and its transaction sent again for a higher
fee."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from exchange_kernel.models import IntentStatus
from exchange_kernel.state.rows import TicketKind, TicketState
from exchange_kernel.venue import Cancel, Found, Need, OrderReport
from tests.interleavings.desk import ACCOUNT, Desk, Process, buy, play
from tests.interleavings.venues import Venue

FENCES = ("time_window", "sequence", "height", "permanent_key", "none")


def settled(desk: Desk) -> int:
    """How many settlements the venue has carried out: each ends an order FILLED that rested."""
    return sum(order.status == "FILLED" for order in desk.orders())


async def resting(desk: Desk, process: Process, name: str = "a") -> None:
    """An order at the venue, in a block where there are blocks."""
    await process.kernel.place_order(buy(), name)
    await desk.reaches(name, IntentStatus.WORKING)
    await desk.until(lambda: [order for order in desk.orders() if order.live])


@pytest.mark.parametrize("fence", FENCES)
def test_what_has_executed_in_full_is_settled_once_and_only_then_booked(fence: str) -> None:
    """Tentative fills count as nothing; the kernel takes the proceeds by one ticket, and then they are booked."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await resting(desk, process)
        desk.trade("0.04")
        await asyncio.sleep(3)
        record = await desk.record("a")
        assert (record.progress.status, record.progress.filled_base) == (IntentStatus.WORKING, 0)
        assert desk.requests("settle") == 0
        desk.trade("1")
        record = await desk.reaches("a", IntentStatus.FILLED)
        assert record.progress.filled_base == Decimal("0.1")
        assert [row.kind for row in record.tickets].count(TicketKind.SETTLE) == 1
        assert settled(desk) == 1

    play(scene, fence=fence, settle="on")


@pytest.mark.parametrize("label", ["before commit of settle", "after commit of settle", "after submit of settle"])
@pytest.mark.parametrize("fence", FENCES)
def test_a_crash_around_the_settlement_leaves_one_settlement(fence: str, label: str) -> None:
    """Between commit and send, or with the answer lost with the process: the next one finishes it, by what it finds."""

    async def scene(desk: Desk) -> None:
        first = await desk.start()
        await resting(desk, first)
        stopped = first.points.pause_at(label)
        desk.trade("1")
        await stopped.wait()
        await desk.start(standby=True)
        record = await desk.reaches("a", IntentStatus.FILLED)
        assert record.progress.filled_base == Decimal("0.1")
        assert settled(desk) == 1
        done = [row for row in record.tickets if row.kind is TicketKind.SETTLE and row.state is not TicketState.NONE]
        assert len(done) == 1 or fence == "none"

    play(scene, fence=fence, settle="on")


@pytest.mark.parametrize("fault", ["request_lost", "answer_lost"])
@pytest.mark.parametrize("fence", FENCES)
def test_a_lost_settlement_or_a_lost_answer_to_it_is_found_out(fence: str, fault: str) -> None:
    """It is looked for: repeated where that is harmless, made anew where the old one is proved over."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await resting(desk, process)
        desk.exchange.faults.once(fault, "settle", ms=300)
        desk.trade("1")
        record = await desk.reaches("a", IntentStatus.FILLED)
        assert (settled(desk), record.progress.filled_base) == (1, Decimal("0.1"))

    play(scene, fence=fence, settle="on")


@pytest.mark.parametrize("label", ["before commit of settle", "after commit of settle", "after submit of settle"])
@pytest.mark.parametrize("fence", FENCES)
def test_a_settlement_races_a_cancel_and_the_proceeds_come_once(fence: str, label: str) -> None:
    """The user cancels while the settlement is under way: whichever the venue does first, all of it is booked."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await resting(desk, process)
        hold = process.points.hold(label)
        desk.trade("1")
        await hold.reached()
        await process.kernel.cancel_order("a")
        hold.release()
        record = await desk.reaches("a", IntentStatus.FILLED, IntentStatus.CANCELED)
        assert record.progress.filled_base == Decimal("0.1")
        assert [order.base for order in desk.orders()] == [Decimal("0.1")]

    play(scene, fence=fence, settle="on")


def test_a_cancel_that_was_lost_does_not_leave_the_proceeds_behind() -> None:
    """Cancelled first, executed in full meanwhile: the cancel is issued again until the proceeds are there."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await resting(desk, process)
        desk.exchange.faults.once("request_lost", "cancel", ms=300)
        await process.kernel.cancel_order("a")
        desk.trade("1")
        record = await desk.reaches("a", IntentStatus.CANCELED, IntentStatus.FILLED)
        assert record.progress.filled_base == Decimal("0.1")

    play(scene, settle="on")


def test_a_halt_does_not_hold_a_settlement_back() -> None:
    """It opens nothing; what the market could still undo is brought home, halted or not."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await resting(desk, process)
        await process.kernel.halt(actor="op", reason="wait")
        desk.trade("1")
        await desk.reaches("a", IntentStatus.FILLED)

    play(scene, settle="on")


def stuck(desk: Desk) -> list[Any]:
    """The account's transactions that wait in the pool."""
    return list(desk.exchange.account(ACCOUNT).pool.values())


def test_an_order_whose_fee_is_too_low_by_now_is_sent_again_for_more_under_its_number() -> None:
    """Fees rise before the block: the same order takes the same number for a higher fee, and becomes one order."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        hold = process.points.hold("before submit of place")
        desk.loop.create_task(process.kernel.place_order(buy(), "a"))
        await hold.reached()
        desk.exchange.set_base_fee("0.05")
        hold.release()
        await desk.until(lambda: [order for order in desk.orders("a") if order.live])
        record = await desk.reaches("a", IntentStatus.WORKING)
        places = [row.ticket for row in record.tickets if row.kind is TicketKind.PLACE]
        assert len(places) == 2
        assert places[0].slot == places[1].slot
        assert places[0].key == places[1].key
        assert len(desk.orders("a")) == 1

    play(scene, fence="sequence")


def test_a_crash_between_commit_and_send_of_the_replacement_ends_in_one_order() -> None:
    """The next process finds both tickets of one number, and whichever arrives, the order is there once."""

    async def scene(desk: Desk) -> None:
        first = await desk.start()
        hold = first.points.hold("before submit of place")
        desk.loop.create_task(first.kernel.place_order(buy(), "a"))
        await hold.reached()
        desk.exchange.set_base_fee("0.05")
        stopped = first.points.pause_at("before submit of place")
        hold.release()
        await stopped.wait()
        await desk.start(standby=True)
        await desk.until(lambda: [order for order in desk.orders("a") if order.live])
        await desk.reaches("a", IntentStatus.WORKING)
        assert len(desk.orders("a")) == 1

    play(scene, fence="sequence")


def test_a_stuck_order_that_is_canceled_gives_its_number_up_for_a_higher_fee() -> None:
    """The cancel takes the number of what waits: nothing becomes an order, and the next one is not blocked."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        hold = process.points.hold("before submit of place")
        desk.loop.create_task(process.kernel.place_order(buy(), "a"))
        await hold.reached()
        desk.exchange.set_base_fee("0.05")
        hold.release()
        await desk.until(lambda: stuck(desk))
        await process.kernel.halt(actor="op", reason="no replacement")
        await process.kernel.cancel_order("a")
        await desk.reaches("a", IntentStatus.CANCELED, IntentStatus.EXPIRED)
        assert stuck(desk) == []
        assert not any(order.live or order.base for order in desk.orders("a"))

    play(scene, fence="sequence")


class OnlyByForce(Venue):
    """Orders here end by a forced cancel only, and every report says so."""

    def _says(self, report: Any) -> Any:
        if not isinstance(report, OrderReport) or report.status.terminal:
            return report
        return replace(report, need=Need("force_cancel", 0, "only a forced cancel ends it"))

    async def prepare(self, command: Any, prep: Any) -> Any:
        if isinstance(command, Cancel):
            assert command.force, "a cancel without force"
        return await self.inner.prepare(command, prep)

    async def submit(self, ticket: Any) -> Any:
        ack = await self.inner.submit(ticket)
        return replace(ack, reports=tuple(map(self._says, ack.reports)))

    async def lookup(self, ref: Any) -> Any:
        found = await self.inner.lookup(ref)
        return replace(found, reports=tuple(map(self._says, found.reports))) if isinstance(found, Found) else found

    async def open_orders(self, page: Any) -> Any:
        snapshot = await self.inner.open_orders(page)
        return replace(snapshot, reports=tuple(map(self._says, snapshot.reports)))

    async def events(self, cursor: Any) -> Any:
        async for event in self.inner.events(cursor):
            yield replace(event, body=self._says(event.body))


def test_where_only_force_ends_an_order_its_cancel_is_forced() -> None:
    """Still wanted, it is left alone; cancelled, the cancel says that it may cost, also from the next process."""

    async def scene(desk: Desk) -> None:
        first = await desk.start(adapter=OnlyByForce)
        await resting(desk, first)
        await asyncio.sleep(5)
        assert desk.requests("cancel") == 0
        first.points.stop()
        second = await desk.start(adapter=OnlyByForce, standby=True)
        await asyncio.sleep(10)
        await second.kernel.cancel_order("a")
        await desk.reaches("a", IntentStatus.CANCELED)
        assert desk.requests("cancel") == 1

    play(scene)
