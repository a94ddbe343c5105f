"""Mistakes in fills, costs, balances, looking up and in what markets are."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from exchange_kernel.schema import AssetType, SymbolMetadata
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    Absent,
    AccountSnapshot,
    Command,
    Context,
    Executed,
    Fill,
    Found,
    Gap,
    LedgerEntry,
    Lookup,
    Opened,
    OrderReport,
    Prep,
    Prepared,
    Ref,
    Ticket,
    VenueEvent,
)
from exchange_kernel_paper.adapter import PaperAdapter
from tests.conformance.defects.registry import defect
from tests.conformance.defects.retelling import Refilling, Retelling, Rewriting
from tests.conformance.defects.shaping import opened_with

Item = OrderReport | Fill | LedgerEntry


@defect("FILL-03", fence="time_window")
class FeesAreRebates(Refilling):
    """The sign of fees is the account's, not the venue's."""

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        return revised(fill, fees=tuple(revised(fee, amount=-fee.amount) for fee in fill.fees))


@defect("FILL-03", fence="permanent_key")
class BaseIsQuote(Refilling):
    """Base and quote of a fill change places."""

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        return revised(fill, base=fill.quote, quote=fill.base)


@defect("FILL-02", fence="none")
class FilledQuoteIsBase(Retelling):
    """The quote of what is executed is taken from the field that holds its base."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, filled=Executed(report.filled.base, report.filled.base))


@defect("FILL-04", fence="time_window")
class FillsAreMerged(Retelling):
    """Fills of one order at one price are one fill, under the first one's id."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        if len(report.fills) < 2 or len({fill.price for fill in report.fills}) > 1:
            return report
        first = report.fills[0]
        base = sum((each.base for each in report.fills), Decimal(0))
        quote = sum((each.quote for each in report.fills), Decimal(0))
        return revised(report, fills=(revised(first, base=base, quote=quote),))


@defect("FILL-04", fence="permanent_key")
class RevisionsRise(Refilling):
    """Each time a fill is told it has a higher revision."""

    count = 0

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        self.count += 1
        return revised(fill, revision=self.count)


@defect("FILL-04", fence="none")
class IdsBeginAnew(Refilling):
    """Fills are counted from 1 in every session."""

    def __init__(self) -> None:
        super().__init__()
        self._ids: dict[str, str] = {}

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        return revised(fill, id=self._ids.setdefault(fill.id, f"fill {len(self._ids) + 1}"))


@defect("FILL-04", fence="time_window")
class FillsAtTheOrdersTime(Refilling):
    """Every fill has the time at which its order last changed."""

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        return revised(fill, at=report.as_of)


@defect("FILL-04", fence="none")
class FillsAtTheFirstTime(Refilling):
    """Every fill has the time of its order's first."""

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        return revised(fill, at=report.fills[0].at)


@defect("BAL-05", fence="sequence")
class CostsOfTheStream(Retelling):
    """Costs have other ids in the stream than in a lookup."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, costs=tuple(revised(c, id=f"{source}/{c.id}") for c in report.costs))


@defect("BAL-01", fence="time_window")
class HeldIsBorrowed(PaperAdapter):
    """What orders hold is shown as borrowed."""

    async def account(self) -> AccountSnapshot:
        snapshot = await super().account()
        balances = tuple(revised(each, borrowed=each.total - each.free) for each in snapshot.balances)
        return revised(snapshot, balances=balances)


@defect("BAL-02", fence="permanent_key")
class LeavesOutWhatIsHeld(PaperAdapter):
    """An asset of which nearly nothing is free is left out."""

    async def account(self) -> AccountSnapshot:
        snapshot = await super().account()
        return revised(snapshot, balances=tuple(b for b in snapshot.balances if b.free > b.total / 50))


@defect("BAL-09", fence="time_window")
class StreamIsWhole(Retelling):
    """The stream's balances are called complete, though only what changed is there."""

    def event(self, event: VenueEvent) -> Sequence[VenueEvent]:
        if isinstance(event.body, AccountSnapshot):
            return (revised(event, body=revised(event.body, complete=True)),)
        return (event,)


@defect("CHN-01", fence="sequence")
class FloorsStandStill(PaperAdapter):
    """The smallest number that is usable is the one from when the session began."""

    floors: dict[str, int] | None = None

    async def account(self) -> AccountSnapshot:
        snapshot = await super().account()
        self.floors = self.floors or dict(snapshot.floors)
        return revised(snapshot, floors=self.floors)


@defect("CHN-01", fence="sequence")
class FloorsRunAhead(PaperAdapter):
    """A number is said to be used before anybody has used it."""

    async def account(self) -> AccountSnapshot:
        snapshot = await super().account()
        return revised(snapshot, floors={name: number + 3 for name, number in snapshot.floors.items()})


@defect("CHN-01", fence="sequence")
class FloorsAreForgotten(PaperAdapter):
    """account() says nothing of numbers."""

    async def account(self) -> AccountSnapshot:
        return revised(await super().account(), floors={})


