"""What a session does after its caller has given up and closed it: nothing."""

from __future__ import annotations

import asyncio

from exchange_kernel.testing.conformance.bench import Bench

__all__ = ["given_up_and_closed"]

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
