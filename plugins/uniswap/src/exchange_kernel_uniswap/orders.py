"""One order into one transaction: which router, which form, and what is refused before anything is signed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

from exchange_kernel.errors import InvalidOrder, Unsupported
from exchange_kernel.schema import AmountType, Side, Support, TimeInForce, TrailUnit, TriggerKind
from exchange_kernel.venue import Money, Preview, Spec
from exchange_kernel_uniswap import swap_router, universal_router
from exchange_kernel_uniswap.config import Market
from exchange_kernel_uniswap.deployment import Deployment
from exchange_kernel_uniswap.drafts import Draft
from exchange_kernel_uniswap.metadata import capabilities
from exchange_kernel_uniswap.pools import Version
from exchange_kernel_uniswap.price_limits import sqrt_limit
from exchange_kernel_uniswap.range_orders import RangeOrder, range_order
from exchange_kernel_uniswap.routes import Route
from exchange_kernel_uniswap.swaps import Swap, swap_of

__all__ = [
    "limited_draft",
    "preview",
    "range_of",
    "refuse_unsupported",
    "routes_for",
    "swap_draft",
    "takes_price_limit",
]

_AT_ONCE = frozenset({TimeInForce.IOC, TimeInForce.FOK})


def preview(spec: Spec, market: Market) -> Preview:
    """Exactly what would be sent, and the most it may cost besides gas. Pure.

    :raises Unsupported: naming the feature. :raises InvalidOrder: naming field, value and rule.
    """
    refuse_unsupported(spec, market)
    if spec.post_only:
        order = range_of(spec, market)
        outlay = Money(order.pays.symbol, order.pays.amount(order.deposit))
    else:
        swap = swap_of(spec, market.base, market.quote)
        outlay = Money(swap.token_in.symbol, _most(spec, swap))
    return Preview(spec, _uses(spec, market), (outlay,))


def _most(spec: Spec, swap: Swap) -> Decimal:
    """Of what is paid. For an exact amount of base it is amount times price, though units allow a little less."""
    worst = spec.limit if spec.limit is not None else spec.guard
    if worst is not None and spec.side is Side.BUY and spec.amount_in is AmountType.BASE:
        return swap.token_in.amount(math.ceil(Fraction(spec.amount) * Fraction(worst) / Fraction(swap.token_in.step)))
    return swap.token_in.amount(swap.most_in)


def refuse_unsupported(spec: Spec, market: Market) -> None:
    """Raises Unsupported naming the feature, InvalidOrder for a date without GTD."""
    if spec.trigger is not None:
        trailing = "trailing_abs" if spec.trigger.offset_in is TrailUnit.ABSOLUTE else "trailing_pct"
        feature = trailing if spec.trigger.kind is TriggerKind.TRAILING_STOP else spec.trigger.kind.lower()
        raise Unsupported(feature, "pools watch no prices")
    if spec.reduce_only:
        raise Unsupported("reduce_only", "spot tokens are no position that could be reduced")
    if spec.leg != "NET":
        raise Unsupported("hedge_legs", "spot tokens are no positions")
    if spec.display is not None:
        raise Unsupported("iceberg", "everything on a chain is visible")
    if (spec.until is not None) != (spec.tif is TimeInForce.GTD):
        raise InvalidOrder("until", spec.until, "belongs to tif GTD, which needs it")
    if spec.post_only:
        if spec.tif is not TimeInForce.GTC:
            raise Unsupported(spec.tif.lower(), "a post-only order here is a position: it knows no deadline, use GTC")
        if not market.makers:
            raise Unsupported("post_only", f"no v3 pool of {market.symbol} is configured")
    elif spec.limit is not None and spec.tif is TimeInForce.GTC:
        raise Unsupported("gtc", "a swap does not rest: use FOK, IOC or a deadline, or post_only for a range order")


def _uses(spec: Spec, market: Market) -> Mapping[str, Support]:
    names = ["market" if spec.limit is None else "limit"]
    names.append("amount_base" if spec.amount_in is AmountType.BASE else "amount_quote")
    if spec.limit is not None or spec.tif is not TimeInForce.GTC:
        names.append(spec.tif.lower())
    if spec.post_only:
        names.append("post_only")
    known = capabilities(market)
    return {name: known.support(name) for name in names}


def routes_for(market: Market, side: Side) -> tuple[Route, ...]:
    """The routes an order of this side can take."""
    return market.sells if side is Side.SELL else market.buys


def swap_draft(
    at: Deployment,
    route: Route,
    swap: Swap,
    account: str,
    deadline: int,
    *,
    permit: universal_router.Permit | None = None,
    universal: bool = True,
) -> Draft:
    """All of ``swap`` along ``route`` or nothing, no later than ``deadline`` (unix seconds). ``universal``: by the
    Universal Router, else by SwapRouter02 where the route's release allows it."""
    if universal or route.version is Version.V4:
        return universal_router.swap_draft(at, route, swap, account, deadline, permit)
    return swap_router.swap_draft(at, route, swap, account, deadline)


def takes_price_limit(route: Route) -> bool:
    """Can an IOC along this route fill in part on the chain itself?"""
    return route.single and route.version is Version.V3


def limited_draft(at: Deployment, market: Market, route: Route, swap: Swap, account: str, deadline: int) -> Draft:
    """As much of ``swap`` as its limit allows in one v3 pool, no later than ``deadline``."""
    stop = sqrt_limit(market.scale, route.pools[0], swap.side, swap.limit)
    return swap_router.limited_draft(at, route, swap, account, deadline, stop)


def range_of(spec: Spec, market: Market) -> RangeOrder:
    """The position a post-only order is, in the market's v3 pool of the lowest fee."""
    if not market.makers:
        raise Unsupported("post_only", f"no v3 pool of {market.symbol} is configured")
    return range_order(spec, market.base, market.quote, market.makers[0], market.scale)
