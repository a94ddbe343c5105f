"""Orders that draw on the same money, or on the same allowance: what one may still take no other counts on, and what it
has taken nobody keeps for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from exchange_kernel.models import IntentStatus
from exchange_kernel.schema import AmountType, Side, StandardOrder, TimeInForce
from exchange_kernel_evm.abi import Event
from exchange_kernel_evm.tokens import ALLOWANCE
from exchange_kernel_uniswap.deployment import MAINNET
from plugins.evm.tests.table import ENDED, FULL, QUICK, ROOM
from plugins.uniswap.tests.ground import Node, Trader
from plugins.uniswap.tests.table import ERC20, SwapTable, allow, make

__all__ = ["make"]

Make = Callable[..., SwapTable]
FILLED, CANCELED, REJECTED = IntentStatus.FILLED, IntentStatus.CANCELED, IntentStatus.REJECTED
APPROVAL = Event.of("Approval(address,address,uint256)", ["address", "address"], ["uint256"])
HALF = "0.5"


@pytest.fixture
def poor(node: Node, trader: Trader) -> Callable[[str, str], None]:
    """Gives the account exactly so much of a token."""

    def give(name: str, amount: str) -> None:
        token, decimals = ERC20[name]
        node("anvil_dealERC20", trader.address, token, hex(int(Decimal(amount).scaleb(decimals))))

    return give


async def held(table: SwapTable, kernel: object, name: str) -> str:
    """Wait until an order says that it waits for another one's money; what it says."""

    async def said() -> str:
        state = await kernel.get_order_state(name)  # type: ignore[attr-defined]
        return next((each.message for each in state.conditions if each.reason == "NotNow"), "")

    return str(await table.until(said, f"{name} is held", blocks=False))


def test_the_second_order_for_the_whole_balance_is_never_signed(make: Make, poor: Callable[[str, str], None]) -> None:
    """While the first one waits for its block the second one is held; once the money is gone it is refused, by name,
    and has cost nothing."""
    poor("WETH", HALF)

    async def scene() -> None:
        table = make()
        async with table.kernel() as kernel:
            await kernel.place_order(table.order(HALF), "a")
            await table.waits()
            await kernel.place_order(table.order(HALF), "b")
            assert await held(table, kernel, "b") == ("needs 0.5 WETH and has 0.5, of which other orders may spend 0.5")
            assert len(table.node.waiting(table.address)) == 1
            assert (await table.reaches(kernel, "a", *ENDED)).status is FILLED
            state = await table.reaches(kernel, "b", *ENDED)
            assert (state.status, state.reason) == (REJECTED, "needs 0.5 WETH and has 0")
            await table.judge()
        assert (table.evidence.used, table.swaps()) == (1, 1)

    asyncio.run(scene())


def test_what_a_cancelled_order_kept_is_free_again(make: Make, poor: Callable[[str, str], None]) -> None:
    """The first is cancelled in its pool: the second, held until then, has all of it."""
    poor("WETH", HALF)

    async def scene() -> None:
        table = make()
        async with table.kernel() as kernel:
            await kernel.place_order(table.order(HALF), "a")
            await table.waits()
            await kernel.place_order(table.order(HALF), "b")
            await held(table, kernel, "b")
            table.room(FULL)
            await kernel.cancel_order("a")
            assert (await table.reaches(kernel, "a", *ENDED)).status is CANCELED
            table.room(ROOM)
            assert (await table.reaches(kernel, "b", *ENDED)).status is FILLED
            await table.judge()
        assert (table.evidence.used, table.swaps()) == (2, 1)

    asyncio.run(scene())


def test_what_an_order_did_not_take_is_free_at_once(make: Make, poor: Callable[[str, str], None]) -> None:
    """An IOC for all of it is done in part: what is left is the next order's in the next block, long before the first
    one is final."""
    depth = 40
    poor("WETH", "2000")

    async def scene() -> None:
        table = make(confirmations=depth)
        async with table.kernel() as kernel:
            await kernel.place_order(table.order("2000", "2960", TimeInForce.IOC), "a")
            await table.waits()
            await kernel.place_order(table.order("400", "2000"), "b")
            await held(table, kernel, "b")
            table.mine()
            await table.waits()
            assert not (await kernel.get_order_state("a")).status.terminal
            table.node.mine(depth)
            first, second = [await table.reaches(kernel, name, *ENDED) for name in ("a", "b")]
            assert (first.status, second.status) == (IntentStatus.EXPIRED, FILLED)
            assert 0 < first.filled_base < 2000
            await table.judge()
        assert table.evidence.used == 2

    asyncio.run(scene())


