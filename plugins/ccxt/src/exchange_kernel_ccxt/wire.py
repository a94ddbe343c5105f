"""The way to the venue: one request out, once; one answer back, or the word that none came."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from exchange_kernel_ccxt.requests import Request


class NeverSent(ConnectionError):
    """No byte of the request left: there was no connection to send it on."""


class NoAnswer(ConnectionError):
    """The request may have arrived; no whole answer came."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Route:
    """Another way to the real names: every name is found at ``address`` (``host:port``), trusted by ``ca_file``."""

    address: str = ""
    ca_file: str = ""

    def trust(self) -> ssl.SSLContext:
        """Whom to trust on it. Reads certificates, which takes some 50 ms: call it in a thread."""
        return ssl.create_default_context(cafile=self.ca_file or None)

    def connector(self, trusted: ssl.SSLContext) -> aiohttp.TCPConnector:
        """A connector that goes this way."""
        if not self.address:
            return aiohttp.TCPConnector(ssl=trusted)
        host, _, port = self.address.rpartition(":")
        return aiohttp.TCPConnector(ssl=trusted, resolver=_Fixed(host, int(port)))


class _Fixed(AbstractResolver):
    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = ResolveResult(hostname=host, host=self._host, port=self._port, family=family, proto=0, flags=0)
        return [found]

    async def close(self) -> None:
        return None


@dataclass(slots=True)
class Wire:
    """One session's connections. A request is sent once: no retry, no redirect."""

    timeout_s: float
    route: Route = field(default_factory=Route)
    _session: aiohttp.ClientSession | None = None
    _trusted: ssl.SSLContext | None = None

    async def ready(self) -> None:
        """Read what takes long, without holding up others."""
        self._trusted = await asyncio.to_thread(self.route.trust)

    def open(self) -> aiohttp.ClientSession:
        """The session, made at the first use inside a running loop."""
        if self._session is None:
            trace = aiohttp.TraceConfig()
            trace.on_request_headers_sent.append(_leaves)
            self._session = aiohttp.ClientSession(
                connector=self.route.connector(self._trusted or self.route.trust()),
                timeout=aiohttp.ClientTimeout(total=self.timeout_s),
                trace_configs=[trace],
                auto_decompress=True,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
            # aiohttp repeats GET, PUT and DELETE on a connection that broke: a change is never sent twice.
            self._session._retry_connection = False
        return self._session

    async def send(self, request: Request) -> Answer:
        """Send it, once. Raises NeverSent, NoAnswer; texts name no key."""
        trip = SimpleNamespace(left=False)
        what = f"{request.method} {URL(request.url, encoded=True).path}"
        try:
            async with self.open().request(
                request.method,
                URL(request.url, encoded=True),
                data=request.body,
                headers=request.headers,
                allow_redirects=False,
                trace_request_ctx=trip,
            ) as response:
                body = await response.read()
                return Answer(response.status, dict(response.headers), body)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            kind = NoAnswer if trip.left else NeverSent
            raise kind(f"{what}: {type(error).__name__}") from None

    async def close(self) -> None:
        """Close every connection. Idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


async def _leaves(session: aiohttp.ClientSession, context: SimpleNamespace, params: object) -> None:
    """From here on bytes may be on their way."""
    if context.trace_request_ctx is not None:
        context.trace_request_ctx.left = True
