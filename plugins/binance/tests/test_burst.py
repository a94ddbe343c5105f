"""More orders at once than Binance takes: none is lost, none comes twice, and nobody is banned."""

from __future__ import annotations

from exchange_kernel.models import IntentStatus
from exchange_kernel_binance.conformance import CHANGES, SpotHarness
from exchange_kernel_binance.simulator import Simulator
from plugins.binance.tests.trading import Trading, on, resting

ORDERS = 120
"""Spot takes 100 in ten seconds."""


class Limited(SpotHarness):
    """With the limits that Binance has."""

    def _ready(self, binance: Simulator) -> None:
        rules = binance.limits["spot"].rules
        super()._ready(binance)
        binance.limits["spot"].rules = rules


def test_a_burst_at_the_order_limit_loses_and_doubles_nothing() -> None:
    """What is too much waits for the next window; each order is sent once, and not one of them is refused."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:
            for number in range(ORDERS):
                await kernel.place_order(resting(trading.harness), f"i{number}")

            async def all_there() -> bool:
                states = [await kernel.get_order_state(f"i{number}") for number in range(ORDERS)]
                return all(state.status is IntentStatus.WORKING for state in states)

            await trading.until(all_there, 45)
        assert len(await trading.live()) == len(await trading.orders()) == ORDERS
        counts = await trading.harness._ask(lambda binance: dict(binance.gate.counts))
        assert sum(number for name, number in counts.items() if name in CHANGES) == ORDERS
        bans = await trading.harness._ask(
            lambda binance: [each.bans for each in binance.limits["spot"]._addresses.values()]
        )
        assert set(bans) == {0}

    on(Limited, scene)
