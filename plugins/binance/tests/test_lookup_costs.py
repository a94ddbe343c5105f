"""What a look-up asks for: the list of all orders is read until it has nothing to add, and no longer."""

from __future__ import annotations

from decimal import Decimal

import pytest

from exchange_kernel.schema import Side, TimeInForce
from exchange_kernel.value import revised
from exchange_kernel.venue import Found, Place, Spec
from exchange_kernel_binance.names import order_id
from exchange_kernel_binance.twins import Sight, Twins
from plugins.binance.tests.test_adapter import ORDER
from plugins.binance.tests.test_spot_lists import Desk, at_the_desk

KEY, END = b"k" * 16, 10_000
"""A request is taken until END."""


@pytest.mark.parametrize(
    ("listed", "upto", "sights", "none_hidden"),
    [
        pytest.param(None, 0, [Sight(1, 5_000, None)], False, id="the list was never read"),
        pytest.param([1], 6_000, [Sight(1, 5_000, None)], True, id="open ever since"),
        pytest.param([1], 6_000, [Sight(1, 5_000, 7_000)], False, id="ended in the window: its name was free again"),
        pytest.param([1], 6_000, [Sight(1, 5_000, 10_001)], True, id="open until the window was over"),
        pytest.param([1], 10_001, [Sight(1, 5_000, 5_000)], True, id="read when the window was over"),
        pytest.param([1], 10_000, [Sight(1, 5_000, 5_000)], False, id="read when it was not quite over"),
        pytest.param([1], 6_000, [Sight(1, 6_500, None)], False, id="read before it was surely shown"),
        pytest.param([1], 10_001, [Sight(1, 5_000, 5_000), Sight(2, 6_000, None)], False, id="one more than listed"),
        pytest.param([1, 2], 10_001, [Sight(2, 6_000, None)], False, id="one of two that were listed"),
        pytest.param([], 10_001, [], False, id="none at all: absence is proved by two indexes"),
    ],
)
def test_when_nothing_can_be_hidden(
    listed: list[int] | None, upto: int, sights: list[Sight], none_hidden: bool
) -> None:
    """A second order under one client id takes a moment, within the window, in which none was open."""
    twins = Twins()
    if listed is not None:
        twins.learn("a", listed, upto)
    assert twins.none_hidden("a", sights, END) is none_hidden
    assert not twins.none_hidden("b", sights, END)


MARKETS = pytest.mark.parametrize("market", ["spot", "usdm"])


def _lists(desk: Desk, market: str) -> int:
    gate = desk.binance.gate if market == "spot" else desk.binance.futures.gate
    return gate.counts["allOrders"]


@MARKETS
def test_an_order_that_rests_is_listed_once(market: str) -> None:
    """Any number of looks at an open order read the list of all orders once, and that of its end, later, no more."""

    async def scene(desk: Desk) -> None:
        made = await desk.ticket(Place(KEY, ORDER[market]))
        await desk.adapter.submit(made)
        desk.binance.clock.skew += 1_000  # reads have got as far as that
        for _ in range(3):
            assert len(await desk.told(made, KEY)) == 1
        assert _lists(desk, market) == 1
        known = revised(desk.ref(made, KEY), ids=(order_id("BTCUSDT", 1),))
        gate, name = (desk.binance.gate if market == "spot" else desk.binance.futures.gate), "order.status"
        before = gate.counts[name]
        assert isinstance(await desk.adapter.lookup(known), Found)
        assert gate.counts[name] == before + 1  # by its number, and its name has nothing to add either
        desk.binance.clock.skew += 25_000  # its request is taken no more
        where = "spot" if market == "spot" else "futures"
        desk.binance.act("order.cancel", "alice", {"symbol": "BTCUSDT", "orderId": 1}, market=where)
        (report,) = (await desk.told(made, KEY)).values()
        assert (report.status.terminal, _lists(desk, market)) == (True, 1)

    at_the_desk(scene, market)


@MARKETS
def test_an_order_that_trades_at_once_is_listed_until_no_copy_can_come(market: str) -> None:
    """Its client id is free again: a copy of its request makes a second order, which the id alone would hide."""

    async def scene(desk: Desk) -> None:
        desk.binance.act(
            "order.place",
            "bob",
            {
                "symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "timeInForce": "GTC",
                "price": 50_000, "quantity": 1,
            },
            market="spot" if market == "spot" else "futures",
        )  # fmt: skip
        spec = Spec(ORDER[market].symbol, Side.BUY, Decimal("0.01"), limit=Decimal(50_000), tif=TimeInForce.IOC)
        made = await desk.ticket(Place(KEY, spec))
        await desk.adapter.submit(made)
        desk.binance.clock.skew += 1_000
        first = set(await desk.told(made, KEY))
        assert (len(first), _lists(desk, market)) == (1, 1)
        await desk.adapter.submit(made)  # held up on its way
        both = await desk.told(made, KEY)
        assert (len(both), first < set(both), _lists(desk, market)) == (2, True, 2)
        desk.binance.clock.skew += 25_000
        assert len(await desk.told(made, KEY)) == 2
        assert _lists(desk, market) == 3  # that it was asked for now, the window over, is the last word
        answer = await desk.adapter.lookup(desk.ref(made, KEY))
        assert isinstance(answer, Found)

    at_the_desk(scene, market)
