"""Orders against their symbol's own filters, as exchangeInfo lists them, and the filters that Binance's refusals mean.

What only Binance knows at that moment (a reference price, how many orders are open, what is held) it alone decides; its
refusal is told with the same name of the filter. Sources: filters.md, errors.md (Filter failures), USD-M futures (Error
Codes, 40xx).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache

import msgspec

from exchange_kernel.errors import InvalidOrder
from exchange_kernel.schema import AmountType, Side, TrailUnit, TriggerKind
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.venue import Preview, Spec, Trigger
from exchange_kernel_binance.filters import Asked, Rule, rule_of

_FIELDS: Mapping[str, tuple[str, ...]] = {
    "PRICE_FILTER": ("limit", "guard", "trigger.price"),
    "PERCENT_PRICE": ("limit", "guard"),
    "PERCENT_PRICE_BY_SIDE": ("limit", "guard"),
    "LOT_SIZE": ("amount", "display"),
    "MARKET_LOT_SIZE": ("amount",),
    "NOTIONAL": ("amount",),
    "MIN_NOTIONAL": ("amount",),
    "ICEBERG_PARTS": ("display",),
    "TRAILING_DELTA": ("trigger.offset",),
    "MAX_POSITION": ("amount",),
}
"""What of an order a filter is about."""
FUTURES: Mapping[int, str] = {
    -4001: "PRICE_FILTER",
    -4002: "PRICE_FILTER",
    -4003: "LOT_SIZE",
    -4004: "LOT_SIZE",
    -4005: "LOT_SIZE",
    -4006: "PRICE_FILTER",
    -4013: "PRICE_FILTER",
    -4014: "PRICE_FILTER",
    -4016: "PERCENT_PRICE",
    -4023: "LOT_SIZE",
    -4024: "PERCENT_PRICE",
    -4045: "MAX_NUM_ALGO_ORDERS",
    -4131: "PERCENT_PRICE",
    -4164: "MIN_NOTIONAL",
    -2025: "MAX_NUM_ORDERS",
}
"""Futures give each way of breaking a filter a code of its own (Error Codes, 20xx and 40xx)."""
_read = msgspec.json.Decoder(list[msgspec.Raw]).decode


@lru_cache(maxsize=8_192)
def rules_of(filters: bytes) -> tuple[Rule, ...]:
    """The filters of a symbol from its entry. Raises ValueError for one of a known type that is not whole."""
    return tuple(rule_of(each) for each in _read(filters))


def previewed(spec: Spec, filters: bytes, make: Callable[[], Preview]) -> Preview:
    """What ``make`` previews of ``spec``, if every filter takes it. Raises InvalidOrder with the name of the filter."""
    try:
        made = make()
    except InvalidOrder as error:
        if type(error) is InvalidOrder and "(" not in error.rule:
            _name(error, spec, filters)
        raise
    for rule in rules_of(filters):
        breach = rule.breach(asked(made.spec))
        if breach:
            field = _field_of(rule.name, breach)
            raise InvalidOrder(field, _value(made.spec, field), f"{breach} ({rule.name})")
    return made


def asked(spec: Spec) -> Asked:
    """An order as the filters see it; without what only Binance knows."""
    in_quote = spec.amount_in is AmountType.QUOTE
    return Asked(
        buys=spec.side is Side.BUY,
        quantity=None if in_quote else spec.amount,
        quote=spec.amount if in_quote else None,
        price=spec.guard if spec.limit is None else spec.limit,
        stop=_stop(spec.trigger),
        market=spec.limit is None and spec.guard is None,
        conditional=spec.trigger is not None,
        iceberg=spec.display,
        delta=_delta(spec.trigger),
        above=_above(spec),
    )


def _stop(trigger: Trigger | None) -> Decimal | None:
    """Where it starts to work, or to follow."""
    if trigger is None:
        return None
    return trigger.activation if trigger.price is None else trigger.price


def _delta(trigger: Trigger | None) -> Decimal | None:
    """How far it follows, in hundredths of a percent."""
    if trigger is None or trigger.offset is None or trigger.offset_in is not TrailUnit.PERCENT:
        return None
    return EXACT.multiply(trigger.offset, Decimal(100))


def _above(spec: Spec) -> bool | None:
    """A profit that sells and a loss that buys wait above the market; so does a trailing stop, which is a profit if it
    waits for an activation price."""
    trigger = spec.trigger
    if trigger is None:
        return None
    trailing = trigger.kind is TriggerKind.TRAILING_STOP
    profit = trigger.activation is not None if trailing else trigger.kind is TriggerKind.TAKE_PROFIT
    return profit == (spec.side is Side.SELL)


def _name(error: InvalidOrder, spec: Spec, filters: bytes) -> None:
    """Add which filter it is that the kernel's own rules are read from."""
    for rule in rules_of(filters):
        if error.field in _FIELDS.get(rule.name, ()) and rule.breach(asked(spec)):
            error.rule = f"{error.rule} ({rule.name})"
            hint = f"; {error.hint}" if error.hint else ""
            error.args = (f"{error.field} {error.value}: {error.rule}{hint}",)
            return


def _field_of(name: str, breach: str) -> str:
    fields = _FIELDS.get(name, ("amount",))
    if breach.startswith("stop price"):
        return "trigger.price"
    return "display" if breach.startswith("shown") and "display" in fields else fields[0]


def _value(spec: Spec, field: str) -> Decimal | None:
    if field.startswith("trigger."):
        value: Decimal | None = getattr(spec.trigger, field.partition(".")[2], None)
        return value
    found: Decimal | None = getattr(spec, field)
    return spec.guard if field == "limit" and found is None else found
