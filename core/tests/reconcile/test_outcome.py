"""What an answer means: every error, from either authority, for every kind of ticket (R9, R10, R21, R23, R25)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from core.tests.reconcile.records import (
    CANCEL_WINDOW,
    HEIGHT,
    NONE,
    NOW,
    OPENED,
    PERMANENT,
    PLACED,
    SEQUENCE,
    SLOT,
    WINDOW,
    attempt,
    fill,
    fill_row,
    holding,
    record,
    report,
    row,
    spec,
)
from exchange_kernel import errors
from exchange_kernel.events import AmendRejected, OrderOutcomeUnknown, OrderResolved
from exchange_kernel.models import IntentStatus
from exchange_kernel.reconcile.draft import Draft
from exchange_kernel.reconcile.outcome import Answered, ReadUpTo, Reported, Resolved, Voided, code_of, take, verdict
from exchange_kernel.state.rows import AttemptState, Record, TicketKind, TicketRow, TicketState
from exchange_kernel.venue import Fence, FillVoided, TimeEnd, VenueStatus, Watermark, Why

A, K, T = AttemptState, TicketKind, TicketState
LEDGER_TIME = Fence(True, (TimeEnd(PLACED, "ledger"),), "ledger")


class TooOld(errors.NotSent):
    """A plugin's own kind of a definite error."""


class Throttled(errors.RateLimited):
    """A plugin's own kind of a rate limit."""


LIMITED = errors.RateLimited(NOW, "orders")
NO_EFFECT: list[errors.VenueError] = [
    errors.Rejected("no"),
    errors.InsufficientFunds("no"),
    errors.OrderRefused("no"),
    errors.PostOnlyWouldCross("no"),
    errors.MarketClosed("no"),
    errors.UnknownTarget("no"),
    LIMITED,
    errors.NotAuthorized("no"),
    errors.ClockSkew("no"),
    errors.Unsupported("iceberg"),
]
NOT_SENT: list[errors.VenueError] = [errors.NotSent("too old"), TooOld("too old")]
UNKNOWN: list[BaseException] = [
    errors.VenueError("?"),
    errors.OutcomeUnknown("?"),
    errors.Refused("?"),
    errors.Unavailable("?"),
    errors.InvalidOrder("amount", "1", "is bad"),
    TimeoutError(),
    ConnectionError("reset"),
    ValueError("a bug"),
    KeyError("a bug"),
    asyncio.CancelledError(),
]


def name(value: object) -> str:
    return type(value).__name__ if isinstance(value, BaseException) else str(value)


