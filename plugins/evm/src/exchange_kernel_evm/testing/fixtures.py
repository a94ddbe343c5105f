"""pytest fixtures; name this module in the `pytest_plugins` of a root conftest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from exchange_kernel_evm.testing.node import AnvilNode

__all__ = ["anvil", "anvil_node"]


@pytest.fixture(scope="session")
def anvil_node() -> Iterator[AnvilNode]:
    """An Anvil with a new, empty chain (id 1), shared by this process's tests; take `anvil`, which isolates them."""
    with AnvilNode() as node:
        yield node


@pytest.fixture
def anvil(anvil_node: AnvilNode) -> Iterator[AnvilNode]:
    """An Anvil with an empty chain; what the test does to it is undone."""
    with anvil_node.chain.isolated():
        yield anvil_node
