"""Post-only orders with a real kernel and database on the fork: each is one position, and its fills are what the chain
paid when it was withdrawn, whatever the price did before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from exchange_kernel.base import ExchangeKernel
from exchange_kernel.errors import InvalidOrder
from exchange_kernel.models import IntentStatus
from exchange_kernel.schema import AmountType, Side, StandardOrder, TimeInForce
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.state.rows import Record
from exchange_kernel.value import revised
from exchange_kernel.venue import Executed, OrderReport, Spec
from exchange_kernel_evm.body import read_body
from exchange_kernel_evm.tokens import APPROVE
from exchange_kernel_uniswap import swap_router
from exchange_kernel_uniswap.orders import range_of, routes_for
from exchange_kernel_uniswap.range_orders import SLOT0, close_draft
from exchange_kernel_uniswap.swaps import swap_of
from exchange_kernel_uniswap.ticks import sqrt_at_tick
from plugins.uniswap.tests.desk import ACCOUNT, Desk, Evidence, record_of
from plugins.uniswap.tests.ground import FAR, Node, Trader
from plugins.uniswap.tests.pools_made import enrich

Open = Callable[..., Desk]
FINISHED = (IntentStatus.FILLED, IntentStatus.REJECTED, IntentStatus.EXPIRED, IntentStatus.CANCELED)
AMOUNT = Decimal("5")


@pytest.fixture
def opened(node: Node, trader: Trader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens a desk on v3 pools."""

    def desk(**config: Any) -> Desk:
        desk = Desk(node, trader, tmp_path, "v3", **{"symbols": ["WETH/USDC", "ETH/USDT"], **config})
        for name, value in desk.environment.items():
            monkeypatch.setenv(name, value)
        return desk

    return desk


@pytest.fixture
def desk(opened: Open) -> Desk:
    return opened()


class Pit:
    """Somebody else, who moves the price of the pool that a market's post-only orders are kept in."""

    def __init__(self, desk: Desk, symbol: str = "WETH/USDC") -> None:
        self.desk, self.market = desk, desk.setup.market(symbol)
        self.pool = self.market.makers[0]
        self.trader = Trader(desk.node, Account.from_key("0x" + "c9" * 32))
        enrich(desk.node, self.trader.address, desk.setup, 60_000_000)

    @property
    def tick(self) -> int:
        return int(self.desk.trader.view(self.pool.id, SLOT0)[1])

    def price(self, side: Side, steps: int) -> Decimal:
        """A price on the grid, so many steps away from the market on the order's own side; below 0: beyond it."""
        market, spacing = self.market, self.pool.spacing
        away = 1 + Fraction(steps * spacing, 10_000) * (1 if side is Side.SELL else -1)
        away *= market.scale.price_at(self.tick)
        below, above = market.scale.edges(Decimal(away.numerator) / Decimal(away.denominator), side, spacing)
        found = above if side is Side.SELL else below
        assert found is not None
        return found[0]

    def move(self, order: StandardOrder, part: Fraction) -> None:
        """So far through the step of an order: 0 before it, 1 past it."""
        spec = Spec(order.symbol_id, order.side, order.amount, order.amount_type, order.limit_price, post_only=True)
        placed = range_of(spec, self.market)
        low, high = sqrt_at_tick(placed.lower), sqrt_at_tick(placed.upper)
        # A whole step beyond it on both sides: nothing of it is touched, or all of it.
        start, end = (low, high) if placed.sells_token0 else (high, low)
        stop = int(start + (end - start) * part)
        if part in (0, 1):
            stop += (end - start) * (1 if part else -1)
        up = stop > int(self.desk.trader.view(self.pool.id, SLOT0)[0])
        side = Side.BUY if up is self.market.scale.base_first else Side.SELL
        route = next(each for each in routes_for(self.market, side) if each.pools == (self.pool,))
        limit = Decimal("1E12") if side is Side.BUY else Decimal("1E-12")
        swap = swap_of(Spec(self.market.symbol, side, Decimal(5000), limit=limit), self.market.base, self.market.quote)
        swap = revised(swap, bound=swap.bound if swap.exact_in else 10**22)
        draft = swap_router.limited_draft(self.desk.setup.at, route, swap, self.trader.address, FAR, stop)
        assert self.trader.swap(draft)[0].ok


