"""A user stream on the simulated Binance, and an ear at it that waits for what a test expects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from exchange_kernel.clock import SystemClock
from exchange_kernel_binance.signatures import signer
from exchange_kernel_binance.simulator import Simulator
from exchange_kernel_binance.user_stream import Keyed, ListenKey, ListenToken, SignedSubscription, UserStream
from exchange_kernel_ccxt.stream_link import Dial, Gap, Live, Message, Patience
from exchange_kernel_ccxt.venue_clock import VenueClock
from plugins.binance.tests.stage import on_stage

CLOCK = SystemClock()
QUICK = Patience(
    connect_s=5, probe_s=0.2, silence_s=5, overlap_s=0.1, settle_s=0.05, backoff_s=(0.01, 0.1), queue=1_000
)
ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "40000", "quantity": "0.1"}


class Ear:
    """A running stream and what it told; waits for what a test expects, never for time."""

    def __init__(self, stream: UserStream) -> None:
        self.told: list[Any] = []
        self._stream = stream
        self._events = stream.events()

    async def next(self) -> Any:
        item = await asyncio.wait_for(anext(self._events), 20)
        self.told.append(item)
        return item

    async def live(self) -> Live:
        while not isinstance(item := await self.next(), Live):
            pass
        return item

    async def until(self, kind: str, **fields: Any) -> Message:
        """The next event of this kind; futures orders have their fields one deeper."""
        while True:
            item = await self.next()
            if not isinstance(item, Message) or item.event["e"] != kind:
                continue
            inner = item.event["o"] if kind in ("ORDER_TRADE_UPDATE", "ALGO_UPDATE") else item.event
            if all(inner[name] == value for name, value in fields.items()):
                return item

    @property
    def gaps(self) -> list[str]:
        return [item.why for item in self.told if isinstance(item, Gap)]

    def events(self, kind: str) -> list[Any]:
        return [item.event for item in self.told if isinstance(item, Message) and item.event["e"] == kind]


class Post:
    """Where a stream connects to in this simulator, as one of its accounts."""

    def __init__(self, simulator: Simulator, session: aiohttp.ClientSession, account: str = "alice") -> None:
        self.simulator, self.session = simulator, session
        self.key = simulator.keys_of[account]
        self.time = VenueClock(CLOCK, self.server_time)

    async def server_time(self) -> int:
        async with self.session.get(self.simulator.url + "/api/v3/time") as reply:
            return int((await reply.json())["serverTime"])

    def keyed(self) -> Keyed:
        return Keyed(lambda: self.session, self.simulator.url, self.key.key, CLOCK)

    def spot(self, secret: str | None = None) -> Dial:
        sign = signer(secret or self.key.secret)
        url = self.simulator.ws_url + "/ws-api/v3"
        return SignedSubscription(lambda: self.session, url, self.key.key, sign, self.time, CLOCK)

    def margin(self, symbol: str = "") -> Dial:
        url = self.simulator.ws_url + "/ws-api/v3"
        return ListenToken(lambda: self.session, url, self.keyed(), CLOCK, self.time, symbol)

    def futures(self) -> Dial:
        return ListenKey(lambda: self.session, self.simulator.ws_url + "/private/ws", self.keyed(), CLOCK)


@asynccontextmanager
async def posted(simulator: Simulator, account: str = "alice") -> AsyncIterator[Post]:
    async with aiohttp.ClientSession() as session:
        yield Post(simulator, session, account)


@asynccontextmanager
async def heard(dial: Dial, patience: Patience = QUICK) -> AsyncIterator[Ear]:
    """An ear at the stream; afterwards no task of it is left."""
    stream = UserStream(dial, CLOCK, patience)
    ear = Ear(stream)
    try:
        yield ear
    finally:
        await stream.close()
    running = [task.get_coro().__qualname__ for task in asyncio.all_tasks()]  # type: ignore[union-attr]
    assert [name for name in running if name.startswith(("Line.", "Stream.", "ListenKeyLink."))] == []


Scene = Callable[[Simulator, Post, Ear], Awaitable[None]]


def on_spot(scene: Scene, patience: Patience = QUICK) -> None:
    async def play(simulator: Simulator) -> None:
        async with posted(simulator) as post, heard(post.spot(), patience) as ear:
            await ear.live()
            await scene(simulator, post, ear)

    on_stage(play)


def buy(simulator: Simulator, account: str = "alice", **more: Any) -> Any:
    return simulator.act("order.place", account, {**ORDER, **more})


def trade(simulator: Simulator, quantity: str = "0.01") -> None:
    """Bob sells into what rests at 40000."""
    buy(simulator, "bob", side="SELL", quantity=quantity, price="40000", timeInForce="IOC")
