"""Time and ids, injected everywhere: nothing else in the core asks the machine for them."""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
import time
from typing import Protocol

POOL_BYTES = 4096


class Clock(Protocol):
    """A source of time. ``now_ms`` is the local wall clock (UTC, may jump); ``monotonic`` is in seconds and never
    jumps."""

    def now_ms(self) -> int: ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Ids(Protocol):
    """A source of fresh identifiers."""

    def new(self, size: int) -> bytes: ...


class SystemIds:
    """Identifiers from the operating system's randomness, fetched in advance; a forked process fetches its own."""

    def __init__(self) -> None:
        self._process = 0
        self._pool = b""
        self._lock = threading.Lock()

    def new(self, size: int) -> bytes:
        with self._lock:
            if self._process != os.getpid() or len(self._pool) < size:
                self._process, self._pool = os.getpid(), secrets.token_bytes(max(POOL_BYTES, size))
            taken, self._pool = self._pool[:size], self._pool[size:]
            return taken
