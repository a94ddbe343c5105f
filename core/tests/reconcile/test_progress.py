"""Deciding again and again beside a venue that does what it is told: every intent ends, rests, or is parked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from decimal import Decimal
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from core.tests.reconcile.records import (
    NOW,
    OPENED,
    PLACED,
    attempt,
    d,
    fill,
    fill_row,
    order,
    record,
    report,
    row,
    spec,
)
from exchange_kernel.models import ZERO, Desired
from exchange_kernel.reconcile.apply import apply, refresh
from exchange_kernel.reconcile.decide import (
    AmendOrder,
    CancelOrder,
    Decision,
    Facts,
    Park,
    Query,
    Resend,
    Submit,
    Wait,
    decide,
    remaining,
    single_shot,
)
from exchange_kernel.reconcile.draft import Draft
from exchange_kernel.reconcile.outcome import Answered, ReadUpTo, Reported, take
from exchange_kernel.reconcile.proof import Look
from exchange_kernel.schema import TimeInForce
from exchange_kernel.state.rows import Attempt, AttemptState, Record, TicketKind, TicketRow, TicketState
from exchange_kernel.venue import (
    Absent,
    Fence,
    Fill,
    HeightEnd,
    OrderReport,
    Slot,
    SlotEnd,
    Spec,
    TimeEnd,
    VenueStatus,
    Watermark,
)

A, K, T, S = AttemptState, TicketKind, TicketState, VenueStatus
VENUES = ("window", "sequence", "height", "permanent", "none")
BLOCK_MS = 400
STEPS = 80


@dataclass
class AtVenue:
    """One order there. ``told``: the fills our store knows of already."""

    spec: Spec
    status: VenueStatus
    fills: list[Fill] = field(default_factory=list)
    version: int = 1

    def change(self, status: VenueStatus) -> None:
        self.status, self.version = status, self.version + 1

    @property
    def filled(self) -> Decimal:
        return sum((one.base for one in self.fills), ZERO)


@dataclass
class World:
    """A venue without faults, a store, and a clock that moves on with every step."""

    kind: str
    record: Record
    orders: dict[bytes, AtVenue]
    rng: Random
    amendable: bool
    streams: bool
    now: int = NOW
    looks: list[Look] = field(default_factory=list)
    query_at: int = 0
    cancel_at: int = 0
    resend_at: int = 0
    not_before: int = 0
    missing: bool = False
    number: int = 100
    spent: set[Slot] = field(default_factory=set)
    decisions: list[Decision] = field(default_factory=list)

    def fence(self, of: TicketKind, slot: Slot | None = None) -> tuple[Fence, int]:
        match self.kind:
            case "window":
                return Fence(of is K.CANCEL, (TimeEnd(self.now + 2_000, "venue", 100),)), self.now + 1_500
            case "sequence":
                self.number += 1
                return Fence(True, (SlotEnd(slot or Slot("s", self.number)),), "ledger"), self.now + 20_000
            case "height":
                return Fence(True, (HeightEnd(self.now // BLOCK_MS + 3),), "ledger"), self.now + 3 * BLOCK_MS
            case "permanent":
                return Fence(True, ()), 2**62
        return Fence(of is K.CANCEL, ()), self.now + 2_000

    def ticket(self, kind: TicketKind, n: int, slot: Slot | None = None, amends: Spec | None = None) -> TicketRow:
        seq = max((one.seq for one in self.record.tickets_of(n)), default=0) + 1
        fence, before = self.fence(kind, slot)
        generation = self.record.intent.generation
        return row(kind, n=n, seq=seq, generation=generation, fence=fence, send_before=before, amends=amends)

    def facts(self) -> Facts:
        looks = tuple(self.looks)
        paces = {"query_at": self.query_at, "cancel_at": self.cancel_at, "resend_at": self.resend_at}
        paces["not_before"] = self.not_before
        return Facts(now=self.now, opened=OPENED, looks=looks, amendable=self.amendable, missing=self.missing, **paces)

    def send(self, draft: Draft, sent: TicketRow) -> None:
        """These bytes reach the venue, once per call."""
        assert self.now < sent.ticket.send_before
        one = draft.record.attempt(sent.attempt)
        there = self.orders.get(one.key)
        slot = sent.ticket.slot
        if slot is not None and slot in self.spent:
            return
        if slot is not None:
            self.spent.add(slot)
        code = ""
        if sent.kind is K.PLACE and there is None:
            there = self.orders[one.key] = AtVenue(one.spec, S.WORKING)
            if single_shot(draft.record):
                size = self.rng.randint(0, int(one.spec.amount))
                there.fills = [fill(f"{one.n}/0", size)] if size else []
                there.change(S.FILLED if there.filled == one.spec.amount else S.EXPIRED)
        elif sent.kind is K.PLACE:
            code = "duplicate"
        elif there is None or there.status.terminal:
            code = "UnknownTarget"
        elif sent.kind is K.CANCEL:
            there.change(S.CANCELED)
        else:
            assert sent.spec is not None
            if sent.spec.amount > there.filled:
                there.spec = sent.spec
                there.change(S.WORKING)
            else:
                code = "OrderRefused"
        if slot is None and (self.kind == "none" or self.rng.random() < 0.7):
            verdict = "duplicate" if code == "duplicate" else "none" if code else "done"
            take(draft, Answered(sent.attempt, sent.seq, verdict, code), OPENED)
            if verdict == "none":  # as the engine paces what was refused: look first, then try again
                self.query_at, self.not_before = self.now + 200, self.now + 500
        if there is not None and self.streams:
            take(draft, Reported(sent.attempt, self.show(one, there, complete=False), "stream"), OPENED)

    def show(self, one: Attempt, there: AtVenue, *, complete: bool) -> OrderReport:
        return report(
            there.status,
            str(there.filled),
            there.fills if complete else there.fills[-1:],
            version=there.version,
            amount=there.spec.amount,
            price=None if there.spec.limit is None else str(there.spec.limit),
            fills_complete=complete,
            order_id=str(one.n),
        )

    def look(self, draft: Draft, n: int) -> None:
        one = draft.record.attempt(n)
        there = self.orders.get(one.key)
        at = Watermark(self.now, self.now, self.now // BLOCK_MS, frozenset(self.spent))
        ref = draft.record.ref(one)
        if there is None:
            if self.looks and self.looks[-1].key != one.key:
                self.looks.clear()
            self.looks.append(Look(Absent(at, 0, ("orders",)), self.now / 1000, len(ref.tickets), one.key))
        else:
            self.looks.clear()
            self.missing = False
            take(draft, Reported(n, self.show(one, there, complete=True), "lookup"), OPENED)
            take(draft, ReadUpTo(n, at, len(draft.record.tickets_of(n))), OPENED)

    def snapshot(self, draft: Draft) -> None:
        """A complete list of open orders, as it comes from time to time."""
        live = draft.record.live
        assert live is not None
        there = self.orders[live.key]
        if there.status.terminal:
            self.missing = True
        else:
            take(draft, Reported(live.n, replace(self.show(live, there, complete=False), fills=()), "snapshot"), OPENED)

    def step(self) -> Decision:
        """One decision, carried out."""
        draft = Draft(self.record, self.now)
        decision = decide(self.record, self.facts())
        self.decisions.append(decision)
        apply(draft, decision)
        match decision:
            case Submit(n=n, amount=amount):
                wanted = replace(spec(amount), limit=self.record.intent.order.limit_price)
                placed = attempt(n, spec=wanted, generation=self.record.intent.generation, placed_at=self.now)
                draft.put_attempt(placed)
                self.commit(draft, self.ticket(K.PLACE, n))
            case AmendOrder(attempt=one, amount=amount):
                self.commit(draft, self.ticket(K.AMEND, one.n, amends=replace(one.spec, amount=amount)))
            case CancelOrder(attempt=one, instead_of=replaced):
                self.commit(draft, self.ticket(K.CANCEL, one.n, replaced.ticket.slot if replaced else None))
                self.cancel_at = self.now + 1_000
            case Resend(row=again):
                draft.put_ticket(replace(again, state=T.REPEATED))
                self.send(draft, again)
                self.resend_at = self.now + 1_000
            case Query(attempt=one):
                self.look(draft, one.n)
                self.query_at = self.now + 600
            case Wait(until=until) if until is not None:
                self.now = max(self.now, until)
            case Wait() if draft.record.live is not None:
                self.snapshot(draft)
        refresh(draft)
        self.record = draft.record
        self.now += 7
        return decision

    def commit(self, draft: Draft, sent: TicketRow) -> None:
        draft.put_ticket(sent)
        self.looks.clear()
        self.send(draft, sent)


def any_world(rng: Random) -> World:
    """An intent somewhere on its way, and what is true of it at the venue."""
    wanted = rng.choice([order(), order(), order(limit_price=None), order(time_in_force=TimeInForce.IOC)])
    world = World(rng.choice(VENUES), record(), {}, rng, rng.random() < 0.5, rng.random() < 0.5, now=PLACED)
    generation = rng.choice([1, 1, 2])
    known = record(order=wanted, generation=generation)
    modified = replace(known.intent, order=replace_amount(known, rng.choice([4, 10, 14])))
    known = replace(known, intent=modified if generation == 2 else known.intent)
    limit = known.intent.order.limit_price
    states = [rng.choice([A.DEAD, A.CLOSED]) for _ in range(rng.choice([0, 0, 1]))]
    states += [A.REVIVED] if rng.random() < 0.2 else []
    states += rng.choice([[], [A.UNKNOWN], [A.UNKNOWN], [A.LIVE], [A.CLOSING]])
    attempts, tickets, fills = [], [], []
    world.record = known
    for n, state in enumerate(states, 1):
        left = known.intent.order.amount - sum((f.base for f in fills), ZERO)
        of = rng.randint(1, generation)
        amount = left if of == generation and left > 0 else rng.choice([4, 10])
        one = attempt(n, state, generation=of, spec=replace(spec(int(amount)), limit=limit))
        booked = rng.randint(0, min(3, int(amount))) if state in (A.CLOSED, A.LIVE, A.REVIVED) else 0
        if booked:
            one = replace(one, booked_base=d(booked), cum_base=d(booked), booked_quote=d(booked * 100))
            fills.append(fill_row(f"{n}/0", booked, n=n))
        place = T.DONE if one.seen else T.SETTLED if state is A.DEAD else T.COMMITTED
        world.number += 1
        fence, before = world.fence(K.PLACE)
        tickets.append(row(state=place, n=n, generation=one.generation, fence=fence, send_before=before))
        arrived = one.seen or (state is A.UNKNOWN and rng.random() < 0.5)
        if arrived:
            there = AtVenue(one.spec, S.WORKING, [fill(f"{n}/0", booked)] if booked else [])
            if rng.random() < 0.4 or state is A.CLOSING:
                there.fills.append(fill(f"{n}/1", min(2, int(one.spec.amount) - booked)))
            whole = there.filled == one.spec.amount
            if state in (A.CLOSED, A.CLOSING) or single_shot(known) or whole or rng.random() < 0.2:
                there.change(S.FILLED if there.filled == one.spec.amount else S.CANCELED)
            if state is A.CLOSED:
                there.fills = [one_fill for one_fill in there.fills if one_fill.id == f"{n}/0"]
            if state is A.CLOSING:
                one = replace(one, cum_base=there.filled, venue_status=there.status.value, version=there.version)
            world.orders[one.key] = there
            slot = tickets[-1].ticket.slot
            if slot is not None:
                world.spent.add(slot)
        elif state is A.DEAD and tickets[-1].ticket.slot is not None:
            world.spent.add(tickets[-1].ticket.slot)
        attempts.append(one)
    desired = rng.choice([Desired.ACTIVE, Desired.ACTIVE, Desired.CANCELED])
    made = record(attempts, tickets, fills, order=known.intent.order, generation=generation, desired=desired)
    world.record = made
    world.now = rng.choice([PLACED + 100, NOW])
    return world


def replace_amount(known: Record, amount: int) -> object:
    return order(
        **{name: getattr(known.intent.order, name) for name in ("limit_price", "time_in_force")}, amount=amount
    )


def run(world: World) -> str:
    """Until it ends, rests or is parked: which of them."""
    asked_in_vain = 0
    for _ in range(STEPS):
        decision = world.step()
        status = world.record.progress.status
        if status.terminal and world.record.revived is None:
            return "ended"
        if isinstance(decision, Park):
            return "parked"
        if decision == decide(world.record, world.facts()) == Wait(None):
            return "resting"
        asked_in_vain += isinstance(decision, Query) and "R14" in decision.why
        if asked_in_vain > 3:
            return "unknown for ever"
    raise AssertionError((world.kind, world.record, world.decisions[-8:]))


def check(world: World, before: Decimal, end: str) -> None:
    """What is true of the end, by the venue's own books."""
    known = world.record
    open_orders = [key for key, there in world.orders.items() if not there.status.terminal]
    executed = sum((there.filled for there in world.orders.values()), ZERO)
    assert executed <= max(before, known.intent.order.amount)
    if end == "ended":
        assert not open_orders
        assert known.progress.filled_base == executed
    elif end == "resting":
        live = known.live
        assert live is not None
        assert open_orders == [live.key]
        there = world.orders[live.key]
        assert there.spec.amount == live.spec.amount == remaining(known, without=live.n) > there.filled
        assert live.generation == known.intent.generation
        assert known.progress.filled_base == executed
        assert known.intent.desired is Desired.ACTIVE
    elif end == "parked":
        assert world.kind == "permanent"
        assert known.live is not None
        assert known.live.key not in world.orders
    else:
        assert world.kind == "none"
        assert known.live is not None
        assert known.live.key not in world.orders


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_every_intent_comes_to_rest(seed: int) -> None:
    """From any start it ends, rests as wanted or is parked after a bounded number of steps, and our books agree with
    the venue's (L1, L6, L7)."""
    rng = Random(seed)
    for _ in range(10):
        world = any_world(rng)
        before = sum((there.filled for there in world.orders.values()), ZERO)
        check(world, before, run(world))


def test_every_end_is_reached() -> None:
    """The starts above lead to every end, at every kind of venue where it exists."""
    rng = Random(3)
    ends: Counter[tuple[str, str]] = Counter()
    for _ in range(800):
        world = any_world(rng)
        ends[world.kind, run(world)] += 1
    assert {(kind, end) for kind in VENUES for end in ("ended", "resting")} <= set(ends)
    assert set(ends) - {(kind, end) for kind in VENUES for end in ("ended", "resting")} == {
        ("permanent", "parked"),
        ("none", "unknown for ever"),
    }
