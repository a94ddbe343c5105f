"""Rows as tuples: which columns are written and read, in which order, and what each of them holds."""

from __future__ import annotations

from typing import Any

from exchange_kernel.models import Desired, IntentStatus, OrderIntent
from exchange_kernel.schema import Side
from exchange_kernel.state.rows import (
    AccountRow,
    Attempt,
    AttemptState,
    EventRow,
    FillRow,
    Lease,
    PositionRow,
    Progress,
    StoreRow,
    TicketKind,
    TicketRow,
    TicketState,
)
from exchange_kernel.state.sql import codec
from exchange_kernel.state.unit import Head, storable
from exchange_kernel.venue import Ticket

Row = tuple[Any, ...]

# Conditions of the partial indexes: a statement uses one only if it says the same.
UNFINISHED = "status NOT IN ('CANCELED', 'EXPIRED', 'FILLED', 'REJECTED')"
LIVE = "state IN ('CLOSING', 'LIVE', 'UNKNOWN')"
REVIVED = "state = 'REVIVED'"

STORE = ("store_id", "incarnation", "commit_seq", "halted", "suspicion")
ACCOUNT_MOVING = slice(4, 13)
ACCOUNT = (
    *("account", "venue", "identity", "mode", "event_seq", "event_hash", "halted", "limits", "open_notional"),
    *("rate_tokens", "rate_at", "recovering", "history_cursor", "created_at"),
)
LEASE = ("account", "owner", "epoch", "expires_at")
POSITION = ("account", "symbol", "amount", "entry", "realized")
HEAD = ("intent_id", "version", "generation", "desired", "status", "reserved", "first_hash", "spec_hash")
PROGRESS = (
    *("status", "reason", "observed_generation", "filled_base", "filled_quote", "conditions", "reserved"),
    *("next_due", "amend_refused", "failures"),
)
INTENT = (
    *("account", "intent_id", "symbol", "spec", "spec_hash", "first_hash", "desired", "generation", "labels"),
    *("group_id", "submit_deadline", "max_attempts", "created_at", "version"),
    *PROGRESS,
)
ORDER = ("symbol", "spec", "spec_hash", "generation", "submit_deadline", "version")
ATTEMPT_MOVING = (
    *("generation", "spec", "state", "epoch", "ids", "venue_status", "why", "text", "as_of", "version", "cum_base"),
    *("cum_quote", "booked_base", "booked_quote", "final", "read_final", "applied", "applied_amount", "code"),
    "costs",
)
ATTEMPT = ("account", "intent_id", "n", "key", "placed_at", *ATTEMPT_MOVING)
TICKET_MOVING = ("state", "note")
TICKET = (
    *("account", "intent_id", "attempt", "seq", "kind", "generation", "key", "body", "codec", "identity", "fence"),
    *("ids", "send_before", "outlay", "remark", "spec", "committed_at"),
    *TICKET_MOVING,
)
FILL_MOVING = ("attempt", "base", "quote", "price", "at", "fees", "maker", "revision", "voided")
FILL = ("account", "fill_id", "intent_id", "symbol", "side", *FILL_MOVING)
EVENT = ("account", "seq", "at", "kind", "intent_id", "actor", "reason", "body", "patch", "hash")


def read_store(row: Row) -> StoreRow:
    """The store's own row."""
    return StoreRow(row[0], row[1], row[2], codec.mapping_or_none(row[3]), row[4])


def account_row(row: AccountRow) -> Row:
    """Columns ACCOUNT."""
    return (
        row.account,
        row.venue,
        row.identity,
        row.mode,
        row.event_seq,
        row.event_hash,
        codec.mapping(row.halted),
        codec.limits(row.limits),
        codec.money(row.open_notional),
        codec.money_or_none(row.rate_tokens),
        row.rate_at,
        codec.mapping(row.recovering),
        row.history_cursor,
        row.created_at,
    )


