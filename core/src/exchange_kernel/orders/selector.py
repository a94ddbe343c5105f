"""Which labels are meant: ``app=mean-rev,stage!=test,urgent,!manual``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from exchange_kernel.errors import InvalidOrder

__all__ = ["Selector"]

_PART = re.compile(
    r"(?P<absent>!?)(?P<name>[A-Za-z0-9][A-Za-z0-9._/-]{0,62})(?:(?P<how>==|=|!=)(?P<value>[^,]{0,256}))?", re.ASCII
)


class How(Enum):
    """What a part of a selector asks of a label."""

    IS = "="
    IS_NOT = "!="
    THERE = ""
    ABSENT = "!"


@dataclass(frozen=True, slots=True)
class Selector:
    """Labels must satisfy every part. ``!=`` is true of what has no such label."""

    parts: tuple[tuple[str, How, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Selector:
        """Raises InvalidOrder for what is no selector."""
        parts = []
        for each in filter(None, (part.strip() for part in text.split(","))):
            found = _PART.fullmatch(each)
            if found is None or (found["absent"] and found["how"]):
                rule = "is no selector of labels"
                raise InvalidOrder("selector", each, rule, "write NAME=VALUE, NAME!=VALUE, NAME or !NAME, with commas")
            if found["how"] is None:
                parts.append((found["name"], How.ABSENT if found["absent"] else How.THERE, ""))
            else:
                parts.append((found["name"], How.IS_NOT if found["how"] == "!=" else How.IS, found["value"]))
        if not parts:
            raise InvalidOrder("selector", text, "is empty", "write NAME=VALUE")
        return cls(tuple(parts))

    def chooses(self, labels: Mapping[str, str]) -> bool:
        """Are these labels meant?"""
        return all(_holds(labels, *part) for part in self.parts)


def _holds(labels: Mapping[str, str], name: str, how: How, value: str) -> bool:
    match how:
        case How.IS:
            return labels.get(name) == value
        case How.IS_NOT:
            return labels.get(name) != value
        case How.THERE:
            return name in labels
        case How.ABSENT:
            return name not in labels
