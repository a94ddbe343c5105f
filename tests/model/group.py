"""RESTORE: placing again an order of ours that someone cancelled at the venue, and when that is wrong (R37).

``Legs``: an OCO pair of the venue; one leg fills, the venue cancels the other, and the two reports arrive in any order.
``Single``: one order, cancelled from outside or by an account-wide cancel of ours (cancel-all, dead-man switch, panic)
that names no intent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tests.model.explorer import Result, explore
from tests.model.mutants import Mutant

LEGS, SINGLE = "OCO pair", "single order"
SETTINGS = (LEGS, SINGLE)


def check(setting: str, mutant: Mutant | None = None) -> Result:
    """Search one setting."""
    if setting == LEGS:
        return explore(
            Legs(), lambda s: _legs(s, mutant), _legs_broken, lambda s: "L" in s.legs or s.reported == s.legs
        )
    return explore(Single(), lambda s: _single(s, mutant), _single_broken, _single_good)


class Legs(NamedTuple):
    """``legs``: the venue's truth, L live, F filled, X cancelled. ``reported``: what the kernel has folded.
    ``restored``: a leg placed again, on its own: no venue link ties it to its sibling any more.
    """

    legs: tuple[str, str] = ("L", "L")
    reported: tuple[str, str] = ("L", "L")
    restored: str = ""


def _legs(s: Legs, mutant: Mutant | None) -> Iterator[tuple[str, Legs]]:
    if s.legs == ("L", "L"):
        yield "leg 1 fills, the venue cancels leg 2", s._replace(legs=("F", "X"))
        yield "leg 2 fills, the venue cancels leg 1", s._replace(legs=("X", "F"))
        yield "someone cancels the pair at the venue", s._replace(legs=("X", "X"))
    for i in range(2):
        if s.reported[i] != s.legs[i]:
            reported = (s.legs[0], s.reported[1]) if i == 0 else (s.reported[0], s.legs[1])
            yield (
                f"leg {i + 1} is reported {'filled' if s.legs[i] == 'F' else 'cancelled'}",
                s._replace(reported=reported),
            )
        if (
            mutant is Mutant.RESTORE_ON_GROUP_LEG
            and s.reported[i] == "X"
            and s.reported[1 - i] == "L"
            and not s.restored
        ):
            yield f"RESTORE places leg {i + 1} again", s._replace(restored="L")
    if s.restored == "L":
        yield "the restored leg fills", s._replace(restored="F")


def _legs_broken(s: Legs) -> str | None:
    return "S3" if (*s.legs, s.restored).count("F") > 1 else None


TOTAL = 2


class Single(NamedTuple):
    """``order``: L, F or X. ``ours``: an account-wide cancel of ours: "" none, committed, settled. ``second``: the
    total of the order RESTORE placed, -1 none; ``against``: it was committed although such a cancel was.
    """

    order: str = "L"
    filled: int = 0
    booked: int = 0
    reported: bool = False
    ours: str = ""
    flying: bool = False
    second: int = -1
    second_filled: int = 0
    against: bool = False


def _single(s: Single, mutant: Mutant | None) -> Iterator[tuple[str, Single]]:
    if s.order == "L":
        filled = s.filled + 1
        yield "a unit fills", s._replace(filled=filled, order="F" if filled == TOTAL else "L")
        yield "someone cancels the order at the venue", s._replace(order="X")
    if s.booked < s.filled:
        yield "a fill is booked", s._replace(booked=s.booked + 1)
    if s.order != "L" and not s.reported:
        yield f"the order is reported {'filled' if s.order == 'F' else 'cancelled'}", s._replace(reported=True)
    if not s.ours:
        yield "an account-wide cancel is committed and sent", s._replace(ours="committed", flying=True)
    if s.flying:
        yield "the account-wide cancel is lost", s._replace(flying=False)
        yield "the account-wide cancel takes effect", s._replace(flying=False, order="X" if s.order == "L" else s.order)
    elif s.ours == "committed":
        yield "the account-wide cancel is settled", s._replace(ours="settled")
    if s.reported and s.order == "X" and s.second < 0 and _may_restore(s, mutant):
        yield "RESTORE commits the remainder", s._replace(second=TOTAL - s.booked, against=bool(s.ours))
    if 0 <= s.second_filled < s.second:
        yield "a unit of the restored order fills", s._replace(second_filled=s.second_filled + 1)


def _may_restore(s: Single, mutant: Mutant | None) -> bool:
    final = s.booked == s.filled or mutant is Mutant.RESTORE_BEFORE_FINAL_FILLS
    if mutant is Mutant.RESTORE_UNDER_OWN_CANCEL:
        return final
    if mutant is Mutant.RESTORE_AFTER_OWN_CANCEL:
        return final and s.ours != "committed"
    return final and not s.ours


def _single_broken(s: Single) -> str | None:
    if s.against:
        return "S7"
    if s.filled + s.second_filled > TOTAL:
        return "S3"
    return None


def _single_good(s: Single) -> bool:
    return s.order == "L" or (s.reported and s.booked == s.filled)
