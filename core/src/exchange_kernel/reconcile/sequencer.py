"""The lowest open number is the account's business, whatever its intent's state (R27): nothing above it can happen
first."""

from __future__ import annotations

from exchange_kernel.errors import ExchangeKernelError
from exchange_kernel.reconcile.numbers import Numbers
from exchange_kernel.reconcile.queue import Priority
from exchange_kernel.reconcile.session import Session
from exchange_kernel.state.rows import CREATING


class Sequencer:
    """Watches the venue's own count of each scope, and moves the lowest number that is committed and not spent."""

    def __init__(self, session: Session, numbers: Numbers) -> None:
        self._session = session
        self._numbers = numbers
        self._stuck: dict[str, tuple[int, int]] = {}

    async def step(self) -> None:
        """Look once. A number still lowest at the second look in a row is moved."""
        session = self._session
        floors = (await session.adapter.account()).floors
        for scope in self._numbers.scopes:
            floor = floors.get(scope.name, scope.floor)
            uses = await session.store.slots(scope.name, floor)
            if not uses:
                self._stuck.pop(scope.name, None)
                continue
            lowest = uses[0]
            number, times = self._stuck.get(scope.name, (-1, 0))
            times = times + 1 if number == lowest.slot.number else 0
            self._stuck[scope.name] = (lowest.slot.number, times)
            if times:
                await self._move(lowest.intent_id, lowest.attempt, lowest.slot.number)

    async def _move(self, intent_id: str, n: int, number: int) -> None:
        """Send its newest ticket again when that can create nothing; else let its intent decide."""
        session = self._session
        record = await session.store.record(session.account, intent_id)
        if record is None or not session.owned:
            return
        rows = [r for r in record.tickets_of(n) if r.ticket.slot is not None and r.ticket.slot.number == number]
        if rows and rows[-1].kind not in CREATING:
            try:
                await session.adapter.submit(rows[-1].ticket)
            except ExchangeKernelError:
                return
        else:
            session.watch(intent_id).resend_at = 0
            session.watch(intent_id).query_at = 0
            session.queue.mark(intent_id, Priority.REFRESH)
