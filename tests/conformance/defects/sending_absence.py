"""Mistakes in what a lookup claims when it finds nothing."""

from __future__ import annotations

from typing import Any

from exchange_kernel.errors import (
    Unavailable,
)
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    FOREVER,
    Absent,
    Command,
    Context,
    Found,
    HeightEnd,
    Lookup,
    Opened,
    OrderReport,
    Prep,
    Prepared,
    Ref,
    Snapshot,
    Ticket,
    TimeEnd,
    VenueStatus,
    Watermark,
)
from exchange_kernel_paper.adapter import PaperAdapter
from tests.conformance.defects.registry import defect
from tests.conformance.defects.shaping import opened_with


@defect("UNK-01", fence="time_window")
class ListsOnlyOpen(PaperAdapter):
    """Lookup searches the open orders, where nothing is that has traded or ended."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if isinstance(answer, Found) and all(isinstance(r, OrderReport) and r.status.terminal for r in answer.reports):
            return Absent(answer.at, 0, ("open",))
        return answer


@defect("UNK-01", fence="permanent_key")
class ForgetsCanceled(PaperAdapter):
    """Lookup asks the open orders and the trades; what was cancelled untouched is in neither."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if isinstance(answer, Found):
            kept = tuple(r for r in answer.reports if getattr(r, "status", None) is not VenueStatus.CANCELED)
            return Found(kept, answer.at) if kept else Absent(answer.at, 0, ("open", "trades"))
        return answer


@defect("UNK-03", fence="time_window")
class EndsTooEarly(PaperAdapter):
    """The fence ends before the window that is in the body does."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        ticket = await super().prepare(command, prep)
        assert isinstance(ticket, Ticket)
        (end,) = ticket.fence.ends
        assert isinstance(end, TimeEnd)
        return revised(ticket, fence=revised(ticket.fence, ends=(revised(end, at=end.at - 1_500, slack=0),)))


@defect("UNK-03", fence="time_window", read_lag_ms=0)
class NoSlack(PaperAdapter):
    """Between the venue's check of the window and execution lies its queue; the fence does not know it."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        ticket = await super().prepare(command, prep)
        assert isinstance(ticket, Ticket)
        (end,) = ticket.fence.ends
        assert isinstance(end, TimeEnd)
        return revised(ticket, fence=revised(ticket.fence, ends=(revised(end, slack=0),)))


@defect("UNK-03", fence="height")
class HeightTooLow(PaperAdapter):
    """The fence names an earlier block than the body."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        ticket = await super().prepare(command, prep)
        assert isinstance(ticket, Ticket)
        (end,) = ticket.fence.ends
        assert isinstance(end, HeightEnd)
        return revised(ticket, fence=revised(ticket.fence, ends=(HeightEnd(end.last - 4),)))


@defect("UNK-03", fence="time_window")
class NotFoundTooEarly(PaperAdapter):
    """What is not found does not exist: the watermark lies far ahead, whatever was read."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        return revised(answer, at=Watermark(venue_ms=FOREVER)) if isinstance(answer, Absent) else answer


@defect("UNK-03", fence="time_window")
class ShortHorizon(PaperAdapter):
    """After half a second, open() says, no ticket takes effect any more."""

    async def open(self, ctx: Context) -> Opened:
        return opened_with(await super().open(ctx), horizon=500)


@defect("UNK-03", fence="sequence")
class NumbersTimeOut(PaperAdapter):
    """A transaction without an end is said to be dead after a second."""

    async def open(self, ctx: Context) -> Opened:
        return opened_with(await super().open(ctx), horizon=1_000)


@defect("UNK-06", fence="time_window")
class DeniesLag(PaperAdapter):
    """The venue documents that its reads trail; the adapter does not say so."""

    async def open(self, ctx: Context) -> Opened:
        opened = await super().open(ctx)
        self._tickets._slack -= opened.read_lag
        return opened_with(opened, read_lag=0)


@defect("UNK-06", fence="time_window")
class AbsentIsLatest(PaperAdapter):
    """The watermark is what the answer says it was made at, not how far the replica had got."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if isinstance(answer, Absent) and answer.at.venue_ms is not None:
            return revised(answer, at=Watermark(venue_ms=answer.at.venue_ms + 1_400))
        return answer


@defect("UNK-07", fence="time_window")
class FailedReadIsAbsence(PaperAdapter):
    """A read that failed found nothing."""

    async def lookup(self, ref: Ref) -> Lookup:
        try:
            return await super().lookup(ref)
        except Unavailable:
            return Absent(Watermark(venue_ms=self._ctx.clock()), 0, ("orders",))


@defect("UNK-07", fence="permanent_key")
class FailedTimeIsLocalTime(PaperAdapter):
    """When the venue's clock cannot be read, the local one will do."""

    async def lookup(self, ref: Ref) -> Lookup:
        reading = self._lookups._read

        async def read(op: str, **fields: object) -> dict[str, Any]:
            try:
                return await reading(op, **fields)
            except Unavailable:
                if op == "time":
                    return {"t": self._ctx.clock()}
                raise

        self._lookups._read = read
        try:
            return await super().lookup(ref)
        finally:
            self._lookups._read = reading


