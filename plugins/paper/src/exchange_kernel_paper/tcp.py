"""The same link over TCP to an exchange that is a process of its own (:mod:`exchange_kernel_paper.server`).

One JSON object per line. A call is ``{"id":1,"op":"order","body":"…"}``; its answer ``{"id":1,"body":"…"}``, or
``{"id":1,"refused":true}`` where the exchange plays a refused connection. A lost answer is a closed connection.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from exchange_kernel_paper.exchange import decode, encode
from exchange_kernel_paper.link import NeverSent, NoAnswer, Stream, StreamRefused

LINE_LIMIT = 2**26


class TcpLink:
    """To an exchange at ``host:port``. ``timeout``: seconds to wait for an answer, and for a connection."""

    def __init__(self, host: str, port: int, timeout: float = 5.0) -> None:
        self._host, self._port, self._timeout = host, port, timeout
        self._channel: _Channel | None = None
        self._connecting = asyncio.Lock()
        self._streams: list[_Channel] = []

    async def call(self, op: str, body: bytes) -> bytes:
        answer = await self.exchange({"op": op, "body": body.decode()})
        if answer.get("refused"):
            raise NeverSent("connection refused")
        return str(answer["body"]).encode()

    async def exchange(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send one message and wait for its answer. Raises NeverSent, NoAnswer."""
        channel = await self._connected()
        answer = channel.send(message)
        try:
            async with asyncio.timeout(self._timeout):
                return await answer
        except TimeoutError:
            raise NoAnswer(f"no answer within {self._timeout} s") from None

    async def subscribe(self, body: bytes) -> Stream:
        channel = await _Channel.open(self._host, self._port, self._timeout)
        try:
            async with asyncio.timeout(self._timeout):
                answer = await channel.send({"op": "subscribe", "body": body.decode()})
        except TimeoutError:
            channel.close()
            raise NoAnswer(f"no answer within {self._timeout} s") from None
        except BaseException:  # whoever asked for the stream went away
            channel.close()
            raise
        if answer.get("refused"):
            channel.close()
            raise NeverSent("connection refused")
        if answer.get("body") is not None:
            channel.close()
            raise StreamRefused(str(answer["body"]).encode())
        self._streams = [each for each in self._streams if not each.closed]
        self._streams.append(channel)
        return channel

    async def close(self) -> None:
        channels = [*self._streams, *([self._channel] if self._channel is not None else [])]
        self._channel, self._streams = None, []
        for channel in channels:
            channel.close()
            await channel.ended()

    async def _connected(self) -> _Channel:
        async with self._connecting:
            if self._channel is None or self._channel.closed:
                self._channel = await _Channel.open(self._host, self._port, self._timeout)
            return self._channel


class _Channel:
    """One connection: answers by id, and messages without an id as a stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._messages: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._count = 0
        self.closed = False
        self._task = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, host: str, port: int, patience: float) -> _Channel:
        """Connect. Raises NeverSent."""
        try:
            async with asyncio.timeout(patience):
                reader, writer = await asyncio.open_connection(host, port, limit=LINE_LIMIT)
        except (OSError, TimeoutError) as error:
            raise NeverSent(f"cannot connect to {host}:{port}: {error}") from None
        return cls(reader, writer)

    def send(self, message: dict[str, Any]) -> asyncio.Future[dict[str, Any]]:
        """Write one message; the future is its answer, or NoAnswer. Raises NeverSent when the connection is closed."""
        if self.closed:
            raise NeverSent("the connection was closed before the request")
        self._count += 1
        answer = self._waiting[self._count] = asyncio.get_running_loop().create_future()
        self._writer.write(encode({"id": self._count, **message}) + b"\n")
        return answer

    def __aiter__(self) -> _Channel:
        return self

    async def __anext__(self) -> bytes:
        message = await self._messages.get()
        if message is None:
            raise StopAsyncIteration
        return message

    def close(self) -> None:
        self._end()
        self._task.cancel()

    async def ended(self) -> None:
        """Wait until the reading task is over."""
        with suppress(asyncio.CancelledError):
            await self._task

    async def _read(self) -> None:
        with suppress(OSError, ValueError):
            while line := await self._reader.readline():
                message = decode(line)
                number = message.get("id")
                if number is None:
                    self._messages.put_nowait(str(message["event"]).encode())
                    continue
                answer = self._waiting.pop(number, None)
                if answer is not None and not answer.done():
                    answer.set_result(message)
        self._end()

    def _end(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._writer.close()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(NoAnswer("the connection was closed after the request"))
        self._waiting.clear()
        self._messages.put_nowait(None)


class Control:
    """The test side of a running server: faults, quotes, and what its ledger says."""

    def __init__(self, host: str, port: int, timeout: float = 5.0) -> None:
        self._link = TcpLink(host, port, timeout)

    async def do(self, name: str, *args: object, **kwargs: object) -> Any:
        """Run one control operation (see ``server.py``). Raises RuntimeError with what the server said against it."""
        answer = await self._link.exchange({"op": "control", "do": name, "args": args, "kwargs": kwargs})
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]

    async def close(self) -> None:
        """Close the connection."""
        await self._link.close()
