"""Every fence preset against copies and late arrivals: what the exchange itself lets in, and what it never does."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from exchange_kernel_paper.exchange import decode, encode, sign
from plugins.paper.tests.desk import BTC, Desk

BUY = {"symbol": BTC, "side": "BUY", "amount": "1", "limit": "100"}
BLOCK = 500


def again(desk: Desk, body: bytes) -> dict[str, Any]:
    """Another copy of the very same bytes arrives."""
    answer: dict[str, Any] = decode(desk.front.answer(body))
    return answer


def live(desk: Desk, client: str) -> list[str]:
    """The states of all orders of a client id."""
    return [record.status for record in desk.exchange.ledger.orders_by_client_id(client)]


# time window ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delay", "taken"), [(0, True), (2_000, True), (2_001, False), (60_000, False), (-1_000, True), (-1_001, False)]
)
def test_a_request_is_taken_only_inside_its_window(delay: int, taken: bool) -> None:
    """Up to and including the window's last ms, and not from further in the future than the setting allows."""
    desk = Desk(fence="time_window", window_ms=2_000, future_ms=1_000)
    made = desk.clock.now_ms() + 5_000
    body = desk.body("order", client="a", ts=made, **BUY)
    desk.clock.advance(5_000 + delay)
    answer = again(desk, body)
    assert ("orders" in answer) if taken else (answer["code"] == "TIMESTAMP")


def test_a_late_cancel_is_refused_too() -> None:
    """The window holds for every change, not only for orders."""
    desk = Desk()
    order = desk.order("BUY", "1", "100")
    body = desk.body("cancel", order=order["id"])
    desk.clock.advance(2_001)
    assert again(desk, body)["code"] == "TIMESTAMP"
    assert desk.show(order)["status"] == "WORKING"


def test_a_copy_is_a_duplicate_while_the_order_is_open_and_a_second_order_once_it_filled() -> None:
    """This is why a time window is not repeatable: inside it, the same bytes execute twice."""
    desk = Desk()
    body = desk.body("order", client="a", **BUY)
    again(desk, body)
    assert again(desk, body)["code"] == "DUPLICATE"
    desk.exchange.trade_through(BTC, "SELL", "100", "1")
    assert "orders" in again(desk, body)
    assert live(desk, "a") == ["FILLED", "WORKING"]
    assert list(desk.exchange.ledger.doubled()) == ["a"]


def test_windows_longer_than_a_minute_are_refused() -> None:
    """Or requests would live for ever."""
    desk = Desk()
    assert desk.call("order", client="a", window=60_001, **BUY)["code"] == "BAD_REQUEST"
    assert desk.call("order", client="a", ts="now", **BUY)["code"] == "BAD_REQUEST"


def test_a_skewed_venue_clock_judges_by_its_own_time_and_never_runs_backwards() -> None:
    """Thirty seconds ahead, today's requests are too old; set back, the clock stands until it is right again."""
    desk = Desk()
    desk.exchange.skew(30_000)
    assert desk.order("BUY", "1", "100")["code"] == "TIMESTAMP"
    ahead = desk.call("time")["t"]
    desk.exchange.skew(0)
    assert desk.call("time")["t"] == ahead
    desk.clock.advance(30_001)
    assert desk.call("time")["t"] == ahead + 1
    assert desk.exchange.faults.counts["skew"] == 2


# permanent key --------------------------------------------------------------------------------------------------


def test_a_permanent_key_is_taken_once_for_ever() -> None:
    """Open, filled, cancelled or days later: every copy is a duplicate."""
    desk = Desk(fence="permanent_key")
    body = desk.body("order", client="a", **BUY)
    order = again(desk, body)["orders"][0]
    for _ in range(3):
        assert again(desk, body)["code"] == "DUPLICATE"
    desk.exchange.trade_through(BTC, "SELL", "100", "1")
    assert desk.show(order)["status"] == "FILLED"
    desk.clock.advance(10 * 86_400_000)
    assert again(desk, body)["code"] == "DUPLICATE"
    assert live(desk, "a") == ["FILLED"]


def test_a_permanent_key_is_used_up_by_a_refusal_too_and_the_refusal_is_remembered() -> None:
    """Otherwise a copy could execute after its first was refused for good."""
    desk = Desk(fence="permanent_key")
    body = desk.body("order", "poor", client="a", **{**BUY, "amount": "5"})
    assert again(desk, body)["code"] == "INSUFFICIENT_FUNDS"
    desk.exchange.deposit("poor", "USD", "100000")
    assert again(desk, body)["code"] == "DUPLICATE"
    found = desk.call("find", "poor", clients=["a"])["orders"]
    assert [(order["status"], order["why"]) for order in found] == [("REJECTED", "INSUFFICIENT_FUNDS")]