def test_an_order_that_is_held_too_long_expires_unsent(make: Make, poor: Callable[[str, str], None]) -> None:
    """The first never gets a block: the second ends when nobody wants it any more, and was never signed."""
    poor("WETH", HALF)

    async def scene() -> None:
        table = make()
        async with table.kernel(replace(QUICK, single_shot_deadline_ms=1_500)) as kernel:
            await kernel.place_order(table.order(HALF), "a")
            await table.waits()
            await kernel.place_order(table.order(HALF), "b")
            state = await table.reaches(kernel, "b", *ENDED, blocks=False)
            assert (state.status, state.attempts) == (IntentStatus.EXPIRED, 0)
            assert len(table.node.waiting(table.address)) == 1
            await table.reaches(kernel, "a", *ENDED)
            await table.judge()

    asyncio.run(scene())


def tether(amount: str) -> StandardOrder:
    """Buys WETH for so much Tether."""
    more = {"amount_type": AmountType.QUOTE, "limit_price": 6000, "time_in_force": TimeInForce.FOK}
    return StandardOrder("WETH/USDT", Side.BUY, Decimal(amount), **more)  # type: ignore[arg-type]


def test_a_reset_lets_no_order_that_lives_revert(trader: Trader, make: Make) -> None:
    """Behind an order that waits for its block, another one needs Tether's allowance reset. A third, for which what the
    chain still shows would do, is not signed behind the reset: all three are done, and none reverts."""
    allow(trader, ("USDT",), 100_000_000)

    async def scene() -> None:
        table = make(symbols=["WETH/USDT"])
        async with table.kernel() as kernel:
            await kernel.place_order(tether("60"), "a")
            await table.waits()
            await kernel.place_order(tether("70"), "b")
            await table.waits(2)
            await kernel.place_order(tether("30"), "c")

            async def waits() -> bool:
                state = await kernel.get_order_state("c")
                return any("reset" in each.message for each in state.conditions)

            await table.until(waits, "the third waits for the reset", blocks=False)
            assert len(table.node.waiting(table.address)) == 2
            for name in ("a", "b", "c"):
                assert (await table.reaches(kernel, name, *ENDED)).status is FILLED
            await table.judge()
            assert all(each.ok for each in table.evidence.transactions())
        assert table.evidence.moved["USDT"] == -160_000_000

    asyncio.run(scene())


def test_what_a_resting_order_has_paid_in_is_not_allowed_twice(trader: Trader, make: Make) -> None:
    """Its mint has taken the deposit: the next order's approval is for that order alone."""

    async def scene() -> None:
        table = make()
        market = table.setup.market("WETH/USDC")
        steps = [found for found in market.scale.edges(Decimal(4000), Side.SELL, market.makers[0].spacing) if found]
        more = {"limit_price": steps[-1][0], "time_in_force": TimeInForce.GTC, "post_only": True}
        async with table.kernel() as kernel:
            for name, amount in (("a", "3"), ("b", "2")):
                order = StandardOrder("WETH/USDC", Side.SELL, Decimal(amount), **more)  # type: ignore[arg-type]
                await kernel.place_order(order, name)
                await table.reaches(kernel, name, IntentStatus.WORKING)
                table.mine()
            weth, manager = ERC20["WETH"][0], MAINNET.v3_positions
            logs = [log for each in table.evidence.transactions() for log in each.receipt["logs"]]
            found = [row for log in logs if log["address"].lower() == weth.lower() and (row := APPROVAL.read(log))]
            approved = [row[-1] for row in found if row[1].lower() == manager.lower()]
            assert len(approved) == 2 and approved[1] <= 2 * 10**18 < approved[0] <= 3 * 10**18
            assert trader.view(weth, ALLOWANCE, trader.address, manager)[0] < 100
            for name in ("a", "b"):
                await kernel.cancel_order(name)
                await table.reaches(kernel, name, *ENDED)
            await table.judge()

    asyncio.run(scene())
