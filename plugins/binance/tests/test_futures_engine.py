"""The futures engine: positions, margin, conditional orders, liquidation."""

from __future__ import annotations

from typing import Any

import pytest

from exchange_kernel_binance.simulator.clock import ManualClock
from exchange_kernel_binance.simulator.errors import ApiError
from exchange_kernel_binance.simulator.futures.contracts import Contract
from exchange_kernel_binance.simulator.futures.exchange import FuturesExchange
from exchange_kernel_binance.simulator.futures.orders import FuturesAccount, FuturesOrder, FuturesRequest
from exchange_kernel_binance.simulator.ids import SeededIds
from plugins.binance.tests.floor import D


class Pit:
    """BTCUSDT at 50000; alice with 10000 USDT, and a crowd that trades with her."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.exchange = FuturesExchange(self.clock, SeededIds(1))
        self.exchange.add_contract(Contract("BTCUSDT", "BTC", "USDT", D(50_000)))
        self.alice = FuturesAccount("alice", D(10_000))
        self.exchange.add_account(self.alice)
        self.exchange.add_account(FuturesAccount("crowd", unlimited=True))

    def request(self, side: str, kind: str, quantity: Any = None, price: Any = None, **more: Any) -> FuturesRequest:
        if kind in ("LIMIT", "STOP", "TAKE_PROFIT"):
            more.setdefault("time_in_force", "GTC")
        for name in ("trigger_price", "activate_price", "callback_rate"):
            if more.get(name) is not None:
                more[name] = D(str(more[name]))
        quantity = None if quantity is None else D(str(quantity))
        return FuturesRequest("BTCUSDT", side, kind, quantity, None if price is None else D(str(price)), **more)

    def place(self, side: str, kind: str, quantity: Any, price: Any = None, **more: Any) -> FuturesOrder:
        return self.exchange.place("alice", self.request(side, kind, quantity, price, **more))

    def crowd(self, side: str, quantity: Any, price: Any) -> FuturesOrder:
        return self.exchange.place("crowd", self.request(side, "LIMIT", quantity, price))

    def trade_at(self, price: Any) -> None:
        self.crowd("SELL", "0.001", price)
        self.crowd("BUY", "0.001", price)

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event for who, event in self.exchange.state.journal.told if who == "alice" and event["e"] == kind]


def refused(call: Any) -> int:
    with pytest.raises(ApiError) as caught:
        call()
    return caught.value.code


def test_a_position_is_opened_averaged_reduced_and_turned() -> None:
    """Entry price averages, a reduction realizes profit, and more than the position turns it."""
    pit = Pit()
    position = pit.alice.position("BTCUSDT", "BOTH")
    for price in (50_000, 51_000):
        pit.crowd("SELL", 1, price)
        pit.place("BUY", "MARKET", 1)
    assert (position.amount, position.entry) == (2, 50_500)
    pit.crowd("BUY", 3, 52_000)
    pit.place("SELL", "MARKET", 1)
    assert (position.amount, position.realized) == (1, 1_500)
    pit.place("SELL", "MARKET", 2)
    assert (position.amount, position.entry, position.realized) == (-1, 52_000, 3_000)
    fees = (D(50_000) + 51_000 + 3 * 52_000) * D("0.0004")
    assert pit.alice.wallet == 10_000 + 3_000 - fees


def test_margin_is_needed() -> None:
    """An order beyond wallet times leverage is refused; leverage makes room; closing needs none."""
    pit = Pit()
    assert refused(lambda: pit.place("BUY", "LIMIT", 5, 50_000)) == -2019
    pit.exchange.set_leverage("alice", "BTCUSDT", 50)
    pit.place("BUY", "LIMIT", 5, 50_000)
    assert pit.exchange.totals("alice")["availableBalance"] == 5_000
    pit.crowd("SELL", 5, 50_000)
    pit.crowd("BUY", 5, 49_990)
    pit.place("SELL", "LIMIT", 5, 49_990, reduce_only=True)
    assert pit.alice.held() == []


@pytest.mark.parametrize(
    ("params", "code"),
    [
        (("BUY", "LIMIT", "0.0001", 50_000), -1111),
        (("BUY", "LIMIT", 1, "50000.01"), -4014),
        (("BUY", "LIMIT", 1, 60_000), -4016),
        (("SELL", "LIMIT", 1, 40_000), -4024),
        (("BUY", "LIMIT", 2_000, 50_000), -4005),
    ],
)
def test_filters(params: Any, code: int) -> None:
    """Each filter has its own code."""
    assert refused(lambda: Pit().place(*params)) == code


def test_flags() -> None:
    """Reduce-only without a position, post-only that would take, a doubled id, a wrong position side."""
    pit = Pit()
    assert refused(lambda: pit.place("SELL", "MARKET", 1, reduce_only=True)) == -2022
    pit.crowd("SELL", 1, 50_000)
    assert refused(lambda: pit.place("BUY", "LIMIT", "0.1", 50_000, time_in_force="GTX")) == -5022
    pit.place("BUY", "LIMIT", "0.1", 49_000, client_id="mine")
    assert refused(lambda: pit.place("BUY", "LIMIT", "0.1", 49_000, client_id="mine")) == -4116
    assert refused(lambda: pit.place("BUY", "LIMIT", "0.1", 49_000, position_side="LONG")) == -4061


def test_hedge_mode_keeps_two_positions() -> None:
    """Long and short stand side by side; the mode can't change while they do."""
    pit = Pit()
    pit.exchange.set_hedge("alice", True)
    pit.crowd("SELL", 1, 50_000)
    pit.place("BUY", "MARKET", "0.5", position_side="LONG")
    pit.crowd("BUY", 1, 49_900)
    pit.place("SELL", "MARKET", "0.5", position_side="SHORT")
    assert [(each.side, each.amount) for each in pit.alice.held()] == [("LONG", D("0.5")), ("SHORT", D("-0.5"))]
    assert refused(lambda: pit.exchange.set_hedge("alice", False)) == -4068


