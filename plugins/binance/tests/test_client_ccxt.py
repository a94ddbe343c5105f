"""ccxt and ccxt.pro, unmodified, against the simulated spot exchange: over plain URLs and over TLS with real names."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from exchange_kernel_binance.simulator import Simulator
from plugins.binance.tests.clients import ccxt
from plugins.binance.tests.stage import on_stage

SYMBOL = "BTC/USDT"
OFFLINE = {
    "fetchMarkets": {"types": ["spot"]},
    "fetchCurrencies": False,
    "fetchMargins": False,
    "watchBalance": {"fetchBalanceSnapshot": False, "awaitBalanceSnapshot": False},
    "fetchOpenOrders": {"warnWithoutSymbol": False},
}


class Loopback(AbstractResolver):
    """Every name is this machine, every port the simulator's."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host="127.0.0.1", port=self.port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        return None


def redirect_urls(exchange: Any, simulator: Simulator) -> None:
    """The plain way: every URL gets the simulator's address and keeps its path."""

    def local(url: Any) -> Any:
        if isinstance(url, dict):
            return {name: local(each) for name, each in url.items()}
        parts = urlsplit(url)
        return (simulator.ws_url if parts.scheme.startswith("ws") else simulator.url) + parts.path

    exchange.urls["api"] = local(exchange.urls["api"])


def redirect_names(exchange: Any, simulator: Simulator) -> None:
    """The faithful way: the real URLs; only the resolver and the trusted CA are ours."""
    trusted = ssl.create_default_context(cafile=str(simulator.ca_file))
    connector = aiohttp.TCPConnector(resolver=Loopback(simulator.tls_port), ssl=trusted)
    exchange.session = aiohttp.ClientSession(connector=connector)


def with_ccxt(scene: Callable[[Simulator, Any], Awaitable[None]], redirect: Callable[[Any, Simulator], None]) -> None:
    async def play(simulator: Simulator) -> None:
        key = simulator.keys_of["alice"]
        exchange = ccxt.pro.binance(
            {"apiKey": key.key, "secret": key.secret, "enableRateLimit": False, "newUpdates": True, "options": OFFLINE}
        )
        redirect(exchange, simulator)
        exchange.own_session = True
        try:
            await exchange.load_markets()
            await scene(simulator, exchange)
        finally:
            await exchange.close()

    on_stage(play)


WAYS = pytest.mark.parametrize("redirect", [redirect_urls, redirect_names])


