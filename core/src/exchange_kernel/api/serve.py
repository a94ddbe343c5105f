"""The server itself: where it may listen, and uvicorn beside the kernels."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from exchange_kernel.api.app import make_app
from exchange_kernel.api.serving import Server
from exchange_kernel.api.tokens import Keyring
from exchange_kernel.clock import Clock, SystemClock
from exchange_kernel.errors import ConfigError, StoreUnavailable
from exchange_kernel.platform import Platform
from exchange_kernel.state.sql.tokens import SqlTokens

__all__ = ["Listen", "serve"]

_LOCAL = ("127.0.0.1", "localhost", "[::1]")
MAX_HEADERS = 16_384
MOST_CONNECTIONS = 2_000
IDLE_S = 20


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen. ``names``: further names by which clients call, beside the address itself."""

    host: str
    port: int
    cert: Path | None = None
    key: Path | None = None
    names: tuple[str, ...] = ()

    @classmethod
    def parse(
        cls, address: str, cert: Path | None = None, key: Path | None = None, names: tuple[str, ...] = ()
    ) -> Listen:
        """``HOST:PORT``. Raises ConfigError, also for an address that others reach and no certificate."""
        host, colon, port = address.rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or int(port[:6]) > 65535 or not host:
            raise ConfigError("listen", address, "is not HOST:PORT", "for example 127.0.0.1:8420")
        bare = host.removeprefix("[").removesuffix("]")
        try:
            local = ipaddress.ip_address(bare).is_loopback
        except ValueError:
            if bare != "localhost":
                rule = "must be an address, or localhost"
                raise ConfigError("listen", address, rule, "give the names of this server with --name") from None
            local = True
        if (cert is None) != (key is None):
            raise ConfigError("tls", cert or key, "needs both, the certificate and its key")
        if not local and cert is None:
            rule = "is reached by others, who would see the tokens"
            raise ConfigError("listen", address, rule, "give --tls-cert and --tls-key, or listen on 127.0.0.1")
        return cls(bare, int(port), cert, key, names)

    @property
    def hosts(self) -> set[str]:
        """What a request's Host may be."""
        own = f"[{self.host}]" if ":" in self.host else self.host
        return {*_LOCAL, own.lower(), *(name.lower() for name in self.names)}


class _Protocol(H11Protocol):
    """HTTP/1.1 whose connection an application can cut where its reader takes nothing any more."""

    def handle_events(self) -> None:
        super().handle_events()
        if isinstance(self.scope, dict):
            scope: dict[str, Any] = {"exk.abort": self.transport.abort}
            self.scope.update(scope)  # type: ignore[typeddict-item]


class _Uvicorn(uvicorn.Server):
    """Signals are the business of whoever runs the kernels."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


@contextlib.asynccontextmanager
async def serve(
    platform: Platform, listen: Listen, *, clock: Clock | None = None, probes: bool = False
) -> AsyncIterator[str]:
    """Serve a platform that was started; gives the address. Raises ConfigError, StoreUnavailable.

    ``probes``: only /livez, /readyz and /metrics.

    Who has no token reaches nothing; an address that others reach is refused where there is no token at all."""
    clock = clock or SystemClock()
    tokens = SqlTokens(platform.config.store_url)
    try:
        if not ipaddress.ip_address("127.0.0.1" if listen.host == "localhost" else listen.host).is_loopback:
            now = clock.now_ms()
            if not any(_valid(row, now) for row in await asyncio.to_thread(tokens.all)):
                raise ConfigError("listen", listen.host, "there is no token", "make one first: exk token create")
        server = Server(platform, Keyring(tokens, clock), clock)
        async with _running(server, listen, probes) as address:
            yield address
    finally:
        tokens.close()


def _valid(row: Any, now: int) -> bool:
    return row.revoked_at is None and (row.expires_at is None or row.expires_at > now)


@contextlib.asynccontextmanager
async def _running(server: Server, listen: Listen, probes: bool) -> AsyncIterator[str]:
    config = uvicorn.Config(
        make_app(server, listen.hosts, probes=probes),
        host=listen.host,
        port=listen.port,
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=MAX_HEADERS,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=2,
        ssl_certfile=listen.cert,
        ssl_keyfile=listen.key,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise ConfigError("tls", listen.cert, f"cannot be used: {error}") from None
    web = _Uvicorn(config)
    task = asyncio.create_task(_serve(web), name="api")
    try:
        while not web.started and not task.done():
            await server.clock.sleep(0.01)
        if task.done():
            await task
            raise StoreUnavailable("the API's server ended by itself")
        port = web.servers[0].sockets[0].getsockname()[1]
        host = f"[{listen.host}]" if ":" in listen.host else listen.host
        yield f"{'http' if listen.cert is None else 'https'}://{host}:{port}"
    finally:
        server.close()
        web.should_exit = True
        await task


async def _serve(web: uvicorn.Server) -> None:
    try:
        await web.serve()
    except SystemExit:
        address = f"{web.config.host}:{web.config.port}"
        raise ConfigError("listen", address, "cannot be listened on", "does something else?") from None
