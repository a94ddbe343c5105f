"""Each fault of requests and answers, seen from both ends of the wire."""

from __future__ import annotations

import asyncio

import pytest

from core.tests.testing.venue import (
    Answer,
    Got,
    Upstream,
    client_tls,
)
from core.tests.testing.wires import (
    Client,
    Lost,
    Refused,
    ask,
    client,
    pending,
    run,
    websocket,
)
from exchange_kernel.testing.faults import Counts, Ending, Fate, FaultProxy, ProxyError

ENDINGS = [(Ending.CLOSE, "closed"), (Ending.RESET, "reset")]


@pytest.mark.parametrize(("ending", "seen"), ENDINGS)
def test_a_dropped_request_never_reaches_the_upstream(ending: Ending, seen: str) -> None:
    """The client's connection ends as wanted, the upstream is not even connected to, and the next request passes."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            fault = proxy.drop_request(path="/orders", ending=ending)
            with pytest.raises(Lost, match=seen):
                await ask(proxy.url, "POST", "/orders", b"buy")
            assert upstream.raw == []
            assert (await ask(proxy.url, "POST", "/orders", b"buy")).status == 200

            assert fault.hits == 1
            assert [record.fate for record in proxy.requests()] == [Fate.REQUEST_DROPPED, Fate.ANSWERED]
            assert [record.forwarded for record in proxy.requests()] == [0, 1]
            assert proxy.requests()[0].faults == ("drop_request",)

    run(scenario)


def test_a_dropped_request_may_leave_its_client_hanging() -> None:
    """Nothing comes back and the connection stays open until the client gives up, which ends it."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            fault = proxy.drop_request(path="/orders", ending=Ending.HANG)
            async with client(proxy.url) as one:
                await one.send("POST", "/orders", b"buy")
                answer = asyncio.create_task(one.answer())
                await fault.wait()
                await pending(proxy, answer)
                assert [got.target for got in upstream.got] == ["/meanwhile"] * 3
                await one.reset()
                with pytest.raises(Lost):
                    await answer

    run(scenario)


@pytest.mark.parametrize(("ending", "seen"), ENDINGS)
def test_a_dropped_answer_was_given(ending: Ending, seen: str) -> None:
    """The upstream did it and answered in full; the client's connection ends as wanted."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            fault = proxy.drop_answer(method="POST", ending=ending)
            with pytest.raises(Lost, match=seen) as lost:
                await ask(proxy.url, "POST", "/orders", b"buy")

            record = proxy.requests()[0]
            assert lost.value.before is None
            assert [got.body for got in upstream.got] == [b"buy"]
            assert (fault.hits, record.fate, record.forwarded) == (1, Fate.ANSWER_DROPPED, 1)
            assert (record.upstream_status, record.status) == (200, None)
            assert proxy.counts() == Counts(seen=1, forwarded=1, answered=0)

    run(scenario)


def test_a_dropped_answer_may_leave_its_client_hanging() -> None:
    """The fault counts once the upstream has answered, while the client still waits."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, client(proxy.url) as one:
            fault = proxy.drop_answer(path="/orders", ending=Ending.HANG)
            await one.send("POST", "/orders", b"buy")
            answer = asyncio.create_task(one.answer())
            await fault.wait()
            assert [got.body for got in upstream.got] == [b"buy"]
            await pending(proxy, answer)
            answer.cancel()

    run(scenario)


def test_a_status_comes_from_the_proxy_alone() -> None:
    """The client gets status, headers and body; the upstream is not asked; the connection goes on."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, client(proxy.url) as one:
            fault = proxy.status(429, headers={"Retry-After": "7"}, body=b"slow down", path="/orders")
            answer = await one.ask("POST", "/orders", b"buy")

            assert (answer.status, answer.body, answer.headers["Retry-After"]) == (429, b"slow down", "7")
            assert upstream.raw == [] and fault.hits == 1
            assert proxy.requests()[0].fate is Fate.ANSWERED_BY_PROXY
            assert (await one.ask("POST", "/orders", b"buy")).status == 200

    run(scenario)


def test_a_status_may_hide_a_deed() -> None:
    """After asking: the upstream did it and said 200, the client is told 503."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, client(proxy.url) as one:
            proxy.status(503, body=b"{}", after_asking=True)
            answer = await one.ask("POST", "/orders", b"buy")
            record = proxy.requests()[0]

            assert (answer.status, answer.body) == (503, b"{}")
            assert [got.body for got in upstream.got] == [b"buy"]
            assert (record.fate, record.upstream_status, record.status) == (Fate.ANSWER_REPLACED, 200, 503)
            assert (await one.ask("GET", "/")).status == 200

    run(scenario)


