"""The tutorial, run as it stands: an empty folder, its files, its commands, and what they are said to print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIAL = Path("docs/tutorial.md")
_BLOCK = re.compile(r"(?:<!-- file: (?P<file>[^ ]+) -->\n)?```(?P<kind>\w*)\n(?P<body>.*?)```", re.DOTALL)
_MARK = "@@@ said"


def script(text: str, folder: Path) -> tuple[str, list[tuple[str, list[str]]]]:
    """One shell script of all blocks, and for each command the lines that it should print."""
    lines, expected = ["set -e"], []
    for number, block in enumerate(_BLOCK.finditer(text)):
        if block["file"]:
            source = folder / f".file-{number}"
            source.write_text(block["body"])
            lines += [f"mkdir -p $(dirname {block['file']})", f"cp {source} {block['file']}"]
        elif block["kind"] == "console":
            for each in block["body"].splitlines():
                if each.startswith("$ "):
                    command = each.removeprefix("$ ")
                    expected.append((command, []))
                    lines += [f"echo '{_MARK}'", command]
                else:
                    expected[-1][1].append(each)
    return "\n".join(lines), expected


def holds(line: str, said: str) -> bool:
    """Is there such a line? An ellipsis stands for anything."""
    return re.search(".*".join(re.escape(part) for part in line.split("…")), said) is not None


def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    """Every command succeeds, and prints every line that the page shows below it."""
    here = tmp_path / "empty"
    here.mkdir()
    text, expected = script(TUTORIAL.read_text(), tmp_path)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-m", "-c", text],
        cwd=here,
        env={**os.environ, "PATH": path, "EXK_ACTOR": "reader"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    parts = done.stdout.split(f"{_MARK}\n")[1:]
    log = (here / "run.log").read_text() if (here / "run.log").exists() else ""
    assert done.returncode == 0, f"{done.stdout}\n{log}"
    assert len(parts) == len(expected)
    for (command, lines), said in zip(expected, parts, strict=True):
        for line in lines:
            assert holds(line, said), f"$ {command}\nshould say {line!r}, and says\n{said}"


@pytest.mark.parametrize(
    ("line", "said", "there"),
    [("a…b", "xaxxbx", True), ("a…b", "b a", False), ("…", "", True), ("$x (1)", "a $x (1) b", True), ("q", "", False)],
)
def test_a_line_that_is_not_printed_is_noticed(line: str, said: str, there: bool) -> None:
    """The comparison can fail."""
    assert holds(line, said) is there
