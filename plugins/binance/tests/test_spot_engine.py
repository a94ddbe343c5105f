"""The spot matching engine: priority, order types, locks, lists, changes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from exchange_kernel_binance.simulator.errors import ApiError
from plugins.binance.tests.floor import D, Floor


def refused(call: Any) -> tuple[int, str]:
    with pytest.raises(ApiError) as caught:
        call()
    return caught.value.code, caught.value.message


def test_price_then_time() -> None:
    """The best price trades first, and at one price whoever came first."""
    floor = Floor()
    late = floor.place("bob", "SELL", "LIMIT", 1, 50_010)
    first = floor.place("bob", "SELL", "LIMIT", 1, 50_005)
    second = floor.place("bob", "SELL", "LIMIT", 1, 50_005)
    taker = floor.place("alice", "BUY", "LIMIT", "1.5", 50_010)
    assert (first.status, second.status, late.status) == ("FILLED", "PARTIALLY_FILLED", "NEW")
    assert [trade.price for trade in taker.fills] == [D(50_005), D(50_005)]
    assert floor.executions(taker) == ["NEW/NEW", "TRADE/PARTIALLY_FILLED", "TRADE/FILLED"]


def test_locks_and_commission() -> None:
    """A bid locks its price, a better fill gives the rest back, and commission comes out of what is received."""
    floor = Floor()
    floor.place("bob", "SELL", "LIMIT", 1, 49_000)
    order = floor.place("alice", "BUY", "LIMIT", 2, 50_000)
    assert floor.locked("alice", "USDT") == 50_000
    assert floor.free("alice", "USDT") == 1_000_000 - 49_000 - 50_000
    assert floor.free("alice", "BTC") == 10 + 1 - D("0.001")
    assert floor.free("bob", "USDT") == 1_000_000 + 49_000 - 49
    floor.exchange.cancel("alice", "BTCUSDT", order.order_id, None)
    assert floor.locked("alice", "USDT") == 0
    assert floor.free("alice", "USDT") == 951_000


def test_market_by_quote() -> None:
    """A market order by quote amount buys as many lots as the amount pays for."""
    floor = Floor()
    floor.place("bob", "SELL", "LIMIT", "0.001", 50_000)
    floor.place("bob", "SELL", "LIMIT", 1, 50_100)
    order = floor.place("alice", "BUY", "MARKET", quote_quantity=100)
    assert order.status == "FILLED"
    assert order.quantity == order.executed == D("0.00199")
    assert order.quote_executed == 50 + D("0.00099") * 50_100


def test_market_without_liquidity_expires() -> None:
    """A market order that finds too little ends EXPIRED with what it got."""
    floor = Floor()
    floor.place("bob", "SELL", "LIMIT", 1, 50_000)
    order = floor.place("alice", "BUY", "MARKET", 2)
    assert (order.status, order.executed, order.reason) == ("EXPIRED", 1, "INSUFFICIENT_LIQUIDITY")


@pytest.mark.parametrize(
    ("tif", "status", "executed", "reason"),
    [("IOC", "EXPIRED", 1, "UNFILLED_IOC_QUANTITY_EXPIRED"), ("FOK", "EXPIRED", 0, "UNFILLED_FOK_ORDER_EXPIRED")],
)
def test_immediate_orders(tif: str, status: str, executed: int, reason: str) -> None:
    """IOC takes what there is and ends, FOK takes all or nothing."""
    floor = Floor()
    floor.place("bob", "SELL", "LIMIT", 1, 50_000)
    order = floor.place("alice", "BUY", "LIMIT", 2, 50_000, time_in_force=tif)
    assert (order.status, order.executed, order.reason) == (status, executed, reason)
    assert floor.locked("alice", "USDT") == 0


def test_iceberg_shows_a_part_and_loses_its_place() -> None:
    """An iceberg shows one part at a time, and the next part queues behind what rests at the price."""
    floor = Floor()
    iceberg = floor.place("bob", "SELL", "LIMIT", 3, 50_000, iceberg=1)
    plain = floor.place("bob", "SELL", "LIMIT", 1, 50_000)
    assert floor.exchange.state.books["BTCUSDT"].depth("SELL", 1) == [(D(50_000), D(2))]
    floor.place("alice", "BUY", "LIMIT", "1.5", 50_000)
    assert (iceberg.executed, plain.executed) == (1, D("0.5"))


def test_stop_loss_limit_waits_and_starts() -> None:
    """A stop waits off the book and works from the trade that reaches its price."""
    floor = Floor()
    stop = floor.place("alice", "SELL", "STOP_LOSS_LIMIT", 1, 48_900, stop_price=49_000)
    assert not stop.working
    assert floor.locked("alice", "BTC") == 1
    floor.place("bob", "BUY", "LIMIT", 1, 49_000)
    floor.place("alice", "SELL", "LIMIT", "0.1", 49_000)
    assert stop.working
    assert stop.executed == D("0.9")
    assert floor.executions(stop)[:2] == ["NEW/NEW", "NEW/NEW"]


def test_trailing_stop_follows() -> None:
    """A trailing stop starts after the given retreat from the best price since it was placed."""
    floor = Floor()
    stop = floor.place("alice", "SELL", "STOP_LOSS", 1, trailing_delta=100)
    for price in (50_500, 51_000, 50_600):
        floor.place("bob", "SELL", "LIMIT", "0.01", price)
        floor.place("bob", "BUY", "LIMIT", "0.01", price)
    assert not stop.working
    floor.place("bob", "BUY", "LIMIT", 2, 50_400)
    floor.place("bob", "SELL", "LIMIT", "0.01", 50_400)
    assert stop.status == "FILLED"


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (("BUY", "LIMIT", "0.000011", 50_000), "Filter failure: LOT_SIZE"),
        (("BUY", "LIMIT", 1, "50000.001"), "Filter failure: PRICE_FILTER"),
        (("BUY", "LIMIT", 1, 300_000), "Filter failure: PERCENT_PRICE_BY_SIDE"),
        (("BUY", "LIMIT", "0.00009", 50_000), "Filter failure: NOTIONAL"),
        (("BUY", "MARKET", 101, None), "Filter failure: MARKET_LOT_SIZE"),
    ],
)
def test_filters(request_: Any, expected: str) -> None:
    """Each filter refuses with its own name."""
    floor = Floor()
    assert refused(lambda: floor.place("alice", *request_)) == (-1013, expected)


def test_filters_of_parts_and_counts() -> None:
    """ICEBERG_PARTS, TRAILING_DELTA, MAX_NUM_ORDERS and MAX_NUM_ALGO_ORDERS."""
    floor = Floor(max_orders=2, max_algo_orders=1)
    assert refused(lambda: floor.place("alice", "SELL", "LIMIT", 1, 60_000, iceberg="0.01")) == (
        -1013,
        "Filter failure: ICEBERG_PARTS",
    )
    assert refused(lambda: floor.place("alice", "SELL", "STOP_LOSS", 1, trailing_delta=1)) == (
        -1013,
        "Filter failure: TRAILING_DELTA",
    )
    floor.place("alice", "SELL", "STOP_LOSS", 1, stop_price=40_000)
    assert refused(lambda: floor.place("alice", "SELL", "STOP_LOSS", 1, stop_price=40_000)) == (
        -1013,
        "Filter failure: MAX_NUM_ALGO_ORDERS",
    )
    floor.place("alice", "SELL", "LIMIT", 1, 60_000)
    assert refused(lambda: floor.place("alice", "SELL", "LIMIT", 1, 60_000)) == (
        -1013,
        "Filter failure: MAX_NUM_ORDERS",
    )


def test_the_engine_refuses() -> None:
    """Duplicate id, a taking maker, a stop behind the market, no money: -2010 with Binance's words."""
    floor = Floor()
    floor.place("bob", "SELL", "LIMIT", 1, 50_000)
    floor.place("alice", "BUY", "LIMIT", 1, 40_000, client_id="mine")
    assert refused(lambda: floor.place("alice", "BUY", "LIMIT", 1, 40_000, client_id="mine"))[1] == (
        "Duplicate order sent."
    )
    assert refused(lambda: floor.place("alice", "BUY", "LIMIT_MAKER", 1, 50_000))[1] == (
        "Order would immediately match and take."
    )
    assert refused(lambda: floor.place("alice", "SELL", "STOP_LOSS", 1, stop_price=51_000))[1] == (
        "Order would trigger immediately."
    )
    assert refused(lambda: floor.place("alice", "BUY", "LIMIT", 21, 50_000)) == (
        -2010,
        "Account has insufficient balance for requested action.",
    )


