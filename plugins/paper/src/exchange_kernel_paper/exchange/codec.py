"""JSON on the wire, both ways."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} does not go over the wire")


SAFE = 5_000
DEEPEST = 500

_marks = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{\]}]', re.DOTALL).finditer

_encoder = msgspec.json.Encoder(enc_hook=_refuse)


def encode(value: Any) -> bytes:
    """``value`` as JSON. Raises TypeError for what JSON has no words for."""
    return _encoder.encode(value)


def _deeper(data: bytes) -> bool:
    depth = 0
    for mark in _marks(data):
        first = data[mark.start()]
        if first != 0x22:
            depth += 1 if first in b"[{" else -1
            if depth > DEEPEST:
                return True
    return False


def reader(kind: type[T]) -> Callable[[bytes], T]:
    """What reads JSON of one kind. It raises ValueError for any other."""
    read = msgspec.json.Decoder(kind).decode

    def checked(data: bytes) -> T:
        if len(data) > SAFE and data.count(b"[") + data.count(b"{") > SAFE and _deeper(data):
            # Deep nesting ends the process where a library has raised Python's recursion limit, as some do when
            # imported.
            raise ValueError(f"not JSON of ours: nested more than {DEEPEST} deep")
        try:
            return read(data)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ValueError(f"not JSON: {error}") from None

    return checked


decode: Callable[[bytes], Any] = reader(object)
"""What the JSON in it says. Raises ValueError."""
