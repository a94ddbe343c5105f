"""What is refused before anybody looks at it: a foreign Host or Origin, a body too large or too slow, a wrong type."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any, Final

from exchange_kernel.api.problems import MEDIA_TYPE, Problem

__all__ = ["MAX_BODY", "Guard", "send_problem", "strict_json", "strict_text"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY: Final = 1_048_576
BODY_S: Final = 10.0
MAX_DEPTH: Final = 12
MAX_URL: Final = 8_192

_NESTING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{\]}]', re.DOTALL).finditer


class Guard:
    """ASGI middleware. ``hosts``: names by which this server may be called, lower-case, without port.

    A page of another site can make a browser send requests here (and, by a name that resolves to this address, read the
    answers). It cannot choose the Host, and a browser tells the Origin: neither is let in where it is not ours.
    """

    def __init__(self, app: App, hosts: Collection[str], body_s: float = BODY_S) -> None:
        self._app, self._hosts, self._body_s = app, frozenset(hosts), body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await self._admitted(scope, receive)
        except Problem as problem:
            await send_problem(send, problem)
            return
        sent = False

        async def once() -> MutableMapping[str, Any]:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, once, send)

    async def _admitted(self, scope: Scope, receive: Receive) -> bytes:
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name, []).append(value)
        if any(len(headers.get(name, ())) > 1 for name in (b"host", b"origin", b"authorization", b"content-type")):
            raise Problem(400, "bad-request", "a header that may stand once stands twice")
        if len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"") > MAX_URL:
            raise Problem(414, "uri-too-long", f"the address is longer than {MAX_URL} bytes")
        host = headers.get(b"host", [b""])[0].decode("latin-1")
        if _name(host) not in self._hosts:
            raise Problem(421, "misdirected-request", "this server is not called by that Host")
        origin = headers.get(b"origin", [b""])[0].decode("latin-1")
        if origin and origin.lower() != f"{scope.get('scheme', 'http')}://{host.lower()}":
            raise Problem(403, "foreign-origin", "requests from other sites' pages are refused")
        if headers.get(b"content-encoding", [b"identity"])[0].lower() != b"identity":
            raise Problem(415, "unsupported-media-type", "send the body without a Content-Encoding")
        return await self._body(headers, receive)

    async def _body(self, headers: dict[bytes, list[bytes]], receive: Receive) -> bytes:
        said = headers.get(b"content-length", [b"0"])[0]
        too_large = Problem(413, "content-too-large", f"a body has at most {MAX_BODY} bytes", {"connection": "close"})
        if said.isdigit() and int(said[:18]) > MAX_BODY:
            raise too_large
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._body_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Problem(400, "bad-request", "the body ended early")
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > MAX_BODY:
                        raise too_large
                    if not message.get("more_body"):
                        return b"".join(parts)
        except TimeoutError:
            rule = f"the body did not arrive within {self._body_s:g} s"
            raise Problem(408, "request-timeout", rule, {"connection": "close"}) from None


def _name(host: str) -> str:
    """A Host without its port, lower-case."""
    name = host.lower()
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    return name.rpartition(":")[0] if ":" in name else name


async def send_problem(send: Send, problem: Problem) -> None:
    """Answer with a problem."""
    body = json.dumps(problem.body()).encode()
    headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), "cache-control": "no-store"}
    pairs = [(name.encode(), value.encode()) for name, value in (headers | problem.headers).items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


def strict_json(raw: bytes, content_type: str) -> dict[str, Any]:
    """The object that a body holds; numbers with a point stay the text they were. Raises Problem."""
    kind, _, parameters = content_type.partition(";")
    if kind.strip().lower() != "application/json" or parameters.strip().lower() not in ("", "charset=utf-8"):
        raise Problem(415, "unsupported-media-type", "send application/json")
    _check_depth(raw)
    try:
        found = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_float=str, parse_constant=_no_number)
    except ValueError as error:
        raise Problem(400, "bad-request", f"the body is no JSON: {str(error)[:120]}") from None
    if not isinstance(found, dict):
        raise Problem(400, "bad-request", "the body must be a JSON object")
    _check(found)
    return found


def _check_depth(raw: bytes) -> None:
    """Before it is parsed: the parser is recursive, and a deep text can kill the process."""
    depth = 0
    for found in _NESTING(raw):
        mark = found[0]
        if mark in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise Problem(400, "bad-request", f"the body is nested more than {MAX_DEPTH} deep")
        elif mark in b"]}":
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {ascii(twice)[:80]} stands twice in one object")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _check(value: Any) -> None:
    if isinstance(value, str):
        strict_text(value)
    elif isinstance(value, dict):
        for name, each in value.items():
            strict_text(name)
            _check(each)
    elif isinstance(value, list):
        for each in value:
            _check(each)


def strict_text(text: str) -> str:
    """The text, unless no database could keep it. Raises Problem."""
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise Problem(400, "bad-request", "a text holds a NUL, or half a character")
    return text
