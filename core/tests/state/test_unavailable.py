"""A full disk, a read-only file, a locked or vanished database: a clear error, nothing by halves, then it goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from core.tests.state.build import ACCOUNT, CountedIds, StillClock, create, read, start, submit
from exchange_kernel.errors import ConfigError, SchemaMismatch, StoreError, StoreUnavailable
from exchange_kernel.state import SqlIntentStore
from exchange_kernel.state.sql import sqlite
from exchange_kernel.state.sql.backend import Trouble
from exchange_kernel.state.sql.engine import backend_of, database_of
from exchange_kernel.state.sql.verify import verify


class MovingClock(StillClock):
    """Every look at the monotonic clock is ten seconds later: no backoff holds a test up."""

    def monotonic(self) -> float:
        self.ms += 10_000
        return super().monotonic()


def make(path: Path) -> SqlIntentStore:
    return SqlIntentStore(f"sqlite:///{path}", clock=MovingClock(), ids=CountedIds())


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a lock a tenth of a second, not two."""
    monkeypatch.setattr(sqlite, "BUSY_MS", 100)


def test_a_locked_database_is_named_and_works_again(tmp_path: Path) -> None:
    """While another program holds the lock nothing is written and the error says whom to look for; then all is well."""
    path = tmp_path / "store.db"

    async def run() -> None:
        store = make(path)
        await store.open()
        epoch = await start(store)
        await store.execute(create("before"))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreUnavailable, match=r"store\.db: database is locked .*another process .*fuser"):
            await store.execute(create("while locked"))
        other.execute("ROLLBACK")
        other.close()
        assert await store.record(ACCOUNT, "while locked") is None
        await store.execute(create("after"))
        await store.execute(submit(await read(store, "before"), epoch))
        assert (await verify(store, ACCOUNT)).differences == ()
        await store.close()

    asyncio.run(run())


def test_a_locked_database_cannot_be_opened_until_it_is_free(tmp_path: Path) -> None:
    """Opening says who holds the lock, and the same object opens when it is gone."""
    path = tmp_path / "store.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    store = make(path)
    with pytest.raises(StoreUnavailable, match="another process"):
        asyncio.run(store.open())
    other.execute("ROLLBACK")
    other.close()

    async def run() -> None:
        assert await store.open() is None
        await start(store)
        await store.close()

    asyncio.run(run())


@contextlib.contextmanager
def small_disk() -> Iterator[tuple[Path, bool]]:
    """A file system of two megabytes where one may be mounted, else a plain folder."""
    folder = Path(tempfile.mkdtemp(prefix="exk-small-disk-"))
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "exk-test", str(folder)], capture_output=True, check=False
        ).returncode
    )
    try:
        yield folder, mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)
        shutil.rmtree(folder, ignore_errors=True)


async def write_for_ever(store: SqlIntentStore) -> None:
    """Declare batches of fifty until it fails."""
    for n in count():
        await store.execute(create(*(f"{n}-{k}" for k in range(50))))


def test_a_full_disk_loses_nothing_and_writes_nothing() -> None:
    """When the disk is full the call fails with what to do, what was answered stays, and with space it works again."""
    with small_disk() as (folder, mounted):
        path = folder / "store.db"

        def space(store: SqlIntentStore, megabytes: int) -> None:
            if mounted:
                subprocess.run(["mount", "-o", f"remount,size={megabytes}m", str(folder)], check=True)
                return
            # Where no file system can be mounted the database itself gets a limit; it fails with the same code.
            store._write_session.begin().execute(f"PRAGMA max_page_count = {megabytes * 256}")
            store._write_session.rollback()

        async def run() -> None:
            store = make(path)
            await store.open()
            await start(store)
            space(store, 2)
            with pytest.raises(StoreUnavailable, match=r"SQLITE_(FULL|IOERR).*(free some|disk).*nothing was written"):
                await write_for_ever(store)
            written = await store.intents(ACCOUNT)
            assert len(written) >= 50
            assert len(written) % 50 == 0
            with pytest.raises(StoreUnavailable):
                await store.execute(create(*(f"again-{k}" for k in range(50))))
            space(store, 64)
            await store.execute(create("with space"))
            assert len(await store.intents(ACCOUNT)) == len(written) + 1
            assert (await verify(store, ACCOUNT)).differences == ()
            await store.close()

        asyncio.run(run())
        with contextlib.closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@contextlib.contextmanager
