"""The reconciler's commit: an intent's record moves from ``before`` to ``after``, by compare-and-swap, under the epoch.

What makes it safe, all in the same transaction: the intent's version (R6, R20), the account's epoch (R31), halt, limits
and RECOVERING for every ticket that could create an order (R4), and the database's own unique index on live attempts.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_DOWN, Context, Decimal
from operator import attrgetter
from typing import Any

from exchange_kernel.errors import AccountHalted, LimitExceeded, StaleWrite
from exchange_kernel.events import Event, OrderRecorded, PositionClosed, PositionModified, PositionOpened
from exchange_kernel.models import ZERO, Desired, Limits, OrderIntent
from exchange_kernel.schema import Side, canonical
from exchange_kernel.schema.numbers import plain
from exchange_kernel.state.ops import CreateIntents, NewIntent, refuse_halted, same_account
from exchange_kernel.state.rows import AccountRow, Attempt, FillRow, PositionRow, Progress, Record, is_step
from exchange_kernel.state.unit import Head, Needs, Unit, compact, storable
from exchange_kernel.value import Value
from exchange_kernel.venue import Slot


class Change(Value, frozen=True):
    """One step of the reconciler for one intent.

    ``opens``: the step commits a ticket that can create or enlarge an order, so halt, limits and RECOVERING apply.
    ``slots``: sequence numbers its new tickets use, with the attempt. Raises Fenced, StaleWrite, AccountHalted,
    LimitExceeded. Returns the new version.
    """

    account: str
    epoch: int
    before: Record
    after: Record
    events: tuple[Event, ...] = ()
    opens: bool = False
    notional: Decimal = ZERO
    slots: tuple[tuple[int, Slot], ...] = ()

    def needs(self) -> Needs:
        intent_id = self.before.intent.intent_id
        positions: tuple[tuple[str, str], ...] = ()
        if self.after.fills is not self.before.fills:
            positions = tuple({(self.account, fill.symbol) for fill in self.after.fills})
        return Needs((self.account,), (self.account,), ((self.account, intent_id),), positions)

    def apply(self, unit: Unit) -> int:
        unit.check_epoch(self.account, self.epoch)
        account = unit.account(self.account)
        same_account(self.account, self.events)
        intent = self.before.intent
        head = unit.intents.get((self.account, intent.intent_id))
        check_version(head, intent.version, intent.intent_id)
        assert head is not None
        if self.opens:
            admit(unit, account, head, self)
        self._write(unit, head)
        return head.version

    def _write(self, unit: Unit, head: Head) -> None:
        account, intent_id = self.account, self.before.intent.intent_id
        writes, before, after = unit.writes, self.before, self.after
        patch = _patch(before, after)
        head.version += 1
        if after.progress is not before.progress:
            head.status = after.progress.status
            unit.reserve(account, head, after.progress.reserved)
        writes.progress.append((account, intent_id, after.progress, head.version))
        known = len(before.attempts)
        for index, attempt in enumerate(after.attempts):
            if index >= known:
                writes.attempts_new.append((account, intent_id, attempt))
                writes.ids += [(account, intent_id, attempt.n, vid) for vid in attempt.ids if vid.kind != "client"]
            elif attempt is not before.attempts[index]:
                writes.attempts.append((account, intent_id, attempt))
                old = before.attempts[index].ids
                if attempt.ids is not old:
                    writes.ids += [
                        (account, intent_id, attempt.n, vid)
                        for vid in attempt.ids
                        if vid not in old and vid.kind != "client"
                    ]
        had = len(before.tickets)
        for index, row in enumerate(after.tickets):
            if index >= had:
                writes.tickets_new.append((account, intent_id, row))
            elif row is not before.tickets[index]:
                writes.tickets.append((account, intent_id, row))
        if self.slots:
            writes.slots += [(account, intent_id, n, slot) for n, slot in self.slots]
        moved = self._book(unit)
        events = self.events
        # The patch goes with the last event of this intent.
        carrier = len(events) - 1
        while carrier >= 0 and events[carrier].intent_id != intent_id:
            carrier -= 1
        if patch and carrier < 0:
            events = (*events, OrderRecorded(account=account, at=unit.now, intent_id=intent_id, what="state"))
            carrier = len(events) - 1
        for index, event in enumerate(events):
            unit.emit(event, patch if index == carrier else "")
        for event in moved:
            unit.emit(event)

    def _book(self, unit: Unit) -> list[Event]:
        moved: list[Event] = []
        if self.after.fills is self.before.fills:
            return moved
        account, intent_id = self.account, self.before.intent.intent_id
        old = {fill.id: fill for fill in self.before.fills}
        for fill in self.after.fills:
            was = old.get(fill.id)
            if was is fill:
                continue
            (unit.writes.fills_new if was is None else unit.writes.fills).append((account, intent_id, fill))
            if was is not None and not was.voided:
                moved.extend(_move(unit, account, was, -1))
            if not fill.voided:
                moved.extend(_move(unit, account, fill, 1))
        return moved


class AdoptOrphan(Value, frozen=True):
    """Write an order of ours whose very intent was lost: the intent, its attempt and that it is parked, at once.

    ``after`` has been made from a new record of ``intent``. Raises Fenced. Returns False when the intent exists.
    """

    account: str
    epoch: int
    intent: OrderIntent
    after: Record
    events: tuple[Event, ...]

    def needs(self) -> Needs:
        return self._change().needs()

    def apply(self, unit: Unit) -> bool:
        unit.check_epoch(self.account, self.epoch)
        same_account(self.account, self.events)
        if (self.account, self.intent.intent_id) in unit.intents:
            return False
        CreateIntents(self.account, (NewIntent(self.intent),), "recovery", system=True).apply(unit)
        self._change().apply(unit)
        return True

    def _change(self) -> Change:
        return Change(self.account, self.epoch, new_record(self.intent), self.after, self.events)


class DeclareStep(Value, frozen=True):
    """Write an intent of the kernel's own (R28), under the epoch: there is one owner, who keeps one in flight per name.

    Raises Fenced, AccountHalted. Returns False when it exists.
    """

    account: str
    epoch: int
    intent: OrderIntent

    def needs(self) -> Needs:
        return Needs((self.account,), (self.account,), ((self.account, self.intent.intent_id),))

    def apply(self, unit: Unit) -> bool:
        unit.check_epoch(self.account, self.epoch)
        refuse_halted(unit, unit.account(self.account))
        fresh = CreateIntents(self.account, (NewIntent(self.intent),), "kernel", system=True).apply(unit)
        return bool(fresh)


def new_record(intent: OrderIntent) -> Record:
    """The record of an intent that has just been declared."""
    return Record(intent, Progress(next_due=0))


def check_version(head: Head | None, expected: int, intent_id: str) -> None:
    """Raises StaleWrite unless the intent's row is the one that was read."""
    if head is None or head.version != expected:
        raise StaleWrite(f"intent {intent_id}: version {expected} was read, {head.version if head else 'no'} is stored")


