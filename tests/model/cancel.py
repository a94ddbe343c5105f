"""Cancelling: the user's cancel races a ticket that is committed and perhaps sent, perhaps held by a paused owner.

The rules: no ticket is committed after the cancel, one committed before is re-checked just before its send (R20, R4),
CANCELED is claimed only when the order is closed or the attempt proved dead (R20), a refused cancel proves nothing
(R21), and a permanent key proves nothing by absence: it is consumed by an order that rests, else parked (R13). How a
read proves absence is the submit model's business; here one step reads and judges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from tests.model.explorer import Result, explore
from tests.model.mutants import Mutant


class Preset(NamedTuple):
    """A fence, and whether the order ``rests`` or trades the moment it arrives."""

    repeatable: bool
    end: Literal["", "time", "slot"]
    rests: bool = True
    by_key: bool = True


PRESETS = {
    "time_window": Preset(False, "time"),
    "sequence": Preset(True, "slot"),
    "height": Preset(True, "time"),
    "permanent_key, order rests": Preset(True, ""),
    "permanent_key, order can trade at once": Preset(True, "", rests=False),
    "none": Preset(False, "", by_key=False),
}
SETTINGS = tuple(PRESETS)


class State(NamedTuple):
    """``order``: "" none, L live, F filled, X cancelled. ``consuming``: a copy sent after the cancel to use the key up;
    ``forced``: the order came from it. ``unwanted``: a copy was sent although the cancel was there to be seen.
    ``late``: a ticket was committed after it.
    """

    wanted: bool = True
    status: str = ""
    owner: str = "A"
    ticket: bool = False
    flying: int = 0
    consuming: bool = False
    phase: int = 0
    burning: bool = False
    order: str = ""
    seen: bool = False
    cancelling: bool = False
    a: str = "idle"
    b: str = "off"
    forced: bool = False
    unwanted: bool = False
    late: bool = False


Step = tuple[str, State]


def check(setting: str, mutant: Mutant | None = None) -> Result:
    """Search one preset."""
    preset = PRESETS[setting]
    return explore(State(), _Protocol(preset, mutant).successors, violated(preset), good(preset))


def violated(preset: Preset) -> Callable[[State], str | None]:
    """S7: CANCELED only with proof, no send and no commit against a cancel. R13: no trade that only consuming made."""

    def broken(s: State) -> str | None:
        if s.late or s.unwanted or (s.status == "CANCELED" and s.order in ("L", "F")):
            return "S7"
        if s.forced and s.order == "F" and not preset.rests:
            return "R13"
        return None

    return broken


def good(preset: Preset) -> Callable[[State], bool]:
    """A cancelled intent ends (L6); parked only where no end and no key can prove anything."""
    ends = {"CANCELED", "FILLED"}
    if not preset.end and not (preset.repeatable and preset.rests):
        ends.add("PARKED")
    return lambda s: s.wanted or s.status in ends


class _Protocol:
    def __init__(self, preset: Preset, mutant: Mutant | None) -> None:
        self.preset = preset
        self.mutant = mutant

    def successors(self, s: State) -> Iterator[Step]:
        if s.wanted and not s.status:
            yield "the user cancels", s._replace(wanted=False)
        if s.ticket:
            yield from self.venue(s)
        if s.owner == "A":
            yield "B takes over", s._replace(owner="B", b="idle")
        yield from self.sender(s)
        if not s.status and (s.a if s.owner == "A" else s.b) == "idle":
            if s.ticket:
                yield from self.recover(s, s.owner)
            elif not s.wanted:
                yield f"{s.owner} finds no ticket: CANCELED", s._replace(status="CANCELED")

    def venue(self, s: State) -> Iterator[Step]:
        lanes = (
            ("a copy", s.flying > 0, s._replace(flying=s.flying - 1)),
            ("the consuming copy", s.consuming, s._replace(consuming=False)),
        )
        for name, flies, landed in lanes:
            if not flies:
                continue
            yield f"{name} is lost", landed
            if s.phase == 0 and not s.order:
                forced = s.forced or name == "the consuming copy"
                entered = landed._replace(order="L" if self.preset.rests else "F", forced=forced)
                yield f"venue accepts {name}", entered
                if s.a == "waiting":
                    yield f"venue accepts {name}, A is told", entered._replace(seen=True, a="idle")
        if s.order and not s.seen and self.preset.by_key:
            yield "the order becomes visible", s._replace(seen=True)
        if s.order == "L":
            yield "the order fills", s._replace(order="F")
        if s.cancelling:
            yield "the cancel is lost", s._replace(cancelling=False)
            if s.order == "L":
                yield "the cancel takes effect", s._replace(cancelling=False, order="X")
            else:
                refused = s._replace(cancelling=False)
                if self.mutant is Mutant.CANCELED_WITHOUT_PROOF and not s.status:
                    refused = refused._replace(status="CANCELED")
                yield "venue refuses the cancel: unknown order", refused
        may_end = not s.order or (s.seen and self.preset.end == "time")
        if s.phase < 2 and may_end and (self.preset.end == "time" or s.burning):
            yield ("the end passes", "the end is final")[s.phase], s._replace(phase=s.phase + 1)
        elif s.phase == 0 and self.preset.end == "time":
            yield "the end passes", s._replace(phase=1)

    def sender(self, s: State) -> Iterator[Step]:
        """A on its way from the row to the send."""
        if s.a in ("plan", "ticket", "go", "stop", "waiting"):
            yield "A crashes", s._replace(a="idle")
        if s.a == "idle" and s.wanted and not s.ticket and not s.status:
            yield "A reads the row", s._replace(a="plan")
        elif s.a == "plan":
            if s.owner == "A" and not s.status and (s.wanted or self.mutant is Mutant.ATTEMPT_OUTSIDE_CAS):
                yield "A commits the ticket", s._replace(a="ticket", ticket=True, late=not s.wanted)
            else:
                yield "A: commit refused", s._replace(a="idle")
        elif s.a == "ticket":
            if self.mutant is Mutant.CANCEL_NOT_RECHECKED:
                yield "A sends unchecked", s._replace(a="waiting", flying=s.flying + 1, unwanted=not s.wanted)
            else:
                yield "A checks the intent before it sends", s._replace(a="go" if s.wanted and not s.status else "stop")
        elif s.a == "go":
            yield "A sends", s._replace(a="waiting", flying=s.flying + 1)
        elif s.a == "stop":
            # Only the task that alone could have sent may say so, and only while it owns the account.
            if s.owner == "A" and not s.status:
                yield "A records NotSent, finishes CANCELED", s._replace(a="idle", status="CANCELED")
            else:
                yield "A: commit refused", s._replace(a="idle")
        elif s.a == "waiting":
            yield "A gives up waiting", s._replace(a="idle")

    def recover(self, s: State, who: str) -> Iterator[Step]:
        """The owner finds the ticket in SQL: it counts as sent (R3)."""
        preset = self.preset
        if s.wanted:
            if preset.repeatable and s.flying < 2:
                yield f"{who} sends it again", s._replace(flying=s.flying + 1)
            return
        if s.seen and s.order == "X":
            yield f"{who} finds it cancelled: CANCELED", s._replace(status="CANCELED")
        elif s.seen and s.order == "F":
            yield f"{who} finds it filled: FILLED", s._replace(status="FILLED")
        elif not s.cancelling and (s.seen or preset.by_key):
            yield f"{who} sends the cancel", s._replace(cancelling=True)
        if s.seen:
            return
        if preset.end == "slot" and not s.burning and self.mutant is not Mutant.NEVER_BURNT:
            yield f"{who} burns the number", s._replace(burning=True)
        if preset.end and s.phase == 2:
            yield f"{who} reads absent after the end: CANCELED", s._replace(status="CANCELED")
        if self.mutant is Mutant.COMMITTED_READ_AS_UNSENT:
            yield f"{who} takes the ticket for unsent: CANCELED", s._replace(status="CANCELED")
        if preset.end:
            return
        if self.mutant is Mutant.KEY_NOT_CONSUMED:
            yield f"{who} reads the key absent: CANCELED", s._replace(status="CANCELED")
        elif preset.repeatable and (preset.rests or self.mutant is Mutant.CONSUMED_THOUGH_IT_TRADES):
            if not s.consuming:
                yield f"{who} sends the ticket to consume its key", s._replace(consuming=True)
        else:
            yield f"{who} parks it as UNKNOWN", s._replace(status="PARKED")
