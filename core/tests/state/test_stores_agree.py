"""One machine, every store: the same operations in lockstep give the same results, errors and rows."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from core.tests.state import build
from core.tests.state.build import HOUR, CountedIds, StillClock
from exchange_kernel.errors import ExchangeKernelError
from exchange_kernel.events import DriftDetected, RecoveryStarted
from exchange_kernel.models import Condition, IntentStatus, Limits, OrderIntent
from exchange_kernel.state import IntentStateStore, MemoryIntentStore, SqlIntentStore
from exchange_kernel.state.commit import Change
from exchange_kernel.state.ops import (
    AcquireLease,
    CancelIntents,
    CreateIntents,
    ModifyIntent,
    NewIntent,
    RecordEvents,
    RenewLease,
    SetHalt,
    SetRecovering,
)
from exchange_kernel.state.rows import AccountRow, AttemptState, EventRow, Lease, Record, TicketKind, TicketRow
from exchange_kernel.state.sql import memory_database
from exchange_kernel.state.sql.verify import verify
from exchange_kernel.state.unit import Operation
from exchange_kernel.venue import Fence, HeightEnd, Money, Slot, SlotEnd, Ticket, VenueId

IDS = [f"i{n}" for n in range(6)]
AMOUNTS = ["0.5", "0.50", "0.7", "123456789012345678901234567890.123456789012345678"]
LIMITS = [
    Limits(),
    Limits(),
    Limits(),
    Limits(max_order_notional=Decimal(30_000)),
    Limits(max_open_notional=Decimal(60_000), max_order_notional=Decimal(10) ** 40),
    Limits(order_count=3, order_period_ms=10**9),
    Limits(symbols=frozenset({"ETH/USD"})),
]
FUTURE = 2**61

accounts = st.integers(0, 1)
ids = st.sampled_from(IDS)
amounts = st.sampled_from(AMOUNTS)
wait = st.booleans()
rarely = st.sampled_from([False, False, False, False, True])
mostly = st.sampled_from([True, True, True, False])


class Lockstep(RuleBasedStateMachine):
    """Runs every operation on the memory store and on each SQL store, and compares."""

    loop: asyncio.AbstractEventLoop
    lasting: dict[str, IntentStateStore]
    run_number = count()

    def __init__(self) -> None:
        super().__init__()
        run = next(self.run_number)
        clock = StillClock()
        self.accounts = [f"r{run}_a", f"r{run}_b"]
        self.unbound = f"r{run}_unbound"
        self.scope = f"evm:{run}"
        self.memory = MemoryIntentStore(clock, CountedIds())
        inline = SqlIntentStore.inline(memory_database(), clock, CountedIds())
        self.stores: dict[str, IntentStateStore] = {"memory": self.memory, "inline": inline, **self.lasting}
        self.loop.run_until_complete(inline.open())
        self.pending: list[Operation] = []
        self.touched: set[tuple[str, str]] = set()
        self.epochs: dict[str, dict[tuple[str, int], int]] = {}
        self.agreed = False

    # What the machine does

    def act(self, operation: Operation, wait: bool) -> None:
        """Queue the operation; unless told to wait, run all that are queued as one group and compare."""
        self.pending.append(operation)
        if not wait or len(self.pending) >= 8:
            self.together()

    def together(self) -> None:
        """Run what is queued on every store at once; outcomes and the rows touched must be equal."""
        operations, self.pending = self.pending, []
        self.agreed = False
        outcomes = {}
        for name, store in self.stores.items():
            known = self.epochs.setdefault(name, {})
            own = [_under(operation, known) for operation in operations]
            outcomes[name] = self.run(_gather(store, own))
            assert outcomes[name] == outcomes["memory"], name
        for account in (*self.accounts, self.unbound):
            self.map_epochs(account)
        for operation in operations:
            self.touched.update(operation.needs().intents)
        for account, intent_id in sorted(self.touched):
            seen = {n: self.run(s.record(account, intent_id)) for n, s in self.stores.items()}
            for name, record in seen.items():
                assert _record(record) == _record(seen["memory"]), name
        self.touched.clear()
        self.agreed = True

    def run(self, query: Any) -> Any:
        return self.loop.run_until_complete(query)

    def map_epochs(self, account: str) -> None:
        """Epochs grow from the clock, and PostgreSQL's is another: which epoch of a store is which of the memory's."""
        mine = self.run(self.memory.lease(account))
        for name, store in self.stores.items():
            lease = self.run(store.lease(account))
            assert (lease is None) == (mine is None), name
            if lease is not None:
                self.epochs[name][account, mine.epoch] = lease.epoch

    def record_of(self, account: str, intent_id: str) -> Record | None:
        record: Record | None = self.run(self.memory.record(account, intent_id))
        return record

    def epoch(self, account: str, stale: bool) -> int:
        lease = self.run(self.memory.lease(account))
        return (lease.epoch if lease else 0) - (1 if stale else 0)

    # The operations

    @initialize(limits=st.sampled_from(LIMITS))
    def begin(self, limits: Limits) -> None:
        for a, account in enumerate(self.accounts):
            self.act(build.bind(account), wait=True)
            self.act(AcquireLease(account, "one", HOUR), wait=True)
            self.act(build.create(*IDS[:4], account=account), wait=False)
            for intent_id in IDS[:2]:
                self.submit(a, intent_id, None, None, close=False, stale=False, old=False, wait=True)
        for account in self.accounts:
            self.act(build.bind(account, limits), wait=False)

    @rule(
        what=st.sampled_from(["bind", "acquire", "renew", "halt", "halt all", "recover", "tell"]),
        a=accounts,
        limits=st.sampled_from(LIMITS),
        odd=rarely,
        stale=rarely,
        owner=st.sampled_from(["one", "two"]),
        steal=st.booleans(),
        wait=wait,
    )
    def operate(
        self, what: str, a: int, limits: Limits, odd: bool, stale: bool, owner: str, steal: bool, wait: bool
    ) -> None:
        """What kernels and operators do; ``odd``: the rarer of two ways."""
        account = self.accounts[a]
        epoch = self.epoch(account, stale)
        operation: Operation
        match what:
            case "bind":
                operation = build.bind(account, limits, "paper:other" if odd else "paper:main")
            case "acquire":
                operation = AcquireLease(self.unbound if odd else account, owner, 0 if stale else HOUR, steal)
            case "renew":
                operation = RenewLease(account, epoch, 0 if odd else HOUR)
            case "halt":
                operation = SetHalt(account, odd, "operator", "storm")
            case "halt all":
                operation = SetHalt(None, odd, "operator", "storm", tuple(self.accounts))
            case "recover":
                event = RecoveryStarted(account=account, at=1, cause="restored")
                operation = SetRecovering(account, epoch, {"cause": "restored"} if odd else None, event)
            case _:
                drift = DriftDetected(account=account, at=1, what="drift", reason="by hand")
                operation = RecordEvents(account, epoch, () if odd else (drift, replace(drift, what="more")))
        self.act(operation, wait)

    @rule(a=accounts, chosen=st.lists(ids, min_size=1, max_size=4), amount=amounts, priced=mostly, wait=wait)
    def create(self, a: int, chosen: list[str], amount: str, priced: bool, wait: bool) -> None:
        account = self.accounts[a]
        made = [build.intent(i, account, amount, "50000.25" if priced else None) for i in chosen]
        rich: dict[str, Any] = (
            {"labels": {"team": "ü\x00"}, "group_id": "g", "submit_deadline": FUTURE} if priced else {}
        )
        new = tuple(NewIntent(replace(i, **rich), Decimal(25_000) if priced else None) for i in made)
        self.act(CreateIntents(account, new, "me"), wait)

    @rule(a=accounts, i=ids, amount=amounts, expected=st.sampled_from([None, 1, 2]), wait=wait)
    def modify(self, a: int, i: str, amount: str, expected: int | None, wait: bool) -> None:
        account = self.accounts[a]
        order = build.intent(i, account, amount).order
        operation = ModifyIntent(
            account, i, order, order.spec_hash(), "me", Decimal(25_000), expected, submit_deadline=7
        )
        self.act(operation, wait)

    @rule(a=accounts, chosen=st.lists(ids, min_size=1, max_size=3), wait=wait)
    def cancel(self, a: int, chosen: list[str], wait: bool) -> None:
        self.act(CancelIntents(self.accounts[a], tuple(chosen), "me", "enough\x00\ud800"), wait)

    def change(self, change: Change, stale: bool, old: bool, wait: bool) -> None:
        if stale:
            change = replace(change, epoch=change.epoch - 1)
        if old:
            before = replace(change.before, intent=replace(change.before.intent, version=0))
            change = replace(change, before=before)
        self.act(change, wait)

    @rule(
        a=accounts,
        i=ids,
        key=st.sampled_from([None, None, None, b"shared"]),
        number=st.sampled_from([None, None, 7, 2**200]),
        close=st.booleans(),
        stale=rarely,
        old=rarely,
        wait=wait,
    )
    def submit(
        self, a: int, i: str, key: bytes | None, number: int | None, close: bool, stale: bool, old: bool, wait: bool
    ) -> None:
        account = self.accounts[a]
        record = self.record_of(account, i)
        if record is None:
            return
        slot = None if number is None else Slot(self.scope, number)
        change = build.submit(record, self.epoch(account, False), key=key, slot=slot)
        if close and record.live is not None:
            # R24: one commit closes an attempt and opens the next.
            after = change.after.with_attempt(replace(record.live, state=AttemptState.CLOSED))
            change = replace(change, after=after)
        self.change(change, stale, old, wait)

    @rule(a=accounts, i=ids, vid=st.sampled_from([None, None, "shared"]), stale=rarely, old=rarely, wait=wait)
    def accept(self, a: int, i: str, vid: str | None, stale: bool, old: bool, wait: bool) -> None:
        record = self.record_of(self.accounts[a], i)
        if record is not None and record.attempts:
            self.change(build.accept(record, self.epoch(self.accounts[a], False), vid), stale, old, wait)

    @rule(a=accounts, i=ids, fill=st.sampled_from(["f1", "f2", "f3", None]), n=st.integers(0, 2), old=rarely, wait=wait)
    def book(self, a: int, i: str, fill: str | None, n: int, old: bool, wait: bool) -> None:
        record = self.record_of(self.accounts[a], i)
        if record is None or not record.attempts:
            return
        fill = fill or f"{i}:{len(record.fills)}"
        if any(f.id == fill for f in record.fills):
            change = build.void(record, self.epoch(self.accounts[a], False), fill)
        else:
            n = min(n, len(record.attempts))
            change = build.book(record, self.epoch(self.accounts[a], False), fill, AMOUNTS[n], n=n)
        self.change(change, False, old, wait)

    @rule(a=accounts, i=ids, state=st.sampled_from(AttemptState), n=st.integers(1, 3), stale=rarely, wait=wait)
    def move(self, a: int, i: str, state: AttemptState, n: int, stale: bool, wait: bool) -> None:
        record = self.record_of(self.accounts[a], i)
        if record is not None and len(record.attempts) >= n:
            self.change(build.move(record, self.epoch(self.accounts[a], False), n, state), stale, False, wait)

    @rule(a=accounts, i=ids, steps=st.lists(st.sampled_from("sabbmtdf"), min_size=2, max_size=8))
    def live(self, a: int, i: str, steps: list[str]) -> None:
        """Several steps in an intent's life, one after the other."""
        for step in steps:
            if step == "s":
                self.submit(a, i, None, None, close=True, stale=False, old=False, wait=False)
            elif step == "a":
                self.accept(a, i, None, stale=False, old=False, wait=False)
            elif step == "b":
                self.book(a, i, None, 2, old=False, wait=False)
            elif step == "m":
                self.move(a, i, AttemptState.REVIVED, 1, stale=False, wait=False)
            elif step == "t":
                self.ticket(a, i, wait=False)
            elif step == "d":
                self.schedule(a, i, 5, wait=False)
            else:
                self.finish(a, i, IntentStatus.FILLED, wait=False)

    @rule(a=accounts, i=ids, wait=wait)
    def ticket(self, a: int, i: str, wait: bool) -> None:
        record = self.record_of(self.accounts[a], i)
        if record is None or not record.attempts:
            return
        attempt = record.attempts[-1]
        ticket = Ticket(
            b"cancel\x00" + bytes([len(record.tickets)]),
            bytes(range(256)),
            "codec",
            "identity",
            Fence(True, (HeightEnd(9), SlotEnd(Slot("s", 2**70))), "ledger"),
            (VenueId("tx", "0xü"),),
            5,
            (Money("ETH", Decimal("0.001")),),
            "note",
        )
        row = TicketRow(
            attempt.n, len(record.tickets_of(attempt.n)) + 1, TicketKind.CANCEL, 1, ticket, spec=attempt.spec
        )
        self.change(
            Change(self.accounts[a], self.epoch(self.accounts[a], False), record, record.with_ticket(row)),
            False,
            False,
            wait,
        )

    @rule(a=accounts, i=ids, due=st.sampled_from([None, 0, 5, FUTURE]), wait=wait)
    def schedule(self, a: int, i: str, due: int | None, wait: bool) -> None:
        record = self.record_of(self.accounts[a], i)
        if record is not None:
            conditions = (Condition("Degraded", "slow", "venue is slow", 3),)
            progress = replace(record.progress, next_due=due, failures=2, conditions=conditions)
            change = Change(
                self.accounts[a], self.epoch(self.accounts[a], False), record, replace(record, progress=progress)
            )
            self.change(change, False, False, wait)

    @rule(a=accounts, i=ids, status=st.sampled_from([IntentStatus.FILLED, IntentStatus.CANCELED]), wait=wait)
    def finish(self, a: int, i: str, status: IntentStatus, wait: bool) -> None:
        record = self.record_of(self.accounts[a], i)
        if record is not None:
            self.change(build.finish(record, self.epoch(self.accounts[a], False), status), False, False, wait)

    # What must be equal in the end

    def teardown(self) -> None:
        if not self.agreed:
            return  # it has failed, or has not begun
        self.together()
        for account in self.accounts:
            for name, store in self.stores.items():
                assert self.run(verify(store, account)).differences == (), name
        self.act(SetHalt(None, False, "operator", "over", tuple(self.accounts)), wait=False)
        seen = {name: self.run(self.everything(store)) for name, store in self.stores.items()}
        for name, rows in seen.items():
            for what, value in rows.items():
                assert value == seen["memory"][what], (name, what)
        self.run(self.stores["inline"].close())

    async def everything(self, store: IntentStateStore) -> dict[str, Any]:
        """All that a store shows of this run's accounts, times taken out."""
        out: dict[str, Any] = {
            "slots": await store.slots(self.scope, 0),
            "slots above": await store.slots(self.scope, 8),
        }
        out["halted"] = (await store.store_row()).halted
        out["accounts"] = [name for name in await store.accounts() if name in self.accounts]
        for account in self.accounts:
            out[account] = {
                "row": _plain(await store.account_row(account)),
                "lease": _plain(await store.lease(account)),
                "live": await store.live_intents(account),
                "due": [await store.due(account, now, limit) for now, limit in ((0, 99), (5, 2), (FUTURE, 99))],
                "intents": [(_intent(i), p) for i, p in await store.intents(account)],
                "active": [i.intent_id for i, _ in await store.intents(account, active_only=True)],
                "of symbol": [i.intent_id for i, _ in await store.intents(account, symbol="BTC/USD", active_only=True)],
                "of none": await store.intents(account, symbol="ETH/USD"),
                "records": [_record(await store.record(account, i)) for i in IDS],
                "events": [_plain(row) for row in await store.event_rows(account, 0, 10_000)],
                "page": [row.seq for row in await store.event_rows(account, 2, 3)],
                "decoded": [event.kind for event in await store.events(account, 1)],
                "positions": await store.positions(account),
                "key": await store.locate(account, b"shared", ()),
                "id": await store.locate(account, b"none", (VenueId("x", "y"), VenueId("order", "shared"))),
                "fills": [await store.fill_owner(account, f) for f in ("f1", "f2", "f3", "none")],
            }
        return out


