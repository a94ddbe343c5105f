"""Has this store lost commits? (R32) What a restored backup cannot know, kept outside the database.

SQLite: a small file beside the database, ``<database>.witness``, holds the number of the newest commit and the identity
of the file. It is written after each commit, without fsync: it only has to survive the process, because after a power
cut the database, whose commits are on the disk, can only be ahead of it.

PostgreSQL: the server's own identity and timeline are compared with those seen before, and, where a witness file was
asked for, the numbers of the newest events this process wrote.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from exchange_kernel.state.unit import compact

_SIZE = 512


class Testimony(NamedTuple):
    """What a witness remembers: whose it is, the identity of the file, and how far each counter had got."""

    store_id: str
    file: int | None
    counters: Mapping[str, int]


class Witness:
    """The witness file. All errors of the file system are reported by ``read`` and by ``start``, not by ``write``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None
        self._size = 0

    @property
    def started(self) -> bool:
        """Is it being written?"""
        return self._fd is not None

    def read(self) -> Testimony | None:
        """What it says; None when it is not there or not readable as one."""
        try:
            data = json.loads(self.path.read_text())
            return Testimony(data["store_id"], data["file"], dict(data["counters"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def start(self, testimony: Testimony, *, new: bool) -> None:
        """Begin to write; ``new``: what it says until now does not count, replace it, on the disk. Raises OSError."""
        self.close()
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        self._size = os.fstat(self._fd).st_size
        if not new:
            return
        self._put(testimony)
        os.fsync(self._fd)
        if os.name == "posix":
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def write(self, testimony: Testimony) -> None:
        """Remember a commit. A witness that lags behind never raises a false alarm, so a failure is no error here."""
        if self._fd is None:
            return
        try:
            self._put(testimony)
        except OSError:
            return

    def close(self) -> None:
        """Let go of the file."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _put(self, testimony: Testimony) -> None:
        assert self._fd is not None
        text = compact({"store_id": testimony.store_id, "file": testimony.file, "counters": dict(testimony.counters)})
        # One write of a fixed length: what a killed process leaves is the old text or the new one.
        size = self._size = max(self._size, -(-(len(text) + 1) // _SIZE) * _SIZE)
        os.lseek(self._fd, 0, os.SEEK_SET)
        os.write(self._fd, text.encode().ljust(size - 1) + b"\n")


def lost(said: Testimony | None, here: Testimony, witness: str) -> str | None:
    """Why commits may have been lost, or None. ``said``: what the witness says; ``here``: what the database shows.

    A store that never committed anything has lost nothing.
    """
    if said is None:
        if any(here.counters.values()):
            return f"{witness} is missing: this is a copy or a restored backup, or the witness was deleted"
        return None
    if said.store_id != here.store_id:
        return f"{witness} knows another store here ({said.store_id}, now {here.store_id}): the database was replaced"
    for name, known in said.counters.items():
        have = here.counters.get(name, 0)
        if have < known:
            return f"{witness} remembers {known} {name} and there are only {have}: an older state was restored"
    if said.file is not None and here.file is not None and said.file != here.file:
        return f"{witness} was written beside another file: the database was copied or restored"
    return None


def moved_server(seen: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """How a PostgreSQL server differs from the one seen before, or None."""
    names = {
        "system": "the server (system identifier)",
        "timeline": "the server's timeline (a fail-over or a point-in-time recovery)",
        "database": "the database (it was created anew)",
        "table": "the table (it was dropped and loaded again)",
    }
    for name, what in names.items():
        if name in seen and name in now and seen[name] != now[name]:
            return f"{what} changed from {seen[name]} to {now[name]}"
    return None
