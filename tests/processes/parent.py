"""The other side of :mod:`tests.processes.child`: starts the venue and the traders, kills, restarts, and asks the
venue."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from exchange_kernel.reconcile.session import make_key
from exchange_kernel.state import SqlIntentStore
from exchange_kernel.state.sql.verify import verify
from exchange_kernel_paper.tcp import Control
from exchange_kernel_paper.translate import client_id
from tests.processes.child import PLACED, WANTED
from tests.processes.mortal import ACCOUNT

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 90.0
VENUE = {
    "settings": {"window_ms": 2_000, "maker_fee": "0", "taker_fee": "0"},
    "accounts": {ACCOUNT: {"secret": "s3cret", "balances": {"USD": "10000000", "BTC": "10"}}},
    "house": False,
}
ASKS = [("50005", "0.3"), ("50010", "1.2"), ("50400", "5")]
STATUSES = {
    "rests": {"WORKING"},
    "trades": {"FILLED"},
    "partly": {"PARTIALLY_FILLED"},
    "at-once": {"FILLED"},
    "changed": {"WORKING"},
    "cancelled": {"CANCELED"},
}
"""Where each intent must end, whatever happens."""


async def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait until another process has done something; what the condition said."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not (found := condition()):
                await asyncio.sleep(0.02)
            return found
    except TimeoutError:
        raise AssertionError(f"not within {PATIENCE_S} s: {what}") from None


class Nursery:
    """Forks traders, and knows what became of them."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.started: dict[str, int] = {}
        self.stopped: set[int] = set()
        self.ended: dict[int, int] = {}
        self._task = asyncio.create_task(self._read())

    @classmethod
    @asynccontextmanager
    async def open(cls, module: str = "tests.processes.child") -> AsyncIterator[Nursery]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, cwd=ROOT, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        nursery = cls(process)
        try:
            yield nursery
        finally:
            assert process.stdin is not None
            process.stdin.close()
            for pid in nursery.started.values():
                if pid not in nursery.ended:
                    os.kill(pid, signal.SIGKILL)
            await process.wait()
            await nursery._task

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            message = json.loads(line)
            if "started" in message:
                self.started[message["for"]] = message["started"]
            elif "stopped" in message:
                self.stopped.add(message["stopped"])
            else:
                self.ended[message["ended"]] = message["code"]

    async def fork(self, **orders: Any) -> int:
        """A new trader; its pid."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(orders).encode() + b"\n")
        out = orders["out"]
        pid: int = await until(lambda: self.started.get(out), f"{out} started")
        return pid


@asynccontextmanager
async def venue(state: Path) -> AsyncIterator[tuple[int, Control]]:
    """A paper exchange that is a process of its own; its port and its test side."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "exchange_kernel_paper.server", "--config", "-", "--state", str(state),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(VENUE).encode())
        process.stdin.close()
        port = json.loads(await process.stdout.readline())["port"]
        control = Control("127.0.0.1", port)
        try:
            await control.do("set_ladder", "BTC/USD", [], ASKS)
            yield port, control
        finally:
            await control.close()
    finally:
        process.kill()
        await process.wait()


