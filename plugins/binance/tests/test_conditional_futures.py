"""Conditional futures orders: they live in another service than orders, and become orders when they trigger."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from exchange_kernel.errors import InvalidOrder, Unsupported
from exchange_kernel.models import IntentStatus
from exchange_kernel.schema import (
    ConditionalOrderMode,
    ConditionalTrigger,
    PriceSource,
    Side,
    StandardOrder,
    TimeInForce,
    TrailUnit,
    TriggerKind,
)
from exchange_kernel.testing.conformance import Fault
from exchange_kernel.venue import Spec, Trigger
from exchange_kernel_binance.conformance import BinanceHarness, UsdmHarness
from exchange_kernel_binance.simulator import Simulator
from plugins.binance.tests.trading import ENDED, Trading, executed, on

FILLED, CANCELED, WORKING = IntentStatus.FILLED, IntentStatus.CANCELED, IntentStatus.WORKING
D = Decimal


def stop(
    kind: TriggerKind = TriggerKind.STOP_LOSS,
    price: str | None = "45000",
    limit: str | None = None,
    source: PriceSource = PriceSource.MARK,
    **more: Any,
) -> StandardOrder:
    """To sell 0.03 once the price has come there."""
    trigger = ConditionalTrigger(kind, trigger_price=price, price_source=source, **more)
    return StandardOrder(
        "BTC/USDT:USDT",
        Side.SELL,
        "0.03",
        limit_price=limit,
        conditional_trigger=trigger,
        conditional_mode=ConditionalOrderMode.STANDALONE,
    )


async def marked(trading: Trading, price: str) -> None:
    """The mark price is there now."""
    await trading.harness._ask(lambda binance: binance.futures.exchange.set_mark("BTCUSDT", D(price)))


async def waiting(trading: Trading) -> list[Mapping[str, Any]]:
    """The conditional orders of the account, as Binance has them."""

    def look(binance: Simulator) -> list[Mapping[str, Any]]:
        rows = binance.futures.exchange.state.algos.values()
        return [{"status": row.status, "id": row.algo_id} for row in rows if row.account == "main"]

    found: list[Mapping[str, Any]] = await trading.harness._ask(look)
    return found


def traded(harness: BinanceHarness, binance: Simulator, price: str) -> None:
    """Others trade there, and bid a little less."""
    harness._withdraw(binance)
    harness._crowd(binance, "BTCUSDT", "BUY", f"{D(price) - 90:f}", "100", "GTC")
    for side in ("SELL", "BUY"):
        harness._crowd(binance, "BTCUSDT", side, price, "1", "GTC")


@pytest.mark.parametrize(
    ("order", "rise"),
    [
        (stop(), ["44900"]),
        (stop(limit="44000"), ["44900"]),
        (stop(TriggerKind.TAKE_PROFIT, "55000"), ["55100"]),
        (stop(TriggerKind.TAKE_PROFIT, "50500", limit="49800"), ["50600"]),
        (
            stop(TriggerKind.TRAILING_STOP, None, trail_offset="1", trail_unit=TrailUnit.PERCENT),
            ["51000", "50400"],
        ),
        (
            stop(
                TriggerKind.TRAILING_STOP,
                None,
                trail_offset="1",
                trail_unit=TrailUnit.PERCENT,
                activation_price="52000",
            ),
            ["51000", "50000", "53000", "52300"],
        ),
    ],
    ids=["stop", "stop limit", "profit", "profit limit", "trailing", "trailing, activated"],
)
def test_it_waits_at_binance_and_trades_once(order: StandardOrder, rise: list[str]) -> None:
    """It rests without being an order; the price comes there while no kernel runs; its fill is booked, once."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:
            await kernel.place_order(order, "a")
            await trading.reaches(kernel, "a", WORKING)
            assert await trading.orders() == []
            assert [row["status"] for row in await waiting(trading)] == ["NEW"]
        for price in rise:
            await marked(trading, price)
        async with trading.kernel() as kernel:
            state = await trading.reaches(kernel, "a", *ENDED)
        assert (state.status, state.filled_base) == (FILLED, D("0.03"))
        assert executed(await trading.orders()) == D("0.03")
        assert len(await trading.orders()) == len(await waiting(trading)) == 1

    on(UsdmHarness, scene)


