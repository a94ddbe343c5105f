"""The proxy in front of a venue that speaks in lines over TCP; frames replaced, answered, late, stranded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from exchange_kernel.testing.faults import Direction, Ending, Fate, FaultProxy, FrameFate, FrameKind

UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT


class Counter:
    """A venue that answers each line with the same, and remembers what arrived."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.changed = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while line := await reader.readline():
                self.heard.append(line)
                self.changed.set()
                writer.write(b"said " + line if not line.startswith(b"{") else line)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


Stage = tuple[FaultProxy, Counter, asyncio.StreamReader, asyncio.StreamWriter]


async def ended(reader: asyncio.StreamReader) -> bool:
    """Is the connection over, in order or by a reset?"""
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


def play(scene: Callable[[Stage], Awaitable[None]], **options: Any) -> None:
    """A venue, the proxy, and one connected client."""

    async def run() -> None:
        venue = Counter()
        server = await asyncio.start_server(venue.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, asyncio.timeout(20), FaultProxy(f"tcp://127.0.0.1:{port}", **options) as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            try:
                await scene((proxy, venue, reader, writer))
            finally:
                writer.transport.abort()

    asyncio.run(run())


def test_lines_pass_as_they_are() -> None:
    """Text, an empty line, bytes that are no text; each is recorded as a message of its own, both ways."""

    async def scene(stage: Stage) -> None:
        proxy, _, reader, writer = stage
        writer.write(b"one\n\ntw")
        writer.write(b"o\n\xff\xfe\n")
        assert [await reader.readline() for _ in range(4)] == [
            b"said one\n",
            b"said \n",
            b"said two\n",
            b"said \xff\xfe\n",
        ]
        kinds = [frame.kind for frame in proxy.frames(direction=UP)]
        assert kinds == [FrameKind.TEXT, FrameKind.TEXT, FrameKind.TEXT, FrameKind.BINARY]
        assert [record.fate for record in proxy.requests()] == [Fate.UPGRADED]

    play(scene)


def test_an_answer_is_replaced() -> None:
    """The venue has done it, and the client reads something else; by text, and by what a function makes of it."""

    async def scene(stage: Stage) -> None:
        proxy, venue, reader, writer = stage
        proxy.replace_frame("nothing", direction=DOWN)
        proxy.replace_frame(lambda data: data[:4], direction=DOWN)
        writer.write(b"buy\nsell\nhold\n")
        assert [await reader.readline() for _ in range(3)] == [b"nothing\n", b"said\n", b"said hold\n"]
        assert venue.heard == [b"buy\n", b"sell\n", b"hold\n"]
        assert len(proxy.frames(fate=FrameFate.REPLACED)) == 2

    play(scene)


def test_a_request_is_answered_on_the_way() -> None:
    """The client is refused, and the venue hears nothing of it."""

    async def scene(stage: Stage) -> None:
        proxy, venue, reader, writer = stage
        refused = proxy.answer_frame(lambda data: f"no {data!s}", direction=UP, data=lambda data: data == "buy")
        writer.write(b"look\nbuy\nbuy\n")
        assert {await reader.readline() for _ in range(3)} == {b"said look\n", b"no buy\n", b"said buy\n"}
        assert venue.heard == [b"look\n", b"buy\n"]
        assert (refused.hits, proxy.frames(direction=UP)[1].fate) == (1, FrameFate.ANSWERED)

    play(scene)


def test_a_late_frame_is_overtaken() -> None:
    """It alone comes later; what was sent after it is there first."""

    async def scene(stage: Stage) -> None:
        proxy, _, reader, writer = stage
        proxy.late_frame(0.05, direction=UP)
        writer.write(b"first\nsecond\n")
        assert [await reader.readline() for _ in range(2)] == [b"said second\n", b"said first\n"]

    play(scene)


def test_a_stranded_frame_arrives_after_its_client_was_cut_off() -> None:
    """The late arrival: the client sees its connection break, and then the venue does it."""

    async def scene(stage: Stage) -> None:
        proxy, venue, reader, writer = stage
        proxy.strand_frame(0.05, ending=Ending.CLOSE)
        writer.write(b"buy\n")
        assert await reader.readline() == b""
        assert venue.heard == []
        await venue.changed.wait()
        assert venue.heard == [b"buy\n"]

    play(scene)


@pytest.mark.parametrize("closed", [False, True])
def test_what_is_stranded_is_lost_when_the_proxy_closes(closed: bool) -> None:
    """A closed proxy delivers nothing afterwards."""

    async def scene(stage: Stage) -> None:
        proxy, venue, reader, writer = stage
        proxy.strand_frame(0.02, ending=Ending.CLOSE)
        writer.write(b"buy\n")
        assert await reader.readline() == b""
        if closed:
            await proxy.aclose()
        else:
            await venue.changed.wait()
        assert venue.heard == ([] if closed else [b"buy\n"])

    play(scene)


def test_calls_and_answers_are_joined_by_the_member_that_names_them() -> None:
    """Venues call it op; of several names any one matches, in the call and in the answer that carries its id."""

    async def scene(stage: Stage) -> None:
        proxy, _, reader, writer = stage
        lost = proxy.drop_frame(rpc=("order", "cancel"), direction=DOWN, times=2)
        for number, op in enumerate(("read", "order", "cancel", "read")):
            writer.write(json.dumps({"id": number, "op": op}).encode() + b"\n")
        assert [json.loads(await reader.readline())["id"] for _ in range(2)] == [0, 3]
        assert lost.hits == 2

    play(scene, rpc_member="op")


def test_a_cut_meets_lines() -> None:
    """A cut with a close code has no close frame to send here: it just ends."""

    async def scene(stage: Stage) -> None:
        proxy, venue, reader, writer = stage
        proxy.cut(1012, direction=DOWN)
        writer.write(b"one\n")
        assert await ended(reader)
        assert venue.heard == [b"one\n"]

    play(scene)


@pytest.mark.parametrize(
    ("url", "what"), [("tcp://127.0.0.1", "tcp://host:port"), ("tcp://127.0.0.1:9/path", "nothing more")]
)
def test_an_address_of_lines_is_host_and_port(url: str, what: str) -> None:
    """Anything else is refused, with the form it has."""
    with pytest.raises(ValueError, match=what):
        FaultProxy(url)


def test_a_dead_venue_looks_dead() -> None:
    """Nobody listens behind the proxy: the client's connection ends."""

    async def run() -> None:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        async with asyncio.timeout(20), FaultProxy(f"tcp://127.0.0.1:{port}") as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            writer.write(b"x\n")
            assert await ended(reader)
            writer.close()
            assert [record.fate for record in proxy.requests()] == [Fate.UPSTREAM_DEAD]

    asyncio.run(run())


def test_a_line_that_is_too_long_ends_the_connection() -> None:
    """The proxy keeps so much, and says so by ending it."""

    async def scene(stage: Stage) -> None:
        _, venue, reader, writer = stage
        writer.write(b"x" * 200_000 + b"\n")
        assert await ended(reader)
        assert venue.heard == []

    play(scene, max_body=1_000)
