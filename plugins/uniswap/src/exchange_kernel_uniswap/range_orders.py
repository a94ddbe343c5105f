"""Post-only orders: liquidity of one token in a single tick step, which the market turns into the other token.

A step above the price is a sale of token0, a step below it a sale of token1. The step's edge nearest to the market is
the order's limit: everything sells at it or better. Until it is withdrawn a fill can turn back with the price.
"""

from __future__ import annotations

from collections.abc import Sequence

from exchange_kernel.errors import InvalidOrder, PostOnlyWouldCross, Unsupported
from exchange_kernel.schema import AmountType, Side
from exchange_kernel.value import Value, revised
from exchange_kernel.venue import Executed, Spec
from exchange_kernel_evm.abi import Function
from exchange_kernel_evm.multicall import Read, Result
from exchange_kernel_uniswap.addresses import NATIVE
from exchange_kernel_uniswap.deployment import Deployment
from exchange_kernel_uniswap.drafts import Allowance, Draft
from exchange_kernel_uniswap.liquidity import (
    MAX_LIQUIDITY,
    amount0,
    amount1,
    least_liquidity,
    liquidity_for,
    principal,
)
from exchange_kernel_uniswap.paths import words
from exchange_kernel_uniswap.pools import Pool, Version
from exchange_kernel_uniswap.prices import PriceScale
from exchange_kernel_uniswap.ticks import MAX_TICK, MIN_TICK, sqrt_at_tick
from exchange_kernel_uniswap.tokens import Token

__all__ = [
    "DECREASE",
    "MINT",
    "MULTICALL",
    "POSITIONS",
    "SLOT0",
    "Progress",
    "RangeOrder",
    "close_draft",
    "left_of",
    "mint_draft",
    "progress",
    "progress_at",
    "progress_reads",
    "range_order",
    "refuse_crossing",
    "sold",
]

MINT = Function.of("mint", ("(address,address,uint24,int24,int24,uint256,uint256,uint256,uint256,address,uint256)",))
POSITIONS = Function.of(
    "positions",
    ("uint256",),
    (
        *("uint96", "address", "address", "address", "uint24", "int24", "int24", "uint128"),
        *("uint256", "uint256", "uint128", "uint128"),
    ),
)
SLOT0 = Function.of("slot0", (), ("uint160", "int24", "uint16", "uint16", "uint16", "uint8", "bool"))
MULTICALL = Function.of("multicall", ("bytes[]",), ("bytes[]",))
DECREASE = Function.of("decreaseLiquidity", ("(uint256,uint128,uint256,uint256,uint256)",), ("uint256", "uint256"))
COLLECT = Function.of("collect", ("(uint256,address,uint128,uint128)",), ("uint256", "uint256"))
_BURN = Function.of("burn", ("uint256",))
_REFUND = Function.of("refundETH")
_UNWRAP = Function.of("unwrapWETH9", ("uint256", "address"))
_SWEEP = Function.of("sweepToken", ("address", "uint256", "address"))
_ALL = 2**128 - 1
_MINT_GAS, _CLOSE_GAS = 450_000, 260_000


class RangeOrder(Value, frozen=True):
    """One post-only order as a position. ``deposit``: units of the token sold, exactly what the pool will take;
    ``proceeds``: units of the other token once all is sold, fees not counted."""

    pool: Pool
    side: Side
    base: Token
    quote: Token
    sells_token0: bool
    lower: int
    upper: int
    liquidity: int
    desired: int
    deposit: int
    proceeds: int

    @property
    def pays(self) -> Token:
        """The token deposited."""
        return self.base if self.side is Side.SELL else self.quote

    @property
    def ends(self) -> tuple[int, int]:
        """Square-root prices of the step's ends."""
        return sqrt_at_tick(self.lower), sqrt_at_tick(self.upper)


class Progress(Value, frozen=True):
    """Where a range order stands: ``filled`` may fall again until it is withdrawn; ``done``: all of it is sold now."""

    filled: Executed
    done: bool
    sqrt: int


def range_order(spec: Spec, base: Token, quote: Token, pool: Pool, scale: PriceScale) -> RangeOrder:
    """The position that is ``spec``: one tick step of ``pool`` whose nearer edge is the limit price.

    :raises InvalidOrder: no limit, a price off the tick grid (with the two nearest), an amount too small or too large.
    :raises Unsupported: the pool is not of v3.
    """
    if pool.version is not Version.V3:
        raise Unsupported("post_only", "range orders are kept in v3 pools")
    if spec.limit is None:
        raise InvalidOrder("limit_price", None, "is required for a post-only order")
    edge = scale.tick_of("limit_price", spec.limit, spec.side, pool.spacing)
    sells_token0 = (spec.side is Side.SELL) is scale.base_first
    lower, upper = (edge, edge + pool.spacing) if sells_token0 else (edge - pool.spacing, edge)
    if lower < MIN_TICK or upper > MAX_TICK:
        raise InvalidOrder("limit_price", spec.limit, "is at the end of the tick range: no step lies beyond it")
    in_base = spec.amount_in is AmountType.BASE
    units = (base if in_base else quote).units("amount", spec.amount)
    low, high = sqrt_at_tick(lower), sqrt_at_tick(upper)
    desired = units
    if (spec.side is Side.SELL) is not in_base:
        least = least_liquidity(low, high, units, token0=not sells_token0)
        desired = _taken(low, high, least, sells_token0)
        while liquidity_for(low, high, desired, token0=sells_token0) < least:
            desired += 1
    liquidity = liquidity_for(low, high, desired, token0=sells_token0)
    if not 0 < liquidity <= MAX_LIQUIDITY:
        rule = "is too small for a position" if not liquidity else "is more than a position can hold"
        raise InvalidOrder("amount", spec.amount, rule)
    deposit = _taken(low, high, liquidity, sells_token0)
    paid = amount1 if sells_token0 else amount0
    proceeds = paid(low, high, liquidity, up=False)
    return RangeOrder(pool, spec.side, base, quote, sells_token0, lower, upper, liquidity, desired, deposit, proceeds)


