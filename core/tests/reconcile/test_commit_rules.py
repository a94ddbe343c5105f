"""What one commit of the reconciler demands of the rows it finds, and that a refused one leaves them as they were."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.tests.reconcile.records import (
    ACCOUNT,
    INTENT,
    NOW,
    SLOT,
    SYMBOL,
    attempt,
    d,
    fill_row,
    record,
    row,
)
from exchange_kernel.errors import AccountHalted, Fenced, LimitExceeded, StaleWrite, StoreError
from exchange_kernel.events import AccountResumed, OrderCanceled, OrderSubmitted
from exchange_kernel.models import Desired, IntentStatus, Limits
from exchange_kernel.state.commit import Change, spend_token
from exchange_kernel.state.rows import AccountRow, AttemptState, Lease, PositionRow, Record, StoreRow, TicketState
from exchange_kernel.state.unit import Head, Unit, perform
from exchange_kernel.venue import VenueId

HALT = {"actor": "ann", "reason": "test", "at": NOW}


def rows(*, limits: Limits = Limits(), **fields: Any) -> Unit:  # noqa: B008
    """An account owned under epoch 3, with one intent at version 1."""
    account = AccountRow(ACCOUNT, "paper", "paper:1", "paper", limits=limits)
    store = StoreRow("s")
    head = Head(1, 1, Desired.ACTIVE, IntentStatus.PENDING, d(0), "h", "h")
    for name, value in fields.items():
        owner: Any = next(one for one in (account, head, store) if hasattr(one, name.removeprefix("platform_")))
        setattr(store if name.startswith("platform_") else owner, name.removeprefix("platform_"), value)
    return Unit(
        now=NOW,
        store=store,
        accounts={ACCOUNT: account},
        leases={ACCOUNT: Lease(ACCOUNT, "me", 3, NOW + 5_000)},
        intents={(ACCOUNT, INTENT): head},
    )


def opening(notional: int = 1_000, **changes: Any) -> Change:
    """The commit that opens an attempt worth ``notional``."""
    before = record()
    after = record([attempt()], [row()], status=IntentStatus.SUBMITTING)
    after = replace(after, progress=replace(after.progress, reserved=d(notional)))
    told = OrderSubmitted(account=ACCOUNT, at=NOW, intent_id=INTENT, attempt=1, generation=1, key="", amount=d(10))
    given = {"epoch": 3, "events": (told,), "opens": True, "notional": d(notional), "slots": ((1, SLOT),)} | changes
    return Change(ACCOUNT, before=before, after=after, **given)


def bookkeeping() -> Change:
    """A commit that opens nothing: the same attempt, proved dead."""
    before = record([attempt()], [row()])
    return Change(ACCOUNT, 3, before, replace(before, attempts=(attempt(state=AttemptState.DEAD),)))


def refused(change: Change, unit: Unit, error: type[Exception], *words: str) -> None:
    """The commit is refused with these words, and the rows are as they were."""
    before = copy.deepcopy(unit)
    with pytest.raises(error) as caught:
        perform(change, unit)
    for word in words:
        assert word in str(caught.value)
    assert unit == before


REFUSALS = [
    pytest.param({"desired": Desired.CANCELED}, StaleWrite, ("cancellation",), id="cancel committed (R20)"),
    pytest.param({"halted": HALT}, AccountHalted, ("ann", "resume"), id="account halted (R4)"),
    pytest.param({"platform_halted": HALT}, AccountHalted, ("platform", "ann"), id="platform halted (R4)"),
    pytest.param(
        {"recovering": {"cause": "restored"}}, AccountHalted, ("RECOVERING", "restored"), id="RECOVERING (R32)"
    ),
    pytest.param({"limits": Limits(symbols=frozenset({"ETH/USD"}))}, LimitExceeded, (SYMBOL,), id="symbol not allowed"),
    pytest.param({"limits": Limits(symbols=frozenset())}, LimitExceeded, (SYMBOL,), id="no symbol allowed"),
    pytest.param({"limits": Limits(max_order_notional=d(999))}, LimitExceeded, ("1000", "999"), id="order too large"),
    pytest.param(
        {"limits": Limits(max_open_notional=d(1_500)), "open_notional": d(501)},
        LimitExceeded,
        ("1501", "1500"),
        id="too much open",
    ),
    pytest.param(
        {"limits": Limits(order_count=2), "rate_tokens": d("0.99"), "rate_at": NOW},
        LimitExceeded,
        ("2",),
        id="too fast",
    ),
]


@pytest.mark.parametrize(("found", "error", "words"), REFUSALS)
def test_what_forbids_to_open(found: dict[str, Any], error: type[Exception], words: tuple[str, ...]) -> None:
    """Whatever forbids an order is checked in the transaction that would commit its ticket; nothing is half-written."""
    refused(opening(), rows(**found), error, *words)


@pytest.mark.parametrize(("found", "error", "words"), REFUSALS)
def test_what_forbids_to_open_never_forbids_bookkeeping(
    found: dict[str, Any], error: type[Exception], words: tuple[str, ...]
) -> None:
    """Proof, fills and cancels are committed whatever the limits and the halt say (R27)."""
    unit = rows(**found)
    assert perform(bookkeeping(), unit) == 2
    assert unit.accounts[ACCOUNT].rate_tokens == found.get("rate_tokens")


@pytest.mark.parametrize(
    "found",
    [
        {"limits": Limits(symbols=frozenset({SYMBOL}))},
        {"limits": Limits(max_order_notional=d(1_000))},
        {"limits": Limits(max_open_notional=d(1_500)), "open_notional": d(500)},
        {"limits": Limits(max_open_notional=d(1_500)), "open_notional": d(1_500), "reserved": d(1_000)},
        {"limits": Limits(order_count=2), "rate_tokens": d(1), "rate_at": NOW},
        {"limits": Limits(order_count=1)},
    ],
)
def test_limits_may_be_reached(found: dict[str, Any]) -> None:
    """A limit forbids what is beyond it, not what reaches it; what the intent holds already counts once."""
    assert perform(opening(), rows(**found)) == 2


@pytest.mark.parametrize("change", [opening(), bookkeeping()], ids=["opens", "bookkeeping"])
def test_every_write_needs_the_epoch_and_the_version(change: Change) -> None:
    """A zombie's write fails, of whatever kind, and so does one that did not read the newest version (R6, R31)."""
    refused(replace(change, epoch=2), rows(), Fenced, "epoch 2")
    refused(replace(change, epoch=4), rows(), Fenced, "epoch 4")
    refused(change, rows(version=2), StaleWrite, "version 1")
    ownerless, gone = rows(), rows()
    ownerless.leases.clear()
    gone.intents.clear()
    refused(change, ownerless, Fenced)
    refused(change, gone, StaleWrite)


