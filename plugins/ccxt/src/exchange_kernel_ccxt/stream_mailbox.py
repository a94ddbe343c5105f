"""What waits between a stream and its consumer: bounded, and honest about what did not fit."""

from __future__ import annotations

import asyncio
from collections import deque

from exchange_kernel.venue import Ms
from exchange_kernel_ccxt.stream_link import Gap, Live, Message

Item = Message | Gap | Live


class Mailbox:
    """Takes items without waiting. Once ``limit`` of them wait nothing more is taken, until all are fetched; then a
    ``Gap`` says so."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: deque[Item] = deque()
        self._filled = asyncio.Event()
        self._lost_since: Ms | None = None
        self._live: Live | None = None
        self._merged: Ms | None = None
        self._over = False
        self._error: BaseException | None = None

    def put(self, message: Message) -> None:
        """A message; lost, and told to be lost, where there is no room."""
        if self._lost_since is None and len(self._items) < self._limit:
            self._items.append(message)
        elif self._lost_since is None:
            self._lost_since = message.at
        self._filled.set()

    def mark(self, marker: Gap | Live) -> None:
        """A marker always has room: markers that follow each other say the same as two."""
        if isinstance(marker, Live):
            if self._merged is not None:
                marker, self._merged = Live(min(self._merged, marker.since), marker.at), None
            self._live = marker
        else:
            self._live = None
        if self._lost_since is not None:
            return
        tail = self._items[-1] if self._items else None
        if isinstance(marker, Gap) and isinstance(tail, Live) and len(self._items) > 1:
            if isinstance(self._items[-2], Gap):
                self._items.pop()
                self._merged = tail.since  # the next one ends this gap, too
                return
        elif isinstance(marker, Gap) and isinstance(tail, Gap):
            return
        self._items.append(marker)
        self._filled.set()

    async def get(self) -> Item | None:
        """The next item; None when the stream has ended. Raises what ended it."""
        while True:
            if self._items:
                return self._items.popleft()
            if self._lost_since is not None:
                return self._confess()
            if self._error is not None:
                raise self._error
            if self._over:
                return None
            self._filled.clear()
            await self._filled.wait()

    def _confess(self) -> Gap:
        since, self._lost_since = self._lost_since, None
        assert since is not None
        if self._live is not None:
            self._items.append(Live(min(since, self._live.since), max(since, self._live.at)))
        return Gap(since, f"more than {self._limit} events waited to be taken")

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more will come; ``error``: why."""
        self._over, self._error = True, self._error or error
        self._filled.set()
