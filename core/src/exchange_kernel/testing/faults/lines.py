"""Messages of a stream that is neither HTTP nor WebSocket: one line each."""

from __future__ import annotations

from exchange_kernel.testing.faults.frames import Malformed, Unit
from exchange_kernel.testing.faults.records import FrameKind

_TOO_BIG = 1009


class LineReader:
    """Reads lines from one side, and writes those it is sent. A line that is UTF-8 is TEXT, any other BINARY."""

    closes = False
    """Whether an end can be announced."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def feed(self, data: bytes) -> None:
        """Take bytes off the wire."""
        self._waiting += data

    def next(self, limit: int) -> Unit | None:
        """The next whole line, without its line feed; None when more bytes are needed.

        :raises Malformed: a line has more than ``limit`` bytes.
        """
        line, feed, rest = self._waiting.partition(b"\n")
        if len(line) > limit:
            raise Malformed(f"a line of more than {limit} bytes", _TOO_BIG)
        if not feed:
            return None
        self._waiting = rest
        try:
            return Unit(FrameKind.TEXT, (line.decode(),))
        except UnicodeDecodeError:
            return Unit(FrameKind.BINARY, (bytes(line),))

    def wire(self, unit: Unit) -> bytes:
        """The line as bytes."""
        return unit.payload + b"\n"
