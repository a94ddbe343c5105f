"""The order check: everything the market and the venue forbid is refused by name, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_kernel.errors import InvalidOrder, UnknownSymbol, Unsupported
from exchange_kernel.orders import emulated_features, suggest, to_spec, validate
from exchange_kernel.schema import (
    FEATURES,
    AmountConstraints,
    AmountType,
    AssetType,
    ConditionalTrigger,
    MarketCapabilities,
    PriceConstraints,
    PriceSource,
    Rounding,
    Side,
    StandardOrder,
    SymbolMetadata,
    TickBand,
    TickSpacing,
    TimeInForce,
    TrailUnit,
    TriggerKind,
)
from exchange_kernel.venue import Spec, Trigger

NOW = 1_800_000_000_000
EVERYTHING = MarketCapabilities.of(native=FEATURES)


def d(text: str) -> Decimal:
    """Short for Decimal."""
    return Decimal(text)


SYMBOL = SymbolMetadata(
    symbol_id="BTC/USDT",
    base="BTC",
    quote="USDT",
    asset_type=AssetType.SPOT,
    amounts=AmountConstraints(
        min_amount=d("0.001"),
        step=d("0.0001"),
        max_amount=d("100"),
        min_notional=d("10"),
        max_notional=d("1000000"),
        quote_step=d("0.01"),
    ),
    prices=PriceConstraints(TickSpacing.FIXED, tick=d("0.5"), min_price=d("10"), max_price=d("999999")),
    capabilities=EVERYTHING,
)
BANDED = replace(
    SYMBOL,
    prices=PriceConstraints(
        TickSpacing.DYNAMIC,
        bands=(TickBand(d("0"), d("0.5")), TickBand(d("10000"), d("1")), TickBand(d("20000.25"), d("3"))),
    ),
)
DIGITS = replace(SYMBOL, prices=PriceConstraints(TickSpacing.CONTINUOUS, significant_digits=5))
STOP = ConditionalTrigger("STOP_LOSS", trigger_price="45000")
TRAIL = ConditionalTrigger("TRAILING_STOP", trail_offset="100")


def without(*features: str, sides: tuple[Side, ...] = tuple(Side)) -> SymbolMetadata:
    """The symbol on a venue that lacks these features."""
    return replace(SYMBOL, capabilities=MarketCapabilities.of(set(FEATURES) - set(features), sides=sides))


def order(**changes: Any) -> StandardOrder:
    """A plain limit order that fits the symbol, with these fields changed."""
    fields: dict[str, Any] = {"symbol_id": "BTC/USDT", "side": "BUY", "amount": 1, "limit_price": 50000}
    return StandardOrder(**fields | changes)


def market(**changes: Any) -> StandardOrder:
    """A plain market order that fits the symbol, with these fields changed."""
    return order(**{"limit_price": None} | changes)


def stop(**changes: Any) -> StandardOrder:
    """A stop-loss order of its own that fits the symbol, with these fields changed."""
    return market(**{"side": "SELL", "conditional_trigger": STOP, "conditional_mode": "STANDALONE"} | changes)


@pytest.mark.parametrize(
    ("made", "symbol"),
    [
        (order(), SYMBOL),
        (order(amount="0.001"), SYMBOL),
        (order(amount="20", limit_price="50000"), SYMBOL),
        (order(amount="0.001", limit_price="10000"), SYMBOL),
        (order(amount="100", limit_price="10"), SYMBOL),
        (order(amount="1", limit_price="999999"), SYMBOL),
        (order(limit_price="9999.5"), BANDED),
        (order(limit_price="10000"), BANDED),
        (order(limit_price="10001"), BANDED),
        (order(limit_price="50001"), DIGITS),
        (order(time_in_force="GTD", expire_at=NOW + 1), SYMBOL),
        (order(iceberg_qty="0.1", post_only=True, reduce_only=True), SYMBOL),
        (order(post_only=True, allow_emulation=False), without("gtc")),
        (order(post_only=True, time_in_force="DAY"), without("gtc", "day")),
        (market(), SYMBOL),
        (market(amount="0.001"), SYMBOL),
        (market(amount="0.001"), without("limit", "gtc")),
        (market(amount="10.01", amount_type="QUOTE"), SYMBOL),
        (order(time_in_force="DAY", allow_emulation=False), SYMBOL),
        (stop(), SYMBOL),
        (stop(), without("market", "limit", "trigger_limit")),
    ],
)
def test_what_fits_is_returned_unchanged(made: StandardOrder, symbol: SymbolMetadata) -> None:
    """An order that fits its market, limits included, is returned as it is."""
    assert validate(made, symbol, NOW) is made


@pytest.mark.parametrize(
    ("made", "symbol", "field", "message"),
    [
        (order(), replace(SYMBOL, active=False), "symbol_id", "takes no orders now"),
        # amounts
        (order(amount="0.0001"), SYMBOL, "amount", "^amount 0.0001: is below min_amount 0.001 BTC of BTC/USDT$"),
        (order(amount="100.1"), SYMBOL, "amount", "is above max_amount 100 BTC of BTC/USDT"),
        (order(amount=str(2**256)[:60]), SYMBOL, "amount", "is above max_amount"),
        (order(amount="1.00000001"), SYMBOL, "amount", "step 0.0001 of BTC/USDT; nearest are 1 and 1.0001"),
        (order(amount=0.1 + 0.2), SYMBOL, "amount", "0.30000000000000004.*nearest are 0.3 and 0.3001"),
        (market(amount="1.00005"), SYMBOL, "amount", "nearest are 1 and 1.0001"),
        (order(amount="1.000000000000000001"), SYMBOL, "amount", "nearest are 1 and 1.0001"),
        (market(amount="10.005", amount_type="QUOTE"), SYMBOL, "amount", "nearest are 10 and 10.01"),
        (order(iceberg_qty="0.12345"), SYMBOL, "iceberg_qty", "nearest are 0.1234 and 0.1235"),
        (order(iceberg_qty="0.00001"), SYMBOL, "iceberg_qty", "nearest is 0.0001"),
        # notional
        (order(amount="0.001", limit_price="9999.5"), SYMBOL, "amount", "is 9.9995 USDT, below min_notional 10"),
        (order(amount="100", limit_price="10000.5"), SYMBOL, "amount", "is 1000050 USDT, above max_notional 1000000"),
        (market(amount="9.99", amount_type="QUOTE"), SYMBOL, "amount", "below min_notional 10 USDT"),
        (order(amount="9.99", amount_type="QUOTE"), SYMBOL, "amount", "below min_notional 10 USDT"),
        (market(amount="1000000.01", amount_type="QUOTE"), SYMBOL, "amount", "above max_notional 1000000 USDT"),
        # prices
        (order(limit_price="50000.3"), SYMBOL, "limit_price", "tick is 0.5; nearest are 50000 and 50000.5"),
        (order(limit_price="9.5", amount=2), SYMBOL, "limit_price", "below min_price 10 of BTC/USDT; nearest is 10"),
        (order(limit_price="1000000"), SYMBOL, "limit_price", "above max_price 999999 .*; nearest is 999999"),
        (order(limit_price="9999.75"), BANDED, "limit_price", "tick here is 0.5; nearest are 9999.5 and 10000"),
        (order(limit_price="10000.5"), BANDED, "limit_price", "tick here is 1; nearest are 10000 and 10001"),
        (order(limit_price="20000.25"), BANDED, "limit_price", "tick here is 3; nearest are 20000 and 20001"),
        (order(limit_price="0.3", amount=100), BANDED, "limit_price", "tick here is 0.5; nearest is 0.5"),
        (order(limit_price="50000.5"), DIGITS, "limit_price", "5 significant digits; nearest are 50000 and 50001"),
        (
            stop(conditional_trigger=ConditionalTrigger("STOP_LOSS", "45000.1")),
            SYMBOL,
            "conditional_trigger.trigger_price",
            "nearest are 45000 and 45000.5",
        ),
        (
            stop(conditional_trigger=ConditionalTrigger("STOP_LOSS", 45000, limit_price="44000.1")),
            SYMBOL,
            "conditional_trigger.limit_price",
            "nearest are 44000 and 44000.5",
        ),
        (
            stop(conditional_trigger=ConditionalTrigger("TRAILING_STOP", trail_offset=1, activation_price="1.1")),
            SYMBOL,
            "conditional_trigger.activation_price",
            "below min_price",
        ),
        (
            stop(conditional_trigger=ConditionalTrigger("TRAILING_STOP", trail_offset="0.7")),
            SYMBOL,
            "conditional_trigger.trail_offset",
            "nearest are 0.5 and 1",
        ),
        # expiry
        (order(time_in_force="GTD", expire_at=NOW), SYMBOL, "expire_at", "is not after now"),
        (order(time_in_force="GTD", expire_at=NOW - 86_400_000), SYMBOL, "expire_at", "is not after now"),
        (order(time_in_force="GTD", expire_at=NOW // 1000), SYMBOL, "expire_at", "milliseconds, not seconds"),
    ],
)
def test_what_breaks_a_rule_is_refused(made: StandardOrder, symbol: SymbolMetadata, field: str, message: str) -> None:
    """Each rule of the market refuses with field, value, rule and, off the grid, the nearest values."""
    with pytest.raises(InvalidOrder, match=message) as caught:
        validate(made, symbol, NOW)
    assert caught.value.field == field
    assert not isinstance(caught.value, Unsupported)


def test_the_nearest_values_that_are_named_are_accepted() -> None:
    """Following the advice of a refusal leads to an accepted order."""
    with pytest.raises(InvalidOrder) as caught:
        validate(order(limit_price="50000.3", amount="1.23456"), SYMBOL, NOW)
    for amount in ("1.2345", "1.2346"):
        assert amount in caught.value.hint
        for price in ("50000", "50000.5"):
            validate(order(limit_price=price, amount=amount), SYMBOL, NOW)


def test_an_order_for_another_symbol_is_refused() -> None:
    """An order is never checked against the wrong market."""
    with pytest.raises(UnknownSymbol, match="is not BTC/USDT"):
        validate(order(symbol_id="ETH/USDT"), SYMBOL, NOW)


@pytest.mark.parametrize(
    ("made", "symbol", "feature"),
    [
        (market(), without("market"), "market"),
        (order(), without("limit"), "limit"),
        (order(), without("amount_base"), "amount_base"),
        (market(amount=50, amount_type="QUOTE"), without("amount_quote"), "amount_quote"),
        (order(allow_emulation=False), without("gtc"), "gtc"),
        (order(), without("gtc", "ioc", "fok"), "gtc"),
        (order(post_only=True), without("gtc", "post_only"), "post_only"),
        (order(post_only=True, allow_emulation=False, time_in_force="DAY"), without("gtc", "day"), "day"),
        (order(time_in_force="IOC"), without("ioc"), "ioc"),
        (market(time_in_force="IOC"), without("ioc"), "ioc"),
        (order(time_in_force="FOK"), without("fok"), "fok"),
        (order(time_in_force="DAY"), without("day", "gtc", "ioc", "fok"), "day"),
        (order(time_in_force="DAY", allow_emulation=False), without("day"), "day"),
        (order(time_in_force="GTD", expire_at=NOW + 1), without("gtd", "gtc", "ioc", "fok"), "gtd"),
        (order(time_in_force="GTD", expire_at=NOW + 1, allow_emulation=False), without("gtd"), "gtd"),
        (order(post_only=True), without("post_only"), "post_only"),
        (order(reduce_only=True), without("reduce_only"), "reduce_only"),
        (order(iceberg_qty="0.1"), without("iceberg"), "iceberg"),
        (stop(), without("stop_loss"), "stop_loss"),
        (stop(), without("source_last"), "source_last"),
        (stop(), without("gtc"), "gtc"),
        (stop(conditional_trigger=ConditionalTrigger("TAKE_PROFIT", 1)), without("take_profit"), "take_profit"),
        (stop(conditional_trigger=ConditionalTrigger("STOP_LOSS", 5, "MARK")), without("source_mark"), "source_mark"),
        (
            stop(conditional_trigger=ConditionalTrigger("STOP_LOSS", 5, "INDEX")),
            without("source_index"),
            "source_index",
        ),
        (stop(conditional_trigger=ConditionalTrigger("STOP_LOSS", 5, "MID")), without("source_mid"), "source_mid"),
        (stop(limit_price=44000), without("trigger_limit"), "trigger_limit"),
        (stop(conditional_trigger=TRAIL), without("trailing_abs"), "trailing_abs"),
        (
            stop(conditional_trigger=ConditionalTrigger("TRAILING_STOP", trail_offset=1, trail_unit="PERCENT")),
            without("trailing_pct"),
            "trailing_pct",
        ),
        (
            stop(conditional_trigger=ConditionalTrigger("TRAILING_STOP", trail_offset=1, activation_price=50)),
            without("trailing_activation"),
            "trailing_activation",
        ),
        (order(), without(sides=(Side.SELL,)), "side BUY"),
        (order(conditional_trigger=STOP, conditional_mode="UNIFIED_FIXED"), SYMBOL, "conditional_mode UNIFIED_FIXED"),
        (
            order(conditional_trigger=STOP, conditional_mode="UNIFIED_ADJUSTING"),
            SYMBOL,
            "conditional_mode UNIFIED_ADJUSTING",
        ),
        (stop(conditional_mode="SEPARATE_LINKED"), SYMBOL, "conditional_mode SEPARATE_LINKED"),
        (stop(conditional_mode="PROTECT_POSITION"), SYMBOL, "conditional_mode PROTECT_POSITION"),
    ],
)
def test_what_the_venue_lacks_is_unsupported(made: StandardOrder, symbol: SymbolMetadata, feature: str) -> None:
    """A missing capability that the kernel does not provide refuses the order and names the capability."""
    with pytest.raises(Unsupported) as caught:
        validate(made, symbol, NOW)
    assert caught.value.feature == feature


@pytest.mark.parametrize("feature", FEATURES)
def test_only_what_an_order_needs_is_asked_for(feature: str) -> None:
    """A limit order without emulation is refused for the lack of its three capabilities, and of no other."""
    needed = {"limit", "amount_base", "gtc"}
    if feature in needed:
        with pytest.raises(Unsupported):
            validate(order(allow_emulation=False), without(feature), NOW)
    else:
        assert validate(order(), without(feature), NOW) == order()


def test_partial_support_counts_as_support() -> None:
    """What the venue offers in part is left to the venue's own check."""
    symbol = replace(SYMBOL, capabilities=MarketCapabilities.of(set(FEATURES) - {"gtd"}, {"gtd": "over ten minutes"}))
    made = order(time_in_force="GTD", expire_at=NOW + 1)
    assert validate(made, symbol, NOW) is made
    assert to_spec(made, symbol).tif is TimeInForce.GTD


