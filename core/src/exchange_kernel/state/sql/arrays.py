"""PostgreSQL's writes: one statement however many rows, each column an array. Names and order as in ``statements``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from exchange_kernel.state.sql import columns as c

_KEY = ("account", "intent_id")


class ArrayWrite(NamedTuple):
    """A statement and, for each of its parameters, the kind of its elements."""

    text: str
    kinds: tuple[str, ...]


def array_writes() -> dict[str, ArrayWrite]:
    """Every write by name."""
    inserts: dict[str, tuple[str, Sequence[str]]] = {
        "account_insert": ("account", c.ACCOUNT),
        "lease_insert": ("account_lease", c.LEASE),
        "intent_insert": ("intent", c.INTENT),
        "attempt_insert": ("attempt", c.ATTEMPT),
        "ticket_insert": ("ticket", c.TICKET),
        "fill_insert": ("fill", c.FILL),
        "event_insert": ("event", c.EVENT),
    }
    updates: dict[str, tuple[str, Sequence[str], Sequence[str]]] = {
        "store_update": ("store", ("incarnation", "commit_seq", "halted", "suspicion"), ("id",)),
        "account_update": ("account", c.ACCOUNT[c.ACCOUNT_MOVING], ("account",)),
        "lease_update": ("account_lease", c.LEASE[1:], ("account",)),
        "order_update": ("intent", c.ORDER, _KEY),
        "desired_update": ("intent", ("desired", "version"), _KEY),
        "progress_update": ("intent", ("version", *c.PROGRESS), _KEY),
        "due_update": ("intent", ("next_due",), _KEY),
        "attempt_update": ("attempt", c.ATTEMPT_MOVING, (*_KEY, "n")),
        "ticket_update": ("ticket", c.TICKET_MOVING, (*_KEY, "attempt", "seq")),
        "fill_update": ("fill", c.FILL_MOVING, ("account", "fill_id")),
    }
    made = {name: _insert(table, names) for name, (table, names) in inserts.items()}
    made |= {name: _update(table, names, key) for name, (table, names, key) in updates.items()}
    made["id_claim"] = _claim("attempt_id", ("account", "kind", "value", "intent_id", "n"), 3, ("intent_id", "n"))
    owner = ("account", "intent_id", "attempt")
    made["slot_claim"] = _claim("sequence_number", ("scope", "number", *owner), 2, owner)
    positions = _insert("position", c.POSITION)
    moving = ", ".join(f'"{name}" = excluded."{name}"' for name in c.POSITION[2:])
    made["position_write"] = positions._replace(
        text=f"{positions.text} ON CONFLICT (account, symbol) DO UPDATE SET {moving}"
    )
    return made


def _kinds(table: str, names: Sequence[str]) -> tuple[str, ...]:
    from sqlalchemy.dialects import postgresql

    from exchange_kernel.state.sql.tables import metadata

    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    columns = metadata.tables[table].c
    return tuple(str(columns[name].type.compile(dialect=dialect)).lower() for name in names)


def _list(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _rows(kinds: Sequence[str]) -> str:
    return f"unnest({', '.join(f'%s::{kind}[]' for kind in kinds)})"


def _insert(table: str, names: Sequence[str]) -> ArrayWrite:
    kinds = _kinds(table, names)
    return ArrayWrite(f"INSERT INTO {table} ({_list(names)}) SELECT * FROM {_rows(kinds)}", kinds)


def _update(table: str, names: Sequence[str], key: Sequence[str]) -> ArrayWrite:
    kinds = _kinds(table, (*names, *key))
    changes = ", ".join(f'"{name}" = d."{name}"' for name in names)
    same = " AND ".join(f't."{name}" = d."{name}"' for name in key)
    text = f"UPDATE {table} AS t SET {changes} FROM {_rows(kinds)} AS d({_list((*names, *key))}) WHERE {same}"
    return ArrayWrite(text, kinds)


def _claim(table: str, names: Sequence[str], key: int, owner: Sequence[str]) -> ArrayWrite:
    # Claiming again what one owns touches a row; claiming what another owns touches none, and is noticed by the count.
    made = _insert(table, names)
    mine = " AND ".join(f"{table}.{name} = excluded.{name}" for name in owner)
    conflict = f"ON CONFLICT ({_list(names[:key])}) DO UPDATE SET intent_id = excluded.intent_id WHERE {mine}"
    return made._replace(text=f"{made.text} {conflict}")
