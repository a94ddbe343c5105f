"""The plugin loader: no plugin can hurt another, and every one that is broken is told by name."""

from __future__ import annotations

import json
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from core.tests.plugins.broken import SOURCES, publish_broken
from core.tests.plugins.distributions import HEAD, exk, loaded, publish, python, venues
from exchange_kernel.errors import ConfigError
from exchange_kernel.plugins import GROUP, Plugins, Policy, Status, load, scan


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the loader says where every broken plugin there is is installed, and a good one among them."""
    folder = tmp_path_factory.mktemp("broken") / "broken"
    folder.mkdir()
    publish_broken(folder)
    publish(folder, "good", venues("good"))
    return loaded(folder, patience=1.0)


@pytest.mark.parametrize("name", SOURCES)
def test_a_broken_plugin_is_named_with_its_error(crowd: dict[str, dict[str, Any]], name: str) -> None:
    """Whatever a plugin raises, answers, or does to its process, it is listed with what it did."""
    row = crowd[name]

    assert (row["status"], row["dist"], row["venues"]) == ("broken", f"exchange-kernel-{name}", [])
    assert SOURCES[name][1] in row["error"]


def test_the_others_go_on(crowd: dict[str, dict[str, Any]]) -> None:
    """Among all that is broken, what is in order works."""
    sound = {name: row["venues"] for name, row in crowd.items() if row["status"] == "ok"}

    assert sound == {"binance": ["binance"], "good": ["good"], "paper": ["paper"], "uniswap": ["uniswap"]}
    assert len(crowd) == len(SOURCES) + 4


def test_the_installed_paper_venue_is_found() -> None:
    """The workspace's own plugin registers itself, and its adapter can be made."""
    plugins = load()

    assert type(plugins.venue("paper")()).__name__ == "PaperAdapter"
    assert [plugin.error for plugin in plugins.found if plugin.name == "paper"] == [""]
    assert plugins.harness("paper").factory.endswith(":PaperHarness")


def test_looking_at_plugins_is_light(tmp_path: Path) -> None:
    """An adapter's module is imported when an account first uses it; no venue library and no schema before."""
    done = python(
        tmp_path, "import sys; from exchange_kernel.plugins import load; load(); print(*sorted(sys.modules), sep='\\n')"
    )
    modules = set(done.stdout.split())

    assert "exchange_kernel_paper.plugin" in modules
    heavy = {"ccxt", "web3", "msgspec", "packaging", "asyncio", "sqlalchemy", "exchange_kernel.schema"}
    assert not modules & {*heavy, "exchange_kernel_paper.adapter", "exchange_kernel_paper.conformance"}


# ---- versions --------------------------------------------------------------------------------------------------------


def test_a_plugin_for_another_core_is_not_even_imported(tmp_path: Path) -> None:
    """What it needs is read from its metadata, and said."""
    source = f"open({str(tmp_path / 'imported')!r}, 'w')\n{venues('future')}"
    publish(tmp_path, "future", source, requires=["msgspec", "exchange-kernel>=2"])
    row = loaded(tmp_path)["future"]

    assert (row["status"], row["venues"]) == ("incompatible", [])
    assert row["error"] == "needs exchange-kernel>=2, and this is 0.1.0"
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize(
    ("requires", "warned"),
    [
        (["exchange-kernel>=0.1"], "has no upper bound"),
        (["msgspec"], "does not require exchange-kernel"),
        (["Exchange_Kernel >=0.1, <0.2"], ""),
        (["exchange-kernel~=0.1.0"], ""),
    ],
)
def test_a_plugin_that_does_not_say_which_cores_it_works_with_is_told(
    tmp_path: Path, requires: list[str], warned: str
) -> None:
    """It is loaded, and its author is warned: the next core will not know that it cannot work with it."""
    publish(tmp_path, "vague", venues("vague"), requires=requires)
    row = loaded(tmp_path)["vague"]

    assert row["status"] == "ok"
    assert [warned in text for text in row["warnings"]] == ([True] if warned else [])


