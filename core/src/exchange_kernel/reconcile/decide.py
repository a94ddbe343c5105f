"""What to do next about one intent: a pure function. No I/O, no clock, no randomness; every rule of the protocol that
chooses an action is here, and only here."""

from __future__ import annotations

from decimal import Decimal

from exchange_kernel.models import Desired, IntentStatus
from exchange_kernel.orders.watch import pause_ms
from exchange_kernel.reconcile.decisions import (
    AmendOrder,
    BurnNumber,
    CancelOrder,
    CloseDead,
    CloseForgotten,
    Decision,
    Finish,
    KeepOrder,
    Park,
    ParkLost,
    Query,
    Resend,
    Submit,
    Wait,
)
from exchange_kernel.reconcile.needs import needed
from exchange_kernel.reconcile.proof import provable, proves_dead, summary
from exchange_kernel.reconcile.weighing import Facts, look_until, number_used, query, sendable, taken_back
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.state.rows import OPENING, Attempt, AttemptState, Record, TicketKind, TicketRow, TicketState
from exchange_kernel.value import revised
from exchange_kernel.venue import VenueStatus, Why

LOST = "the venue does not know it any more, and its records do not tell what it executed: look there, then resolve it"
"""Why an order is parked that was seen, is not among the open ones, and whose fills cannot be read (R16)."""

NO_EFFECT_CODES = frozenset({"NotSent", "RateLimited", "ClockSkew"})
"""Definite, and nobody's fault: an attempt that ended so does not count against ``max_attempts``."""


def decide(record: Record, facts: Facts) -> Decision:
    """The next step for one intent."""
    decision = _decide(record, facts)
    if facts.recovering and isinstance(decision, Finish):
        # The store may have lost a later attempt: until the venue was searched nothing proves this to be the end (R32).
        return Wait(None, facts.recovering)
    if isinstance(decision, CancelOrder) and facts.need is not None and facts.need.what == "force_cancel":
        return revised(decision, force=True)
    return decision


def _decide(record: Record, facts: Facts) -> Decision:
    revived = record.revived
    if revived is not None:
        return _revived(record, revived, facts)
    if record.progress.status.terminal:
        return Wait(None)
    live = record.live
    if live is None:
        return _without_attempt(record, facts)
    if number_used(record, live, facts):
        return _dead(live, facts)
    if taken_back(record, live, facts):
        return undecided(record, live, facts)
    if live.state is AttemptState.CLOSING:
        return _gone(live, facts) or query(live, "final fills", facts)
    return _working(record, live, facts) if live.seen else undecided(record, live, facts)


def ends_now(record: Record, facts: Facts) -> bool:
    """Is this order to be ended, whatever it has executed?"""
    return record.intent.desired is Desired.CANCELED or expired(record, facts)


def expired(record: Record, facts: Facts) -> bool:
    """Has the kernel's own timer ended the order?"""
    return facts.until is not None and facts.now >= facts.until


def held(record: Record) -> str:
    """Why this intent is held after a loss of commits until somebody asks for it again, or ""."""
    if not record.progress.conditions:
        return ""
    marked = f"generation {record.intent.generation}"
    return next((c.message for c in record.progress.conditions if c.type == "Held" and c.reason == marked), "")


def single_shot(record: Record) -> bool:
    """Market, IOC and FOK orders get one chance at the venue (R8). One that waits there for its trigger rests."""
    return record.intent.order.immediate


def remaining(record: Record, without: int = 0) -> Decimal:
    """What attempts other than ``without`` have left to execute, in the order's unit (R25: totals include fills)."""
    order = record.intent.order
    if not record.attempts:
        return order.amount
    return EXACT.subtract(order.amount, record.executed(order.amount_type, without=without))


