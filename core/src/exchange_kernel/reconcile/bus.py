"""Events to subscribers: after commit, in order, each once; a slow or failing handler hurts nobody.

A subscriber is a cursor into the account's log. It reads the newest events from memory and older ones, or those another
process wrote, from the store, so nothing grows with a slow handler and a gap closes itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from exchange_kernel.clock import Clock
from exchange_kernel.errors import StoreError
from exchange_kernel.events import Event
from exchange_kernel.state.stores import IntentStateStore

Handler = Callable[[Event], Any] | Callable[[Event], Awaitable[Any]]

log = logging.getLogger("exchange_kernel.events")

RECENT = 4096
POLL_S = 0.5


class Feed(Protocol):
    """Tells what other processes committed."""

    def listen(self, account: str, listener: Callable[[Sequence[Event]], None]) -> None:
        """Call back with an account's events."""
        ...

    def unlisten(self, account: str, listener: Callable[[Sequence[Event]], None]) -> None:
        """Stop calling back."""
        ...


class Bus:
    """The event log of one account, live. ``feed``: where other processes' events come from by themselves; without it
    they are found in the store, twice a second."""

    def __init__(self, store: IntentStateStore, account: str, clock: Clock) -> None:
        self._store = store
        self._account = account
        self._clock = clock
        self._recent: deque[Event] = deque(maxlen=RECENT)
        self._tasks: dict[object, tuple[Handler, asyncio.Task[None]]] = {}
        self._wake: set[asyncio.Event] = set()
        self.feed: Feed | None = None

    @property
    def newest(self) -> int:
        """Sequence number of the newest event this process saw."""
        return self._recent[-1].seq if self._recent else 0

    def publish(self, events: Sequence[Event]) -> None:
        """The store's listener: called in commit order."""
        account, newest = self._account, self.newest
        mine = [event for event in events if event.account == account and event.seq > newest]
        if not mine:
            return
        self._recent.extend(mine)
        for wake in self._wake:
            wake.set()

    def subscribe(self, handler: Handler, after: int) -> None:
        """Call ``handler`` (sync or async) for each event after sequence number ``after``."""
        if self.feed is not None and not self._tasks:
            self.feed.listen(self._account, self.publish)
        task = asyncio.get_running_loop().create_task(self._serve(handler, after), name=f"events {self._account}")
        self._tasks[object()] = (handler, task)

    def unsubscribe(self, handler: Handler) -> None:
        """Stop calling this handler."""
        for token, (known, task) in tuple(self._tasks.items()):
            if known == handler:
                task.cancel()
                del self._tasks[token]

    async def close(self) -> None:
        """End all subscriptions."""
        if self.feed is not None:
            self.feed.unlisten(self._account, self.publish)
        tasks = [task for _, task in self._tasks.values()]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _serve(self, handler: Handler, cursor: int) -> None:
        wake = asyncio.Event()
        self._wake.add(wake)
        try:
            while True:
                wake.clear()
                for event in await self._after(cursor):
                    cursor = event.seq
                    try:
                        result = handler(event)
                        if result is not None and inspect.isawaitable(result):
                            await result
                    except asyncio.CancelledError:
                        raise
                    except Exception:
                        log.exception("event handler failed on %s %s", event.kind, event.seq)
                if self.newest <= cursor and not wake.is_set():
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(POLL_S):
                            await wake.wait()
        finally:
            self._wake.discard(wake)

    async def _after(self, cursor: int) -> Sequence[Event]:
        recent = self._recent
        if recent and recent[0].seq <= cursor + 1 <= recent[-1].seq + 1:
            # From the newest backwards: a subscriber that keeps up reads only what is new to it.
            out: list[Event] = []
            for event in reversed(recent):
                if event.seq <= cursor:
                    break
                if out and event.seq != out[-1].seq - 1:
                    out.clear()
                out.append(event)
            out.reverse()
            if out and out[0].seq == cursor + 1:
                return out
        try:
            return await self._store.events(self._account, cursor, 512)
        except StoreError:
            await self._clock.sleep(POLL_S)
            return ()