async def _gather(store: IntentStateStore, operations: Iterable[Operation]) -> list[Any]:
    outcomes = await asyncio.gather(*(store.execute(o) for o in operations), return_exceptions=True)
    return [_outcome(outcome) for outcome in outcomes]


def _under(operation: Any, epochs: dict[tuple[str, int], int]) -> Operation:
    """The same operation under a store's own epoch; 1 is nobody's."""
    if hasattr(operation, "epoch"):
        operation = replace(operation, epoch=epochs.get((operation.account, operation.epoch), 1))
    made: Operation = operation
    return made


def _outcome(value: Any) -> Any:
    if isinstance(value, ExchangeKernelError):
        return type(value).__name__, re.sub(r"[0-9]{13,}", "(epoch)", str(value))
    assert not isinstance(value, BaseException), repr(value)
    return _plain(value)


def _plain(value: Any) -> Any:
    """The value without what depends on the database's own clock."""
    if isinstance(value, Lease):
        return replace(value, expires_at=0, epoch=0)
    if isinstance(value, AccountRow):
        tokens = value.rate_tokens and round(value.rate_tokens, 2)
        return replace(value, created_at=0, rate_at=0, rate_tokens=tokens, event_hash="", halted=_undated(value.halted))
    if isinstance(value, EventRow):
        return replace(value, at=0, hash="")
    return value


