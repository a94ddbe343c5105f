"""The matching engine: who trades with whom, for how much, and what is left."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from plugins.paper.tests.desk import BTC, RICH, Desk

D = Decimal


def prices(order: dict[str, object]) -> list[tuple[str, str]]:
    """Price and base of each trade."""
    return [(row[1], row[2]) for row in order["trades"]]  # type: ignore[attr-defined]


def test_the_best_price_trades_first_and_the_taker_gets_the_makers_price() -> None:
    """A buy at 110 takes the ask at 100 before the one at 105, each at its own price."""
    desk = Desk()
    desk.order("SELL", "1", "105.00", "other")
    desk.order("SELL", "1", "100.00", "other")
    assert prices(desk.order("BUY", "2", "110.00")) == [("100.00", "1"), ("105.00", "1")]


def test_at_one_price_the_older_order_trades_first() -> None:
    """Two asks at one price: the first in time fills, the second stays."""
    desk = Desk()
    first = desk.order("SELL", "1", "100", "other")
    second = desk.order("SELL", "1", "100", "other")
    desk.order("BUY", "1", "100")
    assert [desk.show(order, "other")["status"] for order in (first, second)] == ["FILLED", "WORKING"]


def test_a_partial_fill_leaves_the_rest_resting() -> None:
    """A buy of 3 against 1 trades 1 and rests with 2, holding the money for exactly these 2."""
    desk = Desk()
    desk.order("SELL", "1", "100", "other")
    order = desk.order("BUY", "3", "100")
    assert (order["status"], order["filled"], order["spent"]) == ("WORKING", "1", "100")
    assert desk.balance("USD") == (D(999_700), D(200))
    assert desk.exchange.book(BTC).bids.best() == 100


def test_what_a_market_order_cannot_trade_expires() -> None:
    """A market order never rests: with 1 on offer, a buy of 3 trades 1 and is over."""
    desk = Desk()
    desk.order("SELL", "1", "100", "other")
    order = desk.order("BUY", "3")
    assert (order["status"], order["why"], order["filled"]) == ("EXPIRED", "NO_LIQUIDITY", "1")
    assert desk.balance("USD") == (D(999_900), D(0))


def test_the_guard_is_the_worst_price_of_a_market_order() -> None:
    """A market buy with guard 100 does not touch the ask at 101."""
    desk = Desk()
    desk.order("SELL", "1", "100", "other")
    desk.order("SELL", "1", "101", "other")
    order = desk.order("BUY", "2", guard="100")
    assert (order["status"], order["filled"]) == ("EXPIRED", "1")


def test_ioc_trades_what_it_can_and_ends() -> None:
    """IOC never rests."""
    desk = Desk()
    desk.order("SELL", "1", "100", "other")
    order = desk.order("BUY", "2", "100", tif="IOC")
    assert (order["status"], order["filled"]) == ("EXPIRED", "1")
    assert desk.call("open")["orders"] == []


@pytest.mark.parametrize(("amount", "status", "filled"), [("2", "FILLED", "2"), ("2.1", "EXPIRED", "0")])
def test_fok_fills_whole_or_not_at_all(amount: str, status: str, filled: str) -> None:
    """With 2 on offer over two prices, a FOK for 2 fills and one for 2.1 trades nothing."""
    desk = Desk()
    desk.order("SELL", "1", "100", "other")
    desk.order("SELL", "1", "101", "other")
    order = desk.order("BUY", amount, "101", tif="FOK")
    assert (order["status"], order["filled"]) == (status, filled)


@pytest.mark.parametrize(
    ("tif", "fields", "lives_ms"),
    [("GTC", {}, None), ("DAY", {}, 6_400_000), ("GTD", {"until": 1_700_000_005_000}, 5_000)],
)
def test_resting_orders_live_as_long_as_their_time_in_force_says(
    tif: str, fields: dict[str, Any], lives_ms: int | None
) -> None:
    """GTC rests on, DAY ends at the next UTC midnight (6,400 s away on this clock), GTD at its moment; to the ms."""
    desk = Desk()
    order = desk.order("BUY", "1", "100", tif=tif, **fields)
    desk.clock.advance((lives_ms or 10**9) - 1)
    assert desk.show(order)["status"] == "WORKING"
    desk.clock.advance(1)
    shown = desk.show(order)
    assert (shown["status"], shown.get("why")) == (("WORKING", None) if lives_ms is None else ("EXPIRED", "TIME"))
    if lives_ms is not None:
        assert shown["updated"] == 1_700_000_000_000 + lives_ms
        assert desk.balance("USD") == (D(1_000_000), D(0))


def test_expiry_does_not_wait_for_the_timer() -> None:
    """An order past its end never trades, even if the request that finds it comes before any timer fired."""
    desk = Desk()
    bid = desk.order("BUY", "1", "100", tif="GTD", until=desk.clock.now_ms() + 10)
    desk.clock._now += 10  # time passes, no timer runs
    ask = desk.order("SELL", "1", "100", "other")
    assert ask["filled"] == "0"
    assert desk.show(bid)["why"] == "TIME"


def test_self_trade_is_prevented_and_ends_the_taker() -> None:
    """A buy that would meet its own account's ask trades what stands before it, then expires for that reason."""
    desk = Desk()
    desk.order("SELL", "1", "100", "other")
    own = desk.order("SELL", "1", "101")
    order = desk.order("BUY", "3", "102")
    assert (order["status"], order["why"], order["filled"]) == ("EXPIRED", "SELF_TRADE", "1")
    assert desk.show(own)["status"] == "WORKING"


