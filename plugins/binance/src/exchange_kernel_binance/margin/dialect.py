"""A margin wallet, as an adapter needs it: spot's orders and books, under /sapi, with debts.

Nothing is borrowed or repaid unless ``margin_side_effect`` says so. Sources: Margin Trading documentation (Margin
Account New Order, Cancel Order, Query Order, Open Orders, All Orders, Trade List; Query Cross Margin Account Details,
Query Isolated Margin Account Info).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from exchange_kernel.errors import NotSent, OutcomeUnknown, Unavailable, Unsupported
from exchange_kernel.schema import AssetType, Support, SupportLevel, SymbolMetadata
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    AccountSnapshot,
    Ack,
    Amend,
    Balance,
    Cancel,
    Command,
    Notice,
    Place,
    PlaceGroup,
    Prep,
    Prepared,
    Preview,
    Snapshot,
    Spec,
    Ticket,
    VenueEvent,
    VenueId,
    Watermark,
)
from exchange_kernel_binance.lookups import Lookups, Sources
from exchange_kernel_binance.names import client_id
from exchange_kernel_binance.session import Fields, Session, decoder
from exchange_kernel_binance.spot import orders, reports
from exchange_kernel_binance.spot.dialect import SpotDialect
from exchange_kernel_binance.spot.markets import SpotMarket

T = TypeVar("T")
PLACE = ("POST", "sapi", "margin/order")
CANCEL = ("DELETE", "sapi", "margin/order")
_OPEN = ("GET", "sapi", "margin/openOrders")
_CROSS = ("GET", "sapi", "margin/account")
_ISOLATED = ("GET", "sapi", "margin/isolated/account")
_WHOSE = ("GET", "private", "account")
CALL_LEVEL = Decimal("1.3")
"""Assets over debts at which Binance calls for margin (Margin Level and Margin Call)."""
_AMENDED = "a margin order is changed by cancelling it, and placing another"
_NOT_HERE = ("amend_", "group_", "cancel_all", "trailing_")
_read_order = decoder(reports.OrderView)
_read_orders = decoder(list[reports.OrderView])
_read_whose = decoder(reports.AccountView)


class AssetView(msgspec.Struct):
    """One asset of a wallet."""

    asset: str
    borrowed: str
    free: str
    interest: str
    locked: str


class CrossView(msgspec.Struct):
    """The cross wallet."""

    marginLevel: str
    userAssets: list[AssetView]


class PairView(msgspec.Struct):
    """The isolated wallet of a symbol."""

    symbol: str
    marginLevel: str
    baseAsset: AssetView
    quoteAsset: AssetView


class IsolatedView(msgspec.Struct):
    """The isolated wallets that were asked for."""

    assets: list[PairView]


_read_cross = decoder(CrossView)
_read_isolated = decoder(IsolatedView)
_SOURCES = Sources(
    order=("GET", "sapi", "margin/order"),
    orders=("GET", "sapi", "margin/allOrders"),
    trades=("GET", "sapi", "margin/myTrades"),
    read_order=_read_order,
    read_orders=_read_orders,
    read_trades=decoder(list[reports.TradeView]),
    report=reports.report,
    window_ms=86_400_000,
)


class _Wallet:
    """The session's reads, of one isolated wallet."""

    def __init__(self, session: Session, fields: Fields) -> None:
        self._session, self._fields = session, fields
        self.config, self.mark = session.config, session.mark

    async def read(
        self, what: tuple[str, str, str], fields: Fields, decode: Callable[[bytes], T], *, signed: bool = True
    ) -> T:
        return await self._session.read(what, (*fields, *self._fields), decode, signed=signed)


