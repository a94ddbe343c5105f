"""A simulated process: at every touch of the outside world it may crash, or pause for many seconds and go on as a
zombie."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from exchange_kernel.errors import CommitUnknown, StoreUnavailable
from exchange_kernel.state.stores import IntentStateStore
from exchange_kernel.testing.virtual import VirtualClock
from exchange_kernel.venue import Ticket


@dataclass
class Rates:
    """How often things go wrong at one touch of the outside world."""

    crash: float = 0.0
    pause: float = 0.0
    store_unavailable: float = 0.0
    commit_unknown: float = 0.0


@dataclass
class Weather:
    """What is shared by all processes: randomness, what may go wrong now, and what went wrong so far."""

    rng: Random
    loop: Any
    rates: Rates
    counts: Counter[str] = field(default_factory=Counter)
    crash_at: str = ""
    """Crash deterministically at the first touch with this label (then never again)."""


class Process:
    """``io`` is the boundary: a crashed process never gets past it, a paused one gets past it late."""

    def __init__(self, weather: Weather, name: str, skew_ms: int) -> None:
        self.weather = weather
        self.name = name
        self.dead = False
        self.paused_until = 0.0
        self.owed: set[object] = set()
        self.clock = ProcessClock(weather.loop, self, skew_ms)
        self.kernel: Any = None
        self.on_crash: Callable[[], None] = lambda: None

    async def io(self, label: str) -> None:
        weather = self.weather
        rng, rates, loop = weather.rng, weather.rates, weather.loop
        weather.counts[label] += 1
        if not self.dead:
            if weather.crash_at == label:
                weather.crash_at = ""
                self.crash(label)
            elif rates.crash and rng.random() < rates.crash:
                self.crash(label)
            elif rates.pause and rng.random() < rates.pause:
                self.paused_until = loop.time() + rng.uniform(0.5, 15.0)
                weather.counts[f"pause@{label}"] += 1
        if rng.random() < 0.3:
            await asyncio.sleep(rng.uniform(0.0, 0.004))
        await self.awake()

    async def awake(self) -> None:
        """Goes on when this process does, if ever."""
        loop = self.weather.loop
        while self.paused_until > loop.time():
            # A stopped process notices no timer: what was about to happen happens when it goes on, however late.
            try:
                await asyncio.sleep(self.paused_until - loop.time())
            except asyncio.CancelledError:
                self.owed.add(asyncio.current_task())
        if self.dead:
            if asyncio.current_task() in self.owed:
                raise asyncio.CancelledError  # its caller, outside of this process, still waits for the cancellation
            await asyncio.Event().wait()

    def crash(self, label: str) -> None:
        """From here on nothing of this process touches the outside any more, and no finally or except of it matters."""
        self.dead = True
        self.weather.counts[f"crash@{label}"] += 1
        self.on_crash()


class ProcessClock(VirtualClock):
    """The process' own clock: skewed, and asleep while the process is."""

    def __init__(self, loop: Any, process: Process, skew_ms: int) -> None:
        super().__init__(loop, skew_ms=skew_ms)
        self._process = process

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._process.awake()


class SimStore:
    """The real store behind a boundary where its reply may be lost. ``audit`` sees every operation that committed."""

    def __init__(self, inner: IntentStateStore, process: Process, audit: Callable[[Process, Any], Any]) -> None:
        self._inner = inner
        self._process = process
        self._audit = audit

    async def open(self) -> Any:
        await self._process.io("store:open")
        return await self._inner.open()

    async def close(self) -> None:
        return None

    def listen(self, callback: Any) -> None:
        self._inner.listen(callback)

    def unlisten(self, callback: Any) -> None:
        self._inner.unlisten(callback)

    async def execute(self, operation: Any) -> Any:
        process, weather = self._process, self._process.weather
        name = type(operation).__name__
        await process.io(f"commit:{name}")
        if weather.rates.store_unavailable and weather.rng.random() < weather.rates.store_unavailable:
            weather.counts["store_unavailable"] += 1
            raise StoreUnavailable("simulated: the database is locked")
        check = await self._audit(process, operation)
        result = await self._inner.execute(operation)
        check()
        await process.io(f"committed:{name}")
        if weather.rates.commit_unknown and weather.rng.random() < weather.rates.commit_unknown:
            weather.counts["commit_unknown"] += 1
            raise CommitUnknown("simulated: the reply to COMMIT was lost")
        return result

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        async def read(*args: Any, **kwargs: Any) -> Any:
            await self._process.io("read")
            return await method(*args, **kwargs)

        return read


class SimAdapter:
    """The real adapter behind the same boundary. ``sending`` is called at the moment a ticket is about to leave."""

    def __init__(self, inner: Any, process: Process, sending: Callable[[Process, Ticket], None]) -> None:
        self.inner = inner
        self._process = process
        self._sending = sending

    def check(self, spec: Any, was: Any = None) -> Any:
        return self.inner.check(spec, was)

    async def open(self, ctx: Any) -> Any:
        await self._process.io("venue:open")
        return await self.inner.open(ctx)

    async def close(self) -> None:
        await self.inner.close()

    async def prepare(self, command: Any, prep: Any) -> Any:
        await self._process.io("venue:prepare")
        prepared = await self.inner.prepare(command, prep)
        await self._process.io("venue:prepared")
        return prepared

    async def submit(self, ticket: Ticket) -> Any:
        self._sending(self._process, ticket)
        await self._process.io("venue:submit")
        ack = await self.inner.submit(ticket)
        await self._process.io("venue:submitted")
        return ack

    async def _read(self, label: str, method: Any, *args: Any) -> Any:
        await self._process.io(label)
        answer = await method(*args)
        await self._process.io(f"{label}:answer")
        return answer

    async def markets(self) -> Any:
        return await self._read("venue:markets", self.inner.markets)

    async def lookup(self, ref: Any) -> Any:
        return await self._read("venue:lookup", self.inner.lookup, ref)

    async def open_orders(self, page: Any) -> Any:
        return await self._read("venue:open_orders", self.inner.open_orders, page)

    async def account(self) -> Any:
        return await self._read("venue:account", self.inner.account)

    async def history(self, cursor: Any) -> Any:
        return await self._read("venue:history", self.inner.history, cursor)

    async def events(self, cursor: Any) -> AsyncIterator[Any]:
        await self._process.io("venue:events")
        async for event in self.inner.events(cursor):
            await self._process.io("venue:event")
            yield event


class PricedSimAdapter(SimAdapter):
    """The same, and the venue's prices too, where somebody watches them."""

    async def prices(self, symbols: frozenset[str]) -> AsyncIterator[Any]:
        await self._process.io("venue:prices")
        async for tick in self.inner.prices(symbols):
            await self._process.io("venue:price")
            yield tick