def unprivileged(folder: Path) -> Iterator[None]:
    """Root may write everything: become somebody else, who owns the folder."""
    if os.geteuid() != 0:
        yield
        return
    for path in (folder, *folder.iterdir()):
        os.chown(path, 65534, 65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_read_only_database_is_refused_until_it_is_writable() -> None:
    """A read-only file or folder cannot be opened; the error says so; made writable, the same object opens."""
    folder = Path(tempfile.mkdtemp(prefix="exk-read-only-"))
    path = folder / "store.db"

    def allow(file: int, directory: int) -> None:
        for each in folder.iterdir():
            each.chmod(file)
        folder.chmod(directory)

    async def run() -> None:
        store = make(path)
        await store.open()
        await start(store)
        await store.execute(create("a"))
        await store.close()
        with unprivileged(folder):
            allow(0o444, 0o555)
            with pytest.raises(StoreUnavailable, match="writable"):
                await store.open()
            allow(0o444, 0o755)
            with pytest.raises(StoreUnavailable, match="writable"):
                await store.open()
            allow(0o644, 0o755)
            assert await store.open() is None
            await store.execute(create("b"))
            assert len(await store.intents(ACCOUNT)) == 2
            await store.close()

    try:
        asyncio.run(run())
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_database_that_is_replaced_while_open_takes_no_more_writes(tmp_path: Path) -> None:
    """Moving the file away would send commits into nothing: refused, until it is back."""
    path = tmp_path / "store.db"

    async def run() -> None:
        store = make(path)
        await store.open()
        await start(store)
        path.rename(tmp_path / "elsewhere.db")
        with pytest.raises(StoreUnavailable, match="moved, deleted or replaced"):
            await store.execute(create("lost"))
        (tmp_path / "elsewhere.db").rename(path)
        await store.execute(create("kept"))
        assert [i.intent_id for i, _ in await store.intents(ACCOUNT)] == ["kept"]
        await store.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("name", "committing", "trouble"),
    [
        ("SQLITE_IOERR_FSYNC", True, Trouble.AMBIGUOUS),
        ("SQLITE_IOERR_WRITE", True, Trouble.AMBIGUOUS),
        ("SQLITE_FULL", True, Trouble.UNAVAILABLE),
        ("SQLITE_BUSY", True, Trouble.UNAVAILABLE),
        ("SQLITE_IOERR_WRITE", False, Trouble.LOST),
        ("SQLITE_BUSY", False, Trouble.UNAVAILABLE),
        ("SQLITE_CONSTRAINT_UNIQUE", False, Trouble.GUILTY),
    ],
)
def test_only_a_failed_sync_of_the_commit_is_ambiguous(name: str, committing: bool, trouble: Trouble) -> None:
    """A disk that fails at COMMIT may have kept the record: unknown. A full disk or a lock has not, and before COMMIT
    nothing has."""
    error = sqlite3.OperationalError(name)
    error.sqlite_errorcode = getattr(sqlite3, name)
    backend = backend_of(database_of("sqlite:///unused.db"), StillClock())

    assert backend.trouble(error, committing) is trouble


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"not a database at all" * 100, "no SQLite database"), (b"SQLite format 3\0" + b"x" * 4096, "restore a backup")],
)
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    """A damaged or foreign file is named, and left alone."""
    path = tmp_path / "store.db"
    path.write_bytes(content)

    with pytest.raises(StoreError, match=says):
        asyncio.run(make(path).open())
    assert path.read_bytes() == content


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """The error says that the folder must exist."""
    with pytest.raises(StoreUnavailable, match="folder must exist"):
        asyncio.run(make(tmp_path / "nowhere" / "store.db").open())


def test_somebody_elses_database_is_refused(tmp_path: Path) -> None:
    """A database with other tables in it is not taken over."""
    path = tmp_path / "store.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE customers (id INTEGER)")

    with pytest.raises(SchemaMismatch, match=r"customers.*empty database"):
        asyncio.run(make(path).open())


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("store.db", "is not a database URL"),
        ("mysql://user:secret@host/db", "is not SQLite or PostgreSQL"),
        ("", "is not a database URL"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_password(url: str, says: str) -> None:
    """The error shows how a URL is written, and never a password."""
    with pytest.raises(ConfigError, match=says) as caught:
        SqlIntentStore(url)
    assert "sqlite:///" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_in_memory_url_is_refused() -> None:
    """A store with threads needs a file; the error says what to use instead."""
    with pytest.raises(StoreUnavailable, match="MemoryIntentStore"):
        SqlIntentStore("sqlite://")
