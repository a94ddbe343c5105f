"""Checks of single fields that are not money: choices, flags, identifiers, moments, and the keys of a mapping."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from exchange_kernel.errors import FieldError, InvalidOrder

__all__ = ["END_OF_TIME", "check_keys", "choice", "close_to", "flag", "identifier", "moment"]

Choice = TypeVar("Choice", bound=StrEnum)

END_OF_TIME = 253_370_764_800_000
"""First refused moment: 9999-01-01T00:00:00Z, in ms UTC. Later ones overflow in clients and venues."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_IDENTIFIER = re.compile(r"[!-~]{1,64}").fullmatch


def choice(field: str, value: object, choices: type[Choice], error: type[FieldError] = InvalidOrder) -> Choice:
    """The member of ``choices`` that ``value`` is, or whose exact name it is; else ``error`` with the list."""
    if isinstance(value, choices):
        return value
    if type(value) is str:
        member = choices.__members__.get(value)
        if member is not None:
            return member
        if value.upper() in choices.__members__:
            raise error(field, value, f"is not a {choices.__name__}", f"did you mean {value.upper()}?")
    raise error(field, value, f"is not a {choices.__name__}", f"choose one of {', '.join(choices.__members__)}")


def flag(field: str, value: object, error: type[FieldError] = InvalidOrder) -> bool:
    """``value`` if it is True or False; nothing else is taken for a yes or a no."""
    if value is True or value is False:
        return value
    raise error(field, value, "must be true or false")


def identifier(field: str, value: object, error: type[FieldError] = InvalidOrder) -> str:
    """``value`` if it is 1 to 64 printable ASCII characters without spaces."""
    if isinstance(value, str) and _IDENTIFIER(value):
        return value
    raise error(field, value, "must be 1 to 64 printable ASCII characters without spaces")


def moment(field: str, value: object, error: type[FieldError] = InvalidOrder) -> int:
    """A point in time as int ms UTC, from such an int or an aware datetime (cut to the millisecond before it)."""
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise error(field, value, "has no timezone", "use an aware datetime, or int milliseconds UTC")
        value = (value - _EPOCH) // _MILLISECOND
    if type(value) is not int:
        raise error(field, value, "must be int milliseconds UTC or an aware datetime")
    if not 0 < value < END_OF_TIME:
        raise error(field, value, "must lie between 1970 and the year 9999", "milliseconds UTC, not seconds")
    return value


def check_keys(where: str, data: object, known: Iterable[str], error: type[FieldError] = InvalidOrder) -> None:
    """Refuse ``data``, named ``where``, if it is no mapping or has a key that is not ``known``."""
    if not isinstance(data, Mapping):
        raise error(where, type(data), "is not a mapping of fields")
    names = tuple(known)
    for key in data:
        if key in names:
            continue
        if not isinstance(key, str):
            raise error(where, key, "is not a field: names of fields are text")
        guess = close_to(key, names)
        hint = f"did you mean {guess}?" if guess else f"the fields are {', '.join(names)}"
        raise error(where, key, "is not a field", hint)


def close_to(word: str, known: Iterable[str]) -> str:
    """The name of ``known`` that ``word`` most looks like, or ``""``."""
    from difflib import get_close_matches  # only on the way to an error: keeps the import of the package light

    return next(iter(get_close_matches(word[:64], list(known), n=1, cutoff=0.6)), "")
