"""A price-time order book: the best price first, and at one price whoever came first."""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from exchange_kernel_binance.simulator.numbers import ZERO


@dataclass(slots=True, kw_only=True)
class Resting:
    """What the book needs to know of an order.

    `quantity`, `executed` and `prevented` are base amounts; `iceberg` is the part shown at a time (zero: all of it),
    `shown` how much of it is left.
    """

    order_id: int
    account: str
    symbol: str
    side: str
    price: Decimal
    quantity: Decimal
    executed: Decimal = ZERO
    prevented: Decimal = ZERO
    iceberg: Decimal = ZERO
    shown: Decimal = ZERO
    stp: str = "NONE"

    @property
    def remaining(self) -> Decimal:
        return self.quantity - self.executed - self.prevented


@dataclass(slots=True)
class Level:
    """The queue at one price."""

    price: Decimal
    queue: OrderedDict[int, Resting] = field(default_factory=OrderedDict)

    @property
    def shown(self) -> Decimal:
        return sum((order.shown for order in self.queue.values()), ZERO)


class Book:
    """The resting orders of a symbol; `update_id` counts the changes.

    `changed` names the levels that changed since somebody cleared it.
    """

    def __init__(self) -> None:
        self.update_id = 1
        self._levels: dict[str, dict[Decimal, Level]] = {"BUY": {}, "SELL": {}}
        # Sorted from best to worst by this key.
        self._keys: dict[str, list[Decimal]] = {"BUY": [], "SELL": []}
        self.changed: set[tuple[str, Decimal]] = set()

    @staticmethod
    def _key(side: str, price: Decimal) -> Decimal:
        return -price if side == "BUY" else price

    def add(self, order: Resting) -> None:
        """Rest at the end of the queue of its price."""
        levels = self._levels[order.side]
        if order.price not in levels:
            levels[order.price] = Level(order.price)
            insort(self._keys[order.side], self._key(order.side, order.price))
        order.shown = min(order.iceberg, order.remaining) if order.iceberg else order.remaining
        levels[order.price].queue[order.order_id] = order
        self._touch(order)

    def remove(self, order: Resting) -> None:
        """Off the book, if it is on it."""
        level = self._levels[order.side].get(order.price)
        if level is None or level.queue.pop(order.order_id, None) is None:
            return
        if not level.queue:
            del self._levels[order.side][order.price]
            self._keys[order.side].remove(self._key(order.side, order.price))
        self._touch(order)

    def holds(self, order: Resting) -> bool:
        level = self._levels[order.side].get(order.price)
        return level is not None and order.order_id in level.queue

    def reduced(self, order: Resting, by: Decimal) -> None:
        """Take `by` off what the order shows after a fill; an iceberg shows its next part at the end of the queue."""
        order.shown -= by
        if order.remaining <= 0:
            self.remove(order)
        elif order.shown <= 0:
            self.remove(order)
            self.add(order)
        else:
            self._touch(order)

    def shrunk(self, order: Resting) -> None:
        """The order became smaller in its place."""
        order.shown = min(order.shown, order.remaining)
        self._touch(order)

    def best(self, side: str) -> Resting | None:
        """The order that trades first on this side."""
        keys = self._keys[side]
        if not keys:
            return None
        return next(iter(self._levels[side][abs(keys[0])].queue.values()))

    def orders(self, side: str) -> Iterator[Resting]:
        """All of a side in the order in which they trade."""
        for key in self._keys[side]:
            yield from self._levels[side][abs(key)].queue.values()

    def depth(self, side: str, limit: int) -> list[tuple[Decimal, Decimal]]:
        """(price, shown amount) of the best levels."""
        levels = self._levels[side]
        return [(abs(key), levels[abs(key)].shown) for key in self._keys[side][:limit]]

    def shown_at(self, side: str, price: Decimal) -> Decimal:
        level = self._levels[side].get(price)
        return level.shown if level is not None else ZERO

    def _touch(self, order: Resting) -> None:
        self.update_id += 1
        self.changed.add((order.side, order.price))


def opposite(side: str) -> str:
    """The side that an order trades with."""
    return "SELL" if side == "BUY" else "BUY"


def crosses(side: str, limit: Decimal | None, price: Decimal) -> bool:
    """Whether an order of `side` with this limit (None: any price) takes `price`."""
    if limit is None:
        return True
    return limit >= price if side == "BUY" else limit <= price
