"""What comes back about an intent, as inbox items, and how each one changes its record. Pure.

An item stays in the inbox until the commit that used it succeeded, so a lost race with a user's write loses no answer.
"""

from __future__ import annotations

from typing import Literal

from exchange_kernel.errors import NotSent, RateLimited, VenueError
from exchange_kernel.events import AmendRejected, OrderResolved
from exchange_kernel.models import Condition, IntentStatus
from exchange_kernel.reconcile.apply import UNACCOUNTED, settle, unknown
from exchange_kernel.reconcile.draft import Draft
from exchange_kernel.reconcile.fold import Source, fold, void
from exchange_kernel.reconcile.proof import ticket_over
from exchange_kernel.reconcile.steps import WAITS, stepped
from exchange_kernel.state.rows import OPENING, AttemptState, TicketKind, TicketState
from exchange_kernel.value import Value, revised
from exchange_kernel.venue import FillVoided, Opened, OrderReport, StepReport, Ticket, Watermark


class Reported(Value, frozen=True):
    """A report about attempt ``n``."""

    n: int
    report: OrderReport
    source: Source


class Stepped(Value, frozen=True):
    """A report about attempt ``n`` of a step."""

    n: int
    report: StepReport


class Voided(Value, frozen=True):
    """A fill of attempt ``n`` was taken back."""

    n: int
    event: FillVoided


class Answered(Value, frozen=True):
    """The fate of a ticket's submission. ``none``: definite, no effect; ``unknown``: anything may have happened."""

    n: int
    seq: int
    verdict: Literal["done", "duplicate", "none", "unknown"]
    code: str = ""
    text: str = ""


class ReadUpTo(Value, frozen=True):
    """A lookup found attempt ``n`` in a state that had got as far as ``at``: commands it doesn't show, and whose fence
    had passed, never took effect."""

    n: int
    at: Watermark
    tickets: int


class Resolved(Value, frozen=True):
    """An operator's resolution, allowed by the rules of proof."""

    actor: str
    how: str


class Unseen(Value, frozen=True):
    """A look did not show attempt ``n``, and proves nothing yet, or never will."""

    n: int
    why: str


Item = Reported | Stepped | Voided | Answered | ReadUpTo | Resolved | Unseen


def verdict(error: BaseException, ticket: Ticket) -> Literal["none", "unknown"]:
    """May this error be believed as "did nothing and never will" (R9, R10)?

    Where a ledger is the authority only NotSent is; where the venue is, every NoEffect error is. All else is unknown.
    A ticket that holds a sequence number ends with its number only: an unsent one would leave a gap behind. Where
    copies may arrive, one that is turned away for its rate says nothing of another on its way: the same ticket is sent
    again, which is harmless there, and no new one is made.
    """
    if not isinstance(error, VenueError) or error.effect != "none" or ticket.slot is not None:
        return "unknown"
    if ticket.fence.authority == "ledger" and not isinstance(error, NotSent):
        return "unknown"
    if ticket.fence.repeatable and isinstance(error, RateLimited):
        return "unknown"
    return "none"


def take(draft: Draft, item: Item, opened: Opened) -> None:
    """Apply one inbox item to the draft. One of an attempt that the store does not have, or no longer, is left out: if
    the order exists, the next snapshot shows it again, and then it is evidence of a lost commit (R32)."""
    if not isinstance(item, Resolved) and item.n > len(draft.record.attempts):
        return
    match item:
        case Reported(n=n, report=report, source=source):
            fold(draft, n, report, source)
            draft.clear_condition(UNACCOUNTED)
        case Stepped(n=n, report=step):
            stepped(draft, n, step)
        case Voided(n=n, event=event):
            void(draft, n, event)
        case Answered():
            _answered(draft, item)
        case ReadUpTo(n=n, at=at, tickets=count):
            _read_up_to(draft, n, at, count, opened)
        case Unseen(n=n, why=why):
            attempt = draft.record.attempt(n)
            if attempt.state is AttemptState.UNKNOWN and not attempt.seen:
                unknown(draft, attempt, why)
        case Resolved(actor=actor, how=how):
            draft.clear_condition("Held")
            draft.clear_condition(WAITS)
            if draft.record.live is None and draft.record.progress.status is IntentStatus.PARKED:
                draft.progress(status=IntentStatus.PENDING, reason="")
            draft.emit(OrderResolved, actor=actor, how=how)


def _answered(draft: Draft, item: Answered) -> None:
    record = draft.record
    row = next((r for r in record.tickets_of(item.n) if r.seq == item.seq), None)
    if row is None or not row.state.open:
        return
    attempt = record.attempt(item.n)
    if item.verdict == "done":
        # Of these only the order itself tells: an answer may be no more than that they are on their way.
        if row.kind not in (TicketKind.AMEND, TicketKind.SETTLE):
            settle(draft, item.n, item.seq, TicketState.DONE)
    elif item.verdict == "none" and row.state is TicketState.REPEATED:
        return  # one copy did nothing; another may still be on its way
    elif item.verdict == "none":
        settle(draft, item.n, item.seq, TicketState.NONE, f"{item.code}: {item.text}"[:200])
        if row.kind in OPENING and attempt.state is AttemptState.UNKNOWN and not attempt.seen:
            definite = AttemptState.DEAD if item.code in _TRY_AGAIN else AttemptState.REFUSED
            draft.put_attempt(revised(attempt, state=definite, code=item.code, text=item.text[:200]))
        elif row.kind is TicketKind.AMEND and item.code not in _TRY_AGAIN and item.code != "UnknownTarget":
            draft.progress(amend_refused=row.generation)
            draft.emit(AmendRejected, generation=row.generation, code=item.code, reason=item.text[:200])
            draft.condition(Condition("AmendRejected", item.code, item.text[:200], draft.now))
    elif attempt.state is AttemptState.UNKNOWN and not attempt.seen and row.kind in OPENING:
        why = f"{item.code}: {item.text}"[:200] if item.verdict == "unknown" else "venue says duplicate"
        unknown(draft, attempt, why)


_TRY_AGAIN = frozenset({"NotSent", "RateLimited", "ClockSkew", "NotAuthorized"})


def code_of(error: BaseException) -> str:
    """The error's name, as stored with the attempt; of an error that a plugin derived, the name it derives from."""
    known = (kind for kind in type(error).__mro__ if kind.__module__ == VenueError.__module__)
    return next(known, type(error)).__name__


def said(error: BaseException) -> str:
    """The error's words, with the venue's own code where they do not have it."""
    text, code = str(error), getattr(error, "code", "")
    return f"{text} ({code})" if code and code not in text else text


def _read_up_to(draft: Draft, n: int, at: Watermark, count: int, opened: Opened) -> None:
    """``count``: tickets the attempt had when the read began; younger ones are not judged by it."""
    for row in draft.record.tickets_of(n)[:count]:
        if row.state.open and row.kind not in OPENING and ticket_over(row.ticket, at, opened):
            draft.put_ticket(revised(row, state=TicketState.NONE, note="not shown, and its fence had passed"))
