"""Without a fault, the proxy is not there: what either side sends is what the other gets, and an end is an end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket

import h11
import pytest

from core.tests.testing.venue import (
    Answer,
    Got,
    Upstream,
    client_tls,
    raw_server,
)
from core.tests.testing.wires import (
    Client,
    Lost,
    ask,
    client,
    run,
)
from exchange_kernel.testing.faults import Counts, Ending, Fate, FaultProxy, ProxyError


def test_requests_and_answers_pass_whole() -> None:
    """Method, path, query, headers, body, status, reason's headers and body arrive as they were sent; only the host is
    the upstream's."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(f"{upstream.url}/v1") as proxy:
            upstream.answers["/v1/orders"] = Answer(201, {"X-Used-Weight": "7", "Set-Cookie": "a=b"}, b"taken")
            answer = await ask(proxy.url, "POST", "/v1/orders?a=1&b=%20", b"\x00buy", {"X-Trace": "9", "X-MiXeD": "x"})
            got = upstream.got[0]

            assert proxy.url.endswith("/v1") and proxy.ws_url == proxy.url.replace("http", "ws")
            assert (got.method, got.target, got.body) == ("POST", "/v1/orders?a=1&b=%20", b"\x00buy")
            assert got.header("host") == f"127.0.0.1:{upstream.port}"
            assert ("X-Trace", "9") in got.headers and ("X-MiXeD", "x") in got.headers
            assert (answer.status, answer.body) == (201, b"taken")
            assert answer.headers["X-Used-Weight"] == "7" and answer.headers["Set-Cookie"] == "a=b"
            assert [record.fate for record in proxy.requests()] == [Fate.ANSWERED]

    run(scenario)


def test_a_connection_is_kept_for_many_requests() -> None:
    """Requests in a row on one client connection use one upstream connection, in order."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, client(proxy.url) as one:
            bodies = [(await one.ask("GET", f"/{n}")).body for n in range(5)]

            assert bodies == [b'{"done": %d}' % n for n in range(1, 6)]
            assert len(upstream.raw) == 1
            assert proxy.connections == 1

    run(scenario)


def test_a_client_that_says_close_is_closed() -> None:
    """`Connection: close` reaches the upstream and ends the client's connection after the answer."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, client(proxy.url) as one:
            answer = await one.ask("GET", "/", headers={"Connection": "close"})

            assert answer.status == 200
            assert upstream.got[0].header("connection") == "close"
            assert await one.reader.read() == b""

    run(scenario)


def test_chunked_bodies_and_trailers_pass_both_ways() -> None:
    """Bodies of unknown length arrive whole, and so do the fields behind them."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, client(proxy.url) as one:
            upstream.answers["/c"] = Answer(200, {"Transfer-Encoding": "chunked"}, b"in pieces", {"X-Sum": "5"})
            answer = await one.ask("POST", "/c", b"also so", {"Transfer-Encoding": "chunked"}, {"X-Mine": "6"})

            assert upstream.got[0].body == b"also so"
            assert b"X-Mine: 6" in upstream.raw[0]
            assert (answer.body, answer.trailers) == (b"in pieces", {"X-Sum": "5"})
            assert (await one.ask("GET", "/next")).status == 200

    run(scenario)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304), ("HEAD", 304)])
def test_answers_without_a_body_keep_the_connection(method: str, status: int) -> None:
    """HEAD, 204 and 304 end with their head, whatever length they announce, and another request may follow."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, client(proxy.url) as one:
            upstream.answers["/x"] = Answer(status, {"ETag": '"1"'}, b"never sent")
            answer = await one.ask(method, "/x")

            assert (answer.status, answer.body, answer.headers["ETag"]) == (status, b"", '"1"')
            assert (await one.ask("GET", "/next")).status == 200
            assert [record.fate for record in proxy.requests()] == [Fate.ANSWERED, Fate.ANSWERED]

    run(scenario)


