"""The database of a schedule: the real schema in an in-memory SQLite, cloned from one template so that a seed costs
little."""

from __future__ import annotations

import asyncio
from functools import cache
from random import Random
from typing import Any

from exchange_kernel.clock import Clock, Ids
from exchange_kernel.state.sql.engine import memory_database
from exchange_kernel.state.sql.sqlite import SqliteDatabase
from exchange_kernel.state.sql.store import SqlIntentStore
from exchange_kernel.state.stores import Verification
from exchange_kernel.testing.virtual import SeededIds


class _NoTime:
    """A clock for making the template."""

    def now_ms(self) -> int:
        return 0

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise RuntimeError(f"the template waits for nothing, not even {seconds} s")


def _raw(database: SqliteDatabase) -> Any:
    return database.connect()


@cache
def _template() -> bytes:
    database = memory_database()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(SqlIntentStore.inline(database, _NoTime(), SeededIds(Random(0))).open())
    loop.close()
    data: bytes = _raw(database).serialize()
    return data


def fresh(store_id: str) -> SqliteDatabase:
    """An empty database with the schema in it, and a store id of its own."""
    database = memory_database()
    raw = _raw(database)
    raw.deserialize(_template())
    raw.execute("UPDATE store SET store_id = ?", (store_id,))
    raw.commit()
    return database


def backup(database: SqliteDatabase) -> bytes:
    """A copy of everything committed so far."""
    data: bytes = _raw(database).serialize()
    return data


def restore(data: bytes, suspicion: str | None) -> SqliteDatabase:
    """A database as it was, with what the witness would have said about it."""
    database = memory_database()
    raw = _raw(database)
    raw.deserialize(data)
    raw.execute("UPDATE store SET suspicion = ?", (suspicion,))
    raw.commit()
    return database


def store(database: SqliteDatabase, clock: Clock, ids: Ids) -> SqlIntentStore:
    """One process' store object on the database."""
    return SqlIntentStore.inline(database, clock, ids)


async def verify(store: SqlIntentStore, account: str) -> Verification:
    """The product's own check: fold = row, chain intact."""
    from exchange_kernel.state.sql.verify import verify as verify_store

    return await verify_store(store, account)


def close(database: SqliteDatabase) -> None:
    """Free it."""
    database.dispose()
