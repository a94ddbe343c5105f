"""Folding reports: any order, any repetition, any source, the same record; and evidence that comes too late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.tests.reconcile.records import (
    PLACED,
    attempt,
    d,
    fill,
    fill_row,
    key,
    order,
    record,
    report,
    row,
    spec,
)
from exchange_kernel import events
from exchange_kernel.models import IntentStatus
from exchange_kernel.reconcile.draft import Draft
from exchange_kernel.reconcile.fold import Source, fold, void
from exchange_kernel.state.rows import Attempt, AttemptState, Record, TicketKind, TicketState
from exchange_kernel.venue import Cost, Fill, FillVoided, OrderReport, VenueId, VenueStatus, Why

S = VenueStatus


def folded(before: Record, *reports: tuple[OrderReport, Source], n: int = 1) -> Draft:
    draft = Draft(before, PLACED)
    for one, source in reports:
        fold(draft, n, one, source)
    return draft


def unknown() -> Record:
    return record([attempt()], [row()])


# ---- a true history, and everything that could be reported of it ----------------------------------------------------


@dataclass(frozen=True)
class Moment:
    """The order at the venue after its ``version``-th change."""

    version: int
    status: VenueStatus
    amount: int
    fills: tuple[Fill, ...]
    amended: bool

    @property
    def filled(self) -> Decimal:
        return sum((f.base for f in self.fills), Decimal(0))


@dataclass(frozen=True)
class History:
    """What happened to one order. ``keyed``: reports name the last command; ``versioned``: they carry versions."""

    moments: tuple[Moment, ...]
    keyed: bool
    versioned: bool

    def report(self, moment: Moment, fills: Sequence[Fill], complete: bool) -> OrderReport:
        applied = (key(1, 2) if moment.amended else key()) if self.keyed else None
        return report(
            moment.status,
            str(moment.filled),
            fills,
            as_of=PLACED + 10 * moment.version,
            version=moment.version if self.versioned else None,
            amount=d(moment.amount),
            applied=applied,
            fills_complete=complete,
            price="101" if moment.amended else "100",
        )

    def told(self) -> list[tuple[OrderReport, Source]]:
        """Every report that any source could make."""
        out: list[tuple[OrderReport, Source]] = []
        for moment in self.moments:
            whole = self.report(moment, moment.fills, True)
            out += [(whole, "lookup"), (self.report(moment, moment.fills[-1:], False), "stream")]
            out += [(self.report(moment, (), False), "stream")]
            if moment.status.terminal:
                out += [(whole, "history")]
            else:
                out += [(self.report(moment, (), False), "snapshot")]
        out += [(self.report(self.moments[0], self.moments[0].fills, True), "ack")]
        return out


@st.composite
def histories(draw: st.DrawFn) -> History:
    amount = draw(st.integers(1, 6))
    moments: list[Moment] = []
    fills: tuple[Fill, ...] = ()
    amended = False

    def happens(status: VenueStatus) -> None:
        moments.append(Moment(len(moments) + 1, status, amount, fills, amended))

    if draw(st.integers(0, 9)) == 0:
        happens(S.REJECTED)
    else:
        if draw(st.booleans()):
            happens(S.PENDING)
        happens(S.WORKING)
        left = amount
        for step in draw(st.lists(st.sampled_from(["fill", "fill", "amend"]), max_size=5)):
            if step == "amend" and not amended:
                amended = True
                change = draw(st.integers(-2, 2))
                amount, left = amount + max(change, 1 - left), left + max(change, 1 - left)
                happens(S.WORKING)
            elif left:
                size = draw(st.integers(1, left))
                left -= size
                fills = (*fills, fill(f"f{len(fills)}", size, 100 + len(fills)))
                happens(S.WORKING if left or draw(st.booleans()) else S.FILLED)
                if moments[-1].status is S.FILLED:
                    break
        if moments[-1].status is not S.FILLED:
            end = draw(st.sampled_from([S.CANCELED, S.EXPIRED, None]))
            if left == 0 and end is not None:
                end = S.FILLED
            if end is not None:
                happens(end)
    return History(tuple(moments), draw(st.booleans()), draw(st.booleans()))


def at_the_start(history: History) -> Record:
    """The attempt as committed, an amendment of it too: everything else is to be learnt."""
    first, last = history.moments[0], history.moments[-1]
    tickets = [row()]
    if last.amended:
        wanted = spec(last.amount, "101")
        tickets.append(row(TicketKind.AMEND, seq=2, generation=2, amends=wanted))
    started = record([attempt(spec=spec(first.amount))], tickets, order=order(amount=d(first.amount)))
    return replace(started, intent=replace(started.intent, generation=2 if last.amended else 1))


def outcome(after: Record) -> dict[str, Any]:
    """What must not depend on order, repetition or source."""
    one = after.attempts[0]
    return {
        "state": one.state,
        "status": one.venue_status,
        "cum": one.cum_base,
        "booked": (one.booked_base, one.booked_quote),
        "applied": (one.applied, one.generation, one.spec),
        "ids": frozenset(one.ids),
        "tickets": [(t.seq, t.state) for t in after.tickets],
        "fills": frozenset((f.id, f.base, f.revision, f.voided) for f in after.fills),
        "filled": (after.progress.filled_base, after.progress.filled_quote),
        "conditions": after.progress.conditions,
    }


@settings(max_examples=150)
@given(st.data())
def test_order_repetition_and_source_make_no_difference(data: st.DataObject) -> None:
    """Any permutation and repetition of reports, from any sources, folded in one run or many, gives the same record."""
    history = data.draw(histories())
    told = data.draw(st.lists(st.sampled_from(history.told()), min_size=1, max_size=8))
    shuffled = data.draw(st.permutations(told)) + data.draw(st.lists(st.sampled_from(told), max_size=4))
    start = at_the_start(history)
    first = folded(start, *told)
    second, seen = start, []
    for one in shuffled:
        draft = folded(second, one)
        assert draft.record.attempts[0].cum_base >= second.attempts[0].cum_base
        was = second.attempts[0].venue_status
        assert not was or not VenueStatus(was).terminal or draft.record.attempts[0].venue_status == was
        second = draft.record
        seen += draft.events
    assert outcome(first.record) == outcome(second)
    booked = [e.fill_id for e in seen if isinstance(e, events.OrderPartiallyFilled)]
    assert sorted(booked) == sorted({f.id for f, _ in ((f, r) for r, _ in told for f in r.fills)})
    assert not any(isinstance(e, (events.ContradictedByVenue, events.LateFillBooked)) for e in seen)
    for kind in (events.OrderAccepted, events.AttemptClosed, events.OrderModified):
        assert sum(isinstance(e, kind) for e in seen) <= 1


@settings(max_examples=100)
@given(st.data())
def test_an_attempt_closes_exactly_when_its_final_fills_are_known(data: st.DataObject) -> None:
    """Closed: terminal, and a read lists all fills, or FILLED and the whole amount is booked; never else (R17)."""
    history = data.draw(histories())
    told = data.draw(st.lists(st.sampled_from(history.told()), min_size=1, max_size=8))
    one = folded(at_the_start(history), *told).record.attempts[0]
    ended = [r for r, _ in told if r.status.terminal]
    read = any(r.status.terminal and r.fills_complete for r, source in told if source != "stream")
    listed = {f.id: f.base for r, _ in told for f in r.fills}
    booked = sum(listed.values(), Decimal(0))
    whole = any(r.status is S.FILLED and booked == r.amount for r in ended)
    assert one.booked_base == booked
    assert (one.state is AttemptState.CLOSED) == (read or whole)
    assert (one.state is AttemptState.CLOSING) == (bool(ended) and not (read or whole))
    assert (one.state is AttemptState.LIVE) == (not ended)


@settings(max_examples=100)
@given(st.data())
def test_corrections_and_busts_count_by_revision(data: st.DataObject) -> None:
    """A corrected fill counts as corrected and a voided one as zero, whatever older reports come after, and whether the
    venue's own cumulative quantity falls with them or, as the contract has it, never does."""
    sizes = data.draw(st.lists(st.integers(2, 5), min_size=1, max_size=3))
    falls = data.draw(st.booleans())
    busted = data.draw(st.booleans())
    change = data.draw(st.integers(-1, 1))
    first = [fill(f"f{i}", size) for i, size in enumerate(sizes)]
    fixed = fill("f0", sizes[0] + change, 99, revision=1)
    later = first[1:] if busted else [fixed, *first[1:]]
    total, now = sum(f.base for f in first), sum(f.base for f in later)
    shown = now if falls or not busted else total
    changes: list[Any] = [
        (report(S.WORKING, str(total), first, as_of=PLACED + 1, fills_complete=True), "stream"),
        (report(S.WORKING, str(total), first, as_of=PLACED + 1, fills_complete=True), "lookup"),
        (report(S.CANCELED, str(shown), later, as_of=PLACED + 9, fills_complete=True), "stream"),
        (report(S.CANCELED, str(shown), later, as_of=PLACED + 9, fills_complete=True), "lookup"),
    ]
    told = data.draw(st.permutations(changes)) + data.draw(st.lists(st.sampled_from(changes), max_size=3))
    if busted:
        told.insert(0, changes[0])  # a fill that was taken back before anybody heard of it was never there
        told.insert(data.draw(st.integers(1, len(told))), (FillVoided("f0", 0, Why.OTHER), None))
    draft = Draft(unknown(), PLACED)
    for one, source in told:
        if source is None:
            void(draft, 1, one)
        else:
            fold(draft, 1, one, source)
    after = draft.record
    assert after.progress.filled_base == after.attempts[0].booked_base == after.attempts[0].cum_base == now
    assert after.attempts[0].state is AttemptState.CLOSED
    assert len(after.fills) == len(sizes)
    assert not after.progress.conditions


