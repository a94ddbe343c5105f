"""Mistakes in following the stream."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any

from exchange_kernel.value import revised
from exchange_kernel.venue import (
    Found,
    Gap,
    Lookup,
    OrderReport,
    Ref,
    Snapshot,
    VenueEvent,
    VenueId,
)
from exchange_kernel_paper.adapter import PaperAdapter
from tests.conformance.defects.registry import defect
from tests.conformance.defects.retelling import BROKE, Gaps, Retelling


@defect("EVT-01", fence="time_window")
class EveryReportIsAlike(Retelling):
    """All reports of an order have one version, and the time it was made."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[str, int] = {}

    def told(self, report: OrderReport, source: str) -> OrderReport:
        made = self._made.setdefault(report.id.value, report.as_of)
        return revised(report, version=1, as_of=made)


@defect("EVT-01", fence="permanent_key")
class StreamReopens(Retelling):
    """After its end an order is told once more, as it was before."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, OrderReport] = {}

    def event(self, event: VenueEvent) -> Sequence[VenueEvent]:
        body = event.body
        if not isinstance(body, OrderReport):
            return (event,)
        was = self._last.get(body.id.value)
        if body.status.terminal and was is not None and body.version is not None:
            return (event, revised(event, body=revised(was, version=body.version + 1)))
        self._last[body.id.value] = body
        return (event,)


@defect("EVT-01", fence="sequence")
class LookupsAreAhead(Retelling):
    """Lookups count versions on their own, from a high number."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        if source != "lookup" or report.version is None:
            return report
        return revised(report, version=report.version + 10**12)


@defect("EVT-01", fence="none")
class VersionsCountDown(Retelling):
    """What is left counts as the version."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return report if report.version is None else revised(report, version=1_000 - report.version)


@defect("EVT-02", fence="time_window")
class SilentReconnect(Gaps):
    """Only the first Gap is said."""

    def gap(self, event: VenueEvent, gap: Gap) -> Sequence[VenueEvent]:
        return (event,) if self.nth == 1 else ()


@defect("EVT-02", fence="permanent_key")
class GapBeforeReconnect(Gaps):
    """The Gap is said when the connection breaks, not again when the next one stands."""

    def gap(self, event: VenueEvent, gap: Gap) -> Sequence[VenueEvent]:
        return (event,) if self.nth == 1 or BROKE in gap.why else ()


@defect("EVT-02", fence="sequence")
class NeverComesBack(Retelling):
    """The connection has ended, and the stream waits for ever."""

    def event(self, event: VenueEvent) -> Sequence[VenueEvent]:
        return (event,)

    async def events(self, cursor: str | None) -> AsyncIterator[VenueEvent]:  # type: ignore[override]
        async for event in PaperAdapter.events(self, cursor):
            if isinstance(event.body, Gap) and BROKE in event.body.why:
                await asyncio.Event().wait()
            yield event


@defect("EVT-02", fence="none")
class GapSinceNow(Gaps):
    """What may be missing is said to begin when the new connection does."""

    def gap(self, event: VenueEvent, gap: Gap) -> Sequence[VenueEvent]:
        now = self._ctx.clock() + self._state.offset
        return (revised(event, body=revised(gap, since=now)),)


@defect("EVT-02", fence="height")
class EndsAndBeginsWithoutGap(Gaps):
    """Of two streams of a session only the first begins with a Gap."""

    begun = False

    def gap(self, event: VenueEvent, gap: Gap) -> Sequence[VenueEvent]:
        first, self.begun = not self.begun, True
        return (event,) if first else ()


@defect("EVT-03", fence="time_window")
class FirstGapSinceNow(Gaps):
    """A new stream misses nothing from before it."""

    def gap(self, event: VenueEvent, gap: Gap) -> Sequence[VenueEvent]:
        return (revised(event, body=revised(gap, since=event.at)),)


class _Remembering(Retelling):
    """Remembers what the stream has told."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[VenueId, OrderReport] = {}

    def event(self, event: VenueEvent) -> Sequence[VenueEvent]:
        if isinstance(event.body, OrderReport):
            self.known[event.body.id] = event.body
        return (event,)


