"""What a read that trails the matching engine still shows: undo records of the last moments."""

from __future__ import annotations

from collections import deque

from exchange_kernel_paper.exchange.orders import Order

View = dict[str, object]


class Trail:
    """Views of orders before each change, for ``limit_ms``."""

    def __init__(self, limit_ms: int) -> None:
        self._limit = limit_ms
        self._undo: deque[tuple[int, Order, View | None]] = deque()

    def note(self, now: int, order: Order, before: View | None) -> None:
        """``order`` changes at ``now``; ``before`` is its view until then, None if it did not exist."""
        while self._undo and self._undo[0][0] <= now - self._limit:
            self._undo.popleft()
        self._undo.append((now, order, before))

    def view(self, order: Order, at: int) -> View | None:
        """The order as it was at ``at`` (venue ms), None if it did not exist yet."""
        for changed, which, before in self._undo:
            if changed > at and which is order:
                return before
        return order.view()

    def changed_since(self, at: int) -> list[Order]:
        """Orders that changed after ``at``, each once, in order of first change."""
        return list(dict.fromkeys(order for changed, order, _ in self._undo if changed > at))
