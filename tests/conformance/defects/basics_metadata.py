"""Adapters that declare what they do not do, or do what they do not declare."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, ClassVar

from exchange_kernel.errors import (
    InvalidOrder,
    Unsupported,
)
from exchange_kernel.schema import MarketCapabilities, Side, Support, SupportLevel, SymbolMetadata
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    Command,
    Context,
    Found,
    Lookup,
    Opened,
    OrderReport,
    Place,
    PlaceGroup,
    Prep,
    Prepared,
    Preview,
    PriceTick,
    Ref,
    Snapshot,
    Spec,
    VenueEvent,
)
from exchange_kernel_paper.adapter import PaperAdapter
from exchange_kernel_paper.tickets import place_fields
from exchange_kernel_paper.translate import client_id
from tests.conformance.defects.registry import defect


def changed(symbol: SymbolMetadata, **answers: Support) -> SymbolMetadata:
    """A market that answers otherwise for these capabilities."""
    features = {**symbol.capabilities.features, **answers}
    return replace(symbol, capabilities=MarketCapabilities(features, symbol.capabilities.sides))


NATIVE, UNSUPPORTED = Support(SupportLevel.NATIVE), Support(SupportLevel.UNSUPPORTED)


class Declaring(PaperAdapter):
    """Declares other capabilities than it has."""

    answers: ClassVar[dict[str, Support]] = {}

    async def markets(self) -> Sequence[SymbolMetadata]:
        await super().markets()
        self._symbols = {name: changed(symbol, **self.answers) for name, symbol in self._symbols.items()}
        return tuple(self._symbols.values())


@defect("META-01")
class ListsNothing(PaperAdapter):
    """A filter that lets nothing through."""

    async def markets(self) -> Sequence[SymbolMetadata]:
        every = await super().markets()
        return every if not hasattr(self, "_asked") and setattr(self, "_asked", 1) is None else ()


@defect("META-01")
class FloatsInMetadata(PaperAdapter):
    """The tick is a float."""

    async def markets(self) -> Sequence[SymbolMetadata]:
        out = await super().markets()
        for symbol in out:
            object.__setattr__(symbol.amounts, "step", float(symbol.amounts.step))
            break
        return out

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        for symbol in self._symbols.values():
            object.__setattr__(symbol.amounts, "step", Decimal(str(symbol.amounts.step)))
        return super().check(spec, was)


@defect("META-01")
class SourcesWithoutTriggers(Declaring):
    """Declares prices to watch, and nothing that watches."""

    answers: ClassVar[dict[str, Support]] = {"source_mark": NATIVE}


@defect("META-02")
class DeclaresQuotes(Declaring):
    """Declares quotes, and has none."""

    answers: ClassVar[dict[str, Support]] = {"quotes": NATIVE}


@defect("META-02")
class DeclaresADeadMan(Declaring):
    """Declares a dead man's switch, and has none."""

    answers: ClassVar[dict[str, Support]] = {"dead_man": NATIVE}


@defect("META-02")
class HidesItsHistory(Declaring):
    """Has a history, and does not say so."""

    answers: ClassVar[dict[str, Support]] = {"history": UNSUPPORTED}


@defect("META-02")
class PricesThatNeverCome(PaperAdapter):
    """Declares prices; the stream is there, and silent."""

    async def prices(self, symbols: frozenset[str]) -> AsyncIterator[PriceTick]:  # type: ignore[override]
        while self._open:
            await self._ctx.sleep(1)
        yield PriceTick("never", 0)


@defect("META-02")
class HistoryIsNotImplemented(PaperAdapter):
    """Declares history; the method is a stub."""

    async def history(self, cursor: str | None) -> Any:
        raise NotImplementedError


@defect("META-02")
class HistoryIsEmpty(PaperAdapter):
    """Declares history; the method answers nothing."""

    async def history(self, cursor: str | None) -> Any:
        return (), cursor


@defect("META-03")
class SendsUndeclaredPostOnly(Declaring):
    """Declares post_only unsupported, and sends it."""

    answers: ClassVar[dict[str, Support]] = {"post_only": UNSUPPORTED}


@defect("META-03")
class DropsTheTrigger(PaperAdapter):
    """A stop is sent as an order without its trigger."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        if spec.trigger is not None:
            spec = revised(spec, trigger=None)
        return super().check(spec, was)


@defect("META-03")
class DropsReduceOnly(PaperAdapter):
    """reduce_only is ignored."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        return super().check(revised(spec, reduce_only=False), was)


@defect("META-03")
class DropsTheLeg(PaperAdapter):
    """The leg of a hedged position is ignored."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        return super().check(revised(spec, leg="NET"), was)


@defect("META-03")
class SellsWhatOnlyBuys(PaperAdapter):
    """A one-sided market is sold in."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        if spec.symbol == "NEW/USD":
            sent = super().check(revised(spec, side=Side.BUY), was)
            return replace(sent, spec=revised(sent.spec, side=spec.side))
        return super().check(spec, was)


