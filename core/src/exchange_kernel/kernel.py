"""The one concrete kernel: an account = venue adapter + stores + reconciler."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from exchange_kernel.base import (
    ComponentHealth,
    DryRun,
    EventHandler,
    ExchangeKernel,
    GroupKind,
    Health,
    Resolution,
)
from exchange_kernel.clock import Clock, Ids, SystemClock, SystemIds
from exchange_kernel.errors import (
    ConfigError,
    ExchangeKernelError,
    IntentConflict,
    InvalidOrder,
    NotRunning,
    StaleWrite,
    StoreError,
    StoreUnavailable,
    UnknownIntent,
    UnknownSymbol,
    Unsupported,
)
from exchange_kernel.models import (
    AccountState,
    Asset,
    Limits,
    OrderIntent,
    OrderState,
    Origin,
    Position,
)
from exchange_kernel.orders.names import check_accountable, check_id, check_labels
from exchange_kernel.orders.validate import emulated_features, suggest, to_spec, validate
from exchange_kernel.panic import import_journal, read_halt
from exchange_kernel.reconcile.apply import notional
from exchange_kernel.reconcile.bus import Bus
from exchange_kernel.reconcile.outcome import Resolved
from exchange_kernel.reconcile.ownership import owner_name
from exchange_kernel.reconcile.queue import MemoryQueue, Priority
from exchange_kernel.reconcile.resolve import never_sent
from exchange_kernel.reconcile.runner import Runner
from exchange_kernel.reconcile.session import Session, Settings
from exchange_kernel.reconcile.states import light_state, state_of
from exchange_kernel.reconcile.suspicion import acknowledge
from exchange_kernel.reconcile.wanted import guarded_spec
from exchange_kernel.schema import AmountType, AssetMetadata, StandardOrder, SymbolMetadata
from exchange_kernel.state.memory import MemoryActualStore
from exchange_kernel.state.ops import BindAccount, CancelIntents, CreateIntents, ModifyIntent, NewIntent, SetHalt
from exchange_kernel.state.stores import ActualStateStore, IntentStateStore
from exchange_kernel.venue import Context, Preview, Prices, PriceTick, Spec, VenueAdapter

log = logging.getLogger("exchange_kernel")

PANIC_POLL_S = 0.5

Vet = Callable[[VenueAdapter, Sequence[SymbolMetadata]], None]


class Kernel(ExchangeKernel):
    """See :class:`ExchangeKernel` for the meaning of every method.

    ``store`` may be shared by the kernels of many accounts; the kernel opens it when nobody did and closes what it
    opened.
    ``venue_config`` and ``secrets`` go to the adapter and nowhere else. ``standby``: wait for the account while another
    process owns it, instead of refusing to start. ``state_dir``: where ``exk panic`` leaves its journals. ``mode``:
    what the
    venue must say it is (paper, testnet, fork, live), "" for any. ``vet``: called with the opened adapter and its
    markets before anything else is done with them; what it raises keeps the account from starting.
    """

    def __init__(
        self,
        exchange_id: str,
        adapter: VenueAdapter,
        store: IntentStateStore,
        *,
        venue: str = "",
        venue_config: Mapping[str, Any] | None = None,
        secrets: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        settings: Settings | None = None,
        actual: ActualStateStore | None = None,
        clock: Clock | None = None,
        ids: Ids | None = None,
        actor: str = "api",
        standby: bool = False,
        owns_store: bool = True,
        state_dir: Path | None = None,
        mode: str = "",
        vet: Vet | None = None,
    ) -> None:
        check_id("exchange_id", exchange_id)
        self.exchange_id = exchange_id
        self._adapter = adapter
        self._store = store
        self._venue = venue
        self._config = dict(venue_config or {})
        self._secrets = dict(secrets or {})
        self._limits = limits or Limits()
        self._settings = settings or Settings()
        self._actual = actual or MemoryActualStore()
        self._clock = clock or SystemClock()
        self._ids = ids or SystemIds()
        self._actor = actor
        self._standby = standby
        self._owns_store = owns_store
        self._state_dir = state_dir
        self._mode = mode
        self._vet = vet
        self._session: Session | None = None
        self._runner: Runner | None = None
        self._bus: Bus | None = None
        self._restarting: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._early: list[tuple[EventHandler, int | None]] = []

    # ---- lifecycle ----------------------------------------------------------------------------------------------

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
        context = Context(self.exchange_id, self._config, self._clock.now_ms, self._clock.sleep, self._secrets)
        opened = await self._adapter.open(context)
        if self._mode and opened.mode != self._mode:
            raise ConfigError(
                f"accounts.{self.exchange_id}.mode",
                self._mode,
                f"the venue says this account is {opened.mode}",
                "set the mode to what it is, or connect to the other venue",
            )
        if opened.mode == "live" and not self._limits.complete:
            raise ConfigError(
                f"accounts.{self.exchange_id}.limits",
                "incomplete",
                "a live account needs max_order_notional, max_open_notional and order_count",
                "set all three",
            )
        listed = await self._adapter.markets()
        if self._vet is not None:
            self._vet(self._adapter, listed)
        markets = {market.symbol_id: market for market in listed}
        bind = BindAccount(self.exchange_id, self._venue, opened.identity, opened.mode, self._limits)
        await self._store.execute(bind)
        if self._state_dir is not None:
            await import_journal(self._store, self.exchange_id, self._state_dir)
        stored = await self._store.store_row()
        self._bus = Bus(self._store, self.exchange_id, self._clock)
        self._store.listen(self._bus.publish)
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
            queue=MemoryQueue(self._clock),
            settings=self._settings,
            markets=markets,
        )
        self._session = session
        self._runner = Runner(session, owner_name(self._ids.new(4)), self._fenced)
        if self._state_dir is not None:
            self._watching = asyncio.create_task(self._watch_for_panic(self._state_dir))
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
                queue=MemoryQueue(self._clock),
                settings=session.settings,
                markets=session.markets,
                prices=session.prices,
            )
            self._session = fresh
            runner = self._runner = Runner(fresh, owner_name(self._ids.new(4)), self._fenced)
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

    def _running(self) -> Session:
        session = self._session
        if session is None:
            raise NotRunning(f"the kernel of {self.exchange_id} is not running; await start() first")
        return session

    async def health_check(self) -> Health:
        session = self._session
        if session is None or self._runner is None:
            return Health(False, {"kernel": ComponentHealth(False, "not running")})
        parts = {
            name: ComponentHealth(part.healthy, part.reason, part.since)
            for name, part in self._runner.components.items()
        }
        blocked = session.blocked()
        parts["account"] = ComponentHealth(not blocked, blocked)
        try:
            await self._store.account_row(self.exchange_id)
            parts["store"] = ComponentHealth(True)
        except StoreUnavailable as error:
            parts["store"] = ComponentHealth(False, str(error))
        return Health(all(part.healthy for part in parts.values()), parts)

    async def force_reconciliation(self) -> None:
        self._running()
        assert self._runner is not None
        await self._runner.snapshot_now()

    # ---- commands -----------------------------------------------------------------------------------------------

    async def place_order(
        self, order: StandardOrder, intent_id: str | None = None, *, labels: Mapping[str, str] | None = None
    ) -> str:
        ids = await self._place([order], None if intent_id is None else [intent_id], None, labels)
        return ids[0]

    async def place_order_group(
        self,
        orders: Sequence[StandardOrder],
        kind: GroupKind = GroupKind.BATCH,
        *,
        group_id: str | None = None,
        intent_ids: Sequence[str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> list[str]:
        self._running()
        if GroupKind(kind) is not GroupKind.BATCH:
            raise Unsupported(f"group {kind}", "only BATCH groups exist in this release")
        if not orders:
            raise InvalidOrder("orders", "[]", "a group needs at least one order")
        if intent_ids is not None and (len(intent_ids) != len(orders) or len(set(intent_ids)) != len(orders)):
            raise InvalidOrder(
                "intent_ids", str(len(intent_ids)), f"must be {len(orders)} different ids, one per order"
            )
        if group_id is not None:
            check_id("group_id", group_id)
        return await self._place(list(orders), intent_ids, group_id or self._ids.new(8).hex(), labels)

    async def _place(
        self,
        orders: list[StandardOrder],
        intent_ids: Sequence[str] | None,
        group_id: str | None,
        labels: Mapping[str, str] | None,
    ) -> list[str]:
        session = self._running()
        tags = check_labels(labels)
        now = self._clock.now_ms()
        names = [self._ids.new(12).hex() for _ in orders] if intent_ids is None else list(intent_ids)
        new: list[NewIntent] = []
        for order, name in zip(orders, names, strict=True):
            check_id("intent_id", name)
            try:
                checked, _, value = await self._check(session, order)
            except InvalidOrder:
                if intent_ids is not None and await self._same(name, order):
                    continue
                raise
            intent = OrderIntent(
                account=self.exchange_id,
                intent_id=name,
                order=checked,
                labels=tags,
                group_id=group_id,
                submit_deadline=self._deadline(checked, now),
                max_attempts=self._settings.max_attempts,
                created_at=now,
                first_hash=order.spec_hash(),
            )
            new.append(NewIntent(intent, value))
        if new:
            fresh = await self._store.execute(CreateIntents(self.exchange_id, tuple(new), self._actor))
            declared = {item.intent.intent_id: item.intent for item in new}
            for name in fresh:
                session.declared(declared[name])
                session.queue.mark(name, Priority.SUBMIT)
        return names

    async def _same(self, intent_id: str, order: StandardOrder) -> bool:
        """Was this very order declared before under this id? Then its answer is the same again, even when it would
        not be
        accepted as a new one now (R38)."""
        record = await self._store.record(self.exchange_id, intent_id)
        return record is not None and record.intent.first_hash == order.spec_hash()

    def _deadline(self, order: StandardOrder, now: int) -> int:
        """Until when it may still be sent (R8): an order that has run out by itself never is."""
        once = order.limit_price is None or order.time_in_force in ("IOC", "FOK")
        patience = self._settings.single_shot_deadline_ms if once else self._settings.resting_deadline_ms
        return now + patience if order.expire_at is None else min(now + patience, order.expire_at)

    async def _check(self, session: Session, order: StandardOrder) -> tuple[StandardOrder, Preview, Decimal | None]:
        if not isinstance(order, StandardOrder):
            raise InvalidOrder("order", type(order).__name__, "must be a StandardOrder")
        symbol = self._symbol(session, order.symbol_id)
        order = validate(order, symbol, self._clock.now_ms())
        preview = self._adapter.check(await self._guarded(session, order, symbol))
        spec = preview.spec
        price = None
        if spec.limit is None and spec.guard is None and spec.amount_in is AmountType.BASE and self._bounded:
            tick = await self._tick(session, order.symbol_id)
            price = None if tick is None else tick.ask or tick.last or tick.bid
        return order, preview, notional(spec, spec.amount, price)

    @property
    def _bounded(self) -> bool:
        return self._limits.max_order_notional is not None or self._limits.max_open_notional is not None

    async def _guarded(self, session: Session, order: StandardOrder, symbol: SymbolMetadata) -> Spec:
        spec = to_spec(order, symbol)
        if order.limit_price is not None or order.max_slippage is None:
            return spec
        return guarded_spec(spec, order, await self._tick(session, order.symbol_id), symbol)

    async def _tick(self, session: Session, symbol_id: str) -> PriceTick | None:
        """The newest price, waiting a moment for the first one."""
        if not isinstance(self._adapter, Prices):
            return None
        waited = 0.0
        while symbol_id not in session.prices and waited < self._settings.price_wait:
            await self._clock.sleep(0.02)
            waited += 0.02
        return session.prices.get(symbol_id)

    def _symbol(self, session: Session, symbol_id: str) -> SymbolMetadata:
        symbol = session.markets.get(symbol_id)
        if symbol is None:
            hint = suggest(symbol_id, session.markets)
            raise UnknownSymbol("symbol_id", symbol_id, f"{self.exchange_id} does not list it", hint)
        return symbol

    async def modify_order(
        self, intent_id: str, new_order: StandardOrder, *, expected_generation: int | None = None
    ) -> int:
        session = self._running()
        check_id("intent_id", intent_id)
        checked, _, value = await self._check(session, new_order)
        current = await self.get_order_intent(intent_id)
        for name in ("symbol_id", "side", "amount_type", "conditional_mode"):
            was, now = getattr(current.order, name), getattr(checked, name)
            if was != now:
                raise InvalidOrder(
                    name, str(now), f"is {was} in intent {intent_id} and cannot change", "cancel it and place anew"
                )
        session.wrote.add(intent_id)
        generation: int = await self._store.execute(
            ModifyIntent(
                self.exchange_id,
                intent_id,
                checked,
                new_order.spec_hash(),
                self._actor,
                value,
                expected_generation,
                self._deadline(checked, self._clock.now_ms()),
            )
        )
        session.user_wrote([intent_id], Priority.SUBMIT)
        return generation

    async def cancel_order(self, intent_id: str, *, reason: str = "") -> None:
        session = self._running()
        check_id("intent_id", intent_id)
        # Memory is stale from here on, even if the commit's answer is late: the check before a send must look (R4,
        # R20).
        session.wrote.add(intent_id)
        await self._store.execute(CancelIntents(self.exchange_id, (intent_id,), self._actor, reason[:200]))
        session.user_wrote([intent_id], Priority.CANCEL)

    async def cancel_all_orders(self, symbol_id: str | None = None, *, reason: str = "") -> list[str]:
        session = self._running()
        if symbol_id is not None:
            self._symbol(session, symbol_id)
        rows = await self._store.intents(self.exchange_id, symbol=symbol_id, active_only=True)
        ids = tuple(intent.intent_id for intent, _ in rows)
        session.wrote.update(ids)
        changed: list[str] = []
        for start in range(0, len(ids), 500):
            part = ids[start : start + 500]
            changed += await self._store.execute(CancelIntents(self.exchange_id, part, self._actor, reason[:200]))
        session.user_wrote(ids, Priority.CANCEL)
        return changed

    async def resolve_order(self, intent_id: str, resolution: Resolution, *, actor: str, reason: str) -> OrderState:
        session = self._running()
        check_accountable(actor, reason)
        await self.get_order_intent(intent_id)
        match Resolution(resolution):
            case Resolution.LOOK_AGAIN:
                watch = session.watch(intent_id)
                watch.query_at = 0
                watch.asked = 0
            case Resolution.ABANDON:
                session.wrote.add(intent_id)
                await self._store.execute(CancelIntents(self.exchange_id, (intent_id,), actor, reason[:200]))
                session.user_wrote([intent_id], Priority.CANCEL)
            case Resolution.NEVER_SENT:
                for _ in range(8):
                    try:
                        await never_sent(session, intent_id, actor, reason)
                        break
                    except StaleWrite:
                        session.forget(intent_id)
                else:
                    raise IntentConflict(f"intent {intent_id} keeps changing; try again")
        session.deliver(intent_id, Resolved(actor, f"{Resolution(resolution)}: {reason}"[:200]), Priority.CANCEL)
        return await self.get_order_state(intent_id)

    async def dry_run(self, order: StandardOrder) -> DryRun:
        session = self._running()
        checked, preview, value = await self._check(session, order)
        symbol = self._symbol(session, checked.symbol_id)
        return DryRun(
            order=checked,
            sent_amount=preview.spec.amount,
            sent_price=preview.spec.limit,
            uses=preview.uses,
            emulated=emulated_features(checked, symbol),
            outlay={money.asset: money.amount for money in preview.outlay},
            notional=value,
            warnings=preview.warnings,
            would_wait=session.blocked(),
        )

    async def halt(self, *, actor: str, reason: str) -> None:
        session = self._running()
        check_accountable(actor, reason)
        session.halted = f"{actor}: {reason}"
        await self._store.execute(SetHalt(self.exchange_id, True, actor, reason[:200]))

    async def resume(self, *, actor: str, reason: str) -> None:
        session = self._running()
        check_accountable(actor, reason)
        await self._store.execute(SetHalt(self.exchange_id, False, actor, reason[:200]))
        session.halted = ""
        for live in await self._store.live_intents(self.exchange_id):
            session.queue.mark(live.intent_id, Priority.SUBMIT)

    # ---- queries ------------------------------------------------------------------------------------------------

    async def get_order_intent(self, intent_id: str) -> OrderIntent:
        self._running()
        record = await self._store.record(self.exchange_id, intent_id)
        if record is None:
            raise UnknownIntent(
                f"intent_id {ascii(intent_id)[1:-1][:80]}: account {self.exchange_id} has no such intent"
            )
        return record.intent

    async def get_order_state(self, intent_id: str) -> OrderState:
        self._running()
        record = await self._store.record(self.exchange_id, intent_id)
        if record is None:
            raise UnknownIntent(
                f"intent_id {ascii(intent_id)[1:-1][:80]}: account {self.exchange_id} has no such intent"
            )
        return state_of(record)

    async def get_all_intents(self, *, symbol_id: str | None = None, active_only: bool = False) -> list[OrderIntent]:
        self._running()
        rows = await self._store.intents(self.exchange_id, symbol=symbol_id, active_only=active_only)
        return [intent for intent, _ in rows]

    async def get_all_orders(self, *, symbol_id: str | None = None) -> list[OrderState]:
        self._running()
        rows = await self._store.intents(self.exchange_id, symbol=symbol_id)
        ours = [light_state(intent, progress) for intent, progress in rows]
        foreign = [
            state
            for state in self._actual.all(self.exchange_id)
            if state.origin is not Origin.OURS and symbol_id in (None, state.symbol_id)
        ]
        return ours + foreign

    async def get_positions(self) -> list[Position]:
        self._running()
        rows = await self._store.positions(self.exchange_id)
        return [Position(row.account, row.symbol, row.amount, row.entry, row.realized) for row in rows]

    async def get_account_state(self) -> AccountState:
        session = self._running()
        snapshot = self._actual.get_account(self.exchange_id)
        if snapshot is None:
            snapshot = await self._adapter.account()
            self._actual.put_account(self.exchange_id, snapshot)
        assets = tuple(Asset(b.asset, b.total, b.free, b.borrowed) for b in snapshot.balances)
        return AccountState(
            account=self.exchange_id,
            identity=session.opened.identity,
            mode=session.opened.mode,
            assets=assets,
            positions=tuple(await self.get_positions()),
            margin=dict(snapshot.margin),
            as_of=snapshot.at.venue_ms or snapshot.at.ledger_ms or 0,
            halted=session.halted or None,
        )

    async def get_symbol_metadata(self, symbol_id: str) -> SymbolMetadata:
        return self._symbol(self._running(), symbol_id)

    async def get_asset_metadata(self, asset_id: str) -> AssetMetadata:
        session = self._running()
        known: dict[str, SymbolMetadata] = {}
        for market in session.markets.values():
            known.setdefault(market.base, market)
            known.setdefault(market.quote, market)
        if asset_id not in known:
            raise UnknownSymbol(
                "asset_id", asset_id, f"no market of {self.exchange_id} trades it", suggest(asset_id, known)
            )
        described = getattr(self._adapter, "assets", None)
        if described is not None:
            for asset in await described():
                if asset.asset_id == asset_id:
                    found: AssetMetadata = asset
                    return found
        from exchange_kernel.schema import AssetType

        return AssetMetadata(asset_id=asset_id, asset_type=AssetType.SPOT)

    # ---- events -------------------------------------------------------------------------------------------------

    def subscribe_events(self, handler: EventHandler, *, after: int | None = None) -> None:
        if self._bus is None:
            self._early.append((handler, after))
        else:
            self._bus.subscribe(handler, self._bus.newest if after is None else after)

    def unsubscribe_events(self, handler: EventHandler) -> None:
        self._early = [entry for entry in self._early if entry[0] != handler]
        if self._bus is not None:
            self._bus.unsubscribe(handler)
