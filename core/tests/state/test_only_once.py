"""What may exist only once, on every store: the second one is refused by name, alone, and nothing of it is written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from core.tests.state.build import (
    ACCOUNT,
    HOUR,
    CountedIds,
    StillClock,
    accept,
    bind,
    book,
    create,
    move,
    read,
    start,
    submit,
)
from exchange_kernel.errors import Fenced, StaleWrite, StoreError
from exchange_kernel.models import Limits
from exchange_kernel.state import IntentStateStore, MemoryIntentStore, SqlIntentStore
from exchange_kernel.state.commit import Change
from exchange_kernel.state.ops import AcquireLease, CreateIntents, NewIntent, SetHalt
from exchange_kernel.state.rows import AttemptState
from exchange_kernel.state.sql import memory_database
from exchange_kernel.state.sql.verify import verify
from exchange_kernel.venue import Slot, VenueId

Work = Callable[[IntentStateStore, int], Awaitable[None]]
OnStore = Callable[[Work], None]


@pytest.fixture(params=["memory", "inline", "sqlite", "postgres"])
def on_store(request: pytest.FixtureRequest, tmp_path: Path) -> OnStore:
    """Runs work on an open store of each kind, with its account's epoch, and verifies it afterwards."""
    clock, ids = StillClock(), CountedIds()
    store: IntentStateStore
    if request.param == "memory":
        store = MemoryIntentStore(clock, ids)
    elif request.param == "inline":
        store = SqlIntentStore.inline(memory_database(), clock, ids)
    elif request.param == "sqlite":
        store = SqlIntentStore(f"sqlite:///{tmp_path}/store.db", clock=clock, ids=ids)
    else:
        store = SqlIntentStore(request.getfixturevalue("postgres_url"), ids=ids)

    async def run(work: Work) -> None:
        await store.open()
        try:
            await work(store, await start(store))
            assert (await verify(store, ACCOUNT)).differences == ()
        finally:
            await store.close()

    return lambda work: asyncio.run(run(work))


async def refused(store: IntentStateStore, operation: Any, error: type[Exception], says: str) -> None:
    """The operation fails with these words and changes nothing."""
    before = [await store.record(ACCOUNT, i.intent_id) for i, _ in await store.intents(ACCOUNT)]
    with pytest.raises(error, match=says):
        await store.execute(operation)
    assert [await store.record(ACCOUNT, i.intent_id) for i, _ in await store.intents(ACCOUNT)] == before


def test_a_second_live_attempt_is_refused(on_store: OnStore) -> None:
    """R6: two attempts of one intent are never live at the same time, not even through a revival."""

    async def work(store: IntentStateStore, epoch: int) -> None:
        await store.execute(create("a"))
        await store.execute(submit(await read(store, "a"), epoch))
        await refused(store, submit(await read(store, "a"), epoch), StoreError, "has a live attempt already")
        await store.execute(move(await read(store, "a"), epoch, 1, AttemptState.DEAD))
        await store.execute(submit(await read(store, "a"), epoch))
        back = move(await read(store, "a"), epoch, 1, AttemptState.LIVE)
        await refused(store, back, StoreError, "has a live attempt already")

    on_store(work)


def test_one_commit_may_close_an_attempt_and_open_the_next(on_store: OnStore) -> None:
    """R24: the old attempt's end and the new one's beginning are one commit, in which neither is seen twice."""

    async def work(store: IntentStateStore, epoch: int) -> None:
        await store.execute(create("a"))
        await store.execute(submit(await read(store, "a"), epoch))
        record = await read(store, "a")
        change = submit(record, epoch)
        closed = replace(record.attempts[0], state=AttemptState.CLOSED)
        await store.execute(replace(change, after=change.after.with_attempt(closed)))

        assert [a.state for a in (await read(store, "a")).attempts] == [AttemptState.CLOSED, AttemptState.UNKNOWN]

    on_store(work)


def test_a_key_is_never_used_again(on_store: OnStore) -> None:
    """R7: the client id of any attempt of the account, dead or alive, is taken for ever."""

    async def work(store: IntentStateStore, epoch: int) -> None:
        await store.execute(create("a", "b"))
        await store.execute(submit(await read(store, "a"), epoch, key=b"same"))
        again = submit(await read(store, "b"), epoch, key=b"same")
        await refused(store, again, StoreError, "key 73616d65 exists already")
        assert await store.locate(ACCOUNT, b"same", ()) == ("a", 1)

    on_store(work)


def test_a_venue_id_belongs_to_one_attempt(on_store: OnStore) -> None:
    """The venue's id of one order cannot be linked to another; linking it again to its own changes nothing."""

    async def work(store: IntentStateStore, epoch: int) -> None:
        await store.execute(create("a", "b"))
        for name in ("a", "b"):
            await store.execute(submit(await read(store, name), epoch))
        await store.execute(accept(await read(store, "a"), epoch, "4711"))
        other = accept(await read(store, "b"), epoch, "4711")
        await refused(store, other, StoreError, "venue id order 4711 of intent b belongs to a attempt 1")
        assert await store.locate(ACCOUNT, None, (VenueId("order", "4711"),)) == ("a", 1)
        assert await store.locate(ACCOUNT, None, (VenueId("other kind", "4711"),)) is None

    on_store(work)


