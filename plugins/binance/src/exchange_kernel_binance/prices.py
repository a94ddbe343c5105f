"""What a symbol costs now: the best bid and ask."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

import msgspec

from exchange_kernel.venue import PriceTick
from exchange_kernel_binance.session import Session, decoder

__all__ = ["touch"]


class BookTicker(msgspec.Struct):
    """GET /api/v3/ticker/bookTicker and /fapi/v1/ticker/bookTicker; a side that has no order is told as zero."""

    bidPrice: str
    askPrice: str


_read = decoder(BookTicker)


async def touch(session: Session, api: str, venue_symbol: str, symbol: str) -> PriceTick:
    """Both sides of the book, in quote; None for a side without an order. ``at``: local ms UTC, when it was asked for.

    Raises Unavailable, RateLimited."""
    at = session.ctx.clock()
    found = await session.read(("GET", api, "ticker/bookTicker"), (("symbol", venue_symbol),), _read, signed=False)
    return PriceTick(symbol, at, bid=_side(found.bidPrice), ask=_side(found.askPrice))


def _side(text: str) -> Decimal | None:
    try:
        price = Decimal(text)
    except InvalidOperation:
        raise ValueError("no price") from None
    if not price.is_finite() or price < 0:
        raise ValueError("no price")
    return price or None
