"""The USD-M futures account, as an adapter needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from exchange_kernel.errors import NotRunning, NotSent, UnknownSymbol, Unsupported
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
    Notice,
    Place,
    PlaceGroup,
    Prep,
    Prepared,
    Preview,
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
from exchange_kernel_binance.session import CLOSED, Session, decoder
from exchange_kernel_binance.usdm import checks, orders, reports
from exchange_kernel_binance.usdm.markets import Contract, contract_in

ABSENT = frozenset({-2013})
"""-2013 NO_SUCH_ORDER (Error Codes)."""
CLOCK = ("fapiPublic", "time")
_read_order = decoder(reports.OrderView)
_read_orders = decoder(list[reports.OrderView])
_read_trades = decoder(list[reports.TradeView])
_read_done = decoder(reports.DoneView)
_read_balances = decoder(list[reports.BalanceView])
_read_positions = decoder(list[reports.PositionView])
_read_mode = decoder(reports.ModeView)
_OPEN = ("GET", "fapiPrivate", "openOrders")
_BALANCE = ("GET", "fapiPrivateV3", "balance")
_SOURCES = Sources(
    order=("GET", "fapiPrivate", "order"),
    orders=("GET", "fapiPrivate", "allOrders"),
    trades=("GET", "fapiPrivate", "userTrades"),
    read_order=_read_order,
    read_orders=_read_orders,
    read_trades=_read_trades,
    report=reports.report,
    window_ms=7 * 86_400_000,
    silent_ms=(3 * 86_400_000, 90 * 86_400_000),
)
_ENTRIES = {"FUNDING_FEE": "funding", "INSURANCE_CLEAR": "liquidation"}


class UsdmDialect:
    """Implements Dialect."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._contracts: dict[str, Contract] = {}
        self._names: dict[str, str] = {}
        self._hedge = False
        self._lookups = Lookups(session, _SOURCES, session.config.kept_ms)

    async def login(self) -> str:
        mode = await self._session.read(("GET", "fapiPrivate", "positionSide/dual"), (), _read_mode)
        self._hedge = mode.dualSidePosition
        rows = await self._session.read(_BALANCE, (), _read_balances)
        return rows[0].accountAlias if rows else "empty"

    @property
    def loaded(self) -> bool:
        return bool(self._contracts)

    async def load(self) -> Sequence[SymbolMetadata]:
        info = await self._session.read(("GET", "fapiPublic", "exchangeInfo"), (), cut, signed=False)
        wanted = frozenset(self._session.config.symbols)
        found = await in_slices(info, lambda raw: contract_in(raw, wanted, self._hedge))
        self._session.limits.configure(info.rate_limits)
        self._contracts = {contract.meta.symbol_id: contract for contract in found}
        self._names = {contract.name: name for name, contract in self._contracts.items()}
        return tuple(contract.meta for contract in found)

    def check(self, spec: Spec, was: Spec | None) -> Preview:
        contract = self._contract(spec.symbol)
        if was is None:
            return checks.preview(spec, contract, self._hedge)
        return checks.amendment(spec, was, contract, self._hedge)

    def _contract(self, symbol: str) -> Contract:
        contract = self._contracts.get(symbol)
        if contract is None:
            if not self._contracts:
                raise NotRunning(CLOSED)
            raise UnknownSymbol("symbol", symbol, "is not listed here", suggest(symbol, self._contracts))
        return contract

    # changes ----------------------------------------------------------------------------------------------------

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        seal = self._session.seal
        match command:
            case Place(key, spec):
                sent = self.check(spec, None)
                fields = orders.place(sent.spec, key, self._contract(spec.symbol))
                ids = (VenueId("client", client_id(key)),)
                return seal(orders.PLACE, key, prep, fields, ids=ids, outlay=sent.outlay, note=f"place {spec.symbol}")
            case Cancel(key, ref, _):
                fields = orders.cancel(ref, self._contract(ref.symbol))
                return seal(orders.CANCEL, key, prep, fields, repeatable=True, note=f"cancel {ref.symbol}")
            case Amend(key, ref, spec):
                sent = self.check(spec, ref.spec)
                fields = orders.amend(sent.spec, ref, self._contract(ref.symbol))
                return seal(orders.AMEND, key, prep, fields, outlay=sent.outlay, note=f"amend {ref.symbol}")
            case CancelAll(key, symbol):
                if symbol is None:
                    raise Unsupported("cancel_all", "Binance cancels all of one symbol")
                # A copy that comes later would end what was placed since.
                fields = (("symbol", self._contract(symbol).name),)
                return seal(orders.CANCEL_ALL, key, prep, fields, note=f"cancel all {symbol}")
            case PlaceGroup(_, kind, _):
                raise Unsupported(f"group_{kind}")
            case _:
                raise Unsupported(type(command).__name__)

    async def submit(self, ticket: Ticket) -> Ack:
        what, request = self._session.request_of(ticket)
        if what == orders.CANCEL_ALL:
            # It says that it was done, and of no order what became of it.
            await self._session.send(ticket, request, _read_done)
            return Ack("sent")
        if what not in (orders.PLACE, orders.CANCEL, orders.AMEND):
            raise NotSent(f"{' '.join(what)} is no request of this release")
        view = await self._session.send(ticket, request, _read_order)
        if view is None:
            return Ack("duplicate")
        applied = ticket.key if what == orders.AMEND else None
        return Ack("decided", (reports.report(view, self._named(view.symbol), applied=applied),))

    # reads ------------------------------------------------------------------------------------------------------

    async def lookup(self, ref: Ref) -> Lookup:
        contract = self._contracts.get(ref.symbol)
        name = ref.symbol.partition(":")[0].replace("/", "") if contract is None else contract.name
        return await self._lookups.find(ref, name)

    async def open_orders(self, page: str | None) -> Snapshot:
        at = await self._session.mark()
        views = await self._session.read(_OPEN, (), _read_orders)
        told = tuple(reports.report(view, self._named(view.symbol)) for view in views)
        return Snapshot(told, at, True, None, "account")

    async def account(self) -> AccountSnapshot:
        at = await self._session.mark()
        held = await self._session.read(_BALANCE, (), _read_balances)
        risks = await self._session.read(("GET", "fapiPrivateV3", "positionRisk"), (), _read_positions)
        positions = tuple(
            reports.position(each, self._named(each.symbol)) for each in risks if Decimal(each.positionAmt)
        )
        return AccountSnapshot(at, True, reports.balances(held), positions)

    # events -----------------------------------------------------------------------------------------------------

    def told(self, event: Mapping[str, Any]) -> Sequence[VenueEvent]:
        at = event.get("E", 0)
        match event["e"]:
            case "ORDER_TRADE_UPDATE":
                order = event["o"]
                return (VenueEvent(at, None, reports.executed(order, self._named(order["s"]))),)
            case "ACCOUNT_UPDATE":
                return self._changed(event, at)
            case "MARGIN_CALL":
                named = ", ".join(self._named(each["s"]) for each in event["p"])
                return (VenueEvent(at, None, Notice("margin_call", f"margin call for {named}")),)
            case _:
                return ()

    def _changed(self, event: Mapping[str, Any], at: int) -> Sequence[VenueEvent]:
        """Positions as they are now, and what changed the wallet without being a trade. The event does not say how
        much of the wallet is free: only a look does."""
        change = event["a"]
        positions = tuple(reports.moved(each, self._named(each["s"])) for each in change["P"])
        told = [VenueEvent(at, None, AccountSnapshot(Watermark(venue_ms=event["T"]), False, (), positions))]
        for each in change["B"]:
            if Decimal(each["bc"]):
                kind = _ENTRIES.get(change["m"], "transfer" if change["m"] in ("DEPOSIT", "WITHDRAW") else "other")
                name = f"{change['m']}/{each['a']}/{event['T']}/{each['bc']}"
                entry = LedgerEntry(name, each["a"], Decimal(each["bc"]), kind)  # type: ignore[arg-type]
                told.append(VenueEvent(at, None, entry))
        return told

    def _named(self, venue_symbol: str) -> str:
        """Our name of a contract; its own where it is none of those listed."""
        return self._names.get(venue_symbol, venue_symbol)
