"""Orders that the chain refuses: too little allowed, a price that moved first, a pool that was emptied, a deadline that
passed. Each is over once, its gas is booked, and nothing moved."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_utils.crypto import keccak

from exchange_kernel.clock import SystemClock
from exchange_kernel.models import IntentStatus
from exchange_kernel.schema import Side, StandardOrder, TimeInForce
from exchange_kernel.testing.faults import FaultProxy
from exchange_kernel.venue import Spec
from exchange_kernel_evm.abi import Function
from exchange_kernel_evm.tokens import ALLOWANCE, APPROVE
from exchange_kernel_uniswap.deployment import MAINNET
from exchange_kernel_uniswap.orders import swap_draft
from exchange_kernel_uniswap.range_orders import DECREASE, MINT
from exchange_kernel_uniswap.receipts import INCREASE
from exchange_kernel_uniswap.swaps import swap_of
from exchange_kernel_uniswap.ticks import sqrt_of
from plugins.evm.tests.chain import CONFIRMATIONS
from plugins.evm.tests.scenes import GWEI
from plugins.evm.tests.table import ENDED, FULL, ROOM
from plugins.uniswap.tests.ground import EVERYTHING, FAR, Node, Trader
from plugins.uniswap.tests.pools_made import enrich
from plugins.uniswap.tests.table import ERC20, SwapTable, allow, make

__all__ = ["make"]

Make = Callable[..., SwapTable]
FILLED, REJECTED, EXPIRED = IntentStatus.FILLED, IntentStatus.REJECTED, IntentStatus.EXPIRED
CREATE = Function.of("createAndInitializePoolIfNecessary", ("address", "address", "uint24", "uint160"), ("address",))
ROUTER = MAINNET.swap_router
LATE_S = 60
"""Longer than a FOK waits for its block."""


@pytest.fixture
def stranger(node: Node, make: Make) -> Trader:
    """Somebody else, who is rich and whom everybody may serve."""
    found = Trader(node, Account.from_key("0x" + "c9" * 32))
    enrich(node, found.address, make().setup, 60_000_000)
    node("evm_setAutomine", True)
    for name in ("WETH", "USDC", "WBTC"):
        for spender in (ROUTER, MAINNET.v3_positions):
            assert found.send(ERC20[name][0], APPROVE.call(spender, EVERYTHING))[0].ok
    return found


@pytest.fixture
def opened(make: Make, stranger: Trader) -> Make:
    """Tables once the stranger is ready: no block is made but on demand."""
    return make


def dump(table: SwapTable, stranger: Trader) -> None:
    """Somebody sells a lot, and pays to be first in the next block."""
    market = table.setup.market("WETH/USDC")
    swap = swap_of(Spec("WETH/USDC", Side.SELL, Decimal(3000), limit=Decimal("0.01")), market.base, market.quote)
    drafts = [
        swap_draft(MAINNET, each, swap, stranger.address, FAR, universal=False) for each in market.sells if each.single
    ]
    hashes = [stranger.broadcast(each.to, each.data, tip=50 * GWEI, ahead=number) for number, each in enumerate(drafts)]
    table.mine()
    assert all(table.node("eth_getTransactionReceipt", each)["status"] == "0x1" for each in hashes)


async def over(table: SwapTable, kernel: Any, status: IntentStatus) -> str:
    """The only order ended so, gas is booked as paid, and nothing moved; why it ended."""
    state = await table.reaches(kernel, "a", *ENDED)
    assert (state.status, state.filled_base) == (status, 0), state
    await table.judge()
    assert (table.evidence.moved, table.swaps()) == ({}, 0)
    return str(state.reason)


def test_what_was_allowed_too_little_is_allowed_first(node: Node, trader: Trader, make: Make) -> None:
    """One unit less than the order sells: an approval, then the swap, each once, and nothing is left allowed."""
    allow(trader, ("WETH",), 10**16 - 1)

    async def scene() -> None:
        table = make()
        async with table.kernel() as kernel:
            await kernel.place_order(table.order("0.01"), "a")
            assert (await table.reaches(kernel, "a", *ENDED)).status is FILLED
            await table.judge()
        assert (table.evidence.used, table.swaps()) == (2, 1)
        assert trader.view(ERC20["WETH"][0], ALLOWANCE, trader.address, ROUTER) == (0,)

    asyncio.run(scene())


def test_an_allowance_taken_away_before_the_block_costs_gas_and_nothing_else(trader: Trader, make: Make) -> None:
    """Another wallet of the owner lowers it while the swap waits, under the number before: the swap reverts, its gas is
    booked, and it is not tried again."""

    async def scene() -> None:
        table = make()
        async with table.kernel() as kernel:
            await kernel.place_order(table.order("0.01"), "a")
            (tx,) = await table.waits()
            slot = allowance_slot(table, tx)
            table.node("anvil_setStorageAt", ERC20["WETH"][0], slot, "0x" + "0" * 64)
            assert "revert" in await over(table, kernel, REJECTED)
        assert table.evidence.used == 1

    asyncio.run(scene())


def allowance_slot(table: SwapTable, tx: dict[str, Any]) -> str:
    """WETH9 keeps allowances in slot 4, by owner and spender."""
    outer = keccak(encode(("address", "uint256"), (table.address, 4)))
    return "0x" + keccak(encode(("address", "bytes32"), (ROUTER, outer))).hex()


@pytest.mark.parametrize("tif", [TimeInForce.FOK, TimeInForce.IOC])
def test_a_price_that_moves_first_costs_gas_and_nothing_else(opened: Make, stranger: Trader, tif: TimeInForce) -> None:
    """Somebody sells a lot in the same block, and before: the swap's own guard reverts it, once."""

    async def scene() -> None:
        table = opened()
        async with table.kernel() as kernel:
            await kernel.place_order(table.order("0.5", "2990", tif), "a")
            await table.waits()
            dump(table, stranger)
            assert "revert" in await over(table, kernel, REJECTED)
        assert table.evidence.used == 1

    asyncio.run(scene())


