"""The other side of :mod:`plugins.evm.tests.processes.worker`: workers that die, and their chain's word."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from exchange_kernel.state import SqlIntentStore
from exchange_kernel.state.rows import Record
from exchange_kernel.state.sql.verify import verify
from exchange_kernel_evm.testing.evidence import Evidence
from tests.processes.mortal import ACCOUNT
from tests.processes.parent import Nursery, until

__all__ = ["MODULE", "Desk", "Nursery", "until"]

MODULE = "plugins.evm.tests.processes.worker"
BLOCK_S = 0.1


class Desk:
    """Workers of one account. ``mine``: makes a block; ``orders``: what all of them are told, as in the worker."""

    def __init__(
        self,
        folder: Path,
        nursery: Nursery,
        mine: Callable[[], None],
        evidence: Evidence,
        orders: Mapping[str, Any],
        plan: Sequence[Sequence[Any]],
    ) -> None:
        self.folder, self.nursery, self.evidence, self._mine = folder, nursery, evidence, mine
        self._orders = {"store": f"sqlite:///{folder}/store.db", "plan": plan, **orders}
        self._count = 0

    def said(self, number: int) -> list[str]:
        """What a worker reported."""
        path = self.folder / f"worker-{number}"
        return path.read_text().splitlines() if path.exists() else []

    async def worker(self, label: str = "", passage: int = 1, how: str = "SIGKILL", standby: bool = False) -> int:
        """Start the next one, to be killed or stopped when it passes the label for the n-th time; its pid."""
        self._count += 1
        return await self.nursery.fork(
            out=str(self.folder / f"worker-{self._count}"), label=label, passage=passage, signal=how,
            standby=standby, **self._orders,
        )  # fmt: skip

    async def killed(self, label: str, passage: int = 1) -> None:
        """The next worker dies at the label."""
        pid = await self.worker(label, passage)
        number = self._count
        await until(
            lambda: pid in self.nursery.ended, f"died at {label}; it said {self.said(number)}, see {self.folder}"
        )
        assert f"at {label}" in self.said(number), f"died elsewhere: {self.said(number)}, see {self.folder}"
        assert self.nursery.ended[pid] == -signal.SIGKILL

    async def settled(self, number: int | None = None) -> None:
        """Blocks come, and a worker (the newest) ends its plan."""
        number = number or self._count
        await until(
            lambda: "settled" in self.said(number), f"{number} settled; it said {self.said(number)}, {self.folder}"
        )

    async def raced(self, label: str, passage: int, how: str) -> None:
        """Three workers for one account: the owner is killed at the label, or stopped there and waked when another has
        taken over; all that live end the plan."""
        async with self.blocks():
            pid = await self.worker(label, passage, how, standby=True)
            await until(lambda: f"at {label}" in self.said(1) or "owns" in self.said(1), "the first one owns it")
            for _ in range(2):
                await self.worker(standby=True)
            await until(lambda: f"at {label}" in self.said(1), f"stopped; it said {self.said(1)}")
            await until(lambda: any("owns" in self.said(n) for n in (2, 3)), "another one has it")
            if how == "SIGSTOP":
                os.kill(pid, signal.SIGCONT)
                await self.settled(1)
            for number in (2, 3):
                await self.settled(number)
        await self.end()

    async def records(self) -> dict[str, Record]:
        """Everything stored, once the store is proved to be consistent."""
        store = SqlIntentStore(self._orders["store"])
        await store.open()
        try:
            row = await store.store_row()
            assert row.suspicion is None, row.suspicion
            assert (await verify(store, ACCOUNT)).differences == ()
            found = {}
            for intent, _ in await store.intents(ACCOUNT):
                record = await store.record(ACCOUNT, intent.intent_id)
                assert record is not None
                found[intent.intent_id] = record
            return found
        finally:
            await store.close()

    @asynccontextmanager
    async def blocks(self) -> AsyncIterator[None]:
        """A block every tenth of a second while the body runs."""

        async def go_on() -> None:
            while True:
                await asyncio.to_thread(self._mine)
                await asyncio.sleep(BLOCK_S)

        task = asyncio.create_task(go_on())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def end(self) -> None:
        """Kill every worker that lives."""
        for number in range(1, self._count + 1):
            pid = self.nursery.started[str(self.folder / f"worker-{number}")]
            if pid not in self.nursery.ended:
                os.kill(pid, signal.SIGKILL)
                await until(lambda pid=pid: pid in self.nursery.ended, f"{pid} ended")  # type: ignore[misc]
