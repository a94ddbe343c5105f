"""Exchanges of this process by name: accounts that name the same one meet there, and it outlives any adapter."""

from __future__ import annotations

from exchange_kernel_paper.exchange import Exchange


class Registry:
    """Named exchanges."""

    def __init__(self) -> None:
        self._exchanges: dict[str, Exchange] = {}

    def add(self, exchange: Exchange) -> Exchange:
        """Make ``exchange`` known by its name, in place of any earlier one of that name."""
        self._exchanges[exchange.name] = exchange
        return exchange

    def get(self, name: str) -> Exchange | None:
        """The exchange of that name, or None."""
        return self._exchanges.get(name)

    def forget(self, name: str) -> None:
        """Drop it; nothing happens if there is none."""
        self._exchanges.pop(name, None)


EXCHANGES = Registry()
"""What accounts use when their configuration names no other registry."""
