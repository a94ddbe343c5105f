"""Price-time priority: who trades with whom, at what price, in which order. Moves no money."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from exchange_kernel_paper.exchange.orders import BUY, Order


class Match(NamedTuple):
    """``base`` changes hands with ``maker``, at the maker's price."""

    maker: Order
    base: Decimal

    @property
    def price(self) -> Decimal:
        """Quote per base."""
        assert self.maker.limit is not None
        return self.maker.limit


class Plan(NamedTuple):
    """What an incoming order would do. ``stop`` says why the matching ended:

    ``FULL`` nothing is left of it; ``EMPTY`` the other side has no more; ``PRICE`` the next price is too bad;
    ``DUST`` what is left buys less than one step at the next price; ``SELF`` its own account's order is next.
    """

    matches: list[Match]
    stop: str


class Ladder:
    """One side of a book: price levels, each a queue of orders in time order."""

    __slots__ = ("_is_bid", "levels", "ranks")

    def __init__(self, *, is_bid: bool) -> None:
        self._is_bid = is_bid
        self.levels: dict[Decimal, dict[int, Order]] = {}
        self.ranks: list[Decimal] = []  # ascending goodness: the best is last, so that taking it off is cheap

    def add(self, order: Order) -> None:
        """Queue ``order`` behind everything at its limit price."""
        assert order.limit is not None
        level = self.levels.get(order.limit)
        if level is None:
            level = self.levels[order.limit] = {}
            insort(self.ranks, self._rank(order.limit))
        level[order.id] = order

    def remove(self, order: Order) -> None:
        """Take ``order`` off."""
        assert order.limit is not None
        level = self.levels[order.limit]
        del level[order.id]
        if not level:
            del self.levels[order.limit]
            del self.ranks[bisect_left(self.ranks, self._rank(order.limit))]

    def best(self) -> Decimal | None:
        """The best price, or None."""
        return self.ranks[-1].copy_abs() if self.ranks else None

    def prices(self) -> Iterator[Decimal]:
        """Every price, best first."""
        return (rank.copy_abs() for rank in reversed(self.ranks))

    def _rank(self, price: Decimal) -> Decimal:
        return price if self._is_bid else price.copy_negate()


def _queue(level: dict[int, Order]) -> Iterator[tuple[Order, Decimal]]:
    """Orders of one level with what each offers, in the order of matching: icebergs come again behind the others."""
    again: deque[tuple[Order, Decimal]] = deque()
    for order in level.values():
        assert order.limit is not None
        room = order.room(order.limit)
        if order.visible is None:
            yield order, room
        else:
            yield order, order.visible
            if room > order.visible:
                again.append((order, room - order.visible))
    while again:
        order, hidden = again.popleft()
        assert order.display is not None
        yield order, min(order.display, hidden)
        if hidden > order.display:
            again.append((order, hidden - order.display))


class Book:
    """The resting orders of one market."""

    __slots__ = ("asks", "bids", "last", "trade_count")

    def __init__(self) -> None:
        self.bids, self.asks = Ladder(is_bid=True), Ladder(is_bid=False)
        self.last: Decimal | None = None
        self.trade_count = 0

    def side_of(self, order: Order) -> Ladder:
        """Where ``order`` rests."""
        return self.bids if order.side == BUY else self.asks

    def plan(self, taker: Order, left: Decimal, bound: Decimal | None) -> Plan:
        """What ``taker`` would trade now with ``left`` of its amount, at ``bound`` or better (None: at any price)."""
        buying, in_quote = taker.side == BUY, taker.in_quote
        against = self.asks if buying else self.bids
        matches: list[Match] = []
        taken: set[int] = set()
        for price in against.prices():
            if bound is not None and (price > bound if buying else price < bound):
                return Plan(matches, "PRICE")
            for maker, offered in _queue(against.levels[price]):
                rivals = maker.group.rivals(maker) if maker.group is not None else ()
                # The first execution of one leg ends the others, in the same burst too.
                if any(rival.id in taken for rival in rivals):
                    continue
                room = taker.room(price, left) if in_quote else left
                if not room:
                    return Plan(matches, "DUST")
                if maker.account is taker.account:
                    return Plan(matches, "SELF")
                base = min(room, offered)
                if rivals:
                    taken.add(maker.id)
                matches.append(Match(maker, base))
                left -= base * price if in_quote else base
                if not left:
                    return Plan(matches, "FULL")
                if in_quote and base == room:
                    return Plan(matches, "DUST")
        return Plan(matches, "EMPTY")

    def top(self) -> tuple[Decimal | None, Decimal | None, Decimal | None]:
        """Best bid, best ask, last price."""
        return self.bids.best(), self.asks.best(), self.last
