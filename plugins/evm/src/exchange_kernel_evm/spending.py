"""What a day's signed transactions may send along, kept where a restart finds it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from exchange_kernel.errors import ConfigError

__all__ = ["FileSpending", "MemorySpending", "Spending", "Spent"]

Spent = Mapping[int, int]
"""Of each transaction's number, the wei it may send. Of transactions with one number only one can ever take effect."""


class Spending(Protocol):
    """The sums of a UTC day (days since 1970)."""

    def read(self, day: int) -> Spent:
        """What was signed for that day so far. Raises OSError, ValueError."""
        ...

    def write(self, day: int, spent: Spent) -> None:
        """Keep it, durably. Raises OSError."""
        ...


class MemorySpending:
    """Forgotten with the session: for a policy that limits no day."""

    def __init__(self) -> None:
        self._day, self._spent = -1, dict[int, int]()

    def read(self, day: int) -> Spent:
        return dict(self._spent) if day == self._day else {}

    def write(self, day: int, spent: Spent) -> None:
        self._day, self._spent = day, dict(spent)


class FileSpending:
    """One file for one address on one chain; replaced as a whole, and synced, at every signature.

    It is read again each time: a process that takes the account over goes on with the sum. Raises ConfigError where the
    file is somebody else's, cannot be read, or its folder does not exist.
    """

    def __init__(self, path: str, chain_id: int, address: str) -> None:
        self._path = Path(path).expanduser()
        self._owner = {"chain": chain_id, "address": address}
        if not self._path.parent.is_dir():
            raise ConfigError("spending", path, "is in no folder that exists", "make it first")
        try:
            self._load()
        except (OSError, ValueError) as error:
            raise ConfigError(
                "spending", path, f"holds no sums of this account: {error}", "name another file, or mend it"
            ) from None

    def read(self, day: int) -> Spent:
        found = self._load()
        return found["spent"] if found is not None and found["day"] == day else {}

    def write(self, day: int, spent: Spent) -> None:
        body = {**self._owner, "day": day, "spent": {str(nonce): str(value) for nonce, value in spent.items()}}
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=self._path.name + ".")
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                json.dump(body, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self._path)
        except BaseException:
            os.unlink(name)
            raise
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _load(self) -> dict[str, Any] | None:
        try:
            text = self._path.read_text("ascii")
        except FileNotFoundError:
            return None
        body = json.loads(text)
        if not isinstance(body, dict) or not isinstance(body.get("spent"), dict) or type(body.get("day")) is not int:
            raise ValueError("it is no such file")
        owner = {name: body.get(name) for name in self._owner}
        if owner != self._owner:
            raise ValueError(f"it is of {owner['address']} on chain {owner['chain']}")
        return {"day": body["day"], "spent": {int(nonce): int(value) for nonce, value in body["spent"].items()}}
