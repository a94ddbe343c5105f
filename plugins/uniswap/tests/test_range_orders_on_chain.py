"""Post-only orders as positions: exact deposit, live progress, proceeds, and refusal where they would take."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from eth_account import Account

from exchange_kernel.errors import InvalidOrder, PostOnlyWouldCross
from exchange_kernel.schema import AmountType, Side
from exchange_kernel.value import revised
from exchange_kernel.venue import Executed, Spec, VenueStatus
from exchange_kernel_evm.abi import Function
from exchange_kernel_evm.finality import Mined
from exchange_kernel_evm.venue import Outcome
from exchange_kernel_uniswap import swap_router
from exchange_kernel_uniswap.config import Market, Setup
from exchange_kernel_uniswap.deployment import Deployment
from exchange_kernel_uniswap.orders import range_of, routes_for
from exchange_kernel_uniswap.range_orders import (
    COLLECT,
    DECREASE,
    SLOT0,
    RangeOrder,
    close_draft,
    mint_draft,
    progress,
    progress_reads,
    refuse_crossing,
)
from exchange_kernel_uniswap.receipts import Minted, minted
from exchange_kernel_uniswap.swaps import swap_of
from exchange_kernel_uniswap.withdrawals import withdrawals, withdrawn
from plugins.uniswap.tests.ground import FAR, Trader, setup
from plugins.uniswap.tests.pools_made import enrich

CASES = [
    (symbol, side, amount_in)
    for symbol in ("WETH/USDC", "USDC/WETH", "WBTC/WETH", "ETH/USDC")
    for side in Side
    for amount_in in AmountType
]
AMOUNTS = {"WETH": "5", "ETH": "5", "USDC": "15000", "WBTC": "0.2"}
_MULTICALL = Function.of("multicall", ("bytes[]",), ("bytes[]",))


def beyond(market: Market, side: Side, tick: int, steps: int) -> Decimal:
    """A price of the grid, so many steps away from the market on the order's own side."""
    pool = market.makers[0]
    away = market.scale.price_at(tick) * (1 + Fraction(steps * pool.spacing, 10_000) * (1 if side is Side.SELL else -1))
    below, above = market.scale.edges(Decimal(away.numerator) / Decimal(away.denominator), side, pool.spacing)
    found = above if side is Side.SELL else below
    assert found is not None
    return found[0]


def withdrawal(mined: Mined, at: Deployment, order: RangeOrder, token_id: int) -> Outcome | None:
    """What the order came to by this transaction."""
    rows = withdrawals([mined], at, token_id)
    return withdrawn(order, token_id, rows, ours=[mined.hash]) if rows else None


def order_of(trader: Trader, market: Market, side: Side, amount_in: AmountType, steps: int = 2) -> RangeOrder:
    tick = trader.view(market.makers[0].id, SLOT0)[1]
    asset = market.base if amount_in is AmountType.BASE else market.quote
    limit = beyond(market, side, tick, steps)
    return range_of(Spec(market.symbol, side, Decimal(AMOUNTS[asset.symbol]), amount_in, limit, post_only=True), market)


def live(trader: Trader, order: RangeOrder, token_id: int) -> tuple[int, int]:
    """What a withdrawal would pay back now, by the contract itself."""
    manager = setup().at.v3_positions
    steps = [DECREASE.call((token_id, order.liquidity, 0, 0, FAR)), COLLECT.call((token_id, trader.address, 1, 1))]
    answers = trader.view(manager, _MULTICALL, steps)[0]
    zero, one = DECREASE.result(answers[0])
    return zero, one


