"""Real processes trade on a real chain and are killed at every labelled point; then the chain itself is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from exchange_kernel.models import IntentStatus
from exchange_kernel.state.rows import Record
from exchange_kernel_evm.testing.evidence import Evidence
from exchange_kernel_evm.testing.node import AnvilNode
from plugins.evm.tests.chain import ADDRESSES, CONFIRMATIONS, KEYS, WETH, Node, furnish
from plugins.evm.tests.processes.parent import MODULE, Desk, Nursery, until

AT_ONCE = 4
FULL, ROOM = 50_000, 30_000_000
SIGNS = {"BUY": 1, "SELL": -1}
Point = tuple[str, int, str]
"""Label, passage, and what happens while nobody lives."""


def order(side: str, amount: str) -> dict[str, Any]:
    """Wrap or unwrap, all or nothing."""
    return {"symbol_id": "WETH/ETH", "side": side, "amount": amount, "limit_price": "1", "time_in_force": "FOK"}


ORDERS = {"first": order("BUY", "0.01"), "second": order("BUY", "0.03"), "back": order("SELL", "0.005")}
PLAN = [["place", name, fields] for name, fields in ORDERS.items()]
CANCELLED = {"gone": order("BUY", "0.07"), "after": order("BUY", "0.02")}
CANCEL_PLAN = [
    ["place", "gone", CANCELLED["gone"]],
    ["cancel", "gone"],
    ["wait", "gone"],
    ["place", "after", CANCELLED["after"]],
]


def steps(command: str) -> list[str]:
    """Every point on the path of one command."""
    return [
        f"{when} {what} of {command}"
        for what in ("prepare", "commit", "submit", "send", "record")
        for when in ("before", "after")
    ]


MEANWHILE = ("nothing", "a block", "finality", "dropped", "reorganised")
KILLS: dict[str, list[Point]] = {
    "early": [
        ("before commit of declare", 1, "nothing"),
        ("after commit of declare", 1, "nothing"),
        ("before takeover", 1, "nothing"),
        *((label, 1, "a block") for label in steps("place")[:5]),
    ],
    "sent": [("sent place", 1, what) for what in MEANWHILE],
    "answered": [("after send of place", passage, what) for passage in (1, 3) for what in MEANWHILE],
    "recording": [
        *((label, 1, "a block") for label in steps("place")[8:]),
        ("after submit of place", 2, "finality"),
        ("before record of place", 2, "nothing"),
        ("after record of place", 3, "reorganised"),
        ("event", 2, "a block"),
    ],
}
CANCELS: list[Point] = [
    *((label, 1, "nothing") for label in steps("cancel")),
    *(("after send of cancel", 1, what) for what in MEANWHILE[1:]),
    ("sent cancel", 1, "dropped"),
    ("after commit of cancel", 1, "room"),
    ("before send of cancel", 1, "room"),
]


class Trial:
    """A chain of its own, and workers on it."""

    def __init__(self, node: Node, desk: Desk) -> None:
        self.node, self.desk = node, desk
        self.mark = ""

    async def meanwhile(self, what: str) -> None:
        """What the chain does while no worker lives."""
        node = self.node
        match what:
            case "a block":
                node.mine()
            case "finality":
                node.mine(CONFIRMATIONS + 2)
            case "dropped":
                node("anvil_dropAllTransactions")
            case "reorganised":
                node.mine(2)
                node.reorganise(self.mark, 3)
            case "room":
                node("evm_setBlockGasLimit", hex(ROOM))
                node.mine()
            case _:
                assert what == "nothing"

    async def died(self, point: Point) -> None:
        """A worker dies; the chain goes on; the next one does what is left."""
        label, passage, what = point
        self.mark = self.node("evm_snapshot")
        await self.desk.killed(label, passage)
        await self.meanwhile(what)
        async with self.desk.blocks():
            await self.desk.worker()
            await self.desk.settled()
        await self.desk.end()

    async def judge(self, wanted: Mapping[str, Mapping[str, Any]], *cancelled: str) -> None:
        """Each intent is what the chain has of it, and one that was not cancelled is done, once."""
        evidence, records = self.desk.evidence, await self.desk.records()
        evidence.judge(records.values())
        moved = Decimal(0)
        for name, fields in wanted.items():
            record = records[name]
            done = [each for each in evidence.of(record) if each.ok and int(each.tx["gas"], 16) > FULL]
            assert len(done) <= 1, f"{name} is {len(done)} transactions"
            filled = record.progress.status is IntentStatus.FILLED
            assert filled == bool(done), (name, record.progress, done)
            assert filled or name in cancelled, (name, record.progress)
            assert record.progress.filled_base == (Decimal(fields["amount"]) if filled else 0)
            moved += SIGNS[fields["side"]] * record.progress.filled_base
        units = int(moved.scaleb(18))
        assert evidence.moved == ({"WETH": units, "ETH": -units} if units else {})


@asynccontextmanager
async def trial(folder: Path, packages: Path, nursery: Nursery, plan: list[Any]) -> AsyncIterator[Trial]:
    """A node with what the venue needs, a tenth of an ether wrapped, and blocks only when somebody asks for one."""
    folder.mkdir()
    running = AnvilNode()
    await asyncio.to_thread(running.start)
    try:
        node = Node(running.url)
        await asyncio.to_thread(furnish, node, packages)
        data = {"from": ADDRESSES["main"], "to": WETH, "value": hex(10**17), "data": "0xd0e30db0"}
        node("anvil_impersonateAccount", ADDRESSES["main"])
        node("eth_sendTransaction", data)
        node.mine()
        node("anvil_stopImpersonatingAccount", ADDRESSES["main"])
        node("evm_setAutomine", False)
        orders = {
            "adapter": "plugins.evm.tests.weth:adapter",
            "venue": "weth",
            "config": {"rpc": node.url, "confirmations": CONFIRMATIONS, "poll_ms": 50},
            "secrets": {"key": KEYS["main"]},
        }
        evidence = Evidence(node, ADDRESSES["main"], {"WETH": WETH})
        yield Trial(node, Desk(folder, nursery, node.mine, evidence, orders, plan))
    finally:
        await asyncio.to_thread(running.stop)


async def all_of(
    folder: Path, packages: Path, plan: list[Any], trials: list[Callable[[Trial], Awaitable[None]]]
) -> None:
    """Side by side, each with a chain and a store of its own; all that failed is told."""
    at_once = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, play: Callable[[Trial], Awaitable[None]]) -> None:
        async with at_once, trial(folder / str(number), packages, nursery, plan) as prepared:
            try:
                await play(prepared)
            except BaseException:
                await prepared.desk.end()
                raise

    async with Nursery.open(MODULE) as nursery:
        found = await asyncio.gather(*(one(n, play) for n, play in enumerate(trials)), return_exceptions=True)
    failed = [error for error in found if error is not None]
    if failed:
        raise BaseExceptionGroup(f"{len(failed)} of {len(trials)}", failed) if len(failed) > 1 else failed[0]


def told(point: Point, play: Callable[[Trial], Awaitable[None]]) -> Callable[[Trial], Awaitable[None]]:
    """The same, and where it fails it says where it died."""

    async def played(prepared: Trial) -> None:
        try:
            await play(prepared)
        except AssertionError as error:
            raise AssertionError(f"killed at passage {point[1]} of {point[0]!r}, then {point[2]}: {error}") from error

    return played


@pytest.mark.parametrize("path", KILLS)
def test_killed_at_every_point_an_order_is_one_transaction(path: str, packages: Path, tmp_path: Path) -> None:
    """SIGKILL, then nothing, a block, finality, an emptied pool or another branch, then a new process: each intent is
    one successful transaction whose bytes were stored, and the balances moved by exactly that."""

    def play(point: Point) -> Callable[[Trial], Awaitable[None]]:
        async def played(prepared: Trial) -> None:
            await prepared.died(point)
            await prepared.judge(ORDERS)

        return told(point, played)

    asyncio.run(all_of(tmp_path, packages, PLAN, [play(point) for point in KILLS[path]]))


@pytest.mark.parametrize("part", range(2))
def test_killed_while_it_cancels_the_order_is_cancelled_or_done(part: int, packages: Path, tmp_path: Path) -> None:
    """Blocks have no room for the order until it is over, or until the worker is dead: it is a transfer of nothing
    under its number, or itself, and the books say which."""

    def play(point: Point) -> Callable[[Trial], Awaitable[None]]:
        async def played(prepared: Trial) -> None:
            node, desk = prepared.node, prepared.desk
            prepared.mark = node("evm_snapshot")
            await desk.killed(*point[:2])
            if point[2] != "room":
                node("evm_setBlockGasLimit", hex(FULL))
            await prepared.meanwhile(point[2])
            if point[2] == "reorganised":
                node("evm_setBlockGasLimit", hex(FULL))
            async with desk.blocks():
                await desk.worker()
                await until(lambda: "done wait gone" in desk.said(2), f"gone is over; it said {desk.said(2)}")
                node("evm_setBlockGasLimit", hex(ROOM))
                await desk.settled()
            await desk.end()
            await prepared.judge(CANCELLED, "gone")

        return told(point, played)

    asyncio.run(all_of(tmp_path, packages, CANCEL_PLAN, [play(point) for point in CANCELS[part::2]]))


def test_three_workers_race_for_one_account(packages: Path, tmp_path: Path) -> None:
    """All declare the same orders; the owner is killed, or stopped and waked when another has taken over: between them
    they make one transaction of each."""

    def play(label: str, passage: int, how: str) -> Callable[[Trial], Awaitable[None]]:
        async def played(prepared: Trial) -> None:
            await prepared.desk.raced(label, passage, how)
            await prepared.judge(ORDERS)

        return told((label, passage, how), played)

    points = [
        ("after commit of place", 1, "SIGKILL"),
        ("sent place", 2, "SIGKILL"),
        ("before send of place", 1, "SIGSTOP"),
        ("after send of place", 2, "SIGSTOP"),
    ]
    asyncio.run(all_of(tmp_path, packages, PLAN, [play(*point) for point in points]))


def test_the_store_is_what_the_judge_asks(packages: Path, tmp_path: Path) -> None:
    """The evidence is worth something: a transaction of ours that no store knows is told."""

    async def played(prepared: Trial) -> None:
        desk = prepared.desk
        async with desk.blocks():
            await desk.worker()
            await desk.settled()
        await desk.end()
        records: dict[str, Record] = await desk.records()
        del records["second"]
        with pytest.raises(AssertionError, match="not in the store"):
            desk.evidence.judge(records.values())

    asyncio.run(all_of(tmp_path, packages, PLAN, [played]))
