"""Real distributions, written into a folder as an installer would leave them, and a Python that sees them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CORE = "exchange-kernel>=0.1,<0.2"

HEAD = "from exchange_kernel.plugins import Finding, HarnessSpec, Level, VenueSpec, hookimpl\n"


def venues(*names: str, target: str = "exchange_kernel_paper.adapter:PaperAdapter", more: str = "") -> str:
    """The source of a plugin that offers these venues, all with one adapter."""
    specs = ", ".join(f"VenueSpec('{name}', 'A test venue', 'sim', '{target}'{more})" for name in names)
    return f"{HEAD}\n@hookimpl\ndef exk_venues():\n    return [{specs}]\n"


def publish(
    folder: Path,
    name: str,
    source: str,
    *,
    distribution: str = "",
    entry_point: str = "",
    requires: Sequence[str] = (CORE,),
    modules: Mapping[str, str] | None = None,
    editable: bool = False,
) -> Path:
    """Install the distribution ``exchange-kernel-NAME`` whose entry module ``exk_NAME`` has this source. Returns the
    folder of its metadata."""
    dist = distribution or f"exchange-kernel-{name}"
    files = {f"exk_{name}.py": textwrap.dedent(source)}
    files |= {f"{module}.py": textwrap.dedent(text) for module, text in (modules or {}).items()}
    for file, text in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)
    info = folder / f"{dist.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n{needs}")
    (info / "entry_points.txt").write_text(f"[exchange_kernel]\n{entry_point or name} = exk_{name}\n")
    if editable:
        address = {"url": "file:///somewhere", "dir_info": {"editable": True}}
        (info / "direct_url.json").write_text(json.dumps(address))
    record = [f"{file},{_digest((folder / file).read_bytes())},{len(text)}" for file, text in files.items()]
    (info / "RECORD").write_text("\n".join([*record, f"{info.name}/RECORD,,"]) + "\n")
    return info


def _digest(content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return f"sha256={digest}"


def python(folder: Path, program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program in a fresh Python that has the folder's distributions besides its own."""
    return run(folder, [sys.executable, "-c", textwrap.dedent(program)], **environment)


def exk(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The `exk` command in a fresh Python that has the folder's distributions besides its own."""
    return run(folder, [sys.executable, "-m", "exchange_kernel.cli.main", *arguments], **environment)


def run(folder: Path, command: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("EXK_")}
    env = {**inherited, "PYTHONPATH": str(folder), **environment}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False)


def loaded(folder: Path, patience: float = 5.0, **environment: str) -> dict[str, dict[str, Any]]:
    """What the loader makes of the folder's distributions: by name of the entry point and distribution."""
    program = f"""
        import json, sys
        from exchange_kernel.plugins import load
        found = load(patience={patience}).found
        print(json.dumps([
            {{"name": p.name, "dist": p.distribution, "status": p.status, "error": p.error, "needs": p.needs,
              "venues": [v.name for v in p.venues], "hooks": p.hooks, "warnings": p.warnings}} for p in found
        ]))
    """
    done = python(folder, program, **environment)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    return {row["name"] if row["name"] not in seen(rows) else row["dist"]: row for row in rows}


def seen(rows: list[dict[str, Any]]) -> set[str]:
    """Names that stand there more than once."""
    names = [row["name"] for row in rows]
    return {name for name in names if names.count(name) > 1}
