"""Changing an order: natively, by cancel and replace, with an unknown outcome, and to less than is filled (R23-R25)."""

from __future__ import annotations

from decimal import Decimal

import pytest

from exchange_kernel.models import IntentStatus
from tests.interleavings.desk import Desk, Process, buy, play


async def observed(desk: Desk, process: Process, generation: int) -> None:
    """Wait until the venue's order reflects this generation."""

    async def there() -> bool:
        return (await process.kernel.get_order_state("a")).observed_generation == generation

    await desk.until(there, what=f"generation {generation} observed")


def live_amount(desk: Desk) -> list[Decimal]:
    """The totals of the orders that rest."""
    return [desk.exchange.engine.orders[order.id].amount for order in desk.orders("a") if order.live]


@pytest.mark.parametrize("fault", ["answer_lost", "request_lost", "error_after", "unavailable", "garbled"])
@pytest.mark.parametrize("fence", ["time_window", "sequence", "height", "permanent_key"])
def test_an_amendment_of_unknown_outcome_is_settled_before_the_next(fault: str, fence: str) -> None:
    """The user changes his mind twice while nobody knows whether the first change arrived: one at a time, the last one
    wins, and never more than one is unsettled (R23)."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await process.kernel.place_order(buy("0.1"), "a")
        await desk.reaches("a", IntentStatus.WORKING)
        desk.exchange.faults.once(fault, "amend", ms=100)
        await process.kernel.modify_order("a", buy("0.3"))
        await desk.until(lambda: desk.exchange.faults.counts[fault])
        await process.kernel.modify_order("a", buy("0.2"))
        await process.kernel.modify_order("a", buy("0.4"))
        worst = 0

        async def settled() -> bool:
            nonlocal worst
            record = await desk.record("a")
            worst = max(worst, sum(row.kind.value == "AMEND" and row.state.open for row in record.tickets))
            return record.progress.observed_generation == 4

        await desk.until(settled)
        assert worst <= 1
        assert live_amount(desk) == [Decimal("0.4")]
        # A permanent key never proves absence: a change that may still arrive ends with its order only (R13).
        attempts = 2 if (fence, fault) == ("permanent_key", "request_lost") else 1
        assert len((await desk.record("a")).attempts) == attempts

    play(scene, fence=fence)


@pytest.mark.parametrize(("mode", "attempts"), [("full", 1), ("down", 2), ("off", 2)])
def test_a_new_price_is_amended_natively_or_the_order_replaced(mode: str, attempts: int) -> None:
    """With ``amend_price`` the order stays; else it is cancelled, its final fills are known, and the rest is placed
    anew."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await process.kernel.place_order(buy("0.5"), "a")
        await desk.reaches("a", IntentStatus.WORKING)
        desk.trade("0.2")
        await desk.reaches("a", IntentStatus.PARTIALLY_FILLED)
        await process.kernel.modify_order("a", buy("0.6", "49500"))
        await observed(desk, process, 2)
        orders = desk.orders("a")
        assert len(orders) == attempts
        assert [order.live for order in orders][-1]
        assert live_amount(desk) == [Decimal("0.6") if attempts == 1 else Decimal("0.4")]
        assert "OrderModified" in await desk.kinds("a") or attempts == 2
        desk.trade("1")
        record = await desk.reaches("a", IntentStatus.FILLED)
        assert record.progress.filled_base == Decimal("0.6")

    play(scene, amend=mode)


