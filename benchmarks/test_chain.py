"""How long a test run waits for the Uniswap stack, and what a test's isolation costs.

uv run python -m benchmarks.test_chain [ROUNDS]
"""

from __future__ import annotations

import sys
import time
from statistics import mean, median

from exchange_kernel_evm.testing import find_anvil
from exchange_kernel_uniswap.testing import artifacts, uniswap_stack

LIMIT_S = 2.0


def main(rounds: int = 10) -> int:
    began = time.perf_counter()
    find_anvil()
    artifacts()
    print(f"program and contracts: {time.perf_counter() - began:.2f} s (a download the first time, then the cache)")
    starts: list[float] = []
    turns: list[float] = []
    for _ in range(rounds):
        began = time.perf_counter()
        with uniswap_stack() as stack:
            starts.append(time.perf_counter() - began)
            for _ in range(20):
                began = time.perf_counter()
                with stack.chain.isolated():
                    pass
                turns.append(time.perf_counter() - began)
    print(f"upstream, stack and fork ready: mean {mean(starts):.2f} s, worst {max(starts):.2f} s of {rounds} rounds")
    print(f"snapshot and revert: median {median(turns) * 1000:.1f} ms")
    print(f"worst below {LIMIT_S} s: {'yes' if max(starts) < LIMIT_S else 'NO'}")
    return 0 if max(starts) < LIMIT_S else 1


if __name__ == "__main__":
    raise SystemExit(main(*map(int, sys.argv[1:2])))
