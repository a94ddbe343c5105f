"""Many accounts together: from a configuration to running kernels, on one store."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from exchange_kernel.base import ComponentHealth, ExchangeKernel, Health
from exchange_kernel.clock import Clock, Ids, SystemClock, SystemIds
from exchange_kernel.config import AccountConfig, Config, Use
from exchange_kernel.config import load as load_config
from exchange_kernel.errors import (
    ConfigError,
    NotRunning,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    StoreUnavailable,
    Unavailable,
)
from exchange_kernel.kernel import Kernel
from exchange_kernel.orders.names import check_accountable
from exchange_kernel.plugins import InstalledVenue, Plugins, Policy, VenueFactory
from exchange_kernel.plugins import load as load_plugins
from exchange_kernel.plugins.background import Imports
from exchange_kernel.plugins.checks import Checks
from exchange_kernel.plugins.honesty import vet
from exchange_kernel.plugins.parts import find_checks, make_admission, make_sink
from exchange_kernel.plugins.watchdog import Blockage, Watchdog
from exchange_kernel.reconcile.forward import EventSink, Forwarder
from exchange_kernel.reconcile.session import Settings
from exchange_kernel.reconcile.shared import Shared
from exchange_kernel.reconcile.suspicion import acknowledge
from exchange_kernel.state import IntentStateStore, SqlIntentStore
from exchange_kernel.state.ops import SetHalt
from exchange_kernel.state.redis import RedisLink

log = logging.getLogger("exchange_kernel.platform")

PASSING = (Unavailable, RateLimited, NotSent, OutcomeUnknown, StoreUnavailable, TimeoutError, OSError)
"""Failures to start that go away by themselves: tried again, for as long as the platform runs."""

FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 30.0
CLOSE_S = 5.0
STANDBY_POLL_S = 0.05
"""How often a worker's kernel that stands by asks for the lease: it does so only while an account changes hands."""

Venues = Callable[[str], VenueFactory]


