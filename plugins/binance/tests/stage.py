"""A running simulator, and a client that sends exactly what a test says."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import aiohttp

from exchange_kernel_binance.simulator import Simulator, SimulatorConfig, standard_config
from exchange_kernel_binance.simulator.wire.keys import ApiKey

CLEAN = {"stp": "NONE"}


def config() -> SimulatorConfig:
    """Three symbols, alice and bob with money."""
    return standard_config()


def on_stage(scene: Callable[[Simulator], Awaitable[None]], settings: SimulatorConfig | None = None) -> None:
    """Play the scene against a simulator that is gone afterwards."""

    async def play() -> None:
        async with Simulator(settings or config()) as simulator:
            await scene(simulator)

    asyncio.run(asyncio.wait_for(play(), 60))


class Raw:
    """Sends requests over HTTP and frames over the WebSocket API, signed with the account's HMAC key."""

    def __init__(self, simulator: Simulator, account: str = "alice") -> None:
        self.simulator = simulator
        self.key: ApiKey = simulator.keys_of[account]
        self.session = aiohttp.ClientSession()

    async def __aenter__(self) -> Raw:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    def sign(self, payload: str) -> str:
        return hmac.new(self.key.secret.encode(), payload.encode(), hashlib.sha256).hexdigest()

    async def send(self, method: str, path: str, query: str = "", body: str | None = None) -> Any:
        """(status, headers, JSON or text) of exactly this request."""
        from yarl import URL

        url = self.simulator.url + path + (f"?{query}" if query else "")
        headers = {"X-MBX-APIKEY": self.key.key}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        async with self.session.request(method, URL(url, encoded=True), data=body, headers=headers) as reply:
            text = await reply.text()
            return reply.status, reply.headers, json.loads(text) if text.startswith(("{", "[")) else text

    async def signed(self, method: str, path: str, **params: Any) -> Any:
        """(status, headers, JSON) of a signed request with these parameters in the query string."""
        params.setdefault("timestamp", self.simulator.clock.now())
        query = urlencode(params)
        return await self.send(method, path, f"{query}&signature={self.sign(query)}")

    async def ok(self, method: str, path: str, **params: Any) -> Any:
        """The JSON of a signed request that must succeed."""
        status, _, body = await self.signed(method, path, **params)
        assert status == 200, body
        return body

    async def order(self, side: str, kind: str, **more: Any) -> Any:
        """Place an order on BTCUSDT that must be accepted."""
        if kind in ("LIMIT", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"):
            more.setdefault("timeInForce", "GTC")
        more = {"symbol": "BTCUSDT", "side": side, "type": kind, "newOrderRespType": "FULL", **more}
        return await self.ok("POST", "/api/v3/order", **more)

    async def refused(self, method: str, path: str, **params: Any) -> Any:
        """(HTTP status, code, message) of a signed request that must fail."""
        status, _, body = await self.signed(method, path, **params)
        assert status != 200, body
        return status, body["code"], body["msg"]

    async def listen(self) -> Listener:
        """A WebSocket API connection that is subscribed to the account's events."""
        socket = await self.session.ws_connect(self.simulator.ws_url + "/ws-api/v3")
        listener = Listener(self, socket)
        reply = await listener.call("userDataStream.subscribe.signature", {})
        assert reply["status"] == 200, reply
        return listener


class Listener:
    """A WebSocket API connection: calls answered, events kept."""

    def __init__(self, raw: Raw, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.raw = raw
        self.socket = socket
        self.events: list[dict[str, Any]] = []
        self.number = 0

    async def call(self, method: str, params: dict[str, Any], *, signed: bool = True) -> Any:
        """The reply to a request; events that come before it are kept."""
        self.number += 1
        if signed:
            params = {"apiKey": self.raw.key.key, "timestamp": self.raw.simulator.clock.now(), **params}
            params["signature"] = self.raw.sign("&".join(f"{name}={params[name]}" for name in sorted(params)))
        await self.socket.send_str(json.dumps({"id": self.number, "method": method, "params": params}))
        while True:
            frame = await self.frame()
            if "id" in frame:
                return frame
            self.events.append(frame["event"])

    async def frame(self) -> Any:
        message = await self.socket.receive(10)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        return json.loads(message.data)

    async def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The next event of this type with these fields."""
        while True:
            for place, event in enumerate(self.events):
                if event["e"] == kind and all(event.get(name) == value for name, value in fields.items()):
                    del self.events[: place + 1]
                    return event
            self.events.append((await self.frame())["event"])


def unknown_fields(model: Any, where: str = "") -> list[str]:
    """The fields of a parsed SDK model that the SDK doesn't know, with their path."""
    found = []
    if isinstance(model, list):
        for item in model:
            found += unknown_fields(item, where)
        return found
    actual = getattr(model, "actual_instance", None)
    if actual is not None:
        return unknown_fields(actual, where)
    found += [f"{where}{name}" for name in getattr(model, "additional_properties", None) or {}]
    for name in type(model).model_fields if hasattr(type(model), "model_fields") else ():
        if name != "additional_properties":
            value = getattr(model, name)
            if hasattr(type(value), "model_fields") or isinstance(value, list):
                found += unknown_fields(value, f"{where}{name}.")
    return found


def absent_fields(model: Any, where: str = "") -> set[str]:
    """The fields that the SDK's model knows, from the documented examples, and that the answer lacks."""
    if isinstance(model, list):
        return {each for item in model for each in absent_fields(item, where)}
    actual = getattr(model, "actual_instance", None)
    if actual is not None:
        return absent_fields(actual, where)
    found = set()
    for name, field in getattr(type(model), "model_fields", {}).items():
        if name == "additional_properties":
            continue
        value = getattr(model, name)
        if value is None:
            found.add(where + (field.alias or name))
        elif isinstance(value, list) or hasattr(type(value), "model_fields"):
            found |= absent_fields(value, f"{where}{name}.")
    return found
