"""Does the log tell the same story as the rows? Recomputes the hash chain and folds the events' patches (S11).

Reads through the store's own interface, so it works for every store. On one that is being written meanwhile it reads
again until it met it at rest, a few times.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from exchange_kernel.models import ZERO
from exchange_kernel.schema import Side
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.state.commit import ATTEMPT_PATCH, PROGRESS_PATCH
from exchange_kernel.state.rows import AccountRow, Attempt, PositionRow, Progress, Record
from exchange_kernel.state.stores import IntentStateStore, Verification
from exchange_kernel.state.unit import chain, storable

PAGE = 2000
ROUNDS = 5


@dataclass(slots=True)
class _Story:
    """What the log says about one intent: newest values by name, and of its attempts by number."""

    values: dict[str, Any] = field(default_factory=dict)
    attempts: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(slots=True)
class _Sums:
    """Totals over all intents, to compare with the account's own rows."""

    reserved: Decimal = ZERO
    positions: dict[str, Decimal] = field(default_factory=dict)


async def verify(store: IntentStateStore, account: str) -> Verification:
    """Check one account: chain intact, numbers without gaps, fold = row, sums = totals; a sentence per difference."""
    for _ in range(ROUNDS):
        found, before, after = await _once(store, account)
        if before == after or not found.differences:
            return found
    note = f"{account}: it was written while it was checked; stop its kernel and check again"
    return found._replace(differences=(*found.differences, note))


async def _once(store: IntentStateStore, account: str) -> tuple[Verification, int, int]:
    row = await store.account_row(account)
    if row is None:
        return Verification(0, 0, (f"{account}: this store does not know the account",)), 0, 0
    differences: list[str] = []
    stories = await _read_log(store, row, differences)
    sums = _Sums()
    intents = await store.intents(account)
    for start in range(0, len(intents), PAGE):
        ids = [intent.intent_id for intent, _ in intents[start : start + PAGE]]
        for record in await asyncio.gather(*(store.record(account, intent_id) for intent_id in ids)):
            if record is not None:
                story = stories.pop(record.intent.intent_id, None)
                _compare(record, story, differences)
                _add(record, sums)
    differences += [f"intent {intent_id}: the log tells about it, and it has no row" for intent_id in sorted(stories)]
    if sums.reserved != row.open_notional:
        differences.append(f"{account}: open_notional is {row.open_notional:f}, its intents reserve {sums.reserved:f}")
    _compare_positions(await store.positions(account), sums.positions, differences)
    after = await store.account_row(account)
    assert after is not None
    return Verification(len(intents), row.event_seq, tuple(differences)), row.event_seq, after.event_seq


async def _read_log(store: IntentStateStore, row: AccountRow, differences: list[str]) -> dict[str, _Story]:
    account = row.account
    stories: dict[str, _Story] = {}
    seq, digest = 0, ""
    while seq < row.event_seq:
        page = await store.event_rows(account, seq, min(PAGE, row.event_seq - seq))
        if not page:
            differences.append(f"{account}: the log ends at event {seq}, the account counted {row.event_seq}")
            return stories
        for event in page:
            if event.seq != seq + 1:
                differences.append(f"{account}: event {seq + 1} is missing, {event.seq} follows {seq}")
            digest = chain(digest, event)
            if digest != event.hash:
                differences.append(
                    f"{account}: event {event.seq} does not match its hash: it or one before was changed"
                )
                digest = event.hash
            seq = event.seq
            if event.intent_id is not None:
                story = stories.setdefault(event.intent_id, _Story())
                if event.patch:
                    _fold(story, json.loads(event.patch))
    if digest != row.event_hash:
        differences.append(
            f"{account}: event {seq} is not the one the account saw last: the end of the log was changed"
        )
    return stories


def _fold(story: _Story, patch: dict[str, Any]) -> None:
    for n, values in patch.pop("attempts", {}).items():
        story.attempts.setdefault(n, {}).update(values)
    story.values.update(patch)


def _compare(record: Record, story: _Story | None, differences: list[str]) -> None:
    name = f"intent {record.intent.intent_id}"
    if story is None:
        differences.append(f"{name}: it has a row, and the log does not tell about it")
        return
    intent = {"desired": "ACTIVE", "generation": 1} | story.values
    for column, value in (("desired", record.intent.desired), ("generation", record.intent.generation)):
        if value != intent[column]:
            differences.append(f"{name}: {column} is {value}, the log gives {intent[column]}")
    _compare_columns(name, PROGRESS_PATCH, record.progress, Progress(), story.values, differences)
    told = set(story.attempts)
    for attempt in record.attempts:
        told.discard(str(attempt.n))
        values = story.attempts.get(str(attempt.n))
        which = f"{name} attempt {attempt.n}"
        if values is None:
            differences.append(f"{which}: it has a row, and the log does not tell about it")
            continue
        _compare_columns(which, ATTEMPT_PATCH, attempt, None, values, differences)
        _compare_fills(which, record, attempt, differences)
    differences += [f"{name} attempt {n}: the log tells about it, and it has no row" for n in sorted(told)]


def _compare_columns(
    name: str,
    columns: Iterable[str],
    row: Progress | Attempt,
    default: Progress | None,
    values: dict[str, Any],
    differences: list[str],
) -> None:
    for column in columns:
        have = getattr(row, column)
        want = values.get(column) if default is None or column in values else getattr(default, column)
        if isinstance(have, Decimal) and isinstance(want, str):
            want = Decimal(want)
        elif isinstance(have, str):
            have = storable(str(have))
        if have != want:
            differences.append(f"{name}: {column} is {have}, the log gives {want}")


def _compare_fills(name: str, record: Record, attempt: Attempt, differences: list[str]) -> None:
    base = quote = ZERO
    for fill in record.fills:
        if fill.attempt == attempt.n and not fill.voided:
            base, quote = EXACT.add(base, fill.base), EXACT.add(quote, fill.quote)
    if (base, quote) != (attempt.booked_base, attempt.booked_quote):
        booked = f"{attempt.booked_base:f} base, {attempt.booked_quote:f} quote"
        differences.append(f"{name}: booked is {booked}, its fills sum to {base:f} base, {quote:f} quote")


def _add(record: Record, sums: _Sums) -> None:
    sums.reserved = EXACT.add(sums.reserved, record.progress.reserved)
    for fill in record.fills:
        if not fill.voided:
            signed = fill.base if fill.side is Side.BUY else -fill.base
            sums.positions[fill.symbol] = EXACT.add(sums.positions.get(fill.symbol, ZERO), signed)


def _compare_positions(rows: Iterable[PositionRow], sums: dict[str, Decimal], differences: list[str]) -> None:
    have = {row.symbol: row.amount for row in rows}
    for symbol in sorted({*have, *sums}):
        amount, want = have.get(symbol, ZERO), sums.get(symbol, ZERO)
        if amount != want:
            differences.append(f"position {symbol}: it is {amount:f}, the booked fills sum to {want:f}")
