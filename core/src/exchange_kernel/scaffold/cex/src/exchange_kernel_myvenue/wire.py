"""The way to the venue: bytes out, bytes back. What is a function call here becomes an HTTP and a WebSocket client.

What must stay true of it: one request per call, never repeated by itself, and ``ConnectionError`` when no answer came.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from .venue import Exchange

BEAT_S = 1.0
"""How often the venue says on a quiet stream that it is still there."""
BACKLOG = 1_000


@dataclass(slots=True)
class Armed:
    """A fault for the next ``times`` occasions, once ``after`` of them have passed."""

    kind: str
    on: str
    times: int
    ms: int
    after: int


@dataclass(slots=True)
class Faults:
    """What goes wrong on the way to one exchange, for tests, and how much arrived there in spite of it."""

    armed: list[Armed] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    down_until: int = 0
    requests: int = 0
    changes: int = 0

    def draw(self, *on: str) -> tuple[str, int]:
        """The fault that strikes now, and its ms; "" for none."""
        for each in self.armed:
            if each.on not in on:
                continue
            if each.after:
                each.after -= 1
                continue
            each.times -= 1
            if not each.times:
                self.armed.remove(each)
            return each.kind, each.ms
        return "", 0


VENUES: dict[str, tuple[Exchange, Faults]] = {}
"""The exchanges of this process, by name."""


def connect(name: str, clock: Callable[[], int]) -> tuple[Exchange, Wire]:
    """A connection to the exchange of that name, which is made if it is not there. ``clock``: ms UTC."""
    if name not in VENUES:
        VENUES[name] = Exchange(clock), Faults()
    exchange, faults = VENUES[name]
    return exchange, Wire(exchange, faults)


class Wire:
    """One customer's connection. ``faults`` are shared by everybody's connections to this exchange."""

    def __init__(self, exchange: Exchange, faults: Faults) -> None:
        self._exchange, self._faults = exchange, faults
        self._streams: list[Stream] = []

    async def call(self, data: bytes, *, change: bool = False) -> bytes:
        """Send one request, once. Raises ConnectionError when no answer came, whatever became of the request."""
        exchange, faults = self._exchange, self._faults
        kind, ms = faults.draw("change" if change else "read", "any")
        await asyncio.sleep(ms / 1000 if kind == "slow" else 0.001)
        if exchange.clock() < faults.down_until or kind == "request_lost":
            raise ConnectionError("the connection broke")
        if kind == "late":
            asyncio.get_running_loop().call_later(ms / 1000, self._arrive, data, change)
            raise ConnectionError("the connection broke")
        if kind in ("rate_limit", "read_limited", "banned"):
            return self._refuse(
                "BANNED" if kind == "banned" else "RATE", "too many requests", change, retry=exchange.clock() + ms
            )
        if kind in ("unavailable", "read_fails"):
            return self._refuse("SERVER", "internal error", change)
        answer = self._arrive(data, change)
        if kind == "error_after":
            return json.dumps({"t": exchange.clock(), "code": "SERVER", "message": "internal error"}).encode()
        if kind == "answer_lost":
            raise ConnectionError("the connection broke")
        return answer[: len(answer) // 2] if kind in ("garbled", "read_garbled") else answer

    async def stream(self, data: bytes) -> tuple[bytes, Stream]:
        """Open the account's stream: the venue's answer, and the stream. Raises ConnectionError."""
        stream = Stream(self._exchange, json.loads(data.partition(b"\n")[0])["account"], self._faults)
        self._streams.append(stream)
        try:
            return await self.call(data), stream
        except BaseException:
            stream.close()
            raise

    def close(self) -> None:
        """Close everything. Idempotent."""
        while self._streams:
            self._streams.pop().close()

    def _arrive(self, data: bytes, change: bool) -> bytes:
        self._faults.requests += 1
        self._faults.changes += change
        return self._exchange.serve(data)

    def _refuse(self, code: str, message: str, change: bool, **more: int) -> bytes:
        self._faults.requests += 1
        self._faults.changes += change
        return json.dumps({"t": self._exchange.clock(), "code": code, "message": message, **more}).encode()


class Stream:
    """Messages of one account, numbered by ``n``; a heartbeat with the newest number where it is quiet."""

    def __init__(self, exchange: Exchange, account: str, faults: Faults) -> None:
        self._exchange, self._account, self._faults = exchange, account, faults
        self._messages: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._held: list[bytes] = []
        self._listener: tuple[str, Callable[[bytes], None]] | None = (account, self._hear)
        self.silent = False
        exchange.listeners.append(self._listener)
        faults.streams.append(self)

    async def receive(self) -> bytes:
        """The next message, or a heartbeat. Raises ConnectionError when the connection has ended."""
        while True:
            try:
                async with asyncio.timeout(BEAT_S):
                    message = await self._messages.get()
            except TimeoutError:
                if not self.silent:
                    beat = self._exchange.accounts[self._account].events
                    return json.dumps({"t": self._exchange.clock(), "beat": beat}).encode()
            else:
                if message is None:
                    raise ConnectionError("the stream has ended")
                return message

    def close(self) -> None:
        """End it. Idempotent."""
        if self._listener is not None:
            self._exchange.listeners.remove(self._listener)
            self._faults.streams.remove(self)
            self._listener = None
            self._messages.put_nowait(None)

    def _hear(self, message: bytes) -> None:
        kind, _ = self._faults.draw("event")
        if self.silent or kind == "event_lost":
            return
        if kind == "events_reordered":
            self._held.append(message)
            return
        for each in (message, *self._held, *([message] if kind == "event_repeated" else [])):
            self._messages.put_nowait(each)
        self._held.clear()
        if self._messages.qsize() > BACKLOG:
            self.close()  # whoever reads so slowly has to come back and ask
