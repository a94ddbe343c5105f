"""A commit whose reply is lost: whatever it was of, it is read back, and nothing happens twice (R3)."""

from __future__ import annotations

import asyncio

import pytest

from exchange_kernel.errors import CommitUnknown
from exchange_kernel.models import IntentStatus
from tests.interleavings.desk import Desk, buy, play

LOST = CommitUnknown("the reply to COMMIT was lost")
BOTH = pytest.mark.parametrize("moment", ["before", "after"])
"""Before: it did not commit. After: it did, and nobody was told."""


@BOTH
def test_a_declaration_with_lost_reply_is_repeated_under_its_id(moment: str) -> None:
    """The caller is told that nobody knows; the same call again gives the same one intent, and one order."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        process.points.fail(f"{moment} commit of declare", LOST)
        with pytest.raises(CommitUnknown):
            await process.kernel.place_order(buy(), "a")
        assert await process.kernel.place_order(buy(), "a") == "a"
        await desk.reaches("a", IntentStatus.WORKING)
        assert len(await process.kernel.get_all_intents()) == len(desk.orders()) == 1

    play(scene)


def test_an_attempt_committed_with_lost_reply_counts_as_sent() -> None:
    """Nobody sends its ticket: it is looked for until its fence has passed, and a new attempt places the order."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        process.points.fail("after commit of place", LOST)
        await process.kernel.place_order(buy(), "a")
        record = await desk.reaches("a", IntentStatus.WORKING)
        assert desk.arrivals("a", 1) == 0
        assert desk.arrivals("a", 2) == 1
        assert [attempt.state.value for attempt in record.attempts] == ["DEAD", "LIVE"]
        assert desk.loop.time() > 2.0

    play(scene)


def test_an_attempt_whose_commit_was_lost_with_its_reply_is_made_again() -> None:
    """Read back, it is not there: nothing was sent, so the same attempt is opened anew and sent once."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        process.points.fail("before commit of place", LOST)
        await process.kernel.place_order(buy(), "a")
        await desk.reaches("a", IntentStatus.WORKING)
        assert desk.arrivals("a", 1) == 1
        assert len(desk.orders("a")) == 1

    play(scene)


@BOTH
def test_a_cancel_with_lost_reply_still_ends_the_order(moment: str) -> None:
    """The reconciler's cancel ticket may be committed or not: the order is cancelled either way."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await process.kernel.place_order(buy(), "a")
        await desk.reaches("a", IntentStatus.WORKING)
        process.points.fail(f"{moment} commit of cancel", LOST)
        await process.kernel.cancel_order("a")
        await desk.reaches("a", IntentStatus.CANCELED)
        assert [order.status for order in desk.orders("a")] == ["CANCELED"]

    play(scene)


@BOTH
def test_a_wish_to_cancel_with_lost_reply_is_believed_or_repeated(moment: str) -> None:
    """The caller is told that nobody knows; if it is in SQL it is carried out without another word."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await process.kernel.place_order(buy(), "a")
        await desk.reaches("a", IntentStatus.WORKING)
        process.points.fail(f"{moment} commit of the wish to cancel", LOST)
        with pytest.raises(CommitUnknown):
            await process.kernel.cancel_order("a")
        if moment == "before":
            await process.kernel.cancel_order("a")
        await desk.reaches("a", IntentStatus.CANCELED)

    play(scene)


@BOTH
def test_an_amendment_with_lost_reply_is_made_once(moment: str) -> None:
    """The order ends with the wanted total, by one amendment that took effect; never by two in flight."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await process.kernel.place_order(buy("0.1"), "a")
        await desk.reaches("a", IntentStatus.WORKING)
        process.points.fail(f"{moment} commit of amend", LOST)
        await process.kernel.modify_order("a", buy("0.3"))

        async def amended() -> bool:
            return (await process.kernel.get_order_state("a")).observed_generation == 2

        await desk.until(amended)
        [order] = desk.orders("a")
        assert desk.exchange.engine.orders[order.id].amount == buy("0.3").amount
        assert desk.requests("amend") == 1

    play(scene)


@BOTH
def test_a_record_with_lost_reply_books_each_fill_once(moment: str) -> None:
    """The answer stays until a commit that used it is known: the fill is booked, and booked once."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        process.points.fail(f"{moment} record of place", LOST)
        await process.kernel.place_order(buy("0.5", "50010"), "a")
        record = await desk.reaches("a", IntentStatus.FILLED)
        assert record.progress.filled_base == buy("0.5").amount
        assert len(record.fills) == 1
        assert (await desk.kinds("a")).count("OrderFilled") == 1

    play(scene)


@BOTH
def test_many_declarations_behind_one_lost_reply_all_come_out_once(moment: str) -> None:
    """Group commit shares fate: each caller repeats its own call, and each intent becomes one order."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        process.points.fail(f"{moment} commit of declare", LOST, times=10)

        async def stubborn(name: str) -> None:
            while True:
                try:
                    await process.kernel.place_order(buy(), name)
                except CommitUnknown:
                    continue
                return

        names = [f"n{n}" for n in range(10)]
        await asyncio.gather(*(stubborn(name) for name in names))
        for name in names:
            await desk.reaches(name, IntentStatus.WORKING)
            assert len(desk.orders(name)) == 1

    play(scene)


def test_a_copy_turned_away_for_its_rate_says_nothing_of_another() -> None:
    """The network made a copy of the request, and the first to arrive met a rate limit. The second becomes the order: a
    new attempt beside it would be the second one."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        desk.exchange.faults.once("duplicate", "order", ms=1500)
        desk.exchange.faults.once("rate_limit", "order", ms=200)
        await process.kernel.place_order(buy(price="50010"), "a")
        record = await desk.reaches("a", IntentStatus.FILLED)
        assert len(record.attempts) == 1
        assert len(desk.orders("a")) == 1

    play(scene, fence="permanent_key")