@defect("UNK-07", fence="time_window")
class IgnoresSecondSource(PaperAdapter):
    """Open orders and ended ones are two requests; when the second fails, the first is enough."""

    async def lookup(self, ref: Ref) -> Lookup:
        snapshot = await self.open_orders(None)
        mine = tuple(report for report in snapshot.reports if report.key == ref.key)
        if mine:
            return Found(mine, snapshot.at)
        try:
            return await super().lookup(ref)
        except Unavailable:
            return Absent(snapshot.at, 0, ("open",))


@defect("UNK-07", fence="sequence")
class FailedReadIsEmpty(PaperAdapter):
    """Open orders that could not be read are no open orders."""

    async def open_orders(self, page: str | None) -> Snapshot:
        try:
            return await super().open_orders(page)
        except Unavailable:
            return Snapshot((), Watermark(), True, None, "account")


@defect("UNK-08", fence="time_window")
class WatermarkAfterSearch(PaperAdapter):
    """First the search, then the clock."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if isinstance(answer, Absent):
            return revised(answer, at=Watermark(venue_ms=(await self.read("time"))["t"]))
        return answer


@defect("UNK-08", fence="height")
class HeightAfterSearch(PaperAdapter):
    """First the search, then the newest final block, which is another."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if isinstance(answer, Absent):
            ledger = (await self.read("time"))["ledger"]
            return revised(answer, at=Watermark(ledger_ms=ledger["final_ms"], height=ledger["final"]))
        return answer


@defect("UNK-08", fence="sequence")
class SpentAfterSearch(PaperAdapter):
    """First the search, then which numbers are spent: by then our own order has spent it."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if isinstance(answer, Absent):
            return revised(answer, at=self._lookups._ledger_mark(await self.read("time"), ref))
        return answer


@defect("UNK-08", fence="permanent_key")
class WatermarkInTheFuture(PaperAdapter):
    """The read is said to have got as far as a guess."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if isinstance(answer, Found | Absent) and answer.at.venue_ms is not None:
            return revised(answer, at=Watermark(venue_ms=answer.at.venue_ms + 10_000))
        return answer


@defect("UNK-09", fence="time_window")
class HidesTheOlder(PaperAdapter):
    """Of several matches the newest is returned."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        return revised(answer, reports=answer.reports[-1:]) if isinstance(answer, Found) else answer


@defect("UNK-09", fence="none")
class HidesTheNewer(PaperAdapter):
    """Of several ids the first is asked for."""

    async def lookup(self, ref: Ref) -> Lookup:
        orders = tuple(vid for vid in ref.ids if vid.kind == "order")
        return await super().lookup(revised(ref, ids=orders[:1]))


@defect("UNK-12", fence="time_window")
class SinceAlwaysZero(PaperAdapter):
    """What the venue forgets after a while is said to have never been."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        return revised(answer, since=0) if isinstance(answer, Absent) else answer


@defect("UNK-12", fence="permanent_key")
class DeniesForgetting(SinceAlwaysZero):
    """The adapter says of itself that its venue keeps everything."""

    async def open(self, ctx: Context) -> Opened:
        return opened_with(await super().open(ctx), retention=FOREVER)


@defect("UNK-12", fence="none")
class SinceFromTheAttempt(PaperAdapter):
    """``since`` is what the kernel wants to hear."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        return revised(answer, since=ref.placed_at) if isinstance(answer, Absent) else answer


@defect("UNK-13", fence="time_window")
class LocalClock(PaperAdapter):
    """Expiry is judged by the local clock."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        return revised(answer, at=Watermark(venue_ms=self._ctx.clock())) if isinstance(answer, Absent) else answer


@defect("UNK-13", fence="time_window")
class MeasuredClock(PaperAdapter):
    """Expiry is judged by the local clock and the offset it had when the session began."""

    async def open(self, ctx: Context) -> Opened:
        opened = await super().open(ctx)
        self._offset = opened.clock_offset
        return opened

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if isinstance(answer, Absent):
            return revised(answer, at=Watermark(venue_ms=self._ctx.clock() + self._offset))
        return answer