@pytest.mark.parametrize(("method", "code"), [("HEAD", 503), ("GET", 204), ("GET", 304)])
def test_a_status_without_a_body_keeps_the_connection(method: str, code: int) -> None:
    """The proxy's own answers are framed as the protocol asks."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, client(proxy.url) as one:
            proxy.status(code, body=b"no HEAD has this" if code == 503 else b"")
            answer = await one.ask(method, "/")
            assert (answer.status, answer.body) == (code, b"")
            assert ("Content-Length" in answer.headers) == (code == 503)
            assert (await one.ask("GET", "/")).status == 200

    run(scenario)


@pytest.mark.parametrize("size", [0, 1, 5, 9, 10, 1000])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_truncated_answer_lacks_its_end(size: int, chunked: bool) -> None:
    """The client gets that much of the body, never the last byte, and then the end of the connection."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            upstream.answers["/x"] = Answer(200, {"Transfer-Encoding": "chunked"} if chunked else {}, b"0123456789")
            fault = proxy.truncate(size, path="/x")
            with pytest.raises(Lost, match="closed") as lost:
                await ask(proxy.url, "GET", "/x")

            assert lost.value.before is not None
            assert lost.value.before.body == b"0123456789"[: min(size, 9)]
            assert fault.hits == 1 and proxy.requests()[0].fate is Fate.ANSWER_TRUNCATED
            assert (await ask(proxy.url, "GET", "/x")).body == b"0123456789"

    run(scenario)


def test_an_empty_answer_is_truncated_to_nothing() -> None:
    """Where there is no body to cut, not even the head comes through, or the answer would be whole."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            upstream.answers["/x"] = Answer(204, {})
            proxy.truncate(5)
            with pytest.raises(Lost) as lost:
                await ask(proxy.url, "GET", "/x")
            assert lost.value.before is None

    run(scenario)


def test_a_garbled_answer_is_whole_and_wrong() -> None:
    """Status and framing are right and the body is not: by default noise, or given bytes, or what a function makes."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, client(proxy.url) as one:
            upstream.answers["/x"] = Answer(200, {"Content-Encoding": "gzip", "X-A": "1"}, b"0123456789")
            proxy.garble()
            proxy.garble(b"<html>")
            proxy.garble(lambda body: body[::-1])
            noise, page, backwards, clean = [await one.ask("GET", "/x") for _ in range(4)]

            assert noise.body == b"01234\xff\x00" and noise.headers["Content-Encoding"] == "gzip"
            assert page.body == b"<html>" and "Content-Encoding" not in page.headers and page.headers["X-A"] == "1"
            assert (backwards.body, clean.body) == (b"9876543210", b"0123456789")
            assert [record.fate for record in proxy.requests()] == [Fate.ANSWER_GARBLED] * 3 + [Fate.ANSWERED]

    run(scenario)


def test_an_answer_without_a_body_cannot_be_garbled() -> None:
    """It passes, and the fault has not hit."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, client(proxy.url) as one:
            fault = proxy.garble()
            assert (await one.ask("HEAD", "/")).status == 200
            assert (fault.hits, proxy.requests()[0].fate) == (0, Fate.ANSWERED)

    run(scenario)


@pytest.mark.parametrize(("ending", "seen"), ENDINGS)
@pytest.mark.parametrize("after", [None, 0, 20, 10_000])
def test_a_socket_closed_in_the_middle_leaves_half_a_request(after: int | None, ending: Ending, seen: str) -> None:
    """The upstream gets that many bytes, never all of them, and both connections end."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            fault = proxy.close_socket(after, ending=ending)
            with pytest.raises(Lost, match=seen):
                await ask(proxy.url, "POST", "/orders", b"x" * 200)
            await upstream.until(lambda: upstream.raw and upstream.connections == 0)
            record = proxy.requests()[0]

            assert upstream.got == []
            assert (fault.hits, record.fate, record.forwarded) == (1, Fate.SOCKET_CLOSED, 0)
            arrived = len(upstream.raw[0])
            await ask(proxy.url, "POST", "/orders", b"x" * 200)
            whole = len(upstream.raw[1])
            wanted = whole // 2 if after is None else min(after, whole - 1)
            assert arrived == wanted

    run(scenario)


