"""Orders before anything is signed: what is refused and how, what guards are worth, when swaps end."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_kernel.errors import InvalidOrder, Unsupported
from exchange_kernel.schema import FEATURES, AmountType, Side, SupportLevel, TimeInForce, TriggerKind
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.value import revised
from exchange_kernel.venue import Money, Spec, Trigger
from exchange_kernel_uniswap.deadlines import deadline
from exchange_kernel_uniswap.metadata import asset_of, symbol_of
from exchange_kernel_uniswap.orders import preview
from exchange_kernel_uniswap.swaps import MAX_UNITS, swap_of, worst_price
from exchange_kernel_uniswap.tokens import Token
from plugins.uniswap.tests.ground import setup

MARKET = setup("v3", symbols=["WETH/USDC"]).market("WETH/USDC")
V4_MARKET = setup("v4", symbols=["ETH/USDC"]).market("ETH/USDC")
SPEC = Spec("WETH/USDC", Side.SELL, Decimal("1.5"), limit=Decimal(3000), tif=TimeInForce.FOK)
POST = revised(SPEC, tif=TimeInForce.GTC, post_only=True, limit=Decimal("3001.90480305"))
NOW = 1_700_000_000_500

tokens = st.builds(Token, st.just("T"), st.just(MARKET.base.address), st.sampled_from((0, 6, 8, 18)))
prices = st.decimals(Decimal("1E-12"), Decimal("1E12"), allow_nan=False, places=12).filter(lambda price: price > 0)


@given(tokens, tokens, st.integers(1, 10**24), prices, st.sampled_from(list(Side)), st.sampled_from(list(AmountType)))
def test_a_guard_is_the_tightest_that_keeps_the_limit(
    base: Token, quote: Token, units: int, price: Decimal, side: Side, amount_in: AmountType
) -> None:
    """What the guard lets through is never worse than the limit, and one unit less strict would be."""
    known = base if amount_in is AmountType.BASE else quote
    spec = Spec("T/T", side, known.amount(units), amount_in, limit=price)
    worth = Fraction(price) * units * Fraction(10) ** (quote.decimals - base.decimals)
    if amount_in is AmountType.QUOTE:
        worth = units / Fraction(price) * Fraction(10) ** (base.decimals - quote.decimals)
    exact_in = (side is Side.SELL) is (amount_in is AmountType.BASE)
    if (worth < 1 and not exact_in) or worth > MAX_UNITS - 1:
        with pytest.raises(InvalidOrder, match=r"worth less than the smallest unit|can count"):
            swap_of(spec, base, quote)
        return
    swap = swap_of(spec, base, quote)

    def realised(other: int) -> Fraction:
        base_units, quote_units = (units, other) if amount_in is AmountType.BASE else (other, units)
        return Fraction(quote.amount(quote_units)) / Fraction(base.amount(base_units))

    def kept(other: int) -> bool:
        return realised(other) <= Fraction(price) if side is Side.BUY else realised(other) >= Fraction(price)

    assert swap.bound >= 1 and kept(swap.bound) and swap.met(swap.bound)
    looser = swap.bound - 1 if swap.exact_in else swap.bound + 1
    assert not swap.met(looser)
    assert looser == 0 or not kept(looser)


@given(prices, st.decimals(0, Decimal("0.99"), places=4), st.sampled_from(list(Side)))
def test_slippage_is_rounded_against_ourselves(quoted: Decimal, slippage: Decimal, side: Side) -> None:
    """The worst price is within the slippage, and within a hair of it."""
    worst = Fraction(worst_price(Fraction(quoted), side, slippage))
    exact = Fraction(quoted) * (1 + Fraction(slippage) * (1 if side is Side.BUY else -1))
    assert worst <= exact if side is Side.BUY else worst >= exact
    assert abs(worst / exact - 1) < Fraction(1, 10**28)


REFUSED = [
    (revised(SPEC, reduce_only=True), "reduce_only"),
    (revised(SPEC, leg="LONG"), "hedge_legs"),
    (revised(SPEC, display=Decimal(1)), "iceberg"),
    (revised(SPEC, trigger=Trigger(TriggerKind.STOP_LOSS, Decimal(2900))), "stop_loss"),
    (revised(SPEC, trigger=Trigger(TriggerKind.TRAILING_STOP, None, offset=Decimal(1))), "trailing_abs"),
    (revised(SPEC, tif=TimeInForce.GTC), "gtc"),
    (revised(POST, tif=TimeInForce.DAY), "day"),
]


@pytest.mark.parametrize(("spec", "feature"), REFUSED)
def test_what_is_not_offered_is_refused_by_name(spec: Spec, feature: str) -> None:
    """Typed, with the feature's own name, before anything is built."""
    with pytest.raises(Unsupported) as refused:
        preview(spec, MARKET)
    assert refused.value.feature == feature and feature in FEATURES


