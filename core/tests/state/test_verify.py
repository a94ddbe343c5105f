"""`verify` finds every difference between the log and the rows, and nothing where there is none."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest

from core.tests.state.build import (
    ACCOUNT,
    CountedIds,
    StillClock,
    accept,
    book,
    create,
    finish,
    read,
    start,
    submit,
    void,
)
from exchange_kernel.schema import Side, StandardOrder
from exchange_kernel.state import IntentStateStore, MemoryIntentStore, SqlIntentStore
from exchange_kernel.state.ops import CancelIntents, ModifyIntent
from exchange_kernel.state.sql.verify import verify

GHOST = (
    "INSERT INTO intent SELECT 99, account, 'ghost', symbol, spec, spec_hash, first_hash, desired, generation, labels, "
    "group_id, submit_deadline, max_attempts, created_at, version, status, reason, observed_generation, filled_base, "
    "filled_quote, conditions, reserved, next_due, amend_refused, failures FROM intent WHERE intent_id = 'open'"
)


def make(path: Path) -> SqlIntentStore:
    return SqlIntentStore(f"sqlite:///{path}", clock=StillClock(), ids=CountedIds())


async def live_a_little(store: IntentStateStore) -> None:
    """Orders of several fates."""
    epoch = await start(store)
    await store.execute(create("filled", "open", "voided"))
    for name in ("filled", "open", "voided"):
        await store.execute(submit(await read(store, name), epoch))
        await store.execute(accept(await read(store, name), epoch))
        await store.execute(book(await read(store, name), epoch, f"{name}/1"))
        await store.execute(book(await read(store, name), epoch, f"{name}/2", "0.4", price="50000.01"))
    await store.execute(finish(await read(store, "filled"), epoch))
    await store.execute(void(await read(store, "voided"), epoch, "voided/2"))
    order = StandardOrder("BTC/USD", Side.BUY, "0.9", limit_price=1)
    await store.execute(ModifyIntent(ACCOUNT, "open", order, order.spec_hash(), "me"))
    await store.execute(CancelIntents(ACCOUNT, ("open",), "me"))


def test_an_honest_store_verifies(tmp_path: Path) -> None:
    """In memory and in SQL the log gives the rows, and the counts are told."""

    async def run() -> None:
        for store in (MemoryIntentStore(StillClock(), CountedIds()), make(tmp_path / "store.db")):
            await store.open()
            await live_a_little(store)
            found = await verify(store, ACCOUNT)
            assert found.differences == ()
            assert found.intents == 3
            assert found.events > 15
            await store.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE intent SET status = 'WORKING' WHERE intent_id = 'filled'", "intent filled: status is WORKING"),
        ("UPDATE intent SET desired = 'ACTIVE' WHERE intent_id = 'open'", "the log gives CANCELED"),
        ("UPDATE intent SET generation = 7 WHERE intent_id = 'open'", "generation is 7, the log gives 2"),
        ("UPDATE intent SET reason = 'x' WHERE intent_id = 'filled'", "reason is x, the log gives over"),
        ("UPDATE intent SET filled_base = '0.6' WHERE intent_id = 'filled'", "filled_base is 0.6, the log gives 0.5"),
        ("UPDATE attempt SET state = 'DEAD' WHERE intent_id = 'open'", "state is DEAD, the log gives LIVE"),
        ("UPDATE attempt SET cum_base = '9' WHERE intent_id = 'open'", "cum_base is 9, the log gives 0.5"),
        ("UPDATE fill SET base = '0.2' WHERE fill_id = 'open/1'", "booked is 0.5 base"),
        ("UPDATE fill SET voided = 1 WHERE fill_id = 'open/1'", "its fills sum to 0.4 base"),
        ("DELETE FROM fill WHERE fill_id = 'open/1'", "position BTC/USD: it is 1.1, the booked fills sum to 1.0"),
        ("UPDATE position SET amount = '7'", "position BTC/USD: it is 7, the booked fills sum to 1.1"),
        ("DELETE FROM position", "position BTC/USD: it is 0"),
        ("UPDATE account SET open_notional = '1'", "open_notional is 1, its intents reserve"),
        ("UPDATE intent SET reserved = '1' WHERE intent_id = 'open'", "its intents reserve"),
        (GHOST, "intent ghost: it has a row, and the log does not tell about it"),
        ("DELETE FROM intent WHERE intent_id = 'open'", "intent open: the log tells about it, and it has no row"),
        ("DELETE FROM attempt WHERE intent_id = 'open'", "intent open attempt 1: the log tells about it"),
        ("UPDATE event SET reason = 'edited' WHERE seq = 5", "event 5 does not match its hash"),
        ("UPDATE event SET actor = 'tes', reason = 'ter' WHERE seq = 1", "event 1 does not match its hash"),
        ("UPDATE event SET body = '{}' WHERE seq = 5", "event 5 does not match its hash"),
        ("UPDATE event SET patch = '' WHERE seq = 5", "event 5 does not match its hash"),
        ("DELETE FROM event WHERE seq = 5", "event 5 is missing"),
        ("DELETE FROM event WHERE seq > 15", "the log ends at event 15"),
        ("UPDATE account SET event_hash = 'x'", "the end of the log was changed"),
    ],
)  # fmt: skip
def test_every_tampering_is_found(tmp_path: Path, statement: str, says: str) -> None:
    """Somebody with the rights to edit the file, triggers removed, is found out, in words."""
    path = tmp_path / "store.db"

    async def run() -> None:
        store = make(path)
        await store.open()
        await live_a_little(store)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("DROP TRIGGER event_no_update")
            connection.execute("DROP TRIGGER event_no_delete")
            assert connection.execute(statement).rowcount >= 1
        found = await verify(store, ACCOUNT)
        assert any(says in difference for difference in found.differences), found.differences
        await store.close()

    asyncio.run(run())


def test_an_unknown_account_is_a_difference(tmp_path: Path) -> None:
    """Asking for an account that is not there is answered in words, not with an empty success."""

    async def run() -> None:
        store = make(tmp_path / "store.db")
        await store.open()
        assert (await verify(store, "nobody")).differences == ("nobody: this store does not know the account",)
        await store.close()

    asyncio.run(run())


def test_a_store_at_work_can_be_verified(tmp_path: Path) -> None:
    """Orders that are declared while it reads are no differences, or it says that it never met the store at rest."""

    async def run() -> None:
        store = make(tmp_path / "store.db")
        await store.open()
        await start(store)

        async def work() -> None:
            for n in range(30):
                await store.execute(create(f"i{n}"))

        working = asyncio.ensure_future(work())
        while not working.done():
            differences = (await verify(store, ACCOUNT)).differences
            assert not differences or "while it was checked" in differences[-1]
        await working
        assert (await verify(store, ACCOUNT)).differences == ()
        await store.close()

    asyncio.run(run())
