"""The JSON Schema of manifests, made from the schema's own types. Editors understand it; the kernel checks more."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from exchange_kernel.manifests.orders import ORDER_FIELDS, TRIGGER_FIELDS
from exchange_kernel.manifests.reading import API_VERSION, GROUP_KINDS
from exchange_kernel.schema import AmountType, ConditionalOrderMode, Rounding, Side, TimeInForce, TriggerKind
from exchange_kernel.schema.order_spec import PriceSource, TrailUnit

__all__ = ["manifest_schema"]

_NAME: Final = {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$"}
# YAML's own numbers are read as they are written; text is what every tool keeps exact.
_MONEY: Final = {
    "anyOf": [
        {"type": "string", "pattern": r"^[0-9]{1,60}(\.[0-9]{1,36})?$"},
        {"type": "number", "exclusiveMinimum": 0},
    ]
}
_FLAG: Final = {"type": "boolean"}
_MOMENT: Final = {
    "anyOf": [{"type": "integer", "exclusiveMinimum": 0}, {"type": "string", "format": "date-time"}],
    "description": "ms UTC, or a time with its zone",
}


def _one_of(kind: type[StrEnum]) -> dict[str, Any]:
    return {"enum": list(kind.__members__)}


_ORDER: Final[dict[str, dict[str, Any]]] = {
    "symbol_id": {
        "type": "string",
        "pattern": "^[!-~]{1,64}$",
        "description": "the venue's market, as `exk symbols` lists it",
    },
    "side": _one_of(Side),
    "amount": {**_MONEY, "description": "in base, or in quote where amount_type says so"},
    "amount_type": _one_of(AmountType),
    "limit_price": {**_MONEY, "description": "worst price, quote per base; without it a market order"},
    "time_in_force": _one_of(TimeInForce),
    "conditional_trigger": {"$ref": "#/$defs/trigger"},
    "conditional_mode": _one_of(ConditionalOrderMode),
    "reduce_only": {**_FLAG, "description": "never increase a position"},
    "post_only": {**_FLAG, "description": "never take liquidity"},
    "iceberg_qty": {**_MONEY, "description": "the visible part, in base"},
    "expire_at": _MOMENT,
    "max_slippage": {**_MONEY, "description": "of market orders: worst price as a fraction away from now"},
    "rounding": _one_of(Rounding),
    "allow_emulation": {**_FLAG, "description": "may the kernel do what the venue does not offer?"},
}
_TRIGGER: Final[dict[str, dict[str, Any]]] = {
    "kind": _one_of(TriggerKind),
    "trigger_price": _MONEY,
    "price_source": _one_of(PriceSource),
    "trail_offset": _MONEY,
    "trail_unit": _one_of(TrailUnit),
    "activation_price": _MONEY,
    "limit_price": _MONEY,
}


def manifest_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of one document."""
    order = {name: _ORDER[name] for name in ORDER_FIELDS}
    needed = ["symbol_id", "side", "amount"]
    in_group = _object({"name": _NAME, **order}, ["name", *needed])
    group = _object(
        {"kind": {"enum": list(GROUP_KINDS)}, "orders": {"type": "array", "minItems": 1, "items": in_group}}, ["orders"]
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Exchange Kernel: an order, or a group of orders",
        "oneOf": [_document("Order", _object(order, needed)), _document("OrderGroup", group)],
        "$defs": {"trigger": _object({name: _TRIGGER[name] for name in TRIGGER_FIELDS}, ["kind"])},
    }


def _document(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    labels = {"type": "object", "maxProperties": 31, "additionalProperties": {"type": "string", "maxLength": 256}}
    meta = _object(
        {"name": {**_NAME, "description": "unique in the account, for ever"}, "account": _NAME, "labels": labels},
        ["name"],
    )
    return _object(
        {"apiVersion": {"const": API_VERSION}, "kind": {"const": kind}, "metadata": meta, "spec": spec},
        ["apiVersion", "kind", "metadata", "spec"],
    )


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}
