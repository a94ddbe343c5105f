"""OrderState, derived from what is stored."""

from __future__ import annotations

from decimal import Decimal

from exchange_kernel.models import ZERO, OrderIntent, OrderState
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.state.rows import Progress, Record


def state_of(record: Record) -> OrderState:
    """The full state of one intent."""
    last = record.revived or record.last
    return OrderState(
        account=record.intent.account,
        intent_id=record.intent.intent_id,
        symbol_id=record.intent.order.symbol_id,
        side=record.intent.order.side,
        status=record.progress.status,
        reason=record.progress.reason,
        observed_generation=record.progress.observed_generation,
        filled_base=record.progress.filled_base,
        filled_quote=record.progress.filled_quote,
        amount=record.intent.order.amount,
        price=record.intent.order.limit_price,
        venue_ids=tuple(vid.value for attempt in record.attempts for vid in attempt.ids),
        attempts=len(record.attempts),
        conditions=record.progress.conditions,
        as_of=last.as_of if last is not None else 0,
        costs=_costs(record),
    )


def _costs(record: Record) -> dict[str, Decimal]:
    total: dict[str, Decimal] = {}
    for attempt in record.attempts:
        for cost in attempt.costs:
            total[cost.asset] = EXACT.add(total.get(cost.asset, ZERO), cost.amount)
    return total


def light_state(intent: OrderIntent, progress: Progress) -> OrderState:
    """The state without its attempts: for lists."""
    return OrderState(
        account=intent.account,
        intent_id=intent.intent_id,
        symbol_id=intent.order.symbol_id,
        side=intent.order.side,
        status=progress.status,
        reason=progress.reason,
        observed_generation=progress.observed_generation,
        filled_base=progress.filled_base,
        filled_quote=progress.filled_quote,
        amount=intent.order.amount,
        price=intent.order.limit_price,
        conditions=progress.conditions,
    )
