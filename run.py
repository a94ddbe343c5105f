#!/usr/bin/env python3
"""The project's commands where only python3 and pip exist; each goes through uv, fetched into .cache when missing.

python3 run.py demo [args]       the same as: uv run exk demo
python3 run.py test [args]       the same as: uv run pytest
python3 run.py pin [--upgrade]   for maintainers: write constraints.txt and uv's constraint lists anew
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
UV_VERSION = "0.13.9"
COMMANDS = {"demo": ["exk", "demo"], "test": ["pytest"]}
LISTS = {
    "constraint-dependencies": ["--all-packages", "--all-extras", "--all-groups"],
    "build-constraint-dependencies": ["--only-group", "build"],
}
EXPORT = ["export", "--quiet", "--frozen", "--no-hashes", "--no-emit-workspace", "--no-header", "--no-annotate"]
HEADER = """\
# The exact version of everything the workspace installs. Written by `python3 run.py pin`, which also writes the same
# versions into [tool.uv] of pyproject.toml; a test keeps the two equal.
"""


def say(text: str) -> None:
    print(f"run.py: {text}", file=sys.stderr, flush=True)


def works(command: list[str]) -> bool:
    """Whether this uv answers: a version manager's shim may exist and have nothing behind it."""
    try:
        return subprocess.run([*command, "--version"], capture_output=True, cwd=ROOT).returncode == 0
    except OSError:
        return False


def find_uv() -> list[str]:
    """The command that runs uv: from PATH, from this Python's packages, or fetched with pip."""
    on_path = shutil.which("uv")
    if on_path and works([on_path]):
        return [on_path]
    if sys.version_info >= (3, 11):
        # The Python at hand is good enough: uv need not look for another, or download one.
        os.environ.setdefault("UV_PYTHON", sys.executable)
    if importlib.util.find_spec("uv") and works([sys.executable, "-m", "uv"]):
        return [sys.executable, "-m", "uv"]
    target = ROOT / ".cache" / f"uv-{UV_VERSION}"
    fetched = [str(target / "bin" / ("uv.exe" if os.name == "nt" else "uv"))]
    if not works(fetched):
        say(f"uv is missing; fetching uv {UV_VERSION} into {target.relative_to(ROOT)}")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--target", str(target)]
        if subprocess.run([*pip, f"uv=={UV_VERSION}"]).returncode or not works(fetched):
            raise SystemExit("run.py: pip could not install uv; install uv yourself and run the command again")
    return fetched


def pin(uv: list[str], upgrade: bool) -> int:
    """Resolve the workspace and write every version down; `upgrade` forgets the old pins first."""
    if upgrade:
        for name in LISTS:
            write_list(name, [])
    subprocess.run([*uv, "lock", "--quiet", *(["--upgrade"] if upgrade else [])], cwd=ROOT, check=True)
    for name, scope in LISTS.items():
        pins = subprocess.run([*uv, *EXPORT, *scope], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
        if name == "constraint-dependencies":
            (ROOT / "constraints.txt").write_text(HEADER + pins)
        write_list(name, pins.splitlines())
    return subprocess.run([*uv, "lock", "--quiet"], cwd=ROOT).returncode


def write_list(name: str, pins: list[str]) -> None:
    """Replace one of uv's constraint lists in pyproject.toml."""
    path = ROOT / "pyproject.toml"
    body = "".join(f'    "{line}",\n' for line in pins)
    block = re.compile(rf"^{name} = \[.*?^\]$", re.DOTALL | re.MULTILINE)
    text, found = block.subn(lambda _: f"{name} = [\n{body}]", path.read_text())
    if found != 1:
        raise SystemExit(f"run.py: pyproject.toml has no list {name}")
    path.write_text(text)


def main(argv: list[str]) -> int:
    if argv[:1] == ["pin"] and argv[1:] in ([], ["--upgrade"]):
        return pin(find_uv(), upgrade=bool(argv[1:]))
    if not argv or argv[0] not in COMMANDS:
        print(__doc__, file=sys.stderr)
        return 2
    return subprocess.run([*find_uv(), "run", *COMMANDS[argv[0]], *argv[1:]], cwd=ROOT).returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
