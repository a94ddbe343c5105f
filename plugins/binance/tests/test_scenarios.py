"""What went wrong for others on Binance, played with a real kernel: never two orders, never a lost one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal

import pytest

from exchange_kernel.models import IntentStatus, Origin
from exchange_kernel.schema import ConditionalOrderMode, ConditionalTrigger, Side, StandardOrder, TriggerKind
from exchange_kernel.testing.conformance import Fault
from exchange_kernel_binance.conformance import BinanceHarness, SpotHarness, UsdmHarness
from exchange_kernel_binance.simulator import Simulator
from plugins.binance.tests.trading import ENDED, Trading, crossing, executed, on, resting

FILLED, CANCELED, WORKING = IntentStatus.FILLED, IntentStatus.CANCELED, IntentStatus.WORKING
D = Decimal
MARKETS = pytest.mark.parametrize("market", [SpotHarness, UsdmHarness], ids=["spot", "usdm"])
Market = Callable[[], BinanceHarness]


@MARKETS
@pytest.mark.parametrize("fault", [Fault.ANSWER_LOST, Fault.ERROR_AFTER, Fault.GARBLED])
def test_a_submit_that_times_out_but_executed_is_not_doubled(market: Market, fault: Fault) -> None:
    """A market order whose answer is lost has filled, and its client id is free again: nothing is sent twice."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:
            await trading.harness.inject(fault)
            await kernel.place_order(crossing(trading.harness), "a")
            state = await trading.reaches(kernel, "a", *ENDED)
        assert (state.status, state.filled_base) == (FILLED, D("0.03"))
        assert [order.filled_base for order in await trading.orders()] == [D("0.03")]
        assert await trading.harness.changes() == 1

    on(market, scene)


@MARKETS
def test_a_retry_never_races_the_stream(market: Market) -> None:
    """-1007, and the stream tells of the order before anybody has asked: it is adopted, not refused as a duplicate."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:
            await kernel.place_order(resting(trading.harness), "before")
            await trading.reaches(kernel, "before", WORKING)
            await trading.harness.inject(Fault.ERROR_AFTER)
            await kernel.place_order(resting(trading.harness, "0.05"), "a")
            await trading.reaches(kernel, "a", WORKING)
            await asyncio.sleep(1.5)
            assert (await kernel.get_order_state("a")).status is WORKING
            assert len(await trading.live()) == 2
            assert await trading.harness.changes() == 2

    on(market, scene)


@MARKETS
def test_an_order_that_queries_do_not_show_yet_is_not_given_up(market: Market) -> None:
    """-2013 right after the accept, and no stream: the kernel asks on until it is there."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:
            await trading.harness.inject(Fault.READ_LAGS, ms=190)
            await trading.harness.inject(Fault.EVENT_LOST)
            await trading.harness.inject(Fault.ANSWER_LOST)
            await kernel.place_order(resting(trading.harness), "a")
            await trading.reaches(kernel, "a", WORKING)
        assert len(await trading.orders()) == 1
        assert await trading.harness.changes() == 1

    on(market, scene)


@MARKETS
@pytest.mark.parametrize("fault", [Fault.EVENT_LOST, Fault.STREAM_SILENT, Fault.STREAM_CUT])
def test_a_stream_that_misses_fills_does_not_lose_them(market: Market, fault: Fault) -> None:
    """An execution that is never told, a connection that stalls, one that ends: the fill is booked all the same."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:
            await kernel.place_order(resting(trading.harness), "a")
            await trading.reaches(kernel, "a", WORKING)
            (order,) = await trading.live()
            await trading.harness.inject(fault)
            await trading.harness.fill(order, D("0.01"))
            await trading.reaches(kernel, "a", IntentStatus.PARTIALLY_FILLED, filled_base=D("0.01"))
            await trading.harness.fill(order, D("0.02"))
            state = await trading.reaches(kernel, "a", *ENDED)
        assert (state.status, state.filled_base) == (FILLED, D("0.03"))

    on(market, scene)


@MARKETS
def test_events_that_come_twice_late_or_mixed_up_count_once(market: Market) -> None:
    """Copies and stale reports after the end change nothing: three fills, and the order stays filled."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:
            await kernel.place_order(resting(trading.harness), "a")
            await trading.reaches(kernel, "a", WORKING)
            (order,) = await trading.live()
            await trading.harness.inject(Fault.EVENT_REPEATED, times=20)
            await trading.harness.inject(Fault.EVENTS_REORDERED, times=2)
            for _ in range(3):
                await trading.harness.fill(order, D("0.01"))
            state = await trading.reaches(kernel, "a", *ENDED)
            assert (state.status, state.filled_base) == (FILLED, D("0.03"))
            await asyncio.sleep(1.5)
            assert await kernel.get_order_state("a") == state

    on(market, scene)


