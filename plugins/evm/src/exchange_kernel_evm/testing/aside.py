"""A fault proxy in a loop and a thread of its own: its tasks are not those of the session under test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from exchange_kernel.testing.conformance import Fault
from exchange_kernel.testing.faults import FaultProxy
from exchange_kernel_evm.testing.wire_faults import arm

T = TypeVar("T")


class ProxyAside:
    """The proxy before one node. ``mine``: called every ``every_s``, so that the chain goes on; nothing passes the
    proxy while it runs."""

    def __init__(self, url: str, mine: Callable[[], None], every_s: float) -> None:
        self.proxy, self._url = FaultProxy(url), url
        self._mine, self._every_s = mine, every_s
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._later: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._thread.start()
        self.wait(self.proxy.start)
        self.ask(lambda: self._later.append(self._loop.create_task(self._go_on())))

    def stop(self) -> None:
        self.wait(self._end)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def ask(self, what: Callable[[], T]) -> T:
        """Do something with the proxy where it lives."""

        async def done() -> T:
            return what()

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result(30)

    def wait(self, what: Callable[[], Awaitable[Any]]) -> None:
        """The same for what is awaited."""

        async def done() -> None:
            await what()

        asyncio.run_coroutine_threadsafe(done(), self._loop).result(30)

    def inject(self, fault: Fault, *, times: int, ms: int, after: int, pace: int = 1, spares: bytes = b"") -> None:
        """See :func:`exchange_kernel_evm.testing.wire_faults.arm`."""
        how: dict[str, Any] = {"times": times, "ms": ms, "after": after, "pace": pace, "spares": spares}
        self.ask(lambda: arm(self.proxy, self._url, self.later, fault, **how))

    def outage(self, seconds: float) -> None:
        """Nothing can be reached for a while."""

        async def down() -> None:
            await self.proxy.refuse_connections()
            broken = self.proxy.drop_request(times=None)

            async def over() -> None:
                await asyncio.sleep(seconds)
                broken.clear()
                await self.proxy.accept_connections()

            self._later.append(self._loop.create_task(over()))

        self.wait(down)

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        """Do something in a while, in a thread. To be called from the proxy's own loop, by a matcher for instance."""

        async def done() -> None:
            await asyncio.sleep(seconds)
            await asyncio.to_thread(what)

        self._later.append(self._loop.create_task(done()))

    async def _go_on(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            self._mine()

    async def _end(self) -> None:
        for task in self._later:
            task.cancel()
        await asyncio.gather(*self._later, return_exceptions=True)
        await self.proxy.aclose()
        await self._loop.shutdown_default_executor()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
