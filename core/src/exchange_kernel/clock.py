"""Time and ids, injected everywhere: nothing else in the core asks the machine for them."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Protocol


class Clock(Protocol):
    """A source of time. ``now_ms`` is the local wall clock (UTC, may jump); ``monotonic`` is in seconds and never jumps."""

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
    """Identifiers from the operating system's randomness."""

    def new(self, size: int) -> bytes:
        return secrets.token_bytes(size)
