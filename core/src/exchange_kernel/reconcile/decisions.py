"""What the reconciler may do next about one intent."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from exchange_kernel.models import IntentStatus
from exchange_kernel.state.rows import Attempt, TicketRow


@dataclass(frozen=True, slots=True)
class Submit:
    """Open attempt ``n`` for ``amount`` (in the order's own unit)."""

    n: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class AmendOrder:
    """Change the working order natively; ``amount`` is its new total."""

    attempt: Attempt
    amount: Decimal


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """Cancel at the venue. ``instead_of``: use up the very slot of this ticket."""

    attempt: Attempt
    why: str
    instead_of: TicketRow | None = None


@dataclass(frozen=True, slots=True)
class Resend:
    """Send these identical bytes again: their fence makes repetition harmless."""

    attempt: Attempt
    row: TicketRow


@dataclass(frozen=True, slots=True)
class BurnNumber:
    """Use up the sequence number of this ticket without any other effect."""

    attempt: Attempt
    row: TicketRow


@dataclass(frozen=True, slots=True)
class Query:
    """Look the attempt up at the venue."""

    attempt: Attempt
    why: str


@dataclass(frozen=True, slots=True)
class CloseDead:
    """The attempt never existed and never will: proved."""

    attempt: Attempt
    proof: str


@dataclass(frozen=True, slots=True)
class CloseForgotten:
    """Seen once, and now absent from a complete snapshot and complete fill history: over, with the fills booked."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Finish:
    """The intent is over."""

    status: IntentStatus
    reason: str


@dataclass(frozen=True, slots=True)
class Park:
    """Only an operator can go on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until ``until`` (local ms; None: until something happens)."""

    until: int | None
    reason: str = ""


Decision = (
    Submit | AmendOrder | CancelOrder | Resend | BurnNumber | Query | CloseDead | CloseForgotten | Finish | Park | Wait
)
