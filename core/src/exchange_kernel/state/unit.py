"""The working set of one transaction: rows as they were read under lock, and the writes to make.

Operations (:mod:`ops`, :mod:`commit`) are plain functions over a Unit: the rules of the protocol live there once, and a
backend only loads rows and writes them. An operation checks everything before it changes anything, so a failing one
leaves the others of the same group commit untouched (R31).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from hashlib import sha256
from typing import Any, Protocol

import msgspec

from exchange_kernel.errors import ConfigError, Fenced
from exchange_kernel.events import Event
from exchange_kernel.models import ZERO, Desired, IntentStatus, OrderIntent
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.state.rows import (
    AccountRow,
    Attempt,
    EventRow,
    FillRow,
    Lease,
    PositionRow,
    Progress,
    StoreRow,
    TicketRow,
)
from exchange_kernel.value import Row, Value
from exchange_kernel.venue import Slot, VenueId

IntentKey = tuple[str, str]

_encode = msgspec.json.Encoder().encode


def compact(value: Any) -> str:
    """JSON without spaces. Raises TypeError, ValueError for what JSON cannot hold."""
    try:
        return _encode(value).decode()
    except UnicodeEncodeError:
        # Half a character somewhere in a venue's text: escaped, it can be kept as it is.
        return json.dumps(value, separators=(",", ":"))


class Head(Row):
    """The part of an intent's row that every operation needs."""

    version: int
    generation: int
    desired: Desired
    status: IntentStatus
    reserved: Decimal
    first_hash: str
    spec_hash: str


class Needs(Value, frozen=True):
    """Rows an operation must find loaded (locked) in its Unit.

    Whoever writes an intent, a position or an event of an account needs the account: its row's lock orders them all.
    ``takes``: leases it may change. ``store``: it may change the store's own row.
    """

    accounts: tuple[str, ...] = ()
    leases: tuple[str, ...] = ()
    intents: tuple[IntentKey, ...] = ()
    positions: tuple[tuple[str, str], ...] = ()
    takes: tuple[str, ...] = ()
    store: bool = False


@dataclass(slots=True)
class Writes:
    """What a transaction writes, in the order in which a backend must write it.

    Changed attempts come before new ones: one commit may close an attempt and open the next (R24). Where an intent is
    written more than once, the version of its :class:`Head` is the one that holds.
    """

    intents: list[tuple[OrderIntent, Progress, str]] = field(default_factory=list)
    orders: list[tuple[OrderIntent, str]] = field(default_factory=list)
    desired: list[tuple[str, str, Desired, int]] = field(default_factory=list)
    progress: list[tuple[str, str, Progress, int]] = field(default_factory=list)
    due: list[tuple[str, str, int | None]] = field(default_factory=list)
    attempts: list[tuple[str, str, Attempt]] = field(default_factory=list)
    attempts_new: list[tuple[str, str, Attempt]] = field(default_factory=list)
    tickets_new: list[tuple[str, str, TicketRow]] = field(default_factory=list)
    tickets: list[tuple[str, str, TicketRow]] = field(default_factory=list)
    ids: list[tuple[str, str, int, VenueId]] = field(default_factory=list)
    slots: list[tuple[str, str, int, Slot]] = field(default_factory=list)
    fills_new: list[tuple[str, str, FillRow]] = field(default_factory=list)
    fills: list[tuple[str, str, FillRow]] = field(default_factory=list)
    events: list[EventRow] = field(default_factory=list)


class Operation(Protocol):
    """One atomic change. ``apply`` raises before it changes anything, or succeeds completely."""

    def needs(self) -> Needs: ...

    def apply(self, unit: Unit) -> Any: ...


