"""python-binance, unmodified, against the simulated spot exchange."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from exchange_kernel_binance.simulator import Simulator
from plugins.binance.tests.clients import AsyncClient, BinanceAPIException, BinanceSocketManager
from plugins.binance.tests.stage import on_stage


def with_client(scene: Callable[[Simulator, Any], Awaitable[None]], monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(simulator: Simulator) -> None:
        key = simulator.keys_of["alice"]
        monkeypatch.setattr(AsyncClient, "API_URL", simulator.url + "/api")
        monkeypatch.setattr(AsyncClient, "WS_API_URL", simulator.ws_url + "/ws-api/v3")
        monkeypatch.setattr(BinanceSocketManager, "STREAM_URL", simulator.ws_url + "/")
        client = await AsyncClient.create(key.key, key.secret)
        try:
            await scene(simulator, client)
        finally:
            await client.close_connection()

    on_stage(play)


def test_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders, lists, queries and cancels (it sends POST and DELETE in the body)."""

    async def scene(simulator: Simulator, client: Any) -> None:
        order = await client.order_limit_buy(symbol="BTCUSDT", quantity="0.01", price="49000")
        assert order["status"] == "NEW"
        await client.create_test_order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01")
        simulator.act(
            "order.place",
            "bob",
            {"symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "timeInForce": "GTC", "quantity": 1, "price": 50001},
        )
        market = await client.order_market_buy(symbol="BTCUSDT", quantity="0.01")
        assert market["fills"][0]["price"] == "50001.00000000"
        found = await client.get_order(symbol="BTCUSDT", orderId=order["orderId"])
        assert found["isWorking"] is True
        assert len(await client.get_open_orders(symbol="BTCUSDT")) == 1
        assert len(await client.get_all_orders(symbol="BTCUSDT")) == 2
        assert len(await client.get_my_trades(symbol="BTCUSDT")) == 1
        cancelled = await client.cancel_order(symbol="BTCUSDT", orderId=order["orderId"])
        assert cancelled["status"] == "CANCELED"
        balance = await client.get_asset_balance(asset="BTC")
        assert balance["free"] == "10.00999000"
        assert (await client.get_symbol_info("BTCUSDT"))["baseAsset"] == "BTC"
        with pytest.raises(BinanceAPIException) as caught:
            await client.cancel_order(symbol="BTCUSDT", orderId=order["orderId"])
        assert (caught.value.code, caught.value.message) == (-2011, "Unknown order sent.")

    with_client(scene, monkeypatch)


def test_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """An OCO, an OTO and an OTOCO from the request to the last leg."""

    async def scene(simulator: Simulator, client: Any) -> None:
        def trade(side: str, price: str, quantity: str = "0.01") -> None:
            order = {"symbol": "BTCUSDT", "side": side, "type": "LIMIT", "timeInForce": "IOC"}
            simulator.act("order.place", "bob", {**order, "price": price, "quantity": quantity})

        async def statuses(listed: Any) -> list[str]:
            found = [await client.get_order(symbol="BTCUSDT", orderId=each["orderId"]) for each in listed["orders"]]
            return [each["status"] for each in found]

        pair = {"aboveType": "LIMIT_MAKER", "abovePrice": "55000", "belowType": "STOP_LOSS", "belowStopPrice": "45000"}
        whole = {"symbol": "BTCUSDT", "side": "SELL", "quantity": "0.01", **pair}
        oco = await client.create_oco_order(**whole, listClientOrderId="pair")
        trade("BUY", "55000", "0.005")
        assert await statuses(oco) == ["PARTIALLY_FILLED", "EXPIRED"]
        again = await client.create_oco_order(**(whole | {"abovePrice": "56000"}))
        assert len(await client.get_open_oco_orders()) == 1
        await client.v3_delete_order_list(symbol="BTCUSDT", orderListId=again["orderListId"])
        assert await statuses(again) == ["CANCELED", "CANCELED"]
        found = await client.v3_get_order_list(origClientOrderId="pair")
        assert (found["orderListId"], found["listOrderStatus"]) == (oco["orderListId"], "ALL_DONE")
        entry = {
            "symbol": "BTCUSDT",
            "workingType": "LIMIT",
            "workingTimeInForce": "GTC",
            "workingSide": "BUY",
            "workingPrice": "54000",
            "workingQuantity": "0.01",
            "pendingSide": "SELL",
            "pendingQuantity": "0.01",
        }
        after = {"pendingType": "LIMIT_MAKER", "pendingPrice": "57000"}
        oto = await client.v3_post_order_list_oto(**entry, **after)
        assert await statuses(oto) == ["NEW", "PENDING_NEW"]
        trade("SELL", "54000", "0.004")
        assert await statuses(oto) == ["PARTIALLY_FILLED", "PENDING_NEW"]
        trade("SELL", "54000", "0.006")
        assert await statuses(oto) == ["FILLED", "NEW"]
        ends = {f"pending{name[0].upper()}{name[1:]}": value for name, value in pair.items()}
        bracket = await client.v3_post_order_list_otoco(**entry, **(ends | {"pendingAbovePrice": "58000"}))
        assert await statuses(bracket) == ["NEW", "PENDING_NEW", "PENDING_NEW"]
        trade("SELL", "54000")
        assert await statuses(bracket) == ["FILLED", "NEW", "NEW"]
        await client.cancel_order(symbol="BTCUSDT", orderId=bracket["orders"][2]["orderId"])
        assert await statuses(bracket) == ["FILLED", "CANCELED", "CANCELED"]
        last = await client.v3_post_order_list_oto(**entry, **after)
        await client.cancel_order(symbol="BTCUSDT", orderId=last["orders"][0]["orderId"])
        assert await statuses(last) == ["CANCELED", "CANCELED"]

    with_client(scene, monkeypatch)


def test_user_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its user socket subscribes over the WebSocket API and hears the order."""

    async def scene(simulator: Simulator, client: Any) -> None:
        manager = BinanceSocketManager(client)
        async with manager.user_socket() as stream:
            while not simulator.streams.subscriptions:
                await asyncio.sleep(0.01)
            await client.ws_create_order(
                symbol="BTCUSDT", side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.01", price="49000"
            )
            kinds = [(await asyncio.wait_for(stream.recv(), 5))["e"] for _ in range(2)]
            assert kinds == ["executionReport", "outboundAccountPosition"]

    with_client(scene, monkeypatch)
