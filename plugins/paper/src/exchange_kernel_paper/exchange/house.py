"""Somebody to trade with: quotes around a price that can be moved, by hand or by a seeded random walk."""

from __future__ import annotations

from decimal import Decimal
from random import Random

from exchange_kernel_paper.exchange.exchange import Exchange
from exchange_kernel_paper.exchange.markets import Market
from exchange_kernel_paper.exchange.numbers import EXACT, text


class House:
    """Quotes every market of an exchange: ``levels`` prices on each side, each for ``worth`` of quote."""

    def __init__(
        self, exchange: Exchange, rng: Random, *, levels: int = 10, worth: Decimal = Decimal(1_000_000)
    ) -> None:
        self._exchange, self._rng, self._levels, self._worth = exchange, rng, levels, worth
        self.prices: dict[str, Decimal] = {}

    def open(self) -> None:
        """Quote every market around its reference price."""
        for market in self._exchange.engine.markets.values():
            self.quote(market.symbol, market.reference)

    def quote(self, symbol: str, price: Decimal) -> None:
        """Quote ``symbol`` around ``price``: one twentieth of a percent to the first level, and between levels."""
        market = self._exchange.market(symbol)
        self.prices[symbol] = price
        width = EXACT.multiply(price, Decimal("0.0005"))
        offsets = [EXACT.multiply(width, Decimal(level)) for level in range(1, self._levels + 1)]
        asks = [self._row(market, EXACT.add(price, offset)) for offset in offsets]
        bids = [self._row(market, EXACT.subtract(price, offset)) for offset in offsets]
        self._exchange.set_ladder(symbol, bids if "SELL" in market.sides else [], asks)

    def step(self, symbol: str, most: Decimal = Decimal("0.002")) -> None:
        """Move the price of ``symbol`` by at most this fraction, up or down, trading with what stands in the way."""
        share = Decimal(self._rng.randint(-1000, 1000)) / 1000
        price = self.prices[symbol]
        self.quote(symbol, EXACT.add(price, EXACT.multiply(EXACT.multiply(price, most), share)).quantize(price))

    def walk(self, every_ms: int) -> None:
        """Move every market again and again, for as long as the event loop runs."""

        def move() -> None:
            for symbol in self.prices:
                self.step(symbol)
            self._exchange.clock.call_later(every_ms / 1000, move)

        self._exchange.clock.call_later(every_ms / 1000, move)

    def _row(self, market: Market, price: Decimal) -> tuple[str, str]:
        tick = market.tick_at(price)
        on_grid = EXACT.multiply(EXACT.divide_int(price, tick), tick)
        amount = EXACT.multiply(EXACT.divide_int(self._worth, EXACT.multiply(on_grid, market.step)) + 1, market.step)
        return text(on_grid), text(amount)
