"""One schedule: the real kernel, engine, SQL schema and paper venue, in virtual time, under faults; then healing, then
the venue's own ledger is asked what happened. ``run(seed)`` returns what was violated, and what fired."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any

from exchange_kernel.errors import (
    AccountHalted,
    CommitUnknown,
    ExchangeKernelError,
    IntentFinished,
    InvalidOrder,
    NotRunning,
    StoreUnavailable,
    UnknownIntent,
)
from exchange_kernel.events import DriftDetected
from exchange_kernel.kernel import Kernel
from exchange_kernel.models import Desired, IntentStatus
from exchange_kernel.reconcile import engine
from exchange_kernel.reconcile.session import Settings, make_key
from exchange_kernel.schema import Side
from exchange_kernel.state.commit import Change
from exchange_kernel.state.rows import CREATING, LIVE_STATES, TicketKind
from exchange_kernel.testing.virtual import Deadlock, SeededIds, VirtualClock, VirtualLoop
from exchange_kernel.venue import Ticket
from exchange_kernel_paper.adapter import PaperAdapter
from exchange_kernel_paper.exchange import Exchange, House, LoopClock, Refusal
from exchange_kernel_paper.exchange import Settings as VenueSettings
from exchange_kernel_paper.registry import Registry
from tests.simulation import database
from tests.simulation.adapters import ShortFence
from tests.simulation.plan import Plan, Wish, draw
from tests.simulation.process import PricedSimAdapter, Process, Rates, SimAdapter, SimStore, Weather
from tests.simulation.stranger import Stranger

ACCOUNT = "sim"
SECRET = "paper"
HEAL = 240.0

SETTINGS = Settings(
    lease_ms=4_000,
    snapshot_every=8.0,
    sweep_every=0.7,
    first_look=0.1,
    backoff=0.3,
    max_backoff=3.0,
    submit_timeout=6.0,
    read_timeout=6.0,
    single_shot_deadline_ms=60_000,
)

INTENT_KEYS = 24


@dataclass
class Outcome:
    """What a schedule did. ``violations`` empty: every promise held."""

    seed: int
    violations: list[str]
    counts: Counter[str]
    virtual: float
    steps: int
    story: list[str] = field(default_factory=list)


class World:
    """Everything of one schedule."""

    def __init__(self, plan: Plan, hooks: Hooks | None = None, tell: bool = False) -> None:
        self.plan = plan
        self.hooks = hooks or Hooks()
        self.rng = Random(plan.seed ^ 0x5EED)
        self.loop = VirtualLoop(Random(plan.seed ^ 0xA11))
        self.weather = Weather(Random(plan.seed ^ 0xBAD), self.loop, Rates())
        self.clock = VirtualClock(self.loop)
        self.violations: list[str] = []
        self.story: list[str] = []
        self.telling = tell
        self.store_id = Random(plan.seed).randbytes(16)
        self.database = database.fresh(self.store_id.hex())
        self.exchange = Exchange(
            "sim", LoopClock(self.clock.now_ms), VenueSettings.of(plan.settings), rng=Random(plan.seed ^ 0xFA17)
        )
        self.registry = Registry()
        self.registry.add(self.exchange)
        self.processes: list[Process] = []
        self.spawned = 0
        self.declared: dict[str, dict[int, Decimal]] = {}
        self.acknowledged: set[str] = set()
        self.cancel_committed: dict[str, float] = {}
        self.keyed: set[str] = set()
        self.key_owner: dict[bytes, tuple[str, int]] = {}
        self.single_shots: dict[str, bool] = {}
        self.told: Counter[tuple[Any, str]] = Counter()
        self.done = False
        self.watch_enabling()
        self.stranger = (
            Stranger(self.exchange, ACCOUNT, plan, self.weather.counts, self.tell) if plan.stranger else None
        )

    def watch_enabling(self) -> None:
        """R28, R29, by the venue's own hand: what is enabled is enabled once, and before the order that needs it."""
        commands = self.exchange.commands
        enable, check = commands._enable, commands._check_enabled

        def enabling(account: Any, request: Any) -> Any:
            had = account.enabled.get(request.get("name"))
            done = enable(account, request)
            self.weather.counts["enabled"] += 1
            self.weather.counts["enabled again, for more"] += had is not None
            # After a loss of commits nobody knows what had been enabled, and a trailing read may hide it.
            if had is not None and had >= account.enabled[request["name"]] and not self.weather.counts["restored"]:
                self.violated("R28", f"{request['name']} was enabled for {had}, and again for {request['amount']}")
            return done

        def checking(account: Any, name: str, amount: Decimal, besides: Any = None) -> None:
            try:
                check(account, name, amount, besides)
            except Refusal as refusal:
                self.violated("R28", f"an order came before what it needs: {refusal}")
                raise

        commands._enable, commands._check_enabled = enabling, checking  # type: ignore[method-assign]

    # ---- noting -------------------------------------------------------------------------------------------------

    def violated(self, rule: str, text: str) -> None:
        message = f"{rule}: {text} (t={self.loop.time():.3f})"
        if message not in self.violations:
            self.violations.append(message)
            self.tell(f"VIOLATION {message}")

    def tell(self, text: str) -> None:
        if self.telling:
            self.story.append(f"{self.loop.time():9.3f} {text}")

    # ---- processes ----------------------------------------------------------------------------------------------

    def new_process(self, index: int) -> Process:
        self.spawned += 1
        process = Process(self.weather, f"p{index}.{self.spawned}", self.plan.skews[self.spawned % 8])
        process.on_crash = lambda: self.tell(f"{process.name} crashed")
        inner_adapter: Any = self.hooks.adapter(PaperAdapter())
        if self.plan.lying:
            inner_adapter = ShortFence(inner_adapter)
        made = SimAdapter if self.exchange.settings.rests == "on" else PricedSimAdapter
        adapter = made(inner_adapter, process, self.sending)
        inner = database.store(self.database, self.clock, SeededIds(Random(self.plan.seed ^ self.spawned)))
        process.kernel = Kernel(
            ACCOUNT,
            adapter,  # type: ignore[arg-type]
            SimStore(inner, process, self.audit),  # type: ignore[arg-type]
            venue="paper",
            venue_config={
                "venue": "sim",
                "account": ACCOUNT,
                "registry": self.registry,
                "house": False,
                "timeout_ms": 3000,
                "balances": {"USD": "10000000", "BTC": "1000", "ETH": "10000"},
            },
            settings=SETTINGS,
            clock=process.clock,
            ids=SeededIds(Random(self.plan.seed ^ (self.spawned << 8))),
            standby=True,
        )
        return process

    async def live(self, index: int) -> None:
        """Keep one process running: start it, and start another one a while after it crashed."""
        while not self.done:
            process = self.new_process(index)
            self.processes[index] = process
            self.tell(f"{process.name} starts, clock off by {process.clock.skew_ms} ms")
            task = asyncio.create_task(self.start(process))
            while not process.dead and not self.done:
                await asyncio.sleep(0.25)
                if task.done() and not task.cancelled() and task.exception() is not None:
                    self.tell(f"{process.name} could not start: {task.exception()!r}")
                    process.dead = True
            await asyncio.sleep(self.rng.uniform(0.1, 3.0))

    async def start(self, process: Process) -> None:
        while True:
            try:
                await process.kernel.start()
                return
            except (ExchangeKernelError, TimeoutError) as error:
                self.tell(f"{process.name} start: {error!r}")
                await asyncio.sleep(0.5)

    async def restore(self, at: float) -> None:
        """Back the store up, trade on, lose everything since: the restored backup of R32."""
        await asyncio.sleep(at * 0.5)
        saved = database.backup(self.database)
        self.tell("backup taken")
        await asyncio.sleep(at * 0.5)
        for process in self.processes:
            if not process.dead:
                process.crash("restore")
        await asyncio.sleep(0.01)
        cause = "simulated: an old backup was restored" if self.hooks.notice_loss else None
        self.database = database.restore(saved, cause)
        self.weather.counts["restored"] += 1
        self.acknowledged = set()
        self.tell("backup restored")

    # ---- judges -------------------------------------------------------------------------------------------------

    async def audit(self, process: Process, operation: Any) -> Callable[[], None]:
        """Before an operation commits: whose epoch is it, and does it open what must not be opened (S4, S7, S8)?"""
        inner = process.kernel._store._inner
        lease = await inner.lease(ACCOUNT)
        intent_id = ""
        creating = False
        desired: Any = None
        if isinstance(operation, Change):
            intent_id = operation.before.intent.intent_id
            fresh = operation.after.tickets[len(operation.before.tickets) :]
            creating = any(row.kind in CREATING for row in fresh)
            if any(row.kind is TicketKind.SETTLE for row in fresh):
                self.weather.counts["settlement"] += 1
                open_one = [r for r in operation.after.tickets if r.kind is TicketKind.SETTLE and r.state.open]
                if len(open_one) > 1 and all(r.ticket.fence.ends for r in open_one):
                    self.violated("R23", f"{intent_id}: settled again while a settlement may still take effect")
            for row in (row for row in fresh if row.kind in CREATING):
                self.key_owner.setdefault(row.ticket.key, (intent_id, row.attempt))
            if creating:
                stored = await inner.record(ACCOUNT, intent_id)
                desired = stored.intent.desired
                live = [a for a in stored.attempts if a.state in LIVE_STATES]
                opened = operation.after.attempts[len(operation.before.attempts) :]
                # One that the operation does not even know stays as it is: the operation was made from an older record.
                known = operation.after.attempts
                if opened and any(a.n > len(known) or known[a.n - 1].state in LIVE_STATES for a in live):
                    desired = "second"

        def committed() -> None:
            epoch = getattr(operation, "epoch", None)
            if epoch is not None and lease is not None and epoch != lease.epoch:
                self.violated(
                    "S8", f"{type(operation).__name__} committed under epoch {epoch}, newest is {lease.epoch}"
                )
            if creating and desired is Desired.CANCELED:
                self.violated("S7", f"{intent_id}: an order-creating ticket was committed after a committed cancel")
            if creating and desired == "second":
                self.violated("S2", f"{intent_id}: a second live attempt was committed")
            for event in getattr(operation, "events", ()):
                if isinstance(event, DriftDetected) and event.what == "foreign order":
                    self.told[epoch, event.venue_id] += 1
                    if self.told[epoch, event.venue_id] > 1 + self.weather.counts["commit_unknown"]:
                        self.violated("S15", f"foreign order {event.venue_id} was told more than once by one owner")
            if type(operation).__name__ == "CancelIntents":
                for name in operation.intent_ids:
                    self.cancel_committed.setdefault(name, self.loop.time())

        return committed

    def sending(self, process: Process, ticket: Ticket) -> None:
        """A ticket is about to leave: was it committed, is it in time, is it still wanted (S4, S5, R4, R20)?"""
        if process.dead:
            return
        if self.stranger is not None:
            for text in self.stranger.hit_by(ticket):
                self.violated("S15", text)
        owner = self.key_owner.get(ticket.key) or self._owner(ticket.key)
        if process.clock.now_ms() >= ticket.send_before:
            self.violated("S5", f"{ticket.note}: sent after its send_before")
        if owner is None:
            return
        intent_id, _ = owner
        canceled = self.cancel_committed.get(intent_id)
        if self.plan.fence == "permanent_key" and '"post_only":true' in ticket.body.decode().replace(" ", ""):
            return  # a permanent key is consumed before its cancel proves anything (R13)
        if canceled is not None and canceled < self.loop.time() - SETTINGS.recheck_after - 0.02:
            self.violated(
                "R20", f"{intent_id}: an order was sent although its cancel had been committed at {canceled:.3f}"
            )

    def _owner(self, key: bytes) -> tuple[str, int] | None:
        for name in self.declared:
            if name in self.keyed:
                continue
            self.keyed.add(name)
            for n in range(1, INTENT_KEYS):
                self.key_owner[make_key(self.store_id, ACCOUNT, name, n)] = (name, n)
        return self.key_owner.get(key)

    def check_venue(self) -> None:
        """What must hold at every moment, by the venue's own ledger: S1, S2, S3."""
        ledger = self.exchange.ledger
        per_intent: dict[str, list[Any]] = {}
        per_attempt: Counter[tuple[str, int]] = Counter()
        for record in ledger.orders():
            if record.account != ACCOUNT:
                continue
            owner = self.order_owner(record)
            if owner is None:
                continue
            if record.status != "REJECTED":
                per_attempt[owner] += 1
            per_intent.setdefault(owner[0], []).append(record)
        if self.plan.lying:
            return  # the venue breaks its word: what is left to keep is that nothing is lost
        for (name, n), count in per_attempt.items():
            if count > 1:
                self.violated("S1", f"{name} attempt {n} became {count} orders at the venue")
        for name, records in per_intent.items():
            once = self.single_shots.get(name, False) and not self.weather.counts["restored"]
            reached = [r for r in records if r.status != "REJECTED"]
            if once and len(reached) > 1:
                self.violated("R8", f"{name} is a single-shot order and reached the venue {len(reached)} times")
            if self.plan.fence != "none" and sum(r.live for r in records) > 1 and not self.weather.counts["restored"]:
                self.violated("S2", f"{name} has {sum(r.live for r in records)} live orders")
            total = sum((r.executed for r in records), Decimal(0))
            most = max(self.declared[name].values())
            if total > most:
                self.violated("S3", f"{name} executed {total} of {most}")

    def order_owner(self, record: Any) -> tuple[str, int] | None:
        """Which attempt a venue order belongs to, by its client id."""
        client = record.client
        if client is None or not client.startswith("exk"):
            return None
        with contextlib.suppress(ValueError):
            return self._owner(bytes.fromhex(client[3:]))
        return None

    # ---- the user -----------------------------------------------------------------------------------------------

    async def user(self) -> None:
        tasks: dict[str, asyncio.Task[None]] = {}
        for wish in self.plan.wishes:
            await asyncio.sleep(max(0.0, wish.at - self.loop.time()))
            before = tasks.get(wish.intent)
            tasks[wish.intent] = asyncio.create_task(self.wish(wish, before))
        for task in tasks.values():
            await task

    async def wish(self, wish: Wish, before: asyncio.Task[None] | None) -> None:
        """Repeat one command, with the same id, until somebody acknowledges it."""
        if before is not None:
            await before
        while not self.done:
            alive = [p for p in self.processes if not p.dead and p.kernel._session is not None]
            if not alive:
                await asyncio.sleep(0.2)
                continue
            kernel = self.rng.choice(alive).kernel
            try:
                await asyncio.wait_for(self.command(kernel, wish), 4.0)
                return
            except (IntentFinished, UnknownIntent):
                return
            except InvalidOrder as error:
                self.tell(f"refused: {wish.kind} {wish.intent}: {error}")
                return
            except (NotRunning, StoreUnavailable, CommitUnknown, TimeoutError, AccountHalted) as error:
                self.tell(f"{wish.kind} {wish.intent}: {type(error).__name__}, again")
                await asyncio.sleep(0.3)

    async def command(self, kernel: Kernel, wish: Wish) -> None:
        name = wish.intent
        if wish.kind == "place":
            assert wish.order is not None
            self.declared.setdefault(name, {})[1] = wish.order.amount
            self.single_shots[name] = wish.order.limit_price is None or wish.order.time_in_force in ("IOC", "FOK")
            await kernel.place_order(wish.order, name)
            self.acknowledged.add(name)
            self.weather.counts["placed"] += 1
        elif wish.kind == "modify":
            assert wish.order is not None
            totals = self.declared.setdefault(name, {})
            totals[len(totals) + 1] = wish.order.amount
            await kernel.modify_order(name, wish.order)
            self.weather.counts["modified"] += 1
        else:
            await kernel.cancel_order(name)
            self.weather.counts["canceled"] += 1
        self.tell(f"{wish.kind} {name} {wish.order or ''} acknowledged")

    async def market(self, house: House) -> None:
        """Prices move, and somebody trades with what rests."""
        while not self.done:
            await asyncio.sleep(self.rng.uniform(0.05, 1.2))
            symbol = self.rng.choice(("BTC/USD", "ETH/USD"))
            price = Decimal(60000 if symbol == "BTC/USD" else 3000)
            if self.rng.random() < self.plan.trades:
                side, factor = self.rng.choice((("SELL", Decimal("0.9985")), ("BUY", Decimal("1.0015"))))
                size = Decimal(self.rng.randint(1, 30)) / (1000 if symbol == "BTC/USD" else 50)
                self.exchange.trade_through(symbol, side, str((price * factor).quantize(Decimal("0.01"))), str(size))
                house.quote(symbol, price)
            else:
                house.step(symbol)

    async def fees(self) -> None:
        """The ledger's base fee moves; with the healing it stays, at what may be more than what waits has offered."""
        while self.loop.time() < self.plan.faulty_for:
            await asyncio.sleep(self.rng.uniform(0.5, 1.5) * self.plan.fees)
            self.exchange.set_base_fee(str(self.rng.choice(("0.01", "0.05", "0.2"))))
            self.weather.counts["fee moved"] += 1

    async def watch(self) -> None:
        while not self.done:
            await asyncio.sleep(0.5)
            self.check_venue()

    # ---- a whole schedule ---------------------------------------------------------------------------------------

    async def main(self) -> None:
        plan = self.plan
        self.exchange.open_account(ACCOUNT, SECRET, {"USD": "10000000", "BTC": "1000", "ETH": "10000"})
        house = House(self.exchange, Random(plan.seed), levels=2, worth=Decimal(3000))
        house.open()
        store = database.store(self.database, self.clock, SeededIds(Random(plan.seed)))
        await store.open()
        for index in range(plan.processes):
            self.processes.append(self.new_process(index))
            self.processes[index].dead = True
        self.begin_faults()
        keepers = [asyncio.create_task(self.live(index)) for index in range(plan.processes)]
        others = [asyncio.create_task(self.market(house)), asyncio.create_task(self.watch())]
        if plan.fees and plan.fence == "sequence":
            others.append(asyncio.create_task(self.fees()))
        if self.stranger is not None:
            others.append(asyncio.create_task(self.stranger.trade(plan.faulty_for)))
        if plan.restore_at is not None:
            others.append(asyncio.create_task(self.restore(plan.restore_at)))
        user = asyncio.create_task(self.user())
        await asyncio.sleep(plan.faulty_for)
        self.heal()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(user), 60.0)
        if not user.done():
            self.violated("L1", "a user's command was never acknowledged after healing")
        elif user.exception() is not None:
            raise user.exception()  # type: ignore[misc]
        end = self.loop.time() + HEAL
        unsettled, unseen = ["?"], list[str]()
        while self.loop.time() < end and (unsettled or unseen):
            await asyncio.sleep(1.0)
            unsettled = await self.unsettled(store)
            if self.stranger is not None:
                unseen = await self.stranger.unseen(self.processes, await self.current())
        for text in unsettled:
            self.violated("L1", text)
        for text in unseen:
            self.violated("S15", text)
        await self.final(store)
        self.done = True
        for task in (*keepers, *others):
            task.cancel()

    def begin_faults(self) -> None:
        plan, weather = self.plan, self.weather
        weather.rates = Rates(plan.crash, plan.pause, plan.store_unavailable, plan.commit_unknown)
        for kind, probability, ms in plan.venue:
            if not probability:
                continue
            if kind in EVENT_FAULTS:
                self.exchange.faults.set(kind, probability, "event", ms=ms)
                continue
            for op in CHANGES:
                self.exchange.faults.set(kind, probability, op, ms=ms)
            for op in READS:
                self.exchange.faults.set(kind, probability / 3, op, ms=ms)
        weather.crash_at = self.hooks.crash_at

    def heal(self) -> None:
        self.weather.rates = Rates()
        self.weather.crash_at = ""
        self.exchange.faults.clear()
        self.tell("healed")

    async def current(self) -> Any:
        store = database.store(self.database, self.clock, SeededIds(Random(1)))
        await store.open()
        return store

    async def unsettled(self, _: Any) -> list[str]:
        """Liveness: each intent ends terminal, working as wanted, or parked with a reason (L1, L6, L7)."""
        store = await self.current()
        out = await self.open_numbers(store)
        for intent, progress in await store.intents(ACCOUNT):
            record = await store.record(ACCOUNT, intent.intent_id)
            status = progress.status
            name = f"{intent.intent_id} {status.value} ({progress.reason})"
            if record.revived is not None:
                out.append(f"{name}: an attempt that should be over is alive")
            if status.terminal or status is IntentStatus.PARKED:
                continue
            live = record.live
            if status is IntentStatus.UNKNOWN and live is not None and self.beyond_proof(live):
                continue
            if live is None and not self.tradable(intent):
                self.weather.counts["watched"] += 1
                continue
            resting = status in (IntentStatus.WORKING, IntentStatus.PARTIALLY_FILLED) and live is not None
            if not resting or intent.desired is Desired.CANCELED:
                out.append(f"{name}: neither terminal nor working nor parked")
                continue
            if live.booked_base != live.cum_base:
                out.append(f"{name}: fills missing")
            elif intent.generation != live.generation and progress.amend_refused != intent.generation:
                out.append(f"{name}: generation {intent.generation} wanted, {live.generation} at the venue")
            else:
                orders = [o for o in self.orders_of(record) if o.live]
                at_venue = self.exchange.engine.orders.get(orders[0].id) if orders else None
                told = any(c.reason == "Drift" for c in progress.conditions)
                if at_venue is not None and at_venue.amount != live.spec.amount and not told:
                    out.append(f"{name}: {live.spec.amount} wanted, {at_venue.amount} at the venue")
                tentative = self.exchange.settings.settle == "on"
                if at_venue is not None and at_venue.due:
                    out.append(f"{name}: it has executed in full, and nobody settles it")
                if len(orders) != 1 or (orders[0].base != live.booked_base and not tentative):
                    out.append(f"{name}: the venue disagrees: {[o.view() for o in orders]}, booked {live.booked_base}")
        return out

    def tradable(self, intent: Any) -> bool:
        """Should the kernel do something now about an order without an attempt? Not where it waits for its price."""
        order = intent.order
        if self.exchange.settings.rests == "on" or intent.desired is Desired.CANCELED:
            return True
        if order.limit_price is None or order.time_in_force != "GTC":
            return True
        bid, ask, _ = self.exchange.book(order.symbol_id).top()
        if order.side is Side.BUY:
            return ask is not None and bool(ask <= order.limit_price)
        return bid is not None and bool(bid >= order.limit_price)

    def beyond_proof(self, live: Any) -> bool:
        """UNKNOWN is honest where the venue can't tell: no fence, or a finished order already forgotten (R14, R16)."""
        retention = self.plan.settings.get("retention_ms", 0)
        return self.plan.fence == "none" or bool(retention and live.placed_at < self.clock.now_ms() - retention)

    def orders_of(self, record: Any) -> list[Any]:
        """The venue's orders of one intent: by client id, or by the ids the store knows where there are none."""
        name = record.intent.intent_id
        if self.plan.fence == "none" or name not in self.declared:
            ids = {vid.value for a in record.attempts for vid in a.ids}
            return [o for o in self.exchange.ledger.orders() if str(o.id) in ids and o.account == ACCOUNT]
        owned = ((o, self.order_owner(o)) for o in self.exchange.ledger.orders())
        return [o for o, owner in owned if owner is not None and owner[0] == name]

    async def final(self, _: Any) -> None:
        """Everything is quiet: compare the store with the venue's ledger, intent by intent."""
        store = await self.current()
        self.check_venue()
        known = {intent.intent_id for intent, _ in await store.intents(ACCOUNT)}
        for name in self.acknowledged - known:
            self.violated("S12", f"{name} was acknowledged and is gone")
        for intent, progress in await store.intents(ACCOUNT):
            name = intent.intent_id
            if name not in self.declared:
                continue
            record = await store.record(ACCOUNT, name)
            orders = self.orders_of(record)
            settled = [o for o in orders if not (o.live and self.exchange.settings.settle == "on")]
            base = sum((o.base for o in settled), Decimal(0))
            quote = sum((o.quote for o in settled), Decimal(0))
            if progress.status is IntentStatus.UNKNOWN or progress.status is IntentStatus.PARKED:
                continue
            if (progress.filled_base, progress.filled_quote) != (base, quote):
                self.violated(
                    "S10",
                    f"{name} {progress.status}: booked {progress.filled_base}/{progress.filled_quote}, "
                    f"venue {base}/{quote}",
                )
            if progress.status.terminal and any(o.live for o in orders):
                self.violated("S6", f"{name} is {progress.status} and an order of it is live at the venue")
            if progress.status is IntentStatus.FILLED and base < min(self.declared[name].values()):
                self.violated("S6", f"{name} is FILLED with {base}")
            if progress.observed_generation > intent.generation:
                self.violated("S18", f"{name}: observed {progress.observed_generation} of {intent.generation}")
            self.weather.counts[f"end:{progress.status.value}"] += 1
        await self.check_numbers(store)
        await self.check_log(store)
        if self.stranger is not None:
            ours = [
                o
                for o in self.exchange.ledger.orders()
                if o.account == ACCOUNT and not self.stranger.owns(o.id, o.client)
            ]
            for text in await self.stranger.confused(store, ours):
                self.violated("S15", text)

    async def check_numbers(self, store: Any) -> None:
        for text in await self.open_numbers(store):
            self.violated("S9", text)

    async def open_numbers(self, store: Any) -> list[str]:
        """Sequence numbers that were committed and that the venue has not seen used (S9)."""
        if self.exchange.chain is None or self.plan.fence != "sequence":
            return []
        free = self.exchange.account(ACCOUNT).number
        uses = await store.slots(f"paper:sim:{ACCOUNT}", free)
        return [f"number {use.slot.number} was committed and neither used nor burnt ({free})" for use in uses]

    async def check_log(self, store: Any) -> None:
        terminal: dict[str, str] = {}
        rows = await store.event_rows(ACCOUNT, 0, 100_000)
        if [row.seq for row in rows] != list(range(1, len(rows) + 1)):
            self.violated("R39", "event sequence has gaps")
        for row in rows:
            name = row.intent_id
            if name in terminal and row.kind in ("OrderSubmitted", "OrderModified", *ENDINGS):
                self.violated("S6", f"{name}: {row.kind} after {terminal[name]}")
            if row.kind in ENDINGS and name is not None:
                terminal[name] = row.kind
            self.weather.counts[f"event:{row.kind}"] += 1
        result = await database.verify(store, ACCOUNT)
        for difference in result.differences:
            self.violated("S11", difference)


