"""What became of an attempt: by its ids, in the list of that time, and with all of its trades.

The watermark is taken first. By a client id Binance shows one order, so the list is asked, too, which has all of them,
and is another index than that of the ids; not where :mod:`~exchange_kernel_binance.twins` says that it adds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Generic, Protocol, TypeVar

from exchange_kernel.errors import Unavailable
from exchange_kernel.schema import Side
from exchange_kernel.venue import Absent, Found, Lookup, Ms, OrderReport, Ref, TimeEnd, VenueId, VenueStatus, Why
from exchange_kernel_binance.names import client_id, key_of, number_of, order_id
from exchange_kernel_binance.session import Fields, NoSuch, Session
from exchange_kernel_binance.twins import Sight, Twins

PAGE = 1_000
_ARCHIVED = "-2026"
"""Spot, errors.md: it was there, ended without a fill more than 90 days ago, and nothing else is told."""
_SPREAD_MS = 1_000
"""A request may be dated so far ahead of Binance's clock."""
_TRIES = 3
_HOUR_MS = 3_600_000
_OPEN = frozenset({"NEW", "PENDING_NEW", "PARTIALLY_FILLED", "PENDING_CANCEL"})


class OrderView(Protocol):
    """An order as a query shows it."""

    orderId: int
    clientOrderId: str
    status: str
    time: int
    updateTime: int
    executedQty: str


class TradeView(Protocol):
    """A trade as a query shows it."""

    id: int


class Member(Protocol):
    """An order's names in a list."""

    orderId: int
    clientOrderId: str


V = TypeVar("V", bound=OrderView)
T = TypeVar("T", bound=TradeView)
What = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Sources(Generic[V, T]):
    """Where a market type keeps its orders, and how they are read. ``window_ms``: the longest time a list covers.
    ``silent_ms``: an order created so long ago, from and to, is unknown exactly if it ended without a fill.
    ``lists``: where order lists are, if there are any; ``list_of``: which one an order is in, -1 for none."""

    order: What
    orders: What
    trades: What
    read_order: Callable[[bytes], V]
    read_orders: Callable[[bytes], list[V]]
    read_trades: Callable[[bytes], list[T]]
    report: Callable[[V, str, Sequence[T] | None], OrderReport]
    window_ms: Ms
    silent_ms: tuple[Ms, Ms] = (0, 0)
    lists: What | None = None
    read_members: Callable[[bytes], Sequence[Member]] = lambda _: ()
    list_of: Callable[[V], int] = lambda _: -1


@dataclass(frozen=True, slots=True)
class _Makers:
    """What could make an attempt's orders. ``names``: the client ids that it asks for; ``family``: those of all
    orders that come with them in one request; ``last``: until when one of its tickets is taken, venue ms UTC."""

    names: tuple[str, ...]
    family: frozenset[str]
    last: Ms

    @property
    def only(self) -> str:
        """The client id of every order of the attempt; "" where its orders have several."""
        return self.names[0] if len(self.names) == 1 else ""

    @classmethod
    def of(cls, ref: Ref, now: Ms) -> _Makers:
        own = client_id(ref.key)
        named = [(ticket, [vid.value for vid in ticket.ids if vid.kind == "client"]) for ticket in ref.tickets]
        mine = [(ticket, ids) for ticket, ids in named if ticket.key == ref.key or own in ids]
        # A group's key is no order's: its legs are asked for.
        legs = dict.fromkeys(name for ticket, ids in mine if ticket.key == ref.key for name in ids)
        ends = [end.at + end.slack for ticket, _ in mine for end in ticket.fence.ends if isinstance(end, TimeEnd)]
        family = frozenset(name for _, ids in mine for name in ids) or frozenset({own})
        return cls(tuple(legs) or (own,), family, max(ends, default=now))


@dataclass(frozen=True, slots=True)
class _Search(Generic[V]):
    """``views``: the orders that were found; ``archived``: the client ids of those of which only that is told that they
    were there, by number, 0 where it is not known."""

    views: dict[int, V]
    archived: dict[int, str]


