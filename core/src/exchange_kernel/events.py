"""Events: what became true, in order, written in the transaction that made it true (R39).

Every event carries ``seq`` (per account, without gaps), ``at`` (ms UTC), ``actor`` and ``reason``. A subscriber that
remembers the last ``seq`` it handled can resume after it and sees each event once.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from operator import attrgetter
from typing import Any, ClassVar, Self

from msgspec import structs

from exchange_kernel.schema.numbers import plain
from exchange_kernel.value import Value

__all__ = [
    "EVENT_TYPES",
    "AccountBalanceUpdated",
    "AccountHalted",
    "AccountResumed",
    "AmendRejected",
    "AttemptClosed",
    "AttemptProvedDead",
    "CancelRequested",
    "ContradictedByVenue",
    "CostBooked",
    "DriftDetected",
    "Event",
    "FillVoided",
    "HealthChanged",
    "IntentCreated",
    "IntentModified",
    "LateFillBooked",
    "MarginCallWarning",
    "OrderAccepted",
    "OrderCanceled",
    "OrderExpired",
    "OrderFilled",
    "OrderModified",
    "OrderOutcomeUnknown",
    "OrderParked",
    "OrderPartiallyFilled",
    "OrderRecorded",
    "OrderRejected",
    "OrderResolved",
    "OrderSubmitted",
    "OrderTriggered",
    "PositionClosed",
    "PositionModified",
    "PositionOpened",
    "RecoveryFinished",
    "RecoveryStarted",
    "decode",
]

EVENT_TYPES: dict[str, type[Event]] = {}


class Event(Value, frozen=True, kw_only=True):
    """Header of every event. ``intent_id`` is None for position, account and kernel events."""

    account: str
    at: int
    intent_id: str | None = None
    actor: str = "kernel"
    reason: str = ""
    seq: int = 0
    payload: ClassVar[tuple[str, ...]] = ()

    @property
    def kind(self) -> str:
        """The event's name, as stored."""
        return type(self).__name__

    def body(self) -> dict[str, Any]:
        """The payload, JSON-able: money as plain text."""
        names, values = _payload(type(self))
        return {
            name: plain(value) if type(value) is Decimal else value
            for name, value in zip(names, values(self), strict=True)
            if value is not None
        }

    def numbered(self, seq: int, at: int) -> Self:
        """This event with its place in the account's log, at the database's time."""
        structs.force_setattr(self, "seq", seq)
        structs.force_setattr(self, "at", at)
        return self


_Payload = tuple[tuple[str, ...], Callable[[Event], tuple[Any, ...]]]
_PAYLOADS: dict[type[Event], _Payload] = {}
_HEADER = frozenset(("account", "at", "intent_id", "actor", "reason", "seq"))
_MONEY: dict[type[Event], frozenset[str]] = {}


def _payload(cls: type[Event]) -> _Payload:
    """Names of what a kind carries beside the header, and what reads them all at once."""
    found = _PAYLOADS.get(cls)
    if found is None:
        names = tuple(name for name in cls.__struct_fields__ if name not in _HEADER)
        one = len(names) == 1
        found = _PAYLOADS[cls] = names, _one(names[0]) if one else attrgetter(*names) if names else _nothing
    return found


def _nothing(_: Event) -> tuple[Any, ...]:
    return ()


def _one(name: str) -> Callable[[Event], tuple[Any, ...]]:
    return lambda event: (getattr(event, name),)


def decode(kind: str, header: dict[str, Any], body: dict[str, Any]) -> Event:
    """The event a stored row describes. Raises KeyError for a kind this release does not know."""
    cls = EVENT_TYPES[kind]
    money = _MONEY.get(cls)
    if money is None:
        money = _MONEY[cls] = frozenset(f.name for f in structs.fields(cls) if "Decimal" in str(f.type))
    payload: dict[str, Any] = {k: Decimal(v) if k in money and v is not None else v for k, v in body.items()}
    return cls(**header, **payload)


class IntentCreated(Event, frozen=True, kw_only=True):
    """The user declared an order; it is durable from here on."""

    symbol_id: str
    side: str
    amount: str
    amount_type: str
    limit_price: str | None = None
    generation: int = 1


class IntentModified(Event, frozen=True, kw_only=True):
    """The user changed the order: ``generation`` is the new one."""

    generation: int
    amount: str
    limit_price: str | None = None


class CancelRequested(Event, frozen=True, kw_only=True):
    """The user wants the order gone. CANCELED follows only with proof."""


class OrderSubmitted(Event, frozen=True, kw_only=True):
    """A ticket of this attempt is committed and counts as sent from here on (R3)."""

    attempt: int
    generation: int
    key: str
    amount: Decimal
    limit_price: Decimal | None = None


class OrderAccepted(Event, frozen=True, kw_only=True):
    """The venue has the order."""

    attempt: int
    venue_id: str


class OrderRejected(Event, frozen=True, kw_only=True):
    """The venue, or a limit, refused the order; terminal."""

    code: str = ""
    filled_base: Decimal = Decimal(0)