def test_events_of_another_account_are_refused() -> None:
    """An event can only be numbered in the log whose row is locked (R39)."""
    stranger = AccountResumed(account="other", at=NOW)
    refused(opening(events=(stranger,)), rows(), StoreError, "other")


def test_what_an_opening_commit_writes() -> None:
    """Attempt, ticket, number, reserved notional, rate and event, all in one (R1, R26, R39)."""
    unit = rows(limits=Limits(order_count=5))
    assert perform(opening(), unit) == 2
    head, account, writes = unit.intents[(ACCOUNT, INTENT)], unit.accounts[ACCOUNT], unit.writes
    assert (head.version, head.status, head.reserved) == (2, IntentStatus.SUBMITTING, 1_000)
    assert (account.open_notional, account.rate_tokens, account.event_seq) == (1_000, 4, 1)
    assert [(one.n, one.state) for _, _, one in writes.attempts_new] == [(1, AttemptState.UNKNOWN)]
    assert [one.state for _, _, one in writes.tickets_new] == [TicketState.COMMITTED]
    assert writes.slots == [(ACCOUNT, INTENT, 1, SLOT)]
    assert [event.kind for event in unit.emitted] == ["OrderSubmitted"]
    patch = json.loads(writes.events[0].patch)
    assert (patch["status"], patch["attempts"]["1"]["state"]) == ("SUBMITTING", "UNKNOWN")


def test_a_silent_change_writes_an_event_of_its_own() -> None:
    """What changes rows without an event of meaning is recorded too, or the log would not fold to the rows (S11)."""
    unit = rows()
    perform(bookkeeping(), unit)
    assert [event.kind for event in unit.emitted] == ["OrderRecorded"]
    assert json.loads(unit.writes.events[0].patch) == {"attempts": {"1": {"state": "DEAD"}}}
    assert [one.state for _, _, one in unit.writes.attempts] == [AttemptState.DEAD]
    assert unit.writes.attempts_new == unit.writes.tickets_new == unit.writes.tickets == []


def test_the_end_frees_what_was_reserved() -> None:
    """The account's open notional falls with the intent that held it."""
    before = record([attempt()], [row()])
    before = replace(before, progress=replace(before.progress, reserved=d(1_000)))
    after = replace(before, progress=replace(before.progress, status=IntentStatus.CANCELED, reserved=d(0)))
    told = OrderCanceled(account=ACCOUNT, at=NOW, intent_id=INTENT, filled_base=d(0), filled_quote=d(0))
    unit = rows(reserved=d(1_000), open_notional=d(1_700))
    perform(Change(ACCOUNT, 3, before, after, (told,)), unit)
    assert unit.accounts[ACCOUNT].open_notional == 700
    assert unit.intents[(ACCOUNT, INTENT)].status is IntentStatus.CANCELED


def test_only_new_venue_ids_are_written() -> None:
    """Ids that reports linked to an attempt are written once; client ids are found by the attempt's key."""
    order_id, other, client = VenueId("order", "1"), VenueId("order", "2"), VenueId("client", "c")
    before = record([attempt(ids=(order_id,))], [row()])
    after = replace(before, attempts=(attempt(ids=(order_id, client, other)),))
    unit = rows()
    perform(Change(ACCOUNT, 3, before, after), unit)
    assert unit.writes.ids == [(ACCOUNT, INTENT, 1, other)]


