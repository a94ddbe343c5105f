"""Looks into everything an adapter answered: the kinds of its numbers, and the texts in which a secret could hide."""

from __future__ import annotations

import base64
import dataclasses
import traceback
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from decimal import Decimal
from typing import Any, get_args, get_origin, get_type_hints
from urllib.parse import quote

from exchange_kernel.errors import ExchangeKernelError

__all__ = ["SHORTEST_SECRET", "leaks", "wrong_numbers"]

SHORTEST_SECRET = 8
"""Shorter values are not looked for: they would be found by chance."""
DEEPEST = 30
_NUMBERS = (Decimal, int)
_HINTS: dict[type, dict[str, Any]] = {}


def wrong_numbers(thing: object) -> list[str]:
    """What in it is not what the contract says: a float, money that is no finite Decimal, a time that is no int."""
    return list(_wrong(thing, type(thing).__name__, 0))


def leaks(things: Iterable[object], secrets: Iterable[str]) -> list[str]:
    """Where one of the secrets shows: in a text, bytes, a repr, an error or what an error was caused by."""
    needles = {form for secret in secrets if len(secret) >= SHORTEST_SECRET for form in _forms(secret)}
    found = []
    for thing in things:
        where = next((where for where, text in _texts(thing, 0) if any(needle in text for needle in needles)), None)
        if where is not None:
            found.append(f"{type(thing).__name__}: {where}")
    return found


# numbers ----------------------------------------------------------------------------------------------------------


def _wrong(thing: object, path: str, depth: int) -> Iterator[str]:
    if depth > DEEPEST:
        return
    if isinstance(thing, float):
        yield f"{path} is the float {thing!r}"
    elif isinstance(thing, Decimal):
        if not thing.is_finite():
            yield f"{path} is {thing}"
    elif isinstance(thing, ExchangeKernelError):
        for name, value in vars(thing).items():
            yield from _wrong(value, f"{path}.{name}", depth + 1)
        for number, value in enumerate(thing.args):
            yield from _wrong(value, f"{path}.args[{number}]", depth + 1)
    elif _is_record(thing):
        hints = _hints(type(thing))
        for name in _fields(thing):
            value, hint = getattr(thing, name), hints.get(name)
            bad = _mismatch(value, hint)
            if bad:
                yield f"{path}.{name} is {bad}"
            else:
                yield from _wrong(value, f"{path}.{name}", depth + 1)
    elif isinstance(thing, Mapping):
        for key, value in thing.items():
            yield from _wrong(value, f"{path}[{key!r}]", depth + 1)
    elif isinstance(thing, (list, tuple, AbstractSet)):
        for number, value in enumerate(thing):
            yield from _wrong(value, f"{path}[{number}]", depth + 1)


def _mismatch(value: object, hint: object) -> str:
    """What is wrong with a value whose field is declared as money, a count or a time; "" for nothing."""
    origin = get_origin(hint)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        kind = get_args(hint)[1]
        bad = [each for each in value.values() if type(each) is not kind] if isinstance(value, Mapping) else [value]
        return f"{value!r}, which is no mapping to {kind.__name__}" if bad and kind in (Decimal, str) else ""
    allowed = [each for each in (get_args(hint) or (hint,)) if each is not type(None)]
    if len(allowed) != 1 or allowed[0] not in _NUMBERS or (value is None and type(None) in get_args(hint)):
        return ""
    kind = allowed[0]
    return "" if type(value) is kind else f"{value!r} of type {type(value).__name__}, not {kind.__name__}"


def _hints(cls: type) -> dict[str, Any]:
    if cls not in _HINTS:
        try:
            _HINTS[cls] = get_type_hints(cls)
        except (NameError, TypeError):  # an adapter's own type, with names only a type checker knows
            _HINTS[cls] = {}
    return _HINTS[cls]


def _is_record(thing: object) -> bool:
    return dataclasses.is_dataclass(thing) and not isinstance(thing, type)


def _fields(thing: object) -> list[str]:
    return [field.name for field in dataclasses.fields(thing)]  # type: ignore[arg-type]


# secrets ----------------------------------------------------------------------------------------------------------


def _forms(secret: str) -> Iterator[str]:
    """The secret as it may be written: plain, escaped, in hex, in base64 wherever in it it begins."""
    raw = secret.encode()
    yield secret
    yield quote(secret, safe="")
    yield repr(secret)[1:-1]
    yield raw.hex()
    yield raw.hex().upper()
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        yield coded[(0, 2, 3)[shift] : len(coded) - 1]


def _texts(thing: object, depth: int) -> Iterator[tuple[str, str]]:
    """Every text in it, with where it is."""
    if depth > DEEPEST:
        return
    if isinstance(thing, BaseException):
        yield from _error_texts(thing, depth)
        return
    if isinstance(thing, str):
        yield "text", thing
        return
    if isinstance(thing, (bytes, bytearray)):
        yield "bytes", bytes(thing).decode("latin-1")
        return
    if _is_record(thing):
        for name in _fields(thing):
            for where, text in _texts(getattr(thing, name), depth + 1):
                yield f"{name} {where}", text
    elif isinstance(thing, Mapping):
        for key, value in thing.items():
            yield "key", str(key)
            for where, text in _texts(value, depth + 1):
                yield f"[{key!r}] {where}", text
    elif isinstance(thing, (list, tuple, AbstractSet)):
        for value in thing:
            yield from _texts(value, depth + 1)
    yield "repr", repr(thing)
    yield "str", str(thing)


def _error_texts(error: BaseException, depth: int) -> Iterator[tuple[str, str]]:
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or each in seen:
            continue
        seen.append(each)
        waiting += [each.__cause__, each.__context__]
        where = "error" if each is error else f"behind the error, in {type(each).__name__}"
        yield where, "".join(traceback.format_exception(each))
        yield where, repr(each)
        for value in (*each.args, *vars(each).values(), *getattr(each, "__notes__", ())):
            if not isinstance(value, BaseException):
                for inside, text in _texts(value, depth + 1):
                    yield f"{where}, {inside}", text