def test_post_only_never_takes() -> None:
    """A post-only order that would trade is refused, against its own account's orders too; otherwise it rests."""
    desk = Desk()
    desk.order("SELL", "1", "100", "other")
    assert desk.order("BUY", "1", "100", post_only=True)["code"] == "WOULD_CROSS"
    assert desk.order("BUY", "1", "99.99", post_only=True)["status"] == "WORKING"
    assert desk.order("SELL", "1", "99.99", post_only=True)["code"] == "WOULD_CROSS"


def test_an_iceberg_shows_one_slice_and_queues_again_for_the_next() -> None:
    """Display 1 of 3: after its slice is gone it stands behind the order that came later."""
    desk = Desk()
    berg = desk.order("SELL", "3", "100", "other", display="1")
    plain = desk.order("SELL", "1", "100", "main")
    desk.exchange.trade_through(BTC, "BUY", "100", "1")
    assert (desk.show(berg, "other")["filled"], desk.show(plain)["filled"]) == ("1", "0")
    desk.exchange.trade_through(BTC, "BUY", "100", "1")
    assert (desk.show(berg, "other")["filled"], desk.show(plain)["status"]) == ("1", "FILLED")
    desk.exchange.trade_through(BTC, "BUY", "100", "2")
    assert desk.show(berg, "other")["status"] == "FILLED"


def test_one_big_order_takes_all_slices_of_an_iceberg_in_turn() -> None:
    """A buy of 4 meets slice, plain order, slice, slice, in this order."""
    desk = Desk()
    berg = desk.order("SELL", "3", "100", "other", display="1")
    plain = desk.order("SELL", "1", "100", "other")
    order = desk.order("BUY", "4", "100")
    makers = [trade.maker for trade in desk.exchange.engine.orders[order["id"]].trades]
    assert makers == [berg["id"], plain["id"], berg["id"], berg["id"]]


def test_buy_quote_spends_at_most_the_amount_in_whole_lots() -> None:
    """1,000 USD at 333.33 buy 3.0000 BTC (999.99): the next lot would cost more than what is left."""
    desk = Desk()
    desk.order("SELL", "10", "333.33", "other")
    order = desk.order("BUY", "1000", **{"in": "QUOTE"})
    assert (order["status"], order["filled"], order["spent"]) == ("FILLED", "3.0000", "999.990000")