def maker(pit: Pit, side: Side, amount_in: AmountType = AmountType.BASE, steps: int = 3, **more: Any) -> StandardOrder:
    """About five coins' worth."""
    amount = AMOUNT if amount_in is AmountType.BASE else Decimal(15_000)
    return StandardOrder(
        pit.market.symbol,
        side,
        more.pop("amount", amount),
        amount_type=amount_in,
        limit_price=pit.price(side, steps),
        time_in_force=more.pop("tif", TimeInForce.GTC),
        post_only=True,
        **more,
    )


def ledger(record: Record) -> Mapping[str, Decimal]:
    """What the books say that the account gained, by asset: fills, their fees, and all costs but gas."""
    base, quote = record.intent.order.symbol_id.split("/")
    sign = 1 if record.intent.order.side is Side.BUY else -1
    out = {base: Decimal(0), quote: Decimal(0)}
    for fill in record.fills:
        assert not fill.voided
        out[base] = EXACT.add(out[base], sign * fill.base)
        out[quote] = EXACT.add(out[quote], -sign * fill.quote)
        for fee in fill.fees:
            out[fee.asset] = EXACT.subtract(out[fee.asset], fee.amount)
    for attempt in record.attempts:
        for cost in attempt.costs:
            if cost.kind != "network":
                out[cost.asset] = EXACT.subtract(out[cost.asset], cost.amount)
    return {asset: amount for asset, amount in out.items() if amount}


def on_chain(desk: Desk, before: Evidence) -> Mapping[str, Decimal]:
    """What the account really gained, gas left out."""
    return {name: desk.amount(name, units) for name, units in before.moved.items()}


def paid(record: Record) -> Decimal:
    return sum((cost.amount for a in record.attempts for cost in a.costs if cost.kind == "network"), Decimal(0))


def gas_on_chain(desk: Desk, before: Evidence, record: Record) -> Decimal:
    """Gas of the order's own transactions."""
    hashes = {read_body(row.ticket, desk.trader.address, 1).tx.hash for row in record.tickets}
    rows = [receipt for tx, receipt in before.transactions() if tx["hash"] in hashes]
    return desk.amount("ETH", sum(int(r["gasUsed"], 16) * int(r["effectiveGasPrice"], 16) for r in rows))


def judged(desk: Desk, before: Evidence, record: Record) -> None:
    """Exactly once: one success at most for each tag, one mint and one withdrawal for each attempt at most, and the
    books are the balances."""
    assert max(before.by_key().values(), default=0) <= 1
    logs = [log for _, receipt in before.transactions() for log in receipt["logs"]]
    minted = sum(log["topics"][0] == INCREASED for log in logs)
    ended = sum(log["topics"][0] == DECREASED for log in logs)
    assert minted == ended <= len(record.attempts)
    assert ledger(record) == on_chain(desk, before)
    assert paid(record) == gas_on_chain(desk, before, record)


INCREASED = "0x3067048beee31b25b2f1681f88dac838c8bba36af25bfb2b7cf7473a5847e35f"
DECREASED = "0x26f6a048ee9138f2c0ce266f322cb99228e8d619ae2bff30c67f8dcf9d2377b4"


async def tentative(kernel: ExchangeKernel) -> Executed | None:
    """What the account's only resting order has executed and may lose again, as the venue says now."""
    report = await resting(kernel)
    return None if report is None else report.tentative


async def resting(kernel: ExchangeKernel) -> OrderReport | None:
    adapter: Any = kernel._session.adapter  # type: ignore[attr-defined]
    rows = (await adapter.open_orders(None)).reports
    assert len(rows) <= 1
    return rows[0] if rows else None


async def working(desk: Desk, kernel: ExchangeKernel, name: str) -> None:
    """The order rests."""
    await desk.reaches(kernel, name, IntentStatus.WORKING)


