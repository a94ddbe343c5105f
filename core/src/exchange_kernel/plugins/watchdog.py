"""Names what blocks the event loop: a thread that looks whether the loop still turns, and where it stands if not.

A plugin shares the loop with every other account, and nothing can take it away from one that keeps it. What can be done
is to say so while it lasts: which plugin, at which line, since when.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import FrameType

from exchange_kernel.clock import Clock
from exchange_kernel.plugins.plugin import Plugin

log = logging.getLogger("exchange_kernel.plugins")

PATIENCE_S = 1.0
"""How long the loop may not turn before that is told."""

BEAT_S = 0.2
KEPT = 20
DEEPEST = 60


@dataclass(frozen=True, slots=True)
class Blockage:
    """A time at which the event loop did not turn.

    ``plugin`` and ``distribution``: whose code it was in, "" where it was no plugin's. ``place``: the innermost line of
    that code. ``stack``: the whole stack, as Python prints it. ``since``: ms UTC. ``seconds``: how long, so far where
    it is not ``over``.
    """

    plugin: str
    distribution: str
    place: str
    stack: str
    since: int
    seconds: float
    over: bool = False

    @property
    def text(self) -> str:
        """In one line."""
        who = f"plugin {self.plugin} ({self.distribution})" if self.plugin else "code of no plugin"
        verb = "blocked" if self.over else "blocks"
        return f"{who} {verb} the event loop, for {self.seconds:.1f} s{'' if self.over else ' so far'}, at {self.place}"


class Owners:
    """Whose code a module is."""

    def __init__(self, plugins: Iterable[Plugin]) -> None:
        self._packages = {package: plugin for plugin in plugins for package in plugin.packages}

    def of(self, module: str) -> Plugin | None:
        """The plugin that a module belongs to, or None."""
        while module:
            found = self._packages.get(module)
            if found is not None:
                return found
            module = module.rpartition(".")[0]
        return None


class Watchdog:
    """Watches the loop it is started in, from a thread, until it is stopped.

    ``cpu``: seconds of processor time this process has used: it tells a process that was stopped, in which nothing
    turned, from one in which something held the interpreter and let no other thread look.
    """

    def __init__(
        self,
        plugins: Iterable[Plugin],
        clock: Clock,
        *,
        patience: float = PATIENCE_S,
        cpu: Callable[[], float] = time.process_time,
        frames: Callable[[], Mapping[int, FrameType]] = sys._current_frames,
    ) -> None:
        self._owners = Owners(plugins)
        self._clock = clock
        self._patience = patience
        self._cpu = cpu
        self._frames = frames
        self._current: Blockage | None = None
        self._past: deque[Blockage] = deque(maxlen=KEPT)
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watched = 0
        self._turned = self._began = self._looked = self._used = 0.0

    @property
    def current(self) -> Blockage | None:
        """What blocks the loop now."""
        return self._current

    @property
    def past(self) -> tuple[Blockage, ...]:
        """What blocked it before, newest last."""
        return tuple(self._past)

    def start(self) -> None:
        """Watch the running loop. Idempotent."""
        if self._thread is not None:
            return
        self.attach(asyncio.get_running_loop())
        self._stopped.clear()
        self._thread = threading.Thread(target=self._watch, name="exchange kernel watchdog", daemon=True)
        self._thread.start()

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watch this loop, whose thread calls this, without a thread: :meth:`look` is called by somebody else."""
        self._loop = loop
        self._watched = threading.get_ident()
        self._looked, self._used = self._clock.monotonic(), self._cpu()
        self._beat()

    def stop(self) -> None:
        """Watch no longer. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._loop = None
        self._stopped.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def _beat(self) -> None:
        self._turned = self._clock.monotonic()
        if self._loop is not None:
            self._timer = self._loop.call_later(BEAT_S, self._beat)

    def _watch(self) -> None:
        while not self._stopped.wait(BEAT_S):
            self.look()

    def look(self) -> None:
        """Look once: does the loop turn, and if not, what is it in?"""
        now, used = self._clock.monotonic(), self._cpu()
        gap, busy = now - self._looked, used - self._used
        self._looked, self._used = now, used
        if gap > self._patience and busy < gap / 2:
            # This thread did not run either, and nobody used the processor: the whole process was stopped, or starved.
            self._turned = now
            return
        turned, loop = self._turned, self._loop
        idle = now - turned
        if idle <= self._patience:
            self._ended(turned)
            return
        if loop is None or not loop.is_running():
            return
        found = self._current
        if found is None:
            self._began = turned
            found = self._seen(self._clock.now_ms() - int(idle * 1000), idle)
            self._current = found
            log.error("%s\n%s", found.text, found.stack)
        elif not found.plugin and (seen := self._seen(found.since, idle)).plugin:
            # The loop may have been in the core, on its way from one call of the plugin to the next.
            self._current = seen
            log.error("%s\n%s", seen.text, seen.stack)
        else:
            self._current = replace(found, seconds=idle)

    def _ended(self, turned: float) -> None:
        found = self._current
        if found is not None:
            over = replace(found, seconds=turned - self._began, over=True)
            self._past.append(over)
            self._current = None
            log.warning("the event loop turns again: %s", over.text)

    def _seen(self, since: int, idle: float) -> Blockage:
        frame = self._frames().get(self._watched)
        stack = "".join(traceback.format_stack(frame, DEEPEST)) if frame is not None else ""
        place = _line(frame)
        while frame is not None:
            owner = self._owners.of(str(frame.f_globals.get("__name__", "")))
            if owner is not None:
                return Blockage(owner.name, owner.distribution, _line(frame), stack, since, idle)
            frame = frame.f_back
        return Blockage("", "", place, stack, since, idle)


def _line(frame: FrameType | None) -> str:
    if frame is None:
        return "an unknown place"
    code = frame.f_code
    return f"{code.co_qualname} ({code.co_filename}, line {frame.f_lineno})"
