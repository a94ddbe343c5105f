"""The bench one case works at: an opened adapter, orders made on it, and the venue's truth beside it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any, NoReturn

from exchange_kernel.errors import ClockSkew, VenueError
from exchange_kernel.reconcile.proof import Look, proves_dead
from exchange_kernel.schema import Support, SupportLevel, SymbolMetadata
from exchange_kernel.testing.conformance.attempts import Failed, Inapplicable, Outcome, Placed, Watch
from exchange_kernel.testing.conformance.harness import Harness, TruthOrder
from exchange_kernel.testing.conformance.surroundings import Surroundings
from exchange_kernel.venue import (
    FOREVER,
    Absent,
    Amend,
    Burn,
    Cancel,
    Command,
    Found,
    Key,
    Lookup,
    NeedsFirst,
    NotNow,
    Opened,
    OrderReport,
    Place,
    Prep,
    Ref,
    Slot,
    Spec,
    Ticket,
    VenueAdapter,
    VenueId,
)

__all__ = ["PATIENCE_S", "Bench", "Failed", "Inapplicable", "Outcome", "Placed", "Watch"]

PATIENCE_S = 30.0
"""How long the bench waits for what must come, in the harness' own time."""
POLLS = 20
"""How often it looks in that time in which the venue would have said something."""


