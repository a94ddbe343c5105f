"""An order reduced to integers: what goes in, what comes out, and the guard, rounded against ourselves.

========== ============ =============================== ===================================
side       amount in    swap                            guard from the worst price P
========== ============ =============================== ===================================
SELL       base         exact in (base)                 at least ceil(amount * P) of quote
SELL       quote        exact out (quote)               at most floor(amount / P) of base
BUY        base         exact out (base)                at most floor(amount * P) of quote
BUY        quote        exact in (quote)                at least ceil(amount / P) of base
========== ============ =============================== ===================================
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from exchange_kernel.errors import InvalidOrder
from exchange_kernel.schema import AmountType, Side
from exchange_kernel.value import Value
from exchange_kernel.venue import Spec
from exchange_kernel_uniswap.prices import shown
from exchange_kernel_uniswap.tokens import Token

__all__ = ["MAX_UNITS", "Swap", "swap_of", "worst_price"]

MAX_UNITS = 2**127 - 1
"""The most of a token one swap can move: v4 keeps amounts in int128."""


class Swap(Value, frozen=True):
    """A swap in smallest units. ``exact_in``: ``amount`` is what is paid and ``bound`` the least to receive; otherwise
    ``amount`` is what is received and ``bound`` the most to pay. ``limit``: the worst price, quote per base."""

    side: Side
    token_in: Token
    token_out: Token
    exact_in: bool
    amount: int
    bound: int
    limit: Fraction

    @property
    def most_in(self) -> int:
        """The most this can take from the account."""
        return self.amount if self.exact_in else self.bound

    def resized(self, amount: int) -> Swap:
        """The same order for another ``amount``, its guard worked out anew. Raises InvalidOrder."""
        return _swap(self.side, self.token_in, self.token_out, self.exact_in, amount, self.limit)

    def met(self, other: int) -> bool:
        """Would ``other``, quoted for the amount, respect the guard?"""
        return other >= self.bound if self.exact_in else 0 < other <= self.bound


def swap_of(spec: Spec, base: Token, quote: Token) -> Swap:
    """The swap a spec asks for; its worst price is ``spec.limit``, or ``spec.guard`` of a market order.

    :raises InvalidOrder: no worst price, an amount finer than the token, or so small that no guard is left.
    """
    worst = spec.limit if spec.limit is not None else spec.guard
    if worst is None:
        raise InvalidOrder("guard", None, "is required: a swap without a worst price can be sandwiched to nothing")
    if not worst.is_finite() or worst <= 0:
        raise InvalidOrder("limit" if spec.limit is not None else "guard", worst, "must be a finite number above 0")
    in_base = spec.amount_in is AmountType.BASE
    selling = spec.side is Side.SELL
    amount = (base if in_base else quote).units("amount", spec.amount)
    token_in, token_out = (base, quote) if selling else (quote, base)
    return _swap(spec.side, token_in, token_out, selling is in_base, amount, Fraction(worst))


def _swap(side: Side, token_in: Token, token_out: Token, exact_in: bool, amount: int, limit: Fraction) -> Swap:
    known, other = (token_in, token_out) if exact_in else (token_out, token_in)
    # Price of one smallest unit of the exact side in smallest units of the other.
    known_is_base = (side is Side.SELL) is exact_in
    shift = Fraction(10) ** (other.decimals - known.decimals)
    worth = amount * shift * (limit if known_is_base else 1 / limit)
    bound = -(-worth.numerator // worth.denominator) if exact_in else worth.numerator // worth.denominator
    if bound < 1:
        rule = f"is worth less than the smallest unit of {other.symbol} at the worst price"
        raise InvalidOrder("amount", known.amount(amount), rule, "raise the amount")
    for token, units in ((known, amount), (other, bound)):
        if units > MAX_UNITS:
            raise InvalidOrder("amount", known.amount(amount), f"moves more {token.symbol} than a pool can count")
    return Swap(side, token_in, token_out, exact_in, amount, bound, limit)


def worst_price(quoted: Fraction, side: Side, max_slippage: Decimal) -> Decimal:
    """The worst price of a market order: ``quoted`` (quote per base) less, or for a BUY plus, ``max_slippage``.

    ``max_slippage`` is a fraction from 0 up to, not including, 1. Rounded against ourselves to 30 significant digits.

    :raises InvalidOrder: the slippage is outside that range.
    """
    if not 0 <= max_slippage < 1:
        raise InvalidOrder("max_slippage", max_slippage, "must be a fraction from 0 to below 1", "0.01 is 1 %")
    slip = Fraction(max_slippage)
    return shown(quoted * (1 + slip if side is Side.BUY else 1 - slip), up=side is Side.SELL, digits=30)
