"""What the reconciler may do next about one intent."""

from __future__ import annotations

from decimal import Decimal

from exchange_kernel.models import IntentStatus
from exchange_kernel.state.rows import Attempt, TicketRow
from exchange_kernel.value import Value
from exchange_kernel.venue import Cost


class Submit(Value, frozen=True):
    """Open attempt ``n`` for ``amount`` (in the order's own unit)."""

    n: int
    amount: Decimal


class AmendOrder(Value, frozen=True):
    """Change the working order natively; ``amount`` is its new total."""

    attempt: Attempt
    amount: Decimal


class KeepOrder(Value, frozen=True):
    """The working order is already what the newest generation asks for: nothing is sent, the generation is in force."""

    attempt: Attempt


class CancelOrder(Value, frozen=True):
    """Cancel at the venue. ``instead_of``: use up the very slot of this ticket. ``force``: provably, at a cost."""

    attempt: Attempt
    why: str
    instead_of: TicketRow | None = None
    force: bool = False


class SettleOrder(Value, frozen=True):
    """Take the proceeds of an order that has executed in full, and that the market could still undo."""

    attempt: Attempt
    why: str


class ReplaceOrder(Value, frozen=True):
    """Send the same order again under the number of this ticket, in its stead, for a higher fee."""

    attempt: Attempt
    row: TicketRow
    why: str


class Resend(Value, frozen=True):
    """Send these identical bytes again: their fence makes repetition harmless."""

    attempt: Attempt
    row: TicketRow


class BurnNumber(Value, frozen=True):
    """Use up the sequence number of this ticket without any other effect."""

    attempt: Attempt
    row: TicketRow


class Query(Value, frozen=True):
    """Look the attempt up at the venue."""

    attempt: Attempt
    why: str


class CloseDead(Value, frozen=True):
    """The attempt never existed, or a ledger took it back, and never will: proved. ``costs``: what it cost all the
    same."""

    attempt: Attempt
    proof: str
    costs: tuple[Cost, ...] = ()


class CloseForgotten(Value, frozen=True):
    """Seen once, and now absent from a complete snapshot and complete fill history: over, with the fills booked."""

    attempt: Attempt


class Finish(Value, frozen=True):
    """The intent is over."""

    status: IntentStatus
    reason: str


class Park(Value, frozen=True):
    """Only an operator can go on."""

    reason: str


class ParkLost(Value, frozen=True):
    """Seen once, not at the venue any more, and the venue's records do not tell what it executed meanwhile."""

    attempt: Attempt
    reason: str


class Wait(Value, frozen=True):
    """Nothing to do until ``until`` (local ms; None: until something happens)."""

    until: int | None
    reason: str = ""


Decision = (
    Submit
    | AmendOrder
    | KeepOrder
    | CancelOrder
    | SettleOrder
    | ReplaceOrder
    | Resend
    | BurnNumber
    | Query
    | CloseDead
    | CloseForgotten
    | Finish
    | Park
    | ParkLost
    | Wait
)
