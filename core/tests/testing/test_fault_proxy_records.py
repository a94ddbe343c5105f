"""What the proxy remembers, whom its faults are meant for, and what it refuses to be asked."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from core.tests.testing.venue import (
    Upstream,
)
from core.tests.testing.wires import (
    Lost,
    ask,
    run,
)
from exchange_kernel.testing import faults
from exchange_kernel.testing.faults import Counts, Direction, Ending, Fate, FaultProxy, FrameKind


class FixedClock:
    """Always the same moment."""

    def now_ms(self) -> int:
        return 1_700_000_000_123

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError


def test_a_record_says_what_and_when_and_what_became_of_it() -> None:
    """Number, time, method, path, body size and digest, JSON-RPC method, statuses and fate."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url, clock=FixedClock()) as proxy:
            body = b'{"jsonrpc":"2.0","id":1,"method":"eth_sendRawTransaction","params":["0x00"]}'
            await ask(proxy.url, "POST", "/rpc?chain=1", body)
            record = proxy.requests()[0]

            assert (record.number, record.at_ms) == (1, 1_700_000_000_123)
            assert (record.method, record.path, record.query) == ("POST", "/rpc", "chain=1")
            assert (record.body_size, record.body_sha256) == (len(body), hashlib.sha256(body).hexdigest())
            assert (record.rpc, record.fate) == (("eth_sendRawTransaction",), Fate.ANSWERED)
            assert (record.status, record.upstream_status, record.forwarded) == (200, 200, 1)

    run(scenario)


def test_records_keep_no_secret() -> None:
    """Values of headers and parameters that are credentials, given secrets, and keys in the upstream's own path are
    hidden from records; the upstream gets them, and matchers see them."""
    key = "0123456789abcdef0123"

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(f"{upstream.url}/v3/{key}", secrets=["canary"]) as proxy:
            seen = proxy.delay(0, path=f"/v3/{key}", request_headers={"authorization": "Bearer *"})
            await ask(
                proxy.url,
                "GET",
                f"/v3/{key}?signature=0xabc&listenKey=l&symbol=BTC&note=a-canary-b&flag",
                headers={
                    "Authorization": "Bearer one",
                    "X-MBX-APIKEY": "two",
                    "Cookie": "three",
                    "CB-ACCESS-SIGN": "four",
                    "OK-ACCESS-PASSPHRASE": "five",
                    "X-Auth-Token": "six",
                    "User-Agent": "canary/1",
                    "Accept": "text/x",
                },
            )
            record = proxy.requests()[0]
            shown = repr(record)

            for secret in ("one", "two", "three", "four", "five", "six", "canary", "0xabc", "=l", key):
                assert secret not in shown
            assert record.path == "/v3/***"
            assert record.query == "signature=***&listenKey=***&symbol=BTC&note=a-***-b&flag"
            assert ("Accept", "text/x") in record.headers and ("User-Agent", "***/1") in record.headers
            assert upstream.got[0].header("x-mbx-apikey") == "two" and key in upstream.got[0].target
            assert seen.hits == 1

    run(scenario)


