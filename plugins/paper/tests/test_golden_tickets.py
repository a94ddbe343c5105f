"""Tickets outlive upgrades: what any release left in a store is read, found, proved dead or sent by this one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from exchange_kernel.errors import NotSent, OutcomeUnknown, VenueError
from exchange_kernel.reconcile.proof import shows_dead
from exchange_kernel.schema import AmountType
from exchange_kernel.venue import Absent, Found, OrderReport, Ref, StepReport, Ticket, VenueStatus
from exchange_kernel_paper.link import InProcessLink
from exchange_kernel_paper.tickets import CODEC, operation
from plugins.paper.tests.golden_tickets import FENCES, FOLDER, RELEASE, Attempt, Golden, kept, read, written
from plugins.paper.tests.session import Session, scenario, settle

FILES = [pytest.param(path, id=f"{path.parent.name}-{path.stem}") for path in kept()]
LONG_MS = 30_000


def opened(golden: Golden) -> Session:
    """The exchange as it was when the tickets were made, and today's adapter."""
    session = Session(fence=golden.fence)
    assert session.now() == golden.made_at
    return session


async def deliver(session: Session, ticket: Ticket) -> None:
    """The bytes arrive, sent by a process of the old release that died before the answer came."""
    await InProcessLink(session.exchange).call(operation(ticket.body), ticket.body)


async def pass_time(session: Session, ms: int) -> None:
    """Let the exchange work."""
    for _ in range(ms // 250):
        session.advance(250)
        await settle(3)


async def order_of(session: Session, ref: Ref) -> OrderReport:
    """The one order a lookup finds."""
    answer = await session.adapter.lookup(ref)
    assert isinstance(answer, Found), answer
    orders = [report for report in answer.reports if isinstance(report, OrderReport)]
    assert len(orders) == 1
    return orders[0]


def arriving(attempt: Attempt) -> tuple[Ticket, ...]:
    """The tickets of an attempt that can take effect: of two with one number, the later."""
    return attempt.ref.tickets[-1:] if attempt.name == "burnt" else attempt.ref.tickets


def expect_as_wanted(attempt: Attempt, report: OrderReport) -> None:
    """The order is the one the old release wanted."""
    assert report.key == attempt.ref.key
    assert (report.symbol, report.side) == (attempt.wanted.symbol, attempt.wanted.side)
    assert (report.amount, report.price) == (attempt.wanted.amount, attempt.wanted.limit)
    assert (report.raw.get("amount_in") == "QUOTE") == (attempt.wanted.amount_in is AmountType.QUOTE)
    expected = VenueStatus.CANCELED if attempt.name == "cancelled" else VenueStatus.WORKING
    assert report.status is expected


def test_this_release_has_left_its_tickets() -> None:
    """Every release keeps an example for each fence; write them with `python -m plugins.paper.tests.golden_tickets`."""
    assert {path.stem for path in (FOLDER / RELEASE).glob("*.json")} == set(FENCES)
    codecs = {t.codec for path in kept() for a in read(path.read_text()).attempts for t in a.ref.tickets}
    assert CODEC in codecs


@pytest.mark.parametrize("path", FILES)
def test_a_ticket_names_its_plugin_and_format(path: Path) -> None:
    """`codec` is a plugin's name and a format's number, and what is read is what was written, to the byte."""
    golden = read(path.read_text())
    for attempt in golden.attempts:
        for ticket in attempt.ref.tickets:
            plugin, _, number = ticket.codec.partition("/")
            assert plugin == "paper"
            assert number.isdigit()
    assert written(golden) == path.read_text()


@pytest.mark.parametrize("path", FILES)
def test_what_arrived_is_found(path: Path) -> None:
    """The old process died after sending: with only its tickets, today's adapter finds every order as it was wanted."""
    golden = read(path.read_text())

    async def play(session: Session) -> None:
        for attempt in golden.attempts:
            for ticket in arriving(attempt):
                await deliver(session, ticket)
        await pass_time(session, 5_000)
        for attempt in golden.attempts:
            if golden.fence == "none":
                # No ids: the order is shown as a candidate, and nothing is claimed.
                answer = await session.adapter.lookup(attempt.ref)
                candidates = getattr(answer, "candidates", ())
                assert any(c.amount == attempt.wanted.amount for c in candidates)
            elif attempt.name == "burnt":
                answer = await session.adapter.lookup(attempt.ref)
                assert isinstance(answer, Absent)
                assert shows_dead(attempt.ref, answer, session.opened)
            else:
                expect_as_wanted(attempt, await order_of(session, attempt.ref))

    scenario(opened(golden), play)


@pytest.mark.parametrize("path", FILES)
def test_what_is_still_valid_is_sent(path: Path) -> None:
    """The old process died before sending: today's adapter sends the very bytes, and a copy only where that is safe."""
    golden = read(path.read_text())

    async def play(session: Session) -> None:
        for attempt in golden.attempts:
            for ticket in arriving(attempt):
                await session.adapter.submit(ticket)
                if ticket.fence.repeatable:
                    await _again(session, ticket)
        await pass_time(session, 5_000)
        for attempt in golden.attempts:
            if golden.fence != "none" and attempt.name != "burnt":
                expect_as_wanted(attempt, await order_of(session, attempt.ref))
        orders = len(session.exchange.engine.orders)
        assert orders == sum(attempt.name != "burnt" for attempt in golden.attempts)

    scenario(opened(golden), play)


async def _again(session: Session, ticket: Ticket) -> None:
    """A copy: harmless, whatever the venue answers to it, and never answered with a verdict on the first one."""
    # A copy of a cancel may say that its target is gone.
    with suppress(OutcomeUnknown if operation(ticket.body) == "order" else VenueError):
        await session.adapter.submit(ticket)


@pytest.mark.parametrize("path", FILES)
def test_what_is_over_is_refused_or_proved_dead(path: Path) -> None:
    """Found long after: a ticket with an end on a clock is neither sent nor waited for; its absence proves it dead."""
    golden = read(path.read_text())

    async def play(session: Session) -> None:
        await pass_time(session, LONG_MS)
        for attempt in golden.attempts:
            first = attempt.ref.tickets[0]
            if session.now() > first.send_before:
                with pytest.raises(NotSent, match="too old"):
                    await session.adapter.submit(first)
            answer = await session.adapter.lookup(attempt.ref)
            if golden.fence in ("time_window", "height"):
                assert isinstance(answer, Absent)
                assert shows_dead(attempt.ref, answer, session.opened)
            else:
                # A number, a key or nothing at all: while it was not used, nobody may say that it never will be.
                assert not isinstance(answer, (Found, StepReport))
                assert not isinstance(answer, Absent) or not shows_dead(attempt.ref, answer, session.opened)

    scenario(opened(golden), play)
