"""IOC over routes that take no price limit: the largest part whose quote still meets the limit.

The amount is searched in rounds; each asks for many sizes at once, so that a round is one multicall. The search is
exact to the last size asked, always from below.
"""

from __future__ import annotations

from collections.abc import Mapping

from exchange_kernel.errors import InvalidOrder
from exchange_kernel.value import Value
from exchange_kernel_uniswap.swaps import Swap

__all__ = ["Search"]


class Search(Value, frozen=True):
    """Between ``good`` (meets the limit; zero at the start) and ``bad`` (does not, or is more than wanted)."""

    swap: Swap
    good: int
    bad: int
    per_round: int = 32

    @classmethod
    def of(cls, swap: Swap, per_round: int = 32) -> Search:
        """From nothing to all of the order."""
        return cls(swap, 0, swap.amount + 1, per_round)

    def sizes(self) -> tuple[int, ...]:
        """The amounts to quote next, rising; empty when the search is over."""
        width = self.bad - self.good
        if width <= 1:
            return ()
        count = min(self.per_round, width - 1)
        sizes = {self.good + width * step // (count + 1) for step in range(1, count + 1)}
        if self.bad == self.swap.amount + 1:
            sizes.add(self.swap.amount)
        return tuple(sorted(size for size in sizes if self.good < size < self.bad))

    def after(self, quoted: Mapping[int, int | None]) -> Search:
        """The search narrowed by the answers (size to other side; None: the route cannot do it).

        The average price only worsens with the size, so everything above the first size that fails fails too.
        """
        good, bad = self.good, self.bad
        for size in sorted(quoted):
            if not good < size < bad:
                continue
            if self._meets(size, quoted[size]):
                good = size
            else:
                bad = size
                break
        return Search(self.swap, good, bad, self.per_round)

    @property
    def part(self) -> Swap | None:
        """The order cut down to the largest size known to meet the limit; None when there is none."""
        try:
            return self.swap.resized(self.good) if self.good else None
        except InvalidOrder:  # worth less than one unit
            return None

    def _meets(self, size: int, other: int | None) -> bool:
        if other is None:
            return False
        try:
            return self.swap.resized(size).met(other)
        except InvalidOrder:  # so small that it is worth less than one unit: the search goes on above it
            return True
