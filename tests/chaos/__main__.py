"""``python -m tests.chaos [--minutes N] [--intents N] [--seed S]``: the long run; it ends by itself and reports."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from random import SystemRandom
from typing import Any

from tests.chaos.mutants import MUTANTS
from tests.chaos.plan import Size
from tests.chaos.run import Report, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=40.0, help="how long intents are declared and things fail")
    parser.add_argument("--intents", type=int, help="how many; 20,000 in 40 minutes by default")
    parser.add_argument("--faults", type=int, help="how many; 8 a minute by default")
    parser.add_argument("--accounts", type=int, default=60)
    parser.add_argument("--seed", type=int, help="of the faults and of the users; drawn and printed by default")
    parser.add_argument(
        "--mutant", choices=sorted(MUTANTS), default="", help="this defect in all workers, a run of its own"
    )
    parser.add_argument("--logs", type=Path, help="where the processes' logs go")
    parser.add_argument("--without", action="append", default=[], help="a target or kind of fault to leave out")
    options = parser.parse_args()
    seed = SystemRandom().randrange(10**6) if options.seed is None else options.seed
    seconds = 60 * options.minutes
    intents = options.intents or round(500 * options.minutes)
    faults = options.faults or round(8 * options.minutes)
    without = tuple(options.without)
    size = Size(intents, intents / seconds, seconds / (faults + 1), options.accounts, without=without)
    if options.mutant:
        mutant = MUTANTS[options.mutant]
        size, seed = mutant.narrowed, mutant.seed if options.seed is None else options.seed
    if options.logs is not None:
        options.logs.mkdir(parents=True, exist_ok=True)
    report = asyncio.run(_ended_in_order(run(seed, size, mutant=options.mutant, folder=options.logs)))
    print("\n".join(report.lines()))
    return 1 if report.broken else 0


async def _ended_in_order(running: Coroutine[Any, Any, Report]) -> Report:
    """Interrupted, it leaves no process behind."""
    task = asyncio.ensure_future(running)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


if __name__ == "__main__":
    sys.exit(main())
