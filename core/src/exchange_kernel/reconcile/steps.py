"""Prerequisites (R28, R29): what the account must be allowed before an order, run as an intent of the kernel's own.

A *step* is such an intent: it has attempts, tickets, fences and proof like any other, and its attempt's command is an
``Enable``. Users see it in the event log only; its id begins with a character that no user's id may begin with.
"""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal

from exchange_kernel.events import AttemptClosed
from exchange_kernel.models import ZERO, Condition, Desired, IntentStatus, OrderIntent
from exchange_kernel.reconcile.charging import charge
from exchange_kernel.reconcile.decide import undecided
from exchange_kernel.reconcile.decisions import Decision, Finish, Submit, Wait
from exchange_kernel.reconcile.draft import Draft
from exchange_kernel.reconcile.weighing import Facts
from exchange_kernel.schema import Side, StandardOrder, canonical
from exchange_kernel.state.rows import LIVE_STATES, AttemptState, Record, is_step
from exchange_kernel.value import revised
from exchange_kernel.venue import Enable, Key, NeedsFirst, Spec, StepReport, VenueStatus

WAITS = "NeedsFirst"
"""The condition of an order that waits for a step: its reason names what is needed, its message ends in the step."""

_RUNS_AS = " runs as "


def prefix(name: str) -> str:
    """How the ids of all steps for one name begin."""
    return "~enable-" + hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:12] + "-"


def declared(account: str, asker: Key, symbol: str, needs: NeedsFirst, amount: Decimal, tries: int) -> OrderIntent:
    """The step for a need. ``asker``: makes its id unique. ``amount``: what it must suffice for."""
    body = json.dumps(dict(needs.body), sort_keys=True)
    order = StandardOrder(symbol, Side.BUY, Decimal(1), limit_price=Decimal(1))
    return OrderIntent(
        account=account,
        intent_id=prefix(needs.name) + asker.hex()[:32],
        order=order,
        labels={"name": needs.name, "body": body, "amount": canonical(amount)},
        max_attempts=tries,
        first_hash=order.spec_hash(),
    )


def command_of(intent: OrderIntent, key: Key) -> Enable:
    """The command of a step."""
    labels = intent.labels
    return Enable(key, labels["name"], json.loads(labels["body"]), Decimal(labels["amount"]))


def spec_of_step(intent: OrderIntent) -> Spec:
    """What stands for a step's order where an attempt has one: it is sent to nobody."""
    return Spec(intent.order.symbol_id, Side.BUY, Decimal(1), limit=Decimal(1))


def waits_for(record: Record) -> tuple[str, str] | None:
    """What this order waits for, and the step that brings it: name and intent id."""
    marked = f"generation {record.intent.generation}: "
    for condition in record.progress.conditions:
        if condition.type == WAITS and condition.message.startswith(marked):
            return condition.reason, condition.message.rpartition(_RUNS_AS)[2]
    return None


def waiting(record: Record, needs: NeedsFirst, step: str, now: int) -> Condition:
    """The condition that says so."""
    message = f"generation {record.intent.generation}: {needs.why[:120]};{_RUNS_AS}{step}"
    return Condition(WAITS, needs.name, message, now)


def decide_step(record: Record, facts: Facts) -> Decision:
    """The next thing to do about a step. Halted, it is not run; what was sent is followed up all the same."""
    if record.progress.status.terminal:
        return Wait(None)
    if record.live is not None:
        return undecided(record, record.live, facts)
    if facts.recovering:
        return Wait(None, facts.recovering)
    last, intent = record.last, record.intent
    if last is not None and last.state is AttemptState.CLOSED:
        return Finish(IntentStatus.FILLED, "done")
    if last is not None and last.state is AttemptState.REFUSED:
        return Finish(IntentStatus.REJECTED, last.text or last.code)
    if intent.desired is Desired.CANCELED:
        return Finish(IntentStatus.CANCELED, "canceled by request")
    if len(record.attempts) >= intent.max_attempts:
        return Finish(IntentStatus.EXPIRED, f"{len(record.attempts)} attempts did not reach the venue")
    if facts.blocked:
        return Wait(None, facts.blocked)
    if facts.now < facts.not_before:
        return Wait(facts.not_before, "backing off")
    return Submit(len(record.attempts) + 1, intent.order.amount)


def stepped(draft: Draft, n: int, report: StepReport) -> None:
    """Fold what the venue says about a step's attempt. Only what is final counts."""
    attempt = draft.record.attempt(n)
    if not is_step(draft.record.intent.intent_id) or report.key != attempt.key or not report.final:
        return
    charge(draft, n, report.costs)
    attempt = draft.record.attempt(n)
    if attempt.state not in LIVE_STATES or report.state == "pending":
        return
    if report.state == "done":
        ended = revised(attempt, state=AttemptState.CLOSED, venue_status=VenueStatus.FILLED.value, final=True)
        status = ended.venue_status
        draft.emit(
            AttemptClosed, attempt=n, venue_status=status, filled_base=ZERO, filled_quote=ZERO, reason=report.text
        )
    else:
        why = report.text or report.why.value
        ended = revised(attempt, state=AttemptState.REFUSED, code=report.why.value, text=why[:200], final=True)
    draft.put_attempt(ended)
    draft.settle_tickets(n)