@pytest.mark.parametrize(
    ("made", "lacking"),
    [
        (order(time_in_force="DAY"), "day"),
        (order(time_in_force="GTD", expire_at=NOW + 1), "gtd"),
    ],
)
def test_the_kernel_keeps_day_and_gtd(made: StandardOrder, lacking: str) -> None:
    """Where the venue has no DAY or GTD the order goes out as GTC without an end, and the kernel is told to keep it."""
    symbol = without(lacking)
    assert validate(made, symbol, NOW) is made
    assert emulated_features(made, symbol) == (lacking,)
    spec = to_spec(made, symbol)
    assert (spec.tif, spec.until) == (TimeInForce.GTC, None)
    assert emulated_features(made, SYMBOL) == ()
    assert (to_spec(made, SYMBOL).tif, to_spec(made, SYMBOL).until) == (made.time_in_force, made.expire_at)


def test_rounding_only_downwards_and_only_when_asked() -> None:
    """With ``rounding=DOWN`` amounts fall to their step; prices are never touched."""
    made = order(amount="1.23456", iceberg_qty="0.56789", rounding="DOWN")
    rounded = validate(made, SYMBOL, NOW)
    assert (rounded.amount, rounded.iceberg_qty) == (d("1.2345"), d("0.5678"))
    assert rounded == made.but(amount="1.2345", iceberg_qty="0.5678")
    quote = validate(market(amount="25.019", amount_type="QUOTE", rounding="DOWN"), SYMBOL, NOW)
    assert quote.amount == d("25.01")
    with pytest.raises(InvalidOrder, match=r"nearest are 50000 and 50000\.5"):
        validate(order(limit_price="50000.1", rounding="DOWN"), SYMBOL, NOW)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (market(amount="0.00009", rounding="DOWN"), "below one step 0.0001"),
        (market(amount="0.00099", rounding="DOWN"), "below min_amount 0.001"),
        (market(amount="100.0001", rounding="DOWN"), "above max_amount"),
        (order(amount="0.00109", limit_price="9500", rounding="DOWN"), "is 9.5 USDT, below min_notional"),
        (order(iceberg_qty="0.00001", rounding="DOWN"), "below one step"),
    ],
)
def test_rounding_down_never_escapes_a_limit(made: StandardOrder, message: str) -> None:
    """After rounding down the amount is checked as any other; it is never rounded into a limit."""
    with pytest.raises(InvalidOrder, match=message):
        validate(made, SYMBOL, NOW)