def make_pool(stranger: Trader) -> None:
    """A pool without liquidity, at 60,000 USDC for a coin."""
    pair = (ERC20["WBTC"][0], ERC20["USDC"][0])
    stranger.send(MAINNET.v3_positions, CREATE.call(*pair, 500, sqrt_of(600, 1, up=False)), gas=8_000_000)


EMPTY = {"pools": [{"version": "v3", "tokens": ["WBTC", "USDC"], "fee": 500}], "symbols": ["WBTC/USDC"]}


def sale(tif: TimeInForce) -> StandardOrder:
    return StandardOrder("WBTC/USDC", Side.SELL, Decimal("0.1"), limit_price=Decimal(50_000), time_in_force=tif)


@pytest.mark.parametrize("tif", [TimeInForce.FOK, TimeInForce.IOC])
def test_nothing_is_signed_for_an_empty_pool(opened: Make, stranger: Trader, tif: TimeInForce) -> None:
    """It exists and has a price, and nobody's liquidity: the order is refused by name, and the chain has not heard of
    it."""
    make_pool(stranger)

    async def scene() -> None:
        table = opened(**EMPTY)
        async with table.kernel() as kernel:
            await kernel.place_order(sale(tif), "a")
            assert "liquidity" in await over(table, kernel, REJECTED)
        assert table.evidence.used == 0

    asyncio.run(scene())


@pytest.mark.parametrize("tif", [TimeInForce.FOK, TimeInForce.IOC])
def test_a_pool_emptied_before_the_block_gives_nothing(
    trader: Trader, opened: Make, stranger: Trader, tif: TimeInForce
) -> None:
    """Its only liquidity is withdrawn in the same block, and before: nothing is executed, and its gas is booked."""
    make_pool(stranger)
    allow(trader, ("WBTC",))
    span = (ERC20["WBTC"][0], ERC20["USDC"][0], 500, -887_270, 887_270)
    mint = MINT.call((*span, 10 * 10**8, 600_000 * 10**6, 0, 0, stranger.address, FAR))
    minted, _ = stranger.send(MAINNET.v3_positions, mint)
    (made,) = [found for log in minted.logs if (found := INCREASE.read(log)) is not None]

    async def scene() -> None:
        table = opened(**EMPTY)
        async with table.kernel() as kernel:
            await kernel.place_order(sale(tif), "a")
            await table.waits()
            taken = stranger.broadcast(
                MAINNET.v3_positions, DECREASE.call((made[0], made[1], 0, 0, FAR)), tip=50 * GWEI
            )
            table.mine()
            assert table.node("eth_getTransactionReceipt", taken)["status"] == "0x1"
            assert "revert" in await over(table, kernel, REJECTED)
        assert table.evidence.used == 1

    asyncio.run(scene())