# ---- rivals ----------------------------------------------------------------------------------------------------------


def test_rivals_for_a_venue_are_all_refused(tmp_path: Path) -> None:
    """Being installed is no right to another plugin's venue: nobody gets it, and each is told of the other."""
    publish(tmp_path, "rival_a", venues("shared"))
    publish(tmp_path, "rival_b", venues("shared", "own"))
    publish(tmp_path, "thief", venues("paper"))
    rows = loaded(tmp_path)

    assert {name: row["status"] for name, row in rows.items() if name not in ("binance", "uniswap")} == dict.fromkeys(
        ("rival_a", "rival_b", "thief", "paper"), "rival"
    )
    assert "venue shared is claimed by exchange-kernel-rival_b (rival_b) too" in rows["rival_a"]["error"]
    assert "write plugin: exchange-kernel-paper into the accounts that mean this one" in rows["paper"]["error"]


def test_two_entry_points_of_one_name_are_both_refused(tmp_path: Path) -> None:
    """Two distributions with a plugin of the same name cannot be told apart by it, whatever their venues."""
    publish(tmp_path, "one", venues("one"), entry_point="same")
    publish(tmp_path, "two", venues("two"), entry_point="same")
    rows = loaded(tmp_path)

    assert rows["exchange-kernel-one"]["status"] == rows["exchange-kernel-two"]["status"] == "rival"
    assert "exchange-kernel-two has a plugin named same too" in rows["exchange-kernel-one"]["error"]


def test_a_plugin_that_is_broken_is_nobody_s_rival(tmp_path: Path) -> None:
    """One that cannot be used, or may not, takes nothing away from one that can."""
    publish(tmp_path, "future", venues("paper"), requires=["exchange-kernel>=9"])
    publish(tmp_path, "broken", "1 / 0", entry_point="paper", distribution="exchange-kernel-other-paper")
    rows = loaded(tmp_path)

    assert rows["exchange-kernel-paper"]["status"] == "ok"


def test_a_pinned_distribution_decides_between_rivals(tmp_path: Path) -> None:
    """An account that says which distribution it means gets exactly that one's venue."""
    publish(tmp_path, "thief", venues("paper", target="collections:OrderedDict"))
    program = """
        from exchange_kernel.errors import ConfigError
        from exchange_kernel.plugins import load
        plugins = load()
        try:
            plugins.venue("paper")
        except ConfigError as error:
            print(error)
        print(plugins.venue("paper", "Exchange_Kernel_Paper").spec.factory)
        for name, dist in (("paper", "exchange-kernel-none"), ("papr", "exchange-kernel-paper")):
            try:
                plugins.venue(name, dist)
            except ConfigError as error:
                print(error)
    """
    lines = python(tmp_path, program).stdout.splitlines()

    assert "venue 'paper': no plugin offers it; exchange-kernel-paper: venue paper is claimed by" in lines[0]
    assert lines[1] == "exchange_kernel_paper.adapter:PaperAdapter"
    assert lines[2].startswith("venue 'paper': exchange-kernel-none does not offer it; install exchange-kernel-none")
    assert "venue 'papr': exchange-kernel-paper does not offer it" in lines[3]


# ---- what may be loaded ----------------------------------------------------------------------------------------------


