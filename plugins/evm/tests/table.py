"""A real kernel on a real chain, in this process: one account, blocks on demand, and the chain's own word.

:class:`Table` has the WETH venue on it; another venue's tests derive theirs and say what differs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from exchange_kernel.clock import SystemClock
from exchange_kernel.events import Event
from exchange_kernel.kernel import Kernel
from exchange_kernel.models import IntentStatus, OrderState
from exchange_kernel.reconcile.session import Settings
from exchange_kernel.schema import Side, StandardOrder, TimeInForce
from exchange_kernel.state import SqlIntentStore
from exchange_kernel.state.rows import Record, is_step
from exchange_kernel.venue import VenueAdapter
from exchange_kernel_evm.testing.evidence import Evidence
from plugins.evm.tests import weth
from plugins.evm.tests.chain import ADDRESSES, CONFIRMATIONS, KEYS, WETH, Node

__all__ = ["ACCOUNT", "ENDED", "Table", "order"]

ACCOUNT = "main"
ENDED = tuple(status for status in IntentStatus if status.terminal)
QUICK = Settings(sweep_every=0.1, first_look=0.05, backoff=0.05, max_backoff=0.3, snapshot_every=1.0)
PATIENCE_S = 60.0
BLOCK_S = 0.05
FULL, ROOM = 50_000, 30_000_000
"""Gas of a block that has no room for an order, but for a transfer of nothing; and of one with room for all."""


def order(amount: str = "0.01", side: Side = Side.BUY) -> StandardOrder:
    """All or nothing, at 1."""
    return StandardOrder(weth.SYMBOL, side, Decimal(amount), limit_price=1, time_in_force=TimeInForce.FOK)


class Table:
    """``config``: of the account, besides the node. ``adapter``: makes the venue."""

    venue = "weth"
    address, key = ADDRESSES[ACCOUNT], KEYS[ACCOUNT]
    tokens: Mapping[str, tuple[str, int]] = {"WETH": (WETH, 18)}
    """By name, those whose balances are compared: address and decimals."""
    defaults: Mapping[str, Any] = {}

    def __init__(
        self, node: Node, folder: Path, adapter: Callable[[], VenueAdapter] = weth.adapter, **config: Any
    ) -> None:
        self.node, self.folder, self._adapter = node, folder, adapter
        own = {"rpc": node.url, "confirmations": CONFIRMATIONS, "poll_ms": 20, "timeout_s": 1}
        self.config = {**own, **self.defaults, **config}
        self.base_fee: int | None = None
        node("evm_setAutomine", False)
        node("evm_setTime", SystemClock().now_ms() // 1000)
        node.mine()
        self.evidence = Evidence(node, self.address, {name: token for name, (token, _) in self.tokens.items()})
        self.events: list[Event] = []

    def order(self, amount: str) -> StandardOrder:
        """One that is executed by the next block that has room for it, all of it or nothing."""
        return order(amount)

    @asynccontextmanager
    async def kernel(self, settings: Settings = QUICK) -> AsyncIterator[Kernel]:
        """The account's kernel, started, on a database of its own."""
        self.store = SqlIntentStore(f"sqlite:///{self.folder}/store.db")
        kernel = Kernel(
            ACCOUNT,
            self._adapter(),
            self.store,
            venue=self.venue,
            venue_config={key: value for key, value in self.config.items() if value is not None},
            secrets={"key": self.key},
            settings=settings,
        )
        await kernel.start()
        try:
            yield kernel
        finally:
            await kernel.stop()

    def room(self, gas: int) -> None:
        """From now on blocks have room for so much gas."""
        self.node("evm_setBlockGasLimit", hex(gas))

    def mine(self) -> None:
        """One block, at :attr:`base_fee` where that is set."""
        if self.base_fee is not None:
            self.node("anvil_setNextBlockBaseFeePerGas", hex(self.base_fee))
        self.node.mine()

    async def until(self, true: Callable[[], Awaitable[Any]], what: str, *, blocks: bool = True) -> Any:
        """Wait until it is true; blocks come meanwhile."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not (found := await true()):
                    if blocks:
                        self.mine()
                    await asyncio.sleep(BLOCK_S)
                return found
        except TimeoutError:
            raise AssertionError(f"not within {PATIENCE_S} s: {what}") from None

    async def reaches(self, kernel: Kernel, intent: str, *wanted: IntentStatus, blocks: bool = True) -> OrderState:
        """Wait until an intent has one of these states."""
        last: list[OrderState] = []

        async def there() -> OrderState | None:
            last[:] = [await kernel.get_order_state(intent)]
            return last[0] if last[0].status in wanted else None

        try:
            state: OrderState = await self.until(there, f"{intent} is {wanted}", blocks=blocks)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {last}") from None
        return state

    async def waits(self, count: int = 1) -> list[dict[str, Any]]:
        """Wait until so many of the account's transactions are in the pool."""

        async def there() -> Any:
            found = self.node.waiting(self.address)
            return found if len(found) == count else None

        found: list[dict[str, Any]] = await self.until(there, f"{count} wait in the pool", blocks=False)
        return found

    async def record(self, intent: str) -> Record:
        """Everything stored of an intent."""
        record = await self.store.record(ACCOUNT, intent)
        assert record is not None
        return record

    async def judge(self, *intents: str, foreign: int = 0) -> None:
        """The chain's word on them (none: on all that is stored, steps too): see :meth:`Evidence.judge`; and they moved
        what is booked of them."""
        names = intents or [each.intent_id for each, _ in await self.store.intents(ACCOUNT)]

        async def booked() -> bool:
            return not self.evidence.misbooked([await self.record(name) for name in names])

        await self.until(booked, f"all gas of {names} is booked", blocks=False)
        records = [await self.record(name) for name in names]
        self.evidence.judge(records, foreign)
        gained = self.gained(records)
        moved = Counter(self.evidence.moved)
        moved.subtract(gained)
        assert not any(moved.values()), f"{self.evidence.moved} moved, {gained} booked"

    def gained(self, records: Sequence[Record]) -> Mapping[str, int]:
        """By asset, the units that the books say came (above 0) or went: by fills, their fees, all costs but gas."""
        units: Counter[str] = Counter()
        for record in (each for each in records if not is_step(each.intent.intent_id)):
            base, quote = record.intent.order.symbol_id.split("/")
            sign = 1 if record.intent.order.side is Side.BUY else -1
            units[base] += self._units(base, sign * record.progress.filled_base)
            units[quote] -= self._units(quote, sign * record.progress.filled_quote)
            fees = [fee for fill in record.fills if not fill.voided for fee in fill.fees]
            for each in [*fees, *(cost for attempt in record.attempts for cost in attempt.costs)]:
                if each.kind != "network":
                    units[each.asset] -= self._units(each.asset, each.amount)
        return units

    def _units(self, asset: str, amount: Decimal) -> int:
        _, decimals = self.tokens.get(asset, ("", 18))
        return int(amount.scaleb(decimals))
