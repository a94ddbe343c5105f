"""Mistakes in what is done about rate limits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from exchange_kernel.errors import OutcomeUnknown, RateLimited, Rejected, Unavailable
from exchange_kernel.value import revised
from exchange_kernel.venue import FOREVER, Absent, Ack, Lookup, Ref, Snapshot, Ticket, Watermark
from exchange_kernel_paper.adapter import PaperAdapter
from exchange_kernel_paper.tickets import operation
from tests.conformance.defects.registry import defect
from tests.conformance.defects.retelling import Item


class _Limited(PaperAdapter):
    """A refused change passes :meth:`limited`."""

    async def limited(self, ticket: Ticket, error: RateLimited) -> Ack:
        """What is done about it."""
        raise error

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except RateLimited as error:
            return await self.limited(ticket, error)


@defect("RATE-01", fence="time_window")
class RetriesWhenAllowed(_Limited):
    """The limit is waited for, and the same bytes are sent again."""

    async def limited(self, ticket: Ticket, error: RateLimited) -> Ack:
        await self._ctx.sleep((error.retry_at - self._ctx.clock()) / 1000)
        return await super().submit(ticket)


@defect("RATE-01", fence="permanent_key")
class RetriesAtOnce(_Limited):
    """Refused once, sent once more."""

    async def limited(self, ticket: Ticket, error: RateLimited) -> Ack:
        return await super().submit(ticket)


@defect("RATE-01", fence="time_window")
class RetryInSeconds(_Limited):
    """The time to retry is in seconds."""

    async def limited(self, ticket: Ticket, error: RateLimited) -> Ack:
        raise RateLimited(error.retry_at // 1000, error.scope) from None


@defect("RATE-01", fence="none")
class RetryInHowLong(_Limited):
    """The time to retry is how long to wait."""

    async def limited(self, ticket: Ticket, error: RateLimited) -> Ack:
        raise RateLimited(error.retry_at - self._ctx.clock(), error.scope) from None


@defect("RATE-01", fence="permanent_key")
class RetryNow(_Limited):
    """What the venue says of the time is not read."""

    async def limited(self, ticket: Ticket, error: RateLimited) -> Ack:
        raise RateLimited(self._ctx.clock(), error.scope) from None


@defect("RATE-01", fence="permanent_key")
class RetryByTheVenuesClock(_Limited):
    """The venue's time is passed on as it is."""

    async def limited(self, ticket: Ticket, error: RateLimited) -> Ack:
        raise RateLimited(error.retry_at + self._state.offset, error.scope) from None


@defect("RATE-01", fence="time_window")
class RetryAfterInMs(_Limited):
    """Seconds to wait are taken for thousands of them."""

    async def limited(self, ticket: Ticket, error: RateLimited) -> Ack:
        now = self._ctx.clock()
        raise RateLimited(now + (error.retry_at - now) * 1000, error.scope) from None


@defect("RATE-01", fence="time_window")
class LimitIsUnknown(_Limited):
    """A 429 is an error like any other."""

    async def limited(self, ticket: Ticket, error: RateLimited) -> Ack:
        raise OutcomeUnknown(str(error)) from None


@defect("RATE-01", fence="none")
class LimitIsRejection(_Limited):
    """A 429 is a refused order."""

    async def limited(self, ticket: Ticket, error: RateLimited) -> Ack:
        raise Rejected(str(error)) from None


@defect("RATE-02", fence="time_window")
class LocksItselfOut(_Limited):
    """Once refused, nothing is sent for an hour."""

    def __init__(self) -> None:
        super().__init__()
        self._until = 0

    async def limited(self, ticket: Ticket, error: RateLimited) -> Ack:
        self._until = self._ctx.clock() + 3_600_000
        raise error

    async def submit(self, ticket: Ticket) -> Ack:
        if self._ctx.clock() < self._until:
            raise RateLimited(self._until, "account")
        return await super().submit(ticket)


@defect("RATE-02", fence="permanent_key")
class ReadsStayLocked(_Limited):
    """A refused change stops the reads, for ever."""

    def __init__(self) -> None:
        super().__init__()
        self._refused = False

    async def limited(self, ticket: Ticket, error: RateLimited) -> Ack:
        self._refused = True
        raise error

    async def open_orders(self, page: str | None) -> Snapshot:
        if self._refused:
            raise Unavailable("rate limit")
        return await super().open_orders(page)


