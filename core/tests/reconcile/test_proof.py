"""What proves an attempt dead: every kind of end, every condition around it (R11, R13 to R16)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.tests.reconcile.records import (
    CANCEL_WINDOW,
    HEIGHT,
    NONE,
    NOW,
    OPENED,
    PERMANENT,
    PLACED,
    SEQUENCE,
    SLOT,
    WINDOW,
    attempt,
    key,
    look,
    record,
    row,
    spec,
    ticket,
)
from exchange_kernel.reconcile.proof import (
    SECOND_LOOK_S,
    earliest_proof_ms,
    passed,
    provable,
    proves_dead,
    ticket_over,
)
from exchange_kernel.state.rows import TicketKind
from exchange_kernel.venue import Fence, HeightEnd, Ref, Slot, SlotEnd, Ticket, TimeEnd, Watermark

END = PLACED + 2_000 + 500
"""Venue time up to which the time window's ticket may still show, without any read lag."""
LEDGER_TIME = Fence(repeatable=True, ends=(TimeEnd(PLACED + 2_000, "ledger", 500),), authority="ledger")
SWAP = Fence(repeatable=True, ends=(SlotEnd(SLOT), TimeEnd(PLACED + 2_000, "ledger")), authority="ledger")


def ref(*tickets: Ticket) -> Ref:
    return Ref(key=key(), symbol="BTC/USD", spec=spec(), placed_at=PLACED, tickets=tickets)


@pytest.mark.parametrize(
    ("end", "at", "lag", "expected"),
    [
        (TimeEnd(1_000, "venue", 50), Watermark(venue_ms=1_050), 0, False),
        (TimeEnd(1_000, "venue", 50), Watermark(venue_ms=1_051), 0, True),
        (TimeEnd(1_000, "venue", 50), Watermark(venue_ms=1_051), 1, False),
        (TimeEnd(1_000, "venue", 50), Watermark(venue_ms=1_052), 1, True),
        (TimeEnd(1_000, "venue"), Watermark(), 0, False),
        (TimeEnd(1_000, "venue"), Watermark(ledger_ms=9_999), 0, False),
        (TimeEnd(1_000, "ledger", 50), Watermark(ledger_ms=1_050), 0, False),
        (TimeEnd(1_000, "ledger", 50), Watermark(ledger_ms=1_051), 99, True),
        (TimeEnd(1_000, "ledger"), Watermark(venue_ms=9_999), 0, False),
        (HeightEnd(150), Watermark(height=150), 0, False),
        (HeightEnd(150), Watermark(height=151), 0, True),
        (HeightEnd(150), Watermark(), 0, False),
        (SlotEnd(SLOT), Watermark(spent=frozenset({SLOT})), 0, True),
        (SlotEnd(SLOT), Watermark(spent=frozenset({Slot(SLOT.scope, 8)})), 0, False),
        (SlotEnd(SLOT), Watermark(spent=frozenset({Slot("paper:2", 7)})), 0, False),
        (SlotEnd(SLOT), Watermark(), 0, False),
    ],
)
def test_an_end_is_judged_by_the_state_that_was_read(
    end: TimeEnd | HeightEnd | SlotEnd, at: Watermark, lag: int, expected: bool
) -> None:
    """An end has passed only strictly beyond it, by its own clock or number, with slack and read lag added."""
    assert passed(end, at, replace(OPENED, read_lag=lag)) is expected


@pytest.mark.parametrize(
    ("fence", "at", "over"),
    [
        (WINDOW, Watermark(venue_ms=END), False),
        (WINDOW, Watermark(venue_ms=END + 1), True),
        (LEDGER_TIME, Watermark(ledger_ms=END + 1), True),
        (SEQUENCE, Watermark(venue_ms=NOW * 2, ledger_ms=NOW * 2, height=10**9), False),
        (SEQUENCE, Watermark(spent=frozenset({SLOT})), True),
        (SWAP, Watermark(ledger_ms=PLACED + 2_001), True),
        (SWAP, Watermark(ledger_ms=PLACED, spent=frozenset({SLOT})), True),
        (SWAP, Watermark(ledger_ms=PLACED), False),
        (HEIGHT, Watermark(height=151), True),
        (PERMANENT, Watermark(NOW * 2, NOW * 2, 10**9, frozenset({SLOT})), False),
        (NONE, Watermark(NOW * 2, NOW * 2, 10**9, frozenset({SLOT})), False),
    ],
)
def test_any_one_end_is_enough_and_no_ends_never(fence: Fence, at: Watermark, over: bool) -> None:
    """A ticket is over when any one of its ends has passed; without ends it never is (R13, R14)."""
    assert ticket_over(ticket(fence), at, OPENED) is over
    assert provable(ref(ticket(fence))) is bool(fence.ends)


@pytest.mark.parametrize(("since", "dead"), [(0, True), (PLACED, True), (PLACED + 1, False)])
def test_a_read_must_have_been_able_to_see_the_order(since: int, dead: bool) -> None:
    """Absence proves nothing from a read that would only show orders which entered after this one was placed (R16)."""
    looks = [look(began=1.0, since=since), look(began=2.0, since=since)]
    assert proves_dead(ref(ticket()), looks, OPENED) is dead