# ---- single rules ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "source", "state"),
    [
        (report(S.CANCELED), "stream", AttemptState.CLOSING),
        (report(S.CANCELED, fills_complete=True), "stream", AttemptState.CLOSING),
        (report(S.CANCELED, fills_complete=True), "snapshot", AttemptState.CLOSING),
        (report(S.CANCELED), "lookup", AttemptState.CLOSING),
        (report(S.CANCELED, fills_complete=True), "lookup", AttemptState.CLOSED),
        (report(S.CANCELED, fills_complete=True), "history", AttemptState.CLOSED),
        (report(S.CANCELED, fills_complete=True), "ack", AttemptState.CLOSED),
        (report(S.CANCELED, fills_complete=True, final=False), "lookup", AttemptState.CLOSING),
        (report(S.CANCELED, "2", [fill("f1", 2)], fills_complete=True), "lookup", AttemptState.CLOSED),
        (report(S.CANCELED, "2", [fill("f1", 1)], fills_complete=True), "lookup", AttemptState.CLOSING),
        (report(S.CANCELED, "2", [fill("f1", 2, final=False)], fills_complete=True), "lookup", AttemptState.CLOSING),
        (report(S.FILLED, "10", [fill("f1", 10)]), "stream", AttemptState.CLOSED),
        (report(S.FILLED, "10", [fill("f1", 10)], final=False), "stream", AttemptState.CLOSING),
        (report(S.FILLED, "10", [fill("f1", 9)]), "stream", AttemptState.CLOSING),
        (report(S.FILLED, "8", [fill("f1", 8)], amount=d(8)), "stream", AttemptState.CLOSED),
        (report(S.FILLED, "8", [fill("f1", 8)]), "stream", AttemptState.CLOSING),
        (report(S.EXPIRED, "3", [fill("f1", 3)]), "stream", AttemptState.CLOSING),
        (report(S.REJECTED, fills_complete=True), "lookup", AttemptState.CLOSED),
        (report(S.WORKING, "10", [fill("f1", 10)], fills_complete=True), "lookup", AttemptState.LIVE),
        (report(S.PENDING), "ack", AttemptState.LIVE),
    ],
)
def test_what_closes_an_attempt(one: OrderReport, source: Source, state: AttemptState) -> None:
    """A terminal word alone never closes; a final read with all fills does, and FILLED with the whole amount (R17)."""
    assert folded(unknown(), (one, source)).record.attempts[0].state is state


