"""A real kernel asks for more than Binance takes: nothing is lost, nothing doubled, and nobody is banned."""

from __future__ import annotations

import pytest

from exchange_kernel.models import IntentStatus
from exchange_kernel_binance.conformance import BinanceHarness, SpotHarness, UsdmHarness
from exchange_kernel_binance.simulator import Simulator
from exchange_kernel_binance.simulator.wire.limits import Rule
from plugins.binance.tests.trading import ENDED, Trading, on, resting

ORDERS = 60
TIGHT = Rule("ORDERS", "SECOND", 2, 20)


def _tighten(binance: Simulator, market: str) -> None:
    limits = binance.limits["spot" if market == "spot" else "futures"]
    limits.rules = (*(rule for rule in limits.rules if rule.kind != "ORDERS"), TIGHT)


def _asked(binance: Simulator, market: str) -> tuple[int, int]:
    """(orders asked for, bans)."""
    limits = binance.limits["spot" if market == "spot" else "futures"]
    gate = binance.gate if market == "spot" else binance.futures.gate
    return gate.counts["order.place"], sum(each.bans for each in limits._addresses.values())


@pytest.mark.parametrize("make", [SpotHarness, UsdmHarness])
def test_a_burst_at_the_order_limit(make: type[BinanceHarness]) -> None:
    """Three times as many orders at once as an interval allows: each is at Binance once, and nobody was banned."""

    async def scene(trading: Trading) -> None:
        await trading.harness._ask(lambda binance: _tighten(binance, make.market))
        async with trading.kernel() as kernel:
            names = [f"order-{number}" for number in range(ORDERS)]
            for name in names:
                await kernel.place_order(resting(trading.harness), name)
            for name in names:
                await trading.reaches(kernel, name, IntentStatus.WORKING)
            live = await trading.live()
            assert len(live) == len(await trading.orders()) == ORDERS
            for name in names:
                await kernel.cancel_order(name)
            for name in names:
                await trading.reaches(kernel, name, *ENDED)
        assert await trading.live() == []
        assert len(await trading.orders()) == ORDERS
        asked, bans = await trading.harness._ask(lambda binance: _asked(binance, make.market))
        # On a busy machine a request may come too late for its window, and is made anew.
        assert ORDERS <= asked <= ORDERS * 11 // 10
        assert bans == 0

    on(make, scene)
