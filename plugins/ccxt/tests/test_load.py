"""Loading ccxt once, and what that leaves to the garbage collector."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc, weakref
from exchange_kernel_ccxt.requests import load
class Cycle: pass
made = Cycle(); made.own = made; seen = weakref.ref(made); gc.disable(); del made; gc.enable()
kind = load("binance")
assert gc.isenabled()
assert kind is load("binance")
print(kind.__name__, gc.get_freeze_count() > 50_000, len(gc.get_objects()) < 50_000, seen() is None)
"""


def test_what_stays_for_good_is_not_looked_through() -> None:
    """After ccxt was loaded a full collection has little to look at, and collections still happen; what was garbage
    before is gone, not kept for good."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["binance", "True", "True", "True"]