def admit(unit: Unit, account: AccountRow, head: Head, change: Change) -> None:
    """Everything that must hold in the transaction that commits an order-creating ticket (R4, R20)."""
    if head.desired is not Desired.ACTIVE:
        raise StaleWrite(f"intent {change.before.intent.intent_id}: its cancellation is committed")
    refuse_halted(unit, account)
    if account.recovering is not None:
        raise AccountHalted(f"account {account.account} is RECOVERING: {account.recovering.get('cause', '')}")
    if is_step(change.before.intent.intent_id):
        return
    limits: Limits = account.limits
    symbol = change.before.intent.order.symbol_id
    if limits.symbols is not None and symbol not in limits.symbols:
        raise LimitExceeded(
            "symbols", "symbol_id", symbol, "not in the account's allow-list", "change limits.symbols, or cancel it"
        )
    reserved = change.after.progress.reserved
    cap = limits.max_open_notional
    if cap is not None and account.open_notional - head.reserved + reserved > cap:
        total = account.open_notional - head.reserved + reserved
        rule = f"open notional would exceed max_open_notional {cap:f}"
        raise LimitExceeded("max_open_notional", "amount", canonical(total), rule, "wait or order less")
    if limits.max_order_notional is not None and change.notional > limits.max_order_notional:
        rule = f"notional above max_order_notional {limits.max_order_notional:f}"
        raise LimitExceeded("max_order_notional", "amount", f"{change.notional:f}", rule)
    spend_token(account, limits, unit.now)
    unit.dirty_accounts.add(account.account)


