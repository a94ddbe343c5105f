"""Money as something that orders use while they live: what one may still spend, another must not count on.

Its names stand in ``Preview.needs`` beside those of allowances; the frame puts them there, from ``Preview.outlay``.
Gas is not among it: a node that cannot be paid takes no transaction, and so costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from exchange_kernel.errors import InsufficientFunds
from exchange_kernel.schema import canonical
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.venue import Money, Ms, NotNow, Prep

__all__ = ["funds_name", "funds_needs", "short_of"]


def funds_name(asset: str) -> str:
    """What ``Preview.needs`` calls the money of an asset; its unit is the asset."""
    return f"funds:{asset}"


def funds_needs(outlay: Iterable[Money]) -> dict[str, Decimal]:
    """Of what an order may cost at most, besides gas."""
    needs: dict[str, Decimal] = {}
    for each in outlay:
        name = funds_name(each.asset)
        needs[name] = EXACT.add(needs.get(name, Decimal(0)), each.amount)
    return needs


def short_of(asset: str, has: Decimal, needs: Decimal, prep: Prep, again: Ms, note: str = "") -> NotNow | None:
    """May an order spend ``needs`` of what the account ``has`` now? None: it may, or may already: what replaces its own
    transaction is not held back. ``again``: local ms UTC when to ask again, at the latest, while other orders that live
    may still spend what it needs. ``note``: stands behind the amount.

    :raises InsufficientFunds: it could not if it were alone, either.
    """
    text = f"needs {canonical(needs)} {asset}{note} and has {canonical(has)}"
    if has < needs:
        raise InsufficientFunds(text, why="funds")
    kept = prep.in_use.get(funds_name(asset), Decimal(0))
    if prep.instead_of is not None or EXACT.subtract(has, kept) >= needs:
        return None
    return NotNow(again, f"{text}, of which other orders may spend {canonical(kept)}")