def test_sell_quote_receives_at_most_the_amount_in_whole_lots() -> None:
    """Selling for 1,000 USD over two bids never brings more than 1,000, and all but less than a lot of it."""
    desk = Desk()
    desk.exchange.set_ladder(BTC, [("333.33", "1"), ("300", "10")], [])
    order = desk.order("SELL", "1000", **{"in": "QUOTE"})
    assert order["status"] == "FILLED"
    assert D("1000") - D(order["spent"]) < D("0.03")
    assert prices(order) == [("333.33", "1"), ("300", "2.2222")]


def test_a_resting_quote_order_is_worth_what_is_left_of_it() -> None:
    """A limit buy for 1,000 USD at 100 spends 95 at 95 first; the rest buys 9.05 at 100."""
    desk = Desk()
    desk.order("SELL", "1", "95", "other")
    order = desk.order("BUY", "1000", "100", **{"in": "QUOTE"})
    assert (order["status"], order["spent"]) == ("WORKING", "95")
    desk.order("SELL", "20", "100", "other", tif="IOC")
    done = desk.show(order)
    assert (done["status"], D(done["filled"]), D(done["spent"])) == ("FILLED", D("10.05"), D("1000"))
    assert desk.balance("USD") == (D(999_000), D(0))


@pytest.mark.parametrize(
    ("fee_in", "buyer", "seller"),
    [
        ("quote", {"BTC": "101", "USD": "999899.9"}, {"BTC": "99", "USD": "1000099.8"}),
        ("base", {"BTC": "100.999", "USD": "999900"}, {"BTC": "98.998", "USD": "1000100"}),
        ("received", {"BTC": "100.999", "USD": "999900"}, {"BTC": "99", "USD": "1000099.8"}),
    ],
)
def test_fees_are_taken_in_the_configured_asset(fee_in: str, buyer: dict[str, str], seller: dict[str, str]) -> None:
    """The maker buys 1 BTC for 100 at 0.1 %, the taker sells at 0.2 %; both pay in quote, base, or what they get."""
    desk = Desk(fee_in=fee_in, maker_fee="0.001", taker_fee="0.002")
    desk.order("BUY", "1", "100")
    sold = desk.order("SELL", "1", "100", "other")
    for account, expected in (("main", buyer), ("other", seller)):
        assert {asset: desk.balance(asset, account)[0] for asset in expected} == {a: D(v) for a, v in expected.items()}
    fee, asset, maker = sold["trades"][0][6:]
    assert (D(fee), asset, maker) == ((D("0.002"), "BTC", False) if fee_in == "base" else (D("0.2"), "USD", False))
    assert desk.balance("USD")[1] == desk.balance("BTC", "other")[1] == 0


def test_an_order_holds_enough_for_its_fee() -> None:
    """A resting buy of 100 USD holds 100.20 when the higher fee is 0.2 % of quote."""
    desk = Desk(maker_fee="0.001", taker_fee="0.002")
    desk.order("BUY", "1", "100")
    assert desk.balance("USD") == (D("999899.8"), D("100.2"))


@pytest.mark.parametrize(
    ("side", "amount", "limit"), [("BUY", "1.2", "101"), ("SELL", "0.5", "100"), ("BUY", "2", None)]
)
def test_an_order_that_cannot_be_paid_changes_nothing(side: str, amount: str, limit: str | None) -> None:
    """Refused for funds: no order, no trade, no balance moved."""
    desk = Desk()
    desk.order("SELL", "2", "90", "other")
    assert desk.order(side, amount, limit, "poor")["code"] == "INSUFFICIENT_FUNDS"
    assert desk.balance("USD", "poor") == (D(100), D(0))
    assert desk.call("find", "poor", clients=["c2"])["orders"] == []