def _without_attempt(record: Record, facts: Facts) -> Decision:
    intent, last = record.intent, record.last
    if remaining(record) <= 0 and record.attempts:
        return Finish(IntentStatus.FILLED, "executed in full")
    if last is not None:
        ended = None if _lost_race(record, last, facts) else _venue_end(record, last)
        if ended is not None:
            return ended
    if intent.desired is Desired.CANCELED:
        return Finish(IntentStatus.CANCELED, "canceled by request; nothing of it can execute any more")
    if expired(record, facts):
        return Finish(IntentStatus.EXPIRED, "its time in force ended")
    if last is not None and last.state is AttemptState.REFUSED and last.generation == intent.generation:
        return Finish(IntentStatus.REJECTED, last.text or last.code)
    late = intent.submit_deadline is not None and facts.now >= intent.submit_deadline
    if single_shot(record) and any(a.state is AttemptState.CLOSED for a in record.attempts):
        taken_back = late and last is not None and not last.booked and ended_by_us(record, last)
        why = "submit deadline passed, and it was taken back" if taken_back else "it had its one chance at the venue"
        return Finish(IntentStatus.EXPIRED, why)
    if late:
        return Finish(IntentStatus.EXPIRED, "submit deadline passed")
    tried = sum(
        1
        for a in record.attempts
        if a.generation == intent.generation
        and a.code not in NO_EFFECT_CODES
        and not (facts.met is not None and a.state is AttemptState.CLOSED)
    )
    if tried >= intent.max_attempts:
        return Finish(IntentStatus.EXPIRED, f"{tried} attempts did not reach the venue")
    if held(record):
        return Park(held(record))
    if facts.blocked:
        return Wait(_earliest(intent.submit_deadline, facts.until), facts.blocked)
    if facts.refused:
        return Park(facts.refused)
    if facts.waits:
        return Wait(_earliest(intent.submit_deadline, facts.until), facts.waits)
    if facts.met is not None:
        waits = _watching(record, facts)
        if waits is not None:
            return waits
    if facts.now < facts.not_before:
        return Wait(_earliest(facts.not_before, intent.submit_deadline, facts.until), "backing off")
    return Submit(len(record.attempts) + 1, remaining(record))


def _lost_race(record: Record, last: Attempt, facts: Facts) -> bool:
    """Did an immediate order, sent for one that the kernel keeps, end without all of it? Then it is kept on."""
    if facts.met is None or last.state is not AttemptState.CLOSED:
        return False
    if last.venue_status == VenueStatus.REJECTED.value:
        return last.why == Why.REVERTED.value
    return last.venue_status in (VenueStatus.EXPIRED.value, VenueStatus.CANCELED.value, "forgotten")


def _watching(record: Record, facts: Facts) -> Decision | None:
    """What an order that the kernel keeps waits for; None: its price is met."""
    races: list[Attempt] = []
    for attempt in reversed(record.attempts):
        if attempt.state is not AttemptState.CLOSED or attempt.booked or attempt.generation != record.intent.generation:
            break
        races.append(attempt)
    if len(races) >= record.intent.max_attempts and all(a.why == Why.REVERTED.value for a in races):
        return Park(f"its last {len(races)} orders were reverted: {races[0].text or races[0].why}; change or cancel it")
    if races:
        sent = max(row.committed_at for row in record.tickets_of(races[0].n))
        again = sent + pause_ms(len(races))
        if facts.now < again:
            return Wait(_earliest(again, facts.until), f"{len(races)} races lost; backing off")
    return None if facts.met else Wait(facts.until, "watches the price")


def _venue_end(record: Record, last: Attempt) -> Decision | None:
    """The order ended at the venue: is the intent over with it?"""
    if last.state is not AttemptState.CLOSED:
        return None
    if last.venue_status == VenueStatus.FILLED.value and last.generation == record.intent.generation:
        if not shrunk(record, last):
            return Finish(IntentStatus.FILLED, "executed in full")
        return None
    if ended_by_us(record, last):
        return None
    why = last.text or last.why or "no reason given"
    match last.venue_status:
        case VenueStatus.CANCELED.value:
            if record.intent.desired is Desired.CANCELED:
                return None
            return Finish(IntentStatus.CANCELED, f"canceled at the venue: {why}")
        case VenueStatus.EXPIRED.value:
            return Finish(IntentStatus.EXPIRED, f"ended by the venue: {why}")
        case VenueStatus.REJECTED.value:
            return Finish(IntentStatus.REJECTED, f"rejected by the venue: {why}")
        case "forgotten":
            return Finish(IntentStatus.EXPIRED, "the venue no longer knows it; fills are as booked")
    return None


def shrunk(record: Record, attempt: Attempt) -> bool:
    """Was this attempt opened for less than the order still wants (late evidence elsewhere was taken back)?"""
    return attempt.spec.amount < remaining(record, without=attempt.n) and remaining(record) > 0


def ended_by_us(record: Record, attempt: Attempt) -> bool:
    """Did we ask for this end, to make room for a remainder or to expire it? Not if our cancel had no effect, nor where
    the venue names another end."""
    if attempt.venue_status in (VenueStatus.EXPIRED.value, VenueStatus.REJECTED.value):
        return False
    return any(
        row.kind is TicketKind.CANCEL and row.state is not TicketState.NONE for row in record.tickets_of(attempt.n)
    )


def _dead(attempt: Attempt, facts: Facts) -> Decision:
    looks = [look for look in facts.looks if look.key == attempt.key]
    return CloseDead(attempt, summary(looks), looks[-1].absent.costs)


