"""Words of a stream: what a connection tells, what a consumer gets, and what a venue must say of its events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from exchange_kernel.value import Value
from exchange_kernel.venue import Ms

Event = Mapping[str, Any]
"""An event as the venue wrote it, decoded: numbers are text, ``int`` or ``Decimal``, never ``float``."""


class Message(Value, frozen=True):
    """One event. ``at``: when it was received, local ms UTC. ``late``: what it says of its order's state has been
    overtaken; the execution in it still counts."""

    event: Event
    at: Ms
    late: bool = False


class Gap(Value, frozen=True):
    """Events received after ``since`` (local ms UTC) may be missing, and until the next :class:`Live` more will be."""

    since: Ms
    why: str


class Live(Value, frozen=True):
    """From ``at`` (local ms UTC) on nothing is missing; what came after ``since`` may be: take a snapshot now."""

    since: Ms
    at: Ms


class Told(Value, frozen=True):
    """A frame with an event."""

    event: Event


class Alive(Value, frozen=True):
    """A frame that says no more than that the connection stands, and its subscription with it."""


class Leaving(Value, frozen=True):
    """A frame by which the venue announces that it will end this connection: another has to take over."""

    why: str


Frame = Told | Alive | Leaving


class Broken(ConnectionError):
    """The connection, or its subscription, has ended; or there was none to be had. The text says why."""


class Link(Protocol):
    """One connection that is subscribed already."""

    @property
    def lasts_s(self) -> float | None:
        """For how many seconds at most it tells everything; None: as long as any connection of this venue."""
        ...

    async def receive(self) -> Frame:
        """The next frame. Raises Broken once there are no more."""
        ...

    async def probe(self) -> None:
        """Ask for a frame, best one that only a living subscription answers. Raises Broken."""
        ...

    async def close(self) -> None:
        """End it. Idempotent."""
        ...


Dial = Callable[[], Awaitable[Link]]
"""Connects and subscribes. Raises Broken or Unavailable (tried again), RateLimited (tried again then), and what trying
again cannot cure: NotAuthorized."""


class Sieve(Protocol):
    """What a venue's events say about each other. Without I/O; KeyError, ValueError, TypeError and ArithmeticError mean
    that an event cannot be read."""

    def identity(self, event: Event) -> Hashable | None:
        """Equal for an event and its copies, also over another connection; None: it has none."""
        ...

    def place(self, event: Event) -> bool | None:
        """Take an event in. False: it is in order; True: it is late; None: it says nothing new, and is absorbed."""
        ...

    def lacking(self, event: Event) -> str:
        """What must be missing, judged by the newest events of this one's order; "": nothing."""
        ...

    def forgive(self) -> None:
        """A gap was told and is over: what is missing by now is known to be."""
        ...


@dataclass(frozen=True, slots=True)
class Patience:
    """Times of a stream, in seconds, and sizes.

    ``connect_s``: to connect and subscribe. ``probe_s``: without a frame for so long, ask for one. ``silence_s``:
    without one for so long the connection is stalled. ``life_s``: so old, a second one takes over; ``overlap_s``: for
    so long both are heard. ``settle_s``: for so long a missing event may still come. ``backoff_s``: first and longest
    pause between attempts. ``queue``: messages that may wait for the consumer. ``memory``: events remembered to know
    their copies.
    """

    connect_s: float = 10
    probe_s: float = 15
    silence_s: float = 40
    life_s: float = 23 * 3600
    overlap_s: float = 5
    settle_s: float = 1
    backoff_s: tuple[float, float] = (0.5, 60)
    queue: int = 10_000
    memory: int = 20_000
