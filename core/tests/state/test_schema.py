"""The schema: made at once or by migrations it is the same; an older or newer one is refused; the log only grows."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, column, select
from sqlalchemy import table as sql_table

from core.tests.state.build import ACCOUNT, CountedIds, StillClock, accept, book, create, read, start, submit
from exchange_kernel.errors import SchemaMismatch
from exchange_kernel.models import TERMINAL
from exchange_kernel.state import SqlIntentStore
from exchange_kernel.state.rows import LIVE_STATES
from exchange_kernel.state.sql import schema, tables, upgrade
from exchange_kernel.state.sql.engine import engine_of
from exchange_kernel.state.sql.statements import Statements


def make(url: str) -> SqlIntentStore:
    return SqlIntentStore(url, clock=StillClock(), ids=CountedIds())


async def fill(url: str) -> None:
    """Make the schema by opening, and put something in."""
    store = make(url)
    await store.open()
    await start(store)
    await store.execute(create("a"))
    await store.close()


def sqlite_schema(path: Path) -> dict[Any, Any]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    return {(kind, name): sql and re.sub(r"\s*([(),])\s*", r"\1", " ".join(sql.split())) for kind, name, sql in rows}


def postgres_schema(url: str) -> dict[str, Any]:
    questions: dict[str, Any] = {
        "columns": "SELECT table_name, column_name, ordinal_position, data_type, is_nullable, is_identity "
        "FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 3",
        "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2",
        "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2",
        "triggers": "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1",
        "functions": "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1",
    }
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        return {name: connection.execute(text).fetchall() for name, text in questions.items()}


def test_migrations_and_opening_make_the_same_sqlite_schema(tmp_path: Path) -> None:
    """An empty file brought up by Alembic is the same as one that was just opened, word for word."""
    upgrade(f"sqlite:///{tmp_path}/migrated.db")
    asyncio.run(fill(f"sqlite:///{tmp_path}/opened.db"))

    assert sqlite_schema(tmp_path / "migrated.db") == sqlite_schema(tmp_path / "opened.db")


def test_migrations_and_opening_make_the_same_postgres_schema(postgres: Any) -> None:
    """The same on PostgreSQL: columns, constraints, indexes, triggers and functions."""
    migrated, opened = postgres.new_database(), postgres.new_database()
    upgrade(migrated)
    asyncio.run(fill(opened))

    assert postgres_schema(migrated) == postgres_schema(opened)
    for url in (migrated, opened):
        postgres.drop_database(url)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_the_tables_are_what_the_migrations_make(kind: str, tmp_path: Path, postgres_url: str) -> None:
    """Alembic itself finds nothing left to migrate."""
    url = f"sqlite:///{tmp_path}/store.db" if kind == "sqlite" else postgres_url
    upgrade(url)
    engine = engine_of(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
    engine.dispose()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_migrated_database_is_used_and_upgrading_it_again_changes_nothing(
    kind: str, tmp_path: Path, postgres_url: str
) -> None:
    """A store works on a database that `upgrade` made, and upgrading a current one keeps everything."""
    url = f"sqlite:///{tmp_path}/store.db" if kind == "sqlite" else postgres_url

    async def run() -> None:
        store = make(url)
        assert await store.open() is None
        assert len(await store.intents(ACCOUNT)) == 1
        await store.close()

    upgrade(url)
    asyncio.run(fill(url))
    upgrade(url)
    asyncio.run(run())


@pytest.mark.parametrize("revision", schema.REVISIONS[:-1])
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_store_of_an_older_release_is_upgraded_with_all_it_holds(
    kind: str, revision: str, tmp_path: Path, postgres_url: str
) -> None:
    """Rows as that release wrote them are refused until the upgrade, and read by this one after it."""
    new = f"sqlite:///{tmp_path}/new.db"
    old = f"sqlite:///{tmp_path}/old.db" if kind == "sqlite" else postgres_url

    async def trade() -> None:
        store = make(new)
        await store.open()
        epoch = await start(store)
        await store.execute(create("a", "b"))
        await store.execute(submit(await read(store, "a"), epoch))
        await store.execute(accept(await read(store, "a"), epoch))
        await store.execute(book(await read(store, "a"), epoch, "fill"))
        await store.close()

    async def held(url: str) -> list[Any]:
        store = make(url)
        await store.open()
        found = [await read(store, name) for name in ("a", "b")]
        events = await store.events(ACCOUNT)
        await store.close()
        return [*found, events]

    def copy() -> None:
        upgrade(old, revision)
        source, target, there = engine_of(new), engine_of(old), MetaData()
        there.reflect(target)
        with source.connect() as rows, target.begin() as into:
            for table in there.sorted_tables:
                if table.name == "alembic_version":
                    continue
                columns = [column(each.name, each.type) for each in table.columns]
                found = rows.execute(select(*columns).select_from(sql_table(table.name))).mappings().all()
                if found:
                    into.execute(table.insert(), [dict(row) for row in found])
        source.dispose()
        target.dispose()

    asyncio.run(trade())
    copy()
    with pytest.raises(SchemaMismatch, match=f"schema {revision}"):
        asyncio.run(make(old).open())
    upgrade(old)
    assert asyncio.run(held(old)) == asyncio.run(held(new))


def test_the_revisions_that_opening_knows_are_the_migrations() -> None:
    """Opening does not import Alembic, so its list is kept by hand, and here it is compared."""
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]

    assert list(schema.REVISIONS) == known[::-1]


def test_the_states_in_the_indexes_are_those_of_the_rows() -> None:
    """The partial indexes name states as text; they are the ones that the code calls live and unfinished."""
    assert set(re.findall(r"'(\w+)'", tables.LIVE)) == {state.value for state in LIVE_STATES}
    assert set(re.findall(r"'(\w+)'", tables.UNFINISHED)) == {status.value for status in TERMINAL}


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_an_older_or_newer_schema_is_refused_with_what_to_do(
    kind: str, tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older: `exk db upgrade`, never unasked. Newer: install the newer release. Nothing is written either way."""
    url = f"sqlite:///{tmp_path}/store.db" if kind == "sqlite" else postgres_url
    asyncio.run(fill(url))
    ours = schema.REVISIONS[-1]
    monkeypatch.setattr(schema, "REVISIONS", (*schema.REVISIONS, "9999"))
    with pytest.raises(SchemaMismatch, match=rf"schema {ours}.*needs 9999.*back it up.*exk db upgrade"):
        asyncio.run(make(url).open())
    monkeypatch.setattr(schema, "REVISIONS", ("0000",))
    with pytest.raises(SchemaMismatch, match=rf"schema {ours}.*does not know.*newer release"):
        asyncio.run(make(url).open())
    monkeypatch.undo()
    asyncio.run(fill(url))


