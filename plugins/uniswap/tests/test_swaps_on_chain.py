"""Every row of the table of docs and code, sent to real routers: what is promised is what moves, to the unit."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from eth_utils.address import to_checksum_address

from exchange_kernel.errors import ConfigError
from exchange_kernel.schema import AmountType, Side
from exchange_kernel.value import revised
from exchange_kernel.venue import Spec, VenueStatus, Why
from exchange_kernel_uniswap.config import Market, Setup, known_router
from exchange_kernel_uniswap.deployment import Deployment
from exchange_kernel_uniswap.orders import routes_for, swap_draft
from exchange_kernel_uniswap.pools import Version
from exchange_kernel_uniswap.prices import shown
from exchange_kernel_uniswap.quotes import GasPrice, Quote, best, quote_read, quoted
from exchange_kernel_uniswap.receipts import swap_outcome
from exchange_kernel_uniswap.routes import Route
from exchange_kernel_uniswap.swaps import Swap, swap_of, worst_price
from exchange_kernel_uniswap.testing import UNIVERSAL_ROUTER_2_1
from exchange_kernel_uniswap.tokens import Token
from plugins.uniswap.tests.ground import FAR, MAINNET, SYMBOLS, Trader, setup

ROWS = [(side, amount_in) for side in Side for amount_in in AmountType]
FREE = GasPrice(0, Fraction(0))


def spec_of(market: Market, side: Side, amount_in: AmountType, limit: str | Decimal, thousandths: int = 700) -> Spec:
    """About so many thousandths of a unit of the base, or their worth."""
    amount = Decimal(thousandths).scaleb(-3)
    if amount_in is AmountType.QUOTE:
        step = market.quote.step
        amount = (amount * Decimal(str(rough(market)))).quantize(step)
    return Spec(market.symbol, side, amount, amount_in, limit=Decimal(limit))


def rough(market: Market) -> float:
    dollars = {"WETH": 3000, "ETH": 3000, "USDC": 1, "USDT": 1, "DAI": 1, "WBTC": 60_000}
    return dollars[market.base.symbol] / dollars[market.quote.symbol]


def quotes(trader: Trader, known: Setup, routes: tuple[Route, ...], swap: Swap) -> list[Quote | None]:
    moment = trader.moment()
    reads = [quote_read(known.at, route, swap.exact_in, swap.amount) for route in routes]
    return [
        quoted(route, swap.exact_in, swap.amount, moment, result)
        for route, result in zip(routes, trader.read(reads), strict=True)
    ]


def free_limit(side: Side) -> str:
    """A limit that refuses nothing."""
    return "1000000000000" if side is Side.BUY else "0.000000000001"


def execute(trader: Trader, at: Deployment, route: Route, swap: Swap, *, universal: bool = True) -> tuple[int, int]:
    """Sent and checked against the receipt; returns what was paid and what was received, gas not counted."""
    draft = swap_draft(at, route, swap, trader.address, FAR, universal=universal)
    trader.allow(draft)
    before = trader.balance(swap.token_in.address), trader.balance(swap.token_out.address)
    mined, _ = trader.send(draft.to, draft.data, draft.value)
    assert mined.ok
    paid = before[0] - trader.balance(swap.token_in.address) - (mined.gas if swap.token_in.native else 0)
    got = trader.balance(swap.token_out.address) - before[1] + (mined.gas if swap.token_out.native else 0)
    pair = (swap.token_out, swap.token_in) if swap.side is Side.BUY else (swap.token_in, swap.token_out)
    outcome = swap_outcome(mined, trader.address, at, route.pools, swap.side, *pair)
    assert outcome.status is VenueStatus.FILLED and not outcome.text
    (trade,) = outcome.trades
    amounts = (got, paid) if swap.side is Side.BUY else (paid, got)
    assert (trade.base, trade.quote) == (pair[0].amount(amounts[0]), pair[1].amount(amounts[1]))
    leftover(trader, draft.to, pair)
    return paid, got


def leftover(trader: Trader, router: str, pair: tuple[Token, Token]) -> None:
    """The router keeps nothing that somebody else could take."""
    there = Trader(trader.node)
    there.address = router
    weth = next(token for token in setup().tokens.values() if token.address == MAINNET.weth)
    assert [there.balance(token.address) for token in (*pair, weth)] == [0, 0, 0]


CASES = [
    (version, symbol, universal)
    for version in Version
    for symbol in SYMBOLS
    for universal in (True, False)
    if universal or version is not Version.V4
]


@pytest.mark.parametrize(("version", "symbol", "universal"), CASES)
def test_each_row_moves_exactly_what_was_quoted(trader: Trader, version: Version, symbol: str, universal: bool) -> None:
    """Both sides, both units, every route of up to three hops: the exact side is exact, the other is the quote."""
    try:
        known = setup(version.value, symbols=[symbol])
    except ConfigError:  # no route of this release joins the two
        return
    market = known.market(symbol)
    for side, amount_in in ROWS:
        routes = routes_for(market, side)
        swap = swap_of(spec_of(market, side, amount_in, free_limit(side)), market.base, market.quote)
        found = [quote for quote in quotes(trader, known, routes, swap) if quote is not None]
        assert found
        for quote in found[:4]:
            mark = trader.node("evm_snapshot")
            sent = revised(swap, bound=quote.other * 2) if not swap.exact_in else swap
            paid, got = execute(trader, known.at, quote.route, sent, universal=universal)
            assert trader.node("evm_revert", mark)
            if version is Version.V2 and not swap.exact_in:
                # Pairs are paid in whole units and give all that these are worth: never less than was asked for.
                (worth,) = quotes(trader, known, (quote.route,), revised(swap, exact_in=True, amount=paid))
                assert worth is not None and got == worth.other >= swap.amount
                got = swap.amount
            assert (paid, got) == ((swap.amount, quote.other) if swap.exact_in else (quote.other, swap.amount))


@pytest.mark.parametrize("version", list(Version))
def test_the_guard_holds_to_the_unit(trader: Trader, version: Version) -> None:
    """A guard equal to the quote lets the swap through, one unit stricter reverts it; the revert is no trade."""
    known = setup(version.value, symbols=["ETH/USDC"])
    market = known.market("ETH/USDC")
    for side, amount_in in ROWS:
        swap = swap_of(spec_of(market, side, amount_in, free_limit(side)), market.base, market.quote)
        quote = best(quotes(trader, known, routes_for(market, side), swap), FREE)
        assert quote is not None
        mark = trader.node("evm_snapshot")
        stricter = revised(swap, bound=quote.other + (1 if swap.exact_in else -1))
        draft = swap_draft(known.at, quote.route, stricter, trader.address, FAR)
        mined, _ = trader.swap(draft)
        assert not mined.ok
        outcome = swap_outcome(mined, trader.address, known.at, quote.route.pools, side, market.base, market.quote)
        assert (outcome.status, outcome.why, outcome.trades) == (VenueStatus.REJECTED, Why.REVERTED, ())
        execute(trader, known.at, quote.route, revised(swap, bound=quote.other))
        assert trader.node("evm_revert", mark)


@pytest.mark.parametrize("symbol", ["WETH/USDC", "USDC/WETH", "WBTC/WETH"])
def test_a_limit_price_is_an_average_price(trader: Trader, symbol: str) -> None:
    """FOK: the order's own limit, rounded against ourselves, decides; the realised price is never worse than it."""
    known = setup("v3", symbols=[symbol])
    market = known.market(symbol)
    for side, amount_in in ROWS:
        free = swap_of(spec_of(market, side, amount_in, free_limit(side)), market.base, market.quote)
        quote = best(quotes(trader, known, routes_for(market, side), free), FREE)
        assert quote is not None
        units = (free.amount, quote.other) if (side is Side.SELL) is free.exact_in else (quote.other, free.amount)
        price = Fraction(market.quote.amount(units[1])) / Fraction(market.base.amount(units[0]))
        up = side is Side.BUY
        for factor, passes in ((Fraction(1), True), (Fraction(10001, 10000) ** (-1 if up else 1), False)):
            mark = trader.node("evm_snapshot")
            limit = shown(price * factor, up=up is passes, digits=20)
            swap = swap_of(revised(spec_of(market, side, amount_in, "1"), limit=limit), market.base, market.quote)
            mined, _ = trader.swap(swap_draft(known.at, quote.route, swap, trader.address, FAR))
            assert mined.ok is passes
            assert trader.node("evm_revert", mark)


