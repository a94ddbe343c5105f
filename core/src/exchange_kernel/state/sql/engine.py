"""From a URL to an engine and its backend."""

from __future__ import annotations

from sqlalchemy import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError

from exchange_kernel.clock import Clock
from exchange_kernel.errors import ConfigError
from exchange_kernel.state.sql.backend import Backend
from exchange_kernel.state.sql.sqlite import SqliteBackend, sqlite_engine

_HINT = "sqlite:///path/to/file.db or postgresql://user:password@host/database"


def engine_of(url: str) -> Engine:
    """An engine for a store's URL; nothing is connected yet.

    :raises ConfigError: not a URL, a database this release does not know, or its driver is not installed.
    """
    parsed = parse(url)
    if parsed.get_backend_name() == "sqlite":
        return sqlite_engine(parsed)
    try:
        from exchange_kernel.state.sql.postgres import postgres_engine
    except ImportError as error:
        raise ConfigError(
            "store", parsed.render_as_string(), "needs psycopg", "pip install 'exchange-kernel[postgres]'"
        ) from error
    return postgres_engine(parsed)


def parse(url: str) -> URL:
    """The URL with the driver this package uses. Raises ConfigError; a password never appears in it."""
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


def backend_of(engine: Engine, clock: Clock) -> Backend:
    """What the store needs to know about an engine's database."""
    if engine.dialect.name == "sqlite":
        return SqliteBackend(engine, clock)
    from exchange_kernel.state.sql.postgres import PostgresBackend

    return PostgresBackend(engine)


def memory_engine() -> Engine:
    """A new in-memory SQLite database; every inline store on this engine sees the same one."""
    return sqlite_engine(make_url("sqlite://"))
