"""Mistakes in what is concluded when no answer comes, or one that says no."""

from __future__ import annotations

from exchange_kernel.errors import (
    InsufficientFunds,
    NotSent,
    OrderRefused,
    OutcomeUnknown,
    RateLimited,
    Rejected,
)
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    Absent,
    Ack,
    Lookup,
    Ref,
    Ticket,
    Watermark,
)
from exchange_kernel_paper.adapter import PaperAdapter
from tests.conformance.defects.registry import defect


@defect("UNK-01", fence="time_window")
class TimeoutIsNotSent(PaperAdapter):
    """A connection that broke counts as never sent."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except OutcomeUnknown as error:
            raise NotSent(str(error)) from None


@defect("UNK-02", fence="permanent_key")
class TimeoutIsRejected(PaperAdapter):
    """An order without an answer counts as rejected."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except OutcomeUnknown as error:
            raise OrderRefused(str(error)) from None


@defect("UNK-02", fence="height")
class LostAnswerIsSuccess(PaperAdapter):
    """What was sent counts as accepted, whatever came back."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except OutcomeUnknown:
            return Ack("decided")


@defect("UNK-02", fence="time_window")
class NeverProves(PaperAdapter):
    """The watermark never moves, so that nothing can ever be given up."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        return revised(answer, at=Watermark(venue_ms=ref.placed_at)) if isinstance(answer, Absent) else answer


@defect("UNK-04", fence="permanent_key")
class ServerErrorIsRejected(PaperAdapter):
    """HTTP 500 is read like HTTP 400."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except OutcomeUnknown as error:
            if error.code == "UNAVAILABLE":
                raise Rejected(str(error), code=error.code) from None
            raise


@defect("UNK-04", fence="sequence")
class ServerErrorIsRateLimit(PaperAdapter):
    """HTTP 503 is read as "too busy, not executed"."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except OutcomeUnknown as error:
            if error.code == "UNAVAILABLE":
                raise RateLimited(self._ctx.clock() + 1_000, "account") from None
            raise


@defect("UNK-05", fence="time_window")
class GarbledIsRejected(PaperAdapter):
    """An answer that cannot be read counts as a refusal."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except OutcomeUnknown as error:
            if "whole" in str(error):
                raise OrderRefused("bad answer") from None
            raise


@defect("UNK-05", fence="none")
class GarbledIsAccepted(PaperAdapter):
    """An answer that cannot be read counts as an empty one."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except OutcomeUnknown as error:
            if "whole" in str(error):
                return Ack("decided")
            raise


@defect("UNK-10", fence="permanent_key")
class DuplicateIsRejected(PaperAdapter):
    """ "Duplicate client id" is passed on as a rejection of the order."""

    async def submit(self, ticket: Ticket) -> Ack:
        ack = await super().submit(ticket)
        if ack.stage == "duplicate":
            raise OrderRefused("duplicate client id", code="DUPLICATE")
        return ack


@defect("UNK-10", fence="time_window")
class DuplicateIsNotSent(DuplicateIsRejected):
    """The adapter remembers what it sent, and refuses a copy as never sent."""

    def __init__(self) -> None:
        super().__init__()
        self._sent: set[bytes] = set()

    async def submit(self, ticket: Ticket) -> Ack:
        if ticket.body in self._sent:
            raise NotSent("sent before")
        self._sent.add(ticket.body)
        return await PaperAdapter.submit(self, ticket)


@defect("UNK-10", fence="sequence")
class KnownTransactionIsRejected(DuplicateIsRejected):
    """A node that knows the transaction already has rejected it."""


@defect("UNK-11", fence="time_window")
class RefusalIsUnknown(PaperAdapter):
    """No documented code is mapped: everything is unknown."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except Rejected as error:
            raise OutcomeUnknown(str(error)) from None


@defect("UNK-11", fence="time_window")
class RefusalIsAck(PaperAdapter):
    """The answer's error field is not looked at."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except InsufficientFunds:
            return Ack("sent")
