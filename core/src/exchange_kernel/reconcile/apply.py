"""Carrying out decisions that need no venue: pure steps on a draft, and the status that follows from a record."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from exchange_kernel.events import (
    AttemptClosed,
    AttemptProvedDead,
    DriftDetected,
    Event,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderParked,
    OrderPartiallyFilled,
    OrderRecorded,
    OrderRejected,
)
from exchange_kernel.models import ZERO, Condition, Desired, IntentStatus
from exchange_kernel.reconcile.charging import charge
from exchange_kernel.reconcile.decide import ended_by_us
from exchange_kernel.reconcile.decisions import CloseDead, CloseForgotten, Decision, Finish, KeepOrder, Park, ParkLost
from exchange_kernel.reconcile.draft import Draft
from exchange_kernel.schema import AmountType
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.state.rows import Attempt, AttemptState, Record, TicketState, is_step
from exchange_kernel.value import revised
from exchange_kernel.venue import Spec, VenueStatus, Why

UNACCOUNTED = "Unaccounted"
"""The condition of an order that left the venue's records before what it executed could be read."""

_ENDINGS: dict[IntentStatus, type[Event]] = {
    IntentStatus.FILLED: OrderFilled,
    IntentStatus.CANCELED: OrderCanceled,
    IntentStatus.EXPIRED: OrderExpired,
    IntentStatus.REJECTED: OrderRejected,
}


def apply(draft: Draft, decision: Decision) -> bool:
    """Carry out a pure decision; False when this one needs the venue or time."""
    match decision:
        case CloseDead(attempt=attempt, proof=proof, costs=costs):
            charge(draft, attempt.n, costs)
            draft.put_attempt(revised(draft.record.attempt(attempt.n), state=AttemptState.DEAD, text=proof))
            draft.settle_tickets(attempt.n)
            draft.emit(AttemptProvedDead, attempt=attempt.n, proof=proof)
        case CloseForgotten(attempt=attempt):
            forget(draft, attempt, "absent from a complete snapshot and from complete fill history")
        case KeepOrder(attempt=attempt):
            generation = draft.record.intent.generation
            draft.put_attempt(revised(attempt, generation=generation))
            draft.emit(OrderRecorded, what=f"generation {generation} asks for what the order is")
            draft.progress(observed_generation=max(draft.record.progress.observed_generation, generation))
        case Finish(status=status, reason=reason):
            finish(draft, status, reason)
        case Park(reason=reason):
            park(draft, reason)
            return False
        case ParkLost(attempt=attempt, reason=reason):
            park(draft, reason)
            draft.condition(Condition(UNACCOUNTED, "NoHistory", f"attempt {attempt.n}: {reason}", draft.now))
            return False
        case _:
            return False
    return True


def finish(draft: Draft, status: IntentStatus, reason: str) -> None:
    """End the intent. The fill that completed it and its end are one event."""
    record = draft.record
    last = record.last
    base, quote = record.progress.filled_base, record.progress.filled_quote
    fields: dict[str, Any] = {"filled_base": base, "filled_quote": quote}
    if status is IntentStatus.FILLED:
        for index in range(len(draft.events) - 1, -1, -1):
            event = draft.events[index]
            if isinstance(event, OrderPartiallyFilled):
                del draft.events[index]
                fields |= {n: getattr(event, n) for n in ("attempt", "fill_id", "base", "quote", "price")}
                break
    if status is IntentStatus.REJECTED:
        fields = {"filled_base": base, "code": last.code if last else ""}
    if (
        status is IntentStatus.CANCELED
        and record.intent.desired is Desired.ACTIVE
        and last is not None
        and not ended_by_us(record, last)
        and last.why != Why.DEAD_MAN.value
    ):
        draft.emit(DriftDetected, what="canceled at the venue", venue_id=_venue_id(last), reason=reason)
    draft.emit(_ENDINGS[status], reason=reason, **fields)
    revived = draft.record.revived
    draft.progress(
        status=status,
        reason=reason,
        observed_generation=max(record.progress.observed_generation, last.generation if last and last.seen else 0),
        reserved=ZERO,
        next_due=0 if revived is not None else None,
    )


def _venue_id(attempt: Attempt) -> str:
    return next((vid.value for vid in attempt.ids if vid.kind != "client"), "")


def park(draft: Draft, reason: str) -> None:
    """Nothing more without an operator; the kernel keeps asking the venue."""
    progress = draft.record.progress
    if progress.status is not IntentStatus.PARKED or progress.reason != reason:
        draft.progress(status=IntentStatus.PARKED, reason=reason)
        draft.emit(OrderParked, reason=reason)