class Bench:
    """What a case is given. Everything it opens is closed, and every order it leaves is swept, afterwards.

    ``found_there``: of each account a session was opened for, the orders that were live before."""

    def __init__(self, harness: Harness, seed: str) -> None:
        self.harness = harness
        self.rng = Random(seed)
        self.clock = harness.clock
        self.placed: list[Placed] = []
        self.seen: list[object] = []
        """Everything the adapter answered or raised: what must hold of all of it is checked at the end."""
        self._open: list[VenueAdapter] = []
        self._numbers: dict[str, int] = {}
        self.found_there: dict[str, frozenset[frozenset[VenueId]]] = {}
        self.surroundings: Surroundings = {}
        """What belonged to the process before the first session was opened."""
        self.strangers: list[TruthOrder] = []
        self.sent: set[Key] = set()
        """Attempts of which a ticket was given to ``submit``."""
        self.adapter: VenueAdapter
        self.opened: Opened
        self.symbols: dict[str, SymbolMetadata] = {}

    # the adapter ------------------------------------------------------------------------------------------------

    async def ready(self) -> None:
        """Open the adapter every case starts with."""
        self.adapter, self.opened = await self.another()
        self.symbols = {each.symbol_id: each for each in await self.adapter.markets()}
        self.expect(self.harness.symbol in self.symbols, f"markets() does not list {self.harness.symbol}")
        for scope in self.opened.scopes:
            self._numbers[scope.name] = scope.floor

    async def another(self, account: str = "main") -> tuple[VenueAdapter, Opened]:
        """One more session, closed at the end."""
        if account not in self.found_there:
            self.found_there[account] = frozenset(frozenset(o.ids) for o in await self.harness.truth(account) if o.live)
        adapter = self.harness.adapter()
        opened = await adapter.open(self.harness.context(account))
        self._open.append(adapter)
        return adapter, opened

    async def close(self) -> None:
        """Close every session."""
        while self._open:
            await self._open.pop().close()

    @property
    def market(self) -> SymbolMetadata:
        """The symbol the harness' orders are for."""
        return self.symbols[self.harness.symbol]

    def support(self, feature: str) -> Support:
        """What the symbol answers for a feature."""
        return self.market.capabilities.features[feature]

    def offers(self, feature: str) -> bool:
        """Is a feature there, natively or in part?"""
        return self.support(feature).level is not SupportLevel.UNSUPPORTED

    # orders -----------------------------------------------------------------------------------------------------

    def key(self) -> Key:
        """A new key, the same in every run of the case."""
        return self.rng.randbytes(16)

    def take(self, scope: str) -> Slot:
        """The next number of a sequence, as the kernel's sequencer would give it."""
        self.expect(scope in self._numbers, f"take({scope!r}): open() named no such scope: {sorted(self._numbers)}")
        number = self._numbers[scope]
        self._numbers[scope] = number + 1
        return Slot(scope, number)

    def next_number(self, scope: str) -> int:
        """The number that :meth:`take` would give."""
        return self._numbers[scope]

    async def prepare(
        self,
        command: Command,
        *,
        instead_of: Ticket | None = None,
        give_up: int = FOREVER,
        adapter: VenueAdapter | None = None,
    ) -> Ticket:
        """A ticket, asking again where the adapter says NotNow. Raises what ``prepare`` raises."""
        before = dict(self._numbers)
        while True:
            self._numbers = dict(before)

            def take(scope: str) -> Slot:
                if instead_of is not None and instead_of.slot is not None and instead_of.slot.scope == scope:
                    return instead_of.slot
                return self.take(scope)

            prep = Prep(self.clock.now_ms(), give_up, take, instead_of)
            try:
                prepared = await (adapter or self.adapter).prepare(command, prep)
            except BaseException as error:
                self._numbers = before
                self.seen.append(error)
                raise
            self.seen.append(prepared)
            if isinstance(prepared, Ticket):
                return prepared
            if isinstance(prepared, NeedsFirst):
                raise Inapplicable(f"prepare needs {prepared.name} first: {prepared.why}")
            assert isinstance(prepared, NotNow)
            self.expect(prepared.retry_at - self.clock.now_ms() < 60_000, f"prepare says NotNow: {prepared.why}")
            await self.clock.sleep(max(0.001, (prepared.retry_at - self.clock.now_ms()) / 1000))

    async def draft(self, command: Command, *, give_up: int = FOREVER, adapter: VenueAdapter | None = None) -> Ticket:
        """A ticket nobody will send: its number is given back."""
        before = dict(self._numbers)
        try:
            return await self.prepare(command, give_up=give_up, adapter=adapter)
        finally:
            self._numbers = before

    async def ticket_for(self, spec: Spec, *, key: Key | None = None) -> Placed:
        """An attempt with its ticket made, nothing sent. Raises what ``check`` and ``prepare`` raise."""
        now = self.clock.now_ms() + self.opened.clock_offset - self.opened.clock_error
        made = key or self.key()
        exact = self.adapter.check(spec).spec
        ticket = await self.prepare(Place(made, exact))
        placed = Placed(made, exact, [ticket], now, list(ticket.ids))
        self.placed.append(placed)
        return placed

    async def send(
        self, placed: Placed, ticket: Ticket | None = None, *, adapter: VenueAdapter | None = None
    ) -> Outcome:
        """Submit a ticket, once, and say what came of it."""
        self.sent.add(placed.key)
        try:
            ack = await (adapter or self.adapter).submit(ticket or placed.ticket)
        except (asyncio.CancelledError, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever an adapter raises is what is examined here
            self.seen.append(error)
            return Outcome(error=error)
        self.seen.append(ack)
        placed.learn(ack.reports)
        return Outcome(ack)

    async def put(self, spec: Spec | None = None) -> Placed:
        """An order that is certainly at the venue. A ticket that came too late, on a machine that is busy, did nothing:
        it is made anew, once, as the kernel would."""
        placed = await self.ticket_for(spec if spec is not None else self.harness.resting())
        outcome = await self.send(placed)
        if isinstance(outcome.error, ClockSkew):
            placed = await self.ticket_for(spec if spec is not None else self.harness.resting())
            outcome = await self.send(placed)
        if outcome.error is not None:
            raise Failed(f"submit without any fault raised {outcome.error!r}") from outcome.error
        await self.found(placed)
        return placed

    async def cancel(self, placed: Placed) -> Outcome:
        """Cancel, once."""
        try:
            ticket = await self.prepare(Cancel(self.key(), self.ref(placed)))
        except VenueError as error:
            return Outcome(error=error)
        placed.tickets.append(ticket)
        return await self.send(placed, ticket)

    async def amend(self, placed: Placed, spec: Spec) -> Outcome:
        """Amend to ``spec``, once. Raises what ``check`` and ``prepare`` raise."""
        exact = self.adapter.check(spec, placed.spec).spec
        ticket = await self.prepare(Amend(self.key(), self.ref(placed), exact))
        placed.tickets.append(ticket)
        return await self.send(placed, ticket)

    async def burn(self, placed: Placed, slot: Slot, instead_of: Ticket) -> Outcome:
        """Use up a number."""
        ticket = await self.prepare(Burn(self.key(), slot), instead_of=instead_of)
        placed.tickets.append(ticket)
        return await self.send(placed, ticket)

    async def ask(self, call: Awaitable[Any]) -> Any:
        """Await any other call of the adapter, and remember what it answered or raised."""
        try:
            answer = await call
        except Exception as error:
            self.seen.append(error)
            raise
        self.seen.append(answer)
        return answer

    # looking ----------------------------------------------------------------------------------------------------

    def ref(self, placed: Placed) -> Ref:
        """Everything a kernel would know of the attempt."""
        return Ref(
            placed.key, placed.spec.symbol, placed.spec, placed.placed_at, tuple(placed.ids), tuple(placed.tickets)
        )

    async def look(self, placed: Placed, *, adapter: VenueAdapter | None = None) -> Lookup:
        """One lookup."""
        try:
            answer = await (adapter or self.adapter).lookup(self.ref(placed))
        except BaseException as error:
            self.seen.append(error)
            raise
        self.seen.append(answer)
        if isinstance(answer, Found):
            placed.learn(answer.reports)
        return answer

    async def found(self, placed: Placed, *, adapter: VenueAdapter | None = None) -> OrderReport:
        """Look until the order shows; its newest report."""

        async def there() -> OrderReport | None:
            answer = await self.look(placed, adapter=adapter)
            reports = answer.reports if isinstance(answer, Found) else ()
            return next((report for report in reports if isinstance(report, OrderReport)), None)

        report: OrderReport = await self.until(there, "lookup shows the order")
        return report

    async def ended(self, placed: Placed) -> OrderReport:
        """Look until the order has ended, for good; its last report."""

        async def over() -> OrderReport | None:
            answer = await self.look(placed)
            reports = answer.reports if isinstance(answer, Found) else ()
            return next((r for r in reports if isinstance(r, OrderReport) and r.status.terminal and r.final), None)

        report: OrderReport = await self.until(over, "lookup shows the order's final end")
        return report

    async def dead(self, placed: Placed, seconds: float = PATIENCE_S) -> bool:
        """Look as a kernel does: does absence prove, within ``seconds``, that the tickets never took effect?"""
        looks: list[Look] = []
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            began = self.clock.monotonic()
            answer = await self.look(placed)
            if isinstance(answer, Found):
                return False
            if isinstance(answer, Absent):
                looks.append(Look(answer, began, len(placed.tickets), placed.key))
                if proves_dead(self.ref(placed), looks, self.opened):
                    return True
            await self.clock.sleep(0.5)
        return False

    async def truth(self, placed: Placed, account: str = "main") -> list[TruthOrder]:
        """The venue's own orders of this attempt."""
        known = set(placed.ids) | {vid for ticket in placed.tickets for vid in ticket.ids}
        return [order for order in await self.harness.truth(account) if known & set(order.ids)]

    async def one(self, placed: Placed) -> TruthOrder:
        """The attempt's only order at the venue; fails where there is none, or more than one."""
        orders = await self.truth(placed)
        self.expect(len(orders) == 1, f"the venue has {len(orders)} orders of one attempt")
        return orders[0]

    @asynccontextmanager
    async def watching(self, *, adapter: VenueAdapter | None = None) -> AsyncIterator[Watch]:
        """Follow the stream while the block runs. The stream has begun (its first Gap is there) when it is entered."""
        watch = Watch()
        stream = (adapter or self.adapter).events(None)

        async def follow() -> None:
            try:
                async for event in stream:
                    watch.events.append(event)
                    self.seen.append(event)
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # noqa: BLE001 - how it ended is what is examined
                watch.error = error
                self.seen.append(error)
            finally:
                watch.ended = True

        task = asyncio.get_running_loop().create_task(follow())
        try:
            await self.until(lambda: watch.events or watch.ended, "the stream says its first Gap")
            yield watch
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def until(self, condition: Callable[[], Any], what: str, seconds: float = PATIENCE_S) -> Any:
        """Wait for a condition (plain or async); returns its true value. Fails after ``seconds``."""
        end = self.clock.monotonic() + seconds
        while True:
            value = condition()
            if inspect.isawaitable(value):
                value = await value
            if value:
                return value
            if self.clock.monotonic() >= end:
                self.fail(f"waited {seconds:g} s in vain: {what}")
            await self.clock.sleep(self.harness.quiet_s / POLLS)

    async def quiet(self, times: float = 1) -> None:
        """Wait so long that what would have been said or done by now has been: ``times`` the harness' ``quiet_s``."""
        await self.clock.sleep(times * self.harness.quiet_s)

    def short(self, ms: int) -> int:
        """A time of the case's own choosing, as short as the harness wants it: ms, at least 1."""
        return max(1, int(ms * self.harness.quiet_s))

    async def stranger(self) -> TruthOrder:
        """Somebody else's resting order on the same account."""
        order = await self.harness.foreign()
        self.strangers.append(order)
        return order

    # verdicts ---------------------------------------------------------------------------------------------------

    def expect(self, holds: object, message: str) -> None:
        """Raises Failed with the message unless it holds."""
        if not holds:
            raise Failed(message)

    def fail(self, message: str) -> NoReturn:
        """Raises Failed."""
        raise Failed(message)

    async def raises(
        self, kinds: type[BaseException] | tuple[type[BaseException], ...], call: Awaitable[object], what: str
    ) -> BaseException:
        """The error a call raises, which must be of these kinds."""
        try:
            answer = await call
        except kinds as error:
            self.seen.append(error)
            return error
        except Exception as error:
            raise Failed(f"{what}: raised {error!r}") from error
        raise Failed(f"{what}: raised nothing, answered {answer!r}")
