"""Each fault of WebSocket frames, seen from both ends of the wire."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from hashlib import sha1
from random import Random

import pytest
from wsproto.events import CloseConnection, Event, Ping, Pong, TextMessage

from core.tests.testing.venue import (
    ServerSocket,
    Upstream,
    fragments,
    raw_server,
)
from core.tests.testing.wires import (
    ClientSocket,
    StoppedClock,
    run,
    websocket,
)
from exchange_kernel.testing.faults import Direction, Ending, FaultProxy, FrameFate, FrameKind

UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT


def kinds(events: list[Event]) -> list[type[Event]]:
    """The types of events."""
    return [type(event) for event in events]


async def upstream_hears(upstream: Upstream, socket: ServerSocket, *expected: str) -> None:
    """Wait until as many texts have reached the upstream, which must be these."""
    await upstream.until(lambda: len(socket.texts) >= len(expected))
    assert socket.texts == list(expected)


def say(socket: ServerSocket, *said: str) -> None:
    """The upstream says some texts."""
    for text in said:
        socket.send(TextMessage(data=text))


def switching(head: bytes) -> bytes:
    """The answer to a handshake: RFC 6455 §4.2.2."""
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
    key = next(value for name, value in fields.items() if name.lower() == b"sec-websocket-key")
    proof = b64encode(sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    upgrade = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    return upgrade + b"Sec-WebSocket-Accept: " + proof + b"\r\n\r\n"


def test_a_dropped_frame_is_missed_alone() -> None:
    """The frame is gone, those before and behind it are there; the other direction is not touched."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, websocket(proxy.ws_url) as one:
            fault = proxy.drop_frame(direction=DOWN, skip=1)
            say(upstream.sockets[0], "1", "2", "3")
            await one.hears("1", "3")
            one.say("up")
            await upstream_hears(upstream, upstream.sockets[0], "up")

            assert fault.hits == 1
            assert [frame.fate for frame in proxy.frames(direction=DOWN)] == [
                FrameFate.FORWARDED,
                FrameFate.DROPPED,
                FrameFate.FORWARDED,
            ]
            assert proxy.frames(fate=FrameFate.DROPPED)[0].faults == ("drop_frame",)

    run(scenario)


def test_a_duplicated_frame_arrives_twice() -> None:
    """Both ways, with its fragments."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, websocket(proxy.ws_url) as one:
            proxy.duplicate_frame(direction=DOWN)
            proxy.duplicate_frame(direction=UP)
            say(upstream.sockets[0], "1", "2")
            await one.hears("1", "1", "2")
            one.send(TextMessage(data="a", message_finished=False))
            one.send(TextMessage(data="b"))
            await upstream.until(lambda: len(upstream.sockets[0].texts) == 2)
            assert fragments(upstream.sockets[0].events) == ["a", "b", "a", "b"]

    run(scenario)


def test_frames_are_reordered_in_groups() -> None:
    """Three matching frames arrive backwards while another overtakes them; the next group is a new hit."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, websocket(proxy.ws_url) as one:
            fault = proxy.reorder_frames(3, times=2, data=lambda data: data != "x")
            say(upstream.sockets[0], "1", "x", "2", "3", "4", "5", "6", "7", "8")
            await one.hears("x", "3", "2", "1", "6", "5", "4", "7", "8")

            assert fault.hits == 2
            assert [frame.faults for frame in proxy.frames(fate=FrameFate.REORDERED)] == [("reorder_frames",)] * 6

    run(scenario)


