"""Changes at the venue while a stream has troubles: each is told, or its reader is warned after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from exchange_kernel.testing.conformance.bench import Bench, Placed
from exchange_kernel.testing.conformance.evidence import landed, shown
from exchange_kernel.testing.conformance.harness import READ_FAULTS, Fault
from exchange_kernel.testing.conformance.listening import Ear, covers, listening
from exchange_kernel.testing.conformance.reporting import expect_newest, expect_order, expect_streamed
from exchange_kernel.testing.conformance.telling import at_rest, never_falls
from exchange_kernel.value import Value
from exchange_kernel.venue import Gap, OrderReport, Spec, VenueAdapter, VenueEvent

__all__ = [
    "SILENCE_S",
    "Change",
    "changed",
    "close_stream",
    "expect_gone",
    "expect_heard",
    "first_of",
    "goes_on",
    "heard",
    "heard_through_outage",
    "next_of",
    "placed_now",
    "repeated_and_mixed",
    "told_of_others",
    "venue_now",
]

SILENCE_S = 60.0
"""Longest time in which a dead stream must be noticed."""


class Change(Value, frozen=True):
    """Something that happened to an order. ``since``: monotonic seconds when it had not happened yet; ``venue_ms``: the
    same moment by the venue's clock; ``base``: what is executed by then; ``over``: has it ended?"""

    what: str
    placed: Placed
    since: float
    venue_ms: int
    base: object
    over: bool
    amended: Spec | None = None
    """What it was amended to, where that is the change."""


def venue_now(bench: Bench) -> int:
    """Lower bound of the venue's clock, ms UTC."""
    return bench.clock.now_ms() + bench.opened.clock_offset - bench.opened.clock_error


async def changed(bench: Bench, what: str, placed: Placed, since: float, venue_ms: int) -> Change:
    """The change that has just been made: the order as the venue has it now."""
    order = await bench.one(placed)
    return Change(what, placed, since, venue_ms, order.filled_base, not order.live)


async def placed_now(bench: Bench, spec: Spec, what: str) -> Change:
    """A new order, at the venue; no look is taken at it, so only a stream has told of it."""
    placed = await bench.ticket_for(spec)
    since, venue_ms = bench.clock.monotonic(), venue_now(bench)
    outcome = await bench.send(placed)
    bench.expect(outcome.effect != "none", f"{what}: submit {shown(outcome)}")
    while not await bench.truth(placed):
        since, venue_ms = bench.clock.monotonic(), venue_now(bench)
        await bench.clock.sleep(0.02)
        bench.expect(bench.clock.monotonic() - since < 30, f"{what}: the order never arrived")
    return await changed(bench, what, placed, since, venue_ms)


def heard(ear: Ear, change: Change) -> bool:
    """Did the stream tell of it, in any report that shows the order as it is since then?"""
    for report in ear.reports(change.placed):
        done = report.filled.base + report.tentative.base
        if done == change.base and report.status.terminal == change.over and _amended(report, change.amended):
            return True
    return False


def _amended(report: OrderReport, to: Spec | None) -> bool:
    return to is None or (report.amount in (None, to.amount) and report.price in (None, to.limit))


def _covered(ear: Ear, change: Change, bench: Bench) -> bool:
    """Was its reader warned after it, of a time that begins before it?"""
    if any(at >= change.since for at in ear.ends):
        return True
    error = 2 * bench.opened.clock_error + 1
    gaps = [(at, event.body) for at, event in ear.heard if isinstance(event.body, Gap)]
    return any(
        at >= change.since and gap.since <= change.venue_ms + error and covers(gap, change.placed.spec.symbol)
        for at, gap in gaps
    )


async def expect_heard(bench: Bench, ear: Ear, change: Change, seconds: float = 30.0) -> None:
    """Wait until it is told, or its reader warned."""
    await bench.until(
        lambda: heard(ear, change) or _covered(ear, change, bench),
        f"{change.what}: the stream tells of it, or says Gap (of its market, since a time before it), or ends. "
        f"It said nothing, and its reader goes on with what is not so any more. Gaps so far, in seconds: "
        f"{[round(at, 3) for at in ear.gaps]}; it happened at {change.since:.3f}",
        seconds,
    )


async def next_of(bench: Bench, stream: AsyncIterator[VenueEvent], what: str) -> VenueEvent:
    """The next event of a stream that nobody else reads."""

    async def read() -> VenueEvent:
        return await anext(stream)

    waiting = asyncio.ensure_future(read())
    try:
        await bench.until(waiting.done, what)
        event = waiting.result()
    except StopAsyncIteration:
        bench.fail(f"{what}: the stream ended instead")
    finally:
        waiting.cancel()
        await asyncio.wait([waiting])
    bench.seen.append(event)
    return event


