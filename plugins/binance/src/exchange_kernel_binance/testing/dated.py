"""A future with a date of delivery, for the conformance kit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from exchange_kernel_binance.conformance import UsdmHarness
from exchange_kernel_binance.simulator import SimulatorConfig
from exchange_kernel_binance.simulator.futures.contracts import Contract

DATED = Contract(
    "BTCUSDT_271231",
    "BTC",
    "USDT",
    Decimal(50_000),
    contract_type="NEXT_QUARTER",
    delivery=int(datetime(2027, 12, 31, 8, tzinfo=UTC).timestamp() * 1000),
)


class DatedHarness(UsdmHarness):
    """The futures account, trading a contract that will be delivered."""

    listed = DATED.symbol
    symbol = "BTC/USDT:USDT-271231"
    names: Mapping[str, str] = {**UsdmHarness.names, DATED.symbol: symbol}

    def _settings(self) -> SimulatorConfig:
        config = super()._settings()
        config.futures.append(replace(DATED, max_qty=Decimal(100_000)))
        return config
