"""WebSockets through the proxy: frames as they were sent, each fault of theirs, and every way a connection ends."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from hashlib import sha1
from random import Random

import pytest
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason

from core.tests.testing.wires import (
    Answer,
    ClientSocket,
    Lost,
    Refused,
    ServerSocket,
    Upstream,
    client,
    client_tls,
    fragments,
    raw_server,
    run,
    websocket,
)
from exchange_kernel.clock import SystemClock
from exchange_kernel.testing.faults import Direction, Ending, Fate, FaultProxy, FrameFate, FrameKind

UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT


class StoppedClock(SystemClock):
    """Time passes when the test says so."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.go = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        await self.go.wait()


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


def test_frames_of_every_kind_pass_both_ways() -> None:
    """Text, binary, ping, pong and close arrive with their payloads, and the handshake with its headers."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            async with websocket(proxy.ws_url, "/ws?stream=a", {"X-Mine": "1"}) as one:
                server = upstream.sockets[0]
                assert server.got.target == "/ws?stream=a" and server.got.header("x-mine") == "1"
                assert server.got.header("host") == f"127.0.0.1:{upstream.port}"
                one.say("hällo")
                one.send(BytesMessage(data=b"\x00\xff"))
                one.send(Ping(payload=b"up"))
                one.send(Pong(payload=b"unasked"))
                await one.until(lambda: Pong in kinds(one.events))
                await upstream.until(lambda: Pong in kinds(server.events))
                assert server.texts == ["hällo"]
                assert [bytes(event.data) for event in server.events if isinstance(event, BytesMessage)] == [
                    b"\x00\xff"
                ]
                say(server, "grüezi")
                server.send(BytesMessage(data=b"\x01"))
                server.send(Ping(payload=b"down"))
                await one.until(lambda: Ping in kinds(one.events))
                assert one.texts == ["grüezi"]
                assert [event.payload for event in one.events if isinstance(event, Ping | Pong)] == [b"up", b"down"]
                one.send(CloseConnection(code=4001, reason="enough"))
                assert await one.end() == "closed"

            closing = [event for event in server.events if isinstance(event, CloseConnection)]
            assert [(event.code, event.reason) for event in closing] == [(4001, "enough")]
            assert [(frame.kind, frame.direction) for frame in proxy.frames()] == [
                (FrameKind.TEXT, UP),
                (FrameKind.BINARY, UP),
                (FrameKind.PING, UP),
                (FrameKind.PONG, UP),
                (FrameKind.PONG, DOWN),
                (FrameKind.TEXT, DOWN),
                (FrameKind.BINARY, DOWN),
                (FrameKind.PING, DOWN),
                (FrameKind.CLOSE, UP),
                (FrameKind.CLOSE, DOWN),
            ]
            assert {frame.fate for frame in proxy.frames()} == {FrameFate.FORWARDED}
            assert proxy.requests()[0].fate is Fate.UPGRADED and proxy.requests()[0].websocket

    run(scenario)


def test_the_upstream_s_close_frame_arrives() -> None:
    """A close with a code, and one without, reach the client as they were sent."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            for number, code in enumerate([CloseReason.SERVICE_RESTART, CloseReason.NO_STATUS_RCVD]):
                async with websocket(proxy.ws_url) as one:
                    upstream.sockets[number].send(CloseConnection(code=code))
                    await one.until(lambda: one.events)
                    assert [event.code for event in one.events if isinstance(event, CloseConnection)] == [code]
                    one.send(one.events[0].response())  # type: ignore[attr-defined]
                    assert await one.end() == "closed"
            assert [frame.size for frame in proxy.frames(kind=FrameKind.CLOSE)] == [2, 2, 0, 0]

    run(scenario)


