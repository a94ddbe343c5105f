"""Numbers of a chain: one address, intents X and Y, pools that forget or contradict each other, reorgs, a gap, a
foreign transaction.

A number belongs to one attempt (S9) and is decided by the final transaction that carries it, never by an endpoint's
answer (R10, R13). Tickets of one attempt may replace each other under its number; a number that no ticket will use is
burnt (R26, R27); nothing above a gap is broadcast. In transactions, ``X1`` is attempt 1 of X, ``x1`` its replacement
with a higher fee, ``-`` a burn, ``?`` foreign.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tests.model.explorer import Result, explore
from tests.model.mutants import Mutant

PLAIN, CANCELLED, FOREIGN, LIMBO = (
    "two intents",
    "first ticket will not be sent",
    "foreign transaction",
    "commit of unknown outcome",
)
SETTINGS = (PLAIN, CANCELLED, FOREIGN, LIMBO)
NUMBERS = 3


class Number(NamedTuple):
    """``held``: the attempt it belongs to in SQL. ``tickets``: those committed under it. ``loose``: transactions some
    pool or peer may still hold; once broadcast, a transaction can be mined until the number is spent. ``mined``,
    ``final``: the chain.
    """

    held: str = ""
    tickets: tuple[str, ...] = ()
    loose: tuple[str, ...] = ()
    mined: str = ""
    final: bool = False


class State(NamedTuple):
    """``live``: attempts of X and Y not ended in SQL. ``made``: attempts so far. ``done``: intents that ended.
    ``dropped``: attempts whose own sender said NotSent. ``limbo``: (attempt, number) of a commit that may still land.
    ``twice``: a number got a second attempt.
    """

    numbers: tuple[Number, ...] = (Number(),) * NUMBERS
    live: tuple[str, ...] = ()
    made: tuple[int, int] = (0, 0)
    done: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    limbo: tuple[str, int] | None = None
    lost: bool = False
    twice: bool = False


Step = tuple[str, State]


def check(setting: str, mutant: Mutant | None = None) -> Result:
    """Search one setting."""
    protocol = _Protocol(setting, mutant)
    return explore(State(), protocol.successors, violated, lambda s: len(s.done) == 2)


def violated(s: State) -> str | None:
    """S9: one attempt per number, no broadcast above a gap. S3: no intent is executed by two transactions."""
    if s.twice:
        return "S9"
    gap = False
    for number in s.numbers:
        if gap and (number.loose or number.mined):
            return "S9"
        gap = gap or not (number.loose or number.mined)
    for intent in "XY":
        if sum(number.mined[:1].upper() == intent for number in s.numbers) > 1:
            return "S3"
    return None


class _Protocol:
    def __init__(self, setting: str, mutant: Mutant | None) -> None:
        self.setting = setting
        self.mutant = mutant

    def successors(self, s: State) -> Iterator[Step]:
        yield from self.chain(s)
        for i, intent in enumerate("XY"):
            if intent not in s.done and not any(a[0] == intent for a in s.live):
                yield from self.take(s, i, intent)
        if s.limbo is not None:
            yield from self.limbo_lands(s, *s.limbo)
        for n, number in enumerate(s.numbers):
            if number.held:
                yield from self.serve(s, n, number)

    # ---- the chain ----

    def chain(self, s: State) -> Iterator[Step]:
        for n, number in enumerate(s.numbers):
            if self.setting == FOREIGN and n == 0 and not number.mined and "?" not in number.loose:
                yield "another wallet signs with number 0", _put(s, n, number._replace(loose=_add(number.loose, "?")))
            if not number.mined:
                for tx in number.loose:
                    yield f"{tx} is mined as number {n}", _put(s, n, number._replace(mined=tx))
                return
            if not number.final:
                if n + 1 == NUMBERS or not s.numbers[n + 1].mined:
                    yield f"a reorg takes {number.mined} out of number {n}", _put(s, n, number._replace(mined=""))
                if all(before.final for before in s.numbers[:n]):
                    yield f"{number.mined} is final as number {n}", _put(s, n, number._replace(final=True))

    # ---- the sequencer ----

    def take(self, s: State, i: int, intent: str) -> Iterator[Step]:
        n = next((n for n, number in enumerate(s.numbers) if not number.held), None)
        if n is None or s.made[i] == 2:
            if intent not in s.done and s.made[i] == 2:
                yield f"{intent} finishes EXPIRED", s._replace(done=_add(s.done, intent))
            return
        if s.limbo is not None and s.limbo[0][0] == intent:
            return  # the row is being read back; its own version guards the intent
        attempt = f"{intent}{s.made[i] + 1}"
        made = (s.made[0] + 1, s.made[1]) if i == 0 else (s.made[0], s.made[1] + 1)
        yield f"{attempt} is committed with number {n}", self.hold(s._replace(made=made), attempt, n)
        if self.setting == LIMBO and not s.lost:
            yield (
                f"the commit of {attempt} with number {n} is delayed, its answer lost",
                s._replace(made=made, limbo=(attempt, n), lost=True),
            )

    def hold(self, s: State, attempt: str, n: int) -> State:
        number = s.numbers[n]
        held = number._replace(held=attempt, tickets=_add(number.tickets, attempt))
        return _put(s, n, held)._replace(live=_add(s.live, attempt), twice=bool(number.held))

    def limbo_lands(self, s: State, attempt: str, n: int) -> Iterator[Step]:
        i = "XY".index(attempt[0])
        back = (s.made[0] - 1, s.made[1]) if i == 0 else (s.made[0], s.made[1] - 1)
        failed = s._replace(limbo=None, made=back)
        # (scope, number) is a key: whoever commits second is refused, which is what makes the failure provable.
        if not s.numbers[n].held or self.mutant is Mutant.NUMBER_REUSED_IN_LIMBO:
            yield f"the commit of {attempt} lands", self.hold(s._replace(limbo=None), attempt, n)
        else:
            yield f"the commit of {attempt} is refused: number {n} is taken", failed
        if not s.numbers[n].held:
            yield f"the commit of {attempt} is refused by the lost connection's end", failed

    def serve(self, s: State, n: int, number: Number) -> Iterator[Step]:
        attempt = number.held
        if self.setting == CANCELLED and attempt == "X1" and not number.loose and attempt not in s.dropped and n == 0:
            # The one task that could send it finds the intent cancelled: NotSent, for good (R20).
            dropped = s._replace(
                dropped=_add(s.dropped, attempt), live=_remove(s.live, attempt), done=_add(s.done, "X")
            )
            yield f"{attempt} is cancelled before it is sent", dropped
        if number.final or (number.mined and self.mutant is Mutant.TIP_BELIEVED):
            yield from self.decided(s, n, number)
            return
        if attempt in s.live:
            for tx in (t for t in number.tickets if t != "-"):
                yield from self.broadcast(s, n, tx)
            replacement = attempt.lower()
            if replacement == "x1" and self.setting == PLAIN and replacement not in number.tickets and number.loose:
                yield (
                    f"{replacement} is committed under number {n}",
                    _put(s, n, number._replace(tickets=_add(number.tickets, replacement))),
                )
        lowest = all(before.mined for before in s.numbers[:n])
        stuck = self.setting == PLAIN and attempt == "X1" and bool(number.loose)
        fills = self.mutant not in (Mutant.GAP_LEFT_OPEN, Mutant.NEVER_BURNT)
        wanted = stuck or (attempt in s.dropped and fills)
        if lowest and wanted and "-" not in number.tickets:
            yield (
                f"a burn is committed under number {n}",
                _put(s, n, number._replace(tickets=_add(number.tickets, "-"))),
            )
        if "-" in number.tickets:
            yield from self.broadcast(s, n, "-")

    def broadcast(self, s: State, n: int, tx: str) -> Iterator[Step]:
        number = s.numbers[n]
        below = all(before.loose or before.mined or self.forgets(s, before) for before in s.numbers[:n])
        if number.mined or not below:
            return
        if tx not in number.loose:
            yield f"{tx} is broadcast as number {n}", _put(s, n, number._replace(loose=_add(number.loose, tx)))
        if self.mutant is Mutant.BROADCAST_ANSWER_BELIEVED and number.held in s.live and tx != "-":
            yield (
                f"an endpoint refuses {tx}: {number.held} is taken for rejected",
                s._replace(live=_remove(s.live, number.held)),
            )

    def forgets(self, s: State, number: Number) -> bool:
        return self.mutant is Mutant.GAP_LEFT_OPEN and number.held in s.dropped

    def decided(self, s: State, n: int, number: Number) -> Iterator[Step]:
        """The number is spent, finally: its attempt ends (R13)."""
        attempt = number.held
        if attempt not in s.live:
            return
        known = number.tickets[-1:] if self.mutant is Mutant.REPLACED_TICKET_FORGOTTEN else number.tickets
        ended = s._replace(live=_remove(s.live, attempt))
        if number.mined in known and number.mined != "-":
            yield f"{attempt} is found executed", ended._replace(done=_add(s.done, attempt[0]))
        else:
            yield f"number {n} is spent by another: {attempt} is dead", ended


def _add(items: tuple[str, ...], item: str) -> tuple[str, ...]:
    return tuple(sorted({*items, item}))


def _remove(items: tuple[str, ...], item: str) -> tuple[str, ...]:
    return tuple(i for i in items if i != item)


def _put(s: State, n: int, number: Number) -> State:
    return s._replace(numbers=(*s.numbers[:n], number, *s.numbers[n + 1 :]))
