"""Mistakes in saying how far the venue's state had got, and in streams of prices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from exchange_kernel.value import revised
from exchange_kernel.venue import (
    Absent,
    AccountSnapshot,
    Found,
    Gap,
    Lookup,
    PriceTick,
    Ref,
    SlotEnd,
    Snapshot,
    VenueEvent,
    Watermark,
)
from exchange_kernel_paper.adapter import PaperAdapter
from exchange_kernel_paper.link import Stream
from tests.conformance.defects.registry import defect
from tests.conformance.defects.retelling import Gaps


@defect("BAL-11", fence="time_window")
class SnapshotMarkAfter(PaperAdapter):
    """First the page of open orders, then the venue's clock."""

    async def open_orders(self, page: str | None) -> Snapshot:
        snapshot = await super().open_orders(page)
        return revised(snapshot, at=Watermark(venue_ms=(await self.read("time"))["t"]))


@defect("BAL-11", fence="permanent_key")
class AccountMarkAfter(PaperAdapter):
    """First the balances, then the venue's clock."""

    async def account(self) -> AccountSnapshot:
        snapshot = await super().account()
        return revised(snapshot, at=Watermark(venue_ms=(await self.read("time"))["t"]))


@defect("BAL-11", fence="sequence")
class AccountBlockAfter(PaperAdapter):
    """First the balances, then the newest final block, which is another."""

    async def account(self) -> AccountSnapshot:
        snapshot = await super().account()
        return revised(snapshot, at=self._lookups._ledger_mark(await self.read("time"), None))


@defect("BAL-11", fence="none")
class SnapshotInTheFuture(PaperAdapter):
    """A snapshot holds until it is asked for again, so that is how far it has got."""

    async def open_orders(self, page: str | None) -> Snapshot:
        snapshot = await super().open_orders(page)
        return revised(snapshot, at=Watermark(venue_ms=(snapshot.at.venue_ms or 0) + 60_000))


@defect("BAL-11", fence="height")
class SnapshotWithoutMark(PaperAdapter):
    """A page of open orders does not say as of when it is."""

    async def open_orders(self, page: str | None) -> Snapshot:
        return revised(await super().open_orders(page), at=Watermark())


@defect("UNK-16", fence="time_window")
class FoundWithoutMark(PaperAdapter):
    """What is found needs no watermark: it is there."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        return revised(answer, at=Watermark()) if isinstance(answer, Found) else answer


@defect("UNK-16", fence="permanent_key")
class FoundMarkAfter(PaperAdapter):
    """What was found is as of the moment after the search."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if isinstance(answer, Found):
            return revised(answer, at=Watermark(venue_ms=(await self.read("time"))["t"]))
        return answer


@defect("UNK-16", fence="sequence")
class FoundSpendsEverything(PaperAdapter):
    """Of an order that was found every number is said to be spent."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if not isinstance(answer, Found):
            return answer
        slots = frozenset(end.slot for ticket in ref.tickets for end in ticket.fence.ends if isinstance(end, SlotEnd))
        return revised(answer, at=revised(answer.at, spent=slots))


@defect("UNK-16", fence="height")
class FoundInTheNewestBlock(PaperAdapter):
    """What was found is as of the newest block, which is not final."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if not isinstance(answer, Found):
            return answer
        ledger = (await self.read("time"))["ledger"]
        return revised(answer, at=Watermark(ledger_ms=ledger["final_ms"], height=ledger["height"] + 5))


@defect("UNK-02", fence="time_window")
class LookedNowhere(PaperAdapter):
    """What is absent was looked for in no source."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        return revised(answer, looked=()) if isinstance(answer, Absent) else answer


@defect("EVT-02", fence="time_window")
class GapOfOneMarket(Gaps):
    """The whole stream was down; the Gap names the market that is traded most."""

    def gap(self, event: VenueEvent, gap: Gap) -> Sequence[VenueEvent]:
        return (revised(event, body=revised(gap, symbols=frozenset({"BTC/USD"}))),)


@defect("EVT-02", fence="time_window")
class GapOfNoMarket(Gaps):
    """The connection was down; the Gap names no market at all."""

    def gap(self, event: VenueEvent, gap: Gap) -> Sequence[VenueEvent]:
        return (revised(event, body=revised(gap, symbols=frozenset())),)


@defect("EVT-02", fence="none")
class GapOfAnotherMarket(Gaps):
    """After a reconnect the Gap names the market that is subscribed last."""

    def gap(self, event: VenueEvent, gap: Gap) -> Sequence[VenueEvent]:
        first = self.nth == 1
        return (event if first else revised(event, body=revised(gap, symbols=frozenset({"ETH/USD"}))),)


@defect("EVT-12", fence="time_window")
class PricesWaitForEver(PaperAdapter):
    """When its connection has ended, the stream of prices waits for ever."""

    def prices(self, symbols: frozenset[str]) -> AsyncIterator[PriceTick]:
        self._reads()
        begun: list[bool] = []

        async def once() -> Stream:
            if begun:
                await asyncio.Event().wait()
            begun.append(True)
            return await self._subscribe("prices", symbols=sorted(symbols))

        return self._events.prices(once)


@defect("EVT-12", fence="sequence")
class PricesOnce(PaperAdapter):
    """The stream of prices says what they are when it begins, and nothing more."""

    async def prices(self, symbols: frozenset[str]) -> AsyncIterator[PriceTick]:  # type: ignore[override]
        said: set[str] = set()
        async for tick in super().prices(symbols):
            if tick.symbol not in said:
                said.add(tick.symbol)
                yield tick


@defect("EVT-12", fence="permanent_key")
class PricesFallSilent(PaperAdapter):
    """Nobody watches whether prices still come."""

    def prices(self, symbols: frozenset[str]) -> AsyncIterator[PriceTick]:
        self._reads()
        events = self._events
        patient = type(events)(events._ctx, events._translate, 10_000_000.0)
        return patient.prices(lambda: self._subscribe("prices", symbols=sorted(symbols)))


@defect("EVT-12", fence="none")
class PricesAtLocalTime(PaperAdapter):
    """A price is as of when it came, by the local clock."""

    async def prices(self, symbols: frozenset[str]) -> AsyncIterator[PriceTick]:  # type: ignore[override]
        async for tick in super().prices(symbols):
            yield revised(tick, at=self._ctx.clock())
