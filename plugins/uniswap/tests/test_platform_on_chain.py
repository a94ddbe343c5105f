"""The ordinary path, with a real kernel and a real database on the fork: each order is one swap, as the chain tells."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_utils.address import to_checksum_address

from exchange_kernel.base import ExchangeKernel
from exchange_kernel.clock import SystemClock
from exchange_kernel.errors import Unsupported
from exchange_kernel.models import IntentStatus
from exchange_kernel.schema import AmountType, Side, StandardOrder, TimeInForce
from exchange_kernel.value import revised
from exchange_kernel.venue import Context, Spec
from exchange_kernel_evm.keys import LocalSigner
from exchange_kernel_evm.tokens import ALLOWANCE, APPROVE, PERMIT2_ALLOWANCE
from exchange_kernel_uniswap.adapter import UniswapAdapter
from exchange_kernel_uniswap.orders import swap_draft
from exchange_kernel_uniswap.swaps import swap_of
from exchange_kernel_uniswap.testing import FEE_TOKEN, UniswapStack
from plugins.uniswap.tests.desk import ACCOUNT, KEY_NAME, Desk, booked, record_of
from plugins.uniswap.tests.ground import FAR, TOKENS, Node, Trader
from plugins.uniswap.tests.pools_made import enrich

Open = Callable[..., Desk]
FINISHED = (IntentStatus.FILLED, IntentStatus.REJECTED, IntentStatus.EXPIRED, IntentStatus.CANCELED)
ROWS = [(side, amount_in) for side in Side for amount_in in AmountType]


@pytest.fixture
def opened(node: Node, trader: Trader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens a desk on pools of some releases (none: all)."""

    def desk(*versions: str, **config: Any) -> Desk:
        desk = Desk(node, trader, tmp_path, *versions, **config)
        for name, value in desk.environment.items():
            monkeypatch.setenv(name, value)
        return desk

    return desk


@pytest.fixture
def desk(opened: Open) -> Desk:
    return opened()


def market(side: Side, amount_in: AmountType, symbol: str = "WETH/USDC", **more: Any) -> StandardOrder:
    """About a coin's worth, at most 1 % from the touch."""
    amount = "0.7" if amount_in is AmountType.BASE else "2100"
    tif = TimeInForce.FOK
    return StandardOrder(
        symbol, side, Decimal(amount), amount_type=amount_in, max_slippage=Decimal("0.01"), time_in_force=tif, **more
    )


@pytest.mark.parametrize(("side", "amount_in"), ROWS)
@pytest.mark.parametrize("symbol", ["WETH/USDC", "ETH/USDC"])
def test_a_market_order_is_one_swap(desk: Desk, symbol: str, side: Side, amount_in: AmountType) -> None:
    """Both sides and both units, wrapped or not: one transaction succeeds under its tag, the amount that was asked for
    moves to the unit, and the books are the balances."""

    async def scene() -> None:
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            await kernel.place_order(market(side, amount_in, symbol), "a")
            state = await desk.reaches(kernel, "a", *FINISHED)
            assert state.status is IntentStatus.FILLED, state
            record = await record_of(platform, "a")
        before.judge(record)
        base, quote = symbol.split("/")
        sign = 1 if side is Side.BUY else -1
        moved = before.moved
        assert set(moved) == {base, quote}
        changed = {"base": desk.amount(base, moved[base] * sign), "quote": desk.amount(quote, -moved[quote] * sign)}
        assert booked(record) == changed
        exact = changed["base" if amount_in is AmountType.BASE else "quote"]
        assert exact == (Decimal("0.7") if amount_in is AmountType.BASE else 2100)

    asyncio.run(scene())


def limit(side: Side, price: str, tif: TimeInForce, amount: str = "1", **more: Any) -> StandardOrder:
    """A limit order for WETH, in WETH unless it says otherwise."""
    return StandardOrder("WETH/USDC", side, Decimal(amount), limit_price=Decimal(price), time_in_force=tif, **more)


def moved_price(desk: Desk, to_sell: int) -> None:
    """Somebody else sells WETH (above 0) or buys it with so many dollars (below 0), in the largest pool."""
    stranger = Trader(desk.node, Account.from_key("0x" + "c9" * 32))
    enrich(desk.node, stranger.address, desk.setup, 60_000_000)
    market = desk.setup.market("WETH/USDC")
    sell = to_sell > 0
    amount, unit = (Decimal(to_sell), AmountType.BASE) if sell else (Decimal(-to_sell), AmountType.QUOTE)
    side = Side.SELL if sell else Side.BUY
    spec = Spec("WETH/USDC", side, amount, unit, limit=Decimal("0.01" if sell else "1000000"))
    route = next(
        r for r in (market.sells if sell else market.buys) if r.name.startswith("v3") and r.pools[0].fee == 500
    )
    swap = swap_of(spec, market.base, market.quote)
    assert stranger.swap(swap_draft(desk.setup.at, route, swap, stranger.address, FAR))[0].ok


