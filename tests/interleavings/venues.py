"""Paper venues with a difference: adapters that tell the kernel something else than the exchange behind them would."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from exchange_kernel.schema import MarketCapabilities, Support, SupportLevel
from exchange_kernel.venue import Ack, Found, OrderReport


class Venue:
    """Behaves like the adapter it is given, but for what a subclass overrides."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def history(self, cursor: Any) -> Any:
        return await self.inner.history(cursor)

    def prices(self, symbols: Any) -> AsyncIterator[Any]:
        found: AsyncIterator[Any] = self.inner.prices(symbols)
        return found


class Live(Venue):
    """Says that real money is at stake."""

    async def open(self, ctx: Any) -> Any:
        return replace(await self.inner.open(ctx), mode="live")


class Timeless(Venue):
    """Offers neither DAY nor GTD: the kernel's own timer has to end such orders."""

    async def markets(self) -> Any:
        return tuple(
            replace(market, capabilities=self._without(market.capabilities)) for market in await self.inner.markets()
        )

    @staticmethod
    def _without(had: MarketCapabilities) -> MarketCapabilities:
        lacking = dict.fromkeys(("day", "gtd"), Support(SupportLevel.UNSUPPORTED))
        return replace(had, features={**had.features, **lacking})


class Draws(Venue):
    """Says of every order that rests that it has taken what it needed from the account."""

    @staticmethod
    def _drawn(report: Any) -> Any:
        known = isinstance(report, OrderReport) and not report.status.terminal
        return replace(report, drawn=True) if known else report

    async def submit(self, ticket: Any) -> Ack:
        ack = await self.inner.submit(ticket)
        return replace(ack, reports=tuple(map(self._drawn, ack.reports)))

    async def lookup(self, ref: Any) -> Any:
        found = await self.inner.lookup(ref)
        return replace(found, reports=tuple(map(self._drawn, found.reports))) if isinstance(found, Found) else found

    async def open_orders(self, page: Any) -> Any:
        snapshot = await self.inner.open_orders(page)
        return replace(snapshot, reports=tuple(map(self._drawn, snapshot.reports)))

    async def events(self, cursor: Any) -> AsyncIterator[Any]:
        async for event in self.inner.events(cursor):
            yield replace(event, body=self._drawn(event.body))


class FillsLater(Venue):
    """Tells of an order's end before it tells of its last fills: they stay away until ``shown``."""

    shown = False

    def _cut(self, report: Any) -> Any:
        if self.shown or not isinstance(report, OrderReport):
            return report
        return replace(report, fills=(), fills_complete=False)

    async def submit(self, ticket: Any) -> Ack:
        ack = await self.inner.submit(ticket)
        return replace(ack, reports=tuple(self._cut(report) for report in ack.reports))

    async def lookup(self, ref: Any) -> Any:
        found = await self.inner.lookup(ref)
        return replace(found, reports=tuple(map(self._cut, found.reports))) if isinstance(found, Found) else found

    async def open_orders(self, page: Any) -> Any:
        snapshot = await self.inner.open_orders(page)
        return replace(snapshot, reports=tuple(map(self._cut, snapshot.reports)))

    async def history(self, cursor: Any) -> Any:
        return await self.inner.history(cursor) if self.shown else ((), cursor)

    async def events(self, cursor: Any) -> AsyncIterator[Any]:
        async for event in self.inner.events(cursor):
            yield replace(event, body=self._cut(event.body))
