"""Pure deciders on one order: does it fit its market, and what becomes of it. No I/O, no clock."""

from __future__ import annotations

from exchange_kernel.orders.exact import check_bounds, check_numbers, price_on_grid, rounded
from exchange_kernel.orders.grid import Neighbours, amount_neighbours, price_neighbours, round_down, safe_price
from exchange_kernel.orders.validate import emulated_features, suggest, to_spec, validate

__all__ = [
    "Neighbours",
    "amount_neighbours",
    "check_bounds",
    "check_numbers",
    "emulated_features",
    "price_neighbours",
    "price_on_grid",
    "round_down",
    "rounded",
    "safe_price",
    "suggest",
    "to_spec",
    "validate",
]
