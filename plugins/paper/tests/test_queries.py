"""Reads: paging, history, retention, and what a trailing read still shows."""

from __future__ import annotations

from typing import Any

import pytest

from exchange_kernel_paper.exchange import decode
from plugins.paper.tests.desk import BTC, Desk

MS = 1_700_000_000_000


def lagging(desk: Desk, lag_ms: int, op: str, **fields: Any) -> dict[str, Any]:
    """A read that trails by so much."""
    answer: dict[str, Any] = decode(desk.front.answer(desk.body(op, **fields), lag_ms=lag_ms))
    return answer


def open_ids(desk: Desk) -> list[int]:
    """All pages of open orders."""
    found, page = [], 0
    while True:
        answer = desk.call("open", after=page)
        found += [order["id"] for order in answer["orders"]]
        if answer["next"] is None:
            return found
        page = answer["next"]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 7])
def test_pages_of_open_orders_hold_each_once(count: int) -> None:
    """Whatever the number of orders and the size of the pages; other accounts are not shown."""
    desk = Desk(page_size=2)
    placed = [desk.order("BUY", "1", "100")["id"] for _ in range(count)]
    desk.order("BUY", "1", "100", "other")
    assert open_ids(desk) == placed


def test_orders_that_stay_open_appear_even_if_others_come_and_go_between_pages() -> None:
    """The pages go by order id, so nothing shifts."""
    desk = Desk(page_size=2)
    ids = [desk.order("BUY", "1", "100")["id"] for _ in range(5)]
    first = desk.call("open")
    for gone in ids[:3]:
        desk.call("cancel", order=gone)
    new = desk.order("BUY", "1", "100")["id"]
    second = desk.call("open", after=first["next"])
    third = desk.call("open", after=second["next"])
    seen = [order["id"] for page in (first, second, third) for order in page["orders"]]
    assert seen == [*ids[:2], *ids[3:], new]


def test_an_order_finished_without_a_fill_is_forgotten_and_one_with_a_fill_never() -> None:
    """To the ms; look-ups by id and by client id, recent orders and history alike."""
    desk = Desk(retention_ms=1_000)
    canceled = desk.order("BUY", "1", "100", client="c")
    partly = desk.order("BUY", "1", "100", client="p")
    desk.call("cancel", order=canceled["id"])
    desk.exchange.trade_through(BTC, "SELL", "100", "0.5")
    desk.call("cancel", order=partly["id"])
    names = {"clients": ["c", "p"], "orders": [canceled["id"], partly["id"]]}
    desk.clock.advance(999)
    assert [order["client"] for order in desk.call("find", **names)["orders"]] == ["c", "p"]
    desk.clock.advance(1)
    assert [order["client"] for order in desk.call("find", **names)["orders"]] == ["p"]
    assert [order["client"] for order in desk.call("recent", symbol=BTC, since=MS)["orders"]] == ["p"]
    assert [item["order"]["client"] for item in desk.call("history")["items"]] == ["p"]
    assert [record.client for record in desk.exchange.ledger.orders()] == ["c", "p"]


def test_history_pages_oldest_first_and_is_empty_at_the_end() -> None:
    """Finished orders with all their fills, fills of orders that are still open, each at its place."""
    desk = Desk(page_size=2)
    big = desk.order("BUY", "3", "100", client="big")
    desk.exchange.trade_through(BTC, "SELL", "100", "1")
    small = desk.order("BUY", "1", "101", client="small")
    desk.exchange.trade_through(BTC, "SELL", "101", "1")
    desk.call("cancel", order=desk.order("BUY", "1", "90", client="none")["id"])
    seen, position = [], 0
    while items := (page := desk.call("history", after=position))["items"]:
        seen += [
            (item["order"]["client"], len(item["order"]["trades"])) if "order" in item else item["id"] for item in items
        ]
        position = page["next"]
    assert seen == [big["id"], ("small", 1), ("none", 0)]
    assert page["next"] == position
    desk.exchange.trade_through(BTC, "SELL", "100", "2")
    later = desk.call("history", after=position)["items"]
    assert [(item["order"]["client"], len(item["order"]["trades"])) for item in later] == [("big", 2)]
    assert small["id"] not in [item.get("id") for item in later]


def test_history_never_ends_a_page_empty_while_there_is_more() -> None:
    """Entries that say nothing new are passed over, not counted."""
    desk = Desk(page_size=1)
    desk.order("BUY", "3", "100", client="a")
    for _ in range(3):
        desk.exchange.trade_through(BTC, "SELL", "100", "1")
    answer = desk.call("history")
    assert [item["order"]["client"] for item in answer["items"]] == ["a"]


def test_history_of_a_ledger_venue_holds_only_what_is_final() -> None:
    """So that a cursor never passes something that could still change."""
    desk = Desk(fence="sequence", block_ms=500, finality=2)
    desk.exchange.set_ladder(BTC, [], [("100", "9")])
    desk.order("BUY", "1", client="a", number=0)
    counts = []
    for _ in range(4):
        counts.append(len(desk.call("history")["items"]))
        desk.clock.advance(500)
    assert counts == [0, 0, 0, 1]


def test_a_trailing_read_shows_each_moment_as_it_was() -> None:
    """An order placed, filled in part and cancelled 100 ms apart, seen from five distances."""
    desk = Desk(read_lag_ms=1_000)
    desk.clock.advance(500)
    order = desk.order("BUY", "2", "100", client="a")
    desk.clock.advance(100)
    desk.exchange.trade_through(BTC, "SELL", "100", "1")
    desk.clock.advance(100)
    desk.call("cancel", order=order["id"])
    desk.clock.advance(50)
    seen = []
    for lag in (0, 50, 51, 150, 151, 250, 251):
        orders = lagging(desk, lag, "find", clients=["a"])["orders"]
        seen.append([(each["status"], each["filled"], len(each["trades"])) for each in orders])
    canceled, part, fresh = [("CANCELED", "1", 1)], [("WORKING", "1", 1)], [("WORKING", "0", 0)]
    assert seen == [canceled, canceled, part, part, fresh, fresh, []]
    assert [len(lagging(desk, lag, "open")["orders"]) for lag in (50, 51, 250, 251)] == [0, 1, 1, 0]
    assert [len(lagging(desk, lag, "history")["items"]) for lag in (0, 51, 151)] == [1, 0, 0]


def test_a_trailing_read_of_a_ledger_carries_the_blocks_of_its_own_moment() -> None:
    """Height, final block and numbers belong to the same state as the orders."""
    desk = Desk(fence="sequence", block_ms=500, finality=1, read_lag_ms=2_000)
    desk.order("BUY", "1", "100", client="a", number=0)
    desk.clock.advance(1_500)
    now = lagging(desk, 0, "find", clients=["a"], rids=["a"])
    then = lagging(desk, 1_400, "find", clients=["a"], rids=["a"])
    assert (len(now["orders"]), len(now["receipts"]), now["ledger"]["next_final"]) == (1, 1, 1)
    assert (len(then["orders"]), len(then["receipts"]), then["ledger"]["next"]) == (0, 0, 0)
    assert now["ledger"]["height"] - then["ledger"]["height"] == 3


@pytest.mark.parametrize(
    ("op", "fields"),
    [("open", {"after": "x"}), ("history", {"after": -1}), ("recent", {"symbol": BTC}), ("weather", {})],
)
def test_bad_reads_are_refused(op: str, fields: dict[str, Any]) -> None:
    """With a code, like everything else."""
    assert Desk().call(op, **fields)["code"] == "BAD_REQUEST"
