"""One node behind one address: JSON-RPC over HTTP, one request per call, never repeated, never redirected."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from exchange_kernel.errors import ConfigError
from exchange_kernel_evm.answers import NodeError

__all__ = ["Answer", "Endpoint", "NoAnswer", "NotReached", "Request", "endpoint_name"]

Request = tuple[str, Sequence[Any]]
"""Method and parameters."""
Answer = Any
"""The result of one request, or the :class:`NodeError` it was answered with."""


class NoAnswer(Exception):
    """No whole answer came: whatever was asked for may have happened."""


class NotReached(NoAnswer):
    """No connection was made: not one byte of the request left."""


def endpoint_name(url: str) -> str:
    """Scheme, host and port. The rest of the address of a hosted node is a secret."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}"


class Endpoint:
    """A node. ``timeout_s`` bounds each call, connecting included. ``counts``: requests made so far, by method."""

    def __init__(self, url: str, *, timeout_s: float = 5.0, counts: Counter[str] | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError("rpc", endpoint_name(url), "must be an http or https address")
        self.name = endpoint_name(url)
        self.counts: Counter[str] = Counter() if counts is None else counts
        self._url = url
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._id = 0

    async def close(self) -> None:
        """Idempotent."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def call(self, method: str, *params: Any) -> Any:
        """One request; its result. Raises NodeError, NoAnswer, NotReached."""
        (answer,) = await self.batch([(method, params)])
        if isinstance(answer, NodeError):
            raise answer
        return answer

    async def batch(self, requests: Sequence[Request]) -> list[Answer]:
        """Several requests in one HTTP request, answered in their order.

        Raises NodeError where the node refused all of them at once, NoAnswer, NotReached.
        """
        first = self._id + 1
        self._id += len(requests)
        wire = [
            {"jsonrpc": "2.0", "id": first + n, "method": method, "params": list(params)}
            for n, (method, params) in enumerate(requests)
        ]
        self.counts.update(method for method, _ in requests)
        status, body, retry_after = await self._post(json.dumps(wire[0] if len(wire) == 1 else wire).encode())
        answer = _decoded(body)
        single = isinstance(answer, dict)
        if status == 429 or status in (401, 403):
            raise NodeError(self.name, status, f"HTTP {status}", retry_after=retry_after)
        if single and "error" in answer and (len(wire) > 1 or answer.get("id") is None):
            raise self._error(answer["error"], retry_after)
        rows = {row["id"]: row for row in ([answer] if single else answer or ()) if _is_row(row)}
        if any(row["id"] not in rows for row in wire):
            raise NoAnswer(f"{self.name}: HTTP {status}, and no whole answer")
        return [
            self._error(rows[row["id"]]["error"], retry_after)
            if rows[row["id"]].get("error") is not None
            else rows[row["id"]].get("result")
            for row in wire
        ]

    async def _post(self, data: bytes) -> tuple[int, bytes, float]:
        try:
            reply = await self._http().post(self._url, data=data, allow_redirects=False)
            try:
                body = await reply.read()
            finally:
                reply.release()
        except aiohttp.ClientConnectorError as error:
            raise NotReached(f"{self.name}: cannot be reached ({type(error).__name__})") from None
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            # The address is in many of aiohttp's messages, and the address may hold a key: only the kind is told.
            raise NoAnswer(f"{self.name}: no answer ({type(error).__name__})") from None
        return reply.status, body, _seconds(reply.headers.get("Retry-After", ""))

    def _http(self) -> aiohttp.ClientSession:
        if self._closed:  # whoever asks now would open a session that nobody closes any more
            raise NotReached(f"{self.name}: closed")
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, headers={"Content-Type": "application/json"})
        return self._session

    def _error(self, error: Any, retry_after: float) -> NodeError:
        if not isinstance(error, dict):
            return NodeError(self.name, 0, str(error)[:300])
        code = error.get("code")
        message = str(error.get("message", ""))[:300]
        return NodeError(self.name, code if isinstance(code, int) else 0, message, error.get("data"), retry_after)

    def __repr__(self) -> str:
        return f"Endpoint({self.name!r})"


def _is_row(row: object) -> bool:
    return isinstance(row, dict) and isinstance(row.get("id"), int) and ("result" in row or "error" in row)


def _decoded(body: bytes) -> Any:
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    return answer if isinstance(answer, dict | list) else None


def _seconds(text: str) -> float:
    return min(float(text), 3_600.0) if text.isascii() and text.isdigit() else 0.0
