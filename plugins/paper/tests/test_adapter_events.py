"""The adapter's streams: subscribe, then Gap, then data; and a Gap whenever something may have been missed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from exchange_kernel.venue import (
    AccountSnapshot,
    Gap,
    MarketsChanged,
    OrderReport,
    PriceTick,
    VenueEvent,
    VenueStatus,
)
from plugins.paper.tests.session import BTC, Reader, Session, key, scenario, settle, spec

QUIET = {"balance_event_ms": 3_600_000}


def bodies(reader: Reader) -> list[Any]:
    """What the events are about."""
    assert all(isinstance(event, VenueEvent) for event in reader.items)
    return [event.body for event in reader.items]


def kinds(reader: Reader) -> list[str]:
    """Names of the events' types; of orders, their keys."""
    return [
        f"order {int.from_bytes(body.key or b'', 'big')}" if isinstance(body, OrderReport) else type(body).__name__
        for body in bodies(reader)
    ]


async def listen(session: Session) -> Reader:
    """An event stream that stands."""
    reader = Reader(session.adapter.events(None))
    await settle()
    return reader


def test_the_first_event_is_a_gap_and_then_everything_comes() -> None:
    """What happened before the subscription must come from a snapshot; what happens after it comes by itself."""

    async def play(session: Session) -> None:
        await session.place(1)
        reader = await listen(session)
        await session.place(2)
        await settle()
        assert kinds(reader) == ["Gap", "order 2"]
        await reader.stop()

    scenario(Session(**QUIET), play)


def test_an_order_event_is_a_report_like_any_other() -> None:
    """Same ids and totals as a look-up; with only its new fills, and it says so."""

    async def play(session: Session) -> None:
        reader = await listen(session)
        ref, _ = await session.place(1, spec(amount="2"))
        for _ in range(2):
            session.exchange.trade_through(BTC, "SELL", "100", "1")
        await settle()
        reports = bodies(reader)[1:]
        found: Any = await session.adapter.lookup(ref)
        last = found.reports[0]
        assert [(r.status, r.filled.base, len(r.fills), r.fills_complete) for r in reports] == [
            (VenueStatus.WORKING, 0, 0, True),
            (VenueStatus.WORKING, 1, 1, True),
            (VenueStatus.FILLED, 2, 1, False),
        ]
        assert reports[1].fills + reports[2].fills == last.fills
        assert (reports[2].id, reports[2].version, reports[2].final) == (last.id, last.version, True)
        await reader.stop()

    scenario(Session(**QUIET), play)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("event_drop", ["Gap", "Gap", "order 2", "order 3"]),
        ("event_duplicate", ["Gap", "order 1", "order 1", "order 2", "order 3"]),
        ("event_reorder", ["Gap", "Gap", "order 2", "order 1", "order 3"]),
    ],
)
def test_lost_doubled_and_overtaken_events(fault: str, expected: list[str]) -> None:
    """A hole in the numbers is a Gap, before the event that shows it; copies and latecomers are passed on."""

    async def play(session: Session) -> None:
        reader = await listen(session)
        session.exchange.faults.once(fault, "event")
        for number in (1, 2, 3):
            await session.place(number)
        await settle()
        assert kinds(reader) == expected
        assert session.exchange.faults.counts[fault] == 1
        await reader.stop()

    scenario(Session(**QUIET), play)


def test_a_lost_last_event_is_noticed_by_the_next_heartbeat() -> None:
    """Once, not with every heartbeat."""

    async def play(session: Session) -> None:
        reader = await listen(session)
        session.exchange.faults.once("event_drop", "event")
        await session.place(1)
        for _ in range(3):
            session.advance(1_000)
            await settle()
        assert kinds(reader) == ["Gap", "Gap"]
        await reader.stop()

    scenario(Session(heartbeat_ms=1_000, **QUIET), play)