def test_a_quote_amount_without_a_quote_step_may_be_anything() -> None:
    """Where the venue gives no step for quote amounts there is none to be off."""
    symbol = replace(SYMBOL, amounts=AmountConstraints(d("0.001"), d("0.001")))
    made = market(amount="25.0191234", amount_type="QUOTE", rounding="DOWN")
    assert validate(made, symbol, NOW) is made


def test_the_whole_order_in_the_venues_words() -> None:
    """Every field of an order reaches its spec, in the units of the contract."""
    made = StandardOrder(
        symbol_id="BTC/USDT",
        side="SELL",
        amount="2.50",
        limit_price="50000",
        time_in_force="GTD",
        expire_at=NOW + 5,
        iceberg_qty="0.5",
        post_only=True,
        reduce_only=True,
    )
    assert to_spec(made, SYMBOL) == Spec(
        symbol="BTC/USDT",
        side=Side.SELL,
        amount=d("2.5"),
        amount_in=AmountType.BASE,
        limit=d("50000"),
        guard=None,
        tif=TimeInForce.GTD,
        until=NOW + 5,
        leg="NET",
        post_only=True,
        reduce_only=True,
        display=d("0.5"),
        trigger=None,
    )
    trigger = ConditionalTrigger("TRAILING_STOP", None, "MARK", "1.5", "PERCENT", "60000", "40000")
    spec = to_spec(stop(conditional_trigger=trigger, amount=50, amount_type="QUOTE"), SYMBOL)
    assert (spec.limit, spec.amount_in) == (d("40000"), AmountType.QUOTE)
    assert spec.trigger == Trigger(
        kind=TriggerKind.TRAILING_STOP,
        price=None,
        source=PriceSource.MARK,
        offset=d("1.5"),
        offset_in=TrailUnit.PERCENT,
        activation=d("60000"),
    )


