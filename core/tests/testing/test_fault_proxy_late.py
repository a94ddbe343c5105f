"""Faults of time: what is held or delayed is late, and never lost on that account."""

from __future__ import annotations

import asyncio

import pytest

from core.tests.testing.venue import (
    Answer,
    Got,
    Upstream,
    raw_server,
)
from core.tests.testing.wires import (
    Lost,
    StoppedClock,
    ask,
    client,
    pending,
    run,
)
from exchange_kernel.testing.faults import Ending, Fate, FaultProxy, Hold


def test_an_answer_is_dropped_even_when_its_client_gave_up_first() -> None:
    """The upstream does it although the client left while it was at it."""

    async def scenario() -> None:
        go = asyncio.Event()

        async def slow(got: Got) -> Answer:
            await go.wait()
            return Answer(200, {}, b"done")

        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            upstream.answers["/orders"] = slow
            fault = proxy.drop_answer(ending=Ending.HANG)
            async with client(proxy.url) as one:
                await one.send("POST", "/orders", b"buy")
                await upstream.until(lambda: upstream.got)
                await one.reset()
            go.set()
            await fault.wait()
            assert proxy.requests()[0].upstream_status == 200

    run(scenario)


def test_a_delay_before_the_request_keeps_the_upstream_waiting() -> None:
    """The injected clock is asked for the seconds; until they pass the upstream hears nothing."""

    async def scenario() -> None:
        clock = StoppedClock()
        async with Upstream() as upstream, FaultProxy(upstream.url, clock=clock) as proxy:
            fault = proxy.delay(2.5, path="/orders")
            asking = asyncio.create_task(ask(proxy.url, "POST", "/orders"))
            await fault.wait()
            await pending(proxy, asking)
            assert proxy.requests(path="/orders")[0].fate is Fate.WAITING
            assert [got.target for got in upstream.got] == ["/meanwhile"] * 3
            clock.go.set()

            assert (await asking).status == 200
            assert clock.asked == [2.5]
            assert proxy.requests()[0].at_ms == 1_700_000_000_000

    run(scenario)


def test_a_delay_before_the_answer_comes_after_the_deed() -> None:
    """The upstream has done it while the client still waits; then the answer comes whole."""

    async def scenario() -> None:
        clock = StoppedClock()
        async with Upstream() as upstream, FaultProxy(upstream.url, clock=clock) as proxy:
            fault = proxy.delay(9, before="answer", path="/orders")
            asking = asyncio.create_task(ask(proxy.url, "POST", "/orders", b"buy"))
            await fault.wait()
            assert [got.body for got in upstream.got] == [b"buy"]
            await pending(proxy, asking)
            clock.go.set()

            assert (await asking).body == b'{"done": 1}'

    run(scenario)


def test_requests_are_released_in_any_order() -> None:
    """Two held requests reach the upstream the other way round: the reordering."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            hold = proxy.hold(path="/orders", times=2)
            first = asyncio.create_task(ask(proxy.url, "POST", "/orders", b"first"))
            await hold.wait(1)
            second = asyncio.create_task(ask(proxy.url, "POST", "/orders", b"second"))
            await hold.wait(2)
            await pending(proxy, first, second)
            one, two = hold.waiting
            assert [held.record for held in (one, two)] == proxy.requests(path="/orders")
            two.release()
            await second
            one.release()
            await first

            assert [got.body for got in upstream.got if got.body] == [b"second", b"first"]
            assert hold.waiting == ()

    run(scenario)


def test_a_held_request_arrives_late_although_its_client_has_left() -> None:
    """The client gave up long ago; released, the request reaches the upstream all the same."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            hold = proxy.hold()
            async with client(proxy.url) as one:
                await one.send("POST", "/orders", b"late")
                await hold.wait()
            hold.release()
            await upstream.until(lambda: upstream.got)

            assert upstream.got[0].body == b"late"
            await proxy.wait_for_requests(fate=Fate.CLIENT_GONE)
            assert proxy.requests()[0].upstream_status == 200
            assert (await ask(proxy.url, "GET", "/")).status == 200

    run(scenario)


def test_a_late_request_is_not_cut_short_because_its_client_has_left() -> None:
    """The upstream's connection stays open until it has answered, as if the client were still there."""

    async def scenario() -> None:
        answered = asyncio.Event()
        arrived = asyncio.Event()

        async def venue(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            ending = asyncio.create_task(reader.read())
            if b"/orders" in head:
                arrived.set()
                await answered.wait()
                assert not ending.done()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
            await ending

        async with raw_server(venue) as url, FaultProxy(url) as proxy:
            hold = proxy.hold()
            async with client(proxy.url) as one:
                await one.send("GET", "/orders")
                await hold.wait()
            await pending(proxy)  # the proxy has seen its client leave
            hold.release()
            await arrived.wait()
            await pending(proxy)
            answered.set()
            (record,) = await proxy.wait_for_requests(path="/orders", fate=Fate.CLIENT_GONE)
            assert record.upstream_status == 200

    run(scenario)


def test_a_held_request_survives_the_end_of_an_idle_upstream_connection() -> None:
    """What was kept open and has ended meanwhile is opened again: holding adds no fault of its own."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, client(proxy.url) as one:
            await one.ask("GET", "/")
            hold = proxy.hold()
            asking = asyncio.create_task(one.ask("POST", "/orders"))
            await hold.wait()
            await upstream.die()
            await upstream.listen()
            await ask(proxy.url, "GET", "/")
            hold.release()

            assert (await asking).status == 200

    run(scenario)


def test_a_held_answer_belongs_to_a_deed() -> None:
    """The upstream has done it and may die; released, the answer is still the whole one."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            hold = proxy.hold(before="answer")
            asking = asyncio.create_task(ask(proxy.url, "POST", "/orders"))
            await hold.wait()
            await upstream.die()
            hold.release()

            assert (await asking).body == b'{"done": 1}'

    run(scenario)


def test_clearing_a_hold_releases_nothing() -> None:
    """No further request is held, and what is held stays until it is released."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            hold = proxy.hold(times=None)
            asking = asyncio.create_task(ask(proxy.url, "POST", "/orders"))
            await hold.wait()
            hold.clear()
            await pending(proxy, asking)
            hold.release()

            assert (await asking).status == 200
            assert isinstance(hold, Hold) and hold.hits == 1

    run(scenario)


def test_faults_of_different_kinds_meet_in_one_request() -> None:
    """Held, duplicated, its answer delayed and then dropped: each acts in its turn."""

    async def scenario() -> None:
        clock = StoppedClock()
        async with Upstream() as upstream, FaultProxy(upstream.url, clock=clock) as proxy:
            hold, twice = proxy.hold(), proxy.duplicate_request()
            wait, drop = proxy.delay(1, before="answer"), proxy.drop_answer()
            asking = asyncio.create_task(ask(proxy.url, "POST", "/orders"))
            await hold.wait()
            assert upstream.raw == []
            hold.release()
            await wait.wait()
            assert len(upstream.got) == 2 and drop.hits == 0
            clock.go.set()
            with pytest.raises(Lost):
                await asking

            assert proxy.requests()[0].faults == ("hold", "duplicate_request", "delay", "drop_answer")
            assert (twice.hits, drop.hits) == (1, 1)

    run(scenario)
