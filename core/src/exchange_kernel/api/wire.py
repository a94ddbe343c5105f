"""What goes over the wire, and back: plain JSON, money as text, times as int ms UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar

import msgspec

from exchange_kernel.base import DryRun
from exchange_kernel.events import Event
from exchange_kernel.events import decode as decode_event
from exchange_kernel.models import OrderIntent
from exchange_kernel.schema import (
    AmountConstraints,
    MarketCapabilities,
    PriceConstraints,
    StandardOrder,
    Support,
    SymbolMetadata,
)
from exchange_kernel.schema.numbers import canonical
from exchange_kernel.state.rows import EventRow

__all__ = ["event_line", "plain", "read", "read_event", "read_intent", "read_preview", "read_symbol"]

T = TypeVar("T")


def plain(value: Any) -> Any:
    """JSON-able: values as mappings of their fields, orders as :meth:`StandardOrder.to_dict` writes them."""
    if isinstance(value, Decimal):
        return canonical(value)
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, StandardOrder):
        return value.to_dict()
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if is_dataclass(value):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(plain(each) for each in value)
    return [plain(each) for each in value]


def event_line(row: EventRow) -> bytes:
    """One event as JSON on one line. ``body`` is what the event carries beside its header, as it is stored."""
    head = {
        "seq": row.seq,
        "at": row.at,
        "kind": row.kind,
        "account": row.account,
        "intent_id": row.intent_id,
        "actor": row.actor,
        "reason": row.reason,
    }
    return msgspec.json.encode(head)[:-1] + b',"body":' + row.body.encode() + b"}"


def read(data: Any, kind: type[T]) -> T:
    """The inverse of :func:`plain` for values whose fields say everything. Raises ValueError for what is none."""
    return msgspec.convert(data, kind, dec_hook=_special)


def _special(kind: type, data: Any) -> Any:
    raise NotImplementedError(f"nothing reads a {kind.__name__}")


def read_intent(data: Mapping[str, Any]) -> OrderIntent:
    """An intent."""
    rest = {name: each for name, each in data.items() if name != "order"}
    order = StandardOrder.from_dict(data["order"])
    return read({**rest, "order": None}, _Intent).made(order)


class _Intent(OrderIntent, frozen=True):
    """An intent's fields, its order apart: that one checks itself when it is made."""

    order: None  # type: ignore[assignment]

    def made(self, order: StandardOrder) -> OrderIntent:
        """The intent."""
        return OrderIntent(
            **{name: getattr(self, name) for name in self.__struct_fields__ if name != "order"}, order=order
        )


def read_preview(data: Mapping[str, Any]) -> DryRun:
    """What a dry run found."""
    price, value = data["sent_price"], data["notional"]
    return DryRun(
        order=StandardOrder.from_dict(data["order"]),
        sent_amount=Decimal(data["sent_amount"]),
        sent_price=None if price is None else Decimal(price),
        uses={name: read(each, Support) for name, each in data["uses"].items()},
        emulated=tuple(data["emulated"]),
        outlay={name: Decimal(each) for name, each in data["outlay"].items()},
        notional=None if value is None else Decimal(value),
        warnings=tuple(data["warnings"]),
        would_wait=data["would_wait"],
    )


def read_symbol(data: Mapping[str, Any]) -> SymbolMetadata:
    """A market, checked anew."""
    offered = data["capabilities"]
    features = {name: read(each, Support) for name, each in offered["features"].items()}
    parts = {
        "amounts": read(data["amounts"], AmountConstraints),
        "prices": read(data["prices"], PriceConstraints),
        "capabilities": MarketCapabilities(features, frozenset(offered["sides"])),
    }
    return SymbolMetadata(**{**data, **parts})


def read_event(data: Mapping[str, Any]) -> Event:
    """An event. Raises KeyError for a kind that this release does not know."""
    header = {name: data[name] for name in ("account", "at", "intent_id", "actor", "reason", "seq")}
    return decode_event(data["kind"], header, dict(data["body"]))
