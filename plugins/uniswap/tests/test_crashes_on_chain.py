"""Real processes trade on Uniswap and are killed at labelled points; then the chain itself is asked: each order is one
swap, its bytes were stored before they were sent, and the books are what moved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from exchange_kernel.models import IntentStatus
from exchange_kernel_evm.testing.evidence import Evidence
from exchange_kernel_uniswap.testing import uniswap_stack
from plugins.evm.tests.processes.parent import MODULE, Desk, Nursery
from plugins.uniswap.tests.desk import SWAPS
from plugins.uniswap.tests.ground import POOLS, TOKENS, Node, Trader, setup
from plugins.uniswap.tests.pools_made import enrich, make_pools

AT_ONCE = 3
TURNS = 3
CONFIRMATIONS = 8
"""More than there are blocks while a worker dies, on however busy a machine: what is final is not reorganised."""
COMMANDS = ("place", "enable")


def order(side: str, amount: str, tif: str, amount_type: str = "BASE") -> dict[str, Any]:
    """Far beyond the market, so that it is taken at once."""
    return {
        "symbol_id": "WETH/USDC",
        "side": side,
        "amount": amount,
        "amount_type": amount_type,
        "limit_price": "1500" if side == "SELL" else "6000",
        "time_in_force": tif,
    }


ORDERS = {"sold": order("SELL", "0.7", "FOK"), "bought": order("BUY", "900", "IOC", "QUOTE")}
PLAN = [["place", name, fields] for name, fields in ORDERS.items()]
POINTS: dict[str, list[tuple[str, int, str]]] = {
    "before it is sent": [
        ("before commit of declare", 1, "nothing"),
        *((f"{when} commit of {name}", 1, "a block") for name in COMMANDS for when in ("before", "after")),
        ("before send of place", 1, "nothing"),
    ],
    "while it is sent": [
        *(("sent place", 1, what) for what in ("nothing", "a block", "dropped", "reorganised")),
        ("sent enable", 1, "dropped"),
    ],
    "after it is sent": [
        *(("after send of place", 1, what) for what in ("a block", "finality", "dropped", "reorganised")),
        ("after submit of place", 2, "finality"),
        ("before record of place", 2, "nothing"),
        ("after record of place", 2, "reorganised"),
    ],
}


class Trial:
    """A fork of its own, and workers on it."""

    def __init__(self, node: Node, trader: Trader, desk: Desk) -> None:
        self.node, self.trader, self.desk, self.mark = node, trader, desk, ""

    def meanwhile(self, what: str) -> None:
        """What the chain does while no worker lives."""
        match what:
            case "a block":
                self.node("anvil_mine", "0x1")
            case "finality":
                self.node("anvil_mine", hex(CONFIRMATIONS + 2))
            case "dropped":
                self.node("anvil_dropAllTransactions")
            case "reorganised":
                self.node("anvil_mine", "0x2")
                self.node.revert(self.mark)
                self.node("evm_setAutomine", False)
                self.node("anvil_mine", "0x4")

    async def judge(self, wanted: Mapping[str, Mapping[str, Any]]) -> None:
        """By the chain: numbers, tags, bytes, gas, swaps by their recipient, and exact balances."""
        evidence, records = self.desk.evidence, await self.desk.records()
        evidence.judge(records.values())
        me = self.trader.address[2:].lower()
        logs = [log for each in evidence.transactions() for log in each.receipt["logs"]]
        swaps = [log for log in logs if log["topics"][0] == SWAPS["v3"] and log["topics"][-1][-40:] == me]
        assert len(swaps) == len(wanted), f"{len(swaps)} swaps"
        base = quote = Decimal(0)
        for name, fields in wanted.items():
            progress = records[name].progress
            assert progress.status is IntentStatus.FILLED, (name, progress)
            sign = 1 if fields["side"] == "BUY" else -1
            base += sign * progress.filled_base
            quote -= sign * progress.filled_quote
        assert evidence.moved == {"WETH": int(base.scaleb(18)), "USDC": int(quote.scaleb(6))}


@asynccontextmanager
async def trial(folder: Path, nursery: Nursery) -> AsyncIterator[Trial]:
    """A rich account without allowances, and blocks only when somebody asks for one."""
    folder.mkdir()
    running = uniswap_stack()
    stack = await asyncio.to_thread(running.__enter__)
    try:
        node = Node(stack.node.url)
        await asyncio.to_thread(make_pools, node)
        trader = Trader(node)
        await asyncio.to_thread(enrich, node, trader.address, setup(), 8_000_000)
        node("evm_setAutomine", False)
        node("anvil_mine", "0x1")
        config = {
            "rpc": node.url,
            "confirmations": CONFIRMATIONS,
            "poll_ms": 50,
            "tokens": TOKENS,
            "pools": POOLS["v3"],
            "symbols": ["WETH/USDC"],
        }
        orders = {
            "adapter": "exchange_kernel_uniswap.adapter:UniswapAdapter",
            "venue": "uniswap",
            "config": config,
            "secrets": {"key": "0x" + bytes(trader.account.key).hex()},
        }
        tokens = {name: TOKENS[name]["address"] for name in ("WETH", "USDC")}  # type: ignore[index]
        evidence = Evidence(node, trader.address, tokens)
        desk = Desk(folder, nursery, lambda: node("anvil_mine", "0x1"), evidence, orders, PLAN)
        yield Trial(node, trader, desk)
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)


@pytest.mark.parametrize("path", POINTS)
def test_killed_at_any_point_an_order_is_one_swap(path: str, tmp_path: Path) -> None:
    """SIGKILL, then nothing, a block, finality, an emptied pool or another branch, and a new process."""

    async def play(played: Trial, point: tuple[str, int, str]) -> None:
        label, passage, what = point
        desk = played.desk
        played.mark = played.node("evm_snapshot")
        if passage == 1 and "place" not in label:
            await desk.killed(label, passage)
        else:  # the order follows its approval, which needs a block
            async with desk.blocks():
                await desk.killed(label, passage)
        played.meanwhile(what)
        async with desk.blocks():
            await desk.worker()
            await desk.settled()

    asyncio.run(all_of(tmp_path, POINTS[path], play))


def test_three_workers_race_for_one_account(tmp_path: Path) -> None:
    """All declare the same orders; the owner is killed, or stopped and waked when another has taken over: between them
    they make one swap of each."""
    points = [("sent place", 1, "SIGKILL"), ("before send of place", 1, "SIGSTOP")]

    async def play(played: Trial, point: tuple[str, int, str]) -> None:
        await played.desk.raced(*point)

    asyncio.run(all_of(tmp_path, points, play))


class StandsStill(Exception):
    """A node answers nobody any more."""


def answers(node: Node) -> bool:
    """Does the node answer at all?"""
    try:
        node("eth_chainId")
    except OSError:
        return False
    return True


async def all_of(
    folder: Path,
    points: Sequence[tuple[str, int, str]],
    play: Callable[[Trial, tuple[str, int, str]], Awaitable[None]],
) -> None:
    """Some side by side, each on a fork of its own and judged by it; all that failed is told."""
    at_once = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, point: tuple[str, int, str], nursery: Nursery) -> None:
        """A node that stands still for good, as anvil sometimes does on a busy machine, proves nothing: once more."""
        for turn in range(TURNS):
            try:
                await once(folder / f"{number}-{turn}", point, nursery)
            except StandsStill:
                if turn == TURNS - 1:
                    raise
            else:
                return

    async def once(place: Path, point: tuple[str, int, str], nursery: Nursery) -> None:
        async with at_once, trial(place, nursery) as played:
            try:
                await play(played, point)
                await played.desk.end()
                await played.judge(ORDERS)
            except (AssertionError, OSError) as error:
                if not await asyncio.to_thread(answers, played.node):
                    raise StandsStill(played.node.url) from error
                raise AssertionError(f"at passage {point[1]} of {point[0]!r}, {point[2]}: {error}") from error
            finally:
                await played.desk.end()

    async with Nursery.open(MODULE) as nursery:
        work = (one(number, point, nursery) for number, point in enumerate(points))
        found = await asyncio.gather(*work, return_exceptions=True)
    failed = [error for error in found if isinstance(error, BaseException)]
    if failed:
        raise BaseExceptionGroup(f"{len(failed)} of {len(points)}", failed)
