"""SQLite: one file, one writer at a time, every commit on the disk before it is answered."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

from exchange_kernel.clock import Clock
from exchange_kernel.errors import ConfigError, StoreUnavailable
from exchange_kernel.state.sql.backend import Backend, Connection, Cursor, Trouble

BUSY_MS = 2000
_MIN_VERSION = (3, 35, 0)

_PRAGMAS = (
    "foreign_keys = ON",
    "fullfsync = ON",
    "checkpoint_fullfsync = ON",
    "temp_store = MEMORY",
    # Keys are random, so an order touches a leaf of each index: SQLite's own 2 MB of cache would be read anew for each.
    "cache_size = -65536",
    # The same leaves change again and again: copied into the database once in 32 MB of log instead of once in 4.
    "wal_autocheckpoint = 8192",
)

_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
# At COMMIT these say for certain that the commit record was not written.
_DEFINITE = (*_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CONSTRAINT)

# After these a new connection may find the cause gone; the old one would not.
_RECONNECT = (
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOTADB,
)


class SqliteDatabase:
    """A file, or (``name`` empty) one database in memory with one connection, shared by all."""

    dialect = "sqlite"

    def __init__(self, name: str) -> None:
        self.name = name
        self.memory = name in ("", ":memory:")
        self.address = f"sqlite:///{name}"
        self._shared: sqlite3.Connection | None = None

    def connect(self) -> sqlite3.Connection:
        """A connection whose transactions are ours to begin."""
        if self._shared is not None:
            return self._shared
        connection = sqlite3.connect(
            ":memory:" if self.memory else self.name,
            timeout=BUSY_MS / 1000,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
            uri=self.name.startswith("file:"),
        )
        if self.memory:
            self._shared = connection
        return connection

    def release(self, connection: sqlite3.Connection, broken: bool) -> None:
        """Close it, unless others use it too."""
        if not self.memory:
            connection.close()

    def dispose(self) -> None:
        """Close the database in memory."""
        shared, self._shared = self._shared, None
        if shared is not None:
            shared.close()


class SqliteBackend(Backend):
    """A database file, or one in memory."""

    postgres = False
    counts_commits = True
    errors = (sqlite3.Error,)

    def __init__(self, database: SqliteDatabase, clock: Clock) -> None:
        super().__init__(database)
        self._clock = clock
        name = database.name.removeprefix("file:").partition("?")[0]
        self.path = None if name in ("", ":memory:") else Path(name).absolute()
        self.volatile = self.path is None
        self.place = "the in-memory database" if self.path is None else str(self.path)
        self._inode: int | None = None
        if sqlite3.sqlite_version_info < _MIN_VERSION:
            need = ".".join(map(str, _MIN_VERSION))
            raise ConfigError("SQLite", sqlite3.sqlite_version, f"is older than {need}", "use a newer Python build")

    def prepare(self, connection: Connection, read: bool) -> None:
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        if self.path is not None:
            mode = cursor.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            if mode != "wal":
                raise ConfigError(
                    "journal_mode", mode, f"the file system of {self.path} does not support WAL", "use a local disk"
                )
            cursor.execute("PRAGMA journal_size_limit = 67108864")
            self._inode = self._stat()
        cursor.execute("PRAGMA synchronous = FULL")
        if cursor.execute("PRAGMA synchronous").fetchone()[0] != 2:
            raise ConfigError("synchronous", "", "SQLite does not accept FULL", "use a standard SQLite build")
        if read and self.path is not None:
            cursor.execute("PRAGMA query_only = ON")
            cursor.execute("PRAGMA cache_size = -16384")

    def begin(self, cursor: Cursor, read: bool) -> None:
        if not read:
            why = self.moved()
            if why is not None:
                raise StoreUnavailable(why)
        cursor.execute("BEGIN" if read else "BEGIN IMMEDIATE")

    def commit(self, connection: Connection, cursor: Cursor) -> None:
        cursor.execute("COMMIT")

    def rollback(self, connection: Connection, cursor: Cursor) -> None:
        if connection.in_transaction:
            cursor.execute("ROLLBACK")

    def now(self, cursor: Cursor) -> int:
        return self._clock.now_ms()

    def tables(self, cursor: Cursor) -> set[str]:
        cursor.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        return {row[0] for row in cursor.fetchall()}

    def server(self, cursor: Cursor) -> dict[str, Any] | None:
        return None

    @property
    def file(self) -> int | None:
        return self._inode

    def moved(self) -> str | None:
        if self.path is None or self._inode is None or self._stat() == self._inode:
            return None
        return (
            f"{self.path} was moved, deleted or replaced while it was open: what is written now would be lost "
            "(nothing was written); put the file back, or restart to use the one that stands there now"
        )

    def _stat(self) -> int | None:
        assert self.path is not None
        try:
            return os.stat(self.path).st_ino
        except OSError:
            return None

    def trouble(self, error: Exception, committing: bool = False) -> Trouble:
        code = getattr(error, "sqlite_errorcode", None)
        if code is None:
            # Raised by the driver itself: a value that no column can hold.
            return Trouble.GUILTY
        primary = code & 0xFF
        if committing and primary not in _DEFINITE:
            return Trouble.AMBIGUOUS
        if primary in (sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH):
            return Trouble.GUILTY
        return Trouble.LOST if primary in _RECONNECT else Trouble.UNAVAILABLE

    def explain(self, error: Exception) -> str:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        what = f"{self.place}: {error} ({name})"
        if code in _BUSY:
            return (
                f"{what}: another process has held its write lock for {BUSY_MS} ms; "
                f"find it (`fuser {self.place}`), let it finish or stop it, and try again"
            )
        if code == sqlite3.SQLITE_FULL:
            return f"{what}: no space left for the database; free some on its file system and try again"
        if code == sqlite3.SQLITE_READONLY:
            return f"{what}: make the file, those beside it (-wal, -shm) and the folder writable, and try again"
        if code == sqlite3.SQLITE_CANTOPEN:
            return f"{what}: its folder must exist and be readable and writable for this user"
        if code == sqlite3.SQLITE_IOERR:
            return f"{what}: the disk failed; check it (system log, free space) and try again"
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return f"{what}: the file is damaged or no SQLite database; keep a copy and restore a backup"
        return f"{what}: try again; if it stays, restart"
