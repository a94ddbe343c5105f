"""What can go wrong with a request and its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Unpack

from exchange_kernel.testing.faults.handles import Ending, Fault, Hold, Script, seconds_of
from exchange_kernel.testing.faults.matching import RequestMatch, SeenRequest, request_matcher

_FRAMING: Final = frozenset({"connection", "content-length", "transfer-encoding", "upgrade"})
_BODILESS: Final = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class WaitBeforeRequest:
    """Wait this many seconds, or as long as held (None), before the upstream is asked."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class WaitBeforeAnswer:
    """Wait this many seconds, or as long as held (None), before the client gets what the upstream answered."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class DropRequest:
    """The upstream is not asked and the client not answered."""

    ending: Ending


@dataclass(frozen=True, slots=True)
class CloseSocket:
    """The upstream gets the first bytes of the request (None: half of them), then both connections end."""

    after: int | None
    ending: Ending


@dataclass(frozen=True, slots=True)
class Reply:
    """The client gets this, and the upstream is not asked."""

    code: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class ReplyAfterAsking:
    """The client gets this, after the upstream has answered something else."""

    code: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class DuplicateRequest:
    """The upstream gets the request twice."""


@dataclass(frozen=True, slots=True)
class DropAnswer:
    """The upstream answers and the client does not hear it."""

    ending: Ending


@dataclass(frozen=True, slots=True)
class Truncate:
    """The client gets the first bytes of the answer's body, then the end of the connection."""

    size: int


@dataclass(frozen=True, slots=True)
class Garble:
    """The client gets another body."""

    body: bytes | Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to happen to one request: at most one fault of each kind."""

    wait: Fault | None
    route: Fault | None
    answer_wait: Fault | None
    answer: Fault | None

    @property
    def answer_as_it_comes(self) -> bool:
        """Whether nothing is to happen once the upstream has been asked."""
        return self.route is None and self.answer_wait is None and self.answer is None


class HttpFaults:
    """The faults of requests and answers.

    Every method takes matchers (see ``RequestMatch``; none: every request), ``times`` (how many requests; None: until
    cleared) and ``skip`` (how many matching requests pass untouched first), and gives back the handle. A request
    meets at most one fault of each kind, in the order in which they were asked for: one that makes it wait, one that
    decides whether the upstream is asked, one that makes its answer wait, one that changes its answer. A WebSocket's
    handshake is a request; what changes bodies leaves it alone.

    :raises TypeError: an unknown matcher.
    :raises ValueError: a number or code that makes no sense; the message says which are good.
    """

    def __init__(self) -> None:
        self._http: Script[SeenRequest] = Script()

    def drop_request(
        self, *, ending: Ending = Ending.CLOSE, times: int | None = 1, skip: int = 0, **match: Unpack[RequestMatch]
    ) -> Fault:
        """The request never reaches the upstream; the client's connection closes, is reset, or hangs."""
        return self._ask("drop_request", DropRequest(Ending(ending)), times, skip, match)

    def drop_answer(
        self, *, ending: Ending = Ending.CLOSE, times: int | None = 1, skip: int = 0, **match: Unpack[RequestMatch]
    ) -> Fault:
        """The upstream does it and answers; the client's connection closes, is reset, or hangs. ``hits`` counts once
        the whole answer has come, however long the client waits."""
        return self._ask("drop_answer", DropAnswer(Ending(ending)), times, skip, match)

    def delay(
        self,
        seconds: float,
        *,
        before: Literal["request", "answer"] = "request",
        times: int | None = 1,
        skip: int = 0,
        **match: Unpack[RequestMatch],
    ) -> Fault:
        """Wait before the upstream is asked, or between its answer and the client. A request is still delivered when
        its client has given up meanwhile, as a network does."""
        return self._ask("delay", _wait(before, seconds_of(seconds)), times, skip, match)

    def hold(
        self,
        *,
        before: Literal["request", "answer"] = "request",
        times: int | None = 1,
        skip: int = 0,
        **match: Unpack[RequestMatch],
    ) -> Hold:
        """Keep requests from the upstream (or answers from the client) until they are released, in any order. A
        request is still delivered when its client has given up meanwhile: the late arrival."""
        fault = Hold("hold", _wait(before, None), request_matcher(match), times, skip)
        self._http.add(fault)
        return fault

    def status(
        self,
        code: int,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        after_asking: bool = False,
        times: int | None = 1,
        skip: int = 0,
        **match: Unpack[RequestMatch],
    ) -> Fault:
        """The client gets this status (200 to 599), headers and body: from the proxy without asking the upstream, or
        after the upstream has done it and answered otherwise."""
        if not isinstance(code, int) or not 200 <= code <= 599:
            raise ValueError(f"code {code!r}: an answer's status is a whole number from 200 to 599")
        if code in _BODILESS and body:
            raise ValueError(f"body of {len(body)} bytes: an answer with status {code} has none; leave it out")
        for name in headers or {}:
            if name.lower() in _FRAMING:
                raise ValueError(f"header {name}: the proxy sets it to fit the body; leave it out, or use truncate")
        answer = (code, tuple((headers or {}).items()), bytes(body))
        action = ReplyAfterAsking(*answer) if after_asking else Reply(*answer)
        return self._ask("status", action, times, skip, match)

    def truncate(self, size: int, *, times: int | None = 1, skip: int = 0, **match: Unpack[RequestMatch]) -> Fault:
        """The client gets ``size`` bytes of the answer's body, never the last one, then its connection closes."""
        if not isinstance(size, int) or size < 0:
            raise ValueError(f"size {size!r}: the bytes of the body that get through are a whole number from 0")
        return self._ask("truncate", Truncate(size), times, skip, match)

    def garble(
        self,
        replacement: bytes | Callable[[bytes], bytes] | None = None,
        *,
        times: int | None = 1,
        skip: int = 0,
        **match: Unpack[RequestMatch],
    ) -> Fault:
        """The client gets a whole answer with another body: these bytes, what the function makes of the upstream's (as
        on the wire, perhaps compressed), or by default its first half followed by two bytes that are no text. An answer
        without a body passes untouched."""
        return self._ask("garble", Garble(half_and_noise if replacement is None else replacement), times, skip, match)

    def close_socket(
        self,
        after: int | None = None,
        *,
        ending: Ending = Ending.RESET,
        times: int | None = 1,
        skip: int = 0,
        **match: Unpack[RequestMatch],
    ) -> Fault:
        """The connections end in the middle of the request: the upstream gets its first ``after`` bytes (head included;
        None: half of them; never the last one) and then the end of the connection."""
        if after is not None and (not isinstance(after, int) or after < 0):
            raise ValueError(f"after {after!r}: the bytes that reach the upstream are a whole number from 0, or None")
        return self._ask("close_socket", CloseSocket(after, Ending(ending)), times, skip, match)

    def duplicate_request(self, *, times: int | None = 1, skip: int = 0, **match: Unpack[RequestMatch]) -> Fault:
        """The same bytes reach the upstream twice, the second time over a connection of their own and after it has
        answered the first; then the client gets the first answer."""
        return self._ask("duplicate_request", DuplicateRequest(), times, skip, match)

    def _ask(self, name: str, action: object, times: int | None, skip: int, match: RequestMatch) -> Fault:
        fault = Fault(name, action, request_matcher(match), times, skip)
        self._http.add(fault)
        return fault


