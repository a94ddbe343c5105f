"""Group commit: many callers share a transaction, and an operation that fails, fails alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.tests.state.build import ACCOUNT, CountedIds, StillClock, accept, book, create, read, start, submit
from exchange_kernel.errors import CommitUnknown, Fenced, IntentConflict, StoreError, StoreUnavailable
from exchange_kernel.events import DriftDetected, Event
from exchange_kernel.state import SqlIntentStore
from exchange_kernel.state.ops import RecordEvents
from exchange_kernel.state.sql.lanes import Thread
from exchange_kernel.state.sql.verify import verify
from exchange_kernel.state.unit import Needs, Operation, Unit


def on_store(url: str, work: Callable[[SqlIntentStore, int], Awaitable[None]]) -> None:
    """Run ``work`` with an open store and the epoch of its account."""

    async def run() -> None:
        store = SqlIntentStore(url, clock=StillClock(), ids=CountedIds())
        await store.open()
        try:
            await work(store, await start(store))
            assert (await verify(store, ACCOUNT)).differences == ()
        finally:
            await store.close()

    asyncio.run(run())


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


async def all_of(store: SqlIntentStore, operations: Sequence[Operation]) -> list[Any]:
    """Outcomes of operations that are pending at the same time."""
    return await asyncio.gather(*(store.execute(o) for o in operations), return_exceptions=True)


def test_many_callers_share_few_transactions(url: str) -> None:
    """200 declarations made at once take far fewer commits than 200, and all are there."""

    async def work(store: SqlIntentStore, epoch: int) -> None:
        before = store.transactions
        outcomes = await all_of(store, [create(f"i{n}") for n in range(200)])

        assert outcomes == [(f"i{n}",) for n in range(200)]
        assert store.transactions - before <= 40
        assert len(await store.intents(ACCOUNT)) == 200

    on_store(url, work)


def test_an_operation_that_is_refused_fails_alone(url: str) -> None:
    """Conflicts and fenced operations reach their own callers; the rest of the group is committed."""

    async def work(store: SqlIntentStore, epoch: int) -> None:
        event = DriftDetected(account=ACCOUNT, at=1, what="something")
        outcomes = await all_of(
            store,
            [
                create("a"),
                RecordEvents(ACCOUNT, epoch - 1, (event,)),
                create("a", amount="0.7"),
                create("b"),
                RecordEvents(ACCOUNT, epoch, (replace(event, what="more"),)),
            ],
        )

        assert outcomes[0] == ("a",)
        assert isinstance(outcomes[1], Fenced)
        assert isinstance(outcomes[2], IntentConflict)
        assert outcomes[3:] == [("b",), None]
        assert [row.kind for row in await store.event_rows(ACCOUNT, 0, 9)] == [
            "IntentCreated",
            "IntentCreated",
            "DriftDetected",
        ]

    on_store(url, work)


def test_a_write_that_the_database_refuses_fails_alone(url: str) -> None:
    """A fill booked for two intents breaks the transaction; only the second booking fails, and says for whom it is."""

    async def work(store: SqlIntentStore, epoch: int) -> None:
        names = [f"i{n}" for n in range(20)]
        await store.execute(create(*names))
        for name in names:
            await store.execute(submit(await read(store, name), epoch))
        changes = [
            book(await read(store, name), epoch, "shared" if n in (7, 13) else name) for n, name in enumerate(names)
        ]
        outcomes = await all_of(store, changes)

        refused = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, StoreError)]
        assert refused == [13]
        assert "fill shared of intent i13 is already booked for i7" in str(outcomes[13])
        assert [len((await read(store, name)).fills) for name in names] == [int(n != 13) for n in range(20)]

    on_store(url, work)


def test_a_value_that_cannot_be_stored_fails_alone(url: str) -> None:
    """A venue that reports NaN hurts its own intent's step, nobody else's."""

    async def work(store: SqlIntentStore, epoch: int) -> None:
        await store.execute(create("a", "b"))
        for name in ("a", "b"):
            await store.execute(submit(await read(store, name), epoch))
        good = accept(await read(store, "a"), epoch)
        bad = accept(await read(store, "b"), epoch)
        attempt = replace(bad.after.attempts[0], applied_amount=Decimal("NaN"))
        outcomes = await all_of(store, [replace(bad, after=bad.after.with_attempt(attempt)), good])

        assert isinstance(outcomes[0], StoreError)
        assert "cannot be stored" in str(outcomes[0])
        assert (await read(store, "b")).intent.version == 2
        assert outcomes[1] == 3

    on_store(url, work)


class Broken(Operation):
    """An operation with a mistake in it: it changes something, then fails in a way nobody foresaw."""

    def needs(self) -> Needs:
        return Needs((ACCOUNT,))

    def apply(self, unit: Unit) -> Any:
        unit.emit(DriftDetected(account=ACCOUNT, at=1, what="half done"))
        raise ZeroDivisionError


def test_a_mistake_in_an_operation_does_not_take_its_group_along(url: str) -> None:
    """What a broken operation changed before it failed is not written, and the group is."""

    async def work(store: SqlIntentStore, epoch: int) -> None:
        outcomes = await all_of(store, [create("a"), Broken(), create("b")])

        assert outcomes[0] == ("a",)
        assert isinstance(outcomes[1], ZeroDivisionError)
        assert outcomes[2] == ("b",)
        assert [row.kind for row in await store.event_rows(ACCOUNT, 0, 9)] == ["IntentCreated", "IntentCreated"]

    on_store(url, work)


def test_listeners_hear_every_event_once_and_in_order(url: str) -> None:
    """A listener is called with each committed event, in the order of the log, before the caller's answer."""
    heard: list[Event] = []

    async def work(store: SqlIntentStore, epoch: int) -> None:
        store.listen(heard.extend)
        answers = [store.execute(create(f"i{n}")) for n in range(50)]
        await answers[0]
        assert heard[0].intent_id == "i0"
        await all_of(store, [create("i0", amount="9")])
        await asyncio.gather(*answers[1:])
        store.unlisten(heard.extend)

        assert [event.seq for event in heard] == list(range(1, 51))
        assert heard == await store.events(ACCOUNT, 0, 99)

    on_store(url, work)


