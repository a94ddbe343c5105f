"""Tick arithmetic, against the contract's own and against its definition."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_kernel.schema import Side
from exchange_kernel_evm.abi import Function
from exchange_kernel_evm.multicall import Read
from exchange_kernel_uniswap.addresses import NATIVE
from exchange_kernel_uniswap.deployment import MAINNET
from exchange_kernel_uniswap.paths import POOL_KEY
from exchange_kernel_uniswap.prices import PriceScale, shown
from exchange_kernel_uniswap.ticks import (
    MAX_SQRT,
    MAX_TICK,
    MIN_SQRT,
    MIN_TICK,
    sqrt_at_tick,
    sqrt_of,
    tick_at_sqrt,
)
from plugins.uniswap.tests.ground import Trader

INITIALIZE = Function.of("initialize", (POOL_KEY, "uint160"), ("int24",))
ticks = st.integers(MIN_TICK, MAX_TICK)
scales = st.builds(PriceScale, st.booleans(), st.sampled_from((6, 8, 18)), st.sampled_from((6, 8, 18)))


def test_ends_of_the_range() -> None:
    """The ends are the contract's constants, and nothing lies beyond them."""
    assert (sqrt_at_tick(MIN_TICK), sqrt_at_tick(MAX_TICK)) == (MIN_SQRT, MAX_SQRT)
    assert tick_at_sqrt(MIN_SQRT) == MIN_TICK and tick_at_sqrt(MAX_SQRT - 1) == MAX_TICK - 1
    for tick in (MIN_TICK - 1, MAX_TICK + 1):
        with pytest.raises(ValueError, match="outside"):
            sqrt_at_tick(tick)
    for sqrt in (MIN_SQRT - 1, MAX_SQRT):
        with pytest.raises(ValueError, match="outside"):
            tick_at_sqrt(sqrt)


def test_the_contract_gives_the_same_ticks(trader: Trader) -> None:
    """The pool manager answers ``initialize`` with the tick of a price: at each tick's own price it says the tick, one
    below it the tick before. That pins both functions to the unit, for 1,500 ticks of the whole range."""
    random = Random(20261123)
    some = {random.randint(MIN_TICK + 1, MAX_TICK - 1) for _ in range(1_440)}
    some |= {sign * 2**bit for bit in range(20) for sign in (1, -1)} | set(range(-10, 11))
    some -= {tick for tick in some if not MIN_TICK < tick < MAX_TICK}
    prices = [(sqrt_at_tick(tick) - less, tick - less) for tick in sorted(some) for less in (0, 1)]
    tokens = ("0x" + "00" * 19 + "11", "0x" + "00" * 19 + "12")
    reads = [
        Read(MAINNET.v4_manager, INITIALIZE, ((*tokens, place, 1, NATIVE), sqrt))
        for place, (sqrt, _) in enumerate(prices)
    ]
    answers: list[int] = []
    for start in range(0, len(reads), 250):
        answers += [result.values[0] for result in trader.read(reads[start : start + 250]) if result.values]
    assert answers == [tick for _, tick in prices]
    assert [tick_at_sqrt(sqrt) for sqrt, _ in prices] == answers


@given(ticks)
def test_a_tick_is_a_power_of_its_base(tick: int) -> None:
    """The square-root price is sqrt(1.0001^tick) to within one part in 2^31, and grows with the tick."""
    squared = Fraction(sqrt_at_tick(tick) ** 2, 2**192)
    exact = Fraction(10001, 10000) ** tick if abs(tick) < 2_000 else None
    if exact is not None:
        assert abs(squared / exact - 1) < Fraction(1, 2**60)
    if tick < MAX_TICK:
        assert sqrt_at_tick(tick) < sqrt_at_tick(tick + 1)


@given(st.integers(MIN_SQRT, MAX_SQRT - 1))
def test_a_price_lies_in_its_tick(sqrt: int) -> None:
    """The tick of a price is the greatest whose own price is not above it."""
    tick = tick_at_sqrt(sqrt)
    assert sqrt_at_tick(tick) <= sqrt < sqrt_at_tick(tick + 1)


@given(st.integers(1, 10**40), st.integers(1, 10**40))
def test_roots_are_rounded_as_asked(numerator: int, denominator: int) -> None:
    """Down is the greatest root not above the price, up the least not below it."""
    down, up = (sqrt_of(numerator, denominator, up=each) for each in (False, True))
    wanted = Fraction(numerator, denominator) * 2**192
    assert down * down <= wanted <= up * up
    assert (down + 1) ** 2 > wanted and (up == down or up == down + 1)


@given(scales, st.integers(-400_000, 400_000), st.sampled_from((1, 10, 60, 200)), st.sampled_from(list(Side)))
def test_the_grid_takes_its_own_prices_and_no_others(scale: PriceScale, near: int, spacing: int, side: Side) -> None:
    """Each tick has one shown price, which leads back to it and is never better than the tick's own; what lies between
    two of them is refused with just these two."""
    tick = near // spacing * spacing
    own = scale.price_at(tick)
    price = shown(own, up=side is Side.BUY)
    assert scale.tick_of("limit_price", price, side, spacing) == tick
    assert Fraction(price) >= own if side is Side.BUY else Fraction(price) <= own
    step = spacing if scale.base_first else -spacing
    following = shown(scale.price_at(tick + step), up=side is Side.BUY)
    between = (price + following) / 2
    assert scale.edges(between, side, spacing) == ((price, tick), (following, tick + step))


@given(scales, st.integers(-400_000, 400_000))
def test_prices_and_roots_invert_each_other(scale: PriceScale, tick: int) -> None:
    """A pool's price as a trader says it leads back to the same root, whichever token is the base."""
    sqrt = sqrt_at_tick(tick)
    assert scale.sqrt(scale.price(sqrt), up=False) == sqrt == scale.sqrt(scale.price(sqrt), up=True)


@given(st.fractions(min_value=Fraction(1, 10**30), max_value=10**30), st.integers(1, 30), st.booleans())
def test_shown_prices_are_rounded_to_one_side(price: Fraction, digits: int, up: bool) -> None:
    """So many significant digits, and less than one unit of the last of them away."""
    text = shown(price, up=up, digits=digits)
    assert len(text.normalize().as_tuple().digits) <= digits
    assert Fraction(text) >= price if up else Fraction(text) <= price
    unit = Fraction(10) ** (text.adjusted() - digits + 1)
    assert abs(Fraction(text) - price) < unit


def test_a_price_in_words() -> None:
    """3000 USDC per WETH, whose pool counts WETH per USDC in smallest units, is near tick 196256."""
    scale = PriceScale(False, 18, 6)
    assert tick_at_sqrt(scale.sqrt(Fraction(3000), up=False)) == 196256
    assert shown(scale.price_at(196256), up=False) == Decimal("3000.10429040")
