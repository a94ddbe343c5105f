"""PostgreSQL: a server that dies, restarts, moves or is restored, and several processes on one database."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from sqlalchemy import make_url

from core.tests.state.build import ACCOUNT, HOUR, accept, bind, create, read, start, submit
from exchange_kernel.errors import CommitUnknown, ConfigError, Fenced, StoreUnavailable
from exchange_kernel.state import SqlIntentStore
from exchange_kernel.state.ops import AcquireLease, RenewLease
from exchange_kernel.state.sql import postgres as pg
from exchange_kernel.state.sql.verify import verify
from exchange_kernel.state.sql.working_set import load
from exchange_kernel.testing.servers import PostgresServer


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of this test's own, to kill."""
    with PostgresServer() as server:
        yield server


def sql(url: str, *statements: Any, database: str | None = None) -> None:
    """Run statements as another client."""
    target = url.replace("+psycopg", "")
    if database is not None:
        target = f"{target.rpartition('/')[0]}/{database}"
    with psycopg.connect(target, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


async def write_for_ever(store: SqlIntentStore, answered: list[str]) -> None:
    """Declare until it fails, and note what was answered."""
    for n in count():
        await store.execute(create(f"i{n}"))
        answered.append(f"i{n}")


async def read_for_ever(store: SqlIntentStore) -> None:
    """Read until it fails."""
    while True:
        await store.accounts()


async def until_connected(store: SqlIntentStore) -> None:
    """Ask until the backoff lets it try again."""
    while True:
        try:
            await store.execute(RenewLease("nobody", 0, 0))
        except StoreUnavailable:
            await asyncio.sleep(0.05)
        except Fenced:
            return


def test_a_killed_server_is_named_and_the_same_store_goes_on_after_its_restart(server: PostgresServer) -> None:
    """While the server is gone, writes and reads fail with what to do; when it is back, the same object works and has
    everything it answered."""
    url = server.new_database()

    async def run() -> None:
        store = SqlIntentStore(url)
        await store.open()
        epoch = await start(store)
        answered = ["before"]
        await store.execute(create("before"))
        server.stop(kill=True)
        # The process that serves this connection may live for a moment longer than its server.
        with pytest.raises((StoreUnavailable, CommitUnknown)):
            await write_for_ever(store, answered)
        with pytest.raises(StoreUnavailable):
            await read_for_ever(store)
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match=r"cannot be reached .*nothing was written"):
                await store.execute(create("while gone"))
            with pytest.raises(StoreUnavailable, match="cannot be reached"):
                await store.record(ACCOUNT, "before")
        server.start()
        await until_connected(store)
        await store.execute(create("after"))
        there = [i.intent_id for i, _ in await store.intents(ACCOUNT)]
        assert {*answered, "after"} <= set(there)
        assert "while gone" not in there
        await store.execute(submit(await read(store, "before"), epoch))
        assert (await verify(store, ACCOUNT)).differences == ()
        await store.close()

    asyncio.run(run())


def test_a_restart_between_two_calls_is_not_noticed(server: PostgresServer) -> None:
    """A connection that died while nobody used it is replaced before the next transaction."""
    url = server.new_database()

    async def run() -> None:
        store = SqlIntentStore(url)
        await store.open()
        await start(store)
        await store.execute(create("before"))
        assert len(await store.intents(ACCOUNT)) == 1
        server.restart(kill=True)
        await store.execute(create("after"))
        server.restart()
        assert len(await store.intents(ACCOUNT)) == 2
        await store.close()

    asyncio.run(run())


