"""Adapters that misbehave: what the mutants of :mod:`mutants` wrap around the real one."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from exchange_kernel.errors import OutcomeUnknown, VenueError
from exchange_kernel.venue import (
    Absent,
    Ack,
    Amend,
    Cancel,
    NeedsFirst,
    OrderReport,
    Place,
    Ticket,
    TimeEnd,
    VenueEvent,
)
from exchange_kernel_paper.exchange import sign

SECRET = b"paper"


class Wrapped:
    """An adapter that behaves like another one, but for what a mutant overrides."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def history(self, cursor: Any) -> Any:
        return await self.inner.history(cursor)


class SignsAfterCommit(Wrapped):
    """Puts a fresh timestamp on the request when it is sent: the stored deadline says nothing any more."""

    async def submit(self, ticket: Ticket) -> Ack:
        payload = json.loads(ticket.body.partition(b"\n")[0])
        if "ts" in payload:
            payload["ts"] = self.inner._ctx.clock() + self.inner._state.offset
            body = json.dumps(payload, separators=(",", ":")).encode()
            ticket = replace(ticket, body=sign(body, SECRET), send_before=2**62)
        return await self.inner.submit(ticket)


class RetriesSubmit(Wrapped):
    """An HTTP client that repeats a POST when its answer is lost."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await self.inner.submit(ticket)
        except OutcomeUnknown:
            return await self.inner.submit(ticket)


class LocalClock(Wrapped):
    """Judges the fence by the local clock: the watermark is what this machine thinks the time is."""

    async def lookup(self, ref: Any) -> Any:
        found = await self.inner.lookup(ref)
        if isinstance(found, Absent):
            return replace(found, at=replace(found.at, venue_ms=self.inner._ctx.clock()))
        return found


class NoHorizon(Wrapped):
    """Claims to have seen for ever back: absence is believed beyond the venue's memory."""

    async def lookup(self, ref: Any) -> Any:
        found = await self.inner.lookup(ref)
        return replace(found, since=0) if isinstance(found, Absent) else found


class BareTradeIds(Wrapped):
    """Reports the venue's per-symbol trade ids as fill ids, without the symbol."""

    def _bare(self, report: Any) -> Any:
        if not isinstance(report, OrderReport):
            return report
        return replace(report, fills=tuple(replace(f, id=f.id.rpartition("/")[2]) for f in report.fills))

    async def lookup(self, ref: Any) -> Any:
        found = await self.inner.lookup(ref)
        if hasattr(found, "reports"):
            return replace(found, reports=tuple(self._bare(r) for r in found.reports))
        return found

    async def submit(self, ticket: Ticket) -> Ack:
        ack = await self.inner.submit(ticket)
        return replace(ack, reports=tuple(self._bare(r) for r in ack.reports))

    async def open_orders(self, page: Any) -> Any:
        snapshot = await self.inner.open_orders(page)
        return replace(snapshot, reports=tuple(self._bare(r) for r in snapshot.reports))

    async def history(self, cursor: Any) -> Any:
        entries, following = await self.inner.history(cursor)
        return [self._bare(entry) for entry in entries], following

    async def events(self, cursor: Any) -> AsyncIterator[VenueEvent]:
        async for event in self.inner.events(cursor):
            yield replace(event, body=self._bare(event.body))


class CancelReplaces(Wrapped):
    """Offers cancel-and-place in one request as if it were an amend, its quantity computed when it was prepared
    (R24)."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._pairs: dict[bytes, tuple[Ticket, Ticket]] = {}

    def check(self, spec: Any, was: Any = None) -> Any:
        return self.inner.check(spec)

    async def prepare(self, command: Any, prep: Any) -> Any:
        if not isinstance(command, Amend):
            return await self.inner.prepare(command, prep)
        found = await self.inner.lookup(command.ref)
        filled = max((r.filled.base for r in getattr(found, "reports", ())), default=0)
        first = await self.inner.prepare(Cancel(command.key, command.ref), prep)
        rest = command.spec.amount - filled
        if rest <= 0:
            return first
        second = await self.inner.prepare(Place(command.key, replace(command.spec, amount=rest)), prep)
        self._pairs[command.key] = (first, second)
        return second

    async def submit(self, ticket: Ticket) -> Ack:
        pair = self._pairs.get(ticket.key)
        if pair is None:
            return await self.inner.submit(ticket)
        with contextlib.suppress(VenueError):
            await self.inner.submit(pair[0])
        return await self.inner.submit(pair[1])


class TrustsTheKernel(Wrapped):
    """A venue where what is enabled cannot be read: it says once per name what comes first, and then leaves it to the
    kernel to have it proved before it asks again (R28)."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._told: set[str] = set()

    async def prepare(self, command: Any, prep: Any) -> Any:
        prepared = await self.inner.prepare(command, prep)
        if not isinstance(prepared, NeedsFirst):
            return prepared
        if prepared.name not in self._told:
            self._told.add(prepared.name)
            return prepared
        read = self.inner._first

        async def nothing(sent: Any, prep: Any) -> None:
            return None

        self.inner._first = nothing
        try:
            return await self.inner.prepare(command, prep)
        finally:
            self.inner._first = read


class ShortFence(Wrapped):
    """Not a mutant of ours but a venue that lies: its requests live longer than it declares, so that late evidence
    (R19)
    really comes."""

    async def prepare(self, command: Any, prep: Any) -> Any:
        ticket = await self.inner.prepare(command, prep)
        if not isinstance(ticket, Ticket) or not isinstance(command, Place):
            return ticket
        ends = tuple(
            TimeEnd(end.at - 1900, end.clock, 0) if isinstance(end, TimeEnd) else end for end in ticket.fence.ends
        )
        return replace(ticket, fence=replace(ticket.fence, ends=ends))
