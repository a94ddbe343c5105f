"""The account's event stream: a ``Gap`` first, another one whenever something may have been missed, data in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any

import msgspec

from exchange_kernel.errors import VenueError
from exchange_kernel.venue import (
    AccountSnapshot,
    Context,
    Gap,
    MarketsChanged,
    Ms,
    PriceTick,
    VenueEvent,
    Watermark,
)
from exchange_kernel_paper.exchange import decode, reader
from exchange_kernel_paper.link import Stream
from exchange_kernel_paper.translate import Translator

Open = Callable[[], Awaitable[Stream]]
FIRST_RETRY, LAST_RETRY = 0.1, 5.0
_PRICES = ("bid", "ask", "last")


class _Message(msgspec.Struct):
    """A message of an account's stream. The order in it stays as it is written: it was often read before."""

    t: Ms
    n: int | None = None
    hello: int | None = None
    beat: int | None = None
    order: msgspec.Raw = msgspec.Raw()
    ledger: dict[str, Any] | None = None
    balances: list[list[str]] | None = None
    bust: dict[str, Any] | None = None
    markets: list[str] = []
    why: str = ""


_read = reader(_Message)


class Events:
    """Reads streams of one account. ``silence``: seconds without any message after which a stream counts as dead."""

    def __init__(self, ctx: Context, translator: Translator, silence: float) -> None:
        self._ctx, self._translate, self._silence = ctx, translator, silence
        self.closed = False

    async def account(self, open_stream: Open) -> AsyncIterator[VenueEvent]:
        """Events of the account until closed; it reconnects by itself."""
        seen: Ms = 0
        expected = 1
        async for data in self._messages(open_stream):
            if data is None:
                yield VenueEvent(seen, None, Gap(seen, None, "the stream broke or fell silent"))
                continue
            message = _read(data)
            now, number = message.t, message.n
            if number is not None:
                if number > expected:
                    yield VenueEvent(now, None, Gap(seen, None, f"events {expected} to {number - 1} are missing"))
                expected = max(expected, number + 1)
                yield self._event(message)
            elif message.hello is not None:
                expected = message.hello + 1
                yield VenueEvent(now, None, Gap(seen, None, "subscribed"))
            elif message.beat is not None and message.beat >= expected:
                yield VenueEvent(now, None, Gap(seen, None, f"events {expected} to {message.beat} are missing"))
                expected = message.beat + 1
            seen = max(seen, now)

    async def prices(self, open_stream: Open) -> AsyncIterator[PriceTick]:
        """Price ticks until closed; after a reconnect the current prices come again."""
        async for data in self._messages(open_stream):
            message = None if data is None else decode(data)
            if message is not None and "symbol" in message:
                bid, ask, last = (None if message[name] is None else Decimal(message[name]) for name in _PRICES)
                yield PriceTick(message["symbol"], message["t"], bid, ask, last)

    def _event(self, message: _Message) -> VenueEvent:
        now = message.t
        order = bytes(message.order)
        if order:
            return VenueEvent(now, None, self._translate.told(order, message.ledger))
        if message.balances is not None:
            balances = self._translate.balances(message.balances)
            return VenueEvent(now, None, AccountSnapshot(Watermark(venue_ms=now), False, balances))
        if message.bust is not None:
            return VenueEvent(now, None, self._translate.busted(message.bust))
        return VenueEvent(now, None, MarketsChanged(frozenset(message.markets), message.why))

    async def _messages(self, open_stream: Open) -> AsyncIterator[bytes | None]:
        """Messages of one stream after another; None where one ended."""
        pause = FIRST_RETRY
        while not self.closed:
            try:
                stream = await open_stream()
            except VenueError:
                await self._ctx.sleep(pause)
                pause = min(2 * pause, LAST_RETRY)
                continue
            pause = FIRST_RETRY
            watch = _Watch(stream)
            watching = asyncio.create_task(watch.run(self._ctx, self._silence))
            try:
                async for data in stream:
                    watch.count += 1
                    yield data
            finally:
                stream.close()
                watching.cancel()
                with suppress(asyncio.CancelledError):
                    await watching
            if self.closed:
                return
            yield None
            await self._ctx.sleep(pause)


class _Watch:
    """Closes a stream on which nothing came for a while: a dead connection looks exactly like a quiet one."""

    def __init__(self, stream: Stream) -> None:
        self.count = 0
        self._stream = stream

    async def run(self, ctx: Context, silence: float) -> None:
        seen = -1
        while seen != self.count:
            seen = self.count
            await ctx.sleep(silence)
        self._stream.close()