async def status(kernel: ExchangeKernel, name: str) -> IntentStatus:
    return (await kernel.get_order_state(name)).status


def test_a_fok_that_is_not_met_sends_nothing_and_costs_nothing(desk: Desk) -> None:
    """The quote is not within the limit: the order is refused with both prices, and the chain has not heard of it."""

    async def scene() -> None:
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            await kernel.place_order(limit(Side.SELL, "3100", TimeInForce.FOK), "a")
            state = await desk.reaches(kernel, "a", *FINISHED)
            assert state.status is IntentStatus.REJECTED
            assert "would revert" in state.reason and "3100" in state.reason
        assert (before.used, before.moved) == (0, {})

    asyncio.run(scene())


@pytest.mark.parametrize("versions", [("v3",), ("v2",), ("v4",)])
def test_an_ioc_takes_what_its_limit_allows(opened: Open, versions: tuple[str, ...]) -> None:
    """More than the pools have within the limit: a part is sold, at the limit or better on average; the rest expires.
    In v3 the pool stops by itself, elsewhere the size is found by quotes."""
    desk = opened(*versions)
    desk.settings["symbols"] = ["WETH/USDC"]

    async def scene() -> None:
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            await kernel.place_order(limit(Side.SELL, "2960", TimeInForce.IOC, "2000"), "a")
            state = await desk.reaches(kernel, "a", *FINISHED)
            assert state.status is IntentStatus.EXPIRED, state
            record = await record_of(platform, "a")
        before.judge(record)
        sold, got = booked(record)["base"], booked(record)["quote"]
        assert 0 < sold < 2000 and got / sold >= 2960
        moved = before.moved
        assert (desk.amount("WETH", -moved["WETH"]), desk.amount("USDC", moved["USDC"])) == (sold, got)
        assert before.swaps(versions[0]) == 1

    asyncio.run(scene())


def test_a_limit_rests_in_the_kernel_and_is_sent_when_the_quote_meets_it(desk: Desk) -> None:
    """While the price is away nothing leaves; when somebody moves it there, one swap at the limit or better."""

    async def scene() -> None:
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            order = limit(Side.BUY, "2950", TimeInForce.GTC, "2")
            assert (await kernel.dry_run(order)).emulated == ("gtc",)
            before = desk.evidence()
            await kernel.place_order(order, "a")
            await desk.reaches(kernel, "a", IntentStatus.PENDING)
            await desk.passes(5)
            assert (await status(kernel, "a"), before.used) == (IntentStatus.PENDING, 0)
            moved_price(desk, 3000)
            state = await desk.reaches(kernel, "a", *FINISHED)
            assert state.status is IntentStatus.FILLED, state
            record = await record_of(platform, "a")
        before.judge(record)
        got, paid = booked(record)["base"], booked(record)["quote"]
        assert got == 2 and paid / got <= 2950
        moved = before.moved
        assert (desk.amount("WETH", moved["WETH"]), desk.amount("USDC", -moved["USDC"])) == (got, paid)

    asyncio.run(scene())


def test_what_rests_is_changed_ended_and_found_again(desk: Desk) -> None:
    """Free of charge: a cancelled order and a changed one left nothing on the chain; the changed one is still there in
    another process' platform, and is filled once, at the limit it has now."""

    async def scene() -> None:
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            for name in ("a", "b"):
                await kernel.place_order(limit(Side.BUY, "2500", TimeInForce.GTC), name)
            await desk.passes(3)
            await kernel.cancel_order("a")
            await desk.reaches(kernel, "a", IntentStatus.CANCELED)
            await kernel.modify_order("b", limit(Side.BUY, "2950", TimeInForce.GTC, "3"))
            await desk.passes(3)
        assert before.used == 0
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            await desk.passes(3)
            assert (await status(kernel, "b"), before.used) == (IntentStatus.PENDING, 0)
            moved_price(desk, 3000)
            assert (await desk.reaches(kernel, "b", *FINISHED)).status is IntentStatus.FILLED
            record = await record_of(platform, "b")
        before.judge(record)
        moved = before.moved
        assert moved["WETH"] == 3 * 10**18 and desk.amount("USDC", -moved["USDC"]) <= 3 * 2950
        assert len(before.by_key()) == before.used  # every transaction has a tag of its own

    asyncio.run(scene())


