"""Replay schedules: ``python -m tests.simulation SEED [SEED …] [--tell] [--mutant NAME] [--search N]``."""

from __future__ import annotations

import argparse
import sys

from tests.simulation.mutants import MUTANTS, unmutated
from tests.simulation.world import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seeds", nargs="+", type=int)
    parser.add_argument("--tell", action="store_true", help="tell what happened, in order")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="with this defect planted")
    parser.add_argument("--search", type=int, default=1, metavar="N", help="run N seeds from each seed given")
    options = parser.parse_args()
    mutant = MUTANTS[options.mutant] if options.mutant else unmutated
    broken = 0
    for first in options.seeds:
        for seed in range(first, first + options.search):
            with mutant.planted() as hooks:
                outcome = run(seed, hooks, tell=options.tell, **mutant.plan)
            for line in outcome.story:
                print(line)
            if outcome.violations:
                broken += 1
                print(f"seed {seed}: {len(outcome.violations)} violations")
                for violation in outcome.violations:
                    print(f"    {violation}")
            elif options.search == 1:
                print(f"seed {seed}: nothing violated in {outcome.virtual:.0f} virtual seconds, {outcome.steps} steps")
    if options.search > 1:
        print(f"{broken} of {options.search * len(options.seeds)} seeds violated something")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
