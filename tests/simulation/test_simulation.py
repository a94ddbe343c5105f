"""The proof by simulation: fresh seeds in which nothing may be violated, every past failing seed, and every mutant killed."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.simulation.world import run

FRESH = int(os.environ.get("EXK_SEEDS", "2000"))
START = int(os.environ.get("EXK_SEED_START", "0"))
CHUNK = 50


def replay(seed: int) -> str:
    """The command that replays a seed."""
    return f"uv run python -m tests.simulation {seed}"


@pytest.mark.parametrize("start", range(START, START + FRESH, CHUNK))
def test_no_fresh_seed_violates_anything(start: int, sim_counts: Counter[str]) -> None:
    """Under every drawn combination of faults, every promise holds, by the venue's own ledger."""
    broken = []
    for seed in range(start, start + CHUNK):
        outcome = run(seed)
        sim_counts.update(outcome.counts)
        if outcome.violations:
            broken.append(f"{replay(seed)}\n    " + "\n    ".join(outcome.violations))
    assert not broken, "\n".join(broken)
