"""Every statement as SQL text, made once per kind of database and run on the driver: a row costs the row, nothing else.

Parameters are positional, in the order of :mod:`columns`. What differs between the databases is small: the mark of a
parameter, row locks (SQLite has one writer), lists, and whose rules sort text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from exchange_kernel.state.sql import columns as c
from exchange_kernel.state.sql.columns import REVIVED, UNFINISHED
from exchange_kernel.state.unit import compact

if TYPE_CHECKING:
    from exchange_kernel.state.sql.arrays import ArrayWrite

BULK = 32
"""Rows of a statement that inserts many."""


SCHEMA_LOCK = 0x45584B
"""Any constant: who creates or changes the schema holds it alone, and who writes shares it (PostgreSQL)."""


class Statements:
    """SQL text by name. ``postgres``: for PostgreSQL, else for SQLite."""

    def __init__(self, postgres: bool) -> None:
        self.postgres = postgres
        made = self._all()
        # Many rows by one statement cost half as much as by one each.
        self.bulk = {} if postgres else {text: _bulk(text) for text in made.values() if text.startswith("INSERT")}
        # A list of one, as most are, needs no list: SQLite takes three times as long to make a table of it.
        self._single = {} if postgres else _of_many("", "", "= ?")
        self.__dict__.update({name: text.replace("?", "%s") if postgres else text for name, text in made.items()})
        if postgres:
            from exchange_kernel.state.sql.arrays import array_writes

            self.arrays = array_writes()

    def __getattr__(self, name: str) -> str:
        raise AttributeError(f"no statement {name}")

    bulk: dict[str, str]
    """For an insert of one row, that of :data:`BULK` rows, where it pays."""

    arrays: dict[str, ArrayWrite]
    """PostgreSQL's writes."""

    def many(self, values: Sequence[str]) -> Any:
        """A list as one parameter: the text stays the same for any length, so it is parsed once."""
        return list(values) if self.postgres else compact(values)

    def among(self, name: str, values: Sequence[str]) -> tuple[str, Any]:
        """The statement of this name for these values, and the parameter that holds them."""
        if len(values) == 1 and self._single:
            return self._single[name], values[0]
        return getattr(self, name), self.many(values)

    def heads_of(self, intents: Sequence[tuple[str, str]]) -> list[tuple[str, tuple[Any, ...]]]:
        """What asks for the heads of these intents, the account behind each."""
        if not intents:
            return []
        if self.postgres:
            accounts, ids = zip(*intents, strict=True)
            return [(self.heads_pairs, (list(accounts), list(ids)))]
        of: dict[str, list[str]] = {}
        for account, intent_id in intents:
            of.setdefault(account, []).append(intent_id)
        asked = []
        for account, names in of.items():
            text, among = self.among("heads", names)
            asked.append((text, (account, among)))
        return asked

    def positions_of(self, keys: Sequence[tuple[str, str]]) -> list[tuple[str, tuple[Any, ...]]]:
        """What asks for these positions."""
        if self.postgres and keys:
            accounts, symbols = zip(*keys, strict=True)
            return [(self.positions_pairs, (list(accounts), list(symbols)))]
        return [(self.position, key) for key in keys]

    def _all(self) -> dict[str, str]:
        postgres = self.postgres
        lock, share = (" FOR UPDATE", " FOR SHARE") if postgres else ("", "")
        among = "= ANY(?)" if postgres else "IN (SELECT value FROM json_each(?))"
        plain = ' COLLATE "C"' if postgres else ""
        return (
            _of_many(lock, share, among)
            | (_PAIRS if postgres else _WRITES)
            | _READS
            | {"slots": _SLOTS.format(plain=plain)}
        )


def _list(names: Sequence[str], prefix: str = "") -> str:
    return ", ".join(f'{prefix}"{name}"' for name in names)


def _select(table: str, names: Sequence[str], where: str = "") -> str:
    return f"SELECT {_list(names)} FROM {table}" + (f" WHERE {where}" if where else "")


