"""The workspace installs the same versions everywhere, and its two commands work on a bare machine."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
MEMBERS = [ROOT / "core", *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
# In pieces, so that this file does not name what no file may name.
REGISTRIES = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("yarnpkg", "com"),
        ("crates", "io"),
        ("golang", "org"),
        ("debian", "org"),
        ("anaconda", "org"),
    )
]
ARCHIVE = re.compile(r"https?://[^\s\"'<>]+\.(?:whl|zip|tgz|deb|crate|tar\.\w+)\b")


def pyproject(folder: Path = ROOT) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text())


def constraints() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def ignored() -> list[str]:
    lines = (ROOT / ".gitignore").read_text().splitlines()
    return [line.rstrip("/") for line in lines if line and not line.startswith("#")]


def committed_files() -> Iterator[Path]:
    """Every file of the tree that git would take; works in an unpacked archive too."""
    patterns = [*ignored(), ".git"]
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]
        for name in files:
            if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
                yield Path(folder, name)


def bare_machine(folder: Path, **programs: str) -> subprocess.CompletedProcess[str]:
    """Run a copy of run.py with nothing on PATH but the given shell scripts, without this Python's packages."""
    path = folder / "path"
    path.mkdir()
    for name, script in programs.items():
        (path / name).write_text(f"#!/bin/sh\n{script}\n")
        (path / name).chmod(0o755)
    shutil.copy(ROOT / "run.py", folder / "run.py")
    command = [sys.executable, "-S", "run.py", "test", "-k", "some test"]
    return subprocess.run(command, cwd=folder, env={"PATH": str(path)}, capture_output=True, text=True)


def uv_version() -> str:
    found = re.search(r'^UV_VERSION = "(.+)"$', (ROOT / "run.py").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def test_both_lists_of_versions_agree() -> None:
    """uv and pip install the same versions: uv's constraint list is constraints.txt, line by line."""
    assert pyproject()["tool"]["uv"]["constraint-dependencies"] == constraints()


def test_the_build_uses_the_pinned_versions() -> None:
    """What builds the distributions is pinned too, to versions of the same list."""
    build = pyproject()["tool"]["uv"]["build-constraint-dependencies"]

    assert any(pin.startswith("hatchling==") for pin in build)
    assert set(build) <= set(constraints())


def test_every_version_is_exact() -> None:
    """A constraint names one version and carries neither an address nor a hash."""
    odd = [line for line in constraints() if not re.fullmatch(r"[a-z0-9._-]+==[0-9][\w.+]*( ; [^@#]+)?", line)]

    assert odd == []


def test_every_dependency_is_pinned() -> None:
    """Each name that a pyproject file of the workspace asks for has its version in the list."""
    own = {pyproject(folder)["project"]["name"] for folder in MEMBERS}
    asked: list[str] = []
    for folder in (ROOT, *MEMBERS):
        table = pyproject(folder)
        asked += table["project"].get("dependencies", [])
        asked += table.get("build-system", {}).get("requires", [])
        for group in (
            *table["project"].get("optional-dependencies", {}).values(),
            *table.get("dependency-groups", {}).values(),
        ):
            asked += [entry for entry in group if isinstance(entry, str)]
    names = {re.split(r"[\s\[<>=!~;]", entry)[0].lower() for entry in asked} - own

    assert names <= {line.split("==")[0] for line in constraints()}


def test_the_lock_file_is_not_committed() -> None:
    """uv.lock holds download addresses: git ignores it."""
    assert "uv.lock" in ignored()
    assert [path for path in committed_files() if path.name == "uv.lock"] == []


def test_no_file_holds_a_download_address() -> None:
    """No committed file names a package registry's host or the address of an archive."""
    found = []
    for path in committed_files():
        text = path.read_bytes().decode(errors="replace")
        found += [f"{path.relative_to(ROOT)}: {host}" for host in REGISTRIES if host in text]
        found += [f"{path.relative_to(ROOT)}: {address}" for address in ARCHIVE.findall(text)]

    assert found == []


def test_every_member_is_installed_and_checked() -> None:
    """A new plugin is installed with the workspace, and its types are checked."""
    root = pyproject()
    names = {pyproject(folder)["project"]["name"] for folder in MEMBERS}

    assert {entry.partition("[")[0] for entry in root["project"]["dependencies"]} == names
    assert set(root["tool"]["uv"]["sources"]) == names
    assert set(root["tool"]["mypy"]["mypy_path"]) == {
        (folder / "src").relative_to(ROOT).as_posix() for folder in MEMBERS
    }
    assert set(root["tool"]["importlinter"]["root_packages"]) == {name.replace("-", "_") for name in names}


@pytest.mark.parametrize("folder", MEMBERS, ids=lambda folder: folder.name)
def test_every_distribution_is_complete(folder: Path) -> None:
    """A distribution carries the licence and its readme, says that it is typed, and needs the workspace's Python."""
    project = pyproject(folder)["project"]
    package = folder / "src" / project["name"].replace("-", "_")

    assert project["license"] == "Apache-2.0"
    assert (folder / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert (folder / project["readme"]).read_text().startswith(f"# {project['name']}\n")
    assert (package / "py.typed").exists()
    assert project["requires-python"] == pyproject()["project"]["requires-python"]


def test_ci_runs_the_command_of_the_readme() -> None:
    """README, CI and run.py name the same two commands."""
    readme = (ROOT / "README.md").read_text()
    ci = ROOT / ".ci" / "run"

    assert "\nuv run exk demo" in readme
    assert "\nuv run pytest" in readme
    assert "python3 run.py demo" in readme
    assert "python3 run.py test" in readme
    assert "\n    uv run pytest " in ci.read_text()
    assert "\n    python3 run.py test " in ci.read_text()
    assert os.access(ci, os.X_OK)


def test_run_uses_the_uv_on_the_path(tmp_path: Path) -> None:
    """`run.py test ARGS` is `uv run pytest ARGS`, and its exit code is that of the tests."""
    done = bare_machine(tmp_path, uv='[ "$1" = --version ] || { echo "uv $*"; exit 3; }')

    assert done.stdout == "uv run pytest -k some test\n"
    assert done.returncode == 3


def test_run_passes_over_a_uv_that_does_not_answer(tmp_path: Path) -> None:
    """A version manager's empty shim is not taken for uv: the one fetched earlier is used, with this very Python."""
    fetched = tmp_path / ".cache" / f"uv-{uv_version()}" / "bin" / "uv"
    fetched.parent.mkdir(parents=True)
    fetched.write_text('#!/bin/sh\necho "fetched uv $* with $UV_PYTHON"\n')
    fetched.chmod(0o755)
    done = bare_machine(tmp_path, uv="exit 127")

    assert done.stdout == f"fetched uv run pytest -k some test with {sys.executable}\n"
    assert done.returncode == 0


def test_run_says_what_to_do_when_uv_cannot_be_fetched(tmp_path: Path) -> None:
    """Without uv and without pip the error says what to install, and the exit code is not 0."""
    done = bare_machine(tmp_path)

    assert "install uv yourself" in done.stderr
    assert done.returncode == 1


def test_run_without_a_command_prints_its_commands() -> None:
    """An unknown command is refused with the list of the known ones."""
    done = subprocess.run([sys.executable, "run.py", "tset"], cwd=ROOT, capture_output=True, text=True)

    assert "python3 run.py test" in done.stderr
    assert done.returncode == 2