@defect("RATE-02", fence="none")
class SecondLimitIsForEver(_Limited):
    """Each refusal doubles the pause, and it is never taken back."""

    def __init__(self) -> None:
        super().__init__()
        self._pause = 1_000

    async def limited(self, ticket: Ticket, error: RateLimited) -> Ack:
        self._pause *= 30
        raise RateLimited(self._ctx.clock() + self._pause, "account") from None


@defect("RATE-03", fence="time_window")
class CancelsWaitToo(_Limited):
    """While orders are limited cancels are held back as well."""

    def __init__(self) -> None:
        super().__init__()
        self._until = 0

    async def limited(self, ticket: Ticket, error: RateLimited) -> Ack:
        self._until = error.retry_at
        raise error

    async def submit(self, ticket: Ticket) -> Ack:
        if self._ctx.clock() < self._until:
            raise RateLimited(self._until, "account")
        return await super().submit(ticket)


@defect("RATE-03", fence="permanent_key")
class OneAtATime(PaperAdapter):
    """All requests stand in one line."""

    def __init__(self) -> None:
        super().__init__()
        self._line = asyncio.Lock()

    async def submit(self, ticket: Ticket) -> Ack:
        async with self._line:
            return await super().submit(ticket)


@defect("RATE-03", fence="none")
class CancelSleepsOnTheLimit(_Limited):
    """A cancel waits, patiently, until the limit is over."""

    def __init__(self) -> None:
        super().__init__()
        self._until = 0

    async def limited(self, ticket: Ticket, error: RateLimited) -> Ack:
        self._until = error.retry_at
        raise error

    async def submit(self, ticket: Ticket) -> Ack:
        if operation(ticket.body) == "cancel":
            await self._ctx.sleep(max(0, self._until - self._ctx.clock()) / 1000)
            ticket = revised(ticket, send_before=FOREVER)
        return await super().submit(ticket)


@defect("RATE-04", fence="time_window")
class LimitedIsAbsent(PaperAdapter):
    """A lookup that was refused found nothing."""

    async def lookup(self, ref: Ref) -> Lookup:
        try:
            return await super().lookup(ref)
        except RateLimited:
            return Absent(Watermark(venue_ms=self._ctx.clock()), 0, ("orders",))


@defect("RATE-04", fence="permanent_key")
class LimitedIsEmpty(PaperAdapter):
    """A page that was refused is an empty page."""

    async def open_orders(self, page: str | None) -> Snapshot:
        try:
            return await super().open_orders(page)
        except RateLimited:
            return Snapshot((), Watermark(venue_ms=self._ctx.clock()), True, None, "account")


@defect("RATE-04", fence="sequence")
class ReadsAskOn(PaperAdapter):
    """A read that was refused is made again at once."""

    async def read(self, op: str, **fields: object) -> dict[str, Any]:
        try:
            return await super().read(op, **fields)
        except RateLimited:
            return await super().read(op, **fields)


@defect("RATE-04", fence="height")
class ReadsRetryInSeconds(PaperAdapter):
    """A read's time to retry is in seconds."""

    async def read(self, op: str, **fields: object) -> dict[str, Any]:
        try:
            return await super().read(op, **fields)
        except RateLimited as error:
            raise Unavailable(str(error), retry_at=error.retry_at // 1000) from None


@defect("RATE-04", fence="none")
class HistoryStumbles(PaperAdapter):
    """A page of history that was refused lacks a field."""

    async def history(self, cursor: str | None) -> tuple[Sequence[Item], str | None]:
        try:
            return await super().history(cursor)
        except RateLimited:
            raise KeyError("items") from None


@defect("RATE-05", fence="time_window")
class TakesABanForALimit(_Limited):
    """A ban is raised as one more limit, and the cancels go on asking."""

    async def limited(self, ticket: Ticket, error: RateLimited) -> Ack:
        raise RateLimited(error.retry_at, error.scope) from None


@defect("RATE-05", fence="permanent_key")
class TakesALimitForABan(_Limited):
    """Each limit stops everything."""

    async def limited(self, ticket: Ticket, error: RateLimited) -> Ack:
        raise RateLimited(error.retry_at, error.scope, banned=True) from None


@defect("RATE-05", fence="time_window")
class BannedReadsAreOutages(PaperAdapter):
    """A read that is refused with a ban is unavailable, and asked again at once."""

    async def read(self, op: str, **fields: object) -> dict[str, Any]:
        try:
            return await super().read(op, **fields)
        except RateLimited as error:
            if not error.banned:
                raise
            raise Unavailable(str(error)) from None