def test_groups_of_two_faults_fill_side_by_side() -> None:
    """Frames of one symbol are reordered among themselves while those of another are, too."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, websocket(proxy.ws_url) as one:
            first = proxy.reorder_frames(2, data=lambda data: data[0] == "a")
            second = proxy.reorder_frames(2, data=lambda data: data[0] == "b")
            say(upstream.sockets[0], "a1", "b1", "b2", "a2", "b3", "a3")
            await one.hears("b2", "b1", "a2", "a1", "b3", "a3")
            assert (first.hits, second.hits) == (1, 1)

    run(scenario)


def test_an_injected_generator_shuffles_the_same_way_again() -> None:
    """One seed is one order."""

    def order(seed: int) -> list[str]:
        async def scenario() -> list[str]:
            async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, websocket(proxy.ws_url) as one:
                proxy.reorder_frames(8, rng=Random(seed))
                say(upstream.sockets[0], *"12345678")
                await one.until(lambda: len(one.texts) == 8)
                return one.texts

        return run(scenario)

    assert order(1) == order(1) != order(2)
    assert sorted(order(1)) == list("12345678")


def test_a_group_that_never_fills_arrives_as_it_came() -> None:
    """Frames kept for reordering are not lost when the connection closes in order, whoever closes it."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            async with websocket(proxy.ws_url) as one:
                fault = proxy.reorder_frames(5, times=None)
                say(upstream.sockets[0], "1", "2")
                upstream.sockets[0].send(CloseConnection(code=1000))
                await one.until(lambda: any(isinstance(event, CloseConnection) for event in one.events))
                assert one.texts == ["1", "2"] and fault.hits == 0
            async with websocket(proxy.ws_url) as two:
                say(upstream.sockets[1], "3")
                await proxy.wait_for_frames(3, kind=FrameKind.TEXT)
                upstream.sockets[1].writer.close()
                assert await two.end() == "closed"
                assert two.texts == ["3"]

    run(scenario)


def test_a_delayed_frame_delays_what_is_behind_it() -> None:
    """Nothing of its direction passes until the injected clock lets it; the other direction goes on."""

    async def scenario() -> None:
        clock = StoppedClock()
        async with (
            Upstream() as upstream,
            FaultProxy(upstream.url, clock=clock) as proxy,
            websocket(proxy.ws_url) as one,
        ):
            fault = proxy.delay_frame(3.5, direction=DOWN, skip=1)
            say(upstream.sockets[0], "1", "2", "3")
            await fault.wait()
            await one.hears("1")
            one.say("up")
            await upstream_hears(upstream, upstream.sockets[0], "up")
            assert clock.asked == [3.5] and one.texts == ["1"]
            assert proxy.frames(direction=DOWN)[-1].fate is FrameFate.WAITING
            clock.go.set()
            await one.hears("1", "2", "3")

    run(scenario)


def test_a_held_frame_is_overtaken_and_arrives_late() -> None:
    """Others pass it; released, it arrives; two held ones are released in any order."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, websocket(proxy.ws_url) as one:
            hold = proxy.hold_frame(times=2)
            say(upstream.sockets[0], "1", "2", "3")
            await one.hears("3")
            first, second = hold.waiting
            second.release()
            await one.hears("3", "2")
            first.release()
            await one.hears("3", "2", "1")

            assert hold.waiting == () and hold.hits == 2
            assert len(proxy.frames(fate=FrameFate.RELEASED)) == 2

    run(scenario)


def test_a_held_frame_is_lost_with_its_connection() -> None:
    """When the connection ends first, nothing is waiting any more."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            hold = proxy.hold_frame()
            async with websocket(proxy.ws_url) as one:
                one.say("late")
                await hold.wait()
                assert len(hold.waiting) == 1
            await upstream.until(lambda: upstream.sockets[0].ended)
            await hold.until(lambda: not hold.waiting)
            assert upstream.sockets[0].texts == []
            assert proxy.frames()[0].fate is FrameFate.WAITING

    run(scenario)


