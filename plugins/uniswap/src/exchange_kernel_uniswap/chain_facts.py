"""Is the chain what the configuration says? Reads for one multicall, and what their answers must be."""

from __future__ import annotations

from collections.abc import Sequence

from exchange_kernel.errors import ConfigError
from exchange_kernel_evm.abi import Function
from exchange_kernel_evm.multicall import Read, Result
from exchange_kernel_evm.tokens import DECIMALS
from exchange_kernel_uniswap.config import Setup
from exchange_kernel_uniswap.pools import Pool, Version

__all__ = ["fact_reads", "refuse_other_facts"]

_PAIR = Function.of("getPair", ("address", "address"), ("address",))
_POOL = Function.of("getPool", ("address", "address", "uint24"), ("address",))
_V3_SPACING = Function.of("feeAmountTickSpacing", ("uint24",), ("int24",))
_MANAGER = Function.of("poolManager", (), ("address",))
_SLOT0 = Function.of("getSlot0", ("bytes32",), ("uint160", "int24", "uint24", "uint24"))


def fact_reads(setup: Setup) -> list[Read]:
    """Decimals of every token; every pool asked of its own factory, or for v4 of the state view; and the Universal
    Router for the v4 pools it trades in: ether that is sent to an address without code is gone."""
    reads = [Read(token.address, DECIMALS, (), True) for token in setup.tokens.values() if not token.native]
    for pool in setup.pools:
        reads.extend(_about(pool, setup))
    return [*reads, Read(setup.at.universal_router, _MANAGER, (), True)]


def _about(pool: Pool, setup: Setup) -> list[Read]:
    at = setup.at
    if pool.version is Version.V2:
        return [Read(at.v2_factory, _PAIR, (pool.token0, pool.token1), True)]
    if pool.version is Version.V3:
        key = (pool.token0, pool.token1, pool.fee)
        return [Read(at.v3_factory, _POOL, key, True), Read(at.v3_factory, _V3_SPACING, (pool.fee,), True)]
    return [Read(at.v4_state, _SLOT0, (bytes.fromhex(pool.id[2:]),), True)]


def refuse_other_facts(setup: Setup, results: Sequence[Result]) -> None:
    """Raises ConfigError for a token with other decimals, or a pool that does not exist where it was computed, or a
    Universal Router that is none."""
    answers = iter(results)
    for name, token in setup.tokens.items():
        if not token.native:
            found = next(answers).values
            if found is None or found[0] != token.decimals:
                rule = "has no decimals: no token" if found is None else f"has {found[0]} decimals on the chain"
                raise ConfigError(f"tokens.{name}.decimals", token.decimals, f"{token.address} {rule}")
    for place, pool in enumerate(setup.pools):
        found = next(answers).values
        field = f"pools[{place}]"
        if pool.version is Version.V4:
            if found is None or not found[0]:
                raise ConfigError(field, pool.id, "is not initialized: there is no such v4 pool")
            continue
        if found is None or found[0].lower() != pool.id.lower():
            raise ConfigError(
                field, pool.id, "does not exist", f"the factory says {'nothing' if not found else found[0]}"
            )
        if pool.version is Version.V3:
            spacing = next(answers).values
            if spacing is None or spacing[0] != pool.spacing:
                raise ConfigError(field, pool.fee, f"has another tick spacing than {pool.spacing} on this chain")
    manager = next(answers).values
    if manager is None or manager[0].lower() != setup.at.v4_manager.lower():
        rule = "is no Universal Router of this chain's Uniswap: it does not name its v4 pool manager"
        raise ConfigError("universal_router", setup.at.universal_router, rule, "leave it out for the known one")