def test_a_filled_id_is_accepted_again() -> None:
    """A client order id is unique among open orders only: after a fill it makes a second order."""
    floor = Floor()
    floor.place("bob", "SELL", "LIMIT", 2, 50_000)
    first = floor.place("alice", "BUY", "MARKET", 1, client_id="again")
    second = floor.place("alice", "BUY", "MARKET", 1, client_id="again")
    assert first.order_id != second.order_id
    found = floor.exchange.history.order("alice", "BTCUSDT", None, "again")
    assert found["orderId"] == second.order_id


@pytest.mark.parametrize(
    ("mode", "maker_status", "taker_status"),
    [
        ("EXPIRE_TAKER", "NEW", "EXPIRED_IN_MATCH"),
        ("EXPIRE_MAKER", "EXPIRED_IN_MATCH", "NEW"),
        ("EXPIRE_BOTH", "EXPIRED_IN_MATCH", "EXPIRED_IN_MATCH"),
        ("DECREMENT", "NEW", "EXPIRED_IN_MATCH"),
        ("NONE", "PARTIALLY_FILLED", "FILLED"),
    ],
)
def test_self_trade_prevention(mode: str, maker_status: str, taker_status: str) -> None:
    """Each mode ends the order it says, and nothing stays locked for it."""
    floor = Floor()
    maker = floor.place("alice", "SELL", "LIMIT", 2, 50_000)
    taker = floor.place("alice", "BUY", "LIMIT", 1, 50_000, stp=mode)
    assert (maker.status, taker.status) == (maker_status, taker_status)
    open_sell = maker.remaining if maker.is_open else D(0)
    assert floor.locked("alice", "BTC") == open_sell
    assert floor.locked("alice", "USDT") == (50_000 if taker.is_open else 0)
    if mode == "DECREMENT":
        assert maker.prevented == 1


