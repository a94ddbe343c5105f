"""What a process cannot trust: its own clock, a venue's memory, the answer to a commit, and a snapshot.

``Life`` is one intent on a time_window fence whose process may crash and come back. Depending on the setting the host's
clock runs ahead of the venue's (R11), the venue forgets finished orders (R16), or the database does not say whether a
commit happened (R3). ``Sighting`` is an order that was seen and is then missing from a snapshot (R16).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.model.explorer import Result, explore
from tests.model.mutants import Mutant

CLOCK, MEMORY, REPLY, SEEN = "local clock runs ahead", "venue forgets", "commit reply lost", "order seen, then missing"
SETTINGS = (CLOCK, MEMORY, REPLY, SEEN)
ATTEMPTS = 2


def check(setting: str, mutant: Mutant | None = None) -> Result:
    """Search one setting."""
    if setting == SEEN:
        return explore(
            Sighting(),
            lambda s: _sighting(s, mutant),
            _sighting_broken,
            lambda s: s.closed or not s.sighted or s.order == "L",
        )
    return explore(Life(), lambda s: _life(s, setting, mutant), _life_broken, _life_good(setting))


class Try(NamedTuple):
    """One attempt. ``phase``: 0 end ahead, 1 passed, 2 passed with slack, all by the venue's clock; ``local``: passed
    by the host's. ``old``: placed before the earliest moment the venue's lookup still covers. ``orders``: L live, F
    filled, each.
    """

    flying: int = 0
    phase: int = 0
    orders: str = ""
    seen: bool = False
    local: bool = False
    old: bool = False
    forgotten: bool = False


class Life(NamedTuple):
    """``plan``: attempts the process saw when it decided to commit one more, or -1. ``limbo``: the same for a commit
    still on its way to the database after its connection was lost, or -1.
    """

    attempts: int = 0
    dead: bool = False
    outcome: str = ""
    at: str = "idle"
    plan: int = -1
    limbo: int = -1
    tries: tuple[Try, ...] = (Try(),) * ATTEMPTS


def _life(s: Life, setting: str, mutant: Mutant | None) -> Iterator[tuple[str, Life]]:
    for k in range(s.attempts):
        yield from _life_venue(s, setting, k)
    if s.limbo >= 0:
        if s.limbo == s.attempts and not s.outcome:
            yield "the delayed commit lands", s._replace(limbo=-1, attempts=s.attempts + 1, dead=False)
        else:
            yield "the delayed commit is refused", s._replace(limbo=-1)
    if s.at != "idle":
        yield "the process crashes", s._replace(at="idle", plan=-1)
    if s.at == "plan":
        yield from _life_commit(s, setting)
    elif s.at == "unknown":
        # Read back or not: if it is there, it counts as sent; if not, the next commit competes by version.
        yield "the row is read back", s._replace(at="idle")
    elif s.at == "ticket":
        k = s.attempts - 1
        sent = s.tries[k]._replace(flying=min(2, s.tries[k].flying + 1))
        yield f"ticket {k + 1} is sent", _put(s._replace(at="idle"), k, sent)
    elif s.at == "idle" and not s.outcome:
        yield from _life_decide(s, setting, mutant)


def _life_commit(s: Life, setting: str) -> Iterator[tuple[str, Life]]:
    base = s._replace(at="idle", plan=-1)
    if s.plan != s.attempts:
        yield "the commit is refused", base
        return
    committed = base._replace(attempts=s.attempts + 1, dead=False)
    yield f"ticket {s.attempts + 1} is committed", committed._replace(at="ticket")
    if setting == REPLY:
        yield f"ticket {s.attempts + 1} is committed, the reply is lost", committed._replace(at="unknown")
        yield "the commit fails, the reply is lost", base._replace(at="unknown")
        if s.limbo < 0:
            yield "the commit is delayed, the connection is lost", base._replace(at="unknown", limbo=s.attempts)


def _life_decide(s: Life, setting: str, mutant: Mutant | None) -> Iterator[tuple[str, Life]]:
    if s.attempts == 0 or s.dead:
        if s.attempts < ATTEMPTS:
            yield "the row is read", s._replace(at="plan", plan=s.attempts)
        else:
            yield "finished EXPIRED", s._replace(outcome="expired")
        return
    k = s.attempts - 1
    t = s.tries[k]
    if mutant is Mutant.COMMITTED_READ_AS_UNSENT:
        yield f"ticket {k + 1} is taken for unsent", s._replace(at="ticket")
    if t.seen and not t.forgotten:
        yield f"order {k + 1} is found", s._replace(outcome="found")
        return
    passed = t.local if mutant is Mutant.FENCE_BY_LOCAL_CLOCK else t.phase == 2
    covered = not t.old or mutant is Mutant.ABSENCE_BEYOND_RETENTION
    if passed and covered:
        yield f"order {k + 1} is absent after the end: dead", s._replace(dead=True)
    if setting == MEMORY and t.old:
        yield f"order {k + 1} is absent, but lookup may have forgotten it: UNKNOWN", s._replace(outcome="parked")


def _life_venue(s: Life, setting: str, k: int) -> Iterator[tuple[str, Life]]:
    t = s.tries[k]
    if t.flying:
        landed = t._replace(flying=t.flying - 1)
        yield f"ticket {k + 1} is lost", _put(s, k, landed)
        if t.phase == 0 and len(t.orders) < 2:
            yield f"venue accepts ticket {k + 1}", _put(s, k, landed._replace(orders="".join(sorted(t.orders + "L"))))
    if "L" in t.orders and setting == MEMORY:
        yield f"order {k + 1} fills", _put(s, k, t._replace(orders=t.orders.replace("L", "F", 1)))
    if t.orders and not t.seen:
        yield f"order {k + 1} becomes visible", _put(s, k, t._replace(seen=True))
    if t.phase == 0 or (t.phase == 1 and (t.seen or not t.orders)):
        yield (
            f"end of ticket {k + 1} passes{', and its slack' if t.phase else ''}",
            _put(s, k, t._replace(phase=t.phase + 1)),
        )
    if setting == CLOCK and not t.local:
        yield f"the host's clock says the end of ticket {k + 1} passed", _put(s, k, t._replace(local=True))
    if setting == MEMORY and t.phase == 2 and not t.old:
        yield f"order {k + 1} leaves the window lookup covers", _put(s, k, t._replace(old=True))
    if t.old and "F" in t.orders and not t.forgotten:
        yield f"venue forgets order {k + 1}", _put(s, k, t._replace(forgotten=True))


def _put(s: Life, k: int, t: Try) -> Life:
    return s._replace(tries=(*s.tries[:k], t, *s.tries[k + 1 :]))


def _life_broken(s: Life) -> str | None:
    live = [t.orders.count("L") for t in s.tries]
    if max(live) > 1:
        return "S1"
    if min(live) > 0:
        return "S2"
    if sum(t.orders.count("F") for t in s.tries) > 1:
        return "S3"
    return None


def _life_good(setting: str) -> Callable[[Life], bool]:
    ends = {"found", "expired", "parked"} if setting == MEMORY else {"found", "expired"}
    return lambda s: s.outcome in ends


class Sighting(NamedTuple):
    """``sighted``: the kernel saw the order alive. ``snapshot``: what the newest snapshot showed, "" none yet;
    ``after``: it was begun after the sighting. ``history``: fills the newest fill history showed, -1 none yet;
    ``follows``: it was read after that snapshot.
    """

    order: str = ""
    filled: int = 0
    sighted: bool = False
    snapshot: str = ""
    after: bool = False
    history: int = -1
    follows: bool = False
    booked: int = 0
    closed: bool = False
    second: str = ""


def _sighting(s: Sighting, mutant: Mutant | None) -> Iterator[tuple[str, Sighting]]:
    if s.order == "":
        yield "venue accepts the order", s._replace(order="L")
    if s.order == "L":
        yield "the order fills", s._replace(order="F", filled=1)
        yield "someone cancels it at the venue", s._replace(order="X")
        if not s.sighted:
            yield "the order is seen alive", s._replace(sighted=True)
    if s.second == "L":
        yield "the second order fills", s._replace(second="F")
    if s.closed:
        return
    shows = "present" if s.order == "L" else "absent"
    yield f"a snapshot shows the order {shows}", s._replace(snapshot=shows, after=s.sighted, follows=False)
    yield "the fill history is read", s._replace(history=s.filled, follows=bool(s.snapshot))
    if not (s.sighted and s.snapshot == "absent"):
        return
    if not s.after and mutant is not Mutant.STALE_SNAPSHOT:
        return
    if mutant is Mutant.SEEN_ORDER_RECREATED and not s.second:
        yield "absent from the snapshot: placed again", s._replace(second="L")
    if s.history >= 0 and (s.follows or mutant is Mutant.HISTORY_BEFORE_SNAPSHOT):
        yield "absent from both: closed with the fills booked", s._replace(closed=True, booked=s.history)


def _sighting_broken(s: Sighting) -> str | None:
    if s.filled and s.second == "F":
        return "S3"
    if s.closed and s.order == "L":
        return "S6"
    if s.closed and s.booked != s.filled:
        return "S10"
    return None