class MarginDialect(SpotDialect):
    """Implements Dialect for the cross wallet, or for the isolated one of a symbol."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._isolated = session.config.market == "margin_isolated"
        self._mine: Fields = (("isIsolated", "TRUE"),) if self._isolated else ()
        wallet: Any = _Wallet(session, self._mine)
        self._lookups = Lookups(wallet, _SOURCES, session.config.kept_ms)

    async def login(self) -> str:
        """An account has one cross wallet, and an isolated one for each symbol."""
        found = await self._session.read(_WHOSE, (), _read_whose)
        return f"{found.uid}:{self._session.config.symbols[0]}" if self._isolated else str(found.uid)

    async def load(self) -> Sequence[SymbolMetadata]:
        await super().load()
        kind = "margin_isolated" if self._isolated else "margin_cross"
        self._markets = {name: _on_margin(each, kind) for name, each in self._markets.items() if each.margin}
        self._names = {market.name: name for name, market in self._markets.items()}
        return tuple(market.meta for market in self._markets.values())

    def check(self, spec: Spec, was: Spec | None) -> Preview:
        if was is not None:
            raise Unsupported(_change(spec, was), _AMENDED)
        return super().check(spec, None)

    # changes ----------------------------------------------------------------------------------------------------

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        seal, effect = self._session.seal, self._session.config.side_effect
        match command:
            case Place(key, spec):
                sent = self.check(spec, None)
                fields = (*orders.place(sent.spec, key, self._market(spec.symbol)), *self._mine)
                fields = (*fields, ("sideEffectType", effect))
                ids, note = (VenueId("client", client_id(key)),), f"place {spec.symbol} on margin"
                return seal(PLACE, key, prep, fields, ids=ids, outlay=sent.outlay, note=note)
            case Cancel(key, ref, _):
                fields = (*orders.cancel(key, ref, self._market(ref.symbol)), *self._mine)
                return seal(CANCEL, key, prep, fields, repeatable=True, note=f"cancel {ref.symbol} on margin")
            case PlaceGroup(_, kind, _):
                raise Unsupported(f"group_{kind}")
            case Amend(_, ref, spec):
                raise Unsupported(_change(spec, ref.spec), _AMENDED)
            case _:
                name = type(command).__name__
                raise Unsupported({"CancelAll": "cancel_all"}.get(name, name))

    async def submit(self, ticket: Ticket) -> Ack:
        what, request = self._session.request_of(ticket)
        if what not in (PLACE, CANCEL):
            raise NotSent(f"{' '.join(what)} is no request of this release")
        view = await self._session.send(ticket, request, _read_order)
        if view is not None and what == CANCEL and not orders.meant(request.query, view):
            raise OutcomeUnknown("the answer is about another order")
        return self._decided(None if view is None else [view])

    # reads ------------------------------------------------------------------------------------------------------

    async def open_orders(self, page: str | None) -> Snapshot:
        at = await self._session.mark()
        fields = (("symbol", self._pair()), *self._mine) if self._isolated else ()
        views = await self._session.read(_OPEN, fields, _read_orders)
        told = tuple(reports.report(view, self._named(view.symbol)) for view in views)
        return Snapshot(told, at, True, None, "account")

    async def account(self) -> AccountSnapshot:
        at = await self._session.mark()
        if self._isolated:
            isolated = await self._session.read(_ISOLATED, (("symbols", self._pair()),), _read_isolated)
            pair = next((each for each in isolated.assets if each.symbol == self._pair()), None)
            if pair is None:
                raise Unavailable(f"the isolated wallet of {self._pair()} is not shown")
            held, level = [pair.baseAsset, pair.quoteAsset], pair.marginLevel
        else:
            cross = await self._session.read(_CROSS, (), _read_cross)
            held, level = cross.userAssets, cross.marginLevel
        owes = any(Decimal(each.borrowed) + Decimal(each.interest) for each in held)
        notices: tuple[Notice, ...] = ()
        if owes and Decimal(level) <= CALL_LEVEL:
            notices = (Notice("margin_call", f"assets are {Decimal(level):.1f} times the debts", "margin_level"),)
        return AccountSnapshot(at, True, tuple(map(_balance, held)), notices=notices)

    def _pair(self) -> str:
        return self._market(self._session.config.symbols[0]).name

    # events -----------------------------------------------------------------------------------------------------

    def told(self, event: Mapping[str, Any]) -> Sequence[VenueEvent]:
        at = event.get("E", 0)
        match event["e"]:
            case "outboundAccountPosition":  # it does not tell of debts
                return (VenueEvent(at, None, AccountSnapshot(Watermark(venue_ms=event["u"]), False, ())),)
            case "MARGIN_LEVEL_STATUS_CHANGE":
                text = f"margin level {event.get('l', '')}: {event.get('s', '')}"
                return (VenueEvent(at, None, Notice("margin_call", text)),)
            case _:
                return super().told(event)


def _change(spec: Spec, was: Spec | None) -> str:
    """The capability that such a change would need."""
    if was is not None and spec.limit == was.limit and spec.amount != was.amount:
        return "amend_up" if spec.amount > was.amount else "amend_down"
    return "amend_price"


def _on_margin(market: SpotMarket, kind: str) -> SpotMarket:
    """A spot market as a margin wallet trades it."""
    had = market.meta.capabilities
    lacking = Support(SupportLevel.UNSUPPORTED)
    features = {name: lacking if name.startswith(_NOT_HERE) else each for name, each in had.features.items()}
    features[kind] = Support(SupportLevel.NATIVE)
    capabilities = type(had)(features)
    return revised(market, meta=replace(market.meta, asset_type=AssetType.MARGIN, capabilities=capabilities))


def _balance(view: AssetView) -> Balance:
    free, owed = Decimal(view.free), Decimal(view.borrowed) + Decimal(view.interest)
    return Balance(view.asset, free + Decimal(view.locked), free, owed)
