"""Mistakes in telling what was traded."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from exchange_kernel.value import revised
from exchange_kernel.venue import (
    Executed,
    Fill,
    OrderReport,
    VenueStatus,
)
from exchange_kernel_paper.adapter import PaperAdapter
from tests.conformance.defects.registry import defect
from tests.conformance.defects.retelling import Item, Refilling, Retelling

ZERO = Decimal(0)


@defect("FILL-01", fence="time_window")
class FilledIsTheLastFill(Retelling):
    """The quantity of an event's execution is taken for the order's."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        if source != "stream" or not report.fills:
            return report
        last = report.fills[-1]
        return revised(report, filled=Executed(last.base, last.quote))


@defect("FILL-01", fence="sequence")
class FilledFallsAtTheEnd(Retelling):
    """The last report of an order counts what is left of it, which is nothing."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, filled=Executed()) if report.final and report.status is VenueStatus.FILLED else report


@defect("FILL-01", fence="permanent_key")
class FullIsStillWorking(Retelling):
    """A filled order keeps the state it had."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        if report.status is VenueStatus.FILLED:
            return revised(report, status=VenueStatus.WORKING, final=False)
        return report


@defect("FILL-01", fence="none")
class FilledJumpsAhead(Retelling):
    """An order with any fill is shown as filled by the stream."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        if source == "stream" and report.filled.base and report.amount is not None:
            assert report.price is not None
            return revised(report, filled=Executed(report.amount, report.amount * report.price))
        return report


@defect("FILL-02", fence="time_window")
class NewFillsAreAll(Retelling):
    """The fills of an event are called all there are."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, fills_complete=True)


@defect("FILL-02", fence="sequence")
class SnapshotsLackFills(Retelling):
    """A snapshot has no fills, and calls that complete."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, fills=()) if source == "open" else report


@defect("FILL-02", fence="height")
class TentativeIsFinal(Refilling):
    """Fills are called final as soon as they are there; the order's own sum knows better."""

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        return revised(fill, final=True)


@defect("FILL-02", fence="permanent_key")
class HistoryLacksFills(Retelling):
    """History shows an order with the last of its fills."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, fills=report.fills[-1:]) if source == "history" else report


@defect("FILL-02", fence="none")
class FirstFillTwice(Retelling):
    """The fill that came with the answer is added to those of the lookup."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, fills=report.fills[:1] + report.fills)


@defect("FILL-03", fence="time_window")
class FeeOfNothing(Refilling):
    """A fee that does not say of which asset."""

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        return revised(fill, fees=tuple(revised(fee, asset="") for fee in fill.fees))


@defect("FILL-03", fence="sequence")
class FeesAreLeftOut(Refilling):
    """Fees are left out."""

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        return revised(fill, fees=())


@defect("FILL-03", fence="height")
class ZeroFees(Refilling):
    """The fee is in another field than where the adapter looks, and so it is zero."""

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        return revised(fill, fees=tuple(revised(fee, amount=ZERO) for fee in fill.fees))


@defect("FILL-03", fence="permanent_key")
class FeesInBase(Refilling):
    """Fees are always of the asset that was bought."""

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        return revised(fill, fees=tuple(revised(fee, asset=report.symbol.partition("/")[0]) for fee in fill.fees))


@defect("FILL-03", fence="none")
class AlwaysMaker(Refilling):
    """Everybody rested."""

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        return revised(fill, maker=True)


@defect("FILL-03", fence="time_window")
class MakerUpsideDown(Refilling):
    """The flag says whether the buyer rested, not whether the order did."""

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        return revised(fill, maker=not fill.maker)


@defect("FILL-03", fence="sequence")
class QuoteAfterFees(Refilling):
    """The quote of a fill has its fee in it."""

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        return revised(fill, quote=fill.quote + sum((fee.amount for fee in fill.fees), ZERO))


@defect("FILL-03", fence="permanent_key")
class PriceOfTheOrder(Refilling):
    """A fill has the price its order asked for."""

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        return revised(fill, price=Decimal("49000"))


@defect("FILL-03", fence="height")
class FillOfAnother(Refilling):
    """A fill names the trade's other order."""

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        return revised(fill, of=revised(fill.of, value="0"))


@defect("FILL-04", fence="time_window")
class FillsTwice(Refilling):
    """Every report numbers its fills anew: one execution, many ids."""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        self._count += 1
        return revised(fill, id=f"{fill.id}#{self._count}")


@defect("FILL-04", fence="permanent_key")
class BareTradeId(Refilling):
    """The venue counts trades per market, and the market is not in the id."""

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        return revised(fill, id=fill.id.partition("/")[2].partition("/")[2])


@defect("FILL-04", fence="sequence")
class LogIndex(Refilling):
    """The place in the order's list is the id."""

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        return revised(fill, id=f"log-{place}")


@defect("FILL-04", fence="height")
class MillisecondAsId(Refilling):
    """One millisecond, one fill."""

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        return revised(fill, id=f"{report.id.value}@{fill.at}")


@defect("FILL-04", fence="none")
class StreamHasItsOwnIds(Refilling):
    """The stream names fills by execution, the lookup by trade."""

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        return revised(fill, id=f"exec-{fill.id}") if source == "stream" else fill


@defect("FILL-04", fence="time_window")
class HistoryHasItsOwnIds(PaperAdapter):
    """Fills that history lists on their own have other ids."""

    async def history(self, cursor: str | None) -> tuple[Sequence[Item], str | None]:
        page, following = await super().history(cursor)
        return [revised(item, id=f"h{item.id}") if isinstance(item, Fill) else item for item in page], following


@defect("FILL-04", fence="permanent_key")
class IdsOfTheSession(Refilling):
    """Ids hold something that only this session knows."""

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        return revised(fill, id=f"{id(self)}/{fill.id}")


@defect("FILL-04", fence="sequence")
class FeesShareAnId(Refilling):
    """All fees of an order have its id."""

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        return revised(fill, fees=tuple(revised(fee, id=f"{report.id.value}/fee") for fee in fill.fees))
