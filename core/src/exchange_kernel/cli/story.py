"""The story of one intent from what is stored: how it came here, and what keeps it where it is."""

from __future__ import annotations

from collections.abc import Iterator

from exchange_kernel.cli.desk import Desk
from exchange_kernel.cli.output import money, utc
from exchange_kernel.models import Condition, Desired, IntentStatus
from exchange_kernel.state.rows import Attempt, EventRow, Record

PAGE = 1_000

MEANS = {
    IntentStatus.PENDING: "nothing of it has been sent yet",
    IntentStatus.SUBMITTING: "it was sent, and the venue has not shown it yet",
    IntentStatus.WORKING: "it is at the venue and nothing of it has executed",
    IntentStatus.PARTIALLY_FILLED: "it is at the venue and a part of it has executed",
    IntentStatus.CANCELING: "its end is wanted, and not proved yet",
    IntentStatus.UNKNOWN: "what became of it is not known: the venue is asked until it is found or proved dead",
    IntentStatus.PARKED: "the kernel cannot decide without help",
    IntentStatus.FILLED: "it has executed completely",
    IntentStatus.CANCELED: "it is proved that nothing of it can execute any more",
    IntentStatus.REJECTED: "it was refused",
    IntentStatus.EXPIRED: "time ended it",
}
_HELPLESS = (IntentStatus.PARKED, IntentStatus.UNKNOWN)


async def events_of(at: Desk, account: str, intent_id: str, after: int = 0) -> tuple[list[EventRow], int]:
    """The events of an intent behind a sequence number of its account, and the newest number looked at."""
    found: list[EventRow] = []
    while page := await at.store.event_rows(account, after, PAGE):
        found += [row for row in page if row.intent_id == intent_id]
        after = page[-1].seq
    return found, after


async def why(at: Desk, account: str, record: Record, now: int) -> list[str]:
    """Why an intent is where it is, most important first. ``now``: ms UTC."""
    status = record.progress.status
    lines = [f"{status.value}: {MEANS[status]}"]
    if record.progress.reason:
        lines.append(f"reason: {record.progress.reason}")
    if not status.terminal:
        lines += await _held(at, account)
        lines += _wanted(record)
    lines += [_condition(each) for each in record.progress.conditions]
    if record.last is not None:
        lines += _attempt(record, record.last)
    if not status.terminal:
        lines += _next(record, now)
    if status in _HELPLESS:
        lines.append(f"to help: look at the venue, then exk resolve {record.intent.intent_id}")
    return lines


async def _held(at: Desk, account: str) -> list[str]:
    """What keeps the whole account from sending."""
    lines = []
    configured = at.config.accounts.get(account)
    if configured is None:
        lines.append(f"held: account {account} is not in {at.config.path.name}: no kernel of it works on this")
    elif configured.observed:
        lines.append("held: the account is only observed (mode: observe): nothing is sent")
    if not await at.owner(account):
        lines.append(f"held: no kernel runs account {account} now: exk run")
    row = await at.store.account_row(account)
    for scope, halted in (
        ("the account", None if row is None else row.halted),
        ("the platform", (await at.store.store_row()).halted),
    ):
        if halted is not None:
            lines.append(f"held: {scope} is halted by {halted['actor']}: {halted['reason']}; only cancels are sent")
    if row is not None and row.recovering is not None:
        lines.append(f"held: recovering: {row.recovering.get('cause')}; nothing is opened before the venue was read")
    return lines


def _wanted(record: Record) -> list[str]:
    intent, progress = record.intent, record.progress
    if intent.desired is Desired.CANCELED:
        return ["wanted: its end"]
    if record.attempts and progress.observed_generation < intent.generation:
        price = "market" if intent.order.limit_price is None else money(intent.order.limit_price)
        seen = progress.observed_generation
        return [
            f"wanted: generation {intent.generation} ({money(intent.order.amount)} at {price}); "
            + (f"the venue has generation {seen}" if seen else "the venue has shown none yet")
        ]
    return []


def _condition(each: Condition) -> str:
    message = f": {each.message}" if each.message else ""
    return f"condition: {each.type} ({each.reason}){message}, since {utc(each.at)}"


def _attempt(record: Record, last: Attempt) -> Iterator[str]:
    parts = [f"attempt {last.n} is {last.state.value}"]
    if last.venue_status:
        parts.append(f"the venue says {last.venue_status}")
    if last.why and last.why != "none":
        parts.append(last.why)
    if last.text:
        parts.append(last.text)
    yield f"newest: {', '.join(parts)}"
    tickets = record.tickets_of(last.n)
    if tickets:
        ticket = tickets[-1]
        note = f": {ticket.note}" if ticket.note else ""
        yield f"newest: its {ticket.kind.value} of {utc(ticket.committed_at)} is {ticket.state.value}{note}"


def _next(record: Record, now: int) -> Iterator[str]:
    due = record.progress.next_due
    if due is None:
        yield "next: when something happens: news of the venue, or a change of yours"
    elif due <= now:
        yield "next: it is due now"
    else:
        yield f"next: looked at again at {utc(due)}, in {(due - now) / 1000:.1f} s, or when something happens"
    deadline = record.intent.submit_deadline
    if deadline is not None and not record.attempts and record.intent.desired is Desired.ACTIVE:
        yield f"next: where it was not sent by {utc(deadline)}, it expires"
