"""Waking up at new blocks: ``newHeads`` over a WebSocket where there is one, and by asking again where there is not.

Only a wake-up: what is in the block is read from the nodes that are read from, whoever announced it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import aiohttp

from exchange_kernel.errors import ConfigError
from exchange_kernel_evm.endpoint import endpoint_name

__all__ = ["Heads"]

SILENT_BLOCKS = 5
"""Blocks' time without an announcement after which a subscription counts as dead."""


class Heads:
    """Announcements of new blocks. ``url``: a ws or wss address, or ""; ``poll_ms``: how often to look without it."""

    def __init__(self, url: str, *, poll_ms: int, block_ms: int, sleep: Callable[[float], Awaitable[object]]) -> None:
        if url and urlsplit(url).scheme not in ("ws", "wss"):
            raise ConfigError("ws", endpoint_name(url), "must be a ws or wss address")
        self.name = endpoint_name(url) if url else ""
        self.subscribed = False
        self._url, self._poll_ms, self._block_ms, self._sleep = url, poll_ms, block_ms, sleep
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def wait(self) -> bool:
        """Until a block is announced, or it is time to look. True: announced."""
        if self._url and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._listen(), name=f"heads of {self.name}")
        pause = asyncio.ensure_future(self._sleep(self._pause_s()))
        news = asyncio.ensure_future(self._news.wait())
        try:
            await asyncio.wait((pause, news), return_when=asyncio.FIRST_COMPLETED)
            announced = self._news.is_set()
        finally:
            for each in (pause, news):
                each.cancel()
            await asyncio.gather(pause, news, return_exceptions=True)
        self._news.clear()
        return announced

    async def close(self) -> None:
        """Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._news.set()

    def _pause_s(self) -> float:
        # While announcements come, looking is only for those that were lost.
        return (2 * self._block_ms if self.subscribed else self._poll_ms) / 1000

    async def _listen(self) -> None:
        while True:
            try:
                async with aiohttp.ClientSession() as http, http.ws_connect(self._url, max_msg_size=1 << 20) as socket:
                    await self._subscription(socket)
            except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
                pass  # polled meanwhile; why it ended changes nothing about that
            finally:
                self.subscribed = False
            await self._sleep(self._poll_ms / 1000)

    async def _subscription(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        await socket.send_str(
            json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]})
        )
        while True:
            message = await socket.receive(timeout=SILENT_BLOCKS * self._block_ms / 1000)
            if message.type is not aiohttp.WSMsgType.TEXT:
                return
            row = json.loads(message.data)
            if not isinstance(row, dict) or "error" in row:
                return
            self.subscribed = True
            if row.get("method") == "eth_subscription":
                self._news.set()