@pytest.mark.parametrize("amount_in", list(AmountType))
@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("symbol", ["WETH/USDC", "ETH/USDT"])
def test_the_price_goes_through_and_the_proceeds_are_taken_once(
    desk: Desk, symbol: str, side: Side, amount_in: AmountType
) -> None:
    """Both sides, both units, ether itself: placed, passed, settled; the fill is the withdrawal, to the unit."""

    async def scene() -> None:
        pit = Pit(desk, symbol)
        order = maker(pit, side, amount_in)
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            await kernel.place_order(order, "a")
            await working(desk, kernel, "a")
            pit.move(order, Fraction(1))
            state = await desk.reaches(kernel, "a", *FINISHED)
            assert state.status is IntentStatus.FILLED, state
            record = await record_of(platform, "a")
        judged(desk, before, record)
        (fill,) = record.fills
        assert fill.maker
        done = fill.base if amount_in is AmountType.BASE else fill.quote
        assert abs(done - order.amount) <= order.amount / 10**6
        assert order.limit_price is not None
        assert fill.quote / fill.base >= order.limit_price if side is Side.SELL else True
        assert fill.quote / fill.base <= order.limit_price if side is Side.BUY else True

    asyncio.run(scene())


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("part", [Fraction(0), Fraction(2, 5)])
def test_a_cancel_books_what_was_executed_until_then(desk: Desk, side: Side, part: Fraction) -> None:
    """Untouched, the deposit comes back but for what the pool rounds away, which is a cost; touched, the executed part
    is one fill. Nothing is booked before."""

    async def scene() -> None:
        pit = Pit(desk)
        order = maker(pit, side)
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            await kernel.place_order(order, "a")
            await working(desk, kernel, "a")
            if part:
                pit.move(order, part)
                await desk.passes(3)
                seen = await tentative(kernel)
                assert seen is not None and 0 < seen.base < AMOUNT
            assert not (await kernel.get_order_state("a")).filled_base
            await kernel.cancel_order("a")
            state = await desk.reaches(kernel, "a", *FINISHED)
            assert state.status is IntentStatus.CANCELED, state
            record = await record_of(platform, "a")
        judged(desk, before, record)
        assert len(record.fills) == bool(part)
        if part:
            assert record.fills[0].base == seen.base

    asyncio.run(scene())


def test_what_the_price_takes_back_was_never_filled(desk: Desk) -> None:
    """Most of the way and back again: the tentative execution falls to nothing, no fill is booked, and after it went
    through for good there is one."""

    async def scene() -> None:
        pit = Pit(desk)
        order = maker(pit, Side.SELL)
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            await kernel.place_order(order, "a")
            await working(desk, kernel, "a")
            rows = []
            for part in (Fraction(9, 10), Fraction(1, 10), Fraction(0)):
                pit.move(order, part)
                await desk.passes(2)
                rows.append(await tentative(kernel))
            most, little, none = rows
            assert most is not None and little is not None
            assert most.base > little.base > 0
            assert none == Executed()
            record = await record_of(platform, "a")
            assert not record.fills and record.progress.status is IntentStatus.WORKING
            pit.move(order, Fraction(1))
            assert (await desk.reaches(kernel, "a", *FINISHED)).status is IntentStatus.FILLED
            record = await record_of(platform, "a")
        judged(desk, before, record)
        (fill,) = record.fills
        assert fill.fees  # it earned the pool's fee on the way there and back

    asyncio.run(scene())


def test_only_the_withdrawal_counts(desk: Desk) -> None:
    """All of it is executed and the withdrawal is on its way; the price comes back before its block. It reverts, the
    order rests on, its gas is booked, and when the price goes through again one fill is."""

    async def scene() -> None:
        pit = Pit(desk)
        order = maker(pit, Side.BUY)
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            await kernel.place_order(order, "a")
            await working(desk, kernel, "a")
            pit.move(order, Fraction(1))
            desk.node("evm_setAutomine", False)
            await waiting(desk, 1)
            kept = drop_all(desk)
            desk.node("evm_setAutomine", True)
            pit.move(order, Fraction(0))
            for raw in kept:
                desk.node("eth_sendRawTransaction", raw)
            await desk.passes(6)
            assert await tentative(kernel) == Executed()
            assert (await kernel.get_order_state("a")).status is IntentStatus.WORKING
            pit.move(order, Fraction(1))
            assert (await desk.reaches(kernel, "a", *FINISHED)).status is IntentStatus.FILLED
            record = await record_of(platform, "a")
        failed = [tx for tx, receipt in before.transactions() if receipt["status"] == "0x0"]
        assert len(failed) == 1
        judged(desk, before, record)
        assert len(record.fills) == 1

    asyncio.run(scene())


def pool_of(desk: Desk) -> list[dict[str, Any]]:
    """The account's transactions that wait."""
    content, address = desk.node("txpool_content"), desk.trader.address.lower()
    return [tx for kind in ("pending", "queued") for tx in (content[kind].get(address) or {}).values()]


