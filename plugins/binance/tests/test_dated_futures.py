"""Futures with a date: named by their day, traded like perpetuals, and delivered."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from exchange_kernel.errors import ExchangeKernelError
from exchange_kernel.models import IntentStatus
from exchange_kernel.schema import AssetType
from exchange_kernel.testing.conformance import all_cases, run_cases
from exchange_kernel_binance.testing.dated import DATED, DatedHarness
from exchange_kernel_binance.usdm.markets import venue_name
from plugins.binance.tests.trading import ENDED, Trading, crossing, on, resting

FILLED, WORKING = IntentStatus.FILLED, IntentStatus.WORKING
D = Decimal
KIT = (
    "META-01",
    "META-03",
    "PREC-01",
    "IDEM-01",
    "UNK-01",
    "UNK-03",
    "CXL-05",
    "MOD-01",
    "FILL-01",
    "BAL-11",
    "REC-01",
)


async def delivered(trading: Trading) -> None:
    """Its day has come."""
    await trading.harness._ask(lambda binance: binance.futures.exchange.deliver(DATED.symbol))


@pytest.mark.parametrize("name", KIT)
def test_it_keeps_the_contract(name: str) -> None:
    """As the kit sees it, past the adapter: what a date could break."""
    (case,) = (case for case in all_cases() if case.id == name)
    (result,) = run_cases([case], DatedHarness)

    assert result.status == "passed", result.reason


def test_it_is_listed_by_its_day_and_traded() -> None:
    """A symbol of its own beside the perpetual's, of another kind; its orders and its position are in it."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:
            dated, perpetual = [
                await kernel.get_symbol_metadata(name) for name in (DatedHarness.symbol, "BTC/USDT:USDT")
            ]
            assert (dated.asset_type, dated.venue_symbol) == (AssetType.FUTURE, "BTCUSDT_271231")
            assert (perpetual.asset_type, perpetual.venue_symbol) == (AssetType.PERP, "BTCUSDT")
            await kernel.place_order(crossing(trading.harness), "a")
            state = await trading.reaches(kernel, "a", *ENDED)
            assert (state.status, state.filled_base) == (FILLED, D("0.03"))
            (position,) = await kernel.get_positions()
            assert (position.symbol_id, position.amount) == (DatedHarness.symbol, D("0.03"))

    on(DatedHarness, scene)


@pytest.mark.parametrize("running", [True, False], ids=["while the kernel runs", "while no kernel runs"])
def test_delivery_ends_orders_and_closes_the_position_by_an_order_of_binance(running: bool) -> None:
    """What rested has expired, once, and is not placed again; the venue's own order is told as settlement; the symbol
    takes no more orders."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:
            await kernel.place_order(crossing(trading.harness), "a")
            await trading.reaches(kernel, "a", FILLED)
            await kernel.place_order(resting(trading.harness), "b")
            await trading.reaches(kernel, "b", WORKING)
            if running:
                await delivered(trading)
                await trading.reaches(kernel, "b", IntentStatus.EXPIRED)
        if not running:
            await delivered(trading)
        async with trading.kernel() as kernel:
            state = await trading.reaches(kernel, "b", IntentStatus.EXPIRED)
            assert state.filled_base == 0
            snapshot: Any = await kernel._session.adapter.account()
            assert [each for each in snapshot.positions if each.symbol == DatedHarness.symbol] == []
            with pytest.raises(ExchangeKernelError, match="inactive"):
                await kernel.place_order(resting(trading.harness), "c")
        assert await trading.live() == []
        assert len(await trading.orders()) == 3  # a, b, and Binance's own

    on(DatedHarness, scene)


@pytest.mark.parametrize(
    ("symbol", "name"),
    [("BTC/USDT:USDT", "BTCUSDT"), ("BTC/USDT:USDT-271231", "BTCUSDT_271231"), ("1000X/USDC:USDC", "1000XUSDC")],
)
def test_what_is_listed_no_more_is_still_looked_up_by_its_name(symbol: str, name: str) -> None:
    """Binance writes the pair, and the day after an underscore."""
    assert venue_name(symbol) == name
