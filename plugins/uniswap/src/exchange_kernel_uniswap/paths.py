"""A route in the forms the contracts read: packed v3 paths, v2 token lists, v4 path keys."""

from __future__ import annotations

from eth_utils.address import to_checksum_address

from exchange_kernel_uniswap.addresses import NATIVE, as_bytes
from exchange_kernel_uniswap.routes import Route

__all__ = ["PATH_KEYS", "POOL_KEY", "route_of_v3_path", "v3_path", "v4_keys", "words"]

POOL_KEY = "(address,address,uint24,int24,address)"
PATH_KEYS = "(address,uint24,int24,address,bytes)[]"


def v3_path(route: Route, *, exact_in: bool) -> bytes:
    """Token, fee, token, … packed; in the direction of travel for exact in, against it for exact out."""
    tokens, fees = route.path, [pool.fee for pool in route.pools]
    if not exact_in:
        tokens, fees = tokens[::-1], fees[::-1]
    hops = (fee.to_bytes(3, "big") + as_bytes(token) for fee, token in zip(fees, tokens[1:], strict=True))
    return as_bytes(tokens[0]) + b"".join(hops)


def words(*values: str | int) -> bytes:
    """ABI encoding of static values: addresses, integers and flags. Raises OverflowError beyond 256 bits."""
    return b"".join(
        value.to_bytes(32, "big", signed=value < 0) if isinstance(value, int) else bytes(12) + as_bytes(value)
        for value in values
    )


def route_of_v3_path(path: bytes, *, exact_in: bool) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Tokens and fees of a packed path, in the direction of travel. Raises ValueError for what is no such path."""
    if len(path) < 43 or (len(path) - 20) % 23:
        raise ValueError(f"{len(path)} bytes are no path")
    tokens = tuple(to_checksum_address(path[place : place + 20]) for place in range(0, len(path), 23))
    fees = tuple(int.from_bytes(path[place : place + 3], "big") for place in range(20, len(path), 23))
    return (tokens, fees) if exact_in else (tokens[::-1], fees[::-1])


def v4_keys(route: Route, *, exact_in: bool) -> list[tuple[str, int, int, str, bytes]]:
    """One ``PathKey`` per pool, in the direction of travel: the token each hop leads to, for exact out the one it
    comes from (v4-periphery, ``V4Router._swapExactOutput``)."""
    ends = route.path[1:] if exact_in else route.path[:-1]
    return [(end, pool.fee, pool.spacing, NATIVE, b"") for end, pool in zip(ends, route.pools, strict=True)]
