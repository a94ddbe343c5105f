"""The table on which an interleaving is laid out: one account at a paper venue, its database, and the kernels that work
on it, each a process of its own, in virtual time. Every play ends with the judgement of the venue's ledger."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any

from sqlalchemy import Engine

from exchange_kernel.events import Event
from exchange_kernel.kernel import Kernel
from exchange_kernel.models import IntentStatus
from exchange_kernel.reconcile.session import Settings, make_key
from exchange_kernel.schema import Side, StandardOrder
from exchange_kernel.state.rows import Record
from exchange_kernel.state.sql.store import SqlIntentStore
from exchange_kernel.testing.virtual import SeededIds, VirtualClock, VirtualLoop, run_virtual
from exchange_kernel_paper.adapter import PaperAdapter
from exchange_kernel_paper.exchange import Exchange, LoopClock
from exchange_kernel_paper.exchange import Settings as VenueSettings
from exchange_kernel_paper.exchange.ledger import OrderRecord
from exchange_kernel_paper.registry import Registry
from exchange_kernel_paper.translate import client_id
from tests.processes.boundary import AdapterBoundary, StoreBoundary
from tests.simulation import database

ACCOUNT = "desk"
BTC = "BTC/USD"
STORE_ID = Random(2).randbytes(16)
PRESETS = ("time_window", "sequence", "height", "permanent_key", "none")
BALANCES = {"USD": "10000000", "BTC": "1000", "ETH": "10000"}

SETTINGS = Settings(
    lease_ms=4_000,
    snapshot_every=8.0,
    sweep_every=0.5,
    first_look=0.1,
    backoff=0.3,
    max_backoff=3.0,
    submit_timeout=6.0,
    read_timeout=6.0,
)


def buy(amount: str = "0.1", price: str | None = "49000", symbol: str = BTC, **more: Any) -> StandardOrder:
    """An order to buy; at 49000 it rests, at 50010 it trades with the house."""
    limit = None if price is None else Decimal(price)
    return StandardOrder(symbol, Side.BUY, Decimal(amount), limit_price=limit, **more)


class Hold:
    """A process that has come to a label waits there until it is released."""

    def __init__(self) -> None:
        self._reached = asyncio.Event()
        self._released = asyncio.Event()

    async def reached(self, seconds: float = 60.0) -> None:
        """Wait until a task stands there."""
        async with asyncio.timeout(seconds):
            await self._reached.wait()

    def release(self) -> None:
        """Let it go on."""
        self._released.set()

    async def wait(self) -> None:
        """The task's side."""
        self._reached.set()
        await self._released.wait()


