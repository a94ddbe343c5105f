"""Desired and actual state: what the user wants, what the venue says, and the attempts in between.

All money is ``Decimal`` in the unit its name says (base, quote, or the asset's own); all times are ``int`` ms UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Literal

import msgspec

from exchange_kernel.schema import AssetMetadata, AssetType, Side, StandardOrder
from exchange_kernel.value import Value

ZERO = Decimal(0)


class Desired(StrEnum):
    """What the user wants of an intent."""

    ACTIVE = "ACTIVE"
    CANCELED = "CANCELED"


class IntentStatus(StrEnum):
    """Where an intent stands. The last four are terminal and absorbing (S6)."""

    PENDING = "PENDING"
    SUBMITTING = "SUBMITTING"
    WORKING = "WORKING"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    CANCELING = "CANCELING"
    UNKNOWN = "UNKNOWN"
    PARKED = "PARKED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"

    @property
    def terminal(self) -> bool:
        """True for FILLED, CANCELED, REJECTED, EXPIRED."""
        return self in TERMINAL


TERMINAL = frozenset({IntentStatus.FILLED, IntentStatus.CANCELED, IntentStatus.REJECTED, IntentStatus.EXPIRED})


class Origin(StrEnum):
    """Who made an order: an intent of ours, somebody else, or we ourselves before the store lost its commit."""

    OURS = "OURS"
    FOREIGN = "FOREIGN"
    VENUE = "VENUE"


class Condition(Value, frozen=True):
    """One aspect of an intent or account, with its reason and the time (ms UTC) it last changed.

    Types: Synced, Protected, Degraded, Halted, Limited (reason: the limit of the account that holds the order back, as
    its configuration names it), AmendRejected, WaitingForSequence, ContradictedByVenue, VenueUnreachable, Emulated
    (reason: the capability that the kernel provides in the venue's stead), NeedsFirst (reason: what its venue wants
    first), Held, Unaccounted (the venue forgot the order before what it executed could be read).
    """

    type: str
    reason: str
    message: str = ""
    at: int = 0


class OrderIntent(Value, frozen=True):
    """Desired state of one order. Written by the user's side only; durable; never purged (R38).

    ``generation`` counts modifications of ``order``. ``submit_deadline`` (ms UTC): past it nothing is sent any more and
    the intent finishes EXPIRED (R8). ``version`` rises with every write of the row, by anybody.
    """

    account: str
    intent_id: str
    order: StandardOrder
    desired: Desired = Desired.ACTIVE
    generation: int = 1
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    group_id: str | None = None
    submit_deadline: int | None = None
    max_attempts: int = 8
    created_at: int = 0
    first_hash: str = ""
    version: int = 1


class OrderState(Value, frozen=True):
    """Actual state of one order, ours or foreign: what is true as far as anybody has proved, as of when, and why.

    ``filled_base``/``filled_quote``: booked fills, before fees. ``average_price`` in quote per base, None before a
    fill. ``observed_generation``: the newest generation the venue's order reflects. ``as_of``: venue time of the newest
    report. ``costs``: by asset, what it cost besides the fees of its fills (gas), as far as that is final.
    """

    account: str
    intent_id: str | None
    symbol_id: str
    side: Side
    status: IntentStatus
    origin: Origin = Origin.OURS
    reason: str = ""
    observed_generation: int = 0
    filled_base: Decimal = ZERO
    filled_quote: Decimal = ZERO
    amount: Decimal | None = None
    price: Decimal | None = None
    venue_ids: tuple[str, ...] = ()
    attempts: int = 0
    conditions: tuple[Condition, ...] = ()
    as_of: int = 0
    costs: Mapping[str, Decimal] = msgspec.field(default_factory=dict)

    @property
    def average_price(self) -> Decimal | None:
        """Volume-weighted price of the booked fills, in quote per base."""
        return self.filled_quote / self.filled_base if self.filled_base else None


class Position(Value, frozen=True):
    """What this account's booked fills built in a symbol; ``amount`` in base, negative for short.

    ``entry``: average entry price in quote per base, None when flat. ``realized``: realised profit in quote, before
    fees.
    """

    account: str
    symbol_id: str
    amount: Decimal
    entry: Decimal | None = None
    realized: Decimal = ZERO
    leg: str = "NET"
    asset_type: AssetType = AssetType.SPOT
    liquidation: Decimal | None = None


class Asset(Value, frozen=True):
    """Holdings of one asset, in its own unit, with its description where the venue gives one."""

    asset_id: str
    total: Decimal
    free: Decimal
    borrowed: Decimal = ZERO
    metadata: AssetMetadata | None = None


class AccountState(Value, frozen=True):
    """Snapshot of an account. ``as_of``: venue time in ms UTC of the venue's part; ``halted``: why, or None.

    ``conditions``: what its owner should know, by kind (``account_config``: it is not set up as configured;
    ``credentials``; ``dead_man``) and what of it. ``rights``: what its credentials allow, as far as it is known.
    """

    account: str
    identity: str
    mode: str
    assets: tuple[Asset, ...]
    positions: tuple[Position, ...]
    margin: Mapping[str, Decimal]
    as_of: int
    halted: str | None = None
    conditions: tuple[Condition, ...] = ()
    rights: Mapping[str, bool] = msgspec.field(default_factory=dict)


class Limits(Value, frozen=True):
    """Hard limits of an account, read in the transaction that commits an attempt.

    ``max_order_notional``/``max_open_notional`` in quote. At most ``order_count`` new orders per ``order_period_ms``.
    ``symbols``: allow-list, None = every symbol.
    """

    max_order_notional: Decimal | None = None
    max_open_notional: Decimal | None = None
    order_count: int | None = None
    order_period_ms: int = 1000
    symbols: frozenset[str] | None = None

    @property
    def bounded(self) -> bool:
        """Do these limits speak of notionals?"""
        return self.max_order_notional is not None or self.max_open_notional is not None

    @property
    def complete(self) -> bool:
        """True when a live account may start with these limits: size, open notional and rate are all set."""
        return None not in (self.max_order_notional, self.max_open_notional, self.order_count)


class DeadManPolicy(Value, frozen=True):
    """The venue cancels every order of a symbol where ours rest, unless it hears from the kernel for ``after_s`` s.

    ``cancels_everything``: also where there are orders of others, or protective ones of ours; without it such a symbol
    is not armed (R22). ``at_stop``: DISARM: orders rest on when the kernel is stopped; LEAVE: the switch fires then.
    """

    after_s: int
    cancels_everything: bool = False
    at_stop: Literal["DISARM", "LEAVE"] = "DISARM"
