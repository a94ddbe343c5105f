"""The process and its event loop belong to every account: nobody keeps them, changes them, or goes on in them."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from exchange_kernel.testing.conformance.bench import Bench
from exchange_kernel.testing.conformance.harness import Fault
from exchange_kernel.testing.conformance.leaving import closed_meanwhile, given_up_and_closed
from exchange_kernel.testing.conformance.overtime import longest_turn
from exchange_kernel.testing.conformance.registry import case
from exchange_kernel.testing.conformance.sessions import expect_cancelled
from exchange_kernel.testing.conformance.surroundings import expect_untouched
from exchange_kernel.testing.conformance.tour import tour
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


@case(
    "LIFE-11",
    "a call that is cancelled says so, and not what it does not know",
    grade="silver",
    rule="errors of submit",
    needs=(Fault.SLOW,),
)
async def cancelled_calls(bench: Bench) -> None:
    """A kernel that shuts down cancels what is under way. A submit that then says "not sent" while the order is on its
    way is believed, and the order is sent again."""
    for ms in (20, 300, 900):
        await expect_cancelled(bench, ms)


@case(
    "LIFE-12",
    "who is cancelled and closed sends nothing any more",
    grade="silver",
    rule="close ends own tasks",
)
async def nothing_goes_on(bench: Bench) -> None:
    """A submit that is shielded from its caller's cancellation sends an hour later what was given up, through a session
    that nobody watches any more."""
    for moment in (0, 1, 2, 4, 8, 0.02, 0.06, 0.15):
        await given_up_and_closed(bench, moment)
    await closed_meanwhile(bench)


@case("LIFE-13", "a session changes nothing that belongs to the process", grade="bronze", rule="rule 20")
async def the_process_stays(bench: Bench) -> None:
    """One handler of the loop's errors, one decimal context, one environment for all: an adapter that sets them sets
    them for every account, and what goes wrong elsewhere is heard by nobody."""
    expect_untouched(bench, "open() and markets()")
    states = []
    for number in range(2):
        random.setstate(Random(number).getstate())
        await bench.another()
        states.append(random.getstate())
    bench.expect(states[0] != states[1], "open() seeds the random numbers of the process, which others draw as well")
    await tour(bench)
    expect_untouched(bench, "the adapter's calls")
    await bench.close()
    expect_untouched(bench, "close()")
    await bench.ready()


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
