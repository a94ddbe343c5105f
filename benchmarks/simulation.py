"""Simulated fault schedules per minute on one core. ``python -m benchmarks.simulation [SECONDS]``."""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from pathlib import Path

from benchmarks.ground import Table, baseline_seconds, cpu_seconds
from tests.simulation.world import run

BUDGET = 1000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation", description=__doc__)
    parser.add_argument("seconds", nargs="?", type=float, default=60.0, help="how long to measure")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="exk-bench-") as folder:
        baseline = baseline_seconds(Path(folder))
    raw = len(baseline) / sum(baseline)
    run(options.first)
    began, cpu = time.perf_counter(), cpu_seconds()
    schedules, virtual, steps, broken = 0, 0.0, 0, 0
    while time.perf_counter() - began < options.seconds:
        schedules += 1
        outcome = run(options.first + schedules)
        virtual += outcome.virtual
        steps += outcome.steps
        broken += bool(outcome.violations)
    seconds, used = time.perf_counter() - began, cpu_seconds() - cpu
    table = Table("Simulation, one core")
    table.start()
    rate = 60 * schedules / seconds
    table.add(
        "schedules a minute", f"{rate:.0f}", f"≥ {BUDGET}", f"{60 * raw / rate:.1f} of its orders each", rate >= BUDGET
    )
    table.add("the same by CPU time", f"{60 * schedules / used:.0f} a CPU minute")
    table.add("virtual seconds, steps of the loop, each", f"{virtual / schedules:.0f}, {steps / schedules:.0f}")
    table.add("violations", f"{broken} of {schedules}")


if __name__ == "__main__":
    main()