@pytest.mark.parametrize(("symbol", "side", "amount_in"), CASES)
def test_from_mint_to_proceeds(trader: Trader, symbol: str, side: Side, amount_in: AmountType) -> None:
    """The deposit is exact; progress equals the contract's own answer at every stage; all sold, the trade holds the
    limit and the ordered amount; the balances moved by just that."""
    known = setup("v3", symbols=[symbol])
    market = known.market(symbol)
    order = order_of(trader, market, side, amount_in)
    other = market.quote if side is Side.SELL else market.base
    draft = mint_draft(known.at, order, trader.address, FAR)
    trader.allow(draft)
    had, had_other = trader.balance(order.pays.address), trader.balance(other.address)
    mined, _ = trader.send(draft.to, draft.data, draft.value)
    position = minted(mined, known.at)
    assert position is not None and position.liquidity == order.liquidity
    amounts = (order.deposit, 0) if order.sells_token0 else (0, order.deposit)
    assert position == Minted(position.token_id, order.liquidity, *amounts)
    gas = mined.gas if order.pays.native else 0
    assert had - trader.balance(order.pays.address) - gas == order.deposit
    if other.native:
        had_other -= mined.gas

    def now() -> Executed:
        read = progress(order, trader.read(progress_reads(known.at, order.pool, position.token_id)))
        assert read is not None
        zero, one = live(trader, order, position.token_id)
        left, got = (zero, one) if order.sells_token0 else (one, zero)
        filled = (order.deposit - left if got else 0, got)
        expected = filled if side is Side.SELL else filled[::-1]
        assert (read.filled.base, read.filled.quote) == (
            market.base.amount(expected[0]),
            market.quote.amount(expected[1]),
        )
        assert read.done is (got > 0 and not left)
        return read.filled

    assert now() == Executed(Decimal(0), Decimal(0))
    taker = Trader(trader.node, Account.from_key("0x" + "c9" * 32))
    enrich(trader.node, taker.address, known)
    push(taker, known, market, side, order, part=True)
    assert now().base > 0
    push(taker, known, market, side, order, part=False)
    full = now()
    close = close_draft(known.at, order, position.token_id, trader.address, FAR, filled=True)
    before, before_other = trader.balance(order.pays.address), trader.balance(other.address)
    closed, _ = trader.send(close.to, close.data)
    assert closed.ok
    outcome = withdrawal(closed, known.at, order, position.token_id)
    assert outcome is not None and outcome.status is VenueStatus.FILLED
    (trade,) = outcome.trades
    assert (trade.base, trade.quote) == (full.base, full.quote) and trade.maker
    average, limit = Fraction(trade.quote) / Fraction(trade.base), order_limit(market, order)
    assert average >= limit if side is Side.SELL else average <= limit
    done = trade.base if amount_in is AmountType.BASE else trade.quote
    asked = Decimal(AMOUNTS[(market.base if amount_in is AmountType.BASE else market.quote).symbol])
    tolerance = asked * Decimal("0.000001")
    assert abs(done - asked) <= tolerance
    earned = {cost.asset: -cost.amount for cost in trade.fees}
    got = trader.balance(other.address) - before_other + (closed.gas if other.native else 0)
    sold_for = trade.quote if side is Side.SELL else trade.base
    assert other.amount(got) == sold_for + earned.get(other.symbol, 0)
    back = trader.balance(order.pays.address) - before + (closed.gas if order.pays.native else 0)
    assert order.pays.amount(back) == earned.get(order.pays.symbol, 0)
    assert progress(order, trader.read(progress_reads(known.at, order.pool, position.token_id))) is None


def order_limit(market: Market, order: RangeOrder) -> Fraction:
    return market.scale.price_at(order.lower if order.sells_token0 else order.upper)


def push(taker: Trader, known: Setup, market: Market, side: Side, order: RangeOrder, *, part: bool) -> None:
    """Somebody trades the pool through half of the step, or all of it and one more."""
    low, high = order.ends
    past = high + (high - low) if order.sells_token0 else low - (high - low)
    stop = (low + high) // 2 if part else past
    taking = flipped(side)
    route = next(each for each in routes_for(market, taking) if each.pools == (order.pool,))
    limit = Decimal("1E12") if taking is Side.BUY else Decimal("1E-12")
    most = Decimal("10000000") if market.base.symbol == "USDC" else Decimal("500")
    swap = swap_of(Spec(market.symbol, taking, most, limit=limit), market.base, market.quote)
    swap = revised(swap, bound=swap.bound if swap.exact_in else 10**22)
    draft = swap_router.limited_draft(known.at, route, swap, taker.address, FAR, stop)
    assert taker.swap(draft)[0].ok