@defect("EVT-03", fence="permanent_key")
class SnapshotFromMemory(_Remembering):
    """Open orders are those the stream has told of; the venue is asked only at first."""

    async def open_orders(self, page: str | None) -> Snapshot:
        snapshot = await super().open_orders(page)
        shown = tuple(report for report in self.known.values() if not report.status.terminal)
        return revised(snapshot, reports=shown, next=None) if self.known else snapshot


@defect("EVT-03", fence="none")
class LookupFromMemory(_Remembering):
    """An order that the stream has told of, or a lookup, is not asked for again."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if isinstance(answer, Found):
            report = answer.reports[0]
            assert isinstance(report, OrderReport)
            return revised(answer, reports=(self.known.setdefault(report.id, report),))
        return answer


@defect("EVT-04", fence="time_window")
class CountsEventsTwice(Retelling):
    """Each event's fills have ids of that event."""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def event(self, event: VenueEvent) -> Sequence[VenueEvent]:
        self._count += 1
        body = event.body
        if not isinstance(body, OrderReport):
            return (event,)
        fills = tuple(revised(fill, id=f"{fill.id}/{self._count}") for fill in body.fills)
        return (revised(event, body=revised(body, fills=fills)),)


@defect("EVT-04", fence="permanent_key")
class LastEventIsNewest(Retelling):
    """A report is as new as the moment it comes."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, version=None, as_of=self._ctx.clock() + self._state.offset)


@defect("EVT-04", fence="none")
class VersionsByArrival(Retelling):
    """Versions are counted here, by arrival."""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def told(self, report: OrderReport, source: str) -> OrderReport:
        self._count += 1
        return revised(report, version=self._count)


@defect("EVT-04", fence="time_window")
class AddsUpItself(Retelling):
    """What is filled is added up from the events, as often as they come."""

    def __init__(self) -> None:
        super().__init__()
        self._sums: dict[str, Any] = {}

    def event(self, event: VenueEvent) -> Sequence[VenueEvent]:
        body = event.body
        if not isinstance(body, OrderReport):
            return (event,)
        base, quote = self._sums.get(body.id.value, (0, 0))
        for fill in body.fills:
            base, quote = base + fill.base, quote + fill.quote
        self._sums[body.id.value] = base, quote
        filled = revised(body.filled, base=body.filled.base * 0 + base, quote=body.filled.quote * 0 + quote)
        return (revised(event, body=revised(body, filled=filled)),)


class _Queued(PaperAdapter):
    """A task reads the stream into a queue of twenty; :meth:`full` says what goes when it is full."""

    def full(self, queue: deque[VenueEvent], event: VenueEvent) -> None:
        """Make room, or not."""

    async def events(self, cursor: str | None) -> AsyncIterator[VenueEvent]:  # type: ignore[override]
        queue: deque[VenueEvent] = deque()

        async def fill() -> None:
            async for event in PaperAdapter.events(self, cursor):
                if len(queue) < 20:
                    queue.append(event)
                else:
                    self.full(queue, event)

        task = asyncio.create_task(fill())
        try:
            while True:
                while not queue:
                    await self._ctx.sleep(0.005)
                yield queue.popleft()
        finally:
            task.cancel()


@defect("EVT-05", fence="time_window")
class DropsTheOldest(_Queued):
    """The oldest event gives way."""

    def full(self, queue: deque[VenueEvent], event: VenueEvent) -> None:
        queue.popleft()
        queue.append(event)


@defect("EVT-05", fence="permanent_key")
class DropsTheNewest(_Queued):
    """What does not fit is dropped."""


@defect("EVT-05", fence="none")
class DropsAll(_Queued):
    """All that is queued gives way."""

    def full(self, queue: deque[VenueEvent], event: VenueEvent) -> None:
        queue.clear()
        queue.append(event)
