"""Cancels, cancel-replace and amend-keep-priority (rest-api.md, Trading endpoints)."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from exchange_kernel_binance.simulator.errors import ApiError, filter_failure, not_cancelled
from exchange_kernel_binance.simulator.numbers import ZERO, is_multiple, times
from exchange_kernel_binance.simulator.spot import reports
from exchange_kernel_binance.simulator.spot.lists import ListTrading
from exchange_kernel_binance.simulator.spot.orders import Amendment, Order, OrderList, OrderRequest

RESTRICTED = "Order was not canceled due to cancel restrictions."


@dataclass(frozen=True, slots=True)
class CancelReplace:
    """One cancelReplace; `fail_cancel` and `fail_new` are the half successes that a test asks for."""

    cancel_order_id: int | None
    cancel_client_id: str | None
    cancel_new_client_id: str | None
    restrictions: str | None
    request: OrderRequest
    mode: str
    response: str | None
    over_limit: ApiError | None = None
    over_limit_mode: str = "DO_NOTHING"
    fail_cancel: ApiError | None = None
    fail_new: ApiError | None = None


class Changing(ListTrading):
    """What ends or changes an order by request."""

    def find_open(self, account: str, symbol: str, order_id: int | None, client_id: str | None) -> Order:
        """The open order a cancel or an amend means. :raises ApiError: -2011 where there is none."""
        self.state.symbol(symbol)
        orders = self.state.open_orders(account, symbol)
        if order_id is not None:
            order = orders.get(order_id)
            if order is None:
                raise not_cancelled()
            if client_id is not None and order.client_id != client_id:
                raise ApiError(-2039, "Client order ID is not correct for this order ID.")
            return order
        for order in self.state.by_client.get((account, symbol, client_id or ""), ()):
            if order.is_open and order.client_id == client_id:
                return order
        raise not_cancelled()

    def cancel(
        self,
        account: str,
        symbol: str,
        order_id: int | None,
        client_id: str | None,
        new_client_id: str | None = None,
        restrictions: str | None = None,
    ) -> dict[str, Any]:
        """Cancel an order (with its whole list, if it is in one); returns the reply."""
        order = self.find_open(account, symbol, order_id, client_id)
        if (restrictions == "ONLY_NEW" and order.status not in ("NEW", "PENDING_NEW")) or (
            restrictions == "ONLY_PARTIALLY_FILLED" and order.status != "PARTIALLY_FILLED"
        ):
            raise not_cancelled(RESTRICTED)
        cancel_id = new_client_id or self.state.ids.client_id()
        if order.list_id != -1 and (listed := self.state.lists[order.list_id]).is_open:
            return self._cancel_list(listed, cancel_id)
        self._cancel(order, cancel_id)
        return reports.cancelled(order, cancel_id, self.state.clock.now())

    def cancel_list(
        self,
        account: str,
        symbol: str,
        list_id: int | None,
        client_id: str | None,
        new_client_id: str | None = None,
    ) -> dict[str, Any]:
        """Cancel a whole list."""
        self.state.symbol(symbol)
        for listed in self.state.lists.values():
            if (
                listed.account == account
                and listed.symbol == symbol
                and listed.is_open
                and (list_id is None or listed.list_id == list_id)
                and (client_id is None or listed.client_id == client_id)
            ):
                return self._cancel_list(listed, new_client_id or self.state.ids.client_id())
        raise not_cancelled()

    def cancel_all(self, account: str, symbol: str) -> list[dict[str, Any]]:
        """Cancel everything open on the symbol. :raises ApiError: -2011 where nothing is open."""
        self.state.symbol(symbol)
        if not self.state.open_orders(account, symbol):
            raise not_cancelled()
        cancel_id = self.state.ids.client_id()
        replies = []
        for order in tuple(self.state.open_orders(account, symbol).values()):
            if order.is_open:
                replies.append(self.cancel(account, symbol, order.order_id, None, cancel_id))
        return replies

    def _cancel_list(self, listed: OrderList, cancel_id: str) -> dict[str, Any]:
        for order in listed.orders:
            if order.is_open:
                self._cancel(order, cancel_id)
        self._done(listed)
        return reports.list_cancelled(listed, cancel_id, self.state.clock.now())

    def _cancel(self, order: Order, cancel_id: str) -> None:
        order.status = "CANCELED"
        self.state.ended(order)
        self.state.accounts[order.account].set_lock(order.lock, ZERO)
        self.state.report(order, "CANCELED", client_id=cancel_id, original=order.client_id)

    def exchange_cancels(self, order_id: int) -> None:
        """The exchange itself ends an order (maintenance, liquidation)."""
        self.expire(self.state.orders[order_id], "EXCHANGE_CANCELED")
        self.state.work_off()

    def cancel_replace(self, account: str, change: CancelReplace) -> dict[str, Any]:
        """Cancel one order and place another. :raises ApiError: -2021, -2022 with both results in `data`."""
        request = change.request
        symbol = self.check(account, request, adding=0)
        if change.over_limit is not None and change.over_limit_mode == "DO_NOTHING":
            raise change.over_limit
        cancel_result, cancel_reply = "SUCCESS", None
        try:
            if change.fail_cancel is not None:
                raise change.fail_cancel
            cancel_reply = self.cancel(
                account,
                request.symbol,
                change.cancel_order_id,
                change.cancel_client_id,
                change.cancel_new_client_id,
                change.restrictions,
            )
        except ApiError as error:
            cancel_result, cancel_reply = "FAILURE", error.payload()
        new_result, new_reply = "SUCCESS", None
        if cancel_result == "FAILURE" and change.mode == "STOP_ON_FAILURE":
            new_result = "NOT_ATTEMPTED"
        else:
            try:
                if change.over_limit is not None:
                    raise change.over_limit
                if change.fail_new is not None:
                    raise change.fail_new
                self.refuse(account, request, symbol)
                order = self.make(account, request)
                self.fund(order, self._needed(order))
                self.state.admit(order)
                self.accept(order)
                self.state.work_off()
                new_reply = reports.placed(order, change.response, self.state.clock.now())
            except ApiError as error:
                new_result, new_reply = "FAILURE", error.payload()
        data = {
            "cancelResult": cancel_result,
            "newOrderResult": new_result,
            "cancelResponse": cancel_reply,
            "newOrderResponse": new_reply,
        }
        if cancel_result == new_result == "SUCCESS":
            return data
        status = 429 if change.over_limit is not None else None
        if "SUCCESS" in (cancel_result, new_result):
            raise ApiError(-2021, "Order cancel-replace partially failed.", status or 409, data)
        raise ApiError(-2022, "Order cancel-replace failed.", status or 400, data)

    def amend(
        self,
        account: str,
        symbol: str,
        order_id: int | None,
        client_id: str | None,
        new_quantity: Decimal,
        new_client_id: str | None = None,
    ) -> dict[str, Any]:
        """Make an order smaller without its losing its place."""
        state = self.state
        market = state.symbol(symbol)
        try:
            order = self.find_open(account, symbol, order_id, client_id)
        except ApiError as error:
            raise ApiError(-2038 if error.code == -2011 else error.code, error.message) from None
        pair = state.lists[order.list_id].pair if order.list_id != -1 else None
        legs = pair if pair is not None and order in pair else (order,)
        if not market.min_qty <= new_quantity <= market.max_qty or not is_multiple(new_quantity, market.step):
            raise filter_failure("LOT_SIZE")
        if order.limit is not None and times(order.price, new_quantity) < market.min_notional:
            raise filter_failure("NOTIONAL")
        if new_quantity > order.quantity:
            raise ApiError(-2038, "Order amend (quantity increase) is not supported.")
        if new_quantity == order.quantity or new_quantity <= order.executed + order.prevented:
            raise ApiError(-2038, "The requested action would change no state; rejecting.")
        if len(order.amendments) >= market.max_order_amends:
            raise ApiError(-2038, "Filter failure: MAX_NUM_ORDER_AMENDS")
        if (
            new_client_id not in (None, order.client_id)
            and new_client_id is not None
            and (state.is_used(account, symbol, new_client_id))
        ):
            raise ApiError(-2038, "Duplicate order sent.")
        old_client_id, now = order.client_id, state.clock.now()
        renamed = new_client_id or state.ids.client_id()
        execution_id = 0
        for leg in legs:
            old_quantity = leg.quantity
            leg.quantity = new_quantity
            if leg is order:
                leg.client_id = renamed
                state.named(leg)
            if state.books[symbol].holds(leg):
                state.books[symbol].shrunk(leg)
        for leg in legs:
            state.accounts[account].set_lock(leg.lock, max(self.held(each) for each in legs))
            leg.amendments.append(
                Amendment(
                    state.execution_id + 1,
                    old_client_id if leg is order else leg.client_id,
                    leg.client_id,
                    old_quantity,
                    new_quantity,
                    now,
                )
            )
            original = old_client_id if leg is order else leg.client_id
            told = state.report(leg, "REPLACED", original=original)
            execution_id = told if leg is order else execution_id
        reply: dict[str, Any] = {
            "transactTime": now,
            "executionId": execution_id,
            "amendedOrder": reports.amended(order, old_client_id),
        }
        if order.list_id != -1:
            listed = state.lists[order.list_id]
            if renamed != old_client_id and listed.is_open:
                kept, listed.status_type = listed.status_type, "UPDATED"
                state.tell_list(listed)
                listed.status_type = kept
            view = reports.list_of(listed)
            reply["listStatus"] = {
                name: view[name]
                for name in (
                    "orderListId",
                    "contingencyType",
                    "listOrderStatus",
                    "listClientOrderId",
                    "symbol",
                    "orders",
                )
            }
        return reply