def test_a_client_that_waits_for_100_is_told_to_go_on() -> None:
    """`Expect: 100-continue` is answered before the body is sent, and the final answer follows."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, client(proxy.url) as one:
            head = h11.Request(
                method="POST",
                target="/big",
                headers=[("Host", "x"), ("Content-Length", "4"), ("Expect", "100-continue")],
            )
            one.writer.write(one.http.send(head) or b"")
            line = await one.reader.readuntil(b"\r\n\r\n")
            assert line.startswith(b"HTTP/1.1 100 ")
            one.writer.write(
                (one.http.send(h11.Data(data=b"body")) or b"") + (one.http.send(h11.EndOfMessage()) or b"")
            )

            assert (await one.answer()).status == 200
            assert upstream.got[0].body == b"body"

    run(scenario)


def test_sixteen_mebibytes_pass_both_ways() -> None:
    """A body of 16 MiB arrives whole, up and down."""
    size = 16 * 1024 * 1024

    async def scenario() -> None:
        async def echo(got: Got) -> Answer:
            return Answer(200, {}, got.body)

        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            upstream.answers["/echo"] = echo
            body = bytes(range(256)) * (size // 256)
            answer = await ask(proxy.url, "POST", "/echo", body)

            assert answer.body == body
            assert proxy.requests()[0].body_size == size

    run(scenario)


def test_a_larger_request_is_refused_and_never_forwarded() -> None:
    """Beyond max_body the client gets 413 and the way out of it; the upstream gets nothing."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url, max_body=10) as proxy:
            answer = await ask(proxy.url, "POST", "/", b"12345678901")

            assert answer.status == 413 and b"larger max_body" in answer.body
            assert upstream.got == []
            assert proxy.requests()[0].fate is Fate.MALFORMED
            assert (await ask(proxy.url, "POST", "/", b"1234567890")).status == 200

    run(scenario)