def oco(floor: Floor, who: str = "alice") -> Any:
    return floor.exchange.oco(
        who,
        floor.request("SELL", "LIMIT_MAKER", 1, 52_000),
        floor.request("SELL", "STOP_LOSS_LIMIT", 1, 47_900, stop_price=48_000),
        "pair",
    )


def test_oco_leg_ends_its_sibling() -> None:
    """A first trade of the limit leg expires the stop leg, and the list is done."""
    floor = Floor()
    listed = oco(floor)
    assert floor.locked("alice", "BTC") == 1
    limit, stop = listed.orders
    floor.place("bob", "BUY", "LIMIT", "0.4", 52_000)
    assert (limit.status, stop.status, stop.reason) == ("PARTIALLY_FILLED", "EXPIRED", "OCO_TRIGGER")
    assert listed.status == "ALL_DONE"
    assert floor.locked("alice", "BTC") == D("0.6")


def test_oco_stop_ends_the_limit_leg() -> None:
    """The stop leg's start expires the limit leg before it trades."""
    floor = Floor()
    limit, stop = oco(floor).orders
    floor.place("bob", "BUY", "LIMIT", 2, 48_000)
    floor.place("bob", "SELL", "LIMIT", "0.1", 48_000)
    assert (limit.status, stop.status) == ("EXPIRED", "FILLED")
    assert floor.locked("alice", "BTC") == 0


def test_cancel_of_a_leg_cancels_the_list() -> None:
    """Canceling one order of a list cancels the list, and its funds are free again."""
    floor = Floor()
    listed = oco(floor)
    reply = floor.exchange.cancel("alice", "BTCUSDT", listed.orders[0].order_id, None)
    assert reply["listOrderStatus"] == "ALL_DONE"
    assert [each["status"] for each in reply["orderReports"]] == ["CANCELED", "CANCELED"]
    assert floor.free("alice", "BTC") == 10


def test_oco_prices_must_enclose_the_market() -> None:
    """Legs on the wrong side are refused with Binance's words."""
    floor = Floor()
    assert refused(
        lambda: floor.exchange.oco(
            "alice",
            floor.request("SELL", "LIMIT_MAKER", 1, 49_000),
            floor.request("SELL", "STOP_LOSS", 1, stop_price=48_000),
            None,
        )
    ) == (-2010, "The relationship of the prices for the orders is not correct.")


def test_otoco_starts_its_pair_when_the_working_order_fills() -> None:
    """Pending orders hold nothing and wait; a full fill of the working order starts both as an OCO."""
    floor = Floor()
    listed = floor.exchange.oto(
        "alice",
        floor.request("BUY", "LIMIT", 1, 49_500),
        [
            floor.request("SELL", "LIMIT_MAKER", 1, 52_000),
            floor.request("SELL", "STOP_LOSS", 1, stop_price=48_000),
        ],
        None,
    )
    assert [each.status for each in listed.orders] == ["NEW", "PENDING_NEW", "PENDING_NEW"]
    floor.place("bob", "SELL", "LIMIT", 1, 49_500)
    assert [each.status for each in listed.orders] == ["FILLED", "NEW", "NEW"]
    assert floor.locked("alice", "BTC") == 1
    floor.place("bob", "BUY", "LIMIT", 1, 52_000)
    assert [each.status for each in listed.orders] == ["FILLED", "FILLED", "EXPIRED"]