@defect("META-03")
class ChecksButPrepares(PaperAdapter):
    """check() refuses a trigger, and prepare() does not ask check()."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        if isinstance(command, Place) and command.spec.trigger is not None:
            spec = revised(command.spec, trigger=None)
            return await super().prepare(Place(command.key, spec), prep)
        return await super().prepare(command, prep)


@defect("META-03", fence="none")
class AmendsUndeclared(PaperAdapter):
    """Declares no amendment, and makes one."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        return super().check(spec)


@defect("META-03", groups=[])
class SendsGroupsOneByOne(PaperAdapter):
    """A group is sent as its first leg."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        if isinstance(command, PlaceGroup):
            return await super().prepare(Place(command.key, command.legs[0].spec), prep)
        return await super().prepare(command, prep)


@defect("META-03")
class RefusesWithoutAName(PaperAdapter):
    """The refusal names nothing the kernel could emulate."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        try:
            return super().check(spec, was)
        except Unsupported:
            raise Unsupported("order", "not supported") from None


@defect("META-03")
class InvalidNotUnsupported(PaperAdapter):
    """What the venue lacks is an invalid order."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        if spec.reduce_only:
            raise InvalidOrder("reduce_only", True, "is not known here")
        return super().check(spec, was)


@defect("META-04")
class NumbersItsSymbols(PaperAdapter):
    """Ids count on with every refresh."""

    count = 0

    async def markets(self) -> Sequence[SymbolMetadata]:
        out = await super().markets()
        self.count += 1
        if self.count < 3:
            return out
        return tuple(
            each if each.symbol_id != "SOL/USD" else replace(each, symbol_id=f"SOL/{self.count}") for each in out
        )


@defect("META-04")
class ForgetsSymbols(PaperAdapter):
    """A refresh lists only what has changed."""

    count = 0

    async def markets(self) -> Sequence[SymbolMetadata]:
        out = await super().markets()
        self.count += 1
        return out if self.count < 3 else out[:1]


@defect("META-05")
class ListsTwice(PaperAdapter):
    """Two pages of markets overlap."""

    async def markets(self) -> Sequence[SymbolMetadata]:
        out = await super().markets()
        return (*out, out[0])


@defect("META-05")
class ReportsItsOwnNames(PaperAdapter):
    """Reports use the venue's name of the symbol."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if isinstance(answer, Found):
            reports = tuple(
                revised(each, symbol=each.symbol.replace("/", "")) if isinstance(each, OrderReport) else each
                for each in answer.reports
            )
            return revised(answer, reports=reports)
        return answer


@defect("META-06")
class HidesStrangers(PaperAdapter):
    """Says it lists what others place, and leaves it out."""

    async def open_orders(self, page: str | None) -> Snapshot:
        snapshot = await super().open_orders(page)
        return revised(snapshot, reports=tuple(each for each in snapshot.reports if each.key is not None))


@defect("META-06")
class SaysOnlyOurs(PaperAdapter):
    """Declares lists_foreign, and marks its snapshots as its own orders."""

    async def open_orders(self, page: str | None) -> Snapshot:
        return revised(await super().open_orders(page), owner="ours")


@defect("META-07")
class RefusesWhatItDeclares(PaperAdapter):
    """Declares gtd, and refuses it."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        if spec.until is not None:
            raise Unsupported("gtd", "not yet")
        return super().check(spec, was)


@defect("META-07")
class DeclaresReduceOnly(Declaring):
    """Declares reduce_only on a spot market."""

    answers: ClassVar[dict[str, Support]] = {"reduce_only": NATIVE}


@defect("META-07")
class RefusesOnTheWire(PaperAdapter):
    """An iceberg passes check(), and its body is one the venue refuses."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        if isinstance(command, Place) and command.spec.display is not None:
            spec = self.check(command.spec).spec
            fields = place_fields(spec, client_id(command.key))
            fields["display"] = "0.00001"
            return self._tickets.seal("order", command.key, prep, fields, (), "iceberg")
        return await super().prepare(command, prep)


@defect("META-08", fence="sequence")
class DeclaresFinalFills(Declaring):
    """On a ledger venue, declares every fill final at once."""

    answers: ClassVar[dict[str, Support]] = {"fills_final_at_once": NATIVE}


@defect("META-08")
class NoKeys(PaperAdapter):
    """Declares find_by_key; reports do not show the key."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if isinstance(answer, Found):
            reports = tuple(
                revised(each, key=None) if isinstance(each, OrderReport) else each for each in answer.reports
            )
            return revised(answer, reports=reports)
        return answer


@defect("META-08")
class NoFills(PaperAdapter):
    """Declares fills_of_order; lookup() leaves them out."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if isinstance(answer, Found):
            reports = tuple(
                revised(each, fills=(), fills_complete=False) if isinstance(each, OrderReport) else each
                for each in answer.reports
            )
            return revised(answer, reports=reports)
        return answer


@defect("META-08")
class SilentStream(PaperAdapter):
    """Declares a stream that says only its first Gap."""

    async def events(self, cursor: str | None) -> AsyncIterator[VenueEvent]:  # type: ignore[override]
        async for event in super().events(cursor):
            if not isinstance(event.body, OrderReport):
                yield event


@defect("META-08")
class DiesWithTheSession(PaperAdapter):
    """open() says the orders die with the session, the capabilities say they outlive it."""

    async def open(self, ctx: Context) -> Opened:
        return replace(await super().open(ctx), orders_die_with_session=True)