@pytest.mark.parametrize(
    ("wanted", "known", "hint"),
    [
        ("btc/usd", ["ETH/USD", "BTC/USD"], "did you mean BTC/USD?"),
        ("BTC-USD", ["ETH/USD", "BTC/USD"], "did you mean BTC/USD?"),
        ("BTC/USD\u200b", ["ETH/USD", "BTC/USD"], "did you mean BTC/USD?"),
        ("BTC/UDS", ["ETH/EUR", "BTC/USD"], "did you mean BTC/USD?"),
        ("DOGE", ["ETH/USD", "BTC/USD"], "the venue lists BTC/USD, ETH/USD"),
        ("", ["ETH/USD"], "the venue lists ETH/USD"),
        ("\x1b[31m", ["ETH/USD"], "the venue lists ETH/USD"),
        ("X", [], "the venue lists no symbols"),
        ("ZZZ", [f"A{i}/USD" for i in range(10)], "A7/USD, … (10 in all)"),
    ],
)
def test_unknown_symbols_get_a_hint(wanted: str, known: list[str], hint: str) -> None:
    """A wrong case, separator or letter leads to the symbol that was meant; otherwise some that exist are listed."""
    assert hint in suggest(wanted, known)


def test_every_symbol_is_listed_even_where_names_differ_only_by_a_separator() -> None:
    """Two symbols of the same letters both count when symbols are listed."""
    assert suggest("ZZZ", [f"A{i}/USD" for i in range(8)]).endswith("A7/USD")
    assert suggest("ZZZ", ["A/B", "A-B", "C/D"]) == "the venue lists A-B, A/B, C/D"


amounts = st.decimals(min_value=d("0.0001"), max_value=d("110"), places=4) | st.decimals(
    min_value=d("0.00001"), max_value=d("110"), places=9
)
limits = st.integers(1, 60_000).map(Decimal) | st.decimals(min_value=d("0.1"), max_value=d("1000001"), places=1)


@given(amounts, limits, st.sampled_from(Rounding), st.sampled_from([SYMBOL, BANDED, DIGITS]))
def test_what_is_accepted_is_never_worse_than_asked(
    amount: Decimal, price: Decimal, rounding: Rounding, symbol: SymbolMetadata
) -> None:
    """An accepted order keeps its price, never grows, lies within the limits, and is accepted again unchanged."""
    made = order(amount=amount, limit_price=price, rounding=rounding)
    try:
        accepted = validate(made, symbol, NOW)
    except InvalidOrder:
        return
    assert accepted.limit_price == made.limit_price
    assert accepted.amount <= amount
    assert accepted.amount == amount or rounding is Rounding.DOWN
    assert amount - accepted.amount < symbol.amounts.step
    assert symbol.amounts.min_amount <= accepted.amount <= d("100")
    assert d("10") <= accepted.amount * price <= d("1000000")
    assert validate(accepted, symbol, NOW) is accepted
