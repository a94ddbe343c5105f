"""What Binance costs now: asked for when a market order needs a bound."""

from __future__ import annotations

from decimal import Decimal

import pytest

from exchange_kernel.errors import UnknownSymbol
from exchange_kernel.models import IntentStatus
from exchange_kernel.schema import Side, StandardOrder
from exchange_kernel.venue import Place, Prep, PriceReads, Prices, Slot, Ticket
from exchange_kernel_binance.adapter import BinanceAdapter
from plugins.binance.tests.test_scenarios import MARKETS, Market
from plugins.binance.tests.trading import ENDED, Trading, on

SLIP = Decimal("0.01")


@MARKETS
def test_a_market_order_is_bounded_by_the_touch_of_the_moment(market: Market) -> None:
    """With max_slippage it is sent as a limit order at the touch moved by so much, and fills."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:
            order = StandardOrder(trading.harness.symbol, Side.BUY, "0.03", max_slippage=SLIP)
            await kernel.place_order(order, "a")
            state = await trading.reaches(kernel, "a", *ENDED)
            assert (state.status, state.filled_base) == (IntentStatus.FILLED, Decimal("0.03"))
            record = await trading.store.record(kernel.exchange_id, "a")
        assert record is not None
        guard = record.attempts[0].spec.guard
        assert guard is not None
        paid = record.progress.filled_quote / record.progress.filled_base
        assert paid <= guard <= paid * (1 + SLIP)

    on(market, scene)


@MARKETS
def test_prices_are_the_two_sides_of_the_book(market: Market) -> None:
    """Bid below ask; a symbol that is not listed is refused by name; nothing is claimed of a stream."""

    async def scene(trading: Trading) -> None:
        adapter = trading.harness.adapter()
        assert isinstance(adapter, BinanceAdapter)
        await adapter.open(trading.harness.context())
        try:
            await adapter.markets()
            assert isinstance(adapter, PriceReads)
            assert not isinstance(adapter, Prices)
            tick = await adapter.price(trading.harness.symbol)
            assert tick.ask is not None
            assert tick.bid is None or tick.bid < tick.ask
            with pytest.raises(UnknownSymbol, match="NO/SUCH"):
                await adapter.price("NO/SUCH")
        finally:
            await adapter.close()

    on(market, scene)


@MARKETS
def test_a_dry_ticket_says_the_request_and_is_signed_by_nobody(market: Market) -> None:
    """What `exk apply --dry-run=server` shows: every field of the request, without time, key or signature."""

    async def scene(trading: Trading) -> None:
        adapter = trading.harness.adapter()
        context = trading.harness.context()
        await adapter.open(context)
        try:
            await adapter.markets()
            spec = adapter.check(trading.harness.resting()).spec
            prep = Prep(context.clock(), 2**62, lambda scope: Slot(scope, 0), dry=True)
            ticket = await adapter.prepare(Place(b"\1" * 16, spec), prep)
            assert isinstance(ticket, Ticket)
            assert ticket.body == b""
            assert ticket.note.startswith("POST ")
            assert f"price={spec.limit:f}" in ticket.note
            assert "side=BUY" in ticket.note
            assert not any(word in ticket.note for word in ("signature", "timestamp", *context.secrets.values()))
        finally:
            await adapter.close()

    on(market, scene)
