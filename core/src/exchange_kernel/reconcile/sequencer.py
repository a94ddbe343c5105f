"""The lowest open number is the account's business, whatever its intent's state (R27): the others wait for it."""

from __future__ import annotations

from collections.abc import Mapping

from exchange_kernel.errors import ExchangeKernelError, Fenced, StoreError
from exchange_kernel.reconcile.changing import Changes
from exchange_kernel.reconcile.numbers import Numbers
from exchange_kernel.reconcile.queue import Priority
from exchange_kernel.reconcile.session import Session
from exchange_kernel.state.rows import CREATING

PATIENCE = 8
"""Looks after which a ticket that was repeated and did not move is replaced."""


class Sequencer:
    """Watches the venue's own count of each scope, and moves the lowest number that is committed and not spent."""

    def __init__(self, session: Session, numbers: Numbers, changes: Changes) -> None:
        self._session = session
        self._numbers = numbers
        self._changes = changes
        self._stuck: dict[str, tuple[int, int]] = {}

    async def step(self) -> None:
        """Look once. A number still lowest at the second look in a row is moved. The venue is asked for its count only
        while some number may be open, by the newest count it told (a reorganisation lowers it, and is told)."""
        session = self._session
        known: Mapping[str, int] | None = None
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
            try:
                await self._changes.free_number(record, n, rows[-1])
            except Fenced:
                raise
            except StoreError:
                return
            finally:
                session.forget(intent_id)
