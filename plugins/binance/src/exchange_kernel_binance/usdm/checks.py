"""May Binance take this futures order, and what exactly would be sent? Pure: no clock, no network."""

from __future__ import annotations

from decimal import Decimal

from exchange_kernel.errors import InvalidOrder, Unsupported
from exchange_kernel.orders import check_bounds, check_numbers, price_on_grid, round_down, rounded
from exchange_kernel.schema import AmountType, Side, Support, TimeInForce, TrailUnit, TriggerKind, canonical
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.value import revised
from exchange_kernel.venue import Money, Preview, Spec, Trigger
from exchange_kernel_binance.filtering import previewed
from exchange_kernel_binance.usdm.markets import Contract

_IMMEDIATE = frozenset({TimeInForce.IOC, TimeInForce.FOK})
_NEVER_RESTS = "a market order never rests: what does not trade at once expires"
_GUARDED = "its worst price is kept by a limit order at that price that never rests"
_SECOND = 1_000
_LEAST_RATE, _MOST_RATE = Decimal("0.1"), Decimal(10)
"""New Algo Order, ``callbackRate``: percent."""


def preview(spec: Spec, contract: Contract, hedge: bool) -> Preview:
    """Exactly what would be sent; ``hedge``: the account holds long and short side by side. Raises Unsupported,
    InvalidOrder."""
    check_numbers(spec)
    return previewed(spec, contract.filters, lambda: _preview(spec, contract, hedge))


