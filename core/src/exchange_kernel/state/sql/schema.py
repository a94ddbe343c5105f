"""Which schema a database has: created when it is empty, used when it is ours and current, refused otherwise.

Normal opening reads Alembic's version table itself; Alembic is imported only to upgrade, which is never done unasked.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from exchange_kernel.errors import SchemaMismatch
from exchange_kernel.state.sql.backend import Backend, Cursor
from exchange_kernel.state.sql.engine import engine_of
from exchange_kernel.state.sql.statements import SCHEMA_LOCK

# Oldest first; the last is what this release writes. A test compares them with the migrations.
REVISIONS = ("0001", "0002", "0003", "0004")

_VERSION_TABLE = (
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)


def ensure(backend: Backend, cursor: Cursor) -> bool:
    """Create the schema in an empty database, or check that it is this release's. In the caller's transaction.

    Returns whether it was created.

    :raises SchemaMismatch: older (upgrade it), newer (upgrade this program), or not ours.
    """
    if backend.postgres:
        cursor.execute(f"SELECT pg_advisory_xact_lock({SCHEMA_LOCK})")
    tables = backend.tables(cursor)
    if not tables:
        for statement in _creation(backend.database.dialect):
            cursor.execute(statement)
        return True
    if "alembic_version" not in tables:
        shown = ", ".join(sorted(tables)[:5])
        raise SchemaMismatch(
            f"{backend.place} holds other tables ({shown}) and no store: give the store an empty database"
        )
    cursor.execute("SELECT version_num FROM alembic_version")
    rows = cursor.fetchall()
    check(backend.place, rows[0][0] if rows else "none")
    return False


def check(place: str, version: str | None) -> None:
    """Raises SchemaMismatch unless this is the version that this release writes."""
    if version == REVISIONS[-1]:
        return
    if version in REVISIONS:
        raise SchemaMismatch(
            f"{place} has schema {version}, this release needs {REVISIONS[-1]}: "
            "stop every process that uses it, back it up, and run `exk db upgrade`"
        )
    raise SchemaMismatch(
        f"{place} has schema {version}, which this release does not know (newest: {REVISIONS[-1]}): "
        "a newer release wrote it; install that one, or restore a backup of its time"
    )


@cache
def _creation(dialect: str) -> tuple[str, ...]:
    # Only for a new database: describing the tables takes longer than opening one that has them.
    from sqlalchemy import create_mock_engine

    from exchange_kernel.state.sql.tables import metadata

    url = "sqlite://" if dialect == "sqlite" else "postgresql+psycopg://"
    statements: list[str] = []

    def take(element: Any, *_: Any, **__: Any) -> None:
        statements.append(str(element.compile(dialect=engine.dialect)))

    engine = create_mock_engine(url, take)
    metadata.create_all(engine, checkfirst=False)
    statements += [_VERSION_TABLE, f"INSERT INTO alembic_version (version_num) VALUES ('{REVISIONS[-1]}')"]
    return tuple(statements)


def upgrade(url: str, revision: str = "head") -> None:
    """Bring a database to a revision, creating what is missing. Stop the processes that use it, and back it up, first.

    :raises ConfigError: the URL cannot be used.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    engine = engine_of(url)
    try:
        with engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
                connection.exec_driver_sql("PRAGMA synchronous = FULL")
                # A table that is made anew would take the rows that refer to it along.
                connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({SCHEMA_LOCK})")
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            connection.commit()
    finally:
        engine.dispose()
