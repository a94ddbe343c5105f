"""Spot requests about an account: orders, trades, balances, counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from exchange_kernel_binance.simulator.errors import ApiError, either
from exchange_kernel_binance.simulator.spot.exchange import SpotExchange
from exchange_kernel_binance.simulator.wire import parameters as p
from exchange_kernel_binance.simulator.wire.gate import Call, Endpoint
from exchange_kernel_binance.simulator.wire.limits import Limits


def limited(call: Call) -> int:
    """The `limit` of a query: 500 unless given, 1000 at most."""
    limit: int = call.get("limit", 500)
    if limit < 1:
        raise ApiError(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(limit, 1000)


def _trades_weight(args: Mapping[str, Any]) -> int:
    return 5 if "orderId" in args else 20


class SpotQuery:
    """Handlers over one exchange."""

    def __init__(self, exchange: SpotExchange, limits: Limits) -> None:
        self.exchange = exchange
        self.history = exchange.history
        self.limits = limits

    def order(self, call: Call) -> Any:
        if "orderId" not in call.args and "origClientOrderId" not in call.args:
            raise either("origClientOrderId", "orderId")
        return self.history.order(call.account, call.args["symbol"], call.get("orderId"), call.get("origClientOrderId"))

    def open_orders(self, call: Call) -> Any:
        return self.history.open_orders(call.account, call.get("symbol"))

    def all_orders(self, call: Call) -> Any:
        return self.history.all_orders(
            call.account,
            call.args["symbol"],
            call.get("orderId"),
            call.get("startTime"),
            call.get("endTime"),
            limited(call),
        )

    def trades(self, call: Call) -> Any:
        return self.history.trades(
            call.account,
            call.args["symbol"],
            call.get("orderId"),
            call.get("startTime"),
            call.get("endTime"),
            call.get("fromId"),
            limited(call),
        )

    def order_list(self, call: Call) -> Any:
        if "orderListId" not in call.args and "origClientOrderId" not in call.args:
            raise either("origClientOrderId", "orderListId")
        return self.history.order_list(call.account, call.get("orderListId"), call.get("origClientOrderId"))

    def open_lists(self, call: Call) -> Any:
        return self.history.open_lists(call.account)

    def all_lists(self, call: Call) -> Any:
        return self.history.all_lists(
            call.account, call.get("fromId"), call.get("startTime"), call.get("endTime"), limited(call)
        )

    def account(self, call: Call) -> Any:
        return self.history.account(call.account, omit_zero=call.get("omitZeroBalances", False))

    def commission(self, call: Call) -> Any:
        return self.history.commission(call.account, call.args["symbol"])

    def counts(self, call: Call) -> Any:
        return [rule.shown(self.limits.used(rule, call.account)) for rule in self.limits.of("ORDERS")]

    def amendments(self, call: Call) -> Any:
        return self.history.amendments(
            call.account,
            call.args["symbol"],
            call.args["orderId"],
            call.get("fromExecutionId"),
            limited(call),
        )

    def prevented(self, call: Call) -> Any:
        return self.history.prevented(
            call.account,
            call.args["symbol"],
            call.get("preventedMatchId"),
            call.get("orderId"),
            call.get("fromPreventedMatchId"),
            limited(call),
        )

    def endpoints(self) -> list[Endpoint]:
        """Every request of this room."""

        def ask(
            name: str,
            path: str,
            handle: Callable[[Call], Any],
            weight: int | Callable[[Mapping[str, Any]], int],
            parameters: dict[str, p.Kind],
            required: tuple[str, ...] = (),
        ) -> Endpoint:
            return Endpoint(name, handle, ("GET", f"/api/v3/{path}"), "USER_DATA", parameters, required, weight)

        window: dict[str, p.Kind] = {"startTime": p.long, "endTime": p.long, "limit": p.long}
        by_order: dict[str, p.Kind] = {"symbol": p.symbol, "orderId": p.long}
        symbol = ("symbol",)
        return [
            ask("order.status", "order", self.order, 4, by_order | {"origClientOrderId": p.client_id}, symbol),
            ask(
                "openOrders.status",
                "openOrders",
                self.open_orders,
                lambda args: 6 if "symbol" in args else 80,
                {"symbol": p.symbol},
            ),
            ask("allOrders", "allOrders", self.all_orders, 20, by_order | window, symbol),
            ask("myTrades", "myTrades", self.trades, _trades_weight, by_order | window | {"fromId": p.long}, symbol),
            ask(
                "orderList.status",
                "orderList",
                self.order_list,
                4,
                {"orderListId": p.long, "origClientOrderId": p.client_id},
            ),
            ask("openOrderLists.status", "openOrderList", self.open_lists, 6, {}),
            ask("allOrderLists", "allOrderList", self.all_lists, 20, window | {"fromId": p.long}),
            ask("account.status", "account", self.account, 20, {"omitZeroBalances": p.boolean}),
            ask("account.commission", "account/commission", self.commission, 20, {"symbol": p.symbol}, symbol),
            ask("account.rateLimits.orders", "rateLimit/order", self.counts, 40, {}),
            ask(
                "order.amendments",
                "order/amendments",
                self.amendments,
                4,
                by_order | {"fromExecutionId": p.long, "limit": p.long},
                ("symbol", "orderId"),
            ),
            ask(
                "myPreventedMatches",
                "myPreventedMatches",
                self.prevented,
                lambda args: 2 if "preventedMatchId" in args else 20,
                by_order | {"preventedMatchId": p.long, "fromPreventedMatchId": p.long, "limit": p.long},
                symbol,
            ),
        ]
