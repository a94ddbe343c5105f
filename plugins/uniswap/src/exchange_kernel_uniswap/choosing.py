"""Which route an order takes, and whether a part of it will do: from one block's quotes, after gas."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from exchange_kernel.schema import Side, TimeInForce
from exchange_kernel.schema.numbers import canonical
from exchange_kernel.value import Value
from exchange_kernel.venue import Spec
from exchange_kernel_evm.venue import ChainReads
from exchange_kernel_uniswap.board import Interest, Offers, View, usable
from exchange_kernel_uniswap.config import Market
from exchange_kernel_uniswap.deployment import Deployment
from exchange_kernel_uniswap.orders import takes_price_limit
from exchange_kernel_uniswap.quotes import Quote, best, met, quote_read, quoted
from exchange_kernel_uniswap.routes import Route
from exchange_kernel_uniswap.sizing import Search
from exchange_kernel_uniswap.spots import rate_along
from exchange_kernel_uniswap.swaps import Swap, swap_of
from exchange_kernel_uniswap.tokens import Token

__all__ = ["Choice", "average", "choose", "interest_of", "sized"]

SEARCHED_ROUTES = 2
ROUNDS = 4
"""Of 32 sizes each: the size found is within a millionth of the largest possible."""


class Choice(Value, frozen=True):
    """``swap`` along ``route``; ``partial``: as much of it as the pool gives within the limit. ``pools_gas``: what the
    quoter said."""

    route: Route
    swap: Swap
    partial: bool
    pools_gas: int

    @property
    def gas_limit(self) -> int:
        """Half as much again as routers and pools should use, and a few slots that are touched first."""
        return (self.route.gas + self.pools_gas) * 3 // 2 + 40_000


def planned(choice: Choice, offers: Offers | None) -> str:
    """A choice for people: the way, the amounts, and what was quoted."""
    swap = choice.swap
    sold, bought = swap.token_in, swap.token_out
    exact, other = (sold, bought) if swap.exact_in else (bought, sold)
    verb, at = ("sell", "at least") if swap.exact_in else ("buy", "at most")
    amounts = f"{verb} exactly {_money(exact, swap.amount)} for {at} {_money(other, swap.bound)}"
    symbols = {sold.address: sold.symbol, bought.address: bought.symbol}
    hops = [symbols.get(choice.route.path[0], sold.symbol)]
    for pool, token in zip(choice.route.pools, choice.route.path[1:], strict=True):
        hops += [f"({pool.fee / 10_000:g} %)", symbols.get(token, token)]
    quotes = () if offers is None else (*offers.whole, *offers.parts)
    quote = next((each for each in quotes if each.route == choice.route), None)
    seen = "" if quote is None else f", quoted {_money(other, quote.other)}"
    return f"{amounts}{' (or a part)' if choice.partial else ''} along {choice.route.version} {' '.join(hops)}{seen}"


def _money(token: Token, units: int) -> str:
    return f"{canonical(token.amount(units))} {token.symbol}"


def interest_of(spec: Spec, market: Market) -> Interest:
    """What is to be quoted for a spec that was checked."""
    partial = spec.tif is TimeInForce.IOC and spec.limit is not None
    return Interest(market.symbol, swap_of(spec, market.base, market.quote), partial)


def average(swap: Swap, quote: Quote) -> Fraction:
    """Quote per base over all of the swap, exactly."""
    token_in, token_out = swap.token_in, swap.token_out
    paid, got = (quote.amount, quote.other) if swap.exact_in else (quote.other, quote.amount)
    sent, received = Fraction(token_in.amount(paid)), Fraction(token_out.amount(got))
    return received / sent if swap.side is Side.SELL else sent / received


def choose(interest: Interest, view: View) -> Choice | None:
    """All of it by the best route that keeps the guard; else the largest part that a v3 pool does within the limit."""
    swap, offers = interest.swap, view.offers[interest]
    gas = view.gas(swap.token_out if swap.exact_in else swap.token_in)
    whole = best((quote for quote in offers.whole if met(swap, quote)), gas)
    parts = {quote.route: quote for quote in offers.parts}
    if whole is not None:
        part = parts.get(whole.route)
        # Where the pool would do all of it within the limit, let it stop there by itself: a race then costs a part.
        return Choice(whole.route, swap, part is not None and part.other == whole.other, whole.gas)
    largest = max(parts.values(), key=lambda quote: (quote.other, quote.route.name), default=None)
    return None if largest is None else Choice(largest.route, swap, True, largest.gas)


async def sized(
    at: Deployment, market: Market, interest: Interest, view: View, chain: ChainReads, *, limits: bool = True
) -> Choice | None:
    """The largest part that can be done along routes that take no price limit (all routes, where ``limits`` is False:
    no use is made of them). Raises Unavailable, RateLimited."""
    swap = interest.swap
    routes = [each for each in usable(market, swap, view.taxes) if not (limits and takes_price_limit(each))]
    ranked = sorted(routes, key=lambda route: rate_along(view.rates, route) or Fraction(0), reverse=True)
    found: Choice | None = None
    for route in ranked[:SEARCHED_ROUTES]:
        choice = await _largest(at, route, swap, view, chain)
        if choice is not None and (found is None or choice.swap.amount > found.swap.amount):
            found = choice
    return found


async def _largest(at: Deployment, route: Route, swap: Swap, view: View, chain: ChainReads) -> Choice | None:
    search, gas = Search.of(swap), 0
    for _ in range(ROUNDS):
        sizes: Sequence[int] = search.sizes()
        if not sizes:
            break
        _, results = await chain.read([quote_read(at, route, swap.exact_in, size) for size in sizes])
        quotes = {
            size: quoted(route, swap.exact_in, size, view.at, result)
            for size, result in zip(sizes, results, strict=True)
        }
        search = search.after({size: None if quote is None else quote.other for size, quote in quotes.items()})
        gas = max(gas, *(0 if quote is None else quote.gas for quote in quotes.values()))
    part = search.part
    return None if part is None else Choice(route, part, False, gas)
