"""What an order costs besides its fills: gas of what succeeded, reverted, or was a cancel. Each cost counts once."""

from __future__ import annotations

from exchange_kernel.events import CostBooked
from exchange_kernel.reconcile.draft import Draft
from exchange_kernel.value import revised
from exchange_kernel.venue import Cost


def charge(draft: Draft, n: int, costs: tuple[Cost, ...]) -> None:
    """Book the costs of attempt ``n`` that are not booked yet, by their ids. Only what is final may be given here: a
    block that is taken back takes its gas back."""
    if not costs:
        return
    known = {cost.id for attempt in draft.record.attempts for cost in attempt.costs}
    fresh = {cost.id: cost for cost in costs if cost.id not in known}
    if not fresh:
        return
    attempt = draft.record.attempt(n)
    draft.put_attempt(revised(attempt, costs=(*attempt.costs, *fresh.values())))
    for cost in fresh.values():
        draft.emit(CostBooked, attempt=n, cost_id=cost.id, asset=cost.asset, amount=cost.amount, cost=cost.kind)