async def waiting(desk: Desk, count: int) -> None:
    """So many transactions of the account wait in the pool."""

    async with asyncio.timeout(20):
        while len(pool_of(desk)) != count:
            await asyncio.sleep(0.05)


def drop_all(desk: Desk) -> list[str]:
    """They are taken out of the pool; their bytes."""
    kept = []
    for tx in pool_of(desk):
        kept.append(desk.node("eth_getRawTransactionByHash", tx["hash"]))
        desk.node("anvil_dropTransaction", tx["hash"])
    return kept


def reorganise(desk: Desk, mark: str, kept: list[str], then: Callable[[], None] = lambda: None) -> None:
    """Every block since the mark is another one. ``kept``: what the pool still has."""
    head = int(desk.node("eth_blockNumber"), 16)
    assert desk.node("evm_revert", mark)
    desk.node("evm_increaseTime", 1)
    then()
    while int(desk.node("eth_blockNumber"), 16) <= head:
        desk.mine()
    for raw in kept:
        desk.node("eth_sendRawTransaction", raw)


def mined_by(before: Evidence) -> int:
    return len(before.transactions())


@pytest.mark.parametrize("side", list(Side))
def test_a_restart_between_any_two_steps_changes_nothing(desk: Desk, side: Side) -> None:
    """A new platform after the mint, after a part, after all of it, after the withdrawal was sent: one fill."""

    async def scene() -> None:
        pit = Pit(desk)
        order = maker(pit, side)
        before = desk.evidence()
        async with desk.platform() as platform:
            await platform[ACCOUNT].place_order(order, "a")
            await working(desk, platform[ACCOUNT], "a")
        async with desk.platform() as platform:
            await desk.passes(2)
            assert await tentative(platform[ACCOUNT]) == Executed()
        pit.move(order, Fraction(1, 2))
        async with desk.platform() as platform:
            await desk.passes(2)
            seen = await tentative(platform[ACCOUNT])
            assert seen is not None and seen.base > 0
        pit.move(order, Fraction(1))
        desk.node("evm_setAutomine", False)
        async with desk.platform() as platform:
            await waiting(desk, 1)
        desk.node("evm_setAutomine", True)
        async with desk.platform() as platform:
            assert (await desk.reaches(platform[ACCOUNT], "a", *FINISHED)).status is IntentStatus.FILLED
        async with desk.platform() as platform:
            await desk.passes(2)
            record = await record_of(platform, "a")
        judged(desk, before, record)
        assert len(record.fills) == 1

    asyncio.run(scene())


@pytest.mark.parametrize("kept", [True, False])
def test_a_reorganisation_takes_the_mint_back(opened: Open, kept: bool) -> None:
    """The block of the mint is gone. Whether the pool still has its bytes or not, there is one position in the end."""
    desk = opened(confirmations=4)

    async def scene() -> None:
        pit = Pit(desk)
        order = maker(pit, Side.SELL)
        at = desk.setup.at
        assert desk.trader.send(at.weth, APPROVE.call(at.v3_positions, int(AMOUNT * 10**18)))[0].ok
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            mark = desk.node("evm_snapshot")
            await kernel.place_order(order, "a")
            async with asyncio.timeout(20):
                while (await kernel.get_order_state("a")).status is not IntentStatus.WORKING:
                    await asyncio.sleep(0.05)
            (tx, _) = before.transactions()[-1]
            raw = desk.node("eth_getRawTransactionByHash", tx["hash"])
            reorganise(desk, mark, [raw] if kept else [])
            await desk.until(lambda: resting(kernel), lambda: kernel.get_order_state("a"))
            await desk.passes(5)
            pit.move(order, Fraction(1))
            assert (await desk.reaches(kernel, "a", *FINISHED)).status is IntentStatus.FILLED
            record = await record_of(platform, "a")
        judged(desk, before, record)
        assert len(record.fills) == 1

    asyncio.run(scene())


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("settled", [True, False])
def test_a_reorganisation_takes_the_withdrawal_back(opened: Open, settled: bool, kept: bool) -> None:
    """A settlement or a cancel was in a block that is gone: until one is final nothing is booked, and then once."""
    desk = opened(confirmations=4)

    async def scene() -> None:
        pit = Pit(desk)
        order = maker(pit, Side.SELL)
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            await kernel.place_order(order, "a")
            await working(desk, kernel, "a")
            await desk.passes(5)
            pit.move(order, Fraction(1, 2))
            await desk.passes(5)
            mark = desk.node("evm_snapshot")
            had = mined_by(before)
            if settled:
                pit.move(order, Fraction(1))
            else:
                await kernel.cancel_order("a")
            async with asyncio.timeout(20):
                while mined_by(before) == had:
                    await asyncio.sleep(0.05)
            await asyncio.sleep(0.3)
            assert not (await record_of(platform, "a")).fills
            (tx, _) = before.transactions()[-1]
            raw = desk.node("eth_getRawTransactionByHash", tx["hash"])
            through = (lambda: pit.move(order, Fraction(1))) if settled else (lambda: None)
            reorganise(desk, mark, [raw] if kept else [], through)
            state = await desk.reaches(kernel, "a", *FINISHED)
            assert state.status is (IntentStatus.FILLED if settled else IntentStatus.CANCELED), state
            record = await record_of(platform, "a")
        judged(desk, before, record)
        assert len(record.fills) == 1

    asyncio.run(scene())


