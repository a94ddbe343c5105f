"""How many requests one call of an adapter makes."""

from __future__ import annotations

from collections.abc import Iterable

from exchange_kernel.errors import InvalidOrder, NoEffect
from exchange_kernel.testing.conformance.bench import Bench
from exchange_kernel.testing.conformance.evidence import adopt, landed, present, settled, shown, soon
from exchange_kernel.testing.conformance.harness import Fault
from exchange_kernel.testing.conformance.sweeping import sweep
from exchange_kernel.venue import FOREVER, Cancel, Command, Prep, Slot

UNEXECUTED = (Fault.REQUEST_LOST, Fault.RATE_LIMIT, Fault.UNAVAILABLE)
"""Faults after which the venue has done nothing."""
RATE_MS = 500


async def each_fault(bench: Bench, faults: Iterable[Fault], *, cancel: bool) -> None:
    """One submit under no fault, and under each of them once and often: one request, and its effect once."""
    await _one_request(bench, None, 1, cancel)
    for fault in faults:
        for times in (1, 4) if fault in UNEXECUTED else (1,):
            await _one_request(bench, fault, times, cancel)
            if fault in UNEXECUTED:
                await sweep(bench)  # also of the number that was lost with it


async def _one_request(bench: Bench, fault: Fault | None, times: int, cancel: bool) -> None:
    what = f"submit of {'a cancel' if cancel else 'an order'}" + (f" under {times} x {fault}" if fault else "")
    executed = fault not in UNEXECUTED
    placed = (await landed(bench))[0] if cancel else await bench.ticket_for(bench.harness.resting())
    if cancel:
        placed.tickets.append(await bench.prepare(Cancel(bench.key(), bench.ref(placed))))
    before, changes = await present(bench), await bench.harness.changes()
    if fault is not None:
        ms = {Fault.RATE_LIMIT: bench.short(RATE_MS), Fault.LATE: soon(bench, placed, RATE_MS)}.get(fault, 0)
        await bench.harness.inject(fault, times=times, ms=ms)
    outcome = await bench.send(placed)
    await bench.clock.sleep(2 * bench.short(RATE_MS) / 1000)
    await settled(bench)
    await bench.harness.clear()
    made, sent = len(await adopt(bench, placed, before)), await bench.harness.changes() - changes
    bench.expect(
        sent <= 1,
        f"{what} made {sent} requests: one request per submit, no retry, no redirect, nothing signed anew (rule 5)",
    )
    bench.expect(cancel or made == int(executed), f"{what}: the venue has {made} orders of it; submit {shown(outcome)}")
    if cancel:
        live = any(order.live for order in await bench.truth(placed))
        bench.expect(live != executed, f"{what}: the order is live: {live}; submit {shown(outcome)}")


async def refused_for_its_time(bench: Bench) -> None:
    """Made by a clock that is off: whatever the venue says to that, nothing is stamped and signed anew."""
    await bench.harness.skew(3_600_000)
    placed, before = await bench.ticket_for(bench.harness.resting()), await present(bench)
    changes = await bench.harness.changes()
    outcome = await bench.send(placed)
    await bench.clock.sleep(2 * bench.short(RATE_MS) / 1000)
    await settled(bench)
    sent, made = await bench.harness.changes() - changes, len(await adopt(bench, placed, before))
    bench.expect(sent <= 1, f"submit of an order made by a clock that is off made {sent} requests (rule 5)")
    bench.expect(
        made == 0 or (made == 1 and outcome.effect != "none"),
        f"an order made by a clock that is off: submit {shown(outcome)}; the venue has {made} orders of it",
    )
    await bench.harness.skew(-3_600_000)


async def rehearsed(bench: Bench, command: Command, *, dry: bool = False) -> object:
    """What ``prepare`` answers; the numbers it takes are nobody's. None where it refuses."""
    taken = 0

    def take(scope: str) -> Slot:
        nonlocal taken
        taken += 1
        floor = next(each.floor for each in bench.opened.scopes if each.name == scope)
        return Slot(scope, floor + 500 + taken)

    prep = Prep(bench.clock.now_ms(), FOREVER, take, dry=dry)
    try:
        return await bench.ask(bench.adapter.prepare(command, prep))
    except (NoEffect, InvalidOrder):
        return None
