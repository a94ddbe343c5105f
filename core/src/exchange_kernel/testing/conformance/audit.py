"""Sees what a piece of code does besides computing: connections, look-ups of names, other programs, databases."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

__all__ = ["deeds"]

_WATCHED = ("socket.", "subprocess.", "urllib.", "sqlite3.", "os.system", "http.client.")
_listeners: list[list[str]] = []
_hooked: list[bool] = []


def _hear(event: str, _: tuple[object, ...]) -> None:
    if _listeners and event.startswith(_WATCHED):
        for each in _listeners:
            each.append(event)


@contextlib.contextmanager
def deeds() -> Iterator[list[str]]:
    """A list of what the interpreter was asked to do in the block, as names of its audit events."""
    if not _hooked:
        sys.addaudithook(_hear)  # for good: there is no way to take it back, so it is there once
        _hooked.append(True)
    heard: list[str] = []
    _listeners.append(heard)
    try:
        yield heard
    finally:
        _listeners[:] = [each for each in _listeners if each is not heard]
