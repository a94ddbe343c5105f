"""Connections on which Binance tells account events: the WebSocket API with its subscriptions, and listen keys.

Sources: user-data-stream.md, web-socket-api.md (User Data Stream requests), USD-M futures, User Data Streams.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any

import aiohttp
import msgspec

from exchange_kernel.clock import Clock
from exchange_kernel.errors import Unavailable, VenueError
from exchange_kernel_ccxt.stream_link import Alive, Broken, Frame, Leaving, Told

_TYPE = aiohttp.WSMsgType
_ALIVE = Alive()
_read = msgspec.json.Decoder(float_hook=Decimal).decode
_write = msgspec.json.Encoder().encode
KEEPALIVE_S = 30 * 60
"""A listen key lives for 60 minutes after it was last asked for; Binance advises to ask each 30 (Keepalive)."""
_AGAIN_S = 60
_LISTEN_KEY_S = 55 * 60


async def connect(session: aiohttp.ClientSession, url: str) -> aiohttp.ClientWebSocketResponse:
    """A socket whose pings are seen: they are its signs of life. Raises Broken."""
    timeout = aiohttp.ClientWSTimeout(ws_close=1.0)
    try:
        return await session.ws_connect(url, autoping=False, timeout=timeout, max_msg_size=16 * 1024 * 1024)
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise Broken(f"no connection: {type(error).__name__}") from None


async def read(socket: aiohttp.ClientWebSocketResponse) -> Any:
    """The next frame, decoded: a mapping, or None for a ping or pong. Raises Broken."""
    message = await socket.receive()
    if message.type is _TYPE.TEXT:
        try:
            frame = _read(message.data)
        except ValueError:
            raise Broken("a frame is no JSON") from None
        if not isinstance(frame, dict):
            raise Broken("a frame is no object")
        return frame
    if message.type is _TYPE.PING:
        await _guarded(socket.pong(message.data))
        return None
    if message.type is _TYPE.PONG:
        return None
    raise Broken(f"the connection ended ({message.type.name.lower()} {socket.close_code or ''})".replace(" )", ")"))


async def send(socket: aiohttp.ClientWebSocketResponse, frame: Mapping[str, Any]) -> None:
    """Send a frame. Raises Broken."""
    await _guarded(socket.send_str(_write(frame).decode()))


async def _guarded(sending: Awaitable[None]) -> None:
    try:
        await sending
    except (aiohttp.ClientError, OSError, RuntimeError) as error:
        raise Broken(f"nothing can be sent: {type(error).__name__}") from None


class SubscribedLink:
    """A subscription on the WebSocket API. Implements Link."""

    def __init__(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        subscription: int,
        waiting: list[dict[str, Any]],
        lasts_s: float | None = None,
    ) -> None:
        self._socket, self._subscription = socket, subscription
        # What came before the answer to the subscription.
        self._waiting = deque(waiting)
        self.lasts_s = lasts_s

    async def receive(self) -> Frame:
        while True:
            frame = self._waiting.popleft() if self._waiting else await read(self._socket)
            if frame is None:
                return _ALIVE
            if "event" not in frame:
                self._check_answer(frame)
                return _ALIVE
            if frame.get("subscriptionId", self._subscription) != self._subscription:
                continue
            event = frame["event"]
            kind = event.get("e") if isinstance(event, dict) else None
            if kind == "eventStreamTerminated":
                raise Broken("Binance ended the subscription (eventStreamTerminated)")
            if kind == "serverShutdown":
                return Leaving("the server will shut down (serverShutdown)")
            if kind is None:
                raise Broken("an event without a type")
            return Told(event)

    async def probe(self) -> None:
        """Ask which subscriptions there are: an answer without ours shows that it has ended."""
        await send(self._socket, {"id": "probe", "method": "session.subscriptions"})

    def _check_answer(self, frame: Mapping[str, Any]) -> None:
        listed = frame.get("result")
        if frame.get("id") != "probe" or not isinstance(listed, list):
            return
        if not any(isinstance(each, dict) and each.get("subscriptionId") == self._subscription for each in listed):
            raise Broken("the subscription is gone")

    async def close(self) -> None:
        await self._socket.close()


class ListenKeyLink:
    """A connection by listen key, which it keeps alive. Implements Link. ``keep`` renews the key; it raises KeyError
    when there is none any more, and VenueError where it could not be asked."""

    def __init__(
        self, socket: aiohttp.ClientWebSocketResponse, listen_key: str, keep: Callable[[], Awaitable[str]], clock: Clock
    ) -> None:
        self._socket, self._key, self._keep, self._clock = socket, listen_key, keep, clock
        self._why = ""
        self._keeping = asyncio.get_running_loop().create_task(self._keep_alive())
        self.lasts_s: float | None = None

    async def receive(self) -> Frame:
        try:
            frame = await read(self._socket)
        except Broken:
            if self._why:
                raise Broken(self._why) from None
            raise
        if frame is None or "e" not in frame:
            return _ALIVE
        if frame["e"] == "listenKeyExpired":
            raise Broken("Binance ended the listen key (listenKeyExpired)")
        if frame["e"] == "serverShutdown":
            return Leaving("the server will shut down (serverShutdown)")
        return Told(frame)

    async def probe(self) -> None:
        await _guarded(self._socket.ping())

    async def close(self) -> None:
        """The key is left: every connection of the account shares it."""
        self._keeping.cancel()
        await asyncio.wait({self._keeping})
        await self._socket.close()

    async def _keep_alive(self) -> None:
        kept, pause = self._clock.monotonic(), float(KEEPALIVE_S)
        while True:
            await self._clock.sleep(pause)
            try:
                renewed = await self._keep()
            except KeyError:
                self._why = "the listen key is gone"
            except (VenueError, OSError) as error:
                pause = _AGAIN_S
                if self._clock.monotonic() - kept >= _LISTEN_KEY_S:
                    self._why = f"the listen key could not be kept alive: {type(error).__name__}"
            else:
                kept, pause = self._clock.monotonic(), float(KEEPALIVE_S)
                if renewed not in ("", self._key):
                    self._why = "the listen key was replaced"
            if self._why:
                await self._socket.close()
                return


async def subscribed(
    socket: aiohttp.ClientWebSocketResponse, frame: Mapping[str, Any]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Ask for a subscription; its whole answer, and the events that came before it. Raises Broken."""
    waiting: list[dict[str, Any]] = []
    await send(socket, frame)
    while True:
        answer = await read(socket)
        if answer is None:
            continue
        if "event" in answer:
            waiting.append(answer)
        elif answer.get("id") == frame["id"]:
            return answer, waiting
        elif answer.get("id") is None:
            raise Unavailable("the subscription could not be read by Binance")
