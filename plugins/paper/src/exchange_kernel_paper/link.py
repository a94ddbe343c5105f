"""The way to the exchange, as the adapter sees it: bytes out, bytes back, and what is known when no answer comes."""

from __future__ import annotations

from typing import Protocol

from exchange_kernel_paper.exchange import Exchange, NeverSent, NoAnswer, Refusal, Wire

__all__ = ["InProcessLink", "Link", "NeverSent", "NoAnswer", "Stream", "StreamRefused"]


class StreamRefused(Exception):
    """The exchange refuses a subscription; ``reply`` is its answer."""

    def __init__(self, reply: bytes) -> None:
        super().__init__("subscription refused")
        self.reply = reply


class Stream(Protocol):
    """Messages as they come. Ends when the connection does."""

    def __aiter__(self) -> Stream: ...

    async def __anext__(self) -> bytes: ...

    def close(self) -> None:
        """Stop. Idempotent."""
        ...


class Link(Protocol):
    """One account's connection to one exchange."""

    async def call(self, op: str, body: bytes) -> bytes:
        """Send one signed request, once, and return the answer. ``op`` names the operation in it.

        Raises NeverSent when not one byte left, NoAnswer when it may have arrived.
        """
        ...

    async def subscribe(self, body: bytes) -> Stream:
        """Open a stream with one signed request. Raises NeverSent, NoAnswer, StreamRefused."""
        ...

    async def close(self) -> None:
        """Close every connection. Idempotent."""
        ...


class InProcessLink:
    """To an exchange in this process. ``timeout_ms``: how long a call waits for a delayed answer."""

    def __init__(self, exchange: Exchange, timeout_ms: int = 10_000) -> None:
        self._wire = Wire(exchange)
        self._timeout_ms = timeout_ms
        self._streams: list[Stream] = []

    async def call(self, op: str, body: bytes) -> bytes:
        return await self._wire.call(op, body, self._timeout_ms)

    async def subscribe(self, body: bytes) -> Stream:
        try:
            stream = self._wire.subscribe(body)
        except Refusal as refusal:
            raise StreamRefused(self._wire.front.refuse(refusal)) from None
        self._streams.append(stream)
        return stream

    async def close(self) -> None:
        for stream in self._streams:
            stream.close()
        self._streams.clear()
