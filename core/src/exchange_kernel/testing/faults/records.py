"""What the proxy saw and what became of it: one record per request and per WebSocket frame, secrets removed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

HIDDEN: Final = "***"
# Headers and query parameters whose values are credentials, or prove that somebody holds one.
_SECRET_NAME: Final = re.compile(r"auth|cookie|key|token|secret|sign|pass|session|credential", re.IGNORECASE)
_KEY_LENGTH: Final = 16  # shorter path segments of an upstream's address are words, not keys


class Fate(StrEnum):
    """What became of a request. Set before the client can see the effect, so that a test may read it right after."""

    ARRIVING = "ARRIVING"  # its head is here; it waits for its body, or for a connection to the upstream
    INCOMPLETE = "INCOMPLETE"  # the client went away before its body was complete: never forwarded
    MALFORMED = "MALFORMED"  # not a request this proxy can carry: answered 4xx or 501, never forwarded
    WAITING = "WAITING"  # complete; held or delayed before the upstream is asked
    FORWARDED = "FORWARDED"  # the upstream was sent all of it; no answer has been passed on yet
    ANSWERED = "ANSWERED"  # the client was sent all of the upstream's answer
    UPGRADED = "UPGRADED"  # the upstream accepted a WebSocket (or a stream of lines) and the client was told
    REQUEST_DROPPED = "REQUEST_DROPPED"
    SOCKET_CLOSED = "SOCKET_CLOSED"  # the upstream was sent a part of it
    ANSWERED_BY_PROXY = "ANSWERED_BY_PROXY"  # the upstream was not asked
    ANSWER_DROPPED = "ANSWER_DROPPED"  # the upstream answered all of it
    ANSWER_REPLACED = "ANSWER_REPLACED"  # the upstream answered, the client was told something else
    ANSWER_TRUNCATED = "ANSWER_TRUNCATED"
    ANSWER_GARBLED = "ANSWER_GARBLED"
    UPSTREAM_DEAD = "UPSTREAM_DEAD"  # it refused the connection, or ended it before its answer was complete
    CLIENT_GONE = "CLIENT_GONE"  # complete, but the client had closed before the answer was passed on
    ABANDONED = "ABANDONED"  # the proxy was closed first


UNDECIDED: Final = frozenset({Fate.ARRIVING, Fate.WAITING, Fate.FORWARDED})
_WHOLE_ANSWERS: Final = frozenset(
    {Fate.ANSWERED, Fate.UPGRADED, Fate.ANSWERED_BY_PROXY, Fate.ANSWER_REPLACED, Fate.ANSWER_GARBLED}
)


class Direction(StrEnum):
    """Which way a WebSocket frame travels."""

    TO_UPSTREAM = "TO_UPSTREAM"
    TO_CLIENT = "TO_CLIENT"


class FrameKind(StrEnum):
    """Kinds of WebSocket frames. A message sent in fragments counts as one TEXT or BINARY frame."""

    TEXT = "TEXT"
    BINARY = "BINARY"
    PING = "PING"
    PONG = "PONG"
    CLOSE = "CLOSE"


class FrameFate(StrEnum):
    """What became of a WebSocket frame."""

    WAITING = "WAITING"  # delayed, held, or waiting for others to be reordered with; also: lost so with its connection
    FORWARDED = "FORWARDED"
    DROPPED = "DROPPED"
    DUPLICATED = "DUPLICATED"
    REORDERED = "REORDERED"
    REPLACED = "REPLACED"  # forwarded with other data
    ANSWERED = "ANSWERED"  # not forwarded: its sender got an answer from the proxy
    RELEASED = "RELEASED"  # held, then forwarded
    CUT = "CUT"  # it made the proxy cut the connection, and was not forwarded
    SILENCED = "SILENCED"  # arrived on a connection that had gone silent


@dataclass(slots=True)
class RequestRecord:
    """One HTTP request (a WebSocket handshake is one), in the order of arrival; in front of ``tcp://``, one connection,
    without method and path.

    ``headers`` and ``query`` carry ``***`` where a value may be a credential. ``body_sha256`` is empty until the body
    is complete.
    """

    number: int  # from 1
    at_ms: int  # when its head arrived, ms UTC
    method: str
    path: str  # without the query
    query: str
    headers: tuple[tuple[str, str], ...]
    websocket: bool = False
    body_size: int = 0  # bytes
    body_sha256: str = ""
    rpc: tuple[str, ...] = ()  # the JSON-RPC methods it calls; several in a batch
    fate: Fate = Fate.ARRIVING
    forwarded: int = 0  # how often the upstream was sent all of it
    status: int | None = None  # what the client was told
    upstream_status: int | None = None  # what the upstream said
    faults: tuple[str, ...] = ()  # the faults that acted, in order

    @property
    def answered(self) -> bool:
        """Whether the client was sent a whole answer, by whomever."""
        return self.fate in _WHOLE_ANSWERS


@dataclass(slots=True)
class FrameRecord:
    """One WebSocket frame, in the order of arrival at the proxy."""

    number: int  # from 1, over all connections
    at_ms: int  # when it was complete, ms UTC
    connection: int  # the number of the handshake's RequestRecord
    path: str
    direction: Direction
    kind: FrameKind
    size: int  # bytes of payload
    sha256: str  # of the payload
    rpc: tuple[str, ...] = ()  # the JSON-RPC methods it calls or answers
    fate: FrameFate = FrameFate.WAITING
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Counts:
    """How many requests were seen; of those, how many the upstream was sent, and how many the client got answered."""

    seen: int
    forwarded: int
    answered: int


@dataclass(slots=True)
class Redaction:
    """Keeps credentials out of records: by the names of headers and parameters, and by value for ``secrets``."""

    secrets: Iterable[str] = ()
    _values: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._values = tuple(sorted({value for value in self.secrets if value}, key=len, reverse=True))

    def text(self, value: str) -> str:
        """The text without any secret in it."""
        for secret in self._values:
            value = value.replace(secret, HIDDEN)
        return value

    def headers(self, pairs: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
        """Header fields as text."""
        named = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs)
        return tuple((name, HIDDEN if _SECRET_NAME.search(name) else self.text(value)) for name, value in named)

    def query(self, query: str) -> str:
        """A query string; a parameter keeps its name and loses its value."""
        return "&".join(self._parameter(part) for part in query.split("&"))

    def _parameter(self, part: str) -> str:
        name, equals, _ = part.partition("=")
        return f"{name}={HIDDEN}" if equals and _SECRET_NAME.search(name) else self.text(part)


def keys_in(path: str) -> list[str]:
    """The segments of an upstream's own path that are long enough to be keys, as node providers put them there."""
    return [segment for segment in path.split("/") if len(segment) >= _KEY_LENGTH]


def digest(data: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(data).hexdigest()
