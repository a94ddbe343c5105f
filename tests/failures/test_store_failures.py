"""The database fails under a running kernel: its caller is told, no intent is lost or half-written, and when the
cause is gone the kernel goes on by itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from exchange_kernel.errors import CommitUnknown, SchemaMismatch, StoreUnavailable
from exchange_kernel.models import IntentStatus
from exchange_kernel.state.sql import sqlite
from exchange_kernel.testing.servers import PostgresServer
from tests.failures.shop import Shop, buy, until

WORKING, FILLED = IntentStatus.WORKING, IntentStatus.FILLED


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a lock a tenth of a second, not two."""
    monkeypatch.setattr(sqlite, "BUSY_MS", 100)


@contextlib.contextmanager
def small_disk() -> Iterator[tuple[Path, bool]]:
    """A file system of four megabytes where one may be mounted, else a plain folder."""
    folder = Path(tempfile.mkdtemp(prefix="exk-full-disk-"))
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "exk-test", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield folder, mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def full(shop: Shop, folder: Path, mounted: bool) -> Iterator[None]:
    """There is no space left."""
    if mounted:
        with contextlib.suppress(OSError), (folder / "ballast").open("wb", buffering=0) as ballast:
            for size in (65536, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        ballast.write(b"\0" * size)
        yield
        (folder / "ballast").unlink()
        return
    # Where no file system can be mounted the database itself gets a limit; it fails with the same code.
    session = shop.store._write_session

    def limit(pages: int) -> None:
        session.begin().execute(f"PRAGMA max_page_count = {pages}")
        session.rollback()

    limit(1)  # SQLite takes the number of pages in use instead
    yield
    limit(1_000_000)


def test_a_full_disk_refuses_new_orders_and_loses_none(impatient: None) -> None:
    """Declaring fails by name, all or none of a group; what trades meanwhile is booked when there is space again."""

    async def run(folder: Path, mounted: bool) -> None:
        shop = Shop(f"sqlite:///{folder}/store.db")
        await shop.kernel.start()
        await shop.kernel.place_order(buy("0.3"), "a")
        await shop.reaches("a", WORKING)
        declared: list[str] = []
        with full(shop, folder, mounted):
            with pytest.raises(StoreUnavailable, match=r"SQLITE_(FULL|IOERR).*(free some|disk)"):  # noqa: PT012
                for n in range(1000):
                    names = [f"g{n}-{k}" for k in range(20)]
                    await shop.kernel.place_order_group([buy("0.001", "48700")] * 20, intent_ids=names)
                    declared += names
            written = {intent.intent_id for intent in await shop.kernel.get_all_intents()}
            assert written == {"a", *declared}
            shop.trade("0.3")
            with pytest.raises(StoreUnavailable):
                await shop.kernel.place_order_group([buy("0.001", "48700")] * 200)
        assert await shop.place(buy("0.2"), "after") is not None
        assert await shop.reaches("a", FILLED) == Decimal("0.3")
        await shop.reaches("after", WORKING)
        for name in declared:
            await shop.reaches(name, WORKING)
        await until(lambda: healthy(shop), "healthy again")
        await shop.judge("a", "after", *declared)
        await shop.kernel.stop()

    with small_disk() as (folder, mounted):
        asyncio.run(run(folder, mounted))


async def healthy(shop: Shop) -> bool:
    """Would an order placed now be worked on?"""
    return (await shop.kernel.health_check()).ready


def test_a_locked_database_delays_and_loses_nothing(impatient: None, tmp_path: Path) -> None:
    """Another program keeps the write lock for longer than the lease: commands fail by name, queries answer, nothing
    new is sent; then everything catches up."""

    async def run() -> None:
        path = tmp_path / "store.db"
        shop = Shop(f"sqlite:///{path}")
        await shop.kernel.start()
        await shop.kernel.place_order(buy("0.3"), "a")
        await shop.reaches("a", WORKING)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match=r"database is locked .*another process .*fuser"):
            await shop.kernel.place_order(buy("0.1"), "b")
        with pytest.raises(StoreUnavailable):
            await shop.kernel.cancel_order("a")
        shop.trade("0.2")
        await until(lambda: not shop.kernel._session.owned, "the lease has run out")  # type: ignore[union-attr]
        assert not await healthy(shop)
        assert (await shop.kernel.get_order_state("a")).status is WORKING
        assert [i.intent_id for i in await shop.kernel.get_all_intents()] == ["a"]
        before = len(shop.exchange.ledger.orders())
        other.execute("ROLLBACK")
        other.close()
        await shop.place(buy("0.1"), "b")
        await shop.reaches("b", WORKING)
        assert len(shop.exchange.ledger.orders()) == before + 1
        assert await shop.reaches("a", IntentStatus.PARTIALLY_FILLED) == Decimal("0.2")
        await until(lambda: healthy(shop), "healthy again")
        await shop.judge("a", "b")
        await shop.kernel.stop()

    asyncio.run(run())


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


