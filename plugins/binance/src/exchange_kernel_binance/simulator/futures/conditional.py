"""Conditional orders, liquidation and ADL: what happens when a price moves."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from exchange_kernel_binance.simulator.errors import ApiError, missing, not_cancelled
from exchange_kernel_binance.simulator.futures.orders import (
    AlgoOrder,
    FuturesAccount,
    FuturesOrder,
    FuturesRequest,
    Position,
)
from exchange_kernel_binance.simulator.futures.trading import FuturesTrading
from exchange_kernel_binance.simulator.numbers import ZERO, ratio, text, times

LIMITS = frozenset({"STOP", "TAKE_PROFIT"})
MARKETS = frozenset({"STOP_MARKET", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"})


class ConditionalTrading(FuturesTrading):
    """The algo service and the risk engine."""

    def place_algo(self, account: str, request: FuturesRequest) -> AlgoOrder:
        """A new conditional order. :raises ApiError: where Binance refuses it."""
        state, owner = self.state, self.state.accounts[account]
        contract = state.contract(request.symbol)
        trailing = request.type == "TRAILING_STOP_MARKET"
        if not trailing and request.trigger_price is None:
            raise missing("triggerPrice")
        if trailing and request.callback_rate is None:
            raise missing("callbackRate")
        if request.type in LIMITS and request.price is None:
            raise missing("price")
        if request.close_position and (request.quantity is not None or request.reduce_only):
            name = "quantity" if request.quantity is not None else "reduceOnly"
            raise ApiError(-1106, f"Parameter '{name}' sent when not required.")
        if not request.close_position:
            if request.quantity is None:
                raise missing("quantity")
            kind = "LIMIT" if request.type in LIMITS else "MARKET"
            # The price is held against the filters when it is triggered, not against today's mark price.
            self.filtered(replace(request, type=kind, price=None, reduce_only=True), contract)
        if owner.hedge is (request.position_side == "BOTH"):
            raise ApiError(-4061, "Order's position side does not match user's setting.")
        if request.client_id is not None and any(
            each.client_id == request.client_id for each in state.open_algos(account)
        ):
            raise ApiError(-4116, "ClientOrderId is duplicated.")
        if len(state.open_algos(account, request.symbol)) >= contract.max_algo_orders:
            raise ApiError(-4045, "Reach max stop order limit.")
        price = self._watched(request)
        if request.trigger_price is not None and _reached(request, price):
            raise ApiError(-2021, "Order would immediately trigger.")
        if trailing and request.activate_price is not None and _activates(request, request.activate_price, price):
            raise ApiError(-2021, "Order would immediately trigger.")
        state.algo_id += 1
        now = state.clock.now()
        name = request.client_id or state.ids.client_id()
        order = AlgoOrder(state.algo_id, account, request, name, now, now)
        if trailing and request.activate_price is None:
            order.extreme = price
        state.admit_algo(order)
        state.report_algo(order)
        return order

    def _watched(self, request: FuturesRequest) -> Decimal:
        prices = self.state.mark if request.working_type == "MARK_PRICE" else self.state.last
        return prices[request.symbol]

    def find_algo(self, account: str, algo_id: int | None, client_id: str | None) -> AlgoOrder | None:
        for order in reversed(self.state.algos.values()):
            if order.account == account and (
                order.algo_id == algo_id if algo_id is not None else order.client_id == client_id
            ):
                return order
        return None

    def cancel_algo(self, account: str, algo_id: int | None, client_id: str | None) -> AlgoOrder:
        """:raises ApiError: -2011."""
        order = self.find_algo(account, algo_id, client_id)
        if order is None or not order.is_open:
            raise not_cancelled()
        self._end_algo(order, "CANCELED")
        return order

    def _end_algo(self, order: AlgoOrder, status: str, reason: str = "") -> None:
        order.status, order.reason = status, reason
        self.state.report_algo(order)

    def price_moved(self, symbol: str) -> None:
        for order in self.state.unfinished_algos():
            if order.is_open and order.request.symbol == symbol and self._fires(order):
                self._trigger(order)
        for account in tuple(self.state.accounts.values()):
            if account.held(symbol) and not account.unlimited:
                self.assess(account)

    def _fires(self, order: AlgoOrder) -> bool:
        request, price = order.request, self._watched(order.request)
        if request.type != "TRAILING_STOP_MARKET":
            return _reached(request, price)
        if order.extreme is None:
            if _activates(request, request.activate_price or price, price):
                order.extreme = price
            return False
        part = ratio(request.callback_rate or ZERO, Decimal(100))
        if request.side == "SELL":
            order.extreme = max(order.extreme, price)
            return price <= times(order.extreme, 1 - part)
        order.extreme = min(order.extreme, price)
        return price >= times(order.extreme, 1 + part)

    def _trigger(self, order: AlgoOrder) -> None:
        """The conditional order becomes a plain one with an id of its own; TRIGGERING, TRIGGERED, FINISHED are told."""
        state, request = self.state, order.request
        order.triggered = state.clock.now()
        order.status = "TRIGGERING"
        state.report_algo(order)
        quantity, reduce_only = request.quantity, request.reduce_only
        owner = state.accounts[order.account]
        if request.close_position:
            quantity = abs(owner.position(request.symbol, request.position_side).amount)
            reduce_only = not owner.hedge
        limit = request.type in LIMITS
        plain = FuturesRequest(
            request.symbol,
            request.side,
            "LIMIT" if limit else "MARKET",
            quantity,
            request.price if limit else None,
            (request.time_in_force or "GTC") if limit else None,
            request.position_side,
            reduce_only,
            request.close_position,
            order.client_id,
            request.stp,
            request.good_till,
        )
        try:
            order.order = self.place(order.account, plain, algo_id=order.algo_id)
        except ApiError as error:
            self._end_algo(order, "REJECTED", error.message)
            return
        order.status = "TRIGGERED"
        state.report_algo(order)
        self.settle_algos()

    def settle_algos(self) -> None:
        """A triggered order is FINISHED once its plain order has ended."""
        for order in self.state.unfinished_algos():
            if order.status == "TRIGGERED" and order.order is not None and not order.order.is_open:
                self._end_algo(order, "FINISHED")

    def set_mark(self, symbol: str, price: Decimal) -> None:
        """Move the mark price by hand; trades don't move it any more."""
        self.state.contract(symbol)
        self.state.pinned.add(symbol)
        self.state.mark[symbol] = price
        self.price_moved(symbol)
        self.state.work_off()

    def assess(self, account: FuturesAccount) -> None:
        """Tell a MARGIN_CALL when the margin gets thin, and liquidate when it is gone."""
        state = self.state
        cross = [each for each in account.held() if not account.setting(each.symbol).isolated]
        groups = [cross] if cross else []
        groups += [[each] for each in account.held() if account.setting(each.symbol).isolated]
        for group in groups:
            needed = sum((state.maintenance(each) for each in group), ZERO)
            profit = sum((each.profit(state.mark[each.symbol]) for each in group), ZERO)
            if account.setting(group[0].symbol).isolated:
                held = group[0].margin
            else:
                held = account.wallet - sum((each.margin for each in account.held()), ZERO)
            balance = held + profit
            if balance <= needed:
                for position in group:
                    self.liquidate(account, position)
            elif balance <= needed * 2:
                self._margin_call(account, group, held)

    def _margin_call(self, account: FuturesAccount, group: list[Position], wallet: Decimal) -> None:
        state, now = self.state, self.state.clock.now()
        positions = [
            {
                "s": each.symbol,
                "ps": each.side,
                "pa": state.contracts[each.symbol].amount(each.amount),
                "mt": "ISOLATED" if account.setting(each.symbol).isolated else "CROSSED",
                "iw": text(each.margin),
                "mp": state.contracts[each.symbol].price(state.mark[each.symbol]),
                "up": text(each.profit(state.mark[each.symbol])),
                "mm": text(state.maintenance(each)),
            }
            for each in group
        ]
        state.journal.tell(account.name, {"e": "MARGIN_CALL", "E": now, "cw": text(wallet), "p": positions})

    def liquidate(self, account: FuturesAccount, position: Position) -> None:
        """The exchange ends the account's orders and takes the position over, with an `autoclose-` order."""
        for order in self.state.open_orders(account.name, position.symbol):
            self.end(order, "CANCELED")
        for algo in self.state.open_algos(account.name, position.symbol):
            self._end_algo(algo, "CANCELED")
        self._take_over(account, position, abs(position.amount), f"autoclose-{self.state.clock.now()}")

    def auto_deleverage(
        self, account: str, symbol: str, side: str, quantity: Decimal, client_id: str = "adl_autoclose"
    ) -> FuturesOrder:
        """Close a part of a position at the mark price, with an order that says whose idea that was: `adl_autoclose`,
        `settlement_autoclose-…`, `delivery_autoclose-…`."""
        owner = self.state.accounts[account]
        position = owner.position(symbol, side)
        if not 0 < quantity <= abs(position.amount):
            raise ValueError(f"{account} holds {position.amount} of {symbol}; {quantity} can't be taken")
        return self._take_over(owner, position, quantity, client_id)

    def _take_over(
        self, account: FuturesAccount, position: Position, quantity: Decimal, client_id: str
    ) -> FuturesOrder:
        state, now = self.state, self.state.clock.now()
        state.order_id += 1
        state.trade_id += 1
        mark = state.mark[position.symbol]
        order = FuturesOrder(
            order_id=state.order_id,
            account=account.name,
            symbol=position.symbol,
            side="SELL" if position.amount > 0 else "BUY",
            price=mark,
            quantity=quantity,
            type="LIQUIDATION",
            original_type="LIMIT",
            time_in_force="IOC",
            client_id=client_id,
            created=now,
            updated=now,
            position_side=position.side,
            liquidation=True,
        )
        state.admit(order)
        state.report(order, "NEW")
        order.executed = quantity
        self.apply(order, mark, quantity, is_maker=False)
        state.work_off()
        return order

    def deliver(self, symbol: str) -> None:
        """The day has come: orders end, and Binance closes every position at the mark price, by an order of its own."""
        state = self.state
        contract = state.contract(symbol)
        contract.status = "DELIVERING"
        for account in tuple(state.accounts.values()):
            for order in state.open_orders(account.name, symbol):
                self.end(order, "EXPIRED")
            for algo in state.open_algos(account.name, symbol):
                self._end_algo(algo, "EXPIRED")
            for position in account.held(symbol):
                self._take_over(account, position, abs(position.amount), f"delivery_autoclose-{state.clock.now()}")
        state.work_off()

    def tick(self) -> None:
        """What time alone does: GTD orders expire, countdowns cancel, futures are delivered."""
        state, now = self.state, self.state.clock.now()
        for contract in state.contracts.values():
            if contract.status == "TRADING" and contract.delivery <= now:
                self.deliver(contract.symbol)
        for account in state.accounts.values():
            for order in state.open_orders(account.name):
                if order.time_in_force == "GTD" and order.good_till <= now:
                    self.end(order, "EXPIRED")
            for symbol, end in tuple(account.countdowns.items()):
                if end <= now:
                    del account.countdowns[symbol]
                    self.cancel_all(account.name, symbol)
                    for algo in state.open_algos(account.name, symbol):
                        self._end_algo(algo, "CANCELED")
        self.settle_algos()


def _activates(request: FuturesRequest, activation: Decimal, price: Decimal) -> bool:
    """Whether it begins to follow: one that sells at or above its activation price, one that buys at or below it. A new
    order's must lie on the other side of the latest price (New Algo Order, TRAILING_STOP_MARKET)."""
    return price >= activation if request.side == "SELL" else price <= activation


def _reached(request: FuturesRequest, price: Decimal) -> bool:
    """Whether the price has come to the trigger: a stop that buys and a profit that sells wait above."""
    trigger = request.trigger_price
    if trigger is None:
        return False
    above = (request.side == "BUY") == request.type.startswith("STOP")
    return price >= trigger if above else price <= trigger
