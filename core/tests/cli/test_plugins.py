"""`exk plugins` at the shell; installing for real, into a throw-away Python, without a network."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from core.tests.plugins.distributions import exk, publish, run, venues
from exchange_kernel.cli.main import cli
from exchange_kernel.cli.plugins import MODULES
from exchange_kernel.errors import ConfigError
from exchange_kernel.plugins import HOOKS
from exchange_kernel.plugins.packages import distribution, target

WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def wheel(folder: Path, name: str, source: str, *, version: str = "1.0", core: str = ">=0.1,<0.2") -> Path:
    """A built plugin: ``exchange-kernel-NAME``."""
    dist = f"exchange_kernel_{name}"
    info = f"{dist}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: exchange-kernel-{name}\nVersion: {version}\n"
    files = {
        f"exk_{name}.py": source,
        f"{info}/METADATA": f"{metadata}Requires-Dist: exchange-kernel{core}\n",
        f"{info}/WHEEL": WHEEL,
        f"{info}/entry_points.txt": f"[exchange_kernel]\n{name} = exk_{name}\n",
    }
    folder.mkdir(exist_ok=True)
    path = folder / f"{dist}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"]))
    return path


class Machine:
    """A Python of its own with the core and this workspace's venues, whose installer looks in one folder only."""

    def __init__(self, folder: Path, installer: str) -> None:
        self.folder = folder
        self.wheels = folder / "wheels"
        self.wheels.mkdir()
        home = folder / "venv"
        command = [sys.executable, "-m", "venv", str(home)]
        if installer == "uv":
            command = ["uv", "venv", "--quiet", "--python", sys.executable, str(home)]
        subprocess.run(command, check=True, capture_output=True)
        self.python = home / "bin" / "python"
        self.site = next(home.glob("lib/python*/site-packages"))
        # The libraries of this test's own Python, after those of the new one; the core is installed there by name.
        own = Path(importlib.metadata.distribution("click").locate_file("")).resolve()
        (self.site / "own.pth").write_text(f"import site; site.addsitedir({str(own)!r})\n")
        core = self.site / "exchange_kernel-0.1.0.dist-info"
        core.mkdir()
        (core / "METADATA").write_text("Metadata-Version: 2.1\nName: exchange-kernel\nVersion: 0.1.0\n")
        (core / "RECORD").write_text("".join(f"{core.name}/{file},,\n" for file in ("METADATA", "RECORD", "INSTALLER")))
        (core / "INSTALLER").write_text("test\n")
        # Without uv on the path, pip is what is left.
        self._path = str(Path(shutil.which("uv") or "/nowhere/uv").parent) if installer == "uv" else str(folder)

    def exk(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        places = {"UV_FIND_LINKS": str(self.wheels), "PIP_FIND_LINKS": str(self.wheels)}
        offline = {"UV_NO_INDEX": "1", "PIP_NO_INDEX": "1", "UV_OFFLINE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        command = [str(self.python), "-m", "exchange_kernel.cli.main", "plugins", *arguments]
        return run(self.folder, command, PATH=f"{self._path}:/usr/bin:/bin", **places, **offline)

    def plugins(self) -> dict[str, str]:
        done = self.exk("list", "-o", "json")
        assert done.returncode == 0, done.stderr
        return {row["name"]: f"{row['version']} {row['status']}" for row in json.loads(done.stdout)}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "uv")


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_plugins_are_installed_and_removed(tmp_path: Path, installer: str) -> None:
    """By short name, by version, by file; examined afterwards; removed again; and the core stays what it is."""
    machine = Machine(tmp_path, installer)
    no_core_is_moved(machine)
    wheel(machine.wheels, "acme", venues("acme"))
    newer = wheel(machine.folder / "elsewhere", "acme", venues("acme"), version="1.1")
    before = {file.name for file in machine.site.iterdir()}
    done = machine.exk("install", "acme==1.0", "-y")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "install exchange-kernel-acme==1.0\n" in done.stdout
    assert "exchange-kernel==0.1.0 stays as it is" in done.stdout
    assert "ok    venue acme" in done.stdout
    assert machine.plugins() == {"acme": "1.0 ok", "binance": "0.1.0 ok", "paper": "0.1.0 ok", "uniswap": "0.1.0 ok"}

    done = machine.exk("install", str(newer), "-y")
    assert done.returncode == 0, done.stdout + done.stderr
    assert machine.plugins()["acme"] == "1.1 ok"
    assert "nothing changed" in machine.exk("install", "exchange_kernel_acme", "-y").stdout

    done = machine.exk("uninstall", "acme", "-y")
    assert done.returncode == 0, done.stdout + done.stderr
    assert machine.plugins() == {"binance": "0.1.0 ok", "paper": "0.1.0 ok", "uniswap": "0.1.0 ok"}
    assert {file.name for file in machine.site.iterdir()} - {"__pycache__"} == before - {"__pycache__"}


def no_core_is_moved(machine: Machine) -> None:
    """A plugin for another core is refused, though that core could be installed; and nothing has changed."""
    wheel(machine.wheels, "greedy", venues("greedy"), core=">=0.2")
    future = machine.wheels / "exchange_kernel-0.2.0-py3-none-any.whl"
    with zipfile.ZipFile(future, "w") as archive:
        info = "exchange_kernel-0.2.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: exchange-kernel\nVersion: 0.2.0\n")
        archive.writestr(f"{info}/WHEEL", WHEEL)
        archive.writestr(f"{info}/RECORD", f"{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    done = machine.exk("install", "greedy", "-y")

    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("nothing was installed")
    assert machine.plugins() == {"binance": "0.1.0 ok", "paper": "0.1.0 ok", "uniswap": "0.1.0 ok"}
    assert (machine.site / "exchange_kernel-0.1.0.dist-info").exists()


def test_a_broken_plugin_is_told_as_soon_as_it_is_installed(machine: Machine) -> None:
    """Installed is not fit: the doctor looks at once, and the command fails."""
    wheel(machine.wheels, "broken", "1 / 0")
    done = machine.exk("install", "broken", "-y")

    assert done.returncode == 1
    assert "FAIL  hooks: ZeroDivisionError" in done.stdout
    assert "installed, and not fit to be used" in done.stderr
    assert machine.plugins()["broken"] == "1.0 broken"


def test_it_asks_first(tmp_path: Path) -> None:
    """What will be done is shown, and nothing is done without a yes."""
    wheel(tmp_path, "acme", venues("acme"))
    done = CliRunner().invoke(cli, ["plugins", "install", "acme", "binance>=2"], input="n\n")
    assert done.exit_code == 1
    assert "install exchange-kernel-acme, exchange-kernel-binance>=2" in done.output
    assert f"into {sys.executable}" in done.output
    assert "install what you trust" in done.output
    assert "$ " not in done.output
    done = CliRunner().invoke(cli, ["plugins", "uninstall", "paper"], input="n\n")
    assert done.exit_code == 1
    assert "uninstall exchange-kernel-paper" in done.output
    assert "$ " not in done.output


@pytest.mark.parametrize("name", ["click", "exchange-kernel", "nothing", "-r", "a b", ""])
def test_only_plugins_are_removed(name: str) -> None:
    """Not the core, not a library, not an option of the installer."""
    done = CliRunner().invoke(cli, ["plugins", "uninstall", "-y", "--", name])

    assert done.exit_code == 2
    assert "exk: " in done.stderr
    assert "$ " not in done.output


@pytest.mark.parametrize(
    ("given", "exact", "meant"),
    [
        ("binance", False, "exchange-kernel-binance"),
        ("Binance_Futures", False, "exchange-kernel-binance-futures"),
        ("exchange-kernel-binance", False, "exchange-kernel-binance"),
        ("binance>=0.2,<1", False, "exchange-kernel-binance>=0.2,<1"),
        ("binance[ws]==1.0", False, "exchange-kernel-binance[ws]==1.0"),
        ("acme-exk", True, "acme-exk"),
        ("acme-exk==1", True, "acme-exk==1"),
        ("git+https://example.test/acme.git", False, "git+https://example.test/acme.git"),
        ("acme @ https://example.test/acme", False, "acme @ https://example.test/acme"),
    ],
)
def test_short_names_are_spelt_out(given: str, exact: bool, meant: str) -> None:
    """A venue's name is enough; versions stay; addresses and exact names are left alone."""
    assert target(given, exact=exact) == meant


@pytest.mark.parametrize(
    "given", ["exchange-kernel", "Exchange.Kernel==9", "", "a b", "--pre", "-r", "a;b", "./nowhere", "no.whl"]
)
def test_what_is_no_plugin_is_not_given_to_an_installer(given: str) -> None:
    """The core, options, and files that are not there."""
    with pytest.raises(ConfigError, match="plugin"):
        target(given)


def test_paths_are_made_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder or a wheel, from wherever it is named; a name without a slash is never a folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "acme").mkdir()

    assert target("./acme") == str(tmp_path / "acme")
    assert target(".") == str(tmp_path)
    assert target("acme") == "exchange-kernel-acme"
    assert distribution("acme") == "exchange-kernel-acme"


