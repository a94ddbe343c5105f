"""Orders with numbers that are easily got wrong: between two steps, at the bounds, oddly written."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from exchange_kernel.orders import round_down, safe_price
from exchange_kernel.schema import AmountType, Side, SymbolMetadata, TimeInForce
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.testing.conformance.bench import Bench
from exchange_kernel.testing.conformance.probes import on_grid, plain
from exchange_kernel.value import revised
from exchange_kernel.venue import Spec

__all__ = ["awkward", "off_grid", "out_of_bounds", "random_on_grid", "varied"]

ODD = ("0.000000001", "0.4999999", "0.5", "0.50000001", "0.999999999999", "0.3333333333333333333333333")
"""Parts of a grid step by which a value is off the grid."""
A_DAY_MS = 86_400_000
"""Venues that take orders with an end take one a day from now."""
RANDOM = 60
"""Random orders per market."""


def off_grid(bench: Bench, symbol: SymbolMetadata) -> Iterator[Spec]:
    """Orders whose amount, price, or both lie between two values the market takes."""
    base = plain(bench, symbol)
    if base is None or base.limit is None:
        return
    step = symbol.amounts.step
    for side in sorted(symbol.capabilities.sides):
        for part in ODD:
            price = _between(base.limit, side, symbol, Decimal(part))
            amount = EXACT.add(base.amount, EXACT.multiply(step, Decimal(part)))
            yield revised(base, side=side, limit=price)
            yield revised(base, side=side, amount=amount)
            yield revised(base, side=side, amount=amount, limit=price)
            if symbol.capabilities.market_orders:
                yield revised(base, side=side, limit=None, guard=price)
            if symbol.capabilities.iceberg:
                yield revised(base, side=side, amount=amount * 2, display=amount)
            if symbol.capabilities.offers("amount_quote"):
                worth = EXACT.multiply(amount, base.limit)
                yield revised(base, side=side, amount=worth, amount_in=AmountType.QUOTE)


def _between(price: Decimal, side: Side, symbol: SymbolMetadata, part: Decimal) -> Decimal:
    """A price ``part`` of the way from one price of the market to the next."""
    tick = symbol.prices.tick or EXACT.scaleb(Decimal(1), price.adjusted() - 11)
    low = safe_price(price, Side.BUY, symbol.prices) or price
    high = safe_price(EXACT.add(low, tick / 1000), Side.SELL, symbol.prices)
    width = tick if high is None or high <= low else EXACT.subtract(high, low)
    return EXACT.add(low, EXACT.multiply(width, part))


def random_on_grid(bench: Bench, symbol: SymbolMetadata) -> Iterator[Spec]:
    """Random orders that keep every constraint of the market."""
    base = plain(bench, symbol)
    if base is None or base.limit is None:
        return
    rng = bench.rng
    for _ in range(RANDOM):
        side = rng.choice(sorted(symbol.capabilities.sides))
        factor = Decimal(rng.randrange(500_000, 4_000_000)) / 1_000_000
        price = safe_price(EXACT.multiply(base.limit, factor), side, symbol.prices)
        if price is None:
            continue
        amount = round_down(
            base.amount * rng.randrange(2, 400) + symbol.amounts.step * rng.randrange(1000), symbol.amounts.step
        )
        spec = revised(base, side=side, amount=amount, limit=price)
        most = symbol.amounts.max_notional
        if not on_grid(spec, symbol) and (most is None or amount * price <= most):
            yield spec


def awkward(bench: Bench) -> Iterator[Spec]:
    """The harness' order with its numbers written in ways that plain formatting gets wrong."""
    market = bench.market
    base = bench.adapter.check(bench.harness.resting(7)).spec
    step = market.amounts.step
    assert base.limit is not None
    tens = Decimal(10) ** max(step.adjusted() + 1, base.amount.adjusted())
    amounts = [
        base.amount.normalize(),
        base.amount + step,
        Decimal(f"{base.amount:f}" + ("0000" if "." in f"{base.amount:f}" else ".0000")),
        tens.normalize(),
        EXACT.add(tens, EXACT.multiply(step, Decimal(3))),
        EXACT.subtract(tens * 2, step),
        Decimal("1E+1"),
    ]
    lower = base.limit.normalize()
    for number, amount in enumerate(amounts):
        spec = revised(base, amount=amount, limit=lower if number % 2 else base.limit)
        if not on_grid(spec, market):
            yield spec


