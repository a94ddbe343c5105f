"""Nodes that are down, slow, lying, strict or garbled, with a real kernel: every order is exactly one transaction."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from exchange_kernel.models import IntentStatus
from exchange_kernel.testing.faults import FaultProxy
from plugins.evm.tests.chain import Node
from plugins.evm.tests.table import ENDED, Table, order

SEND, HEAD = "eth_sendRawTransaction", "eth_getBlockByNumber"
FEW = 3
REFUSED = {"jsonrpc": "2.0", "id": None, "error": {"code": -32000, "message": "transaction underpriced"}}


def stale(body: bytes) -> bytes:
    """The same answers, and the newest block is that of long ago."""
    rows = json.loads(body)
    for row in rows if isinstance(rows, list) else [rows]:
        block = row.get("result")
        if isinstance(block, dict) and "baseFeePerGas" in block:
            block["number"] = hex(max(0, int(block["number"], 16) - 5))
    return json.dumps(rows).encode()


FAULTS: dict[str, Callable[[FaultProxy], Any]] = {
    "answer lost after broadcast": lambda proxy: proxy.drop_answer(rpc=SEND, times=FEW),
    "broadcast lost": lambda proxy: proxy.drop_request(rpc=SEND, times=FEW),
    "broadcast arrives twice": lambda proxy: proxy.duplicate_request(rpc=SEND, times=None),
    "answer to broadcast garbled": lambda proxy: proxy.garble(rpc=SEND, times=FEW),
    "answer to broadcast broken off": lambda proxy: proxy.truncate(20, rpc=SEND, times=FEW),
    "server error after broadcast": lambda proxy: proxy.status(502, after_asking=True, rpc=SEND, times=FEW),
    "server error instead of broadcast": lambda proxy: proxy.status(503, rpc=SEND, times=FEW),
    "refused, and taken": lambda proxy: proxy.status(
        200, body=json.dumps(REFUSED).encode(), after_asking=True, rpc=SEND, times=FEW
    ),
    "broadcast limited": lambda proxy: proxy.status(429, headers={"Retry-After": "1"}, rpc=SEND, times=FEW),
    "reads limited": lambda proxy: proxy.status(429, headers={"Retry-After": "1"}, rpc=HEAD, times=FEW),
    "reads garbled": lambda proxy: proxy.garble(rpc=HEAD, times=4 * FEW),
    "reads fail": lambda proxy: proxy.status(502, rpc=HEAD, times=4 * FEW),
    "slower than anybody waits": lambda proxy: proxy.delay(1.3, before="answer", times=2 * FEW),
    "slow": lambda proxy: proxy.delay(0.2, times=4 * FEW),
    "lying: an old block": lambda proxy: proxy.garble(stale, rpc=HEAD, times=4 * FEW),
}


@pytest.mark.parametrize("spare", [False, True], ids=["one node", "with another"])
@pytest.mark.parametrize("fault", FAULTS)
def test_through_every_fault_an_order_is_one_transaction(node: Node, tmp_path: Path, fault: str, spare: bool) -> None:
    """Three orders, the fault arriving with the second: three transactions, one for each tag, all booked."""

    async def scene() -> None:
        async with FaultProxy(node.url) as proxy, AsyncExitStack() as more:
            urls = [proxy.url]
            if spare:
                urls.append((await more.enter_async_context(FaultProxy(node.url))).url)
            table = Table(node, tmp_path, rpc=urls)
            async with table.kernel() as kernel:
                await kernel.place_order(order("0.01"), "a")
                assert (await table.reaches(kernel, "a", *ENDED)).status is IntentStatus.FILLED
                armed = FAULTS[fault](proxy)
                for name, amount in (("b", "0.02"), ("c", "0.04")):
                    await kernel.place_order(order(amount), name)
                for name in ("b", "c"):
                    assert (await table.reaches(kernel, name, *ENDED)).status is IntentStatus.FILLED
                assert armed.hits
                await table.judge("a", "b", "c")
            assert table.evidence.used == len(table.evidence.by_key()) == 3

    asyncio.run(scene())


def test_a_node_that_is_down_for_a_while_costs_time_and_nothing_else(node: Node, tmp_path: Path) -> None:
    """Nothing can be reached while orders are placed: they are executed when it is back, once each."""

    async def scene() -> None:
        async with FaultProxy(node.url) as proxy:
            table = Table(node, tmp_path, rpc=proxy.url)
            async with table.kernel() as kernel:
                await proxy.refuse_connections()
                broken = proxy.drop_request(times=None)
                await kernel.place_order(order("0.01"), "a")
                await asyncio.sleep(1.5)
                assert table.evidence.used == 0
                broken.clear()
                await proxy.accept_connections()
                assert (await table.reaches(kernel, "a", *ENDED)).status is IntentStatus.FILLED
                await table.judge("a")
            assert table.evidence.used == 1

    asyncio.run(scene())
