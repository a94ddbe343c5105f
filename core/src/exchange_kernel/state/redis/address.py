"""Where Redis is, and how to get there: an address, its clients, and what of them is not the same in every release."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from exchange_kernel.errors import ConfigError

__all__ = ["SCHEMES", "Address", "needs"]

SCHEMES: Final = ("redis", "rediss", "valkey", "valkeys")
OPTIONS: Final = ("tls_ca", "tls_cert", "tls_key")


@dataclass(frozen=True, slots=True)
class Address:
    """A server, without its password where it is shown. TLS is checked by the system's authorities, or ``tls_ca``."""

    host: str
    port: int
    db: int
    tls: bool
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None

    @classmethod
    def parse(cls, url: str) -> Address:
        """``redis[s]://[user[:password]@]host[:port][/db][?tls_ca=FILE&tls_cert=FILE&tls_key=FILE]``, or ``valkey``.

        Raises ConfigError, which never shows the address: it may hold a password."""
        hint = "for example redis://127.0.0.1:6379/0"
        try:
            parts = urlsplit(url)
            port = 6379 if parts.port is None else parts.port
        except ValueError:
            raise _refuse("is no address", hint) from None
        if parts.scheme not in SCHEMES or not parts.hostname:
            raise _refuse(f"must be {'://…, '.join(SCHEMES)}://…", hint)
        path = parts.path.strip("/")
        if path and not (path.isascii() and path.isdigit()):
            raise _refuse("names a database that is no number", hint)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        unknown = next((name for name in options if name not in OPTIONS), None)
        if unknown is not None:
            raise _refuse(f"has an option {unknown!a}", f"there are {', '.join(OPTIONS)}")
        tls = parts.scheme.endswith("s") and parts.scheme != "redis"
        if options and not tls:
            raise _refuse("has options of TLS and does not use it", "write rediss://")
        return cls(
            parts.hostname,
            port,
            int(path or 0),
            tls,
            unquote(parts.username) if parts.username else None,
            unquote(parts.password) if parts.password else None,
            **options,
        )

    def __str__(self) -> str:
        return f"{'rediss' if self.tls else 'redis'}://{self.host}:{self.port}/{self.db}"

    def clients(self, lib: Any, name: str, answer: float, connect: float) -> tuple[Any, Any]:
        """A client of one connection for what goes out together, and one for what waits at the server."""
        options = self._options(lib, name, connect)
        return (
            lib.Redis(**options, db=self.db, socket_timeout=answer, single_connection_client=True),
            lib.Redis(**options, db=self.db, socket_timeout=2 * answer),
        )

    def cluster(self, lib: Any, name: str, answer: float, connect: float) -> Any:
        """A client of a cluster that this server belongs to."""
        options = self._options(lib, name, connect)
        options.pop("retry", None)
        return lib.RedisCluster(**options, socket_timeout=answer, cluster_error_retry_attempts=1)

    def _options(self, lib: Any, name: str, connect: float) -> dict[str, Any]:
        options: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "username": self.username,
            "password": self.password,
            "socket_connect_timeout": connect,
            "client_name": name,
            "decode_responses": True,
            "retry": lib.never,
            "protocol": 2,
        }
        if self.tls:
            options |= {
                "ssl": True,
                "ssl_ca_certs": self.tls_ca,
                "ssl_certfile": self.tls_cert,
                "ssl_keyfile": self.tls_key,
                "ssl_check_hostname": True,
            }
        return options


def _refuse(rule: str, hint: str) -> ConfigError:
    return ConfigError("redis.url", "(not shown)", rule, hint)


def needs(module: str) -> Any:
    """The client library. Raises ConfigError where it is not installed."""
    try:
        lib = importlib.import_module(module)
        errors = importlib.import_module("redis.exceptions")
        retry = importlib.import_module("redis.asyncio.retry")
        backoff = importlib.import_module("redis.backoff")
        cluster = importlib.import_module("redis.asyncio.cluster")
    except ImportError:
        hint = "pip install 'exchange-kernel[redis]'"
        raise ConfigError("redis", module, "needs a client library that is not installed", hint) from None
    return SimpleNamespace(
        Redis=lib.Redis,
        RedisCluster=cluster.RedisCluster,
        PRIMARIES=cluster.RedisCluster.PRIMARIES,
        NoScript=errors.NoScriptError,
        ResponseError=errors.ResponseError,
        Denied=(errors.AuthenticationError, errors.AuthorizationError, errors.NoPermissionError),
        errors=(errors.RedisError, OSError, TimeoutError),
        never=retry.Retry(backoff.NoBackoff(), 0),
    )
