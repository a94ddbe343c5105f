"""From the database to a Unit, and from a Unit back: the rows an operation needs, under lock, and the rows it wrote."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from exchange_kernel.errors import StoreError
from exchange_kernel.state.rows import LIVE_STATES, Attempt, FillRow, TicketRow
from exchange_kernel.state.sql import codec
from exchange_kernel.state.sql import columns as c
from exchange_kernel.state.sql.backend import Backend, Cursor
from exchange_kernel.state.sql.statements import BULK, Statements
from exchange_kernel.state.unique import fill_taken, key_taken, live_attempt_exists, number_taken, venue_id_taken
from exchange_kernel.state.unit import Needs, Unit

Row = tuple[Any, ...]


class Collision(Exception):
    """Something that may exist only once was written a second time; which one is found out afterwards."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A Unit, and what of it was in the database: the rest is inserted."""

    unit: Unit
    accounts: frozenset[str]
    leases: frozenset[str]


def load(backend: Backend, sql: Statements, cursor: Cursor, needs: Needs) -> Loaded:
    """Read what is needed, locked in one order everywhere: store, leases, accounts.

    An account's lock protects its intents, positions and events. The platform's halt is read after the accounts are
    locked: who sets it locks them all, so nothing that could not see it commits after it.
    """
    store = _one(cursor, sql.store_lock) if needs.store else None
    leases: list[Row] = []
    if needs.leases:
        text, among = sql.among("leases_lock" if needs.takes else "leases_share", needs.leases)
        cursor.execute(text, (among,))
        leases = cursor.fetchall()
    wanted = {*needs.accounts, *(account for account, _ in needs.intents), *(a for a, _ in needs.positions)}
    accounts: list[Row] = []
    if wanted:
        text, among = sql.among("accounts_lock", sorted(wanted))
        cursor.execute(text, (among,))
        accounts = cursor.fetchall()
    row = store or _one(cursor, sql.store)
    unit = Unit(now=backend.now(cursor), store=c.read_store(row))
    unit.leases = {row[0]: c.read_lease(row) for row in leases}
    unit.accounts = {row[0]: c.read_account(row) for row in accounts}
    intents: defaultdict[str, list[str]] = defaultdict(list)
    for account, intent_id in needs.intents:
        intents[account].append(intent_id)
    for account, ids in intents.items():
        text, among = sql.among("heads", ids)
        cursor.execute(text, (account, among))
        for row in cursor.fetchall():
            unit.intents[(account, row[0])] = c.read_head(row)
    for key in needs.positions:
        cursor.execute(sql.position, key)
        for row in cursor.fetchall():
            unit.positions[key] = c.read_position(row)
    return Loaded(unit, frozenset(unit.accounts), frozenset(unit.leases))


def _one(cursor: Cursor, text: str) -> Row:
    cursor.execute(text)
    row: Row | None = cursor.fetchone()
    if row is None:
        raise StoreError("the store's own row is gone: this database was emptied; restore it from a backup")
    return row


def changed(unit: Unit) -> bool:
    """Did any operation write?"""
    writes = unit.writes
    return bool(
        unit.dirty_store
        or unit.dirty_accounts
        or unit.dirty_leases
        or unit.dirty_positions
        or any(getattr(writes, name) for name in writes.__slots__)
    )


def flush(backend: Backend, sql: Statements, cursor: Cursor, loaded: Loaded) -> None:
    """Write what the unit says. Raises Collision, or what the driver raises; then the transaction must be undone."""
    unit = loaded.unit
    _flush_accounts(sql, cursor, loaded)
    _flush_intents(sql, cursor, unit)
    _flush_attempts(sql, cursor, unit)
    _flush_fills(sql, cursor, unit)
    positions = [c.position_row(unit.positions[key]) for key in sorted(unit.dirty_positions)]
    _many(cursor, sql.position_write, positions)
    _insert(sql, cursor, sql.event_insert, [c.event_row(event) for event in unit.writes.events])
    if backend.counts_commits or unit.dirty_store:
        store = unit.store
        store.commit_seq += 1
        cursor.execute(
            sql.store_update, (store.incarnation, store.commit_seq, codec.mapping(store.halted), store.suspicion, 1)
        )


def _flush_accounts(sql: Statements, cursor: Cursor, loaded: Loaded) -> None:
    unit = loaded.unit
    rows = [(name, c.account_row(unit.accounts[name])) for name in sorted(unit.dirty_accounts)]
    _many(cursor, sql.account_insert, [row for name, row in rows if name not in loaded.accounts])
    _many(cursor, sql.account_update, [(*row[c.ACCOUNT_MOVING], name) for name, row in rows if name in loaded.accounts])
    leases = [(name, c.lease_row(unit.leases[name])) for name in sorted(unit.dirty_leases)]
    _many(cursor, sql.lease_insert, [row for name, row in leases if name not in loaded.leases])
    _many(cursor, sql.lease_update, [(*row[1:], name) for name, row in leases if name in loaded.leases])


def _flush_intents(sql: Statements, cursor: Cursor, unit: Unit) -> None:
    writes, heads = unit.writes, unit.intents
    _insert(sql, cursor, sql.intent_insert, [c.intent_row(*new) for new in writes.intents])
    orders = [
        (*c.order_row(new, digest, heads[(new.account, new.intent_id)].version), new.account, new.intent_id)
        for new, digest in writes.orders
    ]
    _exactly(cursor, sql.order_update, orders)
    desired = [
        (value.value, heads[(account, intent_id)].version, account, intent_id)
        for account, intent_id, value, _ in writes.desired
    ]
    _exactly(cursor, sql.desired_update, desired)
    progress = [
        (heads[(account, intent_id)].version, *c.progress_row(value), account, intent_id)
        for account, intent_id, value, _ in writes.progress
    ]
    _exactly(cursor, sql.progress_update, progress)
    _exactly(cursor, sql.due_update, [(due, account, intent_id) for account, intent_id, due in writes.due])


