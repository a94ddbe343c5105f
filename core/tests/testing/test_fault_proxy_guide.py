"""docs/fault-proxy.md says what is true: its example runs, and it names everything there is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from exchange_kernel.testing.faults import FaultProxy, FrameFaults, FrameMatch, HttpFaults, RequestMatch

GUIDE = (Path(__file__).resolve().parents[3] / "docs" / "fault-proxy.md").read_text()


def example() -> str:
    """The program in the guide."""
    block = re.search(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    assert block is not None
    return block[1]


def test_the_example_runs_and_prints_what_it_says(tmp_path: Path) -> None:
    """Copied into an empty folder, the program ends well and prints what its comments promise."""
    command = [sys.executable, "-W", "error", "-X", "dev", "-c", example()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    promised = re.findall(r"print\(.*\)  # (.*?)(?:: .*)?$", example(), re.MULTILINE)

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.splitlines() == promised
    assert len(promised) == 7


def test_the_guide_names_every_fault_and_every_matcher() -> None:
    """A fault that is not in the guide is a fault nobody uses."""
    methods = [name for kind in (HttpFaults, FrameFaults) for name in vars(kind) if not name.startswith("_")]
    matchers = [*RequestMatch.__annotations__, *FrameMatch.__annotations__]
    others = [name for name in vars(FaultProxy) if not name.startswith("_") and name not in ("start", "aclose")]
    text = re.sub(r"```python.*?```", "", GUIDE, flags=re.DOTALL)

    assert [name for name in (*methods, *matchers) if not re.search(rf"`{name}\b", text)] == []
    assert [name for name in others if name not in GUIDE] == []
