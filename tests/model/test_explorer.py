"""The explorer on graphs small enough to check by eye."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.model.explorer import TooManyStates, explore


def _count(s: int) -> Iterator[tuple[str, int]]:
    """0 to 9, one or two at a time; 7 leads nowhere."""
    if s != 7:
        yield "one", min(s + 1, 9)
        yield "two", min(s + 2, 9)


def test_all_states_are_visited_once() -> None:
    """A search without violation counts each reachable state once."""
    result = explore(0, _count, lambda s: None)

    assert (result.states, result.counterexample, result.stuck) == (10, None, ())
    assert result.steps == {"one", "two"}


def test_the_counterexample_is_a_shortest_run() -> None:
    """Of all runs into a bad state the one with the fewest steps is reported, with its labels in order."""
    found = explore(0, _count, lambda s: "S" if s == 5 else None).counterexample

    assert found is not None
    assert (found.broken, found.state, len(found.trace)) == ("S", 5, 3)
    assert sorted(found.trace) == ["one", "two", "two"]
    assert str(found).startswith("S after 3 steps: ")


def test_a_bad_initial_state_is_found() -> None:
    """The initial state is checked too, and its run has no steps."""
    found = explore(0, _count, lambda s: "S").counterexample

    assert found is not None
    assert found.trace == ()


def test_a_state_without_a_way_to_a_good_one_is_stuck() -> None:
    """A dead end that is not good breaks liveness, though good states are reachable from elsewhere."""
    result = explore(0, _count, lambda s: None, lambda s: s == 9)

    assert result.stuck == (7,)
    assert result.counterexample is not None
    assert (result.counterexample.broken, result.counterexample.state) == ("L1", 7)
    assert len(result.counterexample.trace) == 4


def test_a_cycle_without_a_good_state_is_stuck() -> None:
    """Being able to move for ever is not progress."""
    result = explore(0, lambda s: [("turn", (s + 1) % 3)], lambda s: None, lambda s: False)

    assert result.stuck == (0, 1, 2)


def test_safety_comes_before_liveness() -> None:
    """A broken invariant is reported as such, even where states are stuck as well."""
    found = explore(0, _count, lambda s: "S" if s == 9 else None, lambda s: False).counterexample

    assert found is not None
    assert found.broken == "S"


def test_an_endless_model_is_refused() -> None:
    """A model that is not finite is an error of its author, and is reported instead of filling the memory."""
    with pytest.raises(TooManyStates, match="more than 50 states"):
        explore(0, lambda s: [("up", s + 1)], lambda s: None, limit=50)
