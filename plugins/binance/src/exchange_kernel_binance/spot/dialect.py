"""The spot account, as an adapter needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Raw, ValidationError

from exchange_kernel.errors import NotRunning, NotSent, OutcomeUnknown, UnknownSymbol, Unsupported
from exchange_kernel.orders import suggest
from exchange_kernel.schema import SymbolMetadata
from exchange_kernel.venue import (
    AccountSnapshot,
    Ack,
    Amend,
    Cancel,
    CancelAll,
    Command,
    LedgerEntry,
    Lookup,
    Place,
    PlaceGroup,
    Prep,
    Prepared,
    Preview,
    PriceTick,
    Ref,
    Snapshot,
    Spec,
    Ticket,
    VenueEvent,
    VenueId,
    Watermark,
)
from exchange_kernel_binance.lookups import Lookups, Sources
from exchange_kernel_binance.markets import cut, in_slices
from exchange_kernel_binance.names import client_id
from exchange_kernel_binance.prices import touch
from exchange_kernel_binance.session import CLOSED, Session, decoder
from exchange_kernel_binance.spot import checks, lists, orders, reports
from exchange_kernel_binance.spot.markets import SpotMarket, market_in

ABSENT = frozenset({-2013, -2026})
"""-2013 NO_SUCH_ORDER, -2026 ORDER_ARCHIVED (errors.md)."""
CLOCK = ("public", "time")
_read_order = decoder(reports.OrderView)
_read_orders = decoder(list[reports.OrderView])
_read_list = decoder(reports.ListView)
_read_members = decoder(reports.ListMembers)
_read_raw = decoder(list[Raw])
_OPEN = ("GET", "private", "openOrders")
_ACCOUNT = ("GET", "private", "account")
_read_amended = decoder(reports.AmendView)
_read_trades = decoder(list[reports.TradeView])
_read_account = decoder(reports.AccountView)
_SOURCES = Sources(
    order=("GET", "private", "order"),
    orders=("GET", "private", "allOrders"),
    trades=("GET", "private", "myTrades"),
    read_order=_read_order,
    read_orders=_read_orders,
    read_trades=_read_trades,
    report=reports.report,
    window_ms=86_400_000,  # between startTime and endTime of allOrders
    lists=("GET", "private", "orderList"),
    read_members=lambda body: _read_members(body).orders,
    list_of=lambda view: view.orderListId,
)


def _read_cancelled(body: bytes) -> list[reports.OrderView]:
    """The answer to a cancel: the order, or the whole list that it was in."""
    try:
        return _read_list(body).orderReports
    except ValidationError:
        return [_read_order(body)]


def _read_all_cancelled(body: bytes) -> list[reports.OrderView]:
    """Orders, and lists with theirs."""
    ended: list[reports.OrderView] = []
    for raw in _read_raw(body):
        ended += _read_cancelled(raw)
    return ended


class SpotDialect:
    """Implements Dialect."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._markets: dict[str, SpotMarket] = {}
        self._names: dict[str, str] = {}
        self._lookups = Lookups(session, _SOURCES, session.config.kept_ms)

    async def login(self) -> str:
        found = await self._session.read(_ACCOUNT, (), _read_account)
        return str(found.uid)

    @property
    def loaded(self) -> bool:
        return bool(self._markets)

    async def load(self) -> Sequence[SymbolMetadata]:
        fields = (("showPermissionSets", "false"),)
        info = await self._session.read(("GET", "public", "exchangeInfo"), fields, cut, signed=False)
        wanted = frozenset(self._session.config.symbols)
        found = await in_slices(info, lambda raw: market_in(raw, wanted))
        self._session.limits.configure(info.rate_limits)
        self._markets = {market.meta.symbol_id: market for market in found}
        self._names = {market.name: name for name, market in self._markets.items()}
        return tuple(market.meta for market in found)

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
            case PlaceGroup(key, kind, legs):
                symbols = [leg.spec.symbol for leg in legs] or list(self._markets)
                if not any(self._market(symbol).meta.capabilities.offers(f"group_{kind}") for symbol in symbols):
                    raise Unsupported(f"group_{kind}")
                fields, costs = lists.place(command, lambda spec: self.check(spec, None), self._market)
                note = f"{kind} {symbols[0]}"
                return seal(lists.PLACES[kind], key, prep, fields, ids=lists.ids(command), outlay=costs, note=note)
            case CancelAll(key, symbol):
                if symbol is None:
                    raise Unsupported("cancel_all", "Binance cancels all of one symbol")
                # A copy that comes later would end what was placed since.
                fields = (("symbol", self._market(symbol).name),)
                return seal(orders.CANCEL_ALL, key, prep, fields, note=f"cancel all {symbol}")
            case _:
                raise Unsupported(type(command).__name__)

    async def submit(self, ticket: Ticket) -> Ack:
        what, request = self._session.request_of(ticket)
        if what == orders.AMEND:
            done = await self._session.send(ticket, request, _read_amended)
            if done is None:
                return Ack("duplicate")
            return Ack("decided", (reports.amended(done, self._named(done.amendedOrder.symbol), ticket.key),))
        if what == orders.CANCEL:
            ended = await self._session.send(ticket, request, _read_cancelled)
            mine = None if ended is None else [view for view in ended if orders.meant(request.query, view)]
            if mine == []:
                raise OutcomeUnknown("the answer is about other orders")
            return self._decided(mine)
        if what == orders.CANCEL_ALL:
            return self._decided(await self._session.send(ticket, request, _read_all_cancelled))
        if what in lists.PLACES.values():
            listed = await self._session.send(ticket, request, _read_list)
            return self._decided(None if listed is None else listed.orderReports)
        if what != orders.PLACE:
            raise NotSent(f"{' '.join(what)} is no request of this release")
        view = await self._session.send(ticket, request, _read_order)
        return self._decided(None if view is None else [view])

    def _decided(self, views: Sequence[reports.OrderView] | None) -> Ack:
        """None: Binance knows the client id already."""
        if views is None:
            return Ack("duplicate")
        return Ack("decided", tuple(reports.report(view, self._named(view.symbol)) for view in views))

    # reads ------------------------------------------------------------------------------------------------------

    async def lookup(self, ref: Ref) -> Lookup:
        return await self._lookups.find(ref, self._name(ref))

    async def open_orders(self, page: str | None) -> Snapshot:
        at = await self._session.mark()
        views = await self._session.read(_OPEN, (), _read_orders)
        told = tuple(reports.report(view, self._named(view.symbol)) for view in views)
        return Snapshot(told, at, True, None, "account")

    async def account(self) -> AccountSnapshot:
        at = await self._session.mark()
        view = await self._session.read(_ACCOUNT, (("omitZeroBalances", "true"),), _read_account)
        return AccountSnapshot(at, True, reports.balances(view.balances))

    async def price(self, symbol: str) -> PriceTick:
        return await touch(self._session, "public", self._market(symbol).name, symbol)

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
