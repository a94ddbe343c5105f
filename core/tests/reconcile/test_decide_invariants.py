"""What must never be decided, whatever is stored and known; and that nothing is left lying (S2, S3, S6, S7, L1)."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from core.tests.reconcile.records import (
    CANCEL_WINDOW,
    HEIGHT,
    NONE,
    NOW,
    OPENED,
    PERMANENT,
    PLACED,
    SLOT,
    WINDOW,
    attempt,
    contradicted,
    holding,
    key,
    look,
    order,
    quote_order,
    record,
    row,
    spec,
)
from exchange_kernel.models import Desired, IntentStatus
from exchange_kernel.reconcile.decide import (
    AmendOrder,
    CancelOrder,
    CloseDead,
    CloseForgotten,
    Decision,
    Facts,
    Finish,
    Park,
    Query,
    Resend,
    Submit,
    Wait,
    decide,
    remaining,
)
from exchange_kernel.reconcile.proof import Look, proves_dead
from exchange_kernel.reconcile.weighing import taken_back
from exchange_kernel.schema import TimeInForce
from exchange_kernel.state.rows import CREATING, Attempt, AttemptState, Record, TicketKind, TicketRow, TicketState
from exchange_kernel.venue import Fence, Slot, SlotEnd

A, T, K = AttemptState, TicketState, TicketKind
FILLED, CANCELED = IntentStatus.FILLED, IntentStatus.CANCELED
SOON, LATER, PAST = NOW + 500, NOW + 5_000, NOW - 1


STATUSES = {
    A.CLOSING: ["canceled", "filled", "expired"],
    A.CLOSED: ["canceled", "filled", "expired", "rejected", "forgotten"],
}
VENUES = [(WINDOW, CANCEL_WINDOW), (HEIGHT, HEIGHT), (PERMANENT, PERMANENT), (NONE, PERMANENT)]
ORDERS = [
    order(),
    order(),
    order(limit_price=None),
    order(time_in_force=TimeInForce.IOC),
    order(amount="3"),
    quote_order(),
]
FOREVER = 2**62


def any_attempt(rng: Random, n: int, state: AttemptState, generation: int) -> tuple[Attempt, list[TicketRow]]:
    """An attempt in a state, with tickets of one kind of venue."""
    slot = Fence(True, (SlotEnd(Slot(SLOT.scope, n)),), "ledger")
    place_fence, cancel_fence = rng.choice([*VENUES, (slot, slot)])
    seen = state in (A.LIVE, A.REVIVED, A.CLOSING, A.CLOSED)
    booked = rng.randint(0, 4) if seen else 0
    missing = 1 if seen and state is not A.CLOSED and rng.random() < 0.2 else 0
    one = attempt(
        n,
        state,
        generation=generation,
        spec=spec(rng.choice([10, 10, 10, rng.randint(1, 12)]), post_only=rng.random() < 0.5),
        venue_status=rng.choice(STATUSES.get(state, ["working", "working", "pending"])) if seen else "",
        booked_base=booked,
        cum_base=booked + missing,
        code=rng.choice(["", "NotSent", "InsufficientFunds"]) if state in (A.DEAD, A.REFUSED) else "",
    )
    first = T.COMMITTED if state is A.UNKNOWN else rng.choice([T.DONE, T.DONE, T.SETTLED, T.COMMITTED])
    rows = [row(state=first, n=n, generation=generation, fence=place_fence, send_before=send_before(rng))]
    for seq in range(2, 2 + rng.choice([0, 0, 0, 1, 2])):
        kind = rng.choice([K.AMEND, K.CANCEL])
        rows.append(
            row(
                kind,
                rng.choice(list(T)),
                n=n,
                seq=seq,
                generation=rng.randint(1, 3),
                fence=cancel_fence if kind is K.CANCEL else place_fence,
                send_before=send_before(rng),
                amends=spec(rng.randint(1, 12)) if kind is K.AMEND else None,
            )
        )
    return one, rows


def send_before(rng: Random) -> int:
    return rng.choice([FOREVER, FOREVER, FOREVER, NOW])


def any_record(rng: Random) -> Record:
    """What reports, crashes and users could leave behind, and some that they could not."""
    generation = rng.randint(1, 3)
    over = rng.choices([A.DEAD, A.REFUSED, A.CLOSED, A.CLOSED, A.REVIVED], [4, 1, 2, 2, 1], k=rng.choice([0, 0, 1, 2]))
    live = rng.choice([None, A.UNKNOWN, A.LIVE, A.LIVE, A.CLOSING])
    states = list(over)
    if live is not None:
        states.insert(rng.randint(0, len(over)), live)
    attempts, tickets = [], []
    for n, state in enumerate(states, 1):
        one, rows = any_attempt(rng, n, state, rng.choice([generation, rng.randint(1, generation)]))
        attempts.append(one)
        tickets += rows
    ends = [IntentStatus.PENDING] * 4 + ([FILLED, CANCELED] if live is None else [])
    made = record(
        attempts,
        tickets,
        status=rng.choice(ends),
        amend_refused=rng.choice([0, 0, 1, 2, 3]),
        order=rng.choice(ORDERS),
        generation=generation,
        desired=rng.choice([Desired.ACTIVE, Desired.ACTIVE, Desired.ACTIVE, Desired.CANCELED]),
        submit_deadline=rng.choice([None, LATER, LATER, LATER, PAST]),
        max_attempts=rng.choice([0, 1, 3, 8, 8, 8, 8, 8]),
    )
    marked = rng.choice(["", "", "", "late", "held"])
    return contradicted(made) if marked == "late" else holding(made, generation) if marked else made


def any_look(rng: Random) -> Look:
    return look(
        rng.choice([None, PLACED, NOW, NOW]),
        began=float(rng.randint(1, 4)),
        tickets=rng.choice([1, 1, 1, 2, 3]),
        since=rng.choice([0, 0, 0, PLACED + 1]),
        height=rng.choice([None, 150, 151]),
        spent=[Slot(SLOT.scope, n) for n in (1, 2, 3) if rng.random() < 0.3],
        of=key(rng.choice([1, 1, 2, 3])),
    )


def any_facts(rng: Random) -> Facts:
    def paced() -> int:
        return rng.choice([0, 0, 0, SOON, LATER])

    blocked = rng.choice(["", "", "", "", "halted: x", "RECOVERING: y"])
    looks = sorted((any_look(rng) for _ in range(rng.choice([0, 1, 2, 3]))), key=lambda one: one.began)
    return Facts(
        now=NOW,
        opened=OPENED,
        looks=tuple(looks),
        query_at=paced(),
        not_before=paced(),
        cancel_at=paced(),
        resend_at=paced(),
        blocked=blocked,
        recovering=blocked if "RECOVERING" in blocked else "",
        until=rng.choice([None, None, None, LATER, PAST]),
        amendable=rng.random() < 0.7,
        missing=rng.random() < 0.1,
        gone=rng.random() < 0.05,
    )


def open_tickets(before: Record, n: int) -> list[TicketRow]:
    return [ticket for ticket in before.tickets_of(n) if ticket.state.open]


@settings(max_examples=80)
@given(st.integers(0, 2**32))
def test_what_is_never_decided(seed: int) -> None:
    """No second live attempt, nothing created that is not wanted, nothing repeated that could do harm, no end without
    proof, no wait into the past, and none for ever while there is something to do."""
    rng = Random(seed)
    for _ in range(50):
        allowed(any_record(rng), any_facts(rng))


def test_every_decision_is_tried() -> None:
    """The records above lead to every decision, and to each often enough to mean something."""
    rng = Random(7)
    kinds = Counter(decided(decide(any_record(rng), any_facts(rng))) for _ in range(5_000))
    expected = ["Submit", "AmendOrder", "CancelOrder", "Query", "CloseDead", "CloseForgotten", "Finish", "Park", "Wait"]
    for kind in [*expected, "Resend PLACE", "Resend CANCEL", "Resend AMEND"]:
        assert kinds[kind] >= 2, kinds


def decided(decision: Decision) -> str:
    kind = type(decision).__name__
    return f"{kind} {decision.row.kind}" if isinstance(decision, Resend) else kind


def allowed(before: Record, known: Facts) -> None:
    decision = decide(before, known)
    live, over_again = before.live, before.revived
    active = before.intent.desired is Desired.ACTIVE and not (known.until is not None and known.now >= known.until)
    may_create = active and not known.blocked and not before.progress.status.terminal
    deadline = before.intent.submit_deadline

    match decision:
        case Submit(n=n, amount=amount):
            assert live is None
            assert over_again is None
            assert may_create
            assert (
                n
                == len(before.attempts) + 1
                <= before.intent.max_attempts
                + sum(a.generation < before.intent.generation or a.code == "NotSent" for a in before.attempts)
            )
            assert 0 < amount == remaining(before)
            assert deadline is None or known.now < deadline
            assert known.now >= known.not_before
            assert not any(c.type == "Held" for c in before.progress.conditions)
        case AmendOrder(attempt=one, amount=amount):
            assert one is live
            assert one.state is A.LIVE
            assert may_create
            assert known.amendable
            assert not open_tickets(before, one.n)
            assert one.booked < amount == remaining(before, without=one.n)
            assert before.progress.amend_refused != before.intent.generation
            assert over_again is None or amount < one.spec.amount
        case Resend(attempt=one, row=again):
            assert again in before.tickets_of(one.n)
            assert again.ticket.fence.repeatable
            assert known.now < again.ticket.send_before
            assert known.now >= known.resend_at
            assert one in (live, over_again)
            if again.kind in CREATING:
                assert not known.blocked
                assert not before.progress.status.terminal
            if again.kind is K.AMEND:
                assert active
                assert again.generation == before.intent.generation
            if again.kind is K.PLACE:
                assert one.state is A.UNKNOWN or taken_back(before, one, known)
                assert any(seen.key == one.key for seen in known.looks)
                fits = one.spec.amount <= remaining(before, without=one.n)
                assert (active and fits) or (not again.ticket.fence.ends and one.spec.post_only)
        case CancelOrder(attempt=one, instead_of=replaced):
            assert one in (live, over_again)
            assert known.now >= known.cancel_at
            assert one.seen or replaced is not None
            assert replaced is None or replaced.ticket.slot is not None
        case CloseDead(attempt=one):
            assert one in (live, over_again)
            if one.seen:  # a ledger showed it once: only a number that is used for good kills it
                at = next(look for look in reversed(known.looks) if look.key == one.key).absent.at
                assert not one.booked_base
                assert all(ticket.slot in at.spent for ticket in before.ref(one).tickets)
            else:
                assert one is live
                assert proves_dead(before.ref(one), known.looks, known.opened)
        case CloseForgotten(attempt=one):
            assert known.gone
            assert one is (over_again or live)
            assert one.seen
        case Finish(status=status):
            assert not known.recovering
            assert live is None
            assert over_again is None
            assert not before.progress.status.terminal
            last = before.last
            venue = last.venue_status if last is not None and last.state is A.CLOSED else ""
            assert status is not CANCELED or not active or venue == "canceled"
            assert status is not FILLED or remaining(before) <= 0 or venue == "filled"
        case Query(attempt=one):
            assert one in (live, over_again)
            assert known.now >= known.query_at
        case Park():
            assert not before.progress.status.terminal
            assert over_again is None
        case Wait(until=until):
            assert until is None or until > known.now
        case _:
            raise AssertionError(decision)
    if before.progress.status.terminal and over_again is None:
        assert decision == Wait(None)
    elif decision == Wait(None, getattr(decision, "reason", "")):
        rests(before, known)


def rests(before: Record, known: Facts) -> None:
    """Waiting without an end means that there is nothing to do: it rests as wanted, or somebody else must act first."""
    live = before.live
    if live is None:
        assert known.blocked or before.intent.max_attempts == 0
        return
    assert live.state is A.LIVE
    assert before.intent.desired is Desired.ACTIVE
    assert live.cum_base == live.booked_base
    assert not known.missing
    wanted = live.generation == before.intent.generation and live.spec.amount <= remaining(before, without=live.n)
    assert wanted or known.blocked or before.progress.amend_refused == before.intent.generation
