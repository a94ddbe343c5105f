"""A fault proxy: stands between an adapter and its venue, so that an adapter's author writes no code to break things.

``FaultProxy("https://api.venue.example")`` listens on loopback; the adapter gets ``proxy.url`` (or ``proxy.ws_url``) as
the venue's address, and a test says what goes wrong: ``proxy.drop_answer(path="/orders")``. HTTP/1.1, JSON-RPC over
HTTP, WebSocket, and plain TCP where each message is a line. Needs the extra ``exchange-kernel[testing]``.
"""

from __future__ import annotations

from exchange_kernel.testing.faults.frame_faults import FrameFaults
from exchange_kernel.testing.faults.handles import Ending, Fault, Held, Hold, ProxyError
from exchange_kernel.testing.faults.http_faults import HttpFaults
from exchange_kernel.testing.faults.matching import FrameMatch, FrameQuery, RequestMatch, RequestQuery
from exchange_kernel.testing.faults.proxy import FaultProxy
from exchange_kernel.testing.faults.records import (
    Counts,
    Direction,
    Fate,
    FrameFate,
    FrameKind,
    FrameRecord,
    RequestRecord,
)

__all__ = [
    "Counts",
    "Direction",
    "Ending",
    "Fate",
    "Fault",
    "FaultProxy",
    "FrameFate",
    "FrameFaults",
    "FrameKind",
    "FrameMatch",
    "FrameQuery",
    "FrameRecord",
    "Held",
    "Hold",
    "HttpFaults",
    "ProxyError",
    "RequestMatch",
    "RequestQuery",
    "RequestRecord",
]