def _undated(halted: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if halted is None else halted | {"at": 0}


def _intent(intent: OrderIntent) -> OrderIntent:
    return replace(intent, created_at=0)


def _record(record: Record | None) -> Record | None:
    if record is None:
        return None
    tickets = tuple(sorted(record.tickets, key=lambda row: (row.attempt, row.seq)))
    return replace(record, intent=_intent(record.intent), tickets=tickets)


def test_every_store_does_the_same(tmp_path: Path, postgres_url: str) -> None:
    """Memory, SQLite in memory, SQLite with threads and PostgreSQL agree on results, errors and rows, and verify."""
    loop = asyncio.new_event_loop()
    clock = StillClock()
    lasting: dict[str, IntentStateStore] = {
        "sqlite": SqlIntentStore(f"sqlite:///{tmp_path}/store.db", clock=clock, ids=CountedIds()),
        "postgres": SqlIntentStore(postgres_url, ids=CountedIds()),
    }
    for store in lasting.values():
        assert loop.run_until_complete(store.open()) is None
    machine = type("Machine", (Lockstep,), {"loop": loop, "lasting": lasting, "run_number": count()})
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=30,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                # Shrinking repeats a failure for minutes on four stores; the failing run itself tells enough.
                phases=[phase for phase in Phase if phase is not Phase.shrink],
            ),
        )
    finally:
        for store in lasting.values():
            loop.run_until_complete(store.close())
        loop.close()
