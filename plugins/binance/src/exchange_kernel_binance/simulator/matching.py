"""One taker against one book: who trades with whom, and what self-trade prevention does instead.

Pure: the book and the two orders change, and what happened is returned step by step for the exchange to settle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from exchange_kernel_binance.simulator.book import Book, Resting, crosses, opposite
from exchange_kernel_binance.simulator.numbers import ZERO, ratio, step_down, times


@dataclass(frozen=True, slots=True)
class Fill:
    """`quantity` base at `price`, at the maker's price."""

    taker: Resting
    maker: Resting
    price: Decimal
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Prevented:
    """A trade with oneself that didn't happen; the amounts expire."""

    taker: Resting
    maker: Resting
    price: Decimal
    mode: str
    taker_quantity: Decimal
    maker_quantity: Decimal


def available(book: Book, taker: Resting, limit: Decimal | None) -> Decimal:
    """What the taker could get at once, hidden parts included and its own orders left out where they'd be prevented."""
    total = ZERO
    for maker in book.orders(opposite(taker.side)):
        if not crosses(taker.side, limit, maker.price):
            break
        if taker.stp != "NONE" and maker.account == taker.account:
            continue
        total += maker.remaining
    return total


def cost(book: Book, side: str, quantity: Decimal) -> tuple[Decimal, Decimal]:
    """(quote, base): what taking `quantity` at any price trades, as far as the book goes."""
    left, quote = quantity, ZERO
    for maker in book.orders(opposite(side)):
        if left <= 0:
            break
        part = min(left, maker.remaining)
        quote += times(part, maker.price)
        left -= part
    return quote, quantity - left


def affordable(book: Book, side: str, budget: Decimal, step: Decimal) -> Decimal:
    """The base amount, in lots of `step`, whose notional at the book's prices comes closest to `budget` from below."""
    left, base = budget, ZERO
    for maker in book.orders(opposite(side)):
        part = min(step_down(ratio(left, maker.price), step), maker.remaining)
        base += part
        left -= times(part, maker.price)
        if part < maker.remaining:
            break
    return base


def match(
    book: Book,
    taker: Resting,
    limit: Decimal | None,
    *,
    settled: Callable[[Fill], None],
) -> Iterator[Prevented]:
    """Trade until nothing crosses or nothing is left.

    Yields what was prevented; `settled` is called with every fill once both orders carry it.
    """
    while taker.remaining > 0:
        maker = book.best(opposite(taker.side))
        if maker is None or not crosses(taker.side, limit, maker.price):
            return
        if taker.stp != "NONE" and maker.account == taker.account:
            yield _prevent(book, taker, maker)
            continue
        quantity = min(taker.remaining, maker.shown)
        taker.executed += quantity
        maker.executed += quantity
        fill = Fill(taker, maker, maker.price, quantity)
        book.reduced(maker, quantity)
        settled(fill)


def _prevent(book: Book, taker: Resting, maker: Resting) -> Prevented:
    mode = taker.stp
    taker_part = maker_part = ZERO
    if mode in ("EXPIRE_TAKER", "EXPIRE_BOTH"):
        taker_part = taker.remaining
    if mode in ("EXPIRE_MAKER", "EXPIRE_BOTH"):
        maker_part = maker.remaining
    if mode in ("DECREMENT", "TRANSFER"):
        mode = "DECREMENT" if mode != maker.stp else mode
        taker_part = maker_part = min(taker.remaining, maker.remaining)
    taker.prevented += taker_part
    maker.prevented += maker_part
    if maker_part:
        if maker.remaining <= 0:
            book.remove(maker)
        else:
            book.shrunk(maker)
    return Prevented(taker, maker, maker.price, mode, taker_part, maker_part)
