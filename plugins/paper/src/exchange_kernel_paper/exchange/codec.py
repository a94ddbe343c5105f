"""JSON on the wire, both ways: compact, ASCII, and without the set-up the standard functions repeat for every call."""

from __future__ import annotations

import json
from collections.abc import Callable
from json import encoder as _json
from json.scanner import make_scanner
from typing import Any, cast

_plain: Callable[[Any], str] = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_scan: Callable[[str, int], tuple[Any, int]] = make_scanner(cast(Any, json.JSONDecoder()))


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} does not go over the wire")


def _fast() -> Callable[[Any], str]:
    # JSONEncoder builds its C encoder anew for every document, which costs more than a small document itself.
    make = getattr(_json, "c_make_encoder", None)
    if make is None:
        return _plain
    chunks = make(None, _refuse, _json.encode_basestring_ascii, None, ":", ",", False, False, True)
    return lambda value: "".join(chunks(value, 0))


_encode = _fast()


def encode(value: Any) -> bytes:
    """``value`` as JSON. Raises TypeError for what JSON has no words for."""
    return _encode(value).encode()


def decode(data: bytes) -> Any:
    """What the JSON in ``data`` says. Raises ValueError."""
    text = data.decode().strip()
    try:
        value, end = _scan(text, 0)
    except (StopIteration, RecursionError):
        raise ValueError("not JSON, or nested too deeply") from None
    if end != len(text):
        raise ValueError(f"more than one JSON document: {len(text) - end} characters follow the first")
    return value
