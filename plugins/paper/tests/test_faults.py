"""Every fault fires, does what it says, and is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from random import Random
from typing import Any

import pytest

from exchange_kernel_paper.exchange import KINDS, Faults, NeverSent, NoAnswer, Wire, decode
from plugins.paper.tests.desk import BTC, Desk

BUY = {"symbol": BTC, "side": "BUY", "amount": "1", "limit": "100", "client": "a"}


class Outcome:
    """What a caller got: an answer, or an exception; and at what time of the venue."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.answer: dict[str, Any] | None = None
        self.raw = b""
        self.error: Exception | None = None
        self.at = -1

    async def of(self, call: Coroutine[Any, Any, bytes]) -> None:
        """Wait for a call."""
        start = self.desk.clock.now_ms()
        try:
            self.raw = await call
            self.answer = decode(self.raw)
        except (NeverSent, NoAnswer, ValueError) as error:
            self.error = error
        self.at = self.desk.clock.now_ms() - start


def send(desk: Desk, op: str = "order", *, timeout_ms: int = 10_000, for_ms: int = 20_000, **fields: Any) -> Outcome:
    """Send one request over the wire, and let time pass in steps of 1 ms until it is over and beyond."""

    async def run() -> Outcome:
        outcome = Outcome(desk)
        fields_ = {**BUY, **fields} if op == "order" else fields
        call = Wire(desk.exchange).call(op, desk.body(op, **fields_), timeout_ms)
        task = asyncio.create_task(outcome.of(call))
        for _ in range(for_ms // 50):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            desk.clock.advance(50)
        await task
        return outcome

    return asyncio.run(run())


def orders(desk: Desk) -> int:
    """How many orders the ledger has for the client id."""
    return len(desk.exchange.ledger.orders_by_client_id("a"))


def arrivals(desk: Desk) -> int:
    """How many requests with the client id arrived."""
    return desk.exchange.ledger.arrivals("a")


def test_without_faults_a_call_is_answered_at_once() -> None:
    """And nothing is counted."""
    desk = Desk()
    outcome = send(desk)
    assert (outcome.at, orders(desk), dict(desk.exchange.faults.counts)) == (0, 1, {})


def test_not_sent_means_nothing_arrives() -> None:
    """The one failure the caller can be sure of."""
    desk = Desk()
    desk.exchange.faults.once("not_sent")
    assert isinstance(send(desk).error, NeverSent)
    assert arrivals(desk) == 0


@pytest.mark.parametrize("ms", [0, 3_000])
def test_a_lost_request_never_arrives_and_is_never_answered(ms: int) -> None:
    """The caller cannot tell it from a lost answer."""
    desk = Desk()
    desk.exchange.faults.once("request_lost", "order", ms=ms)
    outcome = send(desk)
    assert (type(outcome.error), outcome.at, arrivals(desk)) == (NoAnswer, ms, 0)


@pytest.mark.parametrize("ms", [0, 3_000])
def test_a_lost_answer_is_executed(ms: int) -> None:
    """The caller cannot tell it from a lost request."""
    desk = Desk()
    desk.exchange.faults.once("answer_lost", "order", ms=ms)
    outcome = send(desk)
    assert (type(outcome.error), outcome.at, orders(desk)) == (NoAnswer, ms, 1)


def test_a_late_request_arrives_after_the_caller_gave_up() -> None:
    """Inside the window it is executed, at the venue's time of its arrival."""
    desk = Desk()
    desk.exchange.faults.once("late", ms=1_500)
    outcome = send(desk)
    assert (type(outcome.error), outcome.at) == (NoAnswer, 0)
    assert [record.at for record in desk.exchange.ledger.orders()] == [1_700_000_001_500]


def test_a_request_later_than_its_window_is_refused_when_it_arrives() -> None:
    """The fence does its work although nobody listens any more."""
    desk = Desk(window_ms=2_000)
    desk.exchange.faults.once("late", ms=2_500)
    send(desk)
    assert (arrivals(desk), orders(desk)) == (1, 0)


@pytest.mark.parametrize(("ms", "answered_at"), [(1_500, 1_500), (1_900, None)])
def test_a_delayed_request_is_answered_late_or_after_the_timeout(ms: int, answered_at: int | None) -> None:
    """With a timeout of 1.6 s: executed in both cases, answered in one."""
    desk = Desk()
    desk.exchange.faults.once("delay", ms=ms)
    outcome = send(desk, timeout_ms=1_600)
    assert outcome.at == (answered_at or 1_600)
    assert isinstance(outcome.error, NoAnswer) == (answered_at is None)
    assert orders(desk) == 1


def test_a_delayed_request_arrives_even_if_its_caller_is_gone() -> None:
    """Cancelling the waiting task does not take the request back."""
    desk = Desk()
    desk.exchange.faults.once("delay", ms=1_000)

    async def run() -> None:
        task = asyncio.create_task(Wire(desk.exchange).call("order", desk.body("order", **BUY)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        desk.clock.advance(1_000)

    asyncio.run(run())
    assert orders(desk) == 1


@pytest.mark.parametrize(
    ("fence", "fires"), [("permanent_key", True), ("sequence", True), ("height", True), ("time_window", False)]
)
def test_a_network_doubles_requests_only_where_that_is_harmless(fence: str, fires: bool) -> None:
    """Both copies arrive, one order; under a time window the fault does not fire, as no client could survive it."""
    desk = Desk(fence=fence)
    desk.exchange.faults.once("duplicate", ms=700)
    send(desk, number=0, last_height=10**10)
    assert (arrivals(desk), orders(desk)) == (2 if fires else 1, 1)
    assert desk.exchange.faults.counts["duplicate"] == fires


def test_engine_delay_passes_between_check_and_execution() -> None:
    """Checked on arrival, executed after its window: at most the setting later."""
    desk = Desk(window_ms=100, engine_delay_ms=400)
    desk.exchange.faults.once("engine_delay", ms=9_999)
    outcome = send(desk)
    assert outcome.at == 400
    assert [record.at for record in desk.exchange.ledger.orders()] == [1_700_000_000_400]


def test_engine_delay_still_refuses_what_arrives_too_late() -> None:
    """The check on arrival is not skipped."""
    desk = Desk(window_ms=100, engine_delay_ms=400)
    desk.exchange.faults.once("engine_delay", ms=400)
    outcome = send(desk, ts=desk.clock.now_ms() - 101)
    assert outcome.answer is not None
    assert (outcome.answer["code"], orders(desk)) == ("TIMESTAMP", 0)


def test_rate_limit_refuses_before_execution_and_says_until_when() -> None:
    """The answer carries the venue's time to retry at."""
    desk = Desk()
    desk.exchange.faults.once("rate_limit", "order", ms=3_000)
    outcome = send(desk)
    assert outcome.answer is not None
    assert (outcome.answer["code"], outcome.answer["retry_ms"]) == ("RATE_LIMIT", 1_700_000_003_000)
    assert orders(desk) == 0


@pytest.mark.parametrize(("kind", "executed"), [("unavailable", 0), ("error_after", 1)])
def test_a_server_error_says_nothing_about_execution(kind: str, executed: int) -> None:
    """The same answer, before or after."""
    desk = Desk()
    desk.exchange.faults.once(kind)
    outcome = send(desk)
    assert outcome.answer is not None
    assert (outcome.answer["code"], orders(desk)) == ("UNAVAILABLE", executed)


def test_a_garbled_answer_is_no_json_and_was_executed() -> None:
    """Cut in two on the way back."""
    desk = Desk()
    desk.exchange.faults.once("garbled")
    outcome = send(desk)
    assert isinstance(outcome.error, ValueError)
    assert (len(outcome.raw) > 20, orders(desk)) == (True, 1)


def test_a_misleading_node_refuses_what_the_pool_took() -> None:
    """Its word is worth nothing: the transaction executes."""
    desk = Desk(fence="sequence")
    desk.exchange.faults.once("misleading", code="INSUFFICIENT_FUNDS")
    outcome = send(desk, number=0)
    assert outcome.answer is not None
    assert (outcome.answer["code"], orders(desk)) == ("INSUFFICIENT_FUNDS", 1)


def test_a_forgetful_node_takes_and_drops() -> None:
    """Nor is its yes worth anything."""
    desk = Desk(fence="sequence")
    desk.exchange.faults.once("forgotten")
    outcome = send(desk, number=0)
    assert outcome.answer is not None
    assert (outcome.answer["held"], orders(desk)) == (True, 0)


@pytest.mark.parametrize("kind", ["misleading", "forgotten"])
def test_faults_of_nodes_do_not_fire_where_there_are_none(kind: str) -> None:
    """A count means that something happened."""
    desk = Desk()
    desk.exchange.faults.once(kind)
    send(desk)
    assert (desk.exchange.faults.counts[kind], orders(desk)) == (0, 1)


def test_a_lagging_read_does_not_see_the_newest_order() -> None:
    """By at most the setting, whatever the fault asks for; and never without it."""
    desk = Desk(read_lag_ms=1_000)
    desk.order("BUY", "1", "100", client="a")
    desk.clock.advance(999)
    desk.exchange.faults.once("query_lag", "find", ms=5_000)
    assert send(desk, "find", clients=["a"], for_ms=0).answer["orders"] == []  # type: ignore[index]
    assert len(send(desk, "find", clients=["a"], for_ms=0).answer["orders"]) == 1  # type: ignore[index]
    desk.clock.advance(1)
    desk.exchange.faults.once("query_lag", "find", ms=5_000)
    assert len(send(desk, "find", clients=["a"], for_ms=0).answer["orders"]) == 1  # type: ignore[index]
    assert desk.exchange.faults.counts["query_lag"] == 2


def test_an_outage_refuses_connections_for_a_while() -> None:
    """Nothing arrives until it is over."""
    desk = Desk()
    desk.exchange.outage(5_000)
    assert isinstance(send(desk, for_ms=0).error, NeverSent)
    desk.clock.advance(5_000)
    assert send(desk, for_ms=0).error is None
    assert (arrivals(desk), desk.exchange.faults.counts["outage"]) == (1, 1)


def test_a_restart_keeps_orders_and_ledger() -> None:
    """Sessions drop; open orders do not."""
    desk = Desk()
    order = desk.order("BUY", "1", "100")

    async def run() -> list[bytes]:
        stream = Wire(desk.exchange).subscribe(desk.body("events"))
        desk.exchange.restart()
        return [message async for message in stream]

    assert len(asyncio.run(run())) == 1  # the greeting, then the end
    assert desk.show(order)["status"] == "WORKING"
    assert desk.exchange.faults.counts["restart"] == 1


def test_probabilities_are_drawn_from_the_given_generator() -> None:
    """The same seed fires at the same requests; about as often as asked for."""

    def fired(seed: int) -> list[bool]:
        faults = Faults(Random(seed))
        faults.set("late", 0.25, "order", ms=(5, 9))
        draws = [faults.draw("late", "order") for _ in range(400)]
        assert all(5 <= fault.ms <= 9 for fault in draws if fault)
        assert faults.draw("late", "cancel") is None
        assert faults.counts["late"] == sum(fault is not None for fault in draws)
        return [fault is not None for fault in draws]

    assert fired(1) == fired(1) != fired(2)
    assert 70 < sum(fired(3)) < 130


def test_faults_can_be_scripted_changed_and_cleared() -> None:
    """`once` fires so many times, a new probability replaces the old one, `clear` ends all and keeps the counts."""
    faults = Faults(Random(0))
    faults.once("delay", times=2)
    assert [faults.draw("delay", "any") is not None for _ in range(3)] == [True, True, False]
    faults.set("delay", 1.0)
    faults.set("delay", 0.0)
    assert not faults.active
    faults.set("delay", 1.0)
    faults.clear()
    assert (faults.draw("delay", "any"), faults.counts["delay"]) == (None, 2)


@pytest.mark.parametrize(("kind", "probability"), [("earthquake", 0.5), ("late", 1.5), ("late", -0.1)])
def test_unknown_faults_and_impossible_probabilities_are_refused(kind: str, probability: float) -> None:
    """A typo in a test must not look like a fault that never fires."""
    with pytest.raises(ValueError, match=r"earthquake|probability"):
        Faults(Random(0)).set(kind, probability)


def test_every_fault_is_in_the_table_of_the_module() -> None:
    """What can be set is documented."""
    from exchange_kernel_paper.exchange import faults

    assert [kind for kind in KINDS if f"``{kind}``" not in str(faults.__doc__)] == []
