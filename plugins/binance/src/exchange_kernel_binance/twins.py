"""When the list of all orders has nothing to add to what the ids show.

Binance takes a client id again once its order is no longer open (rest-api.md, newClientOrderId), so a copy of a request
that was held up on its way may make a second order of the same name, until the request's window is over. A query by
that name shows one of them, the list of all orders shows each. It is read again unless one such read already

* was made when the window was over: no further order can have come; or
* showed an order that has been open ever since, or until the window was over: none was taken meanwhile.

What is remembered here saves requests and is nothing else: a new session reads the list once more.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection

from exchange_kernel.value import Value
from exchange_kernel.venue import Ms

_MEMORY = 10_000
"""Client ids that are remembered."""


class Sight(Value, frozen=True):
    """An order as its ids show it. ``ended``: when it was over, venue ms UTC; None: it is open."""

    number: int
    created: Ms
    ended: Ms | None


class Twins:
    """What the list of all orders showed, by client id: for one session."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, tuple[frozenset[int], Ms]] = OrderedDict()

    def learn(self, name: str, numbers: Collection[int], upto: Ms) -> None:
        """The list showed these orders under ``name``, and would have shown any made before ``upto``."""
        self._seen[name] = (frozenset(numbers), upto)
        self._seen.move_to_end(name)
        if len(self._seen) > _MEMORY:
            self._seen.popitem(last=False)

    def none_hidden(self, name: str, sights: Collection[Sight], window_end: Ms) -> bool:
        """Are these surely all orders under ``name``, whose requests were taken until ``window_end``?"""
        numbers, upto = self._seen.get(name, (frozenset[int](), 0))
        if not numbers or not numbers.issubset({sight.number for sight in sights}):
            return False
        if any(sight.number not in numbers for sight in sights):
            return False
        if upto > window_end:
            return True
        return any(sight.created <= upto and (sight.ended is None or sight.ended > window_end) for sight in sights)