class Platform:
    """Every account of a configuration, each with its own kernel, all on one store.

    ``platform["binance_main"]`` is that account's :class:`ExchangeKernel`. An account that cannot start hurts no other:
    its error is in :attr:`failures`, ``platform[name]`` raises it, and where the cause may pass it is tried again.
    A plugin that is not in order is left out, and logged; what blocks the event loop is named by a watchdog. A sink of
    events that cannot be made, or fails, hurts no account: it is a component of their health.

    ``venues``: from a venue's name to the factory of its adapter; the installed plugins by default. ``store``: used
    instead of the configuration's. ``standby``: wait for accounts that other processes own, instead of refusing them.
    ``follow``: never own one: declare and read beside the processes that do; foreign orders are seen then only through
    a Redis that the configuration names. ``placed``: start none by itself, but those of :meth:`take` (a worker among
    several); ``name``: by which the others call this process.
    """

    def __init__(
        self,
        config: Config,
        *,
        venues: Venues | None = None,
        store: IntentStateStore | None = None,
        clock: Clock | None = None,
        ids: Ids | None = None,
        settings: Settings | None = None,
        actor: str = "api",
        standby: bool = False,
        follow: bool = False,
        placed: bool = False,
        name: str = "",
    ) -> None:
        self.config = config
        self.plugins = load_plugins(policy=Policy.of(config.allowed_plugins)) if venues is None else Plugins(())
        for bad in self.plugins.troubles:
            log.warning("plugin %s (%s) is %s: %s", bad.name, bad.distribution, bad.status, bad.error)
        self._venues = venues
        self._clock = clock or SystemClock()
        self._ids = ids or SystemIds()
        self.store = store or SqlIntentStore(config.store_url, clock=self._clock, ids=self._ids)
        self._settings = settings or (Settings(standby_poll=STANDBY_POLL_S) if placed else Settings())
        self._actor = actor
        self._standby = standby or placed
        self._placed = placed
        self.name = name or f"{socket.gethostname()}-{os.getpid()}"
        url = config.redis_url
        self.shared = None if url is None else Shared(RedisLink(url, self._clock), self.name, self._clock)
        self._follow = follow
        self._kernels: dict[str, Kernel] = {}
        self._running: set[str] = set()
        self._failures: dict[str, Exception] = {}
        self._retries: list[asyncio.Task[None]] = []
        self._open = False
        self.takes_part: Callable[[], bool] = lambda: False
        self._imports = Imports()
        self._watchdog = Watchdog(self.plugins.found, self._clock)
        self._checks = Checks(self.plugins)
        self._sinks: dict[str, EventSink] = {}
        self._broken_sinks: dict[str, ComponentHealth] = {}
        self._forwarders: dict[str, list[Forwarder]] = {}

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """From ``exk.yaml``. Raises ConfigError, Unsupported."""
        return cls(load_config(path))

    @property
    def failures(self) -> Mapping[str, Exception]:
        """Accounts that did not start, and why."""
        return MappingProxyType(self._failures)

    @property
    def running(self) -> frozenset[str]:
        """Accounts that were started."""
        return frozenset(self._running)

    @property
    def retrying(self) -> bool:
        """Is any account that did not start being tried again?"""
        return any(not task.done() for task in self._retries)

    @property
    def ready(self) -> bool:
        """Is every account running, or does this worker take part, and does the event loop turn? May be asked from any
        thread, also while it does not."""
        complete = self.takes_part() if self._placed else len(self._running) == len(self.config.accounts)
        return self._open and complete and self._watchdog.current is None

    @property
    def blockages(self) -> tuple[Blockage, ...]:
        """What blocked the event loop, newest last; the last is not over where something blocks it now. May be asked
        from any thread."""
        now = self._watchdog.current
        return self._watchdog.past if now is None else (*self._watchdog.past, now)

    def __iter__(self) -> Iterator[str]:
        return iter(self.config.accounts)

    def __len__(self) -> int:
        return len(self.config.accounts)

    def __getitem__(self, name: str) -> ExchangeKernel:
        """The kernel of an account, started or not. Raises ConfigError for an unknown account, what kept it from
        starting, and NotRunning for one that another worker runs."""
        if name in self._failures:
            raise self._failures[name]
        if self._placed and name not in self._kernels:
            raise NotRunning(f"account {self.config.account(name).name} is not worked on by this worker now")
        return self._kernel(self.config.account(name))

    def _kernel(self, account: AccountConfig) -> Kernel:
        found = self._kernels.get(account.name)
        if found is None:
            admission = make_admission(self.plugins, f"accounts.{account.name}.admission", account.admission)
            found = self._kernels[account.name] = Kernel(
                account.name,
                self._venue(account)(),
                self.store,
                venue=account.venue,
                mode="" if account.observed else account.mode,
                venue_config=account.config,
                secrets=account.resolve_secrets(),
                limits=account.limits,
                settings=replace(
                    self._settings,
                    report_foreign=account.drift.foreign == "REPORT",
                    dead_man=account.dead_man,
                    observe=account.observed,
                ),
                clock=self._clock,
                ids=self._ids,
                actor=self._actor,
                standby=self._standby,
                follow=self._follow,
                owns_store=False,
                state_dir=self.config.state_dir,
                vet=partial(vet, account.name, account.venue),
                admission=admission,
                shared=self.shared,
                worker=self.name,
            )
        return found

    def _venue(self, account: AccountConfig) -> VenueFactory:
        if self._venues is not None:
            return self._venues(account.venue)
        return self.plugins.venue(account.venue, account.plugin)

    # ---- lifecycle ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the store and start every account side by side. Idempotent.

        Raises what keeps the store from opening; what keeps an account from starting is in :attr:`failures`."""
        if self._open:
            return
        found = await self.store.open()
        self._open = True
        if self.shared is not None:
            await self._share(self.shared)
        if isinstance(self._clock, SystemClock):
            # In simulated time nothing blocks, however long it takes.
            self._watchdog.start()
        try:
            await asyncio.gather(*(self._open_sink(number, use) for number, use in enumerate(self.config.sinks)))
            if not self._placed:
                await asyncio.gather(*(self._start(account) for account in self.config.accounts.values()))
            if found is not None and not (self._standby or self._follow):
                prevented = await acknowledge(self.store, self._running, self._clock, self._ids)
                if prevented:
                    log.warning("the store may have lost commits (%s), and %s", found.cause, prevented)
        except BaseException:
            await self.stop()
            raise
        for name, error in self._failures.items():
            if isinstance(error, PASSING):
                self._retries.append(asyncio.create_task(self._retry(self.config.accounts[name]), name=f"start {name}"))

    async def _share(self, shared: Shared) -> None:
        try:
            row = await self.store.store_row()
            await shared.open(f"{row.store_id[:8]}.{row.incarnation}")
        except BaseException:
            self._open = False
            await self.store.close()
            raise
        assert shared.fanout is not None
        self.store.listen(shared.fanout.send)

    @property
    def ids(self) -> Ids:
        """Where new ids come from."""
        return self._ids

    def started(self, name: str) -> Kernel | None:
        """An account's kernel where it was started here, whoever owns the account; else None."""
        return self._kernels.get(name) if name in self._running else None

    async def take(self, name: str) -> None:
        """Make an account ready here, and own it as soon as it is free. What prevents it is in :attr:`failures`."""
        await self._start(self.config.account(name))

    async def leave(self, name: str) -> None:
        """Give an account up: what is under way is finished, and whoever stands by for it goes on. Idempotent."""
        for forwarder in self._forwarders.pop(name, ()):
            await forwarder.stop()
        kernel = self._kernels.pop(name, None)
        self._running.discard(name)
        self._failures.pop(name, None)
        if kernel is not None:
            await kernel.stop()

    async def _start(self, account: AccountConfig) -> None:
        try:
            if account.name not in self._kernels:
                venue = self._venue(account)
                if isinstance(venue, InstalledVenue):
                    await self._imports.wait(venue)
                for part in find_checks(self.plugins, f"accounts.{account.name}.admission", account.admission):
                    await self._imports.wait(part)
            kernel = self._kernel(account)
            await kernel.start()
        except (Exception, SystemExit) as caught:  # noqa: BLE001 - what is wrong with one account hurts no other
            error = caught if isinstance(caught, Exception) else RuntimeError(f"the venue's adapter raised {caught!r}")
            if account.name not in self._failures:
                log.warning("account %s did not start: %s: %s", account.name, type(error).__name__, error)
            self._failures[account.name] = error
        else:
            self._failures.pop(account.name, None)
            self._running.add(account.name)
            self._forward(account.name, kernel)

    async def _open_sink(self, number: int, use: Use) -> None:
        path = f"sinks[{number}]"
        try:
            part = self.plugins.sink(use.name, use.plugin, path)
            await self._imports.wait(part)
            sink = make_sink(part, use.config, use.resolve_secrets(path))
        except (ConfigError, TimeoutError) as error:
            log.warning("no events are sent to %s: %s", use.name, error)
            self._broken_sinks[use.name] = ComponentHealth(False, str(error), self._clock.now_ms())
        else:
            self._sinks[use.name] = sink

    def _forward(self, account: str, kernel: Kernel) -> None:
        if account in self._forwarders:
            return
        self._forwarders[account] = [
            Forwarder(name, sink, account, self.store, self._clock, lambda: kernel.owns)
            for name, sink in self._sinks.items()
        ]
        for forwarder in self._forwarders[account]:
            forwarder.start()

    async def _retry(self, account: AccountConfig) -> None:
        wait = FIRST_RETRY_S
        while isinstance(self._failures.get(account.name), PASSING):
            await self._clock.sleep(wait)
            wait = min(2 * wait, LONGEST_RETRY_S)
            await self._start(account)
        if account.name in self._running:
            log.warning("account %s has started", account.name)

    async def stop(self) -> None:
        """Stop every account, then close the store. Orders stay at the venues. Idempotent."""
        if not self._open:
            return
        self._open = False
        for task in self._retries:
            task.cancel()
        for task in self._retries:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._retries.clear()
        await self._close_sinks()
        stopped = await asyncio.gather(*(kernel.stop() for kernel in self._kernels.values()), return_exceptions=True)
        for name, error in zip(self._kernels, stopped, strict=True):
            if isinstance(error, Exception):
                log.warning("account %s did not stop cleanly: %s: %s", name, type(error).__name__, error)
        self._watchdog.stop()
        self._running.clear()
        self._failures.clear()
        if self.shared is not None:
            if self.shared.fanout is not None:
                self.store.unlisten(self.shared.fanout.send)
            await self.shared.close()
        await self.store.close()

    async def _close_sinks(self) -> None:
        """The last events of a stop are sent at the next start: a sink's place is its own."""
        sending = [forwarder.stop() for each in self._forwarders.values() for forwarder in each]
        self._forwarders.clear()
        await asyncio.gather(*sending)
        for name, sink in self._sinks.items():
            try:
                async with asyncio.timeout(CLOSE_S):
                    await sink.close()
            except Exception as error:  # noqa: BLE001 - a plugin's sink: whatever it raises, the rest stops too
                log.warning("sink %s did not close cleanly: %s: %s", name, type(error).__name__, error)
        self._sinks.clear()
        self._broken_sinks.clear()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # ---- all accounts -------------------------------------------------------------------------------------------

    async def halt(self, *, actor: str, reason: str) -> None:
        """Refuse and send no order on any account of the store, durably, until :meth:`resume`. Cancels still work."""
        await self._set_halt(True, actor, reason)

    async def resume(self, *, actor: str, reason: str) -> None:
        """Lift the platform's halt. Accounts that were halted by themselves stay halted."""
        await self._set_halt(False, actor, reason)

    async def _set_halt(self, halt: bool, actor: str, reason: str) -> None:
        check_accountable(actor, reason)
        accounts = tuple(await self.store.accounts())
        await self.store.execute(SetHalt(None, halt, actor, reason[:200], accounts))

    async def health_check(self) -> dict[str, Health]:
        """The health of every account; one that did not start is not ready, for the reason in ``failures``.

        A sink of events, and what a plugin's own check finds, are components too. They do not make an account unready:
        its orders are worked on all the same."""
        names = list(self.config.accounts)
        found = await asyncio.gather(*(self._health(name) for name in names))
        checked = await self._checks.ask({each.venue for each in self.config.accounts.values()}, self._clock.now_ms())
        loop = self._loop_health()
        return {
            name: Health(
                health.ready and loop.healthy,
                {
                    **health.components,
                    "loop": loop,
                    **self._sink_health(name),
                    **checked.get(self.config.accounts[name].venue, {}),
                },
            )
            for name, health in zip(names, found, strict=True)
        }

    def _sink_health(self, account: str) -> dict[str, ComponentHealth]:
        sending = {f"sink {each.name}": each.health for each in self._forwarders.get(account, ())}
        return sending | {f"sink {name}": health for name, health in self._broken_sinks.items()}

    def _loop_health(self) -> ComponentHealth:
        last = self.blockages[-1:]
        return ComponentHealth(True) if not last else ComponentHealth(last[0].over, last[0].text, last[0].since)

    async def _health(self, name: str) -> Health:
        error = self._failures.get(name)
        if error is not None:
            return Health(False, {"kernel": ComponentHealth(False, f"did not start: {error}")})
        if self._placed and name not in self._running:
            return Health(True, {"kernel": ComponentHealth(True, "not worked on by this worker now")})
        return await self._kernel(self.config.accounts[name]).health_check()
