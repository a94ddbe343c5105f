"""A store that lost commits: a backup is restored while tickets of the lost time are on their way, live or filled.

``Restore``: one intent, backed up at any moment, its ticket committed and sent, the store restored once. The store's
incarnation is new, so it starts RECOVERING: nothing is sent until every fence of the lost time has passed and the venue
was searched by client-id prefix (R32). The lost process may still run and send the ticket it holds. ``Fencing``: epochs
are numbers in the store, so a restored store counts them again from an older one (R31, S8).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.model.explorer import Result, explore
from tests.model.mutants import Mutant

WINDOW, AGAIN, CANCEL, KEY, ENDLESS, EPOCHS = (
    "backup restored, time_window",
    "backup restored, caller asks again",
    "backup restored, cancel lost",
    "backup restored, permanent_key",
    "backup restored, no end in time",
    "backup restored, epochs",
)
SETTINGS = (WINDOW, AGAIN, CANCEL, KEY, ENDLESS, EPOCHS)


def check(setting: str, mutant: Mutant | None = None) -> Result:
    """Search one setting."""
    if setting == EPOCHS:
        return explore(Fencing(), lambda s: _fencing(s, mutant), _fencing_broken, lambda s: s.status == "FILLED")
    first = Restore() if setting == AGAIN else Restore(row="new")
    return explore(first, lambda s: _restore(s, setting, mutant), _restore_broken, _restore_good(setting))


class Lost(NamedTuple):
    """A ticket. ``held``: a process that saw its commit succeed has yet to send it. ``phase`` as everywhere: 2 = passed
    for good.
    """

    signed: bool = False
    held: bool = False
    flying: bool = False
    phase: int = 0
    order: str = ""
    seen: bool = False


class Restore(NamedTuple):
    """``row``: the intent in SQL: "" no such intent, new, held, sent, found, canceled, parked, dead (may not try again
    here). ``backup``: the row as it was saved. ``tickets``: attempt 1 as committed before and after the restore; both
    have the same client id (R7). ``orphan``: an order of this intent found at the venue while SQL had no such intent.
    ``cancelled``: a cancel was acknowledged, then lost.
    """

    row: str = ""
    backup: str = "none"
    restored: bool = False
    recovering: bool = False
    orphan: bool = False
    cancelled: bool = False
    tickets: tuple[Lost, Lost] = (Lost(), Lost())


def _restore(s: Restore, setting: str, mutant: Mutant | None) -> Iterator[tuple[str, Restore]]:
    now = 1 if s.restored else 0
    in_sql = 1 if s.tickets[1].signed else 0
    if s.row == "":
        adopt = s.orphan and mutant is not Mutant.ORPHAN_FORGOTTEN
        placed = "found" if adopt else "new"
        yield f"the caller places the intent{': its order is known' if adopt else ''}", s._replace(row=placed)
    if s.backup == "none":
        yield "a backup is taken", s._replace(backup=s.row)
    elif not s.restored:
        recovering = mutant is not Mutant.LOST_COMMIT_NOT_NOTICED
        yield "the backup is restored", s._replace(restored=True, row=s.backup, recovering=recovering)
    if setting == CANCEL and s.row == "new" and not s.restored:
        yield "the user cancels: CANCELED", s._replace(row="canceled", cancelled=True)
    for i in range(2):
        yield from _restore_ticket(s, i, setting)
    if s.row == "held" and not s.cancelled:
        yield "someone says the intent is still wanted", s._replace(row="new")
    if s.recovering:
        yield from _recover(s, setting, mutant)
    elif s.row == "new":
        committed = s.tickets[now]._replace(signed=True, held=True)
        yield f"ticket {'AB'[now]} is committed", _ticket(s._replace(row="sent"), now, committed)
    elif s.row == "sent":
        if any(t.seen for t in s.tickets):
            yield "the order is found", s._replace(row="found")
        elif setting == ENDLESS:
            yield "parked as UNKNOWN", s._replace(row="parked")
        elif setting == KEY and not s.tickets[in_sql].flying:
            yield f"ticket {'AB'[in_sql]} is sent again", _ticket(s, in_sql, s.tickets[in_sql]._replace(flying=True))
        elif s.tickets[in_sql].phase == 2:
            yield "absent after the end: dead", s._replace(row="dead")


def _recover(s: Restore, setting: str, mutant: Mutant | None) -> Iterator[tuple[str, Restore]]:
    """The first start of a restored store. What it never sent, as far as it knows, waits until someone asks for it."""
    lost = s.tickets[0]
    done = s._replace(recovering=False)
    resumed = done._replace(row="held") if s.row == "new" and mutant is not Mutant.RESUMED_UNASKED else done
    if setting == KEY:
        # Attempt 1 gets its old client id again, and the venue takes that id once: the lost ticket is one more copy.
        yield "recovered: client ids are taken once for ever", resumed
    elif setting == ENDLESS and mutant is Mutant.UNBOUNDED_FENCE_RESUMED:
        yield "recovered: the venue shows nothing", resumed
    elif setting == ENDLESS:
        parked = done._replace(row="parked") if s.row in ("new", "sent") else done
        yield "no wait can end the lost fences: parked as UNKNOWN", parked
    elif lost.signed and lost.phase < 2:
        return  # the longest fence of the lost time has not passed
    elif lost.seen and s.row in ("new", "sent"):
        yield "recovered: the lost order is found", done._replace(row="found")
    elif lost.seen and s.row == "":
        yield "recovered: an order without an intent is parked", done._replace(orphan=True)
    else:
        yield "recovered: the venue shows nothing", resumed


def _restore_ticket(s: Restore, i: int, setting: str) -> Iterator[tuple[str, Restore]]:
    t, name = s.tickets[i], f"ticket {'AB'[i]}"
    if t.held:
        yield f"{name} is sent", _ticket(s, i, t._replace(held=False, flying=True))
        yield f"the process that holds {name} crashes", _ticket(s, i, t._replace(held=False))
    if t.flying:
        landed = t._replace(flying=False)
        yield f"{name} is lost", _ticket(s, i, landed)
        taken = setting == KEY and any(other.order for other in s.tickets)
        if t.phase == 0 and not t.order and not taken:
            yield f"venue accepts {name}", _ticket(s, i, landed._replace(order="L"))
    if t.order and not t.seen:
        yield f"the order of {name} becomes visible", _ticket(s, i, t._replace(seen=True))
    if t.order == "L":
        yield f"the order of {name} fills", _ticket(s, i, t._replace(order="F"))
    in_time = (
        setting in (WINDOW, AGAIN, CANCEL)
        and t.signed
        and (i == 0 or not s.tickets[0].signed or s.tickets[0].phase == 2)
    )
    if in_time and (t.phase == 0 or (t.phase == 1 and (t.seen or not t.order))):
        yield (
            f"end of {name} passes{', and its slack' if t.phase else ''}",
            _ticket(s, i, t._replace(phase=t.phase + 1)),
        )


def _ticket(s: Restore, i: int, t: Lost) -> Restore:
    return s._replace(tickets=(t, s.tickets[1]) if i == 0 else (s.tickets[0], t))


def _restore_broken(s: Restore) -> str | None:
    first, second = (t.order for t in s.tickets)
    if first == second == "L":
        return "S1"
    if s.cancelled and s.tickets[1].signed:
        return "S7"
    if s.row == "dead" and "L" in (first, second):
        return "S2"
    if first == second == "F":
        return "S3"
    return None


def _restore_good(setting: str) -> Callable[[Restore], bool]:
    ends = {"", "found", "dead", "canceled"} | ({"parked"} if setting == ENDLESS else set())
    return lambda s: s.row in ends or (s.row == "held" and s.cancelled)


class Fencing(NamedTuple):
    """The lease row: (incarnation, epoch). A is paused with a write it decided on before the restore; ``a``: the token
    it carries.
    """

    incarnation: int = 1
    epoch: int = 1
    a: tuple[int, int] | None = None
    b: tuple[int, int] | None = None
    status: str = "WORKING"
    overwritten: bool = False


def _fencing(s: Fencing, mutant: Mutant | None) -> Iterator[tuple[str, Fencing]]:
    if s.a is None and s.incarnation == 1:
        yield "A takes over and decides on a write", s._replace(epoch=2, a=(1, 2))
    if s.a is not None and s.incarnation == 1:
        yield "a backup from before A is restored", s._replace(incarnation=2, epoch=1, status="WORKING")
    if s.incarnation == 2 and s.b is None:
        yield "B takes over", s._replace(epoch=s.epoch + 1, b=(2, s.epoch + 1))
    if s.b is not None and s.status == "WORKING":
        yield "B records FILLED", s._replace(status="FILLED")
    if s.a is not None:
        same = s.a[1] == s.epoch and (s.a[0] == s.incarnation or mutant is Mutant.EPOCH_WITHOUT_INCARNATION)
        if same:
            yield "A's write passes the check", s._replace(a=(0, 0), overwritten=s.incarnation == 2)
        else:
            yield "A's write is refused", s._replace(a=(0, 0))


def _fencing_broken(s: Fencing) -> str | None:
    return "S4" if s.overwritten else None
