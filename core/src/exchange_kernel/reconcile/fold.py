"""Folding what the venue reports into an attempt: any order, any repetition, the same state.

One function for every source. Terminal states absorb, cumulative quantities never fall, each fill counts once by its id
(S10), and an attempt closes only when it is terminal, final, and its booked fills equal the venue's cumulative (R17).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

from exchange_kernel.events import (
    AttemptClosed,
    ContradictedByVenue,
    DriftDetected,
    LateFillBooked,
    OrderAccepted,
    OrderModified,
    OrderPartiallyFilled,
)
from exchange_kernel.events import FillVoided as FillVoidedEvent
from exchange_kernel.models import ZERO, Condition
from exchange_kernel.reconcile.charging import charge
from exchange_kernel.reconcile.draft import Draft
from exchange_kernel.schema import AmountType
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.state.rows import LIVE_STATES, Attempt, AttemptState, FillRow, TicketKind, TicketState
from exchange_kernel.value import revised
from exchange_kernel.venue import Fill, FillVoided, OrderReport, VenueStatus

Source = Literal["ack", "stream", "lookup", "snapshot", "history"]

_FORGOTTEN = "forgotten"
_RANK = {
    "": -1,
    _FORGOTTEN: -1,
    VenueStatus.PENDING: 0,
    VenueStatus.DORMANT: 1,
    VenueStatus.TRIGGERING: 2,
    VenueStatus.WORKING: 3,
    VenueStatus.REJECTED: 4,
    VenueStatus.EXPIRED: 5,
    VenueStatus.CANCELED: 6,
    VenueStatus.FILLED: 7,
}
_TERMINAL = frozenset(s.value for s in VenueStatus if s.terminal)


def fold(draft: Draft, n: int, report: OrderReport, source: Source) -> None:
    """Fold one report of attempt ``n`` into the draft."""
    if report.final:
        charge(draft, n, report.costs)
    old = draft.record.attempt(n)
    if _stranger(old, report):
        _second_order(draft, old, report)
        return
    late = old.state not in LIVE_STATES
    fresh, restated = _book(draft, old, report, late)
    attempt = _totals(draft, _merge(draft, restated, report))
    if late:
        attempt = _late(draft, old, attempt, report, source, fresh)
    else:
        attempt = _advance(draft, old, attempt, report, source)
    if attempt != old:
        draft.put_attempt(attempt)
    if attempt.state not in LIVE_STATES and attempt.state is not AttemptState.REVIVED:
        draft.settle_tickets(n)
    if fresh:
        draft.sum_fills()


def _stranger(attempt: Attempt, report: OrderReport) -> bool:
    """Is this another venue object than the attempt's own, without a link between them (S1 is broken at the venue)?"""
    if not attempt.seen:
        return False
    own = next((vid for vid in attempt.ids if vid.kind == report.id.kind), None)
    if own is None or own == report.id:
        return False
    return not any(vid in attempt.ids and vid.kind not in ("client", "request") for vid in report.links)


def _second_order(draft: Draft, old: Attempt, report: OrderReport) -> None:
    """Two orders under one key: the fills of both count, and an operator must know; their states are never mixed."""
    fresh, attempt = _book(draft, old, report, late=True)
    if report.id not in attempt.ids:
        attempt = revised(attempt, ids=(*attempt.ids, report.id))
    attempt = _totals(draft, attempt)
    if attempt != old:
        draft.put_attempt(attempt)
    if fresh:
        draft.sum_fills()
    known = any(c.type == "ContradictedByVenue" and c.reason == "TwoOrders" for c in draft.record.progress.conditions)
    if not known:
        message = f"order {report.id.value} carries the key of attempt {old.n} too; cancel it at the venue"
        draft.emit(ContradictedByVenue, attempt=old.n, reason=message)
        draft.condition(Condition("ContradictedByVenue", "TwoOrders", message, draft.now))


