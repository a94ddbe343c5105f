"""PostgreSQL: fail-over, encryption, passwords, versions, full disks, upgrades under load. Each says what to do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from core.tests.state.build import ACCOUNT, create, read, start, submit
from core.tests.state.test_postgres import until_connected
from exchange_kernel.errors import CommitUnknown, ConfigError, SchemaMismatch, StoreUnavailable
from exchange_kernel.state import SqlIntentStore
from exchange_kernel.state.sql import postgres as pg
from exchange_kernel.state.sql import schema
from exchange_kernel.state.sql.statements import SCHEMA_LOCK
from exchange_kernel.state.sql.verify import verify
from exchange_kernel.testing.pooler import Pooler
from exchange_kernel.testing.servers import PostgresServer
from exchange_kernel.testing.standby import StandbyServer


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of this test's own, to change and to kill."""
    with PostgresServer() as server:
        yield server


def either(primary: str, standby: str) -> str:
    """One address for both: whichever takes writes."""
    one, two = make_url(primary), make_url(standby)
    hosts = [f"{url.host}:{url.port}" for url in (one, two)]
    both = one.set(host=None, port=None).update_query_dict({"host": hosts, "target_session_attrs": "read-write"})
    return both.render_as_string(hide_password=False)


async def names(store: SqlIntentStore) -> list[str]:
    return [intent.intent_id for intent, _ in await store.intents(ACCOUNT)]


def test_a_fail_over_that_lost_commits_stops_the_running_process_and_is_suspected_at_the_next_start(
    server: PostgresServer,
) -> None:
    """The primary is killed with commits that its standby does not have: who goes on running takes no write there, and
    who starts suspects a loss, until it is acknowledged."""
    url = server.new_database()

    async def run(standby: StandbyServer) -> None:
        store = SqlIntentStore(either(url, standby.url_of(url)))
        assert await store.open() is None
        await start(store)
        await store.execute(create("kept"))
        standby.follow()
        standby.lag()
        await store.execute(create("lost"))
        server.stop(kill=True)
        standby.promote()
        said = ""
        while "may have lost commits" not in said:
            with pytest.raises((StoreUnavailable, CommitUnknown)) as caught:
                await store.execute(create("after"))
            said = str(caught.value)
            await asyncio.sleep(0.02)
        assert "restart" in said
        suspicion = await store.open()
        assert suspicion is not None
        assert await names(store) == ["kept"]
        assert (await store.acknowledge_suspicion()).incarnation == 2
        await store.execute(create("lost"))
        assert (await verify(store, ACCOUNT)).differences == ()
        await store.close()

    with StandbyServer(server) as standby:
        asyncio.run(run(standby))


def test_a_standby_is_refused_and_used_once_it_is_promoted(server: PostgresServer) -> None:
    """A read-only replica takes no writes, and that is said; promoted, the same object opens, and suspects the
    fail-over even when nothing is missing (R32)."""
    url = server.new_database()

    async def run(standby: StandbyServer) -> None:
        first = SqlIntentStore(url)
        await first.open()
        await start(first)
        await first.execute(create("a"))
        await first.close()
        standby.follow()
        store = SqlIntentStore(standby.url_of(url))
        with pytest.raises(StoreUnavailable, match="is a standby and takes no writes: connect to the primary"):
            await store.open()
        server.stop(kill=True)
        standby.promote()
        suspicion = await store.open()
        assert suspicion is not None
        assert "timeline" in suspicion.cause
        assert await names(store) == ["a"]
        await store.close()

    with StandbyServer(server) as standby:
        asyncio.run(run(standby))


def test_a_wrong_password_is_named_and_never_shown(postgres_url: str) -> None:
    """Which user, what to check, and neither the wrong password nor the right one."""
    url = make_url(postgres_url).set(password="not-it")
    with pytest.raises(StoreUnavailable, match="check user, password and database") as caught:
        asyncio.run(SqlIntentStore(url.render_as_string(hide_password=False)).open())
    assert "not-it" not in str(caught.value)