def flipped(side: Side) -> Side:
    return Side.SELL if side is Side.BUY else Side.BUY


@pytest.mark.parametrize("side", list(Side))
def test_an_order_that_would_take_is_refused_by_the_chain_too(trader: Trader, side: Side) -> None:
    """Inside the market's own step the mint reverts: nothing is deposited; and we know it before sending."""
    for symbol in ("WETH/USDC", "USDC/WETH", "ETH/USDC"):
        known = setup("v3", symbols=[symbol])
        market = known.market(symbol)
        tick = trader.view(market.makers[0].id, SLOT0)[1]
        good = order_of(trader, market, side, AmountType.BASE)
        refuse_crossing(good, tick)
        spacing = good.pool.spacing
        for lower in (
            tick // spacing * spacing,
            tick // spacing * spacing + (-5 if good.sells_token0 else 5) * spacing,
        ):
            bad = revised(good, lower=lower, upper=lower + spacing)
            with pytest.raises(PostOnlyWouldCross):
                refuse_crossing(bad, tick)
            had = trader.balance(market.quote.address)
            mined, _ = trader.swap(mint_draft(known.at, bad, trader.address, FAR))
            assert not mined.ok and minted(mined, known.at) is None
            if not market.quote.native:
                assert trader.balance(market.quote.address) == had


def test_a_cancel_gives_the_deposit_back(trader: Trader) -> None:
    """Unfilled: everything but a few units of rounding returns, and it is no trade. Proceeds cannot be taken then."""
    known = setup("v3", symbols=["WETH/USDC"])
    market = known.market("WETH/USDC")
    for side in Side:
        order = order_of(trader, market, side, AmountType.BASE)
        mined, _ = trader.swap(mint_draft(known.at, order, trader.address, FAR))
        position = minted(mined, known.at)
        assert position is not None
        settle = close_draft(known.at, order, position.token_id, trader.address, FAR, filled=True)
        assert not trader.send(settle.to, settle.data)[0].ok
        had = trader.balance(order.pays.address)
        cancel = close_draft(known.at, order, position.token_id, trader.address, FAR)
        closed, _ = trader.send(cancel.to, cancel.data)
        outcome = withdrawal(closed, known.at, order, position.token_id)
        assert outcome is not None and outcome.status is VenueStatus.CANCELED and not outcome.trades
        assert 0 <= order.deposit - (trader.balance(order.pays.address) - had) <= 4


def test_a_price_off_the_grid_names_its_neighbours() -> None:
    """Both neighbours are prices that are taken, and nothing between them is."""
    market = setup("v3").market("WETH/USDC")
    for side in Side:
        spec = Spec("WETH/USDC", side, Decimal(1), limit=Decimal("3000.5"), post_only=True)
        with pytest.raises(
            InvalidOrder, match=r"limit_price 3000\.5: is not a price of this pool's tick grid"
        ) as refused:
            range_of(spec, market)
        near = [Decimal(each) for each in refused.value.hint.removeprefix("near: ").split(" and ")]
        assert near[0] < spec.limit < near[1]  # type: ignore[operator]
        for price in near:
            assert range_of(revised(spec, limit=price), market).upper
        ticks = [market.scale.tick_of("limit_price", price, side, 10) for price in near]
        assert abs(ticks[0] - ticks[1]) == 10


def test_the_edge_of_a_step_belongs_to_it_from_below() -> None:
    """A pool at the lower tick is inside the step, at the upper one past it: as the pool's own contract counts."""
    market = setup("v3").market("WETH/USDC")
    for side in Side:
        spec = Spec("WETH/USDC", side, Decimal(1), limit=Decimal("3001.90480305"), post_only=True)
        if side is Side.BUY:
            spec = revised(spec, limit=Decimal("3001.90480306"))
        order = range_of(spec, market)
        clear, taken = (order.lower - 1, order.lower) if order.sells_token0 else (order.upper, order.upper - 1)
        refuse_crossing(order, clear)
        with pytest.raises(PostOnlyWouldCross, match="the order's step is"):
            refuse_crossing(order, taken)