def undecided(record: Record, live: Attempt, facts: Facts) -> Decision:
    """What was sent has not been seen, or not since a ledger took it back: prove it dead, repeat it where that is
    harmless, or look. What was seen once is not proved dead by absence: its number is used up, and that is seen."""
    ref = record.ref(live)
    if not live.seen and proves_dead(ref, facts.looks, facts.opened):
        return _dead(live, facts)
    place = next((row for row in record.tickets_of(live.n) if row.kind in OPENING), None)
    if place is None:
        return query(live, "outcome unknown; its ticket is lost", facts)
    if place.ticket.fence.repeatable and any(look.key == live.key for look in facts.looks):
        again = _repeat(record, live, place, facts)
        if isinstance(again, Park) and facts.now >= facts.query_at:
            return Query(live, again.reason)
        if again is not None:
            return again
    if not provable(ref) and not place.ticket.fence.repeatable:
        return query(live, "outcome unknown; this venue can never prove absence (R14)", facts)
    return query(live, "outcome unknown", facts)


def _repeat(record: Record, live: Attempt, place: TicketRow, facts: Facts) -> Decision | None:
    """A repeatable ticket that was looked for and not seen: send it again, or use up what it holds."""
    if facts.now < facts.resend_at:
        return None
    deadline = record.intent.submit_deadline
    timely = deadline is None or facts.now < deadline
    fits = live.spec.amount <= remaining(record, without=live.n)
    wanted = not ends_now(record, facts) and record.intent.generation == live.generation and timely and fits
    wanted = wanted and not held(record)
    may_place = not facts.blocked and sendable(place, facts)
    slot = place.ticket.slot
    if slot is not None:
        newest = [r for r in record.tickets_of(live.n) if r.ticket.slot == slot][-1]
        again = wanted and may_place if newest.kind in OPENING else newest.kind is TicketKind.CANCEL
        if again and sendable(newest, facts):
            return Resend(live, newest)
        if facts.now < facts.cancel_at:
            return None
        return CancelOrder(live, "use up its number", instead_of=newest)
    if place.ticket.fence.ends:
        return Resend(live, place) if wanted and may_place else None
    if facts.blocked:
        return None
    if held(record) and not ends_now(record, facts):
        return Park(held(record))
    if may_place and (wanted or live.spec.post_only):
        return Resend(live, place)
    if wanted:
        return Park("its key was never seen used, and its ticket is too old to be sent again")
    return Park(
        "its key was never seen used and it could trade at once; sending it only to cancel it is yours to decide"
    )


def _gone(attempt: Attempt, facts: Facts) -> Decision | None:
    """It was at the venue and is not there any more: closed where its fills are all told, or else an operator's."""
    if facts.gone:
        return CloseForgotten(attempt)
    if not facts.lost:
        return None
    if facts.now >= facts.query_at:
        return Query(attempt, LOST)
    return ParkLost(attempt, LOST)


def _working(record: Record, live: Attempt, facts: Facts) -> Decision:
    over = _gone(live, facts)
    if over is not None:
        return over
    total = remaining(record, without=live.n)
    unsettled = [row for row in record.tickets_of(live.n) if row.state.open]
    stale = record.intent.generation != live.generation
    urgent = live.spec.amount > total and (not stale or _contradicted(record))
    wanted = not ends_now(record, facts) and not stale and live.spec.amount <= total
    step = needed(record, live, facts, wanted=wanted)
    if step is not None:
        return step
    if ends_now(record, facts):
        return _end(live, unsettled, "expired" if expired(record, facts) else "canceled by request", facts)
    if total <= live.booked:
        if live.booked >= max(live.spec.amount, live.applied_amount or live.spec.amount) and not unsettled:
            return query(live, "executed in full; its end is not reported", facts)
        return _end(live, unsettled, "nothing more of it is wanted", facts)
    if facts.missing and not urgent:
        return query(live, "a complete snapshot does not show it", facts)
    if live.cum_base > live.booked_base and not urgent:
        return query(live, "fills are missing", facts)
    canceling = [row for row in unsettled if row.kind is TicketKind.CANCEL]
    pending = [row for row in unsettled if row.kind in (TicketKind.AMEND, TicketKind.BURN)]
    if stale:
        pending += [row for row in unsettled if row.kind is TicketKind.PLACE]
    if pending and (not urgent or _reduces(pending, total)):
        burn = _unwanted_number(live, pending, record, facts)
        if burn is not None:
            return burn
        again = _resendable(pending, record, facts)
        if again is None and facts.looked and not facts.blocked and _beyond_proof(pending, record):
            return _end(
                live, unsettled, "to be replaced: an amendment that is no longer wanted may still arrive", facts
            )
        return Resend(live, again) if again is not None else query(live, "a command is unsettled (R23)", facts)
    if canceling and stale:
        # It was to be replaced, and still is: a cancel may always be repeated, or issued again (R21).
        again = _resendable(canceling, record, facts)
        return Resend(live, again) if again is not None else _end(live, unsettled, "to be replaced", facts)
    refused = record.progress.amend_refused == record.intent.generation
    if not urgent:
        if not stale:
            return Wait(facts.until)
        if facts.same and not unsettled:
            return KeepOrder(live)
        if refused or facts.blocked:
            return Wait(facts.until, "AmendRejected" if refused else facts.blocked)
    if facts.amendable and not unsettled and not refused and not facts.blocked:
        if facts.now >= facts.not_before:
            return AmendOrder(live, total)
        if not urgent:
            return look_until(live, "backing off", facts.not_before, facts)
    return _end(live, unsettled, "to be replaced", facts)


