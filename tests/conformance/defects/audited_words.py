"""Mistakes in the words of a refusal, in the terms of an order, and in what happens to what was not asked for."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from exchange_kernel.errors import (
    ClockSkew,
    InsufficientFunds,
    MarketClosed,
    OrderRefused,
    PostOnlyWouldCross,
    Rejected,
)
from exchange_kernel.schema import SymbolMetadata
from exchange_kernel.value import revised
from exchange_kernel.venue import Ack, Context, Opened, OrderReport, Ticket, VenueEvent, Why
from exchange_kernel_paper.adapter import PaperAdapter
from tests.conformance.defects.registry import defect
from tests.conformance.defects.retelling import Retelling, Rewriting


class _Saying(PaperAdapter):
    """A refusal of the kind :attr:`was` is told as one of the kind :attr:`said`."""

    was: type[Exception]
    said: type[Any]

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except self.was as error:
            raise self.said(str(error), code="REFUSED") from None


@defect("UNK-11", fence="time_window")
class FundsAreRejected(_Saying):
    """Whatever the venue refuses is a plain rejection."""

    was, said = InsufficientFunds, Rejected


@defect("UNK-11", fence="none")
class FundsAreARule(_Saying):
    """That the account cannot pay is told as a rule of the venue."""

    was, said = InsufficientFunds, OrderRefused


@defect("UNK-14", fence="time_window")
class ClosedIsRejected(_Saying):
    """A closed market is a plain rejection."""

    was, said = MarketClosed, Rejected


@defect("UNK-14", fence="permanent_key")
class ClosedIsARule(_Saying):
    """A closed market is told as a rule of the venue that the order breaks."""

    was, said = MarketClosed, OrderRefused


@defect("FILL-06", fence="time_window")
class CrossingIsRejected(_Saying):
    """A post-only order that would trade is a plain rejection."""

    was, said = PostOnlyWouldCross, Rejected


@defect("FILL-06", fence="permanent_key")
class CrossingIsARule(_Saying):
    """A post-only order that would trade breaks a rule of the venue."""

    was, said = PostOnlyWouldCross, OrderRefused


@defect("UNK-15", fence="time_window")
class SkewIsRejected(_Saying):
    """A request refused for its timestamp is a rejected order."""

    was, said = ClockSkew, OrderRefused


@defect("UNK-15", fence="time_window")
class SkewIsNotMeasured(PaperAdapter):
    """Refused for its timestamp, the adapter goes on with the clock it has."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        finally:
            self._state.stale = False


@defect("UNK-14", fence="height")
class StaysClosed(PaperAdapter):
    """A market that is closed once is listed as closed for the rest of the session."""

    def __init__(self) -> None:
        super().__init__()
        self._shut: set[str] = set()

    async def markets(self) -> Sequence[SymbolMetadata]:
        listed = await super().markets()
        self._shut |= {each.symbol_id for each in listed if not each.active}
        return tuple(dataclasses.replace(each, active=each.symbol_id not in self._shut) for each in listed)


@defect("UNK-14", fence="none")
class EverythingIsActive(PaperAdapter):
    """Markets are listed as active, whatever the venue says."""

    async def markets(self) -> Sequence[SymbolMetadata]:
        listed = await super().markets()
        self._symbols = {each.symbol_id: dataclasses.replace(each, active=True) for each in listed}
        return tuple(self._symbols.values())


@defect("PREC-05", fence="time_window")
class DropsTheDisplay(Rewriting):
    """An iceberg is sent as an order that shows everything."""

    def rewritten(self, request: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in request.items() if name != "display"}


@defect("PREC-05", fence="permanent_key")
class ShowsEverything(Rewriting):
    """The visible part of an iceberg is all of it."""

    def rewritten(self, request: dict[str, Any]) -> dict[str, Any]:
        return request | {"display": request["amount"]} if "display" in request else request


@defect("PREC-05", fence="none")
class DayIsGtc(Rewriting):
    """The time in force is left to the venue's default."""

    def rewritten(self, request: dict[str, Any]) -> dict[str, Any]:
        known = {name: value for name, value in request.items() if name != "until"}
        return known | {"tif": "GTC"} if request.get("tif") == "GTD" else request


@defect("PREC-05", fence="time_window")
class RestingPostOnlyIsDropped(Rewriting):
    """An order far from the market need not say that it is not to take."""

    def rewritten(self, request: dict[str, Any]) -> dict[str, Any]:
        far = "limit" in request and request["limit"] < "45000"
        return {name: value for name, value in request.items() if not (far and name == "post_only")}


@defect("EVT-07", fence="time_window")
class StrangersAreUntold(Retelling):
    """The stream leaves out what has no key of ours."""

    def event(self, event: VenueEvent) -> Sequence[VenueEvent]:
        return () if isinstance(event.body, OrderReport) and event.body.key is None else (event,)


@defect("EVT-07", fence="sequence")
class StrangersHaveKeys(Retelling):
    """An order without a key of ours gets one made from its id."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return report if report.key else revised(report, key=sha256(report.id.value.encode()).digest()[:16])


@defect("EVT-07", fence="permanent_key")
class StrangersAreTheVenues(Retelling):
    """What we did not place the venue did."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return report if report.key else revised(report, origin="venue")


@defect("CXL-01", fence="none")
class CancelsAreLiquidations(Retelling):
    """Whatever ends without being filled was liquidated."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, why=Why.LIQUIDATION) if report.status.value == "canceled" else report


@defect("FILL-01", fence="time_window")
class AmountIsWhatIsLeft(Retelling):
    """The amount of a report is what is still open."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        if report.amount is None or report.status.terminal:
            return report
        return revised(report, amount=report.amount - report.filled.base - report.tentative.base)


@defect("FILL-01", fence="permanent_key")
class PriceIsTheAverage(Retelling):
    """The price of a report is the average at which it traded."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        done = report.filled
        if not done.base or report.price is None:
            return report
        return revised(report, price=(done.quote / done.base * 2).normalize())


@defect("LIFE-12", fence="time_window")
class ShieldsItsSubmit(PaperAdapter):
    """Requests leave at a pace, and an order that has begun to be sent is sent, whoever has given up on it."""

    async def open(self, ctx: Context) -> Opened:
        opened = await super().open(ctx)
        sending = self._link.call

        async def paced(op: str, body: bytes) -> bytes:
            await ctx.sleep(0.03)
            return await sending(op, body)

        self._link.call = paced  # type: ignore[method-assign]
        return opened

    async def submit(self, ticket: Ticket) -> Ack:
        return await asyncio.shield(super().submit(ticket))


@defect("LIFE-12", fence="permanent_key")
class ServesWhoHasLeft(ShieldsItsSubmit):
    """Orders stand in a line, which is served to its end by a task that nobody ends."""

    def __init__(self) -> None:
        super().__init__()
        self._before: asyncio.Task[Ack] | None = None

    async def submit(self, ticket: Ticket) -> Ack:
        before = self._before

        async def mine() -> Ack:
            sending = asyncio.ensure_future(PaperAdapter.submit(self, ticket))
            if before is not None:
                await asyncio.wait([before])
            return await sending

        self._before = asyncio.create_task(mine())
        return await asyncio.shield(self._before)
