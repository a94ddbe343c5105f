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
    Gap,
    Key,
    LedgerEntry,
    Lookup,
    Ms,
    Notice,
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
from exchange_kernel_binance.usdm import checks, conditional, orders, reports
from exchange_kernel_binance.usdm.markets import Contract, contract_in, venue_name
from exchange_kernel_binance.usdm.settings import Settings

ABSENT = frozenset({-2013})
"""-2013 NO_SUCH_ORDER (Error Codes)."""
CLOCK = ("fapiPublic", "time")
_read_order = decoder(reports.OrderView)
_read_orders = decoder(list[reports.OrderView])
_read_trades = decoder(list[reports.TradeView])
_read_done = decoder(reports.DoneView)
_read_balances = decoder(list[reports.BalanceView])
_read_positions = decoder(list[reports.PositionView])
_read_done = decoder(reports.DoneView)
_read_armed = decoder(reports.ArmedView)
_OPEN = ("GET", "fapiPrivate", "openOrders")
_BALANCE = ("GET", "fapiPrivateV3", "balance")
_ARM = ("POST", "fapiPrivate", "countdownCancelAll")
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
        self._settings = Settings(session)
        self._lookups = Lookups(session, _SOURCES, session.config.kept_ms)
        self._waiting = conditional.Conditional(session, self._lookups)

    async def login(self) -> str:
        await self._settings.login()
        rows = await self._session.read(_BALANCE, (), _read_balances)
        return rows[0].accountAlias if rows else "empty"

    @property
    def loaded(self) -> bool:
        return bool(self._contracts)

    async def load(self) -> Sequence[SymbolMetadata]:
        info = await self._session.read(("GET", "fapiPublic", "exchangeInfo"), (), cut, signed=False)
        wanted = frozenset(self._session.config.symbols)
        found = await in_slices(info, lambda raw: contract_in(raw, wanted, self._settings.hedge))
        self._session.limits.configure(info.rate_limits)
        self._contracts = {contract.meta.symbol_id: contract for contract in found}
        # One that is not listed any more keeps its name: what was settled is still told of.
        self._names |= {contract.name: name for name, contract in self._contracts.items()}
        self._settings.check({ours: contract.name for ours, contract in self._contracts.items()})
        return tuple(contract.meta for contract in found)

    def check(self, spec: Spec, was: Spec | None) -> Preview:
        contract = self._contract(spec.symbol)
        if was is None:
            return checks.preview(spec, contract, self._settings.hedge)
        return checks.amendment(spec, was, contract, self._settings.hedge)

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
                if spec.trigger is not None:
                    return self._conditional(key, sent, prep)
                fields = orders.place(sent.spec, key, self._contract(spec.symbol), self._settings.hedge)
                ids = (VenueId("client", client_id(key)),)
                return seal(orders.PLACE, key, prep, fields, ids=ids, outlay=sent.outlay, note=f"place {spec.symbol}")
            case Cancel(key, ref, _) if conditional.waits(ref):
                fields = conditional.cancel(ref)
                return seal(conditional.CANCEL, key, prep, fields, repeatable=True, note=f"cancel {ref.symbol}")
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

    def _conditional(self, key: Key, sent: Preview, prep: Prep) -> Prepared:
        spec = sent.spec
        fields = conditional.place(spec, key, self._contract(spec.symbol), self._settings.hedge)
        ids, note = (VenueId("client", client_id(key)),), f"place {spec.symbol}, conditional"
        return self._session.seal(conditional.PLACE, key, prep, fields, ids=ids, outlay=sent.outlay, note=note)

    async def submit(self, ticket: Ticket) -> Ack:
        what, request = self._session.request_of(ticket)
        if what == orders.CANCEL_ALL:
            # It says that it was done, and of no order what became of it.
            await self._session.send(ticket, request, _read_done)
            return Ack("sent")
        if what == conditional.CANCEL:  # it tells no state; one that has triggered meanwhile is unknown to it
            await self._session.send(ticket, request, conditional.read_canceled)
            return Ack("sent")
        if what == conditional.PLACE:
            placed = await self._session.send(ticket, request, conditional.read_one)
            if placed is None:
                return Ack("duplicate")
            return Ack("decided", (conditional.report(placed, self._named(placed.symbol)),))
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
        name = venue_name(ref.symbol) if contract is None else contract.name
        if conditional.is_conditional(ref):
            return await self._waiting.find(ref, name)
        return await self._lookups.find(ref, name)

    async def open_orders(self, page: str | None) -> Snapshot:
        at = await self._session.mark()
        # First those that wait: one that triggers meanwhile is among the orders then.
        told = await self._waiting.open(self._names)
        views = await self._session.read(_OPEN, (), _read_orders)
        told += [reports.report(view, self._named(view.symbol)) for view in views]
        return Snapshot(tuple(told), at, True, None, "account")

    async def account(self) -> AccountSnapshot:
        at = await self._session.mark()
        held = await self._session.read(_BALANCE, (), _read_balances)
        risks = await self._session.read(("GET", "fapiPrivateV3", "positionRisk"), (), _read_positions)
        positions = tuple(
            reports.position(each, self._named(each.symbol)) for each in risks if Decimal(each.positionAmt)
        )
        names = {ours: contract.name for ours, contract in self._contracts.items()}
        notices = await self._settings.notices(names)
        return AccountSnapshot(at, True, reports.balances(held), positions, notices=notices)

    async def arm(self, until: Ms | None, symbols: frozenset[str]) -> Ms | None:
        """The countdown of each symbol, from now on; Binance counts from when it hears of it (Auto-Cancel All Open
        Orders)."""
        for symbol in sorted(symbols):
            left = 0 if until is None else max(1, until - self._session.clock.now_ms())
            fields = (("symbol", self._contract(symbol).name), ("countdownTime", str(left)))
            said = await self._session.read(_ARM, fields, _read_armed)
            if int(said.countdownTime) != left:
                return None
        return until

    async def price(self, symbol: str) -> PriceTick:
        return await touch(self._session, "fapiPublic", self._contract(symbol).name, symbol)

    # events -----------------------------------------------------------------------------------------------------

    def told(self, event: Mapping[str, Any]) -> Sequence[VenueEvent]:
        at = event.get("E", 0)
        match event["e"]:
            case "ORDER_TRADE_UPDATE":
                order = event["o"]
                return (VenueEvent(at, None, reports.executed(order, self._named(order["s"]))),)
            case "ALGO_UPDATE":
                order = event["o"]
                return (VenueEvent(at, None, conditional.told(order, event["T"], self._named(order["s"]))),)
            case "ACCOUNT_UPDATE":
                return self._changed(event, at)
            case "MARGIN_CALL":
                named = ", ".join(self._named(each["s"]) for each in event["p"])
                return (VenueEvent(at, None, Notice("margin_call", f"margin call for {named}")),)
            case "ACCOUNT_CONFIG_UPDATE":
                # It tells one setting of several, and none of them as a whole.
                return (VenueEvent(at, None, Gap(at, None, "the account's settings have changed")),)
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