def test_an_end_is_not_undone_by_a_read_that_lags() -> None:
    """A terminal order stays terminal whatever a later look at an older state says (S6)."""
    ended = folded(unknown(), (report(S.CANCELED, "2", [fill("f1", 2)], version=5), "stream")).record
    for late in (report(S.WORKING, "2", version=6, as_of=PLACED + 900), report(S.PENDING, as_of=PLACED + 900)):
        after = folded(ended, (late, "lookup")).record
        assert (after.attempts[0].state, after.attempts[0].venue_status) == (AttemptState.CLOSING, "canceled")


def test_a_quote_order_is_closed_by_a_read_only() -> None:
    """The whole amount of a quote order can't be recognised in base, so FILLED with fills still wants its read."""
    start = record([attempt(spec=spec("1000", amount_in="QUOTE"))], [row()])
    start = replace(start, attempts=(replace(start.attempts[0], spec=spec(10, amount_in="QUOTE")),))
    ended = report(S.FILLED, "10", [fill("f1", 10)])
    assert folded(start, (ended, "stream")).record.attempts[0].state is AttemptState.CLOSING


def test_the_last_fill_may_come_after_the_terminal_report() -> None:
    """A fill between the terminal report and the last read is booked, and only then the remainder is known (R17)."""
    draft = folded(unknown(), (report(S.CANCELED, "2", [fill("f1", 2)], as_of=PLACED + 5), "stream"))
    assert draft.record.attempts[0].state is AttemptState.CLOSING
    read = report(S.CANCELED, "3", [fill("f1", 2), fill("f2", 1)], as_of=PLACED + 5, fills_complete=True)
    after = folded(draft.record, (read, "lookup")).record
    assert (after.attempts[0].state, after.progress.filled_base) == (AttemptState.CLOSED, 3)


