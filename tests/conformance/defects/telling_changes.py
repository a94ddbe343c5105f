"""Mistakes in amending orders."""

from __future__ import annotations

from typing import Any

from exchange_kernel.errors import NoEffect, NotSent, OutcomeUnknown, Rejected, UnknownTarget
from exchange_kernel.schema import canonical
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    Ack,
    Amend,
    Command,
    Executed,
    Found,
    Key,
    Lookup,
    OrderReport,
    Prep,
    Prepared,
    Ref,
    Spec,
    Ticket,
    VenueId,
    VenueStatus,
)
from exchange_kernel_paper.adapter import PaperAdapter
from exchange_kernel_paper.conformance import SECRET
from exchange_kernel_paper.exchange import encode, sign
from exchange_kernel_paper.tickets import operation, place_fields, read_body
from exchange_kernel_paper.translate import client_id
from tests.conformance.defects.registry import defect
from tests.conformance.defects.retelling import Retelling
from tests.conformance.defects.shaping import each


def signed(ticket: Ticket, request: dict[str, Any]) -> Ticket:
    """The ticket with another body."""
    return revised(ticket, body=sign(encode(request), SECRET.encode()))


class _Amending(PaperAdapter):
    """Remembers what amendments are for; the body of each passes :meth:`amended`."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted: dict[Key, Spec] = {}

    async def amended(self, request: dict[str, Any], command: Amend) -> dict[str, Any]:
        """The request as it is sent."""
        return request

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        ticket = await super().prepare(command, prep)
        if isinstance(command, Amend) and isinstance(ticket, Ticket) and not prep.dry:
            self.wanted[ticket.key] = command.spec
            return signed(ticket, await self.amended(read_body(ticket), command))
        return ticket

    def placing(self, ticket: Ticket) -> Ticket:
        """A new order in place of the amendment."""
        request, spec = read_body(ticket), self.wanted[ticket.key]
        kept = {name: request[name] for name in ("account", "ts", "window", "number", "fee") if name in request}
        return signed(ticket, {"op": "order", **place_fields(spec, client_id(ticket.key)), **kept})

    def cancelling(self, ticket: Ticket) -> Ticket:
        """A cancel of the order that was to be amended."""
        request = {name: value for name, value in read_body(ticket).items() if name not in ("amount", "limit")}
        return signed(ticket, {**request, "op": "cancel", "rid": f"{request['rid']}c"})

    async def filled(self, ref: Ref) -> Any:
        """What is filled of an order now."""
        reports = getattr(await self.lookup(ref), "reports", ())
        return next((report.filled.base for report in reports if isinstance(report, OrderReport)), 0)


def _amends(ticket: Ticket) -> bool:
    return operation(ticket.body) == "amend"


def _amendments(ref: Ref) -> list[Ticket]:
    return [ticket for ticket in ref.tickets if _amends(ticket)]


@defect("MOD-01", fence="time_window")
class AmendedIsRenamed(Retelling):
    """An amended order has a name of its own."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        if report.applied is None or report.applied == report.key:
            return report
        return revised(report, id=VenueId("amended", f"{report.id.value}.{report.applied.hex()[:4]}"))


@defect("MOD-01", fence="sequence")
class AppliedIsThePlacing(Retelling):
    """The last command applied is always the one that placed the order."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, applied=report.key)


@defect("MOD-01", fence="permanent_key")
class AppliedIsTheFirst(PaperAdapter):
    """Of two amendments the first is shown as applied last."""

    async def lookup(self, ref: Ref) -> Lookup:
        amends = _amendments(ref)
        return each(
            await super().lookup(ref),
            lambda r: revised(r, applied=amends[0].key) if amends and r.applied != r.key else r,
        )


@defect("MOD-01", fence="height")
class KeyOfTheAmendment(Retelling):
    """An amended order is reported under the key of its amendment."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        return revised(report, key=report.applied)