def test_every_ticket_must_be_over() -> None:
    """One ticket whose end has not passed keeps the attempt alive, whatever became of the others."""
    late = replace(ticket(seq=2), fence=Fence(False, (TimeEnd(NOW + 1, "venue"),)))
    looks = [look(NOW, began=1.0, tickets=2), look(NOW, began=2.0, tickets=2)]
    assert not proves_dead(ref(ticket(), late), looks, OPENED)
    assert proves_dead(ref(ticket(), replace(late, fence=WINDOW)), looks, OPENED)


def test_no_ticket_is_no_proof() -> None:
    """An attempt without any ticket is not proved dead by an empty "all of them are over" (R11)."""
    looks = [look(began=1.0, tickets=0), look(began=9.0, tickets=0)]
    assert not proves_dead(ref(), looks, OPENED)
    assert not provable(ref())


@pytest.mark.parametrize(
    ("began", "dead"),
    [
        ((), False),
        ((5.0,), False),
        ((5.0, 5.0 + SECOND_LOOK_S - 0.001), False),
        ((5.0, 5.0 + SECOND_LOOK_S), True),
        ((5.0, 5.5, 6.0), True),
    ],
)
def test_where_the_venue_is_the_authority_it_must_say_so_twice(began: tuple[float, ...], dead: bool) -> None:
    """Two proving reads at least a second apart are needed, because the venue's replicas may lag (R11)."""
    assert proves_dead(ref(ticket()), [look(began=at) for at in began], OPENED) is dead


def test_only_proving_reads_count_as_looks() -> None:
    """A first read from before the end does not count as one of the two."""
    early = look(END, began=1.0)
    assert not proves_dead(ref(ticket()), [early, look(began=3.0)], OPENED)
    assert proves_dead(ref(ticket()), [early, look(began=3.0), look(began=4.0)], OPENED)


@pytest.mark.parametrize("fence", [SEQUENCE, HEIGHT, SWAP, LEDGER_TIME])
def test_one_look_at_a_ledger_is_enough(fence: Fence) -> None:
    """The ledger's final state does not lag behind itself: a single proving read is proof."""
    seen = look(height=151, spent=(SLOT,), ledger_ms=END + 1)
    assert proves_dead(ref(ticket(fence)), [seen], OPENED)
    assert not proves_dead(ref(ticket(fence)), [look(height=150, ledger_ms=PLACED)], OPENED)


def test_one_ticket_of_the_venue_asks_for_two_looks() -> None:
    """With tickets of both authorities the stricter rule holds."""
    both = ref(ticket(SEQUENCE), ticket(WINDOW, seq=2))
    first = look(began=1.0, tickets=2, spent=(SLOT,))
    assert not proves_dead(both, [first], OPENED)
    assert proves_dead(both, [first, replace(first, began=2.0)], OPENED)


@pytest.mark.parametrize(("tickets", "dead"), [(1, False), (2, True), (3, False)])
def test_evidence_from_before_a_later_ticket_is_worthless(tickets: int, dead: bool) -> None:
    """A read counts only when it began with exactly the tickets that are to be proved dead (R11)."""
    pair = ref(ticket(), ticket(seq=2))
    looks = [look(began=1.0, tickets=tickets), look(began=2.0, tickets=tickets)]
    assert proves_dead(pair, looks, OPENED) is dead


def test_another_attempts_absence_proves_nothing() -> None:
    """Reads that looked for another attempt of the intent never count, however alike its tickets are."""
    looks = [look(began=1.0, of=key(2)), look(began=2.0, of=key(2))]
    assert not proves_dead(ref(ticket()), looks, OPENED)
    assert not proves_dead(ref(ticket()), [looks[0], look(began=3.0)], OPENED)


def test_a_plain_cancel_needs_no_proof_of_its_own() -> None:
    """What an adapter is asked about are the tickets that could create execution or hold a number; a cancel can't."""
    rows = (row(), row(TicketKind.CANCEL, seq=2, fence=CANCEL_WINDOW))
    assert [t.key for t in record((attempt(),), rows).ref(attempt()).tickets] == [rows[0].ticket.key]
    numbered = (row(fence=SEQUENCE), row(TicketKind.CANCEL, seq=2, fence=SEQUENCE))
    assert len(record((attempt(),), numbered).ref(attempt()).tickets) == 2
    amended = (row(), row(TicketKind.AMEND, seq=2))
    assert len(record((attempt(),), amended).ref(attempt()).tickets) == 2


@pytest.mark.parametrize(
    ("tickets", "offset", "error", "expected"),
    [
        ((WINDOW,), 0, 0, END + 1),
        ((WINDOW,), 30_000, 0, END - 30_000 + 1),
        ((WINDOW,), 0, 20, END + 20 + 1),
        ((WINDOW, Fence(False, (TimeEnd(NOW, "venue"),))), 0, 0, NOW + 1),
        ((SWAP,), 0, 0, PLACED + 2_000 + 1),
        ((SEQUENCE,), 0, 0, None),
        ((WINDOW, NONE), 0, 0, None),
        ((), 0, 0, None),
    ],
)
def test_when_a_proof_becomes_possible(
    tickets: tuple[Fence, ...], offset: int, error: int, expected: int | None
) -> None:
    """The hint for the next look is the last ticket's first time end, turned into local time; None without one."""
    opened = replace(OPENED, clock_offset=offset, clock_error=error)
    asked = ref(*(ticket(fence, seq=n) for n, fence in enumerate(tickets, 1)))
    assert earliest_proof_ms(asked, opened) == expected
