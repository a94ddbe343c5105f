"""What to do next about one intent: one row per branch of the rules, and what must never be decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

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
    canceled,
    contradicted,
    d,
    fill_row,
    holding,
    key,
    look,
    order,
    quote_order,
    record,
    row,
    spec,
)
from exchange_kernel.models import IntentStatus
from exchange_kernel.reconcile.decide import (
    AmendOrder,
    CancelOrder,
    CloseDead,
    CloseForgotten,
    Decision,
    Facts,
    Finish,
    Park,
    ParkLost,
    Query,
    Resend,
    Submit,
    Wait,
    decide,
)
from exchange_kernel.reconcile.decisions import ReplaceOrder
from exchange_kernel.schema import AmountType, ConditionalOrderMode, ConditionalTrigger, TimeInForce, TriggerKind
from exchange_kernel.state.rows import AttemptState, Record, TicketKind, TicketRow, TicketState
from exchange_kernel.venue import Fence, Need, Slot, SlotEnd, TimeEnd, VenueId

A, T, K = AttemptState, TicketState, TicketKind
FILLED, CANCELED = IntentStatus.FILLED, IntentStatus.CANCELED
REJECTED, EXPIRED = IntentStatus.REJECTED, IntentStatus.EXPIRED
SOON, LATER, PAST = NOW + 500, NOW + 5_000, NOW - 1

Expected = tuple[type[Decision], Mapping[str, Any]]


def facts(**known: Any) -> Facts:
    return Facts(**({"now": NOW, "opened": OPENED} | known))


def agrees(decision: Decision, expected: Expected) -> bool:
    kind, values = expected
    return type(decision) is kind and all(
        value in str(getattr(decision, name)) if name in ("why", "reason") else getattr(decision, name) == value
        for name, value in values.items()
    )


def case(name: str, before: Record, kind: type[Decision], /, facts: Facts = facts(), **values: Any) -> Any:  # noqa: B008
    """One row: what is stored, what is known beside it, and what follows; texts need only hold the given words."""
    return pytest.param(before, facts, (kind, values), id=name)


def closed(status: str = "canceled", booked: int = 0, n: int = 1, **more: Any) -> Any:
    return attempt(n, A.CLOSED, venue_status=status, booked_base=booked, booked_quote=booked * 100, **more)


def ended(
    status: str, *tickets: TicketRow, booked: int = 0, before: Mapping[str, Any] | None = None, **more: Any
) -> Record:
    """One attempt that is over; ``before``: fields of the record."""
    return record([closed(status, booked, **more)], [row(state=T.SETTLED), *tickets], **(before or {}))


OUR_CANCEL = row(K.CANCEL, T.SETTLED, seq=2)
NO_CANCEL = row(K.CANCEL, T.NONE, seq=2)
QUOTE_SPEC = spec("1000", amount_in=AmountType.QUOTE)
MARKET = {"order": order(limit_price=None)}
IOC = {"order": order(time_in_force=TimeInForce.IOC)}
FOK = {"order": order(time_in_force=TimeInForce.FOK)}
STOP = {
    "order": order(
        limit_price=None,
        conditional_trigger=ConditionalTrigger(TriggerKind.STOP_LOSS, trigger_price="90"),
        conditional_mode=ConditionalOrderMode.STANDALONE,
    )
}


def dead(n: int = 1, **more: Any) -> Any:
    return attempt(n, A.DEAD, **more)


WITHOUT_ATTEMPT = [
    case("a new intent is submitted", record(), Submit, n=1, amount=d(10)),
    case("after a dead attempt, the next", record([dead()]), Submit, n=2, amount=d(10)),
    case(
        "a quote order wants what is left in quote",
        ended("canceled", OUR_CANCEL, booked=6, before={"order": quote_order()}),
        Submit,
        n=2,
        amount=d(400),
    ),
    case("terminal: nothing", record(status=FILLED), Wait, until=None),
    case("terminal with its cancel: nothing", canceled(record([dead()], status=CANCELED)), Wait, until=None),
    # R20: CANCELED only when nothing of it can execute
    case("canceled before anything was sent", canceled(record()), Finish, status=CANCELED),
    case("canceled, its attempt dead", canceled(record([dead()])), Finish, status=CANCELED),
    case(
        "canceled, its attempt closed by us", canceled(ended("canceled", OUR_CANCEL, booked=2)), Finish, status=CANCELED
    ),
    case("canceled, and canceled at the venue", canceled(ended("canceled")), Finish, status=CANCELED),
    case("canceled, but executed first", canceled(ended("filled", booked=10)), Finish, status=FILLED),
    case("canceled, but refused", canceled(record([attempt(state=A.REFUSED)])), Finish, status=CANCELED),
    # R4: blocked
    case("blocked", record(), Wait, facts(blocked="halted: x"), until=None, reason="halted: x"),
    case(
        "blocked until its deadline",
        record(submit_deadline=LATER),
        Wait,
        facts(blocked="halted: x", until=SOON),
        until=SOON,
    ),
    case("blocked past its deadline", record(submit_deadline=NOW), Finish, facts(blocked="halted"), status=EXPIRED),
    case("blocked never keeps a cancel", canceled(record()), Finish, facts(blocked="halted"), status=CANCELED),
    case("backing off", record(), Wait, facts(not_before=SOON), until=SOON),
    # R8: deadline, attempts, definite rejections, one chance
    case("before its deadline", record(submit_deadline=NOW + 1), Submit, n=1),
    case("at its deadline", record(submit_deadline=NOW), Finish, status=EXPIRED),
    case(
        "deadline of a remainder",
        ended("canceled", OUR_CANCEL, before={"submit_deadline": NOW}),
        Finish,
        status=EXPIRED,
    ),
    case("one chance, used up", ended("canceled", OUR_CANCEL, before=FOK), Finish, reason="one chance"),
    case("a stop at the market rests, and may be placed anew", ended("canceled", OUR_CANCEL, before=STOP), Submit, n=2),
    case("a stop whose order ran out has run out", ended("expired", before=STOP), Finish, status=EXPIRED),
    case(
        "one chance, used up by its deadline",
        ended("canceled", OUR_CANCEL, before={**FOK, "submit_deadline": NOW}),
        Finish,
        status=EXPIRED,
        reason="submit deadline passed",
    ),
    case("enough attempts", record([dead(), dead(2)], max_attempts=2), Finish, status=EXPIRED, reason="2 attempts"),
    case("attempts left", record([dead(), dead(2)], max_attempts=3), Submit, n=3),
    case("not sent is no attempt", record([dead(code="NotSent")], max_attempts=1), Submit, n=2),
    case("rate limited is no attempt", record([dead(code="RateLimited")], max_attempts=1), Submit, n=2),
    case("clock skew is no attempt", record([dead(code="ClockSkew")], max_attempts=1), Submit, n=2),
    case("not authorized is one", record([dead(code="NotAuthorized")], max_attempts=1), Finish, status=EXPIRED),
    case("attempts of this generation", record([dead()], max_attempts=1, generation=2), Submit, n=2),
    case(
        "refused",
        record([attempt(state=A.REFUSED, code="InsufficientFunds", text="no funds")]),
        Finish,
        status=REJECTED,
        reason="no funds",
    ),
    case("refused, then modified", record([attempt(state=A.REFUSED)], generation=2), Submit, n=2),
    case(
        "a market order, partly filled", ended("canceled", OUR_CANCEL, booked=3, before=MARKET), Finish, status=EXPIRED
    ),
    case("an IOC order, never filled", ended("expired", before=IOC), Finish, status=EXPIRED),
    case("a FOK order, modified after it closed", ended("canceled", OUR_CANCEL, before=FOK), Finish, status=EXPIRED),
    case("an IOC order that never reached the venue", record([dead()], **IOC), Submit, n=2),
    # GTD and DAY, kept by the kernel
    case("its own time ended", record(), Finish, facts(until=NOW), status=EXPIRED),
    case("its own time ended, closed by us", ended("canceled", OUR_CANCEL), Finish, facts(until=NOW), status=EXPIRED),
    case("its own time not ended", record(), Submit, facts(until=NOW + 1), n=1),
    # how it ended at the venue
    case("filled", ended("filled", booked=10), Finish, status=FILLED),
    case(
        "filled up to dust",
        ended("filled", booked=9, before={"order": quote_order()}, spec=QUOTE_SPEC),
        Finish,
        status=FILLED,
    ),
    case("executed over two attempts", record([closed(booked=4), closed(booked=6, n=2)]), Finish, status=FILLED),
    case(
        "filled, but more is wanted since",
        ended("filled", booked=8, before={"generation": 2}),
        Submit,
        n=2,
        amount=d(2),
    ),
    case("filled, but opened for less", ended("filled", booked=8, spec=spec(8)), Submit, n=2, amount=d(2)),
    case("canceled at the venue", ended("canceled", booked=2), Finish, status=CANCELED, reason="at the venue"),
    case("canceled by us to replace it", ended("canceled", OUR_CANCEL, booked=2), Submit, n=2, amount=d(8)),
    case("canceled at the venue, our cancel refused", ended("canceled", NO_CANCEL), Finish, status=CANCELED),
    case("expired at the venue", ended("expired"), Finish, status=EXPIRED),
    case("expired at the venue, though we canceled", ended("expired", OUR_CANCEL), Finish, status=EXPIRED),
    case("rejected at the venue", ended("rejected"), Finish, status=REJECTED),
    case("forgotten by the venue", ended("forgotten", booked=2), Finish, status=EXPIRED),
    case("forgotten, while being replaced", ended("forgotten", OUR_CANCEL, booked=2), Submit, n=2, amount=d(8)),
    # R32: held after a loss of commits
    case("held", holding(record(), 1), Park, reason="lost a later cancel"),
    case("held, then modified", holding(record(generation=2), 1), Submit, n=1),
    case("held, then canceled", canceled(holding(record(), 1)), Finish, status=CANCELED),
    case("recovering: no end is final", record(submit_deadline=NOW), Wait, facts(recovering="a loss"), until=None),
    case(
        "recovering: filled is not final", ended("filled", booked=10), Wait, facts(recovering="a loss"), reason="a loss"
    ),
    case("the intent itself was lost", record(max_attempts=0), Wait, facts(recovering="a loss"), until=None),
    case("the order of a lost intent is gone", record(max_attempts=0), Finish, status=IntentStatus.EXPIRED),
]


def sent(
    fence: Fence = WINDOW, *more: TicketRow, send_before: int = 2**62, post_only: bool = False, **given: Any
) -> Record:
    """A committed ticket of unknown fate; ``given``: fields of the record."""
    one = attempt(spec=spec(post_only=post_only))
    return record([one], [row(fence=fence, send_before=send_before), *more], **given)


LOOKED = {"looks": (look(PLACED + 100, height=150),)}
TWICE = {"looks": (look(began=1.0), look(began=2.0))}
BURNING = row(K.CANCEL, seq=2, fence=SEQUENCE)
OLD_BURNING = row(K.CANCEL, seq=2, fence=SEQUENCE, send_before=NOW)

UNKNOWN = [
    # R11, R14
    case(
        "proved dead",
        sent(),
        CloseDead,
        facts(**TWICE),
        proof="absent in 2 reads up to venue_ms=1000000, past every end of its tickets",
    ),
    case("one look is no proof", sent(), Query, facts(looks=(look(),))),
    case("look", sent(), Query, facts(query_at=NOW)),
    case("look later", sent(), Wait, facts(query_at=SOON), until=SOON),
    case("canceled: still to be proved", canceled(sent()), Query),
    case("past its deadline: still to be proved", sent(submit_deadline=PAST), Query),
    case("halted: still to be proved", sent(), Query, facts(blocked="halted")),
    case("enough attempts: still to be proved", sent(max_attempts=1), Query),
    case(
        "another attempt's absence",
        sent(),
        Query,
        facts(looks=(look(began=1.0, of=key(2)), look(began=2.0, of=key(2)))),
    ),
    case("no ends", sent(NONE), Query, facts(**TWICE), why="R14"),
    case("no ends, asked just now", sent(NONE), Wait, facts(query_at=SOON, **TWICE), until=SOON, reason="R14"),
    case("a ticket nobody has", record([attempt()]), Query, facts(**TWICE)),
    # R12: never twice
    case("a window is never sent twice", sent(), Query, facts(**LOOKED)),
    # R13, R26, R27: numbers
    case("a number: look first", sent(SEQUENCE), Query),
    case("a number: look for this attempt first", sent(SEQUENCE), Query, facts(looks=(look(of=key(2)),))),
    case("a number: send again", sent(SEQUENCE), Resend, facts(**LOOKED), row=row(fence=SEQUENCE)),
    case("a number: not yet again", sent(SEQUENCE), Wait, facts(resend_at=SOON, query_at=LATER, **LOOKED), until=LATER),
    case("a number: look meanwhile", sent(SEQUENCE), Query, facts(resend_at=SOON, **LOOKED)),
    case("a number, canceled", canceled(sent(SEQUENCE)), CancelOrder, facts(**LOOKED), instead_of=row(fence=SEQUENCE)),
    case(
        "a number, modified", sent(SEQUENCE, generation=2), CancelOrder, facts(**LOOKED), instead_of=row(fence=SEQUENCE)
    ),
    case("a number, expired", sent(SEQUENCE), CancelOrder, facts(until=NOW, **LOOKED), instead_of=row(fence=SEQUENCE)),
    case(
        "a number, too late",
        sent(SEQUENCE, submit_deadline=NOW),
        CancelOrder,
        facts(**LOOKED),
        instead_of=row(fence=SEQUENCE),
    ),
    case(
        "a number, halted",
        sent(SEQUENCE),
        CancelOrder,
        facts(blocked="halted", **LOOKED),
        instead_of=row(fence=SEQUENCE),
    ),
    case(
        "a number, its ticket too old",
        sent(SEQUENCE, send_before=NOW),
        CancelOrder,
        facts(**LOOKED),
        instead_of=row(fence=SEQUENCE, send_before=NOW),
    ),
    case(
        "a number, too much since",
        record([closed(booked=4), attempt(2)], [row(n=2, fence=SEQUENCE)]),
        CancelOrder,
        facts(looks=(look(of=key(2)),)),
        instead_of=row(n=2, fence=SEQUENCE),
    ),
    case("a number, canceled, not yet", canceled(sent(SEQUENCE)), Query, facts(cancel_at=SOON, **LOOKED)),
    case("a number being used up", canceled(sent(SEQUENCE, BURNING)), Resend, facts(**LOOKED), row=BURNING),
    case("a number being used up, wanted again", sent(SEQUENCE, BURNING), Resend, facts(**LOOKED), row=BURNING),
    case(
        "a number being used up, too old",
        canceled(sent(SEQUENCE, OLD_BURNING)),
        CancelOrder,
        facts(**LOOKED),
        instead_of=OLD_BURNING,
    ),
    case("a number spent by another", sent(SEQUENCE), CloseDead, facts(looks=(look(spent=(SLOT,)),))),
    case(
        "a number spent, our burn open too",
        sent(SEQUENCE, BURNING),
        CloseDead,
        facts(looks=(look(spent=(SLOT,), tickets=2),)),
    ),
    # R13: heights
    case("a height: send again", sent(HEIGHT), Resend, facts(**LOOKED)),
    case("a height, canceled: let it pass", canceled(sent(HEIGHT)), Query, facts(**LOOKED)),
    case("a height, halted: let it pass", sent(HEIGHT), Query, facts(blocked="halted", **LOOKED)),
    case("a height, too old: let it pass", sent(HEIGHT, send_before=NOW), Query, facts(**LOOKED)),
    case("a height passed", sent(HEIGHT), CloseDead, facts(looks=(look(height=151),))),
    # R13: permanent keys
    case("a key: send again", sent(PERMANENT), Resend, facts(**TWICE)),
    case("a key, canceled, rests: use it up", canceled(sent(PERMANENT, post_only=True)), Resend, facts(**TWICE)),
    case(
        "a key, canceled, could trade: park",
        canceled(sent(PERMANENT)),
        Park,
        facts(query_at=SOON, **TWICE),
        reason="yours to decide",
    ),
    case("a key, parked: keep asking", canceled(sent(PERMANENT)), Query, facts(**TWICE)),
    case("a key, halted", sent(PERMANENT), Query, facts(blocked="halted", **TWICE)),
    case("a key, canceled, halted", canceled(sent(PERMANENT, post_only=True)), Query, facts(blocked="halted", **TWICE)),
    case(
        "a key, too old: park", sent(PERMANENT, send_before=NOW), Park, facts(query_at=SOON, **TWICE), reason="too old"
    ),
]


def working(*tickets: TicketRow, amount: int = 10, booked: int = 0, cum: int | None = None, **more: Any) -> Record:
    """An order at the venue; ``more``: fields of the record."""
    known = {"booked_base": booked, "booked_quote": booked * 100, "cum_base": booked if cum is None else cum}
    one = attempt(state=A.LIVE, spec=spec(amount), **known)
    return record([one], [row(state=T.DONE), *tickets], **more)


def larger(before: Record) -> Record:
    """The venue shows the order with an amount of 12."""
    return replace(before, attempts=(replace(before.attempts[0], applied_amount=d(12)),))


def crowded(*tickets: TicketRow, **more: Any) -> Record:
    """A live attempt for all 10, and 4 of them booked late for another (R19)."""
    one = attempt(2, A.LIVE)
    late = closed(booked=4)
    return record([late, one], [row(state=T.SETTLED), row(n=2, state=T.DONE), *tickets], [fill_row("f", 4)], **more)


MINED = row(state=T.DONE, fence=Fence(True, (SlotEnd(SLOT), TimeEnd(PLACED, "ledger")), "ledger"))


NEXT_SLOT = Slot(SLOT.scope, SLOT.number + 1)
WITHDRAWN = row(K.SETTLE, seq=2, state=T.DONE, fence=Fence(True, (SlotEnd(NEXT_SLOT),), "ledger"))


def reorganised(state: AttemptState = A.LIVE, *, withdrawn: bool = False) -> Record:
    """An order that was in a block; ``withdrawn``: under a number of its own, it was taken out again."""
    return record([attempt(state=state)], [MINED, WITHDRAWN] if withdrawn else [MINED])


AMENDING = row(K.AMEND, seq=2, generation=2, amends=spec(12))
AMENDING_AGAIN = row(K.AMEND, seq=2, generation=2, fence=Fence(True, ()), amends=spec(12))
CANCELING = row(K.CANCEL, seq=2, fence=CANCEL_WINDOW)
STALE = {"generation": 2, "order": order(amount="12")}
AMENDABLE = {"amendable": True}

WORKING = [
    case("as wanted", working(), Wait, until=None),
    case("as wanted, partly filled", working(booked=4), Wait, until=None),
    case("as wanted, until its time", working(), Wait, facts(until=SOON), until=SOON),
    case("as wanted, halted", working(), Wait, facts(blocked="halted"), until=None),
    case("waiting at the venue", record([attempt(state=A.LIVE, venue_status="pending")], [row()]), Wait, until=None),
    case("fills missing", working(booked=1, cum=2), Query),
    case("fills missing, asked just now", working(booked=1, cum=2), Wait, facts(query_at=SOON), until=SOON),
    case("executed, its end not told", working(booked=10), Query, why="not reported"),
    case("executed, but the venue's order is larger", larger(working(booked=10)), CancelOrder),
    # R16
    case("not in a complete snapshot", working(), Query, facts(missing=True)),
    case("gone", working(booked=3), CloseForgotten, facts(gone=True, missing=True)),
    case("gone, fills unknown", working(booked=3), Query, facts(lost=True, missing=True), why="records do not tell"),
    case("lost, asked just now", working(), ParkLost, facts(lost=True, missing=True, query_at=SOON)),
    case("lost, cancel asked for", working(desired=CANCELED), ParkLost, facts(lost=True, query_at=SOON)),
    # R20, R21
    # what a ledger showed and took back
    case("taken back: send again", reorganised(), Resend, facts(**LOOKED), row=MINED),
    case("taken back after its end: send again", reorganised(A.CLOSING), Resend, facts(**LOOKED), row=MINED),
    case("taken back, sent just now", reorganised(), Query, facts(resend_at=SOON, **LOOKED)),
    case(
        "taken back, its time passed: no proof", reorganised(), Resend, facts(looks=(look(ledger_ms=NOW),)), row=MINED
    ),
    case("taken back, canceled", canceled(reorganised()), CancelOrder, facts(**LOOKED), instead_of=MINED),
    case("taken back, its number used", reorganised(), CloseDead, facts(looks=(look(spent=(SLOT,)),))),
    case(
        "taken back after its end, its number used",
        reorganised(A.CLOSING),
        CloseDead,
        facts(looks=(look(spent=(SLOT,)),)),
    ),
    case(
        "taken back, its withdrawal's number is free",
        reorganised(withdrawn=True),
        Wait,
        facts(looks=(look(spent=(SLOT,), tickets=2),)),
        until=None,
    ),
    case(
        "taken back, both numbers are used",
        reorganised(withdrawn=True),
        CloseDead,
        facts(looks=(look(spent=(SLOT, NEXT_SLOT), tickets=2),)),
    ),
    case("taken back, another's look", reorganised(), Wait, facts(looks=(look(of=key(9)),)), until=None),
    case("canceled", canceled(working()), CancelOrder, instead_of=None),
    case("canceled while halted", canceled(working()), CancelOrder, facts(blocked="halted: x")),
    case("canceled, fills missing", canceled(working(cum=2)), CancelOrder, facts(query_at=SOON)),
    case("canceled, not in the snapshot", canceled(working()), CancelOrder, facts(missing=True, query_at=SOON)),
    case("canceled, unsettled amendment", canceled(working(AMENDING, **STALE)), CancelOrder),
    case("canceled, executed, its end not told", canceled(working(booked=10)), CancelOrder),
    case("cancel sent: look", canceled(working(CANCELING)), Query, facts(cancel_at=LATER)),
    case("cancel sent: wait", canceled(working(CANCELING)), Wait, facts(cancel_at=LATER, query_at=SOON), until=SOON),
    case(
        "cancel sent: wait, then cancel",
        canceled(working(CANCELING)),
        Wait,
        facts(cancel_at=SOON, query_at=LATER),
        until=SOON,
    ),
    case("cancel unanswered: again", canceled(working(CANCELING)), CancelOrder, facts(query_at=LATER)),
    case("cancel refused: look", canceled(working(NO_CANCEL)), Query, facts(cancel_at=LATER)),
    case(
        "cancel answered, not seen: look",
        canceled(working(replace(CANCELING, state=T.DONE))),
        Query,
        facts(cancel_at=LATER),
    ),
    case("cancel refused: again", canceled(working(NO_CANCEL)), CancelOrder, facts(query_at=LATER)),
    case("cancel holds a number: repeat", canceled(working(BURNING)), Resend, row=BURNING),
    case("cancel holds a number: look", canceled(working(BURNING)), Query, facts(resend_at=SOON)),
    case("cancel holds a number, too old", canceled(working(OLD_BURNING)), CancelOrder, instead_of=OLD_BURNING),
    case("its time ended", working(), CancelOrder, facts(until=NOW), why="expired"),
    # R23
    case("modified, amendable", working(**STALE), AmendOrder, facts(**AMENDABLE), amount=d(12)),
    case(
        "modified, amendable, partly filled", working(booked=4, **STALE), AmendOrder, facts(**AMENDABLE), amount=d(12)
    ),
    case("modified, fills missing", working(cum=2, **STALE), Query, facts(**AMENDABLE)),
    case("modified, unsettled amendment", working(AMENDING, **STALE), Query, facts(**AMENDABLE), why="R23"),
    case(
        "modified, repeatable amendment",
        working(AMENDING_AGAIN, **STALE),
        Resend,
        facts(**AMENDABLE),
        row=AMENDING_AGAIN,
    ),
    case("modified, repeatable amendment, not yet", working(AMENDING_AGAIN, **STALE), Query, facts(resend_at=SOON)),
    case("modified, repeatable amendment, halted", working(AMENDING_AGAIN, **STALE), Query, facts(blocked="halted")),
    case(
        "modified again, an older amendment open",
        working(AMENDING_AGAIN, generation=3, order=order(amount="8")),
        Query,
        facts(**AMENDABLE),
        why="R23",
    ),
    case(
        "modified, its place only waits",
        record([attempt(state=A.LIVE, venue_status="pending")], [row()], **STALE),
        Query,
        facts(**AMENDABLE),
        why="R23",
    ),
    case("modified, a cancel open", working(CANCELING, **STALE), Resend, facts(**AMENDABLE), row=CANCELING),
    case("modified, backing off: look", working(**STALE), Query, facts(not_before=SOON, **AMENDABLE)),
    case(
        "modified, backing off: wait",
        working(**STALE),
        Wait,
        facts(not_before=SOON, query_at=LATER, **AMENDABLE),
        until=SOON,
    ),
    case("modified, halted", working(**STALE), Wait, facts(blocked="halted: x", **AMENDABLE), reason="halted: x"),
    case("modified, halted, to be replaced", working(**STALE), Wait, facts(blocked="halted: x"), reason="halted: x"),
    # R25
    case("modified, not amendable: replace", working(**STALE), CancelOrder, why="replaced"),
    case(
        "modified, its amendment refused",
        working(amend_refused=2, **STALE),
        Wait,
        facts(**AMENDABLE),
        reason="AmendRejected",
    ),
    case(
        "modified again since",
        working(amend_refused=2, generation=3, order=order(amount="13")),
        AmendOrder,
        facts(**AMENDABLE),
    ),
    case(
        "less wanted than filled",
        working(booked=4, generation=2, order=order(amount="4")),
        CancelOrder,
        facts(**AMENDABLE),
    ),
    case(
        "less wanted, halted",
        working(booked=4, generation=2, order=order(amount="6")),
        Wait,
        facts(blocked="halted: x", **AMENDABLE),
        reason="halted: x",
    ),
    case(
        "less wanted, refused",
        working(booked=4, amend_refused=2, generation=2, order=order(amount="6")),
        Wait,
        facts(**AMENDABLE),
        reason="AmendRejected",
    ),
    # R19: late fills elsewhere
    case("too much: amend at once", crowded(), AmendOrder, facts(**AMENDABLE), amount=d(6)),
    case("too much: cancel at once", crowded(), CancelOrder),
    case("too much, halted", crowded(), CancelOrder, facts(blocked="halted", **AMENDABLE)),
    case("too much, its amendment refused", crowded(amend_refused=1), CancelOrder, facts(**AMENDABLE)),
    case("too much, backing off", crowded(), CancelOrder, facts(not_before=SOON, **AMENDABLE)),
    case("too much, being reduced", crowded(row(K.AMEND, n=2, seq=2, amends=spec(6))), Query, facts(**AMENDABLE)),
    case(
        "too much, being enlarged", crowded(row(K.AMEND, n=2, seq=2, amends=spec(8))), CancelOrder, facts(**AMENDABLE)
    ),
    case("too much, not in the snapshot", crowded(), CancelOrder, facts(missing=True)),
    case(
        "too much, modified since: amend at once", contradicted(crowded(generation=2)), CancelOrder, facts(blocked="x")
    ),
    # R17
    case("over, fills not final", record([attempt(state=A.CLOSING)], [row(state=T.DONE)]), Query),
    case("over, asked just now", record([attempt(state=A.CLOSING)], [row()]), Wait, facts(query_at=SOON), until=SOON),
    case("over, canceled", canceled(record([attempt(state=A.CLOSING)], [row()])), Query),
    case("over, fills lost", record([attempt(state=A.CLOSING)], [row()]), ParkLost, facts(lost=True, query_at=SOON)),
    case("over, and gone", record([attempt(state=A.CLOSING)], [row(state=T.DONE)]), CloseForgotten, facts(gone=True)),
]


def revived(status: str = "working", *tickets: TicketRow, live: Any = None, **more: Any) -> Record:
    """Attempt 1 should be over and isn't (R19)."""
    attempts = [attempt(state=A.REVIVED, venue_status=status)] + ([live] if live else [])
    return record(attempts, [row(state=T.SETTLED), *tickets], **more)


