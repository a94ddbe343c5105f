"""A clock that goes faster than the machine's: a chain's time is what its blocks say."""

from __future__ import annotations

import asyncio

from exchange_kernel.clock import SystemClock

__all__ = ["FastClock"]


class FastClock:
    """Time that goes ``speed`` times as fast as the machine's. ``skew``: what the local clock is ahead of the chain's,
    ms; ``leapt``: what nobody waited for, ms."""

    def __init__(self, speed: int) -> None:
        self.speed, self.skew, self.leapt = speed, 0, 0
        self._real = SystemClock()
        self._began, self._wall = self._real.monotonic(), self._real.now_ms()

    def true_ms(self) -> int:
        """The chain's time, ms UTC."""
        return self._wall + self.leapt + int((self._real.monotonic() - self._began) * 1000 * self.speed)

    def now_ms(self) -> int:
        """The local time, ms UTC."""
        return self.true_ms() + self.skew

    def monotonic(self) -> float:
        """Seconds, never set back."""
        return self._real.monotonic() * self.speed

    async def sleep(self, seconds: float) -> None:
        """Seconds of this clock."""
        await asyncio.sleep(seconds / self.speed)