@pytest.mark.parametrize("kind", [K.PLACE, K.AMEND, K.CANCEL])
@pytest.mark.parametrize("error", [*NO_EFFECT, *NOT_SENT, *UNKNOWN], ids=name)
@pytest.mark.parametrize(
    ("fence", "believed"),
    [
        pytest.param(WINDOW, (*NO_EFFECT, *NOT_SENT), id="venue, window"),
        pytest.param(PERMANENT, (*(e for e in NO_EFFECT if e is not LIMITED), *NOT_SENT), id="venue, key"),
        pytest.param(NONE, (*NO_EFFECT, *NOT_SENT), id="venue, no fence"),
        pytest.param(HEIGHT, NOT_SENT, id="ledger, height"),
        pytest.param(LEDGER_TIME, NOT_SENT, id="ledger, time"),
        pytest.param(SEQUENCE, (), id="ledger, number"),
    ],
)
def test_which_errors_are_believed(
    fence: Fence, believed: tuple[BaseException, ...], error: BaseException, kind: TicketKind
) -> None:
    """A venue's typed refusals are definite; of a ledger only "not sent" is; of a number only the number itself. Where
    copies may arrive, one turned away for its rate says nothing of another."""
    sent = row(kind, fence=fence).ticket
    assert verdict(error, sent) == ("none" if error in believed else "unknown")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.PostOnlyWouldCross("x"), "PostOnlyWouldCross"),
        (errors.RateLimited(1, "x"), "RateLimited"),
        (TooOld("x"), "NotSent"),
        (Throttled(1, "x"), "RateLimited"),
        (errors.Unsupported("iceberg"), "Unsupported"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_an_error_is_stored_by_its_name_in_the_tree(error: BaseException, code: str) -> None:
    """Errors that a plugin derives count as what they derive from, so that "not sent" is never taken for a refusal."""
    assert code_of(error) == code


def answered(before: Record, seq: int, fate: str, code: str = "", n: int = 1) -> Draft:
    draft = Draft(before, NOW)
    take(draft, Answered(n, seq, fate, code, "because"), OPENED)  # type: ignore[arg-type]
    return draft


SEEN = attempt(state=A.LIVE)


def placed(fence: Fence = WINDOW, state: TicketState = T.COMMITTED) -> Record:
    return record([attempt()], [row(fence=fence, state=state)], status=IntentStatus.SUBMITTING)


def commanded(kind: TicketKind, state: TicketState = T.COMMITTED) -> Record:
    command = row(kind, state, seq=2, generation=2, amends=spec(12) if kind is K.AMEND else None)
    return record([SEEN], [row(state=T.DONE), command], status=IntentStatus.WORKING, generation=2)


@pytest.mark.parametrize(
    ("fate", "code", "attempt_state", "ticket_state", "status"),
    [
        ("done", "sent", A.UNKNOWN, T.DONE, IntentStatus.SUBMITTING),
        ("duplicate", "duplicate", A.UNKNOWN, T.COMMITTED, IntentStatus.UNKNOWN),
        ("unknown", "TimeoutError", A.UNKNOWN, T.COMMITTED, IntentStatus.UNKNOWN),
        ("unknown", "Refused", A.UNKNOWN, T.COMMITTED, IntentStatus.UNKNOWN),
        ("none", "NotSent", A.DEAD, T.NONE, IntentStatus.SUBMITTING),
        ("none", "RateLimited", A.DEAD, T.NONE, IntentStatus.SUBMITTING),
        ("none", "ClockSkew", A.DEAD, T.NONE, IntentStatus.SUBMITTING),
        ("none", "NotAuthorized", A.DEAD, T.NONE, IntentStatus.SUBMITTING),
        ("none", "InsufficientFunds", A.REFUSED, T.NONE, IntentStatus.SUBMITTING),
        ("none", "PostOnlyWouldCross", A.REFUSED, T.NONE, IntentStatus.SUBMITTING),
        ("none", "Unsupported", A.REFUSED, T.NONE, IntentStatus.SUBMITTING),
    ],
)
def test_the_answer_to_a_place(
    fate: str, code: str, attempt_state: AttemptState, ticket_state: TicketState, status: IntentStatus
) -> None:
    """Accepted tells nothing yet of the order; unknown and duplicate mean look; a definite answer ends the attempt."""
    draft = answered(placed(), 1, fate, code)
    after = draft.record
    assert (after.attempts[0].state, after.tickets[0].state, after.progress.status) == (
        attempt_state,
        ticket_state,
        status,
    )
    assert after.attempts[0].code == (code if fate == "none" else "")
    assert [type(e) for e in draft.events] == ([OrderOutcomeUnknown] if status is IntentStatus.UNKNOWN else [])


@pytest.mark.parametrize(
    ("fate", "code", "ticket_state", "refused"),
    [
        ("done", "sent", T.COMMITTED, 0),
        ("duplicate", "duplicate", T.COMMITTED, 0),
        ("unknown", "TimeoutError", T.COMMITTED, 0),
        ("none", "NotSent", T.NONE, 0),
        ("none", "RateLimited", T.NONE, 0),
        ("none", "UnknownTarget", T.NONE, 0),
        ("none", "OrderRefused", T.NONE, 2),
        ("none", "InsufficientFunds", T.NONE, 2),
    ],
)
def test_the_answer_to_an_amendment(fate: str, code: str, ticket_state: TicketState, refused: int) -> None:
    """Only the order itself shows an amendment; a definite refusal ends that generation's chance (R23, R25)."""
    draft = answered(commanded(K.AMEND), 2, fate, code)
    after = draft.record
    assert after.tickets[1].state is ticket_state
    assert after.progress.amend_refused == refused
    assert [type(e) for e in draft.events] == ([AmendRejected] if refused else [])
    assert [c.type for c in after.progress.conditions] == (["AmendRejected"] if refused else [])
    assert after.attempts == (SEEN,)
    assert after.progress.status is IntentStatus.WORKING


@pytest.mark.parametrize(
    ("fate", "code", "ticket_state"),
    [
        ("done", "sent", T.DONE),
        ("unknown", "TimeoutError", T.COMMITTED),
        ("none", "UnknownTarget", T.NONE),
        ("none", "NotSent", T.NONE),
        ("none", "Rejected", T.NONE),
    ],
)
def test_the_answer_to_a_cancel_says_nothing_of_the_order(fate: str, code: str, ticket_state: TicketState) -> None:
    """Whatever a cancel was answered, the attempt and the intent stay as they were: look (R21)."""
    draft = answered(commanded(K.CANCEL), 2, fate, code)
    assert draft.record.tickets[1].state is ticket_state
    assert draft.record.attempts == (SEEN,)
    assert draft.record.progress.status is IntentStatus.WORKING
    assert draft.events == []


@pytest.mark.parametrize("fate", ["done", "duplicate", "none", "unknown"])
@pytest.mark.parametrize("state", [T.DONE, T.NONE, T.SETTLED])
def test_an_answer_to_a_settled_ticket_changes_nothing(state: TicketState, fate: str) -> None:
    """An answer that arrives after the ticket's fate is known is ignored; so is one to no ticket of ours."""
    before = placed(state=state)
    assert answered(before, 1, fate, "InsufficientFunds").record is before
    assert answered(before, 9, fate, "InsufficientFunds").record is before


@pytest.mark.parametrize("kind", [K.PLACE, K.CANCEL])
def test_one_copys_answer_says_nothing_of_the_others(kind: TicketKind) -> None:
    """A definite refusal of one copy of a repeated ticket ends nothing: another copy may be on its way."""
    before = placed(PERMANENT, T.REPEATED) if kind is K.PLACE else commanded(kind, T.REPEATED)
    seq = 1 if kind is K.PLACE else 2
    assert answered(before, seq, "none", "InsufficientFunds").record is before
    assert answered(before, seq, "done").record.tickets[seq - 1].state is T.DONE


def test_a_refusal_does_not_unmake_a_seen_order() -> None:
    """An attempt that was seen at the venue survives any answer to its ticket."""
    before = record([attempt(state=A.LIVE, venue_status="pending")], [row()])
    after = answered(before, 1, "none", "InsufficientFunds").record
    assert after.attempts[0].state is A.LIVE
    assert after.tickets[0].state is T.NONE
    assert answered(before, 1, "unknown", "TimeoutError").record is before


PASSED, NOT_YET = Watermark(venue_ms=PLACED + 2_501), Watermark(venue_ms=PLACED + 2_500)


def read(before: Record, at: Watermark, count: int) -> list[TicketState]:
    draft = Draft(before, NOW)
    take(draft, ReadUpTo(1, at, count), OPENED)
    return [known.state for known in draft.record.tickets]


def changes(*rows: TicketRow) -> Record:
    return record([SEEN], [row(state=T.COMMITTED), *rows])


@pytest.mark.parametrize(
    ("command", "at", "count", "state"),
    [
        (row(K.AMEND, seq=2, amends=spec(12)), PASSED, 2, T.NONE),
        (row(K.AMEND, seq=2, amends=spec(12)), NOT_YET, 2, T.COMMITTED),
        (row(K.AMEND, seq=2, amends=spec(12)), PASSED, 1, T.COMMITTED),
        (row(K.AMEND, seq=2, fence=NONE), PASSED, 2, T.COMMITTED),
        (row(K.AMEND, seq=2, fence=SEQUENCE), Watermark(spent=frozenset({SLOT})), 2, T.NONE),
        (row(K.AMEND, seq=2, fence=HEIGHT), Watermark(height=151), 2, T.NONE),
        (row(K.CANCEL, seq=2, fence=CANCEL_WINDOW), PASSED, 2, T.NONE),
        (row(K.CANCEL, T.REPEATED, seq=2, fence=CANCEL_WINDOW), PASSED, 2, T.NONE),
        (row(K.CANCEL, T.DONE, seq=2, fence=CANCEL_WINDOW), PASSED, 2, T.DONE),
        (row(K.AMEND, T.SETTLED, seq=2), PASSED, 2, T.SETTLED),
    ],
)
def test_a_command_not_shown_beyond_its_fence_never_took_effect(
    command: TicketRow, at: Watermark, count: int, state: TicketState
) -> None:
    """Proved by the state that was read, for the tickets that existed when the read began, and never for the place."""
    assert read(changes(command), at, count) == [T.COMMITTED, state]


def test_an_amendment_that_is_shown_is_not_judged_absent() -> None:
    """The report of a read is taken before its watermark, so what it shows is settled and not called without effect."""
    draft = Draft(changes(row(K.AMEND, seq=2, generation=2, amends=spec(12))), NOW)
    shown = report(VenueStatus.WORKING, amount=spec(12).amount)
    take(draft, Reported(1, shown, "lookup"), OPENED)
    take(draft, ReadUpTo(1, PASSED, 2), OPENED)
    assert draft.record.tickets[1].state is T.SETTLED
    assert draft.record.attempts[0].generation == 2


def test_reports_and_voids_are_folded() -> None:
    """Reports go to the fold, voids take their fill back."""
    draft = Draft(placed(), NOW)
    take(draft, Reported(1, report(filled="1", fills=[fill()]), "stream"), OPENED)
    assert draft.record.progress.filled_base == 1
    take(draft, Voided(1, FillVoided("f1", 0, Why.OTHER)), OPENED)
    assert draft.record.progress.filled_base == 0
    assert draft.record.fills == (fill_row(voided=True),)


def test_an_operator_ends_the_hold() -> None:
    """A resolution releases what was held after a loss of commits, and says who did it."""
    held = holding(record(status=IntentStatus.PARKED), 1)
    draft = Draft(held, NOW)
    take(draft, Resolved("ann", "LOOK_AGAIN"), OPENED)
    assert draft.record.progress.conditions == ()
    assert draft.record.progress.status is IntentStatus.PENDING
    assert [(type(e), e.actor) for e in draft.events] == [(OrderResolved, "ann")]


def test_a_parked_order_at_the_venue_stays_parked_until_it_is_seen() -> None:
    """A resolution by itself proves nothing about an attempt of unknown fate."""
    parked = replace(placed(NONE), progress=replace(placed().progress, status=IntentStatus.PARKED))
    draft = Draft(parked, NOW)
    take(draft, Resolved("ann", "LOOK_AGAIN"), OPENED)
    assert draft.record.progress.status is IntentStatus.PARKED
    assert draft.record.attempts[0].state is A.UNKNOWN
