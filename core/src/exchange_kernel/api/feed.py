"""Events to many subscribers over HTTP: each is made into bytes once; each subscriber is a cursor, and nothing waits.

Nothing here grows with a slow reader: it holds a place in the log and at most one chunk. One that falls behind what is
kept in memory while it reads live is cut, and told so; it resumes from the store by the id of the last event it had.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

from exchange_kernel.api.wire import event_line
from exchange_kernel.base import ExchangeKernel
from exchange_kernel.errors import StoreError
from exchange_kernel.events import Event
from exchange_kernel.state.rows import EventRow
from exchange_kernel.state.stores import IntentStateStore
from exchange_kernel.state.unit import compact

__all__ = ["Cut", "Feed"]

KEPT: Final = 2048
CHUNK: Final = 256
PING_S: Final = 15.0
GATHER_S: Final = 0.02
AT_ONCE: Final = 4


class Cut(Exception):
    """This subscriber was too slow, and must begin again from where it is."""


class Feed:
    """The log of one account, live. ``era``: what a cursor must name to be of this log."""

    def __init__(self, account: str, kernel: ExchangeKernel, store: IntentStateStore, kept: int = KEPT) -> None:
        self._account, self._kernel, self._store = account, kernel, store
        self._recent: deque[tuple[int, bytes]] = deque(maxlen=kept)
        self._wakes: set[asyncio.Event] = set()
        self._heard_of = False
        self._waking: asyncio.Task[None] | None = None
        self.era = ""
        self.overflows = 0

    @property
    def subscribers(self) -> int:
        """How many there are now."""
        return len(self._wakes)

    async def open(self) -> None:
        """Begin to listen. Raises StoreUnavailable."""
        row = await self._store.store_row()
        era = f"{row.store_id[:8]}.{row.incarnation}"
        if era != self.era:
            self._recent.clear()
            self.era = era
        if not self._heard_of:
            self._heard_of = True
            self._kernel.subscribe_events(self._take)

    def close(self) -> None:
        """Stop listening."""
        self._kernel.unsubscribe_events(self._take)
        if self._waking is not None:
            self._waking.cancel()
        self._heard_of = False

    def _take(self, event: Event) -> None:
        recent = self._recent
        if recent and recent[-1][0] + 1 != event.seq:
            recent.clear()
        row = EventRow(
            event.account,
            event.seq,
            event.at,
            event.kind,
            event.intent_id,
            event.actor,
            event.reason,
            compact(event.body()),
            "",
            "",
        )
        recent.append((event.seq, self._frame(row)))
        if self._wakes and (self._waking is None or self._waking.done()):
            self._waking = asyncio.get_running_loop().create_task(self._wake_all(), name=f"readers {self._account}")

    async def _wake_all(self) -> None:
        """A few readers at a time, so that what runs orders on this loop gets its turn in between; and what comes at
        once goes out at once."""
        last = 0
        while self._recent and self._recent[-1][0] != last:
            await asyncio.sleep(GATHER_S)
            last = self._recent[-1][0] if self._recent else 0
            for number, wake in enumerate(tuple(self._wakes)):
                wake.set()
                if number % AT_ONCE == AT_ONCE - 1:
                    await asyncio.sleep(0)

    def _frame(self, row: EventRow) -> bytes:
        return b"id: %s.%d\nevent: %s\ndata: %s\n\n" % (self.era.encode(), row.seq, row.kind.encode(), event_line(row))

    async def newest(self) -> int:
        """Sequence number of the newest event. Raises StoreUnavailable."""
        row = await self._store.account_row(self._account)
        return 0 if row is None else row.event_seq

    async def after(self, cursor: int) -> AsyncIterator[bytes]:
        """Server-sent events behind a sequence number, and a comment when nothing comes. Raises Cut."""
        wake = asyncio.Event()
        self._wakes.add(wake)
        live = False
        try:
            while True:
                wake.clear()
                recent = self._recent
                if recent and recent[0][0] <= cursor + 1 and cursor < recent[-1][0]:
                    live = True
                    first = cursor + 1 - recent[0][0]
                    rows = [recent[n] for n in range(first, min(first + CHUNK, len(recent)))]
                    cursor = rows[-1][0]
                    yield b"".join(frame for _, frame in rows)
                    continue
                behind = bool(recent) and cursor + 1 < recent[0][0]
                if live and behind:
                    self.overflows += 1
                    raise Cut
                if not live or not recent:
                    stored = await self._stored(cursor)
                    if stored:
                        cursor = stored[-1].seq
                        yield b"".join(map(self._frame, stored))
                        continue
                    live = live or not behind
                if not wake.is_set():
                    try:
                        async with asyncio.timeout(PING_S):
                            await wake.wait()
                    except TimeoutError:
                        yield b": nothing new\n\n"
        finally:
            self._wakes.discard(wake)

    async def _stored(self, cursor: int) -> list[EventRow]:
        with contextlib.suppress(StoreError):
            return list(await self._store.event_rows(self._account, cursor, CHUNK))
        return []