def test_amending_down_keeps_the_place_in_the_queue() -> None:
    """Less at the same price: still first to trade, and the held money shrinks."""
    desk = Desk()
    first = desk.order("BUY", "2", "100")
    desk.order("BUY", "1", "100", "other")
    amended = desk.call("amend", order=first["id"], amount="1")["orders"][0]
    assert (amended["amount"], amended["applied"]) == ("1", "r3")
    assert desk.balance("USD") == (D(999_900), D(100))
    desk.exchange.trade_through(BTC, "SELL", "100", "1")
    assert desk.show(first)["status"] == "FILLED"


@pytest.mark.parametrize("change", [{"amount": "3"}, {"amount": "2", "limit": "100.01"}])
def test_amending_up_or_in_price_goes_to_the_back_of_the_queue(change: dict[str, str]) -> None:
    """More, or another price: the order that stood behind it trades first when the price comes back."""
    desk = Desk()
    first = desk.order("BUY", "2", "100")
    second = desk.order("BUY", "1", change.get("limit", "100"), "other")
    desk.call("amend", order=first["id"], **change)
    desk.exchange.trade_through(BTC, "SELL", "100", "1")
    assert desk.show(first)["filled"] == "0"
    assert desk.show(second, "other")["status"] == "FILLED"


def test_an_amended_price_can_trade_at_once() -> None:
    """Raising a bid to the ask trades there; the total includes what was filled before."""
    desk = Desk()
    order = desk.order("BUY", "2", "99")
    desk.exchange.trade_through(BTC, "SELL", "99", "1")
    desk.order("SELL", "5", "100", "other")
    after = desk.call("amend", order=order["id"], amount="3", limit="100")["orders"][0]
    assert (after["status"], after["filled"], after["spent"]) == ("FILLED", "3", "299")


@pytest.mark.parametrize(
    ("settings", "change", "code"),
    [
        ({}, {"amount": "1"}, "AMEND_BELOW_FILLED"),
        ({}, {"amount": "0.5"}, "AMEND_BELOW_FILLED"),
        ({"amend": "down"}, {"amount": "3"}, "AMEND_NOT_DOWN"),
        ({"amend": "down"}, {"amount": "2", "limit": "98"}, "AMEND_NOT_DOWN"),
        ({"amend": "off"}, {"amount": "1.5"}, "AMEND_OFF"),
        ({}, {"amount": "1.00001"}, "FILTER_AMOUNT"),
        ({}, {"amount": "2", "limit": "99.001"}, "FILTER_PRICE"),
        ({}, {"amount": "900000"}, "INSUFFICIENT_FUNDS"),
        ({}, {"amount": "x"}, "BAD_REQUEST"),
    ],
)
def test_a_refused_amend_leaves_the_order_as_it_was(
    settings: dict[str, str], change: dict[str, str], code: str
) -> None:
    """Every refusal has its code and no effect; at or below what is filled is one of them."""
    desk = Desk(**settings)
    order = desk.order("BUY", "2", "99")
    desk.exchange.trade_through(BTC, "SELL", "99", "1")
    before = desk.show(order), desk.balance("USD")
    assert desk.call("amend", order=order["id"], **change)["code"] == code
    assert (desk.show(order), desk.balance("USD")) == before


def test_a_post_only_order_cannot_be_amended_into_the_other_side() -> None:
    """The amend is refused and the order stays where it was."""
    desk = Desk()
    desk.order("SELL", "1", "100", "other")
    order = desk.order("BUY", "1", "99", post_only=True)
    assert desk.call("amend", order=order["id"], amount="1", limit="100")["code"] == "WOULD_CROSS"
    assert desk.show(order)["limit"] == "99"


