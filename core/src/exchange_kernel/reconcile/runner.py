"""Runs one account: workers, stream, snapshots, sweep, lease. Every loop is supervised; a failure is told and
retried, and
never touches another account."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from exchange_kernel.errors import ExchangeKernelError, Fenced, RateLimited, StoreError, Unavailable
from exchange_kernel.events import HealthChanged
from exchange_kernel.reconcile import ownership
from exchange_kernel.reconcile.engine import Reconciler
from exchange_kernel.reconcile.intake import Intake
from exchange_kernel.reconcile.meter import about
from exchange_kernel.reconcile.numbers import Numbers
from exchange_kernel.reconcile.queue import Priority
from exchange_kernel.reconcile.recovery import Recovery, load_unfinished
from exchange_kernel.reconcile.sequencer import Sequencer
from exchange_kernel.reconcile.session import Session
from exchange_kernel.reconcile.switch import Switch
from exchange_kernel.reconcile.watching import wake, wake_all
from exchange_kernel.state.conditions import told
from exchange_kernel.state.ops import RecordEvents
from exchange_kernel.venue import OrderReport, Prices, Quotes

log = logging.getLogger("exchange_kernel.reconcile")

SWEEP_LIMIT = 1000
FLUSH_S = 0.1


@dataclass(slots=True)
class Component:
    """Health of one loop. ``since``: local ms of the last change."""

    healthy: bool = True
    reason: str = ""
    since: int = 0


class Runner:
    """The running reconciler of one account. ``on_fenced``: called once when another process took the account over."""

    def __init__(self, session: Session, owner: str, on_fenced: Callable[[], None]) -> None:
        self.session = session
        self.owner = owner
        self._on_fenced = on_fenced
        self.intake = Intake(session, self._lost)
        self.numbers = Numbers(session.store, session.opened.scopes)
        self.reconciler = Reconciler(session, self.numbers)
        self.recovery = Recovery(session, self.intake)
        self.sequencer = Sequencer(session, self.numbers, self.reconciler.changes)
        self.components: dict[str, Component] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._handlers: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._idle = asyncio.Condition()
        self._idle_wanted = 0
        self._snapshots = 0
        self._snapshot_asked = asyncio.Event()
        self._snapshot_done = asyncio.Condition()
        self._history_cursor: str | None = None
        self._lost_queue: list[OrderReport] = []
        self._seen_at: float | None = None
        self._stood = False
        self._sweep_now = False
        policy = session.settings.dead_man
        self._switch = None if policy is None else Switch(self.intake, policy, lambda: self._seen_at)

    # ---- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take the account over and begin; RECOVERING where the store may have lost commits."""
        session = self.session
        before = None if self._switch is None else await session.store.lease(session.account)
        await ownership.acquire(session, self.owner, poll=session.settings.standby_poll)
        if before is not None and self._switch is not None:
            self._switch.inherit(before.expires_at)
        session.actual.clear(session.account)  # of the time of another owner, who may have been this very process
        row = await session.store.account_row(session.account)
        stored = await session.store.store_row()
        if row is not None:
            self._history_cursor = row.history_cursor
            if row.halted is not None:
                session.halted = f"{row.halted['actor']}: {row.halted['reason']}"
            if row.recovering is not None:
                session.recovering = str(row.recovering.get("cause"))
        if stored.halted is not None:
            session.halted = f"platform, {stored.halted['actor']}: {stored.halted['reason']}"
        if stored.suspicion:
            await self.recovery.begin(stored.suspicion)
            session.suspected = stored.suspicion
        session.queue.heard = session.heard_of
        await session.queue.begin(session.epoch, self._marks_lost)
        await load_unfinished(session)
        loops: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("lease", self._keep),
            ("workers", self._work),
            ("stream", self._stream),
            ("snapshot", self._snapshot_loop),
            ("sweep", self._sweep),
            ("balances", self._flush),
        ]
        if session.opened.scopes:
            loops.append(("sequencer", self._sequence))
        if isinstance(session.adapter, Prices):
            loops.append(("prices", self._prices))
        elif isinstance(session.adapter, Quotes):
            loops.append(("quotes", self._quotes))
        if self._switch is not None:
            loops.append(("switch", self._switch.run))
        self._snapshot_asked.set()
        for name, loop in loops:
            self.components[name] = Component(since=session.clock.now_ms())
            self._tasks.append(asyncio.create_task(self._supervise(name, loop), name=f"{session.account}/{name}"))

    async def stop(self) -> None:
        """End every loop, let running handlers finish for a moment, give the lease up."""
        session = self.session
        session.stopping = True
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._handlers:
            _, late = await asyncio.wait(self._handlers, timeout=session.settings.submit_timeout)
            for task in late:
                task.cancel()
            for task in late:
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        if self._switch is not None:
            await self._switch.stop()
        session.deadlines.close()
        await session.queue.end()
        session.actual.leave(session.account)
        if session.epoch and session.lease_until:
            await ownership.release(session)

    async def _supervise(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        failures = 0
        while True:
            began = self.session.clock.monotonic()
            try:
                await loop()
                return
            except asyncio.CancelledError:
                raise
            except Fenced as error:
                await self._health(name, False, str(error))
                self._on_fenced()
                return
            except Exception as error:
                if self.session.clock.monotonic() - began > 30:
                    failures = 0
                if not isinstance(error, ExchangeKernelError):
                    log.exception("%s of %s failed", name, self.session.account)
                await self._health(name, False, f"{type(error).__name__}: {error}"[:200])
            failures += 1
            await self.session.clock.sleep(self.session.backoff_ms(failures) / 1000)

    def _well(self, name: str) -> bool:
        component = self.components.get(name)
        return component is not None and component.healthy and not component.reason

    async def _health(self, name: str, healthy: bool, reason: str = "") -> None:
        session = self.session
        component = self.components.setdefault(name, Component())
        if component.healthy == healthy:
            component.reason = reason
            return
        at = session.clock.now_ms()
        self.components[name] = Component(healthy, reason, at)
        event = HealthChanged(account=session.account, at=at, component=name, healthy=healthy, reason=reason)
        with contextlib.suppress(StoreError):
            await session.store.execute(RecordEvents(session.account, session.epoch, (event,)))

    # ---- loops --------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        await ownership.keep(self.session, self._renewed)

    async def _renewed(self, lapsed: bool) -> None:
        await self._health("lease", True)
        if lapsed:
            await self._mark_all()

    async def _mark_all(self) -> None:
        """Look at everything unfinished: something that blocked it is gone."""
        for live in await self.session.store.live_intents(self.session.account):
            self.session.queue.mark(live.intent_id, Priority.SUBMIT)

    async def _work(self) -> None:
        session = self.session
        await self._health("workers", True)
        while True:
            # Nobody else begins handlers, so what is free now is free when the keys have come.
            free = session.settings.concurrency - len(self._handlers)
            if free <= 0:
                self._room.clear()
                await self._room.wait()
                continue
            for key in await session.queue.claim(free):
                task = asyncio.create_task(self._handle(key))
                self._handlers.add(task)
                task.add_done_callback(self._handled)

    def _handled(self, task: asyncio.Task[None]) -> None:
        self._handlers.discard(task)
        self._room.set()

    async def _handle(self, intent_id: str) -> None:
        session = self.session
        again: float | None = session.settings.backoff
        began = session.clock.monotonic()
        try:
            again = await self.reconciler.reconcile(intent_id)
        except Fenced:
            session.lease_until = 0.0
            session.meter.fenced += 1
            self._on_fenced()
            again = None
        except Exception as error:
            session.meter.failures += 1
            extra = about(session.account, intent_id, session.records.get(intent_id))
            session.forget(intent_id)
            watch = session.watch(intent_id)
            watch.failures += 1
            again = session.backoff_ms(watch.failures) / 1000
            log.exception("intent %s of %s: %s", intent_id, session.account, error, extra=extra)
        finally:
            session.meter.runs.took(session.clock.monotonic() - began)
            if intent_id in session.inbox and again is None:
                again = 0.0
            session.queue.done(intent_id, again)
            if self._idle_wanted:
                async with self._idle:
                    self._idle.notify_all()

    async def _stream(self) -> None:
        session = self.session
        async for event in session.adapter.events(None):
            if not self._well("stream"):
                await self._health("stream", True)
            await self.intake.event(event)
            if self.intake.snapshot_wanted:
                self.intake.snapshot_wanted = False
                self._snapshot_asked.set()
            if self.intake.markets_changed:
                self.intake.markets_changed = False
                session.markets.update({m.symbol_id: m for m in await session.adapter.markets()})
        raise Unavailable("the venue's event stream ended")

    async def _prices(self) -> None:
        session = self.session
        adapter = session.adapter
        assert isinstance(adapter, Prices)
        try:
            async for tick in adapter.prices(frozenset(session.markets)):
                session.prices[tick.symbol] = tick
                wake(session, tick.symbol)
                await self._health("prices", True)
        finally:
            session.prices.clear()  # what was true when it broke bounds no order that is sent later
        raise Unavailable("the venue's price stream ended")

    async def _quotes(self) -> None:
        while True:
            wake_all(self.session)
            await self._health("quotes", True)
            await self.session.clock.sleep(self.session.settings.quote_every)

    async def _snapshot_loop(self) -> None:
        session = self.session
        while True:
            with contextlib.suppress(TimeoutError):
                # Not wait_for: before Python 3.12 it can swallow a cancellation, and stop() would wait for ever.
                async with asyncio.timeout(session.settings.snapshot_every):
                    await self._snapshot_asked.wait()
            self._snapshot_asked.clear()
            await self._snapshot()

    async def _snapshot(self) -> None:
        session = self.session
        try:
            began = session.clock.monotonic()
            result = await self.intake.snapshot()
            account = await session.adapter.account()
            if not self._stood and (account.notices is not None or self._switch is not None):
                self.intake.stand(await told(session.store, session.account))
                self._stood = True
            self.intake.account(account)
            if any(watch.looks and watch.missing is not None for watch in session.watches.values()):
                await self.intake.history(self._history_cursor)
        except (Unavailable, RateLimited) as error:
            self._snapshot_asked.set()
            await self._health("snapshot", False, f"{type(error).__name__}: {error}"[:200])
            retry = (error.retry_at or 0) - session.clock.now_ms()
            await session.clock.sleep(max(session.settings.backoff, min(retry / 1000, 60.0)))
            return
        while self._lost_queue:
            await self.recovery.lost(self._lost_queue.pop())
        if session.recovering:
            await self.recovery.run()
        await self._health("snapshot", True)
        self._seen_at = began
        self._idle_wanted += 1
        try:
            async with self._idle:
                await self._idle.wait_for(lambda: not any(key in session.inbox for key in result.marked))
        finally:
            self._idle_wanted -= 1
        await self.intake.flush()
        self._snapshots += 1
        async with self._snapshot_done:
            self._snapshot_done.notify_all()
        if session.recovering or any(watch.missing is not None for watch in session.watches.values()):
            await session.clock.sleep(session.settings.backoff)
            self._snapshot_asked.set()

    async def _lost(self, report: OrderReport) -> None:
        """Evidence of a lost commit: stop opening at once, and search with the next snapshot."""
        if not self.session.recovering:
            await self.recovery.begin(f"the venue shows order {report.id.value} of this store, unknown to the store")
        self._lost_queue.append(report)
        self._snapshot_asked.set()

    async def snapshot_now(self) -> None:
        """Returns when a snapshot that began after this call is folded."""
        wanted = self._snapshots + 2
        async with self._snapshot_done:
            while self._snapshots < wanted:
                self._snapshot_asked.set()
                before = self._snapshots
                while self._snapshots == before:
                    await self._snapshot_done.wait()

    async def _sweep(self) -> None:
        """Find what is due in SQL: what other processes wrote, and any mark that was lost (R34, S13)."""
        session = self.session
        while True:
            for intent_id in await session.store.due(session.account, session.clock.now_ms(), SWEEP_LIMIT):
                if session.queue.pending(intent_id):
                    # In hand already. If it was written by somebody else, it stays due and the next sweep finds it.
                    continue
                cached = session.records.get(intent_id)
                if cached is not None and cached.progress.next_due != 0:
                    session.wrote.add(intent_id)
                session.queue.mark(intent_id, Priority.SUBMIT)
            await self._halt_state()
            await self._health("sweep", True)
            await self._until_next_sweep()

    async def _until_next_sweep(self) -> None:
        """Where other processes' marks come by themselves, the sweep finds only what was lost on the way."""
        session = self.session
        rest = session.settings.sweep_linked
        while rest > 0 and not self._sweep_now:
            await session.clock.sleep(session.settings.sweep_every)
            rest -= session.settings.sweep_every
            if not session.queue.linked:
                break
        self._sweep_now = False

    def _marks_lost(self) -> None:
        """What others marked may be gone with the server that kept it: SQL knows (R34)."""
        self._sweep_now = True

    async def _halt_state(self) -> None:
        """A halt or resume by another process is seen here within one sweep; commits see it at once."""
        session = self.session
        row = await session.store.account_row(session.account)
        stored = await session.store.store_row()
        halted = ""
        if row is not None and row.halted is not None:
            halted = f"{row.halted['actor']}: {row.halted['reason']}"
        elif stored.halted is not None:
            halted = f"platform, {stored.halted['actor']}: {stored.halted['reason']}"
        if halted != session.halted:
            if not halted:
                # Before it counts as resumed: if the store fails here, the next sweep tries again.
                await self._mark_all()
            session.halted = halted

    async def _flush(self) -> None:
        while True:
            await self.session.clock.sleep(FLUSH_S)
            await self.intake.flush()
            await self._health("balances", True)

    async def _sequence(self) -> None:
        while True:
            await self.session.clock.sleep(self.session.settings.backoff)
            await self.sequencer.step()
            await self._health("sequencer", True)
