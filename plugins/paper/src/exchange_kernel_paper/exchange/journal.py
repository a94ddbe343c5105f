"""The exchange's state on disk: a journal of everything that changed it, one JSON line each, written before it is done.

A line reaches the operating system before the answer reaches the client, so killing the process loses nothing that was
answered. A torn last line was never answered, and is cut off.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from exchange_kernel_paper.exchange.codec import decode, encode


class FileJournal:
    """Appends to a file. The file belongs to one process at a time."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, now: int, name: str, args: tuple[object, ...]) -> None:
        """One mutation at venue time ``now``."""
        line = encode([now, name, list(args)]) + b"\n"
        written = os.write(self._file, line)
        if written != len(line):
            raise OSError(f"journal took {written} of {len(line)} bytes")

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def read_journal(path: Path) -> Iterator[tuple[int, str, list[object]]]:
    """What a journal says, in order. Cuts off a torn last line; raises ValueError for any other damage."""
    if not path.exists():
        return
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole != len(data):
        os.truncate(path, whole)
    for number, line in enumerate(data[:whole].splitlines(), 1):
        try:
            now, name, args = decode(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        yield now, name, args