def read_account(row: Row) -> AccountRow:
    """The account behind columns ACCOUNT."""
    return AccountRow(
        account=row[0],
        venue=row[1],
        identity=row[2],
        mode=row[3],
        event_seq=row[4],
        event_hash=row[5],
        halted=codec.mapping_or_none(row[6]),
        limits=codec.read_limits(row[7]),
        open_notional=codec.decimal(row[8]),
        rate_tokens=codec.decimal_or_none(row[9]),
        rate_at=row[10],
        recovering=codec.mapping_or_none(row[11]),
        history_cursor=row[12],
        created_at=row[13],
    )


def read_lease(row: Row) -> Lease:
    """The lease behind columns LEASE."""
    return Lease(*row)


def lease_row(lease: Lease) -> Row:
    """Columns LEASE."""
    return (lease.account, storable(lease.owner), lease.epoch, lease.expires_at)


def position_row(row: PositionRow) -> Row:
    """Columns POSITION."""
    return (
        row.account,
        row.symbol,
        codec.money(row.amount),
        codec.money_or_none(row.entry),
        codec.money(row.realized),
    )


def read_position(row: Row) -> PositionRow:
    """The position behind columns POSITION."""
    return PositionRow(row[0], row[1], codec.decimal(row[2]), codec.decimal_or_none(row[3]), codec.decimal(row[4]))


def read_head(row: Row) -> Head:
    """The head behind columns HEAD."""
    return Head(row[1], row[2], Desired(row[3]), IntentStatus(row[4]), codec.decimal(row[5]), row[6], row[7])


def progress_row(p: Progress) -> Row:
    """Columns PROGRESS."""
    return (
        p.status._value_,
        storable(p.reason),
        p.observed_generation,
        codec.money(p.filled_base),
        codec.money(p.filled_quote),
        codec.conditions(p.conditions),
        codec.money(p.reserved),
        p.next_due,
        p.amend_refused,
        p.failures,
    )


def intent_row(intent: OrderIntent, progress: Progress, digest: str) -> Row:
    """Columns INTENT of a new intent; ``digest``: of its order."""
    return (
        intent.account,
        intent.intent_id,
        intent.order.symbol_id,
        codec.order(intent.order),
        digest,
        intent.first_hash,
        intent.desired._value_,
        intent.generation,
        codec.mapping(intent.labels),
        intent.group_id,
        intent.submit_deadline,
        intent.max_attempts,
        intent.created_at,
        intent.version,
        *progress_row(progress),
    )


def order_row(intent: OrderIntent, digest: str, version: int) -> Row:
    """Columns ORDER of a modified intent."""
    return (
        intent.order.symbol_id,
        codec.order(intent.order),
        digest,
        intent.generation,
        intent.submit_deadline,
        version,
    )


def read_intent(row: Row) -> tuple[OrderIntent, Progress]:
    """The intent behind columns INTENT."""
    intent = OrderIntent(
        account=row[0],
        intent_id=row[1],
        order=codec.read_order(row[3]),
        desired=Desired(row[6]),
        generation=row[7],
        labels=codec.mapping_or_none(row[8]) or {},
        group_id=row[9],
        submit_deadline=row[10],
        max_attempts=row[11],
        created_at=row[12],
        first_hash=row[5],
        version=row[13],
    )
    progress = Progress(
        status=IntentStatus(row[14]),
        reason=row[15],
        observed_generation=row[16],
        filled_base=codec.decimal(row[17]),
        filled_quote=codec.decimal(row[18]),
        conditions=codec.read_conditions(row[19]),
        reserved=codec.decimal(row[20]),
        next_due=row[21],
        amend_refused=row[22],
        failures=row[23],
    )
    return intent, progress


