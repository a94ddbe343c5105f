"""What booked fills build: average entry on the way in, realised profit on the way out, nothing lost in between."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.state.commit import move_position
from exchange_kernel.state.rows import PositionRow

FLAT = PositionRow("main", "BTC/USD")
Trade = tuple[Decimal, Decimal]

SIZES = st.decimals("0.001", "1000", places=3)
PRICES = st.decimals("0.01", "99999", places=2)
TRADES = st.lists(st.tuples(st.booleans(), SIZES, PRICES).map(lambda t: (t[1] if t[0] else -t[1], t[2])), max_size=20)


def traded(trades: list[Trade], start: PositionRow = FLAT) -> PositionRow:
    with localcontext(EXACT):
        for delta, price in trades:
            start = move_position(start, delta, price)
    return start


def close(one: Decimal, other: Decimal) -> bool:
    """Equal but for the rounding of averages to 28 digits."""
    return abs(one - other) <= Decimal("1e-15")


@pytest.mark.parametrize(
    ("trades", "amount", "entry", "realized"),
    [
        ([], "0", None, "0"),
        ([("1", "100")], "1", "100", "0"),
        ([("1", "100"), ("3", "200")], "4", "175", "0"),
        ([("4", "100"), ("-1", "130")], "3", "100", "30"),
        ([("4", "100"), ("-4", "90")], "0", None, "-40"),
        ([("4", "100"), ("-6", "110")], "-2", "110", "40"),
        ([("-1", "100")], "-1", "100", "0"),
        ([("-1", "100"), ("-1", "50")], "-2", "75", "0"),
        ([("-4", "100"), ("1", "70")], "-3", "100", "30"),
        ([("-4", "100"), ("4", "130")], "0", None, "-120"),
        ([("-2", "100"), ("5", "90")], "3", "90", "20"),
        ([("2", "100"), ("-2", "110"), ("1", "50")], "1", "50", "20"),
        ([("2", "100"), ("0", "500")], "2", "100", "0"),
        ([("-2", "100"), ("0", "500")], "-2", "100", "0"),
        ([("0", "500")], "0", None, "0"),
    ],
)
def test_positions(trades: list[tuple[str, str]], amount: str, entry: str | None, realized: str) -> None:
    """Opening, adding, reducing, closing and turning around, long and short."""
    row = traded([(Decimal(delta), Decimal(price)) for delta, price in trades])
    assert row == PositionRow("main", "BTC/USD", Decimal(amount), entry and Decimal(entry), Decimal(realized))


@given(TRADES, PRICES)
def test_no_profit_is_made_or_lost_by_accounting(trades: list[Trade], mark: Decimal) -> None:
    """At any price, realised profit plus the open position's profit is what was paid and received."""
    row = traded(trades)
    with localcontext(EXACT):
        paid = sum((delta * (mark - price) for delta, price in trades), Decimal(0))
        unrealized = row.amount * (mark - row.entry) if row.entry is not None else Decimal(0)
        assert close(row.realized + unrealized, paid)
        assert row.amount == sum((delta for delta, _ in trades), Decimal(0))
        assert (row.entry is None) == (row.amount == 0)


@given(TRADES, SIZES, PRICES)
def test_each_trade_moves_entry_or_profit_but_not_both(trades: list[Trade], size: Decimal, price: Decimal) -> None:
    """Adding moves the entry to the price and realises nothing; reducing keeps the entry; turning starts anew."""
    row = traded(trades)
    sign = -1 if row.amount < 0 else 1
    more = traded([(sign * size, price)], row)
    assert more.realized == row.realized
    low, high = sorted((price, row.entry if row.entry is not None else price))
    assert more.entry is not None
    assert low - Decimal("1e-20") <= more.entry <= high + Decimal("1e-20")
    less = traded([(-sign * size, price)], row)
    if not row.amount:
        assert less.realized == row.realized
    elif size < abs(row.amount):
        assert less.entry == row.entry
    else:
        assert less.entry == (price if size > abs(row.amount) else None)


@given(TRADES)
def test_mirrored_trades_give_the_mirrored_position(trades: list[Trade]) -> None:
    """Selling all that was bought, and the other way round, turns amount and profit over and keeps the entry."""
    row, mirrored = traded(trades), traded([(-delta, price) for delta, price in trades])
    with localcontext(EXACT):
        assert (mirrored.amount, mirrored.entry) == (-row.amount, row.entry)
        assert mirrored.realized == -row.realized


@given(SIZES, PRICES, PRICES)
def test_a_fill_taken_back_leaves_the_amount_as_it_was(size: Decimal, price: Decimal, other: Decimal) -> None:
    """Booking a fill and taking it back at its own price ends where it began, in amount and in money."""
    before = traded([(Decimal(5), other)])
    after = traded([(size, price), (-size, price)], before)
    with localcontext(EXACT):
        assert after.amount == before.amount
        assert after.entry is not None
        gain = after.realized + after.amount * (price - after.entry)
        assert close(gain, before.amount * (price - other))