ENDINGS = ("OrderFilled", "OrderCanceled", "OrderExpired", "OrderRejected")
CHANGES = ("order", "amend", "cancel", "burn", "enable", "settle")
READS = ("find", "recent", "open", "history", "account", "enabled")
EVENT_FAULTS = ("event_drop", "event_duplicate", "event_reorder", "disconnect")


@dataclass
class Hooks:
    """Where mutants and pinned schedules reach in."""

    adapter: Callable[[Any], Any] = lambda adapter: adapter
    notice_loss: bool = True
    crash_at: str = ""


def run(seed: int, hooks: Hooks | None = None, *, tell: bool = False, **fixed: Any) -> Outcome:
    """Run one schedule to its end."""
    world = World(draw(seed, **fixed), hooks, tell)
    loop = world.loop
    decide = engine.decide

    def counted(record: Any, facts: Any) -> Any:
        decision = decide(record, facts)
        world.weather.counts[f"decision:{type(decision).__name__}"] += 1
        return decision

    engine.decide = counted
    # What a crashed process leaves behind is garbage, and collecting it runs code: never at a moment no seed decides.
    gc.disable()
    loop.set_exception_handler(
        lambda _, context: world.tell(f"loop: {context.get('message')} {context.get('exception')!r}")
    )
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(world.main())
    except Deadlock as error:
        world.violated("L1", str(error))
    finally:
        engine.decide = decide
        gc.enable()
        counts = world.weather.counts
        for kind, count in world.exchange.faults.counts.items():
            counts[f"fault:{kind}"] += count
        outcome = Outcome(seed, world.violations, counts, loop.time(), loop.steps, world.story)
        loop.abandon()
        asyncio.set_event_loop(None)
        database.close(world.database)
    return outcome
