"""Virtual time: an asyncio loop that never sleeps and never touches the machine, so that a seed decides everything.

``VirtualLoop`` advances its clock to the next timer instead of waiting, and shuffles what is ready with a seeded random
generator, so that one seed is one interleaving and replays exactly. Threads, sockets and subprocesses are refused: they
are not deterministic.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
from collections.abc import Callable, Coroutine, Mapping
from random import Random
from typing import Any, NoReturn, TypeVar, cast

T = TypeVar("T")


class Deadlock(RuntimeError):
    """Nothing is ready and nothing is scheduled: the program waits for something that cannot come."""


class _NoSelector(selectors.BaseSelector):
    """Stands where the machine's I/O would be; asked to wait, it moves the clock."""

    def __init__(self) -> None:
        self.loop: VirtualLoop | None = None
        self._map: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        raise RuntimeError("no files or sockets in virtual time")

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        raise RuntimeError("no files or sockets in virtual time")

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._map

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert self.loop is not None
        self.loop.pass_time(timeout)
        return []

    def close(self) -> None:
        return None


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time. ``rng`` None: first in, first out."""

    def __init__(self, rng: Random | None = None) -> None:
        self._virtual = 0.0
        self._rng = rng
        self.steps = 0
        selector = _NoSelector()
        super().__init__(selector)
        selector.loop = self
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._virtual

    def pass_time(self, timeout: float | None) -> None:
        """Advance to the next timer, and decide in which order the ready callbacks run."""
        if timeout is None:
            raise Deadlock("nothing is ready and nothing is scheduled")
        if timeout > 0:
            self._virtual += timeout
        ready: Any = cast(Any, self)._ready
        if self._rng is not None and len(ready) > 1:
            mixed = list(ready)
            self._rng.shuffle(mixed)
            ready.clear()
            ready.extend(mixed)
        self.steps += 1

    def _make_self_pipe(self) -> None:
        self._ssock = self._csock = None
        self._internal_fds = 0

    def _close_self_pipe(self) -> None:
        return None

    def _write_to_self(self) -> None:
        return None

    def run_in_executor(self, *args: Any, **kwargs: Any) -> NoReturn:  # type: ignore[override]
        raise RuntimeError("no threads in virtual time: use the inline strategy")

    def abandon(self) -> None:
        """Close without running anything more, whatever is unfinished (a crash)."""
        for task in asyncio.all_tasks(self):
            cast(Any, task)._log_destroy_pending = False
            # What a crash leaves behind would run its finally blocks whenever it is collected: run them here, unheard.
            with contextlib.suppress(BaseException):
                cast(Coroutine[Any, Any, Any], task.get_coro()).close()
        loop: Any = self
        loop._ready.clear()
        loop._scheduled.clear()
        self.close()


class VirtualClock:
    """A clock over a virtual loop. ``epoch_ms``: wall-clock time at loop time zero; ``skew_ms`` may change while it
    runs."""

    def __init__(self, loop: asyncio.AbstractEventLoop, epoch_ms: int = 1_700_000_000_000, skew_ms: int = 0) -> None:
        self._loop = loop
        self._epoch = epoch_ms
        self.skew_ms = skew_ms

    def now_ms(self) -> int:
        return self._epoch + self.skew_ms + int(self._loop.time() * 1000)

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SeededIds:
    """Identifiers from a seed."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def new(self, size: int) -> bytes:
        return self._rng.randbytes(size)


def run_virtual(make: Callable[[VirtualLoop], Coroutine[Any, Any, T]], rng: Random | None = None) -> T:
    """Run one coroutine in a fresh virtual loop to its end; everything else is abandoned then."""
    loop = VirtualLoop(rng)
    loop.set_exception_handler(lambda *_: None)
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(make(loop))
    finally:
        loop.abandon()
        asyncio.set_event_loop(None)