@pytest.mark.parametrize(
    ("code", "ending", "seen"),
    [(None, Ending.RESET, "reset"), (None, Ending.CLOSE, "closed"), (1012, Ending.RESET, "closed")],
)
@pytest.mark.parametrize("at_once", [False, True])
def test_a_connection_is_cut(code: int | None, ending: Ending, seen: str, at_once: bool) -> None:
    """With a close frame or without, at a frame (which is not forwarded) or at once; both sides see the end."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, websocket(proxy.ws_url) as one:
            server = upstream.sockets[0]
            if at_once:
                assert proxy.cut_now(code, "maintenance" if code else "", ending=ending) == 1
            else:
                fault = proxy.cut(code, "maintenance" if code else "", ending=ending, data=lambda data: data == "cut")
                say(server, "before", "cut", "behind")
                await fault.wait()
                assert proxy.frames(fate=FrameFate.CUT)[0].size == 3
            if code:
                await one.until(lambda: any(isinstance(event, CloseConnection) for event in one.events))
                one.send(one.events[-1].response())
            assert await one.end() == seen
            await upstream.until(lambda: server.ended)

            assert one.texts == ([] if at_once else ["before"])
            closed = [(event.code, event.reason) for event in one.events if isinstance(event, CloseConnection)]
            assert closed == ([(code, "maintenance")] if code else [])
            told = [event.code for event in server.events if isinstance(event, CloseConnection)]
            assert told == ([code] if code else [])

    run(scenario)


def test_a_cut_client_does_not_wait_for_an_upstream_that_ignores_it() -> None:
    """Each side's connection ends when that side has answered the close frame."""

    async def scenario() -> None:
        async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(switching(await reader.readuntil(b"\r\n\r\n")))
            await reader.read()

        async with raw_server(deaf) as url, FaultProxy(url) as proxy, websocket(proxy.ws_url) as one:
            proxy.cut_now(1001)
            await one.until(lambda: one.events)
            one.send(CloseConnection(code=1001))
            assert await one.end() == "closed"

    run(scenario)


def test_only_the_named_connections_are_cut() -> None:
    """cut_now and silence_now take a path and say how many they met; a new connection is not met."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            async with websocket(proxy.ws_url, "/a/1") as one, websocket(proxy.ws_url, "/b/1") as two:
                assert proxy.cut_now(path="/a/*") == 1
                assert await one.end() == "reset"
                assert proxy.silence_now(path="/c") == 0
                say(upstream.sockets[1], "still here")
                await two.hears("still here")
            async with websocket(proxy.ws_url, "/a/1") as again:
                say(upstream.sockets[2], "hello")
                await again.hears("hello")

    run(scenario)


@pytest.mark.parametrize("at_once", [False, True])
def test_a_silent_connection_stays_open_and_says_nothing(at_once: bool) -> None:
    """From then on no frame passes either way, pings are not answered, and not even the upstream's end is told; a new
    connection speaks, and the silent one ends when the client leaves it."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            async with websocket(proxy.ws_url) as one, websocket(proxy.ws_url) as two:
                server = upstream.sockets[0]
                say(server, "before")
                await one.hears("before")
                if at_once:
                    assert proxy.silence_now() == 2
                    say(server, "lost")
                else:
                    fault = proxy.silence(direction=DOWN)
                    say(server, "lost")
                    await fault.wait()
                    proxy.clear()
                unheard = proxy.drop_frame(path="/ws", times=None, data=lambda data: data == "anyone?")
                one.send(Ping(payload=b"there?"))
                one.say("anyone?")
                say(server, "too late")
                await proxy.wait_for_frames(4, fate=FrameFate.SILENCED)
                server.writer.close()
                await upstream.until(lambda: upstream.connections == 1)
                silent = asyncio.create_task(one.until(lambda: len(one.events) > 1))
                if not at_once:
                    say(upstream.sockets[1], "two speaks")
                    await two.hears("two speaks")
                async with websocket(proxy.ws_url) as three:
                    say(upstream.sockets[2], "three speaks")
                    await three.hears("three speaks")
                assert not silent.done() and server.events == [] and unheard.hits == 0
                assert proxy.connections >= 2
                silent.cancel()
                await asyncio.wait({silent})
            await upstream.until(lambda: upstream.connections == 0)

    run(scenario)


