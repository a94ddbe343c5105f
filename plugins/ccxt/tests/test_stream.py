"""The stream's frame in virtual time: connections that a test feeds by hand, and what the consumer gets."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from exchange_kernel.errors import NotAuthorized, RateLimited
from exchange_kernel.testing.virtual import VirtualClock, run_virtual
from exchange_kernel_ccxt.stream import Stream
from exchange_kernel_ccxt.stream_link import Broken, Gap, Leaving, Live, Message, Patience, Told
from plugins.ccxt.tests.wires import QUICK, START, Numbered, Scene, Venue, Wire, play


def test_subscribe_then_gap_then_data() -> None:
    """The first thing told is that nothing is known of before, then that the stream is complete, then events."""

    async def scene(it: Scene) -> None:
        await asyncio.sleep(1)
        it.venue.wires[0].tell(1, 2)
        await asyncio.sleep(1)

    told = play(scene).told
    assert told == [
        Gap(START, "not subscribed yet"),
        Live(START, START),
        Message({"n": 1}, START + 1000),
        Message({"n": 2}, START + 1000),
    ]


def test_a_connection_that_ends_shows() -> None:
    """The gap begins when the dead connection was last heard, and is over when another is subscribed."""

    async def scene(it: Scene) -> None:
        await asyncio.sleep(1)
        it.venue.wires[0].tell(1)
        await asyncio.sleep(4)
        it.venue.wires[0].frames.put_nowait(Broken("gone"))
        await asyncio.sleep(1)
        it.venue.wires[1].tell(7)
        await asyncio.sleep(1)

    told = play(scene).told
    assert told[3] == Gap(START + 1000, "gone")
    assert isinstance(told[4], Live) and told[4].since == START + 1000 and told[4].at >= START + 5000
    assert told[5] == Message({"n": 7}, START + 6000)


def test_a_silent_stall_is_noticed() -> None:
    """A connection that answers no probe counts as broken after the time allowed, and another is made."""

    async def scene(it: Scene) -> None:
        await asyncio.sleep(1)
        it.venue.wires[0].awake = False
        await asyncio.sleep(QUICK.silence_s + 2)

    made = play(scene)
    assert made.shape == "GLGL"
    assert made.told[2].why == "silent for 40 s"
    assert len(made.venue.wires) == 2


def test_silence_that_answers_is_no_stall() -> None:
    """Hours without an event but with answers to the probes need no new connection and tell no gap."""

    async def scene(it: Scene) -> None:
        await asyncio.sleep(3000)

    made = play(scene)
    assert made.shape == "GL"
    assert len(made.venue.wires) == 1


def test_a_probe_that_cannot_be_sent_ends_the_connection() -> None:
    """Where not even a probe leaves, nobody waits for the end of the silence."""

    class Deaf(Wire):
        async def probe(self) -> None:
            raise Broken("nothing can be sent")

    class DeafFirst(Venue):
        async def dial(self) -> Wire:
            wire = Deaf() if not self.wires else Wire()
            self.wires.append(wire)
            return wire

    async def scene(it: Scene) -> None:
        await asyncio.sleep(QUICK.probe_s + 1)

    made = play(scene, venue=DeafFirst())
    assert made.told[2].why == "nothing can be sent"


@pytest.mark.parametrize("seed", range(8))
def test_rollover_without_a_gap(seed: int) -> None:
    """Before a connection is too old another one is subscribed; both tell, in any order, and each event comes once."""
    rng = Random(seed)

    async def scene(it: Scene) -> None:
        number = 0
        backlog: list[tuple[Wire, int]] = []
        await asyncio.sleep(1)
        for second in range(3 * 3600):
            if second % 7 == 0:
                number += 1
                backlog += [(wire, number) for wire in it.venue.wires if not wire.closed]
            # Each connection delivers with a delay of its own.
            rng.shuffle(backlog)
            while backlog and rng.random() < 0.7:
                wire, which = backlog.pop()
                wire.tell(which)
            if second % 7 == 3:
                for wire, which in sorted(backlog, key=lambda each: each[1]):
                    wire.tell(which)
                backlog.clear()
            await asyncio.sleep(1)

    made = play(scene, Patience(life_s=1800, overlap_s=8, settle_s=5, queue=10_000), seed=seed)
    assert made.shape.replace("m", "") == "GL"
    assert sorted(made.numbers) == list(range(1, max(made.numbers) + 1))
    assert len(made.numbers) == len(set(made.numbers))
    assert len(made.venue.wires) in (6, 7)


def test_an_announced_end_brings_a_second_connection() -> None:
    """When the venue says that it will end a connection, another takes over first: no gap."""

    async def scene(it: Scene) -> None:
        await asyncio.sleep(10)
        it.venue.wires[0].frames.put_nowait(Leaving("serverShutdown"))
        await asyncio.sleep(QUICK.overlap_s + 1)
        assert it.venue.wires[0].closed == 1
        it.venue.wires[1].tell(5)
        await asyncio.sleep(1)

    made = play(scene)
    assert made.shape == "GLm"


def test_a_short_lived_subscription_is_renewed_in_time() -> None:
    """What a connection says of its own life counts, where that is shorter."""

    async def scene(it: Scene) -> None:
        await asyncio.sleep(1000)

    made = play(scene, venue=Venue(lasts_s=100))
    assert made.shape == "GL"
    assert len(made.venue.wires) == 10


def test_the_old_connection_dies_before_the_new_one_stands() -> None:
    """Then there is a gap, and it ends with the new one."""

    async def scene(it: Scene) -> None:
        it.venue.hangs = 0
        await asyncio.sleep(10)
        it.venue.hangs = 1
        it.venue.wires[0].frames.put_nowait(Leaving("going"))
        await asyncio.sleep(2)
        it.venue.wires[0].frames.put_nowait(Broken("gone"))
        await asyncio.sleep(20)

    made = play(scene)
    assert made.shape == "GLGL"
    assert made.told[2].why == "gone"


def test_the_old_connection_dies_while_both_are_heard() -> None:
    """What it had not told yet is lost: a gap that is over at once."""

    async def scene(it: Scene) -> None:
        await asyncio.sleep(10)
        it.venue.wires[0].frames.put_nowait(Leaving("going"))
        await asyncio.sleep(1)
        it.venue.wires[0].frames.put_nowait(Broken("gone"))
        await asyncio.sleep(5)
        it.venue.wires[1].tell(3)
        await asyncio.sleep(1)

    assert play(scene).shape == "GLGLm"


def test_the_old_connection_was_stalled() -> None:
    """An old connection that is silent while both are heard may have kept something to itself: a gap."""

    async def scene(it: Scene) -> None:
        await asyncio.sleep(10)
        it.venue.wires[0].frames.put_nowait(Leaving("going"))
        it.venue.wires[0].awake = False
        await asyncio.sleep(10)

    assert play(scene).shape == "GLGL"


def test_the_new_connection_dies_while_both_are_heard() -> None:
    """The old one has told everything meanwhile: no gap, and another attempt."""

    async def scene(it: Scene) -> None:
        await asyncio.sleep(10)
        it.venue.wires[0].frames.put_nowait(Leaving("going"))
        await asyncio.sleep(1)
        it.venue.wires[1].frames.put_nowait(Broken("gone"))
        it.venue.wires[0].tell(1)
        await asyncio.sleep(20)
        assert it.venue.wires[0].closed == 1

    made = play(scene)
    assert made.shape == "GLm"
    assert len(made.venue.wires) == 3


def test_attempts_are_paced() -> None:
    """Pauses between attempts grow to the longest and carry chance, so that not all come back at once."""

    async def scene(it: Scene) -> None:
        it.venue.refuse = [Broken("no") for _ in range(12)]
        await asyncio.sleep(600)

    made = play(scene)
    pauses = [after - before for before, after in zip(made.venue.attempts, made.venue.attempts[1:], strict=False)]
    assert len(pauses) == 12
    for number, pause in enumerate(pauses):
        longest = min(60.0, 0.5 * 2**number)
        assert longest / 2 <= pause <= longest
    assert made.shape == "GL"


def test_quick_deaths_are_paced_too() -> None:
    """A connection that is accepted and dropped at once does not bring attempts without pause."""

    async def scene(it: Scene) -> None:
        for _ in range(600):
            await asyncio.sleep(0.1)
            if it.venue.wires and it.venue.wires[-1].frames.empty():
                it.venue.wires[-1].frames.put_nowait(Broken("dropped"))

    assert len(play(scene).venue.attempts) < 12


def test_a_rate_limit_is_obeyed() -> None:
    """No attempt is made before the venue allows one."""

    async def scene(it: Scene) -> None:
        it.venue.refuse = [RateLimited(START + 90_000, "ip", banned=True)]
        await asyncio.sleep(200)

    made = play(scene)
    assert made.venue.attempts[0] == 0
    assert made.venue.attempts[1] >= 90


def test_an_attempt_that_hangs_is_given_up() -> None:
    """A connection that is not made in time is tried again."""

    async def scene(it: Scene) -> None:
        it.venue.hangs = 1
        await asyncio.sleep(QUICK.connect_s + 2)

    made = play(scene)
    assert made.shape == "GL"


def test_wrong_credentials_reach_the_consumer() -> None:
    """What no new attempt cures is raised to whoever listens."""

    async def scene(it: Scene) -> None:
        it.venue.refuse = [NotAuthorized("key revoked")]
        await asyncio.sleep(1)

    made = play(scene)
    assert isinstance(made.error, NotAuthorized)
    assert len(made.venue.attempts) == 1


def test_a_defect_reaches_the_consumer() -> None:
    """An error that nobody foresaw ends the stream loudly instead of leaving it silent."""

    async def scene(it: Scene) -> None:
        await asyncio.sleep(1)
        it.venue.wires[0].frames.put_nowait(ZeroDivisionError("a defect"))
        await asyncio.sleep(1)

    assert isinstance(play(scene).error, ZeroDivisionError)


def test_too_slow_a_consumer_is_told() -> None:
    """What does not fit into the queue is lost, and a gap says so once the rest was taken."""

    async def body(loop: asyncio.AbstractEventLoop) -> list[Any]:
        venue = Venue()
        stream = Stream(venue.dial, Numbered(), VirtualClock(loop), Patience(queue=10), Random(1))
        events = stream.events()
        told = [await anext(events), await anext(events)]
        venue.wires[0].tell(*range(1, 26))
        await asyncio.sleep(1)
        told += [await anext(events) for _ in range(12)]
        venue.wires[0].tell(26)
        told.append(await anext(events))
        await stream.close()
        return told

    told = run_virtual(body)
    assert [item.event["n"] for item in told if isinstance(item, Message)] == [*range(1, 11), 26]
    assert isinstance(told[12], Gap) and "10 events" in told[12].why
    assert isinstance(told[13], Live)


def test_copies_are_dropped() -> None:
    """An event that is sent twice is told once."""

    async def scene(it: Scene) -> None:
        await asyncio.sleep(1)
        it.venue.wires[0].tell(1, 1, 2, 1)
        await asyncio.sleep(5)

    made = play(scene)
    assert made.numbers == [1, 2]
    assert made.shape == "GLmm"


def test_what_comes_late_is_no_gap() -> None:
    """An event that another one overtook is told as late."""

    async def scene(it: Scene) -> None:
        await asyncio.sleep(1)
        it.venue.wires[0].tell(1, 3, 2)
        await asyncio.sleep(5)

    made = play(scene)
    assert made.shape == "GLmmm"
    assert [item.late for item in made.told[2:]] == [False, False, True]


def test_what_never_comes_is_a_gap() -> None:
    """An event that is missing after the time allowed is told as a gap, once, over at once."""

    async def scene(it: Scene) -> None:
        await asyncio.sleep(1)
        it.venue.wires[0].tell(1, 3)
        await asyncio.sleep(5)
        it.venue.wires[0].tell(4)
        await asyncio.sleep(5)

    made = play(scene)
    assert made.shape == "GLmmGLm"
    assert made.told[4] == Gap(START + 1000, "[2] missing")


def test_an_event_that_cannot_be_read() -> None:
    """It is passed on as it came, with a gap, and the stream goes on."""

    async def scene(it: Scene) -> None:
        await asyncio.sleep(1)
        it.venue.wires[0].frames.put_nowait(Told({"x": 1}))
        it.venue.wires[0].tell(1)
        await asyncio.sleep(1)

    assert play(scene).shape == "GLmGLm"


@pytest.mark.parametrize("seed", range(5))
def test_a_cancelled_consumer_leaves_nothing_behind(seed: int) -> None:
    """Cancelling whoever waits for the next event ends it as cancelled; closing the iterator ends the connection."""

    async def body(loop: asyncio.AbstractEventLoop) -> None:
        venue = Venue()
        stream = Stream(venue.dial, Numbered(), VirtualClock(loop), QUICK)

        async def consume() -> None:
            async for _ in stream.events():
                pass

        consumer = asyncio.create_task(consume())
        await asyncio.sleep(seed * 10.0)
        consumer.cancel()
        await asyncio.wait({consumer})
        assert consumer.cancelled()
        await stream.close()
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert all(wire.closed == 1 for wire in venue.wires)

    run_virtual(body, Random(seed))


def test_a_consumer_that_breaks_off() -> None:
    """A loop that is left early and closed leaves no task and no connection, in the middle of an attempt too."""

    async def body(loop: asyncio.AbstractEventLoop) -> None:
        venue = Venue()
        venue.hangs = 1
        stream = Stream(venue.dial, Numbered(), VirtualClock(loop), QUICK)
        events = stream.events()
        assert isinstance(await anext(events), Gap)
        await events.aclose()  # type: ignore[attr-defined]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(body)


def test_gaps_that_nobody_has_taken_yet_become_one() -> None:
    """A consumer that was busy over two gaps hears of one, which reaches back to the beginning of the first."""

    async def body(loop: asyncio.AbstractEventLoop) -> list[Any]:
        venue = Venue()
        stream = Stream(venue.dial, Numbered(), VirtualClock(loop), QUICK, Random(1))
        events = stream.events()
        told = [await anext(events), await anext(events)]
        for _ in range(3):
            await asyncio.sleep(10)
            venue.wires[-1].frames.put_nowait(Broken("gone"))
        await asyncio.sleep(10)
        told += [await anext(events), await anext(events)]
        await stream.close()
        return told

    told = run_virtual(body)
    assert told[2] == Gap(START, "gone")
    assert told[3].since == START
    assert told[3].at >= START + 30_000