class OrderPartiallyFilled(Event, frozen=True, kw_only=True):
    """One fill was booked and the order is not complete. Amounts of this fill and totals of the intent."""

    attempt: int
    fill_id: str
    base: Decimal
    quote: Decimal
    price: Decimal
    filled_base: Decimal
    filled_quote: Decimal


class OrderFilled(Event, frozen=True, kw_only=True):
    """The order is completely executed; terminal. ``fill_id`` … ``price`` describe the fill that completed it."""

    filled_base: Decimal
    filled_quote: Decimal
    attempt: int | None = None
    fill_id: str | None = None
    base: Decimal | None = None
    quote: Decimal | None = None
    price: Decimal | None = None


class OrderCanceled(Event, frozen=True, kw_only=True):
    """Proved: nothing of this order can execute any more; terminal."""

    filled_base: Decimal
    filled_quote: Decimal


class OrderModified(Event, frozen=True, kw_only=True):
    """The venue's order reflects this generation."""

    attempt: int
    generation: int


class OrderExpired(Event, frozen=True, kw_only=True):
    """Time ended the order, before or after it reached the venue; terminal."""

    filled_base: Decimal
    filled_quote: Decimal


class LateFillBooked(Event, frozen=True, kw_only=True):
    """A fill was booked after its attempt had been proved dead or closed, or its intent had ended (R19)."""

    attempt: int
    fill_id: str
    base: Decimal
    quote: Decimal
    price: Decimal


class AmendRejected(Event, frozen=True, kw_only=True):
    """The venue refused this generation of the order; the previous one stands."""

    generation: int
    code: str = ""


class OrderOutcomeUnknown(Event, frozen=True, kw_only=True):
    """The outcome of a ticket is not known; the kernel looks until it is found or proved dead."""

    attempt: int


class AttemptProvedDead(Event, frozen=True, kw_only=True):
    """Proved: this attempt never reached the venue and never will."""

    attempt: int
    proof: str


class AttemptClosed(Event, frozen=True, kw_only=True):
    """The attempt is over at the venue with all its fills booked."""

    attempt: int
    venue_status: str
    filled_base: Decimal
    filled_quote: Decimal


class CostBooked(Event, frozen=True, kw_only=True):
    """The order cost something besides its fills' fees, for good: gas of a transaction, whatever became of it.

    ``amount`` of ``asset``; ``cost``: network, funding, interest, trade or other. Each ``cost_id`` is told once."""

    attempt: int
    cost_id: str
    asset: str
    amount: Decimal
    cost: str


class OrderParked(Event, frozen=True, kw_only=True):
    """The kernel cannot decide without help; see ``reason`` and ``exk resolve``."""


class OrderResolved(Event, frozen=True, kw_only=True):
    """An operator resolved a parked or unknown order."""

    how: str


class OrderTriggered(Event, frozen=True, kw_only=True):
    """A conditional order fired."""

    attempt: int


class OrderRecorded(Event, frozen=True, kw_only=True):
    """Bookkeeping without a change of meaning (a cancel was sent, a report was refined)."""

    what: str


class ContradictedByVenue(Event, frozen=True, kw_only=True):
    """The venue shows something our proof had excluded; it was booked and is being corrected."""

    attempt: int


class FillVoided(Event, frozen=True, kw_only=True):
    """The venue took a fill back (bust, reorg)."""

    fill_id: str
    base: Decimal
    quote: Decimal


class DriftDetected(Event, frozen=True, kw_only=True):
    """The venue differs from the intent for a reason that is not ours."""

    what: str
    venue_id: str = ""


class PositionOpened(Event, frozen=True, kw_only=True):
    """Booked fills opened a position."""

    symbol_id: str
    amount: Decimal
    entry: Decimal | None = None


class PositionModified(Event, frozen=True, kw_only=True):
    """Booked fills changed a position."""

    symbol_id: str
    amount: Decimal
    entry: Decimal | None = None
    realized: Decimal = Decimal(0)


class PositionClosed(Event, frozen=True, kw_only=True):
    """Booked fills closed a position."""

    symbol_id: str
    realized: Decimal = Decimal(0)


class AccountBalanceUpdated(Event, frozen=True, kw_only=True):
    """An account snapshot shows another balance."""

    asset: str
    total: Decimal
    free: Decimal


class MarginCallWarning(Event, frozen=True, kw_only=True):
    """The venue warned about margin."""

    text: str


class AccountHalted(Event, frozen=True, kw_only=True):
    """Orders are refused and none is sent until somebody resumes."""

    scope: str = "account"


class AccountResumed(Event, frozen=True, kw_only=True):
    """The halt was lifted."""

    scope: str = "account"


class RecoveryStarted(Event, frozen=True, kw_only=True):
    """The store may have lost commits: nothing is sent until the venue was searched (R32)."""

    cause: str


class RecoveryFinished(Event, frozen=True, kw_only=True):
    """The venue was searched; what could not be matched is parked."""

    matched: int
    parked: int


class HealthChanged(Event, frozen=True, kw_only=True):
    """The connection to the venue, or the account's supervision, changed state."""

    component: str
    healthy: bool


EVENT_TYPES.update({cls.__name__: cls for cls in Event.__subclasses__()})
