"""Changing an order that works: native amends, a cancel followed by the remainder, and cancel-and-place in one request.

Three small machines share the module. ``native``: at most one unsettled amend (R23), quantity means the total.
``remainder``: a new attempt gets the total minus final fills (R17, R25). ``replace``: one request cancels the old order
and places the new, and the venue does neither once anything has filled (R24); until proved, both attempts are open.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tests.model.explorer import Result, explore
from tests.model.mutants import Mutant

SETTINGS = ("native amend", "cancel, then the remainder", "cancel and place in one request")


def check(setting: str, mutant: Mutant | None = None) -> Result:
    """Search one of the three machines."""
    if setting == SETTINGS[0]:
        return explore(Native(), lambda s: _native(s, mutant), _native_broken, _native_good)
    if setting == SETTINGS[1]:
        return explore(Remainder(), lambda s: _remainder(s, mutant), _remainder_broken, lambda s: s.finished)
    return explore(Replace(), lambda s: _replace(s, mutant), _replace_broken, _replace_good)


# ---- native amend ----

TOTALS = (2, 4, 1)
"""The total of each generation, in the order in which the user declares them."""


class Amend(NamedTuple):
    """One amend ticket. ``asked``: the total it names (or the remainder, in a mutant). ``ended``: its fence has passed
    for good.
    """

    generation: int
    asked: int
    flying: bool = True
    ended: bool = False
    answered: bool = False


class Native(NamedTuple):
    """``desired``: newest generation. ``shown``: the one the venue's order carries. ``observed``: the one status
    claims. ``booked``: fills the kernel knows. ``tickets``: unsettled amends. ``committed``: largest total any
    committed ticket names. ``strays``: generations of second copies on their way (a mutant's).
    """

    desired: int = 0
    shown: int = 0
    observed: int = 0
    total: int = TOTALS[0]
    filled: int = 0
    booked: int = 0
    open: bool = True
    tickets: tuple[Amend, ...] = ()
    committed: int = TOTALS[0]
    cancelling: bool = False
    strays: tuple[int, ...] = ()


def _native(s: Native, mutant: Mutant | None) -> Iterator[tuple[str, Native]]:
    if s.desired + 1 < len(TOTALS):
        yield (
            f"the user declares generation {s.desired + 1}: total {TOTALS[s.desired + 1]}",
            s._replace(desired=s.desired + 1),
        )
    if s.open and s.filled < s.total:
        filled = s.filled + 1
        yield "a unit fills", s._replace(filled=filled, open=filled < s.total)
    if s.booked < s.filled:
        yield "fills are booked", s._replace(booked=s.filled)
    free = not s.tickets or (
        mutant is Mutant.TWO_AMENDS_IN_FLIGHT and all(t.generation != s.desired for t in s.tickets)
    )
    if s.open and s.observed < s.desired and free:
        total = TOTALS[s.desired]
        if total <= s.booked:
            if not s.cancelling:
                yield "the total is filled already: cancel", s._replace(cancelling=True)
        else:
            asked = total - s.booked if mutant is Mutant.AMEND_BY_REMAINDER else total
            tickets = (*s.tickets, Amend(s.desired, asked))
            yield (
                f"amend {s.desired} is committed and sent",
                s._replace(tickets=tickets, committed=max(s.committed, total)),
            )
    if s.cancelling:
        yield "the cancel takes effect", s._replace(cancelling=False, open=False)
        yield "the cancel is lost", s._replace(cancelling=False)
    for stray in s.strays:
        left = tuple(generation for generation in s.strays if generation != stray)
        yield f"the copy of amend {stray} is lost", s._replace(strays=left)
        if s.open and TOTALS[stray] > s.filled:
            yield f"the copy of amend {stray} takes effect", s._replace(strays=left, shown=stray, total=TOTALS[stray])
    for i, ticket in enumerate(s.tickets):
        if mutant is Mutant.SETTING_SENT_AGAIN and ticket.generation not in s.strays:
            yield f"amend {ticket.generation} is sent again", s._replace(strays=(*s.strays, ticket.generation))
        yield from _amend_arrives(s, i, ticket, mutant)
        if not ticket.ended:
            yield f"end of amend {ticket.generation} passes", _with_ticket(s, i, ticket._replace(ended=True))
        if ticket.answered or ticket.ended or s.shown == ticket.generation:
            # Settled: answered, past its end, or seen on the order. What counts is what the order shows in that read.
            others = (*s.tickets[:i], *s.tickets[i + 1 :])
            yield (
                f"amend {ticket.generation} is settled",
                s._replace(tickets=others, observed=max(s.observed, s.shown), booked=s.filled),
            )


def _amend_arrives(s: Native, i: int, ticket: Amend, mutant: Mutant | None) -> Iterator[tuple[str, Native]]:
    if not ticket.flying:
        return
    name = f"amend {ticket.generation}"
    landed = _with_ticket(s, i, ticket._replace(flying=False))
    yield f"{name} is lost", landed
    total = s.filled + ticket.asked if mutant is Mutant.AMEND_BY_REMAINDER else ticket.asked
    if s.open and total > s.filled and not ticket.ended:
        applied = landed._replace(shown=ticket.generation, total=total)
        yield f"{name} takes effect, the answer is lost", applied
        yield f"{name} takes effect", _answer(applied, i)
    else:
        yield f"{name} is refused", _answer(landed, i)


def _answer(s: Native, i: int) -> Native:
    return _with_ticket(s, i, s.tickets[i]._replace(answered=True))


def _with_ticket(s: Native, i: int, ticket: Amend) -> Native:
    return s._replace(tickets=(*s.tickets[:i], ticket, *s.tickets[i + 1 :]))


def _native_broken(s: Native) -> str | None:
    if s.filled > s.committed:
        return "S3"
    if s.open and s.shown < s.observed:
        return "S18"
    return None


def _native_good(s: Native) -> bool:
    return not s.tickets and (not s.open or s.observed == s.desired)


# ---- cancel, proof, final fills, then the remainder ----


class Remainder(NamedTuple):
    """The user changes the price (and raises the total from 2 to 3) where the venue cannot amend."""

    open: bool = True
    filled: int = 0
    booked: int = 0
    cancelling: bool = False
    terminal_seen: bool = False
    second: int = -1
    second_filled: int = 0
    finished: bool = False


RAISED = 3


def _remainder(s: Remainder, mutant: Mutant | None) -> Iterator[tuple[str, Remainder]]:
    if s.open and s.filled < TOTALS[0]:
        filled = s.filled + 1
        yield "a unit of attempt 1 fills", s._replace(filled=filled, open=filled < TOTALS[0])
    if s.booked < s.filled:
        yield "a fill of attempt 1 is booked", s._replace(booked=s.booked + 1)
    if s.open and not s.cancelling:
        yield "the cancel is committed and sent", s._replace(cancelling=True)
    if s.cancelling:
        yield "the cancel is lost", s._replace(cancelling=False)
        yield "the cancel arrives", s._replace(cancelling=False, open=False)
    if not s.open and not s.terminal_seen:
        yield "attempt 1 is reported closed", s._replace(terminal_seen=True)
    # The venue's cumulative quantity, read after the terminal report, is what booked fills must add up to (R17).
    final = s.booked == s.filled or mutant is Mutant.REMAINDER_FROM_STALE_FILLS
    if s.terminal_seen and s.second < 0 and final:
        yield f"attempt 2 is committed for {RAISED - s.booked}", s._replace(second=RAISED - s.booked)
    if 0 <= s.second_filled < s.second:
        yield "a unit of attempt 2 fills", s._replace(second_filled=s.second_filled + 1)
    if s.second >= 0 and s.second_filled == s.second and s.booked == s.filled:
        yield "finished", s._replace(finished=True)


def _remainder_broken(s: Remainder) -> str | None:
    return "S3" if s.filled + s.second_filled > RAISED else None


# ---- cancel and place in one request ----

TOTAL = 2


class Replace(NamedTuple):
    """Order 1 and 2 are changed by one request; order 3 is a later attempt. ``old_open``, ``new_open``: what SQL
    believes of attempts 1 and 2. Orders: "" none, L live, F filled, X cancelled. ``placing``: order 1 is cancelled and
    the answer says that order 2 was not placed, which its own end alone settles (a partial answer is unknown for both).
    ``cancel``: the user's, committed; ``canceled``: the status says so.
    """

    first: str = "L"
    first_filled: int = 0
    second: str = ""
    second_filled: int = 0
    second_total: int = 0
    third: str = ""
    third_filled: int = 0
    third_total: int = 0
    request: str = ""
    placing: bool = False
    ended: bool = False
    booked: int = 0
    old_open: bool = True
    new_open: bool = False
    new_dead: bool = False
    cancel: bool = False
    canceled: bool = False


def _replace(s: Replace, mutant: Mutant | None) -> Iterator[tuple[str, Replace]]:
    if s.first == "L":
        filled = s.first_filled + 1
        yield "a unit of order 1 fills", s._replace(first_filled=filled, first="F" if filled == TOTAL else "L")
    if s.second == "L":
        filled = s.second_filled + 1
        yield (
            "a unit of order 2 fills",
            s._replace(second_filled=filled, second="F" if filled == s.second_total else "L"),
        )
    if s.third == "L":
        filled = s.third_filled + 1
        yield "a unit of order 3 fills", s._replace(third_filled=filled, third="F" if filled == s.third_total else "L")
    as_amend = mutant is Mutant.CANCEL_REPLACE_AS_AMEND
    if s.booked < s.first_filled and not s.request:
        yield "fills of order 1 are booked", s._replace(booked=s.first_filled)
    yield from _cancelling(s, mutant)
    if not s.request and not s.cancel and s.old_open and s.first != "F" and (not s.booked or as_amend):
        at_once = mutant is Mutant.REPLACED_CLOSED_ON_COMMIT
        sent = s._replace(request="flying", second_total=TOTAL - s.booked, new_open=True, old_open=not at_once)
        yield f"cancel 1 and place 2 for {TOTAL - s.booked} is committed and sent", sent
    if s.request == "flying":
        yield "the request is lost", s._replace(request="gone")
        if not s.ended:
            landed = s._replace(request="gone")
            # ONLY_NEW: an order that has filled is not cancelled. STOP_ON_FAILURE: nothing is placed after that.
            any_order = as_amend or mutant is Mutant.PARTLY_FILLED_REPLACED
            places_all_the_same = as_amend or mutant is Mutant.PLACED_THOUGH_NOT_CANCELLED
            if s.first == "L" and (s.first_filled == 0 or any_order):
                yield "order 1 is cancelled and order 2 placed", landed._replace(first="X", second="L")
                yield "order 1 is cancelled, placing order 2 fails", landed._replace(first="X", placing=True)
            elif places_all_the_same:
                name = "filled" if s.first == "F" else "not cancelled"
                yield f"order 1 is {name}, order 2 is placed all the same", landed._replace(second="L")
            else:
                yield "the cancel fails, so does the placing", landed
    if s.placing:
        yield "order 2 is not placed, ever", s._replace(placing=False)
        if not s.ended:
            yield "order 2 is placed after all", s._replace(placing=False, second="L")
        if mutant is Mutant.HALF_ANSWER_BELIEVED and s.new_open:
            yield "attempt 2 is dead, the answer says", s._replace(new_dead=True, new_open=False)
    if s.request and not s.ended:
        yield "end of the request passes", s._replace(ended=True)
    if s.old_open and (s.request or s.cancel) and s.first in ("X", "F"):
        yield "attempt 1 is found closed, its fills are final", s._replace(old_open=False, booked=s.first_filled)
    if s.new_open and s.ended and s.second == "" and not s.new_dead:
        yield "attempt 2 is absent after the end: dead", s._replace(new_dead=True, new_open=False)
    if s.new_dead and not s.old_open and not s.third and not s.cancel and s.booked < TOTAL:
        yield (
            f"attempt 3 is committed and sent for {TOTAL - s.booked}",
            s._replace(third="L", third_total=TOTAL - s.booked),
        )


def _cancelling(s: Replace, mutant: Mutant | None) -> Iterator[tuple[str, Replace]]:
    """The user's cancel goes to each order by itself; CANCELED needs both attempts of the request proved closed."""
    if not s.cancel:
        yield "the user cancels", s._replace(cancel=True)
        return
    for name in ("first", "second", "third"):
        if getattr(s, name) == "L":
            yield f"the {name} order's own cancel arrives", s._replace(**{name: "X"})
    if s.new_open and s.second in ("X", "F"):
        yield "attempt 2 is found closed", s._replace(new_open=False)
    proved = not s.old_open and (not s.new_open or mutant is Mutant.CANCELED_BY_THE_OLD_LEG) and s.third != "L"
    if proved and not s.canceled:
        yield "CANCELED", s._replace(canceled=True)


def _replace_broken(s: Replace) -> str | None:
    if (s.first, s.second, s.third).count("L") > 1:
        return "S2"
    if s.first_filled + s.second_filled + s.third_filled > TOTAL:
        return "S3"
    if s.canceled and "L" in (s.first, s.second, s.third):
        return "S7"
    return None


def _replace_good(s: Replace) -> bool:
    """Everything asked for is executed, or the user's cancel is done."""
    return s.canceled or s.first_filled + s.second_filled + s.third_filled == TOTAL