def test_modify_keeps_the_id_and_loses_the_place() -> None:
    """Price and quantity change under the same order id, told as AMENDMENT."""
    pit = Pit()
    mine = pit.place("BUY", "LIMIT", "0.1", 49_000)
    other = pit.crowd("BUY", "0.1", 48_000)
    pit.exchange.modify("alice", "BTCUSDT", mine.order_id, None, "BUY", D("0.2"), D(48_000))
    pit.crowd("SELL", "0.1", 48_000)
    assert (other.status, mine.status) == ("FILLED", "NEW")
    assert [event["o"]["x"] for event in pit.events("ORDER_TRADE_UPDATE")] == ["NEW", "AMENDMENT"]
    assert (
        refused(lambda: pit.exchange.modify("alice", "BTCUSDT", mine.order_id, None, "BUY", D("0.2"), D(48_000)))
        == -5027
    )


def test_a_triggered_conditional_order_becomes_a_new_one() -> None:
    """The algo order is told through its states, and the plain order has an id of its own."""
    pit = Pit()
    pit.crowd("SELL", 1, 50_000)
    pit.place("BUY", "MARKET", "0.1")
    stop = pit.exchange.place_algo(
        "alice", pit.request("SELL", "STOP_MARKET", "0.1", trigger_price=49_000, client_id="stop")
    )
    pit.crowd("BUY", 5, 48_990)
    pit.trade_at("49000.1")
    assert stop.order is None
    pit.crowd("SELL", "0.001", 48_990)
    assert stop.order is not None
    assert (stop.status, stop.order.status, stop.order.client_id) == ("FINISHED", "FILLED", "stop")
    states = [event["o"]["X"] for event in pit.events("ALGO_UPDATE")]
    assert states == ["NEW", "TRIGGERING", "TRIGGERED", "FINISHED"]
    assert pit.alice.held() == []


def test_conditional_orders_are_refused_and_cancelled() -> None:
    """A trigger behind the market is -2021; a cancelled one doesn't fire."""
    pit = Pit()
    assert (
        refused(lambda: pit.exchange.place_algo("alice", pit.request("SELL", "STOP_MARKET", 1, trigger_price=51_000)))
        == -2021
    )
    order = pit.exchange.place_algo("alice", pit.request("BUY", "STOP", "0.1", 51_100, trigger_price=51_000))
    pit.exchange.cancel_algo("alice", order.algo_id, None)
    pit.trade_at(51_000)
    assert (order.status, order.order) == ("CANCELED", None)
    assert refused(lambda: pit.exchange.cancel_algo("alice", order.algo_id, None)) == -2011


