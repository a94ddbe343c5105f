"""The kernel's side in tests: an adapter on an exchange whose time stands still, and the numbers it needs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from decimal import Decimal
from random import Random
from typing import Any, TypeVar

from exchange_kernel.errors import OutcomeUnknown
from exchange_kernel.schema import Side
from exchange_kernel.venue import (
    Absent,
    Ack,
    Command,
    Context,
    HeightEnd,
    Key,
    Opened,
    Place,
    Prep,
    Ref,
    Slot,
    SlotEnd,
    Spec,
    Ticket,
    TimeEnd,
    VenueId,
)
from exchange_kernel_paper.adapter import PaperAdapter
from exchange_kernel_paper.exchange import Exchange, ManualClock, Settings
from exchange_kernel_paper.registry import Registry

T = TypeVar("T")
BTC = "BTC/USD"
BALANCES = {"USD": "1000000", "BTC": "100"}


def spec(side: str = "BUY", amount: str = "1", limit: str | None = "100", **more: Any) -> Spec:
    """A BTC/USD order."""
    price = None if limit is None else Decimal(limit)
    return Spec(**{"symbol": BTC, "side": Side(side), "amount": Decimal(amount), "limit": price, **more})


def key(number: int) -> Key:
    """The key of an attempt or a command."""
    return number.to_bytes(16, "big")


class Session:
    """One open adapter. ``local_ms`` ahead of the venue is the clock it is given."""

    def __init__(self, local_ms: int = 0, **settings: Any) -> None:
        self.clock = ManualClock()
        self.local_ms = local_ms
        given = {"maker_fee": "0", "taker_fee": "0", **settings}
        self.exchange = Exchange("test", self.clock, Settings.of(given), rng=Random(5))
        self.registry = Registry()
        self.registry.add(self.exchange)
        self.adapter = PaperAdapter()
        self.opened: Opened
        self.next_number = 0

    def now(self) -> int:
        """Local ms."""
        return self.clock.now_ms() + self.local_ms

    def context(self, **changes: Any) -> Context:
        """What the kernel would hand to the adapter."""
        given = {"venue": "test", "registry": self.registry, "balances": BALANCES, **changes.pop("config", {})}
        return Context(**{"account": "main", "config": given, "clock": self.now, "sleep": self.clock.sleep, **changes})

    async def __aenter__(self) -> Session:
        self.opened = await self.adapter.open(self.context())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.adapter.close()

    def take(self, scope: str) -> Slot:
        """The next number of the account."""
        assert scope == self.opened.scopes[0].name
        self.next_number += 1
        return Slot(scope, self.next_number - 1)

    def prep(self, **more: Any) -> Prep:
        """What ``prepare`` may use now."""
        old: Ticket | None = more.get("instead_of")
        slot = None if old is None else old.slot
        take = self.take if slot is None else lambda _: slot
        return Prep(**{"now": self.now(), "give_up": self.now() + 30_000, "take": take, **more})

    async def ticket(self, command: Command, **more: Any) -> Ticket:
        """The ticket of a command."""
        made = await self.adapter.prepare(command, self.prep(**more))
        assert isinstance(made, Ticket)
        return made

    async def place(self, number: int, order: Spec | None = None) -> tuple[Ref, Ack]:
        """Place an order and get its answer."""
        ref, ticket = await self.attempt(number, order)
        ack = await self.adapter.submit(ticket)
        ids = dict.fromkeys(each for report in ack.reports for each in (report.id, *getattr(report, "links", ())))
        return Ref(ref.key, ref.symbol, ref.spec, ref.placed_at, tuple(ids), ref.tickets), ack

    async def attempt(self, number: int, order: Spec | None = None) -> tuple[Ref, Ticket]:
        """An attempt with its first ticket, not sent."""
        order = order or spec()
        placed_at = self.now() + self.opened.clock_offset - self.opened.clock_error
        ticket = await self.ticket(Place(key(number), order))
        return Ref(key(number), order.symbol, order, placed_at, (), (ticket,)), ticket

    def advance(self, ms: int) -> None:
        """Let time pass."""
        self.clock.advance(ms)


def scenario(session: Session, play: Callable[[Session], Awaitable[T]]) -> T:
    """Open the session, play, close it."""

    async def run() -> T:
        async with session:
            return await play(session)

    return asyncio.run(run())


async def settle(turns: int = 30) -> None:
    """Let every task that can run do so."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def passing(session: Session, call: Coroutine[Any, Any, T], ms: int = 20_000, step: int = 50) -> T:
    """The result of a call that needs time to pass. Raises OutcomeUnknown, as the kernel would see it, after ``ms``."""
    task = asyncio.ensure_future(call)
    for _ in range(ms // step):
        await settle(3)
        if task.done():
            return await task
        session.advance(step)
    task.cancel()
    await settle(3)
    raise OutcomeUnknown(f"no answer within {ms} ms")


class Reader:
    """Collects what an async iterator yields."""

    def __init__(self, source: AsyncIterator[Any]) -> None:
        self.items: list[Any] = []
        self._task = asyncio.create_task(self._read(source))

    async def _read(self, source: AsyncIterator[Any]) -> None:
        async for item in source:
            self.items.append(item)

    async def stop(self) -> None:
        """Cancel the reading."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def proves_dead(ref: Ref, absent: Absent) -> bool:
    """CONTRACT's proof, one read: it could have seen the order, and every ticket has an end that is passed."""
    at = absent.at

    def passed(end: object) -> bool:
        match end:
            case TimeEnd(limit, "venue", slack):
                return at.venue_ms is not None and at.venue_ms > limit + slack
            case HeightEnd(last):
                return at.height is not None and at.height > last
            case SlotEnd(slot):
                return slot in at.spent
        return False

    ends = [[passed(end) for end in ticket.fence.ends] for ticket in ref.tickets]
    return bool(ends) and absent.since <= ref.placed_at and all(any(each) for each in ends)


def order_id(ref: Ref) -> VenueId:
    """The venue's own id in a reference."""
    return next(each for each in ref.ids if each.kind == "order")
