"""Reading the price for orders that the kernel keeps itself, and waking them when it may be met."""

from __future__ import annotations

import asyncio
import logging

from exchange_kernel.errors import InvalidOrder, NoEffect
from exchange_kernel.orders.watch import meets, quoted, watched
from exchange_kernel.reconcile.decide import remaining
from exchange_kernel.reconcile.meter import about
from exchange_kernel.reconcile.queue import Priority
from exchange_kernel.reconcile.session import Session
from exchange_kernel.reconcile.target import spec_of
from exchange_kernel.state.rows import Record, is_step
from exchange_kernel.venue import Prices, Quotes

log = logging.getLogger("exchange_kernel.reconcile")


def keeps(session: Session, record: Record) -> bool:
    """Is this an order that the kernel keeps itself?"""
    order = record.intent.order
    symbol = session.markets.get(order.symbol_id)
    return symbol is not None and watched(order, symbol.capabilities) and not is_step(record.intent.intent_id)


def unwatch(session: Session, record: Record) -> None:
    """The order is over: no price wakes it any more."""
    waiting = session.watched.get(record.intent.order.symbol_id)
    if waiting:
        waiting.discard(record.intent.intent_id)


async def price_met(session: Session, record: Record) -> bool | None:
    """Can what is left of this order be taken now, within its limit? None: the kernel does not watch for it.

    A price stream decides when it is worth asking; where the venue gives quotes, a quote for what is left decides.
    """
    intent = record.intent
    order = intent.order
    if not keeps(session, record):
        return None
    waiting = session.watched.setdefault(order.symbol_id, set())
    if record.progress.status.terminal or record.live is not None:
        waiting.discard(intent.intent_id)
        return False
    waiting.add(intent.intent_id)
    adapter = session.adapter
    if isinstance(adapter, Prices) and not meets(order, session.prices.get(order.symbol_id)):
        return False
    if not isinstance(adapter, Quotes):
        return isinstance(adapter, Prices)
    left = remaining(record)
    if left <= 0:
        return False
    try:
        spec = adapter.check(spec_of(session, record, left)).spec
        with session.deadlines.within(session.settings.read_timeout):
            return quoted(order, await adapter.quote(spec))
    except asyncio.CancelledError:
        raise
    except (InvalidOrder, NoEffect):
        return True  # what is left cannot be ordered any more: the attempt to says so
    except Exception as error:  # noqa: BLE001 - a read that failed, in whatever way, is no price
        extra = about(session.account, intent.intent_id, record)
        log.warning("quote for %s at %s: %s", intent.intent_id, session.account, error, extra=extra)
        return False


def wake(session: Session, symbol: str) -> None:
    """The price of this symbol is new: wake the orders that it may meet."""
    tick = session.prices.get(symbol)
    for intent_id in session.watched.get(symbol, ()):
        record = session.records.get(intent_id)
        if record is None or meets(record.intent.order, tick):
            session.queue.mark(intent_id, Priority.SUBMIT)


def wake_all(session: Session) -> None:
    """Where there are quotes and no stream of prices: wake them all."""
    for waiting in session.watched.values():
        for intent_id in waiting:
            session.queue.mark(intent_id, Priority.SUBMIT)
