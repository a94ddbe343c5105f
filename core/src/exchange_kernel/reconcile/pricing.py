"""The newest price of a symbol: from the venue's stream where it has one, else asked for."""

from __future__ import annotations

from typing import Final

from exchange_kernel.errors import Unavailable
from exchange_kernel.reconcile.session import Session
from exchange_kernel.schema import AmountType, StandardOrder
from exchange_kernel.venue import PriceReads, Prices, PriceTick

FRESH_S: Final = 1.0
"""A price that was asked for is good for so long: a burst of orders asks once."""


async def newest_price(session: Session, symbol_id: str) -> PriceTick | None:
    """The newest price; None where the venue shows none. Waits a moment for the first one of a stream.

    Raises what the read raises, where the venue is asked."""
    adapter, clock = session.adapter, session.clock
    if isinstance(adapter, Prices):
        waited = 0.0
        while symbol_id not in session.prices and waited < session.settings.price_wait:
            await clock.sleep(0.02)
            waited += 0.02
    elif isinstance(adapter, PriceReads):
        read = session.priced_at.get(symbol_id)
        if read is None or clock.monotonic() - read > FRESH_S:
            try:
                with session.deadlines.within(session.settings.read_timeout):
                    tick = await adapter.price(symbol_id)
            except TimeoutError:
                raise Unavailable(f"the price of {symbol_id} was not told in time") from None
            session.prices[symbol_id] = tick
            session.priced_at[symbol_id] = clock.monotonic()
    return session.prices.get(symbol_id)


async def await_price(session: Session, order: StandardOrder) -> None:
    """Have the price by which this order's slippage or notional is bounded, where it needs one.

    Raises Unavailable where none has been told since the start, and what a read raises: nothing is known against the
    order, so it waits."""
    by_notional = session.bounded and order.amount_type is AmountType.BASE
    if order.limit_price is not None or (order.max_slippage is None and not by_notional):
        return
    if isinstance(session.adapter, Prices):
        if order.symbol_id not in session.prices:
            raise Unavailable(f"no price of {order.symbol_id} has been told yet")
    elif isinstance(session.adapter, PriceReads):
        await newest_price(session, order.symbol_id)
