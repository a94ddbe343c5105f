"""The folder of things downloaded for tests: one per user, filled atomically, safe under several processes at once."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["CACHE_VARIABLE", "cache_folder", "cached"]

CACHE_VARIABLE = "EXK_TEST_CACHE"


def cache_folder() -> Path:
    """Where downloads are kept: `$EXK_TEST_CACHE`, else `exchange-kernel` in the user's cache folder."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "exchange-kernel"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "exchange-kernel"


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """The cached folder of this name, made by `make` in a temporary folder when it is not there yet.

    It appears whole or not at all; of several processes that ask at once, one makes it and the others wait for it.
    What `make` raises is raised, and nothing is left behind.
    """
    root = cache_folder()
    wanted = root / name
    if wanted.is_dir():
        return wanted
    root.mkdir(parents=True, exist_ok=True)
    # The lock ends with the process that holds it: a killed download holds up nobody.
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not wanted.is_dir():
            draft = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=root))
            try:
                make(draft)
                draft.rename(wanted)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    return wanted
