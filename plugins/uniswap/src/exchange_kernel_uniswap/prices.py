"""Prices: quote per base as a trader says it, token1 per token0 as a pool keeps it; exact fractions between them."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from exchange_kernel.errors import InvalidOrder
from exchange_kernel.schema import Side
from exchange_kernel.value import Value
from exchange_kernel_uniswap.addresses import as_bytes
from exchange_kernel_uniswap.ticks import (
    MAX_SQRT,
    MIN_SQRT,
    Q96,
    highest_usable,
    lowest_usable,
    sqrt_at_tick,
    sqrt_of,
    tick_at_sqrt,
)
from exchange_kernel_uniswap.tokens import Token

__all__ = ["SHOWN_DIGITS", "Edges", "PriceScale", "shown"]

SHOWN_DIGITS = 12
"""Significant digits of a price on the grid; neighbouring ticks differ in the fifth."""


class Edges(NamedTuple):
    """The nearest prices of a tick grid, with their ticks: the largest not above, the smallest not below."""

    below: tuple[Decimal, int] | None
    above: tuple[Decimal, int] | None


def shown(price: Fraction, *, up: bool, digits: int = SHOWN_DIGITS) -> Decimal:
    """``price`` (above zero) with so many significant digits, rounded up or down."""
    exponent = len(str(price.numerator)) - len(str(price.denominator)) - digits
    while True:
        scaled = price / Fraction(10) ** exponent
        whole = -(-scaled.numerator // scaled.denominator) if up else scaled.numerator // scaled.denominator
        if whole > 10**digits:
            exponent += 1
        elif whole < 10 ** (digits - 1):
            exponent -= 1
        else:
            return Decimal(f"{whole}E{exponent}")


class PriceScale(Value, frozen=True):
    """How the prices of one market read in a pool of its two tokens. ``base_first``: is the base the pool's token0?"""

    base_first: bool
    base_decimals: int
    quote_decimals: int

    @classmethod
    def of(cls, base: Token, quote: Token, weth: str) -> PriceScale:
        """For a pool of two tokens, where a native coin may be in the pool in its wrapped form (``weth``)."""
        first, second = (as_bytes(weth if token.native else token.address) for token in (base, quote))
        return cls(first < second, base.decimals, quote.decimals)

    def price(self, sqrt: int) -> Fraction:
        """Quote per base at a square-root price, exactly."""
        squared = Fraction(sqrt * sqrt, Q96 * Q96)
        return (squared if self.base_first else 1 / squared) * self._shift

    def price_at(self, tick: int) -> Fraction:
        """Quote per base at a tick, exactly."""
        return self.price(sqrt_at_tick(tick))

    def sqrt(self, price: Fraction, *, up: bool) -> int:
        """The square-root price at ``price`` quote per base; ``up`` counts in the pool's own direction."""
        raw = price / self._shift
        if not self.base_first:
            raw = 1 / raw
        return sqrt_of(raw.numerator, raw.denominator, up=up)

    @property
    def _shift(self) -> Fraction:
        return Fraction(10) ** (self.base_decimals - self.quote_decimals)

    def edges(self, price: Decimal, side: Side, spacing: int) -> Edges:
        """The grid's prices around ``price``. Each is rounded so that an order at it never does worse than it says:
        for a SELL the shown price is not above the tick's own, for a BUY not below it."""
        up = side is Side.BUY
        lowest, highest = lowest_usable(spacing), highest_usable(spacing)
        sqrt = min(max(self.sqrt(Fraction(price), up=False), MIN_SQRT), MAX_SQRT - 1)
        middle = tick_at_sqrt(sqrt) // spacing * spacing
        # Rounding and the order of the tokens can each move the answer by one step.
        near = (middle + step * spacing for step in (-1, 0, 1, 2))
        prices = [(shown(self.price_at(tick), up=up), tick) for tick in near if lowest <= tick <= highest]
        below = max((each for each in prices if each[0] <= price), default=None)
        above = min((each for each in prices if each[0] >= price), default=None)
        return Edges(below, above)

    def tick_of(self, field: str, price: Decimal, side: Side, spacing: int) -> int:
        """The tick whose shown price is ``price``. Raises InvalidOrder with the two nearest prices where none is."""
        below, above = self.edges(price, side, spacing)
        if below is not None and below == above:
            return below[1]
        near = " and ".join(f"{each[0]:f}" for each in (below, above) if each is not None)
        raise InvalidOrder(
            field, price, f"is not a price of this pool's tick grid (spacing {spacing})", f"near: {near}"
        )