def test_a_waiting_caller_that_gives_up_does_not_disturb_the_group(url: str) -> None:
    """A cancelled call may or may not have been written; the others get their answers."""

    async def work(store: SqlIntentStore, epoch: int) -> None:
        calls = [asyncio.ensure_future(store.execute(create(f"i{n}"))) for n in range(10)]
        await asyncio.sleep(0)
        calls[3].cancel()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)

        assert isinstance(outcomes[3], asyncio.CancelledError)
        assert [o for n, o in enumerate(outcomes) if n != 3] == [(f"i{n}",) for n in range(10) if n != 3]

    on_store(url, work)


def test_close_finishes_what_is_queued(url: str) -> None:
    """What was accepted before close is committed and answered; what comes later is refused with what to do."""

    async def run() -> None:
        store = SqlIntentStore(url, clock=StillClock(), ids=CountedIds())
        await store.open()
        await start(store)
        calls = [asyncio.ensure_future(store.execute(create(f"i{n}"))) for n in range(30)]
        await asyncio.sleep(0)
        await store.close()
        await store.close()
        assert await asyncio.gather(*calls) == [(f"i{n}",) for n in range(30)]
        with pytest.raises(StoreUnavailable, match="open"):
            await store.execute(create("late"))
        with pytest.raises(StoreUnavailable, match="open"):
            await store.accounts()
        assert await store.open() is None
        assert len(await store.intents(ACCOUNT)) == 30
        await store.close()

    asyncio.run(run())


def test_a_mistake_in_the_lane_leaves_nobody_waiting() -> None:
    """When the code behind a lane fails in a way nobody foresaw, callers are told that the outcome is unknown."""

    def broken(items: Sequence[Any]) -> Any:
        raise RuntimeError("oops")

    async def run() -> None:
        lane = Thread(broken, lambda events: None, "broken")
        with pytest.raises(CommitUnknown, match="oops"):
            await lane.do("item")
        await lane.close()

    asyncio.run(run())