def test_sums_are_exact() -> None:
    """Fills of many digits add up without rounding, so that an attempt closes on equality."""
    big, small = "123456789012345678901234567890", "0.000000000000000000000000000000000001"
    total = d(big + small[1:])
    one = report(S.CANCELED, str(total), [fill("f1", big), fill("f2", small)], fills_complete=True)
    after = folded(unknown(), (one, "lookup")).record
    assert after.attempts[0].booked_base == after.progress.filled_base == total
    assert after.attempts[0].state is AttemptState.CLOSED


def test_a_seen_order_settles_its_place() -> None:
    """Once the venue shows the order its place is settled though its answer was lost; not while it only waits (R23)."""
    waiting = folded(unknown(), (report(S.PENDING), "lookup")).record
    assert waiting.tickets[0].state is TicketState.COMMITTED
    assert folded(waiting, (report(S.WORKING), "stream")).record.tickets[0].state is TicketState.DONE


def test_a_rejected_order_was_never_accepted() -> None:
    """A report that the venue rejected the order does not claim first that it was accepted."""
    assert not [e for e in folded(unknown(), (report(S.REJECTED), "stream")).events if e.kind == "OrderAccepted"]
    assert [e for e in folded(unknown(), (report(S.EXPIRED), "stream")).events if e.kind == "OrderAccepted"]


def test_a_fill_id_counts_once_for_the_intent() -> None:
    """The same fill told twice, by whatever source, is one fill (S10)."""
    one = report(S.WORKING, "1", [fill("f1", 1)])
    draft = folded(unknown(), (one, "ack"), (one, "stream"), (one, "lookup"), (one, "history"))
    assert draft.record.progress.filled_base == 1
    assert len([e for e in draft.events if e.kind == "OrderPartiallyFilled"]) == 1