class Trial:
    """One trader, or two, on one account: something happens to the first, and then everything must come right."""

    def __init__(self, folder: Path, store: str, nursery: Nursery, port: int, control: Control) -> None:
        self.folder, self.store, self.nursery, self.port, self.control = folder, store, nursery, port, control
        self._count = 0

    def said(self, number: int) -> list[str]:
        """What a trader reported."""
        path = self.folder / f"trader-{number}"
        return path.read_text().splitlines() if path.exists() else []

    async def trader(self, label: str = "", passage: int = 1, how: str = "SIGKILL", standby: bool = False) -> int:
        """Start the next trader, to be killed or stopped when it passes the label for the n-th time; its pid."""
        self._count += 1
        return await self.nursery.fork(
            out=str(self.folder / f"trader-{self._count}"), store=self.store, port=self.port, label=label,
            passage=passage, signal=how, standby=standby,
        )  # fmt: skip

    def settled(self, number: int) -> dict[str, Any] | None:
        """Its final report."""
        for line in self.said(number):
            if line.startswith("settled "):
                report: dict[str, Any] = json.loads(line.removeprefix("settled "))
                return report
        return None

    async def wait_settled(self, number: int) -> dict[str, Any]:
        """Wait for its final report."""
        report: dict[str, Any] = await until(
            lambda: self.settled(number), f"trader {number} settled; it said {self.said(number)}, see {self.folder}"
        )
        return report

    async def killed(self, label: str, passage: int) -> None:
        """A trader dies at the label; the next one finishes its work."""
        pid = await self.trader(label, passage)
        await until(
            lambda: pid in self.nursery.ended,
            f"died at passage {passage} of {label}; it said {self.said(1)}, see {self.folder}",
        )
        assert f"at {label}" in self.said(1), f"died elsewhere: {self.said(1)}, see {self.folder}"
        await until(lambda: self.nursery.ended.get(pid) == -signal.SIGKILL, "died by SIGKILL")
        await self.trader()
        await self.judge(await self.wait_settled(2), (1, 2))

    async def stopped(self, label: str, passage: int, early: bool) -> None:
        """A trader stops at the label until another has taken its account over (``early``), or has finished its
        work."""
        pid = await self.trader(label, passage, "SIGSTOP")
        await until(lambda: pid in self.nursery.stopped, f"stopped at {label}; it said {self.said(1)}")
        await self.trader(standby=True)
        await until(lambda: "owns" in self.said(2), f"taken over; the standby said {self.said(2)}, see {self.folder}")
        if not early:
            await self.wait_settled(2)
        os.kill(pid, signal.SIGCONT)
        await until(lambda: "fenced" in self.said(1), f"the zombie noticed; it said {self.said(1)}")
        await self.wait_settled(1)
        await self.judge(await self.wait_settled(2), (1, 2))

    async def judge(self, report: dict[str, Any], traders: tuple[int, ...]) -> None:
        """By the venue's ledger: one order each, never too much, everything booked, nothing of ours unknown."""
        await self.control.do("now")
        ledger = await self.control.do("dump")
        orders = [order for order in ledger["orders"] if order["account"] == ACCOUNT]
        for number in traders:
            for line in self.said(number):
                if line.startswith("ack place "):
                    assert line.removeprefix("ack place ").replace(" ", "-") in report, f"{line} and it is gone (S12)"
        store = SqlIntentStore(self.store)
        await store.open()
        try:
            row = await store.store_row()
            assert row.suspicion is None, row.suspicion
            assert row.incarnation == 1
            mine = self._clients(bytes.fromhex(row.store_id))
            assert {order["client"] for order in orders} <= set(mine), "an order of ours that nobody declared"
            assert set(report) == set(STATUSES)
            for name, wanted in STATUSES.items():
                assert report[name]["status"] in wanted, (name, report[name], orders)
                placed = [
                    order for order in orders if mine[order["client"]][0] == name and order["status"] != "REJECTED"
                ]
                clients = [order["client"] for order in placed]
                assert len(set(clients)) == len(clients), f"{name}: an attempt became two orders (S1): {placed}"
                assert len(placed) == 1, f"{name} became {len(placed)} orders: {placed}"
                executed = sum((Decimal(order["base"]) for order in placed), Decimal(0))
                assert executed <= WANTED[name.replace("-", " ") if name not in WANTED else name], placed
                assert Decimal(report[name]["booked"]) == executed, (name, report[name], placed)
                assert sum(order["status"] == "WORKING" for order in placed) == (
                    report[name]["status"] in ("WORKING", "PARTIALLY_FILLED")
                ), (name, report[name], placed)
            assert (await verify(store, ACCOUNT)).differences == ()
        finally:
            await store.close()

    @staticmethod
    def _clients(store_id: bytes) -> dict[str, tuple[str, int]]:
        names = [name.replace(" ", "-") for name in PLACED]
        return {client_id(make_key(store_id, ACCOUNT, name, n)): (name, n) for name in names for n in range(1, 12)}
