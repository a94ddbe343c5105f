"""The two stores, abstract: desired state (truth, durable) and actual state (a cache that may vanish at any time)."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from exchange_kernel.events import Event, decode
from exchange_kernel.models import ZERO, Desired, IntentStatus, OrderIntent, OrderState
from exchange_kernel.state.commit import Change
from exchange_kernel.state.ops import AcknowledgeSuspicion
from exchange_kernel.state.rows import (
    AccountRow,
    AttemptState,
    EventRow,
    Lease,
    PositionRow,
    Progress,
    Record,
    StoreRow,
)
from exchange_kernel.state.unit import Operation
from exchange_kernel.venue import AccountSnapshot, Slot, VenueId


class LiveIntent(NamedTuple):
    """What recovery needs of an unfinished intent, light enough to load by the hundred thousand.

    ``attempt`` … ``cum_base`` describe its newest attempt (a REVIVED one first). ``behind``: the intent's generation is
    newer than the attempt's, its cancellation is wanted, or fills are missing: look at it even when the venue shows no
    change.
    """

    intent_id: str
    status: IntentStatus
    next_due: int | None
    attempt: int
    key: bytes | None
    state: AttemptState | None
    behind: bool = False
    venue_status: str = ""
    version: int = -1
    cum_base: Decimal = ZERO


class SlotUse(NamedTuple):
    """Which attempt committed a sequence number."""

    slot: Slot
    account: str
    intent_id: str
    attempt: int


class Verification(NamedTuple):
    """What ``verify`` found: counts, and every difference as a sentence. None means fold = row and chain intact."""

    intents: int
    events: int
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Why this store may have lost commits (R32)."""

    cause: str


class Standing(NamedTuple):
    """What a ticket that could create an order is checked against immediately before it is sent (R4).

    ``halted``: is the account, or the platform?"""

    desired: Desired
    status: IntentStatus
    halted: bool


