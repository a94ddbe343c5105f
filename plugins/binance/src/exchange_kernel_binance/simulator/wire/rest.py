"""HTTP: reads requests as they were sent, writes answers as Binance writes them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from urllib.parse import unquote_plus

from aiohttp import web

from exchange_kernel_binance.simulator.wire.gate import Answer, Endpoint, Gate, Sent


def pairs_of(text: str) -> list[tuple[str, str]]:
    """The parameters of a query string or form body, in order, repeated ones kept."""
    pairs = []
    for part in text.split("&"):
        if part:
            name, _, value = part.partition("=")
            pairs.append((unquote_plus(name), unquote_plus(value)))
    return pairs


def without_signature(text: str) -> str:
    """What was signed of a query string or body: everything but the signature, byte for byte."""
    return "&".join(part for part in text.split("&") if not part.startswith("signature="))


class Rest:
    """Serves one API's endpoints over HTTP."""

    def __init__(self, gate: Gate, endpoints: Iterable[Endpoint]) -> None:
        self.gate = gate
        self._routes = {each.route: each for each in endpoints if each.route is not None}

    def knows(self, method: str, path: str) -> bool:
        return (method, path) in self._routes

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        endpoint = self._routes[request.method, request.path]
        query = request.raw_path.partition("?")[2]
        body = (await request.read()).decode("utf-8", "replace")
        from_query = pairs_of(query)
        named = {name for name, _ in from_query}
        # Sent in both places, the query string counts.
        pairs = from_query + [(name, value) for name, value in pairs_of(body) if name not in named]
        payload = without_signature(query) + without_signature(body)
        sent = Sent(
            pairs,
            payload.encode(),
            next((value for name, value in pairs if name == "signature"), None),
            request.headers.get("X-MBX-APIKEY"),
            request.headers.get("X-Forwarded-For") or request.remote or "",
        )
        answer = await self.gate.handle(endpoint, sent)
        return await self._answer(request, answer, sent.address)

    async def _answer(self, request: web.Request, answer: Answer, address: str) -> web.StreamResponse:
        if answer.silent is not None:
            await asyncio.sleep(answer.silent / 1000)
        if answer.drop or answer.silent is not None:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        headers = self.gate.limits.headers(address, answer.account)
        if answer.retry_after is not None:
            headers["Retry-After"] = str(answer.retry_after)
        body = json.dumps(answer.body, separators=(",", ":")) if answer.text is None else answer.text
        if answer.cut:
            body = body[: len(body) // 2]
        kind = "text/html" if body.startswith("<") else "application/json"
        return web.Response(text=body, status=answer.status, headers=headers, content_type=kind, charset="utf-8")
