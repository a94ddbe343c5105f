"""The lowest open number is the account's business, whatever its intent's state (R27): the others wait for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from exchange_kernel.errors import ExchangeKernelError, Fenced, StoreError
from exchange_kernel.reconcile.changing import Changes
from exchange_kernel.reconcile.charging import charge
from exchange_kernel.reconcile.draft import Draft
from exchange_kernel.reconcile.meter import about
from exchange_kernel.reconcile.numbers import Numbers
from exchange_kernel.reconcile.outcome import Reported
from exchange_kernel.reconcile.queue import Priority
from exchange_kernel.reconcile.session import Session
from exchange_kernel.state.rows import CREATING, Record, TicketKind, TicketRow, TicketState
from exchange_kernel.value import revised
from exchange_kernel.venue import Absent, Found, OrderReport, Scope

PATIENCE = 8
"""Looks after which a ticket that was repeated and did not move is replaced."""
LOOK_BACK = 64
"""Of so many numbers below the lowest open one it is looked up, as a session begins, whether what used them is paid."""

log = logging.getLogger("exchange_kernel.reconcile")


class Sequencer:
    """Watches the venue's own count of each scope, and moves the lowest number that is committed and not spent."""

    def __init__(self, session: Session, numbers: Numbers, changes: Changes) -> None:
        self._session = session
        self._numbers = numbers
        self._changes = changes
        self._stuck: dict[str, tuple[int, int]] = {}
        self._unpaid: dict[tuple[str, int], tuple[int, int]] | None = None

    async def step(self) -> None:
        """Look once. A number still lowest at the second look in a row is moved. The venue is asked for its count only
        while some number may be open, by the newest count it told (a reorganisation lowers it, and is told)."""
        session = self._session
        known: Mapping[str, int] | None = None
        await self._book()
        for scope in self._numbers.scopes:
            uses = await session.store.slots(scope.name, session.floors.get(scope.name, scope.floor))
            if uses:
                if known is None:
                    known = (await session.adapter.account()).floors
                    session.floors.update(known)
                floor = known.get(scope.name, scope.floor)
                uses = [use for use in uses if use.slot.number >= floor]
            if not uses:
                self._stuck.pop(scope.name, None)
                continue
            lowest = uses[0]
            number, times = self._stuck.get(scope.name, (-1, 0))
            times = times + 1 if number == lowest.slot.number else 0
            self._stuck[scope.name] = (lowest.slot.number, times)
            if times:
                await self._move(lowest.intent_id, lowest.attempt, lowest.slot.number, times)

    async def _move(self, intent_id: str, n: int, number: int, times: int) -> None:
        """Send its newest ticket again where that can create nothing. Where it can: let its intent decide, or, if the
        attempt is over, use the number up without it. The same for a ticket that does not move, however often sent."""
        session = self._session
        record = await session.store.record(session.account, intent_id)
        if record is None or not session.owned:
            return
        rows = [r for r in record.tickets_of(n) if r.ticket.slot is not None and r.ticket.slot.number == number]
        if not rows:
            return
        if rows[-1].kind not in CREATING and times % PATIENCE:
            try:
                await session.adapter.submit(rows[-1].ticket)
            except ExchangeKernelError:
                return
        elif rows[-1].kind in CREATING and record.attempt(n).state.live:
            watch = session.watch(intent_id)
            watch.resend_at = watch.query_at = 0
            session.queue.mark(intent_id, Priority.REFRESH)
        else:
            session.forget(intent_id)
            self._owe(intent_id, n)
            try:
                await self._changes.free_number(record, n, rows[-1])
            except Fenced:
                raise
            except StoreError:
                return
            finally:
                session.forget(intent_id)

    # ---- what it cost -------------------------------------------------------------------------------------------

    def _owe(self, intent_id: str, n: int) -> None:
        """Its number is used up after its attempt is over: nobody but this looks what that costs."""
        if self._unpaid is not None:
            self._unpaid.setdefault((intent_id, n), (0, 0))

    async def _book(self) -> None:
        """Book what used the numbers that were freed, once that is final; each is looked up less and less often."""
        if self._unpaid is None:
            self._unpaid = {}
            for scope in self._numbers.scopes:
                await self._find_unpaid(scope)
        now = self._session.clock.now_ms()
        for (intent_id, n), (at, looks) in list(self._unpaid.items()):
            if now >= at:
                self._unpaid[intent_id, n] = (now + self._session.backoff_ms(looks), looks + 1)
                await self._pay(intent_id, n)

    async def _find_unpaid(self, scope: Scope) -> None:
        for use in await self._session.store.slots(scope.name, max(0, scope.floor - LOOK_BACK)):
            record = await self._session.store.record(self._session.account, use.intent_id)
            if record is not None and _burns(record, use.attempt):
                self._owe(use.intent_id, use.attempt)

    async def _pay(self, intent_id: str, n: int) -> None:
        session = self._session
        assert self._unpaid is not None
        record = await session.store.record(session.account, intent_id)
        rows = [] if record is None else _burns(record, n)
        if record is None or not rows:
            del self._unpaid[intent_id, n]
            return
        try:
            with session.deadlines.within(session.settings.read_timeout):
                answer = await session.adapter.lookup(record.ref(record.attempt(n)))
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - a read that failed, in whatever way, says nothing
            extra = about(session.account, intent_id, record)
            log.warning("what used a number of %s at %s: %s", intent_id, session.account, error, extra=extra)
            return
        if isinstance(answer, Found):  # it was the order after all: that is evidence like any other (R19)
            reports = [each for each in answer.reports if isinstance(each, OrderReport)]
            session.inbox.setdefault(intent_id, []).extend(Reported(n, each, "lookup") for each in reports)
            session.queue.mark(intent_id, Priority.REFRESH)
        if not isinstance(answer, Absent) or not all(row.ticket.slot in answer.at.spent for row in rows):
            return
        draft = Draft(record, session.clock.now_ms())
        charge(draft, n, answer.costs)
        for row in rows:
            draft.put_ticket(revised(row, state=TicketState.SETTLED))
        session.forget(intent_id)
        try:
            await session.commit(draft, consumed=0)
            del self._unpaid[intent_id, n]
        except Fenced:
            raise
        except StoreError:
            return
        finally:
            session.forget(intent_id)


def _burns(record: Record, n: int) -> list[TicketRow]:
    """The tickets that use up a number of an attempt which is over, and that nothing was said of yet."""
    if n > len(record.attempts) or record.attempt(n).state.live:
        return []
    return [row for row in record.tickets_of(n) if row.kind is TicketKind.BURN and row.state is not TicketState.SETTLED]
