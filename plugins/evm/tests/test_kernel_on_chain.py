"""What a chain does to orders, through a real kernel: replaced, burnt, dropped, outbid, taken back, and made final."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from eth_account import Account

from exchange_kernel.models import IntentStatus
from exchange_kernel.schema import MarketCapabilities, SymbolMetadata
from exchange_kernel.testing.faults import FaultProxy
from exchange_kernel_evm.adapter import EvmAdapter
from exchange_kernel_evm.venue import ChainReads
from plugins.evm.tests import weth
from plugins.evm.tests.chain import ADDRESSES, CONFIRMATIONS, KEYS, Node
from plugins.evm.tests.table import ENDED, FULL, QUICK, ROOM, Table, order

FILLED, CANCELED, WORKING = IntentStatus.FILLED, IntentStatus.CANCELED, IntentStatus.WORKING
GWEI = 10**9


class Changing(weth.Weth):
    """The same venue, whose orders can be changed while they wait."""

    async def load(self, chain: ChainReads) -> Sequence[SymbolMetadata]:
        (market,) = await super().load(chain)
        native = MarketCapabilities.of(native=(*weth.NATIVE, "amend_up", "amend_down"))
        self._market = replace(market, capabilities=native)
        return (self._market,)


def changing() -> EvmAdapter:
    return EvmAdapter(Changing)


def foreign(node: Node, nonce: int) -> str:
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
        KEYS["main"],
    )
    return str(node("eth_sendRawTransaction", "0x" + bytes(signed.raw_transaction).hex()))


def test_an_amendment_takes_the_number_of_its_order(node: Node, tmp_path: Path) -> None:
    """While it waits it is replaced: one number is used, and the new amount is wrapped, not the sum."""
    table = Table(node, tmp_path, changing)

    async def scene() -> None:
        async with table.kernel() as kernel:
            await kernel.place_order(order("0.01"), "a")
            (old,) = await table.waits()
            await table.reaches(kernel, "a", WORKING, blocks=False)
            await kernel.modify_order("a", order("0.04"))

            async def changed() -> bool:
                waiting = node.waiting()
                return len(waiting) == 1 and waiting[0]["hash"] != old["hash"]

            await table.until(changed, "the new one waits", blocks=False)
            (new,) = node.waiting()
            assert (new["nonce"], int(new["value"], 16)) == (old["nonce"], 4 * 10**16)
            assert int(new["maxFeePerGas"], 16) * 10 > int(old["maxFeePerGas"], 16) * 11
            state = await table.reaches(kernel, "a", *ENDED)
            assert (state.status, state.filled_base) == (FILLED, order("0.04").amount)
            await table.judge("a")
        assert table.evidence.used == 1

    asyncio.run(scene())


def test_an_amendment_that_comes_too_late_changes_nothing(node: Node, tmp_path: Path) -> None:
    """The order is in a block when the amendment is asked for: it stays as it was, once."""
    table = Table(node, tmp_path, changing)

    async def scene() -> None:
        async with table.kernel() as kernel:
            await kernel.place_order(order("0.01"), "a")
            await table.waits()
            await table.reaches(kernel, "a", WORKING, blocks=False)
            node.mine()
            await kernel.modify_order("a", order("0.04"))
            state = await table.reaches(kernel, "a", *ENDED)
            assert state.filled_base == order("0.01").amount
            await table.judge("a")
        assert table.evidence.used == 1

    asyncio.run(scene())


def test_a_number_that_was_never_used_is_burnt(node: Node, tmp_path: Path) -> None:
    """Nothing of the order arrives before its time is up: a transfer of nothing uses its number, and the next order
    is executed."""

    async def scene() -> None:
        async with FaultProxy(node.url) as relay:
            table = Table(node, tmp_path, broadcast=relay.url)
            lost = relay.drop_request(rpc="eth_sendRawTransaction", times=None)
            async with table.kernel(replace(QUICK, single_shot_deadline_ms=1_500)) as kernel:
                await kernel.place_order(order("0.01"), "a")
                await lost.wait()
                await kernel.place_order(order("0.02"), "b")
                await asyncio.sleep(2)
                lost.clear()
                ended = [await table.reaches(kernel, name, *ENDED) for name in ("a", "b")]
                assert FILLED not in {state.status for state in ended[:1]}, ended
                await kernel.place_order(order("0.04"), "c")
                assert (await table.reaches(kernel, "c", *ENDED)).status is FILLED
                await table.judge("a", "b", "c")

    asyncio.run(scene())


@pytest.mark.parametrize("pause", range(4))
def test_a_cancel_races_the_block(node: Node, tmp_path: Path, pause: int) -> None:
    """Whichever is taken, the books say what the chain says, and one number is used."""
    table = Table(node, tmp_path)

    async def scene() -> None:
        async with table.kernel() as kernel:
            await kernel.place_order(order("0.01"), "a")
            await table.waits()
            await table.reaches(kernel, "a", WORKING, blocks=False)
            cancelling = asyncio.create_task(kernel.cancel_order("a"))
            for _ in range(pause * 40):
                await asyncio.sleep(0)
            table.mine()
            await cancelling
            state = await table.reaches(kernel, "a", *ENDED)
            assert state.status in (FILLED, CANCELED)
            await table.judge("a")
        assert table.evidence.used == 1

    asyncio.run(scene())


def test_a_cancel_of_what_waits_costs_gas_and_buys_nothing(node: Node, tmp_path: Path) -> None:
    """Blocks have no room for the order, and for the transfer of nothing that takes its number."""
    table = Table(node, tmp_path)

    async def scene() -> None:
        async with table.kernel() as kernel:
            await kernel.place_order(order("0.01"), "a")
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

    asyncio.run(scene())


def test_what_the_pool_forgets_is_sent_again(node: Node, tmp_path: Path) -> None:
    """Twice the node drops it: the very same bytes come back, and are executed once."""
    table = Table(node, tmp_path)

    async def scene() -> None:
        async with table.kernel() as kernel:
            await kernel.place_order(order("0.01"), "a")
            (first,) = await table.waits()
            for _ in range(2):
                node("anvil_dropAllTransactions")
                (again,) = await table.waits()
                assert again["hash"] == first["hash"]
            assert (await table.reaches(kernel, "a", *ENDED)).status is FILLED
            await table.judge("a")
        assert table.evidence.used == 1

    asyncio.run(scene())


def test_when_the_base_fee_leaps_the_order_pays_more(node: Node, tmp_path: Path) -> None:
    """Its cap is below the base fee of every block: it is replaced under its number by one with higher fees."""
    table = Table(node, tmp_path)

    async def scene() -> None:
        async with table.kernel() as kernel:
            table.base_fee = 40 * GWEI
            await kernel.place_order(order("0.01"), "a")
            await table.waits()
            assert (await table.reaches(kernel, "a", *ENDED)).status is FILLED
            await table.judge("a")
            record = await table.record("a")
        (done,) = table.evidence.of(record)
        bodies = table.evidence.bodies(record)
        assert len({body.tx.unsigned.nonce for body in bodies}) == 1
        assert done.tx["hash"] == bodies[-1].tx.hash != bodies[0].tx.hash
        assert bodies[0].tx.unsigned.max_fee < 40 * GWEI <= int(done.tx["maxFeePerGas"], 16)
        assert table.evidence.used == 1

    asyncio.run(scene())


def test_a_number_that_another_wallet_took_is_given_up_for_a_new_one(node: Node, tmp_path: Path) -> None:
    """The order never arrived; once that is final it is proved dead and placed anew, under the next number: once."""

    async def scene() -> None:
        async with FaultProxy(node.url) as relay:
            table = Table(node, tmp_path, broadcast=relay.url)
            lost = relay.drop_request(rpc="eth_sendRawTransaction", times=None)
            async with table.kernel() as kernel:
                await kernel.place_order(order("0.01"), "a")
                await lost.wait()
                theirs = foreign(node, 0)
                node.mine()
                assert node("eth_getTransactionReceipt", theirs)["status"] == "0x1"
                lost.clear()
                state = await table.reaches(kernel, "a", *ENDED)
                assert state.status is FILLED, state
                await table.judge("a", foreign=1)
                assert len((await table.record("a")).attempts) == 2
            assert table.evidence.used == 2

    asyncio.run(scene())


def test_what_blocks_pass_by_pays_more_once_in_a_while(node: Node, tmp_path: Path) -> None:
    """Nine blocks have no room for it: it is replaced after three of them, and each one after three more, not at every
    look; both fees rise by an eighth each time."""
    table = Table(node, tmp_path)

    async def scene() -> None:
        async with table.kernel() as kernel:
            await kernel.place_order(order("0.01"), "a")
            await table.waits()
            await table.reaches(kernel, "a", WORKING, blocks=False)
            table.room(FULL)
            for _ in range(9):
                table.mine()
                await asyncio.sleep(0.3)
            table.room(ROOM)
            assert (await table.reaches(kernel, "a", *ENDED)).status is FILLED
            await table.judge("a")
            bodies = table.evidence.bodies(await table.record("a"))
        fees = [body.tx.unsigned.max_fee for body in bodies]
        assert 2 <= len(bodies) <= 4, fees
        assert all(new * 1000 >= old * 1125 for old, new in pairwise(fees))
        assert table.evidence.used == 1

    asyncio.run(scene())


@pytest.mark.parametrize("mined", [False, True])
def test_a_number_taken_from_an_order_that_was_seen_is_given_up_too(node: Node, tmp_path: Path, mined: bool) -> None:
    """The order waited in the pool, or was in a block that a reorganisation took back, when another wallet used its
    number: once that is final it is dead for ever, and done anew, once."""
    table = Table(node, tmp_path)

    async def scene() -> None:
        async with table.kernel() as kernel:
            mark = node("evm_snapshot")
            await kernel.place_order(order("0.01"), "a")
            await table.waits()
            await table.reaches(kernel, "a", WORKING, blocks=False)
            if mined:
                node.mine()
                await asyncio.sleep(0.3)
                assert node("evm_revert", mark)
            theirs = foreign(node, 0)
            node.mine()
            assert node("eth_getTransactionReceipt", theirs)["status"] == "0x1"
            state = await table.reaches(kernel, "a", *ENDED)
            assert state.status is FILLED, state
            await table.judge("a", foreign=1)
            assert len((await table.record("a")).attempts) == 2
        assert table.evidence.used == 2

    asyncio.run(scene())


def test_a_reorganisation_takes_an_order_back_and_it_is_executed_once(node: Node, tmp_path: Path) -> None:
    """In a block, gone with it, and sent again: nothing is booked before it is final, and then once."""
    table = Table(node, tmp_path)

    async def scene() -> None:
        async with table.kernel() as kernel:
            mark = node("evm_snapshot")
            await kernel.place_order(order("0.01"), "a")
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
            assert (state.status, state.filled_base) == (FILLED, order("0.01").amount)
            await table.judge("a")
        assert table.evidence.used == 1

    asyncio.run(scene())


def test_by_the_chains_own_rule_a_fill_is_final_at_the_finalized_block(node: Node, tmp_path: Path) -> None:
    """Without a number of confirmations the node's tag decides: not a block sooner."""
    table = Table(node, tmp_path, confirmations=None)

    async def scene() -> None:
        async with table.kernel() as kernel:
            await kernel.place_order(order("0.01"), "a")
            await table.waits()
            node.mine()
            height = node.head()
            while int(node("eth_getBlockByNumber", "finalized", False)["number"], 16) < height:
                assert (await kernel.get_order_state("a")).filled_base == 0
                node.mine(8)
                await asyncio.sleep(0.05)
            assert node.head() > height + CONFIRMATIONS
            state = await table.reaches(kernel, "a", *ENDED)
            assert (state.status, state.filled_base) == (FILLED, order("0.01").amount)
            await table.judge("a")

    asyncio.run(scene())
