"""Order lists: OCO, OTO, OTOCO (rest-api.md, Order lists).

An OCO pair shares one lock: only one of the two can trade. The pending orders of an OTO hold nothing until the working
order is filled.
"""

from __future__ import annotations

from decimal import Decimal
from functools import partial

from exchange_kernel_binance.simulator.errors import BAD_PRICES, DUPLICATE, ApiError, filter_failure, rejected
from exchange_kernel_binance.simulator.numbers import ZERO
from exchange_kernel_binance.simulator.spot.orders import STOPS, Order, OrderList, OrderRequest
from exchange_kernel_binance.simulator.spot.trading import Trading

_TAKING = frozenset({"LIMIT_MAKER", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"})
_LOSING = frozenset({"STOP_LOSS", "STOP_LOSS_LIMIT"})


class ListTrading(Trading):
    """Orders that depend on each other."""

    def oco(self, account: str, above: OrderRequest, below: OrderRequest, client_id: str | None) -> OrderList:
        """A pair of which one ends the other. :raises ApiError: where Binance refuses it."""
        self._paired(above, below)
        self._new_list(account, above.symbol, client_id, (above, below))
        self._priced(above, below)
        orders = [self.make(account, above), self.make(account, below)]
        first, second = orders
        self.fund(first, max(self.held(first), self.held(second)))
        listed = self._listed(account, "OCO", orders, client_id)
        listed.pair = (first, second)
        self._share(first, second)
        for order in orders:
            self.state.admit(order)
        self.state.tell_list(listed)
        for order in orders:
            if order.is_open:
                self._enter_leg(order)
        self.state.work_off()
        return listed

    def oto(self, account: str, working: OrderRequest, pending: list[OrderRequest], client_id: str | None) -> OrderList:
        """A working order and one pending order, or two that form an OCO (OTOCO)."""
        if len(pending) == 2:
            self._paired(*pending)
        for request in pending:
            if request.quote_quantity is not None:
                raise ApiError(-1106, "Parameter 'quoteOrderQty' sent when not required.")
        self._new_list(account, working.symbol, client_id, (working, *pending))
        self.refuse_price(working)
        orders = [self.make(account, request) for request in (working, *pending)]
        first = orders[0]
        self.fund(first, self.held(first))
        listed = self._listed(account, "OTO", orders, client_id)
        listed.working, listed.activated = first, False
        if len(orders) == 3:
            listed.pair = (orders[1], orders[2])
            self._share(*listed.pair)
        for order in orders[1:]:
            order.status = "PENDING_NEW"
        for order in orders:
            self.state.admit(order)
        self.state.tell_list(listed)
        for order in orders[1:]:
            self.state.report(order, "NEW")
        self.accept(first)
        # What the working order set off happens after the reply is made: it shows the pending orders as pending.
        return listed

    def _new_list(self, account: str, symbol: str, client_id: str | None, requests: tuple[OrderRequest, ...]) -> None:
        state = self.state
        open_lists = [
            each for each in state.lists.values() if each.account == account and each.symbol == symbol and each.is_open
        ]
        for request in requests:
            market = self.check(account, request, adding=len(requests))
        if len(open_lists) >= market.max_order_lists:
            raise filter_failure("MAX_NUM_ORDER_LISTS")
        if market.status != "TRADING":
            raise rejected("Market is closed.")
        names = [request.client_id for request in requests if request.client_id is not None]
        if len(set(names)) != len(names) or any(state.is_used(account, symbol, name) for name in names):
            raise rejected(DUPLICATE)
        if client_id is not None and any(each.client_id == client_id for each in open_lists):
            raise rejected(DUPLICATE)

    def _listed(self, account: str, contingency: str, orders: list[Order], client_id: str | None) -> OrderList:
        state = self.state
        state.list_id += 1
        listed = OrderList(
            state.list_id,
            account,
            orders[0].symbol,
            client_id or state.ids.client_id(),
            contingency,
            orders,
            state.clock.now(),
        )
        state.lists[listed.list_id] = listed
        for order in orders:
            order.list_id = listed.list_id
        return listed

    @staticmethod
    def _paired(above: OrderRequest, below: OrderRequest) -> None:
        """One leg takes profit, the other stops a loss, each on its side of the market."""
        kinds = {above.type, below.type}
        if above.side == "SELL" and above.type in _LOSING:
            raise ApiError(-1197, "A stop loss order in a sell OCO must be below.")
        if above.side == "BUY" and below.type in _LOSING:
            raise ApiError(-1196, "A stop loss order in a buy OCO must be above.")
        if "LIMIT_MAKER" in kinds and not kinds & STOPS:
            raise ApiError(-1168, "At least one OCO order must be contingent.")
        if above.side == "SELL" and below.type == "LIMIT_MAKER":
            raise ApiError(-1166, "A limit order in a sell OCO must be above.")
        if above.side == "BUY" and above.type == "LIMIT_MAKER":
            raise ApiError(-1165, "A limit order in a buy OCO must be below.")
        if above.side == "SELL" and below.type in _TAKING:
            raise ApiError(-1199, "A take profit order in a sell OCO must be above.")
        if above.side == "BUY" and above.type in _TAKING:
            raise ApiError(-1198, "A take profit order in a buy OCO must be below.")
        if not kinds & _TAKING or not kinds & _LOSING:
            raise ApiError(-1158, "Order type not supported in OCO.")

    def _priced(self, above: OrderRequest, below: OrderRequest) -> None:
        last = self.state.last[above.symbol]
        upper = above.price if above.type == "LIMIT_MAKER" else above.stop_price
        lower = below.price if below.type == "LIMIT_MAKER" else below.stop_price
        if (upper is not None and upper <= last) or (lower is not None and lower >= last):
            raise rejected(BAD_PRICES)
        for request in (above, below):
            if request.type == "LIMIT_MAKER":
                self.refuse_price(request)

    def _share(self, first: Order, second: Order) -> None:
        second.lock = first.lock

    def _enter_leg(self, order: Order) -> None:
        """One of a pair starts to wait or to rest; the lock covers the dearer of the two."""
        pair = self.state.lists[order.list_id].pair
        assert pair is not None
        self.state.accounts[order.account].set_lock(order.lock, max(self.held(leg) for leg in pair))
        if order.is_stop:
            self.wait(order)
            self.state.report(order, "NEW")
            return
        order.working, order.working_time = True, self.state.clock.now()
        self.state.report(order, "NEW")
        self.state.books[order.symbol].add(order)

    def held(self, order: Order) -> Decimal:
        if order.status == "PENDING_NEW":
            return ZERO
        return super().held(order)

    def leg_started(self, order: Order) -> None:
        if order.list_id == -1:
            return
        listed = self.state.lists[order.list_id]
        if listed.pair is not None and order in listed.pair:
            self._end_sibling(listed, order)

    def _end_sibling(self, listed: OrderList, order: Order) -> None:
        assert listed.pair is not None
        sibling = listed.pair[1] if order is listed.pair[0] else listed.pair[0]
        if sibling.is_open:
            sibling.status, sibling.reason = "EXPIRED", "OCO_TRIGGER"
            self.state.ended(sibling)
            self.state.accounts[order.account].set_lock(order.lock, self.held(order))
            self.state.report(sibling, "EXPIRED")
            self._done(listed)

    def order_changed(self, order: Order) -> None:
        if order.list_id == -1:
            return
        listed = self.state.lists[order.list_id]
        if listed.pair is not None and order in listed.pair:
            self._end_sibling(listed, order)
            if not order.is_open:
                self._done(listed)
        elif order is listed.working:
            if order.status == "FILLED":
                if not listed.activated:
                    listed.activated = True
                    self.state.todo.append(partial(self._activate, listed))
            elif not order.is_open:
                self._end_pending(listed)
        elif not order.is_open:
            self._done(listed)

    def _end_pending(self, listed: OrderList) -> None:
        for order in listed.orders:
            if order is not listed.working and order.is_open:
                order.status, order.reason = "EXPIRED", "OTO_PHASE_ONE_EXPIRED"
                self.state.ended(order)
                self.state.report(order, "EXPIRED")
        self._done(listed)

    def _activate(self, listed: OrderList) -> None:
        """The working order is filled: the pending ones enter, or expire as REJECTED where they can't."""
        pending = [order for order in listed.orders if order is not listed.working and order.is_open]
        if not pending:
            return
        now = self.state.clock.now()
        for order in pending:
            order.status = "NEW"
        try:
            for order in pending:
                self.refuse_price(
                    OrderRequest(
                        order.symbol,
                        order.side,
                        order.type,
                        price=order.price if order.type == "LIMIT_MAKER" else None,
                        stop_price=order.stop_price,
                    )
                )
            self.fund(pending[0], max(self._needed(order) for order in pending))
        except ApiError:
            for order in pending:
                if order.is_open:
                    order.updated = now
                    self.expire(order, "REJECTED")
            self._done(listed)
            return
        for order in pending:
            if order.is_open:
                if listed.pair is not None:
                    self._enter_leg(order)
                else:
                    self.accept(order)

    def _done(self, listed: OrderList) -> None:
        if listed.is_open:
            listed.status_type = listed.status = "ALL_DONE"
            self.state.tell_list(listed)
