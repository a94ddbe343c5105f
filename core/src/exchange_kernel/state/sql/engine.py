"""From a URL to a database and its backend. SQLAlchemy is imported only for what is not a plain SQLite file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exchange_kernel.clock import Clock
from exchange_kernel.errors import ConfigError
from exchange_kernel.state.sql.backend import Backend, Database
from exchange_kernel.state.sql.sqlite import BUSY_MS, SqliteBackend, SqliteDatabase

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

_HINT = "sqlite:///path/to/file.db or postgresql://user:password@host/database"


def database_of(url: str) -> Database:
    """The database at a store's URL; nothing is connected yet.

    :raises ConfigError: not a URL, a database this release does not know, or its driver is not installed.
    """
    if url.startswith("sqlite:///") and "?" not in url:
        return SqliteDatabase(url.removeprefix("sqlite:///"))
    parsed = parse(url)
    if parsed.get_backend_name() == "sqlite":
        if parsed.query:
            raise ConfigError("store", url, "carries options, which a SQLite store has none of", f"write {_HINT}")
        return SqliteDatabase(parsed.database or "")
    engine = engine_of(url)
    from exchange_kernel.state.sql.postgres import PostgresDatabase

    return PostgresDatabase(engine)


def engine_of(url: str) -> Engine:
    """A SQLAlchemy engine, for migrations; nothing is connected yet. Raises as :func:`database_of`."""
    parsed = parse(url)
    if parsed.get_backend_name() == "sqlite":
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        own = {"isolation_level": None, "timeout": BUSY_MS / 1000}
        return create_engine(parsed, poolclass=NullPool, connect_args=own)
    try:
        from exchange_kernel.state.sql.postgres import postgres_engine
    except ImportError as error:
        raise ConfigError(
            "store", parsed.render_as_string(), "needs psycopg", "pip install 'exchange-kernel[postgres]'"
        ) from error
    return postgres_engine(parsed)


def parse(url: str) -> URL:
    """The URL with the driver this package uses. Raises ConfigError; a password never appears in it."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigError("store", "…", "is not a database URL", f"write {_HINT}") from None
    kind = parsed.get_backend_name()
    if kind == "sqlite":
        return parsed.set(drivername="sqlite")
    if kind in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    raise ConfigError("store", parsed.render_as_string(), "is not SQLite or PostgreSQL", f"write {_HINT}")


def backend_of(database: Database, clock: Clock) -> Backend:
    """What the store needs to know about a database."""
    if isinstance(database, SqliteDatabase):
        return SqliteBackend(database, clock)
    from exchange_kernel.state.sql.postgres import PostgresBackend

    return PostgresBackend(database)


def memory_database() -> SqliteDatabase:
    """A new in-memory SQLite database; every inline store on it sees the same one."""
    return SqliteDatabase("")
