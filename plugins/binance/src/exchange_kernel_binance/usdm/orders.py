"""Futures requests, field by field, as they will be on the wire.

Sources: USD-M futures documentation (New Order, Modify Order, Cancel Order, Cancel All Open Orders).
"""

from __future__ import annotations

from exchange_kernel.schema import TimeInForce, canonical
from exchange_kernel.venue import Key, Ref, Spec
from exchange_kernel_binance.names import client_id, number_of
from exchange_kernel_binance.session import Fields
from exchange_kernel_binance.usdm.markets import Contract

PLACE = ("POST", "fapiPrivate", "order")
CANCEL = ("DELETE", "fapiPrivate", "order")
CANCEL_ALL = ("DELETE", "fapiPrivate", "allOpenOrders")
AMEND = ("PUT", "fapiPrivate", "order")


def place(spec: Spec, key: Key, contract: Contract) -> Fields:
    """A new order; ``spec`` as previewed."""
    price = spec.guard if spec.limit is None else spec.limit
    fields = [("symbol", contract.name), ("side", spec.side.value)]
    if spec.leg != "NET":
        fields.append(("positionSide", spec.leg))
    fields.append(("type", "MARKET" if price is None else "LIMIT"))
    if price is not None:
        fields += [("timeInForce", _life(spec)), ("price", canonical(price))]
    fields.append(("quantity", canonical(spec.amount)))
    if spec.until is not None:
        fields.append(("goodTillDate", str(spec.until)))
    if spec.reduce_only and spec.leg == "NET":  # a leg's orders say by side and leg whether they close
        fields.append(("reduceOnly", "true"))
    return (*fields, ("newClientOrderId", client_id(key)), ("newOrderRespType", "RESULT"))


def _life(spec: Spec) -> str:
    if spec.post_only:
        return "GTX"
    if spec.limit is None and spec.tif is not TimeInForce.FOK:
        return "IOC"  # a market order with a worst price is a limit order at that price that never rests
    return spec.tif.value


def cancel(ref: Ref, contract: Contract) -> Fields:
    """A cancel of exactly this order."""
    return (("symbol", contract.name), *_target(ref))


def amend(spec: Spec, ref: Ref, contract: Contract) -> Fields:
    """Another price and quantity for the same order; both are always said."""
    assert spec.limit is not None
    terms = (("side", spec.side.value), ("quantity", canonical(spec.amount)), ("price", canonical(spec.limit)))
    return (("symbol", contract.name), *_target(ref), *terms)


def _target(ref: Ref) -> Fields:
    number = next((number_of(known) for known in ref.ids if known.kind == "order"), None)
    if number is not None:
        return (("orderId", str(number)),)
    return (("origClientOrderId", client_id(ref.key)),)
