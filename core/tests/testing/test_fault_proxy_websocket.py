"""WebSockets without a fault: frames as they were sent, and every way a connection ends."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from hashlib import sha1

import pytest
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason

from core.tests.testing.venue import (
    Answer,
    ServerSocket,
    Upstream,
    client_tls,
    fragments,
    raw_server,
)
from core.tests.testing.wires import (
    Lost,
    Refused,
    client,
    run,
    websocket,
)
from exchange_kernel.testing.faults import Direction, Fate, FaultProxy, FrameFate, FrameKind

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
                    one.send(one.events[0].response())
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
            writer.write(switching(await reader.readuntil(b"\r\n\r\n")) + b"\x81\x05eager")
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


def switching(head: bytes) -> bytes:
    """The answer to a handshake: RFC 6455 §4.2.2."""
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
    key = next(value for name, value in fields.items() if name.lower() == b"sec-websocket-key")
    proof = b64encode(sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    upgrade = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    return upgrade + b"Sec-WebSocket-Accept: " + proof + b"\r\n\r\n"


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
