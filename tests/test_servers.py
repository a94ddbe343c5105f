"""The servers that tests run against are real and are gone afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from exchange_kernel.testing.servers import PostgresServer


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A PostgreSQL of the test's own, free to be stopped and killed."""
    with PostgresServer() as own:
        yield own


def connect(url: str) -> Engine:
    """An engine that never reuses a connection, so that each use meets the server as it is."""
    return create_engine(url, poolclass=NullPool)


def test_the_shared_server_answers_and_waits_for_the_disk(postgres_url: str) -> None:
    """A fresh database answers, and commits wait for the disk as they do in production."""
    with connect(postgres_url).connect() as connection:
        answers = [
            connection.execute(text(query)).scalar_one() for query in ("SELECT 1", "SHOW fsync", "SHOW timezone")
        ]

    assert answers == [1, "on", "UTC"]


def test_each_database_is_new(postgres: PostgresServer) -> None:
    """Two databases share nothing, and dropping one cuts the connections to it."""
    first, second = postgres.new_database(), postgres.new_database()
    with connect(first).begin() as connection:
        connection.execute(text("CREATE TABLE t (n int)"))
    with connect(second).connect() as connection:
        found = connection.execute(text("SELECT to_regclass('t')")).scalar_one()
        postgres.drop_database(second)
        with pytest.raises(OperationalError):
            connection.execute(text("SELECT 1"))
    postgres.drop_database(first)

    assert first != second
    assert found is None
    with pytest.raises(OperationalError, match="does not exist"):
        connect(first).connect()


@pytest.mark.parametrize("kill", [False, True], ids=["clean", "killed"])
def test_committed_rows_survive_a_restart(server: PostgresServer, kill: bool) -> None:
    """A restart, clean or after SIGKILL, keeps the address and every committed row, and cuts open connections."""
    url = server.new_database()
    engine = connect(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (n int)"))
        connection.execute(text("INSERT INTO t VALUES (42)"))
    before = server.pid
    with engine.connect() as connection:
        server.restart(kill=kill)
        with pytest.raises(OperationalError):
            connection.execute(text("SELECT 1"))
    with engine.connect() as connection:
        found = connection.execute(text("SELECT n FROM t")).scalar_one()

    assert found == 42
    assert server.pid not in (None, before)


def test_stop_ends_the_process() -> None:
    """After stop no process and no listener is left, starting twice is harmless, and close removes the directory."""
    server = PostgresServer(fsync=False)
    server.start()
    server.start()
    pid = server.pid
    assert pid is not None
    server.stop()

    assert server.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(OperationalError):
        connect(server.url).connect()
    server.close()
    assert not server.directory.exists()
