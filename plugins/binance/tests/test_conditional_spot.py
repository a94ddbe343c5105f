"""Conditional spot orders that follow the market, and orders for an amount in quote."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from exchange_kernel.errors import InvalidOrder, Unsupported
from exchange_kernel.models import IntentStatus
from exchange_kernel.schema import (
    AmountType,
    ConditionalOrderMode,
    ConditionalTrigger,
    Side,
    StandardOrder,
    TimeInForce,
    TrailUnit,
    TriggerKind,
)
from exchange_kernel.testing.conformance import Fault
from exchange_kernel.venue import Spec, Trigger
from exchange_kernel_binance.conformance import BinanceHarness, SpotHarness
from exchange_kernel_binance.filters import Asked, TrailingDelta
from exchange_kernel_binance.simulator import Simulator
from plugins.binance.tests.trading import ENDED, Trading, executed, on

FILLED, CANCELED, WORKING = IntentStatus.FILLED, IntentStatus.CANCELED, IntentStatus.WORKING
D = Decimal


def trailing(side: Side = Side.SELL, start: str | None = None, limit: str | None = None) -> StandardOrder:
    """To trade 0.03 once the price has turned by a percent."""
    trigger = ConditionalTrigger(
        TriggerKind.TRAILING_STOP, trail_offset="1", trail_unit=TrailUnit.PERCENT, activation_price=start
    )
    return StandardOrder(
        "BTC/USDT",
        side,
        "0.03",
        limit_price=limit,
        conditional_trigger=trigger,
        conditional_mode=ConditionalOrderMode.STANDALONE,
    )


async def traded(trading: Trading, price: str) -> None:
    """Others trade there, and quote a little beside it."""

    def move(binance: Simulator) -> None:
        harness: BinanceHarness = trading.harness
        harness._withdraw(binance)
        harness._crowd(binance, "BTCUSDT", "BUY", f"{D(price) - 90:f}", "100", "GTC")
        harness._crowd(binance, "BTCUSDT", "SELL", f"{D(price) + 90:f}", "100", "GTC")
        harness._crowd(binance, "BTCUSDT", "SELL", price, "1", "GTC")
        fields = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
        harness._act(binance, "second", {**fields, "quantity": "1", "price": price})  # Binance lets nobody trade alone

    await trading.harness._ask(move)


async def rows(trading: Trading) -> list[Mapping[str, Any]]:
    """The orders of the account, as Binance has them."""
    found: list[Mapping[str, Any]] = await trading.harness._ask(
        lambda binance: [row for row in binance.truth()["orders"]() if row["account"] == "main"]
    )
    return found


@pytest.mark.parametrize(
    ("order", "before", "turn"),
    [
        (trailing(), ["50000", "51000", "50500"], "50489"),
        (trailing(Side.BUY), ["50000", "49000", "49400"], "49491"),
        (trailing(start="52000"), ["50000", "49000", "52000", "51500"], "51479"),
        (trailing(Side.BUY, "48000"), ["50000", "51000", "48000", "48400"], "48481"),
        (trailing(limit="45000"), ["50000", "51000", "50500"], "50489"),
        (trailing(start="52000", limit="45000"), ["50000", "49000", "52000", "51500"], "51479"),
    ],
    ids=["sell", "buy", "sell, activated", "buy, activated", "sell, limit", "sell, activated, limit"],
)
def test_it_follows_the_market_and_trades_once_when_that_turns(
    order: StandardOrder, before: list[str], turn: str
) -> None:
    """A percent from the best price since it follows, not from where it was placed; while no kernel runs."""

    async def scene(trading: Trading) -> None:
        await traded(trading, "50000")
        async with trading.kernel() as kernel:
            await kernel.place_order(order, "a")
            await trading.reaches(kernel, "a", WORKING)
        for price in before:
            await traded(trading, price)
            assert executed(await trading.orders()) == 0, price
        await traded(trading, turn)
        async with trading.kernel() as kernel:
            state = await trading.reaches(kernel, "a", *ENDED)
        assert (state.status, state.filled_base) == (FILLED, D("0.03"))
        assert len(await trading.orders()) == 1

    on(SpotHarness, scene)


@pytest.mark.parametrize("fault", [Fault.ANSWER_LOST, Fault.ERROR_AFTER])
def test_a_trailing_stop_whose_answer_is_lost_is_placed_once(fault: Fault) -> None:
    """It waits under its client id, and is cancelled by it."""

    async def scene(trading: Trading) -> None:
        await traded(trading, "50000")
        async with trading.kernel() as kernel:
            await trading.harness.inject(fault)
            await kernel.place_order(trailing(), "a")
            await trading.reaches(kernel, "a", WORKING)
            await kernel.cancel_order("a")
            await trading.reaches(kernel, "a", CANCELED)
        assert [row["status"] for row in await rows(trading)] == ["CANCELED"]

    on(SpotHarness, scene)


@pytest.mark.parametrize(
    ("side", "fault"),
    [(Side.BUY, None), (Side.SELL, None), (Side.BUY, Fault.ANSWER_LOST), (Side.BUY, Fault.EVENT_LOST)],
)
def test_an_amount_in_quote_is_spent_or_brought_in_once(side: Side, fault: Fault | None) -> None:
    """It is one market order for that amount: never more of it, less than a lot short, and no second one for the
    rest."""

    async def scene(trading: Trading) -> None:
        order = StandardOrder("BTC/USDT", side, "1500.37", amount_type=AmountType.QUOTE, time_in_force=TimeInForce.IOC)
        async with trading.kernel() as kernel:
            if fault is not None:
                await trading.harness.inject(fault)
            await kernel.place_order(order, "a")
            state = await trading.reaches(kernel, "a", *ENDED)
        (row,) = await rows(trading)
        assert row["origQuoteOrderQty"] == "1500.37000000"
        spent = D(row["cummulativeQuoteQty"])
        assert D("1499.8") < spent <= D("1500.37")
        assert (state.status, state.filled_quote) == (FILLED, spent)

    on(SpotHarness, scene)


def trail(offset: str | None = "1", unit: TrailUnit = TrailUnit.PERCENT, **more: Any) -> dict[str, Any]:
    """The terms of a trailing stop."""
    distance = None if offset is None else D(offset)
    return {
        "trigger": Trigger(TriggerKind.TRAILING_STOP, more.pop("price", None), offset=distance, offset_in=unit, **more)
    }


IN_QUOTE = {"amount": D(1_500), "amount_in": AmountType.QUOTE}
REFUSED: list[tuple[str, dict[str, Any], str, type[Exception]]] = [
    ("absolute trail", trail("100", TrailUnit.ABSOLUTE), "trailing_abs", Unsupported),
    ("no trail", trail(None), "trigger.offset", InvalidOrder),
    ("half a step", trail("1.005"), "trigger.offset", InvalidOrder),
    ("too short", trail("0.09"), "trigger.offset", InvalidOrder),
    ("too long", trail("20.01"), "trigger.offset", InvalidOrder),
    ("a stop price, too", trail(price=D(45_000)), "trigger.price", InvalidOrder),
    ("start off the grid", trail(activation=D("52000.005")), "trigger.activation", InvalidOrder),
    ("post-only", {**trail(), "limit": D(45_000), "post_only": True}, "post_only", Unsupported),
    ("quote with a limit", {**IN_QUOTE, "limit": D(45_000)}, "amount_quote", Unsupported),
    ("quote with a worst price", {**IN_QUOTE, "guard": D(45_000)}, "amount_quote", Unsupported),
    ("quote with a trigger", {**IN_QUOTE, **trail()}, "amount_quote", Unsupported),
    ("quote below the least", {**IN_QUOTE, "amount": D(4)}, "amount", InvalidOrder),
]


def test_what_binance_would_not_take_is_refused_by_name() -> None:
    """Before anything is signed."""

    async def scene(trading: Trading) -> None:
        adapter = trading.harness.adapter()
        await adapter.open(trading.harness.context())
        try:
            for what, more, named, kind in REFUSED:
                spec = Spec("BTC/USDT", Side.SELL, **{"amount": D("0.03"), **more})
                with pytest.raises(kind) as error:
                    adapter.check(spec)
                assert named in (getattr(error.value, "field", ""), getattr(error.value, "feature", "")), what
        finally:
            await adapter.close()

    on(SpotHarness, scene)


def test_an_iceberg_may_wait_for_a_trigger() -> None:
    """rest-api.md: icebergQty goes with STOP_LOSS_LIMIT and TAKE_PROFIT_LIMIT, too; it shows a part once it works."""

    async def scene(trading: Trading) -> None:
        trigger = ConditionalTrigger(TriggerKind.STOP_LOSS, trigger_price="48000")
        order = StandardOrder(
            "BTC/USDT",
            Side.SELL,
            "0.03",
            limit_price="55000",
            iceberg_qty="0.01",
            conditional_trigger=trigger,
            conditional_mode=ConditionalOrderMode.STANDALONE,
        )
        await traded(trading, "50000")
        async with trading.kernel() as kernel:
            await kernel.place_order(order, "a")
            await trading.reaches(kernel, "a", WORKING)
            (row,) = await rows(trading)
            assert (row["type"], row["icebergQty"], row["isWorking"]) == ("STOP_LOSS_LIMIT", "0.01000000", False)
            await traded(trading, "47900")
            (row,) = await rows(trading)
            assert row["isWorking"]
            await kernel.cancel_order("a")
            await trading.reaches(kernel, "a", CANCELED)

    on(SpotHarness, scene)


@pytest.mark.parametrize(("above", "least"), [(True, 10), (False, 50), (None, 10)])
def test_a_trail_is_held_against_the_bounds_of_its_side(above: bool | None, least: int) -> None:
    """TRAILING_DELTA has a pair of bounds for each; where the side is not known, only what neither takes is refused."""
    rule = TrailingDelta(
        minTrailingAboveDelta=10, maxTrailingAboveDelta=2_000, minTrailingBelowDelta=50, maxTrailingBelowDelta=1_000
    )
    assert not rule.breach(Asked(buys=True, delta=D(least), above=above))
    assert rule.breach(Asked(buys=True, delta=D(least - 1), above=above))
