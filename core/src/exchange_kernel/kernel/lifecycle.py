"""Starting, standing by, being taken over, and stopping."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

from exchange_kernel.base import ComponentHealth, EventHandler, Health
from exchange_kernel.errors import ConfigError, ExchangeKernelError, NotRunning, StoreError, StoreUnavailable
from exchange_kernel.kernel.account import Account
from exchange_kernel.panic import import_journal, read_halt
from exchange_kernel.reconcile.bus import Bus
from exchange_kernel.reconcile.ownership import owner_name
from exchange_kernel.reconcile.runner import Runner
from exchange_kernel.reconcile.session import Session
from exchange_kernel.reconcile.suspicion import acknowledge
from exchange_kernel.state.ops import BindAccount
from exchange_kernel.venue import Context, DeadMan

log = logging.getLogger("exchange_kernel")

PANIC_POLL_S = 0.5


class Lifecycle(Account):
    """The life of one account's kernel, and what it tells while it lives: health and events."""

    async def start(self) -> None:
        if self._session is not None:
            return
        if self._owns_store:
            await self._store.open()
        try:
            await self._open()
        except BaseException:
            await self._abandon()
            raise

    async def _open(self) -> None:
        observe = self._settings.observe
        context = Context(
            self.exchange_id, self._config, self._clock.now_ms, self._clock.sleep, self._secrets, observe=observe
        )
        opened = await self._adapter.open(context)
        if self._mode and opened.mode != self._mode:
            raise ConfigError(
                f"accounts.{self.exchange_id}.mode",
                self._mode,
                f"the venue says this account is {opened.mode}",
                "set the mode to what it is, or connect to the other venue",
            )
        if opened.mode == "live" and not observe and not self._limits.complete:
            raise ConfigError(
                f"accounts.{self.exchange_id}.limits",
                "incomplete",
                "a live account needs max_order_notional, max_open_notional and order_count",
                "set all three",
            )
        listed = await self._adapter.markets()
        if self._vet is not None:
            self._vet(self._bare, listed)
        markets = {market.symbol_id: market for market in listed}
        if self._settings.dead_man is not None and not (
            isinstance(self._adapter, DeadMan) and any(each.capabilities.offers("dead_man") for each in listed)
        ):
            raise ConfigError(
                f"accounts.{self.exchange_id}.dead_man",
                f"after_s {self._settings.dead_man.after_s}",
                "no market of this account has a dead-man switch",
                "leave it out",
            )
        bind = BindAccount(self.exchange_id, self._venue, opened.identity, opened.mode, self._limits)
        await self._store.execute(bind)
        if self._state_dir is not None:
            await import_journal(self._store, self.exchange_id, self._state_dir)
        stored = await self._store.store_row()
        self._bus = Bus(self._store, self.exchange_id, self._clock)
        self._store.listen(self._bus.publish)
        if self._shared is not None and self._shared.fanout is not None:
            self._bus.feed = self._shared.fanout
        row = await self._store.account_row(self.exchange_id)
        for handler, after in self._early:
            newest = row.event_seq if row is not None else 0
            self._bus.subscribe(handler, newest if after is None else after)
        self._early.clear()
        session = Session(
            account=self.exchange_id,
            adapter=self._adapter,
            opened=opened,
            store=self._store,
            store_id=bytes.fromhex(stored.store_id),
            actual=self._actual,
            clock=self._clock,
            ids=self._ids,
            queue=self._make_queue(),
            settings=self._settings,
            meter=self.meter,
            bounded=self._limits.bounded,
            markets=markets,
        )
        self._session = session
        self._runner = Runner(session, owner_name(self._ids.new(4), self._worker), self._fenced)
        if self._state_dir is not None:
            self._watching = asyncio.create_task(self._watch_for_panic(self._state_dir))
        if self._follow:
            return
        if self._standby:
            self._restarting = asyncio.create_task(self._stand_by())
            return
        wait = 2 * self._settings.lease_ms / 1000 + 1
        try:
            async with asyncio.timeout(wait):
                await self._runner.start()
        except TimeoutError:
            held = await self._store.lease(self.exchange_id)
            owner = held.owner if held is not None else "nobody"
            raise ConfigError(
                "exchange_id",
                self.exchange_id,
                f"is owned by {owner}, which renews its lease",
                "stop that process, or start this one as standby",
            ) from None
        await self._acknowledge()

    async def _acknowledge(self) -> None:
        """Once this account is RECOVERING durably, the store's suspicion has been heard (R32)."""
        if not self._owns_store:
            return
        suspicion = (await self._store.store_row()).suspicion
        if suspicion:
            prevented = await acknowledge(self._store, (self.exchange_id,), self._clock, self._ids)
            if prevented:
                log.warning("the store may have lost commits (%s), and %s", suspicion, prevented)

    def _fenced(self) -> None:
        """Another process owns the account: stop working, and stand by for it."""
        if self._restarting is None or self._restarting.done():
            log.warning("account %s was taken over by another process; standing by", self.exchange_id)
            self._restarting = asyncio.get_running_loop().create_task(self._stand_by())

    async def _stand_by(self) -> None:
        """Own the account as soon as it is free; after a failure begin again, with nothing remembered but SQL."""
        failures = 0
        while self._session is not None:
            old, session = self._runner, self._session
            session.lease_until = 0.0
            session.epoch = 0
            if old is not None:
                await old.stop()
            if self._session is None:
                return
            fresh = Session(
                account=session.account,
                adapter=session.adapter,
                opened=session.opened,
                store=session.store,
                store_id=session.store_id,
                actual=session.actual,
                clock=session.clock,
                ids=session.ids,
                queue=self._make_queue(),
                settings=session.settings,
                bounded=session.bounded,
                markets=session.markets,
                prices=session.prices,
                meter=self.meter,
            )
            self._session = fresh
            runner = self._runner = Runner(fresh, owner_name(self._ids.new(4), self._worker), self._fenced)
            try:
                await runner.start()
                await self._acknowledge()
                return
            except (ExchangeKernelError, TimeoutError) as error:
                log.warning("account %s could not be taken over: %s", self.exchange_id, error)
            failures += 1
            await self._clock.sleep(fresh.backoff_ms(failures) / 1000)

    async def _watch_for_panic(self, state_dir: Path) -> None:
        """A panic reaches a running kernel by its journal too, whatever has become of the store."""
        while True:
            await self._clock.sleep(PANIC_POLL_S)
            try:
                halt = read_halt(self.exchange_id, state_dir)
                if halt is None:
                    continue
                if self._session is not None:
                    self._session.halted = f"{halt[0]}: {halt[1]}"
                await import_journal(self._store, self.exchange_id, state_dir)
            except (StoreError, OSError) as error:
                log.warning("account %s: the panic's journal cannot be imported yet: %s", self.exchange_id, error)

    async def stop(self) -> None:
        if self._session is None:
            return
        runner, self._session = self._runner, None
        if self._restarting is not None:
            self._restarting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._restarting
        if runner is not None:
            await runner.stop()
        await self._abandon()

    async def _abandon(self) -> None:
        """Close what is open, whatever state start() reached."""
        self._session = None
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.stop()
        if self._bus is not None:
            with contextlib.suppress(ValueError):
                self._store.unlisten(self._bus.publish)
            await self._bus.close()
            self._bus = None
        await self._adapter.close()
        if self._owns_store:
            await self._store.close()

    async def health_check(self) -> Health:
        session = self._session
        if session is not None and self._follow:
            return await self._followed()
        if session is None or self._runner is None:
            return Health(False, {"kernel": ComponentHealth(False, "not running")})
        parts = {
            name: ComponentHealth(part.healthy, part.reason, part.since)
            for name, part in self._runner.components.items()
        }
        blocked = session.blocked()
        parts["account"] = ComponentHealth(not blocked or self._settings.observe, blocked)
        try:
            await self._store.account_row(self.exchange_id)
            parts["store"] = ComponentHealth(True)
        except StoreUnavailable as error:
            parts["store"] = ComponentHealth(False, str(error))
        return Health(all(part.healthy for part in parts.values()), parts)

    async def _followed(self) -> Health:
        """Does the process that owns the account renew its lease?"""
        try:
            lease = await self._store.lease(self.exchange_id)
        except StoreUnavailable as error:
            return Health(False, {"store": ComponentHealth(False, str(error))})
        owned = lease is not None and lease.expires_at > self._clock.now_ms()
        kernel = ComponentHealth(owned, "" if owned else "no process runs this account now")
        return Health(owned, {"kernel": kernel, "store": ComponentHealth(True)})

    async def force_reconciliation(self) -> None:
        self._running()
        if self._follow or self._runner is None:
            raise NotRunning(f"the kernel of {self.exchange_id} runs in another process: ask that one")
        await self._runner.snapshot_now()

    def subscribe_events(self, handler: EventHandler, *, after: int | None = None) -> None:
        if self._bus is None:
            self._early.append((handler, after))
        else:
            self._bus.subscribe(handler, self._bus.newest if after is None else after)

    def unsubscribe_events(self, handler: EventHandler) -> None:
        self._early = [entry for entry in self._early if entry[0] != handler]
        if self._bus is not None:
            self._bus.unsubscribe(handler)
