"""Tokens that keep a part of each transfer, found before anything is sent: a transfer out of a pool is simulated."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from exchange_kernel.errors import InvalidMetadata
from exchange_kernel_evm.answers import NodeError
from exchange_kernel_evm.multicall import Read
from exchange_kernel_evm.tokens import BALANCE_OF, transfer_tax, transfer_tax_request
from exchange_kernel_evm.tokens import Token as Held
from exchange_kernel_evm.venue import ChainReads
from exchange_kernel_uniswap.config import Setup
from exchange_kernel_uniswap.pools import Version

__all__ = ["taxes_of"]


async def taxes_of(setup: Setup, chain: ChainReads) -> Mapping[str, Fraction]:
    """By token address, the share of a transfer that does not arrive. Tokens that are honest, that no pool has, or
    whose transfer a node cannot simulate (it lacks eth_simulateV1) are left out: what arrives is counted all the same.

    Raises Unavailable, RateLimited.
    """
    tokens = [token for token in setup.tokens.values() if not token.native]
    holders = [(token, _holder(setup, token.address)) for token in tokens]
    asked = [(token, holder) for token, holder in holders if holder]
    _, results = await chain.read([Read(token.address, BALANCE_OF, (holder,), True) for token, holder in asked])
    found: dict[str, Fraction] = {}
    for (token, holder), result in zip(asked, results, strict=True):
        units = min(result.values[0], 10**token.decimals) if result.values else 0
        if not units:
            continue
        held = Held(token.address, token.symbol, token.decimals)
        method, params = transfer_tax_request(held, holder, chain.address, units)
        try:
            tax = transfer_tax(await chain.raw(method, *params), units)
        except (NodeError, InvalidMetadata):
            continue
        if tax > 0:
            found[token.address] = Fraction(tax, units)
    return found


def _holder(setup: Setup, token: str) -> str:
    """A pool that has it."""
    for pool in setup.pools:
        if token in (pool.token0, pool.token1):
            return setup.at.v4_manager if pool.version is Version.V4 else pool.id
    return ""
