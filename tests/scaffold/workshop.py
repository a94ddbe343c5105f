"""A fresh environment with the core installed from its built wheel, and nothing else of this tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LONGEST_S = 120


class Workshop:
    """One folder with an environment in it, in which commands run as an author would run them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wheels = folder / "wheels"
        self.environment = folder / ".venv"
        self._uv = find_uv()

    @property
    def python(self) -> Path:
        """Its Python."""
        return self.environment / "bin" / "python"

    def build(self) -> Path:
        """Build the core's wheel, with the workspace's own build tool: no network."""
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(self.wheels)]
        self._checked(command, ROOT / "core")
        return next(self.wheels.glob("exchange_kernel-*.whl"))

    def prepare(self) -> None:
        """Make the environment and install the wheel and what it depends on, in the versions of the workspace."""
        wheel = self.build()
        venv = [self._uv, "venv", "--quiet", "--python", sys.executable] if self._uv else [sys.executable, "-m", "venv"]
        self._checked([*venv, str(self.environment)], self.folder)
        self.install(f"{wheel}[testing]", "--constraint", str(ROOT / "constraints.txt"))

    def install(self, *what: str) -> None:
        """Install into the environment."""
        pip = [self._uv, "pip"] if self._uv else [str(self.python), "-m", "pip"]
        chosen = ["--python", str(self.python)] if self._uv else ["--disable-pip-version-check"]
        self._checked([*pip, "install", "--quiet", *chosen, *what], self.folder)

    def run(self, *command: str, cwd: Path | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment; unless ``check`` is off it must succeed."""
        program = self.environment / "bin" / command[0]
        done = subprocess.run(
            [str(program), *command[1:]],
            cwd=cwd or self.folder,
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
        )
        assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables: the machine's, without what belongs to this test run or to the workspace."""
        ours = ("VIRTUAL_ENV", "PYTHONPATH", "EXK_CONFIG", "EXK_PLUGINS", "EXK_STRICT_PLUGINS")
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in ours and not name.startswith(("PYTEST", "COV_"))
        }
        kept["PATH"] = f"{self.environment / 'bin'}{os.pathsep}{kept.get('PATH', '')}"
        return {**kept, "VIRTUAL_ENV": str(self.environment), "UV_FIND_LINKS": str(self.wheels)}

    def _checked(self, command: list[str], cwd: Path) -> None:
        done = subprocess.run(command, cwd=cwd, env=self.variables, capture_output=True, text=True, timeout=LONGEST_S)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"


def find_uv() -> str | None:
    """The uv on the path, or the one that runs these tests. A version manager's shim may exist with nothing behind."""
    for found in (shutil.which("uv"), os.environ.get("UV")):
        if found and _answers(found):
            return found
    return None


def _answers(program: str) -> bool:
    """Whether it runs: a version manager's shim may exist with nothing behind it."""
    try:
        return subprocess.run([program, "--version"], capture_output=True).returncode == 0
    except OSError:
        return False
