"""What a connection needs to know about the proxy it belongs to, and about the request it carries."""

from __future__ import annotations

from dataclasses import dataclass, field

import h11

from exchange_kernel.clock import Clock
from exchange_kernel.testing.faults.handles import Ending, Script
from exchange_kernel.testing.faults.log import Log
from exchange_kernel.testing.faults.matching import SeenFrame, SeenRequest
from exchange_kernel.testing.faults.records import RequestRecord
from exchange_kernel.testing.faults.upstream import Upstream
from exchange_kernel.testing.faults.websocket import Relay


@dataclass(slots=True)
class Shared:
    """What all connections of one proxy have in common."""

    upstream: Upstream
    http: Script[SeenRequest]
    frames: Script[SeenFrame]
    log: Log
    clock: Clock
    max_body: int  # bytes
    dead_upstream: Ending | int | None
    rpc_member: str
    relays: set[Relay] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Asked:
    """One complete request on its way."""

    head: h11.Request
    seen: SeenRequest
    trailers: list[tuple[bytes, bytes]]

    @property
    def record(self) -> RequestRecord:
        """What is remembered of it."""
        return self.seen.record