class IntentStateStore(ABC):
    """Desired state, attempts, tickets, fills and the event log. The only truth.

    Every write is one :class:`Operation`; ``execute`` returns after its commit is durable, or raises: the operation's
    own error (nothing written), StoreUnavailable (nothing written, may be tried again), or CommitUnknown (read it
    back).
    """

    def __init__(self) -> None:
        self._listeners: list[Callable[[Sequence[Event]], None]] = []

    def listen(self, callback: Callable[[Sequence[Event]], None]) -> None:
        """Call back, in the event loop's thread, with the events of each commit of this store object, in order."""
        self._listeners.append(callback)

    def unlisten(self, callback: Callable[[Sequence[Event]], None]) -> None:
        """Stop calling back."""
        self._listeners.remove(callback)

    def _notify(self, events: Sequence[Event]) -> None:
        for callback in tuple(self._listeners):
            callback(events)

    @abstractmethod
    async def open(self) -> Suspicion | None:
        """Open, check the schema and durability settings. Returns why commits may have been lost, or None.

        Raises SchemaMismatch, ConfigError, StoreUnavailable."""

    @abstractmethod
    async def close(self) -> None:
        """Finish what is queued, then close. Idempotent."""

    @abstractmethod
    async def execute(self, operation: Operation) -> Any:
        """Apply one operation atomically and durably (group commit); returns its result."""

    async def acknowledge_suspicion(self) -> StoreRow:
        """Every account is RECOVERING now, durably: incarnation + 1, and the suspicion of ``open`` ends (R32)."""
        row: StoreRow = await self.execute(AcknowledgeSuspicion())
        return row

    @abstractmethod
    async def store_row(self) -> StoreRow:
        """The store's identity, incarnation and platform-wide halt."""

    @abstractmethod
    async def record(self, account: str, intent_id: str) -> Record | None:
        """Everything about one intent, in one consistent read."""

    @abstractmethod
    async def standing(self, account: str, intent_id: str) -> Standing | None:
        """What is wanted of an intent as of now and whether it may open anything, in one consistent read; None for an
        unknown intent or account."""

    @abstractmethod
    async def locate(self, account: str, key: bytes | None, ids: Sequence[VenueId]) -> tuple[str, int] | None:
        """Intent and attempt number that own this key or any of these venue ids (R36), or None."""

    @abstractmethod
    async def fill_owner(self, account: str, fill_id: str) -> tuple[str, int] | None:
        """Intent and attempt number that a fill was booked for, or None."""

    @abstractmethod
    async def live_intents(self, account: str) -> Sequence[LiveIntent]:
        """Every unfinished intent of the account, and finished ones with a REVIVED attempt, oldest first."""

    @abstractmethod
    async def due(self, account: str, now: int, limit: int) -> Sequence[str]:
        """Unfinished intents, and finished ones with a REVIVED attempt, whose ``next_due`` has come (R34).

        Earliest first; of those due at the same time, the oldest intent first."""

    @abstractmethod
    async def intents(
        self, account: str, *, symbol: str | None = None, active_only: bool = False
    ) -> Sequence[tuple[OrderIntent, Progress]]:
        """Intents with their progress, oldest first."""

    @abstractmethod
    async def event_rows(self, account: str, after: int, limit: int) -> Sequence[EventRow]:
        """The log after a sequence number, in order."""

    async def page(self, account: str, after: str, limit: int) -> Sequence[tuple[OrderIntent, Progress]]:
        """Intents with their progress, oldest first, behind the intent ``after`` ("" or unknown: from the first)."""
        rows = await self.intents(account)
        first = next((n + 1 for n, (intent, _) in enumerate(rows) if intent.intent_id == after), 0)
        return rows[first : first + limit]

    async def history(self, account: str, intent_id: str, after: int, limit: int) -> Sequence[EventRow]:
        """The log of one intent after a sequence number, in order."""
        found: list[EventRow] = []
        while len(found) < limit and (rows := await self.event_rows(account, after, 1000)):
            found += [row for row in rows if row.intent_id == intent_id]
            after = rows[-1].seq
        return found[:limit]

    async def tally(self, account: str) -> dict[IntentStatus, int]:
        """How many unfinished intents there are of each status."""
        found: dict[IntentStatus, int] = {}
        for live in await self.live_intents(account):
            if not live.status.terminal:
                found[live.status] = found.get(live.status, 0) + 1
        return found

    @abstractmethod
    async def positions(self, account: str) -> Sequence[PositionRow]:
        """Positions from booked fills by symbol, flat ones excluded."""

    @abstractmethod
    async def account_row(self, account: str) -> AccountRow | None:
        """The account's row."""

    @abstractmethod
    async def accounts(self) -> Sequence[str]:
        """Every account this store knows."""

    @abstractmethod
    async def lease(self, account: str) -> Lease | None:
        """The newest lease."""

    @abstractmethod
    async def slots(self, scope: str, floor: int) -> Sequence[SlotUse]:
        """Committed numbers of a scope at or above ``floor``, in order."""

    async def events(self, account: str, after: int = 0, limit: int = 1000) -> list[Event]:
        """Decoded events after a sequence number."""
        return [decode_row(row) for row in await self.event_rows(account, after, limit)]


class ActualStateStore(ABC):
    """The venue's truth as last seen: a cache that is rebuilt from the intent store and the venue."""

    @abstractmethod
    def put(self, state: OrderState, key: str) -> None:
        """Remember a state under the intent id, or the venue id of a foreign order."""

    @abstractmethod
    def get(self, account: str, key: str) -> OrderState | None:
        """The last state, or None."""

    @abstractmethod
    def drop(self, account: str, key: str) -> None:
        """Forget one."""

    @abstractmethod
    def all(self, account: str) -> Iterable[OrderState]:
        """Every state of an account, foreign orders included."""

    @abstractmethod
    def put_account(self, account: str, snapshot: AccountSnapshot) -> None:
        """Remember balances and positions; a partial snapshot is merged."""

    @abstractmethod
    def get_account(self, account: str) -> AccountSnapshot | None:
        """The last merged snapshot."""

    @abstractmethod
    def clear(self, account: str) -> None:
        """Drop everything of an account."""

    async def fetch(self, account: str) -> None:
        """Before a read in a process that does not own the account: bring what its owner wrote, if that is shared."""
        return

    def leave(self, account: str) -> None:
        """Another process owns the account from here on: nothing of it is written from here by itself."""
        return


def decode_row(row: EventRow) -> Event:
    """A stored event as its public type."""
    header = {
        "account": row.account,
        "at": row.at,
        "intent_id": row.intent_id,
        "actor": row.actor,
        "reason": row.reason,
        "seq": row.seq,
    }
    return decode(row.kind, header, json.loads(row.body))


__all__ = [
    "ActualStateStore",
    "Change",
    "IntentStateStore",
    "LiveIntent",
    "SlotUse",
    "Standing",
    "Suspicion",
    "Verification",
    "decode_row",
]
