"""Queries: all that are pending share one snapshot. Runs in one thread at a time, on a connection of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from exchange_kernel.errors import ExchangeKernelError, StoreUnavailable
from exchange_kernel.models import Desired, IntentStatus, OrderIntent
from exchange_kernel.state.rows import (
    AccountRow,
    AttemptState,
    EventRow,
    Lease,
    PositionRow,
    Progress,
    Record,
    StoreRow,
)
from exchange_kernel.state.sql import codec
from exchange_kernel.state.sql import columns as c
from exchange_kernel.state.sql.backend import Cursor, Session, Trouble
from exchange_kernel.state.sql.statements import Statements
from exchange_kernel.state.sql.writer import Outcome, Written
from exchange_kernel.state.stores import LiveIntent, SlotUse, Standing
from exchange_kernel.venue import Slot, VenueId

Query = Callable[[Cursor], Any]


class OneRecord(NamedTuple):
    """Asks for everything about an intent; those that are pending are read together."""

    account: str
    intent_id: str


class OneStanding(NamedTuple):
    """Asks for what a send is checked against; those that are pending are read together."""

    account: str
    intent_id: str
    kind: str = "standing"  # so that it never equals a OneRecord


class Reader:
    """Answers queries through one session."""

    def __init__(self, session: Session, queries: Queries) -> None:
        self._session = session
        self._queries = queries

    def run(self, queries: Sequence[Query | OneRecord | OneStanding]) -> Written:
        """Answer each query; all see the same snapshot, taken after the last of them was asked."""
        backend = self._session.backend
        for turn in (1, 2):
            try:
                cursor = self._session.begin()
                outcomes = self._answer(cursor, queries)
            except backend.errors as error:
                lost = backend.trouble(error) is Trouble.LOST
                self._session.drop() if lost else self._session.rollback()
                if lost and turn == 1:
                    continue
                said = f"{backend.explain(error)} (reading)"
                return Written([Outcome(StoreUnavailable(said)) for _ in queries], [])
            except ExchangeKernelError as error:
                self._session.rollback()
                return Written([Outcome(StoreUnavailable(str(error))) for _ in queries], [])
            self._session.rollback()
            return Written(outcomes, [])
        raise AssertionError("unreachable")

    def _answer(self, cursor: Cursor, queries: Sequence[Query | OneRecord | OneStanding]) -> list[Outcome]:
        wanted = {query for query in queries if isinstance(query, OneRecord)}
        records = self._queries.records(cursor, wanted) if len(wanted) > 1 else {}
        checks = {query for query in queries if isinstance(query, OneStanding)}
        standings = self._queries.standings(cursor, checks) if checks else {}
        outcomes = []
        for query in queries:
            if isinstance(query, OneStanding):
                outcomes.append(Outcome(None, standings[query]))
            elif not isinstance(query, OneRecord):
                outcomes.append(Outcome(None, query(cursor)))
            elif query in records:
                outcomes.append(Outcome(None, records[query]))
            else:
                outcomes.append(Outcome(None, self._queries.record(cursor, *query)))
        return outcomes


class Queries:
    """What a store is asked, as functions of a cursor."""

    def __init__(self, sql: Statements) -> None:
        self._sql = sql

    def store_row(self, cursor: Cursor) -> StoreRow:
        cursor.execute(self._sql.store)
        return c.read_store(cursor.fetchone())

    def record(self, cursor: Cursor, account: str, intent_id: str) -> Record | None:
        sql, key = self._sql, (account, intent_id)
        cursor.execute(sql.intent, key)
        row = cursor.fetchone()
        if row is None:
            return None
        intent, progress = c.read_intent(row)
        cursor.execute(sql.attempts, key)
        attempts = tuple(map(c.read_attempt, cursor.fetchall()))
        if not attempts:
            return Record(intent, progress)
        cursor.execute(sql.tickets, key)
        tickets = tuple(map(c.read_ticket, cursor.fetchall()))
        cursor.execute(sql.fills, key)
        return Record(intent, progress, attempts, tickets, tuple(map(c.read_fill, cursor.fetchall())))

    def standings(self, cursor: Cursor, wanted: Collection[OneStanding]) -> dict[OneStanding, Standing | None]:
        """The store's row once, and for each account its row and the intents asked about."""
        sql = self._sql
        out: dict[OneStanding, Standing | None] = dict.fromkeys(wanted)
        platform = self.store_row(cursor).halted is not None
        for account in {query.account for query in wanted}:
            row = self.account_row(cursor, account)
            if row is None:
                continue
            ids = sql.many([query.intent_id for query in wanted if query.account == account])
            cursor.execute(sql.heads, (account, ids))
            for found in cursor.fetchall():
                head = c.read_head(found)
                halted = platform or row.halted is not None
                out[OneStanding(account, found[0])] = Standing(head.desired, head.status, halted)
        return out

    def records(self, cursor: Cursor, wanted: Collection[OneRecord]) -> dict[OneRecord, Record | None]:
        """The same for many: four statements per account, however many."""
        sql = self._sql
        out: dict[OneRecord, Record | None] = dict.fromkeys(wanted)
        for account in {query.account for query in wanted}:
            ids = sql.many([query.intent_id for query in wanted if query.account == account])
            parts: list[dict[str, list[c.Row]]] = []
            for text in (sql.attempts_of, sql.tickets_of, sql.fills_of):
                cursor.execute(text, (account, ids))
                rows: dict[str, list[c.Row]] = {}
                for row in cursor.fetchall():
                    rows.setdefault(row[2 if text == sql.fills_of else 1], []).append(row)
                parts.append(rows)
            attempts, tickets, fills = parts
            cursor.execute(sql.intents_of, (account, ids))
            for row in cursor.fetchall():
                intent, progress = c.read_intent(row)
                name = intent.intent_id
                out[OneRecord(account, name)] = Record(
                    intent,
                    progress,
                    tuple(map(c.read_attempt, attempts.get(name, ()))),
                    tuple(map(c.read_ticket, tickets.get(name, ()))),
                    tuple(map(c.read_fill, fills.get(name, ()))),
                )
        return out

    def locate(self, cursor: Cursor, account: str, key: bytes | None, ids: Sequence[VenueId]) -> tuple[str, int] | None:
        found = None
        if key is not None:
            found = self._owner(cursor, self._sql.by_key, account, key)
        for vid in ids:
            if found is not None:
                break
            found = self._owner(cursor, self._sql.by_id, account, vid.kind, vid.value)
        return found

    def fill_owner(self, cursor: Cursor, account: str, fill_id: str) -> tuple[str, int] | None:
        return self._owner(cursor, self._sql.by_fill, account, fill_id)

    def _owner(self, cursor: Cursor, text: str, *parameters: Any) -> tuple[str, int] | None:
        cursor.execute(text, parameters)
        row = cursor.fetchone()
        return None if row is None else (row[0], row[1])

    def live_intents(self, cursor: Cursor, account: str) -> list[LiveIntent]:
        cursor.execute(self._sql.live, (account,))
        rows = cursor.fetchall()
        cursor.execute(self._sql.live_revived, (account, account))
        rows += cursor.fetchall()
        found: dict[int, list[c.Row]] = {}
        for row in rows:
            found.setdefault(row[0], []).append(row)
        return [_live(found[ordinal]) for ordinal in sorted(found)]

    def due(self, cursor: Cursor, account: str, now: int, limit: int) -> list[str]:
        cursor.execute(self._sql.due, (account, now, limit))
        rows = list(cursor.fetchall())
        cursor.execute(self._sql.due_revived, (account, now, account))
        rows += cursor.fetchall()
        return [row[2] for row in sorted(rows, key=lambda row: (row[0], row[1]))[:limit]]

    def intents(
        self, cursor: Cursor, account: str, symbol: str | None, active_only: bool
    ) -> list[tuple[OrderIntent, Progress]]:
        cursor.execute(self._sql.intents_active if active_only else self._sql.intents, (account,))
        rows = cursor.fetchall()
        return [c.read_intent(row) for row in rows if symbol is None or row[2] == symbol]

    def event_rows(self, cursor: Cursor, account: str, after: int, limit: int) -> list[EventRow]:
        cursor.execute(self._sql.events, (account, after, limit))
        return [EventRow(*row) for row in cursor.fetchall()]

    def page(self, cursor: Cursor, account: str, after: str, limit: int) -> list[tuple[OrderIntent, Progress]]:
        cursor.execute(self._sql.intents_page, (account, account, after, limit))
        return [c.read_intent(row) for row in cursor.fetchall()]

    def history(self, cursor: Cursor, account: str, intent_id: str, after: int, limit: int) -> list[EventRow]:
        cursor.execute(self._sql.history, (account, intent_id, after, limit))
        return [EventRow(*row) for row in cursor.fetchall()]

    def tally(self, cursor: Cursor, account: str) -> dict[IntentStatus, int]:
        cursor.execute(self._sql.tally, (account,))
        return {IntentStatus(row[0]): row[1] for row in cursor.fetchall()}

    def positions(self, cursor: Cursor, account: str) -> list[PositionRow]:
        cursor.execute(self._sql.positions, (account,))
        rows = [c.read_position(row) for row in cursor.fetchall()]
        return sorted((row for row in rows if row.amount), key=lambda row: row.symbol)

    def account_row(self, cursor: Cursor, account: str) -> AccountRow | None:
        cursor.execute(self._sql.account, (account,))
        row = cursor.fetchone()
        return None if row is None else c.read_account(row)

    def accounts(self, cursor: Cursor) -> list[str]:
        cursor.execute(self._sql.accounts)
        return sorted(row[0] for row in cursor.fetchall())

    def lease(self, cursor: Cursor, account: str) -> Lease | None:
        cursor.execute(self._sql.lease, (account,))
        row = cursor.fetchone()
        return None if row is None else c.read_lease(row)

    def slots(self, cursor: Cursor, scope: str, floor: int) -> list[SlotUse]:
        cursor.execute(self._sql.slots, (scope, codec.ordered(max(floor, 0))))
        return [SlotUse(Slot(scope, codec.number(row[0])), row[1], row[2], row[3]) for row in cursor.fetchall()]


def _live(rows: Sequence[c.Row]) -> LiveIntent:
    """One intent's rows, an attempt each (or one without), to what recovery needs."""
    _, intent_id, status, next_due, desired, generation, *last = rows[-1]
    if last[0] is None:
        return LiveIntent(intent_id, IntentStatus(status), next_due, 0, None, None, True)
    *_, booked, attempt_generation = last
    cum = last[5]
    wanted_gone = desired == Desired.CANCELED.value
    behind = wanted_gone or generation != attempt_generation or booked != cum
    shown = next((row[6:] for row in rows if row[8] == AttemptState.REVIVED.value), last)
    n, key, state, venue_status, version, cum_base = shown[:6]
    return LiveIntent(
        intent_id,
        IntentStatus(status),
        next_due,
        n,
        key,
        AttemptState(state),
        behind,
        venue_status,
        version,
        codec.decimal(cum_base),
    )
