"""When the kernel keeps an order itself, and when its price is met."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from exchange_kernel.orders.watch import LONGEST_PAUSE_MS, immediate, meets, pause_ms, quoted, unwatchable, watched
from exchange_kernel.schema import MarketCapabilities, Side, StandardOrder, TimeInForce
from exchange_kernel.venue import PriceTick, Quote


def order(side: Side = Side.BUY, **more: Any) -> StandardOrder:
    """A limit order at 100."""
    return StandardOrder("A/B", side, Decimal(1), **{"limit_price": Decimal(100), **more})


def market(*native: str) -> MarketCapabilities:
    """A market that has these capabilities."""
    return MarketCapabilities.of(native=["limit", "amount_base", *native], partial={}, sides=(Side.BUY, Side.SELL))


def tick(bid: str | None, ask: str | None, last: str | None = None) -> PriceTick:
    """Prices of the moment."""
    prices = [None if each is None else Decimal(each) for each in (bid, ask, last)]
    return PriceTick("A/B", 0, *prices)


@pytest.mark.parametrize(
    ("order_", "native", "expected"),
    [
        (order(), ("ioc", "prices"), True),
        (order(), ("fok", "quotes"), True),
        (order(), ("gtc", "ioc", "prices"), False),
        (order(), ("ioc",), False),
        (order(), ("prices",), False),
        (order(post_only=True), ("ioc", "prices", "post_only"), False),
        (order(iceberg_qty=Decimal("0.5")), ("ioc", "prices", "iceberg"), False),
        (order(time_in_force=TimeInForce.IOC), ("ioc", "prices"), False),
        (order(time_in_force=TimeInForce.DAY), ("ioc", "prices"), True),
        (order(time_in_force=TimeInForce.DAY), ("ioc", "prices", "day"), False),
        (order(time_in_force=TimeInForce.DAY), ("ioc", "prices", "gtc"), False),
        (order(limit_price=None), ("ioc", "prices", "market"), False),
    ],
)
def test_the_kernel_keeps_what_would_rest_where_nothing_rests(
    order_: StandardOrder, native: tuple[str, ...], expected: bool
) -> None:
    """Only an order that rests, only where the venue cannot, and only where there is a price and an immediate order."""
    assert watched(order_, market(*native)) is expected


def test_why_an_order_cannot_be_watched_is_said() -> None:
    """The reason names what is missing, and is empty where nothing is."""
    assert "prices or quotes" in unwatchable(order(), market("ioc"))
    assert "ioc or fok" in unwatchable(order(), market("prices"))
    assert unwatchable(order(), market("ioc", "prices")) == ""


def test_an_ioc_is_preferred_for_its_remainder_is_kept() -> None:
    """FOK only where there is no IOC."""
    assert immediate(market("ioc", "fok")) is TimeInForce.IOC
    assert immediate(market("fok")) is TimeInForce.FOK


@pytest.mark.parametrize(
    ("side", "seen", "expected"),
    [
        (Side.BUY, tick("98", "100"), True),
        (Side.BUY, tick("98", "100.01"), False),
        (Side.SELL, tick("100", "102"), True),
        (Side.SELL, tick("99.99", "102"), False),
        (Side.BUY, tick("98", None, "99"), False),
        (Side.BUY, tick(None, None, "99"), True),
        (Side.BUY, tick(None, None), False),
        (Side.BUY, None, False),
    ],
)
def test_the_touch_of_the_other_side_meets_the_limit(side: Side, seen: PriceTick | None, expected: bool) -> None:
    """At the limit is met, one tick beyond is not; the last price stands in only where there is no touch at all."""
    assert meets(order(side), seen) is expected


def test_a_quote_meets_the_limit_by_its_average_price() -> None:
    """No price is no quote."""
    assert quoted(order(), Quote(Decimal(100), 0))
    assert not quoted(order(), Quote(Decimal("100.01"), 0))
    assert not quoted(order(), Quote(None, 0))


def test_the_pause_after_lost_races_doubles_up_to_a_bound() -> None:
    """None, 1 s, 2 s, 4 s, and never more than five minutes."""
    assert [pause_ms(n) for n in range(4)] == [0, 1_000, 2_000, 4_000]
    assert pause_ms(1_000) == LONGEST_PAUSE_MS
