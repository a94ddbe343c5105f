"""WebSocket frames off the wire and onto it; a message keeps the fragments it came in."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from wsproto.frame_protocol import CloseReason, Frame, FrameProtocol, Opcode, ParseFailed

from exchange_kernel.testing.faults.records import FrameKind

_KINDS: Final = {
    Opcode.TEXT: FrameKind.TEXT,
    Opcode.BINARY: FrameKind.BINARY,
    Opcode.PING: FrameKind.PING,
    Opcode.PONG: FrameKind.PONG,
    Opcode.CLOSE: FrameKind.CLOSE,
}


class Malformed(Exception):
    """What came breaks the WebSocket protocol, or is too long. ``code``: what a close frame says about it."""

    def __init__(self, why: str, code: int) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True, slots=True)
class Unit:
    """A whole message with its fragments, or a control frame. ``code`` and ``reason`` are a close frame's."""

    kind: FrameKind
    fragments: tuple[str | bytes, ...] = ()
    code: int | None = None
    reason: str = ""

    @property
    def data(self) -> str | bytes:
        """The payload: str of TEXT, bytes of any other."""
        if self.kind is FrameKind.TEXT:
            return "".join(part for part in self.fragments if isinstance(part, str))
        return self.payload

    @property
    def payload(self) -> bytes:
        """The payload's bytes."""
        if self.kind is FrameKind.CLOSE:
            return (b"" if self.code is None else self.code.to_bytes(2, "big")) + self.reason.encode()
        return b"".join(part.encode() if isinstance(part, str) else part for part in self.fragments)


class FrameReader:
    """Reads what one side sends, and writes what it is sent.

    :param from_client: whether that side is the client, whose frames are masked.
    """

    closes = True
    """Whether an end can be announced."""

    def __init__(self, *, from_client: bool) -> None:
        self._protocol = FrameProtocol(client=not from_client, extensions=[])
        self._units: deque[Unit] = deque()
        self._fragments: list[str | bytes] = []
        self._pieces: list[Any] = []  # of one fragment: all str or all bytes
        self._size = 0
        self._failed: Malformed | None = None

    def feed(self, data: bytes) -> None:
        """Take bytes off the wire."""
        self._protocol.receive_bytes(data)

    def next(self, limit: int) -> Unit | None:
        """The next complete message or control frame, None when more bytes are needed.

        :raises Malformed: the bytes are no WebSocket, or a message has more than ``limit`` bytes.
        """
        if not self._units and self._failed is None:
            try:
                for frame in self._protocol.received_frames():
                    self._take(frame, limit)
            except ParseFailed as error:
                self._failed = Malformed(f"not a WebSocket frame: {error}", int(error.code))
            except Malformed as error:
                self._failed = error
        if self._units:
            return self._units.popleft()
        if self._failed is not None:
            raise self._failed
        return None

    def wire(self, unit: Unit) -> bytes:
        """The unit as bytes for this side."""
        if unit.kind is FrameKind.PING:
            return bytes(self._protocol.ping(unit.payload))
        if unit.kind is FrameKind.PONG:
            return bytes(self._protocol.pong(unit.payload))
        if unit.kind is FrameKind.CLOSE:
            return bytes(self._protocol.close(unit.code, unit.reason if unit.code is not None else None))
        last = len(unit.fragments) - 1
        return b"".join(
            bytes(self._protocol.send_data(part, fin=index == last)) for index, part in enumerate(unit.fragments)
        )

    def _take(self, frame: Frame, limit: int) -> None:
        kind = _KINDS[frame.opcode]
        if kind is FrameKind.CLOSE:
            assert isinstance(frame.payload, tuple)
            code, reason = frame.payload
            self._units.append(
                Unit(kind, code=None if code == CloseReason.NO_STATUS_RCVD else int(code), reason=reason)
            )
            return
        assert isinstance(frame.payload, str | bytes | bytearray)
        piece = frame.payload if isinstance(frame.payload, str) else bytes(frame.payload)
        if kind not in (FrameKind.TEXT, FrameKind.BINARY):
            self._units.append(Unit(kind, (piece,)))
            return
        self._size += len(piece.encode() if isinstance(piece, str) else piece)
        if self._size > limit:
            raise Malformed(f"a message of more than {limit} bytes", CloseReason.MESSAGE_TOO_BIG)
        self._pieces.append(piece)
        if frame.frame_finished:
            self._fragments.append(type(piece)().join(self._pieces))
            self._pieces = []
        if frame.message_finished:
            self._units.append(Unit(kind, tuple(self._fragments)))
            self._fragments, self._size = [], 0
