"""When a stop or trailing order starts to work (faqs/trailing-stop-faq.md)."""

from __future__ import annotations

from decimal import Decimal

from exchange_kernel_binance.simulator.numbers import times
from exchange_kernel_binance.simulator.spot.orders import Order

_TEN_THOUSAND = Decimal(10_000)


def fires_above(side: str, kind: str) -> bool:
    """Whether the stop price lies above the market: a stop loss that buys, a take profit that sells."""
    return (side == "BUY") == kind.startswith("STOP_LOSS")


def reached(side: str, kind: str, stop_price: Decimal, last: Decimal) -> bool:
    """Whether the market has come to the stop price."""
    return last >= stop_price if fires_above(side, kind) else last <= stop_price


def follows(order: Order, last: Decimal, now: int) -> bool:
    """Tell the order a trade price; true when it must start to work."""
    if order.trailing_delta is None:
        return order.stop_price is not None and reached(order.side, order.type, order.stop_price, last)
    if order.extreme is None:
        if order.stop_price is not None and not reached(order.side, order.type, order.stop_price, last):
            return False
        order.extreme, order.trailing_time = last, now
        return False
    part = Decimal(order.trailing_delta) / _TEN_THOUSAND
    if order.side == "BUY":
        order.extreme = min(order.extreme, last)
        return last >= times(order.extreme, 1 + part)
    order.extreme = max(order.extreme, last)
    return last <= times(order.extreme, 1 - part)
