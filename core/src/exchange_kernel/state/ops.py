"""What users and operators write: declare, change, cancel, halt, resume, own, bind. Pure functions over a Unit."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from exchange_kernel.errors import (
    AccountHalted,
    IdentityMismatch,
    IntentConflict,
    IntentFinished,
    LimitExceeded,
    StoreError,
    UnknownIntent,
)
from exchange_kernel.events import (
    AccountBalanceUpdated,
    AccountResumed,
    CancelRequested,
    Event,
    IntentCreated,
    IntentModified,
)
from exchange_kernel.events import AccountHalted as AccountHaltedEvent
from exchange_kernel.models import Desired, IntentStatus, Limits, OrderIntent
from exchange_kernel.schema import StandardOrder
from exchange_kernel.state.rows import AccountRow, Lease, Progress, StoreRow
from exchange_kernel.state.unit import Head, Needs, Unit, compact
from exchange_kernel.value import Value, revised
from exchange_kernel.venue import Balance


class NewIntent(Value, frozen=True):
    """An intent to declare. ``notional`` in quote, for the account's limits; None when no price is known."""

    intent: OrderIntent
    notional: Decimal | None = None


class CreateIntents(Value, frozen=True):
    """Declare intents, all or none (a BATCH). Same id and same first order: the same intent (R38).

    ``system``: bookkeeping of the kernel, which halt and limits do not concern. Raises IntentConflict, AccountHalted,
    LimitExceeded. Returns ids that were new.
    """

    account: str
    intents: tuple[NewIntent, ...]
    actor: str
    system: bool = False

    def needs(self) -> Needs:
        return Needs((self.account,), (), tuple((self.account, new.intent.intent_id) for new in self.intents))

    def apply(self, unit: Unit) -> tuple[str, ...]:
        account = unit.account(self.account)
        fresh: list[tuple[NewIntent, str]] = []
        hashes: dict[str, str] = {}
        for new in self.intents:
            digest = new.intent.first_hash
            head = unit.intents.get((self.account, new.intent.intent_id))
            known = head.first_hash if head else hashes.get(new.intent.intent_id)
            if known is not None and known != digest:
                raise IntentConflict(
                    f"intent_id {new.intent.intent_id}: exists in {self.account} with another order; "
                    "modify it, or declare the new order under a new id"
                )
            if known is None:
                hashes[new.intent.intent_id] = digest
                fresh.append((new, digest))
        if fresh and not self.system:
            refuse_halted(unit, account)
            for new, _ in fresh:
                check_order_limits(account.limits, new.intent.order.symbol_id, new.notional)
        for new, digest in fresh:
            intent = revised(new.intent, created_at=new.intent.created_at or unit.now, version=1)
            progress = Progress(next_due=0)
            unit.intents[(self.account, intent.intent_id)] = Head(
                1, 1, Desired.ACTIVE, IntentStatus.PENDING, progress.reserved, digest, digest
            )
            unit.writes.intents.append((intent, progress, digest))
            order = intent.order
            event = IntentCreated(
                account=self.account,
                at=unit.now,
                intent_id=intent.intent_id,
                actor=self.actor,
                symbol_id=order.symbol_id,
                side=order.side.value,
                amount=format(order.amount, "f"),
                amount_type=order.amount_type.value,
                limit_price=None if order.limit_price is None else format(order.limit_price, "f"),
            )
            unit.emit(event, '{"status":"PENDING"}')
        return tuple(new.intent.intent_id for new, _ in fresh)


def refuse_halted(unit: Unit, account: AccountRow) -> None:
    """Raises AccountHalted when the account or the platform is halted."""
    for scope, halted in ((f"account {account.account}", account.halted), ("platform", unit.store.halted)):
        if halted is not None:
            raise AccountHalted(
                f"{scope} is halted by {halted['actor']}: {halted['reason']}; cancels work, orders do not; resume first"
            )


def check_order_limits(limits: Limits, symbol: str, notional: Decimal | None) -> None:
    """Limits that one order can break by itself. Raises LimitExceeded."""
    if limits.symbols is not None and symbol not in limits.symbols:
        allowed = ", ".join(sorted(limits.symbols)) or "none"
        rule = f"not in the account's allow-list ({allowed})"
        raise LimitExceeded("symbols", "symbol_id", symbol, rule, "change limits.symbols")
    cap = limits.max_order_notional
    if cap is None and limits.max_open_notional is None:
        return
    if notional is None:
        raise LimitExceeded(
            "max_order_notional" if cap is not None else "max_open_notional",
            "amount",
            "market order",
            "its notional cannot be bounded and the account has notional limits",
            "set limit_price, or max_slippage while the venue shows a price",
        )
    if cap is not None and notional > cap:
        rule = f"notional above max_order_notional {cap:f}"
        raise LimitExceeded("max_order_notional", "amount", format(notional, "f"), rule, "order less")