def test_oto_pending_without_funds_is_rejected() -> None:
    """A pending order that can't be paid when its time comes expires with REJECTED."""
    floor = Floor()
    listed = floor.exchange.oto(
        "alice", floor.request("BUY", "LIMIT", 1, 49_500), [floor.request("SELL", "LIMIT", 100, 60_000)], None
    )
    floor.place("bob", "SELL", "LIMIT", 1, 49_500)
    assert (listed.orders[1].status, listed.orders[1].reason) == ("EXPIRED", "REJECTED")


def test_forgotten_orders() -> None:
    """An order that ended without a fill is archived after the retention, one with a fill isn't."""
    floor = Floor()
    floor.exchange.state.habits.retention = 1_000
    lost = floor.place("alice", "BUY", "LIMIT", 1, 40_000)
    floor.exchange.cancel("alice", "BTCUSDT", lost.order_id, None)
    floor.place("bob", "SELL", "LIMIT", 1, 50_000)
    kept = floor.place("alice", "BUY", "MARKET", 1)
    floor.clock.advance(1_001)
    assert refused(lambda: floor.exchange.history.order("alice", "BTCUSDT", lost.order_id, None))[0] == -2026
    assert floor.exchange.history.order("alice", "BTCUSDT", kept.order_id, None)["status"] == "FILLED"


def test_commission_in_bnb() -> None:
    """An account that pays in BNB pays the discounted commission there."""
    from exchange_kernel_binance.simulator.spot.symbols import SpotSymbol

    floor = Floor()
    floor.exchange.add_symbol(SpotSymbol("BNBUSDT", "BNB", "USDT", Decimal(500)))
    alice = floor.exchange.state.accounts["alice"]
    alice.pays_in_bnb = True
    alice.credit("BNB", D(1))
    floor.place("bob", "BUY", "LIMIT", 1, 50_000)
    order = floor.place("alice", "SELL", "MARKET", 1)
    assert (order.fills[0].commission, order.fills[0].commission_asset) == (D("0.075"), "BNB")
    assert alice.free("BNB") == D("0.925")


def test_money_is_neither_made_nor_lost() -> None:
    """Over a thousand seeded actions, assets in the accounts plus commissions paid stay what they were."""
    import random

    floor, dice = Floor(), random.Random(7)
    for _ in range(1_000):
        who, side = dice.choice(("alice", "bob")), dice.choice(("BUY", "SELL"))
        price = 49_900 + dice.randrange(200)
        kind = dice.choice(("LIMIT", "LIMIT", "LIMIT", "MARKET", "STOP_LOSS_LIMIT", "CANCEL", "OCO"))
        quantity = D(dice.randrange(1, 300)) / 1000
        try:
            if kind == "CANCEL":
                floor.exchange.cancel_all(who, "BTCUSDT")
            elif kind == "MARKET":
                floor.place(who, side, kind, quantity)
            elif kind == "STOP_LOSS_LIMIT":
                floor.place(who, side, kind, quantity, price, stop_price=49_900 + dice.randrange(200))
            elif kind == "OCO":
                oco(floor, who)
            else:
                stp = dice.choice(("NONE", "EXPIRE_BOTH", "DECREMENT"))
                floor.place(who, side, kind, quantity, price, stp=stp)
        except ApiError:
            continue
    state = floor.exchange.state
    fees = {"BTC": D(0), "USDT": D(0)}
    for trade in state.trades:
        fees[trade.commission_asset] += trade.commission
    assert len(state.trades) > 200
    assert floor.total("BTC") + fees["BTC"] == 20
    assert floor.total("USDT") + fees["USDT"] == 2_000_000
    for who in ("alice", "bob"):
        held = {id(o.lock): o.lock for o in state.open_orders(who, "BTCUSDT").values()}.values()
        for asset in ("BTC", "USDT"):
            assert floor.locked(who, asset) == sum((lock.amount for lock in held if lock.asset == asset), D(0))
            assert floor.free(who, asset) >= 0


def test_the_average_price_is_of_five_minutes() -> None:
    """The price that filters compare with weighs the trades of the last five minutes and forgets older ones."""
    floor = Floor()
    for price, quantity in ((50_000, 1), (51_000, 3)):
        floor.place("bob", "SELL", "LIMIT", quantity, price)
        floor.place("alice", "BUY", "MARKET", quantity)
        floor.clock.advance(200_000)
        assert floor.exchange.state.average("BTCUSDT") == (50_000 if quantity == 1 else 51_000)
    floor.place("bob", "SELL", "LIMIT", 1, 55_000)
    floor.place("alice", "BUY", "MARKET", 1)
    assert floor.exchange.state.average("BTCUSDT") == 52_000
    floor.clock.advance(600_000)
    assert floor.exchange.state.average("BTCUSDT") == 55_000