def test_a_read_only_database_is_refused_at_the_start_and_used_when_writable() -> None:
    """The error says what to make writable; nothing is sent; afterwards the same kernel starts and finds its orders."""
    folder = Path(tempfile.mkdtemp(prefix="exk-read-only-"))

    def allow(file: int, directory: int) -> None:
        for each in folder.iterdir():
            each.chmod(file)
        folder.chmod(directory)

    async def run() -> None:
        shop = Shop(f"sqlite:///{folder}/store.db")
        await shop.kernel.start()
        await shop.kernel.place_order(buy("0.3"), "a")
        await shop.reaches("a", WORKING)
        await shop.kernel.stop()
        shop.trade("0.1")
        with unprivileged(folder):
            allow(0o444, 0o555)
            with pytest.raises(StoreUnavailable, match="writable"):
                await shop.kernel.start()
            assert not await healthy(shop)
            allow(0o644, 0o755)
            await shop.kernel.start()
            assert await shop.reaches("a", IntentStatus.PARTIALLY_FILLED) == Decimal("0.1")
            await shop.judge("a")
            await shop.kernel.stop()

    try:
        asyncio.run(run())
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_database_from_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    """The error says to upgrade; not one byte is changed, nothing is sent; with the right version it starts again."""
    path = tmp_path / "store.db"

    def version(new: str | None = None) -> str:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            [(old,)] = connection.execute("SELECT version_num FROM alembic_version").fetchall()
            if new is not None:
                connection.execute("UPDATE alembic_version SET version_num = ?", (new,))
                connection.commit()
        return str(old)

    async def run() -> None:
        shop = Shop(f"sqlite:///{path}")
        await shop.kernel.start()
        await shop.kernel.place_order(buy(), "a")
        await shop.reaches("a", WORKING)
        await shop.kernel.stop()
        current = version("9999")
        rows = contents(path)
        arrived = len(shop.exchange.ledger.entries)
        with pytest.raises(SchemaMismatch, match="9999"):
            await shop.kernel.start()
        assert contents(path) == rows
        assert len(shop.exchange.ledger.entries) == arrived
        version(current)
        await shop.kernel.start()
        await shop.judge("a")
        await shop.kernel.stop()

    asyncio.run(run())


def contents(path: Path) -> list[str]:
    """Everything that is in a database."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def test_a_postgresql_killed_under_a_running_kernel_is_survived() -> None:
    """SIGKILL to the server while orders are declared: callers are told and repeat themselves, fills of the meantime
    are booked after the restart, and each intent is one order."""

    async def run(server: PostgresServer) -> None:
        shop = Shop(server.new_database())
        await shop.kernel.start()
        await shop.kernel.place_order(buy("0.3"), "a")
        await shop.reaches("a", WORKING)
        names = [f"n{n}" for n in range(20)]
        placing = [asyncio.create_task(shop.place(buy("0.001", "48700"), name)) for name in names]
        await asyncio.sleep(0)
        await asyncio.to_thread(server.stop, kill=True)
        with pytest.raises((StoreUnavailable, CommitUnknown)):  # noqa: PT012 - the first call may still meet the lost reply
            for _ in range(2):
                await shop.kernel.place_order(buy(), "down")
        with pytest.raises(StoreUnavailable):
            await shop.kernel.get_all_intents()
        shop.trade("0.2")
        await until(lambda: unhealthy(shop), "unhealthy")
        await asyncio.to_thread(server.start)
        await asyncio.gather(*placing)
        await shop.place(buy(), "down")
        for name in (*names, "down"):
            await shop.reaches(name, WORKING)
        assert await shop.reaches("a", IntentStatus.PARTIALLY_FILLED) == Decimal("0.2")
        await until(lambda: healthy(shop), "healthy again")
        await shop.judge("a", "down", *names)
        await shop.kernel.stop()

    async def unhealthy(shop: Shop) -> bool:
        return not await healthy(shop)

    with PostgresServer() as server:
        asyncio.run(run(server))