def spend_token(account: AccountRow, limits: Limits, now: int) -> None:
    """Take one order from the account's rate budget (a token bucket in the database's time). Raises LimitExceeded."""
    if limits.order_count is None:
        return
    full = Decimal(limits.order_count)
    tokens = full if account.rate_tokens is None else account.rate_tokens
    earned = full * max(0, now - account.rate_at) / limits.order_period_ms
    tokens = min(full, tokens + earned)
    if tokens < 1:
        rule = f"orders per {limits.order_period_ms} ms"
        raise LimitExceeded("order_count", "order_rate", str(limits.order_count), rule, "it waits")
    account.rate_tokens, account.rate_at = (tokens - 1).quantize(Decimal("0.000001"), ROUND_DOWN), now


def _move(unit: Unit, account: str, fill: FillRow, sign: int) -> list[Event]:
    row = unit.position(account, fill.symbol)
    moved = move_position(row, fill.base * (1 if fill.side is Side.BUY else -1) * sign, fill.price)
    unit.positions[(account, fill.symbol)] = moved
    unit.dirty_positions.add((account, fill.symbol))
    if not row.amount and not moved.amount:
        return []
    if not row.amount:
        return [
            PositionOpened(account=account, at=unit.now, symbol_id=row.symbol, amount=moved.amount, entry=moved.entry)
        ]
    if not moved.amount:
        return [PositionClosed(account=account, at=unit.now, symbol_id=row.symbol, realized=moved.realized)]
    return [
        PositionModified(
            account=account,
            at=unit.now,
            symbol_id=row.symbol,
            amount=moved.amount,
            entry=moved.entry,
            realized=moved.realized,
        )
    ]


# An average is the one inexact number here: more digits would only make the row longer.
_AVERAGE = Context(prec=28)


def move_position(row: PositionRow, delta: Decimal, price: Decimal) -> PositionRow:
    """Position after trading ``delta`` base (signed) at ``price``: average entry on the way in, realised on the way out
    (quote)."""
    amount = row.amount + delta
    if not row.amount or (row.amount > 0) == (delta > 0):
        cost = (row.entry or ZERO) * abs(row.amount) + price * abs(delta)
        entry = _AVERAGE.divide(cost, abs(amount)) if amount else None
        return PositionRow(row.account, row.symbol, amount, entry, row.realized)
    closed = min(abs(delta), abs(row.amount))
    gain = (price - (row.entry or ZERO)) * closed * (1 if row.amount > 0 else -1)
    flipped = abs(delta) > abs(row.amount)
    entry = price if flipped else (row.entry if amount else None)
    return PositionRow(row.account, row.symbol, amount, entry, row.realized + gain)


PROGRESS_PATCH = ("status", "reason", "observed_generation", "filled_base", "filled_quote", "amend_refused")
ATTEMPT_PATCH = (
    "generation",
    "state",
    "venue_status",
    "why",
    "cum_base",
    "cum_quote",
    "booked_base",
    "booked_quote",
    "applied",
)

_progress_values, _attempt_values = attrgetter(*PROGRESS_PATCH), attrgetter(*ATTEMPT_PATCH)


def _patch(before: Record, after: Record) -> str:
    out: dict[str, Any] = {}
    if after.progress is not before.progress:
        out.update(_changed(PROGRESS_PATCH, _progress_values, before.progress, after.progress))
    attempts: dict[str, Any] = {}
    known = len(before.attempts)
    for index, attempt in enumerate(after.attempts):
        old = before.attempts[index] if index < known else None
        if attempt is not old:
            changed = _changed(ATTEMPT_PATCH, _attempt_values, old, attempt)
            if changed:
                attempts[str(attempt.n)] = changed
    if attempts:
        out["attempts"] = attempts
    return compact(out) if out else ""


def _changed(
    names: tuple[str, ...],
    read: Callable[[Any], tuple[Any, ...]],
    old: Progress | Attempt | None,
    new: Progress | Attempt,
) -> dict[str, Any]:
    out: dict[str, Any] = {}
    values = read(new)
    for name, value, was in zip(names, values, values if old is None else read(old), strict=True):
        if old is None or (value is not was and value != was):
            if type(value) is Decimal:
                out[name] = plain(value)
            else:
                out[name] = storable(value) if isinstance(value, str) else value
    return out
