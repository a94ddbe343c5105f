"""May Binance take this spot order, and what exactly would be sent? Pure: no clock, no network."""

from __future__ import annotations

from decimal import Decimal

from exchange_kernel.errors import InvalidOrder, Unsupported
from exchange_kernel.orders import check_bounds, check_numbers, price_on_grid, round_down, rounded
from exchange_kernel.schema import (
    AmountType,
    Side,
    Support,
    TimeInForce,
    TrailUnit,
    TriggerKind,
    canonical,
)
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.value import revised
from exchange_kernel.venue import Money, Preview, Spec, Trigger
from exchange_kernel_binance.filtering import previewed
from exchange_kernel_binance.spot.markets import SpotMarket

_IMMEDIATE = frozenset({TimeInForce.IOC, TimeInForce.FOK})
_NEVER_RESTS = "a market order never rests: what does not trade at once expires"
_HUNDREDTH = Decimal("0.01")
_GUARDED = "its worst price is kept by a limit order at that price that never rests"


def preview(spec: Spec, market: SpotMarket) -> Preview:
    """Exactly what would be sent. Raises Unsupported, InvalidOrder."""
    check_numbers(spec)
    return previewed(spec, market.filters, lambda: _preview(spec, market))


def _preview(spec: Spec, market: SpotMarket) -> Preview:
    _refuse(spec, market)
    sent = rounded(spec, market.meta)
    by_lots = sent.limit is None and sent.guard is None and sent.amount_in is AmountType.BASE
    if by_lots and market.market_step is not None:
        sent = revised(sent, amount=round_down(sent.amount, market.market_step))
    check_bounds(sent, market.meta)
    _check_market_lot(sent, market)
    _check_iceberg(sent, market)
    warnings: tuple[str, ...] = ()
    if sent.limit is None and sent.trigger is None:
        warnings = (_NEVER_RESTS,) if sent.tif not in _IMMEDIATE else ()
        warnings += (_GUARDED,) if sent.guard is not None else ()
    return Preview(sent, _uses(sent, market), _outlay(sent, market), warnings)


def amendment(spec: Spec, was: Spec, market: SpotMarket) -> Preview:
    """Exactly what would be sent to turn ``was`` into ``spec``: Binance only takes less of the same."""
    after = preview(spec, market)
    if after.spec.trigger is not None:
        raise Unsupported("amend_down", "an order that waits for a price is cancelled and placed again")
    if after.spec.limit is None or was.limit is None:
        raise Unsupported("amend_price", "a market order is over before it could be amended")
    if after.spec.limit != was.limit or revised(after.spec, amount=was.amount, limit=was.limit) != revised(
        was, guard=None
    ):
        raise Unsupported("amend_price", "Binance changes only the quantity of a spot order in place")
    if after.spec.amount > was.amount:
        raise Unsupported("amend_up", "Binance only makes a spot order smaller in place")
    if not market.meta.capabilities.offers("amend_down"):
        raise Unsupported("amend_down", f"{market.meta.symbol_id} takes no amendments")
    can = market.meta.capabilities
    uses = dict(after.uses) | {name: can.support(name) for name in ("amend_down", "amend_keeps_queue")}
    return Preview(after.spec, uses, after.outlay, after.warnings)


def _refuse(spec: Spec, market: SpotMarket) -> None:
    can = market.meta.capabilities
    if spec.trigger is not None:
        _refuse_trigger(spec, spec.trigger, market)
    if spec.tif in (TimeInForce.DAY, TimeInForce.GTD):
        raise Unsupported(spec.tif.lower(), "spot orders rest until they are cancelled")
    if spec.until is not None:
        raise InvalidOrder("until", spec.until, "belongs to tif GTD, which spot does not have")
    if spec.reduce_only:
        raise Unsupported("reduce_only", "a spot account has no positions")
    if spec.leg != "NET":
        raise Unsupported("hedge_legs", "a spot account has no positions")
    if spec.amount_in is AmountType.QUOTE:
        _refuse_quote(spec, market)
    if spec.limit is None and not can.offers("market"):
        raise Unsupported("market", f"{market.meta.symbol_id} takes no market orders")
    if spec.post_only:
        if spec.limit is None or spec.tif in _IMMEDIATE:
            raise InvalidOrder("post_only", True, "needs a limit price and a time in force that rests")
        if not can.offers("post_only"):
            raise Unsupported("post_only")
    if spec.display is not None:
        if not can.offers("iceberg"):
            raise Unsupported("iceberg")
        if spec.limit is None or spec.tif is not TimeInForce.GTC:
            raise InvalidOrder("display", spec.display, "needs a limit price and tif GTC")


