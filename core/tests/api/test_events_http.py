"""Events over HTTP: in order, each once, resumed where they were left; a slow reader hurts nobody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.tests.api.serving import ORDER, Served, served
from exchange_kernel import StandardOrder
from exchange_kernel.api.events import Stream
from exchange_kernel.api.feed import Cut, Feed
from exchange_kernel.client import connect
from exchange_kernel.errors import StoreUnavailable
from exchange_kernel.state.sql.tokens import SqlTokens

EVENTS = "/v1/accounts/one/events"
SSE = {"accept": "text/event-stream"}


async def take(at: Served, token: str, wanted: int, **more: Any) -> list[tuple[str, dict[str, Any]]]:
    """Ids and data of the first events of a stream."""
    found: list[tuple[str, dict[str, Any]]] = []
    async with at.http(token) as http:
        headers = SSE | more.pop("headers", {})
        async with asyncio.timeout(20), http.stream("GET", EVENTS, headers=headers, params=more) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            last = ""
            async for line in answer.aiter_lines():
                if line.startswith("id: "):
                    last = line[4:]
                elif line.startswith("data: "):
                    found.append((last, json.loads(line[6:])))
                    if len(found) == wanted:
                        break
    return found


async def some(at: Served, names: str) -> int:
    """Orders of these names, each of which works; returns the number of events."""
    kernel = at.platform["one"]
    for name in names:
        await kernel.place_order(StandardOrder(**ORDER), name)
    for name in names:
        while not (await kernel.get_order_state(name)).venue_ids:
            await asyncio.sleep(0.01)
    row = await at.platform.store.account_row("one")
    assert row is not None
    return row.event_seq


def test_a_stream_resumes_exactly_behind_its_last_event(tmp_path: Path) -> None:
    """From the beginning, from an id, across a restart of the server: every event, in order, once."""

    async def run() -> None:
        async with served(tmp_path) as at:
            token = at.token("one:read")
            count = await some(at, "ab")
            first = await take(at, token, count, after=0)
            assert [data["seq"] for _, data in first] == list(range(1, count + 1))
            assert {data["account"] for _, data in first} == {"one"}
            last = first[2][0]
        async with served(tmp_path) as at:
            count = await some(at, "cd")
            rest = await take(at, token, count - 3, headers={"last-event-id": last})
            assert [data["seq"] for _, data in rest] == list(range(4, count + 1))
            page = {}
            async with at.http(token) as http:
                page = (await http.get(EVENTS, params={"limit": 500})).json()
            assert [item for _, item in (*first[:3], *rest)] == page["items"][:count]

    asyncio.run(run())


def test_a_place_in_another_log_is_gone(tmp_path: Path) -> None:
    """A cursor of another store, of before it lost commits, or beyond the end is 410: list and begin anew."""

    async def run() -> None:
        async with served(tmp_path) as at, at.http(at.token("one:read")) as http:
            row = await at.platform.store.store_row()
            era = f"{row.store_id[:8]}.{row.incarnation}"
            for last, status in (
                (f"{era}.1", 200),
                (f"{era}.999999", 410),
                (f"{row.store_id[:8]}.{row.incarnation + 1}.1", 410),
                (f"00000000.{row.incarnation}.1", 410),
                ("17", 400),
                (f"{era}.1\u0663", 400),
            ):
                await some(at, "a")
                answer = await http.get(EVENTS, headers={"last-event-id": last.encode()})
                assert answer.status_code == status, last
                assert answer.json().get("code") == {200: None, 410: "gone", 400: "bad-request"}[status]
            assert (await http.get(EVENTS, params={"after": 999_999})).status_code == 410

    asyncio.run(run())


def test_two_hundred_readers_miss_nothing_and_cost_the_kernel_one(tmp_path: Path) -> None:
    """200 readers over sockets get every event in order; the kernel serves one subscriber, and a stalled one holds
    nobody up."""
    readers = 200

    async def run() -> None:
        async with served(tmp_path) as at:
            token = at.token("one:read")
            port = int(at.url.rpartition(":")[2])
            request = f"GET {EVENTS}?after=0 HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
            request += f"Authorization: Bearer {token}\r\n\r\n"
            seen = [0] * readers
            done = asyncio.Event()
            total = 0

            async def read(number: int) -> None:
                nonlocal total
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(request.encode())
                try:
                    async for line in reader:
                        if line.startswith(b"id: "):
                            seq = int(line.rpartition(b".")[2])
                            assert seq == seen[number] + 1
                            seen[number] = seq
                            if total and min(seen) >= total:
                                done.set()
                finally:
                    writer.close()

            _, stalled = await asyncio.open_connection("127.0.0.1", port, limit=1)
            stalled.write(request.encode())
            tasks = [asyncio.create_task(read(number)) for number in range(readers)]
            total = await some(at, "abcdefghijklmnop")
            async with asyncio.timeout(60):
                await done.wait()
            bus: Any = at.platform["one"]._bus  # type: ignore[attr-defined]
            assert len(bus._tasks) == 1
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            stalled.close()

    asyncio.run(run())


def test_a_reader_that_falls_behind_is_cut_and_nothing_grows(tmp_path: Path) -> None:
    """What is kept for readers is bounded; one that has lost its place while live is cut, and told to begin again."""

    async def run() -> None:
        async with served(tmp_path) as at:
            await some(at, "a")
            feed = Feed("one", at.platform["one"], at.platform.store, kept=8)
            await feed.open()
            start = await feed.newest()
            slow = feed.after(start)
            waiting = asyncio.ensure_future(anext(slow))
            await asyncio.sleep(0)
            await some(at, "b")
            await waiting
            await some(at, "cdefgh")
            while feed._recent[-1][0] < await feed.newest():
                await asyncio.sleep(0.01)
            assert len(feed._recent) == 8
            with pytest.raises(Cut):
                await anext(slow)
            assert (feed.overflows, feed.subscribers) == (1, 0)
            fresh = feed.after(start)
            assert (await anext(fresh)).startswith(f"id: {feed.era}.{start + 1}\n".encode())
            await fresh.aclose()
            feed.close()

    asyncio.run(run())


def test_a_reader_that_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the connection takes nothing for too long it is aborted, so that its buffers are freed."""
    monkeypatch.setattr(Stream, "stalled_s", 0.05)
    aborted: list[bool] = []
    closed: list[bool] = []

    async def frames() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"data: x\n\n"
        finally:
            closed.append(True)

    async def run() -> None:
        sent = 0

        async def send(_: Any) -> None:
            nonlocal sent
            sent += 1
            if sent > 3:
                await asyncio.Event().wait()

        async def receive() -> Any:
            return await asyncio.Event().wait()

        async def sleep(_: float) -> None:
            await asyncio.Event().wait()

        server = SimpleNamespace(closing=asyncio.Event(), clock=SimpleNamespace(sleep=sleep))
        access: Any = SimpleNamespace(server=server)
        stream: Any = Stream(frames(), access, "one", None)
        await stream({"exk.abort": lambda: aborted.append(True)}, receive, send)

    asyncio.run(run())
    assert (aborted, closed) == ([True], [True])


