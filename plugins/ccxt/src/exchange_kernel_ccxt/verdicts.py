"""The frame of a venue's table of verdicts: what an answer means by its HTTP status, its code and its message.

A table has one row for each answer by which the venue documents that it did nothing. Everything else decides nothing,
an answer of 200 that cannot be read included.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from exchange_kernel.errors import VenueError
from exchange_kernel.value import Value
from exchange_kernel.venue import Why

Meaning = type[VenueError] | Literal["duplicate", "rate"]


class Row(Value, frozen=True):
    """One answer. ``code`` None: any; ``text``: part of its message, "" for any; ``status``: HTTP, 0 for any.

    ``source``: where the venue says so.
    """

    code: int | None
    meaning: Meaning
    why: Why
    source: str
    text: str = ""
    status: int = 0


class Table:
    """Rows by code, those with a text first."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = tuple(rows)
        self._by_code: dict[int | None, list[Row]] = {}
        for row in self.rows:
            self._by_code.setdefault(row.code, []).append(row)
        for same in self._by_code.values():
            same.sort(key=lambda row: (not row.text, not row.status))

    def find(self, status: int, code: int | None, text: str) -> Row | None:
        """The row that an answer meets; None: it decides nothing."""
        for key in dict.fromkeys((code, None)):
            for row in self._by_code.get(key, ()):
                if row.status in (0, status) and row.text.lower() in text.lower():
                    return row
        return None
