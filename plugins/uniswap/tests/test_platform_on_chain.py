"""The ordinary path, with a real kernel and a real database on the fork: each order is one swap, as the chain tells."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from exchange_kernel.models import IntentStatus
from exchange_kernel.schema import AmountType, Side, StandardOrder, TimeInForce
from plugins.uniswap.tests.desk import ACCOUNT, Desk, booked, record_of
from plugins.uniswap.tests.ground import Node, Trader

FINISHED = (IntentStatus.FILLED, IntentStatus.REJECTED, IntentStatus.EXPIRED, IntentStatus.CANCELED)
ROWS = [(side, amount_in) for side in Side for amount_in in AmountType]


@pytest.fixture
def desk(node: Node, trader: Trader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    desk = Desk(node, trader, tmp_path)
    for name, value in desk.environment.items():
        monkeypatch.setenv(name, value)
    return desk


def market(side: Side, amount_in: AmountType, symbol: str = "WETH/USDC", **more: Any) -> StandardOrder:
    """About a coin's worth, at most 1 % from the touch."""
    amount = "0.7" if amount_in is AmountType.BASE else "2100"
    tif = TimeInForce.FOK
    return StandardOrder(
        symbol, side, Decimal(amount), amount_type=amount_in, max_slippage=Decimal("0.01"), time_in_force=tif, **more
    )


@pytest.mark.parametrize(("side", "amount_in"), ROWS)
@pytest.mark.parametrize("symbol", ["WETH/USDC", "ETH/USDC"])
def test_a_market_order_is_one_swap(desk: Desk, symbol: str, side: Side, amount_in: AmountType) -> None:
    """Both sides and both units, wrapped or not: one transaction succeeds under its tag, the amount that was asked for
    moves to the unit, and the books are the balances."""

    async def scene() -> None:
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            await kernel.place_order(market(side, amount_in, symbol), "a")
            state = await desk.reaches(kernel, "a", *FINISHED)
            assert state.status is IntentStatus.FILLED, state
            record = await record_of(platform, "a")
        before.judge(record)
        base, quote = symbol.split("/")
        sign = 1 if side is Side.BUY else -1
        moved = before.moved
        assert set(moved) == {base, quote}
        changed = {"base": desk.amount(base, moved[base] * sign), "quote": desk.amount(quote, -moved[quote] * sign)}
        assert booked(record) == changed
        exact = changed["base" if amount_in is AmountType.BASE else "quote"]
        assert exact == (Decimal("0.7") if amount_in is AmountType.BASE else 2100)

    asyncio.run(scene())
