"""Values to text and back, exactly: money as canonical decimal text, structured values as compact JSON.

Stored values are not validated again: they were when they were written, and a rule that is tightened later must not
make an old row unreadable.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from decimal import Decimal
from functools import lru_cache
from typing import Any, cast

import msgspec

from exchange_kernel.models import ZERO, Condition, Limits
from exchange_kernel.schema import (
    AmountType,
    ConditionalOrderMode,
    ConditionalTrigger,
    PriceSource,
    Rounding,
    Side,
    StandardOrder,
    TimeInForce,
    TrailUnit,
    TriggerKind,
)
from exchange_kernel.schema.numbers import plain
from exchange_kernel.state.unit import compact
from exchange_kernel.venue import (
    Cost,
    End,
    Fence,
    HeightEnd,
    Money,
    Slot,
    SlotEnd,
    Spec,
    TimeEnd,
    Trigger,
    VenueId,
)

_decode = msgspec.json.Decoder().decode
_set = object.__setattr__


def _loads(text: str) -> Any:
    try:
        return _decode(text)
    except msgspec.DecodeError:
        return json.loads(text)  # it also reads what is no UTF-8, or says better what is wrong


money = plain
"""Canonical text. Raises ValueError or TypeError when it is not finite or too long to be money."""


def money_or_none(number: Decimal | None) -> str | None:
    """Canonical text, or None."""
    return None if number is None else plain(number)


def decimal(text: str) -> Decimal:
    """The number behind canonical text."""
    return ZERO if text == "0" else Decimal(text)


def decimal_or_none(text: str | None) -> Decimal | None:
    """The number behind canonical text, or None."""
    return None if text is None else decimal(text)


def ordered(number: int) -> str:
    """A number of a sequence as text that sorts as the number does: two digits of length, then the digits."""
    digits = str(number)
    if number < 0 or len(digits) > 99:
        raise ValueError(f"sequence number {digits[:20]} is negative or has more than 99 digits")
    return f"{len(digits):02d}{digits}"


def number(text: str) -> int:
    """The number behind :func:`ordered`."""
    return int(text[2:])


def mapping(value: Mapping[str, Any] | None) -> str | None:
    """A JSON object; None for none or an empty one."""
    return compact(dict(value)) if value else None


def mapping_or_none(text: str | None) -> dict[str, Any] | None:
    """The object behind JSON text, or None."""
    return None if text is None else cast("dict[str, Any]", _loads(text))


def order(value: StandardOrder) -> str:
    """An order as JSON, fields at their default left out."""
    return compact(value.to_dict())


_ORDER_DEFAULTS = {f.name: f.default for f in fields(StandardOrder)}
_TRIGGER_DEFAULTS = {f.name: f.default for f in fields(ConditionalTrigger)}
_ORDER_FIELDS: dict[str, Any] = {
    "side": Side,
    "amount": Decimal,
    "amount_type": AmountType,
    "limit_price": Decimal,
    "time_in_force": TimeInForce,
    "conditional_mode": ConditionalOrderMode,
    "iceberg_qty": Decimal,
    "max_slippage": Decimal,
    "rounding": Rounding,
}
_TRIGGER_FIELDS: dict[str, Any] = {
    "kind": TriggerKind,
    "trigger_price": Decimal,
    "price_source": PriceSource,
    "trail_offset": Decimal,
    "trail_unit": TrailUnit,
    "activation_price": Decimal,
    "limit_price": Decimal,
}


def read_order(text: str) -> StandardOrder:
    """The order behind :func:`order`."""
    values = _loads(text)
    if "conditional_trigger" in values:
        values["conditional_trigger"] = _build(
            ConditionalTrigger, values["conditional_trigger"], _TRIGGER_DEFAULTS, _TRIGGER_FIELDS
        )
    return cast(StandardOrder, _build(StandardOrder, values, _ORDER_DEFAULTS, _ORDER_FIELDS))


def _build(cls: type[Any], values: dict[str, Any], defaults: dict[str, Any], kinds: dict[str, Any]) -> object:
    made: object = object.__new__(cls)
    for name, default in defaults.items():
        value = values.get(name)
        if value is None:
            value = default
        elif name in kinds:
            value = kinds[name](value)
        _set(made, name, value)
    return made


# The values of these are frozen, and they repeat: orders of one strategy are much alike.
@lru_cache(maxsize=1024)
def spec(value: Spec) -> str:
    """A spec as JSON."""
    out: dict[str, Any] = {
        "symbol": value.symbol,
        "side": value.side.value,
        "amount": money(value.amount),
    }
    if value.amount_in is not AmountType.BASE:
        out["amount_in"] = value.amount_in.value
    if value.limit is not None:
        out["limit"] = money(value.limit)
    if value.guard is not None:
        out["guard"] = money(value.guard)
    if value.tif is not TimeInForce.GTC:
        out["tif"] = value.tif.value
    if value.until is not None:
        out["until"] = value.until
    if value.leg != "NET":
        out["leg"] = value.leg
    if value.post_only:
        out["post_only"] = True
    if value.reduce_only:
        out["reduce_only"] = True
    if value.display is not None:
        out["display"] = money(value.display)
    if value.trigger is not None:
        out["trigger"] = _trigger(value.trigger)
    return compact(out)


@lru_cache(maxsize=4096)
def read_spec(text: str) -> Spec:
    """The spec behind :func:`spec`."""
    v = _loads(text)
    trigger = v.get("trigger")
    return Spec(
        symbol=v["symbol"],
        side=Side(v["side"]),
        amount=decimal(v["amount"]),
        amount_in=AmountType(v.get("amount_in", "BASE")),
        limit=decimal_or_none(v.get("limit")),
        guard=decimal_or_none(v.get("guard")),
        tif=TimeInForce(v.get("tif", "GTC")),
        until=v.get("until"),
        leg=v.get("leg", "NET"),
        post_only=v.get("post_only", False),
        reduce_only=v.get("reduce_only", False),
        display=decimal_or_none(v.get("display")),
        trigger=None if trigger is None else _read_trigger(trigger),
    )


def _trigger(value: Trigger) -> list[Any]:
    return [
        value.kind.value,
        money_or_none(value.price),
        value.source.value,
        money_or_none(value.offset),
        value.offset_in.value,
        money_or_none(value.activation),
    ]


def _read_trigger(v: list[Any]) -> Trigger:
    return Trigger(
        TriggerKind(v[0]),
        decimal_or_none(v[1]),
        PriceSource(v[2]),
        decimal_or_none(v[3]),
        TrailUnit(v[4]),
        decimal_or_none(v[5]),
    )


def fence(value: Fence) -> str:
    """A fence as JSON."""
    return compact([value.repeatable, value.authority, [_end(end) for end in value.ends]])


def read_fence(text: str) -> Fence:
    """The fence behind :func:`fence`."""
    repeatable, authority, ends = _loads(text)
    return Fence(repeatable, tuple(_read_end(end) for end in ends), authority)


def _end(end: End) -> list[Any]:
    match end:
        case TimeEnd(at, clock, slack):
            return ["time", at, clock, slack]
        case HeightEnd(last):
            return ["height", last]
        case SlotEnd(slot):
            return ["slot", slot.scope, slot.number]


def _read_end(v: list[Any]) -> End:
    match v:
        case ["time", at, clock, slack]:
            return TimeEnd(at, clock, slack)
        case ["height", last]:
            return HeightEnd(last)
        case ["slot", scope, n]:
            return SlotEnd(Slot(scope, n))
    raise ValueError(f"no end of a fence: {v!r}")


def venue_ids(values: tuple[VenueId, ...]) -> str | None:
    """Venue ids in their order, or None for none."""
    return compact([[vid.kind, vid.value] for vid in values]) if values else None


def read_venue_ids(text: str | None) -> tuple[VenueId, ...]:
    """The ids behind :func:`venue_ids`."""
    return tuple(VenueId(kind, value) for kind, value in _loads(text)) if text else ()


def outlay(values: tuple[Money, ...]) -> str | None:
    """Amounts of assets, or None for none."""
    return compact([[m.asset, money(m.amount)] for m in values]) if values else None


def read_outlay(text: str | None) -> tuple[Money, ...]:
    """The amounts behind :func:`outlay`."""
    return tuple(Money(asset, decimal(amount)) for asset, amount in _loads(text)) if text else ()


def costs(values: tuple[Cost, ...]) -> str | None:
    """Fees, or None for none."""
    return compact([[c.id, c.asset, money(c.amount), c.kind] for c in values]) if values else None


def read_costs(text: str | None) -> tuple[Cost, ...]:
    """The fees behind :func:`costs`."""
    return tuple(Cost(i, asset, decimal(amount), kind) for i, asset, amount, kind in _loads(text)) if text else ()


def conditions(values: tuple[Condition, ...]) -> str | None:
    """Conditions, or None for none."""
    return compact([[c.type, c.reason, c.message, c.at] for c in values]) if values else None


def read_conditions(text: str | None) -> tuple[Condition, ...]:
    """The conditions behind :func:`conditions`."""
    return tuple(Condition(*values) for values in _loads(text)) if text else ()


@lru_cache(maxsize=256)
def limits(value: Limits) -> str:
    """Limits as JSON."""
    return compact(
        {
            "max_order_notional": money_or_none(value.max_order_notional),
            "max_open_notional": money_or_none(value.max_open_notional),
            "order_count": value.order_count,
            "order_period_ms": value.order_period_ms,
            "symbols": None if value.symbols is None else sorted(value.symbols),
        }
    )


@lru_cache(maxsize=256)
def read_limits(text: str) -> Limits:
    """The limits behind :func:`limits`."""
    v = _loads(text)
    return Limits(
        max_order_notional=decimal_or_none(v["max_order_notional"]),
        max_open_notional=decimal_or_none(v["max_open_notional"]),
        order_count=v["order_count"],
        order_period_ms=v["order_period_ms"],
        symbols=None if v["symbols"] is None else frozenset(v["symbols"]),
    )
