"""A store that may have lost commits says so, until somebody has acted on it (R32)."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from core.tests.state.build import ACCOUNT, CountedIds, StillClock, create, start
from exchange_kernel.state import MemoryIntentStore, SqlIntentStore
from exchange_kernel.state.sql import memory_database
from exchange_kernel.state.stores import Suspicion


def make(path: Path) -> SqlIntentStore:
    return SqlIntentStore(f"sqlite:///{path}", clock=StillClock(), ids=CountedIds())


async def trade(path: Path, *names: str) -> None:
    """Open, take the account, declare, close."""
    store = make(path)
    assert await store.open() is None
    await start(store)
    for name in names:
        await store.execute(create(name))
    await store.close()


async def suspicion(path: Path) -> Suspicion | None:
    """What opening says; the store is closed again."""
    store = make(path)
    found = await store.open()
    await store.close()
    return found


def test_an_ordinary_restart_is_not_suspicious(tmp_path: Path) -> None:
    """Closed and opened again, nothing is lost and nothing is suspected."""
    path = tmp_path / "store.db"

    async def run() -> None:
        await trade(path, "a")
        assert await suspicion(path) is None
        await trade(path, "b")
        assert await suspicion(path) is None

    asyncio.run(run())


@pytest.mark.parametrize("how", ["over it", "beside it", "without its witness", "with its old witness"])
def test_a_restored_backup_is_suspicious_until_acknowledged(tmp_path: Path, how: str) -> None:
    """Back up, trade, restore: however the file came back, opening says why commits may be lost, at every start until
    it is acknowledged; then the incarnation has risen and all is well."""
    path, witness = tmp_path / "store.db", tmp_path / "store.db.witness"
    backup = tmp_path / "backup"
    backup.mkdir()

    async def run() -> None:
        await trade(path, "a")
        shutil.copy(path, backup)
        shutil.copy(witness, backup)
        await trade(path, "b", "c")
        if how == "over it":
            shutil.copy(backup / "store.db", path)
        elif how == "beside it":
            path.unlink()
            shutil.copy(backup / "store.db", path)
        elif how == "without its witness":
            shutil.copy(backup / "store.db", path)
            witness.unlink()
        else:
            # The whole folder comes back, as from a backup of it: new files with the old contents.
            for name in ("store.db", "store.db.witness"):
                shutil.copy(backup / name, tmp_path / "new")
                (tmp_path / "new").replace(tmp_path / name)

        first = await suspicion(path)
        assert first is not None
        assert "witness" in first.cause
        assert await suspicion(path) == first

        store = make(path)
        assert await store.open() == first
        await start(store)
        await store.execute(create("d"))
        assert (await store.store_row()).suspicion == first.cause
        assert (await store.acknowledge_suspicion()).incarnation == 2
        assert (await store.acknowledge_suspicion()).incarnation == 2
        await store.execute(create("e"))
        await store.close()

        assert await suspicion(path) is None
        await trade(path, "f")

    asyncio.run(run())


def test_a_copy_elsewhere_is_suspicious(tmp_path: Path) -> None:
    """A database that is opened at another place has no witness there."""
    path = tmp_path / "store.db"
    elsewhere = tmp_path / "elsewhere.db"

    async def run() -> None:
        await trade(path, "a")
        shutil.copy(path, elsewhere)
        found = await suspicion(elsewhere)
        assert found is not None
        assert "elsewhere.db.witness is missing" in found.cause

    asyncio.run(run())


def test_another_database_under_the_same_name_is_suspicious(tmp_path: Path) -> None:
    """The witness knows whose it is: swapping two stores does not go unnoticed."""
    one, two = tmp_path / "one.db", tmp_path / "two.db"

    async def run() -> None:
        await trade(one, "a")
        store = SqlIntentStore(f"sqlite:///{two}", clock=StillClock())
        await store.open()
        await start(store)
        await store.close()
        shutil.copy(two, one)
        found = await suspicion(one)
        assert found is not None
        assert "knows another store" in found.cause

    asyncio.run(run())


def test_a_new_database_in_place_of_a_lost_one_is_suspicious(tmp_path: Path) -> None:
    """The file is gone and a new, empty one is made: what stood in the old one is lost, and that is said."""
    path = tmp_path / "store.db"

    async def run() -> None:
        await trade(path, "a")
        path.unlink()
        store = SqlIntentStore(f"sqlite:///{path}", clock=StillClock())
        found = await store.open()
        await store.close()
        assert found is not None
        assert "the database was replaced" in found.cause

    asyncio.run(run())


def test_a_damaged_witness_counts_as_missing(tmp_path: Path) -> None:
    """Garbage in the witness proves nothing, so it is suspicious; a new, empty store has nothing to lose."""
    path = tmp_path / "store.db"

    async def run() -> None:
        await trade(path, "a")
        (tmp_path / "store.db.witness").write_bytes(b"\0" * 512)
        assert await suspicion(path) is not None
        (tmp_path / "fresh.db.witness").write_bytes(b"{}")
        assert await suspicion(tmp_path / "fresh.db") is None

    asyncio.run(run())


def test_two_processes_on_one_database_suspect_nothing(tmp_path: Path) -> None:
    """Processes that share a database write the same witness; neither takes the other for a restored backup."""
    path = tmp_path / "store.db"

    async def run() -> None:
        one, two = make(path), make(path)
        assert await one.open() is None
        await start(one)
        assert await two.open() is None
        for n in range(10):
            await one.execute(create(f"one-{n}"))
            await two.execute(create(f"two-{n}"))
        await one.close()
        await two.execute(create("last"))
        await two.close()
        assert await suspicion(path) is None

    asyncio.run(run())


def test_stores_in_memory_suspect_nothing() -> None:
    """What lives as long as the process cannot be restored from a backup."""

    async def run() -> None:
        clock = StillClock()
        engine = memory_database()
        for store in (MemoryIntentStore(clock, CountedIds()), SqlIntentStore.inline(engine, clock, CountedIds())):
            assert await store.open() is None
            await start(store)
            await store.execute(create("a"))
            assert (await store.acknowledge_suspicion()).incarnation == 1
            await store.close()
        again = SqlIntentStore.inline(engine, clock, CountedIds())
        assert await again.open() is None
        assert [i.intent_id for i, _ in await again.intents(ACCOUNT)] == ["a"]
        await again.close()

    asyncio.run(run())
