"""The proof by simulation: fresh seeds in which nothing may be violated, every past failing seed, and every mutant
killed.

``EXK_SEEDS`` sets how many fresh seeds, ``EXK_SEED_START`` where they begin; a failing one is printed with the
command that
replays it.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.simulation.mutants import ELSEWHERE, MUTANTS
from tests.simulation.pinned import KILLERS, PAST
from tests.simulation.world import run

FRESH = int(os.environ.get("EXK_SEEDS", "2000"))
START = int(os.environ.get("EXK_SEED_START", "0"))
PARTS = 8
ENOUGH = 250
"""Seeds from which on a part must have seen every fault and every decision."""

MUST_HAPPEN = frozenset(
    [
        f"fault:{kind}"
        for kind in (
            "not_sent",
            "request_lost",
            "answer_lost",
            "late",
            "delay",
            "duplicate",
            "rate_limit",
            "unavailable",
            "error_after",
            "garbled",
            "query_lag",
            "engine_delay",
            "misleading",
            "forgotten",
            "event_drop",
            "event_duplicate",
            "event_reorder",
            "disconnect",
        )
    ]
    + [
        f"decision:{kind}"
        for kind in (
            "Submit",
            "AmendOrder",
            "CancelOrder",
            "Resend",
            "Query",
            "BurnNumber",
            "CloseDead",
            "CloseForgotten",
            "Finish",
            "SettleOrder",
            "ReplaceOrder",
            "SettleOrder",
            "ReplaceOrder",
            "Park",
            "Wait",
        )
    ]
    + [f"end:{status}" for status in ("FILLED", "CANCELED", "EXPIRED", "REJECTED", "WORKING")]
    + [f"foreign:{what}" for what in ("placed", "amend", "cancel", "filled", "told")]
    + [
        "watched",
        "settlement",
        "fee moved",
        "enabled",
        "enabled again, for more",
        "restored",
        "commit_unknown",
        "store_unavailable",
        "event:RecoveryFinished",
        "event:AttemptProvedDead",
        "event:OrderModified",
        "event:OrderOutcomeUnknown",
        "event:DriftDetected",
    ]
)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of planned failures need no log."""
    caplog.set_level("CRITICAL")


@pytest.mark.parametrize("part", range(PARTS))
def test_no_fresh_seed_violates_anything(part: int) -> None:
    """Under every drawn mix of faults every promise holds, by the venue's own ledger; and every fault really
    happened."""
    counts: Counter[str] = Counter()
    broken: list[str] = []
    seeds = range(START + part, START + FRESH, PARTS)
    for seed in seeds:
        outcome = run(seed)
        counts.update(outcome.counts)
        if outcome.violations:
            broken.append(f"uv run python -m tests.simulation {seed} --tell\n    " + "\n    ".join(outcome.violations))
    assert not broken, f"{len(broken)} of {len(seeds)} seeds:\n" + "\n".join(broken)
    if len(seeds) >= ENOUGH:
        missing = sorted(name for name in MUST_HAPPEN if not counts[name])
        assert not missing, f"never happened in {len(seeds)} seeds, so nothing was proved about it: {missing}"
        points = {name for name in counts if name.startswith("crash@")}
        assert len(points) >= 20, f"crashes hit only {sorted(points)}"


@pytest.mark.parametrize("seed", PAST)
def test_a_seed_that_once_failed_never_fails_again(seed: int) -> None:
    """Every schedule that once found a defect stays."""
    assert run(seed).violations == []


@pytest.mark.parametrize("seed", [3, 130, 219])
def test_a_seed_decides_everything(seed: int) -> None:
    """The same seed runs the same schedule, event for event."""
    first, second = run(seed, tell=True), run(seed, tell=True)
    assert (first.story, first.counts, first.steps) == (second.story, second.counts, second.steps)


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_every_mutant_is_killed(name: str) -> None:
    """A planted defect is convicted by an invariant it breaks: by its pinned seed, else within 600 fresh ones."""
    mutant = MUTANTS[name]
    seeds = [KILLERS[name]] if name in KILLERS else []
    for seed in [*seeds, *range(600)]:
        with mutant.planted() as hooks:
            outcome = run(seed, hooks, **mutant.plan)
        if any(violation.split(":")[0] in mutant.kills for violation in outcome.violations):
            return
    pytest.fail(f"{name} ({mutant.rule}) survived: the proof has a hole")


@pytest.mark.parametrize("name", sorted(name for name in KILLERS if MUTANTS[name].plan))
def test_the_plan_of_a_mutant_is_innocent(name: str) -> None:
    """What convicts a mutant is its defect, not the schedule it is tried on."""
    outcome = run(KILLERS[name], **MUTANTS[name].plan)
    assert outcome.violations == []


def test_the_list_of_mutants_is_complete() -> None:
    """PROTOCOL names twenty mutants; nineteen of them are planted here, one waits for its feature and is killed in the
    model. Three more are about what an order needs first, and two about what it needs at the venue."""
    assert len(MUTANTS) + len(ELSEWHERE) == 20 + 3 + 2
