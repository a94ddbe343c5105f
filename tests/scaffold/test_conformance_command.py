"""`exk conformance`: what can be asked of it, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from exchange_kernel.cli.main import cli
from exchange_kernel.testing.conformance import all_cases

SOME = ("--case", "LIFE-01", "--case", "life-02")


def exk(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(cli, list(arguments))


def test_the_cases_are_listed() -> None:
    """Each with its id, what it says must hold, its grade and the rule it proves."""
    rows = json.loads(exk("conformance", "list", "-o", "json").stdout)

    assert [row["case"] for row in rows] == [case.id for case in all_cases()]
    assert all(row["title"] and row["rule"] and row["grade"] in ("bronze", "silver", "gold") for row in rows)


def test_some_cases_are_run_and_told(tmp_path: Path) -> None:
    """Progress line by line, a table, and no grade from a part; the same as JSON and Markdown files."""
    report, markdown = tmp_path / "r.json", tmp_path / "r.md"
    done = exk("conformance", "run", "paper", *SOME, "--report", str(report), "--markdown", str(markdown))

    assert done.exit_code == 0
    assert "1/2 LIFE-01  passed" in done.stderr
    assert "LIFE-02  bronze  passed  close ends every task" in done.stdout
    assert "2 passed; grade: not computed from some of the cases" in done.stdout
    written = json.loads(report.read_text())
    assert [(case["id"], case["status"]) for case in written["cases"]] == [("LIFE-01", "passed"), ("LIFE-02", "passed")]
    assert written["grade"] is None
    assert written["plugin"].startswith("exchange-kernel-paper ")
    assert written["capabilities"]["BTC/USD"]["limit"] == "native"
    assert "| LIFE-01 | open and close twice is harmless | bronze | passed |" in markdown.read_text()
    assert "| limit | native |" in markdown.read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (("paper", "--case", "LIVE-01"), 2, "did you mean LIFE-01?"),
        (("papr",), None, "did you mean paper?"),
        (("paper", "--plugin", "exchange-kernel-other"), None, "install exchange-kernel-other"),
        (("paper", *SOME, "--report", "/nowhere/r.json"), 1, "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_refused(arguments: tuple[str, ...], code: int | None, what: str) -> None:
    """One line that says what is wrong and what to do, and an exit code that is not 0."""
    done = exk("conformance", "run", *arguments)

    assert done.exit_code == code if code is not None else done.exit_code != 0
    assert what in done.stderr
    assert "Traceback" not in done.output
