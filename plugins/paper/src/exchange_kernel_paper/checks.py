"""May the venue take this order, and what exactly would be sent? Pure: no clock, no network."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from exchange_kernel.errors import InvalidOrder, Unsupported
from exchange_kernel.orders import check_bounds, check_numbers, rounded
from exchange_kernel.schema import (
    AmountType,
    Side,
    Support,
    SymbolMetadata,
    TimeInForce,
    TrailUnit,
    TriggerKind,
)
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.value import revised
from exchange_kernel.venue import Money, Preview, Spec
from exchange_kernel_paper.terms import VenueTerms

_TRAILS = {TrailUnit.ABSOLUTE: "trailing_abs", TrailUnit.PERCENT: "trailing_pct"}
_TRIGGERS = {
    (kind, unit): _TRAILS[unit] if kind is TriggerKind.TRAILING_STOP else kind.lower()
    for kind in TriggerKind
    for unit in TrailUnit
}
_IMMEDIATE = frozenset({TimeInForce.IOC, TimeInForce.FOK})
_NEVER_RESTS = "a market order never rests: what does not trade at once expires"


def preview(spec: Spec, symbol: SymbolMetadata, terms: VenueTerms) -> Preview:
    """Exactly what would be sent for ``spec``. Raises Unsupported, InvalidOrder."""
    check_numbers(spec)
    _refuse_unsupported(spec, symbol)
    sent = rounded(spec, symbol)
    check_bounds(sent, symbol)
    warnings = (_NEVER_RESTS,) if sent.limit is None and sent.tif not in _IMMEDIATE else ()
    return Preview(sent, _uses(sent, symbol), outlay(sent, symbol, terms), warnings, _needs(sent, terms))


def amendment(spec: Spec, was: Spec, symbol: SymbolMetadata, terms: VenueTerms) -> Preview:
    """Exactly what would be sent to turn ``was`` into ``spec``. Raises Unsupported, InvalidOrder."""
    after = preview(spec, symbol, terms)
    if after.spec.limit is None or was.limit is None:
        raise Unsupported("amend_price", "a market order is over before it could be amended")
    if revised(after.spec, amount=was.amount, limit=was.limit) != revised(was, guard=None):
        raise Unsupported("amend_price", "only the amount and the limit price of an order can be amended")
    needed = []
    if after.spec.limit != was.limit:
        needed.append("amend_price")
    if after.spec.amount > was.amount:
        needed.append("amend_up")
    elif after.spec.amount < was.amount:
        needed.append("amend_down")
    for feature in needed:
        if not symbol.capabilities.offers(feature):
            raise Unsupported(feature, "this venue does not amend so; cancel and place again")
    uses = dict(after.uses)
    uses.update((feature, symbol.capabilities.support(feature)) for feature in needed)
    return Preview(after.spec, uses, after.outlay, after.warnings, after.needs)


def _needs(sent: Spec, terms: VenueTerms) -> Mapping[str, Decimal]:
    """What must be enabled on the account first, and how much of it this order takes up."""
    if terms.enable == "off":
        return {}
    name = f"{sent.symbol} in quote" if sent.amount_in is AmountType.QUOTE else sent.symbol
    return {name: sent.amount if terms.enable == "allowance" else Decimal(0)}


def outlay(spec: Spec, symbol: SymbolMetadata, terms: VenueTerms) -> tuple[Money, ...]:
    """The most the order may cost, fee included. Empty for a market buy in base without a worst price: nobody knows."""
    price = spec.limit if spec.limit is not None else spec.guard
    buys, in_quote = spec.side is Side.BUY, spec.amount_in is AmountType.QUOTE
    if buys:
        most = spec.amount if in_quote else None if price is None else EXACT.multiply(spec.amount, price)
    else:
        most = spec.amount if not in_quote else None if price is None else _base_for(spec.amount, price, symbol)
    if most is None:
        return ()
    paid = symbol.quote if buys else symbol.base
    fee_in_paid = terms.fee_in == ("quote" if buys else "base")
    if fee_in_paid:
        most = EXACT.add(most, EXACT.multiply(most, max(terms.maker_fee, terms.taker_fee)))
    return (Money(paid, most),)


def _base_for(quote: Decimal, price: Decimal, symbol: SymbolMetadata) -> Decimal:
    """Whole steps of base that bring at most ``quote`` at ``price``."""
    step = symbol.amounts.step
    return EXACT.multiply(EXACT.divide_int(quote, EXACT.multiply(price, step)), step)


def _refuse_unsupported(spec: Spec, symbol: SymbolMetadata) -> None:
    if spec.side not in symbol.capabilities.sides:
        only = ", ".join(sorted(symbol.capabilities.sides))
        raise Unsupported(f"side {spec.side}", f"{symbol.symbol_id} takes only {only}")
    tif = spec.tif.lower()
    if spec.limit is not None and not symbol.capabilities.offers(tif):
        raise Unsupported(tif, "nothing rests here: IOC or FOK")
    if spec.trigger is not None:
        raise Unsupported(_TRIGGERS[spec.trigger.kind, spec.trigger.offset_in], "this venue watches no prices")
    if spec.reduce_only:
        raise Unsupported("reduce_only", "a spot venue knows no positions")
    if spec.leg != "NET":
        raise Unsupported("hedge_legs", "a spot venue knows no positions")
    if spec.post_only and (spec.limit is None or spec.tif in _IMMEDIATE):
        raise InvalidOrder("post_only", True, "needs a limit price and a time in force that rests")
    if spec.display is not None and spec.limit is None:
        raise InvalidOrder("display", spec.display, "needs a limit price")
    if (spec.until is not None) != (spec.tif is TimeInForce.GTD):
        raise InvalidOrder("until", spec.until, "belongs to tif GTD, which needs it")


def _uses(spec: Spec, symbol: SymbolMetadata) -> dict[str, Support]:
    features = symbol.capabilities.features
    used = ["market" if spec.limit is None else "limit", f"amount_{spec.amount_in.lower()}"]
    if spec.limit is not None or spec.tif in _IMMEDIATE:
        used.append(spec.tif.lower())
    if spec.post_only:
        used.append("post_only")
    if spec.display is not None:
        used.append("iceberg")
    return {name: features[name] for name in used}