@pytest.mark.parametrize(("mode", "attempts"), [("full", 1), ("down", 1), ("off", 2)])
def test_a_smaller_total_keeps_the_order_where_the_venue_can(mode: str, attempts: int) -> None:
    """``amend_down`` is enough for less of the same."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await process.kernel.place_order(buy("0.5"), "a")
        await desk.reaches("a", IntentStatus.WORKING)
        await process.kernel.modify_order("a", buy("0.3"))
        await observed(desk, process, 2)
        assert len(desk.orders("a")) == attempts
        assert live_amount(desk) == [Decimal("0.3")]

    play(scene, amend=mode)


@pytest.mark.parametrize("mode", ["full", "down", "off"])
@pytest.mark.parametrize("total", ["0.4", "0.2"])
def test_a_total_at_or_below_what_is_filled_cancels_and_finishes_filled(mode: str, total: str) -> None:
    """Nothing more is wanted: that means cancel, and the intent ends FILLED with the fills as they are (R25)."""

    async def scene(desk: Desk) -> None:
        desk.quote(asks=[("50010", "0.4")])
        process = await desk.start()
        await process.kernel.place_order(buy("1", "50010"), "a")
        await desk.reaches("a", IntentStatus.PARTIALLY_FILLED)
        await process.kernel.modify_order("a", buy(total, "50010"))
        record = await desk.reaches("a", IntentStatus.FILLED)
        assert record.progress.filled_base == Decimal("0.4")
        [order] = desk.orders("a")
        assert (order.status, order.base) == ("CANCELED", Decimal("0.4"))

    play(scene, amend=mode)


def test_a_fill_that_races_the_replacement_is_taken_off_the_remainder() -> None:
    """The order trades while its cancel is on the way: the new attempt is for what the final fills leave (R17)."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await process.kernel.place_order(buy("1"), "a")
        await desk.reaches("a", IntentStatus.WORKING)
        hold = process.points.hold("before send of cancel")
        await process.kernel.modify_order("a", buy("1", "49500"))
        await hold.reached()
        desk.trade("0.7")
        hold.release()
        await observed(desk, process, 2)
        assert live_amount(desk) == [Decimal("0.3")]
        desk.trade("5")
        record = await desk.reaches("a", IntentStatus.FILLED)
        assert record.progress.filled_base == Decimal(1)

    play(scene, amend="off")


def test_a_refused_amendment_leaves_the_order_and_is_not_repeated() -> None:
    """The account cannot pay for the larger total: the generation is refused once, visibly, and the order goes on."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await process.kernel.place_order(buy("1"), "a")
        await desk.reaches("a", IntentStatus.WORKING)
        await process.kernel.modify_order("a", buy("1000"))

        async def refused() -> bool:
            return any(c.type == "AmendRejected" for c in (await process.kernel.get_order_state("a")).conditions)

        await desk.until(refused)
        await process.kernel.force_reconciliation()
        assert desk.requests("amend") == 1
        assert live_amount(desk) == [Decimal(1)]
        await process.kernel.modify_order("a", buy("2"))
        await observed(desk, process, 3)
        assert live_amount(desk) == [Decimal(2)]

    play(scene)


def test_a_change_while_the_order_is_still_on_its_way_waits_for_it() -> None:
    """No amendment before the place is settled (R23): the change follows once the order is seen."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        hold = process.points.hold("before send of place")
        await process.kernel.place_order(buy("0.1"), "a")
        await hold.reached()
        await process.kernel.modify_order("a", buy("0.2"))
        await process.kernel.modify_order("a", buy("0.3"))
        assert desk.requests("amend") == 0
        hold.release()
        await observed(desk, process, 3)
        assert live_amount(desk) == [Decimal("0.3")]
        assert desk.requests("amend") == 1

    play(scene)


def test_a_change_before_anything_was_opened_is_placed_as_changed() -> None:
    """Nothing has left yet: the order goes out once, with the newest terms."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        hold = process.points.hold("before commit of place")
        await process.kernel.place_order(buy("0.1"), "a")
        await hold.reached()
        await process.kernel.modify_order("a", buy("0.2"))
        hold.release()
        await observed(desk, process, 2)
        assert live_amount(desk) == [Decimal("0.2")]
        assert desk.requests("order") == 1

    play(scene)


@pytest.mark.parametrize("mode", ["full", "down", "off"])
@pytest.mark.parametrize("fence", ["time_window", "height"])
def test_a_change_that_was_taken_back_sends_nothing(mode: str, fence: str) -> None:
    """Two changes of mind that end where they began leave the venue's order as it is, and it counts as the newest
    generation: neither an amendment that changes nothing nor a replacement is sent."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await process.kernel.place_order(buy("0.1"), "a")
        await desk.reaches("a", IntentStatus.WORKING)
        await process.kernel.modify_order("a", buy("0.3"))
        await process.kernel.modify_order("a", buy("0.1"))
        await observed(desk, process, 3)
        await desk.clock.sleep(10)
        record = await desk.record("a")
        assert [ticket.kind.value for ticket in record.tickets] == ["PLACE"]
        assert [order.live for order in desk.orders("a")] == [True]
        assert desk.requests("amend") + desk.requests("cancel") == 0

    play(scene, amend=mode, fence=fence)
