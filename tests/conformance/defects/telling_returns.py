"""Mistakes in finding everything again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from exchange_kernel.errors import NotSent, OutcomeUnknown, RateLimited, Rejected, Unavailable
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    Absent,
    Ack,
    Executed,
    Fill,
    Found,
    Gap,
    Key,
    Lookup,
    OrderReport,
    Ref,
    Snapshot,
    Ticket,
    VenueEvent,
    VenueId,
    VenueStatus,
    Watermark,
)
from exchange_kernel_paper.adapter import PaperAdapter
from tests.conformance.defects.registry import defect
from tests.conformance.defects.retelling import BROKE, Item, Refilling, Retelling
from tests.conformance.defects.shaping import each


def _alive(report: OrderReport) -> bool:
    return not report.status.terminal


@defect("REC-01", fence="time_window")
class KnowsWhatItSent(PaperAdapter):
    """Only orders that this session sent are looked for."""

    def __init__(self) -> None:
        super().__init__()
        self._sent: set[Key] = set()

    async def submit(self, ticket: Ticket) -> Ack:
        self._sent.add(ticket.key)
        return await super().submit(ticket)

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if ref.key in self._sent or not isinstance(answer, Found):
            return answer
        return Absent(answer.at, self._ctx.clock(), ("orders",))


@defect("REC-01", fence="permanent_key")
class FindsOpenOrders(PaperAdapter):
    """What has ended is found by its id, what is open by its key."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if not isinstance(answer, Found) or any(vid.kind == "order" for vid in ref.ids):
            return answer
        alive = tuple(r for r in answer.reports if not isinstance(r, OrderReport) or _alive(r))
        return revised(answer, reports=alive) if alive else Absent(answer.at, self._ctx.clock(), ("orders",))


@defect("REC-01", fence="none")
class FilledInThisSession(PaperAdapter):
    """What an order traded is what it traded since this session began."""

    async def lookup(self, ref: Ref) -> Lookup:
        since = self._began = getattr(self, "_began", self._ctx.clock())

        def told(report: OrderReport) -> OrderReport:
            fills = tuple(fill for fill in report.fills if fill.at >= since)
            total = sum((fill.base for fill in fills), report.filled.base * 0)
            quote = sum((fill.quote for fill in fills), report.filled.quote * 0)
            return revised(report, fills=fills, filled=Executed(total, quote))

        return each(await super().lookup(ref), told)


@defect("REC-02", fence="time_window")
class FirstPageIsAll(PaperAdapter):
    """The snapshot is complete after the first page."""

    async def open_orders(self, page: str | None) -> Snapshot:
        return revised(await super().open_orders(page), next=None)


@defect("REC-02", fence="permanent_key")
class StrangersAreHidden(PaperAdapter):
    """Orders of others are left out, though they are declared to be listed."""

    async def open_orders(self, page: str | None) -> Snapshot:
        snapshot = await super().open_orders(page)
        return revised(snapshot, reports=tuple(report for report in snapshot.reports if report.key is not None))


@defect("REC-02", fence="sequence")
class FailedPageIsTheLast(PaperAdapter):
    """A page that cannot be read is the end."""

    async def open_orders(self, page: str | None) -> Snapshot:
        try:
            return await super().open_orders(page)
        except (Unavailable, RateLimited):
            if page is None:
                raise
            return Snapshot((), Watermark(height=0), True, None, "account")


@defect("REC-02", fence="height")
class OneMarketOnly(PaperAdapter):
    """Open orders are those of the first market."""

    async def open_orders(self, page: str | None) -> Snapshot:
        snapshot = await super().open_orders(page)
        return revised(snapshot, reports=tuple(report for report in snapshot.reports if report.symbol == "BTC/USD"))


@defect("REC-02", fence="none")
class PagesByOffset(PaperAdapter):
    """A page is the next three of a list that has changed meanwhile."""

    async def open_orders(self, page: str | None) -> Snapshot:
        reports: list[OrderReport] = []
        snapshot = await super().open_orders(None)
        reports += snapshot.reports
        while snapshot.next is not None:
            snapshot = await super().open_orders(snapshot.next)
            reports += snapshot.reports
        first = int(page or 0)
        following = str(first + 3) if first + 3 < len(reports) else None
        return revised(snapshot, reports=tuple(reports[first : first + 3]), next=following)


@defect("REC-02", fence="time_window")
class IncompleteForEver(PaperAdapter):
    """No page ever says that it is complete."""

    async def open_orders(self, page: str | None) -> Snapshot:
        return revised(await super().open_orders(page), complete=False)


@defect("REC-03", fence="time_window")
class HistorySkips(PaperAdapter):
    """The entry on which a page ends is not on the next one either."""

    async def history(self, cursor: str | None) -> tuple[Sequence[Item], str | None]:
        page, following = await super().history(cursor)
        return (page[:-1] if len(page) > 1 else page), following


@defect("REC-03", fence="permanent_key")
class HistoryBeginsAgain(PaperAdapter):
    """The cursor is not passed on."""

    async def history(self, cursor: str | None) -> tuple[Sequence[Item], str | None]:
        return await super().history(None)


