"""The kit finds nothing wrong with adapters that are unusual, and right: a false alarm costs an author a day."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial

import pytest

from exchange_kernel.schema import Support, SupportLevel, SymbolMetadata
from exchange_kernel.testing.conformance import all_cases, run_cases
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    Ack,
    FillVoided,
    Gap,
    OrderReport,
    Snapshot,
    Ticket,
    VenueAdapter,
    VenueEvent,
    VenueId,
    VenueStatus,
)
from exchange_kernel_paper.adapter import PaperAdapter
from exchange_kernel_paper.conformance import PaperHarness
from tests.conformance.defects.retelling import Retelling


class Slow(PaperAdapter):
    """Everything takes its time before it leaves, as through a busy proxy."""

    async def submit(self, ticket: Ticket) -> Ack:
        if self._open:
            await self._ctx.sleep(0.03)
        return await super().submit(ticket)

    async def open_orders(self, page: str | None) -> Snapshot:
        if self._open:
            await self._ctx.sleep(0.03)
        return await super().open_orders(page)


class Terse(Retelling):
    """Answers say that the order was sent, and no more; what expired is cancelled."""

    async def submit(self, ticket: Ticket) -> Ack:
        ack = await super().submit(ticket)
        return Ack("sent") if ack.stage == "decided" else ack

    def told(self, report: OrderReport, source: str) -> OrderReport:
        ended = VenueStatus.CANCELED if report.status is VenueStatus.EXPIRED else report.status
        return revised(report, confirmations=None, status=ended)


class Chatty(Retelling):
    """Everything is told twice, with a Gap after it, and with words that mean nothing."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, raw={**report.raw, "note": "hello"}, text=report.text or "ok")

    def event(self, event: VenueEvent) -> Sequence[VenueEvent]:
        said = super().event(event)
        if not isinstance(event.body, OrderReport):
            return said
        return (*said, *said, VenueEvent(event.at, None, Gap(max(0, event.at - 1_000), None, "perhaps")))


class Versionless(Retelling):
    """Reports have no version: only what they say tells which is newer."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, version=None)


class PollsItsFills(Retelling):
    """The stream tells of orders, once each that they end, and of no fills; those are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self._over: set[VenueId] = set()

    def event(self, event: VenueEvent) -> Sequence[VenueEvent]:
        body = event.body
        if isinstance(body, FillVoided):
            return ()
        if not isinstance(body, OrderReport):
            return (event,)
        known = body.id in self._over
        if body.status.terminal and body.final:
            self._over.add(body.id)
        return () if known else (revised(event, body=revised(body, fills=(), fills_complete=False)),)


class HasNoStream(PaperAdapter):
    """The stream is declared unsupported: of it come Gaps, and no more."""

    async def markets(self) -> Sequence[SymbolMetadata]:
        none, listed = Support(SupportLevel.UNSUPPORTED), await super().markets()
        changed = [
            replace(each, capabilities=replace(can, features={**can.features, "stream": none, "replay": none}))
            for each in listed
            for can in (each.capabilities,)
        ]
        self._symbols = {each.symbol_id: each for each in changed}
        return tuple(changed)

    async def events(self, cursor: str | None) -> AsyncIterator[VenueEvent]:  # type: ignore[override]
        async for event in super().events(cursor):
            if isinstance(event.body, Gap):
                yield event


@pytest.mark.parametrize("unusual", [Slow, Terse, Chatty, Versionless, PollsItsFills, HasNoStream])
def test_unusual_is_not_wrong(unusual: type[PaperAdapter]) -> None:
    """Every case passes, or is about something that is not offered."""

    class Unusual(PaperHarness):
        def adapter(self) -> VenueAdapter:
            return unusual()

    # A whole kernel is another test's: REC-06 takes as long as all the others.
    cases = [case for case in all_cases() if case.id != "REC-06"]
    for fence in ("time_window", "sequence"):
        results = run_cases(cases, partial(Unusual, fence=fence))
        wrong = [each for each in results if each.status not in ("passed", "unsupported")]
        assert wrong == []
