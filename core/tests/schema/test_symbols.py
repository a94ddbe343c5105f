"""Symbol metadata: constraints that make sense, and every capability answered."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from exchange_kernel.errors import InvalidMetadata
from exchange_kernel.schema import (
    FEATURES,
    AmountConstraints,
    AmountType,
    AssetType,
    MarketCapabilities,
    PriceConstraints,
    PriceSource,
    Side,
    Support,
    SupportLevel,
    SymbolMetadata,
    TickBand,
    TickSpacing,
    TimeInForce,
    TrailUnit,
    TriggerKind,
)

TICK = Decimal("0.01")
BANDS = (TickBand(Decimal(0), TICK), TickBand(Decimal(100), Decimal("0.1")))


def wrong(value: Any) -> Any:
    """A value of another type than the field's."""
    return value


def symbol(**changes: Any) -> SymbolMetadata:
    """BTC/USD, with these fields changed."""
    fields: dict[str, Any] = {
        "symbol_id": "BTC/USD",
        "base": "BTC",
        "quote": "USD",
        "asset_type": AssetType.SPOT,
        "amounts": AmountConstraints(Decimal("0.001"), Decimal("0.0001")),
        "prices": PriceConstraints(TickSpacing.FIXED, tick=TICK),
        "capabilities": MarketCapabilities.of(native={"limit", "gtc", "amount_base"}),
    }
    return SymbolMetadata(**fields | changes)


def test_the_contract_names_these_features() -> None:
    """The list is the venue contract's, word for word, without repetition; choices are found under their own names."""
    assert len(FEATURES) == len(set(FEATURES)) == 47
    assert {tif.lower() for tif in TimeInForce} < set(FEATURES)
    assert {f"amount_{kind.lower()}" for kind in AmountType} < set(FEATURES)
    assert {f"source_{source.lower()}" for source in PriceSource} < set(FEATURES)


def test_a_symbol_holds_exact_numbers() -> None:
    """Constraints written as text or int are the exact decimals they show."""
    amounts = AmountConstraints("0.10", 1, max_notional="5.00")  # type: ignore[arg-type]
    assert (amounts.min_amount, amounts.step, amounts.max_notional) == (Decimal("0.1"), Decimal(1), Decimal(5))
    assert symbol().active
    assert symbol(active=False, venue_symbol="BTCUSD").venue_symbol == "BTCUSD"


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: AmountConstraints(Decimal(0), TICK), "min_amount"),
        (lambda: AmountConstraints(wrong(None), TICK), "min_amount"),
        (lambda: AmountConstraints(TICK, Decimal(0)), "step"),
        (lambda: AmountConstraints(TICK, Decimal(-1)), "step"),
        (lambda: AmountConstraints(TICK, Decimal("NaN")), "step"),
        (lambda: AmountConstraints(TICK, wrong(None)), "step"),
        (lambda: AmountConstraints(TICK, TICK, quote_step=Decimal(0)), "quote_step"),
        (lambda: AmountConstraints(Decimal(2), TICK, max_amount=Decimal(1)), "min_amount"),
        (lambda: AmountConstraints(TICK, TICK, min_notional=Decimal(2), max_notional=Decimal(1)), "min_notional"),
        (lambda: TickBand(Decimal(-1), TICK), "from_price"),
        (lambda: TickBand(Decimal(0), Decimal(0)), "tick"),
        (lambda: TickBand(Decimal(0), wrong(None)), "tick"),
        (lambda: PriceConstraints(wrong("LOGARITHMIC")), "spacing"),
        (lambda: PriceConstraints(TickSpacing.FIXED), "tick"),
        (lambda: PriceConstraints(TickSpacing.FIXED, tick=Decimal(0)), "tick"),
        (lambda: PriceConstraints(TickSpacing.DYNAMIC, tick=TICK, bands=BANDS), "tick"),
        (lambda: PriceConstraints(TickSpacing.CONTINUOUS, tick=TICK), "tick"),
        (lambda: PriceConstraints(TickSpacing.FIXED, tick=TICK, bands=BANDS), "bands"),
        (lambda: PriceConstraints(TickSpacing.DYNAMIC), "bands"),
        (lambda: PriceConstraints(TickSpacing.DYNAMIC, bands=BANDS[::-1]), "bands"),
        (lambda: PriceConstraints(TickSpacing.DYNAMIC, bands=(BANDS[0], BANDS[0])), "bands"),
        (lambda: PriceConstraints(TickSpacing.DYNAMIC, bands=BANDS[1:]), "bands"),
        (lambda: PriceConstraints(TickSpacing.DYNAMIC, bands=wrong((TICK,))), "bands"),
        (lambda: PriceConstraints(TickSpacing.FIXED, tick=TICK, significant_digits=5), "significant_digits"),
        (lambda: PriceConstraints(TickSpacing.CONTINUOUS, significant_digits=0), "significant_digits"),
        (lambda: PriceConstraints(TickSpacing.CONTINUOUS, significant_digits=True), "significant_digits"),
        (lambda: PriceConstraints(TickSpacing.CONTINUOUS, min_price=Decimal(2), max_price=Decimal(1)), "min_price"),
        (lambda: symbol(symbol_id="BTC USD"), "symbol_id"),
        (lambda: symbol(base=""), "base"),
        (lambda: symbol(quote="\u200b"), "quote"),
        (lambda: symbol(asset_type="COIN"), "asset_type"),
        (lambda: symbol(amounts=None), "amounts"),
        (lambda: symbol(prices=TICK), "prices"),
        (lambda: symbol(capabilities={}), "capabilities"),
        (lambda: symbol(active="yes"), "active"),
        (lambda: symbol(venue_symbol="\n"), "venue_symbol"),
    ],
)
def test_metadata_that_makes_no_sense_is_refused(make: Callable[[], object], field: str) -> None:
    """An adapter's mistake is refused when the metadata is made, with the field's name."""
    with pytest.raises(InvalidMetadata) as caught:
        make()
    assert caught.value.field == field