_ROUTES: Final = (DropRequest, CloseSocket, Reply, DuplicateRequest)
_HANDSHAKE_ROUTES: Final = (DropRequest, CloseSocket, Reply)
_ANSWERS: Final = (DropAnswer, ReplyAfterAsking, Truncate, Garble)
_HANDSHAKE_ANSWERS: Final = (DropAnswer, ReplyAfterAsking)


def plan_for(script: Script[SeenRequest], seen: SeenRequest) -> Plan:
    """What is to happen to this request. A fault further down the way is not used up when the request gets no
    further."""
    handshake = seen.record.websocket
    wait = script.take(seen, (WaitBeforeRequest,))
    route = script.take(seen, _HANDSHAKE_ROUTES if handshake else _ROUTES)
    if route is not None and not isinstance(route.action, DuplicateRequest):
        return Plan(wait, route, None, None)
    answer_wait = script.take(seen, (WaitBeforeAnswer,))
    return Plan(wait, route, answer_wait, script.take(seen, _HANDSHAKE_ANSWERS if handshake else _ANSWERS))


def half_and_noise(body: bytes) -> bytes:
    """A body that is neither JSON nor UTF-8, always the same for the same body."""
    return body[: len(body) // 2] + b"\xff\x00"


def _wait(before: str, seconds: float | None) -> WaitBeforeRequest | WaitBeforeAnswer:
    if before == "request":
        return WaitBeforeRequest(seconds)
    if before == "answer":
        return WaitBeforeAnswer(seconds)
    raise ValueError(f"before {before!r}: what waits is the 'request' or the 'answer'")
