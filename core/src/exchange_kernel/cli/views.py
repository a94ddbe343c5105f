"""Rows of the store as plain data: every field for programs, and which of them a table shows."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from exchange_kernel.cli.output import average, money, utc
from exchange_kernel.models import Condition, OrderIntent
from exchange_kernel.state.rows import AccountRow, Attempt, EventRow, FillRow, Lease, PositionRow, Progress, TicketRow

INTENTS: Final = ("id", "account", "symbol", "side", "amount", "price", "tif", "desired", "generation", "created")
ORDERS: Final = ("id", "account", "symbol", "side", "status", "filled", "of", "average", "observed", "reason")
POSITIONS: Final = ("account", "symbol", "amount", "entry", "realized")
ACCOUNTS: Final = ("account", "venue", "mode", "owner", "halted", "recovering", "open_notional", "events", "told")
EVENTS: Final = ("time", "account", "seq", "event", "intent", "actor", "reason", "body")

Row = dict[str, Any]


def intent(row: OrderIntent) -> Row:
    """Desired state."""
    order = row.order
    return {
        "id": row.intent_id,
        "account": row.account,
        "symbol": order.symbol_id,
        "side": order.side.value,
        "amount": f"{money(order.amount)}{' quote' if order.amount_type.value == 'QUOTE' else ''}",
        "price": "market" if order.limit_price is None else money(order.limit_price),
        "tif": order.time_in_force.value,
        "desired": row.desired.value,
        "generation": row.generation,
        "created": utc(row.created_at),
        "deadline": utc(row.submit_deadline),
        "group": row.group_id,
        "labels": dict(row.labels),
        "order": order.to_dict(),
    }


def order(row: OrderIntent, progress: Progress) -> Row:
    """Actual state, without the attempts behind it."""
    in_quote = row.order.amount_type.value == "QUOTE"
    base, quote = progress.filled_base, progress.filled_quote
    return {
        "id": row.intent_id,
        "account": row.account,
        "symbol": row.order.symbol_id,
        "side": row.order.side.value,
        "status": progress.status.value,
        "filled": money(quote if in_quote else base),
        "of": f"{money(row.order.amount)}{' quote' if in_quote else ''}",
        "average": average(quote / base) if base else None,
        "observed": f"{progress.observed_generation}/{row.generation}",
        "reason": progress.reason,
        "filled_base": money(base),
        "filled_quote": money(quote),
        "conditions": [condition(each) for each in progress.conditions],
        "next_due": utc(progress.next_due),
    }


def condition(row: Condition) -> Row:
    """One condition."""
    return {"type": row.type, "reason": row.reason, "message": row.message, "since": utc(row.at)}


def attempt(row: Attempt, tickets: tuple[TicketRow, ...]) -> Row:
    """One attempt and its tickets. Their bytes are left out: they are signed."""
    return {
        "n": row.n,
        "state": row.state.value,
        "key": row.key.hex(),
        "generation": row.generation,
        "amount": money(row.spec.amount),
        "amount_in": row.spec.amount_in.value,
        "price": money(row.spec.limit),
        "venue_status": row.venue_status,
        "why": row.why,
        "text": row.text,
        "ids": {each.kind: each.value for each in row.ids},
        "executed_base": money(row.cum_base),
        "booked_base": money(row.booked_base),
        "booked_quote": money(row.booked_quote),
        "placed_at": utc(row.placed_at),
        "as_of": utc(row.as_of),
        "epoch": row.epoch,
        "costs": [f"{money(each.amount)} {each.asset} ({each.kind})" for each in row.costs],
        "tickets": [
            {
                "seq": each.seq,
                "kind": each.kind.value,
                "generation": each.generation,
                "state": each.state.value,
                "committed": utc(each.committed_at),
                "note": each.note,
            }
            for each in tickets
        ],
    }


def fill(row: FillRow) -> Row:
    """One booked fill."""
    return {
        "id": row.id,
        "attempt": row.attempt,
        "base": money(row.base),
        "quote": money(row.quote),
        "price": money(row.price),
        "fees": [f"{money(cost.amount)} {cost.asset}" for cost in row.fees],
        "maker": row.maker,
        "time": utc(row.at),
        "voided": row.voided,
    }


def position(row: PositionRow) -> Row:
    """A position from booked fills."""
    return {
        "account": row.account,
        "symbol": row.symbol,
        "amount": money(row.amount),
        "entry": average(row.entry),
        "realized": money(row.realized),
    }


def account(
    name: str, venue: str, row: AccountRow | None, lease: Lease | None, owner: str, told: Iterable[Condition] = ()
) -> Row:
    """An account: what the configuration says, and what the store knows of it (nothing before its first start).

    ``told``: conditions that the newest events tell of.
    """
    conditions = [condition(each) for each in told]
    out: Row = {"account": name, "venue": venue, "mode": None, "owner": owner or "nobody", "halted": None}
    out |= {"recovering": None, "open_notional": None, "events": 0, "identity": None, "epoch": None}
    if row is not None:
        halted = row.halted
        out |= {
            "venue": row.venue or venue,
            "mode": row.mode,
            "identity": row.identity,
            "halted": None if halted is None else f"{halted['actor']}: {halted['reason']}",
            "recovering": None if row.recovering is None else str(row.recovering.get("cause")),
            "open_notional": money(row.open_notional),
            "events": row.event_seq,
        }
    if lease is not None:
        out["epoch"] = lease.epoch
    said = [" ".join(filter(None, (each["type"], each["reason"]))) for each in conditions]
    return out | {"told": ", ".join(said) or None, "conditions": conditions}


def event(row: EventRow) -> Row:
    """One event of the log, as stored."""
    return {
        "time": utc(row.at),
        "account": row.account,
        "seq": row.seq,
        "event": row.kind,
        "intent": row.intent_id,
        "actor": row.actor,
        "reason": row.reason,
        "body": json.loads(row.body),
    }
