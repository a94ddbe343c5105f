"""A venue for tests: an HTTP/1.1 and WebSocket server that remembers every byte, and servers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h11
import wsproto
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Request,
    TextMessage,
)

from exchange_kernel.testing.faults.handles import Signal

CERTIFICATE = Path(__file__).with_name("loopback.pem")


@dataclass(slots=True)
class Answer:
    """An answer as a client got it."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict)
    continued: bool = False


@dataclass(slots=True)
class Got:
    """A request as the upstream got it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for known, value in self.headers if known.lower() == name.lower()), None)


Handler = Callable[[Got], Awaitable[Answer]]


class Upstream:
    """An HTTP/1.1 and WebSocket server. Answers `{"done": n}` to its n-th request unless told otherwise.

    ``raw`` is what came in, one entry per connection; ``sockets`` are its open WebSockets, oldest first.
    """

    def __init__(self, tls: bool = False) -> None:
        self.got: list[Got] = []
        self.raw: list[bytearray] = []
        self.sockets: list[ServerSocket] = []
        self.answers: dict[str, Answer | Handler] = {}
        self.changed = Signal()
        self.port = 0
        self.scheme = "https" if tls else "http"
        self._tls = server_tls() if tls else None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Upstream:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.die()

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def die(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

    @property
    def connections(self) -> int:
        return len(self._tasks)

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until something about it is so."""
        await self.changed.until(lambda: bool(holds()))

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: self.changed.notify())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw = bytearray()
        self.raw.append(raw)
        try:
            with contextlib.suppress(ConnectionError, h11.RemoteProtocolError):
                await self._talk(reader, writer, raw)
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, raw: bytearray) -> None:
        http = h11.Connection(h11.SERVER)
        while True:
            head: h11.Request | None = None
            body = bytearray()
            while True:
                event = http.next_event()
                if event is h11.NEED_DATA:
                    data = await reader.read(65_536)
                    raw += data
                    self.changed.notify()
                    http.receive_data(data)
                elif isinstance(event, h11.Request):
                    head = event
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    break
                else:
                    return
            assert head is not None
            headers = [(name.decode(), value.decode()) for name, value in head.headers.raw_items()]
            got = Got(head.method.decode(), head.target.decode(), headers, bytes(body))
            self.got.append(got)
            self.changed.notify()
            if got.header("upgrade") == "websocket" and got.target.partition("?")[0] not in self.answers:
                await ServerSocket(self, got, reader, writer).talk()
                return
            answer = self.answers.get(got.target.partition("?")[0])
            if answer is None:
                answer = Answer(200, {"Content-Type": "application/json"}, b'{"done": %d}' % len(self.got))
            elif not isinstance(answer, Answer):
                answer = await answer(got)
            self._answer(http, writer, got, answer)
            await writer.drain()
            if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
                writer.close()
                return
            http.start_next_cycle()

    def _answer(self, http: h11.Connection, writer: asyncio.StreamWriter, got: Got, answer: Answer) -> None:
        fields = list(answer.headers.items())
        chunked = answer.headers.get("Transfer-Encoding") == "chunked"
        bodiless = answer.status in (204, 304)
        if not chunked and not bodiless:
            fields.append(("Content-Length", str(len(answer.body))))
        writer.write(http.send(h11.Response(status_code=answer.status, headers=fields, reason="As Told")) or b"")
        if answer.body and got.method != "HEAD" and not bodiless:
            half = len(answer.body) // 2
            for part in (answer.body[:half], answer.body[half:]):
                writer.write(http.send(h11.Data(data=part)) or b"")
        trailers = list(answer.trailers.items()) if got.method != "HEAD" else []
        writer.write(http.send(h11.EndOfMessage(headers=trailers)) or b"")


class ServerSocket:
    """One WebSocket at the upstream: what came, as events with whole frames, and ``send``."""

    def __init__(
        self, upstream: Upstream, got: Got, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.upstream = upstream
        self.got = got
        self.events: list[Event] = []
        self.ended = False
        self.writer = writer
        self._reader = reader
        self._ws = wsproto.WSConnection(wsproto.ConnectionType.SERVER)

    @property
    def texts(self) -> list[str]:
        return texts(self.events)

    def send(self, event: Event) -> None:
        self.writer.write(self._ws.send(event))

    async def talk(self) -> None:
        self._ws.initiate_upgrade_connection(
            [(name.encode(), value.encode()) for name, value in self.got.headers], self.got.target
        )
        for event in self._ws.events():
            assert isinstance(event, Request)
            self.send(AcceptConnection(subprotocol=event.subprotocols[0] if event.subprotocols else None))
        self.upstream.sockets.append(self)
        self.upstream.changed.notify()
        try:
            while data := await self._reader.read(65_536):
                self._ws.receive_data(data)
                for event in self._ws.events():
                    self.events.append(event)
                    if isinstance(event, Ping):
                        self.send(event.response())
                    if isinstance(event, CloseConnection):
                        if self._ws.state is wsproto.ConnectionState.REMOTE_CLOSING:
                            self.send(event.response())
                        await self.writer.drain()
                        self.writer.close()
                        return
                self.upstream.changed.notify()
        finally:
            self.ended = True


def texts(events: list[Event]) -> list[str]:
    """The texts among events; the pieces of a message are put together."""
    found, pieces = [], []
    for event in events:
        if isinstance(event, TextMessage):
            pieces.append(event.data)
            if event.message_finished:
                found.append("".join(pieces))
                pieces = []
    return found


def fragments(events: list[Event]) -> list[str | bytes]:
    """The fragments among events, each as its frame carried it."""
    found: list[str | bytes] = []
    pieces: list[Any] = []
    for event in events:
        if isinstance(event, TextMessage | BytesMessage):
            pieces.append(event.data)
            if event.frame_finished:
                found.append(type(event.data)().join(pieces))
                pieces = []
    return found


@contextlib.asynccontextmanager
async def raw_server(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A server that speaks what it likes; yields its URL."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError):
                await talk(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        while tasks:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


def server_tls() -> ssl.SSLContext:
    """TLS as 127.0.0.1, with a certificate that only tests trust."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def client_tls() -> ssl.SSLContext:
    """TLS that trusts it."""
    return ssl.create_default_context(cafile=str(CERTIFICATE))
