"""Trying plugins in a child process, by either of its two ways."""

from __future__ import annotations

import json
import sys
import textwrap
import threading
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from core.tests.plugins.broken import publish_broken
from core.tests.plugins.distributions import publish, python, venues
from exchange_kernel.plugins import GROUP
from exchange_kernel.plugins.probe import try_out

NAMES = ("good", "sleeps", "dies", "divides", "spins", "other")
PROGRAM = """
    import json, sys, threading
    from importlib.metadata import EntryPoint
    from exchange_kernel.plugins.probe import try_out
    {before}
    points = [EntryPoint(name, f"exk_{{name}}", "exchange_kernel") for name in {names!r}]
    print(json.dumps([try_out(points, 1.0), sorted(name for name in sys.modules if name.startswith("exk_"))]))
"""
THREAD = "threading.Thread(target=threading.Event().wait, daemon=True).start()"


@pytest.mark.parametrize("before", ["", THREAD], ids=["fork", "spawn"])
def test_only_what_cannot_be_loaded_here_is_told(tmp_path: Path, before: str) -> None:
    """A plugin that blocks or ends its process is named, one that merely raises is not, and none is imported here."""
    publish_broken(tmp_path, "sleeps", "dies", "divides", "spins")
    for name in ("good", "other"):
        publish(tmp_path, name, venues(name) + "\nprint('chatter' * 100000)\n")
    done = python(tmp_path, PROGRAM.format(before=before, names=NAMES))
    told, imported = json.loads(done.stdout)

    assert set(told) == {"1", "2", "4"}
    assert "blocks: not done after 1 s" in told["1"]
    assert "exk_sleeps.py, line 3" in told["1"]
    assert told["2"] == "ends the process that imports it (exit code 7)"
    assert "exk_spins.py" in told["4"]
    assert imported == []
    assert done.stderr == ""


def test_a_python_that_starts_slowly_is_waited_for(tmp_path: Path) -> None:
    """A plugin's patience counts from when its child begins: none is taken for sound because the child came late."""
    publish_broken(tmp_path, "sleeps")
    python_for = textwrap.dedent(f"""\
        #!/bin/sh
        sleep 1.5
        exec {sys.executable} "$@"
    """)
    slow = tmp_path / "slow-python"
    slow.write_text(python_for)
    slow.chmod(0o755)
    before = f"{THREAD}; sys.executable = {str(slow)!r}"
    done = python(tmp_path, PROGRAM.format(before=before, names=("sleeps",)))
    told, imported = json.loads(done.stdout)
    assert list(told) == ["0"], done.stderr
    assert "blocks: not done after 1 s" in told["0"]
    assert imported == []


def test_what_is_imported_already_is_not_tried_again() -> None:
    """A module that was imported here cannot block at its import any more."""
    assert try_out([EntryPoint("paper", "json", GROUP)], 0.001) == {}


def test_a_process_with_other_threads_is_not_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork of a process with several threads may hang by itself: a new Python is started instead."""
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    monkeypatch.setattr("os.fork", lambda: pytest.fail("forked"))
    try:
        assert try_out([EntryPoint("ghost", "no_such_module_ghost", GROUP)], 30.0) == {}
    finally:
        stop.set()
        thread.join()


def test_where_no_child_can_be_made_plugins_are_loaded_untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that has no Python of its own, and threads: better untried than refused."""
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    monkeypatch.setattr("sys.executable", "")
    try:
        assert try_out([EntryPoint("ghost", "no_such_module_ghost", GROUP)], 30.0) == {}
    finally:
        stop.set()
        thread.join()