def void(draft: Draft, n: int, event: FillVoided) -> None:
    """Take a fill back: it counts as zero from here on. After the intent's end that is late evidence (R30)."""
    fill = next((f for f in draft.record.fills if f.id == event.id), None)
    if fill is None or event.revision < fill.revision:
        return
    draft.put_fill(revised(fill, voided=True, revision=event.revision))
    if fill.voided:
        return
    attempt = _restated(draft.record.attempt(n), -fill.base, -fill.quote)
    draft.put_attempt(_totals(draft, attempt))
    draft.emit(FillVoidedEvent, fill_id=fill.id, base=fill.base, quote=fill.quote, reason=event.why.value)
    draft.sum_fills()
    if draft.record.progress.status.terminal:
        message = f"fill {fill.id} was taken back"
        draft.emit(ContradictedByVenue, attempt=n, reason=message)
        draft.condition(Condition("ContradictedByVenue", "FillVoided", message, draft.now))


def _key(status: str, version: int, as_of: int) -> tuple[bool, int, int, int]:
    return (status in _TERMINAL, version, as_of, _RANK[status])


def _merge(draft: Draft, attempt: Attempt, report: OrderReport) -> Attempt:
    ids = attempt.ids
    for vid in (report.id, *report.links):
        if vid not in ids:
            ids = (*ids, vid)
    version = _version(report)
    newer = _key(report.status.value, version, report.as_of) > _key(
        attempt.venue_status, attempt.version, attempt.as_of
    )
    base, quote = _cumulative(draft, attempt.n, report)
    return revised(
        attempt,
        ids=ids,
        venue_status=report.status.value if newer else attempt.venue_status,
        why=report.why.value if newer else attempt.why,
        text=report.text if newer else attempt.text,
        version=version if newer else attempt.version,
        as_of=report.as_of if newer else attempt.as_of,
        applied_amount=report.amount if newer and report.amount is not None else attempt.applied_amount,
        cum_base=max(attempt.cum_base, base),
        cum_quote=max(attempt.cum_quote, quote),
    )


def _version(report: OrderReport) -> int:
    return -1 if report.version is None else report.version


def _cumulative(draft: Draft, n: int, report: OrderReport) -> tuple[Decimal, Decimal]:
    """The report's cumulative execution in today's terms. The venue's own number never falls, so fills that were taken
    back are still in it, and an old report counts a corrected fill as it was."""
    base, quote = report.filled.base, report.filled.quote
    listed = {fill.id: fill for fill in report.fills}
    for row in draft.record.fills:
        if row.attempt != n:
            continue
        then = listed.get(row.id)
        if row.voided:
            base, quote = EXACT.subtract(base, row.base), EXACT.subtract(quote, row.quote)
        elif then is not None and then.revision < row.revision:
            base = EXACT.add(base, EXACT.subtract(row.base, then.base))
            quote = EXACT.add(quote, EXACT.subtract(row.quote, then.quote))
    return base, quote


def _restated(attempt: Attempt, base: Decimal, quote: Decimal) -> Attempt:
    """A fill that the cumulative quantity holds already has changed by this much."""
    return revised(
        attempt,
        cum_base=max(ZERO, EXACT.add(attempt.cum_base, base)),
        cum_quote=max(ZERO, EXACT.add(attempt.cum_quote, quote)),
    )


def _book(draft: Draft, attempt: Attempt, report: OrderReport, late: bool) -> tuple[bool, Attempt]:
    """Book the report's final fills. Was any news? And the attempt, its cumulative quantity as corrected by them."""
    known = {fill.id: fill for fill in draft.record.fills}
    fresh = False
    for fill in report.fills:
        if not fill.final:
            continue
        was = known.get(fill.id)
        if was is not None and was.revision >= fill.revision:
            continue
        row = fill_row(attempt, report, fill)
        if was is not None:
            before = (ZERO, ZERO) if was.voided else (was.base, was.quote)
            attempt = _restated(attempt, EXACT.subtract(row.base, before[0]), EXACT.subtract(row.quote, before[1]))
        draft.put_fill(row)
        known[fill.id] = row
        fresh = True
        kind = LateFillBooked if late else OrderPartiallyFilled
        fields: dict[str, Any] = {
            "attempt": attempt.n,
            "fill_id": fill.id,
            "base": fill.base,
            "quote": fill.quote,
            "price": fill.price,
        }
        if not late:
            base, quote = draft.fill_sums()
            fields |= {"filled_base": base, "filled_quote": quote}
        draft.emit(kind, **fields)
    return fresh, attempt