def varied(bench: Bench) -> Iterator[Spec]:
    """Orders that rest: both sides, on and off the grid, in base and in quote, as far as the market takes them."""
    base = bench.harness.resting(3)
    yield base
    market = bench.market
    if base.limit is None or base.amount_in is not AmountType.BASE:
        return
    yield from _termed(bench, base)
    step = market.amounts.step
    away = Decimal("0.999") if base.side is Side.BUY else Decimal("1.001")
    price = _between(EXACT.multiply(base.limit, away), base.side, market, Decimal("0.37"))
    yield revised(base, limit=price)
    yield revised(base, amount=EXACT.add(base.amount, EXACT.multiply(step, Decimal("0.99"))), limit=price)
    if market.capabilities.offers("amount_quote"):
        worth = EXACT.add(EXACT.multiply(base.amount, base.limit), Decimal("0.0077"))
        yield revised(base, amount=worth, amount_in=AmountType.QUOTE)
    other = Side.SELL if base.side is Side.BUY else Side.BUY
    crossing = bench.harness.crossing().limit
    if other in market.capabilities.sides and crossing is not None:
        factor = Decimal("1.5") if other is Side.SELL else Decimal("0.7")
        reference = max(crossing, base.limit) if other is Side.SELL else min(crossing, base.limit)
        away_price = _between(EXACT.multiply(reference, factor), other, market, Decimal("0.61"))
        yield revised(base, side=other, limit=away_price)


def _termed(bench: Bench, base: Spec) -> Iterator[Spec]:
    """The order with each of the terms it may have beside price and amount."""
    can, step = bench.market.capabilities, bench.market.amounts.step
    part = round_down(base.amount / 2, step)
    if can.offers("iceberg") and part:
        yield revised(base, display=part)
    if can.offers("post_only"):
        yield revised(base, post_only=True)
    if can.offers("day"):
        yield revised(base, tif=TimeInForce.DAY)
    if can.offers("gtd"):
        until = (bench.clock.now_ms() + bench.opened.clock_offset) // 1000 * 1000 + A_DAY_MS
        yield revised(base, tif=TimeInForce.GTD, until=until)


def out_of_bounds(base: Spec, symbol: SymbolMetadata) -> Iterator[tuple[str, Spec]]:
    """Orders that break one bound each: what it is, and the order."""
    amounts, prices, of = symbol.amounts, symbol.prices, f"of {symbol.symbol_id}"
    assert base.limit is not None
    less = EXACT.multiply(amounts.min_amount, Decimal("0.9"))
    yield f"an amount {less} below min_amount {amounts.min_amount} {of}", revised(base, amount=less)
    dust = EXACT.multiply(amounts.step, Decimal("0.01"))
    yield f"an amount {dust} below one step {amounts.step} {of}", revised(base, amount=dust)
    if amounts.max_amount is not None:
        more = EXACT.add(amounts.max_amount, amounts.step)
        yield f"an amount {more} above max_amount {amounts.max_amount} {of}", revised(base, amount=more)
    if amounts.min_notional is not None:
        worth = EXACT.multiply(amounts.min_notional, Decimal("0.5"))
        small = round_down(EXACT.divide(worth, base.limit), amounts.step)
        if small >= amounts.min_amount:
            yield f"an order worth half of min_notional {amounts.min_notional} {of}", revised(base, amount=small)
        if symbol.capabilities.offers("amount_quote"):
            spec = revised(base, amount=worth, amount_in=AmountType.QUOTE)
            yield f"a quote amount {worth} below min_notional {amounts.min_notional} {of}", spec
    if amounts.max_notional is not None:
        large = round_down(EXACT.divide(amounts.max_notional * 2, base.limit), amounts.step)
        yield f"an order worth twice max_notional {amounts.max_notional} {of}", revised(base, amount=large)
    if prices.min_price is not None:
        low = prices.min_price / 2
        amount = base.amount if amounts.max_amount is None else amounts.max_amount
        yield f"a price {low} below min_price {prices.min_price} {of}", revised(base, limit=low, amount=amount)
    if prices.max_price is not None:
        high = prices.max_price * 2
        spec = revised(base, limit=high, amount=amounts.min_amount)
        yield f"a price {high} above max_price {prices.max_price} {of}", spec
    if symbol.capabilities.iceberg:
        yield f"a display {dust} below one step {amounts.step} {of}", revised(base, display=dust)
