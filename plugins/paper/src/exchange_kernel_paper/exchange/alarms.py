"""Work due at a moment of the venue's time: expiries, blocks, finality. Runs as of that moment, however late."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from exchange_kernel_paper.exchange.clock import Timer, VenueClock

NEVER = 2**62


class Alarms:
    """A queue of (venue ms, function) and one timer of the clock for the earliest.

    ``next`` is when the earliest is due. Due work also runs before every request, so the outcome never depends on how
    punctual the timer is.
    """

    def __init__(self, clock: VenueClock, wake: Callable[[], None]) -> None:
        self._clock, self._wake = clock, wake
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self.next = NEVER
        self._timer: Timer | None = None
        self._armed: int | None = None

    def at(self, ms: int, fn: Callable[[], None]) -> None:
        """Run ``fn`` at venue time ``ms``."""
        self._count += 1
        heapq.heappush(self._queue, (ms, self._count, fn))
        self.next = self._queue[0][0]

    def take(self) -> tuple[int, Callable[[], None]]:
        """Take the earliest work, with its moment; there must be some."""
        ms, _, fn = heapq.heappop(self._queue)
        self.next = self._queue[0][0] if self._queue else NEVER
        return ms, fn

    def arm(self, now: int, *, anew: bool = False) -> None:
        """See that the timer is set for the earliest work. ``anew``: the old timer's event loop may be gone."""
        earliest = self.next
        if earliest == NEVER or (not anew and self._armed is not None and now < self._armed <= earliest):
            return
        if self._timer is not None:
            self._timer.cancel()
        try:
            self._timer = self._clock.call_later(max(1, earliest - now) / 1000, self._fire)
            self._armed = earliest
        except RuntimeError:  # no event loop runs: due work waits for the next request
            self._timer = self._armed = None

    def _fire(self) -> None:
        self._timer = self._armed = None
        self._wake()
