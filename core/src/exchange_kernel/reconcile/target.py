"""What the venue would be told if an intent were carried out now: its markets and prices put to what is wanted."""

from __future__ import annotations

from decimal import Decimal

from exchange_kernel.errors import InvalidOrder
from exchange_kernel.reconcile.session import Session
from exchange_kernel.reconcile.wanted import guarded_spec, wanted_spec
from exchange_kernel.state.rows import Record
from exchange_kernel.value import revised
from exchange_kernel.venue import Spec


def spec_of(session: Session, record: Record, amount: Decimal, like: Spec | None = None) -> Spec:
    """What is wanted now, of ``amount`` (in the order's own unit), with its guard price; ``like``: keep that order's
    guard. Raises InvalidOrder when the venue no longer lists the symbol, or shows no price to bound the slippage by."""
    order = record.intent.order
    symbol = session.markets.get(order.symbol_id)
    if symbol is None:
        raise InvalidOrder("symbol_id", order.symbol_id, "the venue no longer lists it")
    spec = wanted_spec(record.intent, amount, symbol)
    if like is not None:
        return revised(spec, guard=like.guard)
    return guarded_spec(spec, order, session.prices.get(order.symbol_id), symbol)


def price_of(session: Session, record: Record) -> Decimal | None:
    """The newest price known of the intent's symbol (quote per base), or None."""
    tick = session.prices.get(record.intent.order.symbol_id)
    return None if tick is None else tick.last or tick.ask or tick.bid
