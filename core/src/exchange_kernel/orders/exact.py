"""What an adapter's ``check`` needs of an order: exact numbers, on the market's grid, never to the disadvantage of
whoever ordered, and within the market's bounds."""

from __future__ import annotations

from decimal import Decimal

from exchange_kernel.errors import InvalidOrder
from exchange_kernel.orders.grid import round_down, safe_price
from exchange_kernel.schema import AmountType, Side, SymbolMetadata, canonical
from exchange_kernel.schema.numbers import EXACT, MAX_FRACTION_DIGITS, MAX_INTEGER_DIGITS
from exchange_kernel.value import revised
from exchange_kernel.venue import Spec

__all__ = ["check_bounds", "check_numbers", "price_on_grid", "rounded"]

_DIGITS = MAX_INTEGER_DIGITS + MAX_FRACTION_DIGITS


def check_numbers(spec: Spec) -> None:
    """Only finite decimals above zero go any further. Raises InvalidOrder with the field."""
    given: list[tuple[str, object]] = [("amount", spec.amount)]
    named = [("limit", spec.limit), ("guard", spec.guard), ("display", spec.display)]
    if spec.trigger is not None:
        named += [
            ("trigger.price", spec.trigger.price),
            ("trigger.offset", spec.trigger.offset),
            ("trigger.activation", spec.trigger.activation),
        ]
    given += [(name, value) for name, value in named if value is not None]
    for name, value in given:
        if not isinstance(value, Decimal):
            raise InvalidOrder(name, value, "is not a Decimal")
        if not value.is_finite() or value <= 0:
            raise InvalidOrder(name, value, "must be a finite number above 0")
        if not -_DIGITS < value.adjusted() < _DIGITS or len(value.as_tuple().digits) > _DIGITS:
            raise InvalidOrder(name, value, f"has more than {_DIGITS} digits")


def rounded(spec: Spec, symbol: SymbolMetadata) -> Spec:
    """``spec`` on the grid: amounts down, prices never to the disadvantage. Raises InvalidOrder."""
    in_quote = spec.amount_in is AmountType.QUOTE
    step = symbol.amounts.quote_step if in_quote else symbol.amounts.step
    assert step is not None
    amount = round_down(spec.amount, step)
    limit = price_on_grid("limit", spec.limit, spec.side, symbol)
    guard = None if limit is not None else price_on_grid("guard", spec.guard, spec.side, symbol)
    display = None if spec.display is None else round_down(spec.display, symbol.amounts.step)
    if display is not None and not in_quote:
        display = min(display, amount)
    if (amount, limit, guard, display) == (spec.amount, spec.limit, spec.guard, spec.display):
        return spec
    return revised(spec, amount=amount, limit=limit, guard=guard, display=display)


def price_on_grid(field: str, price: Decimal | None, side: Side, symbol: SymbolMetadata) -> Decimal | None:
    """The nearest price of the market on the safe side. Raises InvalidOrder where there is none."""
    if price is None:
        return None
    safe = safe_price(price, side, symbol.prices)
    if safe is None:
        raise InvalidOrder(field, price, f"is outside the prices of {symbol.symbol_id}")
    return safe


def check_bounds(spec: Spec, symbol: SymbolMetadata) -> None:
    """Amount, notional and display within the market's bounds. Raises InvalidOrder naming the rule."""
    amounts, of = symbol.amounts, f"of {symbol.symbol_id}"
    if spec.display is not None and not spec.display:
        raise InvalidOrder("display", spec.display, f"is below one step {canonical(amounts.step)} {of}")
    notional = None
    if spec.amount_in is AmountType.QUOTE:
        notional = spec.amount
    else:
        if spec.amount < amounts.min_amount:
            raise InvalidOrder("amount", spec.amount, f"is below min_amount {canonical(amounts.min_amount)} {of}")
        if amounts.max_amount is not None and spec.amount > amounts.max_amount:
            raise InvalidOrder("amount", spec.amount, f"is above max_amount {canonical(amounts.max_amount)} {of}")
        price = spec.guard if spec.limit is None else spec.limit
        if price is not None:
            notional = EXACT.multiply(spec.amount, price)
    if notional is None:
        return
    worth = f"is worth {canonical(notional)} {symbol.quote}"
    if amounts.min_notional is not None and notional < amounts.min_notional:
        raise InvalidOrder("amount", spec.amount, f"{worth}, below min_notional {canonical(amounts.min_notional)} {of}")
    if amounts.max_notional is not None and notional > amounts.max_notional:
        raise InvalidOrder("amount", spec.amount, f"{worth}, above max_notional {canonical(amounts.max_notional)} {of}")
