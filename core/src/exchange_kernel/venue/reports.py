"""What a venue tells: orders, fills, snapshots, events. Reports may repeat and reorder (rule 10); money is
``Decimal``."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Literal

import msgspec

from exchange_kernel.schema import Side
from exchange_kernel.value import Value
from exchange_kernel.venue.commands import Leg
from exchange_kernel.venue.fences import Key, Ms, VenueId, Watermark

ZERO = Decimal(0)


class VenueStatus(StrEnum):
    """State of one venue object. The last four are terminal."""

    PENDING = "pending"
    DORMANT = "dormant"
    TRIGGERING = "triggering"
    WORKING = "working"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"

    @property
    def terminal(self) -> bool:
        """True for FILLED, CANCELED, EXPIRED, REJECTED."""
        return self in _TERMINAL


_TERMINAL = frozenset({VenueStatus.FILLED, VenueStatus.CANCELED, VenueStatus.EXPIRED, VenueStatus.REJECTED})


class Why(StrEnum):
    """Why a venue object is in its state."""

    NONE = ""
    USER = "user"
    OTHER_USER = "other_user"
    FUNDS = "funds"
    FILTER = "filter"
    WOULD_CROSS = "would_cross"
    RISK = "risk"
    MARKET_CLOSED = "market_closed"
    SELF_TRADE = "self_trade"
    DEAD_MAN = "dead_man"
    DISCONNECT = "disconnect"
    MMP = "mmp"
    LIQUIDATION = "liquidation"
    ADL = "adl"
    SETTLEMENT = "settlement"
    REVERTED = "reverted"
    SLOT_TAKEN = "slot_taken"
    REPLACED = "replaced"
    TRIGGERED = "triggered"
    REDUCE_ONLY = "reduce_only"
    OTHER = "other"


class Executed(Value, frozen=True):
    """Cumulative execution: ``base`` and ``quote``, before fees."""

    base: Decimal = ZERO
    quote: Decimal = ZERO


class Cost(Value, frozen=True):
    """A fee or other cost, in its own asset. ``id`` is unique in the account."""

    id: str
    asset: str
    amount: Decimal
    kind: Literal["trade", "network", "funding", "interest", "other"] = "trade"


class Fill(Value, frozen=True):
    """One execution. ``id`` is unique in the account for ever (symbol inside where the venue's trade ids are per
    symbol;
    on chains: transaction and ordinal in it). A correction keeps the id and raises ``revision``."""

    id: str
    of: VenueId
    base: Decimal
    quote: Decimal
    price: Decimal
    at: Ms
    fees: tuple[Cost, ...] = ()
    fees_known: bool = True
    maker: bool | None = None
    revision: int = 0
    final: bool = True


class Need(Value, frozen=True):
    """The order needs something by ``by`` (local ms UTC), or it will not progress.

    ``of``: where it needs to be replaced, which of its :attr:`Ticket.ids` that is said of. A newer ticket that is not
    meant has not been taken yet, and is sent again instead of a still newer one made. None: of the newest.
    """

    what: Literal["replace", "settle", "force_cancel"]
    by: Ms
    why: str
    of: VenueId | None = None


class OrderReport(Value, frozen=True):
    """State of ONE venue object at ``as_of`` (venue ms UTC).

    ``key``: of the attempt, when the client id shows it. ``links``: other ids of the same lineage. ``applied``: key of
    the last command the order shows. ``filled`` never falls; ``tentative`` may. ``fills_complete``: ``fills`` are all
    there are up to ``filled``. ``final``: the authority cannot change it any more. ``version`` orders reports of this
    object. ``drawn``: what its :attr:`Preview.needs` name it has taken by now, or never will: the account shows what
    is left, and nothing is kept for it any more.
    """

    id: VenueId
    symbol: str
    side: Side
    status: VenueStatus
    as_of: Ms
    key: Key | None = None
    links: tuple[VenueId, ...] = ()
    leg: Leg = "NET"
    why: Why = Why.NONE
    text: str = ""
    amount: Decimal | None = None
    price: Decimal | None = None
    applied: Key | None = None
    filled: Executed = Executed()
    tentative: Executed = Executed()
    fills: tuple[Fill, ...] = ()
    fills_complete: bool = False
    costs: tuple[Cost, ...] = ()
    final: bool = False
    confirmations: int | None = None
    version: int | None = None
    origin: Literal["account", "venue"] = "account"
    need: Need | None = None
    drawn: bool = False
    raw: Mapping[str, str] = msgspec.field(default_factory=dict)


class StepReport(Value, frozen=True):
    """Fate of a command that is no order: Enable, Settle, Burn, CancelAll, a forced Cancel."""

    id: VenueId
    key: Key
    state: Literal["pending", "done", "failed"]
    final: bool
    as_of: Ms
    why: Why = Why.NONE
    text: str = ""
    costs: tuple[Cost, ...] = ()
    need: Need | None = None


class Found(Value, frozen=True):
    """The attempt is at the venue; several matches are all returned."""

    reports: tuple[OrderReport | StepReport, ...]
    at: Watermark


class Absent(Value, frozen=True):
    """Not there in a read that got as far as ``at``; it would have been found had it entered at or after ``since``
    (venue ms UTC). ``looked``: every source asked; all answered completely. ``costs``: what its tickets cost all the
    same, for good: gas of what used up its number."""

    at: Watermark
    since: Ms
    looked: tuple[str, ...]
    costs: tuple[Cost, ...] = ()


class Unsure(Value, frozen=True):
    """Cannot tell. ``retry_at`` None: this venue will never be able to tell."""

    why: str
    retry_at: Ms | None
    candidates: tuple[OrderReport, ...] = ()


Lookup = Found | Absent | Unsure


class Ack(Value, frozen=True):
    """The venue's answer to a ticket. ``sent``: it left; ``held``: queued; ``decided``: ``reports`` are the outcome;
    ``duplicate``: an order with this key exists: look."""

    stage: Literal["sent", "held", "decided", "duplicate"]
    reports: tuple[OrderReport | StepReport, ...] = ()


class Snapshot(Value, frozen=True):
    """One page of open orders. ``symbols`` None = all. ``owner``: does it show orders others placed on this account?"""

    reports: tuple[OrderReport, ...]
    at: Watermark
    complete: bool
    symbols: frozenset[str] | None
    owner: Literal["ours", "account"]
    next: str | None = None


class Balance(Value, frozen=True):
    """Holdings of one asset: ``total`` = ``free`` + held by orders."""

    asset: str
    total: Decimal
    free: Decimal
    borrowed: Decimal = ZERO


class VenuePosition(Value, frozen=True):
    """A position as the venue reports it; ``amount`` in base, negative for short."""

    symbol: str
    leg: Leg
    amount: Decimal
    entry: Decimal | None
    liquidation: Decimal | None = None
    isolated: bool = False


class Notice(Value, frozen=True):
    """Something the account's owner should know. ``subject``: what of it, where there can be several of a kind."""

    kind: Literal[
        "margin_call",
        "dead_man",
        "dead_man_fired",
        "session_lost",
        "credentials",
        "account_config",
        "foreign_slot",
        "venue_halted",
        "venue_resumed",
    ]
    text: str
    subject: str = ""