def test_cancel_names_one_order_and_cancel_all_takes_the_rest() -> None:
    """By the venue's id or by client id; of one market or of all; other accounts are untouched."""
    desk = Desk()
    by_id, by_client = desk.order("BUY", "1", "90"), desk.order("BUY", "1", "91", client="mine")
    rest, sol = desk.order("BUY", "1", "92"), desk.order("BUY", "1", "20", symbol="SOL/USD")
    foreign = desk.order("BUY", "1", "90", "other")
    desk.call("cancel", order=by_id["id"])
    desk.call("cancel", client="mine")
    assert [desk.show(order)["status"] for order in (by_id, by_client, rest, sol)] == 2 * ["CANCELED"] + 2 * ["WORKING"]
    assert [order["id"] for order in desk.call("cancel_all", symbol=BTC)["orders"]] == [rest["id"]]
    assert [order["id"] for order in desk.call("cancel_all")["orders"]] == [sol["id"]]
    assert desk.show(foreign, "other")["status"] == "WORKING"
    assert desk.balance("USD") == (D(1_000_000), D(0))


@pytest.mark.parametrize("target", [{"order": 99}, {"client": "nobody"}, {}, {"order": "1"}])
def test_cancelling_what_is_not_open_is_refused(target: dict[str, object]) -> None:
    """Unknown, finished, or somebody else's: one code, no effect."""
    desk = Desk()
    theirs = desk.order("BUY", "1", "90", "other")
    done = desk.order("SELL", "1", "90")
    for each in (target, {"order": theirs["id"] + 100}, {"order": done["id"]}):
        assert desk.call("cancel", **each)["code"] == "UNKNOWN_ORDER"
    assert desk.show(theirs, "other")["status"] == "FILLED"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"symbol": "DOGE/USD"}, "UNKNOWN_SYMBOL"),
        ({"amount": "0.00001"}, "FILTER_AMOUNT"),
        ({"amount": "0"}, "FILTER_AMOUNT"),
        ({"amount": "2000000", "limit": "100"}, "FILTER_AMOUNT"),
        ({"amount": "-1"}, "BAD_REQUEST"),
        ({"amount": "1e3"}, "BAD_REQUEST"),
        ({"amount": "NaN"}, "BAD_REQUEST"),
        ({"amount": "\u0661"}, "BAD_REQUEST"),
        ({"amount": 1}, "BAD_REQUEST"),
        ({"side": "HOLD"}, "BAD_REQUEST"),
        ({"tif": "FOREVER"}, "BAD_REQUEST"),
        ({"in": "BARRELS"}, "BAD_REQUEST"),
        ({"limit": "100.001"}, "FILTER_PRICE"),
        ({"limit": "0"}, "FILTER_PRICE"),
        ({"limit": "9.99"}, "FILTER_NOTIONAL"),
        ({"amount": "9.99", "in": "QUOTE"}, "FILTER_NOTIONAL"),
        ({"limit": "100", "guard": "100"}, "BAD_REQUEST"),
        ({"tif": "GTD", "limit": "100"}, "FILTER_TIME"),
        ({"tif": "GTD", "limit": "100", "until": 1_700_000_000_000}, "FILTER_TIME"),
        ({"until": 1_800_000_000_000}, "FILTER_TIME"),
        ({"post_only": True}, "FILTER_TIME"),
        ({"post_only": True, "limit": "100", "tif": "IOC"}, "FILTER_TIME"),
        ({"display": "0.5"}, "FILTER_DISPLAY"),
        ({"display": "2", "limit": "100"}, "FILTER_DISPLAY"),
        ({"display": "0.00001", "limit": "100"}, "FILTER_DISPLAY"),
        ({"symbol": "NEW/USD", "side": "SELL"}, "FILTER_SIDE"),
        ({"client": "no spaces"}, "CLIENT_ID"),
        ({"client": "x" * 81}, "CLIENT_ID"),
    ],
)
def test_every_filter_refuses_with_its_code(fields: dict[str, object], code: str) -> None:
    """One broken field, one code, and nothing in the ledger but the refusal."""
    desk = Desk()
    request = {"symbol": BTC, "side": "BUY", "amount": "1", "client": "c", **fields}
    assert desk.call("order", **request)["code"] == code
    assert desk.exchange.ledger.orders() == ()
    assert desk.exchange.ledger.entries[-1][1] == "refused"


