"""The spot account, as an adapter needs it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from exchange_kernel.errors import NotRunning, NotSent, Unavailable, UnknownSymbol, Unsupported
from exchange_kernel.orders import suggest
from exchange_kernel.schema import SymbolMetadata
from exchange_kernel.venue import (
    Absent,
    AccountSnapshot,
    Ack,
    Amend,
    Cancel,
    Command,
    Found,
    LedgerEntry,
    Lookup,
    OrderReport,
    Place,
    PlaceGroup,
    Prep,
    Prepared,
    Preview,
    Ref,
    Snapshot,
    Spec,
    Ticket,
    TimeEnd,
    VenueEvent,
    VenueId,
    Watermark,
)
from exchange_kernel_binance.names import client_id, number_of
from exchange_kernel_binance.session import CLOSED, NoSuch, Session, decoder
from exchange_kernel_binance.spot import checks, orders, reports
from exchange_kernel_binance.spot.markets import SpotMarket, markets_of, read_info

ABSENT = frozenset({-2013, -2026})
"""-2013 NO_SUCH_ORDER, -2026 ORDER_ARCHIVED (errors.md)."""
CLOCK = ("public", "time")
PAGE = 1_000
_ARCHIVED = "-2026"
_DAY_MS = 86_400_000
"""The longest time between startTime and endTime."""
_SLICE = 200
"""Markets that are read before others may go on."""
_read_order = decoder(reports.OrderView)
_read_orders = decoder(list[reports.OrderView])
_read_amended = decoder(reports.AmendView)
_read_trades = decoder(list[reports.TradeView])
_read_account = decoder(reports.AccountView)


class SpotDialect:
    """Implements Dialect."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._markets: dict[str, SpotMarket] = {}
        self._names: dict[str, str] = {}

    async def login(self) -> str:
        found = await self._session.read(("GET", "private", "account"), (), _read_account)
        return str(found.uid)

    @property
    def loaded(self) -> bool:
        return bool(self._markets)

    async def load(self) -> Sequence[SymbolMetadata]:
        fields = (("showPermissionSets", "false"),)
        info = await self._session.read(("GET", "public", "exchangeInfo"), fields, read_info, signed=False)
        markets: dict[str, SpotMarket] = {}
        for number, market in enumerate(markets_of(info.symbols, frozenset(self._session.config.symbols))):
            markets[market.meta.symbol_id] = market
            if number % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
        self._markets = markets
        self._names = {market.name: name for name, market in markets.items()}
        return tuple(market.meta for market in markets.values())

    def check(self, spec: Spec, was: Spec | None) -> Preview:
        market = self._market(spec.symbol)
        return checks.preview(spec, market) if was is None else checks.amendment(spec, was, market)

    def _market(self, symbol: str) -> SpotMarket:
        market = self._markets.get(symbol)
        if market is None:
            if not self._markets:
                raise NotRunning(CLOSED)
            raise UnknownSymbol("symbol", symbol, "is not listed here", suggest(symbol, self._markets))
        return market

    # changes ----------------------------------------------------------------------------------------------------

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        seal = self._session.seal
        match command:
            case Place(key, spec):
                sent = self.check(spec, None)
                fields = orders.place(sent.spec, key, self._market(spec.symbol))
                ids = (VenueId("client", client_id(key)),)
                return seal(orders.PLACE, key, prep, fields, ids=ids, outlay=sent.outlay, note=f"place {spec.symbol}")
            case Cancel(key, ref, _):
                fields = orders.cancel(key, ref, self._market(ref.symbol))
                return seal(orders.CANCEL, key, prep, fields, repeatable=True, note=f"cancel {ref.symbol}")
            case Amend(key, ref, spec):
                sent = self.check(spec, ref.spec)
                fields = orders.amend(sent.spec, ref, self._market(ref.symbol))
                return seal(orders.AMEND, key, prep, fields, outlay=sent.outlay, note=f"amend {ref.symbol}")
            case PlaceGroup(_, kind, _):
                raise Unsupported(f"group_{kind}")
            case _:
                raise Unsupported({"CancelAll": "cancel_all"}.get(type(command).__name__, type(command).__name__))

    async def submit(self, ticket: Ticket) -> Ack:
        what, request = self._session.request_of(ticket)
        if what == orders.AMEND:
            done = await self._session.send(ticket, request, _read_amended)
            if done is None:
                return Ack("duplicate")
            return Ack("decided", (reports.amended(done, self._named(done.amendedOrder.symbol), ticket.key),))
        if what not in (orders.PLACE, orders.CANCEL):
            raise NotSent(f"{' '.join(what)} is no request of this release")
        view = await self._session.send(ticket, request, _read_order)
        if view is None:
            return Ack("duplicate")
        return Ack("decided", (reports.report(view, self._named(view.symbol)),))

    # reads ------------------------------------------------------------------------------------------------------

    async def lookup(self, ref: Ref) -> Lookup:
        at = await self._session.mark()
        assert at.venue_ms is not None
        symbol = ("symbol", self._name(ref))
        numbers = [number_of(known) for known in ref.ids if known.kind == "order"]
        views: dict[int, reports.OrderView] = {}
        forgotten = False
        for target in (*(("orderId", str(number)) for number in numbers), ("origClientOrderId", client_id(ref.key))):
            try:
                view = await self._session.read(("GET", "private", "order"), (symbol, target), _read_order)
            except NoSuch as error:
                forgotten = forgotten or error.code == _ARCHIVED
            else:
                views[view.orderId] = view
        # By its id only one is shown, and a list is another index than that of the ids.
        views.update((view.orderId, view) for view in await self._listed(ref, symbol, at.venue_ms))
        found = [await self._whole(view, symbol, ref.symbol) for view in views.values()]
        if found:
            return Found(tuple(found), at)
        since = at.venue_ms if forgotten else at.venue_ms - self._session.config.retention_ms + 1
        return Absent(at, since, ("order", "allOrders"))

    async def _listed(self, ref: Ref, symbol: tuple[str, str], now: int) -> list[reports.OrderView]:
        """The orders with the attempt's client id that were made while one of its tickets could make one."""
        own, start = client_id(ref.key), ref.placed_at - 1_000
        ends = [
            end.at + end.slack
            for ticket in ref.tickets
            if ticket.key == ref.key
            for end in ticket.fence.ends
            if isinstance(end, TimeEnd)
        ]
        last = min(max(ends, default=now) + 1_000, start + _DAY_MS)
        between = (("startTime", str(start)), ("endTime", str(last)), ("limit", str(PAGE)))
        found: dict[int, reports.OrderView] = {}
        while True:
            views = await self._session.read(("GET", "private", "allOrders"), (symbol, *between), _read_orders)
            found.update((view.orderId, view) for view in views if view.clientOrderId == own)
            if len(views) < PAGE:
                return list(found.values())
            between = (("startTime", str(views[-1].time)), *between[1:])

    async def _whole(self, view: reports.OrderView, symbol: tuple[str, str], name: str) -> OrderReport:
        """The order with all its trades; both are read again where they do not agree."""
        number = ("orderId", str(view.orderId))
        for _ in range(3):
            trades = await self._trades(symbol, number) if float(view.executedQty) else []
            told = reports.report(view, name, trades)
            if told.fills_complete:
                return told
            view = await self._session.read(("GET", "private", "order"), (symbol, number), _read_order)
        raise Unavailable(f"the trades of order {view.orderId} do not add up to what it has executed")

    async def _trades(self, symbol: tuple[str, str], number: tuple[str, str]) -> list[reports.TradeView]:
        found: list[reports.TradeView] = []
        fields: tuple[tuple[str, str], ...] = (symbol, number, ("limit", str(PAGE)))
        while True:
            page = await self._session.read(("GET", "private", "myTrades"), fields, _read_trades)
            found += page
            if len(page) < PAGE:
                return found
            fields = (symbol, number, ("fromId", str(page[-1].id + 1)), ("limit", str(PAGE)))

    async def open_orders(self, page: str | None) -> Snapshot:
        at = await self._session.mark()
        views = await self._session.read(("GET", "private", "openOrders"), (), _read_orders)
        told = tuple(reports.report(view, self._named(view.symbol)) for view in views)
        return Snapshot(told, at, True, None, "account")

    async def account(self) -> AccountSnapshot:
        at = await self._session.mark()
        view = await self._session.read(("GET", "private", "account"), (("omitZeroBalances", "true"),), _read_account)
        return AccountSnapshot(at, True, reports.balances(view.balances))

    # events -----------------------------------------------------------------------------------------------------

    def told(self, event: Mapping[str, Any]) -> Sequence[VenueEvent]:
        at = event.get("E", 0)
        match event["e"]:
            case "executionReport":
                return (VenueEvent(at, None, reports.executed(event, self._named(event["s"]))),)
            case "outboundAccountPosition":
                found = tuple(reports.balance(each["a"], each["f"], each["l"]) for each in event["B"])
                return (VenueEvent(at, None, AccountSnapshot(Watermark(venue_ms=event["u"]), False, found)),)
            case "balanceUpdate":
                name = f"{event['a']}/{event['T']}/{event['d']}"
                entry = LedgerEntry(name, event["a"], reports.decimal(event["d"]), "transfer")
                return (VenueEvent(at, None, entry),)
            case _:
                return ()

    # names ------------------------------------------------------------------------------------------------------

    def _named(self, venue_symbol: str) -> str:
        """Our name of a symbol; its own where it is none of those listed."""
        return self._names.get(venue_symbol, venue_symbol)

    def _name(self, ref: Ref) -> str:
        """Binance's name of it. An order of a market that was delisted is still asked for."""
        market = self._markets.get(ref.symbol)
        return ref.symbol.replace("/", "") if market is None else market.name