def dated(table: SwapTable, seconds: int) -> StandardOrder:
    """It rests in the kernel until its price is there, which it is at once, and no longer than so many seconds."""
    end = SystemClock().now_ms() + seconds * 1000
    return table.order("0.01").but(time_in_force=TimeInForce.GTD, expire_at=end)


@pytest.mark.parametrize("dropped", [False, True])
def test_what_waits_in_the_pool_beyond_its_end_is_never_executed(make: Make, dropped: bool) -> None:
    """No block has room for it, or the pool forgot it, until its date has passed: its number is used by a transfer of
    nothing, and nothing is executed when there is room again."""

    async def scene() -> None:
        table = make()
        async with table.kernel() as kernel:
            await kernel.place_order(dated(table, 3), "a")
            await table.waits()
            table.room(FULL)
            if dropped:
                table.node("anvil_dropAllTransactions")
            state = await table.reaches(kernel, "a", *ENDED)
            assert state.status is EXPIRED
            table.room(ROOM)
            for _ in range(3):
                table.mine()
            await over(table, kernel, EXPIRED)

            async def spent() -> bool:
                return table.evidence.used == 1

            await table.until(spent, "its number is used")

    asyncio.run(scene())


def test_a_block_after_the_end_reverts_it(make: Make) -> None:
    """The chain's clock passes its deadline before any block has it, by the local clock it is young: what the block
    takes is reverted by the contract itself, its gas is booked, and by the ledger's clock it is over."""

    async def scene() -> None:
        table = make()
        async with table.kernel() as kernel:
            await kernel.place_order(table.order("0.01"), "a")
            (tx,) = await table.waits()
            table.node("evm_increaseTime", LATE_S)
            table.mine()
            assert table.node("eth_getTransactionReceipt", tx["hash"])["status"] == "0x0"
            await over(table, kernel, REJECTED)
        assert table.evidence.used == 1

    asyncio.run(scene())


def test_what_frees_a_number_after_its_order_is_over_is_paid_for(node: Node, make: Make) -> None:
    """The swap never left, and by the ledger's clock it can never execute: its order is over, or done anew. Only then
    its number is used up, by a transfer of nothing, and that gas is its order's, too."""

    async def scene() -> None:
        async with FaultProxy(node.url) as relay:
            table = make(broadcast=relay.url)
            lost = relay.drop_request(rpc="eth_sendRawTransaction", times=None)
            async with table.kernel() as kernel:
                await kernel.place_order(table.order("0.01"), "a")
                await lost.wait()
                table.node("evm_increaseTime", LATE_S)
                for _ in range(CONFIRMATIONS + 2):
                    table.mine()

                async def dead() -> bool:
                    return not (await table.record("a")).attempts[0].state.live

                await table.until(dead, "the first attempt is proved dead", blocks=False)
                assert table.evidence.used == 0
                lost.clear()
                await table.reaches(kernel, "a", *ENDED)

                async def paid() -> bool:
                    (first, *_) = (await table.record("a")).attempts
                    return bool(first.costs)

                await table.until(paid, "the first number's gas is booked")
                await table.judge()
                record = await table.record("a")
            ours = [body for body in table.evidence.bodies(record) if body.op == "burn"]
            burnt = {each.tx["hash"]: each for each in table.evidence.of(record)}[ours[-1].tx.hash]
            (cost,) = record.attempts[0].costs
            assert cost.amount == Decimal(burnt.gas).scaleb(-18)
            async with table.kernel():
                await table.judge()  # and once only, also for who starts anew

    asyncio.run(scene())