@pytest.mark.parametrize(
    ("symbol", "good", "bad"),
    [
        ("SOL/USD", ["9.9999", "10.01", "99.99", "100.1"], ["10.001", "100.01", "9.99999"]),
        ("XAU/USD", ["2412.3456", "2412.345", "10000000"], ["2412.34567", "1234567.89"]),
    ],
)
def test_tick_spacing_depends_on_the_market(symbol: str, good: list[str], bad: list[str]) -> None:
    """DYNAMIC ticks grow with the price; CONTINUOUS prices are any of eight significant digits."""
    desk = Desk({**RICH, "USD": "1000000000"})
    for price in good:
        assert desk.order("BUY", "2", price, symbol=symbol)["status"] == "WORKING"
    for price in bad:
        assert desk.order("BUY", "2", price, symbol=symbol)["code"] == "FILTER_PRICE"


def test_a_one_sided_market_only_sells_to_clients() -> None:
    """The house may ask and never bid; clients buy, and have nobody to sell to."""
    desk = Desk()
    desk.exchange.set_ladder("NEW/USD", [], [("2.5", "1000")])
    assert desk.order("BUY", "10", symbol="NEW/USD")["status"] == "FILLED"
    assert desk.exchange.book("NEW/USD").top()[0] is None
    with pytest.raises(ValueError, match="one-sided"):
        desk.exchange.set_ladder("NEW/USD", [("2.4", "1000")], [])


def test_a_closed_market_takes_nothing_but_cancels() -> None:
    """Orders and amends are refused with their own code."""
    desk = Desk()
    order = desk.order("BUY", "1", "100")
    desk.exchange.set_open(BTC, False)
    assert desk.order("BUY", "1", "100")["code"] == "MARKET_CLOSED"
    assert desk.call("amend", order=order["id"], amount="2")["code"] == "MARKET_CLOSED"
    assert desk.call("cancel", order=order["id"])["orders"][0]["status"] == "CANCELED"
    desk.exchange.set_open(BTC, True)
    assert desk.order("BUY", "1", "100")["status"] == "WORKING"


def test_trade_ids_count_per_symbol() -> None:
    """Two symbols both have a trade 1: the number alone names nothing in the account."""
    desk = Desk()
    desk.exchange.set_ladder(BTC, [], [("100", "9")])
    desk.exchange.set_ladder("SOL/USD", [], [("20", "9")])
    first, second = desk.order("BUY", "1"), desk.order("BUY", "1", symbol="SOL/USD")
    assert first["trades"][0][0] == second["trades"][0][0] == 1


def test_new_quotes_of_the_house_trade_with_what_they_cross() -> None:
    """When the house asks at or below a resting bid, the bid fills at its own price."""
    desk = Desk()
    order = desk.order("BUY", "1", "100")
    desk.exchange.set_ladder(BTC, [("97", "5")], [("98", "5")])
    done = desk.show(order)
    assert (done["status"], done["spent"]) == ("FILLED", "100")
    assert desk.exchange.book(BTC).top() == (D(97), D(98), D(100))


def test_an_iceberg_never_shows_more_than_it_has() -> None:
    """Filled on arrival down to less than its display, it offers what is left, and no more is ever traded."""
    desk = Desk()
    desk.order("SELL", "1", "100", "other")
    berg = desk.order("BUY", "2", "100", display="1.5")
    assert (berg["status"], berg["filled"]) == ("WORKING", "1")
    taken = desk.order("SELL", "3", "100", "other", tif="IOC")
    assert (taken["filled"], desk.show(berg)["filled"]) == ("1", "2")


def test_a_resting_order_that_was_filled_in_part_holds_only_for_the_rest() -> None:
    """The money for what it bought is spent, not held as well."""
    desk = Desk()
    desk.order("BUY", "3", "100")
    desk.exchange.trade_through(BTC, "SELL", "100", "1")
    assert desk.balance("USD") == (D(999_700), D(200))