def unknown(draft: Draft, attempt: Attempt, reason: str) -> None:
    """The outcome of what was sent is not known."""
    progress = draft.record.progress
    if progress.status not in (IntentStatus.UNKNOWN, IntentStatus.PARKED):
        draft.progress(status=IntentStatus.UNKNOWN, reason=reason)
        draft.emit(OrderOutcomeUnknown, attempt=attempt.n, reason=reason)


def forget(draft: Draft, attempt: Attempt, reason: str) -> None:
    """Close an attempt that the venue knows no more, with the fills booked."""
    status = attempt.venue_status if _over(attempt) else "forgotten"
    closed = revised(
        attempt,
        state=AttemptState.CLOSED,
        venue_status=status,
        cum_base=attempt.booked_base,
        cum_quote=attempt.booked_quote,
    )
    draft.put_attempt(closed)
    draft.settle_tickets(attempt.n)
    draft.emit(
        AttemptClosed,
        attempt=attempt.n,
        venue_status=status,
        filled_base=closed.booked_base,
        filled_quote=closed.booked_quote,
        reason=reason,
    )


def _over(attempt: Attempt) -> bool:
    return attempt.venue_status in {s.value for s in VenueStatus if s.terminal}


def refresh(draft: Draft, price: Decimal | None = None) -> None:
    """Bring status, observed generation and reserved notional up to the attempts. ``price``: for orders without one."""
    record = draft.record
    progress = record.progress
    if progress.status.terminal:
        return
    live = record.live
    observed = max((a.applied or a.generation for a in record.attempts if a.seen), default=0)
    status = status_of(record)
    reason = progress.reason
    if status not in (IntentStatus.PARKED, IntentStatus.UNKNOWN) and status is not progress.status:
        reason = ""
    draft.progress(
        status=status,
        reason=reason,
        observed_generation=max(progress.observed_generation, min(observed, record.intent.generation)),
        reserved=exposure(live, price) if live is not None and not is_step(record.intent.intent_id) else ZERO,
    )
    if live is not None and live.seen:
        draft.clear_condition("VenueUnreachable")


def status_of(record: Record) -> IntentStatus:
    """The status that follows from the attempts of an unfinished intent."""
    live, progress = record.live, record.progress
    filled = progress.filled_base > 0
    if live is None:
        if progress.status is IntentStatus.PARKED:
            return IntentStatus.PARKED
        return IntentStatus.PARTIALLY_FILLED if filled else IntentStatus.PENDING
    if any(condition.type == UNACCOUNTED for condition in progress.conditions):
        return IntentStatus.PARKED
    if not live.seen:
        if progress.status in (IntentStatus.UNKNOWN, IntentStatus.PARKED):
            return progress.status
        return IntentStatus.SUBMITTING
    if record.intent.desired is Desired.CANCELED:
        return IntentStatus.CANCELING
    if not record.intent.max_attempts:
        return IntentStatus.PARKED  # found at the venue after a loss, and nobody's intent: an operator decides (R32)
    return IntentStatus.PARTIALLY_FILLED if filled else IntentStatus.WORKING


def exposure(attempt: Attempt, price: Decimal | None) -> Decimal:
    """Notional in quote that this attempt may still execute, by its limit, its guard, or the last price known."""
    left = EXACT.subtract(attempt.spec.amount, attempt.booked)
    if left <= 0:
        return ZERO
    return notional(attempt.spec, left, price) or ZERO


def notional(spec: Spec, amount: Decimal, price: Decimal | None) -> Decimal | None:
    """Value of ``amount`` (in the spec's unit) in quote, or None when no price bounds it."""
    if spec.amount_in is AmountType.QUOTE:
        return amount
    bound = spec.limit or spec.guard or price
    if spec.limit is None and spec.guard is None and spec.trigger is not None and spec.trigger.price is not None:
        bound = max(bound or ZERO, spec.trigger.price)  # nearer to what it will cost than the price of today
    return None if bound is None else EXACT.multiply(amount, bound)


def settle(draft: Draft, attempt_n: int, seq: int, state: TicketState, note: str = "") -> None:
    """Set a ticket's state."""
    for row in draft.record.tickets_of(attempt_n):
        if row.seq == seq and row.state is not state:
            draft.put_ticket(revised(row, state=state, note=note))