def test_a_fragmented_message_keeps_its_fragments_and_is_one_frame() -> None:
    """Three fragments arrive as three, with a ping between them passing first; faults and records see one message."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, websocket(proxy.ws_url) as one:
            server = upstream.sockets[0]
            server.send(TextMessage(data="ab", message_finished=False))
            server.send(TextMessage(data="", message_finished=False))
            server.send(Ping(payload=b"between"))
            server.send(TextMessage(data="cd", message_finished=True))
            server.send(BytesMessage(data=b"x", message_finished=False))
            server.send(BytesMessage(data=b"yz", message_finished=True))
            await one.until(lambda: b"yz" in fragments(one.events))
            assert fragments(one.events) == ["ab", "", "cd", b"x", b"yz"]
            assert isinstance(one.events[0], Ping)
            one.send(TextMessage(data="1", message_finished=False))
            one.send(TextMessage(data="2", message_finished=True))
            await upstream.until(lambda: server.texts)
            assert fragments(server.events) == ["1", "2"]
            sizes = [(frame.kind, frame.size) for frame in proxy.frames()]
            assert sizes == [
                (FrameKind.PING, 7),
                (FrameKind.TEXT, 4),
                (FrameKind.BINARY, 3),
                (FrameKind.TEXT, 2),
            ]

    run(scenario)


def test_large_messages_pass() -> None:
    """Four mebibytes in one frame arrive whole in both directions."""

    async def scenario() -> None:
        size = 4 * 1024 * 1024
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, websocket(proxy.ws_url) as one:
            say(upstream.sockets[0], "d" * size)
            await one.hears("d" * size)
            one.say("u" * size)
            await upstream_hears(upstream, upstream.sockets[0], "u" * size)

    run(scenario)


def test_compression_is_not_offered_so_that_frames_can_be_read() -> None:
    """A client's offer of permessage-deflate does not reach the upstream, and the connection works without."""

    async def scenario() -> None:
        offer = "permessage-deflate; client_max_window_bits"
        async with (
            Upstream() as upstream,
            FaultProxy(upstream.url) as proxy,
            websocket(proxy.ws_url, extensions=offer) as one,
        ):
            assert upstream.sockets[0].got.header("sec-websocket-extensions") is None
            one.say("plain")
            await upstream_hears(upstream, upstream.sockets[0], "plain")

    run(scenario)


def test_a_refused_handshake_is_passed_on() -> None:
    """An upstream that answers a handshake with a status is heard by the client."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            upstream.answers["/ws"] = Answer(403, {}, b"no")
            with pytest.raises(Refused, match="403"):
                await opened(proxy)
            assert proxy.requests()[0].fate is Fate.ANSWERED

    run(scenario)


async def opened(proxy: FaultProxy) -> None:
    """Open a WebSocket and leave it."""
    async with websocket(proxy.url):
        pass


def test_a_tls_websocket_is_reached() -> None:
    """wss:// upstream, ws:// to the client."""

    async def scenario() -> None:
        async with Upstream(tls=True) as upstream:
            url = upstream.url.replace("https", "wss") + "/ws"
            async with FaultProxy(url, ssl_context=client_tls()) as proxy, websocket(proxy.ws_url) as one:
                assert proxy.ws_url == f"ws://127.0.0.1:{proxy.port}/ws"
                one.say("hush")
                await upstream_hears(upstream, upstream.sockets[0], "hush")

    run(scenario)


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
            assert len(proxy.frames(fate=FrameFate.REORDERED)) == 6

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
                one.send(one.events[-1].response())  # type: ignore[attr-defined]
            assert await one.end() == seen
            await upstream.until(lambda: server.ended)

            assert one.texts == ([] if at_once else ["before"])
            closed = [(event.code, event.reason) for event in one.events if isinstance(event, CloseConnection)]
            assert closed == ([(code, "maintenance")] if code else [])
            told = [event.code for event in server.events if isinstance(event, CloseConnection)]
            assert told == ([code] if code else [])

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


