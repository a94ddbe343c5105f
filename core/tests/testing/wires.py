"""The client's end of the wire, small and exact: it tells how a connection ended, not only that it did."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar
from urllib.parse import urlsplit

import h11
import wsproto
from wsproto.events import (
    AcceptConnection,
    Event,
    RejectConnection,
    Request,
    TextMessage,
)

from core.tests.testing.venue import Answer, texts
from exchange_kernel.clock import SystemClock
from exchange_kernel.testing.faults import FaultProxy

T = TypeVar("T")


PATIENCE = 60.0  # seconds until a test that hangs fails; nothing waits for them to pass


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


class StoppedClock(SystemClock):
    """Time passes when the test says so; ``asked`` are the seconds slept for."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.go = asyncio.Event()

    def now_ms(self) -> int:
        return 1_700_000_000_000

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        await self.go.wait()


async def pending(proxy: FaultProxy, *waiting: asyncio.Task[Any]) -> None:
    """Whether nothing comes: other requests make their whole way there and back meanwhile."""
    for _ in range(3):
        await ask(proxy.url, "GET", "/meanwhile")
    assert not any(task.done() for task in waiting)
