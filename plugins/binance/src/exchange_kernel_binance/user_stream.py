"""Account events of Binance, in the three ways its products tell them.

Spot: a signed subscription on the WebSocket API. Margin: a listen token of the wallet, on the same API. USD-M futures:
a listen key. Each is a stream that shows its gaps; see :mod:`exchange_kernel_ccxt.stream`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import aiohttp
import msgspec

from exchange_kernel.clock import Clock
from exchange_kernel.errors import ClockSkew, NotAuthorized, RateLimited, Unavailable, VenueError
from exchange_kernel_binance.signatures import Sign, signed_frame
from exchange_kernel_binance.user_events import AccountEvents
from exchange_kernel_binance.user_links import ListenKeyLink, SubscribedLink, connect, subscribed
from exchange_kernel_ccxt.stream import Stream
from exchange_kernel_ccxt.stream_link import Dial, Gap, Link, Live, Message, Patience
from exchange_kernel_ccxt.venue_clock import VenueClock

_BEHIND = -1021
_NO_KEY = -1125
_UNAUTHORIZED = frozenset({-2014, -2015, -1022, -1002})
_BANNED_MS = 120_000
_PAUSE_MS = 60_000
_TOKEN_LEAD = 0.9
"""Of its life a listen token is used for so much: another connection has to be there before it ends."""
OpenSession = Callable[[], aiohttp.ClientSession]


class UserStream:
    """The events of one account. ``dial``: a :class:`SignedSubscription`, :class:`ListenToken` or :class:`ListenKey`.

    Copies are dropped, also those that a second connection tells; an order's reports that say less than what was told
    already are absorbed, and executions among them marked ``late``. An execution that never came shows as a ``Gap``.
    """

    def __init__(self, dial: Dial, clock: Clock, patience: Patience | None = None, rng: Random | None = None) -> None:
        self._stream = Stream(dial, AccountEvents(), clock, patience, rng)

    def events(self) -> AsyncIterator[Message | Gap | Live]:
        """Events as Binance wrote them, and markers; until :meth:`close`. Raises NotAuthorized."""
        return self._stream.events()

    async def close(self) -> None:
        """End every connection and task. Idempotent."""
        await self._stream.close()


@dataclass(frozen=True, slots=True)
class Keyed:
    """Requests that need the account's key but no signature (USER_STREAM); ``origin``: ``https://fapi.binance.com``."""

    session: OpenSession
    origin: str
    key: str
    clock: Clock

    async def __call__(self, method: str, path: str, params: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        """The answer. Raises KeyError where there is no such listen key, NotAuthorized, RateLimited, Unavailable."""
        headers = {"X-MBX-APIKEY": self.key}
        try:
            async with self.session().request(
                method, self.origin + path, params=params, headers=headers, allow_redirects=False
            ) as response:
                body, status = await response.read(), response.status
                after = response.headers.get("Retry-After", "")
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{method} {path}: {type(error).__name__}") from None
        try:
            said = msgspec.json.decode(body)
        except ValueError:
            said = None
        if status == 200 and isinstance(said, dict):
            return said
        code = said.get("code") if isinstance(said, dict) else None
        if code == _NO_KEY:
            raise KeyError(path)
        now = self.clock.now_ms()
        raise _refusal(status, code, path, now, now + int(after) * 1000 if after.isdigit() else None)


@dataclass(frozen=True, slots=True)
class SignedSubscription:
    """Spot: ``userDataStream.subscribe.signature``. ``url``: ``wss://ws-api.binance.com:443/ws-api/v3``."""

    session: OpenSession
    url: str
    key: str
    sign: Sign
    time: VenueClock
    clock: Clock
    recv_window_ms: int = 5_000

    async def __call__(self) -> Link:
        if self.time.stale:
            await self.time.measure()
        socket = await connect(self.session(), self.url)
        try:
            fields: dict[str, str | int] = {
                "apiKey": self.key,
                "recvWindow": self.recv_window_ms,
                "timestamp": self.time.now(),
            }
            params = signed_frame(fields, self.sign)
            frame = {"id": "subscribe", "method": "userDataStream.subscribe.signature", "params": params}
            result, waiting = await _subscription(socket, frame, self.clock, self.time.offset)
        except ClockSkew:
            self.time.refute()
            await socket.close()
            raise
        except BaseException:
            await socket.close()
            raise
        return SubscribedLink(socket, result["subscriptionId"], waiting)


@dataclass(frozen=True, slots=True)
class ListenToken:
    """Margin: ``userListenToken``, then ``userDataStream.subscribe.listenToken`` on spot's WebSocket API.

    ``symbol``: of an isolated wallet, as Binance writes it; "": the cross wallet.
    """

    session: OpenSession
    url: str
    request: Callable[[str, str, Mapping[str, str]], Awaitable[Mapping[str, Any]]]
    clock: Clock
    time: VenueClock
    symbol: str = ""

    async def __call__(self) -> Link:
        wallet = {"isIsolated": "true", "symbol": self.symbol} if self.symbol else {}
        if self.time.stale:
            await self.time.measure()
        token = (await self.request("POST", "/sapi/v1/userListenToken", wallet)).get("token")
        if not isinstance(token, str) or not token:
            raise Unavailable("userListenToken: the answer has no token")
        socket = await connect(self.session(), self.url)
        try:
            params = {"listenToken": token}
            frame = {"id": "subscribe", "method": "userDataStream.subscribe.listenToken", "params": params}
            result, waiting = await _subscription(socket, frame, self.clock, self.time.offset)
            left = (int(result["expirationTime"]) - self.time.now()) / 1000
        except BaseException:
            await socket.close()
            raise
        return SubscribedLink(socket, result["subscriptionId"], waiting, max(1.0, left * _TOKEN_LEAD))


@dataclass(frozen=True, slots=True)
class ListenKey:
    """USD-M futures: a listen key, kept alive. ``url``: ``wss://fstream.binance.com/private/ws``."""

    session: OpenSession
    url: str
    request: Callable[[str, str], Awaitable[Mapping[str, Any]]]
    clock: Clock

    async def __call__(self) -> Link:
        key = await self._ask("POST")
        if not key.isalnum():
            raise Unavailable("listenKey: the answer has no key")
        socket = await connect(self.session(), f"{self.url}?listenKey={key}")
        return ListenKeyLink(socket, key, self._renew, self.clock)

    async def _renew(self) -> str:
        return await self._ask("PUT")

    async def _ask(self, method: str) -> str:
        return str((await self.request(method, "/fapi/v1/listenKey")).get("listenKey", ""))


async def _subscription(
    socket: aiohttp.ClientWebSocketResponse, frame: Mapping[str, Any], clock: Clock, offset: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    answer, waiting = await subscribed(socket, frame)
    result = answer.get("result")
    if answer.get("status") == 200 and isinstance(result, dict) and isinstance(result.get("subscriptionId"), int):
        return result, waiting
    error = answer.get("error") or {}
    after = (error.get("data") or {}).get("retryAfter")
    retry_at = after - offset if isinstance(after, int) else None
    raise _refusal(int(answer.get("status", 0)), error.get("code"), frame["method"], clock.now_ms(), retry_at)


def _refusal(status: int, code: int | None, what: str, now: int, retry_at: int | None) -> VenueError:
    """What a refusal means for who wants to listen; ``retry_at``: local ms, where Binance said it."""
    if status in (418, 429):
        wait = _BANNED_MS if status == 418 else _PAUSE_MS
        return RateLimited(now + wait if retry_at is None else retry_at, "ip", banned=status == 418)
    text = f"{what}: {status} {'' if code is None else code}".rstrip()
    if code == _BEHIND:
        return ClockSkew(text, code=str(code))
    if code in _UNAUTHORIZED or status == 401:
        return NotAuthorized(text, code="" if code is None else str(code))
    return Unavailable(text)
