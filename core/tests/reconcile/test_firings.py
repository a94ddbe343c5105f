"""When a cancellation was the account's own dead-man switch, and when it was not."""

from __future__ import annotations

import pytest

from core.tests.reconcile.records import report
from exchange_kernel.reconcile.firings import BY_ANOTHER, BY_THE_SWITCH, EARLY_MS, LATE_MS, Firings
from exchange_kernel.reconcile.outcome import Reported
from exchange_kernel.venue import VenueStatus, Why

UNTIL = 1_000_000


def armed() -> Firings:
    """One symbol, until then."""
    firings = Firings()
    firings.asked("A/B", UNTIL)
    firings.armed("A/B", UNTIL, UNTIL - 60_000)
    return firings


@pytest.mark.parametrize(
    ("at", "ours"),
    [
        (UNTIL - 60_000, False),
        (UNTIL - EARLY_MS - 1, False),
        (UNTIL - EARLY_MS, True),
        (UNTIL, True),
        (UNTIL + LATE_MS, True),
        (UNTIL + LATE_MS + 1, False),
    ],
)
def test_it_fires_at_its_time(at: int, ours: bool) -> None:
    """A little before and a while after, and in its own symbol only."""
    assert armed().covers("A/B", at) is ours
    assert not armed().covers("C/D", at)


def test_renewed_in_time_it_has_not_fired() -> None:
    """What was due before the renewal never was."""
    firings = armed()
    firings.armed("A/B", UNTIL + 40_000, UNTIL - 20_000)
    assert not firings.covers("A/B", UNTIL)
    assert firings.covers("A/B", UNTIL + 40_000)


def test_renewed_too_late_it_has() -> None:
    """Late reports of what it cancelled are still ours."""
    firings = armed()
    firings.asked("A/B", UNTIL + 65_000)
    firings.armed("A/B", UNTIL + 65_000, UNTIL + 5_000)
    assert firings.covers("A/B", UNTIL + 1_000)
    assert not firings.covers("A/B", UNTIL + 40_000)


def test_an_answer_that_did_not_come_leaves_both_times() -> None:
    """It may fire at the old time, at the new one, or in between where there were several."""
    firings = armed()
    firings.asked("A/B", UNTIL + 30_000)
    assert firings.covers("A/B", UNTIL)
    assert firings.covers("A/B", UNTIL + 30_000)
    assert not firings.covers("A/B", UNTIL + 30_000 + LATE_MS + 1)


def test_disarmed_it_does_not_fire() -> None:
    """Nor is a cancellation afterwards ours."""
    firings = armed()
    firings.disarmed("A/B", UNTIL - 30_000)
    assert not firings.covers("A/B", UNTIL)


def test_what_a_former_owner_armed_ends_where_this_one_arms() -> None:
    """Its span is of any symbol, until the symbol is armed anew."""
    firings = Firings()
    firings.fired("", UNTIL, UNTIL + 30_000)
    assert firings.covers("A/B", UNTIL + 30_000)
    firings.asked("A/B", UNTIL + 90_000)
    firings.armed("A/B", UNTIL + 90_000, UNTIL + 5_000)
    assert firings.covers("A/B", UNTIL + 4_000)
    assert not firings.covers("A/B", UNTIL + 30_000)
    assert firings.covers("C/D", UNTIL + 30_000)


@pytest.mark.parametrize(
    ("status", "why", "said"),
    [
        (VenueStatus.CANCELED, Why.USER, (Why.DEAD_MAN, BY_THE_SWITCH)),
        (VenueStatus.CANCELED, Why.NONE, (Why.DEAD_MAN, BY_THE_SWITCH)),
        (VenueStatus.CANCELED, Why.SELF_TRADE, (Why.SELF_TRADE, "")),
        (VenueStatus.EXPIRED, Why.USER, (Why.USER, "")),
        (VenueStatus.FILLED, Why.NONE, (Why.NONE, "")),
    ],
)
def test_only_a_cancellation_for_no_other_reason_is_named(status: VenueStatus, why: Why, said: tuple[Why, str]) -> None:
    """Whatever else ended an order was not the switch, even then."""
    firings = armed()
    told = report(status=status, why=why, as_of=UNTIL)
    firings.confirmed = {told.symbol: UNTIL}
    firings.latest = {told.symbol: UNTIL}
    named = firings.named(Reported(1, told, "stream")).report
    assert (named.why, named.text) == said


def test_a_switch_of_somebody_else_is_not_ours() -> None:
    """The venue says that a switch has cancelled, and this account has none armed."""
    told = report(status=VenueStatus.CANCELED, why=Why.DEAD_MAN, as_of=UNTIL)
    named = Firings().named(Reported(1, told, "stream")).report
    assert (named.why, named.text) == (Why.OTHER_USER, BY_ANOTHER)
