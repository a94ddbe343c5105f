"""The SQL store: writes through one lane with group commit, reads through two others, each with its own connection.

Reads of one row and reads of a whole account have a lane each: no order waits while an account is loaded.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

from exchange_kernel.clock import Clock, Ids, SystemClock, SystemIds
from exchange_kernel.errors import StoreError, StoreUnavailable
from exchange_kernel.models import IntentStatus, OrderIntent
from exchange_kernel.state.rows import AccountRow, EventRow, Lease, PositionRow, Progress, Record, StoreRow
from exchange_kernel.state.sql import schema
from exchange_kernel.state.sql.backend import Cursor, Database, Session
from exchange_kernel.state.sql.engine import backend_of, database_of
from exchange_kernel.state.sql.lanes import Inline, Lane, Run, Thread
from exchange_kernel.state.sql.reader import OneRecord, OneStanding, Queries, Query, Reader
from exchange_kernel.state.sql.sqlite import SqliteBackend
from exchange_kernel.state.sql.statements import Statements
from exchange_kernel.state.sql.witness import Testimony, Witness, lost, moved_server
from exchange_kernel.state.sql.working_set import Loaded
from exchange_kernel.state.sql.writer import Writer
from exchange_kernel.state.stores import IntentStateStore, LiveIntent, SlotUse, Standing, Suspicion
from exchange_kernel.state.unit import Operation, Unit, compact
from exchange_kernel.venue import VenueId


class SqlIntentStore(IntentStateStore):
    """Desired state in SQLite or PostgreSQL.

    ``url``: ``sqlite:///path`` or ``postgresql://…``. ``witness``: a file outside the database that remembers how far
    it had got (R32); SQLite keeps ``<database>.witness`` by itself, PostgreSQL one where a path is given. Several
    processes may use one database; each object here is one of them.

    :raises ConfigError: the URL cannot be used.
    """

    def __init__(
        self, url: str, *, clock: Clock | None = None, ids: Ids | None = None, witness: Path | None = None
    ) -> None:
        self._own_database = True
        self._set_up(database_of(url), clock or SystemClock(), ids or SystemIds(), witness, threads=True)
        if self._backend.volatile:
            raise StoreUnavailable(
                f"{url}: an in-memory database has no second connection to read on; "
                "use MemoryIntentStore, or SqlIntentStore.inline in a simulation"
            )

    @classmethod
    def inline(cls, database: Database, clock: Clock, ids: Ids) -> Self:
        """A store without threads: everything happens in the caller, at once and in order.

        For simulations, where several of these on one :func:`memory_database` are several processes on one database.
        """
        made = cls.__new__(cls)
        made._own_database = False
        made._set_up(database, clock, ids, None, threads=False)
        return made

    def _set_up(self, database: Database, clock: Clock, ids: Ids, witness: Path | None, *, threads: bool) -> None:
        super().__init__()
        self._database = database
        self._ids = ids
        self._threads = threads
        self._backend = backend_of(database, clock)
        if witness is None and isinstance(self._backend, SqliteBackend) and self._backend.path is not None:
            witness = self._backend.path.with_name(f"{self._backend.path.name}.witness")
        self._witness = None if witness is None else Witness(witness)
        self._sql = Statements(self._backend.postgres)
        self._queries = Queries(self._sql)
        self._write_session = Session(self._backend, clock)
        self._read_sessions = [Session(self._backend, clock, read=True) for _ in range(2 if threads else 1)]
        self._writer = Writer(
            self._write_session, self._sql, self._committed, self._still_there if self._backend.postgres else None
        )
        self._known = Testimony("", None, {})
        self._timeline: str | None = None
        self._lanes: list[Lane] = []

    @property
    def transactions(self) -> int:
        """Transactions committed by this object since it was made."""
        return self._writer.transactions

    async def open(self) -> Suspicion | None:
        await self.close()
        cause = await asyncio.to_thread(self._open) if self._threads else self._open()
        runs: list[Run] = [self._writer.run]
        runs += [Reader(session, self._queries).run for session in self._read_sessions]
        if self._threads:
            names = ("exk-store-write", "exk-store-read", "exk-store-scan")
            self._lanes = [Thread(run, self._notify, name) for run, name in zip(runs, names, strict=True)]
        else:
            self._lanes = [Inline(run, self._notify) for run in runs]
        return None if cause is None else Suspicion(cause)

    def _open(self) -> str | None:
        session, backend = self._write_session, self._backend
        session.welcome = None
        # The witness first: what other processes commit in between only makes the database the newer of the two.
        said = self._witness.read() if self._witness is not None else None
        try:
            cursor = session.begin()
            made = schema.ensure(backend, cursor) | self._ensure_own_row(cursor)
            row, seen = self._own_row(cursor)
            here = Testimony(row.store_id, backend.file, self._counters(cursor, row))
            server = backend.server(cursor)
            cause = row.suspicion
            if self._witness is not None and cause is None:
                cause = lost(said, here, f"its witness {self._witness.path}")
            if self._known.store_id and cause is None:
                cause = lost(self._known, here, "this process")
            if seen and server and cause is None:
                cause = moved_server(seen, server)
            if made or (cause, server) != (row.suspicion, seen):
                text = None if server is None else compact(server)
                self._run(cursor, "UPDATE store SET suspicion = ?, server = ? WHERE id = 1", (cause, text))
                session.commit()
            else:
                session.rollback()
            self._known = here
            self._timeline = None if server is None else server["timeline"]
            if self._witness is not None and cause is None:
                self._witness.start(here, new=said is None or said.store_id != here.store_id)
        except backend.errors as error:
            session.drop()
            raise StoreUnavailable(backend.explain(error)) from error
        except OSError as error:
            session.drop()
            raise StoreUnavailable(
                f"the store's witness cannot be written: {error}: make its folder writable"
            ) from error
        except BaseException:
            session.rollback()
            session.close()
            raise
        session.welcome = self._welcome
        return cause

    def _ensure_own_row(self, cursor: Cursor) -> bool:
        cursor.execute("SELECT 1 FROM store")
        if cursor.fetchone() is not None:
            return False
        cursor.execute(self._sql.accounts)
        if cursor.fetchone() is not None:
            raise StoreError(f"{self._backend.place} has accounts and has lost its own row: restore a backup")
        insert = "INSERT INTO store (id, store_id, incarnation, commit_seq) VALUES (1, ?, 1, 0)"
        self._run(cursor, insert, (self._ids.new(16).hex(),))
        return True

    def _own_row(self, cursor: Cursor) -> tuple[StoreRow, dict[str, Any] | None]:
        cursor.execute("SELECT server FROM store")
        server = cursor.fetchone()
        if server is None:
            raise StoreError(f"{self._backend.place} has lost its own row: restore a backup")
        return self._queries.store_row(cursor), None if server[0] is None else json.loads(server[0])

    def _run(self, cursor: Cursor, text: str, parameters: tuple[Any, ...]) -> None:
        cursor.execute(text.replace("?", "%s") if self._backend.postgres else text, parameters)

    def _counters(self, cursor: Cursor, row: StoreRow) -> dict[str, int]:
        if self._backend.counts_commits:
            return {"commits": row.commit_seq}
        cursor.execute(self._sql.counters)
        return {f"events of {account}": seq for account, seq in cursor.fetchall()}

    def _welcome(self, cursor: Cursor) -> None:
        """A new connection must lead to the database that the old one led to."""
        row, seen = self._own_row(cursor)
        here = Testimony(row.store_id, None, self._counters(cursor, row))
        cause = lost(self._known, here, "this process")
        server = self._backend.server(cursor)
        if cause is None and seen and server:
            cause = moved_server(seen, server)
        if cause is not None:
            raise self._lost_commits(cause)

    def _still_there(self, loaded: Loaded) -> None:
        """Behind a pooler another server may answer on the same connection, and somebody may have changed the schema:
        every transaction looks (R32)."""
        schema.check(self._backend.place, loaded.schema)
        cause = None
        for name, row in loaded.unit.accounts.items():
            known = self._known.counters.get(f"events of {name}", 0)
            if row.event_seq < known:
                cause = f"this process remembers {known} events of {name} and there are only {row.event_seq}"
        if self._timeline is not None and loaded.timeline != self._timeline:
            cause = moved_server({"timeline": self._timeline}, {"timeline": loaded.timeline})
        if loaded.unit.store.store_id != self._known.store_id:
            cause = f"another store stands here ({loaded.unit.store.store_id})"
        if cause is not None:
            raise self._lost_commits(cause)

    def _lost_commits(self, cause: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self._backend.place} may have lost commits while this process ran: {cause}; "
            "nothing is written any more: restart, so that its accounts recover"
        )

    def _committed(self, unit: Unit) -> None:
        counters = dict(self._known.counters)
        if self._backend.counts_commits:
            counters["commits"] = unit.store.commit_seq
        else:
            counters |= {f"events of {name}": unit.accounts[name].event_seq for name in unit.dirty_accounts}
        self._known = self._known._replace(counters=counters)
        if self._witness is None or unit.store.suspicion is not None:
            return
        if unit.dirty_store or not self._witness.started:
            # A suspicion may just have been acknowledged: only now does the witness take the new state for the truth.
            try:
                self._witness.start(self._known, new=True)
            except OSError:
                self._witness.close()
        else:
            self._witness.write(self._known)

    async def close(self) -> None:
        lanes, self._lanes = self._lanes, []
        for lane in lanes:
            await lane.close()
        for session in (self._write_session, *self._read_sessions):
            session.close()
        if self._witness is not None:
            self._witness.close()
        if self._own_database:
            self._database.dispose()

    async def execute(self, operation: Operation) -> Any:
        return await self._lane(0).do(operation)

    def _lane(self, which: int) -> Lane:
        if not self._lanes:
            raise StoreUnavailable(f"{self._backend.place} is not open: call open() first")
        return self._lanes[which]

    async def _ask(self, query: Query | OneRecord | OneStanding) -> Any:
        return await self._lane(1).do(query)

    async def _scan(self, query: Query) -> Any:
        return await self._lane(-1).do(query)

    async def store_row(self) -> StoreRow:
        row: StoreRow = await self._ask(self._queries.store_row)
        return row

    async def record(self, account: str, intent_id: str) -> Record | None:
        found: Record | None = await self._ask(OneRecord(account, intent_id))
        return found

    async def standing(self, account: str, intent_id: str) -> Standing | None:
        found: Standing | None = await self._ask(OneStanding(account, intent_id))
        return found

    async def locate(self, account: str, key: bytes | None, ids: Sequence[VenueId]) -> tuple[str, int] | None:
        query = partial(self._queries.locate, account=account, key=key, ids=ids)
        found: tuple[str, int] | None = await self._ask(query)
        return found

    async def fill_owner(self, account: str, fill_id: str) -> tuple[str, int] | None:
        query = partial(self._queries.fill_owner, account=account, fill_id=fill_id)
        found: tuple[str, int] | None = await self._ask(query)
        return found

    async def live_intents(self, account: str) -> Sequence[LiveIntent]:
        rows: list[LiveIntent] = await self._scan(partial(self._queries.live_intents, account=account))
        return rows

    async def due(self, account: str, now: int, limit: int) -> Sequence[str]:
        ids: list[str] = await self._ask(partial(self._queries.due, account=account, now=now, limit=limit))
        return ids

    async def intents(
        self, account: str, *, symbol: str | None = None, active_only: bool = False
    ) -> Sequence[tuple[OrderIntent, Progress]]:
        query = partial(self._queries.intents, account=account, symbol=symbol, active_only=active_only)
        rows: list[tuple[OrderIntent, Progress]] = await self._scan(query)
        return rows

    async def event_rows(self, account: str, after: int, limit: int) -> Sequence[EventRow]:
        query = partial(self._queries.event_rows, account=account, after=after, limit=limit)
        rows: list[EventRow] = await self._scan(query)
        return rows

    async def page(self, account: str, after: str, limit: int) -> Sequence[tuple[OrderIntent, Progress]]:
        query = partial(self._queries.page, account=account, after=after, limit=limit)
        rows: list[tuple[OrderIntent, Progress]] = await self._scan(query)
        return rows

    async def history(self, account: str, intent_id: str, after: int, limit: int) -> Sequence[EventRow]:
        query = partial(self._queries.history, account=account, intent_id=intent_id, after=after, limit=limit)
        rows: list[EventRow] = await self._scan(query)
        return rows

    async def tally(self, account: str) -> dict[IntentStatus, int]:
        found: dict[IntentStatus, int] = await self._scan(partial(self._queries.tally, account=account))
        return found

    async def positions(self, account: str) -> Sequence[PositionRow]:
        rows: list[PositionRow] = await self._ask(partial(self._queries.positions, account=account))
        return rows

    async def account_row(self, account: str) -> AccountRow | None:
        row: AccountRow | None = await self._ask(partial(self._queries.account_row, account=account))
        return row

    async def accounts(self) -> Sequence[str]:
        names: list[str] = await self._ask(self._queries.accounts)
        return names

    async def lease(self, account: str) -> Lease | None:
        lease: Lease | None = await self._ask(partial(self._queries.lease, account=account))
        return lease

    async def slots(self, scope: str, floor: int) -> Sequence[SlotUse]:
        uses: list[SlotUse] = await self._ask(partial(self._queries.slots, scope=scope, floor=floor))
        return uses
