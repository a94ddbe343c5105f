"""Streams to subscribers: numbered account events, prices, heartbeats; with the faults a network adds.

Every message of an account's stream carries ``n``, rising by one; a heartbeat carries the newest ``n``, so that a
subscriber notices what it missed even when nothing follows.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from decimal import Decimal

from exchange_kernel_paper.exchange.clock import VenueClock
from exchange_kernel_paper.exchange.codec import encode
from exchange_kernel_paper.exchange.faults import EVENT, Faults
from exchange_kernel_paper.exchange.numbers import text

Top = tuple[Decimal | None, Decimal | None, Decimal | None]


class Subscription:
    """A bounded queue of messages to iterate over; it ends when closed, or when the reader fell too far behind."""

    def __init__(self, size: int) -> None:
        self._messages: deque[bytes] = deque()
        self._size = size
        self._reader: asyncio.Future[None] | None = None
        self.closed = self.silent = False
        self.held_back: bytes | None = None

    def push(self, message: bytes) -> None:
        """Queue a message; on overflow everything queued is lost and the stream ends."""
        if self.closed or self.silent:
            return
        if len(self._messages) >= self._size:
            self._messages.clear()
            self.close()
            return
        self._messages.append(message)
        self._wake()

    def close(self) -> None:
        """End the stream once what is queued has been read. Idempotent."""
        self.closed = True
        self._wake()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> bytes:
        while not self._messages:
            if self.closed:
                raise StopAsyncIteration
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        return self._messages.popleft()

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            try:
                reader.set_result(None)
            except RuntimeError:  # the reader's event loop is gone, and the reader with it
                self.closed = True


class Streams:
    """All subscriptions of one exchange. ``now``: venue ms UTC; ``top``: best bid, best ask, last price of a symbol."""

    def __init__(
        self,
        clock: VenueClock,
        faults: Faults,
        now: Callable[[], int],
        top: Callable[[str], Top],
        *,
        heartbeat_ms: int,
        queue_size: int,
    ) -> None:
        self._clock, self._faults, self._now, self._top = clock, faults, now, top
        self._heartbeat, self._size = heartbeat_ms / 1000, queue_size
        self._accounts: dict[str, list[Subscription]] = {}
        self._prices: list[tuple[Subscription, dict[str, Top | None]]] = []
        self._numbers: dict[str, int] = {}

    def account(self, name: str) -> Subscription:
        """Events of one account from now on; the first message says where the numbering stands."""
        subscription = Subscription(self._size)
        self._accounts.setdefault(name, []).append(subscription)
        self._beat(subscription, lambda: {"hello": self._numbers.get(name, 0), "t": self._now()})
        self._beat_later(subscription, lambda: {"beat": self._numbers.get(name, 0), "t": self._now()})
        return subscription

    def prices(self, symbols: tuple[str, ...]) -> Subscription:
        """Current prices of these symbols, then every change."""
        subscription = Subscription(self._size)
        self._prices.append((subscription, dict.fromkeys(symbols)))
        self.publish_prices()
        self._beat_later(subscription, lambda: {"beat": 0, "t": self._now()})
        return subscription

    @property
    def anybody(self) -> bool:
        """Does anybody listen at all?"""
        return bool(self._accounts or self._prices)

    def wanted(self, name: str) -> bool:
        """Does anybody listen to this account?"""
        return bool(self._accounts.get(name))

    def publish(self, name: str, payload: dict[str, object]) -> None:
        """Send an event to whoever listens to this account."""
        number = self._numbers[name] = self._numbers.get(name, 0) + 1
        listeners = self._accounts.get(name)
        if listeners:
            message = encode({"n": number, "t": self._now(), **payload})
            for subscription in listeners:
                self._send(subscription, message)
            if any(subscription.closed for subscription in listeners):
                self._accounts[name] = [each for each in listeners if not each.closed]

    def publish_prices(self) -> None:
        """Send whatever top of a book changed."""
        if not self._prices:
            return
        self._prices = [entry for entry in self._prices if not entry[0].closed]
        for subscription, shown in self._prices:
            for symbol, before in shown.items():
                top = self._top(symbol)
                if top != before:
                    shown[symbol] = top
                    bid, ask, last = (None if price is None else text(price) for price in top)
                    subscription.push(
                        encode({"symbol": symbol, "t": self._now(), "bid": bid, "ask": ask, "last": last})
                    )

    def disconnect(self) -> None:
        """Break every stream."""
        for subscriptions in self._accounts.values():
            for subscription in subscriptions:
                subscription.close()
        for subscription, _ in self._prices:
            subscription.close()
        self._accounts, self._prices = {}, []

    def _send(self, subscription: Subscription, message: bytes) -> None:
        if self._faults.active:
            if self._faults.draw("disconnect", EVENT):
                subscription.close()
                return
            if self._faults.draw("silence", EVENT):
                subscription.silent = True
            if self._faults.draw("event_drop", EVENT):
                return
            if subscription.held_back is None and self._faults.draw("event_reorder", EVENT):
                subscription.held_back = message
                return
            if self._faults.draw("event_duplicate", EVENT):
                subscription.push(message)
        subscription.push(message)
        self._release(subscription)

    def _release(self, subscription: Subscription) -> None:
        if subscription.held_back is not None:
            subscription.push(subscription.held_back)
            subscription.held_back = None

    def _beat(self, subscription: Subscription, message: Callable[[], dict[str, object]]) -> None:
        self._release(subscription)
        subscription.push(encode(message()))

    def _beat_later(self, subscription: Subscription, message: Callable[[], dict[str, object]]) -> None:
        def beat() -> None:
            if not subscription.closed:
                if self._faults.active and self._faults.draw("silence", EVENT):
                    subscription.silent = True
                self._beat(subscription, message)
                self._clock.call_later(self._heartbeat, beat)

        self._clock.call_later(self._heartbeat, beat)
