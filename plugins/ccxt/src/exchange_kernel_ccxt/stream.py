"""A stream of events over connections that end: one is always there or being made, and no loss goes untold.

Every connection is subscribed before it counts. Silence is noticed and answered by a new one. Before a connection is
too old, or when the venue announces its end, a second one is subscribed while the first is still heard; copies are
dropped by the events' identities. Whenever anything may have been missed the consumer gets a ``Gap``, and a ``Live`` as
soon as nothing more is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from random import Random
from typing import Any

from exchange_kernel.clock import Clock
from exchange_kernel.errors import NotAuthorized, RateLimited, VenueError
from exchange_kernel.venue import Ms
from exchange_kernel_ccxt.stream_line import Line
from exchange_kernel_ccxt.stream_link import Broken, Dial, Event, Gap, Link, Live, Message, Patience, Sieve
from exchange_kernel_ccxt.stream_mailbox import Item, Mailbox

_UNREADABLE = (KeyError, ValueError, TypeError, ArithmeticError)


class Stream:
    """``dial`` makes a subscribed connection, ``sieve`` knows the venue's events. Serves one consumer, once."""

    def __init__(
        self, dial: Dial, sieve: Sieve, clock: Clock, patience: Patience | None = None, rng: Random | None = None
    ) -> None:
        self._dial, self._sieve, self._clock = dial, sieve, clock
        self._patience = patience or Patience()
        self._rng = rng or Random()
        self._mail = Mailbox(self._patience.queue)
        self._seen: dict[Hashable, None] = {}
        self._lines: set[Line] = set()
        self._checks: set[asyncio.Task[None]] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._closing = False
        self._failures = 0
        self._gap_since: Ms | None = None

    async def events(self) -> AsyncIterator[Item]:
        """Messages and markers until :meth:`close`; the first is a ``Gap``: what was before is not known.

        Connections and tasks end when the iterator is closed. Raises NotAuthorized, and what no new attempt cures.
        """
        if self._keeper is not None:
            raise RuntimeError("a stream serves one consumer, once")
        self._keeper = asyncio.create_task(self._keep())
        self._keeper.add_done_callback(self._kept)
        try:
            while (item := await self._mail.get()) is not None:
                yield item
        finally:
            await self.close()

    async def close(self) -> None:
        """End every connection and task; the consumer's loop ends. Idempotent."""
        self._mail.end()
        if self._keeper is not None:
            if not self._closing:  # a second cancellation would interrupt the clearing up
                self._closing = True
                self._keeper.cancel()
            await asyncio.wait({self._keeper})

    def _kept(self, keeper: asyncio.Task[None]) -> None:
        self._mail.end(None if keeper.cancelled() else keeper.exception())

    # connections ------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        try:
            self._gap(self._clock.now_ms(), "not subscribed yet")
            line = await self._connect()
            while True:
                self._live()
                line = await self._carry(line)
        finally:
            ending = [each.close() for each in self._lines]
            for check in self._checks:
                check.cancel()
            await asyncio.gather(*ending, *self._checks, return_exceptions=True)

    async def _carry(self, line: Line) -> Line:
        """Listen until there was a gap; the line to go on with, which is subscribed."""
        while True:
            await _first(line.over, line.due)
            if line.over.done():
                await self._lose(line)
                return await self._connect()
            dialing = asyncio.create_task(self._connect())
            try:
                await _first(line.over, dialing)
                if line.over.done():
                    await self._lose(line)
                    return await dialing
                fresh = dialing.result()
            except BaseException:
                dialing.cancel()
                await asyncio.wait({dialing})
                raise
            whole = await self._overlap(line, fresh)
            if fresh.over.done() and not line.over.done():
                await self._drop(fresh)  # the older one has told everything meanwhile
                continue
            since = line.heard_ms
            await self._drop(line)
            if not whole:
                self._gap(since, "a connection ended while another took over")
                return fresh
            line = fresh

    async def _lose(self, line: Line) -> None:
        self._gap(line.heard_ms, line.over.result())
        await self._drop(line)

    async def _overlap(self, line: Line, fresh: Line) -> bool:
        """Hear both for a while; does the fresh one miss nothing that the old one might still have told?"""
        heard = line.frames
        timer = asyncio.ensure_future(self._clock.sleep(self._patience.overlap_s))
        asking = asyncio.ensure_future(line.probe())
        try:
            await _first(timer, line.over, fresh.over)
        finally:
            timer.cancel()
            asking.cancel()
            await asyncio.wait({timer, asking})
        return not line.over.done() and line.frames > heard

    async def _drop(self, line: Line) -> None:
        if self._clock.monotonic() - line.opened >= self._patience.backoff_s[1]:
            self._failures = 0
        elif line.over.done():
            self._failures += 1
        await line.close()
        self._lines.discard(line)

    async def _connect(self) -> Line:
        """A new line, however many attempts it takes. Raises NotAuthorized."""
        while True:
            if self._failures:
                await self._clock.sleep(self._pause())
            try:
                link = await self._dial_in_time()
            except NotAuthorized:
                raise
            except RateLimited as error:
                await self._clock.sleep(max(0, error.retry_at - self._clock.now_ms()) / 1000)
                self._failures += 1
            except (VenueError, OSError):
                self._failures += 1
            else:
                line = Line(link, self._clock, self._patience, self._hear)
                self._lines.add(line)
                return line

    def _pause(self) -> float:
        first, most = self._patience.backoff_s
        longest = min(most, first * 2.0 ** min(self._failures - 1, 30))
        return longest * (0.5 + self._rng.random() / 2)

    async def _dial_in_time(self) -> Link:
        dialing = asyncio.ensure_future(self._dial())
        timer = asyncio.ensure_future(self._clock.sleep(self._patience.connect_s))
        taken = False
        try:
            await _first(dialing, timer)
            if not dialing.done():
                raise Broken(f"no connection within {self._patience.connect_s:g} s")
            taken = True
            return dialing.result()
        finally:
            timer.cancel()
            dialing.cancel()
            await asyncio.wait({timer, dialing})
            if not taken and not dialing.cancelled() and dialing.exception() is None:
                await dialing.result().close()

    # events -----------------------------------------------------------------------------------------------------

    def _hear(self, event: Event) -> None:
        now = self._clock.now_ms()
        try:
            identity = self._sieve.identity(event)
            if identity is not None and not self._remember(identity):
                return
            late = self._sieve.place(event)
            lacking = self._sieve.lacking(event)
        except _UNREADABLE as error:
            self._mail.put(Message(event, now))
            self._doubt(f"an event cannot be read: {type(error).__name__}")
            return
        if late is not None:
            self._mail.put(Message(event, now, late))
        if lacking:
            check = asyncio.get_running_loop().create_task(self._check(event, now))
            self._checks.add(check)
            check.add_done_callback(self._checks.discard)

    def _remember(self, identity: Hashable) -> bool:
        """Is it new?"""
        if identity in self._seen:
            return False
        self._seen[identity] = None
        if len(self._seen) > self._patience.memory:
            del self._seen[next(iter(self._seen))]
        return True

    async def _check(self, event: Event, since: Ms) -> None:
        """What seems to be missing may come after all, over the other connection or late."""
        await self._clock.sleep(self._patience.settle_s)
        lacking = self._sieve.lacking(event)
        if lacking:
            self._doubt(lacking, since)

    # markers ----------------------------------------------------------------------------------------------------

    def _doubt(self, why: str, since: Ms | None = None) -> None:
        """Something is missing although a connection stands: a gap that is over at once."""
        if self._gap_since is None:
            self._gap(self._clock.now_ms() if since is None else since, why)
            self._live()

    def _gap(self, since: Ms, why: str) -> None:
        self._gap_since = since if self._gap_since is None else min(since, self._gap_since)
        self._mail.mark(Gap(since, why))

    def _live(self) -> None:
        since, self._gap_since = self._gap_since, None
        if since is not None:
            self._sieve.forgive()
            self._mail.mark(Live(since, self._clock.now_ms()))


async def _first(*waited: asyncio.Future[Any]) -> None:
    """Until one of these is done."""
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)


__all__ = ["Stream"]