def test_tentative_execution_is_not_booked() -> None:
    """Fills a reorganisation could undo, and tentative sums, change nothing yet (R30)."""
    one = report(S.WORKING, "0", [fill("f1", 1, final=False)], tentative=report(filled="1").filled)
    after = folded(unknown(), (one, "lookup")).record
    assert (after.fills, after.attempts[0].cum_base, after.progress.filled_base) == ((), 0, 0)


# ---- amendments -----------------------------------------------------------------------------------------------------


def amended(*specs: tuple[int, str], applied: int = 0) -> Record:
    """Amended to each of ``specs`` in turn; the first ``applied`` of them are settled, the last is under way."""
    rows = [row(state=TicketState.DONE)]
    for seq, (amount, limit) in enumerate(specs, 2):
        state = TicketState.SETTLED if seq - 2 < applied else TicketState.COMMITTED
        rows.append(row(TicketKind.AMEND, state, seq=seq, generation=seq, amends=spec(amount, limit)))
    shown = spec(*specs[applied - 1]) if applied else spec()
    one = attempt(state=AttemptState.LIVE, as_of=PLACED + 100, applied=applied + 1 if applied else 0)
    one = replace(one, spec=shown, generation=applied + 1)
    return record([one], rows)


@pytest.mark.parametrize(
    ("one", "applied"),
    [
        (report(amount=d(12), price="101"), 2),
        (report(amount=d(12), price="100"), 0),
        (report(amount=d(10), price="100"), 0),
        (report(amount=None, price="101"), 0),
        (report(amount=d(12), price="101", applied=key()), 0),
        (report(amount=d(10), price="100", applied=key(1, 2)), 2),
        (report(amount=d(12), price="101", as_of=PLACED), 0),
        (report(amount=d(10), price="100", applied=key(1, 2), as_of=PLACED), 2),
    ],
)
def test_an_amendment_is_recognised(one: OrderReport, applied: int) -> None:
    """By the key of the last command applied, however old the report; by its values, only in a report that is news."""
    after = folded(amended((12, "101")), (one, "stream")).record
    assert after.attempts[0].applied == applied
    assert after.tickets[1].state is (TicketState.SETTLED if applied else TicketState.COMMITTED)
    assert after.attempts[0].spec == (spec(12, "101") if applied else spec())


def test_an_order_changed_back_does_not_pass_for_its_own_past() -> None:
    """10 to 12 to 10 again: an old report of the first 10 does not settle the amendment to the second (R23)."""
    start = amended((12, "101"), (10, "100"), applied=1)
    old = report(amount=d(10), price="100", as_of=PLACED + 1)
    assert folded(start, (old, "stream")).record.attempts[0].applied == 2
    new = report(amount=d(10), price="100", as_of=PLACED + 101)
    assert folded(start, (new, "stream")).record.attempts[0].applied == 3


def test_a_second_amendment_of_one_generation_is_recognised() -> None:
    """Late fills make one generation shrink its order twice; the second amendment is seen like the first (R19)."""
    start = amended((8, "100"), applied=1)
    again = row(TicketKind.AMEND, seq=3, generation=2, amends=spec(6, "100"))
    after = folded(replace(start, tickets=(*start.tickets, again)), (report(amount=d(6)), "stream")).record
    assert after.attempts[0].spec.amount == 6
    assert after.tickets[2].state is TicketState.SETTLED


def test_a_refused_amendment_is_not_read_into_equal_values() -> None:
    """Values never show an amendment that definitely did nothing; only its key could."""
    start = amended((12, "101"))
    refused = replace(start, tickets=(start.tickets[0], replace(start.tickets[1], state=TicketState.NONE)))
    values = report(amount=d(12), price="101")
    assert folded(refused, (values, "lookup")).record.attempts[0].applied == 0
    named = report(amount=d(12), price="101", applied=key(1, 2))
    assert folded(refused, (named, "lookup")).record.attempts[0].applied == 2


# ---- late evidence (R19) --------------------------------------------------------------------------------------------

