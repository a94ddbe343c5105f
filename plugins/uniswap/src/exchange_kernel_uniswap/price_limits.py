"""A trader's limit as the price at which one v3 pool must stop (``sqrtPriceLimitX96``).

The pool's fee is taken from what is paid, so a seller of base nets ``pool price * (1 - fee)`` and a buyer pays
``pool price / (1 - fee)``: the last unit meets the limit P while the pool's price is at least ``P / (1 - fee)``, or
for a buyer at most ``P * (1 - fee)``.
"""

from __future__ import annotations

from fractions import Fraction

from exchange_kernel.errors import InvalidOrder
from exchange_kernel.schema import Side
from exchange_kernel_uniswap.pools import Pool
from exchange_kernel_uniswap.prices import PriceScale
from exchange_kernel_uniswap.ticks import MAX_SQRT, MIN_SQRT

__all__ = ["room_left", "sqrt_limit"]


def sqrt_limit(scale: PriceScale, pool: Pool, side: Side, limit: Fraction) -> int:
    """Where the pool must stop so that no unit is worse than ``limit`` (quote per base), fee included.

    Rounded to the safe side. Raises InvalidOrder when no pool can have such a price.
    """
    kept = 1 - Fraction(pool.fee, 1_000_000)
    stop = limit / kept if side is Side.SELL else limit * kept
    falling = _falls(scale, side)
    sqrt = scale.sqrt(stop, up=falling)
    if not MIN_SQRT < sqrt < MAX_SQRT:
        raise InvalidOrder("limit_price", str(limit), "is beyond any price of a pool")
    return sqrt


def room_left(scale: PriceScale, side: Side, sqrt_now: int, sqrt_stop: int) -> bool:
    """Can anything trade before the limit? Where not, the pool reverts the swap (``SPL``)."""
    return sqrt_now > sqrt_stop if _falls(scale, side) else sqrt_now < sqrt_stop


def _falls(scale: PriceScale, side: Side) -> bool:
    """Does this side's trade lower the pool's own price? It does when it pays in token0."""
    return (side is Side.SELL) is scale.base_first