def test_an_amend_with_a_permanent_key_happens_once() -> None:
    """A late copy of an earlier amend does not undo a later one."""
    desk = Desk(fence="permanent_key")
    order = desk.order("BUY", "5", "100")
    first = desk.body("amend", order=order["id"], amount="4", rid="x")
    again(desk, first)
    desk.call("amend", order=order["id"], amount="3", rid="y")
    assert again(desk, first)["code"] == "DUPLICATE"
    assert (desk.show(order)["amount"], desk.show(order)["applied"]) == ("3", "y")


# no ids at all --------------------------------------------------------------------------------------------------


def test_without_client_ids_every_copy_is_another_order() -> None:
    """Nothing ties copies together, and a client id is refused rather than ignored."""
    desk = Desk(fence="none")
    body = desk.body("order", **BUY)
    first, second = again(desk, body)["orders"], again(desk, body)["orders"]
    assert first[0]["id"] != second[0]["id"]
    assert desk.call("order", client="a", **BUY)["code"] == "CLIENT_ID"


# sequence -------------------------------------------------------------------------------------------------------


def place(desk: Desk, number: int, client: str, **fields: Any) -> bytes:
    """A placing transaction."""
    return desk.body("order", client=client, number=number, **{**BUY, **fields})


def test_numbers_are_executed_in_order_whatever_order_they_arrive_in() -> None:
    """2 and 1 wait for 0; then all go into one block, in order."""
    desk = Desk(fence="sequence")
    for number in (2, 1):
        assert again(desk, place(desk, number, f"c{number}")) == {"held": True, "t": desk.clock.now_ms()}
    desk.clock.advance(5 * BLOCK)
    assert desk.exchange.ledger.orders() == ()
    again(desk, place(desk, 0, "c0"))
    desk.clock.advance(BLOCK)
    assert [record.client for record in desk.exchange.ledger.orders()] == ["c0", "c1", "c2"]
    assert desk.call("account")["ledger"]["next"] == 3


def test_identical_bytes_may_come_any_number_of_times() -> None:
    """Before and after they are in a block: known, and one order."""
    desk = Desk(fence="sequence")
    body = place(desk, 0, "a")
    again(desk, body)
    for _ in range(3):
        assert again(desk, body)["code"] == "KNOWN"
        desk.clock.advance(BLOCK)
    assert live(desk, "a") == ["WORKING"]


def test_a_used_number_is_refused() -> None:
    """Another transaction with it comes too late."""
    desk = Desk(fence="sequence")
    again(desk, place(desk, 0, "a"))
    desk.clock.advance(BLOCK)
    assert again(desk, place(desk, 0, "b"))["code"] == "NUMBER_TOO_LOW"
    assert again(desk, place(desk, 5_000, "b"))["code"] == "NUMBER_TOO_HIGH"
    assert live(desk, "b") == []


def test_a_higher_fee_takes_the_place_of_a_pending_number() -> None:
    """At the same or a lower fee the first stays; only one of the two ever executes."""
    desk = Desk(fence="sequence")
    again(desk, place(desk, 0, "a", fee="0.02"))
    assert again(desk, place(desk, 0, "b", fee="0.02"))["code"] == "UNDERPRICED"
    assert again(desk, place(desk, 0, "b", fee="0.03")) == {"held": True, "t": desk.clock.now_ms()}
    desk.clock.advance(BLOCK)
    assert (live(desk, "a"), live(desk, "b")) == ([], ["WORKING"])
    assert again(desk, place(desk, 0, "a", fee="0.02"))["code"] == "NUMBER_TOO_LOW"


def test_a_transaction_below_the_base_fee_waits_and_blocks_those_behind_it() -> None:
    """Until the base fee falls, or a better one takes its number."""
    desk = Desk(fence="sequence")
    desk.exchange.set_base_fee("0.05")
    again(desk, place(desk, 0, "a", fee="0.01"))
    again(desk, place(desk, 1, "b", fee="0.09"))
    desk.clock.advance(10 * BLOCK)
    assert desk.exchange.ledger.orders() == ()
    desk.exchange.set_base_fee("0.01")
    desk.clock.advance(BLOCK)
    assert (live(desk, "a"), live(desk, "b")) == (["WORKING"], ["WORKING"])


def test_a_failed_transaction_uses_its_number_and_its_fee_and_leaves_a_trace() -> None:
    """It is found as a rejected order with its network fee, and never executes again."""
    desk = Desk(fence="sequence")
    body = desk.body("order", "poor", client="a", number=0, **{**BUY, "amount": "5"})
    again(desk, body)
    desk.clock.advance(BLOCK)
    found = desk.call("find", "poor", clients=["a"], rids=["a"])
    order = found["orders"][0]
    assert (order["status"], order["why"], order["costs"]) == ("REJECTED", "INSUFFICIENT_FUNDS", [["a", "USD", "0.01"]])
    assert (found["receipts"][0]["code"], found["ledger"]["next"]) == ("INSUFFICIENT_FUNDS", 1)
    assert again(desk, body)["code"] == "KNOWN"


