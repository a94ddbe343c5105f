"""What Binance's account events say about each other: copies, order, and executions that never came.

Sources: user-data-stream.md (executionReport ``I``, ``z``, ``l``; listStatus; balanceUpdate), USD-M futures, User Data
Streams (Event: Order Update).
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from exchange_kernel_ccxt.stream_link import Event

EXECUTION = "executionReport"
ORDER_UPDATE = "ORDER_TRADE_UPDATE"
_ENDS = frozenset({"FILLED", "CANCELED", "REJECTED", "EXPIRED", "EXPIRED_IN_MATCH"})
_ZERO = Decimal(0)
_MEMORY = 10_000
"""Orders that are remembered."""
_content = msgspec.json.Encoder().encode


class _Order:
    """``told``: sum of the executions that came; ``before``: what had executed before them; ``most``: cumulative."""

    __slots__ = ("before", "ended", "last", "most", "told")

    def __init__(self) -> None:
        self.last: tuple[int, Decimal] = (-1, _ZERO)
        self.ended = False
        self.before: Decimal | None = None
        self.told = self.most = _ZERO

    @property
    def missing(self) -> Decimal:
        return _ZERO if self.before is None else self.most - self.before - self.told


class AccountEvents:
    """Implements Sieve for spot, margin and USD-M futures. Spot orders its reports by execution id; futures by time
    and what has executed."""

    def __init__(self) -> None:
        self._orders: dict[tuple[str, int], _Order] = {}
        self._heard_from: int | None = None

    def identity(self, event: Event) -> Hashable:
        kind = event["e"]
        if kind == EXECUTION:
            return kind, event["s"], event["i"], event["I"]
        if kind == ORDER_UPDATE:
            # An execution has its trade id. A change has none and may be alike twice within a millisecond only if
            # nothing of the order has changed in between.
            told = event["o"]
            state = (told["X"], told["q"], told["p"], told["sp"], told["z"])
            return kind, told["s"], told["i"], told["x"], told["t"], event["T"], state
        if kind == "balanceUpdate":
            return kind, event["a"], event["d"], event["T"]
        if kind == "listStatus":
            return kind, event["g"], event["l"], event["L"], event["T"]
        return hashlib.blake2b(_content(event), digest_size=16).digest()

    def place(self, event: Event) -> bool | None:
        found = _order_of(event)
        if found is None:
            return False
        told, moment = found
        if self._heard_from is None:
            self._heard_from = int(event["E"])
        order = self._of((told["s"], int(told["i"])))
        amount, total = Decimal(told["l"]), Decimal(told["z"])
        at = (moment, total)
        overtaken = at < order.last or (order.ended and told["X"] not in _ENDS)
        if amount == 0 and overtaken:
            return None
        order.last = max(order.last, at)
        order.ended = order.ended or told["X"] in _ENDS
        before = total - amount
        if order.before is None:
            # Created after this stream told everything: no execution of it can have been before.
            order.before = _ZERO if int(told.get("O", -1)) > self._heard_from else before
        order.before = min(order.before, before)
        order.told += amount
        order.most = max(order.most, total)
        return overtaken

    def lacking(self, event: Event) -> str:
        found = _order_of(event)
        if found is None:
            return ""
        told, _ = found
        order = self._orders.get((told["s"], int(told["i"])))
        if order is None or order.missing <= 0:
            return ""
        return f"{order.missing:f} of order {told['s']}/{told['i']} executed without an event"

    def forgive(self) -> None:
        self._heard_from = None
        for order in self._orders.values():
            order.before, order.told, order.most = None, _ZERO, _ZERO

    def _of(self, key: tuple[str, int]) -> _Order:
        order = self._orders.get(key)
        if order is None:
            order = self._orders[key] = _Order()
            if len(self._orders) > _MEMORY:
                self._forget()
        return order

    def _forget(self) -> None:
        """Ended orders go first, and older ones before newer."""
        by_age = sorted(enumerate(self._orders), key=lambda entry: (not self._orders[entry[1]].ended, entry[0]))
        for _, key in by_age[: _MEMORY // 10]:
            del self._orders[key]


def _order_of(event: Event) -> tuple[Mapping[str, Any], int] | None:
    """An order event's fields, and what it is ordered by."""
    if event["e"] == EXECUTION:
        return event, int(event["I"])
    if event["e"] == ORDER_UPDATE:
        return event["o"], int(event["T"])
    return None