def test_only_what_is_allowed_is_imported(tmp_path: Path) -> None:
    """A plugin that is not in the configuration's list is shown, with why, and never imported."""
    publish(tmp_path, "stranger", f"open({str(tmp_path / 'imported')!r}, 'w')\n{venues('stranger')}")
    (tmp_path / "exk.yaml").write_text("plugins: {allow: [Exchange.Kernel.Paper]}\naccounts: {a: {venue: paper}}")
    done = exk(tmp_path, "plugins", "list", "-o", "json")
    rows = {row["name"]: row for row in json.loads(done.stdout)}

    blocked = dict.fromkeys(("binance", "stranger", "uniswap"), "blocked")
    assert {name: row["status"] for name, row in rows.items()} == {**blocked, "paper": "ok"}
    assert rows["stranger"]["error"] == "not in plugins.allow: add exchange-kernel-stranger to it"
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", {"paper": "blocked", "other": "blocked"}),
        ("paper", {"paper": "ok", "other": "blocked"}),
        ("exchange-kernel-other, nothing", {"paper": "blocked", "other": "ok"}),
    ],
)
def test_the_environment_names_the_plugins_to_look_at(tmp_path: Path, value: str, expected: dict[str, str]) -> None:
    """EXK_PLUGINS: none, or those of these names, of entry points or distributions."""
    publish(tmp_path, "other", venues("other"))
    rows = loaded(tmp_path, EXK_PLUGINS=value)

    found = {name: row["status"] for name, row in rows.items()}
    assert found == {**expected, "binance": "blocked", "uniswap": "blocked"}


def test_strictness_raises_at_the_first_trouble(tmp_path: Path) -> None:
    """EXK_STRICT_PLUGINS=1, for authors and their CI: no plugin in trouble goes unnoticed."""
    publish(tmp_path, "broken", "1 / 0")
    done = exk(tmp_path, "plugins", "list", EXK_STRICT_PLUGINS="1")

    assert done.returncode == 2
    assert "plugin 'broken': exchange-kernel-broken is broken: ZeroDivisionError" in done.stderr
    assert exk(tmp_path, "plugins", "list", EXK_STRICT_PLUGINS="0").returncode == 0


def test_policies_compare_names_as_installers_do() -> None:
    """Dashes, dots, underscores and case do not count; entry points count only for the environment's list."""
    policy = Policy.of(["Acme_Exk"], {"EXK_PLUGINS": " acme , other"})

    assert policy.refusal("acme", "acme-exk") == ""
    assert policy.refusal("other", "not-acme").startswith("not in plugins.allow")
    assert policy.refusal("third", "acme.exk") == "not named by EXK_PLUGINS"
    assert Policy.of(None, {}) == Policy(None, None, strict=False)


# ---- metadata --------------------------------------------------------------------------------------------------------


def test_scanning_imports_nothing(tmp_path: Path) -> None:
    """Name, version, origin and requirement are known without running a line of the plugin."""
    publish(tmp_path, "mine", f"open({str(tmp_path / 'imported')!r}, 'w')\n{venues('mine')}", editable=True)
    done = exk(tmp_path, "plugins", "list", "--no-load", "-o", "json")
    row = next(row for row in json.loads(done.stdout) if row["name"] == "mine")

    assert (row["status"], row["version"], row["needs"], row["venues"]) == ("found", "1.0", ">=0.1,<0.2", [])
    assert row["origin"] == "file:///somewhere (editable)"
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize("damage", ["entry_points", "metadata", "direct_url", "no metadata"])
def test_a_damaged_installation_hurts_only_itself(tmp_path: Path, damage: str) -> None:
    """Files that an installer would not have written are told where they matter, and the rest goes on."""
    info = publish(tmp_path, "damaged", venues("damaged"))
    if damage == "entry_points":
        (info / "entry_points.txt").write_text("[exchange_kernel]\nno equals sign here\n")
    elif damage == "metadata":
        (info / "METADATA").write_bytes(b"\xff\xfe\x00 no text")
    elif damage == "no metadata":
        (info / "METADATA").unlink()
    else:
        (info / "direct_url.json").write_text("{")
    rows = loaded(tmp_path)

    assert rows["paper"]["status"] == "ok"
    if damage == "entry_points":
        assert "entry_points.txt cannot be read" in rows["?"]["error"]
    else:
        assert "damaged" in rows