def fill_row(attempt: Attempt, report: OrderReport, fill: Fill) -> FillRow:
    """The row to book for a fill."""
    return FillRow(
        id=fill.id,
        attempt=attempt.n,
        symbol=report.symbol,
        side=report.side,
        base=fill.base,
        quote=fill.quote,
        price=fill.price,
        at=fill.at,
        fees=fill.fees,
        maker=fill.maker,
        revision=fill.revision,
    )


def _totals(draft: Draft, attempt: Attempt) -> Attempt:
    base = quote = ZERO
    for fill in draft.record.fills:
        if fill.attempt == attempt.n and not fill.voided:
            base, quote = EXACT.add(base, fill.base), EXACT.add(quote, fill.quote)
    known = (attempt.booked_base, attempt.booked_quote) == (base, quote)
    if known and attempt.cum_base >= base and attempt.cum_quote >= quote:
        return attempt
    return revised(
        attempt,
        booked_base=base,
        booked_quote=quote,
        cum_base=max(attempt.cum_base, base),
        cum_quote=max(attempt.cum_quote, quote),
    )


def _advance(draft: Draft, old: Attempt, attempt: Attempt, report: OrderReport, source: Source) -> Attempt:
    if not old.seen and report.status is not VenueStatus.REJECTED:
        draft.emit(OrderAccepted, attempt=attempt.n, venue_id=report.id.value)
    _placed(draft, attempt)
    attempt = _applied(draft, old, attempt, report)
    if attempt.venue_status not in _TERMINAL:
        _tell_drift(draft, attempt)
        return attempt if attempt.state is AttemptState.LIVE else revised(attempt, state=AttemptState.LIVE)
    attempt = _ended(attempt, report, source)
    return _closed(draft, attempt) or revised(attempt, state=AttemptState.CLOSING)


def _tell_drift(draft: Draft, attempt: Attempt) -> None:
    """The venue's order is for another amount than was asked, and no amendment of ours is under way: somebody else
    changed it, or a change of ours was lost with the store's commits. Reported once; its fills count as they come."""
    amount, asked = attempt.applied_amount, attempt.spec.amount
    if amount is None or amount == asked or attempt.spec.amount_in is not AmountType.BASE:
        return
    if any(row.kind is TicketKind.AMEND and row.state.open for row in draft.record.tickets_of(attempt.n)):
        return
    message = f"the venue's order is for {amount:f}, {asked:f} was asked"
    if any(c.type == "Degraded" and c.message == message for c in draft.record.progress.conditions):
        return
    draft.emit(DriftDetected, what="amount", venue_id=attempt.ids[-1].value, reason=message)
    draft.condition(Condition("Degraded", "Drift", message, draft.now))


def _placed(draft: Draft, attempt: Attempt) -> None:
    """The venue shows the order: its place is settled, whatever became of the answer (R23); not while it only waits."""
    if attempt.venue_status == VenueStatus.PENDING.value:
        return
    for row in draft.record.tickets_of(attempt.n):
        if row.kind is TicketKind.PLACE and row.state.open:
            draft.put_ticket(revised(row, state=TicketState.DONE))


def _ended(attempt: Attempt, report: OrderReport, source: Source) -> Attempt:
    ended = report.status.terminal and report.final
    reads_all = ended and report.fills_complete and source in ("lookup", "history", "ack")
    if (attempt.final or not ended) and (attempt.read_final or not reads_all):
        return attempt
    return revised(attempt, final=attempt.final or ended, read_final=attempt.read_final or reads_all)


def _closed(draft: Draft, attempt: Attempt) -> Attempt | None:
    """The attempt, closed; None while it isn't over, or its final fills are not known (R17)."""
    if attempt.venue_status not in _TERMINAL or not (attempt.final and closes(attempt)):
        return None
    draft.emit(
        AttemptClosed,
        attempt=attempt.n,
        venue_status=attempt.venue_status,
        filled_base=attempt.booked_base,
        filled_quote=attempt.booked_quote,
        reason=attempt.why,
    )
    return revised(attempt, state=AttemptState.CLOSED)


