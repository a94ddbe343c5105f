"""What became of an attempt: by its ids, in the list of that time, and with all of its trades.

The watermark is taken first. By a client id Binance shows one order, so the list is asked, too, which has all of them,
and is another index than that of the ids.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Generic, Protocol, TypeVar

from exchange_kernel.errors import Unavailable
from exchange_kernel.schema import Side
from exchange_kernel.venue import Absent, Found, Lookup, Ms, OrderReport, Ref, TimeEnd, VenueId, VenueStatus, Why
from exchange_kernel_binance.names import client_id, number_of, order_id
from exchange_kernel_binance.session import Fields, NoSuch, Session

PAGE = 1_000
_ARCHIVED = "-2026"
"""Spot, errors.md: it was there, ended without a fill more than 90 days ago, and nothing else is told."""
_SPREAD_MS = 1_000
"""A request may be dated so far ahead of Binance's clock."""
_TRIES = 3
_HOUR_MS = 3_600_000


class OrderView(Protocol):
    """An order as a query shows it."""

    orderId: int
    clientOrderId: str
    time: int
    executedQty: str


class TradeView(Protocol):
    """A trade as a query shows it."""

    id: int


V = TypeVar("V", bound=OrderView)
T = TypeVar("T", bound=TradeView)
What = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Sources(Generic[V, T]):
    """Where a market type keeps its orders, and how they are read. ``window_ms``: the longest time a list covers.
    ``silent_ms``: an order created so long ago, from and to, is unknown exactly if it ended without a fill."""

    order: What
    orders: What
    trades: What
    read_order: Callable[[bytes], V]
    read_orders: Callable[[bytes], list[V]]
    read_trades: Callable[[bytes], list[T]]
    report: Callable[[V, str, Sequence[T] | None], OrderReport]
    window_ms: Ms
    silent_ms: tuple[Ms, Ms] = (0, 0)


class Lookups(Generic[V, T]):
    """Look-ups of one session. ``kept_ms``: how long orders that ended without a fill can be looked up."""

    def __init__(self, session: Session, sources: Sources[V, T], kept_ms: Ms) -> None:
        self._session, self._sources, self._kept_ms = session, sources, kept_ms

    async def find(self, ref: Ref, venue_symbol: str) -> Lookup:
        """Every order that answers to this attempt. Raises Unavailable."""
        at = await self._session.mark()
        assert at.venue_ms is not None
        symbol = ("symbol", venue_symbol)
        numbers = [number_of(known) for known in ref.ids if known.kind == "order"]
        views: dict[int, V] = {}
        archived = False
        for target in (*(("orderId", str(number)) for number in numbers), ("origClientOrderId", client_id(ref.key))):
            try:
                view = await self._session.read(self._sources.order, (symbol, target), self._sources.read_order)
            except NoSuch as error:
                archived = archived or error.code == _ARCHIVED
            else:
                views[view.orderId] = view
        views.update((view.orderId, view) for view in await self._listed(ref, symbol, at.venue_ms))
        found = [await self.whole(view, symbol, ref.symbol) for view in views.values()]
        if not found and numbers and (archived or self._forgets(ref, at.venue_ms)):
            found = [_ended(ref, number, venue_symbol, at.venue_ms) for number in numbers]
        if found:
            return Found(tuple(found), at)
        since = at.venue_ms if archived else at.venue_ms - self._kept_ms + 1
        return Absent(at, since, (self._sources.order[2], self._sources.orders[2]))

    def _forgets(self, ref: Ref, now: Ms) -> bool:
        """Is an order of that time unknown only if it ended without a fill (USD-M futures, Query Order)?"""
        least, most = self._sources.silent_ms
        return least + _HOUR_MS < now - ref.placed_at < most - _HOUR_MS

    async def _listed(self, ref: Ref, symbol: tuple[str, str], now: Ms) -> list[V]:
        """The orders with the attempt's client id that were made while one of its tickets could make one."""
        own, start = client_id(ref.key), ref.placed_at - _SPREAD_MS
        ends = [
            end.at + end.slack
            for ticket in ref.tickets
            if ticket.key == ref.key
            for end in ticket.fence.ends
            if isinstance(end, TimeEnd)
        ]
        last = min(max(ends, default=now) + _SPREAD_MS, start + self._sources.window_ms)
        fields: Fields = (symbol, ("startTime", str(start)), ("endTime", str(last)), ("limit", str(PAGE)))
        found: dict[int, V] = {}
        while True:
            views = await self._session.read(self._sources.orders, fields, self._sources.read_orders)
            found.update((view.orderId, view) for view in views if view.clientOrderId == own)
            if len(views) < PAGE or views[-1].time > last:
                return list(found.values())
            fields = (symbol, ("orderId", str(views[-1].orderId + 1)), ("limit", str(PAGE)))

    async def whole(self, view: V, symbol: tuple[str, str], name: str) -> OrderReport:
        """The order with all its trades; both are read again where they do not agree. Raises Unavailable."""
        number = ("orderId", str(view.orderId))
        for _ in range(_TRIES):
            traded = Decimal(view.executedQty)
            trades = await self._trades(symbol, number) if traded else []
            told = self._sources.report(view, name, trades)
            if told.fills_complete:
                return told
            view = await self._session.read(self._sources.order, (symbol, number), self._sources.read_order)
        raise Unavailable(f"the trades of order {view.orderId} do not add up to what it has executed")

    async def _trades(self, symbol: tuple[str, str], number: tuple[str, str]) -> list[T]:
        found: list[T] = []
        fields: Fields = (symbol, number, ("limit", str(PAGE)))
        while True:
            page = await self._session.read(self._sources.trades, fields, self._sources.read_trades)
            found += page
            if len(page) < PAGE:
                return found
            fields = (symbol, number, ("fromId", str(page[-1].id + 1)), ("limit", str(PAGE)))


def _ended(ref: Ref, number: int, venue_symbol: str, at: Ms) -> OrderReport:
    """An order that was there, and of which Binance only tells that it was cancelled or expired without a fill."""
    return OrderReport(
        id=order_id(venue_symbol, number),
        symbol=ref.symbol,
        side=Side.BUY if ref.spec is None else ref.spec.side,
        status=VenueStatus.EXPIRED,
        as_of=at,
        key=ref.key,
        links=(VenueId("client", client_id(ref.key)),),
        why=Why.OTHER,
        text="archived: cancelled or expired without a fill",
        fills_complete=True,
        final=True,
    )