class Lookups(Generic[V, T]):
    """Look-ups of one session. ``kept_ms``: how long orders that ended without a fill can be looked up."""

    def __init__(self, session: Session, sources: Sources[V, T], kept_ms: Ms) -> None:
        self._session, self._sources, self._kept_ms = session, sources, kept_ms
        self._twins = Twins()

    async def find(self, ref: Ref, venue_symbol: str) -> Lookup:
        """Every order that answers to this attempt. Raises Unavailable."""
        at = await self._session.mark()
        assert at.venue_ms is not None
        symbol = ("symbol", venue_symbol)
        makers = _Makers.of(ref, at.venue_ms)
        search: _Search[V] = _Search({}, {})
        numbers = [number_of(known) for known in ref.ids if known.kind == "order"]
        for number in numbers:
            await self._ask(search, symbol, number, makers.only)
        for name in makers.names:
            if not self._none_hidden(name, search.views, makers):
                await self._ask(search, symbol, None, name)
        if not all(self._none_hidden(name, search.views, makers) for name in makers.names):
            listed = await self._listed(ref, symbol, makers)
            for name in makers.names:
                upto = at.venue_ms - self._session.config.read_lag_ms
                self._twins.learn(name, [view.orderId for view in listed if view.clientOrderId == name], upto)
            search.views.update((view.orderId, view) for view in listed if view.clientOrderId in makers.names)
            await self._complete(search, symbol, makers, listed)
        found = [await self.whole(view, symbol, ref.symbol) for view in search.views.values()]
        lost = {number: name for number, name in search.archived.items() if number}
        if not found and not lost and (search.archived or self._forgets(ref, at.venue_ms)):
            lost = dict.fromkeys(numbers, makers.only)
        found += [_ended(ref, number, name, venue_symbol, at.venue_ms) for number, name in lost.items()]
        if found:
            return Found(tuple(found), at)
        since = at.venue_ms if search.archived else at.venue_ms - self._kept_ms + 1
        return Absent(at, since, (self._sources.order[2], self._sources.orders[2]))

    async def _ask(self, search: _Search[V], symbol: tuple[str, str], number: int | None, name: str) -> None:
        """One order by its number, or by its client id; what is not there, or only was, is remembered as such."""
        target = ("origClientOrderId", name) if number is None else ("orderId", str(number))
        try:
            view = await self._session.read(self._sources.order, (symbol, target), self._sources.read_order)
        except NoSuch as error:
            if error.code == _ARCHIVED:
                search.archived[number or 0] = name
        else:
            search.views[view.orderId] = view

    async def _complete(
        self, search: _Search[V], symbol: tuple[str, str], makers: _Makers, listed: Sequence[V]
    ) -> None:
        """All orders of a list are taken, or none: of one that shows in part the rest is asked for by number.

        Raises Unavailable where it is not to be seen yet."""
        if self._sources.lists is None or len(makers.family) < 2:
            return
        missing = not any(view.clientOrderId in makers.names for view in search.views.values())
        relatives = dict(search.views) | {view.orderId: view for view in listed}
        if missing and not relatives:
            kin: _Search[V] = _Search({}, {})
            for name in makers.family - set(makers.names):
                await self._ask(kin, symbol, None, name)
            relatives = kin.views
        for number in {self._sources.list_of(view) for view in relatives.values()} - {-1}:
            seen = {view.clientOrderId for view in search.views.values() if self._sources.list_of(view) == number}
            if seen.issuperset(makers.names):
                continue
            fields = (("orderListId", str(number)),)
            members = await self._session.read(self._sources.lists, fields, self._sources.read_members)
            for member in members:
                if member.clientOrderId in makers.names and member.orderId not in search.views:
                    await self._ask(search, symbol, member.orderId, member.clientOrderId)
                    if not {member.orderId} & (search.views.keys() | search.archived.keys()):
                        raise Unavailable(f"order {member.orderId} of list {number} is not to be seen yet")

    def _none_hidden(self, name: str, views: Mapping[int, V], makers: _Makers) -> bool:
        sights = [
            Sight(view.orderId, view.time, None if view.status in _OPEN else view.updateTime)
            for view in views.values()
            if view.clientOrderId == name
        ]
        return self._twins.none_hidden(name, sights, makers.last)

    def _forgets(self, ref: Ref, now: Ms) -> bool:
        """Is an order of that time unknown only if it ended without a fill (USD-M futures, Query Order)?"""
        least, most = self._sources.silent_ms
        return least + _HOUR_MS < now - ref.placed_at < most - _HOUR_MS

    async def _listed(self, ref: Ref, symbol: tuple[str, str], makers: _Makers) -> list[V]:
        """The orders with one of the client ids that were made while one of the tickets could make one."""
        start = ref.placed_at - _SPREAD_MS
        last = min(makers.last + _SPREAD_MS, start + self._sources.window_ms)
        fields: Fields = (symbol, ("startTime", str(start)), ("endTime", str(last)), ("limit", str(PAGE)))
        found: dict[int, V] = {}
        while True:
            views = await self._session.read(self._sources.orders, fields, self._sources.read_orders)
            found.update((view.orderId, view) for view in views if view.clientOrderId in makers.family)
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


def _ended(ref: Ref, number: int, name: str, venue_symbol: str, at: Ms) -> OrderReport:
    """An order that was there, and of which Binance only tells that it was cancelled or expired without a fill."""
    return OrderReport(
        id=order_id(venue_symbol, number),
        symbol=ref.symbol,
        side=Side.BUY if ref.spec is None else ref.spec.side,
        status=VenueStatus.EXPIRED,
        as_of=at,
        key=key_of(name),
        links=(VenueId("client", name),) if name else (),
        why=Why.OTHER,
        text="archived: cancelled or expired without a fill",
        fills_complete=True,
        final=True,
    )