@pytest.mark.parametrize("fault", [None, Fault.EVENT_LOST, Fault.STREAM_SILENT, Fault.STREAM_CUT])
def test_a_triggered_conditional_order_that_becomes_a_new_order_stays_one_attempt(fault: Fault | None) -> None:
    """With the stream whole, silent, cut or lossy: the new number is the same order, it is cancelled by that number,
    and nothing else is placed."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:
            await kernel.place_order(stop(limit="60000"), "a")
            await trading.reaches(kernel, "a", WORKING)
            if fault is not None:
                await trading.harness.inject(fault)
            await marked(trading, "44900")  # the order that it places asks for 60000, and rests

            async def joined() -> bool:
                record = await trading.store.record("main", "a")
                assert record is not None
                return {known.kind for known in record.attempts[0].ids} >= {"algo", "order"}

            await trading.until(joined)
            (order,) = await trading.live()
            assert order.amount == D("0.03")
            assert (await kernel.get_order_state("a")).status is WORKING
            await kernel.cancel_order("a")
            await trading.reaches(kernel, "a", CANCELED)
        assert await trading.live() == []
        assert len(await trading.orders()) == len(await waiting(trading)) == 1

    on(UsdmHarness, scene)


@pytest.mark.parametrize("fault", [Fault.ANSWER_LOST, Fault.ERROR_AFTER, Fault.GARBLED])
def test_one_whose_answer_is_lost_is_found_and_not_placed_again(fault: Fault) -> None:
    """It is looked for in both services, also after it has triggered meanwhile."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:
            await trading.harness.inject(fault)
            await kernel.place_order(stop(), "a")
            await trading.reaches(kernel, "a", WORKING)
            await marked(trading, "44900")
            state = await trading.reaches(kernel, "a", *ENDED)
            assert (state.status, state.filled_base) == (FILLED, D("0.03"))
            assert await trading.harness.changes() == 1
        assert len(await trading.orders()) == len(await waiting(trading)) == 1

    on(UsdmHarness, scene)


def test_one_that_never_arrived_is_proved_absent_and_placed_once() -> None:
    """The request is lost: neither service has it once its time is over, and then it is placed."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:
            await trading.harness.inject(Fault.REQUEST_LOST)
            await kernel.place_order(stop(limit="44000"), "a")
            await trading.reaches(kernel, "a", WORKING)
        assert [row["status"] for row in await waiting(trading)] == ["NEW"]

    on(UsdmHarness, scene)


def test_a_cancel_that_comes_after_the_trigger_ends_the_order_that_was_placed() -> None:
    """The cancel of the conditional order is on its way when it triggers: it is refused, the order is looked up, and
    that is cancelled."""

    async def scene(trading: Trading) -> None:
        harness = trading.harness
        async with trading.kernel() as kernel:
            await kernel.place_order(stop(limit="60000"), "a")
            await trading.reaches(kernel, "a", WORKING)
            held = await harness._aside.ask(lambda: harness._aside.proxy.hold(method="DELETE"))
            await kernel.cancel_order("a")
            await harness._aside.wait(held.wait)
            await marked(trading, "44900")
            assert len(await trading.live()) == 1
            await harness._aside.ask(held.release)
            state = await trading.reaches(kernel, "a", CANCELED)
            assert state.filled_base == 0
        assert await trading.live() == []

    on(UsdmHarness, scene)


def test_a_cancel_ends_one_that_waits_and_another_price_is_another_one() -> None:
    """It is changed by cancelling it and placing another: at no time are there two."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:
            await kernel.place_order(stop(), "a")
            await trading.reaches(kernel, "a", WORKING)
            await kernel.modify_order("a", stop(price="44000"))

            async def replaced() -> bool:
                return [row["status"] for row in await waiting(trading)] == ["CANCELED", "NEW"]

            await trading.until(replaced)
            await kernel.cancel_order("a")
            await trading.reaches(kernel, "a", CANCELED)
            assert [row["status"] for row in await waiting(trading)] == ["CANCELED", "CANCELED"]
        await marked(trading, "43000")
        assert await trading.orders() == []

    on(UsdmHarness, scene)