def test_a_gtd_limit_ends_on_time_and_unsent(desk: Desk) -> None:
    """Its price never came: it expires by the kernel's timer, and not a transaction was made of it."""

    async def scene() -> None:
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            end = time.time_ns() // 1_000_000 + 2_500
            await kernel.place_order(limit(Side.BUY, "2000", TimeInForce.GTD, expire_at=end), "a")
            state = await desk.reaches(kernel, "a", *FINISHED)
            assert state.status is IntentStatus.EXPIRED
        assert before.used == 0

    asyncio.run(scene())


@pytest.mark.parametrize("signed", [True, False])
def test_a_market_of_v4_alone_is_traded_through_permit2(opened: Open, signed: bool) -> None:
    """One swap, exactly, and its approval; what the router may take inside Permit2 is signed and comes with the swap,
    or has a transaction of its own. Permit2 and the router are left with nothing they could take."""
    desk = opened("v4", signed_permits=signed)
    desk.settings["symbols"] = ["WETH/USDC"]

    async def scene() -> None:
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            await kernel.place_order(market(Side.BUY, AmountType.QUOTE), "a")
            assert (await desk.reaches(kernel, "a", *FINISHED)).status is IntentStatus.FILLED
            record = await record_of(platform, "a")
        before.judge(record)
        assert (before.used, before.swaps("v4")) == (2 if signed else 3, 1)
        assert before.moved["USDC"] == -2_100_000_000
        usdc, at, me = desk.setup.tokens["USDC"].address, desk.setup.at, desk.trader
        assert me.view(usdc, ALLOWANCE, me.address, at.permit2) == (0,)
        assert me.view(at.permit2, PERMIT2_ALLOWANCE, me.address, usdc, at.universal_router)[0] == 0

    asyncio.run(scene())


def test_orders_side_by_side_share_one_exact_allowance(opened: Open) -> None:
    """Six at once: six swaps, each once, and no more was ever allowed than they needed between them."""
    desk = opened("v3", "v2")

    async def scene() -> None:
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            names = [f"o{n}" for n in range(6)]
            order = StandardOrder(
                "WETH/USDC", Side.BUY, 100, amount_type=AmountType.QUOTE, max_slippage="0.02", time_in_force="FOK"
            )
            await asyncio.gather(*(kernel.place_order(order, name) for name in names))
            for name in names:
                assert (await desk.reaches(kernel, name, *FINISHED)).status is IntentStatus.FILLED
                before.judge(await record_of(platform, name))
        assert before.moved["USDC"] == -600_000_000
        usdc, me = desk.setup.tokens["USDC"].address, desk.trader
        (left,) = me.view(usdc, ALLOWANCE, me.address, desk.setup.at.swap_router)
        assert left <= 600_000_000

    asyncio.run(scene())


def test_an_allowance_can_be_given_ahead(opened: Open) -> None:
    """With a bound of its own the second order needs no transaction but its swap."""
    desk = opened("v3", allow_ahead={"WETH": "5"})

    async def scene() -> None:
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            for name in ("a", "b"):
                await kernel.place_order(market(Side.SELL, AmountType.BASE), name)
                assert (await desk.reaches(kernel, name, *FINISHED)).status is IntentStatus.FILLED
        assert before.used == 3
        weth, me = desk.setup.tokens["WETH"].address, desk.trader
        (left,) = me.view(weth, ALLOWANCE, me.address, desk.setup.at.swap_router)
        assert left == 5 * 10**18 - 2 * 7 * 10**17

    asyncio.run(scene())


def test_an_order_follows_its_approval_long_before_that_is_final(opened: Open) -> None:
    """On mainnet finality takes longer than a market order waits. Behind the approval, by its number, nothing can go
    wrong; and the books wait for the end as ever."""
    depth = 300
    desk = opened("v3", confirmations=depth)

    async def scene() -> None:
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            await kernel.place_order(market(Side.SELL, AmountType.BASE), "a")

            async def swapped() -> bool:
                return before.swaps() == 1

            await desk.until(swapped, lambda: kernel.get_order_state("a"))
            assert before.used == 2
            state = await kernel.get_order_state("a")
            assert (state.status, state.filled_base) not in {(status, Decimal("0.7")) for status in FINISHED}
            desk.mine(depth)
            state = await desk.reaches(kernel, "a", *FINISHED)
            assert state.status is IntentStatus.FILLED, state
            before.judge(await record_of(platform, "a"))

    asyncio.run(scene())


