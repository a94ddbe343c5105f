"""Imports adapters beside the event loop: an import that takes long, or never ends, holds up only its own account."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import traceback

from exchange_kernel.plugins.interrogate import PluginFault
from exchange_kernel.plugins.loader import InstalledPart, InstalledVenue, resolve

PATIENCE_S = 10.0
"""How long an account waits for the import of its adapter before it is told, and tried again later."""


class Imports:
    """The imports that are under way, so that asking again does not begin another."""

    def __init__(self) -> None:
        self._running: dict[str, _Import] = {}

    async def wait(self, venue: InstalledVenue | InstalledPart, patience: float = PATIENCE_S) -> None:
        """Wait until the module of a venue's adapter, or of another part of a plugin, is imported, well or not.

        Raises TimeoutError that says where the import stands; it goes on, and may be waited for again."""
        module = venue.spec.factory.partition(":")[0]
        running = self._running.get(module)
        if running is None and module in sys.modules:
            return
        if running is None:
            running = self._running[module] = _Import(venue.spec.factory)
        try:
            async with asyncio.timeout(patience):
                await running.ended()
        except TimeoutError:
            what = "the adapter" if isinstance(venue, InstalledVenue) else venue.spec.name
            rule = f"{what} of {venue.plugin.distribution} is still being imported after {patience:g} s"
            raise TimeoutError(f"{rule}{running.place()}") from None
        self._running.pop(module, None)


class _Import:
    """One import, in a thread that dies with the process."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._over = False
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name=f"import {target}", daemon=True)
        self._thread.start()

    async def ended(self) -> None:
        wake = asyncio.Event()
        with self._lock:
            if self._over:
                return
            self._waiting.append((asyncio.get_running_loop(), wake))
        await wake.wait()

    def place(self) -> str:
        """Where it stands now."""
        frame = sys._current_frames().get(self._thread.ident or 0)
        places = [] if frame is None else traceback.extract_stack(frame)
        for each in reversed(places):
            if not each.filename.startswith("<frozen"):
                return f" (in {each.name}, {each.filename}, line {each.lineno})"
        return ""

    def _work(self) -> None:
        # What goes wrong is met, and told, by whoever makes the adapter: it imports again.
        with contextlib.suppress(PluginFault, KeyboardInterrupt):
            resolve(self._target)
        with self._lock:
            self._over = True
            waiting, self._waiting = self._waiting, []
        for loop, wake in waiting:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(wake.set)
