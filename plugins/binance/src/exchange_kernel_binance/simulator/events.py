"""Where an exchange tells what happened; the streams take it from there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# (account, event as it goes over the wire)
Tell = Callable[[str, dict[str, Any]], None]


class Journal:
    """Keeps every event in order and passes it on to whoever listens."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self._listeners: list[Tell] = []

    def listen(self, listener: Tell) -> None:
        self._listeners.append(listener)

    def tell(self, account: str, event: dict[str, Any]) -> None:
        self.told.append((account, event))
        for listener in tuple(self._listeners):
            listener(account, event)