LATER, EARLIER = PLACED + 900, PLACED + 100
ENDED: dict[str, Attempt] = {
    "dead": attempt(state=AttemptState.DEAD),
    "refused": attempt(state=AttemptState.REFUSED, code="InsufficientFunds"),
    "canceled": attempt(state=AttemptState.CLOSED, as_of=PLACED + 500, booked_base=2, booked_quote=200),
    "forgotten": attempt(
        state=AttemptState.CLOSED, venue_status="forgotten", as_of=PLACED + 500, booked_base=2, booked_quote=200
    ),
}
OLD = fill("old", 2)
NEWS: dict[str, tuple[OrderReport, Source]] = {
    "pending": (report(S.PENDING, as_of=LATER), "lookup"),
    "alive": (report(S.WORKING, as_of=LATER), "stream"),
    "alive, read": (report(S.WORKING, as_of=LATER), "lookup"),
    "alive, old": (report(S.WORKING, as_of=EARLIER), "stream"),
    "alive, old, listed": (report(S.WORKING, as_of=EARLIER), "snapshot"),
    "alive, new fill": (report(S.WORKING, "3", [OLD, fill("new", 1)], as_of=LATER), "stream"),
    "old, new fill": (report(S.WORKING, "3", [OLD, fill("new", 1)], as_of=EARLIER), "stream"),
    "alive, fill missing": (report(S.WORKING, "5", as_of=LATER), "stream"),
    "canceled": (report(S.CANCELED, as_of=LATER), "stream"),
    "canceled, read": (report(S.CANCELED, "2", [OLD], as_of=LATER, fills_complete=True), "lookup"),
    "canceled, new fill": (report(S.CANCELED, "3", [OLD, fill("new", 1)], as_of=LATER), "stream"),
    "canceled, new fill, read": (
        report(S.CANCELED, "3", [OLD, fill("new", 1)], as_of=LATER, fills_complete=True),
        "lookup",
    ),
    "canceled, not final": (report(S.CANCELED, final=False, as_of=LATER), "lookup"),
    "canceled, fill missing": (report(S.CANCELED, "5", as_of=LATER), "stream"),
    "filled, all": (report(S.FILLED, "10", [OLD, fill("new", 8)], as_of=LATER), "stream"),
    "expired, read": (report(S.EXPIRED, "2", [OLD], as_of=LATER, fills_complete=True), "history"),
    "rejected": (report(S.REJECTED, as_of=LATER), "stream"),
}
SAME, CLOSED, OPEN = "same", "closed", "open"
EXPECTED: dict[str, dict[str, str]] = {
    "pending": {"dead": OPEN, "refused": OPEN, "canceled": OPEN, "forgotten": OPEN},
    "alive": {"dead": OPEN, "refused": OPEN, "canceled": OPEN, "forgotten": OPEN},
    "alive, read": {"dead": OPEN, "refused": OPEN, "canceled": OPEN, "forgotten": OPEN},
    "alive, old": {"dead": OPEN, "refused": OPEN, "canceled": SAME, "forgotten": SAME},
    "alive, old, listed": {"dead": OPEN, "refused": OPEN, "canceled": SAME, "forgotten": OPEN},
    "alive, new fill": {"dead": OPEN, "refused": OPEN, "canceled": OPEN, "forgotten": OPEN},
    "old, new fill": {"dead": OPEN, "refused": OPEN, "canceled": OPEN, "forgotten": OPEN},
    "alive, fill missing": {"dead": OPEN, "refused": OPEN, "canceled": OPEN, "forgotten": OPEN},
    "canceled": {"dead": OPEN, "refused": OPEN, "canceled": SAME, "forgotten": OPEN},
    "canceled, read": {"dead": CLOSED, "refused": CLOSED, "canceled": SAME, "forgotten": CLOSED},
    "canceled, new fill": {"dead": OPEN, "refused": OPEN, "canceled": OPEN, "forgotten": OPEN},
    "canceled, new fill, read": {"dead": CLOSED, "refused": CLOSED, "canceled": CLOSED, "forgotten": CLOSED},
    "canceled, not final": {"dead": OPEN, "refused": OPEN, "canceled": SAME, "forgotten": OPEN},
    "canceled, fill missing": {"dead": OPEN, "refused": OPEN, "canceled": OPEN, "forgotten": OPEN},
    "filled, all": {"dead": CLOSED, "refused": CLOSED, "canceled": CLOSED, "forgotten": CLOSED},
    "expired, read": {"dead": CLOSED, "refused": CLOSED, "canceled": SAME, "forgotten": CLOSED},
    "rejected": {"dead": OPEN, "refused": SAME, "canceled": SAME, "forgotten": OPEN},
}