def test_a_burn_uses_up_a_number_and_does_nothing_else() -> None:
    """The way to kill a pending transaction for good."""
    desk = Desk(fence="sequence")
    again(desk, place(desk, 0, "a", fee="0.01"))
    again(desk, desk.body("burn", number=0, fee="0.02", rid="b"))
    desk.clock.advance(BLOCK)
    assert live(desk, "a") == []
    assert desk.call("find", rids=["b"])["receipts"][0]["op"] == "burn"
    assert Desk().call("burn")["code"] == "BAD_REQUEST"


def test_blocks_become_final_after_their_depth_and_numbers_with_them() -> None:
    """The final block trails the newest by `finality`; so does the next number as of it."""
    desk = Desk(fence="sequence", finality=2)
    again(desk, place(desk, 0, "a"))
    seen = []
    for _ in range(4):
        desk.clock.advance(BLOCK)
        ledger = desk.call("time")["ledger"]
        seen.append((ledger["next"], ledger["next_final"], ledger["height"] - ledger["final"]))
    assert seen == [(1, 0, 2), (1, 0, 2), (1, 1, 2), (1, 1, 2)]
    assert ledger["final_ms"] == ledger["final"] * BLOCK


def test_a_client_id_is_one_order_for_ever_on_a_ledger() -> None:
    """A second transaction with the same client id fails, at its own cost."""
    desk = Desk(fence="sequence")
    again(desk, place(desk, 0, "a"))
    again(desk, place(desk, 1, "a", rid="other"))
    desk.clock.advance(BLOCK)
    assert live(desk, "a") == ["WORKING"]
    assert desk.call("find", rids=["other"])["receipts"][0]["code"] == "DUPLICATE"


# height ---------------------------------------------------------------------------------------------------------


def test_a_transaction_is_valid_up_to_the_block_it_names() -> None:
    """In the pool or on its way: once a later block exists it never executes."""
    desk = Desk(fence="height")
    head = desk.call("time")["ledger"]["height"]
    desk.exchange.set_base_fee("0.05")
    waiting = desk.body("order", client="a", last_height=head + 2, fee="0.01", **BUY)
    late = desk.body("order", client="b", last_height=head + 2, fee="0.09", **BUY)
    again(desk, waiting)
    desk.clock.advance(2 * BLOCK)
    assert again(desk, late)["code"] == "TOO_LATE"
    desk.exchange.set_base_fee("0.01")
    desk.clock.advance(5 * BLOCK)
    assert desk.exchange.ledger.orders() == ()


def test_copies_are_harmless_at_any_time_under_a_height() -> None:
    """Pending, in a block, or past the last valid one: one order."""
    desk = Desk(fence="height")
    head = desk.call("time")["ledger"]["height"]
    body = desk.body("order", client="a", last_height=head + 3, **BUY)
    assert again(desk, body)["held"]
    codes = []
    for _ in range(5):
        codes.append(again(desk, body)["code"])
        desk.clock.advance(BLOCK)
    assert codes == ["KNOWN"] * 5
    desk.exchange.trade_through(BTC, "SELL", "100", "1")
    assert again(desk, body)["code"] == "KNOWN"
    assert live(desk, "a") == ["FILLED"]


@pytest.mark.parametrize("fence", ["sequence", "height", "permanent_key"])
def test_requests_without_an_id_are_refused_where_the_fence_needs_one(fence: str) -> None:
    """The exchange could not tell copies apart."""
    desk = Desk(fence=fence)
    request = {"number": 0, "last_height": 10**12, **BUY}
    assert desk.call("order", **request)["code"] == "CLIENT_ID"


@pytest.mark.parametrize(("account", "secret"), [("main", b"wrong"), ("main", b""), ("nobody", b"x"), ("house", b"")])
def test_only_the_account_itself_can_ask(account: str, secret: bytes) -> None:
    """A wrong signature, an unknown account, and the exchange's own accounts are all refused."""
    desk = Desk()
    answer = again(desk, sign(encode({"op": "account", "account": account}), secret))
    assert answer["code"] in ("BAD_SIGNATURE", "UNKNOWN_ACCOUNT")


@pytest.mark.parametrize("body", [b"", b"{}", b"[]\nx", b"\xff\xfe", b'{"op":"account"}', b"9" * 70_000, b"[" * 60_000])
def test_garbage_is_refused(body: bytes) -> None:
    """Whatever arrives, the answer is a refusal, not a crash."""
    assert again(Desk(), body)["code"] == "BAD_REQUEST"


def test_deep_garbage_is_refused_where_a_library_lets_python_go_deeper() -> None:
    """Some raise the limit for the whole process when they are imported; the stack is no larger for that."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000_000)
    try:
        answers = [again(Desk(), body)["code"] for body in (b"[" * 60_000, b'{"a":' * 10_000, b'["x[[", ' * 8_000)]
    finally:
        sys.setrecursionlimit(limit)
    assert answers == ["BAD_REQUEST"] * 3


def test_many_small_values_are_not_taken_for_deep_ones() -> None:
    """Only nesting counts, and brackets in text are text."""
    data = encode([{"text": "[[[["}] * 20_000)
    assert len(decode(data)) == 20_000
