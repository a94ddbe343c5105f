"""Orders that use one capability each, for what a venue declares to be tried; and the values a market takes."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from exchange_kernel.orders import round_down, safe_price
from exchange_kernel.schema import (
    AmountType,
    AssetType,
    PriceSource,
    Side,
    SupportLevel,
    SymbolMetadata,
    TimeInForce,
    TrailUnit,
    TriggerKind,
)
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.testing.conformance.bench import Bench
from exchange_kernel.value import Value, revised
from exchange_kernel.venue import Spec, Trigger

__all__ = ["Probe", "needs", "on_grid", "plain", "probes", "some_symbols", "unlike"]

DAY_MS = 86_400_000
_IMMEDIATE = (TimeInForce.IOC, TimeInForce.FOK)


class Probe(Value, frozen=True):
    """An order that needs ``feature``, and perhaps others."""

    feature: str
    spec: Spec


def needs(spec: Spec) -> frozenset[str]:
    """Every capability an order needs of its venue."""
    features = {f"amount_{spec.amount_in.lower()}"}
    trigger = spec.trigger
    if trigger is None:
        features.add("market" if spec.limit is None else "limit")
    else:
        features |= _trigger_needs(trigger)
        if spec.limit is not None:
            features.add("trigger_limit")
    # A plain market order never rests, so GTC asks nothing of the venue.
    if spec.limit is not None or trigger is not None or spec.tif is not TimeInForce.GTC:
        features.add(spec.tif.lower())
    for feature, wanted in (
        ("post_only", spec.post_only),
        ("reduce_only", spec.reduce_only),
        ("iceberg", spec.display is not None),
        ("hedge_legs", spec.leg != "NET"),
    ):
        if wanted:
            features.add(feature)
    return frozenset(features)


def _trigger_needs(trigger: Trigger) -> set[str]:
    features = {f"source_{trigger.source.lower()}"}
    if trigger.kind is not TriggerKind.TRAILING_STOP:
        return features | {trigger.kind.lower()}
    features.add("trailing_abs" if trigger.offset_in is TrailUnit.ABSOLUTE else "trailing_pct")
    return features if trigger.activation is None else features | {"trailing_activation"}


def some_symbols(bench: Bench, most: int = 12) -> list[SymbolMetadata]:
    """The harness' symbol and, of a long list, a sample of the others."""
    others = [each for each in bench.symbols.values() if each is not bench.market and each.active]
    return [bench.market, *(others if len(others) < most else bench.rng.sample(others, most - 1))]


def plain(bench: Bench, symbol: SymbolMetadata) -> Spec | None:
    """A limit order this market takes in amount and price, far from trading or not; None where none can be made up."""
    if symbol is bench.market:
        resting = bench.harness.resting(4)
        # Terms of its own are no plain order's: what only rests cannot be made into what is done at once.
        return bench.adapter.check(bench.harness.crossing(4) if resting.post_only else resting).spec
    side = Side.BUY if Side.BUY in symbol.capabilities.sides else Side.SELL
    amounts, prices = symbol.amounts, symbol.prices
    price = safe_price(max(Decimal(100), (prices.min_price or Decimal(0)) * 4), side, prices)
    if price is None:
        return None
    least = max(amounts.min_amount, EXACT.divide((amounts.min_notional or Decimal(0)) * 2, price))
    amount = round_down(EXACT.add(least * 4, amounts.step), amounts.step)
    if amounts.max_amount is not None and amount > amounts.max_amount:
        return None
    return Spec(symbol.symbol_id, side, amount, limit=price)


def probes(bench: Bench, symbol: SymbolMetadata) -> Iterator[Probe]:
    """One order for every capability an order can express, in this market."""
    base = plain(bench, symbol)
    if base is None or base.limit is None or base.amount_in is not AmountType.BASE:
        return
    price, amount = base.limit, base.amount
    now = bench.clock.now_ms() + bench.opened.clock_offset
    worth = EXACT.multiply(amount, price)
    step = symbol.amounts.quote_step
    tick = symbol.prices.tick or EXACT.scaleb(Decimal(1), price.adjusted() - 3)

    def stop(kind: TriggerKind, source: PriceSource, **more: Decimal | TrailUnit) -> Spec:
        trailing = kind is TriggerKind.TRAILING_STOP
        trigger = revised(Trigger(kind, None if trailing else price, source), **more)
        return revised(base, limit=None, trigger=trigger)

    offered = symbol.capabilities.price_sources
    source = next((each for each in PriceSource if each in offered), PriceSource.LAST)
    trail, absolute = TriggerKind.TRAILING_STOP, tick * 100
    units = symbol.capabilities.trail_units
    unit = TrailUnit.PERCENT if TrailUnit.PERCENT in units else TrailUnit.ABSOLUTE
    distance = Decimal(1) if unit is TrailUnit.PERCENT else absolute
    yield Probe("limit", base)
    yield Probe("market", revised(base, limit=None))
    yield Probe("amount_base", base)
    quote = worth if step is None else round_down(worth, step)
    yield Probe("amount_quote", revised(base, amount=quote, amount_in=AmountType.QUOTE))
    for tif in TimeInForce:
        until = now + DAY_MS if tif is TimeInForce.GTD else None
        yield Probe(tif.lower(), revised(base, tif=tif, until=until))
    # What takes nothing and does not rest is nothing: no venue is asked for it.
    yield Probe("post_only", revised(base, post_only=True, tif=TimeInForce.GTC, until=None))
    yield Probe("reduce_only", revised(base, reduce_only=True))
    yield Probe("iceberg", revised(base, display=_shown(amount, symbol)))
    yield Probe("stop_loss", stop(TriggerKind.STOP_LOSS, source))
    yield Probe("take_profit", stop(TriggerKind.TAKE_PROFIT, source))
    yield Probe("trailing_abs", stop(trail, source, offset=absolute, offset_in=TrailUnit.ABSOLUTE))
    yield Probe("trailing_pct", stop(trail, source, offset=Decimal(1), offset_in=TrailUnit.PERCENT))
    yield Probe("trailing_activation", stop(trail, source, offset=distance, offset_in=unit, activation=price))
    yield Probe("trigger_limit", revised(stop(TriggerKind.STOP_LOSS, source), limit=price))
    for each in PriceSource:
        kind = TriggerKind.TAKE_PROFIT if symbol.capabilities.offers("take_profit") else TriggerKind.STOP_LOSS
        yield Probe(f"source_{each.lower()}", stop(kind, each))
    yield Probe("hedge_legs", revised(base, leg="LONG" if base.side is Side.BUY else "SHORT"))


