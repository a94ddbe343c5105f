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


RACE = """
import threading
from exchange_kernel_ccxt.requests import load
found = []
ready = threading.Barrier(8)
def one():
    ready.wait()
    found.append(load("binance").__name__)
threads = [threading.Thread(target=one) for _ in range(8)]
for each in threads: each.start()
for each in threads: each.join()
print(len(found), set(found))
"""


def test_accounts_that_begin_at_once_all_get_it_whole() -> None:
    """Eight threads ask while it is not imported yet: each gets the whole of it, none a part."""
    done = subprocess.run([sys.executable, "-c", RACE], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["8", "{'binance'}"]
    assert done.stderr == ""
