"""What the conformance kit finds at its Binance: funded accounts, requests that change something, a wrong clock."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from exchange_kernel.clock import SystemClock
from exchange_kernel_binance.simulator import SimulatorConfig, standard_config
from exchange_kernel_binance.simulator.config import AccountConfig

CHANGES = frozenset(
    {
        *("order.place", "order.cancel", "order.amend.keepPriority", "order.modify", "openOrders.cancelAll"),
        *("orderList.place.oco", "orderList.place.oto", "orderList.place.otoco"),
        *("algoOrder.place", "algoOrder.cancel"),
        *("margin.order.place", "margin.order.cancel"),
    }
)
"""Requests that change something, by their WebSocket names."""


class LocalClock(SystemClock):
    """The machine's clock, wrong by ``skew_ms``."""

    skew_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.skew_ms


def funded(keys: Mapping[str, str], secrets: Mapping[str, str]) -> SimulatorConfig:
    """An exchange with these accounts, which can pay for whatever a case orders."""
    config = standard_config()
    money = {"BTC": Decimal(100), "ETH": Decimal(1_000), "USDT": Decimal(8_000_000)}
    config.accounts = [
        AccountConfig(name, key, secrets[name], balances=dict(money), futures=Decimal(5_000_000))
        for name, key in keys.items()
    ]
    for contract in config.futures:
        contract.max_qty = Decimal(100_000)
    return config
