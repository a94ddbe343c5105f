"""The fault proxy: started in front of a venue's endpoint, stopped without a trace."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterable
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Final, Self, Unpack

from exchange_kernel.clock import Clock, SystemClock
from exchange_kernel.testing.faults.context import Shared
from exchange_kernel.testing.faults.frame_faults import FrameFaults, cut_of
from exchange_kernel.testing.faults.handles import Ending, ProxyError
from exchange_kernel.testing.faults.http_faults import HttpFaults
from exchange_kernel.testing.faults.link import CHUNK, Link
from exchange_kernel.testing.faults.log import Log
from exchange_kernel.testing.faults.matching import FrameQuery, RequestQuery, frame_query, request_query
from exchange_kernel.testing.faults.records import Counts, FrameRecord, Redaction, RequestRecord, keys_in
from exchange_kernel.testing.faults.serving import Session
from exchange_kernel.testing.faults.upstream import Upstream
from exchange_kernel.testing.faults.websocket import Relay

MAX_BODY: Final = 16 * 1024 * 1024
_HOST: Final = "127.0.0.1"
_ACCEPTING: Final = 5  # turns of the loop until a connection that was accepted just now is known to `_accept`


class FaultProxy(HttpFaults, FrameFaults):
    """Stands between an adapter and its venue, counts what passes, and breaks what it is told to.

    ::

        async with FaultProxy("https://api.venue.example/v1") as proxy:
            adapter = MyAdapter(base_url=proxy.url)
            lost = proxy.drop_answer(method="POST", path="*/orders")
            ...
            assert lost.hits == 1 and proxy.counts(path="*/orders").forwarded == 1

    Listens on 127.0.0.1 without TLS, whatever the upstream speaks. Each client connection has one upstream connection
    of its own, opened when a request is first forwarded. To be used from the event loop it was started in.

    :param upstream_url: http://, https://, ws:// or wss://; its path and query are those of ``url``. Or tcp://host:port
        of a venue that speaks in lines, each a message: then the faults of frames meet the lines, none of requests
        does, and the adapter connects to ``port``.
    :param ssl_context: for a TLS upstream; None trusts what Python trusts.
    :param dead_upstream: what a client sees of an upstream that refuses or ends before answering: None the same
        (reset or closed), an ``Ending``, or a status such as 502.
    :param clock: times records (ms UTC) and waits in delays.
    :param max_body: bytes of a request, of a WebSocket message, and of an answer that a fault needs whole; requests
        with more are refused with 413. Other answers pass as they come, however long.
    :param secrets: texts to keep out of records, besides the values of headers and parameters named like credentials
        and long segments of the upstream's own path.
    :param port: 0 takes any free one.
    :param rpc_member: in which member a frame's JSON names what it calls; ``id`` (or ``req_id``) joins call and answer.
    :raises ValueError: a parameter makes no sense; the message says what would.
    """

    def __init__(
        self,
        upstream_url: str,
        *,
        ssl_context: ssl.SSLContext | None = None,
        dead_upstream: Ending | int | None = None,
        clock: Clock | None = None,
        max_body: int = MAX_BODY,
        secrets: Iterable[str] = (),
        port: int = 0,
        rpc_member: str = "method",
    ) -> None:
        HttpFaults.__init__(self)
        FrameFaults.__init__(self)
        if isinstance(dead_upstream, int) and not 400 <= dead_upstream <= 599:
            raise ValueError(f"dead_upstream {dead_upstream}: give a status from 400 to 599, an Ending, or None")
        if max_body < 1:
            raise ValueError(f"max_body {max_body}: give the bytes of the largest request, at least 1")
        upstream = Upstream(upstream_url, ssl_context)
        clock = clock or SystemClock()
        self._log = Log(clock, Redaction([*secrets, *keys_in(upstream.path)]))
        self._shared = Shared(upstream, self._http, self._frames, self._log, clock, max_body, dead_upstream, rpc_member)
        self._port = port
        self._server: asyncio.Server | None = None
        self._reserved: socket.socket | None = None
        self._sessions: set[asyncio.Task[None]] = set()
        self._failures: list[BaseException] = []
        self._started = False
        self._closed = False

    async def start(self) -> None:
        """Listen.

        :raises ProxyError: it is running already, or was.
        :raises OSError: the port is taken.
        """
        if self._started:
            raise ProxyError("this FaultProxy was started before; make a new one")
        self._started = True
        await self._listen()

    async def aclose(self) -> None:
        """End every connection and stop listening; what is held or delayed is not delivered. Closing twice is nothing.

        :raises ProxyError: something failed inside the proxy, such as a matcher's predicate; the cause is attached.
        """
        self._closed = True
        await self._stop_listening()
        self._free_port()
        while self._sessions:
            for session in self._sessions:
                session.cancel()
            await asyncio.wait(self._sessions)
        failures, self._failures = self._failures, []
        if failures:
            raise ProxyError(
                f"{len(failures)} connections failed inside the fault proxy, the first with {failures[0]!r}; "
                "correct the predicate or the fault that raised it"
            ) from failures[0]

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.aclose()
        except ProxyError as failed:
            if error is None:
                raise
            error.add_note(str(failed))  # what went wrong inside may be why the test failed

    @property
    def port(self) -> int:
        """The port on 127.0.0.1.

        :raises ProxyError: not started.
        """
        if not self._started:
            raise ProxyError("the fault proxy has no address before it is started: use `async with`, or await start()")
        return self._port

    @property
    def url(self) -> str:
        """The address to give the adapter instead of the venue's, for HTTP and JSON-RPC."""
        return self._address("http")

    @property
    def ws_url(self) -> str:
        """The address to give the adapter instead of the venue's, for WebSocket."""
        return self._address("ws")

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return len(self._sessions)

    def requests(self, **query: Unpack[RequestQuery]) -> list[RequestRecord]:
        """The requests seen so far that match, in the order of arrival; they change as their fates are decided."""
        holds = request_query(query)
        return [record for record in self._log.requests if holds(record)]

    def frames(self, **query: Unpack[FrameQuery]) -> list[FrameRecord]:
        """The WebSocket frames seen so far that match, in the order of arrival; without ``kind``, of every kind."""
        holds = frame_query(query)
        return [record for record in self._log.frames if holds(record)]

    def counts(self, **query: Unpack[RequestQuery]) -> Counts:
        """How many matching requests were seen, forwarded and answered."""
        return self._log.count(request_query(query))

    async def wait_for_requests(self, count: int = 1, **query: Unpack[RequestQuery]) -> list[RequestRecord]:
        """Wait until this many matching requests are complete or lost on their way here, and give all that match."""
        holds = request_query(query)
        await self._log.changed.until(lambda: sum(holds(record) for record in self._log.arrived()) >= count)
        return self.requests(**query)

    async def wait_for_frames(self, count: int = 1, **query: Unpack[FrameQuery]) -> list[FrameRecord]:
        """Wait until this many matching frames have been seen, and give all that match."""
        holds = frame_query(query)
        await self._log.changed.until(lambda: sum(holds(record) for record in self._log.frames) >= count)
        return self.frames(**query)

    def clear(self) -> None:
        """Switch every fault off. What is held stays held until released, and what is silent stays silent."""
        self._http.clear()
        self._frames.clear()

    def forget(self) -> None:
        """Forget all records, as between two cases that share a proxy."""
        self._log.forget()

    def cut_now(
        self, code: int | None = None, reason: str = "", *, ending: Ending = Ending.RESET, path: str = "*"
    ) -> int:
        """End the open WebSockets whose handshake had this path (a glob); how many. Parameters as those of ``cut``.

        :raises ValueError: as ``cut``.
        """
        cut = cut_of(code, reason, ending)
        found = self._relays(path)
        for relay in found:
            relay.cut(cut)
        return len(found)

    def silence_now(self, *, path: str = "*") -> int:
        """Make the open WebSockets whose handshake had this path (a glob) silent, as ``silence`` does; how many."""
        found = self._relays(path)
        for relay in found:
            relay.silence()
        return len(found)

    async def refuse_connections(self) -> None:
        """From now on new connections are refused, as when nothing listens; those that are open stay. The port stays
        reserved. Idempotent."""
        self._running()
        await self._stop_listening()
        if self._reserved is None:
            self._reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._reserved.bind((_HOST, self._port))

    async def accept_connections(self) -> None:
        """Undo ``refuse_connections``, on the same port. Idempotent."""
        self._running()
        self._free_port()
        if self._server is None:
            await self._listen()

    def _relays(self, path: str) -> list[Relay]:
        return [relay for relay in self._shared.relays if fnmatchcase(relay.path, path)]

    def _address(self, scheme: str) -> str:
        query = f"?{self._shared.upstream.query}" if self._shared.upstream.query else ""
        return f"{scheme}://{_HOST}:{self.port}{self._shared.upstream.path}{query}"

    def _running(self) -> None:
        if not self._started or self._closed:
            raise ProxyError("the fault proxy is not running: use `async with`, or await start()")

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, _HOST, self._port, limit=CHUNK * 4)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        loop = asyncio.get_running_loop()
        for each in server.sockets:
            loop.remove_reader(each)
        for _ in range(_ACCEPTING):  # asyncio loses what it is just accepting, unclosed, once its server is closed
            await asyncio.sleep(0)
        server.close()

    def _free_port(self) -> None:
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closed:
            writer.transport.abort()
            return
        session = asyncio.get_running_loop().create_task(Session(Link(reader, writer), self._shared).run())
        self._sessions.add(session)
        session.add_done_callback(self._ended)

    def _ended(self, session: asyncio.Task[None]) -> None:
        self._sessions.discard(session)
        if not session.cancelled() and (failure := session.exception()) is not None:
            self._failures.append(failure)
