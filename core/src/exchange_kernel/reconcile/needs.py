"""What the venue says that a working order needs of us: to be settled, or sent again for a higher fee. Pure.

An adapter states the need and decides nothing. That an order is cancelled by force, where only that ends it, is a
property of its cancel, and not decided here.
"""

from __future__ import annotations

from exchange_kernel.reconcile.decisions import CancelOrder, Decision, ReplaceOrder, Resend, SettleOrder
from exchange_kernel.reconcile.weighing import Facts, look_until, query, sendable
from exchange_kernel.state.rows import Attempt, Record, TicketKind, TicketRow, TicketState
from exchange_kernel.venue import VenueStatus


def needed(record: Record, live: Attempt, facts: Facts, *, wanted: bool) -> Decision | None:
    """The step that a seen attempt's need asks for, or that follows up one taken; None: it is for others to decide.

    ``wanted``: this very order is still wanted, as it is.
    """
    rows = record.tickets_of(live.n)
    settling = next((row for row in reversed(rows) if row.kind is TicketKind.SETTLE and row.state.open), None)
    if settling is not None:
        return _settling(rows, live, settling, facts, wanted=wanted)
    if facts.need is None:
        return None
    if facts.need.what == "settle":
        return _settle(rows, live, facts, wanted=wanted)
    if facts.need.what == "replace" and live.venue_status == VenueStatus.PENDING.value:
        return _replace(record, rows, live, facts, wanted=wanted)
    return None


def _settling(
    rows: tuple[TicketRow, ...], live: Attempt, row: TicketRow, facts: Facts, *, wanted: bool
) -> Decision | None:
    """One at a time: until the order is over, or nothing of it can take effect any more, no other is made."""
    if facts.looked and facts.now >= facts.resend_at and sendable(row, facts):
        return Resend(live, row)
    if facts.looked and not row.ticket.fence.ends and not sendable(row, facts):
        # Nothing will ever tell what became of it. Another does no harm where a copy would do none; elsewhere only a
        # cancel does none, for it names the order exactly (R21).
        if row.ticket.fence.repeatable and facts.need is not None and facts.need.what == "settle":
            return _settle(rows, live, facts, wanted=wanted)
        if not wanted:
            return None
    return query(live, "its proceeds are being taken", facts)


def _settle(rows: tuple[TicketRow, ...], live: Attempt, facts: Facts, *, wanted: bool) -> Decision | None:
    assert facts.need is not None
    if facts.recovering:
        return None  # one that was sent may be among what the store lost
    if not wanted and any(row.kind is TicketKind.CANCEL and row.state is not TicketState.NONE for row in rows):
        return None  # a cancel is on its way, and brings the proceeds too
    if facts.now < facts.not_before:
        return look_until(live, "backing off", facts.not_before, facts)
    return SettleOrder(live, facts.need.why)


def _replace(
    record: Record, rows: tuple[TicketRow, ...], live: Attempt, facts: Facts, *, wanted: bool
) -> Decision | None:
    """The same order under the same number, for a higher fee; unwanted, the number is used up without it."""
    assert facts.need is not None
    slot = next((row.ticket.slot for row in rows if row.kind is TicketKind.PLACE), None)
    if slot is None:
        return None
    newest = [row for row in rows if row.ticket.slot == slot][-1]
    if not wanted and newest.kind in (TicketKind.PLACE, TicketKind.AMEND) and facts.now >= facts.cancel_at:
        return CancelOrder(live, "use up its number", instead_of=newest)
    if not wanted or newest.kind is not TicketKind.PLACE:
        return None
    deadline = record.intent.submit_deadline
    if facts.blocked or (deadline is not None and facts.now >= deadline):
        return None
    at = max(facts.resend_at, facts.not_before)
    if facts.now < at:
        return look_until(live, "waits to be replaced", at, facts)
    if facts.need.of is not None and facts.need.of not in newest.ticket.ids and sendable(newest, facts):
        return Resend(live, newest)  # it takes the place of what is meant already, and was not taken yet
    return ReplaceOrder(live, newest, facts.need.why)
