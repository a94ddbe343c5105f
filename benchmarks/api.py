"""Readers of events over HTTP beside a working kernel. ``python -m benchmarks.api [READERS] [SECONDS]``.

One process runs the kernel and the server, another holds the readers, and one reader more takes nothing at all. Orders
are placed so that about fifty events a second come; the reconciler's runs are timed without readers and with them.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from core.tests.api.serving import ORDER, served
from exchange_kernel import StandardOrder
from exchange_kernel.kernel import Kernel

EVENTS_OF_AN_ORDER = 4
RATE = 50


async def read(port: int, token: str, lags: list[float], slow: bool = False) -> None:
    """One reader: how long after its time each event came, in ms."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"GET /v1/accounts/one/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
    writer.write(f"{head}Accept: text/event-stream\r\n\r\n".encode())
    if slow:
        await asyncio.Event().wait()
    async for line in reader:
        if line.startswith(b"data: {"):
            lags.append(time.time() * 1000 - json.loads(line[6:])["at"])


async def readers(port: int, token: str, count: int, seconds: float) -> None:
    """The other process: prints what its readers saw."""
    lags: list[float] = []
    tasks = [asyncio.create_task(read(port, token, lags, slow=n == count)) for n in range(count + 1)]
    print("ready", flush=True)
    await asyncio.sleep(seconds)
    lags.sort()
    for task in tasks:
        task.cancel()
    at = [lags[int(len(lags) * share)] for share in (0.5, 0.99)] if lags else [0.0, 0.0]
    behind = f"behind the commit: p50 {at[0]:.0f} ms, p99 {at[1]:.0f} ms"
    print(f"{len(lags)} deliveries, {len(lags) / seconds:.0f}/s; {behind}")


async def trade(kernel: Kernel, seconds: float) -> float:
    """Place orders at the rate; returns the reconciler's mean time for a run, in ms."""
    runs, total = sum(kernel.meter.runs.counts), kernel.meter.runs.total
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic()
        await kernel.place_order(StandardOrder(**ORDER))
        await asyncio.sleep(max(0.0, EVENTS_OF_AN_ORDER / RATE - (time.monotonic() - began)))
    return 1000 * (kernel.meter.runs.total - total) / max(1, sum(kernel.meter.runs.counts) - runs)


async def main(count: int, seconds: float) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        async with served(Path(folder)) as at:
            kernel = at.platform["one"]
            assert isinstance(kernel, Kernel)
            alone = await trade(kernel, seconds)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            port, token = at.url.rpartition(":")[2], at.token("one:read")
            command = [sys.executable, "-m", "benchmarks.api", "--readers", port, token, str(count), str(seconds)]
            process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
            assert process.stdout is not None
            await process.stdout.readline()
            beside = await trade(kernel, seconds)
            said = (await process.communicate())[0].decode().strip()
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{count} readers and one that takes nothing, {seconds:g} s: {said}")
    print(f"a run of the reconciler: {alone:.2f} ms without readers, {beside:.2f} ms with them; memory +{grown:.0f} MB")


if __name__ == "__main__":
    if "--readers" in sys.argv:
        where, secret, number, span = sys.argv[2:]
        asyncio.run(readers(int(where), secret, int(number), float(span)))
    else:
        given = [float(each) for each in sys.argv[1:]] or [200.0, 10.0]
        asyncio.run(main(int(given[0]), given[1]))