@defect("MOD-02", fence="time_window")
class TotalIsTheRest(_Amending):
    """The new total is taken for what is still to be filled, and what is filled is added to it."""

    async def amended(self, request: dict[str, Any], command: Amend) -> dict[str, Any]:
        return {**request, "amount": canonical(command.spec.amount + await self.filled(command.ref))}


@defect("MOD-02", fence="permanent_key")
class RestIsTheTotal(_Amending):
    """What is filled is taken off the total, which the venue then takes for the total."""

    async def amended(self, request: dict[str, Any], command: Amend) -> dict[str, Any]:
        return {**request, "amount": canonical(command.spec.amount - await self.filled(command.ref))}


@defect("MOD-02", fence="permanent_key")
class AmendForgetsFills(PaperAdapter):
    """An amended order starts counting at zero."""

    async def lookup(self, ref: Ref) -> Lookup:
        amended = bool(_amendments(ref))
        return each(await super().lookup(ref), lambda r: revised(r, filled=Executed(), fills=()) if amended else r)


@defect("MOD-03", fence="time_window")
class AmendReopens(PaperAdapter):
    """An order for which there is an amendment is working, whatever the venue says."""

    async def lookup(self, ref: Ref) -> Lookup:
        amended = bool(_amendments(ref))
        return each(
            await super().lookup(ref),
            lambda r: revised(r, status=VenueStatus.WORKING, final=False) if amended else r,
        )


@defect("MOD-03", fence="permanent_key")
class LateAmendBecomesAnOrder(_Amending):
    """An amendment that got no answer is sent again, as a new order."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except OutcomeUnknown:
            if _amends(ticket):
                await super().submit(self.placing(ticket))
            raise


@defect("MOD-03", fence="sequence")
class RacedIsCanceled(PaperAdapter):
    """An order that ended while it was amended was cancelled."""

    async def lookup(self, ref: Ref) -> Lookup:
        amended = bool(_amendments(ref))
        return each(
            await super().lookup(ref),
            lambda r: revised(r, status=VenueStatus.CANCELED) if amended and r.status.terminal else r,
        )


@defect("MOD-04", fence="time_window")
class PlaceThenCancel(_Amending):
    """A new order is placed, then the old one is cancelled."""

    async def submit(self, ticket: Ticket) -> Ack:
        if not _amends(ticket):
            return await super().submit(ticket)
        placed = await super().submit(self.placing(ticket))
        await super().submit(self.cancelling(ticket))
        return placed


@defect("MOD-04", fence="permanent_key")
class CancelThenPlace(_Amending):
    """The old order is cancelled, then a new one is placed."""

    async def submit(self, ticket: Ticket) -> Ack:
        if not _amends(ticket):
            return await super().submit(ticket)
        await super().submit(self.cancelling(ticket))
        return await super().submit(self.placing(ticket))


@defect("MOD-04", fence="time_window")
class AmendLeavesTheOld(_Amending):
    """The request places an order, and the venue was to notice that it replaces another."""

    async def submit(self, ticket: Ticket) -> Ack:
        return await super().submit(self.placing(ticket) if _amends(ticket) else ticket)


@defect("MOD-04", fence="permanent_key")
class AmendInTwoSteps(_Amending):
    """Price and amount are changed one after the other."""

    async def submit(self, ticket: Ticket) -> Ack:
        ack = await super().submit(ticket)
        if _amends(ticket):
            request = read_body(ticket)
            await super().submit(signed(ticket, {**request, "rid": f"{request['rid']}b"}))
        return ack


@defect("MOD-05", fence="time_window")
class AmendTimeoutIsNotSent(PaperAdapter):
    """An amendment without an answer was not sent."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except OutcomeUnknown as error:
            if _amends(ticket):
                raise NotSent(str(error)) from None
            raise


@defect("MOD-05", fence="permanent_key")
class AmendIsAssumed(_Amending):
    """Lookup shows the order as it would be with the amendment."""

    async def lookup(self, ref: Ref) -> Lookup:
        amends = _amendments(ref)
        if not amends:
            return await super().lookup(ref)
        key = amends[-1].key
        spec = self.wanted[key]
        return each(await super().lookup(ref), lambda r: revised(r, amount=spec.amount, price=spec.limit, applied=key))