def test_a_socket_that_hangs_in_the_middle_is_ended_by_the_client() -> None:
    """Both connections stay open until the client gives up."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            fault = proxy.close_socket(10, path="/orders", ending=Ending.HANG)
            async with client(proxy.url) as one:
                await one.send("POST", "/orders", b"x")
                await upstream.until(lambda: upstream.raw and len(upstream.raw[0]) == 10)
                await fault.wait()
                answer = asyncio.create_task(one.answer())
                await pending(proxy, answer)
                answer.cancel()
            await upstream.until(lambda: upstream.connections == 0)

    run(scenario)


def test_a_duplicated_request_arrives_twice_to_the_byte() -> None:
    """The upstream gets the same bytes on two connections; the client gets the first answer, after both."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy, client(proxy.url) as one:
            fault = proxy.duplicate_request(path="/orders")
            answer = await one.ask("POST", "/orders?n=1", b"buy", {"X-Sign": "s"})

            assert answer.body == b'{"done": 1}'
            assert len(upstream.got) == 2 and upstream.raw[0] == upstream.raw[1]
            assert (fault.hits, proxy.requests()[0].forwarded) == (1, 2)
            assert (await one.ask("POST", "/orders", b"buy")).body == b'{"done": 3}'

    run(scenario)


def test_faults_of_one_kind_meet_requests_in_a_row() -> None:
    """Two drops, then a 503, then nothing; a fault behind a dropped request is not used up."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            proxy.drop_request(times=2)
            proxy.status(503)
            answer_fault = proxy.garble(b"?")
            seen: list[object] = []
            for _ in range(5):
                try:
                    answer = await ask(proxy.url, "GET", "/")
                    seen.append((answer.status, answer.body))
                except Lost:
                    seen.append("lost")

            assert seen == ["lost", "lost", (503, b""), (200, b"?"), (200, b'{"done": 2}')]
            assert answer_fault.hits == 1

    run(scenario)


def test_the_count_is_kept_until_cleared() -> None:
    """``times`` None acts on every match until it, or the proxy, is cleared; ``skip`` lets the first ones pass."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            always = proxy.status(500, times=None, skip=2)
            assert [(await ask(proxy.url, "GET", "/")).status for _ in range(5)] == [200, 200, 500, 500, 500]
            assert always.active
            always.clear()
            assert (await ask(proxy.url, "GET", "/")).status == 200
            other = proxy.status(500, times=None)
            proxy.clear()
            assert (await ask(proxy.url, "GET", "/")).status == 200
            assert (always.hits, other.hits, always.active) == (3, 0, False)

    run(scenario)


def test_two_clients_at_once_meet_their_own_faults() -> None:
    """One client's request is dropped while the other's, at the same time, is answered."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            proxy.drop_answer(request_headers={"x-account": "a*"}, times=None)

            async def talk(account: str) -> list[str]:
                said = []
                for _ in range(5):
                    try:
                        said.append(str((await ask(proxy.url, "POST", "/", headers={"X-Account": account})).status))
                    except Lost as lost:
                        said.append(lost.how)
                return said

            alice, bob = await asyncio.gather(talk("alice"), talk("bob"))
            assert (alice, bob) == (["closed"] * 5, ["200"] * 5)
            assert proxy.counts() == Counts(seen=10, forwarded=10, answered=5)

    run(scenario)


def test_faults_work_behind_tls() -> None:
    """A dropped answer and a held request, with a TLS upstream whose client leaves."""

    async def scenario() -> None:
        async with Upstream(tls=True) as upstream, FaultProxy(upstream.url, ssl_context=client_tls()) as proxy:
            proxy.drop_answer()
            with pytest.raises(Lost):
                await ask(proxy.url, "POST", "/orders", b"1")
            hold = proxy.hold()
            async with client(proxy.url) as one:
                await one.send("POST", "/orders", b"2")
                await hold.wait()
            hold.release()
            await upstream.until(lambda: len(upstream.got) == 2)
            proxy.close_socket()
            with pytest.raises(Lost):
                await ask(proxy.url, "POST", "/orders", b"3")
            assert [got.body for got in upstream.got] == [b"1", b"2"]

    run(scenario)


def test_a_handshake_is_a_request() -> None:
    """A WebSocket's handshake can be refused, dropped, or accepted by the upstream and lost on the way back; faults
    that change bodies leave it alone."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            changing = [proxy.garble(path="/ws"), proxy.truncate(1, path="/ws"), proxy.duplicate_request(path="/ws")]
            proxy.status(401)
            proxy.drop_request()
            with pytest.raises(Refused, match="401"):
                await opened(proxy)
            with pytest.raises(Lost):
                await opened(proxy)
            assert upstream.raw == []
            proxy.drop_answer()
            proxy.status(503, after_asking=True)
            with pytest.raises(Lost):
                await opened(proxy)
            with pytest.raises(Refused, match="503"):
                await opened(proxy)
            assert len(upstream.sockets) == 2
            hold = proxy.hold()
            opening = asyncio.create_task(opened(proxy))
            await hold.wait()
            assert len(upstream.sockets) == 2
            hold.release()
            await opening

            assert [record.fate for record in proxy.requests()] == [
                Fate.ANSWERED_BY_PROXY,
                Fate.REQUEST_DROPPED,
                Fate.ANSWER_DROPPED,
                Fate.ANSWER_REPLACED,
                Fate.UPGRADED,
            ]
            assert [fault.hits for fault in changing] == [0, 0, 0]

    run(scenario)


