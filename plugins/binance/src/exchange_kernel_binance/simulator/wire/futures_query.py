"""Futures requests about an account and the market (USD-M futures API, Account and Market Data)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from exchange_kernel_binance.simulator.errors import ApiError, either, no_such_order
from exchange_kernel_binance.simulator.futures import reports
from exchange_kernel_binance.simulator.futures.exchange import FuturesExchange
from exchange_kernel_binance.simulator.numbers import ZERO
from exchange_kernel_binance.simulator.wire import parameters as p
from exchange_kernel_binance.simulator.wire.futures_trade import BY_ID
from exchange_kernel_binance.simulator.wire.gate import Call, Endpoint
from exchange_kernel_binance.simulator.wire.limits import Limits
from exchange_kernel_binance.simulator.wire.spot_query import limited

_WEEK = 7 * 86_400_000


class FuturesQuery:
    """Handlers over one exchange."""

    def __init__(self, exchange: FuturesExchange, limits: Limits) -> None:
        self.exchange = exchange
        self.state = exchange.state
        self.limits = limits

    def order(self, call: Call) -> Any:
        if "orderId" not in call.args and "origClientOrderId" not in call.args:
            raise either("origClientOrderId", "orderId")
        return self.exchange.query(
            call.account, call.args["symbol"], call.get("orderId"), call.get("origClientOrderId")
        )

    def open_order(self, call: Call) -> Any:
        reply = self.order(call)
        if reply["status"] not in ("NEW", "PARTIALLY_FILLED"):
            raise no_such_order()
        return reply

    def open_orders(self, call: Call) -> Any:
        symbol = self._symbol(call)
        return [
            reports.queried(order, self.state.contracts[order.symbol])
            for order in self.state.open_orders(call.account, symbol)
            if self.exchange.visible(order)
        ]

    def _symbol(self, call: Call) -> str | None:
        return self.state.contract(call.args["symbol"]).symbol if "symbol" in call.args else None

    def _window(self, call: Call) -> tuple[int, int]:
        start, end = call.get("startTime"), call.get("endTime")
        if start is not None and end is not None and end - start > _WEEK:
            raise ApiError(-4166, "Search window is restricted to recent 7 days only.")
        return start or 0, end or 2**63

    def all_orders(self, call: Call) -> Any:
        start, end = self._window(call)
        contract = self.state.contract(call.args["symbol"])
        return [
            reports.queried(order, contract)
            for order in self.state.orders.values()
            if (order.account, order.symbol) == (call.account, contract.symbol)
            and self.exchange.visible(order)
            and order.order_id >= call.get("orderId", 0)
            and start <= order.created <= end
        ][-limited(call) :]

    def trades(self, call: Call) -> Any:
        start, end = self._window(call)
        symbol = self._symbol(call)
        return [
            reports.traded(trade, self.state.contracts[trade.symbol])
            for trade in self.state.trades
            if trade.account == call.account
            and symbol in (None, trade.symbol)
            and call.get("orderId", trade.order_id) == trade.order_id
            and trade.trade_id >= call.get("fromId", 0)
            and start <= trade.time <= end
        ][-limited(call) :]

    def algo(self, call: Call) -> Any:
        if "algoId" not in call.args and "clientAlgoId" not in call.args:
            raise either("clientAlgoId", "algoId")
        order = self.exchange.find_algo(call.account, call.get("algoId"), call.get("clientAlgoId"))
        if order is None:
            raise no_such_order()
        return reports.algo_queried(order, self.state.contracts[order.request.symbol], alone=True)

    def open_algos(self, call: Call) -> Any:
        return [
            reports.algo_queried(order, self.state.contracts[order.request.symbol], alone=False)
            for order in self.state.open_algos(call.account, self._symbol(call))
        ]

    def all_algos(self, call: Call) -> Any:
        return [
            reports.algo_queried(order, self.state.contracts[order.request.symbol], alone=False)
            for order in self.state.algos.values()
            if (order.account, order.request.symbol) == (call.account, call.args["symbol"])
        ]

    def amendments(self, call: Call) -> Any:
        contract = self.state.contract(call.args["symbol"])
        order = self.exchange.find(call.account, contract.symbol, call.get("orderId"), call.get("origClientOrderId"))
        return [
            {
                "amendmentId": each.number,
                "symbol": contract.symbol,
                "pair": contract.symbol,
                "orderId": order.order_id,
                "clientOrderId": order.client_id,
                "time": each.time,
                "amendment": {
                    "price": {"before": contract.price(each.old_price), "after": contract.price(each.new_price)},
                    "origQty": {
                        "before": contract.amount(each.old_quantity),
                        "after": contract.amount(each.new_quantity),
                    },
                    "count": each.number,
                },
            }
            for each in (order.modifications if order is not None else ())
            if order is not None
        ]

    def positions(self, call: Call) -> Any:
        return self.exchange.positions(call.account, call.get("symbol"))

    def old_positions(self, call: Call) -> Any:
        return self.exchange.positions(call.account, call.get("symbol"), old=True)

    def account(self, call: Call) -> Any:
        return self.exchange.account(call.account)

    def old_account(self, call: Call) -> Any:
        return self.exchange.account(call.account, old=True)

    def balances(self, call: Call) -> Any:
        return self.exchange.balances(call.account)

    def leverage(self, call: Call) -> Any:
        return self.exchange.set_leverage(call.account, call.args["symbol"], call.args["leverage"])

    def margin_type(self, call: Call) -> Any:
        return self.exchange.set_margin_type(call.account, call.args["symbol"], call.args["marginType"] == "ISOLATED")

    def mode(self, call: Call) -> Any:
        return {"dualSidePosition": self.state.accounts[call.account].hedge}

    def account_config(self, call: Call) -> Any:
        owner = self.state.accounts[call.account]
        can = {"feeTier": 0, "canTrade": owner.can_trade, "canDeposit": True, "canWithdraw": True}
        modes = {"dualSidePosition": owner.hedge, "multiAssetsMargin": owner.multi_assets}
        return can | modes | {"updateTime": 0, "tradeGroupId": -1}

    def symbol_config(self, call: Call) -> Any:
        owner, symbol = self.state.accounts[call.account], self._symbol(call)
        return [
            {
                "symbol": name,
                "marginType": "ISOLATED" if owner.setting(name).isolated else "CROSSED",
                "isAutoAddMargin": False,
                "leverage": owner.setting(name).leverage,
                "maxNotionalValue": "1000000",
            }
            for name in self.state.contracts
            if symbol in (None, name)
        ]

    def set_mode(self, call: Call) -> Any:
        return self.exchange.set_hedge(call.account, call.args["dualSidePosition"])

    def multi(self, call: Call) -> Any:
        return {"multiAssetsMargin": self.state.accounts[call.account].multi_assets}

    def set_multi(self, call: Call) -> Any:
        return self.exchange.set_multi_assets(call.account, call.args["multiAssetsMargin"])

    def brackets(self, call: Call) -> Any:
        symbol = self._symbol(call)
        return [
            {
                "symbol": each.symbol,
                "notionalCoef": 1,
                "brackets": [
                    {
                        "bracket": 1,
                        "initialLeverage": each.max_leverage,
                        "notionalCap": 1_000_000,
                        "notionalFloor": 0,
                        "maintMarginRatio": float(each.maintenance),
                        "cum": 0.0,
                    }
                ],
            }
            for each in self.state.contracts.values()
            if symbol in (None, each.symbol)
        ]

    def commission(self, call: Call) -> Any:
        owner = self.state.accounts[call.account]
        return {
            "symbol": self.state.contract(call.args["symbol"]).symbol,
            "makerCommissionRate": str(owner.maker_rate),
            "takerCommissionRate": str(owner.taker_rate),
            "rpiCommissionRate": str(owner.maker_rate),
        }

    # The market.

    def ping(self, call: Call) -> Any:
        return {}

    def time(self, call: Call) -> Any:
        return {"serverTime": self.state.clock.now()}

    def info(self, call: Call) -> Any:
        return {
            "timezone": "UTC",
            "serverTime": self.state.clock.now(),
            "futuresType": "U_MARGINED",
            "rateLimits": [rule.shown() for rule in self.limits.rules],
            "exchangeFilters": [],
            "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
            "symbols": [contract.info() for contract in self.state.contracts.values()],
        }

    def depth(self, call: Call) -> Any:
        contract = self.state.contract(call.args["symbol"])
        book, now = self.state.books[contract.symbol], self.state.clock.now()
        limit = call.get("limit", 500)
        sides = {
            name: [[contract.price(price), contract.amount(amount)] for price, amount in book.depth(side, limit)]
            for name, side in (("bids", "BUY"), ("asks", "SELL"))
        }
        return {"lastUpdateId": book.update_id, "E": now, "T": now, **sides}

    def _per_symbol(self, call: Call, show: Callable[[str], dict[str, Any]]) -> Any:
        symbol = self._symbol(call)
        return show(symbol) if symbol is not None else [show(each) for each in self.state.contracts]

    def price(self, call: Call) -> Any:
        return self._per_symbol(
            call,
            lambda name: {
                "symbol": name,
                "price": self.state.contracts[name].price(self.state.last[name]),
                "time": self.state.clock.now(),
            },
        )

    def book_ticker(self, call: Call) -> Any:
        def best(name: str) -> dict[str, Any]:
            contract, book = self.state.contracts[name], self.state.books[name]
            bid = (book.depth("BUY", 1) or [(ZERO, ZERO)])[0]
            ask = (book.depth("SELL", 1) or [(ZERO, ZERO)])[0]
            return {
                "symbol": name,
                "bidPrice": contract.price(bid[0]),
                "bidQty": contract.amount(bid[1]),
                "askPrice": contract.price(ask[0]),
                "askQty": contract.amount(ask[1]),
                "time": self.state.clock.now(),
            }

        return self._per_symbol(call, best)

    def premium(self, call: Call) -> Any:
        def mark(name: str) -> dict[str, Any]:
            price, now = f"{self.state.mark[name]:.8f}", self.state.clock.now()
            return {
                "symbol": name,
                "markPrice": price,
                "indexPrice": price,
                "estimatedSettlePrice": price,
                "lastFundingRate": "0.00000000",
                "interestRate": "0.00010000",
                "nextFundingTime": (now // 28_800_000 + 1) * 28_800_000,
                "time": now,
            }

        return self._per_symbol(call, mark)

    def endpoints(self) -> list[Endpoint]:
        """Every request of this room."""

        def ask(
            name: str,
            path: str,
            handle: Callable[[Call], Any],
            parameters: dict[str, p.Kind] | None = None,
            required: tuple[str, ...] = (),
            weight: int = 5,
            security: str = "USER_DATA",
            method: str = "GET",
        ) -> Endpoint:
            route = (method, f"/fapi/{path}")
            return Endpoint(name, handle, route, security, parameters or {}, required, weight)

        symbol: dict[str, p.Kind] = {"symbol": p.symbol}
        window: dict[str, p.Kind] = {"startTime": p.long, "endTime": p.long, "limit": p.long}
        needed = ("symbol",)
        algo_id: dict[str, p.Kind] = {"algoId": p.long, "clientAlgoId": p.wide_client_id} | symbol
        algos = symbol | window | {"algoId": p.long, "algoType": p.anything, "page": p.long}
        market: dict[str, Any] = {"security": "", "weight": 1}
        change: dict[str, Any] = {"security": "TRADE", "method": "POST", "weight": 1}
        return [
            ask("order.status", "v1/order", self.order, BY_ID, needed, 1),
            ask("openOrder.status", "v1/openOrder", self.open_order, BY_ID, needed, 1),
            ask("openOrders.status", "v1/openOrders", self.open_orders, symbol, (), 1),
            ask("allOrders", "v1/allOrders", self.all_orders, symbol | window | {"orderId": p.long}, needed),
            ask(
                "userTrades",
                "v1/userTrades",
                self.trades,
                symbol | window | {"orderId": p.long, "fromId": p.long},
            ),
            ask("algoOrder.status", "v1/algoOrder", self.algo, algo_id, (), 1),
            ask("openAlgoOrders", "v1/openAlgoOrders", self.open_algos, symbol | {"algoType": p.anything}, (), 1),
            ask("allAlgoOrders", "v1/allAlgoOrders", self.all_algos, algos, needed),
            ask("orderAmendment", "v1/orderAmendment", self.amendments, BY_ID | window, needed, 1),
            ask("v2/account.position", "v3/positionRisk", self.positions, symbol),
            ask("account.position", "v2/positionRisk", self.old_positions, symbol),
            ask("v2/account.status", "v3/account", self.account),
            ask("account.status", "v2/account", self.old_account),
            ask("v2/account.balance", "v3/balance", self.balances),
            ask("account.balance", "v2/balance", self.balances),
            ask("positionMode", "v1/positionSide/dual", self.mode, weight=30),
            ask("accountConfig", "v1/accountConfig", self.account_config),
            ask("symbolConfig", "v1/symbolConfig", self.symbol_config, symbol),
            ask("multiAssetsMode", "v1/multiAssetsMargin", self.multi, weight=30),
            ask("leverageBracket", "v1/leverageBracket", self.brackets, symbol, weight=1),
            ask("commissionRate", "v1/commissionRate", self.commission, symbol, needed, 20),
            ask(
                "leverage",
                "v1/leverage",
                self.leverage,
                symbol | {"leverage": p.long},
                ("symbol", "leverage"),
                **change,
            ),
            ask(
                "marginType",
                "v1/marginType",
                self.margin_type,
                symbol | {"marginType": p.one_of(("ISOLATED", "CROSSED"))},
                ("symbol", "marginType"),
                **change,
            ),
            ask(
                "positionMode.set",
                "v1/positionSide/dual",
                self.set_mode,
                {"dualSidePosition": p.boolean},
                ("dualSidePosition",),
                **change,
            ),
            ask(
                "multiAssetsMode.set",
                "v1/multiAssetsMargin",
                self.set_multi,
                {"multiAssetsMargin": p.boolean},
                ("multiAssetsMargin",),
                **change,
            ),
            ask("ping", "v1/ping", self.ping, **market),
            ask("time", "v1/time", self.time, **market),
            ask("exchangeInfo", "v1/exchangeInfo", self.info, **market),
            ask("depth", "v1/depth", self.depth, symbol | {"limit": p.long}, needed, **market),
            ask("ticker.price", "v1/ticker/price", self.price, symbol, **market),
            ask("ticker.book", "v1/ticker/bookTicker", self.book_ticker, symbol, **market),
            ask("premiumIndex", "v1/premiumIndex", self.premium, symbol, **market),
        ]
