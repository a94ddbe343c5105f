"""Reads that take long, and what happens meanwhile: is the answer as of before that, or after?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from exchange_kernel.testing.conformance.bench import Bench
from exchange_kernel.testing.conformance.harness import Fault
from exchange_kernel.venue import Watermark

__all__ = ["expect_mark", "meanwhile", "reached", "requests_of"]

SLOW_MS = 4_000
"""How long a read takes while something happens: long enough for blocks to become final meanwhile."""
UNKNOWN_REQUESTS = 3
"""Requests of a read, where the harness cannot count them."""
AHEAD_MS = 60_000
"""Blocks may be dated a little into the future."""
Answer = TypeVar("Answer")


def _now(bench: Bench) -> int:
    """Upper bound of the venue's clock, ms UTC."""
    return bench.clock.now_ms() + bench.opened.clock_offset + bench.opened.clock_error


def expect_mark(bench: Bench, at: Watermark, what: str) -> None:
    """It says as of when it is, and that is not yet to come."""
    marks = (at.venue_ms, at.ledger_ms, at.height)
    bench.expect(any(mark is not None for mark in marks), f"{what} does not say as of when it is: {at!r}")
    now = _now(bench)
    bench.expect(
        at.venue_ms is None or at.venue_ms <= now, f"{what} is as of {at!r}, which is yet to come: it is {now}"
    )
    bench.expect(
        at.ledger_ms is None or at.ledger_ms <= now + AHEAD_MS, f"{what} is as of {at!r}, yet to come: it is {now}"
    )


def reached(bench: Bench, at: Watermark, moment: int) -> bool:
    """Does it claim to show what was so at ``moment``, venue ms? Reads may trail as long as open() said."""
    mark = at.venue_ms if at.venue_ms is not None else at.ledger_ms
    return mark is not None and mark - bench.opened.read_lag > moment


async def requests_of(bench: Bench, read: Callable[[], Awaitable[Any]]) -> int:
    """How many requests a read is."""
    if not bench.harness.offers("requests"):
        return UNKNOWN_REQUESTS
    before = await bench.harness.requests()
    await read()
    return max(1, await bench.harness.requests() - before)


async def meanwhile(
    bench: Bench, slow: int, read: Callable[[], Awaitable[Answer]], happens: Callable[[], Awaitable[object]]
) -> tuple[Answer | None, int]:
    """The answer of a read during whose request number ``slow`` something happened, and the venue's time by which it
    had, ms. None for the answer where the read was over before."""

    async def asked() -> Answer:
        return await read()

    await bench.harness.inject(Fault.SLOW, ms=bench.short(SLOW_MS), after=slow)
    reading = asyncio.ensure_future(asked())
    try:
        await bench.quiet(0.3)  # the requests before it are answered, and it is on its way
        early = reading.done()
        if early:
            await bench.harness.clear()
        await happens()
        moment = _now(bench)
        answer = await reading
        return (None if early else answer), moment
    finally:
        await bench.harness.clear()
        reading.cancel()
        await asyncio.wait([reading])
