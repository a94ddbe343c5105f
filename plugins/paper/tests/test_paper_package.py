"""How the plugin is built: light to import, and an exchange that knows nothing of the kernel."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import exchange_kernel_paper
from exchange_kernel.venue import History, Prices, VenueAdapter
from exchange_kernel_paper import exchange

ROOT = Path(str(exchange_kernel_paper.__file__)).parent


def imports(path: Path) -> Iterator[str]:
    """Names of the modules a file imports."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", sorted((ROOT / "exchange").glob("*.py")), ids=lambda path: path.name)
def test_the_exchange_imports_neither_the_kernel_nor_the_adapter(path: Path) -> None:
    """It is the other side of the wire."""
    for name in imports(path):
        assert name.partition(".")[0] != "exchange_kernel"
        assert not name.startswith("exchange_kernel_paper") or name.startswith("exchange_kernel_paper.exchange")


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.py")), ids=lambda path: path.name)
def test_the_adapter_reaches_the_exchange_only_through_its_link(path: Path) -> None:
    """Only the link, the configuration that makes one, the registry that keeps it, the server and the kit's harness."""
    holders = {"link.py", "config.py", "registry.py", "server.py", "conformance.py"}
    source = ast.parse(path.read_text("utf-8"))
    names = {
        alias.name
        for node in ast.walk(source)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("exchange_kernel_paper.exchange")
        for alias in node.names
    }
    if path.name not in holders:
        assert names <= {"Code", "NeverSent", "NoAnswer", "decode", "encode", "reader", "sign"}


def test_importing_the_plugin_loads_nothing_else() -> None:
    """Its entry point must not cost the start of a program anything."""
    code = "import sys, exchange_kernel_paper; print([m for m in sys.modules if m.startswith('exchange_kernel')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "['exchange_kernel_paper']"


def test_the_adapter_implements_the_contract_and_its_two_optional_protocols() -> None:
    """As the type checker sees it, and at run time."""
    adapter: VenueAdapter = exchange_kernel_paper.create()
    assert isinstance(adapter, Prices)
    assert isinstance(adapter, History)


def test_public_names_are_sorted_and_exist() -> None:
    """Of the plugin and of its exchange."""
    for module in (exchange_kernel_paper, exchange):
        assert list(module.__all__) == sorted(
            module.__all__, key=lambda name: (not name.isupper(), name.islower(), name)
        )
        assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_stay_readable(path: Path) -> None:
    """At most 400 lines, with a word on what they are."""
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 400
    assert ast.get_docstring(ast.parse(text))
