"""Time limits of many short calls to the venue, with one timer for all of them.

A timer for each call costs more than most calls; nearly every call is over long before its limit.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Deadlines:
    """Time limits in one event loop."""

    def __init__(self) -> None:
        self._running: dict[Deadline, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def within(self, seconds: float) -> Deadline:
        """A context in which the current task is cancelled after ``seconds``; its end then raises TimeoutError."""
        return Deadline(self, seconds)

    def close(self) -> None:
        """Stop the timer. Nothing may be running."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _enter(self, deadline: Deadline) -> None:
        self._running[deadline] = None
        timer = self._timer
        if timer is None or deadline.when < timer.when():
            if timer is not None:
                timer.cancel()
            self._timer = deadline.loop.call_at(deadline.when, self._fire)

    def _leave(self, deadline: Deadline) -> None:
        del self._running[deadline]

    def _fire(self) -> None:
        self._timer = None
        if not self._running:
            return
        now = next(iter(self._running)).loop.time()
        for deadline in self._running:
            if deadline.when <= now and not deadline.expired:
                deadline.expired = True
                deadline.task.cancel()
        later = [deadline for deadline in self._running if not deadline.expired]
        if later:
            first = min(later, key=lambda deadline: deadline.when)
            self._timer = first.loop.call_at(first.when, self._fire)


class Deadline:
    """One limit. A cancellation from elsewhere passes through it as it is (compare :func:`asyncio.timeout`)."""

    __slots__ = ("_cancelling", "_deadlines", "_seconds", "expired", "loop", "task", "when")

    def __init__(self, deadlines: Deadlines, seconds: float) -> None:
        self._deadlines = deadlines
        self._seconds = seconds
        self.expired = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a time limit needs a task to cancel")
        self.task = task
        self.loop = task.get_loop()
        self.when = self.loop.time() + self._seconds
        self._cancelling = task.cancelling()
        self._deadlines._enter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deadlines._leave(self)
        if self.expired and self.task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error
