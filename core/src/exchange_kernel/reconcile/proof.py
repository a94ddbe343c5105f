"""What proves an attempt dead (R11, R16): pure functions from facts the adapter reported. No local clock."""

from __future__ import annotations

from collections.abc import Sequence

from exchange_kernel.value import Value
from exchange_kernel.venue import Absent, End, HeightEnd, Key, Opened, Ref, SlotEnd, Ticket, TimeEnd, Watermark

SECOND_LOOK_S = 1.0
"""Where the venue's API is the authority, two proving reads must lie at least this far apart (its replicas may lag)."""


class Look(Value, frozen=True):
    """One read that did not show the attempt. ``began``: monotonic seconds before the read; ``tickets``: how many
    tickets the attempt had when the read began; ``key``: of that attempt."""

    absent: Absent
    began: float
    tickets: int
    key: Key


def passed(end: End, at: Watermark, opened: Opened) -> bool:
    """True when the state that was read lies beyond this end, by the venue's or the ledger's own time or numbers."""
    match end:
        case TimeEnd(at=limit, clock="venue", slack=slack):
            return at.venue_ms is not None and at.venue_ms > limit + slack + opened.read_lag
        case TimeEnd(at=limit, slack=slack):
            return at.ledger_ms is not None and at.ledger_ms > limit + slack
        case HeightEnd(last=last):
            return at.height is not None and at.height > last
        case SlotEnd(slot=slot):
            return slot in at.spent
    return False


def ticket_over(ticket: Ticket, at: Watermark, opened: Opened) -> bool:
    """True when a never-seen ticket can no longer take effect, given a read that got as far as ``at``."""
    return any(passed(end, at, opened) for end in ticket.fence.ends)


def shows_dead(ref: Ref, absent: Absent, opened: Opened) -> bool:
    """One read's verdict: it could have seen the order, it did not, and every ticket has an end that it had passed."""
    return (
        bool(ref.tickets)
        and absent.since <= ref.placed_at
        and all(ticket_over(ticket, absent.at, opened) for ticket in ref.tickets)
    )


def proves_dead(ref: Ref, looks: Sequence[Look], opened: Opened) -> bool:
    """Dead for ever: one proving read where a ledger is the authority, two a second apart where the venue is."""
    proving = [
        look
        for look in looks
        if look.key == ref.key and look.tickets == len(ref.tickets) and shows_dead(ref, look.absent, opened)
    ]
    if not proving:
        return False
    if all(ticket.fence.authority == "ledger" for ticket in ref.tickets):
        return True
    return proving[-1].began - proving[0].began >= SECOND_LOOK_S


def provable(ref: Ref) -> bool:
    """False when some ticket has no end at all: absence will never prove anything (R14)."""
    return bool(ref.tickets) and all(ticket.fence.ends for ticket in ref.tickets)


def earliest_proof_ms(ref: Ref, opened: Opened) -> int | None:
    """Local time (ms) at which a proving read becomes possible, as far as clocks tell; a hint for scheduling only."""
    times: list[int] = []
    for ticket in ref.tickets:
        ends = [e.at + e.slack + opened.read_lag for e in ticket.fence.ends if isinstance(e, TimeEnd)]
        if not ends:
            return None
        times.append(min(ends))
    return max(times) - opened.clock_offset + opened.clock_error + 1 if times else None


def summary(looks: Sequence[Look]) -> str:
    """A proof by absence, for people."""
    at = looks[-1].absent.at
    marks = (("venue_ms", at.venue_ms), ("ledger_ms", at.ledger_ms), ("height", at.height))
    seen = ", ".join(f"{name}={value}" for name, value in marks if value is not None)
    spent = ", ".join(f"{slot.scope}#{slot.number} spent" for slot in sorted(at.spent, key=lambda s: s.number))
    got = "; ".join(part for part in (seen, spent) if part)
    return f"absent in {len(looks)} reads up to {got}, past every end of its tickets"