def booked(before: Record, after: Record, unit: Unit) -> list[str]:
    """Commit a change of fills; the kinds of the position's events."""
    done = len(unit.emitted)
    perform(Change(ACCOUNT, 3, before, after), unit)
    for head in unit.intents.values():
        head.version = 1
    return [event.kind for event in unit.emitted[done:] if event.kind.startswith("Position")]


def test_fills_move_the_position() -> None:
    """Booked, corrected and voided fills move the account's position, each by exactly what changed (S10)."""
    unit = rows()
    none = record([attempt()], [row()])
    one = replace(none, fills=(fill_row("a", 2, 100),))
    two = replace(none, fills=(*one.fills, fill_row("b", 1, 130)))
    fixed = replace(none, fills=(fill_row("a", 3, 100, revision=1), two.fills[1]))
    gone = replace(none, fills=tuple(replace(fill, voided=True) for fill in fixed.fills))

    def position() -> PositionRow:
        return unit.position(ACCOUNT, SYMBOL)

    assert booked(none, one, unit) == ["PositionOpened"]
    assert (position().amount, position().entry) == (2, 100)
    assert booked(one, two, unit) == ["PositionModified"]
    assert (position().amount, position().entry) == (3, 110)
    assert booked(two, two, unit) == []
    booked(two, fixed, unit)
    assert position().amount == 4
    assert booked(fixed, gone, unit)[-1] == "PositionClosed"
    assert (position().amount, position().entry) == (0, None)
    again = replace(none, fills=(fill_row("a", 3, 100, revision=2), gone.fills[1]))
    assert booked(gone, again, unit) == ["PositionOpened"]
    assert position().amount == 3
    assert [fill.id for _, _, fill in unit.writes.fills_new] == ["a", "b"]
    assert [fill.id for _, _, fill in unit.writes.fills] == ["a", "a", "b", "a"]


def test_a_fill_without_size_moves_nothing() -> None:
    """A flat position stays flat without an event when nothing of a fill is left."""
    none = record([attempt()], [row()])
    unit = rows()
    assert booked(none, replace(none, fills=(fill_row("a", 2, voided=True),)), unit) == []
    assert unit.positions == {}


# ---- the order rate -------------------------------------------------------------------------------------------------


def spends(account: AccountRow, limits: Limits, at: int) -> bool:
    try:
        spend_token(account, limits, at)
    except LimitExceeded:
        return False
    return True


@given(st.integers(1, 5), st.sampled_from([100, 1_000, 7_777]), st.lists(st.integers(0, 900), max_size=60))
def test_the_rate_is_kept_in_every_window(count: int, period: int, gaps: list[int]) -> None:
    """However orders are timed, no window sees more of them than a full budget plus what it earned meanwhile."""
    account = AccountRow(ACCOUNT, "paper", "paper:1", "paper")
    limits = Limits(order_count=count, order_period_ms=period)
    at, taken = NOW, []
    for gap in gaps:
        at += gap
        if spends(account, limits, at):
            taken.append(at)
        assert account.rate_tokens is None or 0 <= account.rate_tokens <= count
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            earned = Decimal(count) * (taken[last] - taken[first]) / period
            assert last - first + 1 <= count + earned


@given(st.integers(1, 5), st.sampled_from([100, 1_000, 7_777]), st.integers(0, 3))
def test_the_whole_budget_comes_back(count: int, period: int, extra: int) -> None:
    """A burst of the whole budget is allowed, the next order is not, and after a period all of it is there again."""
    account = AccountRow(ACCOUNT, "paper", "paper:1", "paper")
    limits = Limits(order_count=count, order_period_ms=period)
    for start in (NOW, NOW + period + extra + 1):
        assert [spends(account, limits, start) for _ in range(count + 1)] == [True] * count + [False]


def test_the_budget_is_never_rounded_up() -> None:
    """What is left of the budget is stored with few digits, and never more than there is."""
    account = AccountRow(ACCOUNT, "paper", "paper:1", "paper")
    limits = Limits(order_count=2, order_period_ms=3)
    assert spends(account, limits, NOW)
    assert spends(account, limits, NOW + 1)
    assert account.rate_tokens == d("0.666666")


def test_a_clock_that_goes_back_earns_nothing() -> None:
    """The database's clock may be set back; the budget does not grow from it."""
    account = AccountRow(ACCOUNT, "paper", "paper:1", "paper")
    limits = Limits(order_count=1, order_period_ms=1_000)
    assert spends(account, limits, NOW)
    assert not spends(account, limits, NOW - 5_000)
    assert not spends(account, limits, NOW + 999)
    assert spends(account, limits, NOW + 1_000)


def test_without_a_rate_nothing_is_counted() -> None:
    """An account without an order rate spends no tokens."""
    account = AccountRow(ACCOUNT, "paper", "paper:1", "paper")
    assert all(spends(account, Limits(), NOW) for _ in range(100))
    assert account.rate_tokens is None
