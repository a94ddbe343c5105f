"""A Binance to test on: matching engine, protocol and faults, on the loopback interface only.

```
async with Simulator(standard_config(market_maker=True)) as binance:
    print(binance.url, binance.keys_of["alice"])
```
"""

from __future__ import annotations

from exchange_kernel_binance.simulator.clock import ManualClock, SkewedClock
from exchange_kernel_binance.simulator.config import (
    AccountConfig,
    BadConfig,
    MakerConfig,
    SimulatorConfig,
    load_config,
    standard_config,
)
from exchange_kernel_binance.simulator.faults import REQUEST_FAULTS, STREAM_FAULTS, Fault
from exchange_kernel_binance.simulator.server import Simulator
from exchange_kernel_binance.simulator.spot.symbols import SpotSymbol
from exchange_kernel_binance.simulator.wire.keys import ApiKey

__all__ = [
    "REQUEST_FAULTS",
    "STREAM_FAULTS",
    "AccountConfig",
    "ApiKey",
    "BadConfig",
    "Fault",
    "MakerConfig",
    "ManualClock",
    "Simulator",
    "SimulatorConfig",
    "SkewedClock",
    "SpotSymbol",
    "load_config",
    "standard_config",
]