def closes(attempt: Attempt) -> bool:
    """Are the final fills known (R17)? Either a read after the terminal report agrees, or nothing can be left: the
    venue says FILLED and the booked fills are the whole amount."""
    if attempt.booked_base != attempt.cum_base:
        return False
    if attempt.read_final:
        return True
    whole = attempt.applied_amount if attempt.applied_amount is not None else attempt.spec.amount
    return (
        attempt.venue_status == VenueStatus.FILLED.value
        and attempt.spec.amount_in is AmountType.BASE
        and attempt.booked_base == whole
    )


def _applied(draft: Draft, old: Attempt, attempt: Attempt, report: OrderReport) -> Attempt:
    """Does the report show an amendment of ours? By the key of the last command applied, else by the values themselves:
    those only of a report that isn't older than what is known, or an order changed back would pass for its own past."""
    amendments = [row for row in draft.record.tickets_of(attempt.n) if row.kind is TicketKind.AMEND]
    if not amendments:
        return attempt
    known = _key(old.venue_status, old.version, old.as_of)
    current = _key(report.status.value, _version(report), report.as_of) >= known
    for row in reversed(amendments):
        if row.state is TicketState.SETTLED:
            break
        spec = row.spec
        if report.applied is not None:
            shown = report.applied == row.ticket.key
        else:
            values = spec is not None and (report.amount, report.price) == (spec.amount, spec.limit)
            shown = values and current and row.state is not TicketState.NONE
        if shown:
            draft.put_ticket(revised(row, state=TicketState.SETTLED))
            draft.emit(OrderModified, attempt=attempt.n, generation=row.generation)
            return revised(
                attempt,
                applied=row.generation,
                generation=row.generation,
                spec=spec if spec is not None else attempt.spec,
            )
    return attempt


def _late(draft: Draft, old: Attempt, attempt: Attempt, report: OrderReport, source: Source, fresh: bool) -> Attempt:
    """Evidence against an attempt that was over (R19): never dropped, never believed to be impossible. What is alive,
    or may have unknown fills, is open again: as the live attempt where there is none, else as one to be cancelled."""
    if old.state is not AttemptState.REVIVED:
        if not fresh and _agrees(old, attempt, report, source):
            return revised(old, ids=attempt.ids) if attempt.ids != old.ids else old
        message = f"attempt {attempt.n} was {old.state}, the venue shows {report.status.value}"
        draft.emit(ContradictedByVenue, attempt=attempt.n, reason=message)
        draft.condition(Condition("ContradictedByVenue", "LateEvidence", message, draft.now))
        attempt = revised(attempt, final=False, read_final=False)
        if not report.status.terminal and (old.venue_status not in _TERMINAL or _later(report, old)):
            attempt = revised(
                attempt,
                venue_status=report.status.value,
                why=report.why.value,
                text=report.text,
                version=_version(report),
                as_of=report.as_of,
            )
    attempt = _ended(attempt, report, source)
    closed = _closed(draft, attempt)
    if closed is not None:
        return closed
    if old.state is AttemptState.REVIVED or draft.record.live is not None or draft.record.progress.status.terminal:
        return revised(attempt, state=AttemptState.REVIVED)
    over = attempt.venue_status in _TERMINAL
    return revised(attempt, state=AttemptState.CLOSING if over else AttemptState.LIVE)


def _later(report: OrderReport, old: Attempt) -> bool:
    return (_version(report), report.as_of) > (old.version, old.as_of)


def _agrees(old: Attempt, attempt: Attempt, report: OrderReport, source: Source) -> bool:
    """A report without new fills that tells nothing but how the attempt ended, or what was before that."""
    if attempt.booked_base != attempt.cum_base:
        return False
    if old.state is AttemptState.REFUSED:
        return report.status is VenueStatus.REJECTED and not attempt.cum_base
    if old.state is AttemptState.DEAD:
        return False
    if old.venue_status == _FORGOTTEN:
        return source == "stream" and not report.status.terminal and not _later(report, old)
    return report.status.terminal or not _later(report, old)
