"""What each route would give now, asked of the chain's own quoters: one call per route, all put into one multicall.

A quoter reverts where a route cannot do it (no liquidity, no pool); that answer is "no", not an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from exchange_kernel.value import Value
from exchange_kernel_evm.abi import Function
from exchange_kernel_evm.multicall import Read, Result
from exchange_kernel_uniswap.deployment import Deployment
from exchange_kernel_uniswap.paths import PATH_KEYS, v3_path, v4_keys
from exchange_kernel_uniswap.pools import Version
from exchange_kernel_uniswap.routes import Route
from exchange_kernel_uniswap.swaps import Swap

__all__ = ["GasPrice", "Moment", "Quote", "best", "fresh", "limited_read", "met", "quote_read", "quoted"]

_V3_IN = Function.of("quoteExactInput", ("bytes", "uint256"), ("uint256", "uint160[]", "uint32[]", "uint256"))
_V3_OUT = Function.of("quoteExactOutput", ("bytes", "uint256"), ("uint256", "uint160[]", "uint32[]", "uint256"))
_V3_SINGLE = ("(address,address,uint256,uint24,uint160)",)
_V3_SINGLE_ANSWER = ("uint256", "uint160", "uint32", "uint256")
_V3_IN_SINGLE = Function.of("quoteExactInputSingle", _V3_SINGLE, _V3_SINGLE_ANSWER)
_V3_OUT_SINGLE = Function.of("quoteExactOutputSingle", _V3_SINGLE, _V3_SINGLE_ANSWER)
_V2_IN = Function.of("getAmountsOut", ("uint256", "address[]"), ("uint256[]",))
_V2_OUT = Function.of("getAmountsIn", ("uint256", "address[]"), ("uint256[]",))
_V4_PARAMS = (f"(address,{PATH_KEYS},uint128)",)
_V4_IN = Function.of("quoteExactInput", _V4_PARAMS, ("uint256", "uint256"))
_V4_OUT = Function.of("quoteExactOutput", _V4_PARAMS, ("uint256", "uint256"))


class Moment(Value, frozen=True):
    """The block a quote was read at: ``number``, and its ``time`` in unix seconds."""

    number: int
    time: int


class Quote(Value, frozen=True):
    """``other`` is what comes out for ``amount`` in (``exact_in``), or what ``amount`` out costs; smallest units.

    ``gas``: what the quoter says that the pools alone use; 0 where it does not say (v2).
    """

    route: Route
    exact_in: bool
    amount: int
    other: int
    at: Moment
    gas: int = 0


class GasPrice(Value, frozen=True):
    """What gas costs: ``wei`` per unit, and how many smallest units of the *other* token one wei is worth.

    ``worth`` zero: not known, and gas does not count in the choice.
    """

    wei: int
    worth: Fraction


def quote_read(at: Deployment, route: Route, exact_in: bool, amount: int) -> Read:
    """The question to the quoter of the route's release, for all of ``amount``."""
    if route.version is Version.V2:
        return Read(at.v2_router, _V2_IN if exact_in else _V2_OUT, (amount, route.path), True)
    if route.version is Version.V3:
        path = v3_path(route, exact_in=exact_in)
        return Read(at.v3_quoter, _V3_IN if exact_in else _V3_OUT, (path, amount), True)
    end = route.path[0] if exact_in else route.path[-1]
    keys = v4_keys(route, exact_in=exact_in)
    return Read(at.v4_quoter, _V4_IN if exact_in else _V4_OUT, ((end, keys, amount),), True)


def limited_read(at: Deployment, route: Route, exact_in: bool, amount: int, sqrt_stop: int) -> Read:
    """As :func:`quote_read` for a single v3 pool that stops at a price: what the part done would give (or cost)."""
    function = _V3_IN_SINGLE if exact_in else _V3_OUT_SINGLE
    return Read(at.v3_quoter, function, ((*route.path, amount, route.pools[0].fee, sqrt_stop),), True)


def quoted(route: Route, exact_in: bool, amount: int, at: Moment, result: Result) -> Quote | None:
    """The answer to :func:`quote_read` or :func:`limited_read`; None where this route cannot do it."""
    if result.values is None:
        return None
    first = result.values[0]
    other = (first[-1] if exact_in else first[0]) if route.version is Version.V2 else first
    gas = 0 if route.version is Version.V2 else result.values[-1]
    return Quote(route, exact_in, amount, other, at, gas) if other > 0 else None


def best(quotes: Iterable[Quote | None], gas: GasPrice) -> Quote | None:
    """The quote that leaves most after gas, or costs least with it; between equals the shorter, then the first."""
    return min((quote for quote in quotes if quote is not None), key=lambda quote: _rank(quote, gas), default=None)


def _rank(quote: Quote, gas: GasPrice) -> tuple[Fraction, int, str]:
    cost = quote.route.gas * gas.wei * gas.worth
    score = cost - quote.other if quote.exact_in else cost + quote.other
    return score, len(quote.route.pools), quote.route.name


def fresh(moment: Moment, head: Moment, now: int, *, blocks: int, seconds: int) -> bool:
    """May a quote read at ``moment`` still be acted on? ``head`` is the newest block known, ``now`` in unix seconds.

    Not when more than ``blocks`` were built on it, nor when its block is older than ``seconds``, nor when the head went
    back behind it (a reorg, or a node that lags).
    """
    return 0 <= head.number - moment.number <= blocks and now - moment.time <= seconds


def met(swap: Swap, quote: Quote) -> bool:
    """Does the quote, which must be for all of the order, respect its guard?"""
    return quote.amount == swap.amount and quote.exact_in is swap.exact_in and swap.met(quote.other)