def test_a_sequence_number_belongs_to_one_attempt(on_store: OnStore) -> None:
    """S9: a number may be used again by its own attempt (a replacement), by no other, in no account."""

    async def work(store: IntentStateStore, epoch: int) -> None:
        slot = Slot("evm:1:0xabc", 2**255)
        await store.execute(create("a", "b"))
        await store.execute(submit(await read(store, "a"), epoch, slot=slot))
        record = await read(store, "a")
        await store.execute(Change(ACCOUNT, epoch, record, record, slots=((1, slot),)))
        other = submit(await read(store, "b"), epoch, slot=slot)
        await refused(store, other, StoreError, f"number {slot.number} of evm:1:0xabc belongs to a attempt 1")

        await store.execute(bind("second"))
        lease = await store.execute(AcquireLease("second", "tester", HOUR))
        await store.execute(create("a", account="second"))
        foreign = submit(await read(store, "a", "second"), lease.epoch, slot=slot)
        with pytest.raises(StoreError, match="belongs to a attempt 1"):
            await store.execute(foreign)
        assert [(use.account, use.intent_id, use.slot) for use in await store.slots(slot.scope, 10)] == [
            (ACCOUNT, "a", slot)
        ]
        assert await store.slots(slot.scope, 2**255 + 1) == []

    on_store(work)


def test_a_fill_is_booked_once(on_store: OnStore) -> None:
    """S10: the same fill id for a second intent is refused, and says for whom it is booked."""

    async def work(store: IntentStateStore, epoch: int) -> None:
        await store.execute(create("a", "b"))
        for name in ("a", "b"):
            await store.execute(submit(await read(store, name), epoch))
        await store.execute(book(await read(store, "a"), epoch, "t1"))
        await refused(store, book(await read(store, "b"), epoch, "t1"), StoreError, "already booked for a")
        assert await store.fill_owner(ACCOUNT, "t1") == ("a", 1)

    on_store(work)


def test_a_step_on_an_old_version_or_under_an_old_epoch_is_refused(on_store: OnStore) -> None:
    """R6, R31: compare-and-swap on the intent's version, and nothing under a lost epoch."""

    async def work(store: IntentStateStore, epoch: int) -> None:
        await store.execute(create("a"))
        change = submit(await read(store, "a"), epoch)
        await store.execute(change)
        await refused(store, change, StaleWrite, "version 1 was read, 2 is stored")
        lease = await store.execute(AcquireLease(ACCOUNT, "other", HOUR, steal=True))
        await refused(store, accept(await read(store, "a"), epoch), Fenced, "another process took over")
        await store.execute(accept(await read(store, "a"), lease.epoch))

    on_store(work)


def test_big_amounts_are_exact(on_store: OnStore) -> None:
    """Sums of amounts with many digits do not round: not the open notional, not positions, not totals."""

    async def work(store: IntentStateStore, epoch: int) -> None:
        await store.execute(bind(limits=Limits(max_open_notional=Decimal(10) ** 60)))
        big, small = "123456789012345678901234567890", "0.000000000000000001"
        await store.execute(create("big", amount=big))
        await store.execute(create("small", amount=small))
        for name in ("big", "small"):
            await store.execute(submit(await read(store, name), epoch))
        row = await store.account_row(ACCOUNT)
        assert row is not None
        assert Fraction(row.open_notional) == (Fraction(big) + Fraction(small)) * Fraction("50000.25")
        await store.execute(book(await read(store, "big"), epoch, "1", big, price="1"))
        await store.execute(book(await read(store, "small"), epoch, "2", small, price="1"))
        assert [Fraction(p.amount) for p in await store.positions(ACCOUNT)] == [Fraction(big) + Fraction(small)]

    on_store(work)


def test_a_platform_halt_stops_every_account(on_store: OnStore) -> None:
    """Orders are refused in each account, with who halted and why, until the platform is resumed."""

    async def work(store: IntentStateStore, epoch: int) -> None:
        await store.execute(create("a"))
        await store.execute(SetHalt(None, True, "ops", "storm", (ACCOUNT,)))
        with pytest.raises(Exception, match="platform is halted by ops: storm"):
            await store.execute(create("b"))
        await store.execute(SetHalt(None, False, "ops", "over", (ACCOUNT,)))
        await store.execute(create("b"))
        declared = NewIntent((await read(store, "a")).intent, Decimal(1))
        assert await store.execute(CreateIntents(ACCOUNT, (declared,), "again")) == ()

    on_store(work)
