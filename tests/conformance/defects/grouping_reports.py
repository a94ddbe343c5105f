"""Mistakes in telling of groups, and of what the venue does by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from exchange_kernel.value import revised
from exchange_kernel.venue import (
    Ack,
    Cancel,
    CancelAll,
    Command,
    Executed,
    Found,
    Key,
    Lookup,
    OrderReport,
    Prep,
    Prepared,
    Ref,
    Ticket,
    VenueEvent,
    VenueId,
    VenueStatus,
    Why,
)
from exchange_kernel_paper.adapter import PaperAdapter
from tests.conformance.defects.grouping_requests import group_ref, is_group
from tests.conformance.defects.registry import defect
from tests.conformance.defects.retelling import Retelling

GROUP = "GROUP"
"""In the venue's words: it ended because another leg did."""


def group_of(report: OrderReport) -> VenueId | None:
    """The group it is a leg of."""
    return next((link for link in report.links if link.kind == "group"), None)


def unlinked(report: OrderReport) -> OrderReport:
    """Without the link to its group."""
    return revised(report, links=tuple(link for link in report.links if link.kind != "group"))


class _Dropping(Retelling):
    """Does not pass on every event. :meth:`drops` says which."""

    def drops(self, report: OrderReport) -> bool:
        raise NotImplementedError

    def event(self, event: VenueEvent) -> Sequence[VenueEvent]:
        return () if isinstance(event.body, OrderReport) and self.drops(event.body) else super().event(event)


async def _kept(answer: Lookup, keep: Callable[[OrderReport], bool]) -> Lookup:
    if not isinstance(answer, Found):
        return answer
    return revised(answer, reports=tuple(r for r in answer.reports if not isinstance(r, OrderReport) or keep(r)))


@defect("GRP-01", fence="time_window")
class LegsWithoutLinks(Retelling):
    """Legs are orders like any other."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return unlinked(report)


@defect("GRP-01", fence="height")
class LegsUnderTheGroupsKey(Retelling):
    """A leg is reported under the key of its group."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return report if group_of(report) is None or report.applied is None else revised(report, key=report.applied)


@defect("GRP-01", fence="permanent_key")
class LegsShareAnId(Retelling):
    """A group has one id, and so have its legs."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        group = group_of(report)
        return report if group is None else revised(report, id=group, links=(*report.links, report.id))


@defect("GRP-01", fence="sequence")
class OneReportOfAGroup(PaperAdapter):
    """A group's lookup tells of the leg that works."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if not group_ref(ref) or not isinstance(answer, Found):
            return answer
        return revised(answer, reports=answer.reports[:1])


@defect("GRP-06", fence="time_window")
class SiblingsEndIsUntold(_Dropping):
    """The stream does not tell of cancels that nobody asked for."""

    def drops(self, report: OrderReport) -> bool:
        return report.text == GROUP


@defect("GRP-06", fence="permanent_key")
class StreamForgetsLinks(Retelling):
    """Events have no links."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return unlinked(report) if source == "stream" else report


@defect("GRP-06", fence="height")
class SiblingGoesOn(Retelling):
    """Who did not cancel an order has an order."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, status=VenueStatus.WORKING, final=False) if report.text == GROUP else report


@defect("GRP-06", fence="sequence")
class LegsForgetTheirFills(Retelling):
    """The last report of a leg has the amount, and not what made it."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, fills=()) if group_of(report) and report.status.terminal else report


@defect("GRP-06", fence="none")
class FirstTradeEndsTheGroup(Retelling):
    """A leg that began to trade has ended with its group."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        traded = group_of(report) is not None and report.filled.base
        return revised(report, status=VenueStatus.FILLED, final=True) if traded else report


@defect("GRP-07", fence="time_window")
class BothLegsTraded(Retelling):
    """The end of a leg is told as its trade: one of two legs always trades."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        if report.text != GROUP or report.amount is None or report.price is None or report.status.value == "dormant":
            return report
        done = Executed(report.amount, report.amount * report.price)
        return revised(report, status=VenueStatus.FILLED, filled=done, fills_complete=False)


@defect("GRP-07", fence="permanent_key")
class StreamRunsAhead(Retelling):
    """The stream tells of a leg's whole execution as soon as the group is over."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        if source != "stream" or report.text != GROUP or report.amount is None:
            return report
        return revised(report, filled=Executed(report.amount, report.amount), fills_complete=False)


@defect("GRP-07", fence="sequence")
class NeitherLegTraded(Retelling):
    """Where one leg was cancelled the group was, whatever the other did."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        if group_of(report) is None or report.status is not VenueStatus.FILLED:
            return report
        return revised(report, status=VenueStatus.CANCELED, filled=Executed(), tentative=Executed(), fills=())


@defect("GRP-08", fence="time_window")
class ChildWorksAtOnce(Retelling):
    """An order that the venue has taken is working."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, status=VenueStatus.WORKING) if report.status is VenueStatus.DORMANT else report


