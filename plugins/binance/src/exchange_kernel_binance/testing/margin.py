"""A margin wallet for the conformance kit, with money of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from exchange_kernel.testing.conformance import TruthOrder
from exchange_kernel_binance.conformance import CROWD, SpotHarness
from exchange_kernel_binance.simulator import Simulator


class CrossHarness(SpotHarness):
    """The cross wallet of each account."""

    market, wallet = "margin_cross", "cross"
    requested = "margin.order.*"

    def _ready(self, binance: Simulator) -> None:
        for account in ("main", "second"):
            held = binance.margin.wallet(account, None if self.wallet == "cross" else self.wallet)
            for asset, amount in (("BTC", 100), ("ETH", 1_000), ("USDT", 8_000_000)):
                held.credit(asset, Decimal(amount))
        super()._ready(binance)

    async def truth(self, account: str = "main") -> Sequence[TruthOrder]:
        return await super().truth(f"{account}@{self.wallet}")

    def _act(self, binance: Simulator, account: str, fields: Mapping[str, Any]) -> Any:
        return super()._act(binance, account if account == CROWD else f"{account}@{self.wallet}", fields)


class IsolatedHarness(CrossHarness):
    """The isolated wallet of one symbol."""

    market, wallet = "margin_isolated", "BTCUSDT"
    more: Mapping[str, Any] = {"symbols": ["BTC/USDT"]}
