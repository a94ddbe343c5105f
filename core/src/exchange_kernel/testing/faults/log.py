"""The proxy's memory: records of requests and frames in the order of arrival."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import h11

from exchange_kernel.clock import Clock
from exchange_kernel.testing.faults.handles import Signal
from exchange_kernel.testing.faults.matching import rpc_methods
from exchange_kernel.testing.faults.records import (
    Counts,
    Direction,
    Fate,
    FrameKind,
    FrameRecord,
    Redaction,
    RequestRecord,
    digest,
)


class Log:
    """What was seen. ``changed`` is notified whenever a record is added or its fate is decided."""

    def __init__(self, clock: Clock, redaction: Redaction) -> None:
        self._clock = clock
        self._redaction = redaction
        self._numbers = {RequestRecord: 0, FrameRecord: 0}
        self.requests: list[RequestRecord] = []
        self.frames: list[FrameRecord] = []
        self.changed = Signal()

    def request(self, head: h11.Request, *, websocket: bool) -> RequestRecord:
        """A request's head has arrived."""
        path, _, query = head.target.decode("latin-1").partition("?")
        return self._added(
            RequestRecord(
                number=self._next(RequestRecord),
                at_ms=self._clock.now_ms(),
                method=head.method.decode("latin-1"),
                path=self._redaction.text(path),
                query=self._redaction.query(query),
                headers=self._redaction.headers(head.headers.raw_items()),
                websocket=websocket,
            )
        )

    def broken_request(self, fate: Fate) -> RequestRecord:
        """Something arrived that has no readable head."""
        number, now = self._next(RequestRecord), self._clock.now_ms()
        return self._added(RequestRecord(number, now, method="", path="", query="", headers=(), fate=fate))

    def connection(self) -> RequestRecord:
        """A client has connected who will send lines."""
        number, now = self._next(RequestRecord), self._clock.now_ms()
        return self._added(RequestRecord(number, now, method="", path="", query="", headers=()))

    def complete(self, record: RequestRecord, body: bytes) -> None:
        """A request's body is complete."""
        record.body_size, record.body_sha256, record.rpc = len(body), digest(body), rpc_methods(body)

    def decide(self, record: RequestRecord, fate: Fate) -> None:
        """Say what became of a request, or how far it got."""
        record.fate = fate
        self.changed.notify()

    def frame(
        self, handshake: RequestRecord, direction: Direction, kind: FrameKind, payload: bytes, rpc: tuple[str, ...]
    ) -> FrameRecord:
        """A frame is complete."""
        record = FrameRecord(
            number=self._next(FrameRecord),
            at_ms=self._clock.now_ms(),
            connection=handshake.number,
            path=handshake.path,
            direction=direction,
            kind=kind,
            size=len(payload),
            sha256=digest(payload),
            rpc=rpc,
        )
        self.frames.append(record)
        self.changed.notify()
        return record

    def arrived(self) -> list[RequestRecord]:
        """The requests that are complete, or never will be."""
        return [record for record in self.requests if record.fate is not Fate.ARRIVING]

    def count(self, holds: Callable[[RequestRecord], bool]) -> Counts:
        """How many requests got how far."""
        found: Iterable[RequestRecord] = [record for record in self.requests if holds(record)]
        return Counts(
            seen=sum(1 for _ in found),
            forwarded=sum(record.forwarded > 0 for record in found),
            answered=sum(record.answered for record in found),
        )

    def forget(self) -> None:
        """Forget all records; numbers go on."""
        self.requests.clear()
        self.frames.clear()

    def _added(self, record: RequestRecord) -> RequestRecord:
        self.requests.append(record)
        self.changed.notify()
        return record

    def _next(self, kind: type) -> int:
        self._numbers[kind] += 1
        return self._numbers[kind]
