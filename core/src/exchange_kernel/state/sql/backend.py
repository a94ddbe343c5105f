"""What differs between databases when they connect, begin, commit and fail; and one connection that comes back."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum
from typing import Any, Protocol

from exchange_kernel.clock import Clock
from exchange_kernel.errors import StoreError, StoreUnavailable

# A driver's connection and cursor (PEP 249). Rows pass through by the ten thousand per second, so nothing stands in
# between; and a command line that looks at a file must not wait for a library to be imported.
Connection = Any
Cursor = Any


class Database(Protocol):
    """Where connections come from. ``dialect``: its name in SQLAlchemy. ``address``: without a password."""

    dialect: str
    address: str

    def connect(self) -> Connection:
        """A connection. Raises what the driver raises."""
        ...

    def release(self, connection: Connection, broken: bool) -> None:
        """Give a connection back, closed or not as this database wants it. Raises what the driver raises."""
        ...

    def dispose(self) -> None:
        """Close what is kept open. Idempotent."""
        ...


BACKOFF_S = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Trouble(Enum):
    """What a driver's error means for the transaction. All but AMBIGUOUS: nothing was written."""

    GUILTY = "one of the operations wrote something the database refuses"
    AGAIN = "a deadlock or the like: the same may succeed at once"
    LOST = "the connection is gone"
    UNAVAILABLE = "the database cannot do it now"
    AMBIGUOUS = "the commit's reply was lost"


class Backend(ABC):
    """One kind of database. ``place`` names it in messages, without a password.

    ``counts_commits``: the store's row counts its transactions. ``volatile``: the data lives as long as the connection.
    """

    postgres: bool
    counts_commits: bool
    volatile = False
    errors: tuple[type[Exception], ...]

    def __init__(self, database: Database) -> None:
        self.database = database
        self.place = database.address

    @abstractmethod
    def prepare(self, connection: Connection, read: bool) -> None:
        """Set up a new connection and check that a commit on it is durable. Raises ConfigError, StoreUnavailable."""

    @abstractmethod
    def begin(self, cursor: Cursor, read: bool) -> None:
        """Begin a transaction; for reading, one snapshot."""

    @abstractmethod
    def commit(self, connection: Connection, cursor: Cursor) -> None:
        """Commit durably."""

    @abstractmethod
    def rollback(self, connection: Connection, cursor: Cursor) -> None:
        """Undo what is not committed."""

    @abstractmethod
    def now(self, cursor: Cursor) -> int:
        """The database's clock in ms UTC; SQLite has none of its own, so there it is the injected one."""

    @abstractmethod
    def trouble(self, error: Exception, committing: bool = False) -> Trouble:
        """What a driver's error means."""

    @abstractmethod
    def explain(self, error: Exception) -> str:
        """The error as a sentence that says what to do."""

    @abstractmethod
    def tables(self, cursor: Cursor) -> set[str]:
        """Names of the tables in this database (PostgreSQL: in its current schema)."""

    @abstractmethod
    def server(self, cursor: Cursor) -> dict[str, Any] | None:
        """What tells this server and its history from another one, or from its own restored past."""

    @property
    def file(self) -> int | None:
        """What identifies the open database file, where there is one."""
        return None

    def moved(self) -> str | None:
        """Why what is open is no longer what stands at the address, or None."""
        return None


class Session:
    """A connection, made when it is needed and again after it was lost, not more often than the backoff says.

    ``welcome`` is called with the cursor of each new connection and may refuse it.
    """

    def __init__(self, backend: Backend, clock: Clock, *, read: bool = False) -> None:
        self.backend = backend
        self.welcome: Callable[[Cursor], None] | None = None
        self._clock = clock
        self._read = read
        self._connection: Connection | None = None
        self._cursor: Cursor = None
        self._failures = 0
        self._again_at = 0.0
        self._why = ""

    def begin(self) -> Cursor:
        """A cursor in a new transaction. Raises StoreUnavailable, ConfigError, and what the driver raises."""
        if self._connection is None:
            self._connect()
        self.backend.begin(self._cursor, self._read)
        return self._cursor

    def commit(self) -> None:
        """Commit. Raises what the driver raises."""
        assert self._connection is not None
        self.backend.commit(self._connection, self._cursor)

    def rollback(self) -> None:
        """Undo; a connection that cannot even do that is dropped."""
        if self._connection is None:
            return
        try:
            self.backend.rollback(self._connection, self._cursor)
        except self.backend.errors:
            if not self.backend.volatile:
                self.drop()

    def drop(self) -> None:
        """Give the connection up; the next transaction makes another."""
        if self.backend.volatile:
            self.rollback()
            return
        connection, self._connection, self._cursor = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(*self.backend.errors):
                self.backend.database.release(connection, True)

    def close(self) -> None:
        """Close the connection, and forget what stood in the way of a new one."""
        self._failures, self._again_at = 0, 0.0
        connection, self._connection, self._cursor = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(*self.backend.errors):
                self.backend.database.release(connection, False)

    def _connect(self) -> None:
        now = self._clock.monotonic()
        if now < self._again_at:
            raise StoreUnavailable(f"{self._why} (next try in {self._again_at - now:.1f} s; nothing was written)")
        try:
            self._open()
        except self.backend.errors as error:
            self._fail(now, self.backend.explain(error))
            raise StoreUnavailable(f"{self._why} (nothing was written)") from error
        except StoreError as error:
            self._fail(now, str(error))
            raise
        self._failures = 0

    def _open(self) -> None:
        connection = self.backend.database.connect()
        try:
            self.backend.prepare(connection, self._read)
            cursor = connection.cursor()
            if self.welcome is not None:
                self.backend.begin(cursor, read=True)
                self.welcome(cursor)
                self.backend.rollback(connection, cursor)
        except BaseException:
            with contextlib.suppress(*self.backend.errors):
                self.backend.database.release(connection, True)
            raise
        self._connection, self._cursor = connection, cursor

    def _fail(self, now: float, why: str) -> None:
        self._why = why
        self._again_at = now + BACKOFF_S[min(self._failures, len(BACKOFF_S) - 1)]
        self._failures += 1
