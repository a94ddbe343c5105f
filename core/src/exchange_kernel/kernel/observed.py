"""A venue that is only looked at: every read goes through, and nothing that prepares, signs or sends is reachable."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NoReturn

from exchange_kernel.errors import NotSent, OutcomeUnknown
from exchange_kernel.schema import AssetMetadata, SymbolMetadata
from exchange_kernel.venue import (
    AccountSnapshot,
    Ack,
    Command,
    Context,
    Fill,
    History,
    LedgerEntry,
    Lookup,
    Opened,
    OrderReport,
    Prep,
    Prepared,
    Preview,
    Prices,
    PriceTick,
    Quote,
    Quotes,
    Ref,
    Snapshot,
    Spec,
    Ticket,
    VenueAdapter,
    VenueEvent,
)

__all__ = ["observing"]

WHY = "the account is only observed (mode: observe)"


class Observed:
    """An adapter of which only the reads are left. Dead-man switches are not: they cancel orders."""

    def __init__(self, adapter: VenueAdapter) -> None:
        self._adapter = adapter

    async def open(self, ctx: Context) -> Opened:
        return await self._adapter.open(ctx)

    async def close(self) -> None:
        await self._adapter.close()

    async def markets(self) -> Sequence[SymbolMetadata]:
        return await self._adapter.markets()

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        return self._adapter.check(spec, was)

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        raise NotSent(WHY)

    async def submit(self, ticket: Ticket) -> Ack:
        # Not NotSent: an earlier process may have sent this very ticket, and only the venue's records tell.
        raise OutcomeUnknown(f"not sent again: {WHY}")

    async def lookup(self, ref: Ref) -> Lookup:
        return await self._adapter.lookup(ref)

    async def open_orders(self, page: str | None) -> Snapshot:
        return await self._adapter.open_orders(page)

    async def account(self) -> AccountSnapshot:
        return await self._adapter.account()

    def events(self, cursor: str | None) -> AsyncIterator[VenueEvent]:
        return self._adapter.events(cursor)

    def __repr__(self) -> str:
        return f"Observed({type(self._adapter).__name__})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an adapter is an open session: it is neither copied nor pickled")


class _WithPrices(Observed):
    def prices(self, symbols: frozenset[str]) -> AsyncIterator[PriceTick]:
        assert isinstance(self._adapter, Prices)
        return self._adapter.prices(symbols)


class _WithQuotes(Observed):
    async def quote(self, spec: Spec) -> Quote:
        assert isinstance(self._adapter, Quotes)
        return await self._adapter.quote(spec)


class _WithHistory(Observed):
    async def history(self, cursor: str | None) -> tuple[Sequence[OrderReport | Fill | LedgerEntry], str | None]:
        assert isinstance(self._adapter, History)
        return await self._adapter.history(cursor)


class _WithAssets(Observed):
    async def assets(self) -> Sequence[AssetMetadata]:
        found: Sequence[AssetMetadata] = await self._adapter.assets()  # type: ignore[attr-defined]
        return found


def observing(adapter: VenueAdapter) -> Observed:
    """The adapter, to be looked at only: with the optional reads that it has."""
    parts: tuple[type[Observed], ...] = (
        *((_WithPrices,) if isinstance(adapter, Prices) else ()),
        *((_WithQuotes,) if isinstance(adapter, Quotes) else ()),
        *((_WithHistory,) if isinstance(adapter, History) else ()),
        *((_WithAssets,) if hasattr(adapter, "assets") else ()),
    )
    # One class for what there is: whether an optional read exists is asked of the class' attributes.
    return Observed(adapter) if not parts else type("Observed", parts, {})(adapter)
