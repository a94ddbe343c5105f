"""One Anvil for each test process, with WETH9, Multicall3 and money."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from exchange_kernel_evm.testing.cache import cached
from exchange_kernel_evm.testing.node import AnvilNode
from exchange_kernel_evm.testing.npm import pack
from plugins.evm.tests.chain import Node, furnish
from plugins.evm.tests.scenes import Make
from plugins.evm.tests.table import Table

PACKAGES = ("canonical-weth@1.4.0", "viem@2.57.20")


def _fetch(folder: Path) -> None:
    for package in PACKAGES:
        archive = pack(package, folder)
        with tarfile.open(archive) as opened:
            opened.extractall(folder / "open", filter="data")
        shutil.move(folder / "open/package", folder / package.partition("@")[0])
        archive.unlink()


@pytest.fixture(scope="session")
def packages() -> Path:
    """Where the bytecode of WETH9 and Multicall3 is."""
    return cached("evm-tests-1", _fetch)


@pytest.fixture(scope="session")
def furnished(packages: Path) -> Iterator[Node]:
    """The node every test of this process shares; take `node`, which is as new each time."""
    with AnvilNode() as running:
        node = Node(running.url, running.ws_url)
        furnish(node, packages)
        yield node


@pytest.fixture
def node(furnished: Node) -> Iterator[Node]:
    """What a test does to it is undone. What still arrives of a test before is mined by nobody, and dropped."""
    furnished("anvil_dropAllTransactions")
    furnished("evm_setAutomine", True)
    snapshot = furnished("evm_snapshot")
    yield furnished
    furnished("evm_setAutomine", False)
    furnished.revert(snapshot)
    furnished("evm_setBlockGasLimit", hex(30_000_000))


@pytest.fixture
def make(node: Node, tmp_path: Path) -> Make:
    """Tables with orders that wrap ether."""
    return lambda **config: Table(node, tmp_path, **config)
