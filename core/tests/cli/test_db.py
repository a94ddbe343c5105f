"""`exk db`: a backup while a kernel trades, its return, and what is refused."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from core.tests.processes import Daemon, Shell, Venue, configure, wait_for


@pytest.fixture
def idle(tmp_path: Path) -> Shell:
    """A shell with a store and an in-process paper venue, and no kernel."""
    shell = Shell(tmp_path)
    shell.config.write_text("accounts: {solo: {venue: paper, config: {balances: {USD: 100000}}}}")
    shell.ok("db", "upgrade")
    return shell


def test_back_up_trade_restore_start_makes_no_second_order(tmp_path: Path) -> None:
    """A backup is made beside a running kernel; more orders follow; the backup comes back. The next kernel finds what
    the backup does not know, sends nothing twice, and takes new orders when it has looked."""
    with Venue(tmp_path) as venue:
        configure(tmp_path, venue)
        shell = Shell(tmp_path)
        with Daemon(tmp_path) as daemon:
            shell.ok("place", "BTC/USD", "buy", "0.5", "--limit", "40000", "--id", "known")
            shell.reach("known", "WORKING")
            said = shell.ok("db", "backup", str(tmp_path / "monday.db"))
            assert "checked" in said
            assert json.loads(shell.ok("db", "status", "-o", "json"))["owners"].keys() == {"paper_main"}
            assert "is in use" in shell.refused(2, "db", "restore", str(tmp_path / "monday.db"))
            for name in ("later-1", "later-2"):
                shell.ok("place", "BTC/USD", "buy", "0.1", "--limit", "41000", "--id", name)
                shell.reach(name, "WORKING")
            shell.ok("cancel", "known")
            shell.reach("known", "CANCELED")
            assert daemon.stop() == 0

        said = shell.ok("db", "restore", str(tmp_path / "monday.db"))
        [kept] = tmp_path.glob("exk.db.replaced-*")
        assert str(kept) in said
        assert [row["id"] for row in shell.json("get", "intents")] == ["known"]

        with Daemon(tmp_path) as daemon:
            shell.reach("known", "CANCELED")
            wait_for(lambda: not shell.json("get", "accounts")[0]["recovering"], "the end of recovery")
            shell.ok("place", "BTC/USD", "buy", "0.2", "--limit", "42000", "--id", "new")
            shell.reach("new", "WORKING")
            assert daemon.stop() == 0
        assert len(venue.orders()) == 4
        assert len(venue.orders(live=True)) == 3
        assert json.loads(shell.ok("db", "status", "-o", "json"))["restored"] > 1
        assert shell.run("verify").exit_code == 0


def test_a_backup_is_whole_and_replaces_nothing(idle: Shell) -> None:
    """It opens by itself, without a log beside it; a file that is there is left alone; nothing half-made stays."""
    target = idle.folder / "copy.db"
    idle.ok("db", "backup", str(target))
    with sqlite3.connect(target) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert copy.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    before = target.read_bytes()
    assert "is there already" in idle.refused(2, "db", "backup", str(target))
    assert target.read_bytes() == before
    assert "could not be written" in idle.refused(5, "db", "backup", str(idle.folder / "no" / "where.db"))
    assert not list(idle.folder.glob("*.part"))


def test_what_is_no_backup_of_this_store_is_not_restored(idle: Shell, tmp_path: Path) -> None:
    """Another store's backup, a file that is no database, an empty one: refused, and the store is as it was."""
    other = tmp_path / "other"
    other.mkdir()
    stranger = Shell(other)
    stranger.config.write_text("accounts: {solo: {venue: paper}}")
    stranger.ok("db", "upgrade")
    for shell in (idle, stranger):
        shell.ok("place", "BTC/USD", "buy", "0.1", "--limit", "100", "--id", "a")
    stranger.ok("db", "backup", str(tmp_path / "stranger.db"))
    (tmp_path / "text.db").write_text("no database at all")
    (tmp_path / "empty.db").write_bytes(b"")
    before = idle.ok("db", "status")
    assert "is a backup of another store" in idle.refused(2, "db", "restore", str(tmp_path / "stranger.db"))
    for name in ("text.db", "empty.db"):
        assert "is no store of this kernel" in idle.refused(5, "db", "restore", str(tmp_path / name))
    assert idle.ok("db", "status") == before
    assert not list(idle.folder.glob("*.replaced-*"))


def test_other_databases_are_told_their_own_tools(idle: Shell) -> None:
    """PostgreSQL is backed up by pg_dump; a store that is not there yet is said to be missing."""
    idle.config.write_text("store: {url: 'postgresql://127.0.0.1:1/none'}\naccounts: {solo: {venue: paper}}")
    assert "pg_dump" in idle.refused(2, "db", "backup", "x.db")
    idle.config.write_text("store: {url: 'sqlite:///none.db'}\naccounts: {solo: {venue: paper}}")
    assert "there is no store" in idle.refused(5, "db", "status")
