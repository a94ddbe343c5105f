"""Spot requests that place, end and change orders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from exchange_kernel_binance.simulator.errors import ApiError, either, rejected
from exchange_kernel_binance.simulator.numbers import text
from exchange_kernel_binance.simulator.spot import reports
from exchange_kernel_binance.simulator.spot.changing import RESTRICTED, CancelReplace
from exchange_kernel_binance.simulator.spot.exchange import SpotExchange
from exchange_kernel_binance.simulator.spot.orders import OrderRequest
from exchange_kernel_binance.simulator.wire import parameters as p
from exchange_kernel_binance.simulator.wire.gate import Call, Endpoint
from exchange_kernel_binance.simulator.wire.limits import Limits

ORDER: dict[str, p.Kind] = {
    "symbol": p.symbol,
    "side": p.SIDE,
    "type": p.TYPE,
    "timeInForce": p.TIME_IN_FORCE,
    "quantity": p.decimal(),
    "quoteOrderQty": p.decimal(),
    "price": p.decimal(),
    "newClientOrderId": p.client_id,
    "strategyId": p.long,
    "strategyType": p.long,
    "stopPrice": p.decimal(),
    "trailingDelta": p.long,
    "icebergQty": p.decimal(),
    "newOrderRespType": p.RESPONSE,
    "selfTradePreventionMode": p.STP,
}


def _leg(prefix: str, *, with_side: bool, with_quantity: bool) -> dict[str, p.Kind]:
    kinds: dict[str, p.Kind] = {
        "Type": p.TYPE,
        "ClientOrderId": p.client_id,
        "IcebergQty": p.decimal(),
        "Price": p.decimal(),
        "StopPrice": p.decimal(),
        "TrailingDelta": p.long,
        "TimeInForce": p.TIME_IN_FORCE,
        "StrategyId": p.long,
        "StrategyType": p.long,
    }
    if with_side:
        kinds["Side"] = p.SIDE
    if with_quantity:
        kinds["Quantity"] = p.decimal()
    return {prefix + name: kind for name, kind in kinds.items()}


_LIST: dict[str, p.Kind] = {
    "symbol": p.symbol,
    "listClientOrderId": p.client_id,
    "newOrderRespType": p.RESPONSE,
    "selfTradePreventionMode": p.STP,
}
_WORKING = _leg("working", with_side=True, with_quantity=True)
# The working order of a list is a plain one.
for _name in ("workingStopPrice", "workingTrailingDelta"):
    del _WORKING[_name]


def request_of(call: Call) -> OrderRequest:
    """The order that the parameters describe."""
    args = call.args
    return OrderRequest(
        args["symbol"],
        args["side"],
        args["type"],
        args.get("timeInForce"),
        args.get("quantity"),
        args.get("quoteOrderQty"),
        args.get("price"),
        args.get("newClientOrderId"),
        args.get("stopPrice"),
        args.get("trailingDelta"),
        args.get("icebergQty"),
        args.get("selfTradePreventionMode"),
        args.get("strategyId"),
        args.get("strategyType"),
    )


def _leg_of(call: Call, prefix: str, side: str, quantity: Any) -> OrderRequest:
    args = call.args
    return OrderRequest(
        args["symbol"],
        side,
        args[f"{prefix}Type"],
        args.get(f"{prefix}TimeInForce"),
        quantity,
        None,
        args.get(f"{prefix}Price"),
        args.get(f"{prefix}ClientOrderId"),
        args.get(f"{prefix}StopPrice"),
        args.get(f"{prefix}TrailingDelta"),
        args.get(f"{prefix}IcebergQty"),
        args.get("selfTradePreventionMode"),
        args.get(f"{prefix}StrategyId"),
        args.get(f"{prefix}StrategyType"),
        prefix=prefix,
    )


class SpotTrade:
    """Handlers over one exchange."""

    def __init__(self, exchange: SpotExchange, limits: Limits) -> None:
        self.exchange = exchange
        self.limits = limits

    def _now(self) -> int:
        return self.exchange.state.clock.now()

    def place(self, call: Call) -> Any:
        order = self.exchange.place(call.account, request_of(call))
        return reports.placed(order, call.get("newOrderRespType"), self._now())

    def test(self, call: Call) -> Any:
        request = request_of(call)
        symbol = self.exchange.check(call.account, request)
        if symbol.status != "TRADING":
            raise rejected("Market is closed.")
        if not call.get("computeCommissionRates"):
            return {}
        rates = self.exchange.state.accounts[call.account].rates
        nothing = {"maker": "0.00000000", "taker": "0.00000000"}
        wallet = self.exchange.state.accounts[call.account]
        return {
            "standardCommissionForOrder": {"maker": text(rates.maker), "taker": text(rates.taker)},
            "specialCommissionForOrder": nothing,
            "taxCommissionForOrder": nothing,
            "discount": {
                "enabledForAccount": wallet.pays_in_bnb,
                "enabledForSymbol": True,
                "discountAsset": "BNB",
                "discount": text(wallet.discount),
            },
        }

    def cancel(self, call: Call) -> Any:
        _named(call, "orderId", "origClientOrderId")
        return self.exchange.cancel(
            call.account,
            call.args["symbol"],
            call.get("orderId"),
            call.get("origClientOrderId"),
            call.get("newClientOrderId"),
            call.get("cancelRestrictions"),
        )

    def cancel_all(self, call: Call) -> Any:
        return self.exchange.cancel_all(call.account, call.args["symbol"])

    def cancel_replace(self, call: Call) -> Any:
        _named(call, "cancelOrderId", "cancelOrigClientOrderId")
        refusal = self.limits.order_refusal(call.account, 1)
        if refusal is None:
            self.limits.ordered(call.account, 1)
        return self.exchange.cancel_replace(
            call.account,
            CancelReplace(
                call.get("cancelOrderId"),
                call.get("cancelOrigClientOrderId"),
                call.get("cancelNewClientOrderId"),
                call.get("cancelRestrictions"),
                request_of(call),
                call.args["cancelReplaceMode"],
                call.get("newOrderRespType"),
                refusal,
                call.get("orderRateLimitExceededMode", "DO_NOTHING"),
                ApiError(-2011, RESTRICTED) if call.fault == "cancel_fails" else None,
                rejected("Account has insufficient balance for requested action.")
                if call.fault == "new_fails"
                else None,
            ),
        )

    def amend(self, call: Call) -> Any:
        _named(call, "orderId", "origClientOrderId")
        return self.exchange.amend(
            call.account,
            call.args["symbol"],
            call.get("orderId"),
            call.get("origClientOrderId"),
            call.args["newQty"],
            call.get("newClientOrderId"),
        )

    def _listed(self, call: Call, listed: Any) -> Any:
        now = self._now()
        reply = reports.list_of(listed) | {"listStatusType": "EXEC_STARTED", "listOrderStatus": "EXECUTING"}
        shape = call.get("newOrderRespType", "RESULT")
        reply["orderReports"] = [reports.placed(order, shape, now) for order in listed.orders]
        self.exchange.state.work_off()
        return reply

    def oco(self, call: Call) -> Any:
        side, quantity = call.args["side"], call.args["quantity"]
        above = _leg_of(call, "above", side, quantity)
        below = _leg_of(call, "below", side, quantity)
        return self._listed(call, self.exchange.oco(call.account, above, below, call.get("listClientOrderId")))

    def oto(self, call: Call) -> Any:
        pending = _leg_of(call, "pending", call.args["pendingSide"], call.args["pendingQuantity"])
        return self._listed(call, self._oto(call, [pending]))

    def otoco(self, call: Call) -> Any:
        side, quantity = call.args["pendingSide"], call.args["pendingQuantity"]
        if "pendingBelowType" not in call.args:
            return self._listed(call, self._oto(call, [_leg_of(call, "pendingAbove", side, quantity)]))
        pair = [_leg_of(call, prefix, side, quantity) for prefix in ("pendingAbove", "pendingBelow")]
        return self._listed(call, self._oto(call, pair))

    def _oto(self, call: Call, pending: list[OrderRequest]) -> Any:
        if call.args["workingType"] not in ("LIMIT", "LIMIT_MAKER"):
            raise ApiError(-1116, "Invalid orderType.")
        working = _leg_of(call, "working", call.args["workingSide"], call.args["workingQuantity"])
        return self.exchange.oto(call.account, working, pending, call.get("listClientOrderId"))

    def cancel_list(self, call: Call) -> Any:
        _named(call, "orderListId", "listClientOrderId")
        return self.exchange.cancel_list(
            call.account,
            call.args["symbol"],
            call.get("orderListId"),
            call.get("listClientOrderId"),
            call.get("newClientOrderId"),
        )

    def endpoints(self) -> list[Endpoint]:
        """Every request of this room."""

        def trade(
            name: str,
            method: str,
            path: str,
            handle: Callable[[Call], Any],
            parameters: dict[str, p.Kind],
            required: tuple[str, ...],
            **more: Any,
        ) -> Endpoint:
            return Endpoint(name, handle, (method, path), "TRADE", parameters, required, **more)

        placed = ("symbol", "side", "type")
        cancelled = {
            "symbol": p.symbol,
            "orderId": p.long,
            "origClientOrderId": p.client_id,
            "newClientOrderId": p.client_id,
        }
        tested = ORDER | {"computeCommissionRates": p.boolean}
        replaced = ORDER | {
            "cancelReplaceMode": p.one_of(("STOP_ON_FAILURE", "ALLOW_FAILURE")),
            "cancelNewClientOrderId": p.client_id,
            "cancelOrigClientOrderId": p.client_id,
            "cancelOrderId": p.long,
            "cancelRestrictions": p.RESTRICTIONS,
            "orderRateLimitExceededMode": p.one_of(("DO_NOTHING", "CANCEL_ONLY")),
        }
        above_below = _leg("above", with_side=False, with_quantity=False) | _leg(
            "below", with_side=False, with_quantity=False
        )
        pending = _leg("pending", with_side=True, with_quantity=True)
        pending_pair: dict[str, p.Kind] = {"pendingSide": p.SIDE, "pendingQuantity": p.decimal()}
        for prefix in ("pendingAbove", "pendingBelow"):
            pending_pair |= _leg(prefix, with_side=False, with_quantity=False)
        working = ("workingType", "workingSide", "workingPrice", "workingQuantity")
        return [
            trade("order.place", "POST", "/api/v3/order", self.place, ORDER, placed, orders=1),
            trade(
                "order.test",
                "POST",
                "/api/v3/order/test",
                self.test,
                tested,
                placed,
                weight=lambda args: 20 if args.get("computeCommissionRates") == "true" else 1,
            ),
            trade(
                "order.cancel",
                "DELETE",
                "/api/v3/order",
                self.cancel,
                cancelled | {"cancelRestrictions": p.RESTRICTIONS},
                ("symbol",),
            ),
            trade(
                "openOrders.cancelAll",
                "DELETE",
                "/api/v3/openOrders",
                self.cancel_all,
                {"symbol": p.symbol},
                ("symbol",),
            ),
            trade(
                "order.cancelReplace",
                "POST",
                "/api/v3/order/cancelReplace",
                self.cancel_replace,
                replaced,
                (*placed, "cancelReplaceMode"),
                counts_itself=True,
            ),
            trade(
                "order.amend.keepPriority",
                "PUT",
                "/api/v3/order/amend/keepPriority",
                self.amend,
                cancelled | {"newQty": p.decimal()},
                ("symbol", "newQty"),
                weight=4,
            ),
            trade(
                "orderList.place.oco",
                "POST",
                "/api/v3/orderList/oco",
                self.oco,
                _LIST | {"side": p.SIDE, "quantity": p.decimal()} | above_below,
                ("symbol", "side", "quantity", "aboveType", "belowType"),
                orders=2,
            ),
            trade(
                "orderList.place.oto",
                "POST",
                "/api/v3/orderList/oto",
                self.oto,
                _LIST | _WORKING | pending,
                ("symbol", *working, "pendingType", "pendingSide", "pendingQuantity"),
                orders=2,
            ),
            trade(
                "orderList.place.otoco",
                "POST",
                "/api/v3/orderList/otoco",
                self.otoco,
                _LIST | _WORKING | pending_pair,
                ("symbol", *working, "pendingSide", "pendingQuantity", "pendingAboveType"),
                orders=3,
            ),
            trade(
                "orderList.cancel",
                "DELETE",
                "/api/v3/orderList",
                self.cancel_list,
                {
                    "symbol": p.symbol,
                    "orderListId": p.long,
                    "listClientOrderId": p.client_id,
                    "newClientOrderId": p.client_id,
                },
                ("symbol",),
            ),
        ]


def _named(call: Call, first: str, second: str) -> None:
    if first not in call.args and second not in call.args:
        raise either(second, first)
