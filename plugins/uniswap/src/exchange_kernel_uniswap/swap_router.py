"""Swaps by SwapRouter02 (v2 and v3 pools): the router that takes a price limit, and so can fill in part.

Source: swap-router-contracts ``V3SwapRouter.sol``, ``V2SwapRouter.sol``, ``base/MulticallExtended.sol``. Its swaps have
no deadline of their own: they are always sent inside ``multicall(deadline, …)``.
"""

from __future__ import annotations

from exchange_kernel.errors import Unsupported
from exchange_kernel_evm.abi import Function
from exchange_kernel_uniswap.deployment import Deployment
from exchange_kernel_uniswap.drafts import Allowance, Draft
from exchange_kernel_uniswap.paths import v3_path
from exchange_kernel_uniswap.pools import Version
from exchange_kernel_uniswap.routes import Route
from exchange_kernel_uniswap.swaps import Swap

__all__ = ["MULTICALL", "SWAPS", "limited_draft", "swap_draft"]

MULTICALL = Function.of("multicall", ("uint256", "bytes[]"))
_SINGLE = ("(address,address,uint24,address,uint256,uint256,uint160)",)
_PATH = ("(bytes,address,uint256,uint256)",)
_V2 = ("uint256", "uint256", "address[]", "address")
IN_SINGLE, OUT_SINGLE = Function.of("exactInputSingle", _SINGLE), Function.of("exactOutputSingle", _SINGLE)
IN, OUT = Function.of("exactInput", _PATH), Function.of("exactOutput", _PATH)
V2_IN, V2_OUT = Function.of("swapExactTokensForTokens", _V2), Function.of("swapTokensForExactTokens", _V2)
UNWRAP = Function.of("unwrapWETH9", ("uint256", "address"))
REFUND = Function.of("refundETH")
SWAPS = (IN_SINGLE, OUT_SINGLE, IN, OUT, V2_IN, V2_OUT)
_THE_ROUTER = "0x0000000000000000000000000000000000000002"


def swap_draft(at: Deployment, route: Route, swap: Swap, account: str, deadline: int) -> Draft:
    """All or nothing along a v2 or v3 route. Raises Unsupported for v4, which this router does not know."""
    if route.version is Version.V4:
        raise Unsupported("v4 by SwapRouter02", "v4 pools are traded by the Universal Router")
    recipient = _THE_ROUTER if route.unwraps else account
    if route.version is Version.V2:
        step = (V2_IN if swap.exact_in else V2_OUT).call(swap.amount, swap.bound, route.path, recipient)
    elif route.single:
        step = _single(route, swap, recipient, swap.bound, 0)
    else:
        path = v3_path(route, exact_in=swap.exact_in)
        step = (IN if swap.exact_in else OUT).call((path, recipient, swap.amount, swap.bound))
    least = swap.bound if swap.exact_in else swap.amount
    return _wrapped(at, route, swap, account, deadline, step, least)


def limited_draft(at: Deployment, route: Route, swap: Swap, account: str, deadline: int, sqrt_limit: int) -> Draft:
    """As much of the order as one v3 pool gives before its price passes ``sqrt_limit`` (Q64.96); the rest is not done.

    The limit bounds the price of the last unit; the guard of exact in therefore only refuses a swap of nothing. Raises
    Unsupported for anything but a single v3 pool.
    """
    if route.version is not Version.V3 or not route.single:
        raise Unsupported("ioc by price limit", "only a single v3 pool takes a price limit")
    recipient = _THE_ROUTER if route.unwraps else account
    # A part is worth less than the bound of the whole; the most to pay bounds a part as well.
    bound = 1 if swap.exact_in else swap.bound
    step = _single(route, swap, recipient, bound, sqrt_limit)
    return _wrapped(at, route, swap, account, deadline, step, 1)


def _single(route: Route, swap: Swap, recipient: str, bound: int, sqrt_limit: int) -> bytes:
    function = IN_SINGLE if swap.exact_in else OUT_SINGLE
    start, end = route.path
    return function.call((start, end, route.pools[0].fee, recipient, swap.amount, bound, sqrt_limit))


def _wrapped(at: Deployment, route: Route, swap: Swap, account: str, deadline: int, step: bytes, least: int) -> Draft:
    steps = [step]
    if route.unwraps:
        steps.append(UNWRAP.call(least, account))
    if route.wraps:
        # The router wraps only what the pool asks for; what is left is ETH that anybody could take.
        steps.append(REFUND.call())
    needs = () if route.wraps else (Allowance(route.path[0], at.swap_router, swap.most_in),)
    value = swap.most_in if route.wraps else 0
    return Draft(at.swap_router, MULTICALL.call(deadline, steps), value, route.gas, needs, deadline)
