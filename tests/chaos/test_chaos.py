"""Real processes, real servers, real signals, for two minutes; and the shortcuts that must not survive it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.chaos.mutants import MUTANTS
from tests.chaos.plan import KINDS, Size, draw
from tests.chaos.run import run

SEED = 7
TRIES = 3
"""What a process does when it is stopped, no seed decides: a defect gets so many runs to show."""


def test_a_plan_is_its_seed_and_every_kind_of_fault_comes_first() -> None:
    """The same seed draws the same faults, another one others; none is left to chance alone."""
    plan = draw(SEED, 600.0, 2.0, 3)

    assert plan == draw(SEED, 600.0, 2.0, 3)
    assert plan != draw(SEED + 1, 600.0, 2.0, 3)
    assert {fault.kind for fault in plan[: len(KINDS)]} == set(KINDS)
    assert [fault.at for fault in plan] == sorted(fault.at for fault in plan)
    assert all(fault.kind.low <= fault.lasts <= fault.kind.high for fault in plan)


def test_what_is_spared_never_fails() -> None:
    """A target, or one kind of fault, can be left out."""
    plan = draw(SEED, 600.0, 2.0, 3, without=("venue", "worker drained"))

    assert {"venue", "worker drained"}.isdisjoint({fault.kind.target for fault in plan} | {str(f.kind) for f in plan})
    assert "worker killed" in {str(fault.kind) for fault in plan}


@pytest.mark.timeout(600)
def test_two_minutes_of_chaos_double_and_lose_nothing(tmp_path: Path) -> None:
    """Three workers, an API, 60 accounts: whatever is killed, stopped, cut and restarted, every acknowledged intent
    arrives where it is wanted, once."""
    report = asyncio.run(run(SEED, Size(intents=800, rate=10.0, every=3.0), folder=tmp_path))

    assert not report.broken, "\n".join(report.lines())
    assert report.users["placed"] == 800, "\n".join(report.lines())
    assert report.faults.total() >= 20, "\n".join(report.lines())
    assert report.ends["takeovers"] > 0, "no account ever changed hands"
    assert any(report.venue_faults.values()), "the venue never lost anything"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", MUTANTS)
def test_a_shortcut_is_convicted(name: str, tmp_path: Path) -> None:
    """Workers that take the shortcut break the rule it stands for."""
    mutant = MUTANTS[name]
    told: list[str] = []
    for seed in range(mutant.seed, mutant.seed + TRIES):
        folder = tmp_path / str(seed)
        folder.mkdir()
        report = asyncio.run(run(seed, mutant.narrowed, mutant=name, folder=folder))
        if {each.partition(":")[0] for each in report.broken} & set(mutant.kills):
            return
        told += report.lines()
    pytest.fail(f"{name} survived:\n" + "\n".join(told))
