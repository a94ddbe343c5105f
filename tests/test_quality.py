"""The tools that read the code instead of running it; each prints its own findings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ["core/src", *(path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("plugins/*/src")))]


def check(*command: str) -> None:
    """Run one tool at the workspace's root and fail with what it says."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}"


def test_lint() -> None:
    """Ruff finds nothing to complain about in any Python file."""
    check(sys.executable, "-m", "ruff", "check", ".")


def test_format() -> None:
    """Every Python file is formatted the one way."""
    check(sys.executable, "-m", "ruff", "format", "--check", ".")


def test_types() -> None:
    """The distributions are fully typed: mypy, strict."""
    check(sys.executable, "-m", "mypy", "--strict", *SOURCES)


def test_rooms() -> None:
    """Rooms depend one way, and the core knows neither plugins nor venues."""
    check(
        sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-logo"
    )