def test_a_server_older_than_supported_is_refused(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its version, the oldest that is supported, and what to do."""
    monkeypatch.setattr(pg, "OLDEST", 99)
    with pytest.raises(ConfigError, match=r"is PostgreSQL \d+, older than 99.*upgrade the server"):
        asyncio.run(SqlIntentStore(postgres_url).open())


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def authority(folder: Path, name: str) -> Path:
    """A certificate authority of this name."""
    new = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}")
    openssl(folder, *new, "-keyout", f"{name}.key", "-out", f"{name}.crt")
    return folder / f"{name}.crt"


def test_encryption_is_used_with_the_right_ca_and_refused_without(
    postgres: PostgresServer, postgres_url: str, tmp_path: Path
) -> None:
    """Unencrypted, and with the wrong CA, the error says what to write; with the right one all goes as ever. The end
    that encrypts is PgBouncer: the PostgreSQL that tests run is built without."""
    ours, other = authority(tmp_path, "ours"), authority(tmp_path, "other")
    (tmp_path / "names").write_text("subjectAltName = IP:127.0.0.1\n")
    request = ("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=server")
    openssl(tmp_path, *request, "-keyout", "server.key", "-out", "server.csr")
    signed = ("-CA", "ours.crt", "-CAkey", "ours.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
    openssl(tmp_path, "x509", "-req", "-in", "server.csr", *signed, "-out", "server.crt")

    async def run(pooler: Pooler) -> None:
        url = make_url(pooler.url_of(postgres_url))

        def at(**query: str) -> SqlIntentStore:
            return SqlIntentStore(url.update_query_dict(query).render_as_string(hide_password=False))

        for wrong in ({"sslmode": "disable"}, {"sslmode": "verify-full", "sslrootcert": str(other)}):
            with pytest.raises(StoreUnavailable, match=r"sslmode=verify-full&sslrootcert") as caught:
                await at(**wrong).open()
            assert str(url.password) not in str(caught.value)
        store = at(sslmode="verify-full", sslrootcert=str(ours))
        assert await store.open() is None
        await start(store)
        await store.execute(create("a"))
        assert await names(store) == ["a"]
        await store.close()

    with Pooler(postgres, certificate=(tmp_path / "server.crt", tmp_path / "server.key")) as pooler:
        asyncio.run(run(pooler))


@pytest.fixture
def small_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file system of 300 MB that temporary directories are made in."""
    folder = Path(tempfile.mkdtemp(prefix="exk-small-disk-"))
    folder.chmod(0o755)
    command = ["mount", "-t", "tmpfs", "-o", "size=300m,mode=1777", "exk-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        folder.rmdir()
        pytest.skip("no file system can be mounted here")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


def test_a_full_disk_under_the_server_loses_nothing_that_was_answered(small_disk: Path) -> None:
    """Writes fail with what to do; with space again, and the server restarted if that killed it, all is there."""
    ballast = small_disk / "ballast"

    async def run(server: PostgresServer) -> None:
        store = SqlIntentStore(server.new_database())
        await store.open()
        epoch = await start(store)
        answered: list[str] = []
        await store.execute(create("first"))
        with ballast.open("wb") as file, contextlib.suppress(OSError):
            for _ in count():
                file.write(b"x" * 65536)
                file.flush()
        with contextlib.suppress(StoreUnavailable, CommitUnknown):
            for n in count():
                await store.execute(create(*(f"{n}-{k}" for k in range(50))))
                answered += [f"{n}-{k}" for k in range(50)]
        ballast.unlink()
        await asyncio.to_thread(server.restart)
        await until_connected(store)
        there = await names(store)
        assert {"first", *answered} <= set(there)
        # A group whose outcome is unknown is there as a whole, or not at all.
        assert len(there) % 50 == 1
        await store.execute(submit(await read(store, "first"), epoch))
        assert (await verify(store, ACCOUNT)).differences == ()
        await store.close()

    with PostgresServer() as server:
        asyncio.run(run(server))


def test_an_upgrade_under_load_loses_no_commit_and_stops_the_older_release(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the schema changes, processes of the old release write. Each write is whole or refused, nothing answered is
    lost; afterwards a start of the old release is refused, and a process of it that still runs writes no more."""
    ours = schema.REVISIONS

    async def run() -> None:
        stores = [SqlIntentStore(postgres_url), SqlIntentStore(postgres_url)]
        for store in stores:
            await store.open()
        await start(stores[0])
        answered: list[str] = []
        upgraded = threading.Event()

        async def write(which: int) -> None:
            with contextlib.suppress(SchemaMismatch):
                for n in count():
                    await stores[which].execute(create(f"{which}-{n}"))
                    answered.append(f"{which}-{n}")

        def upgrade() -> None:
            # What `exk db upgrade` does, with a revision of tomorrow: under its lock, and in one transaction.
            with psycopg.connect(postgres_url.replace("+psycopg", "")) as connection:
                connection.execute(f"SELECT pg_advisory_xact_lock({SCHEMA_LOCK})".encode())
                connection.execute("ALTER TABLE intent ADD COLUMN tomorrow text")
                connection.execute("UPDATE alembic_version SET version_num = '9999'")
            upgraded.set()

        writing = [asyncio.create_task(write(which)) for which in (0, 1)]
        while len(answered) < 50:
            await asyncio.sleep(0.001)
        await asyncio.to_thread(upgrade)
        async with asyncio.timeout(30):
            await asyncio.gather(*writing)
        for store in stores:
            with pytest.raises(SchemaMismatch, match=r"schema 9999.*does not know"):
                await store.execute(create("too late"))
            await store.close()
            with pytest.raises(SchemaMismatch, match=r"9999.*newer release"):
                await store.open()
        monkeypatch.setattr(schema, "REVISIONS", (*ours, "9999"))
        again = SqlIntentStore(postgres_url)
        assert await again.open() is None
        assert set(answered) <= set(await names(again))
        assert "too late" not in await names(again)
        assert (await verify(again, ACCOUNT)).differences == ()
        await again.close()

    asyncio.run(run())
