"""The work queue of one account on Redis or Valkey: marks of every process reach the one that owns the account.

The same promises as in memory (see ``queue.py``). What one process does at once goes to the server together, in one
round trip (``step``): ends, marks, and the next claim. Marks are hints: with the server gone they are dropped, and the
sweep finds in SQL what they would have told (R34, S13).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from exchange_kernel.clock import Clock
from exchange_kernel.reconcile.queue import MemoryQueue, Priority
from exchange_kernel.reconcile.redis_scripts import MARK, PARTS, STEP
from exchange_kernel.state.redis import LinkDown, RedisLink

__all__ = ["FrontedQueue", "Marks", "RedisQueue", "Wakes"]

CLAIM_MS: Final = 30_000
"""How long a claim holds whose holder says nothing more, in ms."""
POLL_S: Final = 1.0
"""How often an account is looked at though nobody called, for a call may have been lost."""
PAUSE_S: Final = 0.2
BATCH: Final = 500


def wake_list(worker: str) -> str:
    """Where a worker is called. One list a worker, for a command that waits reads one slot only."""
    return f"exk:{{w:{worker}}}:wake"


class Wakes:
    """The calls to one worker: which of its accounts something was marked for."""

    def __init__(self, link: RedisLink, worker: str) -> None:
        self.link, self.worker = link, worker
        self._events: dict[str, asyncio.Event] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen. Idempotent."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._listen(), name=f"wakes of {self.worker}")
            self.link.on_lost(self._all)

    async def stop(self) -> None:
        """Stop listening. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            self.link.off_lost(self._all)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def of(self, account: str) -> asyncio.Event:
        """Set when something was marked for an account."""
        return self._events.setdefault(account, asyncio.Event())

    def _all(self) -> None:
        for event in self._events.values():
            event.set()

    async def _listen(self) -> None:
        name = wake_list(self.worker)
        while True:
            try:
                found = await self.link.block("BLPOP", name, POLL_S, patience=POLL_S)
                if found is None:
                    continue
            except LinkDown:
                await asyncio.sleep(PAUSE_S)
                continue
            event = self._events.get(found[1])
            if event is not None:
                event.set()


class Marks:
    """Marks for accounts that other processes own: sent together, once a turn of the event loop; never waited for."""

    def __init__(self, link: RedisLink, now_ms: Callable[[], int] | None = None) -> None:
        self._link = link
        self._now = now_ms
        self._pending: dict[str, list[Any]] = {}
        self._task: asyncio.Task[None] | None = None
        self.lost = 0

    def mark(self, account: str, key: str, priority: Priority, delay: float = 0.0) -> None:
        """Look at this key after ``delay`` seconds."""
        self._pending.setdefault(account, []).extend((key, int(priority), int(delay * 1000)))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._send(), name="marks")

    async def flush(self) -> None:
        """Returns when what was marked is sent, or lost."""
        while self._task is not None and not self._task.done():
            await asyncio.wait((self._task,))

    async def _send(self) -> None:
        await asyncio.sleep(0)
        while self._pending:
            pending, self._pending = self._pending, {}
            await asyncio.gather(*(self._of(account, marks) for account, marks in pending.items()))

    async def _of(self, account: str, marks: list[Any]) -> None:
        names, now = keys_of(account), -1 if self._now is None else self._now()
        for start in range(0, len(marks), 3 * BATCH):
            part = marks[start : start + 3 * BATCH]
            try:
                # In a cluster a script reaches the keys of its own slot only: a call of its own follows then.
                direct = "" if self._link.cluster else account
                worker = await self._link.call(MARK, names, (now, direct, *part))
                if worker:
                    await self._link.run("RPUSH", wake_list(worker), account)
            except LinkDown:
                self.lost += len(part) // 3


