"""A raw JSON-RPC client for tests: one connection, no retries, nothing hidden, a count of every call."""

from __future__ import annotations

import http.client
import json
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

from exchange_kernel_evm.testing.errors import RpcError, TestChainError

__all__ = ["Rpc"]


class Rpc:
    """Calls of one node: `rpc("eth_blockNumber")`.

    :ivar calls: how often each method was called.
    """

    def __init__(self, url: str, *, timeout_s: float = 120) -> None:
        self.url = url
        self.calls: Counter[str] = Counter()
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "127.0.0.1", parts.port, timeout=timeout_s)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def __call__(self, method: str, *params: object) -> Any:
        """The result of one call.

        :raises RpcError: the node answered with an error.
        :raises OSError: it could not be reached; http.client.HTTPException: it answered no HTTP.
        """
        self.calls[method] += 1
        body = json.dumps({"jsonrpc": "2.0", "id": self.calls.total(), "method": method, "params": list(params)})
        try:
            self._connection.request("POST", self._path, body, {"Content-Type": "application/json"})
            answer = self._connection.getresponse()
            text = answer.read()
        except BaseException:
            # A connection that broke half way would give the next call this one's answer.
            self._connection.close()
            raise
        if answer.status != 200:
            raise TestChainError(f"{method}: HTTP status {answer.status}: {text[:300]!r}")
        said = json.loads(text)
        if error := said.get("error"):
            raise RpcError(method, error.get("code", 0), error.get("message", ""), error.get("data"))
        return said["result"]

    def integer(self, method: str, *params: object) -> int:
        """The result of a call that answers with a quantity in hex."""
        return int(self(method, *params), 16)

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        self._connection.close()
