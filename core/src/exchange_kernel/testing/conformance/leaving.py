"""What a session does after its caller has given up and closed it: nothing."""

from __future__ import annotations

import asyncio

from exchange_kernel.testing.conformance.bench import Bench
from exchange_kernel.testing.conformance.evidence import settled, shown
from exchange_kernel.testing.conformance.harness import Fault

__all__ = ["closed_meanwhile", "given_up_and_closed"]

ENDS_S = 30.0
"""Longest time in which a call must end whose session is closed."""
ORDERS = 3
"""Sent at once: where they stand in a line, the last has not begun when it is given up."""


async def given_up_and_closed(bench: Bench, moment: float) -> None:
    """Orders are being sent, are cancelled and their session closed; what is left of it sends nothing.

    ``moment``: when they are cancelled, after so many steps of the loop, or, not whole, times the harness' quiet_s."""
    own = bench.adapter
    bench.adapter, _ = await bench.another()
    try:
        attempts = [await bench.ticket_for(bench.harness.resting(1 + number)) for number in range(ORDERS)]
        before = asyncio.all_tasks()
        sending = [asyncio.ensure_future(bench.send(each)) for each in attempts]
        if moment < 1 and moment:
            await bench.quiet(moment)
        for _ in range(int(moment)):
            await asyncio.sleep(0)
        for task in sending:
            task.cancel()
        await asyncio.wait(sending)
        await bench.adapter.close()
        closed = await bench.harness.changes()
        left = [task for task in asyncio.all_tasks() - before - {*sending} if not task.done()]
        await bench.quiet(2)
        more = await bench.harness.changes() - closed
    finally:
        bench.adapter = own
    # A request that was on its way may still arrive; what a task sends that runs on was not.
    names = ", ".join(sorted(task.get_name() for task in left))
    bench.expect(
        not (left and more),
        f"submit was cancelled, its session closed; then {more} more requests reached the venue, and {names} was still "
        "running: do not shield a submit from its caller",
    )


async def closed_meanwhile(bench: Bench) -> None:
    """A session is closed while it sends. What its submit says of the order is true."""
    own = bench.adapter
    bench.adapter, _ = await bench.another()
    try:
        placed = await bench.ticket_for(bench.harness.resting())
        if Fault.SLOW in bench.harness.faults:
            await bench.harness.inject(Fault.SLOW, ms=bench.short(500))
        sending = asyncio.ensure_future(bench.send(placed))
        await bench.quiet(0.05)
        await bench.adapter.close()
        await asyncio.wait([sending], timeout=ENDS_S)
        await bench.harness.clear()
    finally:
        bench.adapter = own
    if not sending.done():
        sending.cancel()
        await asyncio.wait([sending])
        bench.fail(f"a session was closed, and a submit of it neither answers nor raises within {ENDS_S:g} s")
    outcome = None if sending.cancelled() else sending.result()
    await bench.quiet(2)
    await settled(bench)
    orders = await bench.truth(placed)
    bench.expect(
        not (orders and outcome is not None and outcome.effect == "none"),
        f"a session was closed while it sent an order: submit {outcome and shown(outcome)}, which says that nothing "
        f"happened. The venue has {orders!r}",
    )
