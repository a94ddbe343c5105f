"""Mistakes in the state of orders, between accounts, and at the end of a session or of its credentials."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any, ClassVar

from exchange_kernel.errors import NotAuthorized, NotSent, OrderRefused, Unavailable, VenueError
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    Absent,
    AccountSnapshot,
    Ack,
    Context,
    Executed,
    Fill,
    Found,
    LedgerEntry,
    Lookup,
    Opened,
    OrderReport,
    Ref,
    Ticket,
    VenueEvent,
    VenueStatus,
    Watermark,
)
from exchange_kernel_paper.adapter import PaperAdapter
from tests.conformance.defects.registry import defect
from tests.conformance.defects.retelling import Retelling
from tests.conformance.defects.shaping import Resigning

Item = OrderReport | Fill | LedgerEntry
DUST = Decimal("0.001")


@defect("CXL-09", fence="time_window")
class CanceledAmountIsFilled(Retelling):
    """The amount of a cancelled order is what was filled of it."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, amount=report.filled.base) if report.status is VenueStatus.CANCELED else report


@defect("FILL-01", fence="permanent_key")
class WorkingIsPending(Retelling):
    """An order on the book is called pending: it has not traded yet."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, status=VenueStatus.PENDING) if report.status is VenueStatus.WORKING else report


@defect("EVT-01", fence="none")
class StreamIsDormant(Retelling):
    """The stream calls an order dormant until it trades."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        waits = source == "stream" and report.status is VenueStatus.WORKING and not report.filled.base
        return revised(report, status=VenueStatus.DORMANT) if waits else report


@defect("FILL-01", fence="none")
class IgnoresDust(Retelling):
    """Fills that are too small to matter are left out, of the list and of the sum."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        dust = [fill for fill in report.fills if fill.base < DUST]
        base = report.filled.base - sum((fill.base for fill in dust), Decimal(0))
        quote = report.filled.quote - sum((fill.quote for fill in dust), Decimal(0))
        kept = tuple(fill for fill in report.fills if fill not in dust)
        return revised(report, fills=kept, filled=Executed(base, quote))


@defect("EVT-07", fence="time_window")
class AnswersWithTheLast(PaperAdapter):
    """The answer to an order is the report of the one before."""

    last: tuple[Any, ...] = ()

    async def submit(self, ticket: Ticket) -> Ack:
        ack = await super().submit(ticket)
        before, self.last = self.last or ack.reports, ack.reports
        return revised(ack, reports=before)


@defect("BAL-09", fence="permanent_key")
class StreamedBalancesAreAhead(Retelling):
    """The stream's balances are as of the end of a cache's life."""

    def event(self, event: VenueEvent) -> Sequence[VenueEvent]:
        body = event.body
        if isinstance(body, AccountSnapshot):
            return (revised(event, body=revised(body, at=Watermark(venue_ms=event.at + 60_000))),)
        return (event,)


@defect("BAL-03", fence="none")
class RoundsBalances(PaperAdapter):
    """Balances are shown with two places, as on the website."""

    async def account(self) -> AccountSnapshot:
        snapshot, cent = await super().account(), Decimal("0.01")
        balances = [revised(b, total=b.total.quantize(cent), free=b.free.quantize(cent)) for b in snapshot.balances]
        return revised(snapshot, balances=tuple(balances))


@defect("LIFE-05", fence="time_window")
class StreamsTheFirstAccount(PaperAdapter):
    """One stream for all sessions of the process: that of the account opened first."""

    first: ClassVar[list[PaperAdapter]] = []

    async def open(self, ctx: Context) -> Opened:
        opened = await super().open(ctx)
        self.first[:] = [each for each in self.first if each._open] or [self]
        return opened

    def events(self, cursor: str | None) -> AsyncIterator[VenueEvent]:
        self._reads()
        return PaperAdapter.events(self.first[0], cursor)


@defect("LIFE-05", fence="permanent_key")
class TellsThePastOfTheFirst(StreamsTheFirstAccount):
    """History is asked by whichever session was opened first."""

    def events(self, cursor: str | None) -> AsyncIterator[VenueEvent]:
        return PaperAdapter.events(self, cursor)

    async def history(self, cursor: str | None) -> tuple[Sequence[Item], str | None]:
        self._reads()
        return await PaperAdapter.history(self.first[0], cursor)


@defect("LIFE-12", fence="time_window")
class ClosedIsNotSent(PaperAdapter):
    """close() cancels what is under way, and says of each order that it was not sent."""

    def __init__(self) -> None:
        super().__init__()
        self._under_way: set[asyncio.Task[Ack]] = set()

    async def submit(self, ticket: Ticket) -> Ack:
        task = asyncio.ensure_future(super().submit(ticket))
        self._under_way.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            task.cancel()
            if self._open:
                raise
            raise NotSent("the session was closed") from None
        finally:
            self._under_way.discard(task)

    async def close(self) -> None:
        await super().close()
        for task in list(self._under_way):
            task.cancel()


@defect("BAD-07", fence="time_window")
class RevokedIsAnOutage(PaperAdapter):
    """Credentials that are not taken any more are a venue that cannot be reached."""

    async def read(self, op: str, **fields: object) -> dict[str, Any]:
        try:
            return await super().read(op, **fields)
        except NotAuthorized as error:
            if op == "hello":
                raise
            raise Unavailable(str(error)) from None


@defect("BAD-07", fence="permanent_key")
class RevokedIsARule(PaperAdapter):
    """An order that is refused for the credentials breaks a rule of the venue."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except NotAuthorized as error:
            raise OrderRefused(str(error), code="AUTH") from None


@defect("BAD-07", fence="none")
class RevokedIsAbsent(PaperAdapter):
    """What may not be looked up is not there."""

    async def lookup(self, ref: Ref) -> Lookup:
        try:
            return await super().lookup(ref)
        except NotAuthorized:
            return Absent(Watermark(venue_ms=self._ctx.clock()), 0, ("orders",))


@defect("FILL-04", fence="permanent_key")
class FindsTheLastTen(PaperAdapter):
    """Orders are looked for among the newest ten."""

    newest = 0

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if not isinstance(answer, Found):
            return answer
        found = max(int(r.id.value) for r in answer.reports if isinstance(r, OrderReport))
        self.newest = max(found, self.newest)
        return Absent(answer.at, 0, ("recent orders",)) if found <= self.newest - 10 else answer


@defect("LIFE-10", fence="none")
class TriesAnOrderAtOpen(Resigning):
    """open() sends an order that must be refused, to see whether the key may trade."""

    async def open(self, ctx: Context) -> Opened:
        opened = await super().open(ctx)
        with suppress(VenueError):
            await self._link.call("order", self._tickets.request("order", symbol="NO/SUCH"))
        return opened
