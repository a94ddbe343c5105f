"""Every fault does what it says to the client, and exactly that to the exchange."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from exchange_kernel_binance.simulator import REQUEST_FAULTS, Fault, Simulator
from plugins.binance.tests.stage import Raw, on_stage

ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "40000"}
PATH = "/api/v3/order"


def orders(simulator: Simulator) -> int:
    return len(simulator.truth()["orders"]())


@pytest.mark.parametrize(
    ("kind", "executed"),
    [("drop_before", 0), ("drop_after", 1), ("silent_before", 0), ("silent_after", 1)],
)
@pytest.mark.parametrize("way", ["rest", "websocket"])
def test_no_reply(kind: str, executed: int, way: str) -> None:
    """The reply is lost, with or without the order."""

    async def scene(simulator: Simulator) -> None:
        async with Raw(simulator) as raw:
            simulator.gate.faults.add(Fault(kind, "order.place", ms=10))
            if way == "rest":
                with pytest.raises(aiohttp.ServerDisconnectedError):
                    await raw.signed("POST", PATH, **ORDER)
            else:
                listener = await raw.listen()
                asking = asyncio.ensure_future(listener.call("order.place", ORDER))
                if kind.startswith("drop"):
                    with pytest.raises(AssertionError, match="CLOSE"):
                        await asking
                else:
                    while simulator.gate.counts["order.place"] < 1:
                        await asyncio.sleep(0)
                    asking.cancel()
            assert orders(simulator) == executed
            await raw.ok("POST", PATH, **ORDER)

    on_stage(scene)


@pytest.mark.parametrize(
    ("fault", "status", "code", "executed"),
    [
        (Fault("error_before", "order.*"), 503, -1007, 0),
        (Fault("error_after", "order.*"), 503, -1007, 1),
        (Fault("error_before", "order.*", status=503, code=-1008, msg="Server is busy."), 503, -1008, 0),
        (Fault("error_before", "order.*", status=429, code=-1003, msg="x", retry_after=7), 429, -1003, 0),
        (Fault("error_before", "order.*", status=418, code=-1003, msg="x", retry_after=120), 418, -1003, 0),
    ],
)
def test_errors(fault: Fault, status: int, code: int, executed: int) -> None:
    """An error of one's choice, with and without the order being executed."""

    async def scene(simulator: Simulator) -> None:
        async with Raw(simulator) as raw:
            simulator.gate.faults.add(fault)
            got, headers, body = await raw.signed("POST", PATH, **ORDER)
            assert (got, body["code"]) == (status, code)
            if fault.retry_after:
                assert headers["Retry-After"] == str(fault.retry_after)
            assert orders(simulator) == executed

    on_stage(scene)


@pytest.mark.parametrize(("kind", "expected"), [("cut_body", True), ("empty_body", False)])
def test_broken_bodies(kind: str, expected: bool) -> None:
    """The order is executed and the 200 can't be read."""

    async def scene(simulator: Simulator) -> None:
        async with Raw(simulator) as raw:
            simulator.gate.faults.add(Fault(kind, "order.place"))
            query = "&".join(f"{k}={v}" for k, v in {**ORDER, "timestamp": simulator.clock.now()}.items())
            url = f"{simulator.url}{PATH}?{query}&signature={raw.sign(query)}"
            async with raw.session.post(url, headers={"X-MBX-APIKEY": raw.key.key}) as reply:
                text = await reply.text()
            assert (reply.status, bool(text)) == (200, expected)
            with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
                json.loads(text)
            assert orders(simulator) == 1

    on_stage(scene)


def test_late_execution() -> None:
    """-1007 comes first and the order afterwards; past its recvWindow it never comes."""

    async def scene(simulator: Simulator) -> None:
        async with Raw(simulator) as raw:
            gate = asyncio.Event()
            slept: list[float] = []

            async def wait(seconds: float) -> None:
                slept.append(seconds)
                await gate.wait()

            simulator.gate.sleep = wait
            simulator.gate.faults.add(Fault("late", "order.place", times=2, ms=3_000))
            assert (await raw.refused("POST", PATH, **ORDER))[:2] == (503, -1007)
            assert (orders(simulator), slept) == (0, [3])
            gate.set()
            while not orders(simulator):
                await asyncio.sleep(0)
            gate.clear()
            await raw.refused("POST", PATH, **ORDER)
            simulator.clock.skew = 10_000
            gate.set()
            await asyncio.gather(*simulator.gate._late)
            assert orders(simulator) == 1

    on_stage(scene)


def test_delayed_execution_checks_the_window_again() -> None:
    """A request held up for longer than its recvWindow is refused, not executed."""

    async def scene(simulator: Simulator) -> None:
        async with Raw(simulator) as raw:

            async def wait(seconds: float) -> None:
                simulator.clock.skew += int(seconds * 1000)

            simulator.gate.sleep = wait
            simulator.gate.faults.add(Fault("delay", "order.place", ms=6_000))
            assert (await raw.refused("POST", PATH, **ORDER))[1] == -1021
            assert orders(simulator) == 0

    on_stage(scene)


def test_query_lag() -> None:
    """An accepted order is unknown to queries for a while, and known afterwards."""

    async def scene(simulator: Simulator) -> None:
        async with Raw(simulator) as raw:
            simulator.spot.state.habits.query_lag = 60_000
            order = await raw.order("BUY", "LIMIT", quantity=1, price=40_000)
            query = {"symbol": "BTCUSDT", "orderId": order["orderId"]}
            assert await raw.refused("GET", PATH, **query) == (400, -2013, "Order does not exist.")
            assert await raw.ok("GET", "/api/v3/openOrders", symbol="BTCUSDT") == []
            simulator.clock.skew = 60_000
            assert (await raw.ok("GET", PATH, **query))["status"] == "NEW"

    on_stage(scene)


