"""Market orders with a bound: the worst price goes with the order, and without a price to bound it by there is none."""

from __future__ import annotations

from decimal import Decimal

import pytest

from exchange_kernel.errors import InvalidOrder, LimitExceeded
from exchange_kernel.models import IntentStatus, Limits
from exchange_kernel.schema import AmountType, Side, StandardOrder
from tests.interleavings.desk import BTC, Desk, buy, play

HALF_PERCENT = Decimal("0.005")


def test_a_market_order_takes_nothing_beyond_its_slippage() -> None:
    """The book is thin and then far away: what lies within the bound trades, the rest expires at the venue."""

    async def scene(desk: Desk) -> None:
        desk.quote(asks=[("50000", "0.1"), ("50249.99", "0.2"), ("50250", "0.4"), ("50250.01", "5")])
        process = await desk.start()
        order = buy("1", None, max_slippage=HALF_PERCENT)
        await process.kernel.place_order(order, "a")
        record = await desk.reaches("a", IntentStatus.EXPIRED)
        assert record.progress.filled_base == Decimal("0.7")
        [attempt] = record.attempts
        assert attempt.spec.guard == Decimal(50250)
        assert len(desk.orders("a")) == 1

    play(scene)


def test_a_market_sell_is_bounded_from_below_on_the_grid() -> None:
    """The bound is rounded to the better side: never a worse price than was allowed."""

    async def scene(desk: Desk) -> None:
        desk.quote(bids=[("48000.01", "0.1"), ("47000", "5")])
        process = await desk.start()
        order = StandardOrder(BTC, Side.SELL, Decimal(1), max_slippage=Decimal("0.0011111"))
        await process.kernel.place_order(order, "a")
        record = await desk.reaches("a", IntentStatus.EXPIRED)
        guard = record.attempts[0].spec.guard
        assert guard is not None
        assert guard >= Decimal("48000.01") * (1 - Decimal("0.0011111"))
        assert guard % Decimal("0.01") == 0
        assert record.progress.filled_base == Decimal("0.1")

    play(scene)


def test_the_bound_follows_the_price_of_the_moment_it_is_sent() -> None:
    """The market moves between declaration and attempt: the guard is of the newest price."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await process.kernel.dry_run(buy("0.1", None, max_slippage=HALF_PERCENT))
        await process.kernel.halt(actor="op", reason="wait")
        await process.kernel.resume(actor="op", reason="go")
        hold = process.points.hold("before commit of declare")
        desk.loop.create_task(process.kernel.place_order(buy("0.1", None, max_slippage=HALF_PERCENT), "a"))
        await hold.reached()
        desk.quote(asks=[("40000", "2")], bids=[("39000", "1")])
        await desk.until(lambda: process.kernel._session.prices[BTC].ask == 40000)  # type: ignore[union-attr]
        hold.release()
        record = await desk.reaches("a", IntentStatus.FILLED)
        assert record.attempts[0].spec.guard == Decimal(40200)

    play(scene)


def test_without_a_price_there_is_no_bound_and_no_order() -> None:
    """A market nobody quotes: the error says what is missing, and nothing is written."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        with pytest.raises(InvalidOrder, match=r"max_slippage.*shows no price"):
            await process.kernel.place_order(buy("1", None, symbol="SOL/USD", max_slippage=HALF_PERCENT))
        assert await process.kernel.get_all_intents() == []

    play(scene)


def test_an_unbounded_market_order_is_refused_where_notional_is_limited() -> None:
    """No price, no notional, no limit that could hold: refused; with a price it counts."""

    async def scene(desk: Desk) -> None:
        limits = Limits(max_order_notional=Decimal(10_000))
        process = await desk.start(limits=limits)
        with pytest.raises(LimitExceeded, match="cannot be bounded"):
            await process.kernel.place_order(buy("1", None, symbol="SOL/USD"))
        with pytest.raises(LimitExceeded, match="max_order_notional"):
            await process.kernel.place_order(buy("0.3", None))
        with pytest.raises(LimitExceeded, match="max_order_notional"):
            await process.kernel.place_order(buy("10001", None, amount_type=AmountType.QUOTE))
        await process.kernel.place_order(buy("0.1", None), "a")
        await desk.reaches("a", IntentStatus.FILLED)

    play(scene)
