"""Native groups: orders that come in one request, and whose fates the exchange itself ties together.

=============  ====================================================================================================
``oco``        two legs, both resting from the start. The first execution of one, even of a part, cancels the other
``oto``        two legs. The second waits (DORMANT) until the first is wholly filled, and then rests
``bracket``    three legs: an ``oto`` whose second is an ``oco`` of the last two
=============  ====================================================================================================

All legs are accepted, or none. Legs are limit orders of one market that may rest: no price is watched here. No leg of
an ``oco`` may trade when it is placed. A cancel of one leg ends the whole group, as on the exchanges that have them;
so does any other end that is no fill. Waiting legs hold no money: where it is missing when they wake, they are
rejected then.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from exchange_kernel_paper.exchange.codes import Code, Refusal, Why
from exchange_kernel_paper.exchange.filters import RESTING, Terms
from exchange_kernel_paper.exchange.orders import BUY, FILLED, Order

LEGS = {"oco": 2, "oto": 2, "bracket": 3}


class Leg(NamedTuple):
    """One order of a group as it is asked for."""

    terms: Terms
    client: str | None


class Group:
    """One accepted group. ``name``: its request's id, or the number of its first order where the venue has none."""

    __slots__ = ("kind", "legs", "name")

    def __init__(self, name: str, kind: str, legs: Sequence[Order]) -> None:
        self.name, self.kind, self.legs = name, kind, tuple(legs)

    def rivals(self, leg: Order) -> tuple[Order, ...]:
        """The legs that an execution of ``leg`` cancels."""
        if self.kind == "oto" or (self.kind == "bracket" and leg is self.legs[0]):
            return ()
        return tuple(other for other in self.legs[self.kind == "bracket" :] if other is not leg)

    def waiting_for(self, leg: Order) -> tuple[Order, ...]:
        """The legs that wait until ``leg`` is wholly filled."""
        return self.legs[1:] if self.kind != "oco" and leg is self.legs[0] else ()

    def doomed(self, leg: Order) -> tuple[Order, ...]:
        """The open legs that end because ``leg`` has ended."""
        if leg.why == Why.GROUP:  # whoever ended this one knows of the others
            return ()
        if leg.status == FILLED:
            return tuple(other for other in self.rivals(leg) if not other.finished)
        return tuple(other for other in self.legs if other is not leg and not other.finished)


def check_group(kind: str, legs: Sequence[Leg]) -> None:
    """Could these be a group at all? Needs the exact context. Refusal: GROUP_LEGS, WOULD_CROSS."""
    if len(legs) != LEGS[kind]:
        raise Refusal(Code.GROUP_LEGS, f"{kind} has {LEGS[kind]} legs, not {len(legs)}")
    if any(leg.terms.limit is None or leg.terms.tif not in RESTING for leg in legs):
        raise Refusal(Code.GROUP_LEGS, "a leg needs a limit and a time in force that rests")
    names = [leg.client for leg in legs if leg.client is not None]
    if len(set(names)) != len(names):
        raise Refusal(Code.CLIENT_ID, "two legs have one client id")
    together = legs if kind == "oco" else legs[1:]
    for one, other in combinations(together, 2):
        buy, sell = (one, other) if one.terms.side == BUY else (other, one)
        assert buy.terms.limit is not None
        assert sell.terms.limit is not None
        if buy.terms.side != sell.terms.side and buy.terms.limit >= sell.terms.limit:
            raise Refusal(Code.WOULD_CROSS, "two legs would trade with each other")