class RedisQueue:
    """The queue of one account, for whoever owns it: ``epoch`` fences former owners, who get nothing more.

    ``wake``: set by whoever hears the calls. ``now_ms``: instead of the server's clock, for tests."""

    def __init__(
        self,
        link: RedisLink,
        account: str,
        worker: str,
        epoch: int,
        *,
        wake: asyncio.Event | None = None,
        now_ms: Callable[[], int] | None = None,
        claim_ms: int = CLAIM_MS,
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        self.account, self.worker, self.epoch = account, worker, epoch
        self.fenced = False
        self._link = link
        self._names = keys_of(account)
        self._now = now_ms
        self._claim_ms = claim_ms
        self._on_lost = on_lost
        self._wake = wake or asyncio.Event()
        self._marks: list[Any] = []
        self._forgotten: list[str] = []
        self._ended: list[Any] = []
        self._running: dict[str, str] = {}
        self._flusher: asyncio.Task[None] | None = None
        self._stepping = asyncio.Lock()
        self._stepped = False
        self._urgency: dict[str, Priority] = {}
        self.heard: Callable[[str, Priority], None] = self.mark

    def mark(self, key: str, priority: Priority = Priority.REFRESH, delay: float = 0.0) -> None:
        """See :class:`WorkQueue`."""
        self._marks += (key, int(priority), int(delay * 1000))
        self._soon()

    def forget(self, key: str) -> None:
        """See :class:`WorkQueue`."""
        marks = self._marks
        self._marks = [
            each
            for n in range(0, len(marks), 3)
            if marks[n] != key or key in self._running
            for each in marks[n : n + 3]
        ]
        self._forgotten.append(key)
        self._soon()

    def pending(self, key: str) -> bool:
        """Is it being handled here, or just marked here?"""
        return key in self._running or key in self._marks[::3]

    async def claim(self, limit: int) -> Sequence[str]:
        """See :class:`WorkQueue`. While the server is gone it waits for it."""
        while True:
            self._wake.clear()
            wait: float = PAUSE_S
            with contextlib.suppress(LinkDown):
                keys, wait = await self.step(limit)
                if keys:
                    return keys
            try:
                async with asyncio.timeout(min(wait, POLL_S)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def done(self, key: str, again: float | None = None) -> None:
        """See :class:`WorkQueue`."""
        claim = self._running.pop(key, "")
        self._urgency.pop(key, None)
        self._ended += (key, claim, -1 if again is None else int(again * 1000))
        self._soon()

    async def begin(self, epoch: int, lost: Callable[[], None]) -> None:
        """See :class:`WorkQueue`."""
        self.epoch, self._on_lost, self.fenced = epoch, lost, False

    async def end(self) -> None:
        """See :class:`WorkQueue`."""
        with contextlib.suppress(LinkDown):
            await self.flush()
        if self._flusher is not None:
            await asyncio.wait((self._flusher,))

    @property
    def linked(self) -> bool:
        """See :class:`WorkQueue`."""
        return self._link.healthy and not self.fenced

    def urgency(self, key: str) -> Priority:
        """How urgent a claimed key is."""
        return self._urgency.get(key, Priority.SUBMIT)

    async def size(self) -> int:
        """How many keys wait or are in hand. Raises LinkDown."""
        await self.flush()
        waiting = await self._link.run("HLEN", self._names[4])
        return int(waiting) + int(await self._link.run("ZCARD", self._names[5]))

    async def flush(self) -> None:
        """Send what was marked, ended and forgotten here. Raises LinkDown."""
        while self._marks or self._ended or self._forgotten:
            await self.step(0)

    async def step(self, limit: int) -> tuple[list[str], float]:
        """One round trip: tell what ended and was marked, claim up to ``limit`` keys. Returns them, most urgent first,
        and the seconds until more is due. Raises LinkDown; what was told is lost then, as hints may be."""
        async with self._stepping:
            if self.fenced:
                raise LinkDown(f"another process owns {self.account}")
            marks, self._marks = self._marks[: 3 * BATCH], self._marks[3 * BATCH :]
            forgotten, self._forgotten = self._forgotten[:BATCH], self._forgotten[BATCH:]
            ended, self._ended = self._ended[: 3 * BATCH], self._ended[3 * BATCH :]
            if self._marks or self._ended or self._forgotten:
                limit = 0
            now = -1 if self._now is None else self._now()
            arguments = (
                now,
                self.epoch,
                self.worker,
                self._claim_ms,
                min(limit, BATCH),
                len(ended) // 3,
                *ended,
                len(forgotten),
                *forgotten,
                *marks,
            )
            try:
                known, wait, claim, *found = await self._link.call(STEP, self._names, arguments)
            except LinkDown as error:
                self.fenced = str(error).startswith("FENCED")
                raise
            if not known and self._stepped and self._on_lost is not None:
                self._on_lost()
            self._stepped = True
            keys: list[str] = []
            for key, priority in zip(found[::2], found[1::2], strict=True):
                if key in self._running:
                    # Its claim ran out while it is still in hand here: one run more, afterwards.
                    self._running[key] = claim
                    self._marks += (key, priority, 0)
                    continue
                self._running[key] = claim
                self._urgency[key] = Priority(priority)
                keys.append(key)
            if self._marks or self._ended or self._forgotten:
                wait = 0
            return keys, POLL_S if wait < 0 else wait / 1000

    def _soon(self) -> None:
        """Whoever waits in a claim takes it along; where nobody does, it is sent by itself."""
        self._wake.set()
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.get_running_loop().create_task(self._flush(), name=f"queue of {self.account}")

    async def _flush(self) -> None:
        await asyncio.sleep(0)
        with contextlib.suppress(LinkDown):
            await self.flush()


class FrontedQueue(MemoryQueue):
    """The queue of an account's owner: its own marks stay in this process, those of others come from Redis.

    A key that came from there is given back when its run here has ended: whoever owns the account next finds it again
    if this process does not get so far. ``heard``: called with a key that somebody else marked; it must mark it here.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.behind: RedisQueue | None = None
        self.heard: Callable[[str, Priority], None] = self.mark
        self._held: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def take_in(self, behind: RedisQueue) -> None:
        """Begin to take in what others marked."""
        self.behind = behind
        self._task = asyncio.get_running_loop().create_task(self._take_in(behind), name=f"marks for {behind.account}")

    async def end(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def done(self, key: str, again: float | None = None) -> None:
        super().done(key, again)
        if self.behind is not None and key in self._held and not self.pending(key):
            self._held.discard(key)
            self.behind.done(key)

    async def _take_in(self, behind: RedisQueue) -> None:
        while not behind.fenced:
            for key in await behind.claim(BATCH):
                self._held.add(key)
                self.heard(key, behind.urgency(key))


def keys_of(account: str) -> tuple[str, ...]:
    """The keys of an account's queue."""
    return tuple(f"exk:{{{account}}}:{part}" for part in PARTS)
