"""The embedded path: kernel, SQLite file and paper venue in one process. ``python -m benchmarks.embedded [part …]``.

Every part stands alone: memory, latency, burst, open, stream, start. Without names all of them run.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

from benchmarks.ground import (
    ACCOUNT,
    RICH,
    SYMBOL,
    Bench,
    BenchAdapter,
    Finished,
    Table,
    baseline_seconds,
    cpu_seconds,
    flood,
    fsync_seconds,
    median,
    middle,
    ms,
    resting,
    rss_bytes,
    spread,
    taking,
)
from exchange_kernel.events import Event
from exchange_kernel.kernel import Kernel
from exchange_kernel.reconcile.session import Settings
from exchange_kernel.venue import Ticket

QUIET = Settings(snapshot_every=3600.0)
"""Without the periodic snapshot, which the part that counts it runs by itself."""


class Ground:
    """One run: where it writes, what the disk and the raw baseline take, how much is asked for."""

    def __init__(self, folder: Path, orders: int, intents: int) -> None:
        self.folder, self.orders, self.intents = folder, orders, intents
        self.table = Table("Embedded path")
        self.fsync = fsync_seconds(folder)
        self.baseline = baseline_seconds(folder)
        self.raw = sum(self.baseline) / len(self.baseline)

    def latency_ratio(self, seconds: float) -> str:
        """How many times the raw baseline's median."""
        return f"{seconds / median(self.baseline):.2f}x its p50"

    def rate_ratio(self, rate: float) -> str:
        """How many times the raw baseline's rate."""
        return f"{rate * self.raw:.2f}x its rate"


async def latency(ground: Ground) -> None:
    """(a) Durable place_order to ``submit`` called, one in flight."""
    bench, adapter = Bench(ground.folder, "latency"), BenchAdapter()
    sent: asyncio.Queue[float] = asyncio.Queue()

    def submitted(_: Ticket) -> None:
        sent.put_nowait(time.perf_counter())

    adapter.on_submit = submitted
    times, calls = [], []
    async with bench.running(QUIET, adapter) as kernel:
        done = Finished("OrderFilled")
        kernel.subscribe_events(done)
        for n in range(550):
            order = taking()
            began = time.perf_counter()
            await kernel.place_order(order)
            durable = time.perf_counter()
            at = await sent.get()
            await done.reach(n + 1)
            if n >= 50:
                times.append(at - began)
                calls.append(durable - began)
    allowed = 0.001 + 2 * median(ground.fsync)
    ground.table.add(
        "(a) place_order → submit called, one in flight",
        spread(times),
        f"p50 ≤ 1 ms + 2 fsyncs = {ms(allowed)}",
        ground.latency_ratio(median(times)),
        median(times) <= allowed,
    )
    ground.table.add("    of which place_order (one commit)", spread(calls), "", ground.latency_ratio(median(calls)))


async def burst(ground: Ground) -> None:
    """(b) Orders a second, from declaration to FILLED booked, batches of 100 in flight."""
    bench = Bench(ground.folder, "burst")
    async with bench.running(QUIET) as kernel:
        done = Finished("OrderFilled")
        kernel.subscribe_events(done)
        await flood(kernel, [taking() for _ in range(300)], done)
        before = kernel._store.transactions  # type: ignore[attr-defined]
        seconds, cpu = await flood(kernel, [taking() for _ in range(ground.orders)], done)
        transactions = kernel._store.transactions - before  # type: ignore[attr-defined]
    rate = ground.orders / seconds
    ground.table.add(
        f"(b) burst, full life, {ground.orders} orders, 100 in flight",
        f"{rate:.0f} orders/s",
        "≥ 3,000/s, aim 9,000",
        ground.rate_ratio(rate),
        rate >= 3000,
    )
    ground.table.add(
        "    CPU per order; orders per transaction",
        f"{1e6 * cpu / ground.orders:.0f} µs; {ground.orders / transactions:.1f}",
    )


async def _fill_up(kernel: Kernel, accepted: Finished, count: int) -> None:
    while accepted.count < count:
        missing = min(2000, count - accepted.count)
        await flood(kernel, [resting(n) for n in range(missing)], accepted)


