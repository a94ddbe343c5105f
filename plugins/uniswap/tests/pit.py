"""Post-only orders on a desk: somebody who moves the price through them, and what the chain and the books say of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from exchange_kernel.base import ExchangeKernel
from exchange_kernel.models import IntentStatus
from exchange_kernel.schema import AmountType, Side, StandardOrder, TimeInForce
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.state.rows import Record
from exchange_kernel.value import revised
from exchange_kernel.venue import Executed, OrderReport, Spec
from exchange_kernel_evm.body import read_body
from exchange_kernel_uniswap import swap_router
from exchange_kernel_uniswap.orders import range_of, routes_for
from exchange_kernel_uniswap.range_orders import SLOT0
from exchange_kernel_uniswap.swaps import swap_of
from exchange_kernel_uniswap.ticks import sqrt_at_tick
from plugins.uniswap.tests.desk import Desk, Evidence
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