@pytest.mark.parametrize("over", [None, IntentStatus.CANCELED, IntentStatus.FILLED])
@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("news", NEWS)
@pytest.mark.parametrize("ended", ENDED)
def test_late_evidence_is_never_dropped(ended: str, news: str, live: bool, over: IntentStatus | None) -> None:
    """Whatever the venue shows of an attempt that was over: booked, told, and open again until it is over once more."""
    if live and over is not None:
        return  # an intent never ends with a live attempt
    old = ENDED[ended]
    booked = [fill_row("old", 2)] if old.booked_base else []
    attempts = [old, attempt(2, AttemptState.LIVE)] if live else [old]
    before = record(attempts, [row(state=TicketState.SETTLED)], booked, status=over or IntentStatus.PENDING)
    one, source = NEWS[news]
    draft = folded(before, (one, source))
    after, expected = draft.record, EXPECTED[news][ended]
    late = after.attempts[0]

    assert {f.id for f in one.fills} <= {f.id for f in after.fills}
    assert late.cum_base >= max(one.filled.base, old.cum_base)
    assert after.progress.filled_base == late.booked_base == sum(f.base for f in after.fills)
    assert VenueId("order", "1") in late.ids
    assert after.progress.status is before.progress.status
    assert after.attempts[1:] == before.attempts[1:]
    told = [e for e in draft.events if isinstance(e, events.ContradictedByVenue)]
    marked = [c.type for c in after.progress.conditions]
    assert (len(told), marked) == ((0, []) if expected is SAME else (1, ["ContradictedByVenue"]))
    if expected is SAME:
        assert replace(late, ids=()) == old
    elif expected is CLOSED:
        assert late.state is AttemptState.CLOSED
    elif live or over is not None:
        assert late.state is AttemptState.REVIVED
    else:
        alive = one.status in (S.WORKING, S.PENDING) and not (ended == "canceled" and one.as_of < old.as_of)
        assert late.state is (AttemptState.LIVE if alive else AttemptState.CLOSING)
    assert (late.state is AttemptState.CLOSED) == (
        expected is CLOSED or (expected is SAME and ended in ("canceled", "forgotten"))
    )


def test_revived_until_it_is_over() -> None:
    """A revived attempt stays so until a report closes it under the same rule as any other attempt (R17)."""
    before = record([ENDED["dead"], attempt(2, AttemptState.LIVE)], [row(state=TicketState.SETTLED)])
    steps: list[tuple[OrderReport, Source, AttemptState]] = [
        (report(S.WORKING), "stream", AttemptState.REVIVED),
        (report(S.WORKING, "1", [fill("a", 1)], as_of=PLACED + 300), "stream", AttemptState.REVIVED),
        (report(S.CANCELED, "2", as_of=PLACED + 400), "stream", AttemptState.REVIVED),
        (report(S.CANCELED, "2", [fill("a", 1), fill("b", 1)], as_of=PLACED + 400), "stream", AttemptState.REVIVED),
        (
            report(S.CANCELED, "2", [fill("a", 1), fill("b", 1)], as_of=PLACED + 400, fills_complete=True),
            "lookup",
            AttemptState.CLOSED,
        ),
    ]
    told = 0
    for one, source, state in steps:
        draft = folded(before, (one, source))
        before, told = draft.record, told + sum(e.kind == "ContradictedByVenue" for e in draft.events)
        assert before.attempts[0].state is state
    assert told == 1
    assert before.progress.filled_base == 2


