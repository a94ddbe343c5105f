"""Submitting: one intent, an owner and its successor, crashes and pauses between any two steps, messages lost and late.

The owner A may be paused anywhere (it simply does not move), crash anywhere, or be declared dead while it still runs: B
then takes over and A is a zombie. An attempt is a ticket signed before its commit (R1, R2), sent by the task that saw
the commit succeed (R3), found by lookup or proved dead by reads whose watermark was taken before the search (R11).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from tests.model.explorer import Result, explore
from tests.model.mutants import Mutant

ATTEMPTS = 2
ORDERS = 2


class Preset(NamedTuple):
    """A fence and the venue behind it. ``end``: what proves a never-seen ticket dead; ``dedupe``: until when the venue
    refuses a second order under one key; ``by_key``: an order can be looked up by its client id."""

    repeatable: bool
    end: Literal["", "time", "height", "slot"]
    ledger: bool
    dedupe: Literal["none", "open", "forever"]
    by_key: bool = True


PRESETS = {
    "time_window, key unique while open": Preset(False, "time", False, "open"),
    "time_window, key not unique": Preset(False, "time", False, "none"),
    "sequence": Preset(True, "slot", True, "forever"),
    "height": Preset(True, "height", True, "forever"),
    "permanent_key": Preset(True, "", False, "forever"),
    "none": Preset(False, "", False, "none", by_key=False),
}
SETTINGS = tuple(PRESETS)


class Chance(NamedTuple):
    """An attempt as network and venue know it. ``phase``: 0 its end is ahead, 1 passed, 2 passed for good (slack over,
    block final). ``orders``: one letter per order made of its copies, L live or F filled. ``unfenced``: copies signed
    after the end.
    """

    flying: int = 0
    unfenced: int = 0
    phase: int = 0
    orders: str = ""
    seen: bool = False
    burning: bool = False


class Worker(NamedTuple):
    """A process. ``fresh``: the row has not changed since it was read. ``proofs``: reads that showed attempt ``n``
    absent and its end passed. ``passed``: what the last watermark said. ``only``: it saw the commit succeed and sent no
    other copy. A process does not know that it lost the account: only its commits do.
    """

    at: str
    n: int = 0
    fresh: bool = True
    proofs: int = 0
    passed: bool = False
    only: bool = False


IDLE = Worker("idle")


class State(NamedTuple):
    """SQL (attempts, dead: the last one is, outcome, owner), the venue, two processes, and one bad read the venue may
    still give.
    """

    attempts: int = 0
    dead: bool = False
    outcome: str = ""
    owner: str = "A"
    chances: tuple[Chance, ...] = (Chance(),) * ATTEMPTS
    a: Worker = IDLE
    b: Worker = Worker("off")
    bad_read: bool = False


Step = tuple[str, State]


def check(setting: str, mutant: Mutant | None = None, *, version: bool = True, epoch: bool = True) -> Result:
    """Search one preset. ``version``, ``epoch``: which of the two guards of a commit are on (R31)."""
    preset = PRESETS[setting]
    if mutant is Mutant.NO_CAS_NO_EPOCH:
        version = epoch = False
    protocol = _Protocol(preset, mutant, version, epoch)
    lagging = bool(preset.end) and not preset.ledger and mutant in (None, Mutant.ONE_READ)
    start = State(bad_read=lagging)
    return explore(start, protocol.successors, violated, good(preset))


def violated(s: State) -> str | None:
    """S1, S2, S3 as the venue would see them; S6: an intent that finished without an order has none."""
    live = [chance.orders.count("L") for chance in s.chances]
    if max(live) > 1:
        return "S1"
    if live.count(0) < ATTEMPTS - 1:
        return "S2"
    filled = sum(chance.orders.count("F") for chance in s.chances)
    if filled > 1:
        return "S3"
    if s.outcome == "expired" and any(live):
        return "S6"
    return None


def good(preset: Preset) -> Callable[[State], bool]:
    """Found, or finished unsent; parked only where no end could ever prove anything (R14)."""
    ends = {"found", "expired"} if preset.end or preset.repeatable else {"found", "expired", "parked"}
    return lambda s: s.outcome in ends


class _Protocol:
    def __init__(self, preset: Preset, mutant: Mutant | None, version: bool, epoch: bool) -> None:
        self.preset = preset
        self.mutant = mutant
        self.version = version
        self.epoch = epoch
        self.reads_needed = 1 if preset.ledger or mutant is Mutant.ONE_READ else 2
        self.final = 1 if mutant is Mutant.TIP_BELIEVED else 2
        self.repeats = preset.repeatable or mutant is Mutant.NOT_REPEATABLE_REPEATED

    def successors(self, s: State) -> Iterator[Step]:
        for k in range(s.attempts):
            yield from self.venue(s, k)
        if s.owner == "A":
            yield "B takes over", s._replace(owner="B", b=IDLE)
        yield from self.worker(s, "A", s.a)
        yield from self.worker(s, "B", s.b)

    # ---- the network and the venue ----

    def venue(self, s: State, k: int) -> Iterator[Step]:
        preset, c, name = self.preset, s.chances[k], f"copy of ticket {k + 1}"

        def put(**change: object) -> State:
            return s._replace(chances=_with(s.chances, k, self.inert(c._replace(**change))))  # type: ignore[arg-type]

        for lane in ("flying", "unfenced"):
            if not getattr(c, lane):
                continue
            landed = {lane: getattr(c, lane) - 1}
            yield f"{name} is lost", put(**landed)
            yield from self.answered(put(**landed), k, "refused", f"venue refuses {name}")
            refused = (preset.dedupe == "forever" and c.orders) or (preset.dedupe == "open" and "L" in c.orders)
            in_time = c.phase == 0 or (preset.ledger and c.phase == 1) or lane == "unfenced"
            spent = 0 if preset.end == "slot" else c.phase
            if in_time and not refused and len(c.orders) < ORDERS:
                entered = put(**landed, orders="".join(sorted(c.orders + "L")), phase=spent)
                yield f"venue accepts {name}", entered
                yield from self.answered(entered, k, "told", f"venue accepts {name}")
        if preset.ledger and c.flying:
            # Another endpoint may refuse what is in a pool already: the answer says nothing about the copy (R10).
            yield from self.answered(s, k, "refused", f"an endpoint refuses {name}, another keeps it")
        if c.orders and not c.seen:
            yield f"order {k + 1} becomes visible", put(seen=True)
        if "L" in c.orders and preset.dedupe == "open":
            # Elsewhere a filled order is to lookup and to later copies what a live one is.
            yield f"order {k + 1} fills", put(orders="".join(sorted(c.orders.replace("L", "F", 1))))
        # Deadlines pass in the order in which they were set.
        may_pass = k == 0 or s.chances[k - 1].phase > c.phase
        if preset.end in ("time", "height") and may_pass:
            if c.phase == 0:
                yield f"end of ticket {k + 1} passes", put(phase=1)
            elif c.phase == 1 and (not c.orders or c.seen):
                yield f"end of ticket {k + 1} is final", put(phase=2)
        if preset.end == "slot" and c.burning and not c.orders:
            if c.phase == 0:
                yield f"burn of number {k + 1} enters a block", put(phase=1)
            elif c.phase == 1:
                yield f"burn of number {k + 1} is final", put(phase=2)

    def answered(self, s: State, k: int, at: str, label: str) -> Iterator[Step]:
        for who, w in (("A", s.a), ("B", s.b)):
            if w.at == "waiting" and w.n == k:
                yield f"{label}, {who} is told", self.hear(s, who, w, at)

    def hear(self, s: State, who: str, w: Worker, at: str) -> State:
        """An answer to a copy. A refusal is about the ticket only if no other copy was ever sent (R9) and no pool gave
        it (R10).
        """
        believed = at == "told" or w.only or self.mutant is Mutant.ANSWER_TO_A_COPY_BELIEVED
        if at == "refused" and self.preset.ledger:
            believed = self.mutant is Mutant.BROADCAST_ANSWER_BELIEVED
        return _move(s, who, w._replace(at=at) if believed else IDLE)

    # ---- the two processes ----

    def worker(self, s: State, who: str, w: Worker) -> Iterator[Step]:
        if w.at == "off":
            return
        if w.at == "idle":
            yield from self.read_row(s, who)
            return
        yield f"{who} crashes", _move(s, who, IDLE)
        if w.at == "plan":
            yield from self.commit_attempt(s, who, w)
        elif w.at == "ticket":
            yield f"{who} sends ticket {w.n + 1}", self.send(_move(s, who, w._replace(at="waiting")), w.n, first=True)
            yield f"{who} sends ticket {w.n + 1}: NotSent", _move(s, who, w._replace(at="unsent"))
        elif w.at == "again":
            yield (
                f"{who} sends ticket {w.n + 1} again",
                self.send(_move(s, who, w._replace(at="waiting")), w.n, first=False),
            )
            yield f"{who} sends ticket {w.n + 1} again: NotSent", self.hear(s, who, w, "unsent")
        elif w.at == "waiting":
            yield f"{who} gives up waiting", _move(s, who, IDLE)
        elif w.at in ("refused", "unsent"):
            yield from self.commit(s, who, w, f"{who} records ticket {w.n + 1} as {w.at}", dead=True)
        elif w.at in ("told", "found"):
            yield from self.commit(s, who, w, f"{who} records order {w.n + 1} as found", outcome="found")
        elif w.at == "proved":
            yield from self.commit(s, who, w, f"{who} records attempt {w.n + 1} as dead", dead=True)
        elif w.at == "exhausted":
            yield from self.commit(s, who, w, f"{who} finishes EXPIRED", outcome="expired")
        else:
            yield from self.look(s, who, w)

    def read_row(self, s: State, who: str) -> Iterator[Step]:
        if s.outcome:
            return
        if s.attempts == 0 or s.dead:
            at = "plan" if s.attempts < ATTEMPTS else "exhausted"
            yield f"{who} reads the row", _move(s, who, Worker(at, s.attempts))
        else:
            # A ticket found in SQL counts as sent, whoever finds it (R3).
            at = "ticket" if self.mutant is Mutant.COMMITTED_READ_AS_UNSENT else "look"
            yield f"{who} reads the row: ticket {s.attempts}", _move(s, who, Worker(at, s.attempts - 1))

    def commit_attempt(self, s: State, who: str, w: Worker) -> Iterator[Step]:
        if not self.guarded(s, who, w):
            yield f"{who}: commit refused", _move(s, who, IDLE)
        elif s.attempts < ATTEMPTS:
            after = _move(_stale(s, who), who, Worker("ticket", s.attempts, only=True))
            yield f"{who} commits ticket {s.attempts + 1}", after._replace(attempts=s.attempts + 1, dead=False)

    def commit(self, s: State, who: str, w: Worker, label: str, **row: object) -> Iterator[Step]:
        if self.guarded(s, who, w):
            yield label, _move(_stale(s, who), who, IDLE)._replace(**row)  # type: ignore[arg-type]
        else:
            yield f"{who}: commit refused", _move(s, who, IDLE)

    def commit_repeat(self, s: State, who: str, w: Worker) -> Iterator[Step]:
        """A send needs a commit, also of a ticket sent before: it tells the task that may send it first that it is no
        longer alone.
        """
        again = w._replace(at="again", only=False, proofs=0)
        if self.mutant is Mutant.REPEATED_WITHOUT_COMMIT:
            yield f"{who} repeats ticket {w.n + 1} without a commit", _move(s, who, again)
        elif self.guarded(s, who, w):
            yield f"{who} commits that ticket {w.n + 1} is repeated", _move(_stale(s, who), who, again)

    def look(self, s: State, who: str, w: Worker) -> Iterator[Step]:
        chance = s.chances[w.n]
        name = f"{who} looks for order {w.n + 1}"
        if w.at == "look":
            if self.repeats and chance.flying < (2 if w.n == 0 else 1):
                yield from self.commit_repeat(s, who, w)
            if self.preset.end == "slot" and not chance.burning and self.guarded(s, who, w):
                burnt = s._replace(chances=_with(s.chances, w.n, chance._replace(burning=True)))
                yield f"{who} commits and sends a burn of number {w.n + 1}", burnt
            if not self.preset.by_key:
                yield from self.commit(s, who, w, f"{who} parks it as UNKNOWN", outcome="parked")
            elif self.mutant is Mutant.WATERMARK_AFTER_SEARCH:
                yield from self.search(s, who, w._replace(at="searched"), name)
            else:
                passed = chance.phase >= self.final
                yield (
                    f"{name}: watermark {'past' if passed else 'before'} the end",
                    _move(s, who, w._replace(at="marked", passed=passed)),
                )
        elif w.at == "marked":
            yield from self.search(s, who, w, name)
        elif w.at == "searched":
            yield f"{name}: watermark", self.judge(s, who, w, chance.phase >= self.final)
        elif w.at == "later" and chance.phase >= self.final:
            yield f"{who} trusts its earlier reads", _move(s, who, w._replace(at="proved"))

    def search(self, s: State, who: str, w: Worker, name: str) -> Iterator[Step]:
        seen = s.chances[w.n].seen
        if seen:
            yield f"{name}: found", _move(s, who, w._replace(at="found"))
        for missed in (False, True):
            if (missed and not (seen and s.bad_read)) or (not missed and seen):
                continue
            base = s._replace(bad_read=False) if missed else s
            label = f"{name}: absent" + (", a lagging replica says" if missed else "")
            if w.at == "searched":
                yield label, _move(base, who, w)
            else:
                yield label, self.judge(base, who, w, w.passed)

    def judge(self, s: State, who: str, w: Worker, passed: bool) -> State:
        """The state after a read that showed attempt ``w.n`` absent. ``passed``: what that read's watermark said of its
        end.
        """
        counts = passed or self.mutant in (Mutant.NOT_FOUND_BELIEVED, Mutant.QUERY_BEFORE_FENCE)
        proofs = w.proofs + 1 if counts and self.preset.end else 0
        if proofs < self.reads_needed:
            return _move(s, who, w._replace(at="look", proofs=proofs, passed=False))
        at = "later" if self.mutant is Mutant.QUERY_BEFORE_FENCE else "proved"
        return _move(s, who, w._replace(at=at, proofs=0, passed=False))

    def send(self, s: State, k: int, *, first: bool) -> State:
        chance = s.chances[k]
        copies = 2 if first and self.mutant is Mutant.HTTP_RETRY else 1
        if self.mutant is Mutant.SIGN_AFTER_COMMIT and chance.phase:
            return s._replace(chances=_with(s.chances, k, chance._replace(unfenced=chance.unfenced + 1)))
        flown = self.inert(chance._replace(flying=min(2, chance.flying + copies)))
        return s._replace(chances=_with(s.chances, k, flown))

    def inert(self, c: Chance) -> Chance:
        """Copies that can no longer have an effect are not carried along: fewer states, the same runs."""
        over = c.phase == 2 or (self.preset.dedupe == "forever" and c.orders)
        return c._replace(flying=0) if over and c.flying else c

    def guarded(self, s: State, who: str, w: Worker) -> bool:
        return (w.fresh or not self.version) and (s.owner == who or not self.epoch)


def _with(chances: tuple[Chance, ...], k: int, chance: Chance) -> tuple[Chance, ...]:
    return (*chances[:k], chance, *chances[k + 1 :])


def _move(s: State, who: str, w: Worker) -> State:
    return s._replace(a=w) if who == "A" else s._replace(b=w)


def _stale(s: State, writer: str) -> State:
    """The other process no longer holds the newest version of the row."""
    if writer == "A":
        return s._replace(b=s.b._replace(fresh=False)) if s.b.at not in ("off", "idle") else s
    return s._replace(a=s.a._replace(fresh=False)) if s.a.at not in ("off", "idle") else s
