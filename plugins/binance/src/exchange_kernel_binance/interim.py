"""A connection to the user-data stream of the spot WebSocket API, signed with HMAC."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import aiohttp

from exchange_kernel.errors import NotAuthorized, Unavailable
from exchange_kernel_ccxt.stream_link import Broken, Leaving, Told


class Plain:
    """Takes every event as it comes."""

    def identity(self, event: Any) -> Any:
        return None

    def place(self, event: Any) -> bool:
        return False

    def lacking(self, event: Any) -> str:
        return ""

    def forgive(self) -> None:
        return None


class InterimLink:
    """One subscribed connection."""

    lasts_s = None

    def __init__(self, session: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.session, self.socket = session, socket

    async def receive(self) -> Any:
        message = await self.socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise Broken(str(message.type))
        frame = json.loads(message.data)
        if "event" not in frame:
            from exchange_kernel_ccxt.stream_link import Alive

            return Alive()
        if frame["event"]["e"] == "eventStreamTerminated":
            raise Broken("terminated")
        if frame["event"]["e"] == "serverShutdown":
            return Leaving("shutdown")
        return Told(frame["event"])

    async def probe(self) -> None:
        await self.socket.send_str(json.dumps({"id": "p", "method": "session.subscriptions"}))

    async def close(self) -> None:
        await self.socket.close()
        await self.session.close()


async def dial(url: str, key: str, secret: str, now: int) -> InterimLink:
    """Connect and subscribe. Raises Broken, NotAuthorized, Unavailable."""
    session = aiohttp.ClientSession()
    try:
        socket = await session.ws_connect(url)
        params = {"apiKey": key, "timestamp": now}
        payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
        params["signature"] = hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
        await socket.send_str(json.dumps({"id": "s", "method": "userDataStream.subscribe.signature", "params": params}))
        reply = json.loads(await socket.receive_str())
        if reply["status"] in (400, 401, 403):
            raise NotAuthorized("refused") if reply["error"]["code"] != -1021 else Unavailable("time")
    except (aiohttp.ClientError, OSError, TypeError) as error:
        await session.close()
        raise Broken(str(error)) from None
    except BaseException:
        await session.close()
        raise
    return InterimLink(session, socket)
