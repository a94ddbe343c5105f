"""What is told of a case that does not end: where it stands; and how one is ended that lets nothing else run."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["Blocked", "longest_turn", "never_longer", "waits_at"]

STANDSTILL_S = 30.0
"""How long, in real time, a case's own clock may stand still."""
LOOK_S = 0.5
DEEPEST = 40
SHOWN = 8
"""Frames of a stack that are told, the innermost."""


class Blocked(KeyboardInterrupt):
    """The event loop got no turn for longer than a case may take. Its text is the stack that kept it.

    A KeyboardInterrupt, so that it leaves the loop from whichever task it strikes, and no `except Exception` keeps it.
    """


@contextmanager
def never_longer(seconds: float, now: Callable[[], float] = time.perf_counter) -> Iterator[None]:
    """Raise Blocked in the block after so many seconds of real time, and again as often as they pass; and where the
    case's own clock, ``now``, stands still for STANDSTILL_S: no limit in virtual time is ever reached then.

    It needs the main thread and a system with interval timers; elsewhere a loop that is blocked stays so.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    began = since = time.perf_counter()
    seen = now()

    def ring(_: int, frame: FrameType | None) -> None:
        nonlocal began, since, seen
        here, clock = time.perf_counter(), now()
        if clock != seen:
            seen, since = clock, here
        if here - since >= STANDSTILL_S or here - began >= seconds:
            began = since = here
            raise Blocked(_written(traceback.extract_stack(frame)))

    look = min(seconds, LOOK_S)
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, look, look)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


async def longest_turn(work: Awaitable[Any]) -> float:
    """Await it; the longest time, in real seconds, for which it kept the loop at once. Raises what it raises."""
    turns = _Turns(work)
    await turns
    return turns.longest


class _Turns:
    """An awaitable that times each turn of another."""

    def __init__(self, work: Awaitable[Any]) -> None:
        self._work = work
        self.longest = 0.0

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self._work.__await__()
        answer: Any = None
        error: BaseException | None = None
        while True:
            began = time.perf_counter()
            try:
                if error is not None:
                    asked = inner.throw(error)
                else:
                    asked = inner.send(answer) if answer is not None else next(inner)
            except StopIteration as ended:
                return ended.value
            finally:
                self.longest = max(self.longest, time.perf_counter() - began)
            error = None
            try:
                answer = yield asked
            except BaseException as caught:  # noqa: BLE001 - a cancellation, for instance: it is the inner one's
                error = caught


def waits_at(task: asyncio.Task[Any], others: Iterable[asyncio.Task[Any]] = ()) -> str:
    """Where a task waits, the innermost call last, and where the others do."""
    text = _written(_frames(task))
    for other in others:
        frames = _frames(other)
        if frames:
            text += f"\n  meanwhile {other.get_name()}: {_line(frames[-1])}"
    return text


def _frames(task: asyncio.Task[Any]) -> list[traceback.FrameSummary]:
    """The frames of the coroutines that wait for each other; a task alone shows only its outermost one."""
    found: list[traceback.FrameSummary] = []
    inner: Any = task.get_coro()
    for _ in range(DEEPEST):
        frame = next((f for n in ("cr_frame", "ag_frame", "gi_frame") if (f := getattr(inner, n, None))), None)
        if frame is None:
            break
        found += traceback.StackSummary.extract([(frame, frame.f_lineno)])
        inner = next((w for n in ("cr_await", "ag_await", "gi_yieldfrom") if (w := getattr(inner, n, None))), None)
    return found


def _written(frames: Iterable[traceback.FrameSummary]) -> str:
    return "\n".join(f"  {_line(frame)}" for frame in list(frames)[-SHOWN:])


def _line(frame: traceback.FrameSummary) -> str:
    return f"{frame.filename}:{frame.lineno} in {frame.name}: {frame.line}"