def attempt_moving(a: Attempt) -> Row:
    """Columns ATTEMPT_MOVING: what may change in an attempt."""
    return (
        a.generation,
        codec.spec(a.spec),
        a.state._value_,
        a.epoch,
        codec.venue_ids(a.ids),
        storable(a.venue_status),
        storable(a.why),
        storable(a.text),
        a.as_of,
        a.version,
        codec.money(a.cum_base),
        codec.money(a.cum_quote),
        codec.money(a.booked_base),
        codec.money(a.booked_quote),
        a.final,
        a.read_final,
        a.applied,
        codec.money_or_none(a.applied_amount),
        storable(a.code),
        codec.costs(a.costs),
    )


def read_attempt(row: Row) -> Attempt:
    """The attempt behind columns ATTEMPT."""
    return Attempt(
        n=row[2],
        key=row[3],
        placed_at=row[4],
        generation=row[5],
        spec=codec.read_spec(row[6]),
        state=AttemptState(row[7]),
        epoch=row[8],
        ids=codec.read_venue_ids(row[9]),
        venue_status=row[10],
        why=row[11],
        text=row[12],
        as_of=row[13],
        version=row[14],
        cum_base=codec.decimal(row[15]),
        cum_quote=codec.decimal(row[16]),
        booked_base=codec.decimal(row[17]),
        booked_quote=codec.decimal(row[18]),
        final=bool(row[19]),
        read_final=bool(row[20]),
        applied=row[21],
        applied_amount=codec.decimal_or_none(row[22]),
        code=row[23],
        costs=codec.read_costs(row[24]),
    )


def ticket_row(account: str, intent_id: str, row: TicketRow) -> Row:
    """Columns TICKET."""
    ticket = row.ticket
    return (
        account,
        intent_id,
        row.attempt,
        row.seq,
        row.kind._value_,
        row.generation,
        ticket.key,
        ticket.body,
        ticket.codec,
        ticket.identity,
        codec.fence(ticket.fence),
        codec.venue_ids(ticket.ids),
        ticket.send_before,
        codec.outlay(ticket.outlay),
        storable(ticket.note),
        None if row.spec is None else codec.spec(row.spec),
        row.committed_at,
        row.state._value_,
        storable(row.note),
    )


def ticket_moving(row: TicketRow) -> Row:
    """Columns TICKET_MOVING: what was sent never changes, only what became of it."""
    return (row.state._value_, storable(row.note))


def read_ticket(row: Row) -> TicketRow:
    """The ticket behind columns TICKET."""
    return TicketRow(
        attempt=row[2],
        seq=row[3],
        kind=TicketKind(row[4]),
        generation=row[5],
        ticket=Ticket(
            key=row[6],
            body=row[7],
            codec=row[8],
            identity=row[9],
            fence=codec.read_fence(row[10]),
            ids=codec.read_venue_ids(row[11]),
            send_before=row[12],
            outlay=codec.read_outlay(row[13]),
            note=row[14],
        ),
        spec=None if row[15] is None else codec.read_spec(row[15]),
        committed_at=row[16],
        state=TicketState(row[17]),
        note=row[18],
    )


def fill_moving(fill: FillRow) -> Row:
    """Columns FILL_MOVING: what a correction may change in a fill."""
    return (
        fill.attempt,
        codec.money(fill.base),
        codec.money(fill.quote),
        codec.money(fill.price),
        fill.at,
        codec.costs(fill.fees),
        fill.maker,
        fill.revision,
        fill.voided,
    )


def read_fill(row: Row) -> FillRow:
    """The fill behind columns FILL."""
    return FillRow(
        id=row[1],
        symbol=row[3],
        side=Side(row[4]),
        attempt=row[5],
        base=codec.decimal(row[6]),
        quote=codec.decimal(row[7]),
        price=codec.decimal(row[8]),
        at=row[9],
        fees=codec.read_costs(row[10]),
        maker=None if row[11] is None else bool(row[11]),
        revision=row[12],
        voided=bool(row[13]),
    )


def event_row(row: EventRow) -> Row:
    """Columns EVENT."""
    return (
        row.account,
        row.seq,
        row.at,
        row.kind,
        row.intent_id,
        row.actor,
        row.reason,
        row.body,
        row.patch,
        row.hash,
    )