@WAYS
def test_orders_of_every_type(redirect: Any) -> None:
    """Every order type that ccxt knows is placed, found and cancelled."""

    async def scene(simulator: Simulator, exchange: Any) -> None:
        simulator.act(
            "order.place",
            "bob",
            {"symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "timeInForce": "GTC", "quantity": 1, "price": 50001},
        )
        placed = [
            await exchange.create_order(SYMBOL, "limit", "buy", 0.01, 49_000, {"newClientOrderId": "limit-1"}),
            await exchange.create_order(SYMBOL, "limit", "buy", 0.01, 49_000, {"postOnly": True}),
            await exchange.create_order(SYMBOL, "limit", "sell", 0.01, 52_000, {"icebergAmount": 0.005}),
            await exchange.create_order(SYMBOL, "market", "sell", 0.01, None, {"stopLossPrice": 45_000}),
            await exchange.create_order(SYMBOL, "limit", "sell", 0.01, 44_900, {"stopLossPrice": 45_000}),
            await exchange.create_order(SYMBOL, "limit", "sell", 0.01, 55_000, {"takeProfitPrice": 55_100}),
            await exchange.create_order(
                SYMBOL, "market", "sell", 0.01, None, {"trailingPercent": 1, "stopLossOrTakeProfit": "stopLoss"}
            ),
        ]
        kinds = [order["type"] for order in simulator.truth()["orders"]() if order["account"] == "alice"]
        assert kinds == [
            "LIMIT",
            "LIMIT_MAKER",
            "LIMIT",
            "STOP_LOSS",
            "STOP_LOSS_LIMIT",
            "TAKE_PROFIT_LIMIT",
            "STOP_LOSS",
        ]
        found = await exchange.fetch_order(None, SYMBOL, {"origClientOrderId": "limit-1"})
        assert (found["id"], found["status"], found["price"]) == (placed[0]["id"], "open", 49_000)
        assert len(await exchange.fetch_open_orders(SYMBOL)) == len(await exchange.fetch_open_orders()) == 7
        for order in placed:
            await exchange.cancel_order(order["id"], SYMBOL)
        market = await exchange.create_order(SYMBOL, "market", "buy", 0.01)
        assert (market["status"], market["filled"], market["average"]) == ("closed", 0.01, 50_001)
        by_quote = await exchange.create_order(SYMBOL, "market", "buy", None, None, {"cost": 100})
        assert by_quote["filled"] == 0.00199
        immediate = await exchange.create_order(SYMBOL, "limit", "buy", 0.01, 49_000, {"timeInForce": "IOC"})
        assert immediate["status"] == "expired"
        assert len(await exchange.fetch_orders(SYMBOL)) == 10
        trades = await exchange.fetch_my_trades(SYMBOL)
        assert [trade["amount"] for trade in trades] == [0.01, 0.00199]
        assert trades[0]["fee"] == {"cost": 0.00001, "currency": "BTC"}
        balance = await exchange.fetch_balance()
        assert balance["BTC"]["total"] == 10.01197801

    with_ccxt(scene, redirect)


@WAYS
def test_edit_and_cancel_all(redirect: Any) -> None:
    """editOrder is a cancelReplace; cancel-all cancels; raw calls reach OCO and amend."""

    async def scene(simulator: Simulator, exchange: Any) -> None:
        order = await exchange.create_order(SYMBOL, "limit", "buy", 0.01, 49_000)
        edited = await exchange.edit_order(order["id"], SYMBOL, "limit", "buy", 0.02, 48_000)
        assert (edited["id"] != order["id"], edited["price"]) == (True, 48_000)
        amended = await exchange.request(
            "order/amend/keepPriority",
            ["private"],
            "PUT",
            {"symbol": "BTCUSDT", "orderId": edited["id"], "newQty": "0.01"},
            {"cost": 0.8},
        )
        assert amended["amendedOrder"]["qty"] == "0.01000000"
        listed = await exchange.private_post_orderlist_oco(
            {
                "symbol": "BTCUSDT",
                "side": "SELL",
                "quantity": "0.01",
                "aboveType": "LIMIT_MAKER",
                "abovePrice": "55000",
                "belowType": "STOP_LOSS",
                "belowStopPrice": "45000",
            }
        )
        assert listed["listOrderStatus"] == "EXECUTING"
        assert len(await exchange.cancel_all_orders(SYMBOL)) == 2
        assert simulator.spot.state.open_orders("alice", "BTCUSDT") == {}

    with_ccxt(scene, redirect)


@WAYS
def test_user_stream(redirect: Any) -> None:
    """watch_orders, watch_my_trades and watch_balance hear what REST and the WebSocket API do."""

    async def scene(simulator: Simulator, exchange: Any) -> None:
        orders = asyncio.ensure_future(exchange.watch_orders(SYMBOL))
        trades = asyncio.ensure_future(exchange.watch_my_trades(SYMBOL))
        balance = asyncio.ensure_future(exchange.watch_balance())
        while not simulator.streams.subscriptions:
            await asyncio.sleep(0.01)
        placed = await exchange.create_order_ws(SYMBOL, "LIMIT", "buy", 0.01, 49_000, {"newClientOrderId": "heard"})
        assert (placed["clientOrderId"], placed["status"]) == ("heard", "open")
        heard = (await asyncio.wait_for(orders, 5))[-1]
        assert (heard["id"], heard["status"]) == (placed["id"], "open")
        assert (await asyncio.wait_for(balance, 5))["USDT"]["used"] == 490
        simulator.act(
            "order.place",
            "bob",
            {"symbol": "BTCUSDT", "side": "SELL", "type": "MARKET", "quantity": "0.01"},
        )
        trade = (await asyncio.wait_for(trades, 5))[-1]
        assert (trade["order"], trade["price"], trade["takerOrMaker"]) == (placed["id"], 49_000, "maker")
        assert (await exchange.fetch_order_ws(placed["id"], SYMBOL))["status"] == "closed"

    with_ccxt(scene, redirect)


def test_errors_keep_their_classes() -> None:
    """With the real names, ccxt maps the simulator's codes to its own exceptions."""

    async def scene(simulator: Simulator, exchange: Any) -> None:
        with pytest.raises(ccxt.InsufficientFunds):
            await exchange.create_order(SYMBOL, "limit", "buy", 100, 50_000, {"newClientOrderId": "a"})
        with pytest.raises(ccxt.OrderNotFound):
            await exchange.fetch_order("999", SYMBOL)
        with pytest.raises(ccxt.OrderNotFound):
            await exchange.cancel_order("999", SYMBOL)
        simulator.clock.skew = 60_000
        with pytest.raises(ccxt.InvalidNonce):
            await exchange.fetch_balance()

    with_ccxt(scene, redirect_names)


@WAYS
def test_market_data(redirect: Any) -> None:
    """Books, trades, tickers and candles, asked for and watched."""

    async def scene(simulator: Simulator, exchange: Any) -> None:
        order = {"symbol": "BTCUSDT", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.5"}
        watched = asyncio.ensure_future(exchange.watch_trades(SYMBOL))
        books = asyncio.ensure_future(exchange.watch_order_book(SYMBOL))
        while sum(len(each.streams) for each in simulator.market_streams.listeners) < 2:
            await asyncio.sleep(0.01)
        for side, price in (("BUY", 49_900), ("SELL", 50_100)):
            simulator.act("order.place", "bob", {**order, "side": side, "price": price})
        await exchange.create_order(SYMBOL, "market", "buy", 0.1)
        assert (await asyncio.wait_for(watched, 5))[-1]["price"] == 50_100
        assert (await asyncio.wait_for(books, 5))["bids"][0][0] == 49_900
        book = await exchange.fetch_order_book(SYMBOL)
        assert (book["bids"], book["asks"]) == ([[49_900, 0.5]], [[50_100, 0.4]])
        assert (await exchange.fetch_ticker(SYMBOL))["last"] == 50_100
        assert (await exchange.fetch_trades(SYMBOL))[-1]["amount"] == 0.1
        assert (await exchange.fetch_ohlcv(SYMBOL, "1m"))[-1][4] == 50_100

    with_ccxt(scene, redirect)