@dataclass(slots=True)
class Unit:
    """Rows under lock plus the writes so far. ``now``: the database's clock, ms UTC."""

    now: int
    store: StoreRow
    accounts: dict[str, AccountRow] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    intents: dict[IntentKey, Head] = field(default_factory=dict)
    positions: dict[tuple[str, str], PositionRow] = field(default_factory=dict)
    writes: Writes = field(default_factory=Writes)
    emitted: list[Event] = field(default_factory=list)
    dirty_accounts: set[str] = field(default_factory=set)
    dirty_leases: set[str] = field(default_factory=set)
    dirty_positions: set[tuple[str, str]] = field(default_factory=set)
    dirty_store: bool = False

    def account(self, name: str) -> AccountRow:
        """The account's row. Raises ConfigError when the store does not know the account."""
        row = self.accounts.get(name)
        if row is None:
            raise ConfigError("exchange_id", name, "no such account in this store", "start its kernel once")
        return row

    def check_epoch(self, account: str, epoch: int) -> None:
        """Raises Fenced unless ``epoch`` is the account's newest (R31)."""
        lease = self.leases.get(account)
        if lease is None or lease.epoch != epoch:
            newest = lease.epoch if lease else "none"
            raise Fenced(f"account {account}: epoch {epoch} is not the newest ({newest}); another process took over")

    def emit(self, event: Event, patch: str = "") -> None:
        """Append an event to its account's log: numbered, timed by the database's clock, and chained under
        the account row's lock (R39)."""
        account, intent_id, kind, now = event.account, event.intent_id, type(event).__name__, self.now
        row = self.account(account)
        seq, actor, reason = row.event_seq + 1, storable(event.actor), storable(event.reason)
        text = compact(event.body())
        digest = _link(row.event_hash, account, seq, now, kind, intent_id, actor, reason, text, patch)
        event.numbered(seq, now)
        row.event_seq, row.event_hash = seq, digest
        self.dirty_accounts.add(account)
        self.writes.events.append(EventRow(account, seq, now, kind, intent_id, actor, reason, text, patch, digest))
        self.emitted.append(event)

    def reserve(self, account: str, head: Head, reserved: Decimal) -> None:
        """Move the account's open notional by what changed for this intent."""
        if reserved != head.reserved:
            row = self.account(account)
            row.open_notional += reserved - head.reserved
            head.reserved = reserved
            self.dirty_accounts.add(account)

    def position(self, account: str, symbol: str) -> PositionRow:
        """The position as of now in this transaction."""
        return self.positions.get((account, symbol)) or PositionRow(account, symbol, ZERO)


def perform(operation: Operation, unit: Unit) -> Any:
    """Apply an operation with exact arithmetic: sums of amounts with 96 digits do not round."""
    with localcontext(EXACT):
        return operation.apply(unit)


def chain(previous: str, event: EventRow) -> str:
    """Hash of an event: covers the previous hash and every stored column, so the log cannot be edited unseen.

    Lengths go in too: otherwise text could be moved from one column to the next.
    """
    return _link(
        previous,
        event.account,
        event.seq,
        event.at,
        event.kind,
        event.intent_id,
        event.actor,
        event.reason,
        event.body,
        event.patch,
    )


def _link(
    previous: str,
    account: str,
    seq: int,
    at: int,
    kind: str,
    intent_id: str | None,
    actor: str,
    reason: str,
    body: str,
    patch: str,
) -> str:
    text = (
        f"{previous}\x1f{account}\x1f{seq}\x1f{at}\x1f{kind}\x1f{intent_id or ''}\x1f"
        f"{len(actor)}\x1f{len(reason)}\x1f{len(body)}\x1f{actor}{reason}{body}{patch}"
    )
    return sha256(text.encode()).hexdigest()


def storable(text: str) -> str:
    """Free text (a venue's words, an operator's reason) as every database can hold it: no NUL, no lone surrogate."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def union(needs: Iterable[Needs]) -> Needs:
    """Everything a group of operations needs, in a fixed lock order."""
    accounts: set[str] = set()
    leases: set[str] = set()
    intents: set[IntentKey] = set()
    positions: set[tuple[str, str]] = set()
    takes: set[str] = set()
    store = False
    for need in needs:
        accounts.update(need.accounts)
        leases.update(need.leases)
        intents.update(need.intents)
        positions.update(need.positions)
        takes.update(need.takes)
        store = store or need.store
    leases |= takes
    return Needs(
        tuple(sorted(accounts)),
        tuple(sorted(leases)),
        tuple(sorted(intents)),
        tuple(sorted(positions)),
        tuple(sorted(takes)),
        store,
    )
