"""What a decision about one intent is weighed by, and the smallest steps that every such decision is made of. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from exchange_kernel.reconcile.decisions import Decision, Query, Wait
from exchange_kernel.reconcile.proof import Look
from exchange_kernel.state.rows import OPENING, Attempt, Record, TicketRow
from exchange_kernel.value import Value
from exchange_kernel.venue import Need, Opened, Ticket


class Facts(Value, frozen=True):
    """What the engine knows beside the record.

    ``now``: local ms. ``looks``: reads that did not show the attempt. ``query_at``: not before this (pacing).
    ``not_before``: back off new attempts and amendments until then. ``blocked``: why nothing may be opened (halt,
    RECOVERING), or "". ``recovering``: why commits may be lost, or "". ``until``: when the kernel's own timer ends the
    order (emulated GTD/DAY). ``amendable``: the venue can change the working order into what is wanted now, natively.
    ``same``: the working order is that already.
    ``missing``: a complete snapshot did not show the revived attempt, or else the live one. ``gone``: neither do two
    lookups, nor a complete snapshot and complete fill history begun since. ``lost``: the same, but the venue has no
    history, and its lookups do not reach back far enough to tell what it executed. ``cancel_at``, ``resend_at``: not
    before these (pacing). ``looked``: how often it was looked up since its last command. ``waits``: for which
    prerequisite a new attempt has to wait, or ""; ``refused``: why that will not come, or "" (R28). ``need``: what the
    newest report of the live attempt says that it needs. ``met``: does the price meet an order that the kernel keeps
    itself; None for any other.
    """

    now: int
    opened: Opened
    looks: Sequence[Look] = ()
    query_at: int = 0
    not_before: int = 0
    cancel_at: int = 0
    resend_at: int = 0
    blocked: str = ""
    recovering: str = ""
    until: int | None = None
    amendable: bool = False
    same: bool = False
    missing: bool = False
    gone: bool = False
    lost: bool = False
    looked: int = 0
    waits: str = ""
    refused: str = ""
    need: Need | None = None
    met: bool | None = None


def sendable(row: TicketRow, facts: Facts) -> bool:
    """May copies of this ticket still be sent: is repetition harmless, and it not too old (R2)?"""
    return row.ticket.fence.repeatable and facts.now < row.ticket.send_before


def taken_back(record: Record, attempt: Attempt, facts: Facts) -> bool:
    """Did a ledger show this attempt, and shows it no more, with its number free again? A reorganisation took its
    block, and whoever still has its bytes can have them executed."""
    look = _lost_sight(record, attempt, facts)
    opening = _opening(record, attempt)
    return look is not None and opening is not None and opening.slot not in look.absent.at.spent


def number_used(record: Record, attempt: Attempt, facts: Facts) -> bool:
    """Did a ledger show this attempt, and shows it no more, with its number used by something else for good? Then
    nobody's bytes of it can ever be executed (R13)."""
    look = _lost_sight(record, attempt, facts)
    if look is None:
        return False
    tickets = record.ref(attempt).tickets
    return look.tickets == len(tickets) and all(ticket.slot in look.absent.at.spent for ticket in tickets)


def _lost_sight(record: Record, attempt: Attempt, facts: Facts) -> Look | None:
    """The newest look, where it does not show what a ledger once showed under a number. Nothing of it was booked, for
    nothing of it was final."""
    opening = _opening(record, attempt)
    if opening is None or opening.fence.authority != "ledger" or opening.slot is None:
        return None
    looks = [look for look in facts.looks if look.key == attempt.key]
    return looks[-1] if looks and attempt.seen and not attempt.booked_base else None


def _opening(record: Record, attempt: Attempt) -> Ticket | None:
    return next((row.ticket for row in record.tickets_of(attempt.n) if row.kind in OPENING), None)


def query(attempt: Attempt, why: str, facts: Facts) -> Decision:
    """Look it up when it is time to."""
    return Wait(facts.query_at, why) if facts.now < facts.query_at else Query(attempt, why)


def look_until(attempt: Attempt, why: str, at: int, facts: Facts) -> Decision:
    """Nothing more to do before ``at`` but to look."""
    return Wait(min(at, facts.query_at), why) if facts.now < facts.query_at else Query(attempt, why)
