"""Margin orders, debt and listen tokens; ccxt places and finds cross and isolated orders unmodified."""

from __future__ import annotations

from typing import Any

import pytest

from exchange_kernel_binance.simulator import Simulator
from plugins.binance.tests.floor import D
from plugins.binance.tests.stage import Raw, on_stage
from plugins.binance.tests.test_client_ccxt import SYMBOL, redirect_names, redirect_urls, with_ccxt

PATH = "/sapi/v1/margin/order"
BUY = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "50000"}


def fund(simulator: Simulator, symbol: str | None = None, amount: int = 30_000) -> Any:
    wallet = simulator.margin.wallet("alice", symbol)
    wallet.credit("USDT", D(amount))
    return wallet


@pytest.mark.parametrize("redirect", [redirect_urls, redirect_names])
@pytest.mark.parametrize("mode", ["cross", "isolated"])
def test_ccxt(redirect: Any, mode: str) -> None:
    """An order in a margin wallet touches that wallet and no other."""

    async def scene(simulator: Simulator, exchange: Any) -> None:
        wallet = fund(simulator, None if mode == "cross" else "BTCUSDT")
        params = {"marginMode": mode}
        order = await exchange.create_order(SYMBOL, "limit", "buy", 0.1, 49_000, params)
        assert wallet.balance("USDT").locked == 4_900
        assert simulator.spot.state.accounts["alice"].balance("USDT").locked == 0
        found = await exchange.fetch_order(order["id"], SYMBOL, params)
        assert (found["status"], found["info"]["isIsolated"]) == ("open", mode == "isolated")
        assert len(await exchange.fetch_open_orders(SYMBOL, None, None, params)) == 1
        await exchange.cancel_order(order["id"], SYMBOL, params)
        assert await exchange.fetch_open_orders(SYMBOL, None, None, params) == []

    with_ccxt(scene, redirect)


def test_borrowing_for_an_order_and_repaying_from_the_next() -> None:
    """MARGIN_BUY borrows what is missing, AUTO_REPAY pays it back out of what a sale brings."""

    async def scene(simulator: Simulator) -> None:
        async with Raw(simulator) as raw:
            wallet = fund(simulator)
            simulator.act("order.place", "bob", {**BUY, "side": "SELL"})
            assert (await raw.refused("POST", PATH, **BUY))[1] == -2010
            bought = await raw.ok("POST", PATH, **BUY, sideEffectType="MARGIN_BUY")
            assert (bought["status"], bought["marginBuyBorrowAmount"]) == ("FILLED", "20000.00000000")
            account = await raw.ok("GET", "/sapi/v1/margin/account")
            debts = {each["asset"]: each["borrowed"] for each in account["userAssets"]}
            assert debts["USDT"] == "20000.00000000"
            simulator.act("order.place", "bob", {**BUY, "quantity": "0.5", "price": "51000"})
            sale = {"symbol": "BTCUSDT", "side": "SELL", "type": "MARKET", "quantity": "0.5"}
            await raw.ok("POST", PATH, **sale, sideEffectType="AUTO_REPAY")
            assert simulator.margin.borrowed["alice@cross", "USDT"] == 0
            assert wallet.free("USDT") == D("0.5") * 51_000 * D("0.999") - 20_000

    on_stage(scene)


def test_a_refused_order_leaves_no_debt() -> None:
    """Borrowing beyond the level is -3006, and an order refused after borrowing pays back."""

    async def scene(simulator: Simulator) -> None:
        async with Raw(simulator) as raw:
            fund(simulator)
            big = BUY | {"quantity": "3", "sideEffectType": "MARGIN_BUY"}
            assert (await raw.refused("POST", PATH, **big))[1] == -3006
            simulator.act("order.place", "bob", {**BUY, "side": "SELL"})
            maker = {**BUY, "type": "LIMIT_MAKER", "sideEffectType": "MARGIN_BUY"}
            del maker["timeInForce"]
            assert (await raw.refused("POST", PATH, **maker))[1] == -2010
            assert sum(simulator.margin.borrowed.values()) == 0

    on_stage(scene)


def test_listen_token() -> None:
    """A token opens the wallet's own stream on the WebSocket API; an unknown one opens nothing."""

    async def scene(simulator: Simulator) -> None:
        async with Raw(simulator) as raw:
            fund(simulator)
            _, _, token = await raw.send("POST", "/sapi/v1/userListenToken")
            listener = await raw.listen()
            method = "userDataStream.subscribe.listenToken"
            assert (await listener.call(method, {"listenToken": "x"}, signed=False))["status"] == 400
            opened = await listener.call(method, {"listenToken": token["token"]}, signed=False)
            assert opened["result"] == {"subscriptionId": 1, "expirationTime": token["expirationTime"]}
            await raw.ok("POST", PATH, **(BUY | {"quantity": "0.1"}))
            frame = await listener.frame()
            assert (frame["subscriptionId"], frame["event"]["e"]) == (1, "executionReport")

    on_stage(scene)