def test_release_2_1_of_the_router_reads_the_same_commands(trader: Trader) -> None:
    """v2, v3 and v4, both units, in and out of ETH."""
    at = known_router(MAINNET, to_checksum_address(UNIVERSAL_ROUTER_2_1), "2.1")
    for version in Version:
        known = setup(version.value, symbols=["ETH/USDC"])
        market = known.market("ETH/USDC")
        for side, amount_in in ROWS:
            swap = swap_of(spec_of(market, side, amount_in, free_limit(side)), market.base, market.quote)
            quote = best(quotes(trader, known, routes_for(market, side), swap), FREE)
            assert quote is not None
            mark = trader.node("evm_snapshot")
            sent = swap if swap.exact_in else revised(swap, bound=quote.other * 2)
            execute(trader, at, quote.route, sent)
            assert trader.node("evm_revert", mark)


def test_a_passed_deadline_reverts(trader: Trader) -> None:
    """Both routers refuse a block later than the deadline and take one that is not."""
    known = setup("v3")
    market = known.market("WETH/USDC")
    swap = swap_of(spec_of(market, Side.SELL, AmountType.BASE, "1"), market.base, market.quote)
    for universal in (True, False):
        for later, passes in ((60, True), (-1, False)):
            draft = swap_draft(
                known.at, market.sells[0], swap, trader.address, trader.moment().time + later, universal=universal
            )
            assert trader.swap(draft)[0].ok is passes


def test_a_market_order_is_bounded_by_its_slippage(trader: Trader) -> None:
    """The worst price follows from a quote and max_slippage; a price that moved further reverts."""
    known = setup("v3")
    market = known.market("WETH/USDC")
    for side in Side:
        spec = spec_of(market, side, AmountType.BASE, free_limit(side))
        swap = swap_of(spec, market.base, market.quote)
        quote = best(quotes(trader, known, routes_for(market, side), swap), FREE)
        assert quote is not None
        price = Fraction(market.quote.amount(quote.other)) / Fraction(market.base.amount(swap.amount))
        guard = worst_price(price, side, Decimal("0.001"))
        mark = trader.node("evm_snapshot")
        bounded = swap_of(revised(spec, limit=None, guard=guard), market.base, market.quote)
        execute(trader, known.at, quote.route, bounded)
        # Somebody moves the price by more than 0.1 %.
        push = spec_of(market, side, AmountType.BASE, free_limit(side), 300_000)
        trader.swap(swap_draft(known.at, quote.route, swap_of(push, market.base, market.quote), trader.address, FAR))
        assert not trader.swap(swap_draft(known.at, quote.route, bounded, trader.address, FAR))[0].ok
        assert trader.node("evm_revert", mark)
