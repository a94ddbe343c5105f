"""Is what a venue declares complete, and are the streams and histories there that it declares?"""

from __future__ import annotations

import asyncio

from exchange_kernel.schema import FEATURES, Side, SupportLevel, SymbolMetadata, TriggerKind
from exchange_kernel.testing.conformance.bench import Bench, Failed
from exchange_kernel.venue import History, OrderReport, Prices, PriceTick

__all__ = ["MOST_PAGES", "history_comes", "incomplete", "prices_come"]

DAY_MS = 86_400_000
"""No price of a market that trades is older."""
MOST_PAGES = 200
"""More than any account of a test has."""


def incomplete(symbol: SymbolMetadata) -> str:
    """What the metadata of a market leaves open, or contradicts itself in; "" for nothing."""
    features, capabilities = symbol.capabilities.features, symbol.capabilities
    if set(features) != set(FEATURES):
        return f"capabilities not answered: {sorted(set(FEATURES) - set(features))}"
    for name, support in features.items():
        if support.level is SupportLevel.PARTIAL and not support.note.strip():
            return f"{name} is partial, and no note says what is missing"
    if not (capabilities.limit_orders or capabilities.market_orders):
        return "takes neither market nor limit orders"
    if not capabilities.amount_types:
        return "takes amounts neither in base nor in quote"
    if not capabilities.sides <= set(Side) or not capabilities.sides:
        return f"takes the sides {capabilities.sides}"
    if capabilities.limit_orders and not capabilities.times_in_force:
        return "takes limit orders of no time in force"
    if symbol.base == symbol.quote:
        return f"base and quote are both {symbol.base}"
    triggers = capabilities.trigger_kinds
    for name in ("trigger_limit", "trailing_activation", *(f"source_{s}" for s in ("last", "mark", "index", "mid"))):
        if capabilities.offers(name) and not triggers:
            return f"offers {name}, and no trigger"
    if triggers and not capabilities.price_sources:
        return "offers triggers, and no price they could watch"
    if capabilities.offers("trailing_activation") and TriggerKind.TRAILING_STOP not in triggers:
        return "offers trailing_activation, and no trailing stop"
    if capabilities.offers("amend_keeps_queue") and not any(
        capabilities.offers(f"amend_{kind}") for kind in ("price", "up", "down")
    ):
        return "offers amend_keeps_queue, and no amendment"
    amounts, prices = symbol.amounts, symbol.prices
    if amounts.min_amount % amounts.step:
        return f"min_amount {amounts.min_amount} is not a multiple of the step {amounts.step}"
    if prices.tick is not None and prices.min_price is not None and prices.min_price % prices.tick:
        return f"min_price {prices.min_price} is not a multiple of the tick {prices.tick}"
    return ""


async def prices_come(bench: Bench) -> None:
    """The price stream says a price of the harness' symbol."""
    adapter = bench.adapter
    assert isinstance(adapter, Prices)
    ticks = adapter.prices(frozenset({bench.harness.symbol}))

    async def first() -> PriceTick:
        return await anext(ticks)

    waiting = asyncio.create_task(first())
    try:
        await bench.until(waiting.done, "prices() says a first price, as declared")
        tick = waiting.result()
    except NotImplementedError:
        bench.fail("prices are declared, and prices() is not implemented")
    except StopAsyncIteration:
        bench.fail("prices are declared, and prices() ends without one")
    finally:
        waiting.cancel()
        await asyncio.wait([waiting])
        close = getattr(ticks, "aclose", None)
        if close is not None:
            await close()
    bench.seen.append(tick)
    bench.expect(isinstance(tick, PriceTick), f"prices() says {tick!r}, no PriceTick")
    bench.expect(tick.symbol == bench.harness.symbol, f"asked for {bench.harness.symbol}, prices() says {tick.symbol}")
    now = bench.clock.now_ms() + bench.opened.clock_offset
    fresh = type(tick.at) is int and abs(now - tick.at) <= DAY_MS
    bench.expect(fresh, f"prices() says {tick}: its time is none in ms UTC; now is {now}")
    known = [each for each in (tick.bid, tick.ask, tick.last, tick.mark, tick.index) if each is not None]
    bench.expect(known and min(known) > 0, f"prices() says {tick}, which is no price")
    if tick.bid is not None and tick.ask is not None:
        bench.expect(tick.bid <= tick.ask, f"prices() says a bid {tick.bid} above the ask {tick.ask}")


async def history_comes(bench: Bench) -> None:
    """History tells of an order that has ended."""
    adapter = bench.adapter
    assert isinstance(adapter, History)
    placed = await bench.put()
    await bench.cancel(placed)
    await bench.ended(placed)

    async def told() -> bool:
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page, cursor = await bench.ask(adapter.history(cursor))
            reports = [each for each in page if isinstance(each, OrderReport)]
            if any({each.id, *each.links} & set(placed.ids) for each in reports):
                return True
            if not page:
                return False
        raise Failed(f"history() does not end within {MOST_PAGES} pages")

    try:
        await bench.until(told, "history(), which is declared, tells of an order that has ended")
    except NotImplementedError:
        bench.fail("history is declared, and history() is not implemented")
