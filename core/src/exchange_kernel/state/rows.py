"""The rows behind an intent: attempts, tickets, fills, and the record that holds them together. Frozen values only."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Any

from exchange_kernel.models import ZERO, Condition, IntentStatus, Limits, OrderIntent
from exchange_kernel.schema import AmountType, Side
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.value import Row, Value, revised
from exchange_kernel.venue import Cost, Key, Ref, Spec, Ticket, VenueId


class AttemptState(StrEnum):
    """UNKNOWN: a ticket is committed, so it counts as sent. LIVE: seen at the venue. CLOSING: terminal there, fills not
    yet proved complete. CLOSED: final, all fills booked. DEAD: proved never to have existed. REFUSED: definitely
    refused. REVIVED: closed or dead for us, and yet seen alive: it must be cancelled at once (R19)."""

    UNKNOWN = "UNKNOWN"
    LIVE = "LIVE"
    CLOSING = "CLOSING"
    CLOSED = "CLOSED"
    DEAD = "DEAD"
    REFUSED = "REFUSED"
    REVIVED = "REVIVED"

    @property
    def live(self) -> bool:
        """True while this attempt excludes another one (R6)."""
        return self in LIVE_STATES


LIVE_STATES = frozenset({AttemptState.UNKNOWN, AttemptState.LIVE, AttemptState.CLOSING})


class TicketKind(StrEnum):
    """What a ticket does. PLACE and AMEND can create execution, and ENABLE allows it; the others cannot."""

    PLACE = "PLACE"
    AMEND = "AMEND"
    CANCEL = "CANCEL"
    BURN = "BURN"
    ENABLE = "ENABLE"
    SETTLE = "SETTLE"


CREATING = frozenset({TicketKind.PLACE, TicketKind.AMEND, TicketKind.ENABLE})
"""What a halt holds back, and what an attempt is looked up by."""

OPENING = frozenset({TicketKind.PLACE, TicketKind.ENABLE})
"""The first ticket of an attempt."""


def is_step(intent_id: str) -> bool:
    """Is this an intent of the kernel's own (R28)? No id that a user may give begins so."""
    return intent_id.startswith("~")


class TicketState(StrEnum):
    """COMMITTED counts as sent (R3). REPEATED: copies may be on their way, so that no answer to one copy says what
    the others do. DONE: the venue answered. NONE: definitely without effect. SETTLED: nothing of it can take effect any
    more, proved by the order's own fate."""

    COMMITTED = "COMMITTED"
    REPEATED = "REPEATED"
    DONE = "DONE"
    NONE = "NONE"
    SETTLED = "SETTLED"

    @property
    def open(self) -> bool:
        """True while the ticket may still take effect."""
        return self in _OPEN_TICKETS


_OPEN_TICKETS = frozenset({TicketState.COMMITTED, TicketState.REPEATED})


class TicketRow(Value, frozen=True):
    """A ticket as stored. ``attempt`` and ``seq`` place it; ``generation``: of the spec it carries; ``spec``: what an
    AMEND asks for."""

    attempt: int
    seq: int
    kind: TicketKind
    generation: int
    ticket: Ticket
    state: TicketState = TicketState.COMMITTED
    committed_at: int = 0
    note: str = ""
    spec: Spec | None = None


class Attempt(Value, frozen=True):
    """One exclusive chance at the venue.

    ``spec`` is what was asked (its amount is this attempt's total, in ``spec.amount_in``). ``cum_*``: cumulative
    execution the venue reported; ``booked_*``: sum of booked fills. ``version``/``as_of``: order of the newest report.
    ``final``: a terminal report the authority cannot change any more. ``read_final``: a read begun after the terminal
    report agreed on the cumulative quantity (R17). ``applied``: newest generation the venue shows. ``placed_at``: lower
    bound of the venue's clock at the first prepare, ms. ``costs``: booked, besides those of its fills.
    """

    n: int
    key: Key
    generation: int
    spec: Spec
    placed_at: int
    state: AttemptState = AttemptState.UNKNOWN
    epoch: int = 0
    ids: tuple[VenueId, ...] = ()
    venue_status: str = ""
    why: str = ""
    text: str = ""
    as_of: int = 0
    version: int = -1
    cum_base: Decimal = ZERO
    cum_quote: Decimal = ZERO
    booked_base: Decimal = ZERO
    booked_quote: Decimal = ZERO
    final: bool = False
    read_final: bool = False
    applied: int = 0
    applied_amount: Decimal | None = None
    code: str = ""
    costs: tuple[Cost, ...] = ()

    @property
    def booked(self) -> Decimal:
        """Booked execution in the unit of ``spec.amount``."""
        return self.booked_base if self.spec.amount_in is AmountType.BASE else self.booked_quote

    @property
    def seen(self) -> bool:
        """True once any report showed it at the venue."""
        return bool(self.venue_status)


class FillRow(Value, frozen=True):
    """A booked fill. ``voided``: taken back; it counts as zero."""

    id: str
    attempt: int
    symbol: str
    side: Side
    base: Decimal
    quote: Decimal
    price: Decimal
    at: int
    fees: tuple[Cost, ...] = ()
    maker: bool | None = None
    revision: int = 0
    voided: bool = False


