"""Spot requests, field by field, as they will be on the wire.

Sources: rest-api.md (New order, Cancel order, Order Amend Keep Priority), faqs/trailing-stop-faq.md.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from exchange_kernel.schema import AmountType, TimeInForce, TriggerKind, canonical
from exchange_kernel.venue import Key, Ref, Spec, Trigger
from exchange_kernel_binance.names import client_id, number_of
from exchange_kernel_binance.spot.markets import SpotMarket
from exchange_kernel_binance.spot.reports import OrderView

Fields = tuple[tuple[str, str], ...]
PLACE = ("POST", "private", "order")
CANCEL = ("DELETE", "private", "order")
CANCEL_ALL = ("DELETE", "private", "openOrders")
AMEND = ("PUT", "private", "order/amend/keepPriority")


def place(spec: Spec, key: Key, market: SpotMarket) -> Fields:
    """A new order; ``spec`` as previewed."""
    fields = [("symbol", market.name), ("side", spec.side.value), ("type", _type(spec))]
    price = spec.guard if spec.limit is None else spec.limit
    if fields[-1][1].endswith("LIMIT"):
        fields.append(("timeInForce", _life(spec).value))
    fields.append(("quantity" if spec.amount_in is AmountType.BASE else "quoteOrderQty", canonical(spec.amount)))
    if price is not None:
        fields.append(("price", canonical(price)))
    if spec.trigger is not None:
        fields += _trigger(spec.trigger)
    if spec.display is not None:
        fields.append(("icebergQty", canonical(spec.display)))
    return (*fields, ("newClientOrderId", client_id(key)), ("newOrderRespType", "FULL"))


def _trigger(trigger: Trigger) -> list[tuple[str, str]]:
    """Where it starts to follow or to work, and how far it follows: in hundredths of a percent."""
    start = trigger.activation if trigger.kind is TriggerKind.TRAILING_STOP else trigger.price
    fields = [] if start is None else [("stopPrice", canonical(start))]
    return fields if trigger.offset is None else [*fields, ("trailingDelta", canonical(trigger.offset * 100))]


def _life(spec: Spec) -> TimeInForce:
    """A market order with a worst price is a limit order at that price that never rests."""
    return TimeInForce.IOC if spec.limit is None and spec.tif is not TimeInForce.FOK else spec.tif


def _type(spec: Spec) -> str:
    if spec.trigger is not None:
        return named(spec.trigger) + ("" if spec.limit is None else "_LIMIT")
    if spec.limit is None:
        return "MARKET" if spec.guard is None else "LIMIT"
    return "LIMIT_MAKER" if spec.post_only else "LIMIT"


def named(trigger: Trigger) -> str:
    """Which kind of trigger Binance calls it. A trailing stop is either, with a ``trailingDelta``; one that waits for
    its activation price waits on the side of a profit (faqs/trailing-stop-faq.md, Stop price condition)."""
    if trigger.kind is not TriggerKind.TRAILING_STOP:
        return trigger.kind.value
    return "STOP_LOSS" if trigger.activation is None else "TAKE_PROFIT"


def cancel(key: Key, ref: Ref, market: SpotMarket) -> Fields:
    """A cancel of exactly this order; its own id is the command's key."""
    return (("symbol", market.name), *_target(ref), ("newClientOrderId", client_id(key)))


def meant(query: str, view: OrderView) -> bool:
    """Is this the order that a cancel names? With it Binance ends all others of its list, and shows them, too."""
    fields = dict(parse_qsl(query))
    if "orderId" in fields:
        return fields["orderId"] == str(view.orderId)
    return fields.get("origClientOrderId") == view.origClientOrderId


def amend(spec: Spec, ref: Ref, market: SpotMarket) -> Fields:
    """Less of the same order: it keeps its place and its client id."""
    kept = ("newClientOrderId", client_id(ref.key))
    return (("symbol", market.name), *_target(ref), ("newQty", canonical(spec.amount)), kept)


def _target(ref: Ref) -> Fields:
    number = next((number_of(known) for known in ref.ids if known.kind == "order"), None)
    if number is not None:
        return (("orderId", str(number)),)
    return (("origClientOrderId", client_id(ref.key)),)
