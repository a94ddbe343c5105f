"""Balances and fees that do not add up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal

from exchange_kernel.value import revised
from exchange_kernel.venue import (
    AccountSnapshot,
    Balance,
    Command,
    Found,
    Lookup,
    OrderReport,
    Place,
    Prep,
    Prepared,
    Ref,
    Ticket,
    VenueEvent,
    Watermark,
)
from exchange_kernel_paper.adapter import PaperAdapter
from tests.conformance.defects.registry import defect


class Counting(PaperAdapter):
    """Counts balances in ways of its own, in snapshots and in the stream alike."""

    def count(self, balance: Balance) -> Balance:
        raise NotImplementedError

    async def account(self) -> AccountSnapshot:
        snapshot = await super().account()
        return revised(snapshot, balances=tuple(self.count(each) for each in snapshot.balances))


@defect("BAL-01")
class TotalIsFree(Counting):
    """The total leaves out what orders hold."""

    def count(self, balance: Balance) -> Balance:
        return revised(balance, total=balance.free)


@defect("BAL-01")
class HeldTwice(Counting):
    """What is held is added to a total that has it already."""

    def count(self, balance: Balance) -> Balance:
        return revised(balance, total=balance.total + (balance.total - balance.free))


@defect("BAL-02")
class AllIsFree(Counting):
    """What orders hold looks free."""

    def count(self, balance: Balance) -> Balance:
        return revised(balance, free=balance.total)


@defect("BAL-02")
class HeldOnce(PaperAdapter):
    """Only the oldest order's hold is taken off."""

    most = Decimal(0)

    async def account(self) -> AccountSnapshot:
        snapshot = await super().account()
        out = []
        for each in snapshot.balances:
            held = each.total - each.free
            first = Decimal("400.2") if each.asset == "USD" else held
            out.append(revised(each, free=each.total - min(held, first)))
        return revised(snapshot, balances=tuple(out))


@defect("BAL-03")
class NoFees(PaperAdapter):
    """Fills come without their fees."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if isinstance(answer, Found):
            reports = tuple(
                revised(each, fills=tuple(revised(fill, fees=()) for fill in each.fills))
                if isinstance(each, OrderReport)
                else each
                for each in answer.reports
            )
            return revised(answer, reports=reports)
        return answer


@defect("BAL-03", fee_in="received")
class FeeInTheWrongAsset(PaperAdapter):
    """Fees taken in base are booked in quote."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if isinstance(answer, Found):
            reports = []
            for each in answer.reports:
                if isinstance(each, OrderReport):
                    fills = tuple(
                        revised(fill, fees=tuple(revised(fee, asset="USD") for fee in fill.fees)) for fill in each.fills
                    )
                    each = revised(each, fills=fills)
                reports.append(each)
            return revised(answer, reports=tuple(reports))
        return answer


@defect("BAL-03")
class MakersPayNothing(PaperAdapter):
    """Only takers' fees are read."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if isinstance(answer, Found):
            reports = tuple(
                revised(each, fills=tuple(revised(f, fees=() if f.maker else f.fees) for f in each.fills))
                if isinstance(each, OrderReport)
                else each
                for each in answer.reports
            )
            return revised(answer, reports=reports)
        return answer


@defect("BAL-05", fence="sequence")
class NoGas(PaperAdapter):
    """Network fees are not reported."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if isinstance(answer, Found):
            return revised(answer, reports=tuple(revised(each, costs=()) for each in answer.reports))
        return answer


@defect("BAL-05", fence="height")
class CancelsForNothing(PaperAdapter):
    """Only what placed the order is said to cost."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if isinstance(answer, Found):
            reports = tuple(revised(each, costs=each.costs[:1]) for each in answer.reports)
            return revised(answer, reports=tuple(each for each in reports if isinstance(each, OrderReport)))
        return answer


@defect("BAL-07")
class OldBalances(PaperAdapter):
    """Balances come from a cache, with the watermark of now."""

    cached: tuple[Balance, ...] = ()

    async def account(self) -> AccountSnapshot:
        snapshot = await super().account()
        self.cached = self.cached or snapshot.balances
        return revised(snapshot, balances=self.cached)


@defect("BAL-07")
class GoesBack(PaperAdapter):
    """Every third snapshot comes from a replica that trails."""

    asked = 0

    async def account(self) -> AccountSnapshot:
        snapshot = await super().account()
        self.asked += 1
        if self.asked % 3:
            return snapshot
        return revised(snapshot, at=Watermark(venue_ms=(snapshot.at.venue_ms or 0) - 60_000))


@defect("BAL-07")
class FromTheFuture(PaperAdapter):
    """The watermark is the end of the cache's life, not its beginning."""

    async def account(self) -> AccountSnapshot:
        snapshot = await super().account()
        return revised(snapshot, at=Watermark(venue_ms=(snapshot.at.venue_ms or 0) + 10_000))


@defect("BAL-08")
class OutlayWithoutFees(PaperAdapter):
    """The outlay leaves out the fee."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        made = await super().prepare(command, prep)
        if isinstance(made, Ticket) and isinstance(command, Place) and command.spec.limit is not None:
            most = command.spec.amount * command.spec.limit
            return revised(made, outlay=tuple(revised(each, amount=most) for each in made.outlay))
        return made


@defect("BAL-09")
class StreamsOnlyFree(PaperAdapter):
    """The stream's balances leave out what is held."""

    async def events(self, cursor: str | None) -> AsyncIterator[VenueEvent]:  # type: ignore[override]
        async for event in super().events(cursor):
            if isinstance(event.body, AccountSnapshot):
                balances = tuple(revised(each, total=each.free) for each in event.body.balances)
                event = revised(event, body=revised(event.body, balances=balances))
            yield event
