"""What one market type of Binance has to say for itself: its requests, its words, its verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from exchange_kernel.schema import SymbolMetadata
from exchange_kernel.venue import (
    AccountSnapshot,
    Ack,
    Command,
    Lookup,
    Prep,
    Prepared,
    Preview,
    PriceTick,
    Ref,
    Snapshot,
    Spec,
    Ticket,
    VenueEvent,
)


class Dialect(Protocol):
    """One market type, for one session."""

    async def login(self) -> str:
        """The account's number. Raises NotAuthorized, Unavailable."""
        ...

    async def load(self) -> Sequence[SymbolMetadata]:
        """Every market. Raises Unavailable."""
        ...

    @property
    def loaded(self) -> bool:
        """Is any market known?"""
        ...

    def check(self, spec: Spec, was: Spec | None) -> Preview:
        """Pure. Raises UnknownSymbol, Unsupported, InvalidOrder."""
        ...

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        """The ticket of a command."""
        ...

    async def submit(self, ticket: Ticket) -> Ack:
        """Send it."""
        ...

    async def lookup(self, ref: Ref) -> Lookup:
        """What became of an attempt."""
        ...

    async def open_orders(self, page: str | None) -> Snapshot:
        """One page of open orders."""
        ...

    async def account(self) -> AccountSnapshot:
        """Balances and positions."""
        ...

    async def price(self, symbol: str) -> PriceTick:
        """The best bid and ask. Raises UnknownSymbol, Unavailable, RateLimited."""
        ...

    def told(self, event: Mapping[str, Any]) -> Sequence[VenueEvent]:
        """What an event of the user-data stream says. Raises KeyError, ValueError for one that is not whole."""
        ...
