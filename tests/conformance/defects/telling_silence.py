"""Mistakes in what events say, and in beginning and ending a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from exchange_kernel.value import revised
from exchange_kernel.venue import (
    Context,
    Fill,
    Gap,
    Opened,
    OrderReport,
    Ticket,
    VenueEvent,
    VenueId,
)
from exchange_kernel_paper.adapter import PaperAdapter
from exchange_kernel_paper.streams import Events
from tests.conformance.defects.registry import defect
from tests.conformance.defects.retelling import MISSING, SUBSCRIBED, Gaps, Refilling, Retelling


@defect("EVT-06", fence="time_window")
class ReportTimesInSeconds(Retelling):
    """Times are in seconds."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, as_of=report.as_of // 1000)


@defect("EVT-06", fence="permanent_key")
class FillTimesInMicroseconds(Refilling):
    """The times of fills are in microseconds."""

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        return revised(fill, at=fill.at * 1000)


@defect("EVT-06", fence="none")
class LocalTimes(Retelling):
    """A report is as of when it came, by the local clock."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, as_of=self._ctx.clock())


@defect("EVT-06", fence="sequence")
class EventsAtLocalTime(Retelling):
    """An event's time is that of the local clock."""

    def event(self, event: VenueEvent) -> Sequence[VenueEvent]:
        return (revised(event, at=self._ctx.clock()),)


@defect("EVT-06", fence="height")
class FillTimesByTheLocalClock(Refilling):
    """The venue's time is taken for one that must be converted to local time."""

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        return revised(fill, at=fill.at - self._state.offset)


@defect("EVT-07", fence="time_window")
class StreamHasNoKeys(Retelling):
    """Events do not say under which key their order was placed."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, key=None) if source == "stream" else report


@defect("EVT-07", fence="permanent_key")
class VenuesSymbol(Retelling):
    """The stream uses the venue's own name of a market."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, symbol=report.symbol.replace("/", "")) if source == "stream" else report


@defect("EVT-07", fence="sequence")
class StrangersAreOurs(Retelling):
    """An order without a key of ours has the key of the newest of ours."""

    newest: bytes | None = None

    async def submit(self, ticket: Ticket) -> Any:
        self.newest = ticket.key
        return await super().submit(ticket)

    def told(self, report: OrderReport, source: str) -> OrderReport:
        if report.key is not None:
            self.newest = report.key
        return revised(report, key=self.newest)


@defect("EVT-07", fence="height")
class SideOfTheTaker(Retelling):
    """The side is that of whoever took what rested."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        other = type(report.side)("SELL" if report.side.value == "BUY" else "BUY")
        return revised(report, side=other) if any(fill.maker is False for fill in report.fills) else report


@defect("EVT-07", fence="none")
class NamelessEvents(Retelling):
    """Events name their orders by an empty id."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, id=VenueId("order", ""), links=(report.id,)) if source == "stream" else report


@defect("EVT-08", fence="time_window")
class SwallowsItsCancellation(PaperAdapter):
    """A cancelled stream ends as if it had come to its end."""

    async def events(self, cursor: str | None) -> AsyncIterator[VenueEvent]:  # type: ignore[override]
        try:
            async for event in super().events(cursor):
                yield event
        except asyncio.CancelledError:
            return


@defect("EVT-08", fence="permanent_key")
class LeavesItsReader(PaperAdapter):
    """The task that reads the connection outlives the stream."""

    async def events(self, cursor: str | None) -> AsyncIterator[VenueEvent]:  # type: ignore[override]
        queue: asyncio.Queue[VenueEvent] = asyncio.Queue()

        async def read() -> None:
            async for event in PaperAdapter.events(self, cursor):
                queue.put_nowait(event)

        self._reader = asyncio.create_task(read())
        while True:
            yield await queue.get()


@defect("EVT-08", fence="sequence")
class SaysGoodbye(PaperAdapter):
    """A stream that is left tells the venue so, and waits for the answer."""

    async def events(self, cursor: str | None) -> AsyncIterator[VenueEvent]:  # type: ignore[override]
        try:
            async for event in super().events(cursor):
                yield event
        finally:
            await self._ctx.sleep(20)


@defect("EVT-08", fence="none")
class StreamOutlivesClose(PaperAdapter):
    """close() does not reach the streams."""

    async def events(self, cursor: str | None) -> AsyncIterator[VenueEvent]:  # type: ignore[override]
        async for event in super().events(cursor):
            yield event
        await asyncio.Event().wait()


@defect("EVT-09", fence="time_window")
class NoGapFirst(Gaps):
    """A stream begins with data."""

    def gap(self, event: VenueEvent, gap: Gap) -> Sequence[VenueEvent]:
        return () if SUBSCRIBED in gap.why else (event,)


@defect("EVT-09", fence="permanent_key")
class DataBeforeGap(PaperAdapter):
    """What came while the stream began is told before its Gap."""

    async def events(self, cursor: str | None) -> AsyncIterator[VenueEvent]:  # type: ignore[override]
        held: VenueEvent | None = None
        async for event in super().events(cursor):
            if isinstance(event.body, Gap):
                held = event
                continue
            yield event
            if held is not None:
                yield held
                held = None


@defect("EVT-09", fence="time_window")
class GapThenSubscribe(PaperAdapter):
    """The Gap is said at once, then the stream is opened."""

    async def events(self, cursor: str | None) -> AsyncIterator[VenueEvent]:  # type: ignore[override]
        yield VenueEvent(0, None, Gap(0, None, "begin"))
        first = True
        async for event in super().events(cursor):
            if not first:
                yield event
            first = False


class _OtherSilence(PaperAdapter):
    """A stream counts as dead after :attr:`silence` seconds."""

    silence = 1e9

    async def open(self, ctx: Context) -> Opened:
        opened = await super().open(ctx)
        self._events = Events(ctx, self._translate, self.silence)
        return opened


@defect("EVT-10", fence="time_window")
class NoHeartbeat(_OtherSilence):
    """A stream that says nothing has nothing to say."""


@defect("EVT-10", fence="permanent_key")
class TenMinutesOfSilence(_OtherSilence):
    """A stream counts as dead after ten minutes."""

    silence = 600.0


@defect("EVT-10", fence="sequence")
class SilenceIsQuietlyMended(Gaps):
    """A stream that fell silent is opened again, without a word."""

    def gap(self, event: VenueEvent, gap: Gap) -> Sequence[VenueEvent]:
        return (event,) if self.nth == 1 or MISSING in gap.why else ()


@defect("EVT-11", fence="time_window")
class NumbersAreNotCompared(Gaps):
    """A number that is missing is not missed."""

    def gap(self, event: VenueEvent, gap: Gap) -> Sequence[VenueEvent]:
        return () if MISSING in gap.why else (event,)


@defect("EVT-11", fence="permanent_key")
class OneIsNotMissed(Gaps):
    """A step of two is taken for one of the venue's habits."""

    def gap(self, event: VenueEvent, gap: Gap) -> Sequence[VenueEvent]:
        words = gap.why.split()
        return () if MISSING in gap.why and words[1] == words[3] else (event,)
