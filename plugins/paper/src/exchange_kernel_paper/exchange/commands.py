"""What a request does, once it is let in: find its target, run it on the engine, keep its receipt."""

from __future__ import annotations

from decimal import Decimal

from exchange_kernel_paper.exchange.accounts import Account
from exchange_kernel_paper.exchange.chain import Receipt, Transaction
from exchange_kernel_paper.exchange.codes import Code, Refusal, Why
from exchange_kernel_paper.exchange.engine import FEES, Engine
from exchange_kernel_paper.exchange.fences import check_execution, clients_of, request_id
from exchange_kernel_paper.exchange.filters import RESTING, Request, Terms, read_price, read_terms
from exchange_kernel_paper.exchange.grouping import place_group, reject_group
from exchange_kernel_paper.exchange.groups import Leg
from exchange_kernel_paper.exchange.markets import Market
from exchange_kernel_paper.exchange.numbers import ZERO, number
from exchange_kernel_paper.exchange.orders import BUY, CANCELED, Order
from exchange_kernel_paper.exchange.settings import Settings


class Commands:
    """The operations: order, group, amend, cancel, cancel_all, enable, settle, burn."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine, self._settings = engine, settings

    def market(self, symbol: object) -> Market:
        """A market by symbol. Refusal: UNKNOWN_SYMBOL."""
        found = self._engine.markets.get(symbol) if isinstance(symbol, str) else None
        if found is None:
            raise Refusal(Code.UNKNOWN_SYMBOL, f"no market {symbol!r}")
        return found

    def execute(self, account: Account, request: Request, rid: str | None) -> list[Order]:
        """Run a request now; the orders it created or changed. ``rid``: its request id. Raises Refusal."""
        check_execution(self._settings, account, request, rid)
        remembers = self._settings.fence == "permanent_key" and rid is not None
        try:
            orders = self._run(account, request, rid)
        except Refusal as refusal:
            if remembers:
                self._keep(account, request, refusal.code, ZERO, -1)
                self._record_rejected(account, request, refusal.code)
            raise
        if remembers or request["op"] in ("cancel_all", "enable"):
            self._keep(account, request, "", ZERO, -1)
        return orders

    def mined(self, account: Account, tx: Transaction) -> list[Order]:
        """Run a transaction of a block: it costs its fee and keeps a receipt, whether it succeeds or not."""
        asset = self._settings.gas_asset
        fee = min(tx.fee, max(account.balance(asset).free, ZERO))
        account.add(asset, -fee)
        self._engine.accounts[FEES].add(asset, fee)
        slot = tx.number if self._settings.fence == "sequence" else -1
        orders: list[Order] = []
        try:
            if any(client in account.by_client for client in clients_of(tx.request)):
                raise Refusal(Code.DUPLICATE, "an order with this client id exists")
            orders = self._run(account, tx.request, tx.rid)
            code = ""
        except Refusal as refusal:
            code = refusal.code.value
            if refusal.code is not Code.DUPLICATE:
                orders = self._record_rejected(account, tx.request, code)
        self._keep(account, tx.request, code, fee, slot)
        targets = orders or self._targets(account, tx.request)
        if fee:
            for order in targets[:1]:
                order.costs = (*order.costs, (tx.rid, asset, fee))
        return orders

    def _run(self, account: Account, request: Request, rid: str | None) -> list[Order]:
        op = request["op"]
        if op == "order":
            return [self._place(account, request, rid)]
        if op == "group":
            return self._place_group(account, request, rid)
        if op == "amend":
            return [self._amend(account, request, rid)]
        if op == "cancel":
            order = self._open_target(account, request)
            together = [order] if order.group is None else [order, *order.group.doomed(order)]
            self._engine.end(order, CANCELED, Why.USER)
            return together
        if op == "settle" and self._settings.settle == "on":
            order = self._open_target(account, request)
            self._engine.settle(order, rid)
            return [order]
        if op == "cancel_all":
            symbol = request.get("symbol")
            return self._engine.cancel_all(account, None if symbol is None else self.market(symbol).symbol)
        if op == "enable" and self._settings.enable != "off":
            return self._enable(account, request)
        if op == "burn" and self._settings.fence == "sequence":
            return []
        raise Refusal(Code.BAD_REQUEST, f"no operation {op!r} here")

    def _place(self, account: Account, request: Request, rid: str | None) -> Order:
        market = self.market(request.get("symbol"))
        terms = read_terms(market, request, self._engine.now)
        if self._settings.rests == "off" and terms.limit is not None and terms.tif in RESTING and not account.house:
            raise Refusal(Code.FILTER_TIME, "nothing rests here: IOC or FOK")
        self._check_enabled(account, allowance_of(market.symbol, in_quote=terms.in_quote), terms.amount)
        return self._engine.place(account, market, terms, request_client(request), rid)

    def _place_group(self, account: Account, request: Request, rid: str | None) -> list[Order]:
        kind = request.get("kind")
        if kind not in self._settings.groups:
            raise Refusal(Code.GROUP_OFF, f"this exchange keeps no group {kind!r}")
        market = self.market(request.get("symbol"))
        legs = [self._leg(market, leg) for leg in _rows(request)]
        return place_group(self._engine, account, market, str(kind), legs, rid, rid)

    def _leg(self, market: Market, leg: Request) -> Leg:
        return Leg(read_terms(market, leg, self._engine.now), request_client(leg))

    def _amend(self, account: Account, request: Request, rid: str | None) -> Order:
        order = self._open_target(account, request)
        limit = read_price(order.market, "limit", request) or order.limit
        total: Decimal = number("amount", request.get("amount"))
        name = allowance_of(order.market.symbol, in_quote=order.in_quote)
        self._check_enabled(account, name, total, besides=order)
        self._engine.amend(order, total, limit, rid)
        return order

    def _enable(self, account: Account, request: Request) -> list[Order]:
        name = request.get("name")
        if not isinstance(name, str) or name.partition(" ")[0] not in self._engine.markets:
            raise Refusal(Code.UNKNOWN_SYMBOL, f"nothing is called {name!r} that could be enabled")
        if name in self._engine.closed:
            raise Refusal(Code.MARKET_CLOSED, f"{name} takes no orders now")
        account.enabled[name] = number("amount", request.get("amount"))
        return []

    def _check_enabled(self, account: Account, name: str, amount: Decimal, besides: Order | None = None) -> None:
        """May the account have orders for that much more here? Refusal: NOT_ENABLED."""
        if self._settings.enable == "off" or account.house:
            return
        enabled = account.enabled.get(name)
        if enabled is None:
            raise Refusal(Code.NOT_ENABLED, f"{name} is not enabled on this account")
        if self._settings.enable == "mode":
            return
        for order in account.open.values():
            if order is not besides and allowance_of(order.market.symbol, in_quote=order.in_quote) == name:
                amount += order.amount
        if amount > enabled:
            raise Refusal(Code.NOT_ENABLED, f"{name} is enabled for {enabled}, {amount} is needed")

    def _record_rejected(self, account: Account, request: Request, code: str) -> list[Order]:
        """Where a failed order is remembered: its rejection is what a look-up finds."""
        market = self._engine.markets.get(str(request.get("symbol")))
        if request["op"] == "group" and market is not None:
            return self._record_rejected_group(account, market, request, code)
        if request["op"] != "order" or market is None:
            return []
        try:
            terms = read_terms(market, request, self._engine.now)
        except Refusal:
            terms = None
        return [self._engine.reject(account, market, terms, request_client(request), code)]

    def _record_rejected_group(self, account: Account, market: Market, request: Request, code: str) -> list[Order]:
        try:
            legs = [self._leg(market, leg) for leg in _rows(request)]
        except Refusal:
            nothing = Terms(BUY, ZERO, False, None, None, "GTC", None, False, None)
            legs = [Leg(nothing, client) for client in clients_of(request)]
        return reject_group(self._engine, account, market, str(request["kind"]), legs, request_id(request), code)

    def _keep(self, account: Account, request: Request, code: str, fee: Decimal, slot: int) -> None:
        rid = request_id(request)
        if rid is not None:
            at, height, gas = self._engine.now, self._engine.height, self._settings.gas_asset
            account.receipts[rid] = Receipt(str(request["op"]), code, at, height, slot, gas, fee)

    def _open_target(self, account: Account, request: Request) -> Order:
        """The working order a cancel or an amend means. Refusal: UNKNOWN_ORDER."""
        for order in self._targets(account, request):
            if not order.finished:
                return order
        raise Refusal(Code.UNKNOWN_ORDER, "no such open order")

    def _targets(self, account: Account, request: Request) -> list[Order]:
        """Orders a request names, by the venue's id or by client id; newest first."""
        number_ = request.get("order")
        if number_ is not None:
            order = self._engine.orders.get(number_) if type(number_) is int else None
            return [order] if order is not None and order.account is account else []
        if request["op"] not in ("amend", "cancel", "settle"):
            return []
        return list(reversed(account.by_client.get(request_client(request) or "", ())))


def allowance_of(symbol: str, *, in_quote: bool) -> str:
    """What has to be enabled for orders in a market: one name for amounts in base, another for those in quote."""
    return f"{symbol} in quote" if in_quote else symbol


def _rows(request: Request) -> list[Request]:
    """The legs of a group's request."""
    legs = request.get("legs")
    if not isinstance(legs, list) or not all(isinstance(leg, dict) for leg in legs):
        raise Refusal(Code.BAD_REQUEST, "legs must be a list of orders")
    return legs


def request_client(request: Request) -> str | None:
    """The client id in a request, if it has one."""
    client = request.get("client")
    return client if isinstance(client, str) else None