INVALID = [
    (revised(SPEC, limit=None), "guard", "is required"),
    (revised(SPEC, limit=Decimal(0)), "limit", "must be a finite number above 0"),
    (revised(SPEC, limit=Decimal("NaN")), "limit", "must be a finite number above 0"),
    (revised(SPEC, amount=Decimal("1E-19")), "amount", "has more than the 18 decimals of WETH"),
    (
        revised(SPEC, amount=Decimal("0.0000001"), amount_in=AmountType.QUOTE),
        "amount",
        "more than the 6 decimals of USDC",
    ),
    (revised(SPEC, side=Side.BUY, amount=Decimal("1E-12")), "amount", "worth less than the smallest unit of USDC"),
    (revised(SPEC, amount=Decimal("1E30")), "amount", "than a pool can count"),
    (revised(SPEC, until=NOW), "until", "belongs to tif GTD"),
    (revised(POST, limit=Decimal(3001)), "limit_price", "is not a price of this pool's tick grid"),
    (revised(POST, limit=None), "limit_price", "is required for a post-only order"),
    (revised(POST, amount=Decimal("1E30")), "amount", "more than a position can hold"),
]


@pytest.mark.parametrize(("spec", "field", "rule"), INVALID)
def test_bad_numbers_are_refused_by_name(spec: Spec, field: str, rule: str) -> None:
    """Field, value and rule; for what is off a grid the two nearest."""
    with pytest.raises(InvalidOrder, match=rule) as refused:
        preview(spec, MARKET)
    assert refused.value.field == field


def test_an_amount_between_two_units_names_both() -> None:
    """1.0000005 USDC lies between these."""
    spec = revised(SPEC, amount=Decimal("1.0000005"), amount_in=AmountType.QUOTE)
    with pytest.raises(InvalidOrder, match=r"the nearest are 1\.000000 and 1\.000001"):
        preview(spec, MARKET)


def test_a_preview_says_the_most_it_may_cost() -> None:
    """In the token that is paid, gas aside."""
    assert preview(SPEC, MARKET).outlay == (Money("WETH", Decimal("1.500000000000000000")),)
    buy = revised(SPEC, side=Side.BUY, limit=Decimal("3000.1234567"))
    assert preview(buy, MARKET).outlay == (Money("USDC", Decimal("4500.185186")),)
    post = preview(POST, MARKET)
    assert post.outlay[0].asset == "WETH" and Decimal("1.4999999") < post.outlay[0].amount <= Decimal("1.5")
    assert set(post.uses) == {"limit", "amount_base", "gtc", "post_only"}


def test_post_only_needs_a_v3_pool() -> None:
    """v4 pools take swaps only."""
    spec = revised(POST, symbol="ETH/USDC")
    with pytest.raises(Unsupported, match="no v3 pool of ETH/USDC"):
        preview(spec, V4_MARKET)


def test_every_feature_is_answered_and_none_is_claimed_that_is_not_there() -> None:
    """What every spec uses is offered; what is refused is unsupported; a market without v3 pools has no post-only."""
    symbol = symbol_of(MARKET)
    answers = symbol.capabilities.features
    assert set(answers) == set(FEATURES)
    for spec in (SPEC, POST, revised(SPEC, tif=TimeInForce.IOC), revised(SPEC, tif=TimeInForce.GTD, until=NOW)):
        assert all(answer.level is not SupportLevel.UNSUPPORTED for answer in preview(spec, MARKET).uses.values())
    for feature in ("reduce_only", "hedge_legs", "iceberg", "stop_loss", "trailing_abs"):
        assert answers[feature].level is SupportLevel.UNSUPPORTED
    without = symbol_of(V4_MARKET).capabilities
    assert not without.post_only and not without.offers("gtc")
    assert (symbol.amounts.step, symbol.amounts.quote_step) == (Decimal("1E-18"), Decimal("1E-6"))
    assert symbol.amounts.max_amount == EXACT.scaleb(Decimal(MAX_UNITS), -18)
    assert asset_of(MARKET.quote).asset_id == MARKET.quote.address


def test_deadlines_are_the_earliest_and_rounded_down() -> None:
    """give_up, until and the end of the UTC day; a moment that has passed is refused by its own name."""
    far = NOW + 10 * 86_400_000
    assert deadline(SPEC, NOW, NOW + 60_700) == (NOW + 60_700) // 1000
    gtd = revised(SPEC, tif=TimeInForce.GTD, until=NOW + 5_999)
    assert deadline(gtd, NOW, far) == (NOW + 5_999) // 1000
    day = revised(SPEC, tif=TimeInForce.DAY)
    assert deadline(day, NOW, far) == (NOW // 86_400_000 + 1) * 86_400 - 1
    with pytest.raises(InvalidOrder, match="has passed") as refused:
        deadline(revised(gtd, until=NOW + 400), NOW, far)
    assert refused.value.field == "until"
