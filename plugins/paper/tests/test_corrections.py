"""Trades that the operator restates afterwards."""

from __future__ import annotations

from decimal import Decimal

import pytest

from exchange_kernel.venue import Fill, FillVoided, OrderReport, VenueEvent, Why
from exchange_kernel_paper.exchange import Refusal
from plugins.paper.tests.desk import BTC, Desk
from plugins.paper.tests.session import Session, scenario

D = Decimal


def bought(desk: Desk, amount: str = "2") -> int:
    """An order that has bought from the house at 100, by its id."""
    desk.exchange.set_ladder(BTC, [], [("100", "10")])
    number: int = desk.order("BUY", amount, "100")["id"]
    return number


def test_a_corrected_trade_keeps_its_id_and_moves_the_difference() -> None:
    """Two bought at 100 were one and a half: half a coin goes back, its price and its fee come back."""
    desk = Desk(maker_fee="0.001", taker_fee="0.001")
    before, supply = desk.balance("USD"), desk.exchange.supply()
    order = bought(desk)
    desk.exchange.correct(order, 1, "1.5")
    shown = desk.show({"id": order})
    assert (shown["filled"], shown["spent"]) == ("1.5", "150.0")
    assert (shown["trades"][0][0], shown["trades"][0][2], shown["trades"][0][-1]) == (1, "1.5", 1)
    assert desk.balance("BTC")[0] == D("101.5")
    assert before[0] - desk.balance("USD")[0] == D("150") + D("0.15")
    assert desk.exchange.supply() == supply
    record = desk.exchange.ledger.orders()[0]
    assert (record.base, record.quote) == (D("1.5"), D("150"))


def test_a_bust_takes_all_of_it_back() -> None:
    """A trade for nothing: the account is where it was, and history tells of the order once more."""
    desk = Desk()
    before = desk.balance("USD"), desk.balance("BTC")
    order = bought(desk)
    items = desk.call("history", after=0)["next"]
    desk.exchange.correct(order, 1, "0")
    assert (desk.balance("USD"), desk.balance("BTC")) == before
    again = desk.call("history", after=items)["items"]
    assert [item["order"]["trades"][0][-1] for item in again] == [1]


@pytest.mark.parametrize(("order", "trade"), [(99, 1), (None, 7)])
def test_what_is_not_there_is_not_corrected(order: int | None, trade: int) -> None:
    """No such order, or no such trade in it."""
    desk = Desk()
    real = bought(desk)
    with pytest.raises(Refusal):
        desk.exchange.correct(real if order is None else order, trade, "1")


def test_only_orders_that_are_over_are_corrected() -> None:
    """What rests still counts on what it has filled."""
    desk = Desk()
    desk.exchange.set_ladder(BTC, [], [("100", "1")])
    resting = desk.order("BUY", "3", "100")["id"]
    with pytest.raises(Refusal, match="not over"):
        desk.exchange.correct(resting, 1, "0")


def test_a_trade_between_two_customers_stands() -> None:
    """There is no house to settle the difference with."""
    desk = Desk()
    desk.order("SELL", "1", "100", "other")
    buyer = desk.order("BUY", "1", "100")["id"]
    with pytest.raises(Refusal, match="customer"):
        desk.exchange.correct(buyer, 1, "0")


def test_the_stream_tells_of_it() -> None:
    """A correction comes as the same fill with a higher revision, a bust as FillVoided too."""

    async def play(session: Session) -> list[VenueEvent]:
        events: list[VenueEvent] = []
        stream = session.adapter.events(None)
        await anext(stream)
        session.exchange.set_ladder(BTC, [], [("100", "10")])
        order = session.exchange.trade("main", _request(session))["orders"]
        assert isinstance(order, list)
        for base in ("1", "0"):
            session.exchange.correct(order[0]["id"], 1, base)
        while len(events) < 4:
            events.append(await anext(stream))
        return events

    bodies = [event.body for event in scenario(Session(), play)]
    fills: list[Fill] = [fill for body in bodies if isinstance(body, OrderReport) for fill in body.fills]
    assert [(fill.id, fill.base, fill.revision) for fill in fills] == [
        ("BTC/USD/1", D(2), 0),
        ("BTC/USD/1", D(1), 1),
        ("BTC/USD/1", D(0), 2),
    ]
    assert [body for body in bodies if isinstance(body, FillVoided)] == [FillVoided("BTC/USD/1", 2, Why.OTHER)]


def _request(session: Session) -> dict[str, object]:
    fields = {"symbol": BTC, "side": "BUY", "amount": "2", "limit": "100", "client": "c1"}
    return {"op": "order", "account": "main", **fields, "ts": session.clock.now_ms(), "window": 1_000}
