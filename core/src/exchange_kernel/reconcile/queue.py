"""The work queue: keyed, level-triggered, with controller semantics.

A key is handled by one handler at a time; a mark while it is being handled means exactly one more run after. A key that
is marked twice keeps its lowest wait and its highest priority. Marks are hints: losing them all changes latency only
(S13).
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Protocol

from exchange_kernel.clock import Clock


class Priority(IntEnum):
    """Lower runs first."""

    CANCEL = 0
    SUBMIT = 1
    REFRESH = 2
    RESYNC = 3


class WorkQueue(Protocol):
    """What the engine needs of a queue. Keys are intent ids of one account."""

    def mark(self, key: str, priority: Priority = Priority.REFRESH, delay: float = 0.0) -> None:
        """Look at this key after ``delay`` seconds."""
        ...

    def forget(self, key: str) -> None:
        """Drop a waiting mark; a key that is being handled keeps its dirty mark."""
        ...

    def pending(self, key: str) -> bool:
        """Is it being handled, or about to be? A key that waits for its time is not."""
        ...

    async def claim(self, limit: int) -> Sequence[str]:
        """Wait until something is due, then take up to ``limit`` keys, most urgent first."""
        ...

    heard: Callable[[str, Priority], None]
    """Called with a key that another process marked; it must mark it here."""

    def done(self, key: str, again: float | None = None) -> None:
        """The handler of a claimed key ended; ``again``: seconds until it wants another run."""
        ...

    async def begin(self, epoch: int, lost: Callable[[], None]) -> None:
        """This process owns the account under this epoch. ``lost``: called when marks of others may have been lost."""
        ...

    async def end(self) -> None:
        """It works on nothing more. Idempotent."""
        ...

    @property
    def linked(self) -> bool:
        """Do marks that other processes make reach this queue now?"""
        ...


class MemoryQueue:
    """The embedded queue: in this process, without I/O."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ready: tuple[deque[str], ...] = tuple(deque() for _ in Priority)
        self._waiting: dict[str, tuple[float, Priority]] = {}
        self._timers: list[tuple[float, int, str]] = []
        self._queued: dict[str, Priority] = {}
        self._running: set[str] = set()
        self._dirty: dict[str, tuple[float, Priority]] = {}
        self._wake: asyncio.Event | None = None
        self._serial = 0
        self.heard: Callable[[str, Priority], None] = self.mark

    def __len__(self) -> int:
        return len(self._queued) + len(self._waiting) + len(self._running)

    def mark(self, key: str, priority: Priority = Priority.REFRESH, delay: float = 0.0) -> None:
        if key in self._running:
            due, urgent = self._dirty.get(key, (float("inf"), Priority.RESYNC))
            self._dirty[key] = (min(due, self._clock.monotonic() + delay), min(urgent, priority))
            return
        queued = self._queued.get(key)
        if queued is not None:
            if priority < queued:
                self._queued[key] = priority
                self._ready[priority].append(key)
            return
        waiting = self._waiting.get(key)
        if waiting is not None:
            priority = min(priority, waiting[1])
        if delay <= 0:
            self._waiting.pop(key, None)
            self._enqueue(key, priority)
            return
        due = self._clock.monotonic() + delay
        if waiting is not None and waiting[0] <= due:
            self._waiting[key] = (waiting[0], priority)
            return
        self._waiting[key] = (due, priority)
        self._serial += 1
        heapq.heappush(self._timers, (due, self._serial, key))
        if self._timers[0][2] == key:
            self._signal()

    def forget(self, key: str) -> None:
        self._waiting.pop(key, None)
        self._queued.pop(key, None)

    def pending(self, key: str) -> bool:
        return key in self._running or key in self._queued

    async def claim(self, limit: int) -> Sequence[str]:
        while True:
            self._promote()
            taken = self._take(limit)
            if taken:
                return taken
            self._wake = self._wake or asyncio.Event()
            self._wake.clear()
            if not self._timers:
                await self._wake.wait()
                continue
            delay = max(0.001, self._timers[0][0] - self._clock.monotonic())
            try:
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def done(self, key: str, again: float | None = None) -> None:
        self._running.discard(key)
        dirty = self._dirty.pop(key, None)
        if dirty is not None:
            self.mark(key, dirty[1], dirty[0] - self._clock.monotonic())
        if again is not None:
            self.mark(key, Priority.REFRESH, again)

    async def begin(self, epoch: int, lost: Callable[[], None]) -> None:
        """Nobody else reaches it."""

    async def end(self) -> None:
        """Nothing to let go of."""

    @property
    def linked(self) -> bool:
        """Marks of other processes do not come here: the sweep finds what they wrote."""
        return False

    def _enqueue(self, key: str, priority: Priority) -> None:
        self._queued[key] = priority
        self._ready[priority].append(key)
        self._signal()

    def _signal(self) -> None:
        if self._wake is not None:
            self._wake.set()

    def _promote(self) -> None:
        now = self._clock.monotonic()
        while self._timers and self._timers[0][0] <= now:
            due, _, key = heapq.heappop(self._timers)
            waiting = self._waiting.get(key)
            if waiting is not None and waiting[0] == due:
                del self._waiting[key]
                self._enqueue(key, waiting[1])

    def _take(self, limit: int) -> list[str]:
        taken: list[str] = []
        for priority in Priority:
            ready = self._ready[priority]
            while ready and len(taken) < limit:
                key = ready.popleft()
                if self._queued.get(key) == priority:
                    del self._queued[key]
                    self._running.add(key)
                    taken.append(key)
        return taken
