"""One worker among several: runs its share of the accounts, takes over those of workers that are gone, and gives its
own to who stands ready for them.

Who works is in the store (``worker``), who may write is decided by the lease of each account and its epoch. An account
is handed over when its next worker has everything ready but the lease, so that nobody waits for a venue to be opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from exchange_kernel.clock import Clock, SystemClock
from exchange_kernel.errors import StoreError
from exchange_kernel.kernel import Kernel
from exchange_kernel.platform import Platform
from exchange_kernel.reconcile.ownership import worker_of
from exchange_kernel.reconcile.placement import place
from exchange_kernel.reconcile.suspicion import acknowledge
from exchange_kernel.state.sql.workers import Fleet, SqlWorkers

__all__ = ["Timing", "Worker"]

log = logging.getLogger("exchange_kernel.worker")

FIRST_BAR_S: Final = 1.0
LONGEST_BAR_S: Final = 30.0
"""For how long an account that could not be started here is left to the others."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. ``beat``: how often a worker speaks; ``silence``: after how long without a word its accounts are made
    ready elsewhere; ``drain``: how long it waits at its end for others to be ready."""

    beat: float = 0.5
    silence: float = 2.5
    drain: float = 20.0


class Worker:
    """Runs its share of a platform's accounts (made with ``placed=True``)."""

    def __init__(self, platform: Platform, *, timing: Timing | None = None, clock: Clock | None = None) -> None:
        self.platform = platform
        self.name = platform.name
        self._timing = timing or Timing()
        self._clock = clock or SystemClock()
        self._fleet = SqlWorkers(platform.config.store_url, self._clock)
        self._changing: dict[str, asyncio.Task[None]] = {}
        self._failed: dict[str, tuple[int, float]] = {}
        self._draining = False
        self._suspicion = ""
        self._heard_at: float | None = None
        self.alone = True

    @property
    def ready(self) -> bool:
        """Does it take part: has it spoken to the others lately?"""
        heard = self._heard_at
        return heard is not None and self._clock.monotonic() - heard < 2 * self._timing.silence

    @property
    def draining(self) -> bool:
        """Is it giving its accounts away, to end?"""
        return self._draining

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; then give every account to who stands ready, and return. The platform is started
        and stopped by the caller."""
        try:
            while not stop.is_set():
                await self._beat()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._timing.beat):
                        await stop.wait()
            await self._drain()
        finally:
            for task in self._changing.values():
                task.cancel()
            await asyncio.gather(*self._changing.values(), return_exceptions=True)
            with contextlib.suppress(StoreError):
                await asyncio.to_thread(self._fleet.leave, self.name)
            await asyncio.to_thread(self._fleet.close)

    async def _drain(self) -> None:
        self._draining = True
        until = self._clock.monotonic() + self._timing.drain
        while self._clock.monotonic() < until:
            await self._beat()
            if self.alone or not (self.platform.running or self._changing):
                return
            await self._clock.sleep(min(0.1, self._timing.beat))
        left = ", ".join(sorted(self.platform.running))
        log.warning("nobody stood ready in time for %s: given up all the same, and taken over when they are", left)

    async def _beat(self) -> None:
        """Say what is true here, hear what is true elsewhere, and do the own part of what follows."""
        mine = self._mine()
        serves = [] if self._draining else [name for name in self.platform if not self._barred(name)]
        ready = [name for name, kernel in mine.items() if kernel.stands_by]
        heard = [name for name, kernel in mine.items() if kernel.owns and kernel.suspected == self._suspicion != ""]
        silence = int(1000 * self._timing.silence)
        speak = partial(self._fleet.beat, self.name, silence, serves, ready, heard, draining=self._draining)
        try:
            fleet = await asyncio.to_thread(speak)
        except StoreError as error:
            log.warning("this worker cannot speak to the others: %s", error)
            return
        self._heard_at = self._clock.monotonic()
        self._suspicion = fleet.suspicion or ""
        self._follow(fleet, mine)
        await self._acknowledge(fleet)

    def _barred(self, account: str) -> bool:
        """Did it fail to start here a short time ago? Then the others get their chance first."""
        if account not in self.platform.failures:
            self._failed.pop(account, None)
            return False
        return self._failed.get(account, (0, 0.0))[1] > self._clock.monotonic()

    def _mine(self) -> dict[str, Kernel]:
        kernels = {name: self.platform.started(name) for name in self.platform}
        return {name: kernel for name, kernel in kernels.items() if kernel is not None}

    def _follow(self, fleet: Fleet, mine: dict[str, Kernel]) -> None:
        stay = {name: member.serves for name, member in fleet.members.items() if not member.draining}
        self.alone = not (set(stay) - {self.name})
        held = {account: worker_of(owner) for account, owner in fleet.holders.items()}
        plan = place(tuple(self.platform), stay, held)
        for account in self.platform:
            if account in self._changing:
                continue
            kernel = mine.get(account)
            planned = plan.get(account)
            if planned == self.name:
                if kernel is None:
                    self._change(account, self.platform.take(account))
            elif kernel is not None:
                successor = fleet.members.get(planned) if planned is not None else None
                if not kernel.owns or (successor is not None and account in successor.ready):
                    self._change(account, self.platform.leave(account))

    def _change(self, account: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=f"hand over {account}")
        self._changing[account] = task
        task.add_done_callback(partial(self._changed, account))

    def _changed(self, account: str, task: asyncio.Task[None]) -> None:
        self._changing.pop(account, None)
        if account in self.platform.failures:
            times = self._failed.get(account, (0, 0.0))[0]
            wait = min(LONGEST_BAR_S, FIRST_BAR_S * 2**times)
            self._failed[account] = (times + 1, self._clock.monotonic() + wait)
        if not task.cancelled() and task.exception() is not None:
            log.error("account %s could not be changed: %s", account, task.exception())

    async def _acknowledge(self, fleet: Fleet) -> None:
        """A suspicion of lost commits ends when every account has begun to recover from it (R32)."""
        heard = frozenset().union(*(member.heard for member in fleet.members.values()))
        if fleet.suspicion is None or not heard.issuperset(self.platform):
            return
        try:
            prevented = await acknowledge(self.platform.store, heard, self._clock, self.platform.ids)
            if prevented:
                log.info("the store may have lost commits, and %s", prevented)
        except StoreError as error:
            log.warning("a suspicion of lost commits cannot be acknowledged yet: %s", error)