@defect("UNK-09", fence="time_window")
class FindsWhatIsAlike(PaperAdapter):
    """What is not found by its key is found by its shape: an order of that side, amount and price."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if not isinstance(answer, Absent) or ref.spec is None:
            return answer
        spec, snapshot = ref.spec, await self.open_orders(None)
        alike = [r for r in snapshot.reports if (r.side, r.amount, r.price) == (spec.side, spec.amount, spec.limit)]
        return Found(tuple(alike[:1]), answer.at) if alike else answer


@defect("PREC-08", fence="time_window")
class EndsByTheLocalClock(Rewriting):
    """The end of an order is turned into the time that the local clock will show."""

    def rewritten(self, request: dict[str, Any]) -> dict[str, Any]:
        return request | {"until": request["until"] - self._state.offset} if "until" in request else request


@defect("UNK-15", fence="time_window")
class SendsByTheVenuesClock(PaperAdapter):
    """Until when to send is a time of the venue's clock."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        made = await super().prepare(command, prep)
        if isinstance(made, Ticket) and made.send_before < 2**60:
            return revised(made, send_before=min(made.send_before + self._state.offset, prep.give_up))
        return made


@defect("EVT-06", fence="time_window")
class OffsetTheOtherWay(PaperAdapter):
    """How far the clocks differ has the wrong sign."""

    async def open(self, ctx: Context) -> Opened:
        opened = await super().open(ctx)
        return opened_with(opened, clock_offset=-opened.clock_offset)


@defect("PREC-09", fence="time_window")
class StepsOfTheFirstMarket(PaperAdapter):
    """Every market has the steps of the first that is listed."""

    async def markets(self) -> Sequence[SymbolMetadata]:
        listed = await super().markets()
        self._symbols = {each.symbol_id: dataclasses.replace(each, amounts=listed[0].amounts) for each in listed}
        return tuple(self._symbols.values())


@defect("BAL-03", fence="permanent_key")
class SaysItIsAPerp(PaperAdapter):
    """A spot market is listed as one of perpetual contracts."""

    async def markets(self) -> Sequence[SymbolMetadata]:
        listed = await super().markets()
        self._symbols = {each.symbol_id: dataclasses.replace(each, asset_type=AssetType.PERP) for each in listed}
        return tuple(self._symbols.values())


@defect("EVT-09", fence="time_window")
class DropsWhatFollowsAGap(Retelling):
    """What comes right after a Gap is in the snapshot anyhow, and is not told."""

    gone = 0

    def event(self, event: VenueEvent) -> Sequence[VenueEvent]:
        if isinstance(event.body, Gap):
            self.gone = 1
        elif self.gone and isinstance(event.body, OrderReport):
            self.gone -= 1
            return ()
        return (event,)


@defect("EVT-03", fence="permanent_key")
class TellsOfItsOwnOnly(Retelling):
    """The stream tells of orders that this session has placed."""

    def __init__(self) -> None:
        super().__init__()
        self._mine: set[bytes] = set()

    async def submit(self, ticket: Ticket) -> Any:
        self._mine.add(ticket.key)
        return await super().submit(ticket)

    def event(self, event: VenueEvent) -> Sequence[VenueEvent]:
        body = event.body
        return () if isinstance(body, OrderReport) and body.key and body.key not in self._mine else (event,)


@defect("EVT-07", fence="none")
class StreamOfOneMarket(Retelling):
    """The stream is subscribed for the market that is traded most."""

    def event(self, event: VenueEvent) -> Sequence[VenueEvent]:
        return () if isinstance(event.body, OrderReport) and event.body.symbol != "BTC/USD" else (event,)


@defect("EVT-01", fence="time_window")
class AmendmentsAreUntold(Retelling):
    """The stream tells of fills and ends; that an order was amended is neither."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, Any] = {}

    def event(self, event: VenueEvent) -> Sequence[VenueEvent]:
        body = event.body
        if not isinstance(body, OrderReport):
            return (event,)
        now = (body.status, body.filled, body.tentative)
        was, self._said[body.id.value] = self._said.get(body.id.value), now
        return () if was == now else (event,)


@defect("REC-03", fence="time_window")
class HistoryOfOneMarket(PaperAdapter):
    """History is asked for one market."""

    async def history(self, cursor: str | None) -> tuple[Sequence[Item], str | None]:
        page, following = await super().history(cursor)
        if page and not (kept := [i for i in page if not isinstance(i, OrderReport) or i.symbol == "BTC/USD"]):
            return await self.history(following)
        return kept if page else page, following


@defect("EVT-07", fence="time_window")
class LooksInOneMarket(PaperAdapter):
    """Orders are looked for in the market that is traded most."""

    async def lookup(self, ref: Ref) -> Lookup:
        return await super().lookup(revised(ref, ids=(), key=bytes(16)) if ref.symbol != "BTC/USD" else ref)
