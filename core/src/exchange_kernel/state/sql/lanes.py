"""How work reaches the database: through a thread that takes all that is pending at once, or inline, without one."""

from __future__ import annotations

import asyncio
import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from exchange_kernel.errors import CommitUnknown, StoreUnavailable
from exchange_kernel.events import Event
from exchange_kernel.state.sql.writer import Outcome, Written

MAX_BATCH = 512

Run = Callable[[Sequence[Any]], Written]
Notify = Callable[[Sequence[Event]], None]


class Lane(ABC):
    """Takes items, hands them to ``run``, and answers each with its outcome."""

    @abstractmethod
    async def do(self, item: Any) -> Any:
        """Run one item; returns its value or raises its error."""

    @abstractmethod
    async def close(self) -> None:
        """Finish what is queued."""


class Inline(Lane):
    """In the caller's thread, at once: deterministic, for simulations and tools."""

    def __init__(self, run: Run, notify: Notify) -> None:
        self._run = run
        self._notify = notify

    async def do(self, item: Any) -> Any:
        written = self._run((item,))
        if written.events:
            self._notify(written.events)
        error, value = written.outcomes[0]
        if error is not None:
            raise error
        return value

    async def close(self) -> None:
        return None


class Thread(Lane):
    """One thread. While it works on a batch the next one forms by itself: a lone caller waits for nobody, and a crowd
    shares one transaction. Items of one turn of an event loop are handed over together, and their futures are resolved
    together."""

    def __init__(self, run: Run, notify: Notify, name: str) -> None:
        self._run = run
        self._notify = notify
        self._queue: queue.SimpleQueue[list[_Waiting] | None] = queue.SimpleQueue()
        self._forming: dict[asyncio.AbstractEventLoop, list[_Waiting]] = {}
        self._open = True
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def do(self, item: Any) -> Any:
        if not self._open:
            raise StoreUnavailable("the store is closed (nothing was written): open it first")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        forming = self._forming.get(loop)
        if forming is None:
            forming = self._forming[loop] = []
            loop.call_soon(self._hand_over, loop)
        forming.append((item, loop, future))
        return await future

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        batch = self._forming.pop(loop, None)
        if batch is None:
            return
        if self._open:
            self._queue.put(batch)
            return
        for _, _, future in batch:
            if not future.done():
                future.set_exception(StoreUnavailable("the store is closed (nothing was written): open it first"))

    async def close(self) -> None:
        if self._open:
            self._hand_over(asyncio.get_running_loop())
            self._open = False
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        while True:
            batch = self._queue.get()
            if batch is None:
                return
            last = False
            while len(batch) < MAX_BATCH:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    last = True
                    break
                batch += more
            self._serve(batch)
            if last:
                return

    def _serve(self, batch: list[_Waiting]) -> None:
        try:
            written = self._run([item for item, _, _ in batch])
        except BaseException as error:  # noqa: BLE001 - a mistake of ours must not leave callers waiting for ever
            unknown = [Outcome(CommitUnknown(f"internal error of the store: {error!r}: read it back")) for _ in batch]
            written = Written(unknown, [])
        events = written.events
        answers: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Outcome]]] = {}
        for (_, loop, future), outcome in zip(batch, written.outcomes, strict=True):
            answers.setdefault(loop, []).append((future, outcome))
        for loop, those in answers.items():
            try:
                loop.call_soon_threadsafe(self._answer, those, events)
            except RuntimeError:
                continue  # that loop is closed: nobody waits there any more
            events = []

    def _answer(self, those: list[tuple[asyncio.Future[Any], Outcome]], events: Sequence[Event]) -> None:
        try:
            if events:
                self._notify(events)
        finally:
            for future, (error, value) in those:
                if future.done():
                    continue
                if error is not None:
                    future.set_exception(error)
                else:
                    future.set_result(value)


_Waiting = tuple[Any, asyncio.AbstractEventLoop, "asyncio.Future[Any]"]
