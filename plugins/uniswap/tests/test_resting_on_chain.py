"""Post-only orders with a real kernel and database on the fork: each is one position, and its fills are what the chain
paid when it was withdrawn, whatever the price did before."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from exchange_kernel.errors import InvalidOrder
from exchange_kernel.models import IntentStatus
from exchange_kernel.schema import AmountType, Side, TimeInForce
from exchange_kernel.venue import Executed
from plugins.uniswap.tests.desk import ACCOUNT, Desk, record_of
from plugins.uniswap.tests.pit import (
    AMOUNT,
    FINISHED,
    Open,
    Pit,
    desk,
    drop_all,
    judged,
    maker,
    opened,
    resting,
    tentative,
    waiting,
    working,
)

__all__ = ["desk", "opened"]


@pytest.mark.parametrize("amount_in", list(AmountType))
@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("symbol", ["WETH/USDC", "ETH/USDT"])
def test_the_price_goes_through_and_the_proceeds_are_taken_once(
    desk: Desk, symbol: str, side: Side, amount_in: AmountType
) -> None:
    """Both sides, both units, ether itself: placed, passed, settled; the fill is the withdrawal, to the unit."""

    async def scene() -> None:
        pit = Pit(desk, symbol)
        order = maker(pit, side, amount_in)
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            await kernel.place_order(order, "a")
            await working(desk, kernel, "a")
            pit.move(order, Fraction(1))
            state = await desk.reaches(kernel, "a", *FINISHED)
            assert state.status is IntentStatus.FILLED, state
            record = await record_of(platform, "a")
        judged(desk, before, record)
        (fill,) = record.fills
        assert fill.maker
        done = fill.base if amount_in is AmountType.BASE else fill.quote
        assert abs(done - order.amount) <= order.amount / 10**6
        assert order.limit_price is not None
        assert fill.quote / fill.base >= order.limit_price if side is Side.SELL else True
        assert fill.quote / fill.base <= order.limit_price if side is Side.BUY else True

    asyncio.run(scene())


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("part", [Fraction(0), Fraction(2, 5)])
def test_a_cancel_books_what_was_executed_until_then(desk: Desk, side: Side, part: Fraction) -> None:
    """Untouched, the deposit comes back but for what the pool rounds away, which is a cost; touched, the executed part
    is one fill. Nothing is booked before."""

    async def scene() -> None:
        pit = Pit(desk)
        order = maker(pit, side)
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            await kernel.place_order(order, "a")
            await working(desk, kernel, "a")
            if part:
                pit.move(order, part)
                await desk.passes(3)
                seen = await tentative(kernel)
                assert seen is not None and 0 < seen.base < AMOUNT
            assert not (await kernel.get_order_state("a")).filled_base
            await kernel.cancel_order("a")
            state = await desk.reaches(kernel, "a", *FINISHED)
            assert state.status is IntentStatus.CANCELED, state
            record = await record_of(platform, "a")
        judged(desk, before, record)
        assert len(record.fills) == bool(part)
        if part:
            assert record.fills[0].base == seen.base

    asyncio.run(scene())


def test_what_the_price_takes_back_was_never_filled(desk: Desk) -> None:
    """Most of the way and back again: the tentative execution falls to nothing, no fill is booked, and after it went
    through for good there is one."""

    async def scene() -> None:
        pit = Pit(desk)
        order = maker(pit, Side.SELL)
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            await kernel.place_order(order, "a")
            await working(desk, kernel, "a")
            rows = []
            for part in (Fraction(9, 10), Fraction(1, 10), Fraction(0)):
                pit.move(order, part)
                await desk.passes(2)
                rows.append(await tentative(kernel))
            most, little, none = rows
            assert most is not None and little is not None
            assert most.base > little.base > 0
            assert none == Executed()
            record = await record_of(platform, "a")
            assert not record.fills and record.progress.status is IntentStatus.WORKING
            pit.move(order, Fraction(1))
            assert (await desk.reaches(kernel, "a", *FINISHED)).status is IntentStatus.FILLED
            record = await record_of(platform, "a")
        judged(desk, before, record)
        (fill,) = record.fills
        assert fill.fees  # it earned the pool's fee on the way there and back

    asyncio.run(scene())


def test_only_the_withdrawal_counts(desk: Desk) -> None:
    """All of it is executed and the withdrawal is on its way; the price comes back before its block. It reverts, the
    order rests on, its gas is booked, and when the price goes through again one fill is."""

    async def scene() -> None:
        pit = Pit(desk)
        order = maker(pit, Side.BUY)
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            await kernel.place_order(order, "a")
            await working(desk, kernel, "a")
            pit.move(order, Fraction(1))
            desk.node("evm_setAutomine", False)
            await waiting(desk, 1)
            kept = drop_all(desk)
            desk.node("evm_setAutomine", True)
            pit.move(order, Fraction(0))
            for raw in kept:
                desk.node("eth_sendRawTransaction", raw)
            await desk.passes(6)
            assert await tentative(kernel) == Executed()
            assert (await kernel.get_order_state("a")).status is IntentStatus.WORKING
            pit.move(order, Fraction(1))
            assert (await desk.reaches(kernel, "a", *FINISHED)).status is IntentStatus.FILLED
            record = await record_of(platform, "a")
        failed = [tx for tx, receipt in before.transactions() if receipt["status"] == "0x0"]
        assert len(failed) == 1
        judged(desk, before, record)
        assert len(record.fills) == 1

    asyncio.run(scene())


def test_an_order_that_would_take_is_refused_unsigned(desk: Desk) -> None:
    """At the market's own step and beyond it: rejected by name, and no transaction was made."""

    async def scene() -> None:
        pit = Pit(desk)
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            for n, (side, steps) in enumerate([(Side.SELL, -3), (Side.BUY, -3), (Side.SELL, -1), (Side.BUY, -1)]):
                await kernel.place_order(maker(pit, side, steps=steps), f"o{n}")
                state = await desk.reaches(kernel, f"o{n}", *FINISHED)
                assert state.status is IntentStatus.REJECTED
                assert "the order's step is" in state.reason
        assert before.used == 0

    asyncio.run(scene())