FULL, REDUCED = attempt(2, A.LIVE), attempt(2, A.LIVE, spec=spec(6))
TOOK = {"booked_base": 4, "booked_quote": 400}


def took(live: Any, *tickets: TicketRow, **more: Any) -> Record:
    """Attempt 1 is revived and has executed 4 of the 10."""
    one = attempt(state=A.REVIVED, **TOOK)
    return record([one, live], [row(state=T.SETTLED), CANCELING, row(n=2, state=T.DONE), *tickets], **more)


PACED = {"cancel_at": LATER, "query_at": SOON}

REVIVED = [
    case("alive: cancel", revived(), CancelOrder, attempt=revived().attempts[0]),
    case("alive, intent over: cancel", record([attempt(state=A.REVIVED)], [], status=FILLED), CancelOrder),
    case("alive, halted: cancel", revived(), CancelOrder, facts(blocked="halted")),
    case("alive, fills missing: cancel", record([attempt(state=A.REVIVED, cum_base=2)]), CancelOrder),
    case("cancel sent: look", revived("working", CANCELING), Query, facts(cancel_at=LATER)),
    case("over, fills not final", revived("canceled"), Query),
    case("gone", revived(), CloseForgotten, facts(gone=True)),
    case("lost", revived(), ParkLost, facts(lost=True, query_at=SOON)),
    case("first it, then the live one", took(FULL), CancelOrder, attempt=took(FULL).attempts[0]),
    case("meanwhile the live one is amended", took(FULL), AmendOrder, facts(amendable=True, **PACED), amount=d(6)),
    case("the live one fits: wait", took(REDUCED), Wait, facts(amendable=True, **PACED), until=SOON),
    case("a modification waits", took(REDUCED, generation=2), Wait, facts(amendable=True, **PACED), until=SOON),
    case("the live one is unknown: wait", took(attempt(2), row(n=2)), Wait, facts(**PACED), until=SOON),
]