class Cutter:
    """Stands between a client and a server, and cuts the line when the client says COMMIT."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url.replace("+psycopg", ""))
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = url.replace(f":{parts.port}/", f":{self._listener.getsockname()[1]}/")
        self.cut: str | None = None
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            for pair in ((client, server, True), (server, client, False)):
                thread = threading.Thread(target=self._pump, args=pair, daemon=True)
                thread.start()
                self._threads.append(thread)

    def _pump(self, source: socket.socket, sink: socket.socket, from_client: bool) -> None:
        answering = False
        while True:
            try:
                data = source.recv(65536)
            except OSError:
                data = b""
            if from_client and self.cut is not None and re.search(rb"COMMIT(?!TED)", data):
                if self.cut == "after the server has it":
                    self.cut = "swallow"
                    sink.sendall(data)
                    continue
                data = b""
            if not from_client and self.cut == "swallow":
                answering = True
            if not data or answering:
                for end in (source, sink):
                    with contextlib.suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)
                    end.close()
                return
            try:
                sink.sendall(data)
            except OSError:
                continue

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)


@pytest.mark.parametrize("when", ["before the server has it", "after the server has it"])
def test_a_lost_reply_to_the_commit_is_unknown_and_read_back(postgres_url: str, when: str) -> None:
    """Cut off at COMMIT, every caller of the group is told that the outcome is unknown; reading back tells which it
    was, and repeating the declaration is harmless."""
    cutter = Cutter(postgres_url)

    async def run() -> None:
        store = SqlIntentStore(cutter.url)
        await store.open()
        await start(store)
        cutter.cut = when
        outcomes = await asyncio.gather(store.execute(create("a")), store.execute(create("b")), return_exceptions=True)
        cutter.cut = None
        assert isinstance(outcomes[0], CommitUnknown)
        assert "read it back" in str(outcomes[0])
        written = await store.record(ACCOUNT, "a") is not None
        assert written == (when == "after the server has it")
        assert await store.execute(create("a", "b")) in ((), ("a", "b"), ("b",))
        assert len(await store.intents(ACCOUNT)) == 2
        assert (await verify(store, ACCOUNT)).differences == ()
        await store.close()

    try:
        asyncio.run(run())
    finally:
        cutter.close()


@pytest.mark.parametrize(
    ("setting", "says"),
    [("synchronous_commit = off", "synchronous_commit 'off'"), ("synchronous_commit = local", "'local'")],
)
def test_a_database_whose_commits_are_not_durable_is_refused(postgres_url: str, setting: str, says: str) -> None:
    """The setting, its value and what to do are named; set right, the same object opens."""
    name = postgres_url.rpartition("/")[2]
    sql(postgres_url, f"ALTER DATABASE {name} SET {setting}")

    async def run() -> None:
        store = SqlIntentStore(postgres_url)
        with pytest.raises(ConfigError, match=rf"{says}.*ALTER DATABASE"):
            await store.open()
        sql(postgres_url, f"ALTER DATABASE {name} RESET synchronous_commit")
        assert await store.open() is None
        await store.close()

    asyncio.run(run())


def test_a_server_without_fsync_is_refused() -> None:
    """A server that would lose commits in a power cut is no place for truth."""
    with PostgresServer(fsync=False) as server, pytest.raises(ConfigError, match=r"fsync 'off'.*set fsync = on"):
        asyncio.run(SqlIntentStore(server.new_database()).open())


@pytest.mark.parametrize("wrong", [{"database": "nowhere"}, {"username": "somebody"}, {"port": 1}], ids=str)
def test_a_wrong_address_is_named_without_its_password(postgres_url: str, wrong: dict[str, Any]) -> None:
    """Wrong database, user or port: the error says what to check, and shows no password."""
    url = make_url(postgres_url)
    with pytest.raises(StoreUnavailable, match=r"check user, password and database|cannot be reached") as caught:
        asyncio.run(SqlIntentStore(url.set(**wrong).render_as_string(hide_password=False)).open())
    assert url.password
    assert str(url.password) not in str(caught.value)


def test_a_row_that_somebody_holds_is_named(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another session's lock on the account: the call fails with where to look, and succeeds when the lock is gone."""
    monkeypatch.setattr(pg, "LOCK_MS", 100)

    async def run() -> None:
        store = SqlIntentStore(postgres_url)
        await store.open()
        await start(store)
        with psycopg.connect(postgres_url.replace("+psycopg", "")) as other:
            other.execute("SELECT * FROM account FOR UPDATE")
            with pytest.raises(StoreUnavailable, match=r"row lock.*pg_stat_activity"):
                await store.execute(create("a"))
            other.rollback()
        await store.execute(create("a"))
        await store.close()

    asyncio.run(run())


