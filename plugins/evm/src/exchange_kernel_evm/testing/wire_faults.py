"""What the conformance kit's faults are between an adapter and its node."""

from __future__ import annotations

import json
import math
import urllib.request
from collections.abc import Callable
from typing import Any, Final

from exchange_kernel.testing.conformance import Fault
from exchange_kernel.testing.faults import FaultProxy

__all__ = ["READ_FAULTS", "SEND", "WIRE_FAULTS", "arm"]

SEND: Final = "eth_sendRawTransaction"
READ_FAULTS: Final = frozenset({Fault.READ_FAILS, Fault.READ_GARBLED, Fault.READ_LIMITED})
WIRE_FAULTS: Final = READ_FAULTS | {
    Fault.REQUEST_LOST,
    Fault.ANSWER_LOST,
    Fault.LATE,
    Fault.ERROR_AFTER,
    Fault.UNAVAILABLE,
    Fault.GARBLED,
    Fault.RATE_LIMIT,
    Fault.NODE_REFUSES,
    Fault.SLOW,
}
"""Those that :func:`arm` knows."""
_REFUSAL = {"jsonrpc": "2.0", "id": None, "error": {"code": -32000, "message": "transaction underpriced"}}

Later = Callable[[float, Callable[[], None]], None]


def arm(
    proxy: FaultProxy,
    node: str,
    later: Later,
    fault: Fault,
    *,
    times: int,
    ms: int,
    after: int,
    pace: int = 1,
    spares: bytes = b"",
) -> None:
    """The next ``times`` requests that the fault is for, after ``after`` of them, meet it. ``node``: the address behind
    the proxy; ``later``: does something in so many seconds of the machine's clock; ``ms``: of the harness' clock, which
    goes ``pace`` times as fast; ``spares``: reads with this in them are answered all the same."""
    how: dict[str, Any] = {"times": times, "skip": after}
    seconds = ms / 1000 / pace

    def reads(body: bytes) -> bool:
        return SEND.encode() not in body and not (spares and spares in body)

    wait = {"Retry-After": str(math.ceil(ms / 1000))}
    match fault:
        case Fault.REQUEST_LOST:
            proxy.drop_request(rpc=SEND, **how)
        case Fault.ANSWER_LOST:
            proxy.drop_answer(rpc=SEND, **how)
        case Fault.LATE:
            caught = _caught(node, seconds, later, times, after)
            proxy.drop_request(rpc=SEND, request_body=caught, **how)
        case Fault.ERROR_AFTER:
            proxy.status(503, after_asking=True, rpc=SEND, **how)
        case Fault.UNAVAILABLE:
            proxy.status(503, rpc=SEND, **how)
        case Fault.GARBLED:
            proxy.truncate(30, rpc=SEND, **how)
        case Fault.RATE_LIMIT:
            proxy.status(429, headers=wait, rpc=SEND, **how)
        case Fault.NODE_REFUSES:
            proxy.status(200, body=json.dumps(_REFUSAL).encode(), after_asking=True, rpc=SEND, **how)
        case Fault.SLOW:
            proxy.delay(seconds, **how)
        case Fault.READ_FAILS:
            proxy.status(502, request_body=reads, **how)
        case Fault.READ_GARBLED:
            proxy.truncate(30, request_body=reads, **how)
        case Fault.READ_LIMITED:
            proxy.status(429, headers=wait, request_body=reads, **how)
        case _:
            raise NotImplementedError(fault)


def _caught(node: str, seconds: float, later: Later, times: int, skip: int) -> Callable[[bytes], bool]:
    """Takes every request, and has those that the fault is for arrive later; nobody hears of their answer."""
    seen = 0

    def take(body: bytes) -> bool:
        nonlocal seen
        seen += 1
        if skip < seen <= skip + times:
            later(seconds, lambda: _post(node, body))
        return True

    return take


def _post(node: str, body: bytes) -> None:
    request = urllib.request.Request(node, body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=30).close()
