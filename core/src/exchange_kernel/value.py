"""The base of every frozen value on an order's way: rows, commands, reports, events.

Some sixty of them are made for each order. A :class:`msgspec.Struct` is made in a twentieth of the time a frozen
dataclass with slots takes, and its objects hold no cycles, so the garbage collector need not visit them. They still
answer to :mod:`dataclasses` (``replace``, ``fields``, ``asdict``).
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import msgspec
from msgspec.structs import replace as revised

__all__ = ["Row", "Value", "revised"]


class _Fields:
    """``__dataclass_fields__`` of a struct, made when somebody asks."""

    def __init__(self) -> None:
        self._made: dict[type, dict[str, Any]] = {}

    def __get__(self, _: object, cls: type[msgspec.Struct]) -> dict[str, Any]:
        made = self._made.get(cls)
        if made is None:
            made = self._made[cls] = _mirror(cls)
        return made


def _mirror(cls: type[msgspec.Struct]) -> dict[str, Any]:
    names: list[tuple[str, Any, Any]] = []
    for each in msgspec.structs.fields(cls):
        if each.default is not msgspec.NODEFAULT:
            field: Any = dataclasses.field(default=each.default)
        elif each.default_factory is not msgspec.NODEFAULT:
            field = dataclasses.field(default_factory=each.default_factory)
        else:
            field = dataclasses.field()
        names.append((each.name, each.type, field))
    twin: Any = dataclasses.make_dataclass(cls.__name__, names, kw_only=True)
    fields: dict[str, Any] = twin.__dataclass_fields__
    return fields


class Value(msgspec.Struct, frozen=True, gc=False):
    """A frozen value. Subclasses say ``frozen=True`` again, for type checkers.

    The collector does not look into values: they may hold values, numbers, text, tuples and mappings of those, never
    something that leads back to themselves.
    """

    __dataclass_fields__: ClassVar[Any] = _Fields()


class Row(msgspec.Struct, gc=False):
    """The same for what a transaction changes in place."""

    __dataclass_fields__: ClassVar[Any] = _Fields()