@defect("MOD-05", fence="sequence")
class AmendNeverShows(PaperAdapter):
    """Amount and price are those of the order as it was placed."""

    async def lookup(self, ref: Ref) -> Lookup:
        spec = ref.spec
        if spec is None:
            return await super().lookup(ref)
        return each(await super().lookup(ref), lambda r: revised(r, amount=spec.amount, price=spec.limit, applied=None))


@defect("MOD-05", fence="height")
class AmendTimeoutIsDone(PaperAdapter):
    """An amendment without an answer is reported as applied."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except OutcomeUnknown:
            if _amends(ticket):
                return Ack("decided")
            raise


@defect("MOD-06", fence="time_window")
class RefusedAmendEndsTheOrder(PaperAdapter):
    """The refusal of an amendment is reported as the rejection of its order."""

    def __init__(self) -> None:
        super().__init__()
        self._refused: set[Key] = set()

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except Rejected:
            self._refused.add(ticket.key)
            raise

    async def lookup(self, ref: Ref) -> Lookup:
        refused = any(ticket.key in self._refused for ticket in ref.tickets)
        return each(
            await super().lookup(ref), lambda r: revised(r, status=VenueStatus.REJECTED, final=True) if refused else r
        )


@defect("MOD-06", fence="permanent_key")
class RefusedAmendCancels(_Amending):
    """An order that could not be amended is cancelled, to be placed anew."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except NoEffect:
            if _amends(ticket):
                await super().submit(self.cancelling(ticket))
            raise


@defect("MOD-06", fence="time_window")
class RefusedAmendIsUnknown(PaperAdapter):
    """The refusal of an amendment is in no table."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except Rejected as error:
            raise OutcomeUnknown(str(error)) from None


@defect("MOD-06", fence="sequence")
class RevertedAmendIsApplied(PaperAdapter):
    """An amendment that is in a block was applied, though it failed there."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        amends = _amendments(ref)
        if not amends or not isinstance(answer, Found) or len(answer.reports) < 2:
            return answer
        return each(answer, lambda r: revised(r, applied=amends[-1].key))


@defect("MOD-06", fence="height")
class RevertedAmendRejects(PaperAdapter):
    """An amendment that failed in its block took its order with it."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if not isinstance(answer, Found) or len(answer.reports) < 2 or not _amendments(ref):
            return answer
        return each(answer, lambda r: revised(r, status=VenueStatus.REJECTED))


@defect("MOD-07", fence="time_window")
class AmendsThePriceOnly(_Amending):
    """The amount of an amendment is not passed on."""

    async def amended(self, request: dict[str, Any], command: Amend) -> dict[str, Any]:
        assert command.ref.spec is not None
        return {**request, "amount": canonical(command.ref.spec.amount)}


@defect("MOD-07", fence="sequence")
class AmendsTheAmountOnly(_Amending):
    """The price of an amendment is not passed on."""

    async def amended(self, request: dict[str, Any], command: Amend) -> dict[str, Any]:
        return {name: value for name, value in request.items() if name != "limit"}


@defect("MOD-07", fence="permanent_key")
class AmendsByTheDifference(_Amending):
    """More of it is sent as how much more."""

    async def amended(self, request: dict[str, Any], command: Amend) -> dict[str, Any]:
        assert command.ref.spec is not None
        more = command.spec.amount - command.ref.spec.amount
        return {**request, "amount": canonical(more)} if more > 0 else request


@defect("MOD-08", fence="time_window")
class AmendRevives(_Amending):
    """Where there is nothing to amend, a new order is what was meant."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except UnknownTarget:
            if not _amends(ticket):
                raise
            return await super().submit(self.placing(ticket))


@defect("MOD-08", fence="permanent_key")
class AmendOfNothingWorks(PaperAdapter):
    """Where there is nothing to amend, nothing is left to be done."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except UnknownTarget:
            if not _amends(ticket):
                raise
            return Ack("decided")
