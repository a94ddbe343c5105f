"""The ten methods a venue plugin implements, and the four optional protocols."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable

from exchange_kernel.schema import Support, SymbolMetadata
from exchange_kernel.venue.commands import Command, Prep, Prepared, Ref, Spec
from exchange_kernel.venue.fences import Money, Ms, Scope, Ticket
from exchange_kernel.venue.reports import (
    AccountSnapshot,
    Ack,
    Fill,
    LedgerEntry,
    Lookup,
    OrderReport,
    PriceTick,
    Quote,
    Snapshot,
    VenueEvent,
)


@dataclass(frozen=True, slots=True)
class Preview:
    """Exactly what would be sent: ``spec`` after rounding, the capabilities it ``uses``, the most it may cost.

    ``needs``: prerequisites of the account that such an order draws on while it lives, by name, with the amount of it
    in a unit of the adapter's choice (0: a mode, without quantity). A pure function of the spec, like everything here.
    """

    spec: Spec
    uses: Mapping[str, Support]
    outlay: tuple[Money, ...] = ()
    warnings: tuple[str, ...] = ()
    needs: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Opened:
    """Facts about the opened account.

    ``identity``: the physical account (``binance:spot:uid42``, ``evm:1:0xabc…``). ``mode``: paper, testnet, fork or
    live.
    ``retention``: how long a finished order without fills can be looked up, ms. ``read_lag``: longest time reads
    trail the
    matching engine, ms. ``clock_offset``: venue clock minus local clock, ms; ``clock_error``: its bound. ``horizon``:
    longest time after ``prepare`` at which a ticket of this adapter may still take effect, ms; None = unbounded.
    ``rights``: what the credentials allow (``read``, ``trade``, ``transfer``, ``withdraw``), as far as it is known.
    """

    identity: str
    mode: str
    scopes: tuple[Scope, ...] = ()
    retention: Ms = 0
    read_lag: Ms = 0
    clock_offset: Ms = 0
    clock_error: Ms = 0
    horizon: Ms | None = None
    orders_die_with_session: bool = False
    rights: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Context:
    """What an adapter is given: its account's own configuration and credentials, and the clock. Nothing else.

    ``clock()`` returns local ms UTC. ``monotonic()`` and ``sleep(seconds)`` belong to the same time source.
    ``observe``: the account is only looked at: no ``prepare`` will come, and credentials that may not trade are enough.
    """

    account: str
    config: Mapping[str, Any]
    clock: Callable[[], Ms]
    sleep: Callable[[float], Any]
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    observe: bool = False


class VenueAdapter(Protocol):
    """One open session with one account of a venue. See docs/design.md for the 21 rules."""

    async def open(self, ctx: Context) -> Opened:
        """Connect and say who this is. Raises NotAuthorized, Unavailable."""
        ...

    async def close(self) -> None:
        """Idempotent. Ends its own tasks and sockets; cancels no order."""
        ...

    async def markets(self) -> Sequence[SymbolMetadata]:
        """Every symbol with units, constraints and every capability answered. Raises Unavailable."""
        ...

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        """Synchronous and pure: exactly what would be sent (``was``: as an amendment of it). Raises Unsupported,
        InvalidOrder."""
        ...

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        """Build and sign the ticket, without any effect at the venue; signing last. Raises NoEffect errors,
        Unavailable."""
        ...

    async def submit(self, ticket: Ticket) -> Ack:
        """Send these bytes, once. A NoEffect error only on a documented verdict; everything else propagates."""
        ...

    async def lookup(self, ref: Ref) -> Lookup:
        """Watermark first, then search every source. Raises Unavailable."""
        ...

    async def open_orders(self, page: str | None) -> Snapshot:
        """One page of open orders; ``page`` is the previous page's ``next``. Raises Unavailable."""
        ...

    async def account(self) -> AccountSnapshot:
        """Balances and positions. Raises Unavailable."""
        ...

    def events(self, cursor: str | None) -> AsyncIterator[VenueEvent]:
        """Subscribe, then yield ``Gap``, then data. Silence beyond the heartbeat, overflow, reconnect: ``Gap``."""
        ...


@runtime_checkable
class Prices(Protocol):
    """Optional: a price stream."""

    def prices(self, symbols: frozenset[str]) -> AsyncIterator[PriceTick]:
        """Current prices first, then every change."""
        ...


@runtime_checkable
class PriceReads(Protocol):
    """Optional: the prices of one symbol, on request. For a venue that has no :class:`Prices`: what bounds the slippage
    and the notional of a market order is asked for when it is needed, at most once a second."""

    async def price(self, symbol: str) -> PriceTick:
        """As of now. Raises UnknownSymbol, Unavailable, RateLimited."""
        ...


@runtime_checkable
class Quotes(Protocol):
    """Optional: what an order would execute at now."""

    async def quote(self, spec: Spec) -> Quote:
        """For the whole of ``spec``. Raises Unavailable."""
        ...


@runtime_checkable
class History(Protocol):
    """Optional: everything that finished or traded since a cursor, oldest first. Makes a restart cost O(pages)."""

    async def history(self, cursor: str | None) -> tuple[Sequence[OrderReport | Fill | LedgerEntry], str | None]:
        """One page after ``cursor`` (None: from the start of retention) and the next cursor; the page is empty at the
        end.
        Finished orders come as terminal reports that carry all their fills. Raises Unavailable."""
        ...


@runtime_checkable
class DeadMan(Protocol):
    """Optional: the venue cancels every order of a symbol, whoever placed it, unless armed again."""

    async def arm(self, until: Ms | None, symbols: frozenset[str]) -> Ms | None:
        """Arm these symbols, and no other, until (local ms UTC), or disarm them; the earliest time that the venue
        confirmed. May be repeated at any time. Raises Unsupported where the venue cannot spare the rest of the
        account, else what reads raise: then any of the symbols may be armed anew, and any as before."""
        ...
