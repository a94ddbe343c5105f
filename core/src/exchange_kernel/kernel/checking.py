"""Is this order one that the account could place, and what is it worth? Before anything is written."""

from __future__ import annotations

from decimal import Decimal

from exchange_kernel.errors import InvalidOrder, UnknownSymbol
from exchange_kernel.models import Limits
from exchange_kernel.orders.validate import suggest, to_spec, validate
from exchange_kernel.orders.watch import watched
from exchange_kernel.reconcile.apply import notional
from exchange_kernel.reconcile.session import Session
from exchange_kernel.reconcile.wanted import guarded_spec
from exchange_kernel.schema import AmountType, StandardOrder, SymbolMetadata
from exchange_kernel.venue import Preview, Prices, PriceTick


async def check_order(
    session: Session, limits: Limits, order: StandardOrder
) -> tuple[StandardOrder, Preview, Decimal | None]:
    """The order as it would be recorded, what the venue would be asked for, and its notional (quote; None: unbounded).

    Raises InvalidOrder, UnknownSymbol, Unsupported."""
    if not isinstance(order, StandardOrder):
        raise InvalidOrder("order", type(order).__name__, "must be a StandardOrder")
    symbol = find_symbol(session, order.symbol_id)
    order = validate(order, symbol, session.clock.now_ms())
    spec = to_spec(order, symbol)
    if order.limit_price is None and order.max_slippage is not None:
        spec = guarded_spec(spec, order, await _newest_price(session, order.symbol_id), symbol)
    preview = session.adapter.check(spec)
    spec = preview.spec
    price = None
    if spec.limit is None and spec.guard is None and spec.amount_in is AmountType.BASE and _bounded(limits):
        tick = await _newest_price(session, order.symbol_id)
        price = None if tick is None else tick.ask or tick.last or tick.bid
    return order, preview, notional(spec, spec.amount, price)


def _bounded(limits: Limits) -> bool:
    return limits.max_order_notional is not None or limits.max_open_notional is not None


async def _newest_price(session: Session, symbol_id: str) -> PriceTick | None:
    """The newest price, waiting a moment for the first one."""
    if not isinstance(session.adapter, Prices):
        return None
    waited = 0.0
    while symbol_id not in session.prices and waited < session.settings.price_wait:
        await session.clock.sleep(0.02)
        waited += 0.02
    return session.prices.get(symbol_id)


def find_symbol(session: Session, symbol_id: str) -> SymbolMetadata:
    """Raises UnknownSymbol, with the nearest name that exists."""
    symbol = session.markets.get(symbol_id)
    if symbol is None:
        hint = suggest(symbol_id, session.markets)
        raise UnknownSymbol("symbol_id", symbol_id, f"{session.account} does not list it", hint)
    return symbol


def submit_deadline(session: Session, order: StandardOrder, now: int) -> int | None:
    """Until when it may still be sent (R8): an order that has run out by itself never is. One that the
    kernel keeps until its price is met may be sent as long as it is wanted (None)."""
    if watched(order, find_symbol(session, order.symbol_id).capabilities):
        return order.expire_at
    patience = session.settings.single_shot_deadline_ms if order.immediate else session.settings.resting_deadline_ms
    return now + patience if order.expire_at is None else min(now + patience, order.expire_at)