def test_a_changed_order_is_ended_and_placed_anew(desk: Desk) -> None:
    """A position stays where it is: half executed, the order is withdrawn, that is booked, and a second position has
    what is left at the new price, and never more."""

    async def scene() -> None:
        pit = Pit(desk)
        order = maker(pit, Side.SELL)
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            await kernel.place_order(order, "a")
            await working(desk, kernel, "a")
            pit.move(order, Fraction(1, 2))
            await desk.passes(2)
            changed = order.but(limit_price=pit.price(Side.SELL, 6), amount=AMOUNT + 1)
            await kernel.modify_order("a", changed)

            async def again() -> bool:
                return len((await record_of(platform, "a")).attempts) == 2 and await resting(kernel) is not None

            await desk.until(again, lambda: kernel.get_order_state("a"))
            (fill,) = (await record_of(platform, "a")).fills
            report = await resting(kernel)
            assert report is not None
            assert (report.amount, report.price) == (EXACT.subtract(AMOUNT + 1, fill.base), changed.limit_price)
            pit.move(changed, Fraction(1))
            assert (await desk.reaches(kernel, "a", *FINISHED)).status is IntentStatus.FILLED
            record = await record_of(platform, "a")
        judged(desk, before, record)
        done = sum((each.base for each in record.fills), Decimal(0))
        assert 0 <= AMOUNT + 1 - done <= Decimal("1e-9")

    asyncio.run(scene())


def test_an_order_that_would_take_is_refused_unsigned(desk: Desk) -> None:
    """At the market's own step and beyond it: rejected by name, and no transaction was made."""

    async def scene() -> None:
        pit = Pit(desk)
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            for n, (side, steps) in enumerate([(Side.SELL, -3), (Side.BUY, -3), (Side.SELL, -1), (Side.BUY, -1)]):
                await kernel.place_order(maker(pit, side, steps=steps), f"o{n}")
                state = await desk.reaches(kernel, f"o{n}", *FINISHED)
                assert state.status is IntentStatus.REJECTED
                assert "the order's step is" in state.reason
        assert before.used == 0

    asyncio.run(scene())


def test_a_price_off_the_grid_is_told_its_neighbours(desk: Desk) -> None:
    """Before anything is written; and both neighbours are taken."""

    async def scene() -> None:
        pit = Pit(desk)
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            order = maker(pit, Side.SELL).but(limit_price=Decimal(3300))
            with pytest.raises(InvalidOrder, match="is not a price of this pool's tick grid") as caught:
                await kernel.place_order(order, "a")
            near = [Decimal(each) for each in caught.value.hint.removeprefix("near: ").split(" and ")]
            assert near[0] < 3300 < near[1]
            for price in near:
                assert not (await kernel.dry_run(order.but(limit_price=price))).emulated

    asyncio.run(scene())