@pytest.mark.parametrize(
    ("kind", "cancelled", "new"), [("cancel_fails", "FAILURE", "NOT_ATTEMPTED"), ("new_fails", "SUCCESS", "FAILURE")]
)
def test_half_a_cancel_replace(kind: str, cancelled: str, new: str) -> None:
    """One half fails by order; the state of the exchange is what the answer says."""

    async def scene(simulator: Simulator) -> None:
        async with Raw(simulator) as raw:
            order = await raw.order("BUY", "LIMIT", quantity=1, price=40_000)
            simulator.gate.faults.add(Fault(kind, "order.cancelReplace"))
            _, _, body = await raw.signed(
                "POST",
                "/api/v3/order/cancelReplace",
                **ORDER,
                cancelReplaceMode="STOP_ON_FAILURE",
                cancelOrderId=order["orderId"],
            )
            assert (body["data"]["cancelResult"], body["data"]["newOrderResult"]) == (cancelled, new)
            still_open = len(await raw.ok("GET", "/api/v3/openOrders", symbol="BTCUSDT"))
            assert still_open == (1 if cancelled == "FAILURE" else 0)

    on_stage(scene)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("lose", ["CANCELED"]), ("duplicate", ["NEW", "NEW", "CANCELED"]), ("reorder", ["CANCELED", "NEW"])],
)
def test_events_lost_doubled_reordered(kind: str, expected: list[str]) -> None:
    """The user stream loses, doubles or swaps the event that the rule names."""

    async def scene(simulator: Simulator) -> None:
        async with Raw(simulator) as raw:
            listener = await raw.listen()
            simulator.streams.faults.add(Fault("lose", "outboundAccountPosition", times=9))
            simulator.streams.faults.add(Fault(kind, "executionReport"))
            order = await raw.order("BUY", "LIMIT", quantity=1, price=40_000)
            await raw.ok("DELETE", PATH, symbol="BTCUSDT", orderId=order["orderId"])
            await listener.call("ping", {}, signed=False)
            assert [event["x"] for event in listener.events] == expected

    on_stage(scene)


def test_streams_end() -> None:
    """serverShutdown is told, eventStreamTerminated ends the subscription, disconnect the connection."""

    async def scene(simulator: Simulator) -> None:
        async with Raw(simulator) as raw:
            listener = await raw.listen()
            assert simulator.spot_ws.announce_shutdown() == 1
            assert (await listener.frame())["event"]["e"] == "serverShutdown"
            assert simulator.spot_ws.terminate("alice") == 1
            assert (await listener.frame())["event"]["e"] == "eventStreamTerminated"
            await raw.order("BUY", "LIMIT", quantity=1, price=40_000)
            await listener.call("ping", {}, signed=False)
            assert listener.events == []
            await listener.call("userDataStream.subscribe.signature", {})
            assert simulator.streams.disconnect() == 1
            with pytest.raises(AssertionError, match="CLOSE"):
                await listener.frame()

    on_stage(scene)


def test_admin_port() -> None:
    """Faults, truth, clock, markets and streams over HTTP; a wrong fault is refused by name."""

    async def scene(simulator: Simulator) -> None:
        async with aiohttp.ClientSession() as session, Raw(simulator) as raw:

            async def post(path: str, **body: Any) -> Any:
                async with session.post(simulator.admin_url + path, json=body) as reply:
                    return reply.status, await reply.json()

            async def truth(what: str) -> Any:
                async with session.get(f"{simulator.admin_url}/truth/{what}") as reply:
                    return await reply.json()

            status, body = await post("/faults", kind="drop")
            assert (status, "drop_before" in body["error"]) == (400, True)
            assert (await post("/faults", kind="error_after", where="order.place"))[0] == 200
            assert (await raw.refused("POST", PATH, **ORDER))[1] == -1007
            bought = await post("/order", account="bob", **(ORDER | {"side": "SELL"}))
            assert bought[1]["status"] == "FILLED"
            assert [order["status"] for order in await truth("orders")] == ["FILLED", "FILLED"]
            assert len(await truth("fills")) == 2
            assert (await truth("balances"))["alice"]["USDT"]["free"] == "960000.00000000"
            assert (await truth("requests")) == {"order.place": 1}
            assert (await post("/trade", symbol="BTCUSDT", price="51000", quantity="0.01"))[1] == {"last": "51000"}
            await post("/symbol", symbol="BTCUSDT", status="BREAK")
            assert await raw.refused("POST", PATH, **ORDER) == (400, -2010, "Market is closed.")
            await post("/clock", skew_ms=60_000)
            assert simulator.clock.skew == 60_000
            await post("/ban", ms=5_000)
            assert (await raw.send("GET", "/api/v3/ping"))[0] == 418
            await post("/pardon")
            assert (await raw.send("GET", "/api/v3/ping"))[0] == 200

    on_stage(scene)


def test_every_request_fault_is_tried_here() -> None:
    """A fault that no test of this file names would be a promise nobody checked."""
    from pathlib import Path

    text = Path(__file__).read_text()
    assert [kind for kind in REQUEST_FAULTS if f'"{kind}"' not in text] == []


def test_delayed_reply() -> None:
    """The order is executed at once and the answer comes later."""

    async def scene(simulator: Simulator) -> None:
        async with Raw(simulator) as raw:

            async def wait(seconds: float) -> None:
                assert (orders(simulator), seconds) == (1, 2)

            simulator.gate.sleep = wait
            simulator.gate.faults.add(Fault("delay_reply", "order.place", ms=2_000))
            await raw.ok("POST", PATH, **ORDER)

    on_stage(scene)
