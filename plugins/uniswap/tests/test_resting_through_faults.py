"""Post-only orders through restarts, reorganisations, changes, and the hands of their owner: one position, booked as
what its withdrawal paid."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from exchange_kernel.models import IntentStatus
from exchange_kernel.schema import Side
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.venue import Executed
from exchange_kernel_evm.tokens import APPROVE
from exchange_kernel_uniswap.range_orders import close_draft
from plugins.uniswap.tests.desk import ACCOUNT, Desk, Evidence, record_of
from plugins.uniswap.tests.ground import FAR
from plugins.uniswap.tests.pit import (
    AMOUNT,
    FINISHED,
    Open,
    Pit,
    desk,
    judged,
    ledger,
    maker,
    on_chain,
    opened,
    resting,
    tentative,
    waiting,
    working,
)

__all__ = ["desk", "opened"]


def reorganise(desk: Desk, mark: str, kept: list[str], then: Callable[[], None] = lambda: None) -> None:
    """Every block since the mark is another one. ``kept``: what the pool still has."""
    head = int(desk.node("eth_blockNumber"), 16)
    desk.node.revert(mark)
    desk.node("evm_increaseTime", 1)
    then()
    while int(desk.node("eth_blockNumber"), 16) <= head:
        desk.mine()
    for raw in kept:
        desk.node("eth_sendRawTransaction", raw)


def mined_by(before: Evidence) -> int:
    return len(before.transactions())


@pytest.mark.parametrize("side", list(Side))
def test_a_restart_between_any_two_steps_changes_nothing(desk: Desk, side: Side) -> None:
    """A new platform after the mint, after a part, after all of it, after the withdrawal was sent: one fill."""

    async def scene() -> None:
        pit = Pit(desk)
        order = maker(pit, side)
        before = desk.evidence()
        async with desk.platform() as platform:
            await platform[ACCOUNT].place_order(order, "a")
            await working(desk, platform[ACCOUNT], "a")
        async with desk.platform() as platform:
            await desk.passes(2)
            assert await tentative(platform[ACCOUNT]) == Executed()
        pit.move(order, Fraction(1, 2))
        async with desk.platform() as platform:
            await desk.passes(2)
            seen = await tentative(platform[ACCOUNT])
            assert seen is not None and seen.base > 0
        pit.move(order, Fraction(1))
        desk.node("evm_setAutomine", False)
        async with desk.platform() as platform:
            await waiting(desk, 1)
        desk.node("evm_setAutomine", True)
        async with desk.platform() as platform:
            assert (await desk.reaches(platform[ACCOUNT], "a", *FINISHED)).status is IntentStatus.FILLED
        async with desk.platform() as platform:
            await desk.passes(2)
            record = await record_of(platform, "a")
        judged(desk, before, record)
        assert len(record.fills) == 1

    asyncio.run(scene())


@pytest.mark.parametrize("kept", [True, False])
def test_a_reorganisation_takes_the_mint_back(opened: Open, kept: bool) -> None:
    """The block of the mint is gone. Whether the pool still has its bytes or not, there is one position in the end."""
    desk = opened(confirmations=4)

    async def scene() -> None:
        pit = Pit(desk)
        order = maker(pit, Side.SELL)
        at = desk.setup.at
        assert desk.trader.send(at.weth, APPROVE.call(at.v3_positions, int(AMOUNT * 10**18)))[0].ok
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            mark = desk.node("evm_snapshot")
            await kernel.place_order(order, "a")
            async with asyncio.timeout(20):
                while (await kernel.get_order_state("a")).status is not IntentStatus.WORKING:
                    await asyncio.sleep(0.05)
            (tx, _) = before.transactions()[-1]
            raw = desk.node("eth_getRawTransactionByHash", tx["hash"])
            reorganise(desk, mark, [raw] if kept else [])
            await desk.until(lambda: resting(kernel), lambda: kernel.get_order_state("a"))
            await desk.passes(5)
            pit.move(order, Fraction(1))
            assert (await desk.reaches(kernel, "a", *FINISHED)).status is IntentStatus.FILLED
            record = await record_of(platform, "a")
        judged(desk, before, record)
        assert len(record.fills) == 1

    asyncio.run(scene())


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("settled", [True, False])
def test_a_reorganisation_takes_the_withdrawal_back(opened: Open, settled: bool, kept: bool) -> None:
    """A settlement or a cancel was in a block that is gone: until one is final nothing is booked, and then once."""
    desk = opened(confirmations=4)

    async def scene() -> None:
        pit = Pit(desk)
        order = maker(pit, Side.SELL)
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            await kernel.place_order(order, "a")
            await working(desk, kernel, "a")
            await desk.passes(5)
            pit.move(order, Fraction(1, 2))
            await desk.passes(5)
            mark = desk.node("evm_snapshot")
            had = mined_by(before)
            if settled:
                pit.move(order, Fraction(1))
            else:
                await kernel.cancel_order("a")
            async with asyncio.timeout(20):
                while mined_by(before) == had:
                    await asyncio.sleep(0.05)
            await asyncio.sleep(0.3)
            assert not (await record_of(platform, "a")).fills
            (tx, _) = before.transactions()[-1]
            raw = desk.node("eth_getRawTransactionByHash", tx["hash"])
            through = (lambda: pit.move(order, Fraction(1))) if settled else (lambda: None)
            reorganise(desk, mark, [raw] if kept else [], through)
            state = await desk.reaches(kernel, "a", *FINISHED)
            assert state.status is (IntentStatus.FILLED if settled else IntentStatus.CANCELED), state
            record = await record_of(platform, "a")
        judged(desk, before, record)
        assert len(record.fills) == 1

    asyncio.run(scene())


def test_a_changed_order_is_ended_and_placed_anew(desk: Desk) -> None:
    """A position stays where it is: half executed, the order is withdrawn, that is booked, and a second position has
    what is left at the new price, and never more."""

    async def scene() -> None:
        pit = Pit(desk)
        order = maker(pit, Side.SELL)
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            await kernel.place_order(order, "a")
            await working(desk, kernel, "a")
            pit.move(order, Fraction(1, 2))
            await desk.passes(2)
            changed = order.but(limit_price=pit.price(Side.SELL, 6), amount=AMOUNT + 1)
            await kernel.modify_order("a", changed)

            async def again() -> bool:
                return len((await record_of(platform, "a")).attempts) == 2 and await resting(kernel) is not None

            await desk.until(again, lambda: kernel.get_order_state("a"))
            (fill,) = (await record_of(platform, "a")).fills
            report = await resting(kernel)
            assert report is not None
            assert (report.amount, report.price) == (EXACT.subtract(AMOUNT + 1, fill.base), changed.limit_price)
            pit.move(changed, Fraction(1))
            assert (await desk.reaches(kernel, "a", *FINISHED)).status is IntentStatus.FILLED
            record = await record_of(platform, "a")
        judged(desk, before, record)
        done = sum((each.base for each in record.fills), Decimal(0))
        assert 0 <= AMOUNT + 1 - done <= Decimal("1e-9")

    asyncio.run(scene())


def test_what_its_owner_withdraws_by_hand_is_booked(desk: Desk) -> None:
    """Another wallet with the same key takes the position out: the executed part is booked, and the order is over."""

    async def scene() -> None:
        pit = Pit(desk)
        order = maker(pit, Side.SELL)
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            await kernel.place_order(order, "a")
            await working(desk, kernel, "a")
            pit.move(order, Fraction(1, 2))
            await desk.passes(2)
            adapter: Any = kernel._session.adapter  # type: ignore[attr-defined]
            (owned,) = await adapter._venue._ranges._positions.owned(adapter._ledger)
            draft = close_draft(desk.setup.at, owned.order, owned.token_id, desk.trader.address, FAR)
            assert desk.trader.send(draft.to, draft.data)[0].ok
            state = await desk.reaches(kernel, "a", *FINISHED)
            assert state.status is IntentStatus.CANCELED, state
            record = await record_of(platform, "a")
        assert ledger(record) == on_chain(desk, before)
        assert len(record.fills) == 1

    asyncio.run(scene())
