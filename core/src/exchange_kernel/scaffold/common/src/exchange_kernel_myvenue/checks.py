"""May the venue take this order, and what exactly would be sent? Pure: no clock, no network."""

from __future__ import annotations

from decimal import Decimal

from exchange_kernel.errors import InvalidOrder, Unsupported
from exchange_kernel.orders import round_down, safe_price
from exchange_kernel.schema import AmountType, Side, SymbolMetadata, TrailUnit, TriggerKind, canonical
from exchange_kernel.schema.numbers import EXACT, amount
from exchange_kernel.value import revised
from exchange_kernel.venue import Money, Preview, Spec


def preview(spec: Spec, symbol: SymbolMetadata, fee: Decimal) -> Preview:
    """What would be sent for ``spec``. ``fee``: the highest, as a fraction. Raises Unsupported, InvalidOrder."""
    for field, value in (("amount", spec.amount), ("limit", spec.limit)):
        if value is not None:
            amount(field, value)
    if spec.side not in symbol.capabilities.sides:
        raise Unsupported(f"side {spec.side}", f"{symbol.symbol_id} does not take it")
    uses = {feature: symbol.capabilities.support(feature) for feature in needs(spec)}
    for feature in uses:
        if not symbol.capabilities.offers(feature):
            raise Unsupported(feature)
    if spec.until is not None:
        raise InvalidOrder("until", spec.until, "belongs to an order good till a date")
    sent = _rounded(spec, symbol)
    _check_bounds(sent, symbol)
    return Preview(sent, uses, _outlay(sent, symbol, fee))


def refuse_amendment(spec: Spec, was: Spec | None) -> Unsupported:
    """The refusal of an amendment, which names what is missing."""
    if was is not None and spec.limit == was.limit and spec.amount != was.amount:
        return Unsupported("amend_up" if spec.amount > was.amount else "amend_down")
    return Unsupported("amend_price")


def needs(spec: Spec) -> list[str]:
    """Every capability an order needs of its venue."""
    features = [f"amount_{spec.amount_in.lower()}"]
    trigger = spec.trigger
    if trigger is None:
        features.append("market" if spec.limit is None else "limit")
    else:
        units = {TrailUnit.ABSOLUTE: "trailing_abs", TrailUnit.PERCENT: "trailing_pct"}
        trails = trigger.kind is TriggerKind.TRAILING_STOP
        features += [units[trigger.offset_in] if trails else trigger.kind.lower(), f"source_{trigger.source.lower()}"]
        features += ["trailing_activation"] if trigger.activation is not None else []
        features += ["trigger_limit"] if spec.limit is not None else []
    features.append(spec.tif.lower())
    for feature, wanted in (
        ("post_only", spec.post_only),
        ("reduce_only", spec.reduce_only),
        ("iceberg", spec.display is not None),
        ("hedge_legs", spec.leg != "NET"),
    ):
        if wanted:
            features.append(feature)
    return features


def _rounded(spec: Spec, symbol: SymbolMetadata) -> Spec:
    """On the market's grid: the amount down, the price never to the disadvantage."""
    if spec.limit is None or spec.amount_in is not AmountType.BASE:
        raise Unsupported("market", "orders here have a limit price, and an amount in base")
    price = safe_price(spec.limit, spec.side, symbol.prices)
    if price is None:
        raise InvalidOrder("limit", spec.limit, f"is outside the prices of {symbol.symbol_id}")
    return revised(spec, amount=round_down(spec.amount, symbol.amounts.step), limit=price, guard=None)


def _check_bounds(spec: Spec, symbol: SymbolMetadata) -> None:
    amounts, of = symbol.amounts, f"of {symbol.symbol_id}"
    if spec.amount < amounts.min_amount:
        raise InvalidOrder("amount", spec.amount, f"is below min_amount {canonical(amounts.min_amount)} {of}")
    if amounts.max_amount is not None and spec.amount > amounts.max_amount:
        raise InvalidOrder("amount", spec.amount, f"is above max_amount {canonical(amounts.max_amount)} {of}")
    assert spec.limit is not None
    worth = EXACT.multiply(spec.amount, spec.limit)
    if amounts.min_notional is not None and worth < amounts.min_notional:
        rule = f"is worth {canonical(worth)} {symbol.quote}, below min_notional {canonical(amounts.min_notional)} {of}"
        raise InvalidOrder("amount", spec.amount, rule)


def _outlay(spec: Spec, symbol: SymbolMetadata, fee: Decimal) -> tuple[Money, ...]:
    """The most the order may cost, fee included. A sale's fee is taken from what it brings."""
    assert spec.limit is not None
    if spec.side is Side.SELL:
        return (Money(symbol.base, spec.amount),)
    worth = EXACT.multiply(spec.amount, spec.limit)
    return (Money(symbol.quote, EXACT.add(worth, EXACT.multiply(worth, fee))),)
