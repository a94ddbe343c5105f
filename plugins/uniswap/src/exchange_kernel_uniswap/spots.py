"""Prices of pools as they stand: what the first unit would trade at, the pool's fee included.

They say when an order is worth a quote, bound the slippage of market orders, and weigh gas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from exchange_kernel_evm.abi import Function
from exchange_kernel_evm.multicall import Read, Result
from exchange_kernel_uniswap.config import Market
from exchange_kernel_uniswap.deployment import Deployment
from exchange_kernel_uniswap.pools import Pool, Version
from exchange_kernel_uniswap.prices import SHOWN_DIGITS, shown
from exchange_kernel_uniswap.range_orders import SLOT0
from exchange_kernel_uniswap.routes import Route
from exchange_kernel_uniswap.ticks import Q96

__all__ = ["Rates", "Touch", "best_rate", "rate_along", "rates_of", "spot_reads", "touch"]

_RESERVES = Function.of("getReserves", (), ("uint112", "uint112", "uint32"))
_LIQUIDITY = Function.of("liquidity", (), ("uint128",))
_V4_SLOT0 = Function.of("getSlot0", ("bytes32",), ("uint160", "int24", "uint24", "uint24"))
_V4_LIQUIDITY = Function.of("getLiquidity", ("bytes32",), ("uint128",))
_MILLION = 1_000_000

Rates = Mapping[str, tuple[Fraction, Fraction]]
"""By pool id: units of token1 for a unit of token0, and of token0 for one of token1, fee taken. Empty pools are out."""


class Touch(NamedTuple):
    """Best prices of a market, quote per base, rounded against the taker; None where no route has liquidity."""

    bid: Decimal | None
    ask: Decimal | None


def spot_reads(at: Deployment, pools: Iterable[Pool]) -> list[Read]:
    """Two reads per pool, for :func:`rates_of`."""
    reads = []
    for pool in pools:
        if pool.version is Version.V2:
            reads += [Read(pool.id, _RESERVES, (), True)] * 2
        elif pool.version is Version.V3:
            reads += [Read(pool.id, SLOT0, (), True), Read(pool.id, _LIQUIDITY, (), True)]
        else:
            key = (bytes.fromhex(pool.id[2:]),)
            reads += [Read(at.v4_state, _V4_SLOT0, key, True), Read(at.v4_state, _V4_LIQUIDITY, key, True)]
    return reads


def rates_of(pools: Sequence[Pool], results: Sequence[Result]) -> dict[str, tuple[Fraction, Fraction]]:
    """The answers to :func:`spot_reads`."""
    rates = {}
    for place, pool in enumerate(pools):
        first, second = (each.values for each in results[2 * place : 2 * place + 2])
        if first is None or second is None:
            continue
        if pool.version is Version.V2:
            price = Fraction(first[1], first[0]) if first[0] and first[1] else None
        else:
            price = Fraction(first[0] ** 2, Q96**2) if first[0] and second[0] else None
        if price is not None:
            kept = Fraction(_MILLION - pool.fee, _MILLION)
            rates[pool.id] = (price * kept, kept / price)
    return rates


def rate_along(rates: Rates, route: Route) -> Fraction | None:
    """Units at the end of a route for the first unit at its start; None where a pool of it is empty."""
    rate = Fraction(1)
    for pool, token in zip(route.pools, route.path, strict=False):
        both = rates.get(pool.id)
        if both is None:
            return None
        rate *= both[0] if token == pool.token0 else both[1]
    return rate


def best_rate(rates: Rates, routes: Iterable[Route]) -> Fraction | None:
    """The best of several routes."""
    found = (rate_along(rates, route) for route in routes)
    return max((rate for rate in found if rate is not None), default=None)


def touch(rates: Rates, market: Market) -> Touch:
    """Where the first unit of a market would trade now."""
    shift = Fraction(10) ** (market.base.decimals - market.quote.decimals)
    sell, buy = best_rate(rates, market.sells), best_rate(rates, market.buys)
    bid = None if sell is None else shown(sell * shift, up=False, digits=SHOWN_DIGITS)
    ask = None if buy is None else shown(shift / buy, up=True, digits=SHOWN_DIGITS)
    return Touch(bid, ask)
