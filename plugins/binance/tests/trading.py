"""A real kernel on the simulated Binance, behind the fault proxy, and what became of its orders."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from random import Random
from typing import Any

from exchange_kernel.clock import SystemClock
from exchange_kernel.kernel import Kernel
from exchange_kernel.models import IntentStatus, OrderState
from exchange_kernel.reconcile.session import Settings
from exchange_kernel.schema import Side, StandardOrder, TimeInForce
from exchange_kernel.state.memory import MemoryIntentStore
from exchange_kernel.testing.conformance import TruthOrder
from exchange_kernel.testing.virtual import SeededIds
from exchange_kernel_binance.conformance import BinanceHarness

ENDED = (IntentStatus.FILLED, IntentStatus.CANCELED, IntentStatus.REJECTED, IntentStatus.EXPIRED)
QUICK = Settings(
    lease_ms=30_000,
    snapshot_every=1.0,
    first_look=0.03,
    backoff=0.1,
    max_backoff=1.0,
    submit_timeout=8.0,
    read_timeout=8.0,
)


class Trading:
    """One account: what lasts is the store, kernels come and go."""

    def __init__(self, harness: BinanceHarness) -> None:
        self.harness = harness
        self.store = MemoryIntentStore(SystemClock(), SeededIds(Random(1)))  # the database has a clock of its own
        self._session = 0

    @asynccontextmanager
    async def kernel(self, settings: Settings = QUICK) -> AsyncIterator[Kernel]:
        """A kernel on the store, stopped afterwards."""
        context = self.harness.context()
        self._session += 1
        kernel = Kernel(
            context.account,
            self.harness.adapter(),
            self.store,
            venue=self.harness.venue,
            venue_config=context.config,
            secrets=context.secrets,
            settings=settings,
            clock=self.harness.clock,
            ids=SeededIds(Random(100 + self._session)),
        )
        await kernel.start()
        try:
            yield kernel
        finally:
            await kernel.stop()

    async def reaches(self, kernel: Kernel, name: str, *wanted: IntentStatus, **has: Any) -> OrderState:
        """The order's state once it has one of these statuses, and these values."""
        state = await kernel.get_order_state(name)

        async def there() -> bool:
            nonlocal state
            state = await kernel.get_order_state(name)
            return state.status in wanted and all(getattr(state, key) == value for key, value in has.items())

        try:
            await self.until(there)
        except TimeoutError:
            raise AssertionError(f"{name} is {state}") from None
        return state

    async def until(self, there: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
        """Wait for it. Raises TimeoutError."""
        ends = time.monotonic() + seconds
        while not await there():
            if time.monotonic() > ends:
                raise TimeoutError
            await asyncio.sleep(0.02)

    async def orders(self) -> list[TruthOrder]:
        """Every order of the account there ever was, as Binance knows it."""
        return list(await self.harness.truth())

    async def live(self) -> list[TruthOrder]:
        """Those that rest now."""
        return [each for each in await self.orders() if each.live]


def resting(harness: BinanceHarness, amount: str = "0.03", price: str = "") -> StandardOrder:
    """A limit order that rests."""
    spec = harness.resting()
    return StandardOrder(harness.symbol, Side.BUY, amount, limit_price=price or f"{spec.limit:f}")


def crossing(harness: BinanceHarness, amount: str = "0.03") -> StandardOrder:
    """A market order, which trades at once."""
    return StandardOrder(harness.symbol, Side.BUY, amount, time_in_force=TimeInForce.IOC)


def on(make: Callable[[], BinanceHarness], scene: Callable[[Trading], Awaitable[None]]) -> None:
    """Play the scene on an exchange of its own."""

    async def play() -> None:
        harness = make()
        await harness.start()
        try:
            await asyncio.wait_for(scene(Trading(harness)), 60)
        finally:
            await harness.stop()

    asyncio.run(play())


def executed(orders: list[TruthOrder]) -> Decimal:
    """What all of them have executed, in base."""
    return sum((each.filled_base for each in orders), Decimal(0))


__all__ = ["ENDED", "QUICK", "Trading", "crossing", "executed", "on", "resting"]
