"""The way to the venue: each request once, and the difference between never sent and not answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from exchange_kernel.testing.faults import Ending, FaultProxy
from exchange_kernel_ccxt.requests import Request
from exchange_kernel_ccxt.wire import NeverSent, NoAnswer, Wire


async def venue(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        if length:
            await reader.readexactly(int(length[0].split(b":")[1]))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()


def between(scene: Callable[[FaultProxy, Wire], Awaitable[None]]) -> None:
    async def quiet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await venue(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def play() -> None:
        server = await asyncio.start_server(quiet, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        wire = Wire(0.5)
        async with server, FaultProxy(f"http://127.0.0.1:{port}") as proxy:
            try:
                await scene(proxy, wire)
            finally:
                await wire.close()

    asyncio.run(play())


def request(proxy: FaultProxy, method: str) -> Request:
    body = b"a=1" if method in ("POST", "PUT") else None
    return Request(method, f"{proxy.url}/order?a=1", "a=1", body, {"X-KEY": "canary"})


METHODS = pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])


@METHODS
def test_a_connection_that_breaks_is_not_tried_again(method: str) -> None:
    """The venue hears of a request once, whatever its method, also where the connection had served before."""

    async def scene(proxy: FaultProxy, wire: Wire) -> None:
        assert (await wire.send(request(proxy, method))).status == 200
        for ending in (Ending.CLOSE, Ending.RESET):
            proxy.forget()
            proxy.drop_answer(ending=ending)
            with pytest.raises(NoAnswer):
                await wire.send(request(proxy, method))
            assert proxy.counts().forwarded == 1

    between(scene)


@METHODS
def test_silence_is_no_answer(method: str) -> None:
    """After the timeout nobody knows whether it was done."""

    async def scene(proxy: FaultProxy, wire: Wire) -> None:
        proxy.drop_answer(ending=Ending.HANG)
        with pytest.raises(NoAnswer):
            await wire.send(request(proxy, method))

    between(scene)


@METHODS
def test_a_cut_answer_is_no_answer(method: str) -> None:
    """Half a body is not handed on as a whole one."""

    async def scene(proxy: FaultProxy, wire: Wire) -> None:
        proxy.truncate(1)
        with pytest.raises(NoAnswer):
            await wire.send(request(proxy, method))

    between(scene)


@METHODS
def test_without_a_connection_nothing_was_sent(method: str) -> None:
    """A refused connection is told apart from one that broke, and the text names no key."""

    async def scene(proxy: FaultProxy, wire: Wire) -> None:
        await proxy.refuse_connections()
        with pytest.raises(NeverSent) as caught:
            await wire.send(request(proxy, method))
        assert "canary" not in str(caught.value)
        assert proxy.requests() == []

    between(scene)


def test_a_redirect_is_an_answer() -> None:
    """It is not followed: whoever sent it does not get the request a second time, elsewhere."""

    async def scene(proxy: FaultProxy, wire: Wire) -> None:
        proxy.status(307, headers={"Location": f"{proxy.url}/elsewhere"})
        assert (await wire.send(request(proxy, "POST"))).status == 307
        assert len(proxy.requests()) == 1

    between(scene)
