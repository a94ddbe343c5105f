"""A streaming standby of a test's PostgreSQL, to be promoted when its primary is killed."""

from __future__ import annotations

import shutil
import time
from typing import Final

from exchange_kernel.testing.servers import PostgresServer, ServerError

__all__ = ["StandbyServer"]

_SECONDS: Final = 60.0


class StandbyServer(PostgresServer):
    """A second server that follows ``primary``, which must run, until it is promoted.

    Its password and its databases are the primary's. It has its own port and directory.

    :raises ServerError: it could not be made.
    """

    def __init__(self, primary: PostgresServer) -> None:
        self._primary = primary
        super().__init__()
        self._password = primary._password

    def _initialise(self) -> None:
        # pg_basebackup is not in the copy of the programs that an unprivileged user gets.
        settings = (
            f"primary_conninfo = 'host=127.0.0.1 port={self._primary._port} user=postgres "
            f"password={self._primary._password}'\n"
        )
        with self._primary._connect() as connection:
            connection.execute("SELECT pg_backup_start('standby', fast => true)")
            shutil.copytree(
                self._primary._data,
                self._data,
                ignore=shutil.ignore_patterns("postmaster.pid", "postmaster.opts", "pg_replslot"),
            )
            found = connection.execute("SELECT labelfile FROM pg_backup_stop(wait_for_archive => false)").fetchone()
        assert found is not None
        (self._data / "backup_label").write_text(found[0])
        (self._data / "pg_replslot").mkdir()
        (self._data / "standby.signal").touch()
        with (self._data / "postgresql.auto.conf").open("a") as file:
            file.write(settings)
        for path in (self._data, *self._data.rglob("*")):
            self._give_away(path)
        self._data.chmod(0o700)
        self._password = self._primary._password

    def url_of(self, url: str) -> str:
        """The address here of a database at the primary."""
        return self._url(url.rpartition("/")[2])

    def follow(self) -> None:
        """Wait until all that the primary has written is here."""
        with self._primary._connect() as connection:
            found = connection.execute("SELECT pg_current_wal_lsn()").fetchone()
        assert found is not None
        self._until("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", str(found[0]))

    def lag(self) -> None:
        """Take nothing more from the primary: what it commits from now on is not here."""
        with self._connect() as connection:
            connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
            connection.execute("SELECT pg_reload_conf()")
        self._until("SELECT count(*) = 0 FROM pg_stat_wal_receiver WHERE %s <> ''", "any")

    def promote(self) -> None:
        """Make a primary of it."""
        with self._connect() as connection:
            connection.execute("SELECT pg_promote()")
        self._until("SELECT NOT pg_is_in_recovery() WHERE %s <> ''", "any")

    def _until(self, question: str, parameter: str) -> None:
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            with self._connect() as connection:
                found = connection.execute(question.encode(), (parameter,)).fetchone()
            if found is not None and found[0]:
                return
            time.sleep(0.02)
        raise ServerError(f"the standby did not get there within {_SECONDS} s: {question}")