class ModifyIntent(Value, frozen=True):
    """Replace an intent's order: generation + 1. ``expected_generation``: refuse when it has moved on.

    Raises UnknownIntent, IntentFinished, IntentConflict, AccountHalted, LimitExceeded. Returns the generation in force.
    """

    account: str
    intent_id: str
    order: StandardOrder
    spec_hash: str
    actor: str
    notional: Decimal | None = None
    expected_generation: int | None = None
    submit_deadline: int | None = None

    def needs(self) -> Needs:
        return Needs((self.account,), (), ((self.account, self.intent_id),))

    def apply(self, unit: Unit) -> int:
        account = unit.account(self.account)
        head = _head(unit, self.account, self.intent_id)
        # Whoever repeats it because its answer was lost finds it done, and hears the same again.
        repeated = head.spec_hash == self.spec_hash and head.generation - 1 == self.expected_generation
        if self.expected_generation is not None and head.generation != self.expected_generation and not repeated:
            raise IntentConflict(
                f"generation {self.expected_generation}: intent {self.intent_id} is at {head.generation}; read it again"
            )
        if head.status.terminal:
            raise IntentFinished(
                f"intent_id {self.intent_id}: finished {head.status}; declare a new order under a new id"
            )
        if head.desired is Desired.CANCELED:
            raise IntentFinished(f"intent_id {self.intent_id}: its cancellation was requested; declare a new order")
        if head.spec_hash == self.spec_hash:
            return head.generation
        refuse_halted(unit, account)
        check_order_limits(account.limits, self.order.symbol_id, self.notional)
        head.generation += 1
        head.version += 1
        head.spec_hash = self.spec_hash
        changed = OrderIntent(
            account=self.account,
            intent_id=self.intent_id,
            order=self.order,
            generation=head.generation,
            submit_deadline=self.submit_deadline,
            version=head.version,
        )
        unit.writes.orders.append((changed, self.spec_hash))
        unit.writes.due.append((self.account, self.intent_id, 0))
        price = self.order.limit_price
        event = IntentModified(
            account=self.account,
            at=unit.now,
            intent_id=self.intent_id,
            actor=self.actor,
            generation=head.generation,
            amount=format(self.order.amount, "f"),
            limit_price=None if price is None else format(price, "f"),
        )
        unit.emit(event, compact({"generation": head.generation}))
        return head.generation


def _head(unit: Unit, account: str, intent_id: str) -> Head:
    head = unit.intents.get((account, intent_id))
    if head is None:
        raise UnknownIntent(f"intent_id {ascii(intent_id)[1:-1][:80]}: account {account} has no such intent")
    return head


class CancelIntents(Value, frozen=True):
    """Want these intents gone. Unknown ids raise UnknownIntent; finished ones are left as they are.

    Returns the ids whose desire changed.
    """

    account: str
    intent_ids: tuple[str, ...]
    actor: str
    reason: str = ""

    def needs(self) -> Needs:
        return Needs((self.account,), (), tuple((self.account, i) for i in self.intent_ids))

    def apply(self, unit: Unit) -> tuple[str, ...]:
        heads = [(i, _head(unit, self.account, i)) for i in self.intent_ids]
        changed = []
        for intent_id, head in heads:
            if head.status.terminal or head.desired is Desired.CANCELED:
                continue
            head.desired = Desired.CANCELED
            head.version += 1
            unit.writes.desired.append((self.account, intent_id, Desired.CANCELED, head.version))
            unit.writes.due.append((self.account, intent_id, 0))
            event = CancelRequested(
                account=self.account, at=unit.now, intent_id=intent_id, actor=self.actor, reason=self.reason
            )
            unit.emit(event, '{"desired":"CANCELED"}')
            changed.append(intent_id)
        return tuple(changed)


class SetHalt(Value, frozen=True):
    """Halt or resume an account, or (``account`` None) the whole platform. Durable; actor and reason are kept."""

    account: str | None
    halt: bool
    actor: str
    reason: str
    accounts: tuple[str, ...] = ()

    def needs(self) -> Needs:
        return Needs(self._names(), store=self.account is None)

    def _names(self) -> tuple[str, ...]:
        return self.accounts if self.account is None else (self.account,)

    def apply(self, unit: Unit) -> bool:
        names = self._names()
        for name in names:
            unit.account(name)
        state = {"actor": self.actor, "reason": self.reason, "at": unit.now} if self.halt else None
        scope = "platform" if self.account is None else "account"
        if self.account is None:
            changed = (unit.store.halted is None) == self.halt
            unit.store.halted = state
            unit.dirty_store = True
        else:
            row = unit.account(self.account)
            changed = (row.halted is None) == self.halt
            row.halted = state
            unit.dirty_accounts.add(self.account)
        kind: type[AccountHaltedEvent] | type[AccountResumed] = AccountHaltedEvent if self.halt else AccountResumed
        for name in names:
            unit.emit(kind(account=name, at=unit.now, actor=self.actor, reason=self.reason, scope=scope))
        return changed


