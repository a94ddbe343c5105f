"""What a swap is to the frame: its terms, from an order or back from calldata, and its outcome, from a receipt.

Terms hold pools and tokens themselves, so that a receipt means the same after the configuration has changed.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from exchange_kernel.schema import AmountType, Side
from exchange_kernel.value import Value, revised
from exchange_kernel.venue import Spec, VenueStatus
from exchange_kernel_evm.finality import Mined
from exchange_kernel_evm.venue import Outcome, Terms
from exchange_kernel_uniswap.calldata import Sent
from exchange_kernel_uniswap.config import Market, Setup
from exchange_kernel_uniswap.deployment import Deployment
from exchange_kernel_uniswap.pools import Pool
from exchange_kernel_uniswap.receipts import swap_outcome
from exchange_kernel_uniswap.tokens import Token

__all__ = ["outcome_of", "terms_of", "terms_sent"]


class _Way(Value, frozen=True):
    base: Token
    quote: Token
    pools: tuple[Pool, ...]
    amount_in: AmountType


def _terms(
    market: Market, pools: tuple[Pool, ...], side: Side, amount: Decimal, amount_in: AmountType, price: Decimal | None
) -> Terms:
    way = _Way(market.base, market.quote, pools, amount_in)
    return Terms(market.symbol, side, amount, price, {"way": msgspec.json.encode(way).decode()})


def terms_of(spec: Spec, market: Market, pools: tuple[Pool, ...]) -> Terms:
    """Of an order that goes through these pools."""
    return _terms(market, pools, spec.side, spec.amount, spec.amount_in, spec.limit)


def terms_sent(sent: Sent, setup: Setup) -> Terms | None:
    """Of a swap found on the chain; None where it trades no symbol of this account. No two symbols have the
    same two tokens."""
    for market in setup.markets.values():
        pair = (market.base.address, market.quote.address)
        if (sent.token_in, sent.token_out) not in (pair, pair[::-1]):
            continue
        side = Side.SELL if sent.token_in == market.base.address else Side.BUY
        in_base = (side is Side.SELL) is sent.exact_in
        token = market.base if in_base else market.quote
        amount_in = AmountType.BASE if in_base else AmountType.QUOTE
        return _terms(market, sent.route.pools, side, token.amount(sent.wanted), amount_in, None)
    return None


def outcome_of(terms: Terms, mined: Mined, account: str, at: Deployment) -> Outcome:
    """What the transaction did. An order that was done in part is over: the rest of it expired."""
    way = msgspec.json.decode(terms.more["way"].encode(), type=_Way)
    outcome = swap_outcome(mined, account, at, way.pools, terms.side, way.base, way.quote)
    if outcome.status is not VenueStatus.FILLED:
        return outcome
    (trade,) = outcome.trades
    done = trade.base if way.amount_in is AmountType.BASE else trade.quote
    return outcome if done >= terms.amount else revised(outcome, status=VenueStatus.EXPIRED)
