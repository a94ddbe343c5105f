"""The event loop belongs to every account: no call keeps it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from exchange_kernel.testing.conformance.bench import Bench
from exchange_kernel.testing.conformance.overtime import longest_turn
from exchange_kernel.testing.conformance.registry import case
from exchange_kernel.venue import Place

TOO_LONG_S = 0.5
"""Half of what the kernel's watchdog waits before it names a plugin."""
TRIES = 3
"""A busy machine may hold up any turn, but not the same one so often."""


@case("TURN-01", "no call keeps the event loop", grade="bronze", rule="coroutines give the loop back")
async def no_call_keeps_the_loop(bench: Bench) -> None:
    """All accounts share one loop: while one adapter sleeps, computes or waits for a socket in it, no order of any
    other account is sent, cancelled or seen."""
    adapter, placed = bench.adapter, await bench.put()
    spec = placed.spec
    await _quick(bench, "check", lambda: _plain(lambda: adapter.check(spec)))
    await _quick(bench, "prepare", lambda: bench.draft(Place(bench.key(), spec)))
    await _quick(bench, "submit", lambda: _another(bench))
    await _quick(bench, "lookup", lambda: bench.look(placed))
    await _quick(bench, "open_orders", lambda: adapter.open_orders(None))
    await _quick(bench, "account", adapter.account)
    await _quick(bench, "markets", adapter.markets)
    await _quick(bench, "submit of a cancel", lambda: _cancelled(bench))


async def _quick(bench: Bench, name: str, call: Callable[[], Awaitable[Any]]) -> None:
    shortest = float("inf")
    for _ in range(TRIES):
        shortest = min(shortest, await longest_turn(call()))
        if shortest < TOO_LONG_S:
            return
    bench.fail(f"{name} kept the event loop for {shortest:.1f} s at once; give it back, or work in a thread")


async def _plain(call: Callable[[], Any]) -> None:
    call()


async def _another(bench: Bench) -> None:
    await bench.send(await bench.ticket_for(bench.harness.resting()))


async def _cancelled(bench: Bench) -> None:
    await bench.cancel(bench.placed[-1])
