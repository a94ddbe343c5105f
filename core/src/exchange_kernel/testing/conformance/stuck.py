"""Ends a case that never gives its event loop back: a time limit inside the loop cannot."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

__all__ = ["Stuck", "never_stuck"]

STANDSTILL_S = 30.0
"""How long, in real time, the case's own clock may stand still."""
LOOK_S = 1.0


class Stuck(KeyboardInterrupt):
    """The case's clock stands still. A KeyboardInterrupt, because nothing less leaves an event loop at once."""


@contextlib.contextmanager
def never_stuck(now: Callable[[], float], limit: float) -> Iterator[None]:
    """Raise Stuck in the block when ``now()`` stands still, or real time has passed ``limit`` seconds.

    It does nothing outside of the main thread and on systems without alarms."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    end = time.perf_counter() + limit
    seen, since = now(), time.perf_counter()

    def look(_: int, frame: FrameType | None) -> None:
        nonlocal seen, since
        here = time.perf_counter()
        if now() != seen:
            seen, since = now(), here
        if here - since >= STANDSTILL_S or here >= end:
            seen, since = now(), here
            place = "" if frame is None else f", at {frame.f_code.co_name}, {frame.f_code.co_filename}:{frame.f_lineno}"
            raise Stuck(f"the event loop is not given back, and the case cannot go on{place}")

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, LOOK_S, LOOK_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
