"""Accounts and their balances: what is free, and what open orders hold."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from exchange_kernel_paper.exchange.numbers import ZERO
from exchange_kernel_paper.exchange.orders import Order, Trade

if TYPE_CHECKING:
    from exchange_kernel_paper.exchange.chain import Receipt, Transaction
    from exchange_kernel_paper.exchange.groups import Group


class Balance:
    """``free`` to use, and ``held`` by open orders; the total is their sum."""

    __slots__ = ("free", "held")

    def __init__(self) -> None:
        self.free = self.held = ZERO


class Account:
    """One account. ``house`` accounts have unlimited credit and pay no fees.

    ``by_client``: orders per client id, oldest first. ``open``: by order id. ``groups``: by name. ``past``: what
    finished or traded, in order, for history. ``keys``: ids a permanent-key venue never accepts again. ``number``: next
    of a ledger venue; ``mined``: the block of each number used; ``pool``: transactions waiting; ``receipts``: fate of
    each request id that was executed. ``enabled``: what was enabled by :func:`.commands.allowance_of`, and up to which
    amount.
    """

    def __init__(self, name: str, secret: bytes, *, house: bool = False) -> None:
        self.name, self.secret, self.house = name, secret, house
        self.balances: dict[str, Balance] = {}
        self.open: dict[int, Order] = {}
        self.groups: dict[str, Group] = {}
        self.by_client: dict[str, tuple[Order, ...]] = {}
        self.past: list[tuple[int, Order, Trade | None]] = []
        self.keys: set[str] = set()
        self.mined: list[int] = []
        self.pool: dict[int, Transaction] = {}
        self.receipts: dict[str, Receipt] = {}
        self.changed: set[str] = set()
        self.enabled: dict[str, Decimal] = {}

    @property
    def number(self) -> int:
        """The next number of this account's sequence."""
        return len(self.mined)

    def balance(self, asset: str) -> Balance:
        """The balance of one asset, made when first asked for."""
        found = self.balances.get(asset)
        if found is None:
            found = self.balances[asset] = Balance()
        return found

    def add(self, asset: str, amount: Decimal) -> None:
        """Credit (or, below zero, debit) what is free."""
        self.balance(asset).free += amount
        self.changed.add(asset)

    def hold(self, order: Order, asset: str, amount: Decimal) -> None:
        """Make ``order`` hold exactly ``amount`` of ``asset``, moving the difference from or to what is free."""
        balance = self.balance(asset)
        balance.free += order.held - amount
        balance.held += amount - order.held
        order.held = amount
        self.changed.add(asset)