def test_an_answer_passes_as_it_comes() -> None:
    """The client gets the head and the first part of an endless answer while the rest is not there yet."""

    async def scenario() -> None:
        more = asyncio.Event()

        async def events(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            await more.wait()
            writer.write(b"3\r\none\r\n")
            await reader.read()  # until the client is gone

        async with raw_server(events) as url, FaultProxy(url) as proxy, client(proxy.url) as one:
            await one.send("GET", "/stream")
            assert b"text/event-stream" in await one.reader.readuntil(b"\r\n\r\n")
            more.set()
            assert b"one" in await one.reader.readuntil(b"one\r\n")
            await one.close()
            await proxy.wait_for_requests()

    run(scenario)


def test_a_client_that_leaves_an_endless_answer_leaves_the_upstream() -> None:
    """The upstream of a stream sees the end of the connection when the client closes its own."""

    async def scenario() -> None:
        left = asyncio.Event()

        async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
            assert await reader.read() == b""
            left.set()

        async with raw_server(endless) as url, FaultProxy(url) as proxy:
            async with client(proxy.url) as one:
                await one.send("GET", "/stream")
                await one.reader.readuntil(b"one\r\n")
            await left.wait()

    run(scenario)


def test_a_half_closed_client_still_gets_its_answer() -> None:
    """A client that has sent its request and closed its own direction is answered."""

    async def scenario() -> None:
        go = asyncio.Event()

        async def late(got: Got) -> Answer:
            await go.wait()
            return Answer(200, {}, b"late")

        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, client(proxy.url) as one:
            upstream.answers["/x"] = late
            await one.send("GET", "/x")
            one.writer.write_eof()
            await upstream.until(lambda: upstream.got)
            go.set()

            assert (await one.answer()).body == b"late"

    run(scenario)


def test_a_request_sent_before_the_last_answer_came_is_answered_next() -> None:
    """What a client sends while it waits is kept and served in its turn."""

    async def scenario() -> None:
        go = asyncio.Event()

        async def late(got: Got) -> Answer:
            await go.wait()
            return Answer(200, {}, b"first")

        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, client(proxy.url) as one:
            upstream.answers["/first"] = late
            one.writer.write(b"GET /first HTTP/1.1\r\nHost: x\r\n\r\n")
            await upstream.until(lambda: upstream.got)
            one.writer.write(b"GET /second HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            await one.writer.drain()
            await ask(proxy.url, "GET", "/meanwhile")
            go.set()
            said = await one.reader.read()

            assert said.index(b"first") < said.index(b'{"done": 3}')
            assert [got.target for got in upstream.got] == ["/first", "/meanwhile", "/second"]

    run(scenario)


def test_a_tls_upstream_is_spoken_to_in_tls() -> None:
    """Behind https:// the proxy verifies the upstream with the given trust; its own side is plain."""

    async def scenario() -> None:
        async with Upstream(tls=True) as upstream:
            async with FaultProxy(upstream.url, ssl_context=client_tls()) as proxy, client(proxy.url) as one:
                assert proxy.url.startswith("http://127.0.0.1:")
                assert (await one.ask("POST", "/a", b"x" * 100_000)).status == 200
                assert (await one.ask("GET", "/b")).status == 200
                assert len(upstream.got[0].body) == 100_000

            async with FaultProxy(upstream.url) as distrustful:
                with pytest.raises(Lost):
                    await ask(distrustful.url, "GET", "/")
                assert distrustful.requests()[0].fate is Fate.UPSTREAM_DEAD
            assert len(upstream.got) == 2

    run(scenario)


def test_a_refusing_upstream_looks_dead() -> None:
    """When nothing listens behind the proxy the client's connection is reset, without an answer."""

    async def scenario() -> None:
        async with Upstream() as upstream:
            pass
        async with FaultProxy(upstream.url) as proxy:
            with pytest.raises(Lost, match="reset"):
                await ask(proxy.url, "POST", "/orders", b"x")
            record = proxy.requests()[0]
            assert (record.fate, record.forwarded, record.status) == (Fate.UPSTREAM_DEAD, 0, None)

    run(scenario)


@pytest.mark.parametrize(
    ("wanted", "seen"), [(Ending.CLOSE, "closed"), (Ending.RESET, "reset"), (502, 502), (None, "closed")]
)
def test_what_a_dead_upstream_looks_like_is_a_choice(wanted: Ending | int | None, seen: str | int) -> None:
    """An upstream that ends before its answer is shown as it is, as the wanted ending, or as the wanted status."""

    async def scenario() -> str | int:
        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")

        async with raw_server(hang_up) as url, FaultProxy(url, dead_upstream=wanted) as proxy:
            try:
                found: str | int = (await ask(proxy.url, "GET", "/")).status
            except Lost as lost:
                found = lost.how
            record = proxy.requests()[0]
            assert (record.fate, record.forwarded) == (Fate.UPSTREAM_DEAD, 1)
            return found

    assert run(scenario) == seen


def test_an_upstream_that_dies_in_the_middle_of_its_answer_is_not_covered_up() -> None:
    """The client gets what there was and then the end of the connection, whatever dead_upstream says."""

    async def scenario() -> None:
        async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")

        async with raw_server(half) as url, FaultProxy(url, dead_upstream=502) as proxy:
            with pytest.raises(Lost, match="closed") as lost:
                await ask(proxy.url, "GET", "/")
            assert lost.value.before is not None and lost.value.before.body == b"12345"
            assert proxy.requests()[0].fate is Fate.UPSTREAM_DEAD

    run(scenario)


def test_an_upstream_that_does_not_speak_http_looks_dead() -> None:
    """An answer that is no HTTP ends the client's connection and says so in the record."""

    async def scenario() -> None:
        async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"SMTP ready\r\n\r\n")

        async with raw_server(babble) as url, FaultProxy(url) as proxy:
            with pytest.raises(Lost):
                await ask(proxy.url, "GET", "/")
            assert proxy.requests()[0].fate is Fate.UPSTREAM_DEAD

    run(scenario)


def test_an_answer_without_a_length_arrives_whole() -> None:
    """An HTTP/1.0 upstream that ends its answer by closing is passed on as one complete answer."""

    async def scenario() -> None:
        async def old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.0 200 OK\r\n\r\nold style")

        async with raw_server(old) as url, FaultProxy(url) as proxy:
            assert (await ask(proxy.url, "GET", "/")).body == b"old style"
            assert proxy.requests()[0].fate is Fate.ANSWERED

    run(scenario)


def test_an_idle_connection_that_the_upstream_closes_is_closed() -> None:
    """A kept connection ends for the client when it ends at the upstream."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, client(proxy.url) as one:
            await one.ask("GET", "/")
            await upstream.die()

            assert await one.reader.read() == b""

    run(scenario)


def test_a_restarted_upstream_is_reached_again() -> None:
    """New connections go to the upstream as it is now: dead while it is dead, alive when it is back."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            await ask(proxy.url, "GET", "/")
            await upstream.die()
            with pytest.raises(Lost):
                await ask(proxy.url, "GET", "/")
            await upstream.listen()
            assert (await ask(proxy.url, "GET", "/")).status == 200

    run(scenario)


def test_a_client_that_disappears_in_the_middle_of_its_request_never_reaches_the_upstream() -> None:
    """Half a body, then nobody: nothing is forwarded, and the record says why."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            async with client(proxy.url) as one:
                one.writer.write(b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
            async with client(proxy.url) as two:
                two.writer.write(b"POST /orders HTTP/1.1\r\nHo")
            records = await proxy.wait_for_requests(2)

            assert [record.fate for record in records] == [Fate.INCOMPLETE, Fate.INCOMPLETE]
            assert upstream.got == [] and upstream.raw == []
            assert (await ask(proxy.url, "GET", "/")).status == 200

    run(scenario)


def test_a_client_that_resets_in_the_middle_of_its_request_never_reaches_the_upstream() -> None:
    """A reset is told from an answered request, too."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            async with client(proxy.url) as one:
                one.writer.write(b"POST /o HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
                await one.reader.readuntil(b"\r\n\r\n")
                one.writer.write(b"12")
                await one.reset()
            records = await proxy.wait_for_requests()

            assert [record.fate for record in records] == [Fate.INCOMPLETE]
            assert upstream.raw == []

    run(scenario)


@pytest.mark.parametrize(
    ("sent", "status", "hint"),
    [
        (b"NONSENSE\r\n\r\n", 400, b"not HTTP/1.1"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400, b"not HTTP/1.1"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, b"not HTTP/1.1"),
        (b"GET http://venue.test/x HTTP/1.1\r\nHost: x\r\n\r\n", 501, b"no forward proxy"),
        (b"CONNECT venue.test:443 HTTP/1.1\r\nHost: x\r\n\r\n", 501, b"no forward proxy"),
    ],
)
def test_what_cannot_be_carried_is_refused_and_never_forwarded(sent: bytes, status: int, hint: bytes) -> None:
    """The client is told what is wrong, the upstream is not asked, and the record is there."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            async with client(proxy.url) as one:
                one.writer.write(sent)
                told = await one.reader.read()

            assert told.startswith(b"HTTP/1.1 %d " % status) and hint in told
            assert upstream.raw == []
            assert [record.fate for record in proxy.requests()] == [Fate.MALFORMED]

    run(scenario)


def test_a_hundred_clients_at_once_get_their_own_answers() -> None:
    """Connections do not mix, and all of them end with the proxy."""

    async def scenario() -> None:
        async def echo(got: Got) -> Answer:
            return Answer(200, {}, got.body)

        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            upstream.answers["/echo"] = echo

            async def one(n: int) -> bool:
                async with client(proxy.url) as each:
                    return all([(await each.ask("POST", "/echo", b"%d/%d" % (n, k))).body == b"%d/%d" % (n, k)
                                for k in range(3)])  # fmt: skip

            assert all(await asyncio.gather(*(one(n) for n in range(100))))
            assert proxy.counts() == Counts(seen=300, forwarded=300, answered=300)

    run(scenario)


def test_closing_ends_everything_that_is_under_way() -> None:
    """Idle, held, hanging, half-sent and WebSocket connections are all ended by aclose, which may be called twice."""

    async def scenario() -> None:
        async with Upstream() as upstream, contextlib.AsyncExitStack() as stack:
            proxy = FaultProxy(upstream.url)
            await proxy.start()
            held = proxy.hold(path="/held")
            hung = proxy.drop_request(path="/hung", ending=Ending.HANG)
            idle, waiting, hanging, half, socket = [
                await stack.enter_async_context(client(proxy.url)) for _ in range(5)
            ]
            await idle.ask("GET", "/")
            await waiting.send("GET", "/held")
            await hanging.send("GET", "/hung")
            half.writer.write(b"GET / HT")
            await socket.send(
                "GET",
                "/ws",
                headers={"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
                         "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="},
            )  # fmt: skip
            await held.wait()
            await hung.wait()
            await upstream.until(lambda: upstream.sockets)
            await proxy.aclose()
            await proxy.aclose()

            assert proxy.connections == 0
            for each in (idle, waiting, hanging, half):
                assert await ended(each)
            assert {record.path: record.fate for record in proxy.requests()}["/held"] is Fate.ABANDONED
            await upstream.until(lambda: upstream.connections == 0)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", proxy.port)

    run(scenario)


async def ended(each: Client) -> bool:
    """Whether nothing more comes on a connection, in whatever way it ended."""
    try:
        return await each.reader.read() == b""
    except ConnectionError:
        return True


def test_connections_can_be_refused_and_accepted_again() -> None:
    """While it refuses, a client meets "connection refused" on the same port; open connections live on."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, client(proxy.url) as old:
            await old.ask("GET", "/")
            await proxy.refuse_connections()
            await proxy.refuse_connections()
            with pytest.raises(ConnectionRefusedError):
                await ask(proxy.url, "GET", "/")
            assert (await old.ask("GET", "/")).status == 200
            await proxy.accept_connections()
            await proxy.accept_connections()
            assert (await ask(proxy.url, "GET", "/")).status == 200
            await proxy.refuse_connections()

    run(scenario)


@pytest.mark.parametrize("turns", range(6))
def test_what_connects_while_it_stops_to_listen_is_not_left_open(turns: int) -> None:
    """In whatever turn of the loop that is: a socket that nobody owns would be a warning, and here an error."""

    async def scenario() -> None:
        async with FaultProxy("http://127.0.0.1:9") as proxy:
            with socket.socket() as client:
                client.connect(("127.0.0.1", proxy.port))
                for _ in range(turns):
                    await asyncio.sleep(0)
                await proxy.refuse_connections()

    run(scenario)
    gc.collect()


def test_a_refused_port_stays_reserved() -> None:
    """Nobody else gets the port while the proxy does not listen on it, and it is free after the end."""

    async def scenario() -> int:
        async with FaultProxy("http://127.0.0.1:9") as proxy:
            await proxy.refuse_connections()
            with socket.socket() as thief, pytest.raises(OSError, match="in use"):
                thief.bind(("127.0.0.1", proxy.port))
            return proxy.port

    port = run(scenario)
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))


