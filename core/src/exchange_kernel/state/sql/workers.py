"""The workers of a store, in its database: who is there, what each can run, and who holds which account.

A worker tells this a few times a second, on a connection of its own. Nothing here permits anything: leases and epochs
do.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Mapping
from typing import Any

from exchange_kernel.clock import Clock
from exchange_kernel.errors import StoreUnavailable
from exchange_kernel.state.sql.engine import engine_of
from exchange_kernel.value import Value

__all__ = ["Fleet", "Member", "SqlWorkers"]

FORGOTTEN_MS = 3_600_000


class Member(Value, frozen=True):
    """A worker that has spoken in time. ``serves``: accounts that it can run; ``ready``: those it stands by for;
    ``heard``: those it runs and that began RECOVERING from the store's suspicion."""

    name: str
    draining: bool
    serves: frozenset[str]
    ready: frozenset[str]
    heard: frozenset[str] = frozenset()
    started_at: int = 0


class Fleet(Value, frozen=True):
    """Everybody, by the database's clock. ``holders``: who holds an account's lease now; ``suspicion``: of lost
    commits, as the store has it (R32)."""

    now: int
    members: Mapping[str, Member]
    holders: Mapping[str, str]
    suspicion: str | None = None


class SqlWorkers:
    """The table in the store at ``url``. Blocking: call it in a thread. ``clock`` stands in for SQLite's, which has
    none."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._engine = engine_of(url)
        self._clock = clock
        self._connection: Any = None
        self._lock = threading.Lock()

    def beat(
        self,
        name: str,
        expires_ms: int,
        serves: Collection[str],
        ready: Collection[str],
        heard: Collection[str] = (),
        *,
        draining: bool = False,
    ) -> Fleet:
        """Say that this worker is there, for so long; returns everybody. Raises StoreUnavailable."""
        values = {
            "name": name,
            "draining": int(draining),
            "serves": json.dumps(sorted(serves)),
            "ready": json.dumps(sorted(ready)),
            "heard": json.dumps(sorted(heard)),
        }
        return self._do(values, expires_ms)

    def look(self) -> Fleet:
        """Everybody, without saying anything. Raises StoreUnavailable."""
        return self._do(None, 0)

    def leave(self, name: str) -> None:
        """This worker is no more. Raises StoreUnavailable."""
        from sqlalchemy import text

        with self._lock:
            gone = text("DELETE FROM worker WHERE name = :name")
            self._run(lambda connection: connection.execute(gone, {"name": name}))

    def close(self) -> None:
        """Let go of the database."""
        with self._lock:
            self._drop()
            self._engine.dispose()

    def _do(self, values: Mapping[str, Any] | None, expires_ms: int) -> Fleet:
        def work(connection: Any) -> Fleet:
            from sqlalchemy import text

            now = self._now(connection)
            if values is not None:
                told = {**values, "now": now, "expires_at": now + expires_ms}
                connection.execute(text(_BEAT), told)
                connection.execute(text("DELETE FROM worker WHERE expires_at < :old"), {"old": now - FORGOTTEN_MS})
            rows = connection.execute(text(_MEMBERS), {"now": now}).all()
            leases = connection.execute(text(_HOLDERS), {"now": now}).all()
            suspicion = connection.execute(text("SELECT suspicion FROM store")).scalar()
            members = {row.name: _member(row) for row in rows}
            return Fleet(now, members, {row.account: row.owner for row in leases}, suspicion)

        with self._lock:
            fleet: Fleet = self._run(work)
            return fleet

    def _now(self, connection: Any) -> int:
        if self._engine.dialect.name == "sqlite":
            return self._clock.now_ms()
        from sqlalchemy import text

        now: int = connection.execute(text("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")).scalar()
        return now

    def _run(self, work: Any) -> Any:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            with self._connection.begin():
                return work(self._connection)
        except SQLAlchemyError as error:
            self._drop()
            raise StoreUnavailable(f"the workers cannot be read or written: {error.__cause__ or error}") from error

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()


_BEAT = """
INSERT INTO worker (name, started_at, expires_at, draining, serves, ready, heard)
VALUES (:name, :now, :expires_at, :draining, :serves, :ready, :heard)
ON CONFLICT (name) DO UPDATE SET expires_at = excluded.expires_at, draining = excluded.draining,
  serves = excluded.serves, ready = excluded.ready, heard = excluded.heard
"""
_MEMBERS = "SELECT name, started_at, draining, serves, ready, heard FROM worker WHERE expires_at > :now ORDER BY name"
_HOLDERS = "SELECT account, owner FROM account_lease WHERE expires_at > :now"


def _member(row: Any) -> Member:
    serves, ready, heard = (frozenset(json.loads(each)) for each in (row.serves, row.ready, row.heard))
    return Member(row.name, bool(row.draining), serves, ready, heard, row.started_at)