def sent(seq: int, kind: TicketKind = K.PLACE, state: TicketState = T.COMMITTED, **more: Any) -> TicketRow:
    """A transaction under the number, with the id "<seq>"."""
    made = row(kind, state, seq=seq, fence=SEQUENCE, **more)
    return replace(made, ticket=replace(made.ticket, ids=(VenueId("tx", str(seq)),)))


def stuck(of: int | None) -> Facts:
    return facts(need=Need("replace", NOW, "it waits", None if of is None else VenueId("tx", str(of))))


POOLED = attempt(state=A.LIVE, venue_status="pending")
ONCE, TWICE = record([POOLED], [sent(1)]), record([POOLED], [sent(1), sent(2)])

REPLACED = [
    case("it waits for a higher fee", ONCE, ReplaceOrder, stuck(1), row=sent(1), why="it waits"),
    case("whichever is meant", TWICE, ReplaceOrder, stuck(None), row=sent(2)),
    case("so does what took its place", TWICE, ReplaceOrder, stuck(2), row=sent(2)),
    case("what was to take its place was not taken", TWICE, Resend, stuck(1), row=sent(2)),
    case("nor is it time to repeat it", TWICE, Wait, replace(stuck(1), resend_at=SOON, query_at=SOON), until=SOON),
    case(
        "it is too old to be repeated",
        record([POOLED], [sent(1), sent(2, send_before=NOW)]),
        ReplaceOrder,
        stuck(1),
        row=sent(2, send_before=NOW),
    ),
    case("unwanted: its number is used up", canceled(TWICE), CancelOrder, stuck(1), instead_of=sent(2)),
    case("blocked: it waits on", TWICE, Wait, replace(stuck(1), blocked="halted")),
    case("nothing is needed", TWICE, Wait),
]


