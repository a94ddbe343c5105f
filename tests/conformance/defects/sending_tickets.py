"""Mistakes in what a ticket holds, and what submit makes of it."""

from __future__ import annotations

from decimal import Decimal

from exchange_kernel.value import revised
from exchange_kernel.venue import (
    Ack,
    Command,
    Place,
    Prep,
    Prepared,
    Ticket,
)
from exchange_kernel_paper.adapter import PaperAdapter
from exchange_kernel_paper.tickets import operation, read_body
from tests.conformance.defects.registry import defect
from tests.conformance.defects.shaping import Resigning


@defect("IDEM-09", fence="time_window")
class PricesAtSend(Resigning):
    """The limit is set from the market when the order is sent."""

    async def submit(self, ticket: Ticket) -> Ack:
        if operation(ticket.body) == "order" and "limit" in read_body(ticket):
            limit = Decimal(read_body(ticket)["limit"]) + Decimal("0.01")
            ticket = self.resigned(ticket, limit=str(limit))
        return await super().submit(ticket)


@defect("IDEM-09", fence="sequence")
class SizesAtSend(Resigning):
    """The amount is cut to a share of what is free when the order is sent."""

    async def submit(self, ticket: Ticket) -> Ack:
        if operation(ticket.body) == "order":
            ticket = self.resigned(ticket, amount=str(Decimal(read_body(ticket)["amount"]) * Decimal("0.9")))
        return await super().submit(ticket)


@defect("IDEM-09", fence="permanent_key")
class SendsTheLastPreview(Resigning):
    """Submit sends what was checked last, whichever ticket it is given."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        if isinstance(command, Place):
            self._latest = command.spec
        return await super().prepare(command, prep)

    async def submit(self, ticket: Ticket) -> Ack:
        if operation(ticket.body) == "order":
            ticket = self.resigned(ticket, amount=str(self._latest.amount), limit=str(self._latest.limit))
        return await super().submit(ticket)


@defect("IDEM-12", fence="time_window")
class StampsAtSend(Resigning):
    """The time in the request is that of sending."""

    async def submit(self, ticket: Ticket) -> Ack:
        return await super().submit(self.resigned(ticket, ts=self._ctx.clock() + self._state.offset))


@defect("IDEM-12", fence="height", valid_blocks=12)
class HeightAtSend(Resigning):
    """The last valid block in the request is that of sending."""

    async def submit(self, ticket: Ticket) -> Ack:
        height = (await self.read("time"))["ledger"]["height"]
        return await super().submit(self.resigned(ticket, last_height=height + self._terms.valid_blocks))


@defect("IDEM-11", fence="permanent_key")
class CancelsTheNewest(Resigning):
    """A cancel means the newest order there is when it is sent."""

    async def submit(self, ticket: Ticket) -> Ack:
        if operation(ticket.body) == "cancel":
            snapshot = await self.open_orders(None)
            if snapshot.reports:
                ticket = self.resigned(ticket, order=int(snapshot.reports[-1].id.value))
        return await super().submit(ticket)


@defect("IDEM-11", fence="time_window")
class CancelsOnce(PaperAdapter):
    """Cancels are said not to be repeatable."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        ticket = await super().prepare(command, prep)
        assert isinstance(ticket, Ticket)
        return revised(ticket, fence=revised(ticket.fence, repeatable=False))
