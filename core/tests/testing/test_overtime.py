"""A case whose adapter never gives the event loop back ends as failed, and says where it stood."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from exchange_kernel.testing.conformance import overtime
from exchange_kernel.testing.conformance.overtime import Blocked, never_longer
from exchange_kernel.testing.virtual import VirtualLoop


async def keeps_the_loop() -> None:
    """A stream that is always ready."""
    while True:
        pass


async def turns_for_ever() -> None:
    """A wait for what never comes, without a pause."""
    while True:
        await asyncio.sleep(0)


@pytest.mark.parametrize("spin", [keeps_the_loop, turns_for_ever])
def test_a_clock_that_stands_still_ends_the_case(
    spin: Callable[[], Coroutine[Any, Any, None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In virtual time no limit inside the loop is ever reached: real time ends it, and names the function."""
    monkeypatch.setattr(overtime, "STANDSTILL_S", 0.05)
    monkeypatch.setattr(overtime, "LOOK_S", 0.02)
    loop = VirtualLoop()
    begun: list[asyncio.Task[Any]] = []

    async def limited() -> None:
        async with asyncio.timeout(300):
            begun.append(asyncio.create_task(spin()))
            await begun[0]

    with pytest.raises(Blocked, match=r"\.py:\d+ in "), never_longer(60, loop.time):
        loop.run_until_complete(limited())
    loop.abandon()  # it may have struck between two tasks, and one then waits for a wake-up that was lost
    if begun[0].done():
        begun[0].exception()  # it was told already
