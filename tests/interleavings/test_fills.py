"""Fills that come when nobody expects them: after the order's end was told, after its death was proved (R17, R19)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from exchange_kernel.models import IntentStatus
from exchange_kernel.state.rows import AttemptState
from tests.interleavings.desk import Desk, buy, play
from tests.interleavings.venues import FillsLater
from tests.simulation.adapters import ShortFence


def test_a_fill_between_the_terminal_report_and_the_last_fill_is_waited_for() -> None:
    """The venue says the order is over and executed; until the fills themselves are booked the intent is not
    finished."""

    async def scene(desk: Desk) -> None:
        venues: list[FillsLater] = []

        def late(inner: Any) -> FillsLater:
            venues.append(FillsLater(inner))
            return venues[-1]

        process = await desk.start(adapter=late)
        await process.kernel.place_order(buy("1"), "a")
        await desk.reaches("a", IntentStatus.WORKING)
        desk.trade("0.4")
        await process.kernel.cancel_order("a")

        async def closing() -> bool:
            live = (await desk.record("a")).live
            return live is not None and live.state is AttemptState.CLOSING

        await desk.until(closing)
        for _ in range(3):
            await process.kernel.force_reconciliation()
            record = await desk.record("a")
            assert not record.progress.status.terminal
            assert record.progress.filled_base == 0
        venues[0].shown = True
        record = await desk.reaches("a", IntentStatus.CANCELED)
        assert record.progress.filled_base == Decimal("0.4")

    play(scene)


def test_no_remainder_is_placed_before_the_final_fills_are_known() -> None:
    """Cancel and replace: the old order is over, its last fill is not told yet, and the rest has to wait."""

    async def scene(desk: Desk) -> None:
        venues: list[FillsLater] = []

        def late(inner: Any) -> FillsLater:
            venues.append(FillsLater(inner))
            return venues[-1]

        process = await desk.start(adapter=late)
        await process.kernel.place_order(buy("1"), "a")
        await desk.reaches("a", IntentStatus.WORKING)
        hold = process.points.hold("before send of cancel")
        await process.kernel.modify_order("a", buy("1", "49500"))
        await hold.reached()
        desk.trade("0.4")
        hold.release()
        await desk.until(lambda: not any(order.live for order in desk.orders("a")))
        for _ in range(3):
            await process.kernel.force_reconciliation()
            assert len(desk.orders("a")) == 1
        venues[0].shown = True
        await desk.until(lambda: len(desk.orders("a")) == 2)
        assert desk.orders("a")[1].most == Decimal("0.6")
        desk.trade("5")
        record = await desk.reaches("a", IntentStatus.FILLED)
        assert record.progress.filled_base == Decimal(1)

    play(scene, amend="off")


def test_late_evidence_against_a_dead_attempt_is_booked_and_taken_back() -> None:
    """The venue breaks its word: a request lives on past its declared end. Two orders are there; one is ended at once,
    what it executed counts, and the user can see it."""

    async def scene(desk: Desk) -> None:
        process = await desk.start(adapter=ShortFence)
        desk.exchange.faults.once("late", "order", ms=5_800)
        await process.kernel.place_order(buy("1"), "a")
        await desk.until(lambda: desk.arrivals("a", 2) and desk.arrivals("a", 1), what="both arrived")

        async def one_left() -> bool:
            return sum(order.live for order in desk.orders("a")) == 1 and (await desk.record("a")).revived is None

        await desk.until(one_left)
        assert "ContradictedByVenue" in await desk.kinds("a")
        assert sorted(order.status for order in desk.orders("a")) == ["CANCELED", "WORKING"]
        desk.trade("5")
        record = await desk.reaches("a", IntentStatus.FILLED)
        assert record.progress.filled_base == Decimal(1)

    play(scene, window_ms=6_000)


def test_late_evidence_against_a_finished_intent_is_booked_and_shown() -> None:
    """CANCELED by a proof that the venue had not earned: the order appears and trades. It is cancelled, its fill is
    booked, and the intent says that the venue contradicted it."""

    async def scene(desk: Desk) -> None:
        process = await desk.start(adapter=ShortFence)
        desk.exchange.faults.once("late", "order", ms=5_800)
        await process.kernel.place_order(buy("1", "50010"), "a")
        await desk.until(lambda: desk.exchange.faults.counts["late"])
        await process.kernel.cancel_order("a")
        await desk.reaches("a", IntentStatus.CANCELED)
        assert desk.arrivals("a", 1) == 0
        desk.quote(asks=[("50010", "0.4")])

        async def over() -> bool:
            record = await desk.record("a")
            orders = desk.orders("a")
            return bool(orders) and not orders[0].live and record.progress.filled_base == Decimal("0.4")

        await desk.until(over)
        state = await process.kernel.get_order_state("a")
        assert state.status is IntentStatus.CANCELED
        assert "ContradictedByVenue" in {condition.type for condition in state.conditions}
        assert {"ContradictedByVenue", "LateFillBooked"} <= set(await desk.kinds("a"))
        [position] = await process.kernel.get_positions()
        assert position.amount == Decimal("0.4")

    play(scene, window_ms=6_000)
