"""The venue's clock in virtual time: offset, its bound, and when it must be measured again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import pytest

from exchange_kernel.testing.virtual import VirtualClock, run_virtual
from exchange_kernel_ccxt.venue_clock import VenueClock


class Far:
    """A venue whose clock is ``ahead`` ms, behind ways of so many seconds there and back."""

    def __init__(self, clock: VirtualClock, ahead: int, there: float = 0.0, back: float = 0.0) -> None:
        self.clock, self.ahead, self.there, self.back = clock, ahead, there, back

    async def read(self) -> int:
        await self.clock.sleep(self.there)
        now = self.clock.now_ms() + self.ahead - self.clock.skew_ms
        await self.clock.sleep(self.back)
        return now


def in_time(scene: Callable[[VirtualClock], Awaitable[None]]) -> None:
    async def play(loop: asyncio.AbstractEventLoop) -> None:
        await scene(VirtualClock(loop))

    run_virtual(play)


@pytest.mark.parametrize("seed", range(20))
def test_the_offset_lies_within_its_error(seed: int) -> None:
    """Whatever the ways there and back take, the truth is within the bound, and the best measurement is kept."""

    async def scene(clock: VirtualClock) -> None:
        rng = Random(seed)
        venue = Far(clock, rng.randrange(-100_000, 100_000))
        time = VenueClock(clock, venue.read)
        assert time.stale
        best = 10**9
        for _ in range(30):
            venue.there, venue.back = rng.random(), rng.random()
            await time.measure()
            best = min(best, round((venue.there + venue.back) * 500) + 2)
            assert abs(time.offset - venue.ahead) <= time.error <= best + 20

    in_time(scene)


def test_the_error_grows_with_age() -> None:
    """Clocks run apart: an old measurement is worth less, and one is due after a while."""

    async def scene(clock: VirtualClock) -> None:
        time = VenueClock(clock, Far(clock, 5_000).read, every_s=300)
        await time.measure()
        young = time.error
        assert not time.due
        await clock.sleep(300)
        assert time.due and not time.stale
        assert time.error >= young + 50

    in_time(scene)


def test_a_worse_measurement_changes_nothing_it_agrees_with() -> None:
    """A slow answer that fits what is known leaves it; one that does not fit takes its place."""

    async def scene(clock: VirtualClock) -> None:
        venue = Far(clock, 1_000, 0.005, 0.005)
        time = VenueClock(clock, venue.read)
        await time.measure()
        venue.there, venue.back = 0.0, 1.0
        await time.measure()
        assert abs(time.offset - 1_000) <= 6
        venue.ahead = 4_000
        await time.measure()
        assert abs(time.offset - 4_000) <= time.error

    in_time(scene)


def test_a_jump_of_the_local_clock() -> None:
    """When the wall clock is set the offset is void."""

    async def scene(clock: VirtualClock) -> None:
        time = VenueClock(clock, Far(clock, 0, 0.01, 0.01).read)
        await time.measure()
        assert not time.stale
        clock.skew_ms = -30_000
        assert time.stale and time.due
        await time.measure()
        assert abs(time.offset - 30_000) <= time.error
        assert not time.stale

    in_time(scene)


def test_a_refuted_measurement() -> None:
    """A request that was refused for its timestamp makes the next measurement count, however slow."""

    async def scene(clock: VirtualClock) -> None:
        venue = Far(clock, 0, 0.001, 0.001)
        time = VenueClock(clock, venue.read)
        await time.measure()
        time.refute()
        assert time.stale
        venue.there = venue.back = 3.0
        await time.measure()
        assert not time.stale
        assert time.error >= 3_000

    in_time(scene)