class Points:
    """What happens at the labels of one process' boundary. ``seen``: how often each was passed."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self._acts: dict[str, list[Hold | Exception]] = defaultdict(list)
        self._pause: dict[str, asyncio.Event] = {}
        self._running = asyncio.Event()
        self._running.set()

    async def __call__(self, label: str, subject: Any) -> None:
        await self._running.wait()
        self.seen[label] += 1
        paused = self._pause.pop(label, None)
        if paused is not None:
            self._running.clear()
            paused.set()
            await self._running.wait()
        acts = self._acts.get(label)
        if acts:
            act = acts.pop(0)
            if isinstance(act, Exception):
                raise act
            await act.wait()
            await self._running.wait()

    def hold(self, label: str) -> Hold:
        """The next task that comes to this label waits there; the rest of the process goes on."""
        hold = Hold()
        self._acts[label].append(hold)
        return hold

    def fail(self, label: str, error: Exception, times: int = 1) -> None:
        """The next ``times`` tasks that come to this label meet the error."""
        self._acts[label] += [error] * times

    def pause_at(self, label: str) -> asyncio.Event:
        """The whole process stops as soon as a task comes to this label; the event says when."""
        return self._pause.setdefault(label, asyncio.Event())

    def stop(self) -> None:
        """The whole process stops now: a pause, or a crash if nobody resumes it."""
        self._running.clear()

    def go_on(self) -> None:
        """It goes on where it stopped."""
        self._running.set()

    async def awake(self) -> None:
        """Returns while the process runs."""
        await self._running.wait()


class ProcessClock(VirtualClock):
    """The local clock of a process: it may be off, and no timer of a stopped process fires."""

    def __init__(self, loop: asyncio.AbstractEventLoop, points: Points, skew_ms: int) -> None:
        super().__init__(loop, skew_ms=skew_ms)
        self._points = points

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        await self._points.awake()


@dataclass
class Process:
    """One process with a kernel. ``events``: what its first subscriber was told."""

    kernel: Kernel
    points: Points
    clock: ProcessClock
    events: list[Event] = field(default_factory=list)

    def kinds(self, name: str | None = None) -> list[str]:
        """Kinds of the events so far, of one intent."""
        return [event.kind for event in self.events if name in (None, event.intent_id)]


class Desk:
    """See the module."""

    def __init__(self, loop: VirtualLoop, engine: Engine, venue: dict[str, Any]) -> None:
        self.loop = loop
        self.clock = VirtualClock(loop)
        self.database = engine
        settings = VenueSettings.of({"window_ms": 2_000, "maker_fee": "0", "taker_fee": "0", **venue})
        self.venue = settings
        self.exchange = Exchange("hall", LoopClock(self.clock.now_ms), settings, rng=Random(5))
        self.exchange.open_account(ACCOUNT, "paper", BALANCES)
        self.registry = Registry()
        self.registry.add(self.exchange)
        self.quote()
        self.processes: list[Process] = []
        self.store = self.new_store()

    def quote(self, bids: list[tuple[str, str]] | None = None, asks: list[tuple[str, str]] | None = None) -> None:
        """What the house shows in BTC/USD from now on."""
        self.exchange.set_ladder(BTC, bids or [("48000", "2")], asks or [("50010", "2")])

    def trade(self, amount: str, price: str = "48500", side: str = "SELL") -> None:
        """Somebody else trades with what rests."""
        self.exchange.trade_through(BTC, side, price, amount)

    # ---- processes ----------------------------------------------------------------------------------------------

    def new_store(self) -> SqlIntentStore:
        """Another process' store object on the database of the moment."""
        return database.store(self.database, self.clock, SeededIds(Random(len(self.processes))))

    def process(
        self,
        *,
        skew_ms: int = 0,
        adapter: Callable[[Any], Any] = lambda adapter: adapter,
        venue_account: str = ACCOUNT,
        exchange_id: str = ACCOUNT,
        **kernel: Any,
    ) -> Process:
        """A process with a kernel that is not started yet."""
        points = Points()
        clock = ProcessClock(self.loop, points, skew_ms)
        store = database.store(self.database, clock, SeededIds(Random(100 + len(self.processes))))
        config = {
            "venue": "hall", "account": venue_account, "registry": self.registry, "house": False, "timeout_ms": 3_000,
            "balances": BALANCES,
        }  # fmt: skip
        made = Kernel(
            exchange_id,
            AdapterBoundary(adapter(PaperAdapter()), points),  # type: ignore[arg-type]
            StoreBoundary(store, points),  # type: ignore[arg-type]
            venue="paper",
            venue_config=config,
            clock=clock,
            ids=SeededIds(Random(200 + len(self.processes))),
            **{"settings": SETTINGS, **kernel},
        )
        process = Process(made, points, clock)
        made.subscribe_events(process.events.append, after=0)
        self.processes.append(process)
        return process

    async def start(self, **options: Any) -> Process:
        """A process with a running kernel."""
        process = self.process(**options)
        await process.kernel.start()
        return process

    # ---- looking ------------------------------------------------------------------------------------------------

    async def until(self, condition: Callable[[], Any], seconds: float = 60.0, what: str = "") -> Any:
        """Wait until the condition (plain or async) holds; what it said."""
        end = self.loop.time() + seconds
        while True:
            found = condition()
            if isinstance(found, Awaitable):
                found = await found
            if found:
                return found
            if self.loop.time() >= end:
                raise AssertionError(f"not within {seconds} s: {what or condition}; {await self.tell()}")
            await asyncio.sleep(0.02)

    async def tell(self) -> str:
        """Where everything stands, for a failure."""
        rows = await self.store.intents(ACCOUNT)
        intents = [f"{i.intent_id} {p.status.value} ({p.reason}) filled {p.filled_base}" for i, p in rows]
        return f"intents {intents}, orders {[order.view() for order in self.orders()]}"

    async def record(self, name: str) -> Record:
        """An intent's rows."""
        found = await self.store.record(ACCOUNT, name)
        assert found is not None, name
        return found

    async def status(self, name: str) -> IntentStatus | None:
        """An intent's status, None before it is declared."""
        found = await self.store.record(ACCOUNT, name)
        return None if found is None else found.progress.status

    async def reaches(self, name: str, *wanted: IntentStatus, seconds: float = 60.0) -> Record:
        """Wait until an intent has one of these statuses."""

        async def there() -> bool:
            return await self.status(name) in wanted

        await self.until(there, seconds, f"{name} is one of {', '.join(wanted)}")
        return await self.record(name)

    def key(self, name: str, *purpose: str | int) -> bytes:
        """The key of an attempt, or of a command to it."""
        return make_key(STORE_ID, ACCOUNT, name, *purpose)

    def arrivals(self, name: str, *purpose: str | int) -> int:
        """How often the request of this key reached the venue."""
        return self.exchange.ledger.arrivals(client_id(self.key(name, *purpose)))

    def orders(self, name: str | None = None, most: int = 12) -> list[OrderRecord]:
        """The venue's own record of the account's orders, or of one intent's."""
        mine = [order for order in self.exchange.ledger.orders() if order.account == ACCOUNT]
        if name is None:
            return mine
        clients = {client_id(self.key(name, n)) for n in range(1, most)}
        return [order for order in mine if order.client in clients]

    def requests(self, op: str) -> int:
        """How many requests of this operation reached the venue."""
        return sum(kind == "arrived" and detail == op for _, kind, _, _, detail in self.exchange.ledger.entries)

    async def kinds(self, name: str | None = None) -> list[str]:
        """Kinds of the events in the log, of one intent."""
        events = await self.store.events(ACCOUNT, 0, 100_000)
        return [event.kind for event in events if name in (None, event.intent_id)]

    # ---- the judgement ------------------------------------------------------------------------------------------

    async def judge(self) -> None:
        """What must hold at the end of every play, by the venue's ledger and by the product's own check."""
        store = self.new_store()
        await store.open()
        for intent, progress in await store.intents(ACCOUNT):
            record = await store.record(ACCOUNT, intent.intent_id)
            assert record is not None
            orders = self._orders_of(record)
            accepted = Counter(order.client for order in orders if order.client and order.status != "REJECTED")
            assert max(accepted.values(), default=0) <= 1, f"{intent.intent_id}: an attempt became two orders (S1)"
            assert sum(order.live for order in orders) <= 1, f"{intent.intent_id}: two live orders (S2)"
            if progress.status.terminal:
                assert not any(order.live for order in orders), f"{intent.intent_id} is {progress.status} and alive"
            if progress.status not in (IntentStatus.UNKNOWN, IntentStatus.PARKED):
                # What rests and has to be settled is not executed for good.
                over = [order for order in orders if self.venue.settle == "off" or not order.live]
                executed = sum((order.base for order in over), Decimal(0))
                assert progress.filled_base == executed, f"{intent.intent_id}: booked {progress.filled_base}"
        found = await database.verify(store, ACCOUNT)
        assert found.differences == (), found.differences

    def _orders_of(self, record: Record) -> list[OrderRecord]:
        if self.venue.fence != "none":
            return self.orders(record.intent.intent_id)
        ids = {vid.value for attempt in record.attempts for vid in attempt.ids}
        return [order for order in self.orders() if str(order.id) in ids]


Play = Callable[[Desk], Awaitable[None]]


def play(scene: Play, *, judged: bool = True, **venue: Any) -> None:
    """Run one interleaving. ``venue``: settings of the paper exchange. ``judged`` False: the scene judges by itself."""
    engine = database.fresh(STORE_ID.hex())

    async def whole(loop: VirtualLoop) -> None:
        desk = Desk(loop, engine, venue)
        await desk.store.open()
        await scene(desk)
        if judged:
            await desk.judge()

    try:
        run_virtual(whole)
    finally:
        database.close(engine)