def test_trailing_and_close_position() -> None:
    """A trailing stop follows by its callback rate; closePosition closes what there is when it fires."""
    pit = Pit()
    pit.crowd("SELL", 1, 50_000)
    pit.place("BUY", "MARKET", "0.3")
    pit.exchange.place_algo("alice", pit.request("SELL", "TRAILING_STOP_MARKET", "0.1", callback_rate=1))
    for order in pit.exchange.state.open_orders("crowd"):
        pit.exchange.end(order, "CANCELED")
    pit.trade_at(52_000)
    pit.crowd("BUY", 1, 51_400)
    pit.crowd("SELL", "0.001", 51_400)
    assert pit.alice.held()[0].amount == D("0.2")
    pit.exchange.place_algo("alice", pit.request("SELL", "STOP_MARKET", trigger_price=51_000, close_position=True))
    pit.crowd("BUY", 1, 50_900)
    for order in pit.exchange.state.open_orders("crowd"):
        if order.price == 51_400:
            pit.exchange.end(order, "CANCELED")
    pit.crowd("SELL", "0.001", 50_900)
    assert pit.alice.held() == []


def test_liquidation() -> None:
    """A margin call first; below maintenance the exchange closes with an autoclose- order and ends open orders."""
    pit = Pit()
    pit.exchange.set_leverage("alice", "BTCUSDT", 100)
    pit.crowd("SELL", 5, 50_000)
    pit.place("BUY", "MARKET", 5)
    resting = pit.place("SELL", "LIMIT", "0.1", 52_000)
    pit.exchange.set_mark("BTCUSDT", D(48_300))
    assert len(pit.events("MARGIN_CALL")) == 1
    assert pit.alice.held()[0].amount == 5
    pit.exchange.set_mark("BTCUSDT", D(48_100))
    assert pit.alice.held() == []
    assert resting.status == "CANCELED"
    last = pit.events("ORDER_TRADE_UPDATE")[-1]["o"]
    assert (last["c"].startswith("autoclose-"), last["x"], last["X"]) == (True, "CALCULATED", "FILLED")


def test_adl_takes_a_part() -> None:
    """Auto-deleveraging closes a part of a position at the mark price under `adl_autoclose`."""
    pit = Pit()
    pit.crowd("SELL", 1, 50_000)
    pit.place("BUY", "MARKET", 1)
    pit.exchange.auto_deleverage("alice", "BTCUSDT", "BOTH", D("0.4"))
    assert pit.alice.held()[0].amount == D("0.6")
    assert pit.events("ORDER_TRADE_UPDATE")[-1]["o"]["c"] == "adl_autoclose"


def test_time_alone_ends_orders() -> None:
    """A GTD order expires at its time, a countdown cancels everything on its symbol."""
    pit = Pit()
    until = pit.clock.now() + 700_000
    dated = pit.place("BUY", "LIMIT", "0.1", 49_000, time_in_force="GTD", good_till=until)
    plain = pit.place("BUY", "LIMIT", "0.1", 49_000)
    pit.exchange.countdown("alice", "BTCUSDT", 1_000_000)
    pit.clock.advance(700_000)
    pit.exchange.tick()
    assert (dated.status, plain.status) == ("EXPIRED", "NEW")
    pit.clock.advance(300_000)
    pit.exchange.tick()
    assert plain.status == "CANCELED"


def test_isolated_margin_risks_only_itself() -> None:
    """An isolated position is liquidated with its own margin; the wallet keeps the rest."""
    pit = Pit()
    pit.exchange.set_margin_type("alice", "BTCUSDT", True)
    pit.crowd("SELL", 1, 50_000)
    pit.place("BUY", "MARKET", "0.1")
    assert pit.alice.held()[0].margin == 250
    pit.exchange.set_mark("BTCUSDT", D(47_600))
    assert pit.alice.held() == []
    assert pit.alice.wallet > 9_700
    assert refused(lambda: pit.exchange.set_margin_type("alice", "BTCUSDT", True)) == -4046