class BindAccount(Value, frozen=True):
    """Bind an exchange_id to the venue's identity and mode, once; later a mismatch is refused (R33).

    Raises IdentityMismatch. Limits are taken from the configuration at every start. Returns the account's row.
    """

    account: str
    venue: str
    identity: str
    mode: str
    limits: Limits

    def needs(self) -> Needs:
        return Needs((self.account,))

    def apply(self, unit: Unit) -> AccountRow:
        row = unit.accounts.get(self.account)
        if row is None:
            row = AccountRow(self.account, self.venue, self.identity, self.mode, created_at=unit.now)
            unit.accounts[self.account] = row
        for name, stored, now in (("identity", row.identity, self.identity), ("mode", row.mode, self.mode)):
            if stored != now:
                raise IdentityMismatch(
                    f"{self.account}.{name}",
                    now,
                    f"this store knows the account as {stored}",
                    "give the other venue account its own exchange_id",
                )
        row.limits = self.limits
        unit.dirty_accounts.add(self.account)
        return revised(row)


class AcquireLease(Value, frozen=True):
    """Take an account over under a higher epoch. Refused (None) while another owner's lease runs, unless ``steal``.

    Stealing is always safe (the epoch fences the old owner); the lease only keeps two healthy owners from fighting.
    """

    account: str
    owner: str
    duration_ms: int
    steal: bool = False

    def needs(self) -> Needs:
        return Needs(takes=(self.account,))

    def apply(self, unit: Unit) -> Lease | None:
        held = unit.leases.get(self.account)
        if held is not None and held.expires_at > unit.now and held.owner != self.owner and not self.steal:
            return None
        # An epoch is also not below the time it was made: a store restored from a backup must not count up again to an
        # epoch that a process from before the loss still holds.
        epoch = max((held.epoch if held else 0) + 1, unit.now)
        lease = Lease(self.account, self.owner, epoch, unit.now + self.duration_ms)
        unit.leases[self.account] = lease
        unit.dirty_leases.add(self.account)
        return lease


class RenewLease(Value, frozen=True):
    """Extend (``duration_ms`` > 0) or give up (0) a lease. Raises Fenced when the epoch is not the newest."""

    account: str
    epoch: int
    duration_ms: int

    def needs(self) -> Needs:
        return Needs(takes=(self.account,))

    def apply(self, unit: Unit) -> Lease:
        unit.check_epoch(self.account, self.epoch)
        lease = revised(unit.leases[self.account], expires_at=unit.now + self.duration_ms)
        unit.leases[self.account] = lease
        unit.dirty_leases.add(self.account)
        return lease


class SetRecovering(Value, frozen=True):
    """Enter or leave RECOVERING (R32). ``state`` None: leave. Raises Fenced."""

    account: str
    epoch: int
    state: dict[str, object] | None
    event: Event

    def needs(self) -> Needs:
        return Needs((self.account,), (self.account,))

    def apply(self, unit: Unit) -> None:
        unit.check_epoch(self.account, self.epoch)
        account = unit.account(self.account)
        same_account(self.account, (self.event,))
        account.recovering = self.state
        unit.dirty_accounts.add(self.account)
        unit.emit(self.event)


class RecordEvents(Value, frozen=True):
    """Append account or kernel events that change no intent. Raises Fenced. Balances that did not change are dropped
    by the caller."""

    account: str
    epoch: int
    events: tuple[Event, ...]

    def needs(self) -> Needs:
        return Needs((self.account,), (self.account,))

    def apply(self, unit: Unit) -> None:
        unit.check_epoch(self.account, self.epoch)
        unit.account(self.account)
        same_account(self.account, self.events)
        for event in self.events:
            unit.emit(event)


class AcknowledgeSuspicion(Value, frozen=True):
    """The kernel took the suspected loss of commits in hand (R32): incarnation + 1. Nothing when there is no suspicion.

    Returns the store's row.
    """

    def needs(self) -> Needs:
        return Needs(store=True)

    def apply(self, unit: Unit) -> StoreRow:
        if unit.store.suspicion is not None:
            unit.store.suspicion = None
            unit.store.incarnation += 1
            unit.dirty_store = True
        return revised(unit.store)


def same_account(account: str, events: Iterable[Event]) -> None:
    """Raises StoreError for an event of another account: its log is not locked here."""
    for event in events:
        if event.account != account:
            raise StoreError(f"{event.kind} of account {event.account} in an operation on {account}: use one for each")


def balance_event(account: str, at: int, balance: Balance) -> AccountBalanceUpdated:
    """The event for a balance that an account snapshot shows."""
    return AccountBalanceUpdated(account=account, at=at, asset=balance.asset, total=balance.total, free=balance.free)