def _preview(spec: Spec, contract: Contract, hedge: bool) -> Preview:
    _refuse(spec, hedge)
    if spec.trigger is not None:
        _refuse_trigger(spec, spec.trigger, contract)
    sent = rounded(spec, contract.meta)
    if sent.limit is None and sent.guard is None and contract.market_step is not None:
        sent = revised(sent, amount=round_down(sent.amount, contract.market_step))
    if sent.until is not None and sent.until % _SECOND:
        sent = revised(sent, until=sent.until // _SECOND * _SECOND)
    check_bounds(sent, contract.meta)
    _check_market_lot(sent, contract)
    warnings: tuple[str, ...] = ()
    if sent.limit is None and sent.trigger is None:
        warnings = (_NEVER_RESTS,) if sent.tif not in _IMMEDIATE else ()
        warnings += (_GUARDED,) if sent.guard is not None else ()
    return Preview(sent, _uses(sent, contract), _outlay(sent, contract), warnings)


def amendment(spec: Spec, was: Spec, contract: Contract, hedge: bool) -> Preview:
    """Exactly what would be sent to turn ``was`` into ``spec``: another price, another quantity, of a limit order."""
    after = preview(spec, contract, hedge)
    if spec.trigger is not None or was.trigger is not None:
        raise Unsupported("amend_price", "a conditional order is changed by cancelling it, and placing another")
    if after.spec.limit is None or was.limit is None:
        raise Unsupported("amend_price", "a market order is over before it could be amended")
    if revised(after.spec, amount=was.amount, limit=was.limit) != revised(was, guard=None):
        raise Unsupported("amend_price", "only the amount and the limit price of an order can be amended")
    if after.spec.post_only and after.spec.limit != was.limit:
        raise Unsupported("amend_price", "Binance ends a post-only order that is moved to where it would trade")
    needed = ["amend_price"] if after.spec.limit != was.limit else []
    if after.spec.amount != was.amount:
        needed.append("amend_up" if after.spec.amount > was.amount else "amend_down")
    can = contract.meta.capabilities
    uses = dict(after.uses) | {name: can.support(name) for name in needed}
    return Preview(after.spec, uses, after.outlay, after.warnings)


def _refuse(spec: Spec, hedge: bool) -> None:
    if spec.tif is TimeInForce.DAY:
        raise Unsupported("day", "futures never close")
    if (spec.until is not None) != (spec.tif is TimeInForce.GTD):
        raise InvalidOrder("until", spec.until, "belongs to tif GTD, which needs it")
    if spec.tif is TimeInForce.GTD and spec.limit is None:
        raise InvalidOrder("tif", spec.tif.value, "needs a limit price")
    if spec.tif is TimeInForce.GTD and spec.post_only:
        raise Unsupported("post_only", "a post-only order is one time in force, an end is another")
    if spec.amount_in is AmountType.QUOTE:
        raise Unsupported("amount_quote", "futures are ordered in base")
    if spec.display is not None:
        raise Unsupported("iceberg", "futures orders are shown whole")
    if spec.post_only and (spec.limit is None or spec.tif in _IMMEDIATE):
        raise InvalidOrder("post_only", True, "needs a limit price and a time in force that rests")
    if spec.reduce_only and spec.leg == ("LONG" if spec.side is Side.BUY else "SHORT"):
        raise InvalidOrder("reduce_only", True, f"a {spec.side.value} order makes a {spec.leg} position larger")
    if not hedge and spec.leg != "NET":
        raise Unsupported("hedge_legs", "the account is in one-way mode")


def _refuse_trigger(spec: Spec, trigger: Trigger, contract: Contract) -> None:
    trailing = trigger.kind is TriggerKind.TRAILING_STOP
    can = contract.meta.capabilities
    for name in _trigger_uses(spec, trigger):
        if not can.offers(name):
            raise Unsupported(name)
    if trailing and (spec.limit is not None or trigger.price is not None):
        name = "limit" if spec.limit is not None else "trigger.price"
        raise InvalidOrder(name, spec.limit or trigger.price, "a trailing stop has an offset, and ends at the market")
    if trailing and not (trigger.offset is not None and _LEAST_RATE <= trigger.offset <= _MOST_RATE):
        rule = f"must be from {_LEAST_RATE} to {_MOST_RATE} percent (callbackRate)"
        raise InvalidOrder("trigger.offset", trigger.offset, rule)
    if not trailing and trigger.price is None:
        raise InvalidOrder("trigger.price", None, "is required")
    if not trailing and (trigger.offset is not None or trigger.activation is not None):
        raise InvalidOrder("trigger", trigger.kind.value, "only a trailing stop has an offset and an activation price")
    for name, price in (("trigger.price", trigger.price), ("trigger.activation", trigger.activation)):
        if price is not None and price_on_grid(name, price, spec.side, contract.meta) != price:
            raise InvalidOrder(name, price, f"is no price of {contract.meta.symbol_id}")
    if spec.post_only or spec.tif is TimeInForce.GTD:
        raise Unsupported("post_only" if spec.post_only else "gtd", "not together with a trigger")
    if spec.limit is None and spec.tif is not TimeInForce.GTC:
        raise InvalidOrder("tif", spec.tif.value, "what a trigger places at the market has none", "leave it at GTC")
    if spec.limit is None and spec.guard is not None:
        rule = "what a trigger places at the market has no worst price"
        raise InvalidOrder("guard", spec.guard, rule, "give it a limit price")


def _trigger_uses(spec: Spec, trigger: Trigger) -> list[str]:
    used = [trigger.kind.lower()]
    if trigger.kind is TriggerKind.TRAILING_STOP:
        used = ["trailing_pct" if trigger.offset_in is TrailUnit.PERCENT else "trailing_abs"]
        used += ["trailing_activation"] if trigger.activation is not None else []
    elif spec.limit is not None:
        used.append("trigger_limit")
    return [*used, f"source_{trigger.source.lower()}"]


def _check_market_lot(sent: Spec, contract: Contract) -> None:
    if sent.limit is not None or sent.guard is not None:
        return
    of = f"of {contract.meta.symbol_id} (MARKET_LOT_SIZE)"
    if contract.market_min is not None and sent.amount < contract.market_min:
        raise InvalidOrder("amount", sent.amount, f"is below the market minimum {canonical(contract.market_min)} {of}")
    if contract.market_max is not None and sent.amount > contract.market_max:
        raise InvalidOrder("amount", sent.amount, f"is above the market maximum {canonical(contract.market_max)} {of}")


def _uses(spec: Spec, contract: Contract) -> dict[str, Support]:
    used = ["market" if spec.limit is None else "limit", "amount_base"]
    if spec.limit is not None:
        used.append(spec.tif.lower())
    used += [name for name, on in (("post_only", spec.post_only), ("reduce_only", spec.reduce_only)) if on]
    if spec.leg != "NET":
        used.append("hedge_legs")
    if spec.trigger is not None:
        used += _trigger_uses(spec, spec.trigger)
    return {name: contract.meta.capabilities.support(name) for name in used}


def _outlay(spec: Spec, contract: Contract) -> tuple[Money, ...]:
    """The most that could be lost of margin: the whole value, as if there were no leverage. Empty where nobody knows
    the price, and for what only makes a position smaller."""
    price = spec.guard if spec.limit is None else spec.limit
    if price is None or spec.reduce_only:
        return ()
    return (Money(contract.meta.quote, EXACT.multiply(spec.amount, price)),)
