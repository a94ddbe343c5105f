"""Balances, free and locked, and what of them an order holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from exchange_kernel_binance.simulator.numbers import ZERO


@dataclass(slots=True)
class Balance:
    """Amounts of one asset."""

    free: Decimal = ZERO
    locked: Decimal = ZERO


@dataclass(slots=True)
class Rates:
    """Commission as fractions of what is received."""

    maker: Decimal = Decimal("0.001")
    taker: Decimal = Decimal("0.001")


@dataclass(slots=True)
class Lock:
    """What one order (or the two legs of an OCO together) holds of an asset."""

    asset: str
    amount: Decimal = ZERO


@dataclass(slots=True)
class Account:
    """One spot (or margin) wallet. `discount` is what commission costs in BNB, as a part of the standard rate."""

    name: str
    uid: int
    balances: dict[str, Balance] = field(default_factory=dict)
    rates: Rates = field(default_factory=Rates)
    pays_in_bnb: bool = False
    discount: Decimal = Decimal("0.75")
    can_trade: bool = True
    can_withdraw: bool = False
    updated: int = 0
    kind: str = "SPOT"
    # Whether the account may owe what it doesn't have (the market maker's).
    unlimited: bool = False

    def balance(self, asset: str) -> Balance:
        return self.balances.setdefault(asset, Balance())

    def free(self, asset: str) -> Decimal:
        return self.balance(asset).free

    def can_pay(self, asset: str, amount: Decimal) -> bool:
        return self.unlimited or self.balance(asset).free >= amount

    def credit(self, asset: str, amount: Decimal) -> None:
        self.balance(asset).free += amount

    def set_lock(self, lock: Lock, amount: Decimal) -> None:
        """Make `lock` hold exactly `amount`; the difference comes from or goes to what is free."""
        delta = amount - lock.amount
        balance = self.balance(lock.asset)
        balance.free -= delta
        balance.locked += delta
        lock.amount = amount

    def pay(self, asset: str, amount: Decimal, lock: Lock | None) -> None:
        """Pay from what the lock holds first, then from what is free."""
        balance = self.balance(asset)
        held = min(lock.amount, amount) if lock is not None and lock.asset == asset else ZERO
        if lock is not None:
            lock.amount -= held
        balance.locked -= held
        balance.free -= amount - held

    def listed(self, assets: Iterable[str]) -> list[str]:
        return sorted({*assets, *self.balances})
