"""Pools: which contracts trade a pair, at what fee. Addresses are computed, never taken from configuration."""

from __future__ import annotations

from enum import StrEnum

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from exchange_kernel.errors import ConfigError
from exchange_kernel.value import Value
from exchange_kernel_uniswap.addresses import NATIVE, as_bytes, contract_at, ordered
from exchange_kernel_uniswap.deployment import Deployment

__all__ = ["V3_SPACINGS", "Pool", "Version", "v2_pool", "v3_pool", "v4_pool"]

V3_SPACINGS = {100: 1, 500: 10, 3000: 60, 10000: 200}
"""Fee of a v3 pool (hundredths of a basis point) to its tick spacing, as the mainnet factory has them enabled."""

V2_FEE = 3000
_MILLION = 1_000_000
_MAX_SPACING = 32767


class Version(StrEnum):
    """The release of Uniswap a pool belongs to."""

    V2 = "v2"
    V3 = "v3"
    V4 = "v4"


class Pool(Value, frozen=True):
    """One pool. ``token0`` and ``token1`` in the pool's order; NATIVE only in v4. ``fee``: hundredths of a basis point.

    ``id``: the pool's address (v2, v3) or its 32-byte id in hex (v4), computed from the other fields. v4 pools here
    have no hooks: a hook is third-party code that may take what it likes.
    """

    version: Version
    token0: str
    token1: str
    fee: int
    spacing: int
    id: str

    def other(self, token: str) -> str:
        """The token at the other side."""
        return self.token1 if token == self.token0 else self.token0

    @property
    def key(self) -> tuple[str, str, int, int, str]:
        """The ``PoolKey`` of a v4 pool."""
        return (self.token0, self.token1, self.fee, self.spacing, NATIVE)


def v2_pool(at: Deployment, one: str, other: str) -> Pool:
    """The v2 pair of two tokens. Raises ConfigError."""
    low, high = _pair(one, other)
    pair = contract_at(at.v2_factory, keccak(as_bytes(low) + as_bytes(high)), at.v2_code_hash)
    return Pool(Version.V2, low, high, V2_FEE, 0, pair)


def v3_pool(at: Deployment, one: str, other: str, fee: int) -> Pool:
    """The v3 pool of two tokens and a fee. Raises ConfigError."""
    if type(fee) is not int or fee not in V3_SPACINGS:
        raise ConfigError(
            "fee", fee, "is no fee tier of Uniswap v3", f"choose one of {', '.join(map(str, V3_SPACINGS))}"
        )
    low, high = _pair(one, other)
    salt = keccak(encode(("address", "address", "uint24"), (low, high, fee)))
    return Pool(Version.V3, low, high, fee, V3_SPACINGS[fee], contract_at(at.v3_factory, salt, at.v3_code_hash))


def v4_pool(one: str, other: str, fee: int, spacing: int) -> Pool:
    """The v4 pool without hooks of two currencies, a fixed fee and a tick spacing. Raises ConfigError."""
    if type(fee) is not int or not 0 <= fee < _MILLION:
        raise ConfigError("fee", fee, f"must be an int from 0 to {_MILLION - 1} (hundredths of a basis point)")
    if type(spacing) is not int or not 1 <= spacing <= _MAX_SPACING:
        raise ConfigError("tick_spacing", spacing, f"must be an int from 1 to {_MAX_SPACING}")
    low, high = _pair(one, other, native=True)
    key = (low, high, fee, spacing, NATIVE)
    pool_id = keccak(encode(("address", "address", "uint24", "int24", "address"), key))
    return Pool(Version.V4, low, high, fee, spacing, "0x" + pool_id.hex())


def _pair(one: str, other: str, *, native: bool = False) -> tuple[str, str]:
    if one == other:
        raise ConfigError("tokens", one, "is given twice: a pool has two different tokens")
    if not native and NATIVE in (one, other):
        raise ConfigError(
            "tokens", "ETH", "is in no v2 or v3 pool", "name the pool with WETH; orders in ETH still use it"
        )
    return ordered(one, other)
