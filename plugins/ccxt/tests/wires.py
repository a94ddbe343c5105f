"""Connections that a test feeds by hand, a stream over them in virtual time, and what its consumer got."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping
from random import Random
from typing import Any

from exchange_kernel.testing.virtual import VirtualClock, run_virtual
from exchange_kernel_ccxt.stream import Stream
from exchange_kernel_ccxt.stream_link import Alive, Frame, Gap, Live, Message, Patience, Told

START = 1_700_000_000_000
QUICK = Patience(life_s=3600, queue=100)


class Wire:
    """A connection of the test's: frames are put into it, and it answers probes while it is ``awake``."""

    def __init__(self, lasts_s: float | None = None) -> None:
        self.frames: asyncio.Queue[Frame | Exception] = asyncio.Queue()
        self.awake = True
        self.lasts_s = lasts_s
        self.closed = 0

    async def receive(self) -> Frame:
        frame = await self.frames.get()
        if isinstance(frame, Exception):
            raise frame
        return frame

    async def probe(self) -> None:
        if self.awake:
            self.frames.put_nowait(Alive())

    async def close(self) -> None:
        self.closed += 1

    def tell(self, *numbers: int) -> None:
        for number in numbers:
            self.frames.put_nowait(Told({"n": number}))


class Numbered:
    """Events are numbers; each that is one more than the last leaves nothing out, a smaller one is late."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.first: int | None = None

    def identity(self, event: Mapping[str, Any]) -> Hashable:
        return event["n"]

    def place(self, event: Mapping[str, Any]) -> bool | None:
        late = bool(self.seen) and event["n"] < max(self.seen)
        self.seen.add(event["n"])
        self.first = event["n"] if self.first is None else min(self.first, event["n"])
        return late

    def lacking(self, event: Mapping[str, Any]) -> str:
        missing = [each for each in range(self.first or 0, max(self.seen, default=0)) if each not in self.seen]
        return f"{missing} missing" if missing else ""

    def forgive(self) -> None:
        self.seen, self.first = set(), None


class Venue:
    """Hands out connections and remembers them; ``refuse`` makes attempts fail."""

    def __init__(self, lasts_s: float | None = None) -> None:
        self.wires: list[Wire] = []
        self.refuse: list[Exception] = []
        self.attempts: list[float] = []
        self.lasts_s = lasts_s
        self.hangs = 0

    async def dial(self) -> Wire:
        self.attempts.append(asyncio.get_running_loop().time())
        if self.hangs:
            self.hangs -= 1
            await asyncio.Event().wait()
        if self.refuse:
            raise self.refuse.pop(0)
        self.wires.append(Wire(self.lasts_s))
        return self.wires[-1]


class Scene:
    """A stream, its venue, and everything that it has told so far."""

    def __init__(self, loop: asyncio.AbstractEventLoop, patience: Patience, venue: Venue) -> None:
        self.clock = VirtualClock(loop)
        self.venue = venue
        self.stream = Stream(venue.dial, Numbered(), self.clock, patience, Random(1))
        self.told: list[Any] = []
        self.error: BaseException | None = None

    async def consume(self) -> None:
        async for item in self.stream.events():
            self.told.append(item)

    @property
    def numbers(self) -> list[int]:
        return [item.event["n"] for item in self.told if isinstance(item, Message)]

    @property
    def shape(self) -> str:
        """G, L and m for each item."""
        return "".join({Gap: "G", Live: "L", Message: "m"}[type(item)] for item in self.told)


def play(
    scene: Callable[[Scene], Awaitable[None]], patience: Patience = QUICK, venue: Venue | None = None, seed: int = 0
) -> Scene:
    """Play the scene while somebody consumes; afterwards nothing is left open or running."""

    async def body(loop: asyncio.AbstractEventLoop) -> Scene:
        made = Scene(loop, patience, venue or Venue())
        consumer = asyncio.create_task(made.consume())
        try:
            await scene(made)
        finally:
            await made.stream.close()
            await asyncio.wait({consumer})
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert [wire.closed for wire in made.venue.wires] == [1] * len(made.venue.wires)
        made.error = consumer.exception()
        return made

    return run_virtual(body, Random(seed))
