"""Records, tickets and reports in a few words, for the tables of this folder. Times in ms; one clock for all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from exchange_kernel.models import ZERO, Condition, Desired, IntentStatus, OrderIntent
from exchange_kernel.reconcile.proof import Look
from exchange_kernel.schema import AmountType, Side, StandardOrder
from exchange_kernel.state.rows import (
    Attempt,
    AttemptState,
    FillRow,
    Progress,
    Record,
    TicketKind,
    TicketRow,
    TicketState,
)
from exchange_kernel.venue import (
    FOREVER,
    Absent,
    Executed,
    Fence,
    Fill,
    HeightEnd,
    Opened,
    OrderReport,
    Slot,
    SlotEnd,
    Spec,
    Ticket,
    TimeEnd,
    VenueId,
    VenueStatus,
    Watermark,
)

ACCOUNT, INTENT, SYMBOL = "main", "i-1", "BTC/USD"
NOW = 1_000_000
PLACED = NOW - 10_000
OPENED = Opened(identity="paper:1", mode="paper")

SLOT = Slot("paper:1", 7)
WINDOW = Fence(repeatable=False, ends=(TimeEnd(PLACED + 2_000, "venue", 500),))
CANCEL_WINDOW = Fence(repeatable=True, ends=(TimeEnd(PLACED + 2_000, "venue", 500),))
SEQUENCE = Fence(repeatable=True, ends=(SlotEnd(SLOT),), authority="ledger")
HEIGHT = Fence(repeatable=True, ends=(HeightEnd(150),), authority="ledger")
PERMANENT = Fence(repeatable=True, ends=())
NONE = Fence(repeatable=False, ends=())


def d(number: str | int) -> Decimal:
    return Decimal(number)


def key(n: int = 1, seq: int = 1) -> bytes:
    return bytes((n, seq)) * 8


def order(**fields: Any) -> StandardOrder:
    return StandardOrder(**({"symbol_id": SYMBOL, "side": Side.BUY, "amount": "10", "limit_price": "100"} | fields))


def intent(**fields: Any) -> OrderIntent:
    return OrderIntent(**({"account": ACCOUNT, "intent_id": INTENT, "order": order()} | fields))


def spec(amount: str | int = "10", limit: str | None = "100", **fields: Any) -> Spec:
    price = None if limit is None else d(limit)
    return Spec(symbol=SYMBOL, side=Side.BUY, amount=d(amount), limit=price, **fields)


def attempt(n: int = 1, state: AttemptState = AttemptState.UNKNOWN, **fields: Any) -> Attempt:
    for name in ("cum_base", "cum_quote", "booked_base", "booked_quote"):
        if name in fields:
            fields[name] = d(fields[name])
    if "booked_base" in fields:
        fields.setdefault("cum_base", fields["booked_base"])
    if state in (AttemptState.LIVE, AttemptState.REVIVED):
        fields.setdefault("venue_status", "working")
    if state in (AttemptState.CLOSED, AttemptState.CLOSING):
        fields.setdefault("venue_status", "canceled")
    if state is AttemptState.CLOSED:
        fields = {"final": True, "read_final": True} | fields
    given = {"key": key(n), "generation": 1, "spec": spec(), "placed_at": PLACED} | fields
    return Attempt(n=n, state=state, **given)


def ticket(fence: Fence = WINDOW, n: int = 1, seq: int = 1, send_before: int = FOREVER) -> Ticket:
    return Ticket(key=key(n, seq), body=b"{}", codec="t/1", identity="paper:1", fence=fence, send_before=send_before)


def row(
    kind: TicketKind = TicketKind.PLACE,
    state: TicketState = TicketState.COMMITTED,
    *,
    n: int = 1,
    seq: int = 1,
    generation: int = 1,
    fence: Fence = WINDOW,
    send_before: int = FOREVER,
    amends: Spec | None = None,
) -> TicketRow:
    return TicketRow(n, seq, kind, generation, ticket(fence, n, seq, send_before), state, spec=amends)


def record(
    attempts: Iterable[Attempt] = (),
    tickets: Iterable[TicketRow] = (),
    fills: Iterable[FillRow] = (),
    *,
    status: IntentStatus = IntentStatus.PENDING,
    amend_refused: int = 0,
    **fields: Any,
) -> Record:
    fills = tuple(fills)
    base = sum((f.base for f in fills if not f.voided), ZERO)
    quote = sum((f.quote for f in fills if not f.voided), ZERO)
    progress = Progress(status=status, filled_base=base, filled_quote=quote, amend_refused=amend_refused)
    return Record(intent(**fields), progress, tuple(attempts), tuple(tickets), fills)


def canceled(before: Record) -> Record:
    return replace(before, intent=replace(before.intent, desired=Desired.CANCELED))


def fill(
    fill_id: str = "f1", base: str | int = "1", price: str | int = "100", revision: int = 0, final: bool = True
) -> Fill:
    return Fill(
        id=fill_id,
        of=VenueId("order", "1"),
        base=d(base),
        quote=d(base) * d(price),
        price=d(price),
        at=PLACED + 100,
        revision=revision,
        final=final,
    )


def fill_row(
    fill_id: str = "f1", base: str | int = "1", price: str | int = "100", n: int = 1, **fields: Any
) -> FillRow:
    return FillRow(fill_id, n, SYMBOL, Side.BUY, d(base), d(base) * d(price), d(price), PLACED + 100, **fields)


def report(
    status: VenueStatus = VenueStatus.WORKING,
    filled: str | int = "0",
    fills: Iterable[Fill] = (),
    *,
    order_id: str = "1",
    as_of: int = PLACED + 200,
    final: bool | None = None,
    price: str | None = "100",
    **fields: Any,
) -> OrderReport:
    """A report of an order. Terminal ones are final unless said otherwise; ``filled`` was executed at 100."""
    return OrderReport(
        id=VenueId("order", order_id),
        symbol=SYMBOL,
        side=Side.BUY,
        status=status,
        as_of=as_of,
        price=None if price is None else d(price),
        filled=Executed(d(filled), d(filled) * 100),
        fills=tuple(fills),
        final=status.terminal if final is None else final,
        **fields,
    )


def look(
    venue_ms: int | None = NOW,
    *,
    began: float = 10.0,
    tickets: int = 1,
    since: int = 0,
    height: int | None = None,
    spent: Iterable[Slot] = (),
    of: bytes | None = None,
    ledger_ms: int | None = None,
) -> Look:
    at = Watermark(venue_ms=venue_ms, ledger_ms=ledger_ms, height=height, spent=frozenset(spent))
    return Look(Absent(at, since, ("orders",)), began, tickets, key() if of is None else of)


def quote_order(**fields: Any) -> StandardOrder:
    return order(amount="1000", amount_type=AmountType.QUOTE, **fields)


def holding(before: Record, generation: int) -> Record:
    condition = Condition("Held", f"generation {generation}", "the store may have lost a later cancel")
    return replace(before, progress=replace(before.progress, conditions=(condition,)))


def contradicted(before: Record) -> Record:
    condition = Condition("ContradictedByVenue", "LateEvidence")
    return replace(before, progress=replace(before.progress, conditions=(condition,)))
