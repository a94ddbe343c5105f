"""Paper venues with a difference: adapters that tell the kernel something else than the exchange behind them would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

from exchange_kernel.errors import Unavailable, Unsupported
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


class Switched(Venue):
    """Has a dead-man switch for each market, which cancels whatever the account has there. ``due``: venue ms by symbol;
    ``calls``: what was asked for; ``failing``: the next so many requests are not answered, or (``mute``) not heard."""

    def __init__(self, inner: Any, exchange: Any, account: str, now: Callable[[], int]) -> None:
        super().__init__(inner)
        self.exchange, self.owner, self.now = exchange, account, now
        self.due: dict[str, int] = {}
        self.calls: list[tuple[int | None, frozenset[str]]] = []
        self.failing = self.mute = 0
        self.whole_account = False

    async def markets(self) -> Any:
        return tuple(
            replace(market, capabilities=self._with(market.capabilities)) for market in await self.inner.markets()
        )

    @staticmethod
    def _with(had: MarketCapabilities) -> MarketCapabilities:
        return replace(had, features={**had.features, "dead_man": Support(SupportLevel.NATIVE)})

    async def arm(self, until: int | None, symbols: frozenset[str]) -> int | None:
        if self.whole_account:
            raise Unsupported("dead_man", "of the whole account only")
        self.calls.append((until, symbols))
        if self.mute:
            self.mute -= 1
            raise Unavailable("no answer")
        for symbol in symbols:
            self.due.pop(symbol, None)
            if until is not None:
                self.due[symbol] = until
                asyncio.get_running_loop().call_later((until - self.now()) / 1000, self._fire, symbol, until)
        if self.failing:
            self.failing -= 1
            raise Unavailable("no answer")
        return until

    def _fire(self, symbol: str, until: int) -> None:
        if self.due.get(symbol) == until:
            del self.due[symbol]
            request = {"op": "cancel_all", "symbol": symbol, "ts": self.now(), "window": 2000}
            self.exchange.trade(self.owner, request)
