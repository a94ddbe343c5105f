"""A venue whose events are polled runs the promises of the stream on its reads; one that pushes cannot say it polls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from exchange_kernel.errors import RateLimited, Unavailable
from exchange_kernel.testing.conformance import Fault, all_cases
from exchange_kernel.testing.conformance.harness import STREAM_FAULTS
from exchange_kernel.testing.conformance.run import run_case
from exchange_kernel.value import revised
from exchange_kernel.venue import Gap, OrderReport, VenueAdapter, VenueEvent
from exchange_kernel_paper.adapter import PaperAdapter
from exchange_kernel_paper.conformance import PaperHarness

CASES = {case.id: case for case in all_cases()}
ABOUT_STREAMS = ("EVT-02", "EVT-04", "EVT-10", "EVT-11")
EVERY_S = 0.2


class Polls(PaperAdapter):
    """Asks what is open, and what has happened since. Of each poll everything is told, or a Gap."""

    async def poll(self, cursor: str | None) -> tuple[list[OrderReport], str | None]:
        """What is open, what happened after ``cursor``, and the next one."""
        happened, following = await self.history(cursor)
        found = [item for item in happened if isinstance(item, OrderReport)]
        page: str | None = None
        while True:
            snapshot = await self.open_orders(page)
            found += [item for item in snapshot.reports if isinstance(item, OrderReport)]
            if snapshot.next is None:
                return found, following
            page = snapshot.next

    def events(self, cursor: str | None) -> AsyncIterator[VenueEvent]:
        self._reads()
        return self.asked()

    async def asked(self) -> AsyncIterator[VenueEvent]:
        """The events."""
        seen, after, begun = 0, None, False
        while self._open:
            now = self._ctx.clock() + self._state.offset - self._state.error
            try:
                found, after = await self.poll(after)
            except (Unavailable, RateLimited) as error:
                yield VenueEvent(seen, None, Gap(seen, None, str(error)))
            else:
                if not begun:
                    begun = True
                    yield VenueEvent(now, None, Gap(seen, None, "begun"))
                for report in found:
                    yield VenueEvent(now, None, report)
                seen = now
            await self._ctx.sleep(EVERY_S)


class SkipsWhatFailed(Polls):
    """A poll that fails is as good as one without news: what it would have told is never told."""

    async def poll(self, cursor: str | None) -> tuple[list[OrderReport], str | None]:
        try:
            return await super().poll(cursor)
        except Unavailable:
            self.skip = True
            return [], cursor

    async def asked(self) -> AsyncIterator[VenueEvent]:
        self.skip = False
        known: set[object] = set()
        async for event in super().asked():
            if isinstance(event.body, OrderReport):
                fresh = (event.body.id, event.body.version)
                if fresh in known:
                    continue
                known.add(fresh)
                if self.skip:  # "nothing new" was told already
                    self.skip = False
                    continue
            yield event


class WaitsForEver(Polls):
    """A read that hangs is waited for, however long."""

    async def open(self, ctx: Any) -> Any:
        opened = await super().open(ctx)
        self._link._timeout_ms = 10_000_000  # type: ignore[attr-defined]
        return opened


class TellsOldAsNew(Polls):
    """Whatever a poll shows is stamped as the newest there is, though its reads lag."""

    async def asked(self) -> AsyncIterator[VenueEvent]:
        count = 10**9
        async for event in super().asked():
            if isinstance(event.body, OrderReport):
                count += 1
                event = revised(event, body=revised(event.body, version=count))
            yield event


class PolledHarness(PaperHarness):
    """The paper venue, said to be polled."""

    faults = PaperHarness.faults - STREAM_FAULTS
    polled = True
    made: type[PaperAdapter] = Polls

    def adapter(self) -> VenueAdapter:
        return self.made()


def through(kind: type[PaperAdapter], **members: Any) -> PolledHarness:
    """A harness with that adapter."""
    return type("Through", (PolledHarness,), {"made": kind, **members})()


@pytest.mark.parametrize("name", ABOUT_STREAMS)
def test_who_polls_well_passes(name: str) -> None:
    """The same promise, kept by asking; nothing is missing for want of a stream that could break."""
    result = run_case(CASES[name], through(Polls))
    assert result.status == "passed", result.reason


@pytest.mark.parametrize("name", ABOUT_STREAMS)
def test_who_pushes_cannot_say_that_it_polls(name: str) -> None:
    """What is told while no read is answered was not asked for: the venue's own pushing adapter fails each of them."""
    result = run_case(CASES[name], through(PaperAdapter))
    assert result.status == "failed"
    assert "it is pushed" in result.reason


@pytest.mark.parametrize("name", ABOUT_STREAMS)
def test_who_can_break_the_stream_cannot_say_that_there_is_none(name: str) -> None:
    """A harness with faults for the stream contradicts itself."""
    result = run_case(CASES[name], through(Polls, faults=PaperHarness.faults))
    assert result.status == "failed"
    assert "stream_cut" in result.reason


@pytest.mark.parametrize("fault", [Fault.READ_FAILS, Fault.SLOW])
def test_polling_that_cannot_be_tried_is_missing(fault: Fault) -> None:
    """Without the faults of reads the claim buys nothing: the case is missing, and the grade stays away."""
    result = run_case(CASES["EVT-10"], through(Polls, faults=PolledHarness.faults - {fault}))
    assert (result.status, result.reason) == ("missing", f"the harness cannot make the fault {fault.value}")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("EVT-02", SkipsWhatFailed), ("EVT-11", SkipsWhatFailed), ("EVT-10", WaitsForEver), ("EVT-04", TellsOldAsNew)],
)
def test_mistakes_in_polling_are_caught(name: str, kind: type[PaperAdapter]) -> None:
    """One mistake each, and the case meant for it."""
    assert run_case(CASES[name], through(kind)).status == "failed"
