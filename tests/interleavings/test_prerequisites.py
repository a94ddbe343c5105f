"""What an order needs first (R28, R29): enabled once, for the sum of what lives, before the order is sent."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from exchange_kernel.models import IntentStatus
from exchange_kernel.state.rows import TicketKind, is_step
from tests.interleavings.desk import ACCOUNT, BTC, Desk, Process, buy, play
from tests.interleavings.venues import Draws

FENCES = ("time_window", "sequence", "height", "permanent_key")


def enabled(desk: Desk) -> dict[str, Decimal]:
    """What the venue allows the account."""
    return desk.exchange.account(ACCOUNT).enabled


async def steps(desk: Desk) -> list[tuple[IntentStatus, str]]:
    """The kernel's own intents: status, and the amount they are for."""
    rows = await desk.store.intents(ACCOUNT)
    return [(progress.status, intent.labels["amount"]) for intent, progress in rows if is_step(intent.intent_id)]


def executed(desk: Desk) -> int:
    """How many requests to enable the venue has carried out."""
    receipts = desk.exchange.account(ACCOUNT).receipts.values()
    return sum(receipt.op == "enable" and not receipt.code for receipt in receipts)


@pytest.mark.parametrize("fence", FENCES)
def test_many_orders_that_need_the_same_wait_for_one_step(fence: str) -> None:
    """Five orders at once: at most two changes, the last for all; every order comes to work; no step is seen."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await process.kernel.place_order_group([buy()] * 5, intent_ids=list("abcde"))
        for name in "abcde":
            await desk.reaches(name, IntentStatus.WORKING)
        assert enabled(desk) == {BTC: Decimal("0.5")}
        assert executed(desk) <= 2
        assert {intent.intent_id for intent in await process.kernel.get_all_intents()} == set("abcde")
        assert {state.intent_id for state in await process.kernel.get_all_orders()} == set("abcde")
        record = await desk.record("a")
        assert [c for c in record.progress.conditions if c.type == "NeedsFirst"] == []

    play(scene, fence=fence, enable="allowance")


@pytest.mark.parametrize("fault", ["request_lost", "answer_lost"])
@pytest.mark.parametrize("fence", FENCES)
def test_a_lost_step_or_a_lost_answer_to_it_is_found_out_and_run_once(fence: str, fault: str) -> None:
    """The order waits and says for what; the step is carried out once, by proof, and then the order is sent."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        desk.exchange.faults.once(fault, "enable", ms=300)
        await process.kernel.place_order(buy(), "a")

        async def says_so() -> bool:
            conditions = (await desk.record("a")).progress.conditions
            return any((c.type, c.reason) == ("NeedsFirst", BTC) for c in conditions)

        await desk.until(says_so)
        assert desk.orders() == []
        await desk.reaches("a", IntentStatus.WORKING)
        assert executed(desk) == 1

    play(scene, fence=fence, enable="mode")


@pytest.mark.parametrize("label", ["before commit of enable", "after commit of enable", "after submit of enable"])
def test_a_crash_around_the_step_leaves_one_step_and_the_waiting_order_goes_on(label: str) -> None:
    """The next process finds the step and the order that waits for it, in SQL alone."""

    async def scene(desk: Desk) -> None:
        first = desk.process()
        stopped = first.points.pause_at(label)
        await first.kernel.start()
        await first.kernel.place_order(buy(), "a")
        async with asyncio.timeout(30):
            await stopped.wait()
        await desk.start(standby=True)
        await desk.reaches("a", IntentStatus.WORKING)
        assert (executed(desk), [status for status, _ in await steps(desk)]) == (1, [IntentStatus.FILLED])

    play(scene, enable="mode")


def test_a_refused_step_parks_the_orders_that_wait_for_it_until_somebody_asks_again() -> None:
    """Parked with the venue's reason, across a restart, without another try; a modification asks again."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        desk.exchange.engine.closed.add(BTC)
        await process.kernel.place_order(buy(), "a")
        record = await desk.reaches("a", IntentStatus.PARKED)
        assert "refused" in record.progress.reason
        assert "takes no orders" in record.progress.reason
        desk.exchange.engine.closed.discard(BTC)
        await process.kernel.stop()
        process = await desk.start()
        await process.kernel.force_reconciliation()
        assert (await desk.status("a"), executed(desk), desk.orders()) == (IntentStatus.PARKED, 0, [])
        await process.kernel.modify_order("a", buy("0.2"))
        await desk.reaches("a", IntentStatus.WORKING)
        assert executed(desk) == 1

    play(scene, enable="mode")


def test_a_halted_account_runs_no_step() -> None:
    """Halted after the step was declared: nothing leaves, and all goes on when it is resumed."""

    async def scene(desk: Desk) -> None:
        process: Process = await desk.start()
        hold = process.points.hold("before commit of enable")
        await process.kernel.place_order(buy(), "a")
        await hold.reached()
        await process.kernel.halt(actor="op", reason="lunch")
        hold.release()
        await asyncio.sleep(5)
        assert (executed(desk), desk.orders()) == (0, [])
        await process.kernel.resume(actor="op", reason="back")
        await desk.reaches("a", IntentStatus.WORKING)

    play(scene, enable="mode")


def test_what_lives_counts_when_more_is_needed() -> None:
    """One order works with its allowance; a second one, after a restart, makes the allowance the sum of both."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await process.kernel.place_order(buy("0.3"), "a")
        await desk.reaches("a", IntentStatus.WORKING)
        assert enabled(desk) == {BTC: Decimal("0.3")}
        await process.kernel.stop()
        process = await desk.start()
        await process.kernel.place_order(buy("0.2"), "b")
        await desk.reaches("b", IntentStatus.WORKING)
        assert enabled(desk) == {BTC: Decimal("0.5")}
        assert (await desk.record("b")).tickets[0].kind is TicketKind.PLACE
        await process.kernel.modify_order("a", buy("0.4"))
        await desk.until(lambda: enabled(desk) == {BTC: Decimal("0.6")})
        await process.kernel.cancel_all_orders()
        await desk.reaches("a", IntentStatus.CANCELED)
        await desk.reaches("b", IntentStatus.CANCELED)
        await process.kernel.place_order(buy("0.6"), "c")
        await desk.reaches("c", IntentStatus.WORKING)
        assert len(await steps(desk)) == 3

    play(scene, enable="allowance")


@pytest.mark.parametrize("restart", [False, True], ids=["at once", "after a restart"])
def test_what_an_order_has_taken_already_is_not_needed_a_second_time(restart: bool) -> None:
    """An order that rests has used up its allowance: the next one counts alone; a restart hears that again from the
    first snapshot, although nothing else about the order is news."""

    async def scene(desk: Desk) -> None:
        process = await desk.start(adapter=Draws)
        await process.kernel.place_order(buy("0.3"), "a")
        await desk.reaches("a", IntentStatus.WORKING)
        if restart:
            await process.kernel.stop()
            process = await desk.start(adapter=Draws)
        await process.kernel.force_reconciliation()
        await asyncio.sleep(1)
        await process.kernel.place_order(buy("0.2"), "b")
        await desk.reaches("b", IntentStatus.REJECTED)  # sent as it was: this exchange would have wanted 0.5
        assert enabled(desk) == {BTC: Decimal("0.3")}
        assert executed(desk) == 1

    play(scene, enable="allowance")