def test_a_stream_ends_with_its_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader whose token is revoked gets nothing more."""
    monkeypatch.setattr("exchange_kernel.api.events.CHECK_S", 0.05)

    async def run() -> None:
        async with served(tmp_path) as at:
            token = at.token("one:read")
            http = at.http(token)
            async with http, asyncio.timeout(20), http.stream("GET", EVENTS, headers=SSE) as answer:
                tokens = SqlTokens(at.platform.config.store_url)
                tokens.revoke(token.split("_")[1], 1)
                tokens.close()
                async for _ in answer.aiter_lines():
                    pass

    asyncio.run(run())


def test_a_subscription_lives_through_the_server_s_death(tmp_path: Path) -> None:
    """A remote handler gets each event once, in order, while the server goes away and comes back elsewhere."""

    async def run() -> None:
        seen: list[int] = []
        async with served(tmp_path) as at:
            token, url = at.token("one:admin"), at.url
            kernel = connect(url, token, "one")
            await kernel.start()
            kernel.subscribe_events(lambda event: seen.append(event.seq), after=0)
            first = await some(at, "ab")
            while len(seen) < first:
                await asyncio.sleep(0.01)
        with pytest.raises(StoreUnavailable):
            await kernel.get_positions()
        port = int(url.rpartition(":")[2])
        async with served(tmp_path, port=port) as at:
            count = await some(at, "cd")
            async with asyncio.timeout(20):
                while len(seen) < count:
                    await asyncio.sleep(0.01)
            assert seen[:count] == list(range(1, count + 1))
            await kernel.stop()

    asyncio.run(run())
