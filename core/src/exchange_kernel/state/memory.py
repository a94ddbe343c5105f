"""In-memory stores: for tests, prototypes and the actual-state cache. The same operations, over dictionaries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from exchange_kernel.clock import Clock, Ids
from exchange_kernel.models import ZERO, Desired, OrderIntent, OrderState
from exchange_kernel.state.rows import (
    LIVE_STATES,
    AccountRow,
    EventRow,
    FillRow,
    Lease,
    PositionRow,
    Progress,
    Record,
    StoreRow,
)
from exchange_kernel.state.stores import ActualStateStore, IntentStateStore, LiveIntent, SlotUse, Standing, Suspicion
from exchange_kernel.state.unique import fill_taken, key_taken, live_attempt_exists, number_taken, venue_id_taken
from exchange_kernel.state.unit import Head, Operation, Unit, perform, union
from exchange_kernel.value import revised
from exchange_kernel.venue import AccountSnapshot, Slot, VenueId


class MemoryIntentStore(IntentStateStore):
    """Desired state in dictionaries: the semantics of the SQL store without its durability.

    ``uniqueness`` of live attempts, fill ids and sequence numbers is enforced as the database's indexes do.
    """

    def __init__(self, clock: Clock, ids: Ids) -> None:
        super().__init__()
        self._clock = clock
        self._store = StoreRow(store_id=ids.new(16).hex())
        self._accounts: dict[str, AccountRow] = {}
        self._leases: dict[str, Lease] = {}
        self._heads: dict[tuple[str, str], Head] = {}
        self._records: dict[tuple[str, str], Record] = {}
        self._keys: dict[tuple[str, bytes], tuple[str, int]] = {}
        self._venue_ids: dict[tuple[str, VenueId], tuple[str, int]] = {}
        self._fills: dict[tuple[str, str], str] = {}
        self._slots: dict[Slot, SlotUse] = {}
        self._positions: dict[tuple[str, str], PositionRow] = {}
        self._events: dict[str, list[EventRow]] = {}

    async def open(self) -> Suspicion | None:
        return None

    async def close(self) -> None:
        return None

    async def execute(self, operation: Operation) -> Any:
        needs = union((operation.needs(),))
        unit = Unit(now=self._clock.now_ms(), store=revised(self._store))
        unit.accounts = {a: revised(self._accounts[a]) for a in needs.accounts if a in self._accounts}
        unit.leases = {a: self._leases[a] for a in needs.leases if a in self._leases}
        unit.intents = {k: revised(self._heads[k]) for k in needs.intents if k in self._heads}
        unit.positions = {k: self._positions[k] for k in needs.positions if k in self._positions}
        result = perform(operation, unit)
        self._check(unit)
        self._flush(unit)
        if unit.emitted:
            self._notify(unit.emitted)
        return result

    def _check(self, unit: Unit) -> None:
        writes = unit.writes
        records: dict[tuple[str, str], Record] = {}
        for account, intent_id, attempt in (*writes.attempts, *writes.attempts_new):
            key = (account, intent_id)
            records[key] = (records.get(key) or self._records[key]).with_attempt(attempt)
        for (_, intent_id), record in records.items():
            if sum(attempt.state in LIVE_STATES for attempt in record.attempts) > 1:
                raise live_attempt_exists(intent_id)
        for account, _, attempt in writes.attempts_new:
            if (account, attempt.key) in self._keys:
                raise key_taken(attempt.key)
        for account, intent_id, n, vid in writes.ids:
            owner = self._venue_ids.get((account, vid))
            if owner is not None and owner != (intent_id, n):
                raise venue_id_taken(vid, intent_id, *owner)
        for account, intent_id, n, slot in writes.slots:
            use = self._slots.get(slot)
            if use is not None and (use.account, use.intent_id, use.attempt) != (account, intent_id, n):
                raise number_taken(slot, use.intent_id, use.attempt)
        for account, intent_id, fill in writes.fills_new:
            booked = self._fills.get((account, fill.id))
            if booked is not None:
                raise fill_taken(fill.id, intent_id, booked)

    def _flush(self, unit: Unit) -> None:
        writes = unit.writes
        self._store = unit.store
        self._store.commit_seq += 1
        self._accounts.update(unit.accounts)
        self._leases.update(unit.leases)
        self._heads.update(unit.intents)
        self._positions.update({k: unit.positions[k] for k in unit.dirty_positions})
        for intent, progress, _ in writes.intents:
            self._records[(intent.account, intent.intent_id)] = Record(intent, progress)
        for changed, _ in writes.orders:
            self._user(
                changed.account,
                changed.intent_id,
                order=changed.order,
                generation=changed.generation,
                version=changed.version,
                submit_deadline=changed.submit_deadline,
            )
        for account, intent_id, desired, version in writes.desired:
            self._user(account, intent_id, desired=desired, version=version)
        for account, intent_id, progress, version in writes.progress:
            record = self._records[(account, intent_id)]
            self._records[(account, intent_id)] = revised(
                record, progress=progress, intent=revised(record.intent, version=version)
            )
        for account, intent_id, due in writes.due:
            record = self._records[(account, intent_id)]
            self._records[(account, intent_id)] = revised(record, progress=revised(record.progress, next_due=due))
        for account, intent_id, attempt in (*writes.attempts, *writes.attempts_new):
            record = self._records[(account, intent_id)]
            self._records[(account, intent_id)] = record.with_attempt(attempt)
            self._keys[(account, attempt.key)] = (intent_id, attempt.n)
        for account, intent_id, ticket in (*writes.tickets_new, *writes.tickets):
            record = self._records[(account, intent_id)]
            self._records[(account, intent_id)] = record.with_ticket(ticket)
        for account, intent_id, n, vid in writes.ids:
            self._venue_ids[(account, vid)] = (intent_id, n)
        for account, intent_id, n, slot in writes.slots:
            self._slots[slot] = SlotUse(slot, account, intent_id, n)
        for account, intent_id, fill in (*writes.fills_new, *writes.fills):
            self._fills[(account, fill.id)] = intent_id
            record = self._records[(account, intent_id)]
            self._records[(account, intent_id)] = revised(record, fills=_with_fill(record.fills, fill))
        for event in writes.events:
            self._events.setdefault(event.account, []).append(event)

    def _user(self, account: str, intent_id: str, **changes: Any) -> None:
        record = self._records[(account, intent_id)]
        self._records[(account, intent_id)] = revised(record, intent=revised(record.intent, **changes))

    async def store_row(self) -> StoreRow:
        return revised(self._store)

    async def record(self, account: str, intent_id: str) -> Record | None:
        return self._records.get((account, intent_id))

    async def standing(self, account: str, intent_id: str) -> Standing | None:
        record, row = self._records.get((account, intent_id)), self._accounts.get(account)
        if record is None or row is None:
            return None
        halted = row.halted is not None or self._store.halted is not None
        return Standing(record.intent.desired, record.progress.status, halted)

    async def locate(self, account: str, key: bytes | None, ids: Sequence[VenueId]) -> tuple[str, int] | None:
        found = self._keys.get((account, key)) if key is not None else None
        for vid in ids:
            found = found or self._venue_ids.get((account, vid))
        return found

    async def fill_owner(self, account: str, fill_id: str) -> tuple[str, int] | None:
        intent_id = self._fills.get((account, fill_id))
        if intent_id is None:
            return None
        fills = self._records[(account, intent_id)].fills
        return next(((intent_id, fill.attempt) for fill in fills if fill.id == fill_id), None)

    async def live_intents(self, account: str) -> Sequence[LiveIntent]:
        out = []
        for (owner, intent_id), record in self._records.items():
            revived = record.revived
            if owner != account or (record.progress.status.terminal and revived is None):
                continue
            last = revived or record.last
            out.append(
                LiveIntent(
                    intent_id,
                    record.progress.status,
                    record.progress.next_due,
                    last.n if last else 0,
                    last.key if last else None,
                    last.state if last else None,
                    behind(record),
                    last.venue_status if last else "",
                    last.version if last else -1,
                    last.cum_base if last else ZERO,
                )
            )
        return out

    async def due(self, account: str, now: int, limit: int) -> Sequence[str]:
        found = [
            (record.progress.next_due, intent_id)
            for (owner, intent_id), record in self._records.items()
            if owner == account
            and record.progress.next_due is not None
            and record.progress.next_due <= now
            and (not record.progress.status.terminal or record.revived is not None)
        ]
        return [intent_id for _, intent_id in sorted(found, key=lambda pair: pair[0])[:limit]]

    async def intents(
        self, account: str, *, symbol: str | None = None, active_only: bool = False
    ) -> Sequence[tuple[OrderIntent, Progress]]:
        return [
            (record.intent, record.progress)
            for (owner, _), record in self._records.items()
            if owner == account
            and (symbol is None or record.intent.order.symbol_id == symbol)
            and not (active_only and record.progress.status.terminal)
        ]

    async def event_rows(self, account: str, after: int, limit: int) -> Sequence[EventRow]:
        return self._events.get(account, [])[after : after + limit]

    async def positions(self, account: str) -> Sequence[PositionRow]:
        rows = [row for (owner, _), row in self._positions.items() if owner == account and row.amount]
        return sorted(rows, key=lambda row: row.symbol)

    async def account_row(self, account: str) -> AccountRow | None:
        row = self._accounts.get(account)
        return None if row is None else revised(row)

    async def accounts(self) -> Sequence[str]:
        return sorted(self._accounts)

    async def lease(self, account: str) -> Lease | None:
        return self._leases.get(account)

    async def slots(self, scope: str, floor: int) -> Sequence[SlotUse]:
        return sorted(
            (use for slot, use in self._slots.items() if slot.scope == scope and slot.number >= floor),
            key=lambda use: use.slot.number,
        )


def behind(record: Record) -> bool:
    """Is there work on this intent even if the venue shows nothing new?"""
    last = record.last
    return (
        last is None
        or record.intent.desired is Desired.CANCELED
        or record.intent.generation != last.generation
        or last.booked_base != last.cum_base
    )


def _with_fill(fills: tuple[FillRow, ...], fill: FillRow) -> tuple[FillRow, ...]:
    if any(f.id == fill.id for f in fills):
        return tuple(fill if f.id == fill.id else f for f in fills)
    return (*fills, fill)


class MemoryActualStore(ActualStateStore):
    """The venue's truth as last seen, in this process."""

    def __init__(self) -> None:
        self._states: dict[str, dict[str, OrderState]] = {}
        self._accounts: dict[str, AccountSnapshot] = {}

    def put(self, state: OrderState, key: str) -> None:
        self._states.setdefault(state.account, {})[key] = state

    def get(self, account: str, key: str) -> OrderState | None:
        return self._states.get(account, {}).get(key)

    def drop(self, account: str, key: str) -> None:
        self._states.get(account, {}).pop(key, None)

    def all(self, account: str) -> Iterable[OrderState]:
        return tuple(self._states.get(account, {}).values())

    def put_account(self, account: str, snapshot: AccountSnapshot) -> None:
        old = self._accounts.get(account)
        if old is not None and not snapshot.complete:
            balances = {b.asset: b for b in old.balances} | {b.asset: b for b in snapshot.balances}
            positions = {(p.symbol, p.leg): p for p in old.positions}
            positions |= {(p.symbol, p.leg): p for p in snapshot.positions}
            snapshot = revised(
                snapshot,
                balances=tuple(balances.values()),
                positions=tuple(positions.values()),
                margin={**old.margin, **snapshot.margin},
                complete=old.complete,
            )
        self._accounts[account] = snapshot

    def get_account(self, account: str) -> AccountSnapshot | None:
        return self._accounts.get(account)

    def clear(self, account: str) -> None:
        self._states.pop(account, None)
        self._accounts.pop(account, None)

    def keys(self, account: str) -> tuple[str, ...]:
        """Under which keys something is remembered."""
        return tuple(self._states.get(account, ()))
