"""The whole of Uniswap on a chain of one's own, at mainnet's addresses."""

from __future__ import annotations

from exchange_kernel_uniswap.testing.addresses import (
    CONTRACTS,
    DECIMALS,
    FEE_TOKEN,
    NATIVE,
    TOKENS,
    UNIVERSAL_ROUTER_2_1,
)
from exchange_kernel_uniswap.testing.artifacts import artifacts
from exchange_kernel_uniswap.testing.pools import SPACINGS, V4_KEY, v2_pair, v3_pool
from exchange_kernel_uniswap.testing.stack import UniswapStack, uniswap_stack

__all__ = [
    "CONTRACTS",
    "DECIMALS",
    "FEE_TOKEN",
    "NATIVE",
    "SPACINGS",
    "TOKENS",
    "UNIVERSAL_ROUTER_2_1",
    "V4_KEY",
    "UniswapStack",
    "artifacts",
    "uniswap_stack",
    "v2_pair",
    "v3_pool",
]
