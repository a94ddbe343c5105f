"""What the wallet API tells of a key (Wallet, Get API Key Permission)."""

from __future__ import annotations

from typing import Any

from exchange_kernel_binance.simulator.clock import Clock
from exchange_kernel_binance.simulator.wire.gate import Call, Endpoint
from exchange_kernel_binance.simulator.wire.keys import PERMISSIONS, KeyRing


class WalletApi:
    """Handlers over the keys."""

    def __init__(self, keys: KeyRing, clock: Clock) -> None:
        self._keys, self._began = keys, clock.now()

    def restrictions(self, call: Call) -> Any:
        key = self._keys.known(call.key, "")
        return {"createTime": self._began} | {name: key.allows(name) for name in PERMISSIONS}

    def endpoints(self) -> list[Endpoint]:
        """Every request of this room."""
        route = ("GET", "/sapi/v1/account/apiRestrictions")
        return [Endpoint("apiRestrictions", self.restrictions, route, "USER_DATA", {}, (), websocket=False)]
