"""The doctor: every plugin in a process of its own, and everything it finds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.tests.plugins.broken import SOURCES, publish_broken
from core.tests.plugins.distributions import HEAD, exk, publish, venues

FINDS = HEAD + (
    "@hookimpl\ndef exk_venues():\n    return []\n"
    "@hookimpl\ndef exk_doctor():\n"
    "    yield Finding(Level.OK, 'library', 'is there')\n"
    "    yield Finding(Level.FAILURE, 'key file', 'cannot be read', 'chmod it')\n"
)


def examined(folder: Path, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit code, and what was found by plugin, its findings by subject."""
    done = exk(folder, "plugins", "doctor", *arguments, "-o", "json")
    assert not done.stderr, done.stderr
    rows = json.loads(done.stdout)
    return done.returncode, {row["name"]: {**row, "by": {f["subject"]: f for f in row["findings"]}} for row in rows}


def test_a_plugin_in_order_is_well(tmp_path: Path) -> None:
    """Requirement, origin, files, import time, hooks, venues, harness: all looked at, and the exit code says it."""
    publish(tmp_path, "mine", venues("mine", more=", config='exchange_kernel_paper.config:PaperConfig'"))
    code, found = examined(tmp_path)

    assert code == 0
    assert all(row["well"] for row in found.values())
    assert {f["subject"]: f["level"] for f in found["mine"]["findings"]} == dict.fromkeys(
        ("requirement", "origin", "files", "import", "hooks", "venue mine"), "ok"
    )
    assert found["mine"]["by"]["requirement"]["text"] == "exchange-kernel>=0.1,<0.2"
    assert found["mine"]["by"]["import"]["text"].endswith(" ms of 150 ms")
    assert found["paper"]["by"]["harness of paper"]["level"] == "ok"


def test_what_breaks_a_plugin_is_a_failure(tmp_path: Path) -> None:
    """The same errors as the loader's, for those that were asked about, and an exit code for scripts."""
    names = ("import_error", "syntax", "exits", "hook_raises", "unknown_hook", "bad_name", "empty")
    publish_broken(tmp_path, *names)
    code, found = examined(tmp_path, *names)

    assert code == 1
    assert set(found) == set(names)
    for name in names:
        assert SOURCES[name][1] in found[name]["by"]["hooks"]["text"]


@pytest.mark.parametrize(
    ("name", "stage", "said"),
    [
        ("sleeps", "import", "it blocks: not done after 3 s (in <module>, "),
        ("hook_blocks", "hooks", "it blocks: not done after 3 s (in exk_venues, "),
        ("dies", "import", "it ends its process with exit code 7"),
    ],
)
def test_a_plugin_that_blocks_or_dies_is_told_with_the_step(tmp_path: Path, name: str, stage: str, said: str) -> None:
    """Examined in a child with a time limit: the doctor goes on, and knows how far the plugin got."""
    publish_broken(tmp_path, name)
    code, found = examined(tmp_path, f"exchange-kernel-{name}", "--timeout", "3")

    assert code == 1
    assert said in found[name]["by"][stage]["text"]


def test_an_entry_module_that_imports_too_much_is_told(tmp_path: Path) -> None:
    """The budget of 150 ms, the quickest of three tries, and what was imported."""
    modules = {"exk_heavy_library": "import time\ntime.sleep(0.2)"}
    publish(tmp_path, "slow", f"import exk_heavy_library\n{venues('slow')}", modules=modules)
    code, found = examined(tmp_path, "slow")

    assert code == 1
    assert found["slow"]["by"]["import"]["level"] == "failure"
    assert " ms of 150 ms, with exk_heavy_library" in found["slow"]["by"]["import"]["text"]


@pytest.mark.parametrize(
    ("target", "more", "said"),
    [
        ("no_such_module_q:Adapter", "", "ModuleNotFoundError: No module named 'no_such_module_q'"),
        ("exchange_kernel_paper.adapter:NoAdapter", "", "has no attribute 'NoAdapter'"),
        ("collections:OrderedDict", "", "submit: the adapter has no such method"),
        ("exchange_kernel_paper.adapter:PaperAdapter", ", config='a.b:C'", "its settings a.b:C cannot be imported"),
    ],
)
def test_what_a_venue_names_must_be_there(tmp_path: Path, target: str, more: str, said: str) -> None:
    """Adapters are imported and made, which loading leaves until they are used."""
    publish(tmp_path, "bad", venues("bad", target=target, more=more))
    code, found = examined(tmp_path, "bad")

    assert code == 1
    assert any(said in each["text"] for each in found["bad"]["findings"] if each["subject"] == "venue bad")


