"""Users: declare, change and cancel over HTTP, and repeat what was not answered under the same name."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

from exchange_kernel.base import ExchangeKernel
from exchange_kernel.client import connect
from exchange_kernel.errors import (
    CommitUnknown,
    ExchangeKernelError,
    IntentFinished,
    NotRunning,
    StoreUnavailable,
)
from exchange_kernel.schema import Side, StandardOrder, TimeInForce
from exchange_kernel_paper.tcp import Control

SYMBOL = "BTC/USD"
ASKS = [("50000", "1"), ("50010", "20"), ("50400", "500")]
STYLES = {"market": 25, "ioc": 10, "cancel": 25, "change": 15, "change and cancel": 10, "rest": 5, "partly": 10}
AT_ONCE = 300
PASSING = (StoreUnavailable, CommitUnknown, NotRunning)


@dataclass(slots=True)
class Wish:
    """What a user wants and was told. ``orders``: by generation; ``asked``: was it sent at all; ``placed``,
    ``canceled``: were these answered; ``generation``: the newest that was answered."""

    account: str
    name: str
    style: str
    orders: dict[int, StandardOrder] = field(default_factory=dict)
    placed: bool = False
    generation: int = 0
    cancel_asked: bool = False
    canceled: bool = False

    @property
    def most(self) -> Decimal:
        """The largest total that was ever asked for."""
        return max(order.amount for order in self.orders.values())


class Load:
    """A steady flow of intents. ``wishes``: by account and name; ``surprises``: answers that nobody should get.
    ``answered``: when anything was answered last; ``longest``: for how long somebody had to ask, in seconds."""

    def __init__(self, seed: int, accounts: tuple[str, ...], url: str, token: str, rate: float) -> None:
        self._rng = Random(f"load {seed}")
        self._accounts, self._url, self._token, self._rate = accounts, url, token, rate
        self.wishes: dict[tuple[str, str], Wish] = {}
        self.surprises: list[str] = []
        self.counts: Counter[str] = Counter()
        self.answered = time.monotonic()
        self.longest = 0.0
        self._at_once = asyncio.Semaphore(AT_ONCE)

    async def run(self, intents: int) -> None:
        """Declare so many intents, and see each through to its last answer."""
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as users:
            kernels = {}
            for name in self._accounts:
                kernel = connect(self._url, self._token, name)
                await self._insist(kernel.start)
                stack.push_async_callback(kernel.stop)
                kernels[name] = kernel
            due = time.monotonic()
            for number in range(intents):
                await self._at_once.acquire()
                account = self._rng.choice(self._accounts)
                style = self._rng.choices(list(STYLES), list(STYLES.values()))[0]
                wish = Wish(account, f"i{number:05}", style)
                self.wishes[account, wish.name] = wish
                users.create_task(self._user(kernels[account], wish, Random(self._rng.random())))
                # What an outage held up is made up for, twice as fast.
                gap = self._rng.uniform(0.2, 1.8) / self._rate
                due += gap
                await asyncio.sleep(max(gap / 2, due - time.monotonic()))
            # The kernels are closed only when the last of their users has done.
            while users._tasks:
                await asyncio.sleep(0.2)

    async def _user(self, kernel: ExchangeKernel, wish: Wish, rng: Random) -> None:
        try:
            await self._live(kernel, wish, rng)
        except ExchangeKernelError as error:
            self.surprises.append(f"{wish.account} {wish.name} ({wish.style}): {type(error).__name__}: {error}")
        finally:
            self._at_once.release()

    async def _live(self, kernel: ExchangeKernel, wish: Wish, rng: Random) -> None:
        amount = Decimal(rng.randint(1, 20)) / 1000
        price = Decimal(rng.randint(4900, 4990) * 10)
        if wish.style == "market":
            order = StandardOrder(SYMBOL, Side.BUY, amount)
        elif wish.style == "ioc":
            order = StandardOrder(SYMBOL, Side.BUY, amount, limit_price=Decimal(50400), time_in_force=TimeInForce.IOC)
        elif wish.style == "partly":
            order = StandardOrder(SYMBOL, Side.BUY, 100 * amount, limit_price=Decimal(50000))
        else:
            order = StandardOrder(SYMBOL, Side.BUY, amount, limit_price=price)
        wish.orders[1] = order
        await self._insist(lambda: kernel.place_order(order, wish.name))
        wish.placed, wish.generation = True, 1
        self.counts["placed"] += 1
        if wish.style.startswith("change"):
            for generation in range(2, rng.randint(2, 3) + 1):
                await asyncio.sleep(rng.uniform(0.0, 3.0))
                changed = order.but(amount=amount * rng.randint(1, 3), limit_price=price - 10 * generation)
                wish.orders[generation] = changed
                before = generation - 1
                if not await self._still(lambda o=changed, g=before: _change(kernel, wish.name, o, g)):  # type: ignore[misc]
                    return
                wish.generation = generation
                self.counts["changed"] += 1
        if wish.style in ("cancel", "change and cancel", "partly"):
            await asyncio.sleep(rng.choice((0.0, rng.uniform(0.0, 6.0))))
            wish.cancel_asked = True
            await self._still(lambda: kernel.cancel_order(wish.name))
            wish.canceled = True
            self.counts["canceled"] += 1

    async def _still(self, call: Callable[[], Awaitable[object]]) -> bool:
        """Insist; False where the order is over already, which is an answer."""
        try:
            await self._insist(call)
        except IntentFinished:
            self.counts["over already"] += 1
            return False
        return True

    async def _insist(self, call: Callable[[], Awaitable[object]]) -> None:
        wait, began = 0.2, time.monotonic()
        while True:
            try:
                await call()
                self.answered = time.monotonic()
                self.longest = max(self.longest, self.answered - began)
                return
            except PASSING as error:
                self.counts[f"asked again: {type(error).__name__}"] += 1
                await asyncio.sleep(wait)
                wait = min(2 * wait, 2.0)


async def _change(kernel: ExchangeKernel, name: str, order: StandardOrder, before: int) -> None:
    await kernel.modify_order(name, order, expected_generation=before)


async def market(control: Control, done: asyncio.Event) -> None:
    """Somebody sells what is asked for, and now and then hits what rests."""
    turn = 0
    while not done.is_set():
        turn += 1
        await control.do("set_ladder", SYMBOL, [], ASKS)
        if turn % 4 == 0:
            await control.do("trade_through", SYMBOL, "SELL", "49600", "0.3")
        try:
            await asyncio.wait_for(done.wait(), 1.0)
        except TimeoutError:
            continue
