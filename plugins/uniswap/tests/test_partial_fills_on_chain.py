"""IOC: as much as the limit allows, on the chain itself where a pool takes a price limit, else by quotes."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from exchange_kernel.errors import InvalidOrder
from exchange_kernel.schema import AmountType, Side, TimeInForce
from exchange_kernel.value import revised
from exchange_kernel.venue import Spec, VenueStatus
from exchange_kernel_uniswap.config import Market
from exchange_kernel_uniswap.orders import limited_draft, routes_for, swap_draft
from exchange_kernel_uniswap.price_limits import room_left, sqrt_limit
from exchange_kernel_uniswap.prices import shown
from exchange_kernel_uniswap.quotes import limited_read, quote_read, quoted
from exchange_kernel_uniswap.range_orders import SLOT0
from exchange_kernel_uniswap.receipts import swap_outcome
from exchange_kernel_uniswap.sizing import Search
from exchange_kernel_uniswap.swaps import Swap, swap_of
from exchange_kernel_uniswap.tokens import Token
from plugins.uniswap.tests.ground import FAR, Trader, setup

ROWS = [(side, amount_in) for side in Side for amount_in in AmountType]
MILLION = {"WETH": "1500", "ETH": "1500", "USDC": "4000000", "WBTC": "60"}
SMALL = {"WETH": "0.1", "ETH": "0.1", "USDC": "300", "WBTC": "0.005"}


@pytest.mark.parametrize("symbol", ["WETH/USDC", "USDC/WETH", "WBTC/WETH", "ETH/USDC"])
def test_the_pool_stops_at_the_limit(trader: Trader, symbol: str) -> None:
    """Far too much is ordered: the pool trades to the limit exactly, both ways round, and takes no more than that; the
    quoter foretells it; no unit of ETH stays in the router; a limit already passed reverts."""
    known = setup("v3", symbols=[symbol])
    market = known.market(symbol)
    for side, amount_in in ROWS:
        route = next(each for each in routes_for(market, side) if each.single and each.pools[0].fee == 500)
        pool = route.pools[0]
        now = trader.view(pool.id, SLOT0)[0]
        factor = Fraction(101, 100) if side is Side.BUY else Fraction(99, 100)
        limit = shown(market.scale.price(now) * factor, up=side is Side.SELL)
        asset = market.base if amount_in is AmountType.BASE else market.quote
        spec = Spec(symbol, side, Decimal(MILLION[asset.symbol]), amount_in, limit=limit, tif=TimeInForce.IOC)
        swap = swap_of(spec, market.base, market.quote)
        stop = sqrt_limit(market.scale, pool, side, swap.limit)
        assert room_left(market.scale, side, now, stop)
        (answer,) = trader.read([limited_read(known.at, route, swap.exact_in, swap.amount, stop)])
        foretold = quoted(route, swap.exact_in, swap.amount, trader.moment(), answer)
        mark = trader.node("evm_snapshot")
        draft = limited_draft(known.at, market, route, swap, trader.address, FAR)
        trader.allow(draft)
        before = trader.balance(swap.token_in.address), trader.balance(swap.token_out.address)
        mined, _ = trader.send(draft.to, draft.data, draft.value)
        assert mined.ok and trader.view(pool.id, SLOT0)[0] == stop
        paid = before[0] - trader.balance(swap.token_in.address) - (mined.gas if swap.token_in.native else 0)
        got = trader.balance(swap.token_out.address) - before[1] + (mined.gas if swap.token_out.native else 0)
        assert foretold is not None and foretold.other == (got if swap.exact_in else paid)
        outcome = swap_outcome(mined, trader.address, known.at, route.pools, side, market.base, market.quote)
        (trade,) = outcome.trades
        pair = (got, paid) if side is Side.BUY else (paid, got)
        assert (trade.base, trade.quote) == (market.base.amount(pair[0]), market.quote.amount(pair[1]))
        done = trade.base if amount_in is AmountType.BASE else trade.quote
        assert 0 < done < spec.amount
        average = Fraction(trade.quote) / Fraction(trade.base)
        assert average <= Fraction(limit) if side is Side.BUY else average >= Fraction(limit)
        # The next unit would be worse than the limit, fee included, and only just.
        (after,) = trader.read([quote_read(known.at, route, True, swap.token_in.units("amount", Decimal("0.01")))])
        assert after.values is not None
        next_in, next_out = Fraction(1, 100), Fraction(swap.token_out.amount(after.values[0]))
        further = (next_in / next_out if side is Side.BUY else next_out / next_in) / Fraction(limit)
        assert 1 < (further if side is Side.BUY else 1 / further) < Fraction(10001, 10000)
        # At the limit there is no room left: the same again is reverted by the pool.
        assert not room_left(market.scale, side, stop, stop)
        assert not trader.swap(draft)[0].ok
        router = Trader(trader.node)
        router.address = known.at.swap_router
        assert [router.balance(token.address) for token in known.tokens.values()] == [0] * len(known.tokens)
        assert trader.node("evm_revert", mark)


@pytest.mark.parametrize(("version", "symbol"), [("v2", "WBTC/USDC"), ("v3", "WBTC/USDC"), ("v4", "ETH/USDC")])
def test_where_no_limit_is_taken_the_size_is_found_by_quotes(trader: Trader, version: str, symbol: str) -> None:
    """The largest part that meets the limit: sent all-or-nothing it is done; a thousandth of the order more is not."""
    known = setup(version, symbols=[symbol])
    market = known.market(symbol)
    for side, amount_in in ROWS:
        route = max(routes_for(market, side)[:4], key=lambda each: len(each.pools))
        asset = market.base if amount_in is AmountType.BASE else market.quote
        small = Spec(symbol, side, Decimal(SMALL[asset.symbol]), amount_in, limit=Decimal(1))
        tiny = swap_of(revised(small, limit=Decimal("1E12") if side is Side.BUY else Decimal("1E-12")), *pair(market))
        (answer,) = trader.read([quote_read(known.at, route, tiny.exact_in, tiny.amount)])
        small_quote = quoted(route, tiny.exact_in, tiny.amount, trader.moment(), answer)
        assert small_quote is not None
        price = answer_price(tiny, small_quote.other)
        factor = Fraction(102, 100) if side is Side.BUY else Fraction(98, 100)
        limit = shown(price * factor, up=side is Side.SELL)
        spec = revised(small, amount=Decimal(MILLION[asset.symbol]), limit=limit)
        search, rounds = Search.of(swap_of(spec, *pair(market))), 0
        while rounds < 3 and (sizes := search.sizes()):
            reads = [quote_read(known.at, route, search.swap.exact_in, size) for size in sizes]
            found = zip(sizes, trader.read(reads), strict=True)
            search = search.after(
                {
                    size: quote.other
                    if (quote := quoted(route, search.swap.exact_in, size, trader.moment(), one))
                    else None
                    for size, one in found
                }
            )
            rounds += 1
        part = search.part
        assert part is not None and 0 < part.amount < search.swap.amount
        mark = trader.node("evm_snapshot")
        mined, _ = trader.swap(swap_draft(known.at, route, part, trader.address, FAR))
        assert mined.ok
        outcome = swap_outcome(mined, trader.address, known.at, route.pools, side, *pair(market))
        assert outcome.status is VenueStatus.FILLED
        assert trader.node("evm_revert", mark)
        more = search.swap.resized(part.amount + search.swap.amount // 1000)
        assert not trader.swap(swap_draft(known.at, route, more, trader.address, FAR))[0].ok


def pair(market: Market) -> tuple[Token, Token]:
    return market.base, market.quote


def answer_price(swap: Swap, other: int) -> Fraction:
    units = (swap.amount, other) if swap.exact_in else (other, swap.amount)
    paid, got = swap.token_in.amount(units[0]), swap.token_out.amount(units[1])
    return Fraction(paid) / Fraction(got) if swap.side is Side.BUY else Fraction(got) / Fraction(paid)


def test_a_limit_no_pool_can_have_is_refused() -> None:
    """Beyond the range of prices a pool can count there is no stop."""
    market = setup("v3").market("WETH/USDC")
    with pytest.raises(InvalidOrder, match="beyond any price"):
        sqrt_limit(market.scale, market.makers[0], Side.SELL, Fraction(10) ** 60)
