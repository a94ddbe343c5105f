"""Both ends of the wire, small and exact: an upstream that remembers every byte, and clients that tell how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import h11
import wsproto
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)

from exchange_kernel.testing.faults.handles import Signal

T = TypeVar("T")
PATIENCE = 20.0  # seconds until a test that hangs fails; nothing waits for them to pass
CERTIFICATE = Path(__file__).with_name("loopback.pem")


def run(scenario: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a scenario to its end; it must leave no task behind."""

    async def whole() -> T:
        result = await asyncio.wait_for(scenario(), PATIENCE)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"left behind: {left}"
        return result

    return asyncio.run(whole(), debug=False)


class Lost(Exception):
    """The connection ended where an answer should have been. ``how``: "closed" or "reset"."""

    def __init__(self, how: str, before: Answer | None = None) -> None:
        super().__init__(how)
        self.how = how
        self.before = before


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


class Client:
    """One HTTP/1.1 connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.http = h11.Connection(h11.CLIENT)

    async def ask(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        trailers: dict[str, str] | None = None,
    ) -> Answer:
        """One request and its answer."""
        await self.send(method, target, body, headers, trailers)
        return await self.answer()

    async def send(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        trailers: dict[str, str] | None = None,
    ) -> None:
        if self.http.our_state is h11.DONE:
            self.http.start_next_cycle()
        given = headers or {}
        fields = [("Host", "proxy.test"), *given.items()]
        if body and "Transfer-Encoding" not in given:
            fields.append(("Content-Length", str(len(body))))
        out = self.http.send(h11.Request(method=method, target=target, headers=fields)) or b""
        if body:
            out += self.http.send(h11.Data(data=body)) or b""
        out += self.http.send(h11.EndOfMessage(headers=list((trailers or {}).items()))) or b""
        self.writer.write(out)
        await self.writer.drain()

    async def answer(self) -> Answer:
        """The next answer; :raises Lost: the connection ended first."""
        found: Answer | None = None
        continued = False
        while True:
            try:
                event = self.http.next_event()
                if event is h11.NEED_DATA:
                    self.http.receive_data(await self.reader.read(65_536))
                    continue
            except h11.RemoteProtocolError as error:
                raise Lost("closed", found) from error
            except ConnectionError as error:
                raise Lost("reset", found) from error
            if isinstance(event, h11.InformationalResponse):
                continued = continued or event.status_code == 100
            elif isinstance(event, h11.Response):
                headers = {name.decode(): value.decode() for name, value in event.headers.raw_items()}
                found = Answer(event.status_code, headers, continued=continued)
            elif isinstance(event, h11.Data):
                assert found is not None
                found.body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert found is not None
                found.trailers = {name.decode(): value.decode() for name, value in event.headers.raw_items()}
                return found
            else:
                raise Lost("closed", found)

    async def reset(self) -> None:
        """Go away without a word."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()
        await self.close()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def client(url: str) -> AsyncIterator[Client]:
    """A connection to the host and port of a URL."""
    parts = urlsplit(url)
    made = Client(*await asyncio.open_connection(parts.hostname, parts.port))
    try:
        yield made
    finally:
        await made.close()


async def ask(url: str, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
    """One request over a connection of its own."""
    async with client(url) as one:
        return await one.ask(method, target, body, headers)


class ClientSocket:
    """A WebSocket's client: ``events`` are what came so far, in order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.ws = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        self.events: list[Event] = []

    @property
    def texts(self) -> list[str]:
        return texts(self.events)

    def send(self, event: Event) -> None:
        self.writer.write(self.ws.send(event))

    def say(self, text: str) -> None:
        self.send(TextMessage(data=text))

    async def until(self, holds: Callable[[], object]) -> None:
        """Read until something is so; :raises Lost: the connection ended first."""
        while not holds():
            try:
                data = await self.reader.read(65_536)
            except ConnectionError as error:
                raise Lost("reset") from error
            if not data:
                raise Lost("closed")
            self.ws.receive_data(data)
            self.events.extend(self.ws.events())

    async def hears(self, *expected: str) -> None:
        """Read until as many texts have come, which must be these."""
        await self.until(lambda: len(self.texts) >= len(expected))
        assert self.texts == list(expected)

    async def end(self) -> str:
        """Read to the end: "closed" or "reset"."""
        try:
            await self.until(lambda: False)
        except Lost as lost:
            return lost.how
        raise AssertionError


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
async def websocket(
    url: str, target: str = "/ws", headers: dict[str, str] | None = None, extensions: str | None = None
) -> AsyncIterator[ClientSocket]:
    """An open WebSocket; :raises Refused: it was answered otherwise."""
    parts = urlsplit(url)
    made = ClientSocket(*await asyncio.open_connection(parts.hostname, parts.port))
    fields = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    if extensions is not None:
        fields.append((b"Sec-WebSocket-Extensions", extensions.encode()))
    try:
        made.send(Request(host="proxy.test", target=target, extra_headers=fields))
        await made.until(lambda: made.events)
        first = made.events.pop(0)
        if isinstance(first, RejectConnection):
            raise Refused(first.status_code)
        assert isinstance(first, AcceptConnection)
        yield made
    finally:
        made.writer.transport.abort()
        with contextlib.suppress(OSError):
            await made.writer.wait_closed()


class Refused(Exception):
    """A handshake was answered with a status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


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


def message(event: Message) -> str | bytes:
    """A message's payload."""
    return event.data if isinstance(event.data, str) else bytes(event.data)
