"""The exchange's time, injected. Nothing else in the exchange asks the machine what time it is."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """Something scheduled that can still be called off."""

    def cancel(self) -> None: ...


class VenueClock(Protocol):
    """A source of time: ``now_ms`` is ms UTC; ``call_later`` runs a plain function once, after ``seconds``."""

    def now_ms(self) -> int: ...

    async def sleep(self, seconds: float) -> None: ...

    def call_later(self, seconds: float, fn: Callable[[], None]) -> Timer: ...


class LoopClock:
    """Timers of the running asyncio loop (real or virtual); the time of day from ``now_ms``, ms UTC."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, fn: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(seconds, fn)


class SystemVenueClock(LoopClock):
    """The machine's clock."""

    def __init__(self) -> None:
        super().__init__(lambda: time.time_ns() // 1_000_000)


class ManualClock:
    """Time that stands still until a test moves it; needs no event loop."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now = now_ms
        self._timers: list[tuple[int, int, _ManualTimer]] = []
        self._count = 0

    def now_ms(self) -> int:
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Wait until :meth:`advance` has moved time that far."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        self.call_later(seconds, wake)
        await woken

    def call_later(self, seconds: float, fn: Callable[[], object]) -> Timer:
        timer = _ManualTimer(fn)
        self._count += 1
        heapq.heappush(self._timers, (self._now + max(0, round(seconds * 1000)), self._count, timer))
        return timer

    def advance(self, ms: int) -> None:
        """Move time forward, firing what falls due at its own moment, in order."""
        end = self._now + ms
        while self._timers and self._timers[0][0] <= end:
            at, _, timer = heapq.heappop(self._timers)
            self._now = max(self._now, at)
            timer.fire()
        self._now = end


class _ManualTimer:
    __slots__ = ("_fn",)

    def __init__(self, fn: Callable[[], object]) -> None:
        self._fn: Callable[[], object] | None = fn

    def fire(self) -> None:
        if self._fn is not None:
            self._fn()

    def cancel(self) -> None:
        self._fn = None
