"""The exchange's streams: numbering, heartbeats, faults, prices."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from exchange_kernel_paper.exchange import Subscription, decode
from plugins.paper.tests.desk import BTC, Desk


def collect(desk: Desk, act: Callable[[], object], op: str = "events", **fields: Any) -> list[dict[str, Any]]:
    """Subscribe, act, and read what came until then."""

    async def run() -> list[dict[str, Any]]:
        stream = desk.front.subscribe(desk.body(op, **fields))
        result = act()
        if isinstance(result, Awaitable):
            await result
        stream.close()
        return [decode(message) async for message in stream]

    return asyncio.run(run())


def numbers(messages: list[dict[str, Any]]) -> list[int]:
    """The numbers of events, without greeting and heartbeats."""
    return [message["n"] for message in messages if "n" in message]


def place(desk: Desk, count: int) -> Callable[[], None]:
    """Place some orders."""

    def act() -> None:
        for _ in range(count):
            desk.order("BUY", "1", "100")

    return act


def test_every_change_of_an_order_is_an_event_of_its_account() -> None:
    """Numbered without a gap from where the greeting says; of the own account only."""
    desk = Desk()

    def act() -> None:
        order = desk.order("BUY", "2", "100")
        desk.order("BUY", "1", "90", "other")
        desk.exchange.trade_through(BTC, "SELL", "100", "1")
        desk.call("cancel", order=order["id"])

    messages = collect(desk, act)
    assert messages[0]["hello"] == 0
    assert numbers(messages) == [1, 2, 3]
    states = [(m["order"]["status"], m["order"]["filled"], len(m["order"]["trades"])) for m in messages[1:]]
    assert states == [("WORKING", "0", 0), ("WORKING", "1", 1), ("CANCELED", "1", 0)]
    assert messages[3]["order"]["partial"] is True  # says that earlier trades are not repeated


def test_heartbeats_carry_the_newest_number() -> None:
    """So that a lost last event is noticed."""
    desk = Desk(heartbeat_ms=1_000, balance_event_ms=60_000)

    def act() -> None:
        desk.order("BUY", "1", "100")
        desk.clock.advance(2_000)

    assert [message["beat"] for message in collect(desk, act) if "beat" in message] == [1, 1]


def test_balances_of_a_burst_come_as_one_event() -> None:
    """A moment after the first change, with what is free and held then."""
    desk = Desk(balance_event_ms=100)

    def act() -> None:
        place(desk, 3)()
        desk.clock.advance(100)

    balances = [message["balances"] for message in collect(desk, act) if "balances" in message]
    assert balances == [[["USD", "999700", "300"]]]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("event_drop", [2, 3]),
        ("event_duplicate", [1, 1, 2, 3]),
        ("event_reorder", [2, 1, 3]),
        ("disconnect", []),
        ("silence", []),
    ],
)
def test_stream_faults(kind: str, expected: list[int]) -> None:
    """The first of three events is lost, doubled, overtaken, ends the stream, or silences it."""
    desk = Desk()
    desk.exchange.faults.once(kind, "event")
    assert numbers(collect(desk, place(desk, 3))) == expected
    assert desk.exchange.faults.counts[kind] == 1


def test_an_event_held_back_comes_with_the_next_heartbeat_at_the_latest() -> None:
    """Reordered is not lost."""
    desk = Desk(heartbeat_ms=1_000, balance_event_ms=60_000)
    desk.exchange.faults.once("event_reorder", "event")

    def act() -> None:
        place(desk, 1)()
        desk.clock.advance(1_000)

    assert numbers(collect(desk, act)) == [1]


def test_a_slow_reader_loses_the_stream_not_the_exchange_its_memory() -> None:
    """Beyond its queue everything queued is dropped and the stream ends."""
    desk = Desk(queue_size=5)
    assert collect(desk, place(desk, 10)) == []


def test_a_stream_ends_for_its_reader_even_while_it_waits() -> None:
    """Closing wakes the reader."""

    async def run() -> list[bytes]:
        stream = Subscription(5)
        asyncio.get_running_loop().call_soon(stream.close)
        return [message async for message in stream]

    assert asyncio.run(run()) == []


def test_a_reader_whose_event_loop_is_gone_does_not_disturb_anybody() -> None:
    """A kernel that died in another loop leaves its subscription behind."""
    desk = Desk()

    async def wait_for_ever() -> None:
        stream = desk.front.subscribe(desk.body("events"))
        task = asyncio.create_task(_drain(stream))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(wait_for_ever())
    assert numbers(collect(desk, place(desk, 2))) == [1, 2]


async def _drain(stream: Subscription) -> None:
    async for _ in stream:
        pass


def test_prices_come_at_once_and_after_every_change() -> None:
    """A one-sided market has no bid; an unchanged top of the book is not repeated."""
    desk = Desk()
    desk.exchange.set_ladder("NEW/USD", [], [("2.5", "100")])

    def act() -> None:
        desk.exchange.set_ladder(BTC, [("99", "1")], [("101", "1")])
        desk.order("BUY", "1", "98")
        desk.order("BUY", "1")

    ticks = [
        (m["symbol"], m["bid"], m["ask"], m["last"])
        for m in collect(desk, act, "prices", symbols=[BTC, "NEW/USD"])
        if "symbol" in m
    ]
    assert ticks == [
        (BTC, None, None, None),
        ("NEW/USD", None, "2.5", None),
        (BTC, "99", "101", None),
        (BTC, "99", None, "101"),
    ]


def test_closing_a_market_is_news() -> None:
    """Whoever listens learns that it takes no orders."""
    desk = Desk()
    messages = collect(desk, lambda: desk.exchange.set_open(BTC, False))
    assert (messages[1]["markets"], messages[1]["why"]) == ([BTC], "closed")


def test_on_a_ledger_venue_a_change_is_told_twice() -> None:
    """When it is in a block, and when that block is final."""
    desk = Desk(fence="sequence", block_ms=500, finality=2)

    def act() -> None:
        desk.order("BUY", "1", "100", number=0)
        desk.clock.advance(3_000)

    events = [m for m in collect(desk, act) if "order" in m]
    assert [m["ledger"]["final"] >= m["order"]["height"] for m in events] == [False, True]
