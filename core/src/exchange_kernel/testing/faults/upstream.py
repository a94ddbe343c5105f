"""The venue's side: where requests go, and one connection over which they are asked."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import h11

from exchange_kernel.testing.faults.handles import Ending, ProxyError
from exchange_kernel.testing.faults.link import CHUNK, Link

HEAD_LIMIT: Final = 262_144  # bytes of a request's or an answer's head
_TLS: Final = {"http": False, "ws": False, "https": True, "wss": True, "tcp": False}
# Said between neighbours only, or an invitation to go around the proxy (Alt-Svc).
_LOCAL: Final = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade", b"http2-settings"})
_INVITATIONS: Final = frozenset({b"alt-svc"})
_EXTENSIONS: Final = b"sec-websocket-extensions"


class UpstreamLost(Exception):
    """The upstream could not be reached, or ended before its answer was complete. ``ending``: how that looked."""

    def __init__(self, why: str, ending: Ending = Ending.CLOSE) -> None:
        super().__init__(why)
        self.ending = ending


@dataclass(frozen=True, slots=True)
class Whole:
    """A complete answer as the upstream gave it. A WebSocket's 101 is one without a body."""

    head: h11.Response | h11.InformationalResponse
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)


class Upstream:
    """The address behind the proxy.

    :raises ValueError: not a URL that a proxy can stand in front of; the message says what is missing.
    """

    def __init__(self, url: str, ssl_context: ssl.SSLContext | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _TLS or not parts.hostname:
            raise ValueError(
                f"upstream_url {url!r}: give scheme and host: http://, https://, ws:// or wss://host[:port], or tcp://host:port"
            )
        self.lines = parts.scheme == "tcp"
        if self.lines and (parts.port is None or parts.path.strip("/") or parts.query):
            raise ValueError(f"upstream_url {url!r}: a stream of lines is tcp://host:port, and nothing more")
        if parts.username is not None or parts.fragment:
            raise ValueError("upstream_url has a user or a fragment: give credentials to the adapter, not to the proxy")
        tls = _TLS[parts.scheme]
        if ssl_context is not None and not tls:
            raise ValueError(f"ssl_context with upstream_url {url!r}: use https:// or wss://, or leave the context out")
        self.host = parts.hostname
        self.port = parts.port or (443 if tls else 80)
        self.authority = parts.netloc.encode("ascii")
        self.path = parts.path
        self.query = parts.query
        self._tls = (ssl_context or ssl.create_default_context()) if tls else None

    async def connect(self) -> Asking:
        """A new connection.

        :raises UpstreamLost: it is refused, or TLS cannot be agreed on.
        """
        name = self.host if self._tls is not None else None
        try:
            streams = await asyncio.open_connection(
                self.host, self.port, ssl=self._tls, server_hostname=name, limit=CHUNK * 4
            )
        except OSError as error:  # SSLError is one
            raise UpstreamLost(f"{self.host}:{self.port}: {error}", Ending.RESET) from error
        return Asking(Link(*streams))


class Asking:
    """One connection to the upstream: requests out, answers in, one after the other."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT)

    def bytes_of(self, request: h11.Request, body: bytes, trailers: list[tuple[bytes, bytes]]) -> bytes:
        """The whole request as it goes over the wire."""
        parts = [self.http.send(request), self.http.send(h11.Data(data=body)) if body else b""]
        parts.append(self.http.send(h11.EndOfMessage(headers=trailers)))
        return b"".join(part for part in parts if part)

    async def head(self) -> h11.Response | h11.InformationalResponse:
        """The head of the answer: a response, or the 101 that makes this a WebSocket. "100 Continue" is passed over.

        :raises UpstreamLost: it ended first, or said something else than HTTP.
        """
        while True:
            event = await self._event()
            if isinstance(event, h11.Response):
                return event
            if isinstance(event, h11.InformationalResponse) and event.status_code == 101:
                return event
            if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                raise UpstreamLost("ended before its answer")

    async def body(self) -> AsyncGenerator[list[h11.Data | h11.EndOfMessage], None]:
        """The rest of the answer, in batches of what is there together: the first (perhaps empty) is what came with the
        head, the last ends in ``EndOfMessage``. So the client need not see an end before it is recorded.

        :raises UpstreamLost: it ended first.
        """
        event = self._known_event()
        while True:
            batch: list[h11.Data | h11.EndOfMessage] = []
            while isinstance(event, h11.Data):
                batch.append(event)
                event = self._known_event()
            if isinstance(event, h11.EndOfMessage):
                yield [*batch, event]
                return
            yield batch
            event = await self._event()

    async def whole(self, limit: int | None) -> Whole:
        """The complete answer; its body is not kept when ``limit`` (bytes) is None.

        :raises UpstreamLost: it ended first.
        :raises ProxyError: its body is longer than the limit.
        """
        head = await self.head()
        body, trailers = bytearray(), []
        if isinstance(head, h11.Response):
            async with contextlib.aclosing(self.body()) as batches:
                async for batch in batches:
                    for event in batch:
                        if isinstance(event, h11.EndOfMessage):
                            trailers = event.headers.raw_items()
                        elif limit is not None:
                            body += event.data
                    if limit is not None and len(body) > limit:
                        raise ProxyError(
                            f"the upstream's answer has more than {limit} bytes, and this fault needs all of it; "
                            "give FaultProxy a larger max_body, or let the fault match less"
                        )
        return Whole(head, bytes(body), trailers)

    @property
    def reusable(self) -> bool:
        """Whether another request may follow on this connection; then it is ready for it."""
        states = {self.http.our_state, self.http.their_state}
        if states == {h11.DONE}:
            self.http.start_next_cycle()
            states = {h11.IDLE}
        return states <= {h11.IDLE, h11.SEND_RESPONSE} and self.link.usable

    def _known_event(self) -> object:
        try:
            return self.http.next_event()
        except h11.RemoteProtocolError as error:
            raise UpstreamLost(f"its answer is not HTTP/1.1: {error}") from error

    async def _event(self) -> object:
        while True:
            event = self._known_event()
            if event is not h11.NEED_DATA:
                return event
            try:
                data = await self.link.read()
            except OSError as error:
                raise UpstreamLost(str(error), Ending.RESET) from error
            try:
                self.http.receive_data(data)
            except h11.RemoteProtocolError as error:
                raise UpstreamLost(str(error)) from error


def onward_request(request: h11.Request, authority: bytes, *, websocket: bool) -> h11.Request:
    """The request as the upstream gets it: its own name as the host, nothing that was meant for the proxy alone. A
    WebSocket's extensions are not offered, so that frames arrive readable."""
    fields = [(b"Host", authority)]
    for raw, value in request.headers.raw_items():
        name = raw.lower()
        if name == b"host" or (name == _EXTENSIONS and websocket):
            continue
        if websocket or name not in _LOCAL or _is_close(name, value):
            fields.append((raw, value))
    return h11.Request(method=request.method, target=request.target, headers=fields)


def onward_answer(answer: h11.Response) -> h11.Response:
    """The answer as the client gets it."""
    fields = [
        (raw, value)
        for raw, value in answer.headers.raw_items()
        if raw.lower() not in _INVITATIONS and (raw.lower() not in _LOCAL or _is_close(raw.lower(), value))
    ]
    return h11.Response(status_code=answer.status_code, headers=fields, reason=answer.reason)


def onward_upgrade(answer: h11.InformationalResponse) -> h11.InformationalResponse:
    """The upgrade as the client gets it: without extensions, which nobody offered."""
    fields = [(raw, value) for raw, value in answer.headers.raw_items() if raw.lower() != _EXTENSIONS]
    return h11.InformationalResponse(status_code=101, headers=fields, reason=answer.reason)


def _is_close(name: bytes, value: bytes) -> bool:
    return name == b"connection" and value.strip().lower() == b"close"
