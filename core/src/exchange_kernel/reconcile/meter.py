"""What a reconciler counts about itself: plain numbers, so that counting costs it nothing."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any, Final

from exchange_kernel.state.rows import Record

__all__ = ["BOUNDS", "Histogram", "Meter", "about"]

BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 900.0)
"""Upper ends of the buckets of every duration, in seconds."""


@dataclass(slots=True)
class Histogram:
    """How often something took how long. ``counts``: per bucket, the last beyond every bound."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0

    def took(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def cumulative(self) -> list[tuple[str, int]]:
        """Buckets as a scraper reads them: how many took at most so long."""
        found, sofar = [], 0
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self.counts, strict=True):
            sofar += count
            found.append((bound, sofar))
        return found


@dataclass(slots=True)
class Meter:
    """Of one account, for as long as its kernel object lives, whoever owns the account. ``failures``: runs that ended
    in an error that nobody expected."""

    runs: Histogram = field(default_factory=Histogram)
    failures: int = 0
    fenced: int = 0


def about(account: str, intent_id: str, record: Record | None) -> dict[str, Any]:
    """What a log line about an order carries, beside its words."""
    said: dict[str, Any] = {"account": account, "intent": intent_id}
    if record is not None and record.attempts:
        last = record.attempts[-1]
        said |= {"attempt": last.n, "key": last.key.hex(), "venue_ids": [vid.value for vid in last.ids]}
    return said
