"""PostgreSQL behind a transaction pooler: every transaction may meet another connection to it, or another server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import psycopg
import pytest

from core.tests.state.build import ACCOUNT, HOUR, accept, bind, book, create, finish, read, start, submit
from exchange_kernel.errors import Fenced, StoreUnavailable
from exchange_kernel.state import SqlIntentStore
from exchange_kernel.state.ops import AcquireLease
from exchange_kernel.state.sql import postgres as pg
from exchange_kernel.state.sql.verify import verify
from exchange_kernel.state.sql.working_set import load
from exchange_kernel.testing.pooler import Pooler
from exchange_kernel.testing.servers import PostgresServer
from exchange_kernel.testing.standby import StandbyServer


@pytest.fixture
def pooler(postgres: PostgresServer) -> Iterator[Pooler]:
    """PgBouncer in front of the shared server, two connections per database."""
    with Pooler(postgres, size=3) as pooler:
        yield pooler


def test_whole_lives_of_orders_go_through_a_pooler(pooler: Pooler, postgres_url: str) -> None:
    """Five stores share three connections: nothing that was set on one is missed on the next, and all is there."""
    url = pooler.url_of(postgres_url)

    async def life(n: int) -> None:
        account = f"a{n}"
        store = SqlIntentStore(url)
        assert await store.open() is None
        epoch = await start(store, account)
        for k in range(12):
            name = f"i{k}"
            await store.execute(create(name, account=account))
            await store.execute(submit(await read(store, name, account), epoch))
            await store.execute(accept(await read(store, name, account), epoch, f"{n}-{k}"))
            await store.execute(book(await read(store, name, account), epoch, f"f{n}-{k}", "0.5"))
            await store.execute(finish(await read(store, name, account), epoch))
        assert (await verify(store, account)).differences == ()
        await store.close()

    async def run() -> None:
        await asyncio.gather(*(life(n) for n in range(5)))

    asyncio.run(run())


def test_a_pooled_writer_sets_every_transaction_up_and_leaves_nothing_behind(pooler: Pooler, postgres_url: str) -> None:
    """Time limits and durability hold in each transaction, whatever another client left on the server's connection;
    what this one sets is gone with it."""
    url = pooler.url_of(postgres_url)

    async def run() -> None:
        store = SqlIntentStore(url)
        await store.open()
        await start(store)
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True, prepare_threshold=None) as other:
            for _ in range(6):
                other.execute("SET synchronous_commit = off")
            cursor = store._write_session.begin()
            names = ("synchronous_commit", "lock_timeout", "idle_in_transaction_session_timeout")
            cursor.execute("SELECT " + ", ".join(f"current_setting('{name}')" for name in names))
            assert cursor.fetchone() == ("on", f"{pg.LOCK_MS // 1000}s", f"{pg.IDLE_MS // 1000}s")
            store._write_session.rollback()
            found = other.execute("SELECT current_setting('lock_timeout'), current_setting('enable_seqscan')")
            assert found.fetchone() == ("0", "on")
        await store.close()

    asyncio.run(run())


def test_a_process_stopped_behind_a_pooler_cannot_keep_its_account(
    pooler: Pooler, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paused with the lease's row locked, it is cut off; the heir takes over and the old owner is fenced."""
    monkeypatch.setattr(pg, "IDLE_MS", 200)
    url = pooler.url_of(postgres_url)

    async def run() -> None:
        zombie, heir = SqlIntentStore(url), SqlIntentStore(url)
        await zombie.open()
        await heir.open()
        epoch = await start(zombie)
        await zombie.execute(create("a"))
        change = submit(await read(zombie, "a"), epoch)
        load(zombie._backend, zombie._sql, zombie._write_session.begin(), change.needs())
        lease = await heir.execute(AcquireLease(ACCOUNT, "heir", HOUR, steal=True))
        with pytest.raises(Fenced):
            await zombie.execute(change)
        await heir.execute(submit(await read(heir, "a"), lease.epoch))
        await zombie.close()
        await heir.close()

    asyncio.run(run())


def test_a_pooler_that_moves_to_a_promoted_standby_is_noticed_on_the_same_connection() -> None:
    """The client's connection never breaks: the next transaction sees the other timeline, and takes no write."""
    with PostgresServer() as primary:
        url = primary.new_database()

        async def run() -> None:
            with Pooler(primary) as pooler:
                store = SqlIntentStore(pooler.url_of(url))
                await store.open()
                await start(store)
                await store.execute(create("kept"))
                with StandbyServer(primary) as standby:
                    standby.follow()
                    standby.lag()
                    await store.execute(bind("new"))
                    await store.execute(create("lost"))
                    primary.stop(kill=True)
                    standby.promote()
                    pooler.point_at(standby)
                    await refused(store)
                    suspicion = await store.open()
                    assert suspicion is not None
                    assert [i.intent_id for i, _ in await store.intents(ACCOUNT)] == ["kept"]
                    await store.close()

        asyncio.run(run())


async def refused(store: SqlIntentStore) -> None:
    """Write until it is refused for good; until then the pooler may still be moving."""
    async with asyncio.timeout(30):
        while True:
            try:
                await store.execute(create("after"))
            except StoreUnavailable as error:
                if re.search("may have lost commits.*restart", str(error)):
                    return
                await asyncio.sleep(0.05)
            else:
                raise AssertionError("a write was taken by a server that lost commits")
