"""Mistakes in how orders trade, and in telling the last of it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from exchange_kernel.errors import OutcomeUnknown, PostOnlyWouldCross
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    Ack,
    Executed,
    Fill,
    FillVoided,
    Lookup,
    OrderReport,
    Ref,
    Ticket,
    VenueEvent,
    VenueStatus,
)
from exchange_kernel_paper.adapter import PaperAdapter
from exchange_kernel_paper.conformance import SECRET
from exchange_kernel_paper.exchange import encode, sign
from exchange_kernel_paper.tickets import read_body
from tests.conformance.defects.registry import defect
from tests.conformance.defects.retelling import Refilling, Retelling, Rewriting
from tests.conformance.defects.shaping import each

ZERO = Decimal(0)


@defect("FILL-05", fence="time_window")
class IocRests(Rewriting):
    """IOC is sent as GTC."""

    def rewritten(self, request: dict[str, Any]) -> dict[str, Any]:
        return {**request, "tif": "GTC" if request["tif"] == "IOC" else request["tif"]}


@defect("FILL-11", fence="sequence")
class FokFillsInPart(Rewriting):
    """FOK is sent as IOC."""

    def rewritten(self, request: dict[str, Any]) -> dict[str, Any]:
        return {**request, "tif": "IOC" if request["tif"] == "FOK" else request["tif"]}


@defect("FILL-11", fence="permanent_key")
class ExpiredIsRejected(Retelling):
    """An order that expired with a part of it filled is reported as rejected."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, status=VenueStatus.REJECTED) if report.status is VenueStatus.EXPIRED else report


@defect("FILL-05", fence="none")
class ImmediateIsFilled(Retelling):
    """An order of immediate execution that is over was filled."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, status=VenueStatus.FILLED) if report.status is VenueStatus.EXPIRED else report


@defect("FILL-06", fence="time_window")
class PostOnlyIsDropped(Rewriting):
    """A post-only order is sent as a plain limit order."""

    def rewritten(self, request: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in request.items() if name != "post_only"}


@defect("FILL-06", fence="none")
class PostOnlyTriesAgain(PaperAdapter):
    """Refused because it would trade, the order is sent once more without the flag."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except PostOnlyWouldCross:
            request = {name: value for name, value in read_body(ticket).items() if name != "post_only"}
            return await super().submit(revised(ticket, body=sign(encode(request), SECRET.encode())))


@defect("FILL-06", fence="time_window")
class PostOnlyIsUnknown(PaperAdapter):
    """The refusal is in no table, so nobody knows what became of the order."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except PostOnlyWouldCross as error:
            raise OutcomeUnknown(str(error)) from None


@defect("FILL-06", fence="sequence")
class PostOnlyBecomesIoc(Rewriting):
    """The venue's word for post-only is mistaken."""

    def rewritten(self, request: dict[str, Any]) -> dict[str, Any]:
        if not request.get("post_only"):
            return request
        return {name: value for name, value in request.items() if name != "post_only"} | {"tif": "IOC"}


@defect("FILL-07", fence="time_window")
class MarketPriceIsZero(Retelling):
    """A market order's price is reported as 0, as the venue shows it."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, price=ZERO) if report.price is None else report


@defect("FILL-07", fence="sequence")
class FillsAtZero(Refilling):
    """Its fills have the order's price, which is none."""

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        return revised(fill, price=ZERO) if report.price is None else fill


@defect("FILL-07", fence="permanent_key")
class QuoteByOrderPrice(Retelling):
    """What was paid is counted as amount times the order's price."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, filled=Executed(report.filled.base, report.filled.base * (report.price or ZERO)))


@defect("FILL-08", fence="time_window")
class QuoteIsBase(Rewriting):
    """The amount is converted to base, and rounded up."""

    def rewritten(self, request: dict[str, Any]) -> dict[str, Any]:
        if request.get("in") != "QUOTE":
            return request
        step, price = Decimal("0.0001"), Decimal(request.get("limit") or "50100")
        base = (Decimal(request["amount"]) / price // step + 1) * step
        return {name: value for name, value in request.items() if name != "in"} | {"amount": f"{base:f}"}


@defect("FILL-08", fence="permanent_key")
class QuoteAtAnOldPrice(Rewriting):
    """The amount is converted to base at the price of a moment ago."""

    def rewritten(self, request: dict[str, Any]) -> dict[str, Any]:
        if request.get("in") != "QUOTE":
            return request
        base = Decimal(request["amount"]) / Decimal("49000") // Decimal("0.0001") * Decimal("0.0001")
        return {name: value for name, value in request.items() if name != "in"} | {"amount": f"{base:f}"}


@defect("FILL-08", fence="sequence")
class FeeOnTop(Rewriting):
    """What the fee will take is added to the amount."""

    def rewritten(self, request: dict[str, Any]) -> dict[str, Any]:
        if request.get("in") != "QUOTE":
            return request
        return {**request, "amount": f"{Decimal(request['amount']) * Decimal('1.01') // 1:f}"}


@defect("FILL-09", fence="time_window")
class TwentyFills(Retelling):
    """A lookup reads one page of trades."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, fills=report.fills[:20])


@defect("FILL-09", fence="permanent_key")
class FillsOfToday(PaperAdapter):
    """Trades older than a day are not asked for."""

    async def lookup(self, ref: Ref) -> Lookup:
        since = self._ctx.clock() - 86_400_000
        return each(
            await super().lookup(ref), lambda r: revised(r, fills=tuple(fill for fill in r.fills if fill.at > since))
        )


@defect("FILL-09", fence="none")
class FillsFromMemory(PaperAdapter):
    """Fills are those this session has seen."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, Fill] = {}

    async def lookup(self, ref: Ref) -> Lookup:
        def told(report: OrderReport) -> OrderReport:
            if not report.status.terminal:
                self._seen.update((fill.id, fill) for fill in report.fills)
            return revised(report, fills=tuple(fill for fill in report.fills if fill.id in self._seen))

        return each(await super().lookup(ref), told)


@defect("FILL-09", fence="sequence")
class IncompleteAtTheEnd(Retelling):
    """Ten fills, honestly called not all: but there is nobody else to ask for the others."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, fills=report.fills[-10:], fills_complete=len(report.fills) <= 10)


@defect("FILL-10", fence="time_window")
class CorrectionIsANewFill(Refilling):
    """A corrected fill gets an id of its own."""

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        return revised(fill, id=f"{fill.id}r{fill.revision}", revision=0) if fill.revision else fill


@defect("FILL-10", fence="permanent_key")
class CorrectionLooksTheSame(Refilling):
    """The revision is not passed on: who knows the fill does not look at it again."""

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        return revised(fill, revision=0)


@defect("FILL-10", fence="none")
class BustIsNotTold(Retelling):
    """The message that a trade was taken back is of a kind the adapter does not know."""

    def event(self, event: VenueEvent) -> Sequence[VenueEvent]:
        return () if isinstance(event.body, FillVoided) else super().event(event)


@defect("FILL-10", fence="time_window")
class CorrectionIsNotStreamed(Retelling):
    """After its end the stream says nothing of an order any more."""

    def __init__(self) -> None:
        super().__init__()
        self._over: set[str] = set()

    def event(self, event: VenueEvent) -> Sequence[VenueEvent]:
        body = event.body
        if isinstance(body, OrderReport) and body.status.terminal:
            if body.id.value in self._over:
                return ()
            self._over.add(body.id.value)
        return super().event(event)
