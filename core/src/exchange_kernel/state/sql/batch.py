"""Rows on their way to the database: as many as there are, in as few statements and round trips as the database allows.

SQLite: one statement a row, or :data:`BULK` rows to a statement; nothing lies between. PostgreSQL: one statement a
table and kind of write, its rows as arrays, and all statements of a flush in one round trip.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from exchange_kernel.state.sql.statements import BULK, Statements

if TYPE_CHECKING:
    from exchange_kernel.state.sql.backend import Cursor

Row = tuple[Any, ...]


class Collision(Exception):
    """Something that may exist only once was written a second time; which one is found out afterwards."""


class Write(NamedTuple):
    """Rows for the statement of this name. ``exact``: each must touch one row of the database. ``key``: how many values
    at the end of a row (in a claim: at its beginning) say which row that is; the last one given wins."""

    name: str
    rows: Sequence[Row]
    exact: bool = False
    key: int = 0


Question = tuple[str, Row]
"""A statement that reads, and its parameters."""


class Carrier(ABC):
    """Brings questions and writes to one kind of database."""

    @abstractmethod
    def ask(self, cursor: Cursor, questions: Sequence[Question]) -> list[list[Row]]:
        """Ask in this order; the rows of each."""

    @abstractmethod
    def write(self, cursor: Cursor, writes: Sequence[Write]) -> None:
        """Write in this order. Raises Collision where ``exact`` does not hold."""


class OneByOne(Carrier):
    """A statement at a time."""

    def __init__(self, sql: Statements) -> None:
        self._sql = sql

    def ask(self, cursor: Cursor, questions: Sequence[Question]) -> list[list[Row]]:
        found = []
        for text, parameters in questions:
            cursor.execute(text, parameters)
            found.append(cursor.fetchall())
        return found

    def write(self, cursor: Cursor, writes: Sequence[Write]) -> None:
        for name, rows, exact, _ in writes:
            text = getattr(self._sql, name)
            bulk = self._sql.bulk.get(text) if len(rows) >= BULK else None
            if bulk is None:
                _many(cursor, text, rows)
                if exact and cursor.rowcount != len(rows):
                    raise Collision
                continue
            whole = len(rows) - len(rows) % BULK
            for start in range(0, whole, BULK):
                cursor.execute(bulk, [value for row in rows[start : start + BULK] for value in row])
            _many(cursor, text, rows[whole:])


def _many(cursor: Cursor, text: str, rows: Sequence[Row]) -> None:
    if len(rows) == 1:
        cursor.execute(text, rows[0])
    elif rows:
        cursor.executemany(text, rows)


class Arrays(Carrier):
    """A column is one parameter, an array made here: the driver's own costs as much as a statement each."""

    def __init__(self, sql: Statements) -> None:
        self._sql = sql

    def ask(self, cursor: Cursor, questions: Sequence[Question]) -> list[list[Row]]:
        return [each.fetchall() for each in _in_one_go(cursor, questions)]

    def write(self, cursor: Cursor, writes: Sequence[Write]) -> None:
        made = [self._parameters(*write) for write in writes]
        texts = [self._sql.arrays[write.name].text for write in writes]
        done = _in_one_go(cursor, [(text, parameters) for text, (_, parameters) in zip(texts, made, strict=True)])
        for write, (count, _), each in zip(writes, made, done, strict=True):
            if write.exact and each.rowcount != count:
                raise Collision

    def _parameters(self, name: str, rows: Sequence[Row], exact: bool, key: int) -> tuple[int, list[str]]:
        if key and len(rows) > 1:
            # One statement touches a row once.
            if name.endswith("_claim"):
                rows = list(dict.fromkeys(rows))
                if len({row[:key] for row in rows}) != len(rows):
                    raise Collision
            else:
                rows = list({row[-key:]: row for row in rows}.values())
        kinds = self._sql.arrays[name].kinds
        return len(rows), [_ARRAY[kind](values) for kind, values in zip(kinds, zip(*rows, strict=True), strict=True)]


def _plain(values: Sequence[Any]) -> str:
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def _texts(values: Sequence[str | None]) -> str:
    return (
        "{"
        + ",".join(
            [
                "NULL" if value is None else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
                for value in values
            ]
        )
        + "}"
    )


def _bytes(values: Sequence[bytes]) -> str:
    return "{" + ",".join(['"\\\\x' + value.hex() + '"' for value in values]) + "}"


def _in_one_go(cursor: Cursor, statements: Sequence[tuple[str, Any]]) -> list[Cursor]:
    """Run the statements, all but the last in one round trip.

    The last stands alone because the driver ends a pipeline with a message that turns the server's
    ``idle_in_transaction_session_timeout`` off until the next one: a process stopped just then would hold its locks.
    """
    connection = cursor.connection
    if len(statements) < 3:
        return [connection.execute(*each) for each in statements]
    with connection.pipeline():
        done = [connection.execute(*each) for each in statements[:-1]]
    return [*done, connection.execute(*statements[-1])]


def carrier(sql: Statements) -> Carrier:
    """The one for the database that these statements are for."""
    return Arrays(sql) if sql.postgres else OneByOne(sql)


_ARRAY = {"bigint": _plain, "boolean": _plain, "text": _texts, "bytea": _bytes}