def test_a_silent_connection_ends_when_its_client_leaves() -> None:
    """The upstream's side does not outlive the client's."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            async with websocket(proxy.ws_url) as one:
                proxy.silence_now()
                one.say("lost")
                await proxy.wait_for_frames(fate=FrameFate.SILENCED)
            await upstream.until(lambda: upstream.sockets[0].ended)
            assert upstream.sockets[0].events == []

    run(scenario)


@pytest.mark.parametrize("wanted", ["ping", "pong", "close"])
def test_control_frames_are_touched_when_named(wanted: str) -> None:
    """Faults leave pings, pongs and closes alone unless their kind is given."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, websocket(proxy.ws_url) as one:
            everything = proxy.drop_frame(times=None)
            named = proxy.drop_frame(kind=FrameKind(wanted.upper()), times=None)
            one.say("dropped")
            one.send(Ping(payload=b"?"))
            if wanted == "ping":
                await named.wait()
                assert upstream.sockets[0].events == []
            elif wanted == "pong":
                await named.wait()
                assert kinds(upstream.sockets[0].events) == [Ping]
            else:
                await one.until(lambda: Pong in kinds(one.events))
                one.send(CloseConnection(code=1000))
                await named.wait()
                assert kinds(upstream.sockets[0].events) == [Ping]
            assert everything.hits == 1

    run(scenario)


def test_json_rpc_is_matched_in_frames_and_in_their_answers() -> None:
    """A method names its calls and, towards the client, the answers to them, in batches too; some say req_id."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, websocket(proxy.ws_url) as one:
            server = upstream.sockets[0]
            lost = proxy.drop_frame(rpc="order.place", direction=DOWN)
            one.say('{"jsonrpc":"2.0","id":7,"method":"time"}')
            one.say('{"id":"a","method":"order.place","params":{}}')
            one.say('[{"id":1,"method":"order.status"},{"id":2,"method":"order.cancel"}]')
            one.say('{"method":"add_order","req_id":9}')
            await upstream.until(lambda: len(server.texts) == 4)
            answers = [
                '{"id":7,"result":1}',
                '[{"id":1,"result":{}},{"id":2,"error":{}}]',
                '{"req_id":9,"success":true}',
            ]
            say(server, '{"id":"a","result":{}}', *answers, '{"method":"order.update","params":[]}', "[not json")
            await one.hears(*answers, '{"method":"order.update","params":[]}', "[not json")

            assert lost.hits == 1
            assert [frame.rpc for frame in proxy.frames(direction=UP)] == [
                ("time",),
                ("order.place",),
                ("order.status", "order.cancel"),
                ("add_order",),
            ]
            assert [frame.rpc for frame in proxy.frames(direction=DOWN)] == [
                ("order.place",),
                ("time",),
                ("order.status", "order.cancel"),
                ("add_order",),
                ("order.update",),
                (),
            ]
            assert [frame.fate for frame in proxy.frames(rpc="order.place")] == [FrameFate.FORWARDED, FrameFate.DROPPED]

    run(scenario)


def test_two_clients_at_once_have_frames_of_their_own() -> None:
    """A fault on one client's path leaves the other's frames alone, and groups do not mix."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            proxy.reorder_frames(2, times=None)
            proxy.drop_frame(path="/a", times=None, data=lambda data: data == "drop")

            async def talk(path: str) -> ClientSocket:
                async with websocket(proxy.ws_url, path) as one:
                    server = next(socket for socket in upstream.sockets if socket.got.target == path)
                    say(server, path + "1", path + "2", path + "3", path + "4")
                    await one.hears(path + "2", path + "1", path + "4", path + "3")
                    return one

            await asyncio.gather(*(talk(path) for path in ("/a", "/b", "/c")))

    run(scenario)
