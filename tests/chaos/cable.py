"""A line to a server that can be cut, slowed and stalled: bytes pass as they are, whatever is spoken on it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from exchange_kernel.testing.faults.handles import Ending
from exchange_kernel.testing.faults.link import Link


class Cable:
    """Listens on loopback and passes every connection on to ``target``. ``delay``: seconds that each piece waits."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.delay = 0.0
        self.passed = 0
        self._open = asyncio.Event()
        self._open.set()
        self._links: set[Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def to(cls, target: int) -> AsyncIterator[Cable]:
        cable = cls(target)
        server = await asyncio.start_server(cable._accept, "127.0.0.1", 0)
        cable.port = server.sockets[0].getsockname()[1]
        try:
            yield cable
        finally:
            server.close()
            for task in tuple(cable._tasks):
                task.cancel()
            await asyncio.gather(*cable._tasks, return_exceptions=True)

    async def cut(self) -> int:
        """Reset every connection that is open; how many."""
        links = tuple(self._links)
        for link in links:
            await link.end(Ending.RESET)
        return len(links) // 2

    def stall(self) -> None:
        """From now on nothing passes, and nobody is told: also not to who connects."""
        self._open.clear()

    def heal(self) -> None:
        """Everything passes at once again, what was held first."""
        self.delay = 0.0
        self._open.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._relay(Link(reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _relay(self, near: Link) -> None:
        self._links.add(near)
        far: Link | None = None
        try:
            await self._open.wait()
            far = Link(*await asyncio.open_connection("127.0.0.1", self.target))
            self._links.add(far)
            ways = [asyncio.create_task(self._pass(near, far)), asyncio.create_task(self._pass(far, near))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            pass
        finally:
            for link in (near, far):
                if link is not None:
                    self._links.discard(link)
                    with contextlib.suppress(OSError):
                        await link.drop()

    async def _pass(self, source: Link, sink: Link) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read():
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self._open.wait()
                sink.send(data)
                await sink.drain()
                self.passed += len(data)