def test_the_list_is_for_people_too(tmp_path: Path) -> None:
    """A table, and a line for each plugin about which there is something to say."""
    publish(tmp_path, "broken", "1 / 0")
    publish(tmp_path, "vague", venues("vague"), requires=[])
    done = exk(tmp_path, "plugins", "list")

    assert done.returncode == 0
    assert done.stdout.splitlines()[0].split() == ["NAME", "DISTRIBUTION", "VERSION", "STATUS", "VENUES", "ORIGIN"]
    assert "broken (exchange-kernel-broken): ZeroDivisionError" in done.stdout
    assert "vague (exchange-kernel-vague): its distribution does not require exchange-kernel" in done.stdout
    assert exk(tmp_path, "plugins", "list", "-c", "missing.yaml").returncode == 2


def test_hooks_explain_themselves() -> None:
    """Signature and meaning of one hook or of all; a misspelt name gets the list."""
    runner = CliRunner()
    one = runner.invoke(cli, ["plugins", "explain", "exk_venues"])
    assert one.output.startswith(
        "@hookimpl\ndef exk_venues() -> Iterable[VenueSpec]:\n    The venues this plugin offers."
    )
    every = runner.invoke(cli, ["plugins", "explain"]).output
    assert all(f"def {name}(" in every for name in HOOKS)
    wrong = runner.invoke(cli, ["plugins", "explain", "exk_venue"])
    assert wrong.exit_code == 2
    assert f"there are {', '.join(HOOKS)}" in wrong.stderr


@pytest.mark.parametrize("name", ["list", "explain", *MODULES])
def test_every_subcommand_has_its_help(name: str) -> None:
    """Each is there, and says what it does."""
    done = CliRunner().invoke(cli, ["plugins", name, "--help"])

    assert done.exit_code == 0, done.output
    assert f"plugins {name}" in done.output
    assert name in CliRunner().invoke(cli, ["plugins", "--help"]).output
