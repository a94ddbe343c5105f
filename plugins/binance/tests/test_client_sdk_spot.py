"""Binance's own spot SDK, unmodified: its calls work and its models know every field of every answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from exchange_kernel_binance.simulator import Simulator
from plugins.binance.tests.clients import spot_sdk
from plugins.binance.tests.stage import on_stage, unknown_fields

# rest-api.md, "Conditional fields in Order Responses": documented, and in few of the SDK's models.
CONDITIONAL = {
    "icebergQty",
    "preventedMatchId",
    "preventedQuantity",
    "stopPrice",
    "strategyId",
    "strategyType",
    "trailingDelta",
    "trailingTime",
    "expiryReason",
    # web-socket-api.md: "included with every response by default", though examples and models leave it out for some.
    "rateLimits",
}

# It hands aiohttp arguments that aiohttp is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

Rest = Callable[..., Awaitable[Any]]


def known(model: Any) -> Any:
    """The model, all of whose fields the SDK or the documents know."""
    unknown = [path for path in unknown_fields(model) if path.rpartition(".")[2] not in CONDITIONAL]
    if type(model).__name__ == "DeleteOrderListResponse":
        # Shown in the documented example (rest-api.md, Cancel Order list), missing from the SDK's model.
        unknown = [path for path in unknown if path != "order_reports.selfTradePreventionMode"]
    assert unknown == [], (type(model).__name__, unknown)
    return model


def configuration(simulator: Simulator) -> dict[str, Any]:
    key = simulator.keys_of["alice"]
    return {"api_key": key.key, "api_secret": key.secret}


def with_rest(scene: Callable[[Simulator, Rest], Awaitable[None]]) -> None:
    async def play(simulator: Simulator) -> None:
        settings = spot_sdk.spot.ConfigurationRestAPI(
            **configuration(simulator), base_path=simulator.url, timeout=5_000, retries=0
        )
        api = spot_sdk.Spot(config_rest_api=settings).rest_api

        async def call(name: str, **params: Any) -> Any:
            reply = await asyncio.to_thread(getattr(api, name), **params)
            assert reply.rate_limits
            return known(reply.data())

        try:
            await scene(simulator, call)
        finally:
            api._session.close()

    on_stage(play)


ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "time_in_force": "GTC", "quantity": 0.01, "price": 49_000}


def market(simulator: Simulator) -> None:
    for side, price in (("SELL", 50_100), ("BUY", 49_900)):
        simulator.act(
            "order.place",
            "bob",
            {"symbol": "BTCUSDT", "side": side, "type": "LIMIT", "timeInForce": "GTC", "quantity": 1, "price": price},
        )


@pytest.mark.parametrize("shape", ["ACK", "RESULT", "FULL"])
@pytest.mark.parametrize(
    "params",
    [
        {"type": "LIMIT", "time_in_force": "GTC", "price": 49_000},
        {"type": "LIMIT", "time_in_force": "IOC", "price": 50_100},
        {"type": "LIMIT", "time_in_force": "FOK", "price": 50_100},
        {"type": "LIMIT", "time_in_force": "GTC", "price": 49_000, "iceberg_qty": 0.005},
        {"type": "LIMIT_MAKER", "price": 49_000},
        {"type": "MARKET"},
        {"type": "MARKET", "quantity": None, "quote_order_qty": 100},
        {"type": "STOP_LOSS", "stop_price": 55_000},
        {"type": "STOP_LOSS", "trailing_delta": 100},
        {"type": "STOP_LOSS_LIMIT", "time_in_force": "GTC", "stop_price": 55_000, "price": 55_100},
        {"type": "TAKE_PROFIT", "stop_price": 45_000},
        {"type": "TAKE_PROFIT_LIMIT", "time_in_force": "GTC", "stop_price": 45_000, "price": 45_100},
    ],
)
def test_every_order_type(params: dict[str, Any], shape: str) -> None:
    """An order of each type, in each response shape, then queried."""

    async def scene(simulator: Simulator, call: Rest) -> None:
        market(simulator)
        order = {"symbol": "BTCUSDT", "side": "BUY", "quantity": 0.01, "strategy_id": 7, **params}
        placed = await call("new_order", **order, new_order_resp_type=shape)
        found = await call("get_order", symbol="BTCUSDT", order_id=placed.order_id)
        assert (found.type, found.side, found.client_order_id) == (params["type"], "BUY", placed.client_order_id)

    with_rest(scene)


def test_changes_and_queries() -> None:
    """Cancel, cancel-replace, amend, lists, histories, account and commission."""

    async def scene(simulator: Simulator, call: Rest) -> None:
        market(simulator)
        await call("order_test", **ORDER)
        await call("order_test", **ORDER, compute_commission_rates=True)
        placed = await call("new_order", **ORDER)
        replaced = await call(
            "order_cancel_replace", **ORDER, cancel_replace_mode="STOP_ON_FAILURE", cancel_order_id=placed.order_id
        )
        assert replaced.cancel_result == replaced.new_order_result == "SUCCESS"
        number = replaced.new_order_response.order_id
        amended = await call("order_amend_keep_priority", symbol="BTCUSDT", order_id=number, new_qty=0.005)
        assert amended.amended_order.qty == "0.00500000"
        assert len(await call("order_amendments", symbol="BTCUSDT", order_id=number)) == 1
        cancelled = await call("delete_order", symbol="BTCUSDT", order_id=number)
        assert cancelled.status == "CANCELED"
        pair = {
            "above_type": "LIMIT_MAKER",
            "above_price": 55_000,
            "below_type": "STOP_LOSS_LIMIT",
            "below_price": 44_900,
            "below_stop_price": 45_000,
            "below_time_in_force": "GTC",
        }
        oco = await call("order_list_oco", symbol="BTCUSDT", side="SELL", quantity=0.01, **pair)
        working = {
            "symbol": "BTCUSDT",
            "working_type": "LIMIT",
            "working_side": "BUY",
            "working_price": 49_000,
            "working_quantity": 0.01,
            "working_time_in_force": "GTC",
            "pending_side": "SELL",
            "pending_quantity": 0.01,
        }
        oto = await call(
            "order_list_oto", **working, pending_type="LIMIT", pending_price=55_000, pending_time_in_force="GTC"
        )
        otoco = await call("order_list_otoco", **working, **{f"pending_{name}": value for name, value in pair.items()})
        assert [len(each.orders) for each in (oco, oto, otoco)] == [2, 2, 3]
        assert len(await call("open_order_list")) == 3
        await call("get_order_list", order_list_id=oco.order_list_id)
        ended = await call("delete_order_list", symbol="BTCUSDT", order_list_id=oto.order_list_id)
        assert ended.list_order_status == "ALL_DONE"
        assert len(await call("get_open_orders", symbol="BTCUSDT")) == 5
        assert len(await call("delete_open_orders", symbol="BTCUSDT")) == 2
        assert len(await call("all_order_list")) == 3
        await call("new_order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity=0.01)
        assert len(await call("my_trades", symbol="BTCUSDT")) == 1
        assert len(await call("all_orders", symbol="BTCUSDT")) == 10
        account = await call("get_account", omit_zero_balances=True)
        assert {each.asset for each in account.balances} == {"BTC", "ETH", "BNB", "USDT"}
        await call("account_commission", symbol="BTCUSDT")
        assert len(await call("rate_limit_order")) == 2

    with_rest(scene)


def test_self_trade_is_told() -> None:
    """A prevented match can be looked up."""

    async def scene(simulator: Simulator, call: Rest) -> None:
        await call("new_order", **ORDER)
        sell = ORDER | {"side": "SELL", "self_trade_prevention_mode": "EXPIRE_BOTH"}
        placed = await call("new_order", **sell)
        assert placed.status == "EXPIRED_IN_MATCH"
        assert len(await call("my_prevented_matches", symbol="BTCUSDT", order_id=placed.order_id)) == 1

    with_rest(scene)


def test_market_data() -> None:
    """Rules, books, prices, trades and candles."""

    async def scene(simulator: Simulator, call: Rest) -> None:
        market(simulator)
        await call("new_order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity=0.01)
        assert len((await call("exchange_info")).symbols) == 3
        assert len((await call("exchange_info", symbols=["BTCUSDT", "ETHUSDT"])).symbols) == 2
        await call("time")
        await call("depth", symbol="BTCUSDT")
        await call("get_trades", symbol="BTCUSDT")
        await call("agg_trades", symbol="BTCUSDT")
        await call("avg_price", symbol="BTCUSDT")
        await call("ticker_price", symbol="BTCUSDT")
        await call("ticker_book_ticker", symbol="BTCUSDT")
        await call("ticker24hr", symbol="BTCUSDT")
        assert len(await call("klines", symbol="BTCUSDT", interval="1m")) == 1

    with_rest(scene)


def test_errors() -> None:
    """Its exceptions carry Binance's code and words."""

    async def scene(simulator: Simulator, call: Rest) -> None:
        with pytest.raises(Exception, match=r"Account has insufficient balance for requested action\."):
            await call("new_order", **(ORDER | {"quantity": 100}))

    with_rest(scene)


