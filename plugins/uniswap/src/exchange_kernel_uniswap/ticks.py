"""The tick arithmetic of Uniswap v3 and v4, bit for bit: ticks and square-root prices in Q64.96.

A tick ``t`` is the price 1.0001^t of token0 in token1, in smallest units. Every function here gives what the contracts'
TickMath gives (v3-core, ``libraries/TickMath.sol``), rounding included.
"""

from __future__ import annotations

from math import isqrt

__all__ = [
    "MAX_SQRT",
    "MAX_TICK",
    "MIN_SQRT",
    "MIN_TICK",
    "Q96",
    "highest_usable",
    "lowest_usable",
    "sqrt_at_tick",
    "sqrt_of",
    "tick_at_sqrt",
]

Q96 = 1 << 96
MIN_TICK, MAX_TICK = -887272, 887272
MIN_SQRT = 4295128739
MAX_SQRT = 1461446703485210103287273052203988822378723970342

# sqrt(1.0001)^-(2^i) in Q128.128
_POWERS = (
    0xFFFCB933BD6FAD37AA2D162D1A594001,
    0xFFF97272373D413259A46990580E213A,
    0xFFF2E50F5F656932EF12357CF3C7FDCC,
    0xFFE5CACA7E10E4E61C3624EAA0941CD0,
    0xFFCB9843D60F6159C9DB58835C926644,
    0xFF973B41FA98C081472E6896DFB254C0,
    0xFF2EA16466C96A3843EC78B326B52861,
    0xFE5DEE046A99A2A811C461F1969C3053,
    0xFCBE86C7900A88AEDCFFC83B479AA3A4,
    0xF987A7253AC413176F2B074CF7815E54,
    0xF3392B0822B70005940C7A398E4B70F3,
    0xE7159475A2C29B7443B29C7FA6E889D9,
    0xD097F3BDFD2022B8845AD8F792AA5825,
    0xA9F746462D870FDF8A65DC1F90E061E5,
    0x70D869A156D2A1B890BB3DF62BAF32F7,
    0x31BE135F97D08FD981231505542FCFA6,
    0x9AA508B5B7A84E1C677DE54F3E99BC9,
    0x5D6AF8DEDB81196699C329225EE604,
    0x2216E584F5FA1EA926041BEDFE98,
    0x48A170391F7DC42444E8FA2,
)


def sqrt_at_tick(tick: int) -> int:
    """The square-root price of a tick, Q64.96, rounded up as the contract does. Raises ValueError outside the range."""
    if not MIN_TICK <= tick <= MAX_TICK:
        raise ValueError(f"tick {tick} is outside {MIN_TICK} … {MAX_TICK}")
    rest, ratio = abs(tick), 1 << 128
    for power in _POWERS:
        if rest & 1:
            ratio = ratio * power >> 128
        rest >>= 1
    if tick > 0:
        ratio = ((1 << 256) - 1) // ratio
    return -(-ratio >> 32)


def tick_at_sqrt(sqrt: int) -> int:
    """The greatest tick whose price is not above ``sqrt``. Raises ValueError outside the contract's range."""
    if not MIN_SQRT <= sqrt < MAX_SQRT:
        raise ValueError(f"square-root price {sqrt} is outside {MIN_SQRT} … {MAX_SQRT}")
    # A power of two of the root is 13,863 ticks and a half: its length leaves less than 14,000 to search.
    near = (sqrt.bit_length() - 97) * 27727 // 2
    low, high = max(MIN_TICK, near - 200), min(MAX_TICK, near + 14_100)
    while low < high:
        middle = (low + high + 1) // 2
        if sqrt_at_tick(middle) <= sqrt:
            low = middle
        else:
            high = middle - 1
    return low


def sqrt_of(numerator: int, denominator: int, *, up: bool) -> int:
    """The square root, Q64.96, of the price ``numerator / denominator`` (token1 per token0, in smallest units)."""
    scaled = numerator << 192
    root = isqrt(scaled // denominator)
    return root + 1 if up and root * root * denominator < scaled else root


def lowest_usable(spacing: int) -> int:
    """The lowest tick a position may begin at."""
    return -(MAX_TICK // spacing) * spacing


def highest_usable(spacing: int) -> int:
    """The highest tick a position may end at."""
    return MAX_TICK // spacing * spacing