class Progress(Value, frozen=True):
    """The reconciler's columns of an intent."""

    status: IntentStatus = IntentStatus.PENDING
    reason: str = ""
    observed_generation: int = 0
    filled_base: Decimal = ZERO
    filled_quote: Decimal = ZERO
    conditions: tuple[Condition, ...] = ()
    reserved: Decimal = ZERO
    next_due: int | None = None
    amend_refused: int = 0
    failures: int = 0


class Record(Value, frozen=True):
    """Everything stored about one intent, as of ``intent.version``."""

    intent: OrderIntent
    progress: Progress = Progress()
    attempts: tuple[Attempt, ...] = ()
    tickets: tuple[TicketRow, ...] = ()
    fills: tuple[FillRow, ...] = ()

    @property
    def live(self) -> Attempt | None:
        """The one live attempt, if any."""
        for attempt in reversed(self.attempts):
            if attempt.state in LIVE_STATES:
                return attempt
        return None

    @property
    def last(self) -> Attempt | None:
        """The newest attempt."""
        return self.attempts[-1] if self.attempts else None

    @property
    def revived(self) -> Attempt | None:
        """An attempt that should be over and is alive at the venue."""
        for attempt in self.attempts:
            if attempt.state is AttemptState.REVIVED:
                return attempt
        return None

    def attempt(self, n: int) -> Attempt:
        """Attempt number ``n`` (from 1)."""
        return self.attempts[n - 1]

    def tickets_of(self, n: int) -> tuple[TicketRow, ...]:
        """The tickets of attempt ``n``, oldest first."""
        return tuple([t for t in self.tickets if t.attempt == n])

    def ref(self, attempt: Attempt) -> Ref:
        """What an adapter is told about an attempt."""
        rows = [r for r in self.tickets_of(attempt.n) if r.kind in CREATING or r.ticket.slot is not None]
        return Ref(
            key=attempt.key,
            symbol=attempt.spec.symbol,
            spec=attempt.spec,
            placed_at=attempt.placed_at,
            ids=attempt.ids,
            tickets=tuple(row.ticket for row in rows),
        )

    def executed(self, amount_type: AmountType, *, without: int = 0) -> Decimal:
        """Booked execution of all attempts but ``without``, in base or quote."""
        total = ZERO
        for attempt in self.attempts:
            if attempt.n != without:
                booked = attempt.booked_base if amount_type is AmountType.BASE else attempt.booked_quote
                total = EXACT.add(total, booked)
        return total

    def with_attempt(self, attempt: Attempt) -> Record:
        """This record with one attempt added or replaced."""
        if attempt.n > len(self.attempts):
            return revised(self, attempts=(*self.attempts, attempt))
        n = attempt.n - 1
        return revised(self, attempts=(*self.attempts[:n], attempt, *self.attempts[n + 1 :]))

    def with_ticket(self, row: TicketRow) -> Record:
        """This record with one ticket added or replaced."""
        rows = self.tickets
        for index, known in enumerate(rows):
            if known.attempt == row.attempt and known.seq == row.seq:
                return revised(self, tickets=(*rows[:index], row, *rows[index + 1 :]))
        return revised(self, tickets=(*rows, row))


class AccountRow(Row):
    """The account's own row; its lock orders the account's events (R39)."""

    account: str
    venue: str
    identity: str
    mode: str
    event_seq: int = 0
    event_hash: str = ""
    halted: dict[str, Any] | None = None
    limits: Limits = Limits()
    open_notional: Decimal = ZERO
    rate_tokens: Decimal | None = None
    rate_at: int = 0
    recovering: dict[str, Any] | None = None
    history_cursor: str | None = None
    created_at: int = 0


class Lease(Value, frozen=True):
    """Who owns an account, until when by the database's clock (ms), and the fencing token."""

    account: str
    owner: str
    epoch: int
    expires_at: int


class StoreRow(Row):
    """The store's own row. ``incarnation`` rises with every acknowledged suspicion of lost commits (R32).

    ``commit_seq`` rises with every transaction (not on PostgreSQL: one counter would make all processes queue up there,
    so the accounts' event numbers serve). ``suspicion``: why commits may have been lost, until it is acknowledged.
    """

    store_id: str
    incarnation: int = 1
    commit_seq: int = 0
    halted: dict[str, Any] | None = None
    suspicion: str | None = None


class PositionRow(Value, frozen=True):
    """Position of an account in a symbol, from booked fills."""

    account: str
    symbol: str
    amount: Decimal = ZERO
    entry: Decimal | None = None
    realized: Decimal = ZERO


class EventRow(Value, frozen=True):
    """An event as stored. ``patch``: what it changed in the intent's rows, so that folding the log gives them (S11)."""

    account: str
    seq: int
    at: int
    kind: str
    intent_id: str | None
    actor: str
    reason: str
    body: str
    patch: str
    hash: str