@pytest.mark.parametrize(("before", "known", "expected"), REPLACED)
def test_with_a_transaction_that_waits_for_a_higher_fee(before: Record, known: Facts, expected: Expected) -> None:
    """One transaction of its number is made after the other, each once the one before was taken and waited (R26)."""
    assert agrees(decide(before, known), expected), decide(before, known)


@pytest.mark.parametrize(("before", "known", "expected"), WITHOUT_ATTEMPT)
def test_without_a_live_attempt(before: Record, known: Facts, expected: Expected) -> None:
    """Open the next attempt, or end the intent, or wait (R4, R8, R20, R25, R32)."""
    assert agrees(decide(before, known), expected), decide(before, known)


@pytest.mark.parametrize(("before", "known", "expected"), UNKNOWN)
def test_with_an_attempt_of_unknown_fate(before: Record, known: Facts, expected: Expected) -> None:
    """Look until it is found or proved dead; send again only what repetition can't harm (R11 to R16, R26, R27)."""
    assert agrees(decide(before, known), expected), decide(before, known)


@pytest.mark.parametrize(("before", "known", "expected"), WORKING)
def test_with_an_order_at_the_venue(before: Record, known: Facts, expected: Expected) -> None:
    """Leave it, amend it, replace it, cancel it, or look for what is not known of it (R16, R17, R19 to R25)."""
    assert agrees(decide(before, known), expected), decide(before, known)


@pytest.mark.parametrize(("before", "known", "expected"), REVIVED)
def test_with_a_revived_attempt(before: Record, known: Facts, expected: Expected) -> None:
    """What should be over and isn't is cancelled before all else, and nothing executes beyond the order (R19)."""
    assert agrees(decide(before, known), expected), decide(before, known)