def test_a_reopened_attempt_must_be_read_again() -> None:
    """What was read before it was closed does not close an attempt that turned out to be alive (R17)."""
    before = record([ENDED["canceled"]], [row(state=TicketState.SETTLED)], [fill_row("old", 2)])
    alive = folded(before, (NEWS["alive"][0], "lookup")).record
    assert alive.attempts[0].state is AttemptState.LIVE
    word = report(S.CANCELED, "2", as_of=LATER + 1)
    assert folded(alive, (word, "stream")).record.attempts[0].state is AttemptState.CLOSING
    read = replace(word, fills=(OLD,), fills_complete=True)
    assert folded(alive, (word, "stream"), (read, "lookup")).record.attempts[0].state is AttemptState.CLOSED


def test_a_fill_voided_after_the_end_contradicts_the_venue() -> None:
    """A bust after the intent's end changes no status; it is booked, told, and marked (R30 as R19)."""
    before = record([ENDED["canceled"]], [], [fill_row("old", 2)], status=IntentStatus.CANCELED)
    draft = Draft(before, PLACED)
    void(draft, 1, FillVoided("old", 0, Why.OTHER))
    assert draft.record.progress.status is IntentStatus.CANCELED
    assert (draft.record.progress.filled_base, draft.record.attempts[0].booked_base) == (0, 0)
    assert [c.type for c in draft.record.progress.conditions] == ["ContradictedByVenue"]
    assert [e.kind for e in draft.events] == ["FillVoided", "ContradictedByVenue"]


@pytest.mark.parametrize(
    ("voids", "then", "counted"),
    [
        ([0], None, 0),
        ([0, 0], None, 0),
        ([1], 0, 0),
        ([1], 1, 0),
        ([1], 2, 2),
        ([1, 3], 2, 0),
        ([2], 2, 0),
    ],
)
def test_a_void_holds_against_every_older_revision(voids: list[int], then: int | None, counted: int) -> None:
    """A voided fill stays zero until a report carries a revision newer than every void of it."""
    draft = folded(unknown(), (report(S.WORKING, "2", [fill("f1", 2)]), "stream"))
    for revision in voids:
        void(draft, 1, FillVoided("f1", revision, Why.OTHER))
    if then is not None:
        fold(draft, 1, report(S.WORKING, "2", [fill("f1", 2, revision=then)]), "lookup")
    assert draft.record.progress.filled_base == draft.record.attempts[0].booked_base == counted
    assert len([e for e in draft.events if e.kind == "FillVoided"]) == 1


def test_a_void_older_than_the_correction_is_ignored() -> None:
    """A void of revision 0 does not take back what was corrected to revision 1 since; an unknown fill is no fill."""
    draft = folded(unknown(), (report(S.WORKING, "2", [fill("f1", 2, revision=1)]), "stream"))
    before = draft.record
    void(draft, 1, FillVoided("f1", 0, Why.OTHER))
    void(draft, 1, FillVoided("f2", 9, Why.OTHER))
    assert draft.record is before


def test_a_cost_is_booked_once_and_only_when_it_is_final() -> None:
    """A block that may be taken back takes its gas back too; afterwards each id counts once, however often told."""
    gas = Cost("gas:0x1", "ETH", d("0.01"), "network")
    more = Cost("gas:0x2", "ETH", d("0.02"), "network")
    early = report(S.REJECTED, version=1, costs=(gas,), final=False)
    late = report(S.REJECTED, version=2, costs=(gas, gas), final=True, fills_complete=True)
    again = report(S.REJECTED, version=3, costs=(gas, more), final=True, fills_complete=True)

    draft = folded(unknown(), (early, "lookup"))
    assert draft.record.attempt(1).costs == ()
    draft = folded(draft.record, (late, "lookup"), (late, "lookup"), (again, "lookup"))
    assert draft.record.attempt(1).costs == (gas, more)
    told = [event for event in draft.events if isinstance(event, events.CostBooked)]
    assert [(event.cost_id, event.amount, event.cost) for event in told] == [
        ("gas:0x1", d("0.01"), "network"),
        ("gas:0x2", d("0.02"), "network"),
    ]
