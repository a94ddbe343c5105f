"""A local clock that is wrong."""

from __future__ import annotations

from exchange_kernel.clock import SystemClock


class LocalClock(SystemClock):
    """The machine's clock, wrong by ``skew_ms``."""

    skew_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.skew_ms