def left_of(order: RangeOrder, liquidity: int) -> RangeOrder:
    """The same step with less in it, after a part was withdrawn."""
    low, high = order.ends
    paid = amount1 if order.sells_token0 else amount0
    deposit = _taken(low, high, liquidity, order.sells_token0)
    return revised(order, liquidity=liquidity, deposit=deposit, proceeds=paid(low, high, liquidity, up=False))


def _taken(low: int, high: int, liquidity: int, token0: bool) -> int:
    return (amount0 if token0 else amount1)(low, high, liquidity, up=True)


def refuse_crossing(order: RangeOrder, tick_now: int) -> None:
    """Raises PostOnlyWouldCross where the pool is at or beyond the step: the mint would ask for the other token."""
    clear = tick_now < order.lower if order.sells_token0 else tick_now >= order.upper
    if not clear:
        raise PostOnlyWouldCross(f"the pool is at tick {tick_now}, the order's step is {order.lower} … {order.upper}")


def mint_draft(at: Deployment, order: RangeOrder, account: str, deadline: int) -> Draft:
    """Open the position. It takes all of the deposit in its one token, or reverts: that is post-only on the chain."""
    desired, least = order.desired, order.deposit
    amounts = (desired, 0, least, 0) if order.sells_token0 else (0, desired, 0, least)
    pool = order.pool
    span = (pool.token0, pool.token1, pool.fee, order.lower, order.upper)
    mint = MINT.selector + words(*span, *amounts, account, deadline)
    if order.pays.native:
        data = MULTICALL.call([mint, _REFUND.call()])
        return Draft(at.v3_positions, data, desired, _MINT_GAS, (), deadline)
    needs = (Allowance(order.pays.address, at.v3_positions, desired),)
    return Draft(at.v3_positions, mint, 0, _MINT_GAS, needs, deadline)


def close_draft(
    at: Deployment, order: RangeOrder, token_id: int, account: str, deadline: int, *, filled: bool = False
) -> Draft:
    """Withdraw everything and burn the position: a cancel, or with ``filled`` the taking of proceeds, which then
    reverts if the price came back and not all is sold any more."""
    least = order.proceeds if filled else 0
    mins = (0, least) if order.sells_token0 else (least, 0)
    native = order.base.native or order.quote.native
    steps = [
        DECREASE.call((token_id, order.liquidity, *mins, deadline)),
        # The zero address is the manager itself: it unwraps, and hands on the rest.
        COLLECT.call((token_id, NATIVE if native else account, _ALL, _ALL)),
    ]
    if native:
        other = order.quote if order.base.native else order.base
        steps += [_UNWRAP.call(0, account), _SWEEP.call(other.address, 0, account)]
    steps.append(_BURN.call(token_id))
    return Draft(at.v3_positions, MULTICALL.call(steps), 0, _CLOSE_GAS, (), deadline)


def progress_reads(at: Deployment, pool: Pool, token_id: int) -> tuple[Read, Read]:
    """The position, and its pool's price: to be read in one block. The first fails once the position is burnt."""
    return Read(at.v3_positions, POSITIONS, (token_id,), True), Read(pool.id, SLOT0)


def progress(order: RangeOrder, results: Sequence[Result]) -> Progress | None:
    """How much of ``order`` is sold at the moment of the reads; None when the position is gone or emptied.

    The sum is the contract's own: what a withdrawal in that block would pay back, fees not counted.
    """
    position, slot = results
    if position.values is None or slot.values is None or not position.values[7]:
        return None
    return progress_at(order, slot.values[0])


def progress_at(order: RangeOrder, sqrt: int) -> Progress:
    """The same, at a price of the pool."""
    zero, one = principal(*order.ends, order.liquidity, sqrt)
    left, got = (zero, one) if order.sells_token0 else (one, zero)
    return Progress(sold(order, left, got), not left and got > 0, sqrt)


def sold(order: RangeOrder, left: int, got: int, deposit: int | None = None) -> Executed:
    """Execution from what is left of the deposit (or of this part of it) and what came of it. Where nothing came, what
    is missing is dust."""
    given = (order.deposit if deposit is None else deposit) - left if got else 0
    base, quote = (given, got) if order.side is Side.SELL else (got, given)
    return Executed(order.base.amount(base), order.quote.amount(quote))
