"""The fields of an order as they stand in a manifest: each checked by itself, then together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from exchange_kernel.config.strict_yaml import Node, Place
from exchange_kernel.errors import InvalidOrder
from exchange_kernel.manifests.faults import Fault
from exchange_kernel.schema import ConditionalTrigger, StandardOrder
from exchange_kernel.schema.fields import close_to

__all__ = ["ORDER_FIELDS", "TRIGGER_FIELDS", "read_order"]

ORDER_FIELDS: Final = tuple(field.name for field in fields(StandardOrder))
TRIGGER_FIELDS: Final = tuple(field.name for field in fields(ConditionalTrigger))
_REQUIRED: Final = ("symbol_id", "side", "amount")
_SOUND: Final[Mapping[str, Any]] = {"symbol_id": "A", "side": "BUY", "amount": 10**59}
# What a field needs beside it, so that only the field itself can be wrong.
_BESIDE: Final[Mapping[str, Mapping[str, Any]]] = {
    "post_only": {"limit_price": 1},
    "iceberg_qty": {"limit_price": 1},
    "expire_at": {"time_in_force": "GTD"},
    "time_in_force": {"expire_at": 1},
    "conditional_trigger": {"conditional_mode": "STANDALONE"},
    "conditional_mode": {"conditional_trigger": ConditionalTrigger("STOP_LOSS", 1)},
}


def read_order(
    found: Mapping[str, Node], path: str, place: Place, places: dict[str, Place], faults: list[Fault]
) -> StandardOrder | None:
    """The order that these fields make, or None: then what is wrong was added to ``faults``.

    ``path``: of the mapping, for messages. ``places``: where each field stands is added to it, by the schema's name."""
    before = len(faults)
    values: dict[str, Any] = {}
    for key, node in found.items():
        places[key] = node.place
        if key not in ORDER_FIELDS:
            faults.append(_unknown(node.place, f"{path}.{key}", key, ORDER_FIELDS))
            continue
        if node.value is None:
            continue
        if key == "conditional_trigger" and isinstance(node.value, dict):
            for inner, each in node.value.items():
                places[f"{key}.{inner}"] = each.place
                if inner not in TRIGGER_FIELDS:
                    faults.append(_unknown(each.place, f"{path}.{key}.{inner}", inner, TRIGGER_FIELDS))
            values[key] = {inner: each.plain() for inner, each in node.value.items() if inner in TRIGGER_FIELDS}
            continue
        if key == "expire_at" and isinstance(node.value, str):
            moment = _moment(node.value)
            if moment is None:
                rule, hint = "is not a time", "write it with its zone, like 2026-12-31T12:00:00Z"
                faults.append(Fault.at(node.place, f"{path}.expire_at", node.value, rule, hint))
            else:
                values[key] = moment
            continue
        values[key] = node.plain() if isinstance(node.value, (dict, list)) else node.value
    for name in _REQUIRED:
        if name not in values:
            where = places.get(name, place)
            faults.append(Fault.at(where, f"{path}.{name}", "", "is required"))
    if len(faults) == before:
        try:
            return StandardOrder.from_dict(values)
        except InvalidOrder as error:
            together = error
        except TypeError as error:  # a value of a kind that no field takes
            together = InvalidOrder("order", "", str(error))
    singly = len(faults)
    for name, value in values.items():
        wrong = _alone(name, value)
        if wrong is not None:
            faults.append(Fault.of(_nearest(places, wrong.field, place), f"{path}.{wrong.field}", wrong))
    if len(faults) == before and singly == before:
        faults.append(Fault.of(_nearest(places, together.field, place), f"{path}.{together.field}", together))
    return None


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if "T" in text else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None


def _alone(name: str, value: Any) -> InvalidOrder | None:
    """What is wrong with a field whatever the others are."""
    beside = dict(_BESIDE.get(name, {}))
    if name == "time_in_force" and value != "GTD":
        beside = {}
    try:
        StandardOrder.from_dict({**_SOUND, **beside, name: value})
    except InvalidOrder as error:
        return error
    except TypeError as error:
        return InvalidOrder(name, "", str(error))
    return None


def _unknown(place: Place, path: str, key: str, known: tuple[str, ...]) -> Fault:
    near = close_to(key, known)
    hint = f"did you mean {near}?" if near else f"there are {', '.join(known)}"
    return Fault.at(place, path, "", "is no field of an order", hint)


def _nearest(places: Mapping[str, Place], field: str, otherwise: Place) -> Place:
    while field:
        if field in places:
            return places[field]
        field = field.rpartition(".")[0]
    return otherwise