async def opened(ground: Ground) -> None:
    """(c) CPU per order with many others open; (d) restart over them; (e) memory of each."""
    bench = Bench(ground.folder, "open")
    first = 0.0
    async with bench.running(QUIET) as kernel:
        accepted, filled = Finished("OrderAccepted"), Finished("OrderFilled")
        kernel.subscribe_events(accepted)
        kernel.subscribe_events(filled)
        await flood(kernel, [taking() for _ in range(300)], filled)
        taken = filled.count
        for level in sorted({0, ground.intents // 10, ground.intents}):
            await _fill_up(kernel, accepted, taken + level)
            gc.collect()
            # The middle of five: what else the machine does shows in CPU time too, through its caches.
            floods = [(await flood(kernel, [taking() for _ in range(1000)], filled))[1] for _ in range(5)]
            taken = filled.count
            each = median(floods) / 1000
            first = first or each
            ground.table.add(
                f"(c) CPU per order with {level:,} intents open",
                f"{1e6 * each:.0f} µs",
                "flat ± 20 %",
                f"{each / first:.2f}x that with 0 open",
                abs(each / first - 1) <= 0.2,
            )
        idle = cpu_seconds()
        await asyncio.sleep(5)
        ground.table.add(
            f"    idle CPU with {ground.intents:,} open, no snapshot",
            f"{100 * (cpu_seconds() - idle) / 5:.1f} % of a core",
        )
        size = _memory(kernel) / ground.intents
        ground.table.add(
            f"(e) kernel's memory per open intent, {ground.intents:,} placed here (deep size of its objects)",
            f"{size:.0f} bytes",
            "≤ 3 KB",
            "",
            size <= 3072,
        )
    gc.collect()
    await _restart(ground, bench)


async def _restart(ground: Ground, bench: Bench) -> None:
    adapter = BenchAdapter()
    kernel = bench.kernel(QUIET, adapter)
    gc.collect()
    began, cpu = time.perf_counter(), cpu_seconds()
    await kernel.start()
    started = time.perf_counter() - began
    runner: Any = kernel._runner
    while not runner._snapshots:
        await asyncio.sleep(0.005)
    seconds = time.perf_counter() - began
    used = cpu_seconds() - cpu
    calls = ", ".join(f"{count} {op}" for op, count in sorted(adapter.calls.items()))
    ground.table.add(
        f"(d) restart with {ground.intents:,} open, until the first snapshot is folded",
        f"{seconds:.2f} s (CPU {used:.2f} s, the venue's included)",
        "≤ 10 s",
        f"{seconds / ground.raw:.0f}x one of its orders",
        seconds <= 10,
    )
    pages = -(-ground.intents // bench.exchange.settings.page_size)
    total = sum(adapter.calls.values())
    ground.table.add(
        "    of which start() itself; venue calls",
        f"{started:.2f} s; {calls}",
        f"O(pages), {pages} pages",
        "",
        total <= 2 * pages + 20,
    )
    size = _memory(kernel) / ground.intents
    ground.table.add(
        f"(e) kernel's memory per open intent after a restart over {ground.intents:,} (deep size of its objects)",
        f"{size:.0f} bytes",
        "≤ 3 KB",
        "",
        size <= 3072,
    )
    await kernel.stop()


def _memory(kernel: Kernel) -> int:
    """Bytes of everything reachable from what the session holds per intent, each object once."""
    session: Any = kernel._session
    queue = session.queue
    # Not the queue itself: its clock and its event lead to the loop, and so to the venue.
    roots: list[Any] = [
        *(session.records, session.watches, session.inbox, session.known, session.keys, session.wrote),
        *(queue._waiting, queue._timers, queue._queued, queue._ready, queue._running, queue._dirty),
        kernel._actual,
    ]
    seen = {id(session.clock), id(session.markets)}
    total = 0
    while roots:
        each = roots.pop()
        if id(each) in seen or isinstance(each, (type, type(sys), type(_memory))):
            continue
        seen.add(id(each))
        total += sys.getsizeof(each)
        roots.extend(gc.get_referents(each))
    return total


async def memory(ground: Ground) -> None:
    """(e) The same by the operating system's count: the venue in a process of its own, resident memory of this one."""
    # As many as the other parts have: of fewer, SQLite's page cache (64 MB, whatever is stored) would be most of it.
    count = ground.intents
    config = {"house": False, "accounts": {ACCOUNT: {"balances": RICH}}}
    command = [sys.executable, "-m", "exchange_kernel_paper.server", "--port", "0", "--config", "-"]
    venue = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert venue.stdin is not None and venue.stdout is not None
        venue.stdin.write(json.dumps(config))
        venue.stdin.close()
        address = f"127.0.0.1:{json.loads(venue.stdout.readline())['port']}"
        bench = Bench(ground.folder, "memory")
        kernel = bench.kernel(QUIET, config={"account": ACCOUNT, "connect": address})
        await kernel.start()
        accepted = Finished("OrderAccepted")
        kernel.subscribe_events(accepted)
        await flood(kernel, [resting(n) for n in range(2000)], accepted)
        gc.collect()
        before = rss_bytes()
        await _fill_up(kernel, accepted, 2000 + count)
        gc.collect()
        each = (rss_bytes() - before) / count
        await kernel.stop()
    finally:
        venue.terminate()
        venue.wait()
    ground.table.add(
        f"(e) resident memory per open intent, {count:,} of them, venue in another process",
        f"{each:.0f} bytes",
        "≤ 3 KB",
        "",
        each <= 3072,
    )


async def stream(ground: Ground) -> None:
    """(f) A fill at the venue to its event at a subscriber, through one durable commit."""
    bench = Bench(ground.folder, "stream", ask=None)
    times: list[float] = []
    async with bench.running(QUIET) as kernel:
        arrived: asyncio.Queue[float] = asyncio.Queue()
        accepted = Finished("OrderAccepted")

        def heard(event: Event) -> None:
            if event.kind == "OrderFilled":
                arrived.put_nowait(time.perf_counter())

        kernel.subscribe_events(heard)
        kernel.subscribe_events(accepted)
        for n in range(330):
            await kernel.place_order(resting(0))
            await accepted.reach(n + 1)
            await asyncio.sleep(0.002)
            began = time.perf_counter()
            bench.exchange.trade_through(SYMBOL, "SELL", "10000", "0.01")
            at = await arrived.get()
            if n >= 30:
                times.append(at - began)
    allowed = 0.002
    ground.table.add(
        "(f) fill at the venue → OrderFilled at a subscriber",
        spread(times),
        "p50 ≤ 2 ms",
        ground.latency_ratio(median(times)),
        median(times) <= allowed,
    )
    ground.table.add(
        "    the same without the commit's one fsync", f"p50 {ms(max(0.0, median(times) - median(ground.fsync)))}"
    )


async def start(ground: Ground) -> None:
    """(g) How long the shell waits: least of five runs."""
    folder = ground.folder / "cli"
    folder.mkdir()
    bench = Bench(folder, "store")
    async with bench.running(QUIET) as kernel:
        done = Finished("OrderFilled")
        kernel.subscribe_events(done)
        await flood(kernel, [taking() for _ in range(100)], done)
    (folder / "exk.yaml").write_text(
        f"store: {{url: 'sqlite:///{bench.path}'}}\naccounts:\n  {ACCOUNT}:\n    venue: paper\n    mode: paper\n"
    )
    exk = str(Path(sys.executable).with_name("exk"))
    plain = _least([sys.executable, "-c", "pass"], folder)
    for what, command, allowed in (
        ("import exchange_kernel", [sys.executable, "-c", "import exchange_kernel"], 0.25),
        (
            "from exchange_kernel import * (every public name)",
            [sys.executable, "-c", "from exchange_kernel import *"],
            None,
        ),
        ("exk --help", [exk, "--help"], 0.15),
        ("exk get orders, on the store", [exk, "get", "orders"], 0.6),
    ):
        seconds = await asyncio.to_thread(_least, command, folder)
        ground.table.add(
            f"(g) {what}",
            f"{seconds:.3f} s",
            "" if allowed is None else f"≤ {allowed} s",
            f"{seconds / plain:.1f}x an empty Python",
            None if allowed is None else seconds <= allowed,
        )


def _least(command: list[str], folder: Path) -> float:
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        best = min(best, time.perf_counter() - began)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed: {done.stderr}")
    return best


PARTS: dict[str, Callable[[Ground], Coroutine[Any, Any, None]]] = {
    "memory": memory,  # first: memory that other parts have freed would be used again, and not be seen
    "latency": latency,
    "burst": burst,
    "open": opened,
    "stream": stream,
    "start": start,
}


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.embedded", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="part", help=", ".join(PARTS))
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="on the disk to measure")
    parser.add_argument("--orders", type=int, default=5000, help="of the burst")
    parser.add_argument("--intents", type=int, default=100_000, help="open ones")
    options = parser.parse_args(None if arguments is None else list(arguments))
    folder = Path(tempfile.mkdtemp(prefix="exk-bench-", dir=options.folder))
    try:
        ground = Ground(folder, options.orders, options.intents)
        ground.table.start()
        ground.table.add("fsync of 4 KiB appended", spread(ground.fsync))
        ground.table.add(
            "baseline: plain sqlite3, one insert and fsync per order",
            f"{spread(ground.baseline)}, {1 / ground.raw:.0f} orders/s",
            "",
            "1",
        )
        for part in options.parts or PARTS:
            asyncio.run(PARTS[part](ground))
        again = middle(fsync_seconds(folder, 100))
        ground.table.add("fsync again, at the end", f"p50 {ms(again)}")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