def _unwanted_number(live: Attempt, rows: list[TicketRow], record: Record, facts: Facts) -> Decision | None:
    """An amendment that holds a sequence number and may not be sent any more: its number is used up without it."""
    for row in rows:
        slot = row.ticket.slot
        wanted = row.generation == record.intent.generation and not facts.blocked and sendable(row, facts)
        if row.kind is not TicketKind.AMEND or slot is None or wanted:
            continue
        if facts.now < facts.resend_at or not facts.looked:
            return None
        newest = [r for r in record.tickets_of(live.n) if r.ticket.slot == slot][-1]
        if newest.kind is TicketKind.BURN and sendable(newest, facts):
            return Resend(live, newest)
        return BurnNumber(live, newest)
    return None


def _beyond_proof(rows: list[TicketRow], record: Record) -> bool:
    """Is there an amendment that nobody wants any more and nothing can prove dead, but the end of its order?"""
    return any(
        row.kind is TicketKind.AMEND and row.generation != record.intent.generation and not row.ticket.fence.ends
        for row in rows
    )


def _contradicted(record: Record) -> bool:
    """Was there late evidence (R19)? Then too large an order is reduced at once, and not when its turn comes."""
    return any(condition.type == "ContradictedByVenue" for condition in record.progress.conditions)


def _reduces(rows: list[TicketRow], total: Decimal) -> bool:
    """Is an amendment under way to what may still be executed, or to less?"""
    return any(row.kind is TicketKind.AMEND and row.spec is not None and row.spec.amount <= total for row in rows)


def _end(live: Attempt, unsettled: list[TicketRow], why: str, facts: Facts) -> Decision:
    """Cancel it, and look as long as that has not been seen to work (R21)."""
    numbered = [row for row in unsettled if row.kind is not TicketKind.PLACE and row.ticket.slot is not None]
    newest = numbered[0] if numbered else None
    if newest is not None:
        newest = [row for row in numbered if row.ticket.slot == newest.ticket.slot][-1]
    if newest is not None and newest.kind is not TicketKind.AMEND and sendable(newest, facts):
        if facts.now >= facts.resend_at:
            return Resend(live, newest)
        return look_until(live, "its cancel holds a sequence number", facts.resend_at, facts)
    if facts.now < facts.cancel_at:
        return look_until(live, "the cancel is not seen to have worked", facts.cancel_at, facts)
    return CancelOrder(live, why, instead_of=newest)


def _resendable(rows: list[TicketRow], record: Record, facts: Facts) -> TicketRow | None:
    """A command that may be repeated, when it is time to: a cancel, or an amendment that is still wanted."""
    if facts.now < facts.resend_at:
        return None
    for row in rows:
        wanted = row.generation == record.intent.generation and not facts.blocked
        if (row.kind is TicketKind.CANCEL or (row.kind is TicketKind.AMEND and wanted)) and sendable(row, facts):
            return row
    return None


def _revived(record: Record, revived: Attempt, facts: Facts) -> Decision:
    """It must end before anything else is begun. What the live attempt may execute too much meanwhile is taken away."""
    step = _end_revived(record, revived, facts)
    live = record.live
    if not isinstance(step, Wait) or live is None or live.state is not AttemptState.LIVE:
        return step
    if not ends_now(record, facts) and live.spec.amount <= remaining(record, without=live.n):
        return step
    urgent = _working(record, live, revised(facts, missing=False, gone=False, lost=False))
    return urgent if isinstance(urgent, (AmendOrder, CancelOrder)) else step


def _end_revived(record: Record, revived: Attempt, facts: Facts) -> Decision:
    if number_used(record, revived, facts):
        return _dead(revived, facts)
    over = _gone(revived, facts)
    if over is not None:
        return over
    if revived.venue_status in _OVER:
        return query(revived, "late evidence: final fills", facts)
    unsettled = [row for row in record.tickets_of(revived.n) if row.state.open]
    return _end(revived, unsettled, "late evidence: it should not exist", facts)


_OVER = frozenset(s.value for s in VenueStatus if s.terminal)


def _earliest(*times: int | None) -> int | None:
    return min((at for at in times if at is not None), default=None)
