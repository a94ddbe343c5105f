"""One connection of a stream: read by one task, watched by another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from exchange_kernel.clock import Clock
from exchange_kernel_ccxt.stream_link import Broken, Event, Leaving, Link, Patience, Told

_BREATH = 64
"""Frames that were there already and are read before others may go on."""
_TICK_S = 0.001
"""Times are not compared more closely: sums of fractions may come out a little short."""


class Line:
    """``over``: done when the connection has ended, with the reason. ``due``: done when another has to take over.

    ``opened`` and ``heard`` (its last frame) are seconds of the clock, ``heard_ms`` is local ms UTC;
    ``frames`` counts them.
    """

    def __init__(self, link: Link, clock: Clock, patience: Patience, hear: Callable[[Event], None]) -> None:
        loop = asyncio.get_running_loop()
        self.over: asyncio.Future[str] = loop.create_future()
        self.due: asyncio.Future[str] = loop.create_future()
        self.opened = self.heard = clock.monotonic()
        self.heard_ms = clock.now_ms()
        self.frames = 0
        self._link, self._clock, self._patience, self._hear = link, clock, patience, hear
        self._tasks = [loop.create_task(self._read()), loop.create_task(self._watch())]

    async def probe(self) -> None:
        """Ask for a sign of life; a connection that cannot even be asked has ended."""
        try:
            await self._link.probe()
        except (Broken, OSError) as error:
            self._end(f"{error}" or type(error).__name__)

    async def close(self) -> None:
        """End both tasks and the connection. Idempotent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        if self.over.done():
            self.over.exception()  # whoever closes it wants to hear no more of it
        else:
            self.over.cancel()
        self.due.cancel()
        await self._link.close()

    def _end(self, why: str) -> None:
        if not self.over.done():
            self.over.set_result(why)

    async def _read(self) -> None:
        try:
            while True:
                frame = await self._link.receive()
                self.heard, self.heard_ms = self._clock.monotonic(), self._clock.now_ms()
                if isinstance(frame, Told):
                    self._hear(frame.event)
                elif isinstance(frame, Leaving) and not self.due.done():
                    self.due.set_result(frame.why)
                self.frames += 1
                if self.frames % _BREATH == 0:
                    await asyncio.sleep(0)
        except (Broken, OSError) as error:
            self._end(f"{error}" or type(error).__name__)
        except Exception as error:  # noqa: BLE001 - whoever waits for the line's end raises it
            if not self.over.done():
                self.over.set_exception(error)

    async def _watch(self) -> None:
        """Notice silence and age."""
        patience = self._patience
        lasts = patience.life_s if self._link.lasts_s is None else min(patience.life_s, self._link.lasts_s)
        asked = -1.0
        while not self.over.done():
            now = self._clock.monotonic()
            if now - self.heard >= patience.silence_s:
                self._end(f"silent for {patience.silence_s:g} s")
                return
            if now - self.opened >= lasts and not self.due.done():
                self.due.set_result(f"{lasts:g} s old")
            if now - self.heard >= patience.probe_s and asked < self.heard:
                asked = self.heard
                await self._bounded_probe()
                continue
            marks = [self.heard + patience.silence_s]
            if asked < self.heard:
                marks.append(self.heard + patience.probe_s)
            if not self.due.done():
                marks.append(self.opened + lasts)
            await self._clock.sleep(max(_TICK_S, min(marks) - now))

    async def _bounded_probe(self) -> None:
        """A connection that takes no more bytes must not keep its watch waiting."""
        asking = asyncio.ensure_future(self.probe())
        timer = asyncio.ensure_future(self._clock.sleep(self._patience.probe_s))
        try:
            await asyncio.wait({asking, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asking.cancel()
            timer.cancel()
            await asyncio.wait({asking, timer})
