"""What every trading process has that is to be killed, or stopped, at a labelled point of its work."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from exchange_kernel.errors import CommitUnknown, IntentFinished, StoreUnavailable
from exchange_kernel.kernel import Kernel
from exchange_kernel.reconcile.session import Settings
from exchange_kernel.state import SqlIntentStore
from tests.processes.boundary import StoreBoundary

ACCOUNT = "main"
SETTINGS = Settings(
    lease_ms=1_000,
    snapshot_every=1.0,
    sweep_every=0.1,
    first_look=0.1,
    backoff=0.1,
    max_backoff=0.5,
    submit_timeout=3.0,
    read_timeout=3.0,
)


class Mortal:
    """One process. ``orders``: ``out``, where to report; ``store``; and where to stop: ``label``, the ``passage`` of it
    that counts, ``signal``."""

    kernel: Kernel

    def __init__(self, orders: dict[str, Any]) -> None:
        self._orders = orders
        self._passed: Counter[str] = Counter()
        self._out = os.open(orders["out"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._going = asyncio.Event()
        self._going.set()
        self._store = StoreBoundary(SqlIntentStore(orders["store"]), self._touch)

    def say(self, line: str) -> None:
        """One line of the report."""
        os.write(self._out, f"{line}\n".encode())

    async def _touch(self, label: str, subject: Any) -> None:
        await self._going.wait()
        self._passed[label] += 1
        if label != self._orders["label"] or self._passed[label] != self._orders["passage"]:
            return
        if self._orders["signal"] == "SIGSTOP":
            # Stopped within a transaction it would keep SQLite's only write lock from everybody, its successor
            # included.
            self._going.clear()
            while self._store.writing:
                await asyncio.sleep(0)
        self.say(f"at {label}")
        os.kill(os.getpid(), signal.Signals[self._orders["signal"]])
        self._going.set()

    async def _own(self) -> None:
        """Say when the account is ours."""
        while not (session := self.kernel._session) or not session.epoch:
            await asyncio.sleep(0.02)
        self.say("owns")

    @staticmethod
    async def _insist(call: Callable[[], Awaitable[Any]]) -> None:
        """Until the store has answered; that it is over already is an answer."""
        while True:
            try:
                await call()
            except (StoreUnavailable, CommitUnknown):
                continue
            except IntentFinished:
                pass
            return
