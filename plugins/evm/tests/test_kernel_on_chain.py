"""What a chain does to orders, through a real kernel: replaced, burnt, dropped, outbid, taken back, and made final."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from exchange_kernel.models import IntentStatus
from exchange_kernel.schema import MarketCapabilities, SymbolMetadata
from exchange_kernel_evm.adapter import EvmAdapter
from exchange_kernel_evm.venue import ChainReads
from plugins.evm.tests import scenes, weth
from plugins.evm.tests.chain import CONFIRMATIONS, Node
from plugins.evm.tests.scenes import Make
from plugins.evm.tests.table import ENDED, Table, order

FILLED, CANCELED, WORKING = IntentStatus.FILLED, IntentStatus.CANCELED, IntentStatus.WORKING


class Changing(weth.Weth):
    """The same venue, whose orders can be changed while they wait."""

    async def load(self, chain: ChainReads) -> Sequence[SymbolMetadata]:
        (market,) = await super().load(chain)
        native = MarketCapabilities.of(native=(*weth.NATIVE, "amend_up", "amend_down"))
        self._market = replace(market, capabilities=native)
        return (self._market,)


def changing() -> EvmAdapter:
    return EvmAdapter(Changing)


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


def test_a_number_that_was_never_used_is_burnt(node: Node, make: Make) -> None:
    """Nothing of the order arrives before its time is up: a transfer of nothing uses its number, and the next order
    is executed."""
    asyncio.run(scenes.burnt_because_never_used(make, node))


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


def test_a_cancel_of_what_waits_costs_gas_and_buys_nothing(make: Make) -> None:
    """Blocks have no room for the order, and for the transfer of nothing that takes its number."""
    asyncio.run(scenes.cancelled_while_it_waits(make()))


def test_what_the_pool_forgets_is_sent_again(make: Make) -> None:
    """Twice the node drops it: the very same bytes come back, and are executed once."""
    asyncio.run(scenes.dropped(make()))


def test_when_the_base_fee_leaps_the_order_pays_more(make: Make) -> None:
    """Its cap is below the base fee of every block: it is replaced under its number by one with higher fees."""
    asyncio.run(scenes.base_fee_leaps(make()))


def test_a_number_that_another_wallet_took_is_given_up_for_a_new_one(node: Node, make: Make) -> None:
    """The order never arrived; once that is final it is proved dead and placed anew, under the next number: once."""
    asyncio.run(scenes.burnt_by_another_wallet(make, node))


def test_what_blocks_pass_by_pays_more_once_in_a_while(make: Make) -> None:
    """Nine blocks have no room for it: it is replaced after three of them, and each one after three more, not at every
    look; both fees rise by an eighth each time."""
    asyncio.run(scenes.passed_by(make()))


@pytest.mark.parametrize("mined", [False, True])
def test_a_number_taken_from_an_order_that_was_seen_is_given_up_too(make: Make, mined: bool) -> None:
    """The order waited in the pool, or was in a block that a reorganisation took back, when another wallet used its
    number: once that is final it is dead for ever, and done anew, once."""
    asyncio.run(scenes.burnt_after_it_was_seen(make(), mined=mined))


def test_a_reorganisation_takes_an_order_back_and_it_is_executed_once(make: Make) -> None:
    """In a block, gone with it, and sent again: nothing is booked before it is final, and then once."""
    asyncio.run(scenes.taken_back(make()))


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
