"""What a chain and its nodes do to orders, as scenes at a :class:`Table`: each venue's tests play them with its orders.

Each scene asks the chain in the end. Orders are all-or-nothing, and one transaction each.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

from eth_account import Account

from exchange_kernel.models import IntentStatus, OrderState
from exchange_kernel.testing.faults import FaultProxy
from plugins.evm.tests.chain import ADDRESSES, Node
from plugins.evm.tests.table import ENDED, FULL, QUICK, ROOM, Table

__all__ = ["FAULTS", "GWEI", "Make", "foreign"]

Make = Callable[..., Table]
"""A table; what is given are settings of its account."""

FILLED, CANCELED, WORKING = IntentStatus.FILLED, IntentStatus.CANCELED, IntentStatus.WORKING
GWEI = 10**9
SEND, HEAD = "eth_sendRawTransaction", "eth_getBlockByNumber"
FEW = 3
REFUSED = {"jsonrpc": "2.0", "id": None, "error": {"code": -32000, "message": "transaction underpriced"}}


def foreign(node: Node, key: str, nonce: int) -> str:
    """Somebody else signs with the key, and pays well; the transaction's hash."""
    signed = Account.sign_transaction(
        {
            "chainId": 1,
            "nonce": nonce,
            "to": ADDRESSES["second"],
            "value": 0,
            "gas": 21_000,
            "maxFeePerGas": 500 * GWEI,
            "maxPriorityFeePerGas": 100 * GWEI,
            "type": 2,
        },
        key,
    )
    return str(node(SEND, "0x" + bytes(signed.raw_transaction).hex()))


async def burnt_by_another_wallet(make: Make, node: Node) -> None:
    """The order never arrived; once that is final it is proved dead and placed anew, under the next number: once."""
    async with FaultProxy(node.url) as relay:
        table = make(broadcast=relay.url)
        lost = relay.drop_request(rpc=SEND, times=None)
        async with table.kernel() as kernel:
            await kernel.place_order(table.order("0.01"), "a")
            await lost.wait()
            _taken(table)
            lost.clear()
            _filled(await table.reaches(kernel, "a", *ENDED))
            await table.judge("a", foreign=1)
            assert len((await table.record("a")).attempts) == 2
        assert table.evidence.used == 2


async def burnt_after_it_was_seen(table: Table, *, mined: bool) -> None:
    """The order waited in the pool, or was in a block that a reorganisation took back, when another wallet used its
    number: once that is final it is dead for ever, and done anew, once."""
    node = table.node
    async with table.kernel() as kernel:
        mark = node("evm_snapshot")
        await kernel.place_order(table.order("0.01"), "a")
        await table.waits()
        await table.reaches(kernel, "a", WORKING, blocks=False)
        if mined:
            node.mine()
            await asyncio.sleep(0.3)
            node.revert(mark)
        _taken(table)
        _filled(await table.reaches(kernel, "a", *ENDED))
        await table.judge("a", foreign=1)
        assert len((await table.record("a")).attempts) == 2
    assert table.evidence.used == 2


async def burnt_because_never_used(make: Make, node: Node) -> None:
    """Nothing of the order arrives before its time is up: a transfer of nothing uses its number, and the next order
    is executed."""
    async with FaultProxy(node.url) as relay:
        table = make(broadcast=relay.url)
        lost = relay.drop_request(rpc=SEND, times=None)
        async with table.kernel(replace(QUICK, single_shot_deadline_ms=1_500)) as kernel:
            await kernel.place_order(table.order("0.01"), "a")
            await lost.wait()
            await kernel.place_order(table.order("0.02"), "b")
            await asyncio.sleep(2)
            lost.clear()
            ended = [await table.reaches(kernel, name, *ENDED) for name in ("a", "b")]
            assert FILLED not in {state.status for state in ended[:1]}, ended
        async with table.kernel() as kernel:
            await kernel.place_order(table.order("0.04"), "c")
            _filled(await table.reaches(kernel, "c", *ENDED))
            await table.judge("a", "b", "c")


async def cancelled_while_it_waits(table: Table) -> None:
    """Blocks have no room for the order, and for the transfer of nothing that takes its number."""
    async with table.kernel() as kernel:
        await kernel.place_order(table.order("0.01"), "a")
        await table.waits()
        table.room(FULL)
        await table.reaches(kernel, "a", WORKING, blocks=False)
        await kernel.cancel_order("a")
        state = await table.reaches(kernel, "a", *ENDED)
        assert (state.status, state.filled_base) == (CANCELED, 0)
        assert state.costs["ETH"] > 0
        await table.judge("a")
    table.room(ROOM)
    assert table.evidence.used == 1


async def dropped(table: Table) -> None:
    """Twice the node drops it: the very same bytes come back, and are executed once."""
    async with table.kernel() as kernel:
        await kernel.place_order(table.order("0.01"), "a")
        (first,) = await table.waits()
        for _ in range(2):
            table.node("anvil_dropAllTransactions")
            (again,) = await table.waits()
            assert again["hash"] == first["hash"]
        _filled(await table.reaches(kernel, "a", *ENDED))
        await table.judge("a")
    assert table.evidence.used == 1