def test_allowed_edges() -> None:
    """Bands need not reach down to prices the market never takes; 36 significant digits are the most."""
    made = PriceConstraints(TickSpacing.DYNAMIC, bands=BANDS[1:], min_price=Decimal(100))
    assert made.bands == BANDS[1:]
    assert PriceConstraints(TickSpacing.CONTINUOUS, significant_digits=36).significant_digits == 36


def test_what_is_not_named_is_unsupported() -> None:
    """``of`` answers every feature: native, partial with its note, and all others unsupported."""
    made = MarketCapabilities.of(native={"limit", "gtc"}, partial={"gtd": "at least ten minutes ahead"})
    assert tuple(made.features) == FEATURES
    assert made.support("gtd") == Support(SupportLevel.PARTIAL, "at least ten minutes ahead")
    assert [name for name in FEATURES if made.offers(name)] == ["limit", "gtc", "gtd"]
    assert made.sides == frozenset(Side)


@pytest.mark.parametrize(
    ("make", "field", "rule"),
    [
        (lambda: MarketCapabilities.of(native={"post-only"}), "features", "did you mean post_only"),
        (lambda: MarketCapabilities.of(partial={"teleport": "x"}), "features", "is not a feature"),
        (lambda: MarketCapabilities.of(native={"gtc"}, partial={"gtc": "x"}), "gtc", "native and as partial"),
        (lambda: MarketCapabilities.of(partial={"gtc": ""}), "note", "required for partial"),
        (lambda: MarketCapabilities.of(sides=()), "sides", "at least one side"),
        (lambda: MarketCapabilities.of(sides=wrong(("HOLD",))), "sides", "BUY, SELL"),
        (lambda: MarketCapabilities({}), "market", "not answered"),
        (lambda: MarketCapabilities(dict.fromkeys(FEATURES, wrong(True))), "market", "not answered"),
        (lambda: Support(wrong("native")), "level", "is not a SupportLevel"),
        (lambda: MarketCapabilities.of().support("icebreg"), "features", "did you mean iceberg"),
    ],
)
def test_capabilities_are_a_closed_list(make: Callable[[], object], field: str, rule: str) -> None:
    """An unknown or unanswered feature, or a partial one without a note, is refused."""
    with pytest.raises(InvalidMetadata, match=rule) as caught:
        make()
    assert caught.value.field == field


def test_capabilities_as_the_seed_names_them() -> None:
    """The properties say which choices of an order the venue itself takes."""
    everything = MarketCapabilities.of(native=FEATURES)
    assert everything.amount_types == frozenset(AmountType)
    assert everything.times_in_force == frozenset(TimeInForce)
    assert everything.trigger_kinds == frozenset(TriggerKind)
    assert everything.trail_units == frozenset(TrailUnit)
    assert everything.price_sources == frozenset(PriceSource)
    assert everything.market_orders
    assert everything.limit_orders
    assert everything.post_only
    assert everything.reduce_only
    assert everything.iceberg
    nothing = MarketCapabilities.of(sides={Side.BUY})
    assert nothing.sides == {Side.BUY}
    assert not nothing.amount_types | nothing.times_in_force | nothing.trigger_kinds | nothing.price_sources
    assert not any(
        (nothing.market_orders, nothing.limit_orders, nothing.post_only, nothing.reduce_only, nothing.iceberg)
    )
    some = MarketCapabilities.of(native={"trailing_pct", "take_profit", "amount_quote", "source_mark", "day"})
    assert some.trigger_kinds == {TriggerKind.TRAILING_STOP, TriggerKind.TAKE_PROFIT}
    assert some.trail_units == {TrailUnit.PERCENT}
    assert some.amount_types == {AmountType.QUOTE}
    assert some.price_sources == {PriceSource.MARK}
    assert some.times_in_force == {TimeInForce.DAY}


def test_metadata_cannot_be_changed_but_can_be_copied() -> None:
    """Nobody can change a symbol another order is checked against; copies are equal."""
    made = symbol()
    with pytest.raises(TypeError):
        made.capabilities.features["market"] = Support(SupportLevel.NATIVE)  # type: ignore[index]
    assert copy.deepcopy(made) == made
    assert pickle.loads(pickle.dumps(made)) == made
    assert hash(copy.deepcopy(made)) == hash(made)


def test_later_changes_of_the_adapters_mapping_do_not_show() -> None:
    """The answers are copied: an adapter that goes on using its own dict changes nothing."""
    answers = dict(MarketCapabilities.of().features)
    made = MarketCapabilities(answers)
    answers["market"] = Support(SupportLevel.NATIVE)
    assert not made.market_orders
