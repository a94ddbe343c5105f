"""The work queue has controller semantics: one handler per key, a mark while it runs means exactly one run more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.tests.reconcile.queue_model import STEP, Model
from exchange_kernel.reconcile.queue import MemoryQueue, Priority
from exchange_kernel.testing.virtual import VirtualClock, VirtualLoop, run_virtual

CANCEL, SUBMIT, REFRESH, RESYNC = Priority


def virtually(story: Callable[[MemoryQueue, VirtualClock], Coroutine[Any, Any, None]]) -> None:
    """Run a story in virtual time."""

    def told(loop: VirtualLoop) -> Coroutine[Any, Any, None]:
        clock = VirtualClock(loop)
        return story(MemoryQueue(clock), clock)

    run_virtual(told)


async def now(queue: MemoryQueue, limit: int = 99) -> Sequence[str]:
    """What can be claimed at once, without letting time pass."""
    task = asyncio.ensure_future(queue.claim(limit))
    for _ in range(3):
        await asyncio.sleep(0)
    if task.done():
        return task.result()
    task.cancel()
    return []


def test_a_key_is_claimed_once_however_often_it_was_marked() -> None:
    """Marks of one key are one piece of work, and it is with one handler at a time."""

    async def story(queue: MemoryQueue, clock: VirtualClock) -> None:
        for _ in range(3):
            queue.mark("a")
        assert await now(queue) == ["a"]
        assert await now(queue) == []
        queue.done("a")
        assert await now(queue) == []
        assert len(queue) == 0

    virtually(story)


def test_a_mark_while_it_runs_means_exactly_one_more_run() -> None:
    """However often a running key is marked, it runs once more, and not before its handler ended."""

    async def story(queue: MemoryQueue, clock: VirtualClock) -> None:
        queue.mark("a")
        assert await now(queue) == ["a"]
        queue.mark("a")
        queue.mark("a", delay=5)
        assert await now(queue) == []
        queue.done("a")
        assert await now(queue) == ["a"]
        queue.done("a")
        assert await now(queue) == []

    virtually(story)


def test_the_lowest_wait_holds() -> None:
    """A key marked twice is due at the earlier of both times, and once."""

    async def story(queue: MemoryQueue, clock: VirtualClock) -> None:
        queue.mark("a", delay=5)
        queue.mark("a", delay=2)
        queue.mark("a", delay=9)
        assert await queue.claim(9) == ["a"]
        assert clock.monotonic() == pytest.approx(2)
        queue.done("a")
        queue.mark("z", delay=20)
        assert await queue.claim(9) == ["z"]
        assert clock.monotonic() == pytest.approx(22)

    virtually(story)


def test_the_highest_priority_holds() -> None:
    """A key marked twice has the more urgent priority of both, waiting, due, or running."""

    async def story(queue: MemoryQueue, clock: VirtualClock) -> None:
        queue.mark("due", RESYNC)
        queue.mark("due", SUBMIT)
        queue.mark("due", REFRESH)
        queue.mark("waiting", CANCEL, 1)
        queue.mark("waiting", RESYNC, 0)
        queue.mark("other", REFRESH)
        assert await now(queue, 1) == ["waiting"]
        assert await now(queue, 1) == ["due"]
        queue.mark("due", SUBMIT)
        queue.mark("due", RESYNC)
        queue.done("due")
        assert await now(queue, 1) == ["due"]
        assert await now(queue, 1) == ["other"]

    virtually(story)


def test_the_most_urgent_keys_come_first() -> None:
    """Cancels before submits before refreshes before resyncs, and no more keys than asked for."""

    async def story(queue: MemoryQueue, clock: VirtualClock) -> None:
        for priority in (RESYNC, REFRESH, SUBMIT, CANCEL):
            for n in range(2):
                queue.mark(f"{priority.name}{n}", priority)
        assert await now(queue, 3) == ["CANCEL0", "CANCEL1", "SUBMIT0"]
        queue.mark("late", CANCEL)
        assert await now(queue, 3) == ["late", "SUBMIT1", "REFRESH0"]
        assert await now(queue) == ["REFRESH1", "RESYNC0", "RESYNC1"]

    virtually(story)


def test_a_delay_keeps_its_priority() -> None:
    """A mark that was delayed is as urgent when it is due as it was when it was made."""

    async def story(queue: MemoryQueue, clock: VirtualClock) -> None:
        queue.mark("resync", RESYNC)
        queue.mark("cancel", CANCEL, delay=1)
        await clock.sleep(2)
        assert await now(queue) == ["cancel", "resync"]

    virtually(story)


@pytest.mark.parametrize(
    ("marked", "again", "at"),
    [(None, None, None), (None, 0.0, 0), (None, 3.0, 3), (1.0, 3.0, 1), (3.0, 1.0, 1), (2.0, None, 2), (0.0, 9.0, 0)],
)
def test_done_asks_for_another_run(marked: float | None, again: float | None, at: float | None) -> None:
    """After its run a key is due when its handler asks for it or when it was marked meanwhile, whichever is sooner."""

    async def story(queue: MemoryQueue, clock: VirtualClock) -> None:
        queue.mark("a")
        await queue.claim(1)
        if marked is not None:
            queue.mark("a", delay=marked)
        queue.done("a", again)
        queue.mark("end", RESYNC, 100)
        assert await queue.claim(9) == (["end"] if at is None else ["a"])
        assert clock.monotonic() == pytest.approx(100 if at is None else at)
        if at is not None:
            queue.done("a")
            assert await queue.claim(9) == ["end"]

    virtually(story)


def test_the_delay_of_a_running_keys_mark_counts_from_the_mark() -> None:
    """A handler that runs longer than the delay is run again at once."""

    async def story(queue: MemoryQueue, clock: VirtualClock) -> None:
        queue.mark("a")
        await queue.claim(1)
        queue.mark("a", delay=2)
        await clock.sleep(5)
        queue.done("a")
        assert await now(queue) == ["a"]

    virtually(story)


def test_forget_drops_a_waiting_mark_only() -> None:
    """A forgotten key is not claimed until it is marked again; one that is being handled keeps its mark."""

    async def story(queue: MemoryQueue, clock: VirtualClock) -> None:
        queue.mark("due")
        queue.mark("waiting", delay=1)
        queue.mark("running")
        queue.forget("due")
        queue.forget("waiting")
        queue.forget("unknown")
        assert await now(queue) == ["running"]
        queue.mark("running")
        queue.forget("running")
        queue.done("running")
        assert await now(queue) == ["running"]
        queue.mark("due")
        queue.mark("waiting", delay=3)
        assert await now(queue) == ["due"]
        assert await queue.claim(9) == ["waiting"]
        assert clock.monotonic() == pytest.approx(3)

    virtually(story)


def test_a_claim_waits_for_work() -> None:
    """A claim on an empty queue returns with the next mark, and sooner than planned when something urgent comes."""

    async def story(queue: MemoryQueue, clock: VirtualClock) -> None:
        async def later(at: float, key: str, delay: float = 0.0) -> None:
            await clock.sleep(at - clock.monotonic())
            queue.mark(key, CANCEL, delay)

        tasks = [asyncio.create_task(later(1, "a")), asyncio.create_task(later(2, "b", 1))]
        assert await queue.claim(9) == ["a"]
        assert clock.monotonic() == pytest.approx(1)
        queue.mark("planned", delay=50)
        assert await queue.claim(9) == ["b"]
        assert clock.monotonic() == pytest.approx(3)
        assert await queue.claim(9) == ["planned"]
        assert clock.monotonic() == pytest.approx(51)
        await asyncio.gather(*tasks)

    virtually(story)


def test_several_claimers_share_the_work() -> None:
    """Every key goes to one of the claimers that wait, and none of them misses its wake-up."""

    async def story(queue: MemoryQueue, clock: VirtualClock) -> None:
        claimers = [asyncio.create_task(queue.claim(1)) for _ in range(3)]
        await clock.sleep(1)
        for key in ("a", "b", "c"):
            queue.mark(key, delay=1)
        claimed = await asyncio.gather(*claimers)
        assert sorted(key for keys in claimed for key in keys) == ["a", "b", "c"]
        assert clock.monotonic() == pytest.approx(2)

    virtually(story)


def test_a_cancelled_claim_takes_nothing_with_it() -> None:
    """A claimer that is cancelled while it waits leaves the work to the next one."""

    async def story(queue: MemoryQueue, clock: VirtualClock) -> None:
        first = asyncio.create_task(queue.claim(1))
        await clock.sleep(1)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        queue.mark("a")
        assert await queue.claim(1) == ["a"]

    virtually(story)


# ---- against a naive model ------------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(st.lists(STEP, max_size=40))
def test_it_does_what_the_model_does(steps: list[tuple[object, ...]]) -> None:
    """Any sequence of marks, claims, ends, and passing time leads to the same claims as the naive model allows."""
    model = Model()

    async def story(queue: MemoryQueue, clock: VirtualClock) -> None:
        for step in steps:
            match step:
                case ("mark", str(key), Priority() as priority, int(delay)):
                    model.mark(key, priority, model.time + delay)
                    queue.mark(key, priority, float(delay))
                case ("claim", int(limit)):
                    model.claimed(await now(queue, limit), limit)
                case ("done", str(key), again) if key in model.running:
                    assert again is None or isinstance(again, int)
                    model.done(key, again)
                    queue.done(key, again)
                case ("pass", int(ticks)):
                    model.time += ticks
                    await clock.sleep(model.time - clock.monotonic())
                case ("forget", str(key)):
                    model.marked.pop(key, None)
                    queue.forget(key)
            assert len(queue) == len(model.marked) + len(model.running)
        while model.marked or model.meanwhile:
            for key in sorted(model.running):
                model.done(key, None)
                queue.done(key)
            if model.marked:
                model.time = max(model.time, min(due for due, _ in model.marked.values()))
                keys = await queue.claim(99)
                assert clock.monotonic() == pytest.approx(model.time, abs=0.01)
                model.claimed(keys, 99)

    virtually(story)
