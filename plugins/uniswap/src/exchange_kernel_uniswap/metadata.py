"""What a symbol can do here, said honestly, and its amounts and prices."""

from __future__ import annotations

from functools import cache
from types import MappingProxyType

from exchange_kernel.schema import (
    AmountConstraints,
    AssetMetadata,
    AssetType,
    MarketCapabilities,
    PriceConstraints,
    SymbolMetadata,
    TickSpacing,
)
from exchange_kernel_uniswap.config import Market
from exchange_kernel_uniswap.swaps import MAX_UNITS
from exchange_kernel_uniswap.tokens import Token

__all__ = ["asset_of", "capabilities", "symbol_of"]

_NATIVE = ("limit", "amount_base", "amount_quote", "fok", "orders_outlive_session", "fills_of_order")
_TRIED_ONCE = "one all-or-nothing swap whose deadline is in the transaction; it does not rest"
_SAME_NUMBER = "until it is mined: one transaction of that number, the old or the new, is ever executed"
_PARTIAL = MappingProxyType(
    {
        "market": "with max_slippage: a swap without a worst price can be sandwiched to nothing",
        "ioc": "a price limit fills a part in a single v3 pool; elsewhere the size is fixed from quotes before sending",
        "day": _TRIED_ONCE,
        "gtd": _TRIED_ONCE,
        "amend_price": _SAME_NUMBER,
        "amend_up": _SAME_NUMBER,
        "amend_down": _SAME_NUMBER,
        "partial_fills": "IOC and post-only orders only; a post-only fill is provisional until it is withdrawn",
        "cancel_provable": "once a transaction of the same number is final; it costs gas and can lose the race",
        "quotes": "of the newest block, after which the price can move",
    }
)
_GTC = (
    "post-only orders, as liquidity of one tick step of the v3 pool with the lowest fee: prices on its grid, fills "
    "provisional until withdrawn, each step costs gas; others do not rest on the chain"
)


def capabilities(market: Market) -> MarketCapabilities:
    """Every feature answered, as far as swaps and range orders go. What needs the stream, the watcher or the account's
    history is the adapter's to add."""
    return _answered(bool(market.makers))


@cache
def _answered(makers: bool) -> MarketCapabilities:
    partial = dict(_PARTIAL)
    if not makers:
        return MarketCapabilities.of(_NATIVE, partial)
    return MarketCapabilities.of((*_NATIVE, "post_only"), partial | {"gtc": _GTC})


def symbol_of(market: Market) -> SymbolMetadata:
    """The symbol as the kernel sees it. Swaps take any price (a guard, no place in a book), so prices are continuous;
    post-only prices lie on the pool's tick grid, and one off it is refused with the two nearest."""
    base, quote = market.base, market.quote
    amounts = AmountConstraints(
        min_amount=base.amount(_least(base)),
        step=base.step,
        max_amount=base.amount(MAX_UNITS),
        min_notional=quote.amount(_least(quote)),
        max_notional=quote.amount(MAX_UNITS),
        quote_step=quote.step,
    )
    prices = PriceConstraints(TickSpacing.CONTINUOUS)
    return SymbolMetadata(
        market.symbol, base.symbol, quote.symbol, AssetType.SPOT, amounts, prices, capabilities(market)
    )


def _least(token: Token) -> int:
    """A thousand units, so that the one by which pools round weighs less than a fee."""
    return int(10 ** min(3, token.decimals))


def asset_of(token: Token) -> AssetMetadata:
    """The token, known by its address."""
    return AssetMetadata(token.address, AssetType.SPOT, token.symbol, token.decimals)
