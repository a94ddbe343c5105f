"""What the tests of the stores are made of: a clock, intents, and the steps a reconciler takes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from functools import reduce

from exchange_kernel.events import (
    Event,
    OrderAccepted,
    OrderFilled,
    OrderPartiallyFilled,
    OrderRecorded,
    OrderSubmitted,
)
from exchange_kernel.models import IntentStatus, Limits, OrderIntent
from exchange_kernel.schema import Side, StandardOrder
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.state import IntentStateStore
from exchange_kernel.state.commit import Change
from exchange_kernel.state.ops import AcquireLease, BindAccount, CreateIntents, NewIntent
from exchange_kernel.state.rows import Attempt, AttemptState, FillRow, Record, TicketKind, TicketRow, TicketState
from exchange_kernel.venue import Cost, Fence, Slot, Spec, Ticket, TimeEnd, VenueId

ACCOUNT = "paper_main"
HOUR = 3_600_000


class StillClock:
    """A clock that moves when it is told to."""

    def __init__(self, ms: int = 1_800_000_000_000) -> None:
        self.ms = ms

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000

    async def sleep(self, seconds: float) -> None:
        self.ms += round(seconds * 1000)


class CountedIds:
    """Ids that are told apart by their number."""

    def __init__(self) -> None:
        self.count = 0

    def new(self, size: int) -> bytes:
        self.count += 1
        return self.count.to_bytes(size, "big")


def bind(account: str = ACCOUNT, limits: Limits | None = None, identity: str = "paper:main") -> BindAccount:
    """The account, as its kernel binds it at every start."""
    return BindAccount(account, "paper", identity, "paper", limits or Limits())


def intent(intent_id: str, account: str = ACCOUNT, amount: str = "0.5", price: str | None = "50000.25") -> OrderIntent:
    """An intent to buy bitcoin."""
    order = StandardOrder("BTC/USD", Side.BUY, amount, limit_price=price)
    return OrderIntent(account=account, intent_id=intent_id, order=order, first_hash=order.spec_hash())


def create(*ids: str, account: str = ACCOUNT, amount: str = "0.5") -> CreateIntents:
    """Declare intents in one batch."""
    made = tuple(NewIntent(intent(i, account, amount), Decimal(25000)) for i in ids)
    return CreateIntents(account, made, "tester")


async def start(store: IntentStateStore, account: str = ACCOUNT, limits: Limits | None = None) -> int:
    """Bind the account and take it over; returns the epoch."""
    await store.execute(bind(account, limits))
    lease = await store.execute(AcquireLease(account, "tester", HOUR, steal=True))
    epoch: int = lease.epoch
    return epoch


async def read(store: IntentStateStore, intent_id: str, account: str = ACCOUNT) -> Record:
    """The record of an intent that exists."""
    record = await store.record(account, intent_id)
    assert record is not None
    return record


def submit(
    record: Record, epoch: int, *, key: bytes | None = None, slot: Slot | None = None, now: int = 1_800_000_000_000
) -> Change:
    """The next attempt with its ticket."""
    account, intent_id, order = record.intent.account, record.intent.intent_id, record.intent.order
    n = len(record.attempts) + 1
    key = key or f"{intent_id}/{n}".encode()
    spec = Spec(order.symbol_id, order.side, order.amount, limit=order.limit_price)
    attempt = Attempt(n, key, record.intent.generation, spec, now, epoch=epoch)
    ticket = Ticket(
        key=key,
        body=b'{"side":"BUY","amount":"0.5"}',
        codec="paper/1",
        identity="paper:main",
        fence=Fence(False, (TimeEnd(now + 2000, "venue", 500),)),
        ids=(VenueId("client", f"exk{key.hex()}"),),
    )
    row = TicketRow(n, 1, TicketKind.PLACE, record.intent.generation, ticket, committed_at=now)
    notional = EXACT.multiply(spec.amount, spec.limit or Decimal(1))
    progress = replace(record.progress, status=IntentStatus.SUBMITTING, reserved=notional, next_due=now + 1000)
    after = replace(record.with_attempt(attempt).with_ticket(row), progress=progress)
    event = OrderSubmitted(
        account=account,
        at=now,
        intent_id=intent_id,
        attempt=n,
        generation=record.intent.generation,
        key=key.hex(),
        amount=spec.amount,
        limit_price=spec.limit,
    )
    slots = () if slot is None else ((n, slot),)
    return Change(account, epoch, record, after, (event,), opens=True, notional=notional, slots=slots)


def accept(record: Record, epoch: int, venue_id: str | None = None, n: int = 0) -> Change:
    """The venue shows the newest attempt."""
    attempt = record.attempts[n - 1]
    intent = record.intent
    vid = VenueId("order", venue_id or f"BTC/USD:{intent.intent_id}:{attempt.n}")
    ids = attempt.ids if vid in attempt.ids else (*attempt.ids, vid)
    seen = replace(attempt, state=AttemptState.LIVE, venue_status="working", ids=ids, version=1, applied=1)
    tickets = tuple(replace(t, state=TicketState.DONE) if t.attempt == attempt.n else t for t in record.tickets)
    progress = replace(record.progress, status=IntentStatus.WORKING, observed_generation=intent.generation)
    after = replace(record.with_attempt(seen), tickets=tickets, progress=progress)
    event = OrderAccepted(
        account=intent.account, at=1, intent_id=intent.intent_id, attempt=attempt.n, venue_id=vid.value
    )
    return Change(intent.account, epoch, record, after, (event,))


def book(record: Record, epoch: int, fill_id: str, base: str = "0.1", *, n: int = 0, price: str = "50000") -> Change:
    """One more fill of an attempt (the newest)."""
    attempt, intent = record.attempts[n - 1], record.intent
    fill = FillRow(
        id=fill_id,
        attempt=attempt.n,
        symbol=attempt.spec.symbol,
        side=attempt.spec.side,
        base=Decimal(base),
        quote=EXACT.multiply(Decimal(base), Decimal(price)),
        price=Decimal(price),
        at=1_800_000_000_500,
        fees=(Cost(f"fee {fill_id}", "USD", Decimal("0.01")),),
        maker=False,
    )
    return _booked(record, epoch, attempt, (*record.fills, fill), fill, intent)


def void(record: Record, epoch: int, fill_id: str) -> Change:
    """The venue takes a fill back."""
    old = next(fill for fill in record.fills if fill.id == fill_id)
    new = replace(old, voided=True, revision=old.revision + 1)
    fills = tuple(new if fill is old else fill for fill in record.fills)
    return _booked(record, epoch, record.attempt(old.attempt), fills, new, record.intent)


def _booked(
    record: Record, epoch: int, attempt: Attempt, fills: tuple[FillRow, ...], fill: FillRow, intent: OrderIntent
) -> Change:
    counted = [f for f in fills if not f.voided]
    base, quote = _total(f.base for f in counted), _total(f.quote for f in counted)
    own = [f for f in counted if f.attempt == attempt.n]
    own_base, own_quote = _total(f.base for f in own), _total(f.quote for f in own)
    booked = replace(attempt, booked_base=own_base, booked_quote=own_quote, cum_base=own_base, cum_quote=own_quote)
    status = record.progress.status
    if not status.terminal:
        status = IntentStatus.PARTIALLY_FILLED if base else IntentStatus.WORKING
    progress = replace(record.progress, status=status, filled_base=base, filled_quote=quote)
    after = replace(record.with_attempt(booked), fills=fills, progress=progress)
    event = OrderPartiallyFilled(
        account=intent.account,
        at=1,
        intent_id=intent.intent_id,
        attempt=attempt.n,
        fill_id=fill.id,
        base=fill.base,
        quote=fill.quote,
        price=fill.price,
        filled_base=base,
        filled_quote=quote,
    )
    return Change(intent.account, epoch, record, after, (event,))


def _total(amounts: Iterable[Decimal]) -> Decimal:
    return reduce(EXACT.add, amounts, Decimal(0))


def move(record: Record, epoch: int, n: int, state: AttemptState) -> Change:
    """An attempt goes into another state, without an event of its own."""
    attempt = replace(record.attempt(n), state=state, why="user", text="as told")
    return Change(record.intent.account, epoch, record, record.with_attempt(attempt))


def finish(record: Record, epoch: int, status: IntentStatus = IntentStatus.FILLED) -> Change:
    """The intent ends, and with it its live attempt."""
    intent, live = record.intent, record.live
    after = record if live is None else record.with_attempt(replace(live, state=AttemptState.CLOSED, final=True))
    progress = replace(record.progress, status=status, reason="over", reserved=Decimal(0), next_due=None)
    event: Event
    if status is IntentStatus.FILLED:
        event = OrderFilled(
            account=intent.account,
            at=1,
            intent_id=intent.intent_id,
            filled_base=progress.filled_base,
            filled_quote=progress.filled_quote,
        )
    else:
        event = OrderRecorded(account=intent.account, at=1, intent_id=intent.intent_id, what=status.value)
    return Change(intent.account, epoch, record, replace(after, progress=progress), (event,))
