"""A record being changed: collects new rows and the events that tell about them, until one commit makes them true."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from exchange_kernel.events import Event
from exchange_kernel.models import ZERO, Condition
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.state.rows import Attempt, FillRow, Progress, Record, TicketRow, TicketState
from exchange_kernel.value import revised


class Draft:
    """``before``: what was read; ``record``: what it becomes; ``events``: what happened. ``now``: local ms."""

    __slots__ = ("before", "events", "now", "record", "taken")

    def __init__(self, record: Record, now: int) -> None:
        self.before = record
        self.record = record
        self.now = now
        self.events: list[Event] = []
        self.taken = 0

    @property
    def dirty(self) -> bool:
        """True when there is something to commit."""
        return self.record is not self.before

    def emit(self, kind: type[Event], *, reason: str = "", actor: str = "kernel", **payload: Any) -> None:
        """Add an event of this intent."""
        intent = self.record.intent
        self.events.append(
            kind(account=intent.account, at=self.now, intent_id=intent.intent_id, actor=actor, reason=reason, **payload)
        )

    def put_attempt(self, attempt: Attempt) -> None:
        """Add or replace an attempt."""
        self.record = self.record.with_attempt(attempt)

    def put_ticket(self, row: TicketRow) -> None:
        """Add or replace a ticket."""
        self.record = self.record.with_ticket(row)

    def put_fill(self, fill: FillRow) -> None:
        """Add or replace a booked fill."""
        fills = self.record.fills
        if fill.id in [known.id for known in fills]:
            fills = tuple([fill if known.id == fill.id else known for known in fills])
        else:
            fills = (*fills, fill)
        self.record = revised(self.record, fills=fills)

    def progress(self, **changes: Any) -> None:
        """Change reconciler columns; no change, no write."""
        old = self.record.progress
        new = revised(old, **changes)
        if new != old:
            self.record = revised(self.record, progress=new)

    def condition(self, new: Condition) -> None:
        """Set a condition of a type; its time moves only when its reason changes."""
        old = self.record.progress
        same = next((c for c in old.conditions if c.type == new.type), None)
        if same is None or (same.reason, same.message) != (new.reason, new.message):
            rest = tuple(c for c in old.conditions if c.type != new.type)
            self.set_progress(revised(old, conditions=(*rest, new)))

    def clear_condition(self, kind: str) -> None:
        """Remove a condition type."""
        old = self.record.progress
        if old.conditions and any(c.type == kind for c in old.conditions):
            self.set_progress(revised(old, conditions=tuple(c for c in old.conditions if c.type != kind)))

    def set_progress(self, progress: Progress) -> None:
        """Replace all reconciler columns."""
        self.record = revised(self.record, progress=progress)

    def fill_sums(self) -> tuple[Decimal, Decimal]:
        """Booked base and quote of the whole intent."""
        base = quote = ZERO
        for fill in self.record.fills:
            if not fill.voided:
                base, quote = EXACT.add(base, fill.base), EXACT.add(quote, fill.quote)
        return base, quote

    def sum_fills(self) -> None:
        """Bring the intent's filled columns up to its fills."""
        base, quote = self.fill_sums()
        self.progress(filled_base=base, filled_quote=quote)

    def settle_tickets(self, n: int) -> None:
        """The attempt is over: no ticket of it can take effect any more."""
        for row in self.record.tickets:
            if row.attempt == n and row.state.open:
                self.put_ticket(revised(row, state=TicketState.SETTLED))
