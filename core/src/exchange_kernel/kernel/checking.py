"""Is this order one that the account could place, and what is it worth? Before anything is written."""

from __future__ import annotations

from decimal import Decimal

from exchange_kernel.errors import InvalidOrder, UnknownSymbol
from exchange_kernel.models import Limits
from exchange_kernel.orders.validate import suggest, to_spec, validate
from exchange_kernel.orders.watch import watched
from exchange_kernel.reconcile.apply import notional
from exchange_kernel.reconcile.pricing import newest_price
from exchange_kernel.reconcile.session import Session
from exchange_kernel.reconcile.wanted import guarded_spec
from exchange_kernel.schema import AmountType, StandardOrder, SymbolMetadata
from exchange_kernel.venue import Preview


async def check_order(
    session: Session, limits: Limits, order: StandardOrder
) -> tuple[StandardOrder, Preview, Decimal | None]:
    """The order as it would be recorded, what the venue would be asked for, and its notional (quote; None: unbounded).

    Raises InvalidOrder, UnknownSymbol, Unsupported; Unavailable, RateLimited where its price cannot be read now."""
    if not isinstance(order, StandardOrder):
        raise InvalidOrder("order", type(order).__name__, "must be a StandardOrder")
    symbol = find_symbol(session, order.symbol_id)
    order = validate(order, symbol, session.clock.now_ms())
    spec = to_spec(order, symbol)
    if order.limit_price is None and order.max_slippage is not None:
        spec = guarded_spec(spec, order, await newest_price(session, order.symbol_id), symbol)
    preview = session.adapter.check(spec)
    spec = preview.spec
    price = None
    if spec.limit is None and spec.guard is None and spec.amount_in is AmountType.BASE and limits.bounded:
        tick = await newest_price(session, order.symbol_id)
        price = None if tick is None else tick.ask or tick.last or tick.bid
    return order, preview, notional(spec, spec.amount, price)


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
