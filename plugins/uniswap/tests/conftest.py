"""One test chain per test process, and a trader on it whose doings are undone after each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from exchange_kernel.clock import SystemClock
from exchange_kernel_uniswap.testing import UniswapStack
from plugins.uniswap.tests.ground import Node, Trader, setup
from plugins.uniswap.tests.pools_made import enrich, make_pools


@pytest.fixture(scope="session")
def node(uniswap_running: UniswapStack) -> Node:
    """The fork, with liquidity in every pool of ground.POOLS."""
    node = Node(uniswap_running.node.url)
    make_pools(node)
    trader = Trader(node)
    enrich(node, trader.address, setup(), 8_000_000)
    return node


@pytest.fixture
def trader(node: Node) -> Iterator[Trader]:
    """A rich account without allowances."""
    head = int(node("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    node("evm_setTime", max(SystemClock().now_ms() // 1000, head + 1))  # after a revert anvil goes on from back then
    node("anvil_mine", "0x1")
    mark = node("evm_snapshot")
    yield Trader(node)
    assert node("evm_revert", mark)
