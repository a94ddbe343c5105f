"""Restating a trade that is over: a correction, or a bust."""

from __future__ import annotations

from decimal import Decimal

from exchange_kernel_paper.exchange.accounts import Account
from exchange_kernel_paper.exchange.codes import Code, Refusal
from exchange_kernel_paper.exchange.engine import Engine
from exchange_kernel_paper.exchange.orders import BUY, Order


def correct(engine: Engine, order_id: int, trade_id: int, base: Decimal, other: Account) -> tuple[Order, int]:
    """Restate a trade between the house and a customer's order that is over: it was for ``base``, at its price;
    0 takes it back. What moves is ``other``'s. The order, and the trade's place in it. Refusal: UNKNOWN_ORDER."""
    order = engine.orders.get(order_id)
    trades = [trade.id for trade in order.trades] if order is not None and order.finished else []
    if order is None or trade_id not in trades:
        raise Refusal(Code.UNKNOWN_ORDER, f"order {order_id} is not over, or has no trade {trade_id}")
    place, market = trades.index(trade_id), order.market
    was = order.trades[place]
    rival = engine.orders.get(was.taker if was.maker == order_id else was.maker)
    if rival is not None and not rival.account.house:
        raise Refusal(Code.UNKNOWN_ORDER, f"trade {trade_id} has a customer on its other side too")
    is_maker = was.maker == order.id
    quote = base * was.price
    fee = engine.fee_of(order, base, quote, engine.settings.maker_fee if is_maker else engine.settings.taker_fee)
    fees = {"maker_fee" if is_maker else "taker_fee": fee}
    trade = was._replace(base=base, quote=quote, revision=was.revision + 1, **fees)  # type: ignore[arg-type]
    engine.touch(order)
    order.trades[place] = trade
    order.filled += base - was.base
    order.spent += quote - was.quote
    more = 1 if order.side == BUY else -1
    asset, paid = was.maker_fee if is_maker else was.taker_fee
    for who, name, amount in (
        (other, market.base, more * (base - was.base)),
        (other, market.quote, more * (was.quote - quote)),
        (engine.fees, asset, paid - fee[1]),
    ):
        order.account.add(name, amount)
        who.add(name, -amount)
    order.account.past.append((engine.now, order, None))
    engine.ledger.corrected(engine.now, order, was, trade)
    return order, place