def test_changed_files_are_told(tmp_path: Path) -> None:
    """The installer's hashes are compared with what is there now."""
    publish(tmp_path, "changed", venues("changed"))
    with (tmp_path / "exk_changed.py").open("a") as file:
        file.write("# not by its author\n")
    info = publish(tmp_path, "bare", venues("bare"))
    (info / "RECORD").unlink()
    info = publish(tmp_path, "gone", venues("gone"))
    (info / "RECORD").write_text("exk_nowhere.py,sha256=abc,1\n")
    code, found = examined(tmp_path)

    assert code == 1
    assert "exk_changed.py (changed)" in found["changed"]["by"]["files"]["text"]
    assert (found["bare"]["by"]["files"]["level"], found["bare"]["well"]) == ("warning", True)
    assert "exk_nowhere.py (FileNotFoundError)" in found["gone"]["by"]["files"]["text"]


def test_requirements_and_origins_are_judged(tmp_path: Path) -> None:
    """Made for another core: a failure, and not imported. No upper bound, a source tree: warnings."""
    publish(tmp_path, "future", "1 / 0", requires=["exchange-kernel>=3"])
    publish(tmp_path, "open", venues("open"), requires=["exchange-kernel"], editable=True)
    code, found = examined(tmp_path)

    assert code == 1
    assert found["future"]["by"]["requirement"]["text"] == "needs exchange-kernel>=3, and this is 0.1.0"
    assert "hooks" not in found["future"]["by"]
    assert "has no upper bound" in found["open"]["by"]["requirement"]["text"]
    assert "runs from a source tree, file:///somewhere" in found["open"]["by"]["origin"]["text"]
    assert found["open"]["well"]


def test_rivals_are_told_whoever_was_asked_about(tmp_path: Path) -> None:
    """Naming one plugin still shows that another claims its venue."""
    publish(tmp_path, "a", venues("shared"))
    publish(tmp_path, "b", venues("shared"))
    publish(tmp_path, "b2", venues("other"), entry_point="b")
    code, found = examined(tmp_path, "a")

    assert code == 1
    assert found["a"]["by"]["names"]["text"] == "exchange-kernel-b (b) claims venue shared too"
    done = exk(tmp_path, "plugins", "doctor", "exchange-kernel-b2")
    assert "FAIL  names: exchange-kernel-b has a plugin named b too" in done.stdout


def test_a_plugin_s_own_findings_count(tmp_path: Path) -> None:
    """What its hook exk_doctor finds stands beside the rest, and a failure of its own is one."""
    publish(tmp_path, "finds", FINDS)
    publish(tmp_path, "fails", FINDS.replace("yield Finding(Level.OK", "raise ValueError('own trouble') #"))
    code, found = examined(tmp_path)

    assert code == 1
    assert found["finds"]["by"]["library"]["level"] == "ok"
    assert found["finds"]["by"]["key file"] == {
        "level": "failure",
        "subject": "key file",
        "text": "cannot be read",
        "hint": "chmod it",
    }
    assert "exk_doctor raised ValueError: own trouble" in found["fails"]["by"]["exk_doctor"]["text"]


def test_what_is_not_allowed_is_not_examined(tmp_path: Path) -> None:
    """Examining is running, and the configuration says that it must not be run."""
    publish(tmp_path, "stranger", f"open({str(tmp_path / 'imported')!r}, 'w')\n{venues('stranger')}")
    (tmp_path / "exk.yaml").write_text("plugins: {allow: [exchange-kernel-paper]}\naccounts: {a: {venue: paper}}")
    code, found = examined(tmp_path)

    assert code == 0
    assert "was not examined: not in plugins.allow" in found["stranger"]["by"]["policy"]["text"]
    assert not (tmp_path / "imported").exists()


def test_a_name_that_is_not_installed_is_refused(tmp_path: Path) -> None:
    """The names there are, are listed."""
    done = exk(tmp_path, "plugins", "doctor", "nothing")

    assert done.returncode == 2
    assert (
        "plugin 'nothing': is not installed; there are binance, exchange-kernel-binance, exchange-kernel-paper, "
        "exchange-kernel-uniswap, paper, uniswap" in done.stderr
    )
