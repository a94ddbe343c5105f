"""PostgreSQL through psycopg: many processes, row locks, the server's clock."""

from __future__ import annotations

import re
from typing import Any

import psycopg
from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper
from sqlalchemy import URL, Engine, create_engine
from sqlalchemy.pool import NullPool, PoolProxiedConnection

from exchange_kernel.errors import ConfigError, StoreUnavailable
from exchange_kernel.state.sql.backend import Backend, Cursor, Trouble

LOCK_MS = 5000
OLDEST = 14
"""The oldest PostgreSQL that is supported."""
# A process that is stopped in the middle of a transaction must not keep others from taking its accounts over.
IDLE_MS = 3000
# Nor one that is stopped between two messages of one request, which does not count as idle (from PostgreSQL 17 on).
TRANSACTION_MS = 5000

_NET = {
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "application_name": "exchange-kernel",
}


def postgres_engine(url: URL) -> Engine:
    """An engine that fails within seconds when the server is gone; what the URL says itself stays."""
    defaults = {name: value for name, value in _NET.items() if name not in url.query}
    return create_engine(url, poolclass=NullPool, connect_args=defaults)


# A writer touches rows by their keys only. Without statistics, as in a new database, the planner would read whole
# tables, and keep doing so as they grow.
_BY_KEY = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit")


def _settings() -> dict[str, str]:
    """Of a writer's transactions; by name, as they are when they are asked for."""
    return {
        "lock_timeout": f"{LOCK_MS}ms",
        "idle_in_transaction_session_timeout": f"{IDLE_MS}ms",
        "plan_cache_mode": "force_generic_plan",
        **dict.fromkeys(_BY_KEY, "off"),
    }


def _configure(*, local: bool) -> str:
    changed = (f"set_config('{name}', %({name})s, {str(local).lower()})" for name in _settings())
    # Servers before 17 do not know it.
    limit = (
        f"CASE WHEN current_setting('server_version_num')::int >= 170000 "
        f"THEN set_config('transaction_timeout', '{TRANSACTION_MS}ms', {str(local).lower()}) END"
    )
    return "SELECT " + ", ".join((*changed, limit))


class PostgresDatabase:
    """Connections of a SQLAlchemy engine."""

    dialect = "postgresql"

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.address = engine.url.render_as_string(hide_password=True)

    def connect(self) -> PoolProxiedConnection:
        """A new connection."""
        return self.engine.raw_connection()

    def release(self, connection: PoolProxiedConnection, broken: bool) -> None:
        """Close it."""
        if broken:
            connection.invalidate()
        else:
            connection.close()

    def dispose(self) -> None:
        """Close what the engine keeps."""
        self.engine.dispose()


