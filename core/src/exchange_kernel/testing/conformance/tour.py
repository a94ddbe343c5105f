"""One walk through everything an adapter can do, answer and refuse, so that all of it can be looked at afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from decimal import Decimal

from exchange_kernel.errors import ExchangeKernelError
from exchange_kernel.testing.conformance.bench import Bench, Inapplicable, Placed
from exchange_kernel.testing.conformance.harness import Fault
from exchange_kernel.value import revised
from exchange_kernel.venue import Cancel, DeadMan, History, PriceReads, Prices, Quotes, Ref

__all__ = ["reads", "tour"]

_PAGES = 20
_TO_CHANGES = (
    Fault.ANSWER_LOST,
    Fault.REQUEST_LOST,
    Fault.ERROR_AFTER,
    Fault.UNAVAILABLE,
    Fault.GARBLED,
    Fault.RATE_LIMIT,
    Fault.LATE,
)
_TO_READS = (Fault.READ_FAILS, Fault.READ_GARBLED)


async def tour(bench: Bench) -> None:
    """Do everything once, with and without faults. What came of it is in ``bench.seen``; nothing is judged here."""
    adapter, harness = bench.adapter, bench.harness
    session, opened = await bench.another()
    bench.seen += [opened, await session.markets(), await session.account()]
    await session.close()
    if harness.offers("wrong_secrets"):
        refused = harness.adapter()
        await _tried(bench, lambda: refused.open(harness.context(secrets=harness.wrong_secrets())))
        await refused.close()
    async with bench.watching():
        await _orders(bench)
        await bench.quiet(2)
    for read in reads(bench):
        await _tried(bench, read)
    await _optional(bench)
    await _refusals(bench)
    for fault in _TO_READS:
        if fault in harness.faults:
            for read in reads(bench):
                await harness.inject(fault)
                await _tried(bench, read)
                await harness.clear()
    await _faults(bench)
    if harness.offers("outage"):
        await _outage(bench)
    bench.seen.append(adapter.check(harness.resting()))


def reads(bench: Bench) -> list[Callable[[], Awaitable[object]]]:
    """Every read of the adapter, about the newest order of the bench."""
    adapter = bench.adapter
    out: list[Callable[[], Awaitable[object]]] = [
        adapter.markets,
        adapter.account,
        lambda: adapter.open_orders(None),
    ]
    if bench.placed:
        out.append(lambda: adapter.lookup(bench.ref(bench.placed[-1])))
    if isinstance(adapter, History):
        out.append(lambda: adapter.history(None))
    return out


async def _tried(bench: Bench, call: Callable[[], Awaitable[object]]) -> None:
    with suppress(Exception):
        await bench.ask(call())


async def _orders(bench: Bench) -> None:
    harness = bench.harness
    resting = await bench.put()
    await _tried(bench, lambda: bench.adapter.open_orders(None))
    if bench.offers("amend_down") or bench.offers("amend_price"):
        with suppress(ExchangeKernelError):
            await bench.amend(resting, harness.resting(2))
    await bench.cancel(resting)
    await bench.ended(resting)
    filled = await bench.put(harness.crossing())
    with suppress(AssertionError):
        await bench.ended(filled)


async def _optional(bench: Bench) -> None:
    adapter = bench.adapter
    if isinstance(adapter, History):
        cursor: str | None = None
        for _ in range(_PAGES):
            page, cursor = await bench.ask(adapter.history(cursor))
            if not page:
                break
    if isinstance(adapter, Prices):
        ticks = adapter.prices(frozenset({bench.harness.symbol}))
        first = asyncio.ensure_future(anext(ticks))
        with suppress(AssertionError):
            await bench.until(first.done, "a price", 5)
        if first.done():
            await _tried(bench, lambda: first)
        first.cancel()
        await asyncio.wait([first])
        if hasattr(ticks, "aclose"):
            await ticks.aclose()
    if isinstance(adapter, PriceReads):
        await _tried(bench, lambda: adapter.price(bench.harness.symbol))
    if isinstance(adapter, Quotes):
        await _tried(bench, lambda: adapter.quote(bench.harness.resting()))
    if isinstance(adapter, DeadMan):
        await _tried(bench, lambda: adapter.arm(None, frozenset({bench.harness.symbol})))


async def _refusals(bench: Bench) -> None:
    spec, clock = bench.harness.resting(), bench.clock
    for bad in (
        revised(spec, symbol="NO/SUCH"),
        revised(spec, amount=Decimal(0)),
        revised(spec, amount=Decimal("1E-30")),
        revised(spec, limit=Decimal("1E+40")),
    ):
        try:
            bench.seen.append(bench.adapter.check(bad))
        except Exception as error:  # noqa: BLE001 - whatever it raises is looked at
            bench.seen.append(error)
    nothing = Ref(bench.key(), spec.symbol, spec, clock.now_ms())
    with suppress(ExchangeKernelError, Inapplicable):
        ticket = await bench.prepare(Cancel(bench.key(), nothing))
        await bench.send(Placed(nothing.key, spec, [ticket], clock.now_ms()))


async def _faults(bench: Bench) -> None:
    for fault in _TO_CHANGES:
        if fault not in bench.harness.faults:
            continue
        placed = await bench.ticket_for(bench.harness.resting())
        await bench.harness.inject(fault, ms=bench.short(200))
        outcome = await bench.send(placed)
        await bench.harness.clear()
        await bench.quiet(0.5)
        await _again(bench, placed, failed=outcome.error is not None)
        await _tried(bench, lambda placed=placed: bench.look(placed))  # type: ignore[misc]


async def _again(bench: Bench, placed: Placed, *, failed: bool) -> None:
    """Where copies are harmless: a number that was not spent would hold back all that follow."""
    if failed and placed.ticket.fence.repeatable:
        await bench.send(placed)


async def _outage(bench: Bench) -> None:
    placed = await bench.ticket_for(bench.harness.resting())
    await bench.harness.outage(bench.short(500))
    outcome = await bench.send(placed)
    for read in reads(bench):
        await _tried(bench, read)
    await bench.quiet(1)
    await _again(bench, placed, failed=outcome.error is not None)
