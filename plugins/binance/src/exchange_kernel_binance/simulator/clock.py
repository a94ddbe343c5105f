"""The simulator's own clock, which can be moved away from the real one."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Tells ms UTC."""

    def now(self) -> int: ...


class SkewedClock:
    """The real clock plus an offset in ms (what a client with a wrong clock sees)."""

    def __init__(self) -> None:
        self.skew = 0

    def now(self) -> int:
        return time.time_ns() // 1_000_000 + self.skew


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: int = 1_700_000_000_000) -> None:
        self.time = now
        self.skew = 0

    def now(self) -> int:
        return self.time + self.skew

    def advance(self, ms: int) -> None:
        self.time += ms
