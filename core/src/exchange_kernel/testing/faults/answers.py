"""Answers as the client gets them: the upstream's, the proxy's own, and spoilt ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import h11

from exchange_kernel.testing.faults.http_faults import Garble, Reply, ReplyAfterAsking
from exchange_kernel.testing.faults.upstream import Whole, onward_answer

_BODILESS: Final = frozenset({204, 304})
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer for the client."""

    head: h11.Response
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)


def has_body(request: h11.Request, head: h11.Response | h11.InformationalResponse) -> bool:
    """Whether an answer of this kind carries a body at all."""
    return request.method != b"HEAD" and head.status_code >= 200 and head.status_code not in _BODILESS


def passed_on(head: h11.Response, whole: Whole) -> Answer:
    """The upstream's answer."""
    return Answer(onward_answer(head), whole.body, whole.trailers)


def from_proxy(request: h11.Request, reply: Reply | ReplyAfterAsking) -> Answer:
    """An answer that the upstream never gave."""
    fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
    if reply.code not in _BODILESS:
        fields.append((b"Content-Length", b"%d" % len(reply.body)))
    head = h11.Response(status_code=reply.code, headers=fields, reason=b"")
    return Answer(head, reply.body if has_body(request, head) else b"")


def garbled(head: h11.Response, whole: Whole, action: Garble) -> Answer:
    """The upstream's answer with another body of its own length. Given bytes are not compressed, whatever it said."""
    if isinstance(action.body, bytes):
        body, dropped = action.body, _FRAMING | {b"content-encoding"}
    else:
        body, dropped = action.body(whole.body), _FRAMING
    onward = onward_answer(head)
    fields = [(raw, value) for raw, value in onward.headers.raw_items() if raw.lower() not in dropped]
    fields.append((b"Content-Length", b"%d" % len(body)))
    return Answer(h11.Response(status_code=head.status_code, headers=fields, reason=head.reason), body)


def refusal(status: int, why: str) -> Answer:
    """What a client is told whose request this proxy cannot carry."""
    body = f"{why}\n".encode("utf-8", "backslashreplace")
    fields = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    ]
    return Answer(h11.Response(status_code=status, headers=fields), body)