@pytest.mark.parametrize("statement", ["UPDATE event SET body = '{}'", "DELETE FROM event"])
def test_the_log_cannot_be_edited_in_sqlite(tmp_path: Path, statement: str) -> None:
    """The database refuses to change or remove events, whoever asks."""
    asyncio.run(fill(f"sqlite:///{tmp_path}/store.db"))
    with (
        contextlib.closing(sqlite3.connect(tmp_path / "store.db")) as connection,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        connection.execute(statement)


@pytest.mark.parametrize("statement", ["UPDATE event SET body = '{}'", "DELETE FROM event", "TRUNCATE event"])
def test_the_log_cannot_be_edited_in_postgres(postgres_url: str, statement: Any) -> None:
    """The same on PostgreSQL, where there is TRUNCATE too."""
    asyncio.run(fill(postgres_url))
    with (
        psycopg.connect(postgres_url.replace("+psycopg", "")) as connection,
        pytest.raises(psycopg.errors.RaiseException, match="append-only"),
    ):
        connection.execute(statement)


def test_commits_are_durable_in_sqlite(tmp_path: Path) -> None:
    """The file is in WAL mode; the connection that writes has synchronous=FULL and foreign keys on."""

    async def run() -> None:
        store = make(f"sqlite:///{tmp_path}/store.db")
        await store.open()
        cursor = store._write_session.begin()
        settings = {
            name: cursor.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
        store._write_session.rollback()
        assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
        await store.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    "name",
    [
        *("heads", "position", "intent", "attempts", "tickets", "fills", "intents_of", "attempts_of", "tickets_of"),
        *(
            "fills_of",
            "by_key",
            "by_id",
            "by_fill",
            "slot",
            "slots",
            "due",
            "due_revived",
            "events",
            "lease",
            "account",
        ),
    ],
)
def test_what_is_asked_often_does_not_grow_with_the_account(tmp_path: Path, name: str) -> None:
    """No hot statement reads a table through, nor all rows of an account: its cost stays flat as intents accumulate."""
    asyncio.run(fill(f"sqlite:///{tmp_path}/store.db"))
    text = getattr(Statements(postgres=False), name)
    with contextlib.closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {text}", [1] * text.count("?")).fetchall()
    plan = [row[3] for row in rows if "json_each" not in row[3]]

    assert not [step for step in plan if step.startswith("SCAN")], plan
    assert name in ("lease", "account") or not [step for step in plan if "(account=?)" in step], plan


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import exchange_kernel.state", ("sqlalchemy", "alembic", "psycopg")),
        (
            "from exchange_kernel.state import SqlIntentStore; SqlIntentStore('sqlite:////tmp/x.db')",
            ("alembic", "psycopg"),
        ),
    ],
)
def test_imports_stay_light(code: str, absent: tuple[str, ...]) -> None:
    """SQLAlchemy comes with the first SQL store, psycopg with PostgreSQL, and Alembic only to upgrade."""
    check = f"{code}\nimport sys\nprint([name for name in {absent!r} if name in sys.modules])"

    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout == "[]\n"
