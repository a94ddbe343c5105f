"""What the benchmarks share: a bench on one disk, the raw baseline every figure is compared to, and the table."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import sqlite3
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exchange_kernel.clock import SystemClock
from exchange_kernel.events import Event
from exchange_kernel.kernel import Kernel
from exchange_kernel.reconcile.session import Settings
from exchange_kernel.schema import Side, StandardOrder
from exchange_kernel.state.sql import SqlIntentStore
from exchange_kernel.venue import Ack, Ticket
from exchange_kernel_paper.adapter import PaperAdapter
from exchange_kernel_paper.exchange import Exchange, LoopClock
from exchange_kernel_paper.registry import Registry

ACCOUNT, SYMBOL = "bench", "BTC/USD"
RICH = {"USD": "1000000000000", "BTC": "1000000000"}
ROW_BYTES = 330


@dataclass
class Table:
    """Rows as they are measured, printed one by one so that a long run can be watched."""

    title: str
    rows: list[tuple[str, str, str, str, str]] = field(default_factory=list)

    def start(self) -> None:
        """Print the head."""
        print(f"\n{self.title}\n")
        print("| what | measured | budget | to the baseline | met |")
        print("|---|---|---|---|---|", flush=True)

    def add(self, what: str, measured: str, budget: str = "", ratio: str = "", met: bool | None = None) -> None:
        """Print one row."""
        row = (what, measured, budget, ratio, "" if met is None else "yes" if met else "NO")
        self.rows.append(row)
        print("| " + " | ".join(row) + " |", flush=True)


def middle(values: Sequence[float], share: float = 0.5) -> float:
    """The value below which ``share`` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def fsync_seconds(folder: Path, times: int = 300) -> list[float]:
    """What this disk takes to make 4 KiB appended to a file durable."""
    out = []
    with (folder / "fsync.probe").open("wb", buffering=0) as file:
        for _ in range(times):
            file.write(b"x" * 4096)
            began = time.perf_counter()
            os.fsync(file.fileno())
            out.append(time.perf_counter() - began)
    return out


def baseline_seconds(folder: Path, times: int = 1000) -> list[float]:
    """The least a durable order can cost here: one row of an order's size, one transaction, one fsync each."""
    database = sqlite3.connect(folder / "baseline.db", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE IF NOT EXISTS o (id INTEGER PRIMARY KEY, body TEXT NOT NULL)")
    out = []
    for n in range(times):
        began = time.perf_counter()
        database.execute("BEGIN IMMEDIATE")
        database.execute("INSERT INTO o (body) VALUES (?)", (f"{n:08d}".ljust(ROW_BYTES, "x"),))
        database.execute("COMMIT")
        out.append(time.perf_counter() - began)
    database.close()
    return out


class BenchAdapter(PaperAdapter):
    """The paper adapter, telling when ``submit`` was called and counting requests by name."""

    def __init__(self, calls: dict[str, int] | None = None) -> None:
        super().__init__()
        self.calls: dict[str, int] = {} if calls is None else calls
        self.on_submit: Callable[[Ticket], None] | None = None

    async def submit(self, ticket: Ticket) -> Ack:
        if self.on_submit is not None:
            self.on_submit(ticket)
        self.calls["submit"] = self.calls.get("submit", 0) + 1
        return await super().submit(ticket)

    async def read(self, op: str, **fields: object) -> dict[str, Any]:
        self.calls[op] = self.calls.get(op, 0) + 1
        return await super().read(op, **fields)


class Bench:
    """A paper venue in this process and a store on this disk, or at ``url``; kernels come and go."""

    def __init__(self, folder: Path, name: str, ask: str | None = "50000", url: str | None = None) -> None:
        self.path = folder / f"{name}.db"
        self.url = url or f"sqlite:///{self.path}"
        self.registry = Registry()
        self.exchange = self.registry.add(Exchange("bench", LoopClock(SystemClock().now_ms)))
        if ask is not None:
            self.exchange.set_ladder(SYMBOL, [], [(ask, "100000000")])

    def kernel(
        self,
        settings: Settings | None = None,
        adapter: BenchAdapter | None = None,
        config: dict[str, Any] | None = None,
    ) -> Kernel:
        """A kernel that is not started. ``config``: of another venue than the one in this process."""
        return Kernel(
            ACCOUNT,
            adapter or BenchAdapter(),
            SqlIntentStore(self.url),
            venue="paper",
            venue_config=config
            or {
                "venue": "bench",
                "account": ACCOUNT,
                "registry": self.registry,
                "house": False,
                "balances": RICH,
            },
            settings=settings,
        )

    @contextlib.asynccontextmanager
    async def running(
        self, settings: Settings | None = None, adapter: BenchAdapter | None = None
    ) -> AsyncIterator[Kernel]:
        """A started kernel, stopped at the end."""
        kernel = self.kernel(settings, adapter)
        await kernel.start()
        try:
            yield kernel
        finally:
            await kernel.stop()


def taking() -> StandardOrder:
    """An order that fills at once."""
    return StandardOrder(SYMBOL, Side.BUY, "0.001", limit_price="50000")


def resting(n: int = 0) -> StandardOrder:
    """An order that stays open."""
    return StandardOrder(SYMBOL, Side.BUY, "0.01", limit_price=str(10000 + n % 10000))


class Finished:
    """A subscriber that counts kinds of events and wakes whoever waits for a number of them."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.count = 0
        self._wanted = 0
        self._reached = asyncio.Event()

    def __call__(self, event: Event) -> None:
        if event.kind == self.kind:
            self.count += 1
            if self.count >= self._wanted:
                self._reached.set()

    async def reach(self, count: int, timeout: float = 600.0) -> None:
        """Wait until so many have come since the beginning."""
        self._wanted = count
        self._reached.clear()
        if self.count < count:
            async with asyncio.timeout(timeout):
                await self._reached.wait()


async def flood(
    kernel: Kernel, orders: Sequence[StandardOrder], until: Finished, batch: int = 100
) -> tuple[float, float]:
    """Place the orders one call each, ``batch`` calls in flight, until each has its event. Returns seconds, CPU
    seconds."""
    already = until.count
    cpu, began = cpu_seconds(), time.perf_counter()
    for start in range(0, len(orders), batch):
        await asyncio.gather(*(kernel.place_order(order) for order in orders[start : start + batch]))
        # The next batch does not wait for the fills of this one, only that they do not fall behind without bound.
        await until.reach(already + max(0, start - batch))
    await until.reach(already + len(orders))
    return time.perf_counter() - began, cpu_seconds() - cpu


def cpu_seconds() -> float:
    """Processor time of this process, all threads, user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def rss_bytes() -> int:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def timed() -> Iterator[list[float]]:
    """Seconds of the block, in the one-element list, when it ends."""
    out: list[float] = []
    began = time.perf_counter()
    yield out
    out.append(time.perf_counter() - began)


def ms(seconds: float) -> str:
    """Milliseconds, as text."""
    return f"{seconds * 1000:.2f} ms"


def spread(values: Sequence[float]) -> str:
    """p50 and p99, as text."""
    return f"p50 {ms(middle(values))}, p99 {ms(middle(values, 0.99))}"


def median(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)
