"""Which amounts and prices a market takes: on the grid or not, the nearest values on it, and rounding to the safe side.

Pure and exact: no result was ever rounded except to the grid itself.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from exchange_kernel.schema import PriceConstraints, Side, TickBand, TickSpacing
from exchange_kernel.schema.numbers import EXACT

__all__ = ["Neighbours", "amount_neighbours", "price_neighbours", "round_down", "safe_price"]


class Neighbours(NamedTuple):
    """The nearest values of a grid: the largest not above a value, the smallest not below it; None if there is none."""

    below: Decimal | None
    above: Decimal | None

    @property
    def on_grid(self) -> bool:
        """True when the value itself is on the grid: both neighbours are it."""
        return self.below is not None and self.below == self.above


def round_down(amount: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of ``step`` not above ``amount``; may be zero."""
    rest = EXACT.remainder(amount, step)
    return EXACT.subtract(amount, rest) if rest else amount


def _round_up(value: Decimal, step: Decimal) -> Decimal:
    low = round_down(value, step)
    return low if low == value else EXACT.add(low, step)


def amount_neighbours(amount: Decimal, step: Decimal) -> Neighbours:
    """The nearest positive multiples of ``step``."""
    rest = EXACT.remainder(amount, step)
    if not rest:
        return Neighbours(amount or None, amount)
    low = EXACT.subtract(amount, rest)
    return Neighbours(low or None, EXACT.add(low, step))


def price_neighbours(price: Decimal, prices: PriceConstraints) -> Neighbours:
    """The nearest prices this market takes, its lowest and highest price included. Prices are quote per base."""
    least, most = prices.min_price, prices.max_price
    inside = (least is None or price >= least) and (most is None or price <= most)
    tick = prices.tick if inside and price and prices.spacing is TickSpacing.FIXED else None
    if tick is not None and not EXACT.remainder(price, tick):
        return Neighbours(price, price)
    below = _price_down(price if most is None else min(price, most), prices)
    above = _price_up(price if least is None else max(price, least), prices)
    if below is not None and least is not None and below < least:
        below = None
    if above is not None and most is not None and above > most:
        above = None
    return Neighbours(below, above)


def safe_price(price: Decimal, side: Side, prices: PriceConstraints) -> Decimal | None:
    """``price`` moved onto the grid, never to the disadvantage: of a BUY never up, of a SELL never down.

    None when no price of the grid lies on that side.
    """
    neighbours = price_neighbours(price, prices)
    return neighbours.below if side is Side.BUY else neighbours.above


def _price_down(price: Decimal, prices: PriceConstraints) -> Decimal | None:
    if prices.spacing is TickSpacing.FIXED:
        assert prices.tick is not None
        return round_down(price, prices.tick) or None
    if prices.spacing is TickSpacing.DYNAMIC:
        return _band_down(price, prices.bands)
    return round_down(price, _quantum(price, prices.significant_digits))


def _price_up(price: Decimal, prices: PriceConstraints) -> Decimal | None:
    if prices.spacing is TickSpacing.FIXED:
        assert prices.tick is not None
        return _round_up(price, prices.tick)
    if prices.spacing is TickSpacing.DYNAMIC:
        return _band_up(price, prices.bands)
    return _round_up(price, _quantum(price, prices.significant_digits))


def _quantum(price: Decimal, digits: int | None) -> Decimal:
    """The step between prices of that many significant digits around ``price``; without a limit, ``price`` itself."""
    return price if digits is None else Decimal(1).scaleb(price.adjusted() - digits + 1)


def _band_down(price: Decimal, bands: tuple[TickBand, ...]) -> Decimal | None:
    end: Decimal | None = None  # where the band above begins: the first price that is no longer of this one
    for band in reversed(bands):
        if price >= band.from_price:
            found = round_down(price if end is None else min(price, end), band.tick)
            if found == end:
                found = EXACT.subtract(found, band.tick)
            if found > 0 and found >= band.from_price:
                return found
        end = band.from_price
    return None


def _band_up(price: Decimal, bands: tuple[TickBand, ...]) -> Decimal | None:
    for index, band in enumerate(bands):
        end = bands[index + 1].from_price if index + 1 < len(bands) else None
        found = _round_up(max(price, band.from_price), band.tick)
        if end is None or found < end:
            return found
    return None