def _flush_attempts(sql: Statements, cursor: Cursor, unit: Unit) -> None:
    writes = unit.writes
    new: dict[tuple[str, str, int], Attempt] = {(a, i, row.n): row for a, i, row in writes.attempts_new}
    old: dict[tuple[str, str, int], Attempt] = {}
    for account, intent_id, attempt in writes.attempts:
        key = (account, intent_id, attempt.n)
        (new if key in new else old)[key] = attempt
    # Those that end first: the index on live attempts is checked row by row.
    ending = sorted(old.items(), key=lambda item: item[1].state in LIVE_STATES)
    _exactly(cursor, sql.attempt_update, [(*c.attempt_moving(attempt), *key) for key, attempt in ending])
    rows = [(*key, attempt.key, attempt.placed_at, *c.attempt_moving(attempt)) for key, attempt in new.items()]
    _insert(sql, cursor, sql.attempt_insert, rows)
    fresh: dict[tuple[str, str, int, int], TicketRow] = {
        (a, i, row.attempt, row.seq): row for a, i, row in writes.tickets_new
    }
    moved: dict[tuple[str, str, int, int], TicketRow] = {}
    for account, intent_id, ticket in writes.tickets:
        place = (account, intent_id, ticket.attempt, ticket.seq)
        (fresh if place in fresh else moved)[place] = ticket
    _insert(sql, cursor, sql.ticket_insert, [c.ticket_row(key[0], key[1], ticket) for key, ticket in fresh.items()])
    _exactly(cursor, sql.ticket_update, [(*c.ticket_moving(ticket), *key) for key, ticket in moved.items()])
    _exactly(cursor, sql.id_claim, [(a, vid.kind, vid.value, i, n) for a, i, n, vid in writes.ids])
    slots = [(slot.scope, codec.ordered(slot.number), a, i, n) for a, i, n, slot in writes.slots]
    _exactly(cursor, sql.slot_claim, slots)


def _flush_fills(sql: Statements, cursor: Cursor, unit: Unit) -> None:
    writes = unit.writes
    new: dict[tuple[str, str], tuple[str, FillRow]] = {}
    rows: list[Row] = []
    for account, intent_id, fill in writes.fills_new:
        if (account, fill.id) in new:
            raise Collision
        new[(account, fill.id)] = (intent_id, fill)
    for account, intent_id, fill in writes.fills:
        key = (account, fill.id)
        if key in new:
            new[key] = (intent_id, fill)
        else:
            rows.append((*c.fill_moving(fill), *key))
    inserts = [
        (account, fill_id, intent_id, fill.symbol, fill.side.value, *c.fill_moving(fill))
        for (account, fill_id), (intent_id, fill) in new.items()
    ]
    _insert(sql, cursor, sql.fill_insert, inserts)
    _exactly(cursor, sql.fill_update, rows)


def _insert(sql: Statements, cursor: Cursor, text: str, rows: Sequence[Row]) -> None:
    bulk = sql.bulk.get(text) if len(rows) >= BULK else None
    if bulk is None:
        _many(cursor, text, rows)
        return
    whole = len(rows) - len(rows) % BULK
    for start in range(0, whole, BULK):
        cursor.execute(bulk, [value for row in rows[start : start + BULK] for value in row])
    _many(cursor, text, rows[whole:])


def _many(cursor: Cursor, text: str, rows: Sequence[Row]) -> None:
    if len(rows) == 1:
        cursor.execute(text, rows[0])
    elif rows:
        cursor.executemany(text, rows)


def _exactly(cursor: Cursor, text: str, rows: Sequence[Row]) -> None:
    if rows:
        _many(cursor, text, rows)
        if cursor.rowcount != len(rows):
            raise Collision


def collision(sql: Statements, cursor: Cursor, unit: Unit) -> StoreError | None:
    """What of these writes exists already, asked in the order in which the memory store checks it."""
    writes = unit.writes
    states: dict[tuple[str, str], dict[int, bool]] = {}
    for account, intent_id, attempt in (*writes.attempts, *writes.attempts_new):
        key = (account, intent_id)
        if key not in states:
            cursor.execute(sql.attempts, key)
            states[key] = {a.n: a.state in LIVE_STATES for a in map(c.read_attempt, cursor.fetchall())}
        states[key][attempt.n] = attempt.state in LIVE_STATES
    for (_, intent_id), live in states.items():
        if sum(live.values()) > 1:
            return live_attempt_exists(intent_id)
    for account, _, attempt in writes.attempts_new:
        if _find(cursor, sql.by_key, account, attempt.key):
            return key_taken(attempt.key)
    for account, intent_id, n, vid in writes.ids:
        owner = _find(cursor, sql.by_id, account, vid.kind, vid.value)
        if owner and tuple(owner) != (intent_id, n):
            return venue_id_taken(vid, intent_id, *owner)
    for account, intent_id, n, slot in writes.slots:
        owner = _find(cursor, sql.slot, slot.scope, codec.ordered(slot.number))
        if owner and tuple(owner) != (account, intent_id, n):
            return number_taken(slot, owner[1], owner[2])
    for account, intent_id, fill in writes.fills_new:
        owner = _find(cursor, sql.by_fill, account, fill.id)
        if owner:
            return fill_taken(fill.id, intent_id, owner[0])
    return None


def _find(cursor: Cursor, text: str, *parameters: Any) -> Row | None:
    cursor.execute(text, parameters)
    row: Row | None = cursor.fetchone()
    return row