async def base_fee_leaps(table: Table) -> None:
    """Its cap is below the base fee of every block: it is replaced under its number by one with higher fees."""
    async with table.kernel() as kernel:
        table.base_fee = 40 * GWEI
        await kernel.place_order(table.order("0.01"), "a")
        await table.waits()
        _filled(await table.reaches(kernel, "a", *ENDED))
        await table.judge("a")
        record = await table.record("a")
    (done,) = table.evidence.of(record)
    bodies = table.evidence.bodies(record)
    assert len({body.tx.unsigned.nonce for body in bodies}) == 1
    assert done.tx["hash"] == bodies[-1].tx.hash != bodies[0].tx.hash
    assert bodies[0].tx.unsigned.max_fee < 40 * GWEI <= int(done.tx["maxFeePerGas"], 16)
    assert table.evidence.used == 1


async def passed_by(table: Table) -> None:
    """Nine blocks have no room for it: it is replaced after three of them, and each one after three more, not at every
    look; both fees rise by an eighth each time."""
    async with table.kernel() as kernel:
        await kernel.place_order(table.order("0.01"), "a")
        await table.waits()
        await table.reaches(kernel, "a", WORKING, blocks=False)
        table.room(FULL)
        for _ in range(9):
            table.mine()
            await asyncio.sleep(0.3)
        table.room(ROOM)
        _filled(await table.reaches(kernel, "a", *ENDED))
        await table.judge("a")
        bodies = table.evidence.bodies(await table.record("a"))
    fees = [body.tx.unsigned.max_fee for body in bodies]
    assert 2 <= len(bodies) <= 4, fees
    assert all(new * 1000 >= old * 1125 for old, new in pairwise(fees))
    assert table.evidence.used == 1


async def taken_back(table: Table) -> None:
    """In a block, gone with it, and sent again: nothing is booked before it is final, and then once."""
    node = table.node
    async with table.kernel() as kernel:
        mark = node("evm_snapshot")
        await kernel.place_order(table.order("0.01"), "a")
        (first,) = await table.waits()
        node.mine()
        assert node("eth_getTransactionReceipt", first["hash"])["status"] == "0x1"
        await asyncio.sleep(0.3)
        assert (await kernel.get_order_state("a")).filled_base == 0
        node.reorganise(mark, 2)
        assert node("eth_getTransactionReceipt", first["hash"]) is None
        (again,) = await table.waits()
        assert again["hash"] == first["hash"]
        state = await table.reaches(kernel, "a", *ENDED)
        assert (state.status, state.filled_base) == (FILLED, table.order("0.01").amount)
        await table.judge("a")
    assert table.evidence.used == 1


# nodes -------------------------------------------------------------------------------------------------------------


def stale(body: bytes) -> bytes:
    """The same answers, and the newest block is that of long ago."""
    rows = json.loads(body)
    for row in rows if isinstance(rows, list) else [rows]:
        block = row.get("result")
        if isinstance(block, dict) and {"number", "baseFeePerGas"} <= block.keys():
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


@asynccontextmanager
async def _nodes(node: Node, spare: bool) -> AsyncIterator[tuple[FaultProxy, list[str]]]:
    async with FaultProxy(node.url) as proxy, AsyncExitStack() as more:
        urls = [proxy.url]
        if spare:
            urls.append((await more.enter_async_context(FaultProxy(node.url))).url)
        yield proxy, urls


async def through_a_fault(make: Make, node: Node, fault: str, *, spare: bool) -> None:
    """Three orders, the fault arriving with the second: three transactions, one for each tag, all booked."""
    async with _nodes(node, spare) as (proxy, urls):
        table = make(rpc=urls)
        async with table.kernel() as kernel:
            await kernel.place_order(table.order("0.01"), "a")
            _filled(await table.reaches(kernel, "a", *ENDED))
            armed = FAULTS[fault](proxy)
            for name, amount in (("b", "0.02"), ("c", "0.04")):
                await kernel.place_order(table.order(amount), name)
            for name in ("b", "c"):
                _filled(await table.reaches(kernel, name, *ENDED))
            assert armed.hits
            await table.judge("a", "b", "c")
        assert table.evidence.used == len(table.evidence.by_key()) == 3


async def down_for_a_while(make: Make, node: Node) -> None:
    """Nothing can be reached while orders are placed: they are executed when it is back, once each."""
    async with FaultProxy(node.url) as proxy:
        table = make(rpc=proxy.url)
        async with table.kernel() as kernel:
            await proxy.refuse_connections()
            broken = proxy.drop_request(times=None)
            await kernel.place_order(table.order("0.01"), "a")
            await asyncio.sleep(1.5)
            assert table.evidence.used == 0
            broken.clear()
            await proxy.accept_connections()
            _filled(await table.reaches(kernel, "a", *ENDED))
            await table.judge("a")
        assert table.evidence.used == 1


def _filled(state: OrderState) -> None:
    assert state.status is FILLED, state


def _taken(table: Table) -> None:
    """Another wallet uses the account's next number, in a block."""
    nonce = int(table.node("eth_getTransactionCount", table.address, "latest"), 16)
    theirs = foreign(table.node, table.key, nonce)
    table.node.mine()
    assert table.node("eth_getTransactionReceipt", theirs)["status"] == "0x1"