@pytest.mark.parametrize("side", list(Side))
def test_what_a_position_holds_is_the_accounts_and_not_free(desk: Desk, side: Side) -> None:
    """Total is what is free and what a withdrawal would pay; as a position the base in it shows."""

    async def scene() -> None:
        pit = Pit(desk)
        order = maker(pit, side)
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            adapter: Any = kernel._session.adapter  # type: ignore[attr-defined]
            had = {row.asset: row for row in (await adapter.account()).balances}
            assert all(row.total == row.free for row in had.values())
            await kernel.place_order(order, "a")
            await working(desk, kernel, "a")
            pit.move(order, Fraction(1, 2))
            await desk.passes(2)
            snapshot, seen = await adapter.account(), await tentative(kernel)
            now = {row.asset: row for row in snapshot.balances}
            assert seen is not None
            free = {name: desk.amount(name, units) for name, units in desk.evidence().balances().items()}
            assert {name: row.free for name, row in now.items()} == free
            inside = {name: row.total - row.free for name, row in now.items() if row.total != row.free}
            sign = 1 if side is Side.SELL else -1
            assert inside.keys() == {"WETH", "USDC"}
            for asset, done in (("WETH", -sign * seen.base), ("USDC", sign * seen.quote)):
                lost = now[asset].total - had[asset].total - done
                assert -1 <= lost.scaleb(desk.setup.tokens[asset].decimals) <= 1
            (position,) = snapshot.positions
            assert (position.symbol, position.amount) == ("WETH/USDC", inside["WETH"])
            await kernel.cancel_order("a")
            await desk.reaches(kernel, "a", *FINISHED)
            await desk.passes(1)
            after = await adapter.account()
            assert not after.positions
            assert all(row.total == row.free for row in after.balances)

    asyncio.run(scene())


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("amount_in", list(AmountType))
@pytest.mark.parametrize("symbol", ["WETH/USDC", "ETH/USDC"])
def test_a_kernel_that_lost_its_database_finds_what_rests(
    opened: Open, symbol: str, side: Side, amount_in: AmountType
) -> None:
    """From the position to its mint, and from its calldata to the very order: key, side, amount, price."""
    desk = opened(symbols=["WETH/USDC", "ETH/USDC"])

    async def scene() -> None:
        pit = Pit(desk, symbol)
        order = maker(pit, side, amount_in)
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            await kernel.place_order(order, "a")
            await working(desk, kernel, "a")
            record = await record_of(platform, "a")
        desk.folder = desk.folder / "another"
        desk.folder.mkdir()
        desk.mine(200)
        async with desk.platform() as platform:
            report = await resting(platform[ACCOUNT])
        assert report is not None
        assert (report.key, report.symbol, report.side) == (record.attempts[0].key, symbol, side)
        assert (report.amount, report.price) == (order.amount, order.limit_price)

    asyncio.run(scene())


def test_what_its_owner_withdraws_by_hand_is_booked(desk: Desk) -> None:
    """Another wallet with the same key takes the position out: the executed part is booked, and the order is over."""

    async def scene() -> None:
        pit = Pit(desk)
        order = maker(pit, Side.SELL)
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            await kernel.place_order(order, "a")
            await working(desk, kernel, "a")
            pit.move(order, Fraction(1, 2))
            await desk.passes(2)
            adapter: Any = kernel._session.adapter  # type: ignore[attr-defined]
            (owned,) = await adapter._venue._ranges._positions.owned(adapter._ledger)
            draft = close_draft(desk.setup.at, owned.order, owned.token_id, desk.trader.address, FAR)
            assert desk.trader.send(draft.to, draft.data)[0].ok
            state = await desk.reaches(kernel, "a", *FINISHED)
            assert state.status is IntentStatus.CANCELED, state
            record = await record_of(platform, "a")
        assert ledger(record) == on_chain(desk, before)
        assert len(record.fills) == 1

    asyncio.run(scene())


def test_a_day_order_rests_and_is_withdrawn_by_the_kernels_timer(desk: Desk) -> None:
    """Its end is not on the chain: the kernel withdraws it then, and books what was executed."""

    async def scene() -> None:
        pit = Pit(desk)
        end = time.time_ns() // 1_000_000 + 6_000
        order = maker(pit, Side.BUY, tif=TimeInForce.GTD, expire_at=end)
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            assert (await kernel.dry_run(order)).emulated == ("gtd",)
            await kernel.place_order(order, "a")
            await working(desk, kernel, "a")
            pit.move(order, Fraction(1, 4))
            state = await desk.reaches(kernel, "a", *FINISHED)
            assert state.status is IntentStatus.EXPIRED, state
            record = await record_of(platform, "a")
        judged(desk, before, record)
        assert len(record.fills) == 1

    asyncio.run(scene())
