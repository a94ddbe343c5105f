"""What transactions cost besides their fills is booked once, whatever became of them: executed, cancelled, refused."""

from __future__ import annotations

from decimal import Decimal

import pytest

from exchange_kernel.events import CostBooked, Event
from exchange_kernel.models import IntentStatus
from exchange_kernel_paper.exchange.engine import FEES
from tests.interleavings.desk import ACCOUNT, Desk, buy, play

CHAINS = ("sequence", "height")
ZERO = Decimal(0)


async def events(desk: Desk) -> list[Event]:
    store = desk.new_store()
    await store.open()
    return await store.events(ACCOUNT, 0, 100_000)


def paid(desk: Desk) -> Decimal:
    """What the network has taken from the account, by the exchange's own books."""
    return desk.exchange.engine.accounts[FEES].balance("ETH").free


async def told(desk: Desk) -> list[CostBooked]:
    return [event for event in await events(desk) if isinstance(event, CostBooked)]


@pytest.mark.parametrize("fence", CHAINS)
@pytest.mark.parametrize("enable", ["off", "allowance"])
def test_every_transaction_is_paid_for_once_in_the_books(fence: str, enable: str) -> None:
    """An order that executes, one that is cancelled, one that the venue refuses, and what they needed first."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        kernel = process.kernel
        await kernel.place_order(buy(price="50010"), "takes")
        await kernel.place_order(buy(), "rests")
        await desk.reaches("takes", IntentStatus.FILLED)
        await desk.reaches("rests", IntentStatus.WORKING)
        await kernel.place_order(buy(price="50011", post_only=True), "refused")
        await desk.reaches("refused", IntentStatus.REJECTED)
        await kernel.cancel_order("rests")
        await desk.reaches("rests", IntentStatus.CANCELED)

        async def even() -> bool:
            return sum((cost.amount for cost in await told(desk)), ZERO) == paid(desk)

        await desk.until(even, what="the books say what was paid")
        assert paid(desk) > 0
        costs = await told(desk)
        assert len({cost.cost_id for cost in costs}) == len(costs)
        assert {(cost.asset, cost.cost) for cost in costs} == {("ETH", "network")}
        for name in ("takes", "rests", "refused"):
            mine = sum((cost.amount for cost in costs if cost.intent_id == name), ZERO)
            state = await kernel.get_order_state(name)
            assert mine > 0
            assert state.costs == {"ETH": mine}
        await kernel.stop()
        again = await desk.start()
        await again.kernel.place_order(buy(), "later")
        await desk.reaches("later", IntentStatus.WORKING)
        await again.kernel.cancel_order("later")
        await desk.reaches("later", IntentStatus.CANCELED)
        await desk.until(even, what="a restart books nothing twice")

    play(scene, fence=fence, enable=enable, gas_asset="ETH")