def _insert(table: str, names: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({_list(names)}) VALUES ({', '.join('?' * len(names))})"


def _bulk(insert: str) -> str:
    head, values, tail = insert.partition(" VALUES ")
    row, end, rest = tail.partition(")")
    return f"{head}{values}{', '.join([row + end] * BULK)}{rest}"


def _update(table: str, names: Sequence[str], key: Sequence[str]) -> str:
    changes = ", ".join(f'"{name}" = ?' for name in names)
    return f"UPDATE {table} SET {changes} WHERE {_is(key)}"


def _is(names: Sequence[str]) -> str:
    return " AND ".join(f'"{name}" = ?' for name in names)


def _of_many(lock: str, share: str, among: str) -> dict[str, str]:
    leases = f"{_select('account_lease', c.LEASE, f'account {among}')} ORDER BY account"
    return {
        "store": _select("store", c.STORE),
        "store_lock": _select("store", c.STORE) + lock,
        "leases_share": leases + share,
        "leases_lock": leases + lock,
        "accounts_lock": f"{_select('account', c.ACCOUNT, f'account {among}')} ORDER BY account{lock}",
        "heads": _select("intent", (*c.HEAD, "account"), f"account = ? AND intent_id {among}"),
        "intents_of": _select("intent", c.INTENT, f"account = ? AND intent_id {among}"),
        "attempts_of": f"{_select('attempt', c.ATTEMPT, f'account = ? AND intent_id {among}')} ORDER BY n",
        "tickets_of": f"{_select('ticket', c.TICKET, f'account = ? AND intent_id {among}')} ORDER BY attempt, seq",
        "fills_of": f"{_select('fill', c.FILL, f'account = ? AND intent_id {among}')} ORDER BY id",
    }


def _claim(table: str, key: Sequence[str], owner: Sequence[str]) -> str:
    # Claiming again what one owns touches a row; claiming what another owns touches none, and is noticed by the count.
    mine = " AND ".join(f"{table}.{name} = excluded.{name}" for name in owner)
    return (
        f"{_insert(table, (*key, *(name for name in owner if name not in key)))} "
        f"ON CONFLICT ({_list(key)}) DO UPDATE SET intent_id = excluded.intent_id WHERE {mine}"
    )


_KEY = ("account", "intent_id")

_WRITES = {
    "store_update": _update("store", ("incarnation", "commit_seq", "halted", "suspicion"), ("id",)),
    "account_insert": _insert("account", c.ACCOUNT),
    "account_update": _update("account", c.ACCOUNT[c.ACCOUNT_MOVING], ("account",)),
    "lease_insert": _insert("account_lease", c.LEASE),
    "lease_update": _update("account_lease", c.LEASE[1:], ("account",)),
    "intent_insert": _insert("intent", c.INTENT),
    "order_update": _update("intent", c.ORDER, _KEY),
    "desired_update": _update("intent", ("desired", "version"), _KEY),
    "progress_update": _update("intent", ("version", *c.PROGRESS), _KEY),
    "due_update": _update("intent", ("next_due",), _KEY),
    "attempt_insert": _insert("attempt", c.ATTEMPT),
    "attempt_update": _update("attempt", c.ATTEMPT_MOVING, (*_KEY, "n")),
    "ticket_insert": _insert("ticket", c.TICKET),
    "ticket_update": _update("ticket", c.TICKET_MOVING, (*_KEY, "attempt", "seq")),
    "id_claim": _claim("attempt_id", ("account", "kind", "value"), ("intent_id", "n")),
    "slot_claim": _claim("sequence_number", ("scope", "number"), ("account", "intent_id", "attempt")),
    "fill_insert": _insert("fill", c.FILL),
    "fill_update": _update("fill", c.FILL_MOVING, ("account", "fill_id")),
    "position_write": f"{_insert('position', c.POSITION)} ON CONFLICT (account, symbol) DO UPDATE SET "
    "amount = excluded.amount, entry = excluded.entry, realized = excluded.realized",
    "event_insert": _insert("event", c.EVENT),
}

_PAIR = "SELECT {} FROM unnest(?::text[], ?::text[]) AS d(a, b) JOIN {} AS t ON t.account = d.a AND t.{} = d.b"
_PAIRS = {
    "heads_pairs": _PAIR.format(_list((*c.HEAD, "account"), "t."), "intent", "intent_id"),
    "positions_pairs": _PAIR.format(_list(c.POSITION, "t."), "position", "symbol"),
    # With the server's clock, and the timeline that it writes: behind a pooler another server may stand there by now.
    "store_now": f"SELECT {_list(c.STORE)}, (extract(epoch FROM clock_timestamp()) * 1000)::bigint, "
    "substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), "
    "(SELECT version_num FROM alembic_version) FROM store",
    # An upgrade waits for the transactions that are on their way, and those after it see what it did.
    "no_upgrade": f"SELECT pg_advisory_xact_lock_shared({SCHEMA_LOCK})",
}

_LIVE = (
    "SELECT i.id, i.intent_id, i.status, i.next_due, i.desired, i.generation, "
    "a.n, a.key, a.state, a.venue_status, a.version, a.cum_base, a.booked_base, a.generation "
    "FROM intent i LEFT JOIN attempt a ON a.account = i.account AND a.intent_id = i.intent_id "
    "WHERE i.account = ? AND "
)
_OF_REVIVED = f"NOT ({UNFINISHED}) AND i.intent_id IN (SELECT intent_id FROM attempt WHERE {REVIVED} AND account = ?)"
_DUE = "SELECT next_due, id, intent_id FROM intent i WHERE account = ? AND next_due <= ? AND "
_SLOTS = (
    "SELECT number, account, intent_id, attempt FROM sequence_number "
    "WHERE scope = ? AND number{plain} >= ? ORDER BY number{plain}"
)

_READS = {
    "intents": f"{_select('intent', c.INTENT, 'account = ?')} ORDER BY id",
    "intents_active": f"{_select('intent', c.INTENT, f'account = ? AND {UNFINISHED}')} ORDER BY id",
    "intents_page": _select(
        "intent",
        c.INTENT,
        "account = ? AND id > COALESCE((SELECT id FROM intent WHERE account = ? AND intent_id = ?), 0)",
    )
    + " ORDER BY id LIMIT ?",
    "intent": _select("intent", c.INTENT, _is(_KEY)),
    "attempts": f"{_select('attempt', c.ATTEMPT, _is(_KEY))} ORDER BY n",
    "tickets": f"{_select('ticket', c.TICKET, _is(_KEY))} ORDER BY attempt, seq",
    "fills": f"{_select('fill', c.FILL, _is(_KEY))} ORDER BY id",
    "by_key": _select("attempt", ("intent_id", "n"), "account = ? AND key = ?"),
    "by_id": _select("attempt_id", ("intent_id", "n"), "account = ? AND kind = ? AND value = ?"),
    "by_fill": _select("fill", ("intent_id", "attempt"), "account = ? AND fill_id = ?"),
    "slot": _select("sequence_number", ("account", "intent_id", "attempt"), "scope = ? AND number = ?"),
    "live": f"{_LIVE}{UNFINISHED} ORDER BY i.id, a.n",
    "live_revived": f"{_LIVE}{_OF_REVIVED} ORDER BY i.id, a.n",
    "due": f"{_DUE}{UNFINISHED} ORDER BY next_due, id LIMIT ?",
    "due_revived": f"{_DUE}{_OF_REVIVED}",
    "events": f"{_select('event', c.EVENT, 'account = ? AND seq > ?')} ORDER BY seq LIMIT ?",
    "history": _select("event", c.EVENT, "account = ? AND intent_id = ? AND seq > ?") + " ORDER BY seq LIMIT ?",
    "tally": f"SELECT status, COUNT(*) FROM intent WHERE account = ? AND {UNFINISHED} GROUP BY status",
    "position": _select("position", c.POSITION, "account = ? AND symbol = ?"),
    "positions": _select("position", c.POSITION, "account = ?"),
    "account": _select("account", c.ACCOUNT, "account = ?"),
    "accounts": _select("account", ("account",)),
    "counters": _select("account", ("account", "event_seq")),
    "lease": _select("account_lease", c.LEASE, "account = ?"),
}
