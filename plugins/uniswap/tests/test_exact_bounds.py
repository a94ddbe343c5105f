"""Where a pool must stop, and what liquidity is worth: the roundings, by definition."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import assume, given
from hypothesis import strategies as st

from exchange_kernel.errors import InvalidOrder
from exchange_kernel.schema import Side
from exchange_kernel.value import revised
from exchange_kernel_uniswap.liquidity import amount0, amount1, least_liquidity, liquidity_for, principal
from exchange_kernel_uniswap.price_limits import room_left, sqrt_limit
from exchange_kernel_uniswap.prices import PriceScale
from exchange_kernel_uniswap.ticks import Q96, sqrt_at_tick
from plugins.uniswap.tests.ground import setup

POOL = setup("v3").pools[0]
scales = st.builds(PriceScale, st.booleans(), st.sampled_from((6, 8, 18)), st.sampled_from((6, 8, 18)))
steps = st.tuples(st.integers(-300_000, 300_000), st.sampled_from((1, 10, 60, 200)))


@given(scales, st.fractions(Fraction(1, 10**8), 10**8), st.sampled_from(list(Side)), st.sampled_from((100, 500, 10000)))
def test_the_last_unit_meets_the_limit_and_the_next_root_would_not(
    scale: PriceScale, limit: Fraction, side: Side, fee: int
) -> None:
    """At the stop a seller nets at least the limit after the fee, a buyer pays at most it; one further does not."""
    assume(limit > 0)
    try:
        stop = sqrt_limit(scale, revised(POOL, fee=fee), side, limit)
    except InvalidOrder:
        assume(False)
        return
    kept = 1 - Fraction(fee, 10**6)

    def holds(sqrt: int) -> bool:
        price = scale.price(sqrt)
        return price * kept >= limit if side is Side.SELL else price / kept <= limit

    falls = (side is Side.SELL) is scale.base_first
    assert holds(stop)
    assert not holds(stop - 1 if falls else stop + 1)
    assert room_left(scale, side, stop + 1 if falls else stop - 1, stop)
    assert not room_left(scale, side, stop, stop)


@given(steps, st.integers(1, 2**100))
def test_amounts_are_rounded_once(step: tuple[int, int], liquidity: int) -> None:
    """What a pool asks for is the exact amount rounded up, what it pays back the amount rounded down."""
    low, high = sqrt_at_tick(step[0]), sqrt_at_tick(step[0] + step[1])
    exact0 = Fraction(liquidity * Q96 * (high - low), high * low)
    exact1 = Fraction(liquidity * (high - low), Q96)
    for amount, exact in ((amount0, exact0), (amount1, exact1)):
        assert amount(low, high, liquidity, up=True) == -(-exact.numerator // exact.denominator)
        assert amount(low, high, liquidity, up=False) == exact.numerator // exact.denominator


@given(steps, st.integers(1, 2**90), st.booleans())
def test_liquidity_never_asks_for_more_than_is_given(step: tuple[int, int], units: int, token0: bool) -> None:
    """Liquidity of an amount costs at most that amount; the least that pays an amount back does so, one less not."""
    low, high = sqrt_at_tick(step[0]), sqrt_at_tick(step[0] + step[1])
    amount = amount0 if token0 else amount1
    assert amount(low, high, liquidity_for(low, high, units, token0=token0), up=True) <= units
    least = least_liquidity(low, high, units, token0=token0)
    assert amount(low, high, least, up=False) >= units
    assert least == 1 or amount(low, high, least - 1, up=False) < units


@given(steps, st.integers(10**6, 2**90), st.integers(0, 2**160))
def test_a_position_is_one_token_outside_its_step(step: tuple[int, int], liquidity: int, sqrt: int) -> None:
    """Below it all token0, above it all token1, whatever the price further out."""
    low, high = sqrt_at_tick(step[0]), sqrt_at_tick(step[0] + step[1])
    zero, one = principal(low, high, liquidity, sqrt)
    if sqrt <= low:
        assert (zero, one) == (amount0(low, high, liquidity, up=False), 0)
    elif sqrt >= high:
        assert (zero, one) == (0, amount1(low, high, liquidity, up=False))
    else:
        assert zero <= amount0(low, high, liquidity, up=True) and one <= amount1(low, high, liquidity, up=True)
