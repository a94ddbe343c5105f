"""Futures requests that place, change and end orders (USD-M futures API, Trade)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from exchange_kernel_binance.simulator.errors import ApiError, either
from exchange_kernel_binance.simulator.futures import reports
from exchange_kernel_binance.simulator.futures.exchange import FuturesExchange
from exchange_kernel_binance.simulator.futures.orders import FuturesOrder, FuturesRequest
from exchange_kernel_binance.simulator.wire import parameters as p
from exchange_kernel_binance.simulator.wire.gate import Call, Endpoint
from exchange_kernel_binance.simulator.wire.parameters import read

PLAIN = ("LIMIT", "MARKET")
CONDITIONAL = ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")
MOVED = "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead."

_TYPE = p.one_of((*PLAIN, *CONDITIONAL), (-1116, "Invalid orderType."))
_TIF = p.one_of(("GTC", "IOC", "FOK", "GTX", "GTD"), (-1115, "Invalid timeInForce."))
_COMMON: dict[str, p.Kind] = {
    "symbol": p.symbol,
    "side": p.SIDE,
    "positionSide": p.one_of(("BOTH", "LONG", "SHORT"), (-4117, "Invalid position side.")),
    "type": _TYPE,
    "timeInForce": _TIF,
    "quantity": p.decimal(),
    "price": p.decimal(),
    "reduceOnly": p.boolean,
    "selfTradePreventionMode": p.one_of(("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")),
    "priceMatch": p.one_of(("NONE",)),
    "goodTillDate": p.long,
    "newOrderRespType": p.one_of(("ACK", "RESULT")),
    "workingType": p.one_of(("MARK_PRICE", "CONTRACT_PRICE")),
    "priceProtect": p.boolean,
}
ORDER = _COMMON | {"newClientOrderId": p.wide_client_id}
ALGO = _COMMON | {
    "algoType": p.one_of(("CONDITIONAL",)),
    "clientAlgoId": p.wide_client_id,
    "triggerPrice": p.decimal(),
    "activatePrice": p.decimal(),
    "callbackRate": p.decimal(),
    "closePosition": p.boolean,
}
MODIFY: dict[str, p.Kind] = {
    "symbol": p.symbol,
    "orderId": p.long,
    "origClientOrderId": p.wide_client_id,
    "side": p.SIDE,
    "quantity": p.decimal(),
    "price": p.decimal(),
    "priceMatch": p.one_of(("NONE",)),
}
BY_ID: dict[str, p.Kind] = {"symbol": p.symbol, "orderId": p.long, "origClientOrderId": p.wide_client_id}


def request_of(args: dict[str, Any], client_id: str) -> FuturesRequest:
    """The order that the parameters describe."""
    return FuturesRequest(
        args["symbol"],
        args["side"],
        args["type"],
        args.get("quantity"),
        args.get("price"),
        args.get("timeInForce"),
        args.get("positionSide", "BOTH"),
        args.get("reduceOnly", False),
        args.get("closePosition", False),
        args.get(client_id),
        args.get("selfTradePreventionMode", "NONE"),
        args.get("goodTillDate", 0),
        args.get("triggerPrice"),
        args.get("workingType", "CONTRACT_PRICE"),
        args.get("priceProtect", False),
        args.get("activatePrice"),
        args.get("callbackRate"),
    )


class FuturesTrade:
    """Handlers over one exchange."""

    def __init__(self, exchange: FuturesExchange) -> None:
        self.exchange = exchange

    def _shown(self, order: FuturesOrder) -> dict[str, Any]:
        return reports.placed(order, self.exchange.state.contract(order.symbol))

    def _placed(self, account: str, args: dict[str, Any]) -> Any:
        if args["type"] not in PLAIN:
            raise ApiError(-4120, MOVED)
        order = self.exchange.place(account, request_of(args, "newClientOrderId"))
        reply = self._shown(order)
        if args.get("newOrderRespType", "ACK") == "ACK":
            # An ACK is sent before anything has traded.
            zero = self.exchange.state.contract(order.symbol)
            reply |= {
                "status": "NEW",
                "executedQty": zero.amount(order.quantity * 0),
                "cumQty": zero.amount(order.quantity * 0),
                "cumQuote": "0.00000",
                "avgPrice": zero.price(order.price * 0),
            }
        return reply

    def place(self, call: Call) -> Any:
        return self._placed(call.account, call.args)

    def test(self, call: Call) -> Any:
        if call.args["type"] not in PLAIN:
            raise ApiError(-4120, MOVED)
        request = request_of(call.args, "newClientOrderId")
        self.exchange.check(call.account, request, self.exchange.state.contract(request.symbol))
        return {}

    def _modified(self, account: str, args: dict[str, Any]) -> Any:
        if "orderId" not in args and "origClientOrderId" not in args:
            raise either("origClientOrderId", "orderId")
        order = self.exchange.modify(
            account,
            args["symbol"],
            args.get("orderId"),
            args.get("origClientOrderId"),
            args["side"],
            args["quantity"],
            args["price"],
        )
        return self._shown(order) | {"pair": order.symbol, "modifyId": len(order.modifications)}

    def modify(self, call: Call) -> Any:
        return self._modified(call.account, call.args)

    def cancel(self, call: Call) -> Any:
        if "orderId" not in call.args and "origClientOrderId" not in call.args:
            raise either("origClientOrderId", "orderId")
        order = self.exchange.cancel(
            call.account, call.args["symbol"], call.get("orderId"), call.get("origClientOrderId")
        )
        return self._shown(order)

    def cancel_all(self, call: Call) -> Any:
        self.exchange.cancel_all(call.account, call.args["symbol"])
        return {"code": 200, "msg": "The operation of cancel all open order is done."}

    def _each(self, call: Call, known: dict[str, p.Kind], required: tuple[str, ...], act: Callable[..., Any]) -> Any:
        try:
            items = json.loads(call.args["batchOrders"], parse_float=str)
        except ValueError:
            raise ApiError(-1135, "JSON sent for parameter 'batchOrders' is not valid") from None
        if not isinstance(items, list) or not 1 <= len(items) <= 5:
            raise ApiError(-4082, "Invalid number of batch place orders.")
        replies = []
        for item in items:
            pairs = [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in item.items()]
            try:
                replies.append(act(call.account, read(pairs, known, required, frozenset({"recvWindow"}))))
            except ApiError as error:
                replies.append(error.payload())
        return replies

    def place_many(self, call: Call) -> Any:
        return self._each(call, ORDER, ("symbol", "side", "type"), self._placed)

    def modify_many(self, call: Call) -> Any:
        return self._each(call, MODIFY, ("symbol", "side", "quantity", "price"), self._modified)

    def cancel_many(self, call: Call) -> Any:
        # ccxt writes both names in lower case, and is served.
        by_id = json.loads(call.get("orderIdList") or call.get("orderidlist", "[]"))
        by_name = json.loads(call.get("origClientOrderIdList") or call.get("origclientorderidlist", "[]"))
        replies = []
        for order_id, name in [(int(each), None) for each in by_id] + [(None, str(each)) for each in by_name]:
            try:
                order = self.exchange.cancel(call.account, call.args["symbol"], order_id, name)
                replies.append(self._shown(order))
            except ApiError as error:
                replies.append(error.payload())
        return replies

    def place_algo(self, call: Call) -> Any:
        if call.args["type"] not in CONDITIONAL:
            raise ApiError(-1116, "Invalid orderType.")
        order = self.exchange.place_algo(call.account, request_of(call.args, "clientAlgoId"))
        return reports.algo_placed(order, self.exchange.state.contract(order.request.symbol))

    def cancel_algo(self, call: Call) -> Any:
        if "algoId" not in call.args and "clientAlgoId" not in call.args:
            raise either("clientAlgoId", "algoId")
        order = self.exchange.cancel_algo(call.account, call.get("algoId"), call.get("clientAlgoId"))
        return {"algoId": order.algo_id, "clientAlgoId": order.client_id, "code": "200", "msg": "success"}

    def cancel_algos(self, call: Call) -> Any:
        for order in self.exchange.state.open_algos(call.account, call.args["symbol"]):
            self.exchange.cancel_algo(call.account, order.algo_id, None)
        return {"code": 200, "msg": "The operation of cancel all open order is done."}

    def countdown(self, call: Call) -> Any:
        return self.exchange.countdown(call.account, call.args["symbol"], call.args["countdownTime"])

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
            return Endpoint(name, handle, (method, f"/fapi/v1/{path}"), "TRADE", parameters, required, **more)

        symbol: dict[str, p.Kind] = {"symbol": p.symbol}
        placed = ("symbol", "side", "type")
        changed = ("symbol", "side", "quantity", "price")
        batch: dict[str, p.Kind] = {"batchOrders": p.anything}
        names = ("orderIdList", "origClientOrderIdList", "orderidlist", "origclientorderidlist")
        lists = symbol | dict.fromkeys(names, p.anything)
        algo_id: dict[str, p.Kind] = {"algoId": p.long, "clientAlgoId": p.wide_client_id}
        return [
            trade("order.place", "POST", "order", self.place, ORDER, placed, orders=1, weight=0),
            trade("order.test", "POST", "order/test", self.test, ORDER, placed),
            trade("order.modify", "PUT", "order", self.modify, MODIFY, changed, orders=1),
            trade("order.cancel", "DELETE", "order", self.cancel, BY_ID, ("symbol",)),
            trade("batchOrders.place", "POST", "batchOrders", self.place_many, batch, tuple(batch), weight=5, orders=1),
            trade("batchOrders.modify", "PUT", "batchOrders", self.modify_many, batch, tuple(batch), weight=5),
            trade("batchOrders.cancel", "DELETE", "batchOrders", self.cancel_many, lists, ("symbol",)),
            trade("openOrders.cancelAll", "DELETE", "allOpenOrders", self.cancel_all, symbol, ("symbol",)),
            trade("algoOrder.place", "POST", "algoOrder", self.place_algo, ALGO, ("algoType", *placed), orders=1),
            trade("algoOrder.cancel", "DELETE", "algoOrder", self.cancel_algo, algo_id | symbol, ()),
            trade("algoOrders.cancelAll", "DELETE", "algoOpenOrders", self.cancel_algos, symbol, ("symbol",)),
            trade(
                "countdownCancelAll",
                "POST",
                "countdownCancelAll",
                self.countdown,
                symbol | {"countdownTime": p.long},
                ("symbol", "countdownTime"),
                weight=10,
            ),
        ]