async def first_of(bench: Bench, stream: AsyncIterator[VenueEvent]) -> Gap:
    """The first event of a stream, which must be a Gap."""
    event = await next_of(bench, stream, "a stream says its first Gap")
    bench.expect(
        isinstance(event.body, Gap),
        f"a stream began with {event.body!r}; first Gap, so that its reader takes a snapshot, then data (rule 15)",
    )
    assert isinstance(event.body, Gap)
    lacking = sorted(symbol for symbol in bench.symbols if not covers(event.body, symbol))
    bench.expect(
        not lacking,
        f"a stream of the account began with {event.body!r}; what may have been missed on {', '.join(lacking[:5])} is "
        "looked for by nobody: symbols is None where it is all of them",
    )
    return event.body


async def goes_on(bench: Bench, ear: Ear, when: str) -> None:
    """The stream tells of new orders."""
    for number in range(100):
        after = await placed_now(bench, bench.harness.resting(1), f"order {number + 1} {when}")
        await bench.quiet(0.3)
        if heard(ear, after):
            return
    bench.fail(f"the stream tells of none of a hundred orders {when}")


async def repeated_and_mixed(bench: Bench, faults: Sequence[Fault]) -> None:
    """An order fills in steps and is cancelled under each fault: what is heard adds up, and the newest is true."""
    for fault in faults:
        # A reader who takes his time: two events are never one moment's, though they came together.
        async with listening(bench, each_s=bench.harness.quiet_s / 50) as ear:
            began = bench.clock.monotonic() + 0.001
            placed, order = await landed(bench, bench.harness.resting(8))
            what = f"after events under {fault.value}"
            for _ in range(3):
                await bench.harness.inject(fault)
                for _ in range(2):
                    await bench.harness.fill(order, order.amount / 8)
                await bench.quiet(2)
                expect_streamed(bench, ear, placed, await bench.one(placed), began, what)
            await bench.harness.inject(fault)
            await bench.cancel(placed)
            if fault in READ_FAULTS:  # for the polls, not for the look that follows
                await bench.quiet(2)
                await bench.harness.clear()
            await bench.ended(placed)
            await at_rest(bench)
            await bench.quiet(2)
            await bench.harness.clear()
        order = await bench.one(placed)
        expect_streamed(bench, ear, placed, order, began, what)
        expect_newest(bench, placed, order, what)
        expect_order(bench, placed)
        never_falls(bench, placed)


async def heard_through_outage(bench: Bench, ear: Ear, placed: Placed) -> None:
    """What happens while nothing can be reached is told, or its reader warned; then the stream goes on."""
    order = await bench.one(placed)
    since, venue_ms = bench.clock.monotonic(), venue_now(bench)
    await bench.harness.outage(bench.short(2_500))
    await bench.quiet(0.5)
    if bench.harness.offers("fill"):
        await bench.harness.fill(order, order.amount / 3)
    away = await changed(bench, "while nothing could be reached", placed, since, venue_ms)
    await bench.quiet(2.5)
    await expect_heard(bench, ear, away)
    await goes_on(bench, ear, "after an outage")


async def expect_gone(bench: Bench, reader: asyncio.Future[None], stream: object, when: str) -> None:
    """A stream ends when its reader is cancelled, and when it is closed."""
    reader.cancel()
    await asyncio.wait([reader], timeout=5)
    bench.expect(reader.done(), f"the reader was cancelled {when}, and the stream holds it for another 5 s")
    bench.expect(
        reader.cancelled() or reader.exception() is not None,
        f"the reader was cancelled {when}, and the stream swallowed that: whoever cancelled it waits for nothing",
    )
    close = getattr(stream, "aclose", None)
    if close is not None:
        closing = asyncio.ensure_future(close())
        await asyncio.wait([closing], timeout=5)
        bench.expect(closing.done(), f"aclose() {when} does not return within 5 s")
        closing.exception()


async def told_of_others(bench: Bench, others: VenueAdapter, placed: Placed) -> None:
    """What another session of the account has placed is told by this one's stream when it ends."""
    if not (await bench.one(placed)).live:
        return
    async with listening(bench) as ear:
        await bench.quiet(0.5)
        since, venue_ms = bench.clock.monotonic(), venue_now(bench)
        mine, bench.adapter = bench.adapter, others
        try:
            await bench.cancel(placed)
        finally:
            bench.adapter = mine

        async def over() -> bool:
            return not (await bench.one(placed)).live

        await bench.until(over, "another session cancels its order")
        what = "the end of an order that another session of the account has placed"
        await expect_heard(bench, ear, await changed(bench, what, placed, since, venue_ms))


async def close_stream(stream: object) -> None:
    """Close it, where it is of a kind that can be closed."""
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()
