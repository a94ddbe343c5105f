"""Fills and status: what reaches the books when reports repeat, collide, come late or come from a paused owner.

``Books``: fills of two instruments told by the answer to the order and by the stream, any number of times (S10).
``Late``: a venue contradicts itself and reports a fill of an attempt proved dead (R19). ``Zombie``: a paused owner
writes status it decided on long ago (R31). ``Reorg``: a fill leaves the chain and enters it again elsewhere (S10).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tests.model.explorer import Result, explore
from tests.model.mutants import Mutant

BOOKS, LATE_LIVE, LATE_CLOSED, ZOMBIE, REORG = (
    "two channels, two instruments",
    "late fill, intent live",
    "late fill, intent closed",
    "paused owner writes status",
    "reorg",
)
SETTINGS = (BOOKS, LATE_LIVE, LATE_CLOSED, ZOMBIE, REORG)


def check(setting: str, mutant: Mutant | None = None) -> Result:
    """Search one setting."""
    if setting == BOOKS:
        return explore(Books(), lambda s: _books(s, mutant), _books_broken, _books_good)
    if setting in (LATE_LIVE, LATE_CLOSED):
        start = Late() if setting == LATE_LIVE else Late(status="CANCELED", second="")
        return explore(start, lambda s: _late(s, mutant), _late_broken, _late_good)
    if setting == ZOMBIE:
        return explore(Zombie(), lambda s: _zombie(s, mutant), _zombie_broken, lambda s: s.status == "FILLED")
    return explore(Reorg(), lambda s: _reorg(s, mutant), _reorg_broken, lambda s: s.booked_count == s.on_chain)


# ---- two channels, two instruments ----

FILLS = (("BTC", 1), ("ETH", 1))
"""The venue numbers trades per instrument, so both of these are its trade 1."""
CHANNELS = ("answer", "stream")


class Books(NamedTuple):
    """Per fill: made at the venue, told over (answer, stream), and how often it is counted. ``keys``: ids in the fill
    table.
    """

    made: tuple[bool, bool] = (False, False)
    told: tuple[tuple[bool, bool], tuple[bool, bool]] = ((False, False), (False, False))
    counted: tuple[int, int] = (0, 0)
    keys: frozenset[tuple[str, ...]] = frozenset()


def _books(s: Books, mutant: Mutant | None) -> Iterator[tuple[str, Books]]:
    for i, (instrument, trade) in enumerate(FILLS):
        if not s.made[i]:
            yield (
                f"{instrument} trade {trade} happens",
                s._replace(made=(True, s.made[1]) if i == 0 else (s.made[0], True)),
            )
            continue
        for c, channel in enumerate(CHANNELS):
            key = (str(trade),) if mutant is Mutant.TRADE_ID_WITHOUT_INSTRUMENT else (instrument, str(trade))
            if mutant is Mutant.FILL_FROM_ACK_AND_STREAM:
                key = (channel, *key)
            again = " again" if s.told[i][c] else ""
            told = (True, s.told[i][1]) if c == 0 else (s.told[i][0], True)
            after = s._replace(told=(told, s.told[1]) if i == 0 else (s.told[0], told))
            if key not in s.keys:
                counted = (s.counted[0] + 1, s.counted[1]) if i == 0 else (s.counted[0], s.counted[1] + 1)
                after = after._replace(counted=counted, keys=s.keys | {key})
            yield f"{instrument} trade {trade} is told by the {channel}{again}", after


def _books_broken(s: Books) -> str | None:
    for told, counted in zip(s.told, s.counted, strict=True):
        if counted > 1 or (any(told) and not counted):
            return "S10"
    return None


def _books_good(s: Books) -> bool:
    return s.counted == (1, 1)


# ---- late evidence ----


class Late(NamedTuple):
    """Attempt 1 was proved dead; ``second`` is attempt 2's order, L live, F filled, X cancelled. ``late``: the venue's
    contradicting fill.
    """

    status: str = "WORKING"
    second: str = "L"
    late: str = "no"
    booked: int = 0
    second_booked: bool = False
    cancelling: bool = False
    contradicted: bool = False


def _late(s: Late, mutant: Mutant | None) -> Iterator[tuple[str, Late]]:
    closed = s.status == "CANCELED"
    if s.late == "no":
        yield "the venue makes a fill of attempt 1", s._replace(late="made")
    if s.second == "L":
        yield "the order of attempt 2 fills", s._replace(second="F")
        if s.cancelling:
            yield "the cancel of attempt 2 takes effect", s._replace(second="X", cancelling=False)
    if s.second == "F" and not s.second_booked:
        yield "the fill of attempt 2 is booked", s._replace(second_booked=True)
    if s.late in ("made", "told"):
        if mutant is Mutant.LATE_FILL_DROPPED:
            yield "the fill of attempt 1 is told: attempt is dead, dropped", s._replace(late="told")
        elif s.late == "made":
            after = s._replace(late="told", booked=1)
            if closed:
                yield "the fill of attempt 1 is told: booked, ContradictedByVenue", after._replace(contradicted=True)
            else:
                yield (
                    "the fill of attempt 1 is told: booked, attempt 2 is cancelled",
                    after._replace(cancelling=s.second == "L"),
                )


def _late_broken(s: Late) -> str | None:
    return "S10" if s.late == "told" and not s.booked else None


def _late_good(s: Late) -> bool:
    """Everything told is booked, nothing is left working against it, and a closed intent says who contradicted it."""
    if s.late != "told":
        return True
    settled = s.second != "L" and (s.second != "F" or s.second_booked)
    return s.booked == 1 and settled and (s.contradicted or s.status == "WORKING")


# ---- a paused owner writes status ----


class Zombie(NamedTuple):
    """``venue``: WORKING or FILLED. ``a``, ``b``: the status each owner read at the venue and is about to write, ""
    nothing. The fold of reports is not a decision about sending: it does not compete by the intent's version, so the
    epoch is its only guard.
    """

    venue: str = "WORKING"
    owner: str = "A"
    status: str = "SUBMITTING"
    a: str = ""
    b: str = ""
    reopened: bool = False


def _zombie(s: Zombie, mutant: Mutant | None) -> Iterator[tuple[str, Zombie]]:
    if s.venue == "WORKING":
        yield "the order fills", s._replace(venue="FILLED")
    if s.owner == "A":
        yield "B takes over", s._replace(owner="B")
    for who, report in (("A", s.a), ("B", s.b)):
        if not report and who == s.owner and s.status != "FILLED":
            read = s._replace(a=s.venue) if who == "A" else s._replace(b=s.venue)
            yield f"{who} reads {s.venue} at the venue", read
        if report:
            written = s._replace(a="") if who == "A" else s._replace(b="")
            if who == s.owner or mutant is Mutant.EPOCH_UNCHECKED_ON_STATUS:
                reopened = s.status == "FILLED" and report != "FILLED"
                yield f"{who} writes {report}", written._replace(status=report, reopened=reopened)
            else:
                yield f"{who}: write refused", written


def _zombie_broken(s: Zombie) -> str | None:
    return "S6" if s.reopened else None


# ---- a reorg ----


class Reorg(NamedTuple):
    """One transaction with one fill. ``position``: where in its block the log is, 0 not in a block; a reorg may put it
    elsewhere. ``void``: whether the void of the old block is still to be told. ``booked``: ids counted.
    """

    position: int = 0
    void: int = 0
    booked: frozenset[str] = frozenset()
    final: bool = False

    @property
    def on_chain(self) -> int:
        """Fills the chain shows."""
        return 1 if self.position else 0

    @property
    def booked_count(self) -> int:
        """Fills the books show."""
        return len(self.booked)


def _fill_id(position: int, mutant: Mutant | None) -> str:
    return f"block position {position}" if mutant is Mutant.POSITION_IN_BLOCK_AS_FILL_ID else "transaction, ordinal 0"


def _reorg(s: Reorg, mutant: Mutant | None) -> Iterator[tuple[str, Reorg]]:
    for position in (1, 2):
        if not s.position:
            yield f"the transaction enters a block at position {position}", s._replace(position=position)
    if s.position:
        own = _fill_id(s.position, mutant)
        if own not in s.booked:
            yield "the fill is told", s._replace(booked=s.booked | {own})
        if not s.final:
            yield "the transaction's block is final", s._replace(final=True)
            yield "a reorg takes the transaction out", s._replace(position=0, void=s.position)
    if s.void:
        gone = _fill_id(s.void, mutant)
        # The void may be lost with the stream; a snapshot of the chain then has to do.
        yield "the void is lost", s._replace(void=0)
        if s.position == 0:
            yield "the void is told", s._replace(void=0, booked=s.booked - {gone})
    if not s.position and s.booked:
        yield "the chain is read: no fill", s._replace(booked=frozenset())


def _reorg_broken(s: Reorg) -> str | None:
    return "S10" if s.booked_count > 1 else None
