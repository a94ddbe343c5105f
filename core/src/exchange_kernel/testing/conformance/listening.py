"""A reader of the stream as the kernel is one: it comes back whenever a stream ends, and keeps what it was told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from exchange_kernel.testing.conformance.bench import Bench, Placed
from exchange_kernel.testing.conformance.harness import TruthOrder
from exchange_kernel.venue import FillVoided, Gap, OrderReport, VenueAdapter, VenueEvent

__all__ = ["Ear", "about", "covers", "listening"]

AGAIN_S = 0.2
"""How long the reader waits after a stream has ended before it asks for the next one."""


def about(report: OrderReport, placed: Placed | TruthOrder) -> bool:
    """Is it about this order?"""
    if isinstance(placed, Placed) and report.key == placed.key:
        return True
    return bool({report.id, *report.links} & set(placed.ids))


def covers(gap: Gap, symbol: str) -> bool:
    """Does it say that something of this market may have been missed?"""
    return gap.symbols is None or symbol in gap.symbols


class Ear:
    """``heard``: each event with the monotonic second it came. ``ends``: when streams ended, by themselves or with an
    error."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.heard: list[tuple[float, VenueEvent]] = []
        self.ends: list[float] = []
        self.deaf = False
        """While True it does not read, though it stays subscribed."""

    @property
    def gaps(self) -> list[float]:
        """When it was told that something may have been missed."""
        return [at for at, event in self.heard if isinstance(event.body, Gap)]

    def warned(self, since: float, symbol: str | None = None) -> bool:
        """Was it told after ``since``, by a Gap or by the stream's end, that something (of ``symbol``) may have been
        missed?"""
        gaps = [(at, event.body) for at, event in self.heard if isinstance(event.body, Gap)]
        told = [at for at, gap in gaps if symbol is None or covers(gap, symbol)]
        return any(at >= since for at in (*told, *self.ends))

    def reports(self, placed: Placed | TruthOrder | None = None) -> list[OrderReport]:
        """Reports of an order, or of all, in order of arrival."""
        bodies = [event.body for _, event in self.heard]
        return [each for each in bodies if isinstance(each, OrderReport) and (placed is None or about(each, placed))]

    def voided(self) -> list[FillVoided]:
        """Fills that were taken back."""
        return [event.body for _, event in self.heard if isinstance(event.body, FillVoided)]

    def keep(self, event: VenueEvent) -> None:
        """Take one event."""
        self.heard.append((self._now(), event))


@asynccontextmanager
async def listening(bench: Bench, adapter: VenueAdapter | None = None, *, each_s: float = 0) -> AsyncIterator[Ear]:
    """Listen while the block runs; the first Gap is there when it is entered. ``each_s``: what the reader
    takes for each event before it asks for the next."""
    ear = Ear(bench.clock.monotonic)
    source = adapter or bench.adapter

    async def listen() -> None:
        while True:
            try:
                async for event in source.events(None):
                    bench.seen.append(event)
                    ear.keep(event)
                    if each_s:
                        await bench.clock.sleep(each_s)
                    while ear.deaf:
                        await bench.clock.sleep(0.01)
            except Exception as error:  # noqa: BLE001 - a stream may end in any way; the kernel begins the next one
                bench.seen.append(error)
            ear.ends.append(bench.clock.monotonic())
            await bench.clock.sleep(AGAIN_S)

    task = asyncio.get_running_loop().create_task(listen())
    try:
        await bench.until(lambda: ear.heard, "the stream says its first Gap")
        yield ear
    finally:
        task.cancel()
        await asyncio.wait([task])
