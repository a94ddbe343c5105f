"""A running kernel on a real database whose floor gives way; the venue, in this process, goes on trading."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from exchange_kernel.errors import CommitUnknown, StoreUnavailable
from exchange_kernel.kernel import Kernel
from exchange_kernel.models import IntentStatus
from exchange_kernel.reconcile.session import Settings, make_key
from exchange_kernel.schema import Side, StandardOrder
from exchange_kernel.state import SqlIntentStore
from exchange_kernel.state.sql.verify import verify
from exchange_kernel_paper.adapter import PaperAdapter
from exchange_kernel_paper.exchange import Exchange, LoopClock
from exchange_kernel_paper.exchange import Settings as VenueSettings
from exchange_kernel_paper.registry import Registry
from exchange_kernel_paper.translate import client_id

ACCOUNT = "shop"
BTC = "BTC/USD"
PATIENCE_S = 40.0
QUICK = Settings(
    lease_ms=1_500, snapshot_every=1.0, sweep_every=0.1, first_look=0.1, backoff=0.05, max_backoff=0.3,
    single_shot_deadline_ms=120_000,
)  # fmt: skip


def buy(amount: str = "0.1", price: str = "49000") -> StandardOrder:
    """An order to buy that rests."""
    return StandardOrder(BTC, Side.BUY, Decimal(amount), limit_price=Decimal(price))


class Shop:
    """A venue, and kernels on one database."""

    def __init__(self, url: str) -> None:
        self.url = url
        settings = VenueSettings.of({"maker_fee": "0", "taker_fee": "0"})
        self.exchange = Exchange("hall", LoopClock(lambda: time.time_ns() // 1_000_000), settings)
        self.exchange.open_account(ACCOUNT, "paper", {"USD": "100000000", "BTC": "10"})
        self._registry = Registry()
        self._registry.add(self.exchange)
        self.store = SqlIntentStore(url)
        self.kernel = self.new_kernel()

    def new_kernel(self) -> Kernel:
        """A kernel that is not started."""
        config = {"venue": "hall", "account": ACCOUNT, "registry": self._registry, "house": False}
        return Kernel(ACCOUNT, PaperAdapter(), self.store, venue="paper", venue_config=config, settings=QUICK)

    def trade(self, amount: str) -> None:
        """Somebody sells into what rests."""
        self.exchange.trade_through(BTC, "SELL", "48500", amount)

    async def reaches(self, name: str, *wanted: IntentStatus) -> Decimal:
        """Wait for a status; what is booked then."""

        async def there() -> bool:
            try:
                return (await self.kernel.get_order_state(name)).status in wanted
            except StoreUnavailable:  # a server that starts accepts one connection before the other
                return False

        await until(there, f"{name} is {wanted}")
        return (await self.kernel.get_order_state(name)).filled_base

    async def place(self, order: StandardOrder, name: str) -> Counter[str]:
        """Repeat the call until it is answered, as a caller would; which errors it met."""
        met: Counter[str] = Counter()
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    await self.kernel.place_order(order, name)
                    return met
                except (StoreUnavailable, CommitUnknown) as error:
                    met[type(error).__name__] += 1
                    await asyncio.sleep(0.05)

    async def judge(self, *declared: str) -> None:
        """Every declared intent is there, with exactly one order at the venue and all of it booked; the log is
        whole."""
        await self.kernel.force_reconciliation()
        row = await self.store.store_row()
        intents = {intent.intent_id for intent in await self.kernel.get_all_intents()}
        assert set(declared) <= intents
        for name in intents:
            clients = {client_id(make_key(bytes.fromhex(row.store_id), ACCOUNT, name, n)) for n in range(1, 20)}
            orders = [o for o in self.exchange.ledger.orders() if o.client in clients and o.status != "REJECTED"]
            assert len(orders) == 1, (name, [o.view() for o in orders])
            state = await self.kernel.get_order_state(name)
            assert state.filled_base == orders[0].base, (name, state, orders[0].view())
        assert (await verify(self.store, ACCOUNT)).differences == ()
        assert row.suspicion is None


async def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait until a condition, plain or async, holds."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = condition()
                found = await found if asyncio.iscoroutine(found) else found
                if found:
                    return found
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {PATIENCE_S} s: {what}") from None
