"""What a transaction orders, read back from its calldata alone: for a kernel that lost its tickets.

Only what this package writes is recognized; anything else is None. After the arguments, which is all that contracts
look at, there may be how much the order wanted, where less was sent, and there is the order's tag.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from exchange_kernel.errors import ConfigError
from exchange_kernel.value import Value, revised
from exchange_kernel_uniswap import swap_router, universal_router
from exchange_kernel_uniswap.addresses import NATIVE
from exchange_kernel_uniswap.deployment import Deployment
from exchange_kernel_uniswap.once import EXECUTE_SIGNED
from exchange_kernel_uniswap.paths import route_of_v3_path
from exchange_kernel_uniswap.pools import Pool, v2_pool, v3_pool, v4_pool
from exchange_kernel_uniswap.routes import Route

__all__ = ["Sent", "sent_by", "wanting"]

_WANTED = keccak(b"exchange-kernel amount wanted 1")[:16]
_WORD = 32


class Sent(Value, frozen=True):
    """A swap as it was sent. ``bound`` is the guard; with ``sqrt_limit`` (not zero) it may have been done in part.

    ``recipient``: who is paid; ``deadline``: unix seconds. ``wanted``: what ``amount`` was cut down from, else as that.
    """

    route: Route
    exact_in: bool
    amount: int
    bound: int
    recipient: str
    deadline: int
    sqrt_limit: int = 0
    wanted: int = 0

    @property
    def token_in(self) -> str:
        """What is paid; NATIVE where ETH is wrapped on the way."""
        return NATIVE if self.route.wraps else self.route.path[0]

    @property
    def token_out(self) -> str:
        """What is received."""
        return NATIVE if self.route.unwraps else self.route.path[-1]


def sent_by(at: Deployment, to: str, data: bytes) -> Sent | None:
    """The swap in a transaction to one of the routers; None where there is none this package would write."""
    readers = {at.universal_router.lower(): _by_universal, at.swap_router.lower(): _by_swap_router}
    reader = readers.get(to.lower())
    try:
        sent = None if reader is None else reader(at, data)
    except (ConfigError, DecodingError, IndexError, OverflowError, ValueError):
        return None
    return None if sent is None else revised(sent, wanted=_wanted(data) or sent.amount)


def wanting(amount: int) -> bytes:
    """What follows the calldata of an order for ``amount`` units (below 2**128) of which only a part is sent."""
    return _WANTED + amount.to_bytes(16, "big")


def _wanted(data: bytes) -> int:
    """It is the last word, or the last but the tag."""
    for end in (len(data), len(data) - _WORD):
        word = data[max(0, end - _WORD) : end]
        if word.startswith(_WANTED):
            return int.from_bytes(word[16:], "big")
    return 0


def _by_universal(at: Deployment, data: bytes) -> Sent | None:
    found = universal_router.EXECUTE.arguments(data)
    signed = EXECUTE_SIGNED.arguments(data) if found is None else None
    if signed is not None:
        found = *signed[:2], signed[-1]
    if found is None:
        return None
    codes, given, deadline = found
    commands = list(zip(codes, given, strict=True))
    swaps = [(code, one) for code, one in commands if code in universal_router.SWAPS]
    if len(swaps) != 1:
        return None
    code, one = swaps[0]
    place = commands.index((code, one))
    wraps = any(each == universal_router.WRAP for each, _ in commands[:place])
    unwrap = next((args for each, args in commands[place + 1 :] if each == universal_router.UNWRAP), None)
    exact_in: bool
    if code == universal_router.V4:
        path, pools, exact_in, amount, bound, recipient = _v4(one)
    else:
        exact_in = code in (universal_router.V3_IN, universal_router.V2_IN)
        v3 = code in (universal_router.V3_IN, universal_router.V3_OUT)
        types = universal_router.V3_TYPES if v3 else universal_router.V2_TYPES
        recipient, amount, bound, way, _ = decode(types, one)
        path, pools = _pools(at, way, exact_in)
    unwraps = recipient == universal_router.THE_ROUTER
    if unwraps and unwrap is not None:
        recipient = decode(universal_router.TO_AMOUNT, unwrap)[0]
    route = Route(pools, path, wraps, unwraps)
    return Sent(route, exact_in, amount, bound, to_checksum_address(recipient), deadline)


def _pools(at: Deployment, way: Any, exact_in: bool) -> tuple[tuple[str, ...], tuple[Pool, ...]]:
    if isinstance(way, bytes):
        path, fees = route_of_v3_path(way, exact_in=exact_in)
        hops = zip(path, path[1:], fees, strict=False)
        return path, tuple(v3_pool(at, one, other, fee) for one, other, fee in hops)
    path = tuple(to_checksum_address(token) for token in way)
    return path, tuple(v2_pool(at, one, other) for one, other in itertools.pairwise(path))


def _v4(plan: bytes) -> tuple[tuple[str, ...], tuple[Pool, ...], bool, int, int, str]:
    actions, params = decode(("bytes", "bytes[]"), plan)
    action = actions[0]
    recipient = decode(universal_router.TAKE_TYPES, params[2])[1]
    exact_in = action in (universal_router.V4_IN, universal_router.V4_IN_SINGLE)
    if action in (universal_router.V4_IN_SINGLE, universal_router.V4_OUT_SINGLE):
        ((key, zero_for_one, amount, bound, _),) = decode(universal_router.V4_SINGLE_TYPE, params[0])
        pool = v4_pool(to_checksum_address(key[0]), to_checksum_address(key[1]), key[2], key[3])
        path: tuple[str, ...] = (pool.token0, pool.token1) if zero_for_one else (pool.token1, pool.token0)
        return path, (pool,), exact_in, amount, bound, recipient
    ((end, keys, amount, bound),) = decode(universal_router.V4_PATH_TYPE, params[0])
    ends = [str(to_checksum_address(each[0])) for each in keys]
    path = (to_checksum_address(end), *ends) if exact_in else (*ends, to_checksum_address(end))
    pools = tuple(v4_pool(one, other, key[1], key[2]) for one, other, key in zip(path, path[1:], keys, strict=False))
    return path, pools, exact_in, amount, bound, recipient


def _by_swap_router(at: Deployment, data: bytes) -> Sent | None:
    found = swap_router.MULTICALL.arguments(data)
    if found is None or not found[1]:
        return None
    deadline, steps = found
    wraps = any(step.startswith(swap_router.REFUND.selector) for step in steps[1:])
    unwrap = next((each for each in map(swap_router.UNWRAP.arguments, steps[1:]) if each is not None), None)
    one = _one_swap(at, steps[0])
    if one is None:
        return None
    path, pools, exact_in, amount, bound, recipient, limit = one
    route = Route(pools, path, wraps, unwrap is not None)
    paid = unwrap[1] if unwrap is not None else recipient
    return Sent(route, exact_in, amount, bound, to_checksum_address(paid), deadline, limit)


def _one_swap(at: Deployment, step: bytes) -> tuple[tuple[str, ...], tuple[Pool, ...], bool, int, int, str, int] | None:
    for function in swap_router.SWAPS:
        values: Sequence[Any] | None = function.arguments(step)
        if values is None:
            continue
        exact_in = function in (swap_router.IN_SINGLE, swap_router.IN, swap_router.V2_IN)
        if function in (swap_router.IN_SINGLE, swap_router.OUT_SINGLE):
            one, other, fee, recipient, amount, bound, limit = values[0]
            start, end = to_checksum_address(one), to_checksum_address(other)
            return (start, end), (v3_pool(at, start, end, fee),), exact_in, amount, bound, recipient, limit
        if function in (swap_router.IN, swap_router.OUT):
            way, recipient, amount, bound = values[0]
        else:
            amount, bound, way, recipient = values
        return *_pools(at, way, exact_in), exact_in, amount, bound, recipient, 0
    return None
