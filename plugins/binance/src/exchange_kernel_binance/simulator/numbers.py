"""Exact arithmetic of money: nothing here rounds unless it says so."""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_UP, Context, Decimal

ZERO = Decimal(0)
ONE = Decimal(1)
_EXACT = Context(prec=120)


def times(left: Decimal, right: Decimal) -> Decimal:
    """The exact product."""
    return _EXACT.multiply(left, right)


def ratio(left: Decimal, right: Decimal) -> Decimal:
    """`left / right` to 120 digits."""
    return _EXACT.divide(left, right)


def down(value: Decimal, places: int = 8) -> Decimal:
    """`value` cut to so many decimals."""
    return value.quantize(Decimal(1).scaleb(-places), ROUND_DOWN, _EXACT)


def up(value: Decimal, places: int = 8) -> Decimal:
    """`value` rounded away from zero to so many decimals."""
    return value.quantize(Decimal(1).scaleb(-places), ROUND_UP, _EXACT)


def step_down(value: Decimal, step: Decimal) -> Decimal:
    """The greatest multiple of `step` that is not above `value`."""
    if step <= 0:
        return value
    return times(_EXACT.divide_int(value, step), step)


def is_multiple(value: Decimal, step: Decimal) -> bool:
    """Whether `value` lies on the grid of `step`; a step of zero allows everything."""
    return step <= 0 or _EXACT.remainder(value, step) == 0


def text(value: Decimal, places: int = 8) -> str:
    """The number as Binance writes it: fixed decimals, no exponent."""
    return f"{value:.{places}f}"
