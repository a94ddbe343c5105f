"""From the database to a Unit, and from a Unit back: the rows an operation needs, under lock, and the rows it wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from exchange_kernel.errors import StoreError
from exchange_kernel.state.rows import LIVE_STATES, Attempt, FillRow, TicketRow
from exchange_kernel.state.sql import codec
from exchange_kernel.state.sql import columns as c
from exchange_kernel.state.sql.backend import Backend, Cursor
from exchange_kernel.state.sql.batch import Collision, Question, Row, Write, carrier
from exchange_kernel.state.sql.statements import Statements
from exchange_kernel.state.unique import fill_taken, key_taken, live_attempt_exists, number_taken, venue_id_taken
from exchange_kernel.state.unit import Needs, Unit


@dataclass(frozen=True, slots=True)
class Loaded:
    """A Unit, and what of it was in the database: the rest is inserted. ``timeline``, ``schema``: of
    the PostgreSQL server as it is now."""

    unit: Unit
    accounts: frozenset[str]
    leases: frozenset[str]
    timeline: str | None = None
    schema: str | None = None


def load(backend: Backend, sql: Statements, cursor: Cursor, needs: Needs) -> Loaded:
    """Read what is needed, locked in one order everywhere: store, leases, accounts.

    An account's lock protects its intents, positions and events. The platform's halt is read after the accounts are
    locked: who sets it locks them all, so nothing that could not see it commits after it.
    """
    ask: list[Question] = [(sql.no_upgrade, ())] if sql.postgres else []
    if needs.store:
        ask.append((sql.store_lock, ()))
    if needs.leases:
        text, among = sql.among("leases_lock" if needs.takes else "leases_share", needs.leases)
        ask.append((text, (among,)))
    wanted = {*needs.accounts, *(account for account, _ in needs.intents), *(a for a, _ in needs.positions)}
    if wanted:
        text, among = sql.among("accounts_lock", sorted(wanted))
        ask.append((text, (among,)))
    heads, positions = sql.heads_of(needs.intents), sql.positions_of(needs.positions)
    ask += [(sql.store_now if sql.postgres else sql.store, ()), *heads, *positions]
    found = iter(carrier(sql).ask(cursor, ask))
    if sql.postgres:
        next(found)
    if needs.store:
        next(found)
    leases = next(found) if needs.leases else []
    accounts = next(found) if wanted else []
    own = next(found)
    if not own:
        raise StoreError("the store's own row is gone: this database was emptied; restore it from a backup")
    unit = Unit(now=own[0][5] if sql.postgres else backend.now(cursor), store=c.read_store(own[0]))
    unit.leases = {row[0]: c.read_lease(row) for row in leases}
    unit.accounts = {row[0]: c.read_account(row) for row in accounts}
    for _ in heads:
        for row in next(found):
            unit.intents[(row[-1], row[0])] = c.read_head(row)
    for rows in found:
        for row in rows:
            unit.positions[(row[0], row[1])] = c.read_position(row)
    return Loaded(unit, frozenset(unit.accounts), frozenset(unit.leases), *(own[0][6:] if sql.postgres else ()))


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
    positions = [c.position_row(unit.positions[key]) for key in sorted(unit.dirty_positions)]
    writes = [
        *_accounts(loaded),
        *_intents(unit),
        *_attempts(unit),
        *_fills(unit),
        Write("position_write", positions),
        Write("event_insert", [c.event_row(event) for event in unit.writes.events]),
    ]
    if backend.counts_commits or unit.dirty_store:
        store = unit.store
        store.commit_seq += 1
        row = (store.incarnation, store.commit_seq, codec.mapping(store.halted), store.suspicion, 1)
        writes.append(Write("store_update", [row]))
    carrier(sql).write(cursor, [write for write in writes if write.rows])


def _accounts(loaded: Loaded) -> list[Write]:
    unit = loaded.unit
    rows = [(name, c.account_row(unit.accounts[name])) for name in sorted(unit.dirty_accounts)]
    leases = [(name, c.lease_row(unit.leases[name])) for name in sorted(unit.dirty_leases)]
    known, held = loaded.accounts, loaded.leases
    return [
        Write("account_insert", [row for name, row in rows if name not in known]),
        Write("account_update", [(*row[c.ACCOUNT_MOVING], name) for name, row in rows if name in known]),
        Write("lease_insert", [row for name, row in leases if name not in held]),
        Write("lease_update", [(*row[1:], name) for name, row in leases if name in held]),
    ]


def _intents(unit: Unit) -> list[Write]:
    writes, heads = unit.writes, unit.intents
    orders = [
        (*c.order_row(new, digest, heads[(new.account, new.intent_id)].version), new.account, new.intent_id)
        for new, digest in writes.orders
    ]
    desired = [
        (value.value, heads[(account, intent_id)].version, account, intent_id)
        for account, intent_id, value, _ in writes.desired
    ]
    progress = [
        (heads[(account, intent_id)].version, *c.progress_row(value), account, intent_id)
        for account, intent_id, value, _ in writes.progress
    ]
    return [
        Write("intent_insert", [c.intent_row(*new) for new in writes.intents]),
        Write("order_update", orders, exact=True, key=2),
        Write("desired_update", desired, exact=True, key=2),
        Write("progress_update", progress, exact=True, key=2),
        Write("due_update", [(due, account, intent_id) for account, intent_id, due in writes.due], exact=True, key=2),
    ]


def _attempts(unit: Unit) -> list[Write]:
    writes = unit.writes
    new: dict[tuple[str, str, int], Attempt] = {(a, i, row.n): row for a, i, row in writes.attempts_new}
    old: dict[tuple[str, str, int], Attempt] = {}
    for account, intent_id, attempt in writes.attempts:
        key = (account, intent_id, attempt.n)
        (new if key in new else old)[key] = attempt
    moved = [(a.state in LIVE_STATES, (*c.attempt_moving(a), *key)) for key, a in old.items()]
    fresh: dict[tuple[str, str, int, int], TicketRow] = {
        (a, i, row.attempt, row.seq): row for a, i, row in writes.tickets_new
    }
    later: dict[tuple[str, str, int, int], TicketRow] = {}
    for account, intent_id, ticket in writes.tickets:
        place = (account, intent_id, ticket.attempt, ticket.seq)
        (fresh if place in fresh else later)[place] = ticket
    return [
        # Those that end first: the index on live attempts is checked row by row.
        Write("attempt_update", [row for live, row in moved if not live], exact=True, key=3),
        Write("attempt_update", [row for live, row in moved if live], exact=True, key=3),
        Write("attempt_insert", [(*key, row.key, row.placed_at, *c.attempt_moving(row)) for key, row in new.items()]),
        Write("ticket_insert", [c.ticket_row(key[0], key[1], ticket) for key, ticket in fresh.items()]),
        Write("ticket_update", [(*c.ticket_moving(row), *key) for key, row in later.items()], exact=True, key=4),
        Write("id_claim", [(a, vid.kind, vid.value, i, n) for a, i, n, vid in writes.ids], exact=True, key=3),
        Write(
            "slot_claim",
            [(slot.scope, codec.ordered(slot.number), a, i, n) for a, i, n, slot in writes.slots],
            exact=True,
            key=2,
        ),
    ]


def _fills(unit: Unit) -> list[Write]:
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
    return [Write("fill_insert", inserts), Write("fill_update", rows, exact=True, key=2)]


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
