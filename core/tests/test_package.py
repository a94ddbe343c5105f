"""The package's front door: public names, one version, a light import."""

from __future__ import annotations

import ast
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import exchange_kernel

HEAVY = ["aiohttp", "alembic", "ccxt", "click", "fastapi", "pluggy", "pydantic", "rich", "sqlalchemy", "web3", "yaml"]


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that are loaded after a statement in a fresh Python."""
    program = f"{statement}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, text=True)
    return set(done.stdout.split())


def test_public_names_are_complete_and_sorted() -> None:
    """`__all__` is sorted and holds exactly the names that a type checker sees."""
    tree = ast.parse(Path(exchange_kernel.__file__).read_text())
    guarded = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        name.name for block in guarded for line in block.body if isinstance(line, ast.ImportFrom) for name in line.names
    }

    assert exchange_kernel.__all__ == sorted(exchange_kernel.__all__)
    assert set(exchange_kernel.__all__) == seen | {"__version__"}
    assert dir(exchange_kernel) == exchange_kernel.__all__


@pytest.mark.parametrize("name", exchange_kernel.__all__)
def test_each_public_name_is_there(name: str) -> None:
    """Every public name loads, and is the same object the second time."""
    assert getattr(exchange_kernel, name) is getattr(exchange_kernel, name)


def test_an_unknown_name_is_refused() -> None:
    """A misspelt name is an AttributeError that says so, as in any module."""
    with pytest.raises(AttributeError, match="StandardOrdr"):
        exchange_kernel.StandardOrdr  # noqa: B018


def test_the_version_is_the_distribution_s() -> None:
    """The package and the installed distribution tell the same version."""
    assert exchange_kernel.__version__ == importlib.metadata.version("exchange-kernel")


def test_the_import_is_light() -> None:
    """Importing the package loads no database, web, configuration or venue library."""
    assert loaded_by("import exchange_kernel").isdisjoint(HEAVY)


def test_writing_orders_is_light() -> None:
    """Neither does what is needed to write an order."""
    assert loaded_by("from exchange_kernel import Side, StandardOrder, TimeInForce").isdisjoint(HEAVY)
