"""Mistakes in rounding, in previews, and in what is sent of them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from decimal import ROUND_HALF_UP, ROUND_UP, Decimal
from typing import Any

from msgspec.structs import force_setattr

from exchange_kernel.errors import (
    InvalidOrder,
    RateLimited,
    UnknownSymbol,
    Unsupported,
)
from exchange_kernel.orders import safe_price
from exchange_kernel.schema import AmountType, Side, SymbolMetadata
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    AccountSnapshot,
    Ack,
    Command,
    Found,
    Lookup,
    Money,
    OrderReport,
    Place,
    Prep,
    Prepared,
    Preview,
    PriceTick,
    Ref,
    Snapshot,
    Spec,
    Ticket,
    VenueEvent,
)
from exchange_kernel_paper.adapter import PaperAdapter
from exchange_kernel_paper.tickets import place_fields
from exchange_kernel_paper.translate import client_id
from tests.conformance.defects.registry import defect


def _nearest(price: Decimal, symbol: SymbolMetadata) -> Decimal:
    low, high = safe_price(price, Side.BUY, symbol.prices), safe_price(price, Side.SELL, symbol.prices)
    if low is None or high is None:
        return price
    return low if price - low < high - price else high


class Rounding(PaperAdapter):
    """Rounds in ways of its own."""

    def round(self, spec: Spec, symbol: SymbolMetadata) -> Spec:
        raise NotImplementedError

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        symbol = self._symbols.get(spec.symbol)
        sent = super().check(spec, was)
        if symbol is None:
            return sent
        return super().check(self.round(spec, symbol), was)


@defect("PREC-01")
class RoundsToTheNearest(Rounding):
    """Prices go to the nearest tick: half of the time up for a buy."""

    def round(self, spec: Spec, symbol: SymbolMetadata) -> Spec:
        return spec if spec.limit is None else revised(spec, limit=_nearest(spec.limit, symbol))


@defect("PREC-01")
class RoundsASellDown(Rounding):
    """Prices go down, whichever side."""

    def round(self, spec: Spec, symbol: SymbolMetadata) -> Spec:
        low = None if spec.limit is None else safe_price(spec.limit, Side.BUY, symbol.prices)
        return spec if low is None else revised(spec, limit=low)


@defect("PREC-01")
class RoundsABuyUp(Rounding):
    """Prices go up, whichever side."""

    def round(self, spec: Spec, symbol: SymbolMetadata) -> Spec:
        high = None if spec.limit is None else safe_price(spec.limit, Side.SELL, symbol.prices)
        return spec if high is None else revised(spec, limit=high)


@defect("PREC-01")
class RoundsTheAmountUp(Rounding):
    """Amounts go to the nearest step, sometimes above what was ordered."""

    def round(self, spec: Spec, symbol: SymbolMetadata) -> Spec:
        step = symbol.amounts.step
        if spec.amount_in is AmountType.QUOTE:
            return spec
        return revised(spec, amount=(spec.amount / step).quantize(Decimal(1), ROUND_HALF_UP) * step)


@defect("PREC-01")
class RoundsTheGuardUp(Rounding):
    """The worst price of a market buy is rounded up."""

    def round(self, spec: Spec, symbol: SymbolMetadata) -> Spec:
        high = None if spec.guard is None else safe_price(spec.guard, Side.SELL, symbol.prices)
        return spec if high is None else revised(spec, guard=high)


@defect("PREC-01")
class DoesNotRound(PaperAdapter):
    """What is off the grid is promised as it is."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        return replace(super().check(spec, was), spec=spec)


@defect("PREC-01")
class OneTickForAll(Rounding):
    """Prices are cut to two places, whatever the market's spacing."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        sent = PaperAdapter.check(self, spec, was)
        if spec.limit is None:
            return sent
        return replace(sent, spec=revised(sent.spec, limit=spec.limit.quantize(Decimal("0.01"), "ROUND_DOWN")))


@defect("PREC-01")
class CutsTooMuch(Rounding):
    """Amounts are cut to whole hundreds of steps."""

    def round(self, spec: Spec, symbol: SymbolMetadata) -> Spec:
        large = symbol.amounts.step * 100
        cut = spec.amount // large * large
        return revised(spec, amount=cut) if cut >= symbol.amounts.min_amount * 100 else spec


@defect("PREC-01")
class ShowsMore(Rounding):
    """The visible part of an iceberg is rounded up."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        sent = PaperAdapter.check(self, spec, was)
        if spec.display is None:
            return sent
        step = self._symbols[spec.symbol].amounts.step
        up = (spec.display / step).quantize(Decimal(1), ROUND_UP) * step
        return replace(sent, spec=revised(sent.spec, display=up))


