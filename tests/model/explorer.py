"""A small explicit-state model checker: breadth-first search over every interleaving of a model.

A model is a value (its initial state), a function from a state to its labelled successors, and two questions about a
state: which invariant does it break, and is it a good place to end. States are hashable values, so equal states are
visited once and the first violation found has the shortest trace.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

S = TypeVar("S", bound=Hashable)

LIVENESS = "L1"


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A shortest run that breaks ``broken``: the labels of its steps, and the state it ends in."""

    broken: str
    trace: tuple[str, ...]
    state: Hashable

    def __str__(self) -> str:
        return f"{self.broken} after {len(self.trace)} steps: " + "; ".join(self.trace)


@dataclass(frozen=True, slots=True)
class Result:
    """What a search found.

    ``states``: distinct states visited. ``counterexample``: a shortest run into a state that breaks an invariant, else
    a shortest run into a state from which no good state can be reached any more, else None. ``stuck``: all such states.
    ``steps``: every label that fired somewhere, so that a test can tell a proof from a model in which nothing happens.
    """

    states: int
    counterexample: Counterexample | None
    stuck: tuple[Hashable, ...]
    steps: frozenset[str]


class TooManyStates(Exception):
    """The search passed its limit: the model is not finite, or far larger than a unit test should be."""


def explore(
    initial: S,
    successors: Callable[[S], Iterable[tuple[str, S]]],
    violated: Callable[[S], str | None],
    good: Callable[[S], bool] | None = None,
    *,
    limit: int = 200_000,
) -> Result:
    """Visit every state reachable from ``initial``.

    ``violated`` names the invariant a state breaks, or None; the search stops at the first. With ``good`` given and no
    invariant broken, checks as well that from every reachable state a good state stays reachable (AG EF good).

    Raises TooManyStates when more than ``limit`` states are found.
    """
    states: list[S] = [initial]
    index: dict[S, int] = {initial: 0}
    origin: list[tuple[int, str]] = [(-1, "")]
    predecessors: list[list[int]] = [[]]
    labels: set[str] = set()

    def trace(at: int) -> tuple[str, ...]:
        steps = []
        while at:
            at, label = origin[at]
            steps.append(label)
        return tuple(reversed(steps))

    at = 0
    while at < len(states):
        state = states[at]
        broken = violated(state)
        if broken is not None:
            return Result(len(states), Counterexample(broken, trace(at), state), (), frozenset(labels))
        for label, successor in successors(state):
            labels.add(label)
            known = index.get(successor)
            if known is None:
                known = index[successor] = len(states)
                if known >= limit:
                    raise TooManyStates(f"more than {limit} states; the last: {successor!r}")
                states.append(successor)
                origin.append((at, label))
                predecessors.append([])
            predecessors[known].append(at)
        at += 1

    stuck = _cannot_reach(good, states, predecessors) if good is not None else []
    lost = Counterexample(LIVENESS, trace(stuck[0]), states[stuck[0]]) if stuck else None
    return Result(len(states), lost, tuple(states[i] for i in stuck), frozenset(labels))


def _cannot_reach(good: Callable[[S], bool], states: list[S], predecessors: list[list[int]]) -> list[int]:
    """Indices, in order of discovery, of the states from which no good state can be reached."""
    reaches = [good(state) for state in states]
    frontier = [i for i, is_good in enumerate(reaches) if is_good]
    while frontier:
        for before in predecessors[frontier.pop()]:
            if not reaches[before]:
                reaches[before] = True
                frontier.append(before)
    return [i for i, is_good in enumerate(reaches) if not is_good]