class PostgresBackend(Backend):
    """A PostgreSQL database."""

    postgres = True
    counts_commits = False
    errors = (psycopg.Error,)
    pooled = False
    """Is there a pooler that gives each transaction another connection to the server? Seen by the process id, which a
    pooler makes up for its client."""
    _durable = "on"

    def prepare(self, connection: PoolProxiedConnection, read: bool) -> None:
        driver: Any = connection.driver_connection
        driver.adapters.register_dumper(int, Int8Dumper)
        driver.adapters.register_dumper(int, Int8BinaryDumper)
        version = driver.info.server_version // 10_000
        if version < OLDEST:
            raise ConfigError(
                "store", self.place, f"is PostgreSQL {version}, older than {OLDEST}", "upgrade the server (pg_upgrade)"
            )
        if read:
            driver.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            driver.read_only = True
            if self.pooled:
                driver.prepare_threshold = None
            return
        driver.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        cursor = connection.cursor()
        cursor.execute(
            "SELECT current_setting('synchronous_commit'), current_setting('fsync'), pg_is_in_recovery(), "
            "current_setting('server_encoding'), pg_backend_pid()"
        )
        row = cursor.fetchone()
        assert row is not None
        synchronous, fsync, standby, encoding, pid = row
        self.pooled = pid != driver.info.backend_pid
        if self.pooled:
            # Whatever is said to a server outside a transaction may be meant for another one by the next.
            driver.prepare_threshold = None
            self._durable = synchronous
        else:
            cursor.execute(_configure(local=False), _settings())
        connection.commit()
        if standby:
            raise StoreUnavailable(f"{self.place} is a standby and takes no writes: connect to the primary server")
        if synchronous not in ("on", "remote_apply"):
            raise ConfigError(
                "synchronous_commit",
                synchronous,
                "must be on (or remote_apply): an answered order would be lost in a crash",
                "ALTER DATABASE … SET synchronous_commit = on, or set it for this user",
            )
        if fsync != "on":
            raise ConfigError("fsync", fsync, "must be on: a power cut would destroy the database", "set fsync = on")
        if encoding != "UTF8":
            raise ConfigError("server_encoding", encoding, "must be UTF8", "create the database with ENCODING 'UTF8'")

    def begin(self, cursor: Cursor, read: bool) -> None:
        """The driver begins with the first statement; behind a pooler every transaction is set up by itself."""
        if self.pooled and not read:
            cursor.execute(_configure(local=True), _settings())
            # Another client may have left it off.
            cursor.execute("SELECT set_config('synchronous_commit', %s, true)", (self._durable,))

    def commit(self, connection: PoolProxiedConnection, cursor: Cursor) -> None:
        connection.commit()

    def rollback(self, connection: PoolProxiedConnection, cursor: Cursor) -> None:
        connection.rollback()

    def now(self, cursor: Cursor) -> int:
        cursor.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
        now: int = cursor.fetchone()[0]
        return now

    def tables(self, cursor: Cursor) -> set[str]:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        return {row[0] for row in cursor.fetchall()}

    def server(self, cursor: Cursor) -> dict[str, Any] | None:
        cursor.execute(
            "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), 'store'::regclass::oid::bigint, "
            "(SELECT oid::bigint FROM pg_database WHERE datname = current_database()), "
            "has_function_privilege('pg_control_system()', 'EXECUTE')"
        )
        timeline, table, database, may_ask = cursor.fetchone()
        out: dict[str, Any] = {"timeline": timeline, "database": database, "table": table}
        if may_ask:
            cursor.execute("SELECT system_identifier::text FROM pg_control_system()")
            out["system"] = cursor.fetchone()[0]
        return out

    def trouble(self, error: Exception, committing: bool = False) -> Trouble:
        state = getattr(error, "sqlstate", None) or ""
        if isinstance(error, (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)):
            return Trouble.AGAIN
        if isinstance(error, (psycopg.IntegrityError, psycopg.DataError)):
            return Trouble.GUILTY
        # Without a code the connection broke; 57P0x: the server is stopping; 08, 25P03: it cut us off.
        if not state or state.startswith(("08", "57P", "25P03")):
            return Trouble.AMBIGUOUS if committing else Trouble.LOST
        return Trouble.UNAVAILABLE

    def explain(self, error: Exception) -> str:
        state = getattr(error, "sqlstate", None) or ""
        said = " ".join(str(error).split())
        what = f"{self.place}: {said}" + (f" ({state})" if state else "")
        if state == "55P03":
            return f"{what}: another session has held a row lock for {LOCK_MS} ms; see pg_stat_activity, and try again"
        if state.startswith("53"):
            return f"{what}: the server lacks a resource; free disk space, memory or connections there and try again"
        if state in ("25006", "42501", "55000"):
            return (
                f"{what}: this user or server may not write; connect to the primary, or grant the rights on its tables"
            )
        if not state and re.search(r"\b(SSL|TLS|certificate|no encryption)\b", said):
            return (
                f"{what}: say in the store's URL how the connection is encrypted (?sslmode=verify-full&sslrootcert=…), "
                "as the server's pg_hba.conf and certificate want it"
            )
        if not state and "authentication failed" in said:
            state = "28P01"
        if state.startswith("28") or state == "3D000":
            return f"{what}: check user, password and database name in the store's URL"
        if state.startswith("57P") or not state:
            return f"{what}: the server cannot be reached or is restarting; the next call connects again"
        return f"{what}: see the server's log, and try again"