def test_an_entry_point_that_names_no_module_is_told(tmp_path: Path) -> None:
    """A value that cannot be imported by its very form."""
    info = publish(tmp_path, "odd", venues("odd"))
    (info / "entry_points.txt").write_text("[exchange_kernel]\nodd = !!!\n")

    assert "names no module" in loaded(tmp_path)["odd"]["error"]


# ---- asking for a venue ----------------------------------------------------------------------------------------------


def test_an_unknown_venue_says_what_is_installed() -> None:
    """A misspelt venue gets a guess; one that is not installed, the name of a plugin to install."""
    with pytest.raises(ConfigError, match="venue 'papr': no plugin offers it; did you mean paper"):
        load().venue("papr")
    with pytest.raises(ConfigError, match="venues installed: binance, paper, uniswap; install the plugin, for example"):
        load().venue("xyz")


def test_a_venue_that_is_missing_may_be_a_broken_plugin_s() -> None:
    """What is wrong with plugins is said where a venue is missed."""
    with pytest.raises(ConfigError, match="unknown is broken: ModuleNotFoundError: No module named 'no_such_module_x'"):
        load([EntryPoint("acme", "no_such_module_x", GROUP)]).venue("acme")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("no_such_module_y:Adapter", "ModuleNotFoundError: No module named 'no_such_module_y'"),
        ("json:NoSuchClass", "AttributeError: module 'json' has no attribute 'NoSuchClass'"),
        ("sys:maxsize", "sys:maxsize is no class"),
        ("exk_target:Exits", "SystemExit: 5"),
        ("exk_target:Raises", "ValueError: made badly"),
        ("collections:OrderedDict", "open: the adapter has no such method"),
    ],
)
def test_an_adapter_that_cannot_be_made_is_a_configuration_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, said: str
) -> None:
    """A plugin that names what is not there, or what is no adapter, is named instead of shown as a traceback."""
    source = "class Exits:\n    def __init__(self):\n        raise SystemExit(5)\n"
    (tmp_path / "exk_target.py").write_text(
        f"{source}class Raises:\n    def __init__(self):\n        raise ValueError('made badly')"
    )
    (tmp_path / "exk_half.py").write_text(venues("half", target=target))
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("exk_half", "exk_target"):
        sys.modules.pop(name, None)
    plugins = load([EntryPoint("half", "exk_half", GROUP)])

    with pytest.raises(ConfigError) as caught:
        plugins.venue("half")()
    assert str(caught.value).startswith("venue 'half': the adapter of unknown cannot be made: ")
    assert said in str(caught.value)


def test_a_venue_without_a_harness_says_how_to_add_one() -> None:
    """The conformance cases cannot guess how a venue is reached."""
    paper = load().found
    plugin = next(each for each in paper if each.name == "paper")
    bare = Plugins((type(plugin)("bare", "acme", "1", "x", Status.OK, venues=plugin.venues),))

    with pytest.raises(ConfigError, match="acme brings no harness for it; its author adds one with the hook exk_conf"):
        bare.harness("paper")


def test_scanning_names_every_installed_plugin() -> None:
    """Also what is found without loading is one row per entry point."""
    assert [(plugin.name, plugin.status) for plugin in scan().found] == [
        ("binance", Status.FOUND),
        ("paper", Status.FOUND),
        ("uniswap", Status.FOUND),
    ]


def test_a_class_may_hold_the_hooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point may name an object in a module, as with any pluggy plugin."""
    body = "    @hookimpl\n    def exk_venues(self):\n        return [VenueSpec('inner', 'Inner', 'cex', 'a.b:C')]\n"
    (tmp_path / "exk_object.py").write_text(f"{HEAD}\nclass Plugin:\n{body}\nplugin = Plugin()\n")
    monkeypatch.syspath_prepend(tmp_path)

    assert set(load([EntryPoint("object", "exk_object:plugin", GROUP)]).venues) == {"inner"}
