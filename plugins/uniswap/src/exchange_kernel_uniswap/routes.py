"""Routes: every way from one token to another over the configured pools, bounded and always in the same order.

A route stays within one release of Uniswap, so that the chain's own quoter of that release prices it in one call.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from exchange_kernel.value import Value
from exchange_kernel_uniswap.addresses import NATIVE, as_bytes
from exchange_kernel_uniswap.pools import Pool, Version

__all__ = ["MAX_HOPS", "MAX_ROUTES", "Route", "routes_between"]

MAX_HOPS = 3
MAX_ROUTES = 128

# Medians over every route of the test chain through the Universal Router, each from the same state, its bounded
# Permit2 allowance included (v2 99 to 186 thousand, v3 131 to 297, v4 139 to 245, for one to three hops). Ticks crossed
# come on top: only differences between routes matter here. Wrapping costs no more than the transfer it stands for.
_FIRST = {Version.V2: 99_000, Version.V3: 131_000, Version.V4: 139_000}
_NEXT = {Version.V2: 44_000, Version.V3: 84_000, Version.V4: 54_000}
_UNWRAP = 16_000


class Route(Value, frozen=True):
    """Pools in order of travel, ``path`` the tokens at their ends (one more than pools), as the pools hold them.

    ``wraps``: the account pays in ETH and the path begins at WETH; ``unwraps``: the same at its end.
    """

    pools: tuple[Pool, ...]
    path: tuple[str, ...]
    wraps: bool = False
    unwraps: bool = False

    @property
    def version(self) -> Version:
        """The release all pools belong to."""
        return self.pools[0].version

    @property
    def single(self) -> bool:
        """Is it one pool only?"""
        return len(self.pools) == 1

    @property
    def gas(self) -> int:
        """Gas of the swap by experience."""
        return _FIRST[self.version] + _NEXT[self.version] * (len(self.pools) - 1) + _UNWRAP * self.unwraps

    @property
    def name(self) -> str:
        """A stable name: release, tokens and fees."""
        hops = "".join(f"-{pool.fee}-{token}" for pool, token in zip(self.pools, self.path[1:], strict=True))
        return f"{self.version}:{self.path[0]}{hops}"


def routes_between(
    pools: Iterable[Pool], token_in: str, token_out: str, weth: str, *, hops: int = MAX_HOPS, most: int = MAX_ROUTES
) -> tuple[Route, ...]:
    """All routes from ``token_in`` to ``token_out`` (NATIVE allowed), at most ``most``, the shorter ones first.

    No token is visited twice, the wrapped and the native coin counting as one. The order depends on the pools alone,
    not on the order they are configured in.
    """
    in_order = sorted(pools, key=_place)
    found: list[Route] = []
    for version in Version:
        same = [pool for pool in in_order if pool.version is version]
        for start in _forms(token_in, version, weth):
            for end in _forms(token_out, version, weth):
                wraps, unwraps = start != token_in, end != token_out
                found.extend(Route(chain, path, wraps, unwraps) for chain, path in _walk(same, start, end, weth, hops))
    return tuple(sorted(found, key=lambda route: (len(route.pools), route.name))[:most])


def _forms(token: str, version: Version, weth: str) -> tuple[str, ...]:
    if token != NATIVE:
        return (token,)
    return (NATIVE, weth) if version is Version.V4 else (weth,)


def _walk(
    pools: Sequence[Pool], start: str, end: str, weth: str, hops: int
) -> Iterator[tuple[tuple[Pool, ...], tuple[str, ...]]]:
    def same(token: str) -> str:
        return weth if token == NATIVE else token

    def step(chain: tuple[Pool, ...], path: tuple[str, ...]) -> Iterator[tuple[tuple[Pool, ...], tuple[str, ...]]]:
        seen = {same(token) for token in path}
        for pool in pools:
            if path[-1] not in (pool.token0, pool.token1):
                continue
            token = pool.other(path[-1])
            if token == end:
                yield (*chain, pool), (*path, token)
            elif same(token) not in seen and same(token) != same(end) and len(chain) + 1 < hops:
                yield from step((*chain, pool), (*path, token))

    if same(start) != same(end):
        yield from step((), (start,))


def _place(pool: Pool) -> tuple[str, bytes, bytes, int, int]:
    return (pool.version.value, as_bytes(pool.token0), as_bytes(pool.token1), pool.fee, pool.spacing)
