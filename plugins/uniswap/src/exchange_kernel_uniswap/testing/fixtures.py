"""pytest fixtures; name this module in the `pytest_plugins` of a root conftest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from exchange_kernel_uniswap.testing.stack import UniswapStack, uniswap_stack

__all__ = ["uniswap", "uniswap_running"]


@pytest.fixture(scope="session")
def uniswap_running() -> Iterator[UniswapStack]:
    """All of Uniswap on a fork, shared by this process's tests; take `uniswap`, which isolates them."""
    with uniswap_stack() as stack:
        yield stack


@pytest.fixture
def uniswap(uniswap_running: UniswapStack) -> Iterator[UniswapStack]:
    """All of Uniswap on a fork; what the test does to the chain is undone."""
    with uniswap_running.chain.isolated():
        yield uniswap_running
