"""The venue's clock, measured: how far it is from the local one, and how sure that is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from exchange_kernel.clock import Clock
from exchange_kernel.venue import Ms

_DRIFT_PPM = 200
"""How fast two clocks may run apart; quartz of ordinary machines stays below a half of it."""


class VenueClock:
    """``read`` asks the venue for its time, ms UTC.

    A measurement is as good as its round trip was short: the venue read its clock somewhere in between. A better one
    is kept until drift makes it the worse. ``stale``: never measured, refuted by the venue, or the local clock jumped.
    """

    def __init__(
        self, clock: Clock, read: Callable[[], Awaitable[Ms]], *, every_s: float = 300, round_trip_ms: Ms = 2_000
    ) -> None:
        self._clock, self._read = clock, read
        self._every, self._longest = every_s, round_trip_ms
        self._offset, self._bound = 0, 0
        self._measured: float | None = None
        self._asked = 0.0
        self._between = 0.0
        self._refuted = True

    @property
    def offset(self) -> Ms:
        """The venue's clock minus the local one, ms."""
        return self._offset

    @property
    def error(self) -> Ms:
        """How far ``offset`` may be off by now, ms: half of the round trip, and drift since."""
        return self._bound if self._measured is None else self._bound + self._drift(self._measured)

    @property
    def stale(self) -> bool:
        """Must it be measured before it is used?"""
        return self._refuted or self._jumped()

    @property
    def due(self) -> bool:
        """Should it be measured again, without hurry?"""
        return self.stale or self._clock.monotonic() - self._asked >= self._every

    def now(self) -> Ms:
        """The venue's time, as far as it is known, ms UTC."""
        return self._clock.now_ms() + self._offset

    def refute(self) -> None:
        """The venue refused a request for its timestamp: what was measured is wrong."""
        self._refuted = True

    async def measure(self) -> Ms:
        """Ask the venue; its answer. A round trip longer than allowed teaches nothing, unless nothing is known yet."""
        sent, sent_ms = self._clock.monotonic(), self._clock.now_ms()
        venue = await self._read()
        received = self._clock.monotonic()
        self.observe(sent_ms, round((received - sent) * 1000), venue)
        return venue

    def observe(self, sent_ms: Ms, round_trip_ms: Ms, venue_ms: Ms) -> None:
        """A reading: asked at local ``sent_ms``, answered ``round_trip_ms`` later with ``venue_ms``."""
        now = self._clock.monotonic()
        self._asked = now
        bound = (round_trip_ms + 1) // 2 + 1
        if not self.stale and (round_trip_ms > self._longest or bound >= self.error):
            offset = venue_ms - (sent_ms + round_trip_ms // 2)
            if abs(offset - self._offset) <= bound + self.error:
                return  # agrees with what is known better
        self._offset, self._bound = venue_ms - (sent_ms + round_trip_ms // 2), bound
        self._measured, self._refuted = now, False
        self._between = self._clock.now_ms() / 1000 - now

    def _drift(self, since: float) -> Ms:
        return -(-int((self._clock.monotonic() - since) * 1000) * _DRIFT_PPM // 1_000_000)

    def _jumped(self) -> bool:
        if self._measured is None:
            return True
        moved = (self._clock.now_ms() / 1000 - self._clock.monotonic() - self._between) * 1000
        return abs(moved) > max(self.error, 50)
