"""Every field of the documented examples is in the simulator's answers and events."""

from __future__ import annotations

from typing import Any

from exchange_kernel_binance.simulator import Simulator
from plugins.binance.tests.documented_spot import EVENTS, REST, absent
from plugins.binance.tests.stage import Raw, on_stage

LIMIT = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "40000"}
PAIR = {"Type": "LIMIT_MAKER", "Price": 55_000}, {"Type": "STOP_LOSS", "StopPrice": 45_000}


def test_absent_finds_what_is_missing() -> None:
    """The checker itself: flat, nested and listed fields, and an empty list where the example has items."""
    assert absent("a b{c d} e[f]", {"a": 1, "b": {"c": 1, "d": 2}, "e": [{"f": 1}]}) == []
    assert absent("a b{c d} e[f]", {"b": {"c": 1}, "e": [{"g": 1}]}) == ["a", "b.d", "e.f"]
    assert absent("[a]", []) == ["[]"]


def test_rest_examples() -> None:
    """REST answers, section by section."""

    async def scene(simulator: Simulator) -> None:
        async with Raw(simulator) as raw:
            got: dict[str, Any] = {}

            async def ask(section: str, method: str, path: str, **params: Any) -> Any:
                got[section] = await raw.ok(method, f"/api/v3/{path}", **params)
                return got[section]

            async def look(section: str, path: str, query: str = "symbol=BTCUSDT") -> None:
                status, _, got[section] = await raw.send("GET", f"/api/v3/{path}", query)
                assert status == 200, got[section]

            simulator.act("order.place", "bob", {**LIMIT, "side": "SELL", "quantity": 5, "price": 50_100})
            await ask("New order, ACK", "POST", "order", **LIMIT, newOrderRespType="ACK")
            first = await ask("New order, RESULT", "POST", "order", **LIMIT, newOrderRespType="RESULT")
            market = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": 1}
            await ask("New order, FULL", "POST", "order", **market)
            await ask("Test new order", "POST", "order/test", **LIMIT, computeCommissionRates="true")
            await ask("Query order", "GET", "order", symbol="BTCUSDT", orderId=first["orderId"])
            await ask("Current open orders", "GET", "openOrders", symbol="BTCUSDT")
            await ask("All orders", "GET", "allOrders", symbol="BTCUSDT")
            replaced = await ask(
                "Cancel an Existing Order and Send a New Order",
                "POST",
                "order/cancelReplace",
                **LIMIT,
                cancelReplaceMode="STOP_ON_FAILURE",
                cancelOrderId=first["orderId"],
            )
            number = {"symbol": "BTCUSDT", "orderId": replaced["newOrderResponse"]["orderId"]}
            await ask("Order Amend Keep Priority", "PUT", "order/amend/keepPriority", **number, newQty="0.5")
            await ask("Query Order Amendments", "GET", "order/amendments", **number)
            await ask("Cancel order", "DELETE", "order", **number)
            above, below = (
                {f"{leg}{name}": value for name, value in each.items()}
                for leg, each in zip(("above", "below"), PAIR, strict=True)
            )
            oco = await ask(
                "New Order list - OCO",
                "POST",
                "orderList/oco",
                symbol="BTCUSDT",
                side="SELL",
                quantity=1,
                **above,
                **below,
            )
            working = {
                "symbol": "BTCUSDT",
                "workingType": "LIMIT",
                "workingSide": "BUY",
                "workingPrice": 40_000,
                "workingQuantity": 1,
                "workingTimeInForce": "GTC",
                "pendingSide": "SELL",
                "pendingQuantity": 1,
            }
            await ask("New Order list - OTO", "POST", "orderList/oto", **working, pendingType="MARKET")
            pending = {f"pending{name[0].upper()}{name[1:]}": value for name, value in {**above, **below}.items()}
            await ask("New Order list - OTOCO", "POST", "orderList/otoco", **working, **pending)
            await ask("Query Order list", "GET", "orderList", orderListId=oco["orderListId"])
            await ask("Cancel Order list", "DELETE", "orderList", symbol="BTCUSDT", orderListId=oco["orderListId"])
            await ask("Account information", "GET", "account")
            await ask("Account trade list", "GET", "myTrades", symbol="BTCUSDT")
            await ask("Query Unfilled Order Count", "GET", "rateLimit/order")
            await ask("Query Commission Rates", "GET", "account/commission", symbol="BTCUSDT")
            mine = await raw.order("SELL", "LIMIT", quantity=1, price=50_000)
            await raw.order("BUY", "LIMIT", quantity=1, price=50_000, selfTradePreventionMode="EXPIRE_MAKER")
            await ask("Query Prevented Matches", "GET", "myPreventedMatches", symbol="BTCUSDT", orderId=mine["orderId"])
            await look("Exchange information", "exchangeInfo", "")
            await look("Order book", "depth")
            await look("Recent trades list", "trades")
            await look("Compressed/Aggregate trades list", "aggTrades")
            await look("Current average price", "avgPrice")
            await look("24hr ticker price change statistics", "ticker/24hr")
            await look("Symbol order book ticker", "ticker/bookTicker")
            assert {f"rest-api.md {section}" for section in got} == set(REST)
            missing = {name: absent(shape, got[name.removeprefix("rest-api.md ")]) for name, shape in REST.items()}
            assert {name: fields for name, fields in missing.items() if fields} == {}

    on_stage(scene)


def test_event_examples() -> None:
    """User stream events, section by section, conditional fields with what they are conditional on."""

    async def scene(simulator: Simulator) -> None:
        async with Raw(simulator) as raw:
            listener = await raw.listen()
            await raw.order("BUY", "LIMIT", quantity=1, price=40_000, strategyId=1, strategyType=1_000_000)
            plain = await listener.until("executionReport", x="NEW")
            position = await listener.until("outboundAccountPosition")
            await raw.order("SELL", "STOP_LOSS", quantity=1, trailingDelta=100)
            trailing = await listener.until("executionReport", o="STOP_LOSS")
            await raw.order("SELL", "LIMIT", quantity=1, price=40_000, selfTradePreventionMode="EXPIRE_TAKER")
            prevented = await listener.until("executionReport", x="TRADE_PREVENTION")
            await raw.order("BUY", "LIMIT", quantity=1, price=39_000, timeInForce="IOC")
            expired = await listener.until("executionReport", x="EXPIRED")
            await raw.ok(
                "POST",
                "/api/v3/orderList/oco",
                symbol="BTCUSDT",
                side="SELL",
                quantity=1,
                aboveType="LIMIT_MAKER",
                abovePrice=55_000,
                belowType="STOP_LOSS",
                belowStopPrice=45_000,
            )
            listed = await listener.until("listStatus")
            simulator.spot.state.deposit("alice", "BTC", simulator.spot.state.last["BTCUSDT"])
            deposited = await listener.until("balanceUpdate")
            got = {
                "Account Update": position,
                "Balance Update": deposited,
                "Order Update": plain,
                "Conditional Fields, STP": prevented,
                "Conditional Fields, trailing": trailing,
                "Conditional Fields, strategy": plain,
                "Conditional Fields, expiry": expired,
                "listStatus": listed,
            }
            missing = {
                name: absent(shape, got[name.removeprefix("user-data-stream.md ")]) for name, shape in EVENTS.items()
            }
            assert {name: fields for name, fields in missing.items() if fields} == {}

    on_stage(scene)
