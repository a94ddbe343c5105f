"""What the conformance kit's faults are on the wire between an adapter and Binance."""

from __future__ import annotations

import math
from typing import Any

from exchange_kernel.testing.conformance import Fault
from exchange_kernel.testing.faults import Direction, FaultProxy

CHANGING = ("POST", "PUT", "DELETE")
_TOO_MANY = b'{"code":-1003,"msg":"Too much request weight used."}'
_TOO_MANY_ORDERS = b'{"code":-1015,"msg":"Too many new orders."}'
_SERVER = b'{"code":-1007,"msg":"Timeout waiting for response from backend server. Execution status unknown."}'


def arm(proxy: FaultProxy, api: str, fault: Fault, times: int, ms: int, after: int) -> None:
    """Faults of requests and of events, on the wire."""
    if fault in (Fault.EVENT_LOST, Fault.EVENT_REPEATED, Fault.EVENTS_REORDERED):
        events: dict[str, Any] = {"times": times, "skip": after, "direction": Direction.TO_CLIENT, "data": _is_event}
        if fault is Fault.EVENT_LOST:
            proxy.drop_frame(**events)
        elif fault is Fault.EVENT_REPEATED:
            proxy.duplicate_frame(**events)
        else:
            proxy.reorder_frames(2, **events)
        return
    how: dict[str, Any] = {"times": times, "skip": after, "path": f"{api}/*"}
    orders = "/sapi/v?/margin/order*" if api == "/*api" else f"{api}/v?/order*"
    changes, reads = how | {"method": CHANGING, "path": orders}, how | {"method": "GET"}
    wait = {"Retry-After": str(math.ceil(ms / 1000)), "Content-Type": "application/json"}
    match fault:
        case Fault.REQUEST_LOST:
            proxy.drop_request(**changes)
        case Fault.ANSWER_LOST:
            proxy.drop_answer(**changes)
        case Fault.ERROR_AFTER:
            proxy.status(503, body=_SERVER, after_asking=True, **changes)
        case Fault.UNAVAILABLE:
            proxy.status(503, body=_SERVER, **changes)
        case Fault.GARBLED:
            proxy.garble(_half, **changes)
        case Fault.RATE_LIMIT:
            proxy.status(429, headers=wait, body=_TOO_MANY_ORDERS, **changes)
        case Fault.BANNED:
            proxy.status(418, headers=wait, body=_TOO_MANY, **how)
        case Fault.SLOW:
            proxy.delay(ms / 1000, **how)
        case Fault.READ_FAILS:
            proxy.status(502, **reads)
        case Fault.READ_GARBLED:
            proxy.garble(_half, **reads)
        case Fault.READ_LIMITED:
            proxy.status(429, headers=wait, body=_TOO_MANY, **reads)
        case _:
            raise AssertionError(f"{fault} is not offered")


def _half(body: bytes) -> bytes:
    return body[: len(body) // 2]


def _is_event(data: str | bytes) -> bool:
    return '"event"' in str(data)
