"""Tokens: known by address. A symbol is only the configuration's own name for one."""

from __future__ import annotations

from decimal import Decimal

from exchange_kernel.errors import InvalidOrder
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.value import Value
from exchange_kernel_uniswap.addresses import NATIVE

__all__ = ["Token"]


class Token(Value, frozen=True):
    """One token of the configured list. ``decimals``: digits of its smallest unit. ``address`` NATIVE: ETH itself."""

    symbol: str
    address: str
    decimals: int

    @property
    def native(self) -> bool:
        """Is this the chain's own coin, which no ERC-20 contract keeps?"""
        return self.address == NATIVE

    @property
    def step(self) -> Decimal:
        """The smallest amount."""
        return Decimal(1).scaleb(-self.decimals)

    def units(self, field: str, amount: Decimal) -> int:
        """``amount`` in smallest units, exactly. Raises InvalidOrder where it has more decimals than the token."""
        scaled = EXACT.scaleb(amount, self.decimals)
        whole = int(scaled)
        if whole != scaled or whole <= 0:
            low = EXACT.scaleb(Decimal(whole), -self.decimals)
            rule = (
                f"has more than the {self.decimals} decimals of {self.symbol}" if whole != scaled else "must be above 0"
            )
            raise InvalidOrder(field, amount, rule, f"the nearest are {low:f} and {EXACT.add(low, self.step):f}")
        return whole

    def amount(self, units: int) -> Decimal:
        """``units`` of the token as a decimal amount."""
        return EXACT.scaleb(Decimal(units), -self.decimals)
