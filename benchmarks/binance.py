"""Binance: what an order costs on top of ccxt, how long reading thousands of symbols holds up the event loop, a burst
at the order limit. ``python -m benchmarks.binance [part …]``: load, order, burst.

The exchange is the simulated one, in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp

from exchange_kernel.clock import SystemClock, SystemIds
from exchange_kernel.errors import RateLimited
from exchange_kernel.schema import Side, TimeInForce
from exchange_kernel.venue import Context, Place, Prep, Spec, Ticket
from exchange_kernel_binance.adapter import BinanceAdapter
from exchange_kernel_binance.markets import cut, in_slices, rules_of_symbol
from exchange_kernel_binance.simulator.spot.symbols import SpotSymbol
from exchange_kernel_binance.spot.markets import market_in

SYMBOLS = 3_400
CLOCK = SystemClock()
IDS = SystemIds()


@contextmanager
def exchange(*options: str, symbols: int = 0) -> Iterator[dict[str, Any]]:
    """A simulated Binance in a process of its own; what it says of itself."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "exchange_kernel_binance.simulator", *options]
        if symbols:
            config = Path(folder, "many.toml")
            config.write_text(_many(symbols))
            command += ["--config", str(config)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            try:
                yield json.loads(child.stdout.readline())
            finally:
                child.terminate()


def _many(count: int) -> str:
    rows = [
        f'[[spot]]\nsymbol = "A{n:04d}USDT"\nbase = "A{n:04d}"\nquote = "USDT"\nlast_price = "10"\n'
        for n in range(count)
    ]
    return "\n".join([*rows, '[[accounts]]\nname = "alice"\nbalances = {USDT = "1000000"}\n'])


def context(binance: dict[str, Any]) -> Context:
    """Alice's account."""
    keys = binance["accounts"]["alice"]
    urls = {"spot": binance["url"], "spot_ws": binance["ws_url"] + "/ws-api/v3"}
    secrets = {"api_key": keys["key"], "secret": keys["secret"]}
    return Context("bench", {"network": "custom", "urls": urls}, CLOCK.now_ms, CLOCK.sleep, secrets)


@asynccontextmanager
async def opened(binance: dict[str, Any]) -> AsyncIterator[BinanceAdapter]:
    """An adapter with Alice's account."""
    adapter = BinanceAdapter()
    await adapter.open(context(binance))
    try:
        yield adapter
    finally:
        await adapter.close()


async def longest_block(work: Callable[[], Awaitable[Any]]) -> str:
    """The longest time in which nothing else could run (by the clock, and of the processor's time, which a busy machine
    does not stretch), how much of it was the garbage collector, and the whole time."""
    worst = busiest = collecting = 0.0
    began = since = time.perf_counter()

    def collector(phase: str, info: dict[str, int]) -> None:
        nonlocal collecting, since
        if phase == "start":
            since = time.perf_counter()
        else:
            collecting = max(collecting, time.perf_counter() - since)

    gc.callbacks.append(collector)
    try:
        task = asyncio.ensure_future(work())
        last, used = time.perf_counter(), time.thread_time()
        while not task.done():
            await asyncio.sleep(0)
            now, cpu = time.perf_counter(), time.thread_time()
            worst, busiest = max(worst, now - last), max(busiest, cpu - used)
            last, used = now, cpu
        await task
    finally:
        gc.callbacks.remove(collector)
    whole = time.perf_counter() - began
    return f"{worst * 1e3:5.1f} ({busiest * 1e3:5.1f} busy, {collecting * 1e3:5.1f} gc) of {whole * 1e3:5.0f}"


def body(count: int) -> bytes:
    """An exchangeInfo as long as the real one, with the permission sets that nobody reads."""
    permissions = [[f"TRD_GRP_{number:03d}"] for number in range(43)]
    listed = []
    for number in range(count):
        name = f"A{number:04d}"
        entry = SpotSymbol(f"{name}USDT", name, "USDT", Decimal(10)).info()
        listed.append(entry | {"permissionSets": permissions})
    return json.dumps({"rateLimits": [], "symbols": listed}, separators=(",", ":")).encode()


async def load() -> None:
    """Reading every symbol: from a body in memory, and over the adapter."""
    whole = body(SYMBOLS)
    print(f"exchangeInfo of {SYMBOLS} symbols, {len(whole) / 1e6:.1f} MB; longest block, ms")
    await asyncio.to_thread(_ccxt)
    for _ in range(5):
        gc.collect()
        filters = await longest_block(lambda: in_slices(cut(whole), rules_of_symbol))
        metadata = await longest_block(lambda: in_slices(cut(whole), lambda raw: market_in(raw, frozenset())))
        print(f"  filters {filters}   metadata {metadata}")
    with exchange(symbols=SYMBOLS) as binance:
        async with opened(binance) as adapter:
            for _ in range(5):
                print(f"  adapter.markets() {await longest_block(adapter.markets)}")


def _ccxt() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ccxt.async_support

        return ccxt.async_support


def market_order(side: Side) -> Spec:
    """A small order that trades at once."""
    return Spec("BTC/USDT", side, Decimal("0.001"), tif=TimeInForce.IOC)


async def prepared(adapter: BinanceAdapter, wanted: Spec) -> Ticket:
    """Its ticket."""
    now = CLOCK.now_ms()
    prep = Prep(now, now + 600_000, lambda scope: (scope, 0))
    adapter.check(wanted)
    ticket = await adapter.prepare(Place(IDS.new(16), wanted), prep)
    assert isinstance(ticket, Ticket)
    return ticket


async def ours(adapter: BinanceAdapter, count: int) -> float:
    """CPU seconds per order: check, ticket, request and report."""
    began = time.process_time()
    for number in range(count):
        ticket = await prepared(adapter, market_order(Side.BUY if number % 2 else Side.SELL))
        await adapter.submit(ticket)
    return (time.process_time() - began) / count


async def theirs(client: Any, count: int) -> float:
    """CPU seconds per order of ccxt's create_order."""
    began = time.process_time()
    for number in range(count):
        await client.create_order("BTC/USDT", "market", "buy" if number % 2 else "sell", 0.001)
    return (time.process_time() - began) / count


async def bare(url: str, count: int) -> float:
    """CPU seconds per request of aiohttp alone."""
    async with aiohttp.ClientSession() as session:
        began = time.process_time()
        for _ in range(count):
            async with session.get(url + "/api/v3/time") as reply:
                await reply.read()
        return (time.process_time() - began) / count


async def order(rounds: int = 10, count: int = 80) -> None:
    """CPU per order, ours and ccxt's in turns on one exchange."""
    library = _ccxt()
    with exchange("--market-maker") as binance:
        keys = binance["accounts"]["alice"]
        client = library.binance({"apiKey": keys["key"], "secret": keys["secret"], "enableRateLimit": False})
        client.urls["api"] = _redirected(client.urls["api"], binance["url"])
        client.options |= {"fetchCurrencies": False, "fetchMargins": False, "fetchMarkets": {"types": ["spot"]}}
        try:
            async with opened(binance) as adapter:
                await client.load_markets()
                await ours(adapter, 10)
                await theirs(client, 10)
                figures: list[tuple[float, float, float]] = []
                for _ in range(rounds):
                    gc.collect()
                    figures.append(
                        (await ours(adapter, count), await theirs(client, count), await bare(binance["url"], count))
                    )
        finally:
            await client.close()
    print(f"CPU per market order, µs, {rounds} rounds of {count}: the median and each round")
    for name, column in (("adapter", 0), ("ccxt create_order", 1), ("one bare request", 2)):
        values = sorted(figure[column] * 1e6 for figure in figures)
        print(f"  {name:18} {values[rounds // 2]:6.0f}   {' '.join(f'{value:.0f}' for value in values)}")
    over = sorted((figure[0] - figure[1]) * 1e6 for figure in figures)
    print(f"  on top of ccxt     {over[rounds // 2]:6.0f}   {' '.join(f'{value:.0f}' for value in over)}")


def _redirected(urls: Any, origin: str) -> Any:
    if isinstance(urls, dict):
        return {name: _redirected(each, origin) for name, each in urls.items()}
    return origin + "/" + urls.partition("://")[2].partition("/")[2] if isinstance(urls, str) else urls


async def burst(count: int = 199) -> None:
    """Twice as many orders at once as Binance takes in ten seconds, each tried until it is taken."""
    with exchange() as binance:
        async with opened(binance) as adapter, aiohttp.ClientSession() as session:
            refusals = 0

            async def place(number: int) -> str:
                nonlocal refusals
                resting = Spec("BTC/USDT", Side.BUY, Decimal("0.001"), limit=Decimal(30_000 + number))
                while True:
                    try:
                        ack = await adapter.submit(await prepared(adapter, resting))
                    except RateLimited as error:
                        refusals += 1
                        await CLOCK.sleep(max(0, error.retry_at - CLOCK.now_ms()) / 1000)
                    else:
                        return ack.stage

            began = time.perf_counter()
            stages = await asyncio.gather(*(place(number) for number in range(count)))
            took = time.perf_counter() - began
            async with session.get(binance["admin_url"] + "/truth/orders") as reply:
                mine = [each for each in await reply.json() if each["account"] == "alice"]
            async with session.get(binance["admin_url"] + "/truth/requests") as reply:
                requests = (await reply.json())["order.place"]
    names = {each["clientOrderId"] for each in mine}
    print(f"burst: {len(stages)} orders in {took:.1f} s; taken {stages.count('decided')}; at Binance {len(mine)},")
    print(f"  distinct {len(names)}; requests {requests} (refused there: {requests - len(mine)}); held back {refusals}")


PARTS = {"load": load, "order": order, "burst": burst}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="all of them without a name")
    for part in parser.parse_args().parts or PARTS:
        asyncio.run(PARTS[part]())


if __name__ == "__main__":
    main()
