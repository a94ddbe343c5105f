"""The stream of prices: every change is told, and who cannot hear any more is told that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from exchange_kernel.testing.conformance.bench import Bench
from exchange_kernel.testing.conformance.harness import Fault
from exchange_kernel.testing.conformance.registry import case
from exchange_kernel.testing.conformance.unrest import SILENCE_S
from exchange_kernel.venue import Prices, PriceTick

TOLERANCE_MS = 2_000
SKEW_MS = 7_200_000


class Board:
    """The prices that were told so far. ``ends``: how often a stream of them has ended; its reader begins the next."""

    def __init__(self) -> None:
        self.ticks: list[PriceTick] = []
        self.ends = 0

    @property
    def said(self) -> int:
        """How often its reader was told anything: a price, or that there will be no more."""
        return len(self.ticks) + self.ends


@asynccontextmanager
async def watching(bench: Bench) -> AsyncIterator[Board]:
    """Read the prices of the harness' symbol while the block runs; the first is there when it is entered."""
    board, source, again_s = Board(), bench.adapter, bench.harness.quiet_s / 5
    assert isinstance(source, Prices)

    async def read() -> None:
        while True:
            try:
                async for tick in source.prices(frozenset({bench.harness.symbol})):
                    bench.seen.append(tick)
                    board.ticks.append(tick)
            except Exception as error:  # noqa: BLE001 - a stream may end in any way, as long as it ends
                bench.seen.append(error)
            board.ends += 1
            await bench.clock.sleep(again_s)

    task = asyncio.get_running_loop().create_task(read())
    try:
        await bench.until(lambda: board.ticks, "prices() says a first price, as declared")
        yield board
    finally:
        task.cancel()
        await asyncio.wait([task])


@case(
    "EVT-12",
    "prices are told as they change, and never fall silent unnoticed",
    grade="silver",
    rule="Prices: current prices first, then every change",
    features=("prices",),
)
async def prices(bench: Bench) -> None:
    """The kernel's own triggers hang on these. A stream that broke and waits looks exactly like a quiet market, and the
    stop that was to fire does not."""
    if bench.harness.offers("skew"):
        await bench.harness.skew(SKEW_MS)
        await bench.ready()
    async with watching(bench) as board:
        for number in range(3):
            if bench.harness.offers("reprice"):
                await _told(bench, board, f"change {number + 1} of the prices", bench.harness.reprice)
        for what, trouble in _troubles(bench):
            await trouble()
            if bench.harness.offers("reprice"):
                await bench.quiet(3)  # what notices at once has done so
                await _told(bench, board, f"a change of prices after {what}", bench.harness.reprice)
            await bench.harness.clear()
    by = bench.clock.now_ms() + bench.opened.clock_offset + bench.opened.clock_error + TOLERANCE_MS
    for tick in board.ticks:
        bench.expect(
            type(tick.at) is int and tick.at <= by,
            f"prices() says {tick!r}; the time of a price is the venue's, whose clock shows {by} at most",
        )


def _troubles(bench: Bench) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
    """What may happen to a stream, as far as the harness can make it."""
    harness = bench.harness
    out: list[tuple[str, Callable[[], Awaitable[None]]]] = []
    if harness.offers("restart"):
        out.append(("the venue's restart", harness.restart))
    if harness.offers("outage"):
        out.append(("an outage", lambda: harness.outage(bench.short(1_500))))
    if Fault.STREAM_CUT in harness.faults:
        out.append(("the stream's connection ended", lambda: harness.inject(Fault.STREAM_CUT)))
    if Fault.STREAM_SILENT in harness.faults:
        out.append(("the stream's connection fell silent", lambda: harness.inject(Fault.STREAM_SILENT)))
    return out


async def _told(bench: Bench, board: Board, what: str, happens: Callable[[], Awaitable[None]]) -> None:
    """It is told, or the stream ends: now, or once its reader cannot take silence for quiet any more."""
    before = board.said
    await happens()
    await bench.until(
        lambda: board.said > before,
        f"{what}: prices() tells it, or ends, so that its reader begins anew. It said nothing",
        SILENCE_S,
    )
