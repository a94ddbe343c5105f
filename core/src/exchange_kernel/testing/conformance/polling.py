"""Events that are asked for: broken reads are to them what a broken stream is to others. And are they asked for?"""

from __future__ import annotations

from exchange_kernel.testing.conformance.bench import Bench
from exchange_kernel.testing.conformance.evidence import shown
from exchange_kernel.testing.conformance.harness import STREAM_FAULTS, Fault
from exchange_kernel.testing.conformance.listening import Ear, listening
from exchange_kernel.testing.conformance.unrest import (
    Change,
    changed,
    expect_heard,
    goes_on,
    heard_through_outage,
    placed_now,
    repeated_and_mixed,
    venue_now,
)

__all__ = ["expect_polled", "garbled_polls", "hung_polls", "repeated_polls", "unanswered_polls"]

ALL = 100_000
"""More reads than a case makes."""
HUNG_MS = 90_000
"""How long a read hangs: longer than a dead stream may go unnoticed."""


async def expect_polled(bench: Bench, ear: Ear) -> Change:
    """Nothing is told while no read is answered. Fails for events that come by themselves; gives the order that was
    placed meanwhile, of which the reader is told, or warned, now that reads are answered again."""
    pushed = sorted(fault.value for fault in STREAM_FAULTS & bench.harness.faults)
    bench.expect(not pushed, f"the harness says that events are polled, and can make {pushed} happen to their stream")
    placed = await bench.ticket_for(bench.harness.resting(3))
    await bench.harness.inject(Fault.READ_FAILS, times=ALL)
    await bench.quiet()  # what was asked before is answered by now
    since, venue_ms = bench.clock.monotonic(), venue_now(bench)
    outcome = await bench.send(placed)
    bench.expect(outcome.effect != "none", f"while reads fail: submit {shown(outcome)}")
    await bench.until(lambda: bench.truth(placed), "the order arrives at the venue")
    await bench.quiet(2)
    told = ear.reports(placed)
    bench.expect(
        not told,
        f"the harness says that events are polled; while every read failed, the stream told of {told!r}: it is pushed. "
        "Give the harness the stream's faults instead",
    )
    await bench.harness.clear()
    change = await changed(bench, "an order placed while no read was answered", placed, since, venue_ms)
    await expect_heard(bench, ear, change)
    return change


async def unanswered_polls(bench: Bench) -> None:
    """Reads fail, for a moment and for long: what happened meanwhile is told, or its reader warned."""
    async with listening(bench) as ear:
        watched = (await expect_polled(bench, ear)).placed
        for times in (1, 2, 3, 5):
            made: list[Change] = []
            for number in range(3):
                spec = bench.harness.resting(1 + number)
                await bench.harness.inject(Fault.READ_FAILS, times=times)
                made.append(await placed_now(bench, spec, f"order {number + 1} while {times} reads failed"))
                await bench.quiet(0.3 * number)
            for change in made:
                await expect_heard(bench, ear, change)
                await bench.cancel(change.placed)
            await bench.harness.clear()
        if bench.harness.offers("outage"):
            await heard_through_outage(bench, ear, watched)


async def repeated_polls(bench: Bench) -> None:
    """A poll that failed asks for the same again, and one that lags tells of the past: that changes nothing."""
    async with listening(bench) as ear:
        await expect_polled(bench, ear)
    await repeated_and_mixed(bench, (Fault.READ_FAILS, Fault.READ_LAGS))


async def hung_polls(bench: Bench) -> None:
    """A read hangs, its connection stands: somebody must notice, and ask again."""
    async with listening(bench) as ear:
        await expect_polled(bench, ear)
        for _ in range(2):
            await bench.harness.inject(Fault.SLOW, ms=bench.short(HUNG_MS))
            await bench.quiet(2)  # so that it strikes a poll
            change = await placed_now(bench, bench.harness.resting(2), "an order placed while a read hung")
            await expect_heard(bench, ear, change, bench.short(HUNG_MS * 2 // 3) / 1000)
            await bench.harness.clear()
            await goes_on(bench, ear, "after a read hung")


async def garbled_polls(bench: Bench) -> None:
    """The very answer that shows a change breaks off: the next one tells of it."""
    async with listening(bench) as ear:
        await expect_polled(bench, ear)
        target = await placed_now(bench, bench.harness.resting(5), "an order placed while all is well")
        await expect_heard(bench, ear, target)
        for round_ in range(4):
            times = 1 + round_ % 3
            if round_ < 3:
                await bench.harness.inject(Fault.READ_GARBLED, times=times)
                change = await placed_now(bench, bench.harness.resting(2), f"an order as {times} reads were garbled")
            else:
                since, venue_ms = bench.clock.monotonic(), venue_now(bench)
                await bench.cancel(target.placed)
                await bench.harness.inject(Fault.READ_GARBLED, times=times)

                async def over() -> bool:
                    return not (await bench.one(target.placed)).live

                await bench.until(over, "the cancelled order is over at the venue")
                change = await changed(bench, "a cancel as a read was garbled", target.placed, since, venue_ms)
            await expect_heard(bench, ear, change)
            await bench.harness.clear()