def _shown(amount: Decimal, symbol: SymbolMetadata) -> Decimal:
    """A visible part of an iceberg: half of it, or what the smallest order is."""
    return max(round_down(amount / 2, symbol.amounts.step), min(amount, symbol.amounts.min_amount))


def on_grid(sent: Spec, symbol: SymbolMetadata) -> str:
    """Which value of ``sent`` this market does not take by its own metadata; "" for none."""
    amounts, prices = symbol.amounts, symbol.prices
    in_quote = sent.amount_in is AmountType.QUOTE
    step = amounts.quote_step if in_quote else amounts.step
    if step is not None and EXACT.remainder(sent.amount, step):
        return f"amount {sent.amount} is not a multiple of {step}"
    least, most = (amounts.min_notional, amounts.max_notional) if in_quote else (amounts.min_amount, amounts.max_amount)
    if (least is not None and sent.amount < least) or (most is not None and sent.amount > most) or sent.amount <= 0:
        return f"amount {sent.amount} is outside {least} to {most}"
    if sent.display is not None and (sent.display <= 0 or EXACT.remainder(sent.display, amounts.step)):
        return f"display {sent.display} is not a multiple of {amounts.step}"
    for name, price in (("limit", sent.limit), ("guard", sent.guard)):
        if price is not None and (price <= 0 or safe_price(price, sent.side, prices) != price):
            return f"{name} {price} is no price of {symbol.symbol_id}"
    if sent.limit is not None and not in_quote and amounts.min_notional is not None:
        worth = EXACT.multiply(sent.amount, sent.limit)
        if worth < amounts.min_notional:
            return f"amount times limit {worth} is below min_notional {amounts.min_notional}"
    return ""


def unlike(sent: Spec, spec: Spec, symbol: SymbolMetadata) -> str:
    """How what would be sent is another order than the one asked for, or a worse one; "" if it is neither."""
    for name in ("symbol", "side", "amount_in", "tif", "until", "leg", "post_only", "reduce_only", "trigger"):
        if getattr(sent, name) != getattr(spec, name):
            return f"{name} became {getattr(sent, name)!r}, asked for was {getattr(spec, name)!r}"
    if (sent.display is None) != (spec.display is None):
        return f"display became {sent.display}, asked for was {spec.display}"
    if sent.display is not None and spec.display is not None and sent.display > spec.display:
        return f"display {spec.display} was raised to {sent.display}: it shows more than was to be seen"
    step = symbol.amounts.quote_step if spec.amount_in is AmountType.QUOTE else symbol.amounts.step
    if sent.amount > spec.amount:
        return f"amount {spec.amount} was raised to {sent.amount}: it may only be rounded down"
    if step is not None and spec.amount - sent.amount >= step:
        return f"amount {spec.amount} became {sent.amount}, more than one step {step} away"
    if spec.limit is not None and sent.limit is None:
        return f"the limit {spec.limit} is gone"
    for name, asked, got in (("limit", spec.limit, sent.limit), ("guard", spec.guard, sent.guard)):
        if asked is None or got is None:
            continue
        if got != asked and (got > asked) == (spec.side is Side.BUY):
            return f"{name} {asked} of a {spec.side} became {got}: a price may only be rounded to the safe side"
        nearest = safe_price(asked, spec.side, symbol.prices)
        if nearest is not None and nearest != got and abs(got - asked) > abs(nearest - asked):
            return f"{name} {asked} became {got}, though {nearest} is nearer and as safe"
    return ""


def is_spot(symbol: SymbolMetadata) -> bool:
    """Do orders here exchange assets, on a margin wallet borrowed ones, too, and not open positions?"""
    return symbol.asset_type in (AssetType.SPOT, AssetType.MARGIN)


def native(symbol: SymbolMetadata, features: frozenset[str]) -> bool:
    """Does the market say of all of these that it has them, without a note?"""
    return all(symbol.capabilities.support(each).level is SupportLevel.NATIVE for each in features)
