"""ccxt, Binance's own USD-M SDK and python-binance, unmodified, against the simulated futures exchange."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from exchange_kernel_binance.simulator import Simulator
from plugins.binance.tests.clients import AsyncClient, BinanceSocketManager, ccxt, usds
from plugins.binance.tests.stage import absent_fields, on_stage, unknown_fields
from plugins.binance.tests.test_client_ccxt import WAYS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SYMBOL = "BTC/USDT:USDT"
LIMIT = {"symbol": "BTCUSDT", "type": "LIMIT", "timeInForce": "GTC"}
# In the documents (New Order, Query Order, Account, Exchange Information) and not in these of the SDK's models.
DOCUMENTED = {"avgPrice", "cumQuote", "cumQty", "futuresType", "pair", "modifyId"}
# Models hold the union of what is documented: COIN-M's fields, those of trailing orders that the plain order
# service had, `icebergQuantity` (null in the examples), a second form of the amendment.
# Filters have different fields each.
ELSEWHERE = {
    "activatePrice",
    "baseQty",
    "cumBase",
    "icebergQuantity",
    "marginAsset",
    "modifyId",
    "pair",
    "priceRate",
}
# Of trailing orders (AP, cr), of a modifyId (M), of funding (S), of the other setting (ai, ac); what `ia` means is
# not documented.
CONDITIONAL = {"o.AP", "o.cr", "o.M", "a.S", "ai", "ac", "o.ia"}


def crowd(simulator: Simulator, side: str, quantity: str, price: str) -> None:
    order = {**LIMIT, "side": side, "quantity": quantity, "price": price}
    simulator.act("order.place", "crowd", order, market="futures")


@WAYS
def test_ccxt(redirect: Any) -> None:
    """Orders of every kind, positions, settings, and the user stream through ccxt.pro."""

    async def play(simulator: Simulator) -> None:
        key = simulator.keys_of["alice"]
        options = {"fetchMarkets": {"types": ["linear"]}, "fetchCurrencies": False, "fetchMargins": False}
        options |= {"warnOnFetchOpenOrdersWithoutSymbol": False}
        exchange = ccxt.pro.binanceusdm(
            {"apiKey": key.key, "secret": key.secret, "enableRateLimit": False, "newUpdates": True, "options": options}
        )
        redirect(exchange, simulator)
        exchange.own_session = True
        try:
            await exchange.load_markets()
            crowd(simulator, "SELL", "5", "50010")
            watched = asyncio.ensure_future(exchange.watch_orders(SYMBOL))
            while not simulator.futures.users.subscriptions:
                await asyncio.sleep(0.01)
            limit = await exchange.create_order(SYMBOL, "limit", "buy", 0.1, 49_000, {"newClientOrderId": "x-1"})
            assert (await asyncio.wait_for(watched, 5))[-1]["id"] == limit["id"]
            assert (await exchange.fetch_order(limit["id"], SYMBOL))["status"] == "open"
            edited = await exchange.edit_order(limit["id"], SYMBOL, "limit", "buy", 0.2, 48_000)
            assert (edited["id"], edited["price"]) == (limit["id"], 48_000)
            for params in ({"postOnly": True}, {"timeInForce": "IOC"}, {"timeInForce": "FOK"}):
                await exchange.create_order(SYMBOL, "limit", "buy", 0.1, 48_000, params)
            await exchange.create_order(SYMBOL, "market", "buy", 0.1)
            position = (await exchange.fetch_positions([SYMBOL]))[0]
            assert (position["contracts"], position["side"], position["entryPrice"]) == (0.1, "long", 50_010)
            for params in (
                {"stopLossPrice": 45_000, "reduceOnly": True},
                {"takeProfitPrice": 55_000, "reduceOnly": True},
                {"trailingPercent": 1},
            ):
                stop = await exchange.create_order(SYMBOL, "market", "sell", 0.1, None, params)
                await exchange.fetch_order(stop["id"], SYMBOL, {"trigger": True})
                await exchange.cancel_order(stop["id"], SYMBOL, {"trigger": True})
            await exchange.create_order(SYMBOL, "limit", "sell", 0.1, 44_000, {"stopLossPrice": 45_000})
            assert len(await exchange.fetch_open_orders(SYMBOL, None, None, {"trigger": True})) == 1
            batch = await exchange.create_orders(
                [
                    {"symbol": SYMBOL, "type": "limit", "side": "buy", "amount": 0.1, "price": price}
                    for price in (47_000, 47_100)
                ]
            )
            await exchange.cancel_orders([each["id"] for each in batch], SYMBOL)
            await exchange.set_leverage(10, SYMBOL)
            await exchange.cancel_all_orders(SYMBOL)
            assert await exchange.fetch_open_orders(SYMBOL) == []
            assert len(await exchange.fetch_my_trades(SYMBOL)) == 1
            assert (await exchange.fetch_balance())["USDT"]["total"] < 100_000
            with pytest.raises(ccxt.OrderNotFound):
                await exchange.fetch_order("99999", SYMBOL)
        finally:
            await exchange.close()

    on_stage(play)


def with_sdk(scene: Callable[[Simulator, Any], Awaitable[None]]) -> None:
    async def play(simulator: Simulator) -> None:
        key = simulator.keys_of["alice"]
        module = usds.derivatives_trading_usds_futures
        settings = module.ConfigurationRestAPI(
            api_key=key.key, api_secret=key.secret, base_path=simulator.url, timeout=5_000, retries=0
        )
        api = usds.DerivativesTradingUsdsFutures(config_rest_api=settings).rest_api

        async def call(name: str, **params: Any) -> Any:
            data = (await asyncio.to_thread(getattr(api, name), **params)).data()
            unknown = [each for each in unknown_fields(data) if each.rpartition(".")[2] not in DOCUMENTED]
            assert unknown == [], (name, unknown)
            lacking = {each for each in absent_fields(data) if each.rpartition(".")[2] not in ELSEWHERE}
            assert {each for each in lacking if ".filters." not in each} == set(), name
            return getattr(data, "actual_instance", None) or data

        try:
            await scene(simulator, call)
        finally:
            api._session.close()

    on_stage(play)


def test_sdk_rest() -> None:
    """Every call of the SDK that an order needs; its models know every field."""

    async def scene(simulator: Simulator, call: Any) -> None:
        crowd(simulator, "SELL", "5", "50010")
        order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "time_in_force": "GTC", "quantity": 0.1}
        placed = await call("new_order", **order, price=49_000, new_order_resp_type="RESULT")
        number = {"symbol": "BTCUSDT", "order_id": placed.order_id}
        assert (await call("query_order", **number)).status == "NEW"
        modified = await call("modify_order", **number, side="BUY", quantity=0.2, price=48_000)
        assert (modified.order_id, modified.price) == (placed.order_id, "48000.00")
        assert len(await call("get_order_modify_history", **number)) == 1
        assert len(await call("current_all_open_orders")) == 1
        assert (await call("cancel_order", **number)).status == "CANCELED"
        await call("new_order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity=0.1)
        assert (await call("position_information_v3"))[0].position_amt == "0.100"
        assert len(await call("position_information_v2")) == 2
        algo = await call(
            "new_algo_order",
            algo_type="CONDITIONAL",
            symbol="BTCUSDT",
            side="SELL",
            type="STOP_MARKET",
            quantity=0.1,
            trigger_price=45_000,
            reduce_only="true",
        )
        assert (await call("query_algo_order", algo_id=algo.algo_id)).algo_status == "NEW"
        assert len(await call("current_all_algo_open_orders")) == 1
        assert len(await call("query_all_algo_orders", symbol="BTCUSDT")) == 1
        await call("cancel_algo_order", algo_id=algo.algo_id)
        await call("account_information_v3")
        await call("account_information_v2")
        assert len(await call("futures_account_balance_v3")) == 1
        assert len(await call("account_trade_list", symbol="BTCUSDT")) == 1
        assert len(await call("all_orders", symbol="BTCUSDT")) == 2
        assert (await call("change_initial_leverage", symbol="BTCUSDT", leverage=10)).leverage == 10
        assert (await call("get_current_position_mode")).dual_side_position is False
        await call("change_margin_type", symbol="ETHUSDT", margin_type="ISOLATED")
        await call("user_commission_rate", symbol="BTCUSDT")
        await call("auto_cancel_all_open_orders", symbol="BTCUSDT", countdown_time=60_000)
        await call("cancel_all_open_orders", symbol="BTCUSDT")
        assert len((await call("exchange_information")).symbols) == 2
        await call("order_book", symbol="BTCUSDT")
        await call("mark_price", symbol="BTCUSDT")
        await call("symbol_price_ticker", symbol="BTCUSDT")

    with_sdk(scene)


def test_sdk_user_stream() -> None:
    """Its user stream hears orders, trades, positions, conditional orders and the end of the key, all fields known."""

    async def scene(simulator: Simulator, call: Any) -> None:
        key = (await call("start_user_data_stream")).listen_key
        module = usds.derivatives_trading_usds_futures
        settings = module.ConfigurationWebSocketStreams(stream_url=simulator.ws_url)
        streams = usds.DerivativesTradingUsdsFutures(config_ws_streams=settings).websocket_streams
        connection = await streams.create_connection()
        try:
            events: asyncio.Queue[Any] = asyncio.Queue()
            stream = await connection.user_data(key)
            stream.on("message", events.put_nowait)
            while not simulator.futures.users.subscriptions:
                await asyncio.sleep(0.01)
            crowd(simulator, "SELL", "5", "50010")
            await call("new_order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity=0.1)
            await call("change_initial_leverage", symbol="BTCUSDT", leverage=10)
            stop = {"symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET", "quantity": "0.1"}
            stop |= {"algoType": "CONDITIONAL", "triggerPrice": "45000"}
            simulator.act("algoOrder.place", "alice", stop, market="futures")
            simulator.futures.streams.expire("alice")
            seen: set[str] = set()
            while "ListenKeyExpired" not in seen:
                event = await asyncio.wait_for(events.get(), 5)
                inner = getattr(event, "actual_instance", None) or event
                assert [each for each in unknown_fields(inner) if each != "e"] == []
                assert absent_fields(inner) <= CONDITIONAL, (type(inner).__name__, absent_fields(inner))
                seen.add(type(inner).__name__)
            assert seen >= {"OrderTradeUpdate", "AccountUpdate", "TradeLite", "AlgoUpdate", "AccountConfigUpdate"}
        finally:
            await connection.close_connection(close_session=True)

    with_sdk(scene)


def test_python_binance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders, a stop that it routes to the algo service, positions, and the futures user socket."""

    async def play(simulator: Simulator) -> None:
        key = simulator.keys_of["alice"]
        monkeypatch.setattr(AsyncClient, "API_URL", simulator.url + "/api")
        monkeypatch.setattr(AsyncClient, "FUTURES_URL", simulator.url + "/fapi")
        monkeypatch.setattr(BinanceSocketManager, "FSTREAM_URL", simulator.ws_url + "/")
        client = await AsyncClient.create(key.key, key.secret)
        try:
            crowd(simulator, "SELL", "5", "50010")
            order = await client.futures_create_order(**LIMIT, side="BUY", quantity="0.1", price="49000")
            await client.futures_cancel_order(symbol="BTCUSDT", orderId=order["orderId"])
            await client.futures_create_order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.1")
            stop = await client.futures_create_order(
                symbol="BTCUSDT", side="SELL", type="STOP_MARKET", quantity="0.1", triggerPrice="45000"
            )
            assert stop["algoStatus"] == "NEW"
            positions = await client.futures_position_information(symbol="BTCUSDT")
            assert positions[0]["positionAmt"] == "0.100"
            async with BinanceSocketManager(client).futures_user_socket() as stream:
                while not simulator.futures.users.subscriptions:
                    await asyncio.sleep(0.01)
                await client.futures_create_order(**LIMIT, side="BUY", quantity="0.1", price="49000")
                event = await asyncio.wait_for(stream.recv(), 5)
                assert (event["e"], event["o"]["X"]) == ("ORDER_TRADE_UPDATE", "NEW")
        finally:
            await client.close_connection()

    on_stage(play)
