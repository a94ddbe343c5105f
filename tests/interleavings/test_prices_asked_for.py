"""The price that bounds a market order may come late, or must be asked for: it is waited for, never guessed, and its
absence is no verdict on the order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from exchange_kernel.errors import LimitExceeded, Unavailable
from exchange_kernel.models import IntentStatus, Limits
from exchange_kernel.venue import PriceTick
from tests.interleavings.desk import Desk, Process, buy, play

HALF_PERCENT = Decimal("0.005")


class _Around:
    """An adapter with other prices; all else is the real one's."""

    _inner: Any

    def __getattr__(self, name: str) -> Any:
        if name == "prices":
            raise AttributeError(name)
        return getattr(self._inner, name)


class Late(_Around):
    """Its stream of prices says nothing until it is told to."""

    def __init__(self) -> None:
        self.may = asyncio.Event()

    async def prices(self, symbols: frozenset[str]) -> AsyncIterator[PriceTick]:
        await self.may.wait()
        async for tick in self._inner.prices(symbols):
            yield tick


class Asked(_Around):
    """It has no stream: a price is asked for. ``failing``: how many reads fail first."""

    def __init__(self) -> None:
        self.reads = self.failing = 0

    async def price(self, symbol: str) -> PriceTick:
        self.reads += 1
        if self.failing:
            self.failing -= 1
            raise Unavailable("no answer")
        return await anext(self._inner.prices(frozenset({symbol})))


async def start(desk: Desk, around: _Around, **options: Any) -> Process:
    """A process whose kernel meets the venue through ``around``."""
    process = desk.process(**options)
    around._inner = process.kernel._adapter
    process.kernel._adapter = around  # type: ignore[assignment]
    await process.kernel.start()
    return process


def test_a_restart_before_the_first_price_ends_no_market_order() -> None:
    """Declared, and the process dies before it is sent; the next one has no price yet. The order waits for it and is
    carried out; it is not refused for a price that was merely late."""

    async def scene(desk: Desk) -> None:
        first = await desk.start()
        hold = first.points.hold("before prepare of place")
        await first.kernel.place_order(buy("0.1", None, max_slippage=HALF_PERCENT), "a")
        await hold.reached()
        first.points.stop()
        venue = Late()
        await start(desk, venue)
        await asyncio.sleep(5)
        assert await desk.status("a") is IntentStatus.PENDING
        venue.may.set()
        record = await desk.reaches("a", IntentStatus.FILLED)
        assert record.progress.filled_base == Decimal("0.1")
        assert len(desk.orders("a")) == 1

    play(scene)


def test_a_price_that_never_comes_lets_the_order_expire() -> None:
    """It is a market order: after its time it is over, and says why; nothing was sent."""

    async def scene(desk: Desk) -> None:
        first = await desk.start()
        hold = first.points.hold("before prepare of place")
        await first.kernel.place_order(buy("0.1", None, max_slippage=HALF_PERCENT), "a")
        await hold.reached()
        first.points.stop()
        await start(desk, Late())
        record = await desk.reaches("a", IntentStatus.EXPIRED, seconds=120)
        assert record.attempts == ()
        assert desk.orders("a") == []

    play(scene)


def test_where_there_is_no_stream_the_price_is_asked_for() -> None:
    """Once for a burst within a second; a read that fails refuses the call, or makes a declared order wait, and ends
    nothing."""

    async def scene(desk: Desk) -> None:
        venue = Asked()
        process = await start(desk, venue, limits=Limits(max_order_notional=Decimal(10_000)))
        kernel = process.kernel
        venue.failing = 1
        with pytest.raises(Unavailable, match="no answer"):
            await kernel.place_order(buy("0.1", None, max_slippage=HALF_PERCENT), "never")
        assert await kernel.get_all_intents() == []

        for n in range(5):
            await kernel.place_order(buy("0.01", None, max_slippage=HALF_PERCENT), f"a{n}")
        for n in range(5):
            record = await desk.reaches(f"a{n}", IntentStatus.FILLED)
            assert record.attempts[0].spec.guard == Decimal("50260.05")
        assert venue.reads == 2

        with pytest.raises(LimitExceeded, match="max_order_notional"):
            await kernel.place_order(buy("0.3", None))
        await asyncio.sleep(2)
        hold = process.points.hold("before commit of declare")
        placing = desk.loop.create_task(kernel.place_order(buy("0.1", None, max_slippage=HALF_PERCENT), "b"))
        await hold.reached()
        await asyncio.sleep(2)  # the price that it was checked by is old by now
        venue.failing = 3
        hold.release()
        await placing
        await desk.reaches("b", IntentStatus.FILLED)
        assert venue.failing == 0
        assert len(desk.orders("b")) == 1

    play(scene)