def test_a_price_off_the_grid_is_told_its_neighbours(desk: Desk) -> None:
    """Before anything is written; and both neighbours are taken."""

    async def scene() -> None:
        pit = Pit(desk)
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            order = maker(pit, Side.SELL).but(limit_price=Decimal(3300))
            with pytest.raises(InvalidOrder, match="is not a price of this pool's tick grid") as caught:
                await kernel.place_order(order, "a")
            near = [Decimal(each) for each in caught.value.hint.removeprefix("near: ").split(" and ")]
            assert near[0] < 3300 < near[1]
            for price in near:
                assert not (await kernel.dry_run(order.but(limit_price=price))).emulated

    asyncio.run(scene())


@pytest.mark.parametrize("side", list(Side))
def test_what_a_position_holds_is_the_accounts_and_not_free(desk: Desk, side: Side) -> None:
    """Total is what is free and what a withdrawal would pay; as a position the base in it shows."""

    async def scene() -> None:
        pit = Pit(desk)
        order = maker(pit, side)
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            adapter: Any = kernel._session.adapter  # type: ignore[attr-defined]
            had = {row.asset: row for row in (await adapter.account()).balances}
            assert all(row.total == row.free for row in had.values())
            await kernel.place_order(order, "a")
            await working(desk, kernel, "a")
            pit.move(order, Fraction(1, 2))
            await desk.passes(2)
            snapshot, seen = await adapter.account(), await tentative(kernel)
            now = {row.asset: row for row in snapshot.balances}
            assert seen is not None
            free = {name: desk.amount(name, units) for name, units in desk.evidence().balances().items()}
            assert {name: row.free for name, row in now.items()} == free
            inside = {name: row.total - row.free for name, row in now.items() if row.total != row.free}
            sign = 1 if side is Side.SELL else -1
            assert inside.keys() == {"WETH", "USDC"}
            for asset, done in (("WETH", -sign * seen.base), ("USDC", sign * seen.quote)):
                lost = now[asset].total - had[asset].total - done
                assert -1 <= lost.scaleb(desk.setup.tokens[asset].decimals) <= 1
            (position,) = snapshot.positions
            assert (position.symbol, position.amount) == ("WETH/USDC", inside["WETH"])
            await kernel.cancel_order("a")
            await desk.reaches(kernel, "a", *FINISHED)
            await desk.passes(1)
            after = await adapter.account()
            assert not after.positions
            assert all(row.total == row.free for row in after.balances)

    asyncio.run(scene())


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("amount_in", list(AmountType))
@pytest.mark.parametrize("symbol", ["WETH/USDC", "ETH/USDC"])
def test_a_kernel_that_lost_its_database_finds_what_rests(
    opened: Open, symbol: str, side: Side, amount_in: AmountType
) -> None:
    """From the position to its mint, and from its calldata to the very order: key, side, amount, price."""
    desk = opened(symbols=["WETH/USDC", "ETH/USDC"])

    async def scene() -> None:
        pit = Pit(desk, symbol)
        order = maker(pit, side, amount_in)
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            await kernel.place_order(order, "a")
            await working(desk, kernel, "a")
            record = await record_of(platform, "a")
        desk.folder = desk.folder / "another"
        desk.folder.mkdir()
        desk.mine(200)
        async with desk.platform() as platform:
            report = await resting(platform[ACCOUNT])
        assert report is not None
        assert (report.key, report.symbol, report.side) == (record.attempts[0].key, symbol, side)
        assert (report.amount, report.price) == (order.amount, order.limit_price)

    asyncio.run(scene())


def test_a_day_order_rests_and_is_withdrawn_by_the_kernels_timer(desk: Desk) -> None:
    """Its end is not on the chain: the kernel withdraws it then, and books what was executed."""

    async def scene() -> None:
        pit = Pit(desk)
        end = time.time_ns() // 1_000_000 + 4_000
        order = maker(pit, Side.BUY, tif=TimeInForce.GTD, expire_at=end)
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            assert (await kernel.dry_run(order)).emulated == ("gtd",)
            await kernel.place_order(order, "a")
            await working(desk, kernel, "a")
            pit.move(order, Fraction(1, 4))
            state = await desk.reaches(kernel, "a", *FINISHED)
            assert state.status is IntentStatus.EXPIRED, state
            record = await record_of(platform, "a")
        judged(desk, before, record)
        assert len(record.fills) == 1

    asyncio.run(scene())
