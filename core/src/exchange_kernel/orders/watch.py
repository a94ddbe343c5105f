"""Resting orders on a venue where nothing rests: the kernel keeps them, watches the price, and takes it when it is met.

Pure. What is sent is an immediate order with the same limit, so that no price seen here, however old, makes it worse.
"""

from __future__ import annotations

from decimal import Decimal

from exchange_kernel.schema import MarketCapabilities, Side, StandardOrder, TimeInForce
from exchange_kernel.venue import PriceTick, Quote

LONGEST_PAUSE_MS = 300_000
"""After races lost in a row: never longer than this."""

_RESTS = frozenset({TimeInForce.GTC, TimeInForce.DAY, TimeInForce.GTD})


def watched(order: StandardOrder, capabilities: MarketCapabilities) -> bool:
    """Does the kernel itself keep this order, because the venue lets no such order rest? Then ``gtc`` is emulated."""
    return needs_watching(order, capabilities) and not unwatchable(order, capabilities)


def needs_watching(order: StandardOrder, capabilities: MarketCapabilities) -> bool:
    """Is this a limit order that rests, on a venue where it cannot, not even with the kernel's timer to end it?"""
    if capabilities.offers("gtc"):
        return False
    tif = order.time_in_force
    if order.is_market or order.conditional_trigger is not None or tif not in _RESTS:
        return False
    return not rests(order, capabilities) and not capabilities.offers(tif.lower())


def rests(order: StandardOrder, capabilities: MarketCapabilities) -> bool:
    """Does the venue let such an order rest? All of them where it offers ``gtc``; else post-only ones where it offers
    those, for an order that takes nothing can do nothing but rest."""
    return capabilities.offers("gtc") or (order.post_only and capabilities.offers("post_only"))


def unwatchable(order: StandardOrder, capabilities: MarketCapabilities) -> str:
    """Why watching would not do for an order that needs it, or ""."""
    if order.post_only:
        return "an order that must not take liquidity has to rest at the venue"
    if order.iceberg_qty is not None:
        return "an order of which a part is shown has to rest at the venue"
    if not capabilities.offers("ioc") and not capabilities.offers("fok"):
        return "emulation would need ioc or fok"
    if not capabilities.offers("prices") and not capabilities.offers("quotes"):
        return "emulation would need prices or quotes to watch"
    return ""


def immediate(capabilities: MarketCapabilities) -> TimeInForce:
    """What is sent when the price is met: IOC, whose remainder is kept watched; FOK where there is no IOC."""
    return TimeInForce.IOC if capabilities.offers("ioc") else TimeInForce.FOK


def meets(order: StandardOrder, tick: PriceTick | None) -> bool:
    """Does what can be taken now meet the order's limit? The touch of the other side; the last price where a venue
    shows no touch at all."""
    if tick is None:
        return False
    touch = tick.ask if order.side is Side.BUY else tick.bid
    return _within(order, tick.last if tick.bid is None and tick.ask is None else touch)


def quoted(order: StandardOrder, quote: Quote) -> bool:
    """Does a quote for what is left of the order meet its limit?"""
    return _within(order, quote.price)


def _within(order: StandardOrder, price: Decimal | None) -> bool:
    if price is None or order.limit_price is None:
        return False
    return price <= order.limit_price if order.side is Side.BUY else price >= order.limit_price


def pause_ms(lost: int) -> int:
    """How long to wait after so many races lost in a row: 1 s, 2 s, 4 s …"""
    return 0 if not lost else min(LONGEST_PAUSE_MS, 1_000 * 2 ** min(lost - 1, 16))
