"""The grid: neighbours are on it and bracket the value, and rounding never worsens."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_kernel.orders import amount_neighbours, price_neighbours, round_down, safe_price
from exchange_kernel.schema import PriceConstraints, Side, TickBand, TickSpacing
from exchange_kernel.schema.numbers import EXACT


def d(text: str) -> Decimal:
    """Short for Decimal."""
    return Decimal(text)


FIXED = PriceConstraints(TickSpacing.FIXED, tick=d("0.25"))
BOUNDED = PriceConstraints(TickSpacing.FIXED, tick=d("0.25"), min_price=d("1"), max_price=d("9.9"))
DYNAMIC = PriceConstraints(
    TickSpacing.DYNAMIC,
    bands=(
        TickBand(d("0"), d("0.01")),
        TickBand(d("1"), d("0.3")),
        TickBand(d("10"), d("7")),
        TickBand(d("12"), d("5")),
    ),
)
EVEN = PriceConstraints(TickSpacing.DYNAMIC, bands=(TickBand(d("0"), d("0.1")), TickBand(d("2"), d("0.5"))))
FREE = PriceConstraints(TickSpacing.CONTINUOUS)
DIGITS = PriceConstraints(TickSpacing.CONTINUOUS, significant_digits=3)


@pytest.mark.parametrize(
    ("prices", "price", "below", "above"),
    [
        (FIXED, "1.1", "1", "1.25"),
        (FIXED, "1.25", "1.25", "1.25"),
        (FIXED, "0.1", None, "0.25"),
        (BOUNDED, "0.3", None, "1"),
        (BOUNDED, "1.1", "1", "1.25"),
        (BOUNDED, "9.8", "9.75", None),
        (BOUNDED, "50", "9.75", None),
        (DYNAMIC, "0.005", None, "0.01"),
        (DYNAMIC, "0.995", "0.99", "1.2"),  # 1 is no multiple of 0.3: the second band begins with 1.2
        (DYNAMIC, "1", "0.99", "1.2"),
        (DYNAMIC, "1.1", "0.99", "1.2"),
        (DYNAMIC, "9.95", "9.9", "15"),  # the third band, from 10 to 12, holds no multiple of 7 at all
        (DYNAMIC, "11", "9.9", "15"),
        (DYNAMIC, "12", "9.9", "15"),
        (DYNAMIC, "15", "15", "15"),
        (DYNAMIC, "1000000.1", "1000000", "1000005"),
        (EVEN, "1.95", "1.9", "2"),
        (EVEN, "2", "2", "2"),
        (EVEN, "2.3", "2", "2.5"),
        (FREE, "1.23456789", "1.23456789", "1.23456789"),
        (DIGITS, "1.23", "1.23", "1.23"),
        (DIGITS, "1.234", "1.23", "1.24"),
        (DIGITS, "9.999", "9.99", "10"),
        (DIGITS, "123456", "123000", "124000"),
        (DIGITS, "123000", "123000", "123000"),
        (DIGITS, "0.00012345", "0.000123", "0.000124"),
    ],
)
def test_price_neighbours(prices: PriceConstraints, price: str, below: str | None, above: str | None) -> None:
    """The two nearest prices of each kind of spacing, across bands and at the limits."""
    neighbours = price_neighbours(d(price), prices)
    assert neighbours == (None if below is None else d(below), None if above is None else d(above))
    assert neighbours.on_grid == (below is not None and below == above)


@pytest.mark.parametrize(
    ("prices", "price", "buy", "sell"),
    [
        (FIXED, "1.1", "1", "1.25"),
        (FIXED, "1.5", "1.5", "1.5"),
        (FIXED, "0.1", None, "0.25"),
        (BOUNDED, "50", "9.75", None),
        (BOUNDED, "0.5", None, "1"),
        (DYNAMIC, "11", "9.9", "15"),
        (DIGITS, "9.999", "9.99", "10"),
    ],
)
def test_safe_price(prices: PriceConstraints, price: str, buy: str | None, sell: str | None) -> None:
    """A buy is never moved up and a sell never down; where that leaves no price there is None."""
    assert safe_price(d(price), Side.BUY, prices) == (None if buy is None else d(buy))
    assert safe_price(d(price), Side.SELL, prices) == (None if sell is None else d(sell))


def test_amounts_round_down_to_the_step() -> None:
    """An amount is rounded down only, to zero below one step; on the step it is returned as it is."""
    assert round_down(d("1.2345"), d("0.01")) == d("1.23")
    assert round_down(d("0.009"), d("0.01")) == 0
    assert round_down(d("1.23"), d("0.01")) == d("1.23")
    assert amount_neighbours(d("0.009"), d("0.01")) == (None, d("0.01"))
    assert amount_neighbours(d("1.235"), d("0.01")) == (d("1.23"), d("1.24"))


def test_the_largest_numbers_are_exact() -> None:
    """Sixty digits before the point on a step of 36 digits after it: nothing is rounded by the arithmetic."""
    step = d("0." + "0" * 35 + "3")
    amount = d("9" * 60 + "." + "9" * 36)
    assert round_down(amount, step) == amount  # every digit is a 9, so it is a multiple of 3
    assert round_down(d("9" * 60 + "." + "9" * 35 + "8"), step) == d("9" * 60 + "." + "9" * 35 + "6")


positive = st.decimals(min_value=d("1E-18"), max_value=d("1E+18"), places=18).filter(bool)


@st.composite
def constraints(draw: st.DrawFn) -> PriceConstraints:
    """Price constraints of any kind."""
    spacing = draw(st.sampled_from(TickSpacing))
    if spacing is TickSpacing.FIXED:
        return PriceConstraints(spacing, tick=draw(positive))
    if spacing is TickSpacing.CONTINUOUS:
        return PriceConstraints(spacing, significant_digits=draw(st.none() | st.integers(1, 36)))
    starts = sorted(draw(st.sets(positive, max_size=4)))
    return PriceConstraints(spacing, bands=tuple(TickBand(start, draw(positive)) for start in [d("0"), *starts]))


@given(positive, positive)
def test_amount_neighbours_are_on_the_step_and_bracket(amount: Decimal, step: Decimal) -> None:
    """Both neighbours are multiples of the step, at most one step apart, with the amount between them."""
    below, above = amount_neighbours(amount, step)
    assert above is not None
    assert amount_neighbours(above, step).on_grid
    assert 0 <= Fraction(above) - Fraction(amount) < Fraction(step)
    if below is None:
        assert amount < step
    else:
        assert amount_neighbours(below, step).on_grid
        assert below > 0
        assert 0 <= Fraction(amount) - Fraction(below) < Fraction(step)
        assert Fraction(above) - Fraction(below) in (0, Fraction(step))


@given(positive, positive)
def test_rounding_an_amount_never_grows_it_and_settles_at_once(amount: Decimal, step: Decimal) -> None:
    """Rounding down never grows an amount, takes less than a step, and doing it twice changes nothing."""
    rounded = round_down(amount, step)
    assert rounded >= 0
    assert Fraction(rounded) % Fraction(step) == 0
    assert 0 <= Fraction(amount) - Fraction(rounded) < Fraction(step)
    assert round_down(rounded, step) == rounded


@given(positive, constraints())
def test_price_neighbours_are_on_the_grid_and_bracket(price: Decimal, prices: PriceConstraints) -> None:
    """Each neighbour is itself on the grid, none lies nearer, and the price lies between them."""
    below, above = price_neighbours(price, prices)
    assert above is not None
    assert price <= above
    assert price_neighbours(above, prices) == (above, above)
    if below is not None:
        assert 0 < below <= price
        assert price_neighbours(below, prices) == (below, below)
        if below < above:
            between = EXACT.divide(EXACT.add(below, above), d("2"))
            assert price_neighbours(between, prices) == (below, above)


@given(positive, constraints())
def test_rounding_a_price_never_worsens_it(price: Decimal, prices: PriceConstraints) -> None:
    """A buy's price never rises and a sell's never falls, and a price on the grid stays."""
    buy, sell = safe_price(price, Side.BUY, prices), safe_price(price, Side.SELL, prices)
    assert buy is None or buy <= price
    assert sell is not None
    assert sell >= price
    if buy == sell:
        assert buy == price


@given(positive, positive, positive, positive)
def test_limits_are_never_left(price: Decimal, tick: Decimal, one: Decimal, other: Decimal) -> None:
    """Neighbours never lie outside the lowest and highest price."""
    least, most = sorted((one, other))
    prices = PriceConstraints(TickSpacing.FIXED, tick=tick, min_price=least, max_price=most)
    for neighbour in price_neighbours(price, prices):
        assert neighbour is None or least <= neighbour <= most
