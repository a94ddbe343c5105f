"""Follows `docs/write-a-venue.md` word for word: `uv run python -m tests.scaffold.page` writes its answers.

In its ``console`` blocks a line that begins with ``$ `` is a command, with what follows up to ``END`` where it says so.
The lines below are what it answered.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.scaffold.workshop import ROOT, Workshop, find_uv

PAGE = ROOT / "docs" / "write-a-venue.md"
LONGEST_S = 240
HOME = "/home/you/acme"
_BLOCK = re.compile(r"(?<=^```console\n)(.*?)(?=^```$)", re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(r"^\$ (?:.*<<'END'\n(?:.*\n)*?END|.*)$", re.MULTILINE)
_MARK = "--8<-- {} --8<--"


def follow(text: str) -> str:
    """The page with the answers that its commands give now, run one after the other in an empty folder."""
    commands = [command for block in _BLOCK.findall(text) for command in _COMMAND.findall(block)]
    # A short path, so that tables are as wide here as they are on the page, where it is called HOME.
    folder = Path(tempfile.mkdtemp(prefix="x", dir="/tmp"))
    try:
        answers = iter(answer.replace(str(folder), HOME) for answer in _run(commands, folder))
    finally:
        shutil.rmtree(folder)

    def answered(block: re.Match[str]) -> str:
        lines = []
        for command in _COMMAND.findall(block[0]):
            was = _answer_to(command, block[0])
            now = next(answers)
            # What differs only by how long it took stays as it is.
            lines.append(f"{command}\n{was if _timeless(was) == _timeless(now) else now}")
        return "".join(lines)

    return _BLOCK.sub(answered, text)


def _answer_to(command: str, block: str) -> str:
    rest = block[block.index(command) + len(command) + 1 :]
    following = _COMMAND.search(rest)
    return rest[: following.start()] if following else rest


def _run(commands: list[str], folder: Path) -> list[str]:
    script = "\n".join(f"{command[2:]}\necho '{_MARK.format(number)}'" for number, command in enumerate(commands))
    shop = Workshop(folder / ".shop")
    shop.build()
    uv = find_uv()
    assert uv is not None, "the page uses uv, which is not here"
    variables = {name: value for name, value in shop.variables.items() if name != "VIRTUAL_ENV"}
    variables |= {
        "PATH": f"{os.environ['PATH']}{os.pathsep}{Path(uv).parent}",
        "UV_CONSTRAINT": str(ROOT / "constraints.txt"),
        "UV_BUILD_CONSTRAINT": str(ROOT / "constraints.txt"),
        "COLUMNS": "100",
    }
    done = subprocess.run(
        ["bash"],
        input=script,
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LONGEST_S,
    )
    answers = []
    rest = done.stdout
    for number in range(len(commands)):
        answer, mark, rest = rest.partition(_MARK.format(number) + "\n")
        assert mark, f"{commands[number]}\n{answer}"
        answers.append(answer)
    return answers


def _timeless(text: str) -> str:
    return re.sub(r"\d+(\.\d+)? ?m?s\b", "N s", text)


def main() -> None:
    """Write the page anew."""
    PAGE.write_text(follow(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
