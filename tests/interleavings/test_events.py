"""Subscribers: after commit, in order, each event once, whoever wrote it and however slow or broken another handler
is."""

from __future__ import annotations

import asyncio

from exchange_kernel.events import Event
from exchange_kernel.models import IntentStatus
from exchange_kernel.state.ops import CancelIntents
from tests.interleavings.desk import ACCOUNT, Desk, buy, play


async def newest(desk: Desk) -> int:
    """The account's newest event."""
    row = await desk.store.account_row(ACCOUNT)
    return row.event_seq if row is not None else 0


def test_a_slow_handler_delays_nobody_and_misses_nothing() -> None:
    """It takes a second for each event; orders and the other subscriber go on; in the end it has seen each event
    once."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        slow: list[int] = []

        async def handler(event: Event) -> None:
            await asyncio.sleep(1)
            slow.append(event.seq)

        process.kernel.subscribe_events(handler, after=0)
        for n in range(10):
            await process.kernel.place_order(buy(), f"n{n}")
        for n in range(10):
            await desk.reaches(f"n{n}", IntentStatus.WORKING, seconds=2)
        last = await newest(desk)
        await desk.until(lambda: process.events and process.events[-1].seq >= last)
        assert len(slow) < 10
        await desk.until(lambda: slow and slow[-1] >= last, seconds=500)
        assert slow == list(range(1, len(slow) + 1))

    play(scene)


def test_a_failing_handler_hurts_nobody_and_is_called_again_for_the_next() -> None:
    """Its error is logged; it gets the later events, and the others get all."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        seen: list[int] = []

        def handler(event: Event) -> None:
            seen.append(event.seq)
            raise ValueError("not my day")

        process.kernel.subscribe_events(handler, after=0)
        await process.kernel.place_order(buy("0.5", "50010"), "a")
        await desk.reaches("a", IntentStatus.FILLED)
        last = await newest(desk)
        await desk.until(lambda: seen and seen[-1] >= last)
        assert seen == list(range(1, len(seen) + 1))
        assert [event.seq for event in process.events] == seen

    play(scene)


def test_resuming_behind_a_number_gives_each_event_once() -> None:
    """A subscriber remembers the last number it handled: a new one continues there, in another process too (L5)."""

    async def scene(desk: Desk) -> None:
        first = await desk.start()
        await first.kernel.place_order(buy(), "a")
        await desk.reaches("a", IntentStatus.WORKING)
        await desk.until(lambda: len(first.events) > 4)
        got = [event.seq for event in first.events[:4]]
        await first.kernel.stop()
        second = desk.process()
        rest: list[int] = []

        def handler(event: Event) -> None:
            rest.append(event.seq)

        second.kernel.subscribe_events(handler, after=got[-1])
        await second.kernel.start()
        await second.kernel.cancel_order("a")
        await desk.reaches("a", IntentStatus.CANCELED)
        last = await newest(desk)
        await desk.until(lambda: rest and rest[-1] >= last)
        assert [*got, *rest] == list(range(1, rest[-1] + 1))
        second.kernel.unsubscribe_events(handler)
        count = len(rest)
        await second.kernel.place_order(buy(), "b")
        await desk.reaches("b", IntentStatus.WORKING)
        assert len(rest) == count

    play(scene)


def test_a_new_subscriber_without_a_number_gets_only_what_follows() -> None:
    """``after`` None: from now on."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await process.kernel.place_order(buy(), "a")
        await desk.reaches("a", IntentStatus.WORKING)
        before = await newest(desk)
        await desk.until(lambda: process.events and process.events[-1].seq >= before)
        fresh: list[Event] = []
        process.kernel.subscribe_events(fresh.append)
        await process.kernel.cancel_order("a")
        await desk.until(lambda: "OrderCanceled" in [event.kind for event in fresh])
        assert all(event.seq > before for event in fresh)

    play(scene)


def test_events_that_another_process_writes_are_seen() -> None:
    """A command-line cancel and a standby's declaration reach the owner's subscribers, and the standby's see the
    owner's."""

    async def scene(desk: Desk) -> None:
        owner = await desk.start()
        standby = await desk.start(standby=True)
        await standby.kernel.place_order(buy(), "a")
        await desk.reaches("a", IntentStatus.WORKING)
        await desk.store.execute(CancelIntents(ACCOUNT, ("a",), "cli"))
        await desk.reaches("a", IntentStatus.CANCELED)
        last = await newest(desk)
        for process in (owner, standby):
            await desk.until(lambda process=process: process.events and process.events[-1].seq >= last)  # type: ignore[misc]
            assert [event.seq for event in process.events] == list(range(1, len(process.events) + 1))
            assert {"IntentCreated", "CancelRequested", "OrderCanceled"} <= set(process.kinds("a"))

    play(scene)