@defect("PREC-01")
class OutlayWithoutPrice(PaperAdapter):
    """The outlay of a buy is its amount of base, taken for quote."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        sent = super().check(spec, was)
        return replace(sent, outlay=tuple(Money(each.asset, sent.spec.amount) for each in sent.outlay))


def _venue_decides(adapter: PaperAdapter, spec: Spec, rules: tuple[str, ...]) -> Preview | None:
    """A preview in spite of a refusal that says one of these."""
    try:
        PaperAdapter.check(adapter, spec)
    except (UnknownSymbol, Unsupported):
        return None
    except InvalidOrder as error:
        if any(rule in error.rule for rule in rules):
            return Preview(spec, {}, ())
    return None


@defect("PREC-02")
class NoMinimum(PaperAdapter):
    """Leaves the least amount to the venue."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        return _venue_decides(self, spec, ("below min_amount",)) or super().check(spec, was)


@defect("PREC-02")
class NoNotional(PaperAdapter):
    """Leaves the least worth to the venue."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        return _venue_decides(self, spec, ("below min_notional",)) or super().check(spec, was)


@defect("PREC-02")
class RaisesToTheMinimum(PaperAdapter):
    """An amount below the least becomes the least."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        symbol = self._symbols.get(spec.symbol)
        if symbol is not None and spec.amount_in is AmountType.BASE and 0 < spec.amount < symbol.amounts.min_amount:
            spec = revised(spec, amount=symbol.amounts.min_amount * 1000)
        return super().check(spec, was)


@defect("PREC-02")
class PreparesBelowTheMinimum(PaperAdapter):
    """check() refuses, and prepare() does not ask it."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        if isinstance(command, Place) and command.spec.trigger is None and command.spec.symbol in self._symbols:
            fields = place_fields(command.spec, client_id(command.key))
            return self._tickets.seal("order", command.key, prep, fields, (), "place")
        return await super().prepare(command, prep)


@defect("PREC-03")
class ThroughFloats(PaperAdapter):
    """Amounts pass through a float on their way."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        sent = super().check(spec, was)
        symbol = self._symbols[spec.symbol]
        steps = int(float(sent.spec.amount) / float(symbol.amounts.step))
        return replace(sent, spec=revised(sent.spec, amount=symbol.amounts.step * steps))


@defect("PREC-03")
class WritesExponents(PaperAdapter):
    """Amounts are written with str(), which knows exponents."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        if isinstance(command, Place):
            sent = self.check(command.spec)
            fields = place_fields(sent.spec, client_id(command.key))
            fields["amount"] = str(command.spec.amount)
            return self._tickets.seal("order", command.key, prep, fields, sent.outlay, "place")
        return await super().prepare(command, prep)


@defect("PREC-03")
class FiveDigits(PaperAdapter):
    """Prices are kept with five digits, as in a narrow column."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        sent = super().check(spec, was)
        if sent.spec.limit is None:
            return sent
        return replace(sent, spec=revised(sent.spec, limit=Decimal(f"{sent.spec.limit:.5g}")))


@defect("PREC-04")
class FloatInAReport(PaperAdapter):
    """The price of a report is a float."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if isinstance(answer, Found):
            reports = tuple(
                revised(each, price=float(each.price)) if isinstance(each, OrderReport) and each.price else each  # type: ignore[arg-type]
                for each in answer.reports
            )
            return revised(answer, reports=reports)
        return answer


@defect("PREC-04")
class FloatInAFill(PaperAdapter):
    """The fee of a fill is a float, in history only."""

    async def history(self, cursor: str | None) -> Any:
        items, following = await super().history(cursor)
        out: list[object] = []
        for item in items:
            if isinstance(item, OrderReport) and item.fills:
                fill = item.fills[0]
                fees = tuple(revised(fee, amount=float(fee.amount)) for fee in fill.fees)  # type: ignore[arg-type]
                item = revised(item, fills=(revised(fill, fees=fees),))
            out.append(item)
        return out, following


@defect("PREC-04")
class FloatInABalance(PaperAdapter):
    """A balance of the stream is a float."""

    async def events(self, cursor: str | None) -> AsyncIterator[VenueEvent]:  # type: ignore[override]
        async for event in super().events(cursor):
            if isinstance(event.body, AccountSnapshot):
                balances = tuple(revised(each, free=float(each.free)) for each in event.body.balances)  # type: ignore[arg-type]
                event = revised(event, body=revised(event.body, balances=balances))
            yield event


@defect("PREC-04")
class FloatInAPrice(PaperAdapter):
    """A price tick is a float."""

    async def prices(self, symbols: frozenset[str]) -> AsyncIterator[PriceTick]:  # type: ignore[override]
        async for tick in super().prices(symbols):
            yield revised(tick, bid=float(tick.bid or 0))  # type: ignore[arg-type]


@defect("PREC-04")
class TextForMoney(PaperAdapter):
    """Amounts are reported as the venue wrote them, as text."""

    async def open_orders(self, page: str | None) -> Snapshot:
        snapshot = await super().open_orders(page)
        return revised(snapshot, reports=tuple(revised(each, amount=str(each.amount)) for each in snapshot.reports))  # type: ignore[arg-type]


@defect("PREC-04")
class TimesInSeconds(PaperAdapter):
    """Fills are dated in seconds, with a fraction."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if isinstance(answer, Found):
            reports = tuple(
                revised(each, fills=tuple(revised(fill, at=fill.at / 1000) for fill in each.fills))  # type: ignore[arg-type]
                if isinstance(each, OrderReport)
                else each
                for each in answer.reports
            )
            return revised(answer, reports=reports)
        return answer