@MARKETS
def test_a_cancel_that_loses_the_race_ends_filled(market: Market) -> None:
    """-2011 because the order has filled meanwhile: it is not called cancelled, and nothing loops."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:
            await kernel.place_order(resting(trading.harness), "a")
            await trading.reaches(kernel, "a", WORKING)
            (order,) = await trading.live()
            aside = trading.harness._aside
            held = await aside.ask(lambda: aside.proxy.hold(method="DELETE"))
            await kernel.cancel_order("a")
            await aside.wait(held.wait)
            await trading.harness.fill(order, D("0.03"))
            await aside.ask(held.release)
            state = await trading.reaches(kernel, "a", *ENDED)
        assert (state.status, state.filled_base) == (FILLED, D("0.03"))
        assert await trading.live() == []

    on(market, scene)


@MARKETS
def test_an_order_that_binance_has_forgotten_is_not_made_again(market: Market) -> None:
    """Cancelled by hand while nobody looked, and longer ago than Binance remembers: absent is not never sent."""

    async def scene(trading: Trading) -> None:
        harness = trading.harness
        async with trading.kernel() as kernel:
            await kernel.place_order(resting(harness), "a")
            await trading.reaches(kernel, "a", WORKING)

        def by_hand(binance: object) -> None:
            number = int(order.ids[0].value.rpartition("/")[2])
            market = "spot" if harness.market == "spot" else "futures"
            binance.act("order.cancel", "main", {"symbol": "BTCUSDT", "orderId": number}, market=market)  # type: ignore[attr-defined]

        (order,) = await trading.live()
        await harness._ask(by_hand)
        await harness.leap((100 if harness.market == "spot" else 10) * 86_400_000)
        async with trading.kernel() as kernel:
            state = await trading.reaches(kernel, "a", *ENDED)
        assert (state.status, state.filled_base) == (IntentStatus.EXPIRED, 0)
        assert len(await trading.orders()) == 1

    on(market, scene)


@MARKETS
def test_after_a_restart_with_a_wrong_clock_every_order_is_found(market: Market) -> None:
    """The process starts anew and its clock is a minute off: no order is lost, cancels work, no second generation."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:
            for name in ("a", "b"):
                await kernel.place_order(resting(trading.harness), name)
                await trading.reaches(kernel, name, WORKING)
            await trading.harness.inject(Fault.ANSWER_LOST)
            await kernel.place_order(resting(trading.harness, "0.07"), "c")
        await trading.harness.clear()
        for skew in (60_000, -120_000):
            await trading.harness.skew(skew)
            async with trading.kernel() as kernel:
                for name in ("a", "b", "c"):
                    await trading.reaches(kernel, name, WORKING)
                assert len(await trading.live()) == 3
        async with trading.kernel() as kernel:
            await trading.harness.skew(-30_000)  # while it runs: -1021 for what it asks next
            for name in ("a", "b", "c"):
                await kernel.cancel_order(name)
            for name in ("a", "b", "c"):
                await trading.reaches(kernel, name, CANCELED)
        assert await trading.live() == []
        assert len(await trading.orders()) == 3

    on(market, scene)


def test_a_fill_between_the_decision_and_the_cancel_is_not_ordered_again() -> None:
    """Another price on spot is a cancel and a new order: what fills before the cancel arrives is taken off the rest."""

    async def scene(trading: Trading) -> None:
        harness = trading.harness
        async with trading.kernel() as kernel:
            await kernel.place_order(resting(harness), "a")
            await trading.reaches(kernel, "a", WORKING)
            (order,) = await trading.live()
            held = await harness._aside.ask(lambda: harness._aside.proxy.hold(method="DELETE"))
            await kernel.modify_order("a", StandardOrder(harness.symbol, Side.BUY, "0.03", limit_price="41000"))
            await harness._aside.wait(held.wait)
            await harness.fill(order, D("0.01"))
            await harness._aside.ask(held.release)

            async def replaced() -> bool:
                return [each.amount for each in await trading.live() if each.price == 41_000] == [D("0.02")]

            await trading.until(replaced)
            state = await kernel.get_order_state("a")
            assert state.filled_base == D("0.01")
        assert executed(await trading.orders()) == D("0.01")
        assert len(await trading.live()) == 1

    on(SpotHarness, scene)


