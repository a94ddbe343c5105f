"""A simulated Binance behind a fault proxy, in a loop and a thread of their own: no task of theirs is the client's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

from exchange_kernel.testing.faults import Ending, FaultProxy
from exchange_kernel_binance.simulator import Simulator, SimulatorConfig

T = TypeVar("T")
_WAIT_S = 30


class BinanceAside:
    """``binance`` and ``proxy`` are to be touched with :meth:`ask` and :meth:`wait` only, which run in their loop."""

    def __init__(self, config: SimulatorConfig, secrets: tuple[str, ...] = ()) -> None:
        self.binance = Simulator(config)
        self._secrets = secrets
        self.proxy: FaultProxy
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._later: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start both."""
        self._thread.start()

        async def begin() -> None:
            await self.binance.start()
            self.proxy = FaultProxy(self.binance.url, secrets=self._secrets)
            await self.proxy.start()

        await self.wait(begin)

    async def stop(self) -> None:
        """End both, and the thread."""
        if not self._thread.is_alive():
            return

        async def end() -> None:
            for task in self._later:
                task.cancel()
            await asyncio.gather(*self._later, return_exceptions=True)
            await self.proxy.aclose()
            await self.binance.close()

        try:
            await self.wait(end)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
            self._loop.close()

    async def ask(self, what: Callable[[], T]) -> T:
        """Call it where they live."""

        async def done() -> T:
            return what()

        return await self.wait(done)

    async def wait(self, what: Callable[[], Awaitable[T]]) -> T:
        """The same for what is awaited."""

        async def done() -> T:
            return await what()

        future = asyncio.run_coroutine_threadsafe(done(), self._loop)
        async with asyncio.timeout(_WAIT_S):
            return await asyncio.wrap_future(future)

    async def outage(self, seconds: float) -> None:
        """Nothing can be reached for a while, and what is connected is cut off."""

        async def down() -> None:
            await self.proxy.refuse_connections()
            broken = self.proxy.drop_request(times=None)
            self.proxy.cut_now(ending=Ending.RESET)

            async def over() -> None:
                await asyncio.sleep(seconds)
                broken.clear()
                await self.proxy.accept_connections()

            task = asyncio.get_running_loop().create_task(over())
            self._later.add(task)
            task.add_done_callback(self._later.discard)

        await self.wait(down)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