def test_a_proxy_is_started_once() -> None:
    """Before the start it has no address; it starts once; after the end it refuses to listen again."""

    async def scenario() -> None:
        proxy = FaultProxy("http://127.0.0.1:9")
        with pytest.raises(ProxyError, match="before it is started"):
            _ = proxy.url
        with pytest.raises(ProxyError, match="not running"):
            await proxy.refuse_connections()
        await proxy.start()
        with pytest.raises(ProxyError, match="make a new one"):
            await proxy.start()
        await proxy.aclose()
        with pytest.raises(ProxyError, match="not running"):
            await proxy.accept_connections()

    run(scenario)


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("venue.test/x", "scheme and host"),
        ("ftp://venue.test", "scheme and host"),
        ("https://", "scheme and host"),
        ("https://me:pw@venue.test", "credentials to the adapter"),
        ("https://venue.test/#x", "fragment"),
    ],
)
def test_an_upstream_that_cannot_be_one_is_refused(url: str, hint: str) -> None:
    """The message says what an upstream's address needs."""
    with pytest.raises(ValueError, match=hint):
        FaultProxy(url)


def test_parameters_that_make_no_sense_are_refused() -> None:
    """Each says what would be accepted."""
    with pytest.raises(ValueError, match="400 to 599"):
        FaultProxy("http://x", dead_upstream=200)
    with pytest.raises(ValueError, match="at least 1"):
        FaultProxy("http://x", max_body=0)
    with pytest.raises(ValueError, match="https://"):
        FaultProxy("http://x", ssl_context=client_tls())