@defect("REC-03", fence="sequence")
class HistoryOfCancels(PaperAdapter):
    """What was filled has no end of its own in history."""

    async def history(self, cursor: str | None) -> tuple[Sequence[Item], str | None]:
        page, following = await super().history(cursor)
        kept = [item for item in page if not isinstance(item, OrderReport) or item.status is not VenueStatus.FILLED]
        return kept or page[:1], following


@defect("REC-03", fence="height")
class HistoryWithoutFills(Retelling):
    """The ends in history have sums only."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, fills=(), fills_complete=False) if source == "history" else report


@defect("REC-03", fence="none")
class CursorOfTheSession(PaperAdapter):
    """Cursors are counted by the session that gave them."""

    def __init__(self) -> None:
        super().__init__()
        self._cursors: list[str | None] = [None]

    async def history(self, cursor: str | None) -> tuple[Sequence[Item], str | None]:
        known = int(cursor or 0)
        page, following = await super().history(self._cursors[known] if known < len(self._cursors) else None)
        self._cursors.append(following)
        return page, str(len(self._cursors) - 1) if page else cursor


@defect("REC-03", fence="time_window")
class FailedHistoryIsItsEnd(PaperAdapter):
    """A page that cannot be read is an empty one."""

    async def history(self, cursor: str | None) -> tuple[Sequence[Item], str | None]:
        try:
            return await super().history(cursor)
        except (Unavailable, RateLimited):
            return (), cursor


@defect("REC-03", fence="permanent_key")
class NewestFirst(PaperAdapter):
    """History begins with the newest page, and its cursor says so to nobody."""

    async def history(self, cursor: str | None) -> tuple[Sequence[Item], str | None]:
        pages, following = [], cursor
        while True:
            page, after = await super().history(following)
            if not page:
                break
            pages.append(page)
            following = after
        return (pages[-1] if pages else ()), following


@defect("REC-04", fence="time_window")
class SnapshotNamesClients(Retelling):
    """The snapshot knows orders by their client ids, everybody else by the venue's."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        if source != "open" or not report.links:
            return report
        return revised(report, id=report.links[0], links=(report.id,))


@defect("REC-04", fence="permanent_key")
class ChildWithoutLink(PaperAdapter):
    """An order that has traded is reported with the object that executes it, which has no link to it."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if not isinstance(answer, Found) or not isinstance(answer.reports[0], OrderReport):
            return answer
        report = answer.reports[0]
        if not report.fills:
            return answer
        child = revised(report, id=VenueId("child", report.id.value), links=())
        return revised(answer, reports=(*answer.reports, child))


@defect("REC-04", fence="sequence")
class TransactionsAreOrders(Retelling):
    """In the stream an order is known by its newest version."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        if source != "stream":
            return report
        return revised(report, id=VenueId("tx", f"{report.id.value}/{report.as_of}"), links=(report.id, *report.links))


@defect("REC-04", fence="none")
class AccountIsALink(Retelling):
    """The account's id is among the ids of every order."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, links=(*report.links, VenueId("account", "main")))


class _Interrupted(PaperAdapter):
    """Notices when the stream breaks."""

    broken = False

    async def mended(self) -> None:
        """What is done about it."""

    async def events(self, cursor: str | None) -> AsyncIterator[VenueEvent]:  # type: ignore[override]
        async for event in super().events(cursor):
            if isinstance(event.body, Gap) and BROKE in event.body.why:
                self.broken = True
                await self.mended()
            yield event


@defect("REC-05", fence="time_window")
class LoginIsOver(_Interrupted):
    """After the venue's restart its session is not taken any more, and nobody makes a new one."""

    async def lookup(self, ref: Ref) -> Lookup:
        if self.broken:
            raise Unavailable("session expired")
        return await super().lookup(ref)


@defect("REC-05", fence="permanent_key")
class StartsWithNothing(_Interrupted):
    """After a restart of the venue there are no open orders until one is heard of."""

    async def open_orders(self, page: str | None) -> Snapshot:
        snapshot = await super().open_orders(page)
        return revised(snapshot, reports=(), next=None) if self.broken else snapshot


@defect("REC-05", fence="permanent_key")
class StreamIsNotRestored(_Interrupted):
    """The stream ends with the venue, and every new one with it."""

    async def mended(self) -> None:
        while True:
            await self._ctx.sleep(1)


@defect("REC-06", fence="time_window")
class LostIsNotSent(PaperAdapter):
    """No answer, no order."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except OutcomeUnknown as error:
            raise NotSent(str(error)) from None


@defect("REC-06", fence="permanent_key")
class LostIsRejected(PaperAdapter):
    """No answer is a refusal."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except OutcomeUnknown as error:
            raise Rejected(str(error)) from None


@defect("REC-06", fence="sequence")
class StreamCountsAnew(Refilling):
    """The stream's fills have other ids than the lookup's."""

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        return revised(fill, id=f"{fill.id}s") if source == "stream" else fill


@defect("REC-06", fence="height")
class NodeDecides(PaperAdapter):
    """What a node refuses was not sent."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except OutcomeUnknown as error:
            raise NotSent(str(error)) from None
