"""The handle a fault is switched off, counted and waited for by, and the order in which faults get their turn."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

from exchange_kernel.testing.faults.records import FrameRecord, RequestRecord

S = TypeVar("S")


class ProxyError(RuntimeError):
    """The fault proxy cannot do what it was asked to, or failed inside; the message says what to do."""


class Ending(StrEnum):
    """How a connection ends for the one who looks at it."""

    CLOSE = "CLOSE"  # in order (FIN): end of file where an answer should be
    RESET = "RESET"  # at once (RST): "connection reset by peer"
    HANG = "HANG"  # not at all: nothing comes until the other side gives up


class Signal:
    """Wakes those who wait for something to become true."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    def notify(self) -> None:
        """Something changed: everyone who waits looks again."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until it holds."""
        while not holds():
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)


class Fault:
    """A fault that was asked for. ``hits``: how often it has acted so far."""

    def __init__(self, name: str, action: Any, matches: Callable[[Any], bool], times: int | None, skip: int) -> None:
        if times is not None and (not _whole(times) or times < 1):
            raise ValueError(f"times {times!r}: how often a fault acts is a whole number from 1, or None until cleared")
        if not _whole(skip) or skip < 0:
            raise ValueError(f"skip {skip!r}: how many matches pass untouched first is a whole number from 0")
        self.name = name
        self.action = action
        self.matches = matches
        self.hits = 0
        self._left = math.inf if times is None else times
        self._skip = skip
        self._signal = Signal()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {self.hits} hits, {self._left} left>"

    @property
    def active(self) -> bool:
        """Whether it may still take requests or frames."""
        return self._left > 0

    def clear(self) -> None:
        """Take no more requests or frames. What it has taken stays taken."""
        self._left = 0

    async def wait(self, hits: int = 1) -> None:
        """Wait until it has acted this often. A dropped answer counts once the upstream has given all of it."""
        await self._signal.until(lambda: self.hits >= hits)

    def take(self, subject: Any) -> bool:
        """Whether this one is meant; uses up one of ``times``."""
        if self._left <= 0 or not self.matches(subject):
            return False
        if self._skip:
            self._skip -= 1
            return False
        self._left -= 1
        return True

    def hit(self, *records: RequestRecord | FrameRecord) -> None:
        """It acted once, on this one or on these together."""
        for record in records:
            record.faults += (self.name,)
        self.hits += 1
        self._signal.notify()

    def changed(self) -> None:
        """Those who wait look again."""
        self._signal.notify()


class Held:
    """One request, answer or frame that is being held; ``record`` says which."""

    def __init__(self, hold: Hold, record: RequestRecord | FrameRecord) -> None:
        self.record = record
        self._hold = hold
        self._released = False

    def release(self) -> None:
        """Let it go on its way now."""
        self._released = True
        self._hold.forget(self)

    async def released(self) -> None:
        """Wait until it is released."""
        try:
            await self._hold.until(lambda: self._released)
        finally:
            self._hold.forget(self)


class Hold(Fault):
    """A fault that keeps what it takes until it is told otherwise. ``clear()`` takes no more and releases nothing."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._held: list[Held] = []

    @property
    def waiting(self) -> tuple[Held, ...]:
        """What is being held now, in the order of arrival. Release them in any order."""
        return tuple(self._held)

    def release(self) -> None:
        """Let go of everything that is being held now."""
        for held in self.waiting:
            held.release()

    def keep(self, record: RequestRecord | FrameRecord) -> Held:
        """Hold this one."""
        held = Held(self, record)
        self._held.append(held)
        self.hit(record)
        return held

    def forget(self, held: Held) -> None:
        """It is held no longer: released, or lost with its connection."""
        if held in self._held:
            self._held.remove(held)
        self.changed()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until it holds."""
        await self._signal.until(holds)


class Script(Generic[S]):
    """The faults asked for, in order. Of those with actions of the same kind, the first that still wants a request or a
    frame takes it, so that two faults asked for in a row meet two requests in a row."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Ask for a fault."""
        self._faults = [known for known in self._faults if known.active]
        self._faults.append(fault)

    def take(self, subject: S, actions: tuple[type, ...]) -> Fault | None:
        """The fault with one of these actions that is to act on this one."""
        return next(
            (fault for fault in self._faults if isinstance(fault.action, actions) and fault.take(subject)), None
        )

    def clear(self) -> None:
        """Switch every fault off."""
        for fault in self._faults:
            fault.clear()
        self._faults = []


_A_DAY: Final = 86_400


def seconds_of(seconds: float) -> float:
    """Seconds to wait, checked.

    :raises ValueError: not a number from 0 to a day.
    """
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not 0 <= seconds <= _A_DAY:  # NaN is not between
        raise ValueError(
            f"seconds {seconds!r}: a delay is a number of seconds from 0 to {_A_DAY}; to wait longer, hold"
        )
    return seconds


def _whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)