def test_websocket_api() -> None:
    """Orders, queries and the user stream over the WebSocket API; every event is one that the SDK knows whole."""

    async def play(simulator: Simulator) -> None:
        settings = spot_sdk.spot.ConfigurationWebSocketAPI(
            **configuration(simulator), stream_url=simulator.ws_url + "/ws-api/v3"
        )
        connection = await spot_sdk.Spot(config_ws_api=settings).websocket_api.create_connection()
        events: asyncio.Queue[Any] = asyncio.Queue()
        try:
            opened = await connection.user_data_stream_subscribe_signature()
            assert opened.response.data().result.subscription_id == 0
            opened.stream.on("message", events.put_nowait)
            market(simulator)
            for name, params in (
                ("order_test", ORDER),
                ("order_place", ORDER),
                ("open_orders_status", {"symbol": "BTCUSDT"}),
                ("order_status", {"symbol": "BTCUSDT", "order_id": 3}),
                ("order_cancel_replace", {**ORDER, "cancel_replace_mode": "STOP_ON_FAILURE", "cancel_order_id": 3}),
                ("order_amend_keep_priority", {"symbol": "BTCUSDT", "order_id": 4, "new_qty": 0.005}),
                ("order_cancel", {"symbol": "BTCUSDT", "order_id": 4}),
                ("order_place", {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": 0.01}),
                ("order_place", {**ORDER, "price": 50_100, "time_in_force": "IOC", "quantity": 1}),
                (
                    "order_list_place_oco",
                    {
                        "symbol": "BTCUSDT",
                        "side": "SELL",
                        "quantity": 0.01,
                        "above_type": "LIMIT_MAKER",
                        "above_price": 55_000,
                        "below_type": "STOP_LOSS",
                        "below_stop_price": 45_000,
                    },
                ),
                ("open_orders_cancel_all", {"symbol": "BTCUSDT"}),
                ("my_trades", {"symbol": "BTCUSDT"}),
                ("all_orders", {"symbol": "BTCUSDT"}),
                ("account_status", {}),
                ("account_commission", {"symbol": "BTCUSDT"}),
                ("session_status", {}),
                ("ping", {}),
            ):
                reply = await getattr(connection, name)(**params)
                known(reply.data())
            simulator.spot.state.deposit("alice", "BTC", simulator.spot.state.last["BTCUSDT"])
            await connection.user_data_stream_unsubscribe(subscription_id=0)
            kinds: list[str] = []
            while "EventStreamTerminated" not in kinds:
                event = await asyncio.wait_for(events.get(), 5)
                inner = getattr(event, "actual_instance", event)
                assert [each for each in unknown_fields(inner) if each not in {"eR", "M"}] == []
                kinds.append(type(inner).__name__)
            assert set(kinds) == {
                "ExecutionReport",
                "OutboundAccountPosition",
                "ListStatus",
                "BalanceUpdate",
                "EventStreamTerminated",
            }
        finally:
            await connection.close_connection(close_session=True)

    on_stage(play)
