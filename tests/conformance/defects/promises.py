"""Mistakes in what was promised before the order left: its worst price, its life, its least amount, its amendment."""

from __future__ import annotations

import dataclasses
import time
from decimal import Decimal
from typing import Any

from exchange_kernel.errors import NotSent
from exchange_kernel.schema import SymbolMetadata
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    FOREVER,
    AccountSnapshot,
    Ack,
    Context,
    Lookup,
    Need,
    Opened,
    OrderReport,
    Preview,
    PriceTick,
    Ref,
    Snapshot,
    Spec,
    Ticket,
    Unsure,
    VenueStatus,
)
from exchange_kernel_paper.adapter import PaperAdapter
from tests.conformance.defects.registry import defect
from tests.conformance.defects.retelling import Retelling, Rewriting
from tests.conformance.defects.shaping import opened_with


@defect("PREC-07", fence="time_window")
class DropsTheGuard(Rewriting):
    """A market order goes out without its worst price."""

    def rewritten(self, request: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in request.items() if name != "guard"}


@defect("PREC-07", fence="sequence")
class GuardsFarAway(Rewriting):
    """The worst price is widened, so that orders are filled more often."""

    def rewritten(self, request: dict[str, Any]) -> dict[str, Any]:
        return request | {"guard": "99999" if request["side"] == "BUY" else "1"} if "guard" in request else request


@defect("PREC-07", fence="none")
class PreviewsNoGuard(PaperAdapter):
    """check() takes a worst price, and leaves it out of what would be sent."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        preview = super().check(spec, was)
        return dataclasses.replace(preview, spec=revised(preview.spec, guard=None))


@defect("PREC-08", fence="time_window")
class EndIsDropped(Rewriting):
    """An order with an end is sent as one without."""

    def rewritten(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["tif"] != "GTD":
            return request
        return {name: value for name, value in request.items() if name != "until"} | {"tif": "GTC"}


@defect("PREC-08", fence="permanent_key")
class EndIsRoundedUp(Rewriting):
    """The end of an order is rounded up to what the venue's form shows."""

    def rewritten(self, request: dict[str, Any]) -> dict[str, Any]:
        return request | {"until": request["until"] + 60_000} if "until" in request else request


@defect("PREC-08", fence="none")
class EndsEarly(Rewriting):
    """An order ends a minute before it was to end, to be on the safe side."""

    def rewritten(self, request: dict[str, Any]) -> dict[str, Any]:
        return request | {"until": request["until"] - 60_000} if "until" in request else request


class _Remeasured(PaperAdapter):
    """The constraints of amounts, told otherwise."""

    def told(self, symbol: SymbolMetadata) -> dict[str, Decimal | None]:
        """What is told otherwise."""
        raise NotImplementedError

    async def markets(self) -> tuple[SymbolMetadata, ...]:
        markets = await super().markets()
        self._symbols = {
            each.symbol_id: dataclasses.replace(each, amounts=dataclasses.replace(each.amounts, **self.told(each)))  # type: ignore[arg-type]
            for each in markets
        }
        self._previews.clear()
        return tuple(self._symbols.values())


@defect("PREC-09", fence="time_window")
class NoNotionalListed(_Remeasured):
    """The least worth of an order is in a filter that the adapter does not read."""

    def told(self, symbol: SymbolMetadata) -> dict[str, Decimal | None]:
        return {"min_notional": None}


@defect("PREC-09", fence="sequence")
class LeastIsAStep(_Remeasured):
    """The least amount is taken to be the step."""

    def told(self, symbol: SymbolMetadata) -> dict[str, Decimal | None]:
        return {"min_amount": symbol.amounts.step, "min_notional": None}


@defect("MOD-09", fence="time_window")
class AmendsWhatItCan(PaperAdapter):
    """Of an amendment only amount and price are looked at."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        if was is not None:
            spec = revised(was, amount=spec.amount, limit=spec.limit)
        return super().check(spec, was)


@defect("MOD-09", fence="sequence")
class AmendDropsPostOnly(PaperAdapter):
    """That an amended order must not take is left out."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        return super().check(spec if was is None else revised(spec, post_only=was.post_only), was)


@defect("LIFE-11", fence="time_window")
class CancelledIsNotSent(PaperAdapter):
    """Whatever ends a submit, the order was not sent."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except BaseException as error:
            if isinstance(error, Exception):
                raise
            raise NotSent("cancelled") from None


@defect("LIFE-11", fence="permanent_key")
class LookupSwallowsItsCancellation(PaperAdapter):
    """A lookup that is cancelled answers that it cannot tell."""

    async def lookup(self, ref: Ref) -> Lookup:
        try:
            return await super().lookup(ref)
        except BaseException as error:
            if isinstance(error, Exception):
                raise
            return Unsure("cancelled", None)


@defect("UNK-12", fence="time_window")
class KeepsForEver(PaperAdapter):
    """What has ended can be looked up for ever, says open(); the venue forgets it."""

    async def open(self, ctx: Context) -> Opened:
        return opened_with(await super().open(ctx), retention=FOREVER)


@defect("UNK-12", fence="permanent_key")
class KeepsThreeTimesAsLong(PaperAdapter):
    """How long orders are kept is taken from another product of the venue."""

    async def open(self, ctx: Context) -> Opened:
        opened = await super().open(ctx)
        return opened_with(opened, retention=3 * opened.retention)


@defect("EVT-07", fence="time_window")
class LiquidatesItself(Retelling):
    """Every order is told as one that the venue placed."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, origin="venue")


@defect("EVT-07", fence="none")
class LegOfTheSide(Retelling):
    """A buy is long, a sell is short: on a venue without positions."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, leg="LONG" if report.side == "BUY" else "SHORT")


@defect("EVT-01", fence="sequence")
class ReplacesForEver(Retelling):
    """Whatever is open is to be sent again for a higher fee, also when it is in a block."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        if report.status is not VenueStatus.WORKING:
            return report
        return revised(report, need=Need("replace", report.as_of, "slow"))


@defect("EVT-01", fence="time_window")
class WantsToBeForced(Retelling):
    """An order that has ended asks to be cancelled by force."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, need=Need("force_cancel", report.as_of, "stuck")) if report.status.terminal else report


@defect("META-02", fence="time_window")
class PricesInSeconds(PaperAdapter):
    """Prices are dated in seconds."""

    async def prices(self, symbols: frozenset[str]) -> Any:
        async for tick in super().prices(symbols):
            assert isinstance(tick, PriceTick)
            yield revised(tick, at=tick.at // 1000)


@defect("REC-02", fence="time_window")
class PagesWithoutEnd(PaperAdapter):
    """The last page of open orders names the first as the next."""

    async def open_orders(self, page: str | None) -> Snapshot:
        snapshot = await super().open_orders(page)
        return revised(snapshot, next=snapshot.next or "0")


@defect("TURN-01", fence="time_window")
class SleepsInSubmit(PaperAdapter):
    """A client that blocks is called in the event loop."""

    async def submit(self, ticket: Ticket) -> Ack:
        time.sleep(0.6)  # noqa: ASYNC251 - the mistake
        return await super().submit(ticket)


@defect("TURN-01", fence="permanent_key")
class SleepsInAccount(PaperAdapter):
    """Balances are read with a client that blocks."""

    async def account(self) -> AccountSnapshot:
        time.sleep(0.6)  # noqa: ASYNC251 - the mistake
        return await super().account()


@defect("TURN-01", fence="none")
class SleepsInCheck(PaperAdapter):
    """An order is checked against a file, slowly, each time."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        time.sleep(0.6)
        return super().check(spec, was)
