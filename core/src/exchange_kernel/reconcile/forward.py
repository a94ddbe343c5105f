"""Events sent on to where a desk wants them: in order, each at least once, from wherever the receiver says it is.

The receiver keeps the place, not the sender: after a crash of either, or a restored backup of either, what is missing
is sent again, and what is there already is known by its sequence number. Nothing waits for a sink, and no sink waits
for another.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from exchange_kernel.base import ComponentHealth
from exchange_kernel.clock import Clock
from exchange_kernel.errors import StoreError
from exchange_kernel.events import Event
from exchange_kernel.state.stores import IntentStateStore

log = logging.getLogger("exchange_kernel.events")

BATCH = 256
POLL_S = 0.5
PATIENCE_S = 30.0
FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 30.0


@runtime_checkable
class EventSink(Protocol):
    """Where events are sent. What it raises is told and tried again, for as long as the process runs."""

    async def position(self, account: str) -> int:
        """Sequence number of the newest event of this account that is kept here for good; 0: none."""
        ...

    async def write(self, account: str, events: Sequence[Event]) -> None:
        """Keep these, in this order; returns when they are kept. Some may be here already: (account, ``seq``) tells."""
        ...

    async def close(self) -> None:
        """Nothing more comes."""
        ...


class Forwarder:
    """One account's events on their way to one sink, while ``owns()``: only one process sends at a time."""

    def __init__(
        self, name: str, sink: EventSink, account: str, store: IntentStateStore, clock: Clock, owns: Callable[[], bool]
    ) -> None:
        self.name, self._sink, self._account = name, sink, account
        self._store, self._clock, self._owns = store, clock, owns
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.health = ComponentHealth(True)

    def start(self) -> None:
        """Begin sending."""
        self._store.listen(self._heard)
        self._task = asyncio.create_task(self._run(), name=f"sink {self.name} {self._account}")

    async def stop(self) -> None:
        """Stop sending; what was not sent is sent by whoever owns the account next."""
        task, self._task = self._task, None
        if task is None:
            return
        self._store.unlisten(self._heard)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    def _heard(self, events: Sequence[Event]) -> None:
        if any(event.account == self._account for event in events):
            self._wake.set()

    async def _run(self) -> None:
        wait = FIRST_RETRY_S
        while True:
            try:
                await self._send()
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin's sink: whatever it raises is told
                text = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                if self.health.healthy:
                    log.warning("sink %s: events of %s cannot be sent: %s", self.name, self._account, text)
                    self.health = ComponentHealth(False, text, self._clock.now_ms())
                await self._clock.sleep(wait)
                wait = min(2 * wait, LONGEST_RETRY_S)
            else:
                wait = FIRST_RETRY_S

    async def _send(self) -> None:
        """Send what is there, and go on as it comes; returns when the account is another's, or nothing came."""
        if not self._owns():
            await self._clock.sleep(POLL_S)
            return
        async with asyncio.timeout(PATIENCE_S):
            cursor = await self._sink.position(self._account)
        row = await self._store.account_row(self._account)
        newest = 0 if row is None else row.event_seq
        if type(cursor) is not int or not 0 <= cursor <= newest:
            raise StoreError(
                f"it says that it has event {cursor!r} of {self._account}, and the newest there is {newest}: "
                "it belongs to another store, or this one lost events"
            )
        while self._owns():
            self._wake.clear()
            events = await self._store.events(self._account, cursor, BATCH)
            if events:
                async with asyncio.timeout(PATIENCE_S):
                    await self._sink.write(self._account, events)
                cursor = events[-1].seq
            if not self.health.healthy:
                log.warning("sink %s: events of %s are sent again", self.name, self._account)
                self.health = ComponentHealth(True, since=self._clock.now_ms())
            if len(events) < BATCH and not self._wake.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        await self._wake.wait()
