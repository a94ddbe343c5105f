"""What a WebSocket connection sends, in order, by a task of its own; and the connections there are."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web


class Outbox:
    """Frames wait here for their connection; `end` closes it after what was put before."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket
        self._frames: asyncio.Queue[str | None] = asyncio.Queue()
        self._task = asyncio.ensure_future(self._send())

    def put(self, frame: Any) -> None:
        self._frames.put_nowait(json.dumps(frame, separators=(",", ":")))

    def end(self) -> None:
        self._frames.put_nowait(None)

    async def _send(self) -> None:
        while True:
            frame = await self._frames.get()
            try:
                if frame is None:
                    await self.socket.close()
                    return
                await self.socket.send_str(frame)
            except (ConnectionError, RuntimeError):
                return

    async def close(self) -> None:
        """The connection is gone."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