def _refuse_quote(spec: Spec, market: SpotMarket) -> None:
    if not market.meta.capabilities.offers("amount_quote"):
        raise Unsupported("amount_quote")
    check_bounds(spec, market.meta)
    if spec.limit is not None or spec.guard is not None or spec.trigger is not None:
        raise Unsupported("amount_quote", "Binance takes it for market orders only, which have no price")


def _refuse_trigger(spec: Spec, trigger: Trigger, market: SpotMarket) -> None:
    can = market.meta.capabilities
    for name in _trigger_uses(spec, trigger):
        if not can.offers(name):
            raise Unsupported(name)
    if trigger.kind is TriggerKind.TRAILING_STOP:
        _refuse_trail(trigger)
    elif trigger.price is None:
        raise InvalidOrder("trigger.price", None, "is required")
    elif trigger.offset is not None or trigger.activation is not None:
        raise InvalidOrder("trigger", trigger.kind.value, "only a trailing stop has an offset and an activation price")
    for name, price in (("trigger.price", trigger.price), ("trigger.activation", trigger.activation)):
        if price is not None and price_on_grid(name, price, spec.side, market.meta) != price:
            raise InvalidOrder(name, price, f"is no price of {market.meta.symbol_id}")
    if spec.post_only:
        raise Unsupported("post_only", "not together with a trigger")
    if spec.limit is None and spec.guard is not None:
        rule = "what a trigger places at the market has no worst price"
        raise InvalidOrder("guard", spec.guard, rule, "give it a limit price")


def _refuse_trail(trigger: Trigger) -> None:
    if trigger.price is not None:
        rule = "a trailing stop has an offset, and perhaps an activation price"
        raise InvalidOrder("trigger.price", trigger.price, rule)
    if trigger.offset is None:
        raise InvalidOrder("trigger.offset", None, "is required")
    if EXACT.remainder(trigger.offset, _HUNDREDTH):
        raise InvalidOrder("trigger.offset", trigger.offset, "must be whole hundredths of a percent (trailingDelta)")


def _trigger_uses(spec: Spec, trigger: Trigger) -> list[str]:
    used = [trigger.kind.lower()]
    if trigger.kind is TriggerKind.TRAILING_STOP:
        used = ["trailing_pct" if trigger.offset_in is TrailUnit.PERCENT else "trailing_abs"]
        used += ["trailing_activation"] if trigger.activation is not None else []
    used += ["trigger_limit"] if spec.limit is not None else []
    return [*used, f"source_{trigger.source.lower()}"]


def _check_market_lot(sent: Spec, market: SpotMarket) -> None:
    if sent.limit is not None or sent.guard is not None or sent.amount_in is AmountType.QUOTE:
        return
    of = f"of {market.meta.symbol_id} (MARKET_LOT_SIZE)"
    if market.market_min is not None and sent.amount < market.market_min:
        raise InvalidOrder(
            "amount", sent.amount, f"is below the market order minimum {canonical(market.market_min)} {of}"
        )
    if market.market_max is not None and sent.amount > market.market_max:
        raise InvalidOrder(
            "amount", sent.amount, f"is above the market order maximum {canonical(market.market_max)} {of}"
        )


def _check_iceberg(sent: Spec, market: SpotMarket) -> None:
    if sent.display is None:
        return
    if sent.display < market.meta.amounts.min_amount:
        least = canonical(market.meta.amounts.min_amount)
        raise InvalidOrder("display", sent.display, f"is below min_amount {least} of {market.meta.symbol_id}")
    if market.iceberg_parts and EXACT.multiply(sent.display, Decimal(market.iceberg_parts)) < sent.amount:
        rule = f"makes more than {market.iceberg_parts} parts of {canonical(sent.amount)} (ICEBERG_PARTS)"
        raise InvalidOrder("display", sent.display, rule)


def _uses(spec: Spec, market: SpotMarket) -> dict[str, Support]:
    used = ["market" if spec.limit is None else "limit", f"amount_{spec.amount_in.lower()}"]
    if spec.limit is not None:
        used.append(spec.tif.lower())
    if spec.post_only:
        used.append("post_only")
    if spec.display is not None:
        used.append("iceberg")
    if spec.trigger is not None:
        used += _trigger_uses(spec, spec.trigger)
    return {name: market.meta.capabilities.support(name) for name in used}


def _outlay(spec: Spec, market: SpotMarket) -> tuple[Money, ...]:
    """The most it may cost; commission is taken from what is received. Empty where nobody knows the price."""
    if spec.amount_in is AmountType.QUOTE:  # how much base brings it, nobody knows
        return (Money(market.meta.quote, spec.amount),) if spec.side is Side.BUY else ()
    if spec.side is Side.SELL:
        return (Money(market.meta.base, spec.amount),)
    price = spec.guard if spec.limit is None else spec.limit
    return () if price is None else (Money(market.meta.quote, EXACT.multiply(spec.amount, price)),)
