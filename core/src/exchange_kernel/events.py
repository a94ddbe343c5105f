"""Events: what became true, in order, written in the transaction that made it true (R39).

Every event carries ``seq`` (per account, without gaps), ``at`` (ms UTC), ``actor`` and ``reason``. A subscriber that
remembers the last ``seq`` it handled can resume after it and sees each event once.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, ClassVar, Self

from exchange_kernel.schema import canonical

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
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
        out: dict[str, Any] = {}
        for name in _payload(type(self)):
            value = getattr(self, name)
            if value is not None:
                out[name] = canonical(value) if isinstance(value, Decimal) else value
        return out

    def numbered(self, seq: int, at: int) -> Self:
        """This event with its place in the account's log, at the database's time."""
        object.__setattr__(self, "seq", seq)
        object.__setattr__(self, "at", at)
        return self


_PAYLOADS: dict[type[Event], tuple[str, ...]] = {}
_HEADER = frozenset(("account", "at", "intent_id", "actor", "reason", "seq"))
_MONEY: dict[type[Event], frozenset[str]] = {}


def _payload(cls: type[Event]) -> tuple[str, ...]:
    names = _PAYLOADS.get(cls)
    if names is None:
        names = _PAYLOADS[cls] = tuple(f.name for f in fields(cls) if f.name not in _HEADER)
    return names


def decode(kind: str, header: dict[str, Any], body: dict[str, Any]) -> Event:
    """The event a stored row describes. Raises KeyError for a kind this release does not know."""
    cls = EVENT_TYPES[kind]
    money = _MONEY.get(cls)
    if money is None:
        money = _MONEY[cls] = frozenset(f.name for f in fields(cls) if "Decimal" in str(f.type))
    payload: dict[str, Any] = {k: Decimal(v) if k in money and v is not None else v for k, v in body.items()}
    return cls(**header, **payload)


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentCreated(Event):
    """The user declared an order; it is durable from here on."""

    symbol_id: str
    side: str
    amount: str
    amount_type: str
    limit_price: str | None = None
    generation: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentModified(Event):
    """The user changed the order: ``generation`` is the new one."""

    generation: int
    amount: str
    limit_price: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequested(Event):
    """The user wants the order gone. CANCELED follows only with proof."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderSubmitted(Event):
    """A ticket of this attempt is committed and counts as sent from here on (R3)."""

    attempt: int
    generation: int
    key: str
    amount: Decimal
    limit_price: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderAccepted(Event):
    """The venue has the order."""

    attempt: int
    venue_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRejected(Event):
    """The venue, or a limit, refused the order; terminal."""

    code: str = ""
    filled_base: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPartiallyFilled(Event):
    """One fill was booked and the order is not complete. Amounts of this fill and totals of the intent."""

    attempt: int
    fill_id: str
    base: Decimal
    quote: Decimal
    price: Decimal
    filled_base: Decimal
    filled_quote: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFilled(Event):
    """The order is completely executed; terminal. ``fill_id`` … ``price`` describe the fill that completed it."""

    filled_base: Decimal
    filled_quote: Decimal
    attempt: int | None = None
    fill_id: str | None = None
    base: Decimal | None = None
    quote: Decimal | None = None
    price: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderCanceled(Event):
    """Proved: nothing of this order can execute any more; terminal."""

    filled_base: Decimal
    filled_quote: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderModified(Event):
    """The venue's order reflects this generation."""

    attempt: int
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderExpired(Event):
    """Time ended the order, before or after it reached the venue; terminal."""

    filled_base: Decimal
    filled_quote: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class LateFillBooked(Event):
    """A fill was booked after its attempt had been proved dead or closed, or its intent had ended (R19)."""

    attempt: int
    fill_id: str
    base: Decimal
    quote: Decimal
    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class AmendRejected(Event):
    """The venue refused this generation of the order; the previous one stands."""

    generation: int
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderOutcomeUnknown(Event):
    """The outcome of a ticket is not known; the kernel looks until it is found or proved dead."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptProvedDead(Event):
    """Proved: this attempt never reached the venue and never will."""

    attempt: int
    proof: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptClosed(Event):
    """The attempt is over at the venue with all its fills booked."""

    attempt: int
    venue_status: str
    filled_base: Decimal
    filled_quote: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderParked(Event):
    """The kernel cannot decide without help; see ``reason`` and ``exk resolve``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderResolved(Event):
    """An operator resolved a parked or unknown order."""

    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderTriggered(Event):
    """A conditional order fired."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRecorded(Event):
    """Bookkeeping without a change of meaning (a cancel was sent, a report was refined)."""

    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContradictedByVenue(Event):
    """The venue shows something our proof had excluded; it was booked and is being corrected."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FillVoided(Event):
    """The venue took a fill back (bust, reorg)."""

    fill_id: str
    base: Decimal
    quote: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftDetected(Event):
    """The venue differs from the intent for a reason that is not ours."""

    what: str
    venue_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionOpened(Event):
    """Booked fills opened a position."""

    symbol_id: str
    amount: Decimal
    entry: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionModified(Event):
    """Booked fills changed a position."""

    symbol_id: str
    amount: Decimal
    entry: Decimal | None = None
    realized: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionClosed(Event):
    """Booked fills closed a position."""

    symbol_id: str
    realized: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountBalanceUpdated(Event):
    """An account snapshot shows another balance."""

    asset: str
    total: Decimal
    free: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginCallWarning(Event):
    """The venue warned about margin."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountHalted(Event):
    """Orders are refused and none is sent until somebody resumes."""

    scope: str = "account"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountResumed(Event):
    """The halt was lifted."""

    scope: str = "account"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryStarted(Event):
    """The store may have lost commits: nothing is sent until the venue was searched (R32)."""

    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryFinished(Event):
    """The venue was searched; what could not be matched is parked."""

    matched: int
    parked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthChanged(Event):
    """The connection to the venue, or the account's supervision, changed state."""

    component: str
    healthy: bool


EVENT_TYPES.update({cls.__name__: cls for cls in Event.__subclasses__()})
