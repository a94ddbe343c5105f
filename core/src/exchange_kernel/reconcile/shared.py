"""What the processes of one desk share beside SQL, as one kernel sees it: calls, marks, events and the cache.

Everything here may be gone at any moment; orders are worked on without it, only later (S13).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from exchange_kernel.clock import Clock
from exchange_kernel.reconcile.queue import MemoryQueue, Priority
from exchange_kernel.reconcile.redis_queue import FrontedQueue, Marks, RedisQueue, Wakes
from exchange_kernel.state.redis import RedisLink
from exchange_kernel.state.redis.actual import RedisActualStore
from exchange_kernel.state.redis.fanout import Fanout

__all__ = ["ElsewhereQueue", "Shared"]


class ElsewhereQueue(MemoryQueue):
    """The queue of an account that another process owns: what is marked here is told there, and nothing is kept."""

    def __init__(self, clock: Clock, account: str, marks: Marks | None) -> None:
        super().__init__(clock)
        self._account, self._marks = account, marks

    def mark(self, key: str, priority: Priority = Priority.REFRESH, delay: float = 0.0) -> None:
        if self._marks is not None:
            self._marks.mark(self._account, key, priority, delay)


class Shared:
    """One process' share. ``worker``: the name by which it is called."""

    def __init__(self, link: RedisLink, worker: str, clock: Clock) -> None:
        self.link, self.worker = link, worker
        self._clock = clock
        self.marks = Marks(link)
        self.wakes = Wakes(link, worker)
        self.actual = RedisActualStore(link)
        self.fanout: Fanout | None = None

    async def open(self, era: str) -> None:
        """Connect. Raises ConfigError for a server that cannot be used whatever one waits."""
        await self.link.open()
        self.wakes.start()
        self.fanout = Fanout(self.link, era)

    async def close(self) -> None:
        """Send what is left, and let go. Idempotent."""
        await self.marks.flush()
        await self.actual.flush()
        if self.fanout is not None:
            await self.fanout.close()
            self.fanout = None
        await self.wakes.stop()
        await self.link.close()

    def queue(self, account: str) -> OwnedQueue:
        """The queue of an account that this process may come to own."""
        return OwnedQueue(self._clock, account, self)


class OwnedQueue(FrontedQueue):
    """Before this process owns the account its marks go to who does; from then on they stay here."""

    def __init__(self, clock: Clock, account: str, shared: Shared) -> None:
        super().__init__(clock)
        self._account, self._shared = account, shared

    def mark(self, key: str, priority: Priority = Priority.REFRESH, delay: float = 0.0) -> None:
        if self.behind is None:
            self._shared.marks.mark(self._account, key, priority, delay)
        else:
            super().mark(key, priority, delay)

    async def begin(self, epoch: int, lost: Callable[[], None]) -> None:
        wake: asyncio.Event = self._shared.wakes.of(self._account)
        worker = self._shared.worker
        self.take_in(RedisQueue(self._shared.link, self._account, worker, epoch, wake=wake, on_lost=lost))

    @property
    def linked(self) -> bool:
        return self.behind is not None and self._shared.link.healthy
