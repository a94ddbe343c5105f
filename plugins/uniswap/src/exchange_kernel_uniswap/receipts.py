"""From a mined transaction to fills: what the account really paid and got, not what was asked for.

ERC-20 amounts are the net of the Transfer logs from and to the account, so a token that keeps a part of each transfer
is counted as it arrives. ETH leaves no Transfer: it is what the routers wrapped and unwrapped for the account, and what
v4 pools of the native coin report. No traces are needed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction

from exchange_kernel.schema import Side
from exchange_kernel.value import Value
from exchange_kernel.venue import VenueStatus, Why
from exchange_kernel_evm.abi import Event
from exchange_kernel_evm.finality import Mined
from exchange_kernel_evm.tokens import net_transfers
from exchange_kernel_evm.venue import Outcome, Trade
from exchange_kernel_uniswap.addresses import NATIVE
from exchange_kernel_uniswap.deployment import Deployment
from exchange_kernel_uniswap.pools import Pool, Version
from exchange_kernel_uniswap.prices import shown
from exchange_kernel_uniswap.tokens import Token

__all__ = ["INCREASE", "Flows", "Minted", "flows", "minted", "swap_outcome"]

_DEPOSIT = Event.of("Deposit(address,uint256)", ("address",), ("uint256",))
_WITHDRAWAL = Event.of("Withdrawal(address,uint256)", ("address",), ("uint256",))
_V2_SWAP = Event.of("Swap(address,uint256,uint256,uint256,uint256,address)", ("address",) * 2, ("uint256",) * 4)
_SWAP_TAIL = ("uint160", "uint128", "int24")
_V3_SWAP = Event.of(
    "Swap(address,address,int256,int256,uint160,uint128,int24)", ("address",) * 2, ("int256", "int256", *_SWAP_TAIL)
)
_V4_SWAP = Event.of(
    "Swap(bytes32,address,int128,int128,uint160,uint128,int24,uint24)",
    ("bytes32", "address"),
    ("int128", "int128", *_SWAP_TAIL, "uint24"),
)
INCREASE = Event.of("IncreaseLiquidity(uint256,uint128,uint256,uint256)", ("uint256",), ("uint128",) + ("uint256",) * 2)
_PRICE_DIGITS = 30


class Flows(Value, frozen=True):
    """Net units by token address, NATIVE for ETH without gas. ``account``: what it gained; ``pools``: what the pools of
    the route gave (+) and took (-), by their own Swap events, intermediate tokens cancelled out."""

    account: dict[str, int]
    pools: dict[str, int]


class Minted(Value, frozen=True):
    """A range order's position: its ``token_id``, and the units of token0 and token1 the pool took."""

    token_id: int
    liquidity: int
    amount0: int
    amount1: int


def flows(mined: Mined, account: str, at: Deployment, route: Iterable[Pool]) -> Flows:
    """What the transaction moved. ``route``: the pools it was sent through; other pools' events are not counted."""
    pools = {pool.id.lower(): pool for pool in route}
    given: dict[str, int] = defaultdict(int)
    ether = 0
    for log in mined.logs:
        source = log["address"].lower()
        if source == at.weth.lower():
            ether += _unwrapped(log, at)
        elif found := _swapped(log, source, pools, at):
            pool, zero, one = found
            given[pool.token0] += zero
            given[pool.token1] += one
    net = net_transfers(mined.logs, account)
    ether += given.get(NATIVE, 0)
    if ether:
        net[NATIVE] = ether
    return Flows(net, {token: units for token, units in given.items() if units})


def _unwrapped(log: dict[str, object], at: Deployment) -> int:
    """ETH that a router got back for WETH (+) or wrapped (-): it holds none of its own between transactions."""
    routers = {one.lower() for one in (at.universal_router, at.swap_router, at.v3_positions)}
    for event, sign in ((_DEPOSIT, -1), (_WITHDRAWAL, 1)):
        found = event.read(log)
        if found is not None and found[0].lower() in routers:
            return sign * int(found[1])
    return 0


def _swapped(
    log: dict[str, object], source: str, pools: dict[str, Pool], at: Deployment
) -> tuple[Pool, int, int] | None:
    """A Swap event of one of ``pools``: what it gave (+) or took (-) of token0 and token1."""
    if source == at.v4_manager.lower():
        found = _V4_SWAP.read(log)
        pool = None if found is None else pools.get("0x" + found[0].hex())
        return None if found is None or pool is None else (pool, found[2], found[3])
    pool = pools.get(source)
    if pool is None:
        return None
    if pool.version is Version.V3:
        found = _V3_SWAP.read(log)
        return None if found is None else (pool, -found[2], -found[3])
    found = _V2_SWAP.read(log)
    return None if found is None else (pool, found[4] - found[2], found[5] - found[3])


def swap_outcome(
    mined: Mined, account: str, at: Deployment, route: Iterable[Pool], side: Side, base: Token, quote: Token
) -> Outcome:
    """What a swap came to: one trade with the amounts that arrived and left. A reverted transaction is no trade; its
    gas was spent all the same. ``text`` names a difference between what pools gave and what arrived."""
    if not mined.ok:
        return Outcome(VenueStatus.REJECTED, why=Why.REVERTED, text="the transaction was reverted; its gas is spent")
    moved = flows(mined, account, at, route)
    sign = 1 if side is Side.BUY else -1
    got_base, got_quote = sign * moved.account.get(base.address, 0), -sign * moved.account.get(quote.address, 0)
    if got_base <= 0 or got_quote <= 0:
        return Outcome(VenueStatus.EXPIRED, text="the transaction moved nothing of this pair")
    amounts = base.amount(got_base), quote.amount(got_quote)
    price = shown(Fraction(amounts[1]) / Fraction(amounts[0]), up=side is Side.BUY, digits=_PRICE_DIGITS)
    text = _lost(moved, at, base, quote)
    return Outcome(VenueStatus.FILLED, (Trade(*amounts, price, maker=False),), text=text)


def _lost(moved: Flows, at: Deployment, base: Token, quote: Token) -> str:
    """Units that neither the pools nor the account have: kept by the token on the way."""
    notes = []
    for token in (base, quote):
        forms = (NATIVE, at.weth) if token.address in (NATIVE, at.weth) else (token.address,)
        tax = sum(moved.pools.get(form, 0) for form in forms) - moved.account.get(token.address, 0)
        if moved.pools and tax:
            notes.append(f"{token.amount(tax):f} {token.symbol} were kept on the way")
    return "; ".join(notes)


def minted(mined: Mined, at: Deployment) -> Minted | None:
    """The position a mint made; None where the transaction made none."""
    for log in mined.logs:
        found = INCREASE.read(log) if log["address"].lower() == at.v3_positions.lower() else None
        if found is not None and mined.ok:
            return Minted(*found)
    return None
