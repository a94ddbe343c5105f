"""The exchange's clocks, and the house that quotes."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from random import Random

import pytest

from exchange_kernel_paper.exchange import Exchange, House, LoopClock, ManualClock, SystemVenueClock
from plugins.paper.tests.desk import BTC, Desk


def test_a_manual_clock_fires_timers_in_order_and_at_their_moment() -> None:
    """Also those set by others on the way; cancelled ones never."""
    clock, seen = ManualClock(0), []
    clock.call_later(2, lambda: seen.append(("b", clock.now_ms())))
    clock.call_later(1, lambda: clock.call_later(0.5, lambda: seen.append(("a", clock.now_ms()))))
    clock.call_later(1, lambda: seen.append(("never", 0))).cancel()
    clock.advance(1_999)
    assert seen == [("a", 1_500)]
    clock.advance(1)
    assert seen == [("a", 1_500), ("b", 2_000)]


def test_sleeping_on_a_manual_clock_ends_when_time_has_passed() -> None:
    """Not before; and a cancelled sleeper does no harm."""

    async def play() -> bool:
        clock = ManualClock()
        sleeper, gone = asyncio.create_task(clock.sleep(1)), asyncio.create_task(clock.sleep(1))
        await asyncio.sleep(0)
        gone.cancel()
        clock.advance(999)
        await asyncio.sleep(0)
        early = sleeper.done()
        clock.advance(1)
        await sleeper
        return early

    assert asyncio.run(play()) is False


def test_an_exchange_on_the_machines_clock_expires_orders_by_its_timer() -> None:
    """Nobody asks anything; the stream tells that the order is over."""

    async def play() -> list[bytes]:
        exchange = Exchange("real", SystemVenueClock())
        exchange.open_account("main", "s", {"USD": "1000"})
        stream = exchange.subscribe("main")
        until = exchange.clock.now_ms() + 30
        request: dict[str, object] = {"op": "order", "client": "a", "symbol": BTC, "side": "BUY", "amount": "1"}
        exchange.trade(
            "main", {**request, "limit": "100", "tif": "GTD", "until": until, "ts": until - 30, "window": 2_000}
        )
        seen = []
        async with asyncio.timeout(10):
            async for message in stream:
                seen.append(message)
                if b'"EXPIRED"' in message:
                    break
        return seen

    assert b'"TIME"' in asyncio.run(play())[-1]


def test_an_exchange_goes_on_in_a_second_event_loop() -> None:
    """A timer of a loop that is gone cannot fire; a new subscriber, or any request, sets it anew."""
    clock_ms = [1_700_000_000_000]

    async def place(exchange: Exchange) -> None:
        exchange.open_account("main", "s", {"USD": "1000"})
        now = clock_ms[0]
        request: dict[str, object] = {"op": "order", "client": "a", "symbol": BTC, "side": "BUY", "amount": "1"}
        exchange.trade("main", {**request, "limit": "100", "tif": "GTD", "until": now + 20, "ts": now, "window": 2_000})

    async def wait(exchange: Exchange) -> None:
        exchange.subscribe("main")
        clock_ms[0] += 20
        async with asyncio.timeout(10):
            while exchange.ledger.orders()[0].live:
                await asyncio.sleep(0.001)

    exchange = Exchange("two loops", LoopClock(lambda: clock_ms[0]))
    asyncio.run(place(exchange))
    assert exchange.ledger.orders()[0].live
    asyncio.run(wait(exchange))


def test_the_house_walks_by_its_seed() -> None:
    """The same seed, the same prices; every quote on the grid of its market, around the price."""

    def walked(seed: int) -> list[Decimal]:
        desk = Desk()
        house = House(desk.exchange, Random(seed))
        house.open()
        house.walk(1_000)
        desk.clock.advance(20_000)
        for symbol, price in house.prices.items():
            bid, ask, _ = desk.exchange.book(symbol).top()
            assert ask is not None
            assert (bid or 0) < ask
            assert abs(ask - price) < price / 100
            market = desk.exchange.market(symbol)
            for level in desk.exchange.book(symbol).asks.prices():
                market.check_price("ask", level)
        return list(house.prices.values())

    assert walked(1) == walked(1) != walked(2)


@pytest.mark.parametrize("price", ["49000", "51000"])
def test_moving_the_price_through_an_order_fills_it(price: str) -> None:
    """That is how a demonstration trades."""
    desk = Desk()
    house = House(desk.exchange, Random(1))
    house.open()
    buy, sell = desk.order("BUY", "1", "49500"), desk.order("SELL", "1", "50500")
    house.quote(BTC, Decimal(price))
    assert (desk.show(buy)["status"], desk.show(sell)["status"]) == (
        ("FILLED", "WORKING") if price == "49000" else ("WORKING", "FILLED")
    )
