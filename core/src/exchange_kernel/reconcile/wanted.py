"""What an intent wants of the venue now: its spec with the amount still open, its guard price, and its own end of
time."""

from __future__ import annotations

from decimal import Decimal

from exchange_kernel.errors import InvalidOrder
from exchange_kernel.models import OrderIntent
from exchange_kernel.orders.grid import price_neighbours
from exchange_kernel.orders.validate import emulated_features, to_spec
from exchange_kernel.schema import Side, StandardOrder, SymbolMetadata, TimeInForce
from exchange_kernel.value import revised
from exchange_kernel.venue import PriceTick, Spec

DAY_MS = 86_400_000


def wanted_spec(intent: OrderIntent, amount: Decimal, symbol: SymbolMetadata) -> Spec:
    """The order in the venue's words, for ``amount`` of it (in its own unit)."""
    spec = to_spec(intent.order, symbol)
    display = spec.display if spec.display is None or spec.display <= amount else None
    return revised(spec, amount=amount, display=display)


def guarded_spec(spec: Spec, order: StandardOrder, tick: PriceTick | None, symbol: SymbolMetadata) -> Spec:
    """A market order's worst price: the touch moved by ``max_slippage``, on the grid, never worse than that.

    Raises InvalidOrder when the order bounds its slippage and the venue shows no price to bound it by.
    """
    if order.limit_price is not None or order.max_slippage is None:
        return spec
    touch = None if tick is None else (tick.ask if order.side is Side.BUY else tick.bid) or tick.last
    if touch is None:
        raise InvalidOrder(
            "max_slippage",
            f"{order.max_slippage:f}",
            f"{order.symbol_id} shows no price to bound it by",
            "set limit_price",
        )
    bound = touch * (1 + order.max_slippage if order.side is Side.BUY else 1 - order.max_slippage)
    low, high = price_neighbours(bound, symbol.prices)
    guard = low if order.side is Side.BUY else high
    return revised(spec, guard=guard if guard is not None else bound)


def emulated_end(intent: OrderIntent, symbol: SymbolMetadata | None) -> int | None:
    """When the kernel's own timer ends the order (ms UTC), where the venue has no such time in force; else None."""
    order = intent.order
    if order.time_in_force not in (TimeInForce.GTD, TimeInForce.DAY) or symbol is None:
        return None
    if not emulated_features(order, symbol):
        return None
    if order.time_in_force is TimeInForce.GTD:
        return order.expire_at
    return (intent.created_at // DAY_MS + 1) * DAY_MS
