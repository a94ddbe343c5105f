"""The PostgreSQL path: what the server can do, and what is left of it. ``python -m benchmarks.postgres [part …]``.

A PostgreSQL of this run's own, with ``fsync = on``, on the disk of TMPDIR; everything on the same processors. Every
part stands alone: declare, life.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.ground import ROW_BYTES, Bench, Finished, Table, cpu_seconds, flood, fsync_seconds, ms, spread, taking
from exchange_kernel.models import Limits, OrderIntent
from exchange_kernel.reconcile.session import Settings
from exchange_kernel.state.ops import BindAccount, CreateIntents, NewIntent
from exchange_kernel.state.sql import SqlIntentStore
from exchange_kernel.testing.servers import PostgresServer

QUIET = Settings(snapshot_every=3600.0)
ACCOUNTS = 8


class Ground:
    """One run: its server, what a single commit takes there, how much is asked for."""

    def __init__(self, server: PostgresServer, orders: int) -> None:
        self.server, self.orders = server, orders
        self.table = Table("PostgreSQL path")
        self.single = single_seconds(server.new_database(), 1000)
        self.raw = len(self.single) / sum(self.single)

    def server_cpu(self) -> float:
        """Processor time of the server and of all it has started that still run."""
        assert self.server.pid is not None
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # it has ended
                fields = stat.read_text().rpartition(")")[2].split()
                if str(self.server.pid) in (fields[1], stat.parent.name):
                    ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


def single_seconds(url: str, times: int) -> list[float]:
    """The least a durable order costs on this server: one row of an order's size, one transaction, one fsync."""
    out = []
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CREATE TABLE o (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text NOT NULL)")
        for n in range(times):
            began = time.perf_counter()
            connection.execute("INSERT INTO o (body) VALUES (%s)", (f"{n:08d}".ljust(ROW_BYTES, "x"),))
            out.append(time.perf_counter() - began)
    return out


async def declare(ground: Ground) -> None:
    """Intents declared and durable, so many calls in flight, over several accounts."""
    store = SqlIntentStore(ground.server.new_database())
    await store.open()
    for n in range(ACCOUNTS):
        await store.execute(BindAccount(f"a{n}", "paper", f"paper:a{n}", "paper", Limits()))
    numbers: Iterator[int] = iter(range(1_000_000_000))
    times: list[float] = []

    async def client(until: float) -> None:
        while time.perf_counter() < until:
            n, order = next(numbers), taking()
            account = f"a{n % ACCOUNTS}"
            intent = OrderIntent(account=account, intent_id=f"{n:012d}", order=order, first_hash=order.spec_hash())
            began = time.perf_counter()
            await store.execute(CreateIntents(account, (NewIntent(intent, order.amount * 50000),), "bench"))
            times.append(time.perf_counter() - began)

    for flight in (1, 64, 256):
        await asyncio.gather(*(client(time.perf_counter() + 1) for _ in range(flight)))
        times.clear()
        before, began, cpu, server = store.transactions, time.perf_counter(), cpu_seconds(), ground.server_cpu()
        await asyncio.gather(*(client(began + 4) for _ in range(flight)))
        seconds = time.perf_counter() - began
        rate = len(times) / seconds
        ground.table.add(
            f"declared and durable, {flight} in flight, {ACCOUNTS} accounts",
            f"{rate:.0f}/s, {spread(times)}",
            "",
            f"{rate / ground.raw:.2f}x its rate",
        )
        ground.table.add(
            "    CPU each, here and in the server; per transaction",
            f"{1e6 * (cpu_seconds() - cpu) / len(times):.0f} µs, "
            f"{1e6 * (ground.server_cpu() - server) / len(times):.0f} µs; "
            f"{len(times) / (store.transactions - before):.1f}",
        )
    await store.close()


async def life(ground: Ground) -> None:
    """Orders a second from declaration to FILLED booked, one process with the paper venue in it, 100 in flight."""
    bench = Bench(Path(), "life", url=ground.server.new_database())
    async with bench.running(QUIET) as kernel:
        done = Finished("OrderFilled")
        kernel.subscribe_events(done)
        await flood(kernel, [taking() for _ in range(500)], done)
        store: Any = kernel._store
        before, server = store.transactions, ground.server_cpu()
        seconds, cpu = await flood(kernel, [taking() for _ in range(ground.orders)], done)
        transactions, server = store.transactions - before, ground.server_cpu() - server
    rate = ground.orders / seconds
    ground.table.add(
        f"full life, one process, {ground.orders} orders, 100 in flight",
        f"{rate:.0f} orders/s",
        "≥ 1,000/s (with two workers)",
        f"{rate / ground.raw:.2f}x its rate",
        rate >= 1000,
    )
    ground.table.add(
        "    CPU per order, here and in the server; orders per transaction",
        f"{1e6 * cpu / ground.orders:.0f} µs, {1e6 * server / ground.orders:.0f} µs; "
        f"{ground.orders / transactions:.1f}",
    )


PARTS: dict[str, Callable[[Ground], Coroutine[Any, Any, None]]] = {"declare": declare, "life": life}


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.postgres", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="part", help=", ".join(PARTS))
    parser.add_argument("--orders", type=int, default=4000, help="of the full life")
    options = parser.parse_args(None if arguments is None else list(arguments))
    with PostgresServer() as server:
        ground = Ground(server, options.orders)
        ground.table.start()
        ground.table.add("fsync of 4 KiB appended", spread(fsync_seconds(server.directory)))
        ground.table.add(
            "baseline: one insert and one commit per order, psycopg",
            f"{spread(ground.single)}, {ground.raw:.0f} orders/s",
            "",
            "1",
        )
        for part in options.parts or PARTS:
            asyncio.run(PARTS[part](ground))
        ground.table.add("fsync again, at the end", f"p50 {ms(sorted(fsync_seconds(server.directory, 100))[50])}")


if __name__ == "__main__":
    main()
