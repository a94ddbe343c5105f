"""Commands: one change wanted at the venue. No command moves assets off the account."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Literal

import msgspec

from exchange_kernel.schema import AmountType, PriceSource, Side, TimeInForce, TrailUnit, TriggerKind
from exchange_kernel.value import Value
from exchange_kernel.venue.fences import Key, Ms, Slot, Ticket, VenueId

Leg = Literal["NET", "LONG", "SHORT"]


class Trigger(Value, frozen=True):
    """A venue-side trigger. ``price`` in quote; ``offset`` in quote (ABSOLUTE) or percent (PERCENT)."""

    kind: TriggerKind
    price: Decimal | None
    source: PriceSource = PriceSource.LAST
    offset: Decimal | None = None
    offset_in: TrailUnit = TrailUnit.ABSOLUTE
    activation: Decimal | None = None


class Spec(Value, frozen=True):
    """A StandardOrder reduced to what is still wanted, in the symbol's units.

    ``amount`` is in base or quote (``amount_in``). ``limit``: None for a market order, whose worst price is ``guard``.
    ``until``: ms UTC for GTD. ``display``: visible part of an iceberg, in base.
    """

    symbol: str
    side: Side
    amount: Decimal
    amount_in: AmountType = AmountType.BASE
    limit: Decimal | None = None
    guard: Decimal | None = None
    tif: TimeInForce = TimeInForce.GTC
    until: Ms | None = None
    leg: Leg = "NET"
    post_only: bool = False
    reduce_only: bool = False
    display: Decimal | None = None
    trigger: Trigger | None = None


class Ref(Value, frozen=True):
    """Everything the kernel knows about one attempt; adapters keep nothing of their own.

    ``placed_at``: lower bound of the *venue's* clock when the first ticket was prepared, ms UTC.
    ``ids``: every id any report ever linked to it. ``tickets``: every ticket ever committed for it (amendments and
    same-slot cancels too), oldest first.
    """

    key: Key
    symbol: str
    spec: Spec | None
    placed_at: Ms
    ids: tuple[VenueId, ...] = ()
    tickets: tuple[Ticket, ...] = ()


class Place(Value, frozen=True):
    """Create one order."""

    key: Key
    spec: Spec


class PlaceGroup(Value, frozen=True):
    """Create a native group of orders in one request."""

    key: Key
    kind: Literal["oco", "oto", "bracket"]
    legs: tuple[Place, ...]


class Amend(Value, frozen=True):
    """Change a working order in place. ``spec.amount`` is the order's new total, filled part included (R23)."""

    key: Key
    ref: Ref
    spec: Spec


class Cancel(Value, frozen=True):
    """Cancel one order. ``force``: make the cancel provable even if it costs (gas)."""

    key: Key
    ref: Ref
    force: bool = False


class CancelAll(Value, frozen=True):
    """Cancel every order of the account (of one symbol), foreign ones included; only when the user said so (R22)."""

    key: Key
    symbol: str | None


class Settle(Value, frozen=True):
    """Take the proceeds of a finished range order."""

    key: Key
    ref: Ref


class Enable(Value, frozen=True):
    """A prerequisite: an allowance, a position mode. ``amount``: enough for everything live that uses it and everything
    that waits for it (R29), in the unit of :attr:`Preview.needs`; 0 where it has no quantity."""

    key: Key
    name: str
    body: Mapping[str, str]
    amount: Decimal = Decimal(0)


class Burn(Value, frozen=True):
    """Use up a sequence number without any other effect."""

    key: Key
    slot: Slot


Command = Place | PlaceGroup | Amend | Cancel | CancelAll | Settle | Enable | Burn


class NeedsFirst(Value, frozen=True):
    """Run this ``Enable`` to sufficiency, once per name, then prepare again (R28)."""

    name: str
    body: Mapping[str, str]
    why: str


class NotNow(Value, frozen=True):
    """Nothing signed, nothing reserved; ask again at ``retry_at`` (local ms UTC)."""

    retry_at: Ms
    why: str


Prepared = Ticket | NeedsFirst | NotNow


class Prep(Value, frozen=True):
    """What ``prepare`` may use. ``now``: local ms UTC. ``give_up``: local ms UTC after which nobody wants the command
    any more (an intent's submit deadline); no ticket may be sent after it.

    ``take(scope)`` reserves the next number of a scope; it is committed with the ticket or given back.
    ``in_use``: of each name in the command's :attr:`Preview.needs`, how much the live orders of all *other* intents
    use: what is allowed must suffice for that and for this command, or the answer is ``NeedsFirst``; what can't be
    enlarged (money) is waited for with ``NotNow``, and asked for again as soon as somebody uses less.
    ``under_way``: those of the names for which a step is under way that reads do not show yet, and behind which this
    command would come: of none that replaces a ticket.
    ``instead_of``: replace this ticket; ``take`` returns its slot, and fees must beat it. ``dry``: no signer, empty
    body.
    """

    now: Ms
    give_up: Ms
    take: Callable[[str], Slot]
    instead_of: Ticket | None = None
    dry: bool = False
    in_use: Mapping[str, Decimal] = msgspec.field(default_factory=dict)
    under_way: frozenset[str] = frozenset()