def test_tether_is_reset_before_it_is_allowed_anew(opened: Open) -> None:
    """Its contract refuses to change an allowance that is not zero: reset, allow, swap, each once."""
    desk = opened("v3")
    usdt, me, router = desk.setup.tokens["USDT"].address, desk.trader, desk.setup.at.swap_router
    assert me.send(usdt, APPROVE.call(router, 5))[0].ok
    assert not me.send(usdt, APPROVE.call(router, 7))[0].ok

    async def scene() -> None:
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            order = StandardOrder(
                "WETH/USDT", Side.BUY, 300, amount_type=AmountType.QUOTE, max_slippage="0.02", time_in_force="FOK"
            )
            await kernel.place_order(order, "a")
            assert (await desk.reaches(kernel, "a", *FINISHED)).status is IntentStatus.FILLED
            before.judge(await record_of(platform, "a"))
        assert (before.used, before.moved["USDT"]) == (3, -300_000_000)
        assert me.view(usdt, ALLOWANCE, me.address, router) == (0,)

    asyncio.run(scene())


def test_what_keeps_a_part_of_each_transfer_is_counted_as_it_arrives(
    uniswap: UniswapStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sold, such a token arrives in part: the swap is refused or done at what really came, never at what was said."""
    node, trader = Node(uniswap.node.url), Trader(Node(uniswap.node.url), uniswap.trader)
    fee = to_checksum_address(FEE_TOKEN)
    desk = Desk(
        node,
        trader,
        tmp_path,
        tokens=TOKENS | {"FEE": {"address": fee, "decimals": 18}},
        pools=[{"version": "v2", "tokens": ["FEE", "WETH"]}],
        symbols=["FEE/WETH"],
    )
    monkeypatch.setenv(KEY_NAME, desk.environment[KEY_NAME])

    async def scene() -> None:
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            order = StandardOrder("FEE/WETH", Side.SELL, 100, max_slippage="0.05", time_in_force="FOK")
            told = (await kernel.dry_run(order)).warnings
            assert [text for text in told if text.startswith("FEE keeps ")], told
            exact = StandardOrder("FEE/WETH", Side.BUY, 100, max_slippage="0.05", time_in_force="FOK")
            with pytest.raises(Unsupported, match="keeps"):
                await kernel.dry_run(exact)
            asset = await kernel.get_asset_metadata("FEE")
            assert (asset.name, asset.decimals) == (fee, 18)
            await kernel.place_order(order, "a")
            state = await desk.reaches(kernel, "a", *FINISHED)
            record = await record_of(platform, "a")
        had = before.moved["WETH"]
        assert state.status is IntentStatus.FILLED, state
        assert booked(record)["quote"] == desk.amount("WETH", had)

    asyncio.run(scene())


def test_orders_of_a_block_share_its_reads(opened: Open) -> None:
    """Twenty orders are quoted in one call, and in one for each new block; asked again in a block they cost none."""
    desk = opened("v3", "v2", symbols=["WETH/USDC"])

    async def scene() -> None:
        adapter = UniswapAdapter(LocalSigner(bytes(desk.trader.account.key)))
        clock = SystemClock()
        config = desk.settings | {"poll_ms": 60_000}
        await adapter.open(Context("main", config, clock=clock.now_ms, sleep=clock.sleep))
        try:
            one = Spec("WETH/USDC", Side.SELL, Decimal(1), limit=Decimal(1), tif=TimeInForce.FOK)
            specs = [revised(one, amount=Decimal(n)) for n in range(1, 21)]
            counts = adapter._rpc.counts
            had = counts["eth_call"]
            quotes = await asyncio.gather(*(adapter.quote(spec) for spec in specs))
            first = counts["eth_call"] - had
            assert all(quote.price for quote in quotes)
            assert first == 1
            again = await asyncio.gather(*(adapter.quote(spec) for spec in specs))
            assert (counts["eth_call"] - had, again) == (first, quotes)
            desk.mine()
            await adapter.account()  # somebody sees the new block
            had = counts["eth_call"]
            await adapter.quote(specs[0])
            assert counts["eth_call"] - had == 1
            await asyncio.gather(*(adapter.quote(spec) for spec in specs))
            assert counts["eth_call"] - had == 1
        finally:
            await adapter.close()

    asyncio.run(scene())
