"""Liquidity of a position and the amounts it stands for, bit for bit as the contracts round them.

Sources: v3-periphery ``libraries/LiquidityAmounts.sol``, v3-core ``libraries/SqrtPriceMath.sol``. ``low`` and ``high``
are square-root prices, Q64.96, of the position's ends.
"""

from __future__ import annotations

from exchange_kernel_uniswap.ticks import Q96

__all__ = ["MAX_LIQUIDITY", "amount0", "amount1", "least_liquidity", "liquidity_for", "principal"]

MAX_LIQUIDITY = 2**128 - 1


def liquidity_for(low: int, high: int, units: int, *, token0: bool) -> int:
    """The liquidity that ``units`` of one token alone can give, as the position manager works it out."""
    if token0:
        return units * (low * high // Q96) // (high - low)
    return units * Q96 // (high - low)


def amount0(low: int, high: int, liquidity: int, *, up: bool) -> int:
    """Token0 between two prices: ``up`` what the pool asks for, else what it pays back."""
    scaled = (liquidity << 96) * (high - low)
    if not up:
        return scaled // high // low
    upper = -(-scaled // high)
    return -(-upper // low)


def amount1(low: int, high: int, liquidity: int, *, up: bool) -> int:
    """Token1 between two prices."""
    scaled = liquidity * (high - low)
    return -(-scaled // Q96) if up else scaled // Q96


def least_liquidity(low: int, high: int, units: int, *, token0: bool) -> int:
    """The least liquidity that pays back ``units`` of one token when all of it has become that token."""
    paid = amount0 if token0 else amount1
    found = -(-units * low * high // (Q96 * (high - low))) if token0 else -(-units * Q96 // (high - low))
    while paid(low, high, found, up=False) < units:
        found += 1
    return found


def principal(low: int, high: int, liquidity: int, sqrt: int) -> tuple[int, int]:
    """What a position at the pool's price ``sqrt`` pays back of token0 and token1, without fees."""
    at = min(max(sqrt, low), high)
    zero = amount0(at, high, liquidity, up=False) if at < high else 0
    return zero, amount1(low, at, liquidity, up=False) if at > low else 0