def test_nothing_on_the_wire_is_nothing_in_the_records() -> None:
    """What a kit asserts after a refusal that must not touch the venue."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            assert proxy.requests() == [] and proxy.frames() == []
            assert proxy.counts() == Counts(seen=0, forwarded=0, answered=0)
            assert proxy.connections == 0

    run(scenario)


def test_records_are_asked_by_method_path_rpc_and_fate() -> None:
    """All that is named must hold; globs cross slashes; a batch is found by any of its calls."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            proxy.drop_answer(path="/b/*")
            await ask(proxy.url, "GET", "/a/1?path=/b/9")
            with pytest.raises(Lost):
                await ask(
                    proxy.url, "POST", "/b/1/x", b'[{"id":1,"method":"eth_call"},{"id":2,"method":"net_version"}]'
                )
            await ask(proxy.url, "DELETE", "/b/1", b"not json")

            def numbers(**query: Any) -> list[int]:
                return [record.number for record in proxy.requests(**query)]

            assert numbers() == [1, 2, 3]
            assert numbers(method="delete") == [3]
            assert numbers(path="/b/*") == [2, 3] and numbers(path="/b/1") == [3]
            assert numbers(rpc="net_*") == [2] and numbers(rpc="eth_call", method="GET") == []
            assert numbers(fate=Fate.ANSWER_DROPPED) == [2]
            assert proxy.counts(path="/b*") == Counts(seen=2, forwarded=2, answered=1)
            proxy.forget()
            assert numbers() == []
            await ask(proxy.url, "GET", "/")
            assert numbers() == [4]

    run(scenario)


@pytest.mark.parametrize(
    ("match", "hit"),
    [
        ({}, [0, 1, 2]),
        ({"method": "post"}, [1, 2]),
        ({"path": "/api/*"}, [0, 1]),
        ({"path": "/api"}, []),
        ({"rpc": "eth_send*"}, [2]),
        ({"request_headers": {"x-account": "ALICE*"}}, [1]),
        ({"request_headers": {"X-Account": "*", "Missing": "*"}}, []),
        ({"request_body": lambda body: b"buy" in body}, [1]),
        ({"method": "POST", "path": "/api/*", "request_body": lambda body: not body}, []),
    ],
)
def test_a_fault_meets_those_it_is_meant_for(match: dict[str, Any], hit: list[int]) -> None:
    """Method, path without query, JSON-RPC method, headers and body: all that is given must hold."""

    async def scenario() -> list[int]:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            proxy.status(418, times=None, **match)
            answers = [
                await ask(proxy.url, "GET", "/api/v3/time?x=/rpc"),
                await ask(proxy.url, "POST", "/api/v3/order", b"buy", {"X-Account": "ALICE-1"}),
                await ask(proxy.url, "POST", "/", b' {"id":1,"method":"eth_sendRawTransaction"}'),
            ]
            return [number for number, answer in enumerate(answers) if answer.status == 418]

    assert run(scenario) == hit


def test_waiting_for_requests_ends_when_they_are_there() -> None:
    """It returns what matches, once as many are complete."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            waiting = asyncio.create_task(proxy.wait_for_requests(2, path="/x"))
            await ask(proxy.url, "GET", "/x")
            await ask(proxy.url, "GET", "/y")
            assert not waiting.done()
            await ask(proxy.url, "GET", "/x")
            assert [record.number for record in await waiting] == [1, 3]

    run(scenario)


Asked = Callable[[FaultProxy], object]


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda proxy: proxy.drop_request(times=0), "from 1, or None"),
        (lambda proxy: proxy.drop_request(times=True), "from 1, or None"),
        (lambda proxy: proxy.drop_request(skip=-1), "from 0"),
        (lambda proxy: proxy.drop_request(ending="GONE"), "GONE"),
        (lambda proxy: proxy.delay(-1), "from 0 to 86400"),
        (lambda proxy: proxy.delay(float("nan")), "from 0 to 86400"),
        (lambda proxy: proxy.delay(float("inf")), "hold"),
        (lambda proxy: proxy.delay(1, before="dawn"), "'request' or the 'answer'"),
        (lambda proxy: proxy.status(99), "200 to 599"),
        (lambda proxy: proxy.status(204, body=b"x"), "leave it out"),
        (lambda proxy: proxy.status(200, headers={"Content-Length": "3"}), "to fit the body"),
        (lambda proxy: proxy.truncate(-1), "from 0"),
        (lambda proxy: proxy.close_socket(-1), "from 0"),
        (lambda proxy: proxy.reorder_frames(1), "at least 2"),
        (lambda proxy: proxy.delay_frame(-0.1), "from 0 to 86400"),
        (lambda proxy: proxy.cut(999), "1000 to 4999"),
        (lambda proxy: proxy.cut(1006), "1000 to 4999"),
        (lambda proxy: proxy.cut(reason="why"), "goes with a code"),
        (lambda proxy: proxy.cut(1000, "x" * 124), "123 bytes"),
        (lambda proxy: proxy.cut_now(ending=Ending.HANG), "use silence"),
        (lambda proxy: proxy.drop_frame(direction="SIDEWAYS"), "SIDEWAYS"),
        (lambda proxy: proxy.drop_frame(kind="CONTINUATION"), "CONTINUATION"),
        (lambda proxy: proxy.requests(fate="LOST"), "LOST"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: Asked, hint: str) -> None:
    """When it is asked for, with what would be accepted."""
    with pytest.raises(ValueError, match=hint):
        wrong(FaultProxy("http://127.0.0.1:9"))


@pytest.mark.parametrize(
    ("wrong", "known"),
    [
        (lambda proxy: proxy.drop_request(url="/x"), "method, path, request_body, request_headers, rpc"),
        (lambda proxy: proxy.status(500, paths="/x"), "method, path"),
        (lambda proxy: proxy.drop_frame(method="GET"), "data, direction, kind, path, rpc"),
        (lambda proxy: proxy.requests(body=b""), "fate, method, path, rpc"),
        (lambda proxy: proxy.frames(data=b""), "direction, fate, kind, path, rpc"),
    ],
)
def test_a_misspelt_matcher_is_refused(wrong: Asked, known: str) -> None:
    """A fault that would silently meet everything, or nothing, is a mistake; the message lists the matchers."""
    with pytest.raises(TypeError, match=known):
        wrong(FaultProxy("http://127.0.0.1:9"))


def test_enumerations_may_be_given_by_name() -> None:
    """As anywhere in the product, a value equals its name."""
    proxy = FaultProxy("http://127.0.0.1:9")

    assert proxy.frames(direction=Direction("TO_CLIENT"), kind=FrameKind("PING")) == []
    assert all(member.value == member.name for kind in (Direction, FrameKind, Ending, Fate) for member in kind)
    assert repr(proxy.drop_request(times=2)) == "<Fault drop_request: 0 hits, 2 left>"


def test_the_public_names_are_complete_and_sorted() -> None:
    """`__all__` is sorted and everything in it is there."""
    assert faults.__all__ == sorted(faults.__all__)
    assert all(hasattr(faults, name) for name in faults.__all__)


def test_every_fault_says_what_it_does() -> None:
    """Each public method of the proxy has a docstring."""
    named = [name for name in dir(FaultProxy) if not name.startswith("_")]

    assert {"drop_request", "drop_frame", "requests"} <= set(named)
    assert [name for name in named if not (getattr(FaultProxy, name).__doc__ or "").strip()] == []
