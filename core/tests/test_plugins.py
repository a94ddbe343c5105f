"""The plugin loader: finds venues lazily, and no plugin can hurt another."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from exchange_kernel.errors import ConfigError
from exchange_kernel.plugins import GROUP, Plugins, load


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the import path, for plugin modules."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def found(*names: str) -> Plugins:
    return load([EntryPoint(name, name, GROUP) for name in names])


def test_the_installed_paper_venue_is_found() -> None:
    """The workspace's own plugin registers itself, and its adapter can be made."""
    plugins = load()

    assert type(plugins.venue("paper")()).__name__ == "PaperAdapter"
    assert [plugin.error for plugin in plugins.found if plugin.name == "paper"] == [""]


def test_looking_at_plugins_does_not_import_their_adapters() -> None:
    """An adapter's module is imported when an account first uses it, not before."""
    program = "import sys; from exchange_kernel.plugins import load; load()"
    program += "; print('exchange_kernel_paper.adapter' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, text=True)

    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("this is no python", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        ("x = 1", "VENUES must map"),
        ("VENUES = ['a']", "VENUES must map"),
        ("VENUES = {'Bad Name': 'a:B'}", "is no venue name"),
        ("VENUES = {5: 'a:B'}", "is no venue name"),
        ("VENUES = {'bad': 'not a target'}", "must be 'package.module:Class'"),
        ("VENUES = {'bad': print}", "must be 'package.module:Class'"),
    ],
)
def test_a_broken_plugin_is_listed_and_the_rest_goes_on(plugins: Path, source: str, said: str) -> None:
    """Whatever a plugin raises or answers, the others work, and the list tells what is wrong with it."""
    (plugins / "broken_one.py").write_text(source)
    (plugins / "good_one.py").write_text("VENUES = {'good': 'collections:OrderedDict'}")
    sys.modules.pop("broken_one", None)
    got = found("broken_one", "good_one")
    sys.modules.pop("good_one", None)

    assert set(got.venues) == {"good"}
    assert {plugin.name: bool(plugin.error) for plugin in got.found} == {"broken_one": True, "good_one": False}
    assert said in got.found[0].error
    with pytest.raises(ConfigError) as caught:
        got.venue("broken")
    assert said in str(caught.value)


def test_rivals_for_a_venue_are_both_refused(plugins: Path) -> None:
    """Being installed is no right to another plugin's venue: neither gets it, and both are told."""
    (plugins / "rival_a.py").write_text("VENUES = {'shared': 'collections:OrderedDict'}")
    (plugins / "rival_b.py").write_text("VENUES = {'shared': 'collections:Counter', 'own': 'collections:Counter'}")
    got = found("rival_a", "rival_b")

    assert got.venues == {}
    assert all("shared is claimed by" in plugin.error for plugin in got.found)
    with pytest.raises(ConfigError, match="shared is claimed by"):
        got.venue("shared")


def test_an_unknown_venue_says_what_is_installed() -> None:
    """A misspelt venue gets a guess; one that is not installed, the name of a plugin to install."""
    with pytest.raises(ConfigError, match="venue 'papr': no plugin offers it; did you mean paper"):
        load().venue("papr")
    with pytest.raises(ConfigError, match="venues installed: paper; install the plugin, for example exchange-"):
        load().venue("xyz")


def test_an_adapter_that_cannot_be_made_is_a_configuration_error(plugins: Path) -> None:
    """A plugin whose adapter fails to import names itself instead of showing its traceback."""
    (plugins / "half_broken.py").write_text("VENUES = {'half': 'no_such_module:Adapter'}")

    with pytest.raises(ConfigError, match="venue 'half': the adapter of unknown cannot be made: ModuleNotFoundError"):
        found("half_broken").venue("half")()