def test_an_end_on_one_side_is_an_end_on_the_other() -> None:
    """Closed is closed and reset is reset, whoever did it."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            async with websocket(proxy.ws_url) as one:
                upstream.sockets[0].writer.close()
                assert await one.end() == "closed"
            async with websocket(proxy.ws_url) as two:
                two.writer.close()
                await upstream.until(lambda: upstream.sockets[1].ended)
            async with websocket(proxy.ws_url):
                await upstream.die()

    run(scenario)


def test_a_reset_upstream_resets_the_client() -> None:
    """The client of a connection that was reset does not see an orderly end."""

    async def scenario() -> None:
        async with (
            Upstream() as upstream,
            FaultProxy(upstream.url) as inner,
            FaultProxy(inner.url) as outer,
            websocket(outer.ws_url) as one,
        ):
            inner.cut_now()
            assert await one.end() == "reset"

    run(scenario)


def test_malformed_frames_end_the_connection_on_both_sides() -> None:
    """A client that does not mask, or an upstream that sets reserved bits, is told 1002, and so is the other side."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, websocket(proxy.ws_url) as one:
            one.writer.write(b"\x81\x02hi")
            await one.until(lambda: any(isinstance(event, CloseConnection) for event in one.events))
            assert [event.code for event in one.events if isinstance(event, CloseConnection)] == [1002]
            await upstream.until(lambda: upstream.sockets[0].ended)
            assert kinds(upstream.sockets[0].events) == [CloseConnection]

    run(scenario)


def test_a_message_beyond_the_bound_ends_the_connection() -> None:
    """Both sides are told 1009, and nothing is kept."""

    async def scenario() -> None:
        async with (
            Upstream() as upstream,
            FaultProxy(upstream.url, max_body=10) as proxy,
            websocket(proxy.ws_url) as one,
        ):
            one.say("0123456789")
            await upstream_hears(upstream, upstream.sockets[0], "0123456789")
            one.say("0123456789x")
            await one.until(lambda: any(isinstance(event, CloseConnection) for event in one.events))
            assert [event.code for event in one.events if isinstance(event, CloseConnection)] == [1009]

    run(scenario)


def test_frames_that_come_with_the_handshake_are_not_lost() -> None:
    """An upstream that speaks in the same bytes as its 101 is heard."""

    async def scenario() -> None:
        async def eager(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            key = next(
                line.split(b": ")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")
            )
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept(key) + b"\r\n\r\n\x81\x05eager"
            )
            await reader.read()

        async with raw_server(eager) as url, FaultProxy(url) as proxy, websocket(proxy.ws_url) as one:
            await one.hears("eager")

    run(scenario)


def test_frames_that_a_client_sends_with_its_handshake_are_not_lost() -> None:
    """A client that does not wait for the 101 is heard all the same."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, client(proxy.url) as one:
            one.writer.write(
                b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
                b"\x81\x85\x00\x00\x00\x00hasty"
            )
            await upstream.until(lambda: upstream.sockets and upstream.sockets[0].texts)
            assert upstream.sockets[0].texts == ["hasty"]

    run(scenario)


def accept(key: bytes) -> bytes:
    """What proves that a handshake was understood: RFC 6455 §4.2.2."""
    return b64encode(sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


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


def test_a_client_that_leaves_in_the_middle_of_a_message_leaves_nothing_behind() -> None:
    """Half a message is not forwarded, and the upstream sees the end."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            async with websocket(proxy.ws_url) as one:
                one.send(TextMessage(data="half", message_finished=False))
                one.send(Ping())
                await upstream.until(lambda: upstream.sockets[0].events)
            await upstream.until(lambda: upstream.sockets[0].ended)
            assert kinds(upstream.sockets[0].events) == [Ping]
            assert proxy.frames(kind=FrameKind.TEXT) == []

    run(scenario)


def test_an_upstream_that_dies_during_the_handshake_looks_dead() -> None:
    """The client's connection ends without an answer."""

    async def scenario() -> None:
        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")

        async with raw_server(hang_up) as url, FaultProxy(url) as proxy:
            with pytest.raises(Lost, match="closed"):
                await opened(proxy)
            assert proxy.requests()[0].fate is Fate.UPSTREAM_DEAD

    run(scenario)
