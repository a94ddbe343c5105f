"""Adapters that tell something else than the venue did, by one of their ways of telling or by all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from exchange_kernel.value import revised
from exchange_kernel.venue import (
    Ack,
    Fill,
    Gap,
    LedgerEntry,
    Lookup,
    OrderReport,
    Place,
    PlaceGroup,
    Prep,
    Prepared,
    Ref,
    Snapshot,
    Ticket,
    VenueEvent,
)
from exchange_kernel_paper.adapter import PaperAdapter
from exchange_kernel_paper.conformance import SECRET
from exchange_kernel_paper.exchange import encode, sign
from exchange_kernel_paper.tickets import read_body
from tests.conformance.defects.shaping import each

BROKE, SUBSCRIBED, MISSING = "the stream broke", "subscribed", "are missing"
"""In the words of the paper venue's Gaps."""
Item = OrderReport | Fill | LedgerEntry


class Retelling(PaperAdapter):
    """Every report passes :meth:`told`, every event :meth:`event`. ``source``: ack, stream, lookup, open, history."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        """The report as it is passed on."""
        return report

    def event(self, event: VenueEvent) -> Sequence[VenueEvent]:
        """What is said instead of one event."""
        if isinstance(event.body, OrderReport):
            return (revised(event, body=self.told(event.body, "stream")),)
        return (event,)

    async def submit(self, ticket: Ticket) -> Ack:
        ack = await super().submit(ticket)
        found = [self.told(r, "ack") if isinstance(r, OrderReport) else r for r in ack.reports]
        return revised(ack, reports=tuple(found))

    async def lookup(self, ref: Ref) -> Lookup:
        return each(await super().lookup(ref), lambda report: self.told(report, "lookup"))

    async def open_orders(self, page: str | None) -> Snapshot:
        snapshot = await super().open_orders(page)
        return revised(snapshot, reports=tuple(self.told(report, "open") for report in snapshot.reports))

    async def history(self, cursor: str | None) -> tuple[Sequence[Item], str | None]:
        page, following = await super().history(cursor)
        return [self.told(item, "history") if isinstance(item, OrderReport) else item for item in page], following

    async def events(self, cursor: str | None) -> AsyncIterator[VenueEvent]:  # type: ignore[override]
        async for event in super().events(cursor):
            for said in self.event(event):
                yield said


class Gaps(Retelling):
    """Each Gap passes :meth:`gap`. ``nth``: 1 for the first of a stream."""

    nth = 0

    def gap(self, event: VenueEvent, gap: Gap) -> Sequence[VenueEvent]:
        """What is said instead."""
        return (event,)

    def event(self, event: VenueEvent) -> Sequence[VenueEvent]:
        if isinstance(event.body, Gap):
            self.nth += 1
            return self.gap(event, event.body)
        return super().event(event)


class Refilling(Retelling):
    """Every fill passes :meth:`fill`."""

    def fill(self, fill: Fill, place: int, report: OrderReport, source: str) -> Fill:
        """The fill, the ``place``-th of a report, as it is passed on."""
        return fill

    def told(self, report: OrderReport, source: str) -> OrderReport:
        fills = tuple(self.fill(fill, place, report, source) for place, fill in enumerate(report.fills))
        return revised(report, fills=fills)


class Rewriting(PaperAdapter):
    """The body of a placing ticket passes :meth:`rewritten`, and is signed again."""

    def rewritten(self, request: dict[str, Any]) -> dict[str, Any]:
        """The request as it is sent."""
        return request

    async def prepare(self, command: Any, prep: Prep) -> Prepared:
        ticket = await super().prepare(command, prep)
        if isinstance(command, Place | PlaceGroup) and isinstance(ticket, Ticket) and not prep.dry:
            request = self.rewritten(read_body(ticket))
            return revised(ticket, body=sign(encode(request), SECRET.encode()))
        return ticket
