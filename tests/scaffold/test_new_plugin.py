"""`exk new-plugin`: names that are refused, and what is written for those that are not."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from exchange_kernel.cli.main import cli
from exchange_kernel.cli.new_plugin import core_range, render

ROOT = Path(__file__).resolve().parents[2]


def new_plugin(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(cli, ["new-plugin", *arguments])


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("My_Venue", "for example my-venue"),
        ("exchange-kernel-acme", "for example acme"),
        ("9lives", "beginning with a letter"),
        ("a--b", "for example a-b"),
        ("acme-", "for example acme"),
        ("../acme", "for example acme"),
        ("", "beginning with a letter"),
        ("ümlaut", "beginning with a letter"),
        ("a" * 25, "more than 24 characters"),
        ("paper", "is taken by exchange-kernel-paper"),
    ],
)
def test_names_that_are_refused(name: str, what: str, tmp_path: Path) -> None:
    """A name must make a legal venue and package, and belong to nobody else; the refusal says what to do."""
    done = new_plugin(name, "--kind", "cex", "--into", str(tmp_path))

    assert done.exit_code != 0
    assert what in done.output
    assert list(tmp_path.iterdir()) == []


def test_the_projects_own_names_are_taken_where_they_are_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second exchange-kernel-paper would replace the first one wherever both are installed."""
    monkeypatch.setenv("EXK_PLUGINS", "")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = new_plugin("paper", "--kind", "cex", "--into", str(tmp_path))

    assert done.exit_code != 0
    assert "belongs to the core" in done.output
    assert list(tmp_path.iterdir()) == []


def test_no_name_is_advised_that_is_refused(tmp_path: Path) -> None:
    """What is left of the name may be the core's own."""
    done = new_plugin("exchange_kernel", "--kind", "cex", "--into", str(tmp_path))

    assert done.exit_code != 0
    assert "for example" not in done.output


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A folder that exists, even an empty one, is left alone."""
    (tmp_path / "exchange-kernel-acme").mkdir()
    done = new_plugin("acme", "--kind", "dex", "--into", str(tmp_path))

    assert done.exit_code == 2
    assert "exists" in done.output
    assert list((tmp_path / "exchange-kernel-acme").iterdir()) == []


def test_the_files_are_written_and_the_way_on_is_told(tmp_path: Path) -> None:
    """The command writes what is rendered, into a folder that it makes, and says what to do next."""
    done = new_plugin("acme", "--kind", "cex", "--into", str(tmp_path / "deep" / "er"))

    folder = tmp_path / "deep" / "er" / "exchange-kernel-acme"
    assert done.exit_code == 0
    assert {path: (folder / path).read_text() for path, _ in render("acme", "cex")} == dict(render("acme", "cex"))
    assert "exk conformance run acme" in done.output


@pytest.mark.parametrize("kind", ["cex", "dex"])
def test_no_word_of_the_template_is_left(kind: str) -> None:
    """Every place of a name is filled, in paths as in texts, and Python files are Python."""
    files = dict(render("two-words", kind))
    for path, text in files.items():
        assert "myvenue" not in (path + text).lower()
        assert "@CORE@" not in text and "@VENUE@" not in text
        assert not path.endswith(".in")
        if path.endswith(".py"):
            ast.parse(text)
    assert "class TwoWordsAdapter:" in files["src/exchange_kernel_two_words/adapter.py"]
    assert f'kind="{kind}"' in files["src/exchange_kernel_two_words/plugin.py"]
    project = tomllib.loads(files["pyproject.toml"])["project"]
    assert project["name"] == "exchange-kernel-two-words"
    assert project["entry-points"] == {"exchange_kernel": {"two-words": "exchange_kernel_two_words.plugin"}}


def test_what_is_written_is_clean(tmp_path: Path) -> None:
    """Its types are strict, and it is linted and formatted as its own CI will ask."""
    sources = []
    for kind in ("cex", "dex"):
        assert new_plugin(f"new-{kind}", "--kind", kind, "--into", str(tmp_path)).exit_code == 0
        folder = tmp_path / f"exchange-kernel-new-{kind}"
        sources.append(str(folder / "src"))
        check(folder, "ruff", "check", "--no-cache", ".")
        check(folder, "ruff", "format", "--no-cache", "--check", ".")
    check(ROOT, "mypy", "--strict", *sources)


def check(folder: Path, *tool: str) -> None:
    """Run one of the tools that read code."""
    done = subprocess.run([sys.executable, "-m", *tool], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_licence_is_ours() -> None:
    """The template carries the licence of this project, to the letter."""
    assert dict(render("acme", "cex"))["LICENSE"] == (ROOT / "LICENSE").read_text()


@pytest.mark.parametrize(
    ("version", "asked"),
    [("0.1.0", ">=0.1,<0.2"), ("0.12.3", ">=0.12,<0.13"), ("1.4.0", ">=1.4,<2"), ("10.0.1", ">=10.0,<11")],
)
def test_a_new_plugin_asks_for_the_core_it_was_made_with(version: str, asked: str) -> None:
    """Up to the next version that may break it: a plugin without an upper bound is a promise nobody can keep."""
    assert core_range(version) == asked