@defect("PREC-04")
class FloatOutlay(PaperAdapter):
    """The outlay is estimated in floats."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        sent = super().check(spec, was)
        return replace(sent, outlay=tuple(Money(each.asset, float(each.amount)) for each in sent.outlay))  # type: ignore[arg-type]


@defect("PREC-04")
class FloatInAnError(PaperAdapter):
    """When to come back is a float."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except RateLimited as error:
            raise RateLimited(error.retry_at / 1.0, "account") from None  # type: ignore[arg-type]


@defect("PREC-05")
class SendsAnotherPrice(PaperAdapter):
    """prepare() improves the price by a tick that check() did not show."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        if isinstance(command, Place) and command.spec.limit is not None:
            spec = revised(command.spec, limit=command.spec.limit + Decimal("0.01"))
            return await super().prepare(Place(command.key, spec), prep)
        return await super().prepare(command, prep)


@defect("PREC-05")
class SendsUnrounded(PaperAdapter):
    """check() rounds down, prepare() up."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        if isinstance(command, Place) and command.spec.amount_in is AmountType.BASE:
            step = self._symbols[command.spec.symbol].amounts.step
            up = (command.spec.amount / step).quantize(Decimal(1), ROUND_UP) * step
            return await super().prepare(Place(command.key, revised(command.spec, amount=up)), prep)
        return await super().prepare(command, prep)


@defect("PREC-05")
class TurnsQuoteIntoBase(PaperAdapter):
    """A quote amount is converted in prepare(), at its limit."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        if isinstance(command, Place) and command.spec.amount_in is AmountType.QUOTE and command.spec.limit:
            base = command.spec.amount / command.spec.limit
            spec = revised(command.spec, amount=base, amount_in=AmountType.BASE)
            return await super().prepare(Place(command.key, spec), prep)
        return await super().prepare(command, prep)


@defect("PREC-05")
class TicketCostsNothing(PaperAdapter):
    """The ticket's outlay is empty, the preview's is not."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        made = await super().prepare(command, prep)
        return revised(made, outlay=()) if isinstance(made, Ticket) else made


@defect("PREC-06")
class ChecksWithTheVenue(PaperAdapter):
    """check() asks the venue."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        link: Any = self._link
        link._wire.front.answer(self._tickets.request("markets"))
        return super().check(spec, was)


@defect("PREC-06")
class ChecksOnceWithTheVenue(PaperAdapter):
    """The first check() of a session asks the venue, the others remember."""

    asked = False

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        if not self.asked:
            self.asked = True
            link: Any = self._link
            link._wire.front.answer(self._tickets.request("account"))
        return super().check(spec, was)


@defect("PREC-06")
class RefreshesInTheBackground(PaperAdapter):
    """check() starts a task that refreshes the markets."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        asyncio.get_running_loop().create_task(self.markets())
        return super().check(spec, was)


@defect("PREC-06")
class ChecksElsewhere(PaperAdapter):
    """check() asks another service."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        with suppress(OSError), socket.socket() as service:
            service.setblocking(False)
            service.connect(("127.0.0.1", 9))
        return super().check(spec, was)


@defect("PREC-06")
class GuardsByTheLastPrice(PaperAdapter):
    """The worst price of a market order is taken from the last fill that was seen."""

    last: Decimal | None = None

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if isinstance(answer, Found):
            prices = [f.price for each in answer.reports if isinstance(each, OrderReport) for f in each.fills]
            self.last = prices[-1] if prices else self.last
        return answer

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        if spec.limit is None and spec.guard is None:
            spec = revised(spec, guard=self.last)
        return super().check(spec, was)


@defect("PREC-06")
class RoundsInPlace(PaperAdapter):
    """check() rounds the order it was given."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        sent = super().check(spec, was)
        force_setattr(spec, "amount", sent.spec.amount)
        force_setattr(spec, "limit", sent.spec.limit)
        return sent


@defect("PREC-06")
class RemembersChecks(PaperAdapter):
    """The same order asked about twice is a duplicate."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[Spec, int] = {}

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        self.asked[spec] = self.asked.get(spec, 0) + 1
        sent = super().check(spec, was)
        return replace(sent, warnings=("asked before",)) if self.asked[spec] > 1 else sent


@defect("PREC-06")
class ReservesMoney(PaperAdapter):
    """check() takes what an order would cost off a local balance, and in the end refuses."""

    left = Decimal(50_000)

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        sent = super().check(spec, was)
        self.left -= sum(each.amount for each in sent.outlay)
        if self.left < 0:
            raise InvalidOrder("amount", spec.amount, "costs more than there is")
        return sent


@defect("PREC-06")
class AsynchronousCheck(PaperAdapter):
    """check() is a coroutine."""

    async def check(self, spec: Spec, was: Spec | None = None) -> Preview:  # type: ignore[override]
        return PaperAdapter.check(self, spec, was)

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        plain = PaperAdapter()
        plain.__dict__ = self.__dict__
        return await plain.prepare(command, prep)