async def opened(proxy: FaultProxy) -> None:
    """Open a WebSocket and leave it."""
    async with websocket(proxy.url):
        pass


def test_a_predicate_that_fails_is_not_hidden() -> None:
    """The request gets no answer and closing the proxy raises with the cause; inside a failing test it is a note."""

    def broken(body: bytes) -> bool:
        raise KeyError("order")

    async def scenario() -> None:
        async with Upstream() as upstream:

            async def use(expected: type[Exception]) -> None:
                async with FaultProxy(upstream.url) as proxy:
                    proxy.drop_answer(request_body=broken)
                    with pytest.raises(expected):
                        await ask(proxy.url, "POST", "/", b"x")

            with pytest.raises(ProxyError, match="correct the predicate") as failed:
                await use(Lost)
            assert isinstance(failed.value.__cause__, KeyError)
            with pytest.raises(Lost) as lost:
                await use(ZeroDivisionError)
            assert "KeyError" in lost.value.__notes__[0]

    run(scenario)


def test_an_answer_too_long_to_be_kept_is_not_spoilt_silently() -> None:
    """A fault that needs a whole answer says that it could not have it."""

    async def scenario() -> None:
        async with Upstream() as upstream:
            upstream.answers["/x"] = Answer(200, {}, b"x" * 101)
            proxy = FaultProxy(upstream.url, max_body=100)
            await proxy.start()
            assert len((await ask(proxy.url, "GET", "/x")).body) == 101
            proxy.drop_answer()
            with pytest.raises(Lost):
                await ask(proxy.url, "GET", "/x")
            proxy.garble()
            with pytest.raises(Lost):
                await ask(proxy.url, "GET", "/x")
            with pytest.raises(ProxyError, match="larger max_body"):
                await proxy.aclose()

    run(scenario)


def test_a_client_that_leaves_is_recorded() -> None:
    """The request was forwarded, the answer was for nobody."""

    async def scenario() -> None:
        go = asyncio.Event()

        async def slow(got: Got) -> Answer:
            await go.wait()
            return Answer(200, {}, b"x" * 1_000_000)

        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            upstream.answers["/x"] = slow
            one: Client
            async with client(proxy.url) as one:
                await one.send("GET", "/x")
                await upstream.until(lambda: upstream.got)
                await one.reset()
            go.set()
            await proxy.wait_for_requests(fate=Fate.CLIENT_GONE)
            assert proxy.counts() == Counts(seen=1, forwarded=1, answered=0)

    run(scenario)


def test_several_methods_may_be_named() -> None:
    """What is meant for all that changes something meets each of these methods, and no other."""

    async def scenario() -> None:
        async with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
            fault = proxy.status(503, method=("POST", "delete"), times=None)
            seen = [(await ask(proxy.url, method, "/orders")).status for method in ("POST", "DELETE", "GET", "PUT")]

            assert seen == [503, 503, 200, 200]
            assert fault.hits == 2
            assert proxy.counts(method=("GET", "PUT")).forwarded == 2

    run(scenario)