@pytest.mark.parametrize("limit", [None, "44900"])
def test_a_stop_on_spot_waits_at_binance_and_trades_once(limit: str | None) -> None:
    """It rests without working while the kernel is down; once the price is there it trades, and its fill is booked."""

    async def scene(trading: Trading) -> None:
        harness = trading.harness
        stop = ConditionalTrigger(TriggerKind.STOP_LOSS, trigger_price="45000")
        order = StandardOrder(
            harness.symbol,
            Side.SELL,
            "0.03",
            limit_price=limit,
            conditional_trigger=stop,
            conditional_mode=ConditionalOrderMode.STANDALONE,
        )
        async with trading.kernel() as kernel:
            await kernel.place_order(order, "a")
            await trading.reaches(kernel, "a", WORKING)
            assert [each.live for each in await trading.orders()] == [True]

        def fall(binance: Simulator) -> None:
            binance.act(
                "order.place",
                "crowd",
                {
                    "symbol": "BTCUSDT",
                    "side": "BUY",
                    "type": "LIMIT",
                    "timeInForce": "GTC",
                    "quantity": "1",
                    "price": "44950",
                },
            )
            binance.trade_at("BTCUSDT", D(44_990), D("0.01"))

        await harness._ask(harness._withdraw)
        await harness._ask(fall)
        async with trading.kernel() as kernel:
            state = await trading.reaches(kernel, "a", *ENDED)
        assert (state.status, state.filled_base) == (FILLED, D("0.03"))
        assert executed(await trading.orders()) == D("0.03")
        assert len(await trading.orders()) == 1

    on(SpotHarness, scene)


@MARKETS
def test_all_orders_cancelled_by_hand_are_not_placed_again(market: Market) -> None:
    """Somebody cancels everything of the symbol while the stream is cut: ours have ended, the stranger's is gone, and
    nothing comes back."""

    async def scene(trading: Trading) -> None:
        harness = trading.harness
        async with trading.kernel() as kernel:
            for name in ("a", "b"):
                await kernel.place_order(resting(harness), name)
                await trading.reaches(kernel, name, WORKING)
            await harness.foreign()
            await harness.inject(Fault.STREAM_CUT)

            def by_hand(binance: Simulator) -> None:
                where = "spot" if harness.market == "spot" else "futures"
                binance.act("openOrders.cancelAll", "main", {"symbol": "BTCUSDT"}, market=where)

            await harness._ask(by_hand)
            for name in ("a", "b"):
                state = await trading.reaches(kernel, name, *ENDED)
                assert (state.status, state.filled_base) == (CANCELED, 0)

            async def alone() -> bool:
                return all(each.origin is Origin.OURS for each in await kernel.get_all_orders())

            await trading.until(alone)
        assert await trading.live() == []
        assert len(await trading.orders()) == 3

    on(market, scene)


def test_an_oco_leg_that_ends_its_sibling() -> None:
    """Somebody places an OCO by hand beside an order of ours: both legs are foreign, one ends the other while the
    stream is down, and the kernel neither touches them nor takes them, or what they trade, for its own."""

    async def scene(trading: Trading) -> None:
        harness = trading.harness
        pair = {
            "symbol": "BTCUSDT",
            "side": "SELL",
            "quantity": "0.03",
            "aboveType": "LIMIT_MAKER",
            "abovePrice": "60000",
            "belowType": "STOP_LOSS",
            "belowStopPrice": "35000",
        }
        async with trading.kernel() as kernel:
            await kernel.place_order(resting(harness), "a")
            await trading.reaches(kernel, "a", WORKING)

            async def strangers(*amounts: str) -> None:
                async def there() -> bool:
                    seen = [each for each in await kernel.get_all_orders() if each.origin is Origin.FOREIGN]
                    return sorted(each.filled_base for each in seen) == sorted(D(each) for each in amounts)

                await trading.until(there)

            def by_hand(binance: Simulator) -> None:
                binance.act("orderList.place.oco", "main", pair)

            await harness._ask(by_hand)
            await strangers("0", "0")
            await harness.inject(Fault.STREAM_CUT)
            limit = next(each for each in await trading.live() if each.price == 60_000)
            await harness.fill(limit, D("0.01"))
            await strangers("0.01")
            await harness.fill(limit, D("0.02"))
            await strangers()
            state = await kernel.get_order_state("a")
            assert (state.status, state.filled_base) == (WORKING, 0)
        assert [each.filled_base for each in await trading.orders()] == [0, D("0.03"), 0]
        assert await harness.changes() == 1  # what was placed by hand is not counted, and ours came once

    on(SpotHarness, scene)
