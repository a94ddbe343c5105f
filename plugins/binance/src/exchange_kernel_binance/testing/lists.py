"""Order lists of the conformance kit on spot: which legs, and a market that reaches both at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from decimal import Decimal

from exchange_kernel.schema import Side, TriggerKind
from exchange_kernel.venue import Spec, Trigger
from exchange_kernel_binance.simulator import Simulator


def legs_of(kind: str, symbol: str) -> Sequence[Spec]:
    """A bid that rests, and offers above and below the market: what :meth:`Harness.group` is asked for."""
    entry = Spec(symbol, Side.BUY, Decimal("0.04"), limit=Decimal(40_000))
    profit = Spec(symbol, Side.SELL, Decimal("0.06"), limit=Decimal(60_000))
    if kind == "oto":
        return entry, profit
    profit = Spec(symbol, Side.SELL, Decimal("0.06"), limit=Decimal(60_000), post_only=True)
    trigger = Trigger(TriggerKind.STOP_LOSS, Decimal(35_000))
    loss = Spec(symbol, Side.SELL, Decimal("0.06"), limit=Decimal(34_900), trigger=trigger)
    return (profit, loss) if kind == "oco" else (entry, profit, loss)


def reach_both(binance: Simulator, numbers: Collection[int], bid: Callable[[str], None]) -> None:
    """The price falls to the stop, and rises to the limit, before anybody has heard of either. ``bid``: somebody bids
    at a price."""
    orders = [binance.spot.state.orders[number] for number in numbers]
    for order in sorted(orders, key=lambda each: each.stop_price is None):
        at = order.stop_price or order.price
        bid(f"{at:f}")
        binance.trade_at("BTCUSDT", at, Decimal("0.001"))