class AccountSnapshot(Value, frozen=True):
    """Balances and positions. ``complete`` False: only what changed. ``floors``: scope → smallest number still
    usable. ``notices``: what of the account's state its owner should know; one that a later complete snapshot does not
    have is over. None: this venue tells none."""

    at: Watermark
    complete: bool
    balances: tuple[Balance, ...]
    positions: tuple[VenuePosition, ...] = ()
    margin: Mapping[str, Decimal] = msgspec.field(default_factory=dict)
    floors: Mapping[str, int] = msgspec.field(default_factory=dict)
    notices: tuple[Notice, ...] | None = None


class FillVoided(Value, frozen=True):
    """A fill was busted or reorged out."""

    id: str
    revision: int
    why: Why


class LedgerEntry(Value, frozen=True):
    """A balance change that is no fill."""

    id: str
    asset: str
    delta: Decimal
    kind: Literal["funding", "interest", "settlement", "transfer", "liquidation", "other"]
    symbol: str | None = None


class MarketsChanged(Value, frozen=True):
    """Symbol metadata changed; None = any symbol."""

    symbols: frozenset[str] | None
    why: str


class Gap(Value, frozen=True):
    """Events since ``since`` (venue ms) may have been lost: take a snapshot."""

    since: Ms
    symbols: frozenset[str] | None
    why: str


EventBody = (
    OrderReport | StepReport | FillVoided | AccountSnapshot | LedgerEntry | Watermark | MarketsChanged | Notice | Gap
)


class VenueEvent(Value, frozen=True):
    """One event of the stream; ``cursor`` resumes after it where the venue can replay."""

    at: Ms
    cursor: str | None
    body: EventBody


class Quote(Value, frozen=True):
    """What an order would execute at now. ``price``: average over its whole amount, in quote per base, before network
    costs; None: it cannot be executed whole. ``at``: venue ms UTC."""

    price: Decimal | None
    at: Ms


class PriceTick(Value, frozen=True):
    """Prices of one symbol in quote; None where the venue has none (a one-sided market)."""

    symbol: str
    at: Ms
    bid: Decimal | None = None
    ask: Decimal | None = None
    last: Decimal | None = None
    mark: Decimal | None = None
    index: Decimal | None = None
