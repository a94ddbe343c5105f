"""What a range order is to the frame: its terms, from an order or back from the calldata of its mint.

The mint says which step, which token and how much of it. The word behind its arguments, which the contract does not
look at, says the rest: which token is the base, what the amount was counted in, and whether WETH stands for ETH.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import msgspec
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from exchange_kernel.errors import ConfigError, InvalidOrder
from exchange_kernel.schema import AmountType, Side
from exchange_kernel.value import Value, revised
from exchange_kernel.venue import Spec
from exchange_kernel_evm.transactions import Unsigned, untagged
from exchange_kernel_evm.venue import Terms
from exchange_kernel_uniswap.addresses import NATIVE
from exchange_kernel_uniswap.config import Market, Setup
from exchange_kernel_uniswap.deployment import Deployment
from exchange_kernel_uniswap.pools import Pool, v3_pool
from exchange_kernel_uniswap.prices import PriceScale, shown
from exchange_kernel_uniswap.range_orders import MINT, MULTICALL, RangeOrder, range_order
from exchange_kernel_uniswap.receipts import Minted
from exchange_kernel_uniswap.tokens import Token

__all__ = ["MAX_AMOUNT", "range_in", "range_terms", "rests", "terms_minted", "word_of"]

MAX_AMOUNT = 2**120
"""Units that fit into the word; far more than any token that is traded has."""
_RANGE = keccak(b"exchange-kernel range order 1")[:16]
_IN_BASE, _BASE_FIRST, _ETHER = 1, 2, 4
_WORD = 32


class _Step(Value, frozen=True):
    base: Token
    quote: Token
    pool: Pool
    amount_in: AmountType


def range_terms(spec: Spec, market: Market, pool: Pool) -> Terms:
    """Of a post-only order that is a position in ``pool``."""
    step = _Step(market.base, market.quote, pool, spec.amount_in)
    more = {"range": msgspec.json.encode(step).decode()}
    return Terms(market.symbol, spec.side, spec.amount, spec.limit, more)


def rests(terms: Terms) -> bool:
    """Are these the terms of a range order?"""
    return "range" in terms.more


def range_in(terms: Terms, minted: Minted, at: Deployment) -> RangeOrder:
    """The position of an order, as its mint made it."""
    step = msgspec.json.decode(terms.more["range"].encode(), type=_Step)
    spec = Spec(terms.symbol, terms.side, terms.amount, step.amount_in, terms.price, post_only=True)
    order = range_order(spec, step.base, step.quote, step.pool, PriceScale.of(step.base, step.quote, at.weth))
    deposit = minted.amount0 if order.sells_token0 else minted.amount1
    return revised(order, liquidity=minted.liquidity, deposit=deposit)


def word_of(spec: Spec, order: RangeOrder, scale: PriceScale) -> bytes:
    """What follows the calldata of a mint. Raises InvalidOrder for an amount that does not fit."""
    in_base = spec.amount_in is AmountType.BASE
    units = (order.base if in_base else order.quote).units("amount", spec.amount)
    if units >= MAX_AMOUNT:
        raise InvalidOrder("amount", spec.amount, "is more than a position can hold")
    ether = order.base.native or order.quote.native
    flags = _IN_BASE * in_base | _BASE_FIRST * scale.base_first | _ETHER * ether
    return _RANGE + bytes((flags,)) + units.to_bytes(15, "big")


def terms_minted(tx: Unsigned, setup: Setup, account: str) -> Terms | None:
    """Of a mint found on the chain; None where it is none of ours, or of no symbol of this account."""
    at, word = setup.at, untagged(tx.data)[-_WORD:]
    if tx.to != at.v3_positions or not word.startswith(_RANGE):
        return None
    calls = MULTICALL.arguments(tx.data)
    steps = (tx.data,) if calls is None else calls[0]
    found = MINT.arguments(steps[0]) if steps else None
    if found is None:
        return None
    one, other, fee, lower, upper, desired0, _, _, _, recipient, _ = found[0]
    if to_checksum_address(recipient) != account:
        return None
    try:
        pool = v3_pool(at, to_checksum_address(one), to_checksum_address(other), fee)
    except ConfigError:
        return None
    flags, units = word[16], int.from_bytes(word[17:], "big")
    market = _market(setup, pool, base_first=bool(flags & _BASE_FIRST), ether=bool(flags & _ETHER))
    if market is None or upper - lower != pool.spacing:
        return None
    sells_token0 = desired0 > 0
    side = Side.SELL if sells_token0 is market.scale.base_first else Side.BUY
    edge = lower if sells_token0 else upper
    limit = shown(market.scale.price_at(edge), up=side is Side.BUY)
    in_base = bool(flags & _IN_BASE)
    amount: Decimal = (market.base if in_base else market.quote).amount(units)
    amount_in = AmountType.BASE if in_base else AmountType.QUOTE
    return range_terms(Spec(market.symbol, side, amount, amount_in, limit, post_only=True), market, pool)


def _market(setup: Setup, pool: Pool, *, base_first: bool, ether: bool) -> Market | None:
    ends = (pool.token0, pool.token1) if base_first else (pool.token1, pool.token0)
    base, quote = (NATIVE if ether and token == setup.at.weth else token for token in ends)
    markets: Mapping[str, Market] = setup.markets
    return next((m for m in markets.values() if (m.base.address, m.quote.address) == (base, quote)), None)