@pytest.mark.parametrize(
    "order",
    [
        stop(price="60000"),
        stop(TriggerKind.TRAILING_STOP, None, trail_offset="1", trail_unit=TrailUnit.PERCENT, activation_price="40000"),
    ],
    ids=["stop", "activation"],
)
def test_one_that_would_trigger_at_once_is_refused_by_its_rule(order: StandardOrder) -> None:
    """-2021: nothing was placed, and the order says so."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:
            await kernel.place_order(order, "a")
            state = await trading.reaches(kernel, "a", *ENDED)
            assert state.status is IntentStatus.REJECTED
            assert "immediately trigger" in state.reason
        assert await waiting(trading) == []

    on(UsdmHarness, scene)


def test_one_that_somebody_else_placed_is_seen_and_left_alone() -> None:
    """A foreign conditional order is in the list of orders, triggers, and is never touched."""

    async def scene(trading: Trading) -> None:
        fields = {"algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET",
                  "quantity": "0.02", "triggerPrice": "45000", "workingType": "MARK_PRICE"}  # fmt: skip
        await trading.harness._ask(lambda binance: binance.act("algoOrder.place", "main", fields, market="futures"))
        async with trading.kernel() as kernel:
            await kernel.force_reconciliation()
            (state,) = await kernel.get_all_orders()
            assert (state.intent_id, state.amount) == (None, D("0.02"))
            assert await kernel.cancel_all_orders() == []
            await asyncio.sleep(0.5)
            assert [row["status"] for row in await waiting(trading)] == ["NEW"]

    on(UsdmHarness, scene)


def test_reduce_only_at_the_last_price_triggers_by_trades() -> None:
    """CONTRACT_PRICE watches trades, and what it places never opens a position."""

    async def scene(trading: Trading) -> None:
        order = StandardOrder(
            "BTC/USDT:USDT",
            Side.SELL,
            "0.03",
            reduce_only=True,
            conditional_trigger=ConditionalTrigger(TriggerKind.STOP_LOSS, trigger_price="49000"),
            conditional_mode=ConditionalOrderMode.STANDALONE,
        )
        async with trading.kernel() as kernel:
            await kernel.place_order(
                StandardOrder("BTC/USDT:USDT", Side.BUY, "0.02", time_in_force=TimeInForce.IOC), "held"
            )
            await trading.reaches(kernel, "held", FILLED)
            await kernel.place_order(order, "a")
            await trading.reaches(kernel, "a", WORKING)
            await marked(trading, "48000")
            await asyncio.sleep(0.3)
            assert [row["status"] for row in await waiting(trading)] == ["NEW"]
            await trading.harness._ask(lambda binance: traded(trading.harness, binance, "48990"))
            state = await trading.reaches(kernel, "a", *ENDED)
            assert state.filled_base == D("0.02")
            assert [each for each in await kernel.get_positions() if each.amount] == []

    on(UsdmHarness, scene)


REFUSED: list[tuple[str, dict[str, Any], str, type[Exception]]] = [
    ("no price", {"trigger": Trigger(TriggerKind.STOP_LOSS, None)}, "trigger.price", InvalidOrder),
    ("off the grid", {"trigger": Trigger(TriggerKind.STOP_LOSS, D("45000.05"))}, "trigger.price", InvalidOrder),
    ("mid price", {"trigger": Trigger(TriggerKind.STOP_LOSS, D(45_000), PriceSource.MID)}, "source_mid", Unsupported),
    (
        "absolute trail",
        {"trigger": Trigger(TriggerKind.TRAILING_STOP, None, offset=D(100), offset_in=TrailUnit.ABSOLUTE)},
        "trailing_abs",
        Unsupported,
    ),
    (
        "too long a trail",
        {"trigger": Trigger(TriggerKind.TRAILING_STOP, None, offset=D("10.1"), offset_in=TrailUnit.PERCENT)},
        "trigger.offset",
        InvalidOrder,
    ),
    (
        "trail with a limit",
        {
            "trigger": Trigger(TriggerKind.TRAILING_STOP, None, offset=D(1), offset_in=TrailUnit.PERCENT),
            "limit": D(40_000),
        },
        "limit",
        InvalidOrder,
    ),
    (
        "post-only",
        {"trigger": Trigger(TriggerKind.STOP_LOSS, D(45_000)), "limit": D(44_000), "post_only": True},
        "post_only",
        Unsupported,
    ),
    (
        "at the market, at once",
        {"trigger": Trigger(TriggerKind.STOP_LOSS, D(45_000)), "tif": TimeInForce.IOC},
        "tif",
        InvalidOrder,
    ),
]


@pytest.mark.parametrize(("more", "named", "kind"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_binance_would_not_take_is_refused_by_name(
    more: dict[str, Any], named: str, kind: type[Exception]
) -> None:
    """Before anything is signed."""

    async def scene(trading: Trading) -> None:
        adapter = trading.harness.adapter()
        await adapter.open(trading.harness.context())
        try:
            with pytest.raises(kind) as error:
                adapter.check(Spec("BTC/USDT:USDT", Side.SELL, D("0.03"), **more))
            assert named in (getattr(error.value, "field", ""), getattr(error.value, "feature", ""))
        finally:
            await adapter.close()

    on(UsdmHarness, scene)
