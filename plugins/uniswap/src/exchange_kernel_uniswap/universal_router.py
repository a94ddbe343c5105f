"""Swaps as commands of the Universal Router (releases 2.0 and 2.1), for pools of v2, v3 and v4.

Sources: universal-router ``libraries/Commands.sol``, ``base/Dispatcher.sol``; v4-periphery ``libraries/Actions.sol``,
``interfaces/IV4Router.sol``. Both releases read the swap commands alike; 2.1 adds ``executeSigned``. Later ones take
a list of least prices per hop in every swap and are refused.
"""

from __future__ import annotations

from eth_abi.abi import encode

from exchange_kernel.errors import ConfigError
from exchange_kernel_evm.abi import Function
from exchange_kernel_uniswap.addresses import NATIVE
from exchange_kernel_uniswap.deployment import ROUTER_VERSIONS, Deployment
from exchange_kernel_uniswap.drafts import Allowance, Draft
from exchange_kernel_uniswap.paths import PATH_KEYS, POOL_KEY, v3_path, v4_keys, words
from exchange_kernel_uniswap.pools import Version
from exchange_kernel_uniswap.routes import Route
from exchange_kernel_uniswap.swaps import Swap

__all__ = ["EXECUTE", "PERMIT_GAS", "SWAPS", "THE_ROUTER", "Permit", "permit_command", "swap_draft"]

EXECUTE = Function.of("execute", ("bytes", "bytes[]", "uint256"))
THE_ROUTER = "0x0000000000000000000000000000000000000002"
"""How a recipient says "the router itself"."""

V3_IN, V3_OUT, _SWEEP, V2_IN, V2_OUT = 0x00, 0x01, 0x04, 0x08, 0x09
_PERMIT, WRAP, UNWRAP, V4 = 0x0A, 0x0B, 0x0C, 0x10
V4_IN_SINGLE, V4_IN, V4_OUT_SINGLE, V4_OUT, _SETTLE, _TAKE = 0x06, 0x07, 0x08, 0x09, 0x0B, 0x0E
_OPEN_DELTA = 0
_MAY_FAIL = 0x80

V3_TYPES = ("address", "uint256", "uint256", "bytes", "bool")
V2_TYPES = ("address", "uint256", "uint256", "address[]", "bool")
TO_AMOUNT = ("address", "uint256")
V4_SINGLE_TYPE = (f"({POOL_KEY},bool,uint128,uint128,bytes)",)
V4_PATH_TYPE = (f"(address,{PATH_KEYS},uint128,uint128)",)
TAKE_TYPES = ("address", "address", "uint256")
_PERMIT_TYPES = ("((address,uint160,uint48,uint48),address,uint256)", "bytes")
PERMIT_GAS = 60_000

SWAPS = frozenset({V3_IN, V3_OUT, V2_IN, V2_OUT, V4})

Command = tuple[int, bytes]
Permit = tuple[tuple[tuple[str, int, int, int], str, int], bytes]


def permit_command(permit: Permit) -> Command:
    """A signed Permit2 allowance, taken in the same transaction as the swap it is for. Anybody who sees it may hand it
    in before: then this command fails, and the swap goes on with what was allowed."""
    return _PERMIT | _MAY_FAIL, encode(_PERMIT_TYPES, permit)


def swap_draft(
    at: Deployment, route: Route, swap: Swap, account: str, deadline: int, permit: Permit | None = None
) -> Draft:
    """One ``execute`` that swaps along ``route``, pays ``account``, and refuses itself after ``deadline`` (unix s).

    ``permit``: sent along where the router's Permit2 allowance does not suffice. Raises ConfigError for a release of
    the router whose encoding is not known.
    """
    if at.universal_router_version not in ROUTER_VERSIONS:
        known = ", ".join(ROUTER_VERSIONS)
        raise ConfigError(
            "universal_router_version", at.universal_router_version, "is not known", f"choose one of {known}"
        )
    commands = [] if permit is None else [permit_command(permit)]
    most_in = swap.most_in
    if route.wraps:
        commands.append((WRAP, words(THE_ROUTER, most_in)))
    recipient = THE_ROUTER if route.unwraps else account
    commands.append(_swap(route, swap, recipient, from_account=not route.wraps))
    if route.unwraps:
        least = swap.bound if swap.exact_in else swap.amount
        commands.append((UNWRAP, words(account, least)))
    if not swap.exact_in and route.wraps:
        commands.append((UNWRAP, words(account, 0)))
    pays_native = route.path[0] == NATIVE
    if not swap.exact_in and pays_native:
        commands.append((_SWEEP, words(NATIVE, account, 0)))
    data = EXECUTE.call(bytes(code for code, _ in commands), [given for _, given in commands], deadline)
    paid_in_eth = route.wraps or pays_native
    needs = () if paid_in_eth else (Allowance(route.path[0], at.universal_router, most_in, permit2=True),)
    gas = route.gas + (PERMIT_GAS if permit else 0)
    return Draft(at.universal_router, data, most_in if paid_in_eth else 0, gas, needs, deadline)


def _swap(route: Route, swap: Swap, recipient: str, *, from_account: bool) -> Command:
    exact_in = swap.exact_in
    first, second = swap.amount, swap.bound
    if route.version is Version.V3:
        code = V3_IN if exact_in else V3_OUT
        return code, encode(V3_TYPES, (recipient, first, second, v3_path(route, exact_in=exact_in), from_account))
    if route.version is Version.V2:
        code = V2_IN if exact_in else V2_OUT
        return code, encode(V2_TYPES, (recipient, first, second, route.path, from_account))
    return V4, _v4_plan(route, swap, recipient, from_account=from_account)


def _v4_plan(route: Route, swap: Swap, recipient: str, *, from_account: bool) -> bytes:
    """Swap, pay the debt, take the credit. The guard is in the swap itself."""
    exact_in = swap.exact_in
    start, end = route.path[0], route.path[-1]
    if route.single:
        pool = route.pools[0]
        action = V4_IN_SINGLE if exact_in else V4_OUT_SINGLE
        # A struct whose last field is the empty hook data: one word says where the struct begins, nine come before it.
        params = words(32, *pool.key, start == pool.token0, swap.amount, swap.bound, 9 * 32, 0)
    else:
        action = V4_IN if exact_in else V4_OUT
        keys = v4_keys(route, exact_in=exact_in)
        params = encode(V4_PATH_TYPE, ((start if exact_in else end, keys, swap.amount, swap.bound),))
    settle = words(start, _OPEN_DELTA, from_account)
    take = words(end, recipient, _OPEN_DELTA)
    return encode(("bytes", "bytes[]"), (bytes((action, _SETTLE, _TAKE)), [params, settle, take]))