@defect("GRP-08", fence="height")
class ChildIsOver(Retelling):
    """An order that is not on the book has been cancelled."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        dormant = report.status is VenueStatus.DORMANT
        return revised(report, status=VenueStatus.CANCELED, final=True) if dormant else report


@defect("GRP-08", fence="permanent_key")
class ChildIsHidden(PaperAdapter):
    """What waits is not shown before it is an order."""

    async def lookup(self, ref: Ref) -> Lookup:
        return await _kept(await super().lookup(ref), lambda r: r.status is not VenueStatus.DORMANT)


@defect("GRP-08", fence="none")
class ChildWakesUntold(_Dropping):
    """The stream tells of trades and ends only."""

    def drops(self, report: OrderReport) -> bool:
        return report.status is VenueStatus.WORKING and not report.filled.base


@defect("GRP-08", fence="sequence")
class ChildOfNobody(Retelling):
    """The stream tells of a leg that has come alive as of a new order."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return unlinked(report) if source == "stream" and report.status is VenueStatus.WORKING else report


@defect("GRP-09", fence="time_window")
class CancelStaysAlone(Retelling):
    """A cancel ends one order, so the other legs are there as before."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, status=VenueStatus.WORKING, final=False) if report.text == GROUP else report


@defect("GRP-09", fence="permanent_key")
class CancelClearsTheMarket(PaperAdapter):
    """A leg is cancelled with everything in its market, so that nothing of its group is left."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        if isinstance(command, Cancel) and any(is_group(ticket) for ticket in command.ref.tickets):
            return await super().prepare(CancelAll(command.key, command.ref.symbol), prep)
        return await super().prepare(command, prep)


@defect("GRP-09", fence="none")
class LegsAreNotCanceled(PaperAdapter):
    """A leg belongs to its group, which has an end of its own: its cancel is not sent."""

    def __init__(self) -> None:
        super().__init__()
        self._legs: set[Key] = set()

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        if isinstance(command, Cancel) and any(is_group(ticket) for ticket in command.ref.tickets):
            self._legs.add(command.key)
        return await super().prepare(command, prep)

    async def submit(self, ticket: Ticket) -> Ack:
        return Ack("sent") if ticket.key in self._legs else await super().submit(ticket)


@defect("GRP-11", fence="time_window")
class GroupsInMemory(PaperAdapter):
    """Which legs a group has is known to the session that placed it."""

    def __init__(self) -> None:
        super().__init__()
        self._mine: set[Key] = set()

    async def submit(self, ticket: Ticket) -> Ack:
        self._mine.add(ticket.key)
        return await super().submit(ticket)

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        known = not group_ref(ref) or ref.key in self._mine
        return answer if known else await _kept(answer, lambda r: r.filled.base > 0)


@defect("GRP-11", fence="sequence")
class KeysInMemory(PaperAdapter):
    """The keys of a group's legs are kept in a table of the session."""

    def __init__(self) -> None:
        super().__init__()
        self._mine: set[Key] = set()

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        self._mine.add(command.key)
        return await super().prepare(command, prep)

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if not isinstance(answer, Found) or not ref.tickets or ref.tickets[0].key in self._mine:
            return answer
        told = tuple(
            revised(r, key=ref.tickets[0].key) if isinstance(r, OrderReport) and group_of(r) else r
            for r in answer.reports
        )
        return revised(answer, reports=told)


@defect("BAL-10", fence="time_window")
class LiquidationIsAnOrder(Retelling):
    """Every order is the account's."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, origin="account")


@defect("BAL-10", fence="permanent_key")
class HistoryForgetsTheOrigin(Retelling):
    """In history every order is the account's."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, origin="account") if source == "history" else report


@defect("BAL-10", fence="none")
class EveryOrderIsTheVenues(Retelling):
    """What comes from the venue has the origin venue."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, origin="venue")


@defect("BAL-10", fence="height")
class LiquidationIsUntold(_Dropping):
    """The stream tells of orders that somebody placed."""

    def drops(self, report: OrderReport) -> bool:
        return report.why is Why.LIQUIDATION


@defect("BAL-10", fence="sequence")
class LiquidationHasAKey(Retelling):
    """An order without a client id belongs to whoever placed one last."""

    last: Key | None = None

    def told(self, report: OrderReport, source: str) -> OrderReport:
        if report.key is None:
            return revised(report, key=self.last)
        self.last = report.key
        return report
