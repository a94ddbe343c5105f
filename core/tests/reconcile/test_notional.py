"""What an order is worth, where limits count it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from exchange_kernel.reconcile.apply import notional
from exchange_kernel.schema import AmountType, Side, TriggerKind
from exchange_kernel.venue import Spec
from exchange_kernel.venue.commands import Trigger

D = Decimal


def spec(limit: str | None = None, guard: str | None = None, trigger: str | None = None, quote: bool = False) -> Spec:
    return Spec(
        "BTC/USD",
        Side.BUY,
        D("0.1"),
        AmountType.QUOTE if quote else AmountType.BASE,
        limit=None if limit is None else D(limit),
        guard=None if guard is None else D(guard),
        trigger=None if trigger is None else Trigger(TriggerKind.STOP_LOSS, D(trigger)),
    )


@pytest.mark.parametrize(
    ("order", "price", "worth"),
    [
        (spec(limit="50000"), "49000", "5000"),
        (spec(guard="51000"), "49000", "5100"),
        (spec(), "49000", "4900"),
        (spec(), None, None),
        (spec(quote=True), None, "0.1"),
        (spec(trigger="60000"), "49000", "6000"),
        (spec(trigger="40000"), "49000", "4900"),
        (spec(trigger="60000"), None, "6000"),
        (spec(limit="61000", trigger="60000"), "49000", "6100"),
    ],
)
def test_an_order_counts_by_the_worst_price_it_can_meet(order: Spec, price: str | None, worth: str | None) -> None:
    """Its limit, else its guard, else the price of now; a stop at the market by its trigger, where that is higher."""
    found = notional(order, order.amount, None if price is None else D(price))
    assert found == (None if worth is None else D(worth))
