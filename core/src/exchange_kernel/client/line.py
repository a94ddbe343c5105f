"""One connection to a server: requests that are repeated until answered, and events as they come."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx

from exchange_kernel.api.problems import MEDIA_TYPE, from_problem
from exchange_kernel.clock import Clock
from exchange_kernel.errors import (
    CommitUnknown,
    ConfigError,
    ExchangeKernelError,
    NotAllowed,
    StoreUnavailable,
)

__all__ = ["FIRST_WAIT_S", "Gone", "Line", "check_url"]

TRIES = 5
FIRST_WAIT_S = 0.1
QUIET_S = 45.0
"""The server says something at least every 15 s; silence means that the connection is dead."""


class Line:
    """Requests to one server, all with one token, which no representation shows."""

    def __init__(
        self,
        url: str,
        token: str,
        verify: ssl.SSLContext | bool,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        self.url, self._clock = url.rstrip("/"), clock
        self._http = httpx.AsyncClient(
            base_url=self.url,
            headers={"authorization": f"Bearer {token}"},
            verify=verify,
            transport=transport,
            timeout=httpx.Timeout(60.0, connect=5.0),
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=32),
            follow_redirects=False,
            trust_env=False,
        )

    async def close(self) -> None:
        """Hang up."""
        await self._http.aclose()

    async def call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        query: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        safe: bool = False,
    ) -> dict[str, Any]:
        """One request, repeated while no answer comes. Raises what the server says; StoreUnavailable, CommitUnknown."""
        http = self._http
        content = None if body is None else json.dumps(body).encode()
        all_headers = dict(headers or {}) | ({} if body is None else {"content-type": "application/json"})
        wait, sent = FIRST_WAIT_S, False
        for left in reversed(range(TRIES)):
            try:
                answer = await http.request(method, path, content=content, params=query, headers=all_headers)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
                failure: Exception = error
            except httpx.HTTPError as error:
                failure, sent = error, True
            else:
                if answer.is_success:
                    found: dict[str, Any] = answer.json()
                    return found
                told = error_of(answer)
                # What the store answers now may pass; all else is an answer.
                if not isinstance(told, (StoreUnavailable, CommitUnknown)) or not left:
                    raise told
                failure = told
            if left:
                await self._clock.sleep(wait)
                wait *= 2
        text = f"{self.url} does not answer: {type(failure).__name__}"
        if sent and method != "GET" and not safe:
            raise CommitUnknown(f"{text}; it may have been done: read it back, or repeat it under the same id")
        raise StoreUnavailable(text)

    async def frames(self, path: str, place: dict[str, str], start: int) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Events of a stream with their ids: behind the id in ``place``, else behind ``start``. Raises Gone, and what
        the server says; httpx.HTTPError when the connection is lost."""
        query = {} if place else {"after": start}
        headers = {"accept": "text/event-stream", **place}
        timeout = httpx.Timeout(QUIET_S, connect=5.0)
        async with self._http.stream("GET", path, params=query, headers=headers, timeout=timeout) as answer:
            if answer.status_code != 200:
                await answer.aread()
                if answer.status_code == 410:
                    raise Gone(_problem(answer).get("detail", "gone"))
                raise error_of(answer)
            last, data = "", ""
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    last = value
                elif name == "data":
                    data = value
                elif not line and last and data:
                    yield last, json.loads(data)
                    last, data = "", ""
                elif not line:
                    data = ""


class Gone(Exception):
    """The place in the log that we had does not exist any more."""


def _problem(answer: httpx.Response) -> dict[str, Any]:
    if answer.headers.get("content-type", "").startswith(MEDIA_TYPE):
        with contextlib.suppress(ValueError):
            body: dict[str, Any] = answer.json()
            return body
    return {}


def error_of(answer: httpx.Response) -> ExchangeKernelError:
    """What an answer that is no success says."""
    body = _problem(answer)
    if not body:
        return StoreUnavailable(f"the server answered {answer.status_code}, and not as an exchange kernel does")
    if answer.status_code == 401:
        return NotAllowed(str(body.get("detail")))
    return from_problem(body)


def check_url(url: str) -> None:
    """Raises ConfigError for what is no address of a server, or would show the token on the way."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host or parts.path.strip("/") or parts.query or parts.username:
        raise ConfigError("url", url.rpartition("@")[2], "must be https://HOST:PORT")
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if parts.scheme == "http" and not local:
        raise ConfigError("url", url, "would show the token to everybody on the way", "use https://")
