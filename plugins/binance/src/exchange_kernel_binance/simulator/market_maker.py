"""A market maker that keeps a book in every symbol."""

from __future__ import annotations

import random
from decimal import Decimal

from exchange_kernel_binance.simulator.accounts import Account
from exchange_kernel_binance.simulator.config import MakerConfig
from exchange_kernel_binance.simulator.errors import ApiError
from exchange_kernel_binance.simulator.numbers import ratio, step_down, times
from exchange_kernel_binance.simulator.spot.exchange import SpotExchange
from exchange_kernel_binance.simulator.spot.orders import OrderRequest

NAME = "market-maker"


class MarketMaker:
    """Quotes levels around a price that wanders; deterministic for a seed."""

    def __init__(self, exchange: SpotExchange, config: MakerConfig, seed: int) -> None:
        self._exchange = exchange
        self._config = config
        self._random = random.Random(seed)
        exchange.add_account(Account(NAME, 1_000_000, unlimited=True))
        self.prices: dict[str, Decimal] = {name: each.last_price for name, each in exchange.state.symbols.items()}

    def quote(self) -> None:
        """Replace every level by a fresh one."""
        state, config = self._exchange.state, self._config
        for name, symbol in state.symbols.items():
            if symbol.status != "TRADING":
                continue
            if state.open_orders(NAME, name):
                self._exchange.cancel_all(NAME, name)
            if config.drift:
                move = Decimal(self._random.randrange(-1000, 1001)) / 1000
                self.prices[name] = times(self.prices[name], 1 + times(config.drift, move))
            middle = self.prices[name]
            for level in range(1, config.levels + 1):
                away = times(config.spread, Decimal(level))
                for side, price in (("BUY", times(middle, 1 - away)), ("SELL", times(middle, 1 + away))):
                    rounded = step_down(price, symbol.tick)
                    quantity = step_down(ratio(config.quote, rounded), symbol.step)
                    request = OrderRequest(name, side, "LIMIT", "GTC", quantity, None, rounded, stp="EXPIRE_MAKER")
                    try:
                        self._exchange.place(NAME, request)
                    except ApiError:
                        # A filter refuses a level far out; the others stand.
                        continue