def test_a_process_stopped_inside_a_transaction_cannot_keep_its_account(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An owner paused while it holds the lease's row is cut off by the server; the account is taken over, and the
    owner, awake again, is fenced."""
    monkeypatch.setattr(pg, "IDLE_MS", 200)

    async def run() -> None:
        zombie, heir = SqlIntentStore(postgres_url), SqlIntentStore(postgres_url)
        await zombie.open()
        await heir.open()
        epoch = await start(zombie)
        await zombie.execute(create("a"))
        change = submit(await read(zombie, "a"), epoch)
        # The pause: everything is locked and read, nothing is written yet.
        load(zombie._backend, zombie._sql, zombie._write_session.begin(), change.needs())

        lease = await heir.execute(AcquireLease(ACCOUNT, "heir", HOUR, steal=True))
        assert lease.epoch > epoch
        with pytest.raises(Fenced, match="another process took over"):
            await zombie.execute(change)
        await heir.execute(submit(await read(heir, "a"), lease.epoch))
        with pytest.raises(Fenced):
            await zombie.execute(RenewLease(ACCOUNT, epoch, HOUR))
        await zombie.close()
        await heir.close()

    asyncio.run(run())


def test_two_processes_never_both_own_an_account(postgres_url: str) -> None:
    """Two that bind and take the same new account at the same moment: one gets it, the other is told to wait."""

    async def run() -> None:
        one, two = SqlIntentStore(postgres_url), SqlIntentStore(postgres_url)
        assert list(await asyncio.gather(one.open(), two.open())) == [None, None]
        for n in range(20):
            name = f"account {n}"
            await asyncio.gather(one.execute(bind(name)), two.execute(bind(name)))
            leases = await asyncio.gather(
                one.execute(AcquireLease(name, "one", HOUR)), two.execute(AcquireLease(name, "two", HOUR))
            )
            assert sum(lease is not None for lease in leases) == 1
        await one.close()
        await two.close()

    asyncio.run(run())


def test_two_processes_write_to_the_same_accounts_without_loss(postgres_url: str) -> None:
    """Declarations from two processes to two accounts, in groups that cross: all are there, the logs have no gap."""

    async def run() -> None:
        stores = [SqlIntentStore(postgres_url), SqlIntentStore(postgres_url)]
        for store in stores:
            await store.open()
        for account in ("a", "b"):
            await stores[0].execute(bind(account))
        calls = [
            stores[n % 2].execute(create(f"i{n}-{m}", account="ab"[(n + m) % 2])) for n in range(40) for m in range(5)
        ]
        assert len(await asyncio.gather(*calls)) == 200
        for account in ("a", "b"):
            found = await verify(stores[0], account)
            assert (found.intents, found.events, found.differences) == (100, 100, ())
        assert sum(store.transactions for store in stores) < 100
        for store in stores:
            await store.close()

    asyncio.run(run())


async def trade(store: SqlIntentStore, *names: str) -> None:
    epoch = await start(store)
    for name in names:
        await store.execute(create(name))
        await store.execute(submit(await read(store, name), epoch))
        await store.execute(accept(await read(store, name), epoch))


async def suspected(url: str, witness: Path | None = None) -> str:
    """Why opening suspects a loss; asked twice, because it is remembered; then acknowledged."""
    causes = []
    for _ in range(2):
        store = SqlIntentStore(url, witness=witness)
        suspicion = await store.open()
        assert suspicion is not None
        causes.append(suspicion.cause)
        await store.close()
    assert causes[0] == causes[1]
    store = SqlIntentStore(url, witness=witness)
    await store.open()
    assert (await store.acknowledge_suspicion()).incarnation == 2
    await store.close()
    store = SqlIntentStore(url, witness=witness)
    assert await store.open() is None
    await store.close()
    return causes[0]


def test_a_database_made_from_a_copy_is_suspicious(postgres: Any) -> None:
    """A dump restored into a new database, or a copy of it, is another database, and that is noticed."""
    url = postgres.new_database()
    name = url.rpartition("/")[2]

    async def run() -> None:
        store = SqlIntentStore(url)
        assert await store.open() is None
        await trade(store, "a")
        await store.close()
        sql(url, f"CREATE DATABASE {name}_copy TEMPLATE {name}", database="postgres")
        cause = await suspected(f"{url}_copy")
        assert "the database" in cause

    asyncio.run(run())
    postgres.drop_database(f"{url}_copy")
    postgres.drop_database(url)


def test_a_database_exchanged_under_a_running_process_takes_no_more_writes(postgres: Any) -> None:
    """A fail-over to a copy that lacks commits: the running process refuses to go on and says why; opened again, it
    suspects a loss."""
    url = postgres.new_database()
    name = url.rpartition("/")[2]

    async def run() -> None:
        store = SqlIntentStore(url)
        await store.open()
        await trade(store, "a")
        await store.close()
        sql(url, f"CREATE DATABASE {name}_copy TEMPLATE {name}", database="postgres")
        await store.open()
        await trade(store, "b")
        sql(
            url,
            f"DROP DATABASE {name} WITH (FORCE)",
            f"ALTER DATABASE {name}_copy RENAME TO {name}",
            database="postgres",
        )
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match=r"may have lost commits.*restart"):
                await store.execute(create("c"))
        suspicion = await store.open()
        assert suspicion is not None
        assert await store.record(ACCOUNT, "b") is None
        await store.close()

    asyncio.run(run())
    postgres.drop_database(url)


def test_a_data_directory_put_back_is_noticed_by_the_witness(server: PostgresServer, tmp_path: Path) -> None:
    """A file-system snapshot of the same server shows nothing by itself; the witness of the process remembers more."""
    url, witness = server.new_database(), tmp_path / "witness"

    async def visit(name: str) -> None:
        store = SqlIntentStore(url, witness=witness)
        assert await store.open() is None
        await trade(store, name)
        await store.close()

    def stopped(*commands: list[str]) -> None:
        server.stop()
        for command in commands:
            subprocess.run(command, check=True)
        server.start()

    data = str(server._data)
    asyncio.run(visit("a"))
    stopped(["cp", "-a", data, f"{data}.old"])
    asyncio.run(visit("b"))
    stopped(["rm", "-rf", data], ["mv", f"{data}.old", data])

    cause = asyncio.run(suspected(url, witness))
    assert f"remembers 6 events of {ACCOUNT} and there are only 3" in cause