@pytest.mark.parametrize("how", ["disconnect", "restart", "outage", "silence", "overflow"])
def test_a_broken_stream_is_a_gap_and_is_opened_again(how: str) -> None:
    """Whatever ended it; what happened meanwhile is in the snapshot the Gap asks for."""

    async def play(session: Session) -> None:
        reader = await listen(session)
        exchange = session.exchange
        if how == "disconnect":
            exchange.faults.once("disconnect", "event")
            await session.place(1)
        elif how == "restart":
            exchange.restart()
        elif how == "outage":
            exchange.outage(3_000)
        elif how == "silence":
            exchange.faults.once("silence", "event")
        else:
            for number in range(1, 9):
                await session.place(number)
        for _ in range(12):
            await settle()
            session.advance(1_000)
        await settle()
        assert kinds(reader)[:3] == ["Gap", "Gap", "Gap"]
        await session.place(99)
        await settle()
        assert kinds(reader)[-1] == "order 99"
        await reader.stop()

    scenario(Session(queue_size=5, **QUIET), play)


def test_balances_and_closed_markets_are_events_too() -> None:
    """A partial account snapshot of what changed; a change of markets by name."""

    async def play(session: Session) -> None:
        reader = await listen(session)
        await session.place(1)
        session.advance(100)
        session.exchange.set_open(BTC, False)
        await settle()
        _, _, account, markets = bodies(reader)
        assert isinstance(account, AccountSnapshot)
        assert not account.complete
        assert [(b.asset, b.total, b.free) for b in account.balances] == [("USD", Decimal(1_000_000), Decimal(999_900))]
        assert markets == MarketsChanged(frozenset({BTC}), "closed")
        assert not next(s for s in await session.adapter.markets() if s.symbol_id == BTC).active
        await reader.stop()

    scenario(Session(balance_event_ms=100), play)


def test_closing_the_adapter_ends_its_streams_and_leaves_orders_alone() -> None:
    """And closing again does nothing."""

    async def play(session: Session) -> None:
        reader = await listen(session)
        await session.place(1)
        await session.adapter.close()
        await session.adapter.close()
        await settle()
        assert reader._task.done()
        assert session.exchange.ledger.orders()[0].live

    scenario(Session(**QUIET), play)


def test_prices_come_first_and_then_change() -> None:
    """Of the symbols asked for; a one-sided market has no bid."""

    async def play(session: Session) -> None:
        session.exchange.set_ladder("NEW/USD", [], [("2.5", "10")])
        reader = Reader(session.adapter.prices(frozenset({BTC, "NEW/USD"})))
        await settle()
        await session.place(1, spec(limit="99"))
        session.exchange.set_ladder("SOL/USD", [("20", "1")], [])
        await settle()
        assert [(t.symbol, t.bid, t.ask, t.last) for t in reader.items if isinstance(t, PriceTick)] == [
            (BTC, None, None, None),
            ("NEW/USD", None, Decimal("2.5"), None),
            (BTC, Decimal(99), None, None),
        ]
        session.exchange.restart()
        await settle()
        session.advance(200)
        await settle()
        assert len(reader.items) == 5  # the current prices again
        await reader.stop()

    scenario(Session(), play)


def test_events_of_a_ledger_tell_the_change_and_then_its_finality() -> None:
    """The same order twice, the second time for good."""

    async def play(session: Session) -> None:
        session.exchange.set_ladder(BTC, [], [("100", "9")])
        reader = await listen(session)
        await session.place(1)
        for _ in range(4):
            session.advance(500)
            await settle()
        reports = [body for body in bodies(reader) if isinstance(body, OrderReport)]
        states: list[Any] = [(r.status, r.filled.base, r.tentative.base, r.final) for r in reports]
        assert states == [
            (VenueStatus.FILLED, 0, 1, False),
            (VenueStatus.FILLED, 1, 0, True),
        ]
        assert reports[0].version != reports[1].version
        await reader.stop()

    scenario(Session(fence="sequence", **QUIET), play)


def test_a_gap_says_since_when() -> None:
    """The venue's time of the last thing heard."""

    async def play(session: Session) -> None:
        reader = await listen(session)
        session.advance(500)
        await session.place(1)
        session.exchange.restart()
        await settle()
        gaps = [body for body in bodies(reader) if isinstance(body, Gap)]
        assert [gap.since for gap in gaps] == [0, 1_700_000_000_500]
        assert key(1) in [getattr(body, "key", None) for body in bodies(reader)]
        await reader.stop()

    scenario(Session(**QUIET), play)
