"""A chain of one's own for tests: Anvil found or fetched, started, ruled and ended."""

from __future__ import annotations

from exchange_kernel_evm.testing.binary import anvil_package, find_anvil
from exchange_kernel_evm.testing.calls import calldata, read
from exchange_kernel_evm.testing.chain import Chain, Mark
from exchange_kernel_evm.testing.errors import RpcError, TestChainError
from exchange_kernel_evm.testing.node import AnvilNode
from exchange_kernel_evm.testing.pair import ForkedChain, forked_chain
from exchange_kernel_evm.testing.rpc import Rpc

__all__ = [
    "AnvilNode",
    "Chain",
    "ForkedChain",
    "Mark",
    "Rpc",
    "RpcError",
    "TestChainError",
    "anvil_package",
    "calldata",
    "find_anvil",
    "forked_chain",
    "read",
]
