"""Mistakes in how many requests one submit makes."""

from __future__ import annotations

import asyncio
from typing import Any

from exchange_kernel.errors import (
    ClockSkew,
    OutcomeUnknown,
    RateLimited,
)
from exchange_kernel.venue import (
    Ack,
    Found,
    Ref,
    Ticket,
)
from exchange_kernel_paper.adapter import PaperAdapter
from exchange_kernel_paper.tickets import operation, read_body
from tests.conformance.defects.registry import defect
from tests.conformance.defects.shaping import Resigning


class _Retries(Resigning):
    """Sends again on some error."""

    on: tuple[str, ...] = ()

    async def submit(self, ticket: Ticket) -> Ack:
        for _ in range(2):
            try:
                return await super().submit(ticket)
            except RateLimited:
                if "RATE_LIMIT" not in self.on:
                    raise
                await self._ctx.sleep(0.6)
            except OutcomeUnknown as error:
                if (error.code or "BROKEN") not in self.on:
                    raise
                await self._ctx.sleep(0.1)
            ticket = self.again(ticket)
        return await super().submit(ticket)

    def again(self, ticket: Ticket) -> Ticket:
        """The ticket to send next."""
        return ticket


@defect("IDEM-08", fence="permanent_key")
class RetriesRateLimit(_Retries):
    """On 429 it waits and sends again."""

    on = ("RATE_LIMIT",)


@defect("IDEM-08", fence="permanent_key")
class RetriesServerErrors(_Retries):
    """On 5xx it sends again: the key makes that harmless."""

    on = ("UNAVAILABLE",)


@defect("IDEM-08", fence="time_window")
class RetriesBrokenConnections(_Retries):
    """The HTTP library sends again when the connection breaks."""

    on = ("BROKEN",)


@defect("IDEM-08", fence="time_window")
class SignsAnewOnRetry(_Retries):
    """When the connection breaks it signs the order anew, with a new time and a new id."""

    on = ("BROKEN", "UNAVAILABLE")

    def again(self, ticket: Ticket) -> Ticket:
        if operation(ticket.body) != "order":
            return ticket
        changes: dict[str, Any] = {"ts": self._ctx.clock(), "client": read_body(ticket)["client"] + ".2"}
        return self.resigned(ticket, **changes)


@defect("IDEM-08", fence="time_window")
class StampsAnewWhenRefused(Resigning):
    """Refused for its timestamp, an order is stamped with the venue's time and sent again."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except ClockSkew:
            now = (await self.read("time"))["t"]
            return await super().submit(self.resigned(ticket, ts=now))


@defect("IDEM-08", fence="permanent_key")
class ResolvesByItself(PaperAdapter):
    """After a lost answer it looks for the order, and sends again what it does not find."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except OutcomeUnknown:
            if operation(ticket.body) != "order":
                raise
            answer = await self.lookup(Ref(ticket.key, "", None, 0, ticket.ids, (ticket,)))
            if isinstance(answer, Found):
                return Ack("decided", answer.reports)
            return await super().submit(ticket)


@defect("IDEM-08", fence="none")
class RetriesLater(PaperAdapter):
    """A refusal for the rate is passed on, and the order is sent again behind the kernel's back."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except RateLimited:
            self._later = asyncio.ensure_future(self._again(ticket))
            raise

    async def _again(self, ticket: Ticket) -> None:
        await self._ctx.sleep(1)
        await self._link.call(operation(ticket.body), ticket.body)


@defect("IDEM-08", fence="sequence")
class SendsToTwoNodes(PaperAdapter):
    """Every transaction goes out twice, to be sure."""

    async def submit(self, ticket: Ticket) -> Ack:
        ack = await super().submit(ticket)
        await self._link.call(operation(ticket.body), ticket.body)
        return ack


@defect("IDEM-13", fence="time_window")
class RetriesCancels(PaperAdapter):
    """A cancel can do no harm: it is sent until an answer comes."""

    async def submit(self, ticket: Ticket) -> Ack:
        for _ in range(3):
            try:
                return await super().submit(ticket)
            except OutcomeUnknown:
                if operation(ticket.body) != "cancel":
                    raise
        return await super().submit(ticket)


@defect("IDEM-13", fence="none")
class CancelsAgainLater(PaperAdapter):
    """A cancel refused for its rate is passed on, and sent again behind the kernel's back."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except RateLimited:
            if operation(ticket.body) == "cancel":
                self._later = asyncio.ensure_future(self._again(ticket))
            raise

    async def _again(self, ticket: Ticket) -> None:
        await self._ctx.sleep(0.7)
        await self._link.call("cancel", ticket.body)
