"""The sweeper: whatever way a case ended, no order of it rests at the venue afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

from exchange_kernel.errors import VenueError
from exchange_kernel.testing.conformance.bench import Bench, Failed, Placed
from exchange_kernel.testing.conformance.evidence import settled
from exchange_kernel.testing.conformance.harness import TruthOrder
from exchange_kernel.venue import FOREVER, Burn, Cancel, Prep, Ref, Slot, Ticket, VenueAdapter

__all__ = ["rests", "sweep", "sweep_anew"]

ROUNDS = 20
"""How often a cancel is sent before the sweeper gives up."""


async def sweep(bench: Bench) -> None:
    """Cancel what the case left at the venue, known to its bench or not. Raises Failed where something stays."""
    await bench.harness.clear()
    await _close_gaps(bench)
    await _arrived(bench)
    await _cancel_all(bench)


async def sweep_anew(bench: Bench) -> None:
    """The same after a case that did not end well, with new sessions: its own may be what is broken."""
    await bench.harness.clear()
    await bench.ready()
    await _arrived(bench)
    await _cancel_all(bench)


async def rests(bench: Bench) -> list[TruthOrder]:
    """Orders that live at the venue and did not when the first session of the case was opened; no stranger's."""
    strangers = [set(order.ids) for order in bench.strangers]
    return [order async for _, order in _live(bench) if not any(each & set(order.ids) for each in strangers)]


async def _arrived(bench: Bench) -> None:
    """What was sent and is not to be seen yet waits in a pool, or was lost: only time tells."""
    there = [order for account in bench.found_there for order in await bench.harness.truth(account)]
    if any(each.key in bench.sent and not any(_of(each, order) for order in there) for each in bench.placed):
        await settled(bench)


async def _cancel_all(bench: Bench) -> None:
    sessions: dict[str, VenueAdapter] = {"main": bench.adapter}
    for account in bench.found_there:
        if account not in sessions and any([name == account async for name, _ in _live(bench)]):
            sessions[account], _ = await bench.another(account)
    for _ in range(ROUNDS):
        live = [pair async for pair in _live(bench)]
        if not live:
            return
        for account, order in live:
            with suppress(VenueError):
                await _cancel(bench, sessions[account], order)
        await _gone(bench, len(live))
    left = await rests(bench)
    if left:
        raise Failed(f"the sweeper could not cancel what the case left behind: {left!r}")


async def _cancel(bench: Bench, adapter: VenueAdapter, order: TruthOrder) -> None:
    """Cancel it by what the venue calls it, and by the attempt's key where the case kept that."""
    mine = next((each for each in bench.placed if _of(each, order)), None)
    if mine is None:
        ref = Ref(bench.key(), order.symbol, None, 0, order.ids)
    else:
        mine.ids = [*order.ids, *(vid for vid in mine.ids if vid not in order.ids)]
        ref = bench.ref(mine)
    ticket = await bench.prepare(Cancel(bench.key(), ref), adapter=adapter)
    if mine is not None:
        mine.tickets.append(ticket)
    await adapter.submit(ticket)


def _of(placed: Placed, order: TruthOrder) -> bool:
    known = set(placed.ids) | {vid for ticket in placed.tickets for vid in ticket.ids}
    return bool(known & set(order.ids))


async def _gone(bench: Bench, live: int) -> None:
    """Give the venue the time that a cancel takes, and no more than it needs."""
    end = bench.clock.monotonic() + 0.5
    while bench.clock.monotonic() < end and len([pair async for pair in _live(bench)]) >= live:
        await bench.clock.sleep(0.01)


async def _live(bench: Bench) -> AsyncIterator[tuple[str, TruthOrder]]:
    for account, before in bench.found_there.items():
        for order in await bench.harness.truth(account):
            if order.live and not any(ids <= set(order.ids) for ids in before):
                yield account, order


async def _close_gaps(bench: Bench) -> None:
    """Use up the numbers whose tickets a case did not send: behind a gap nothing is executed."""
    gapless = {scope.name for scope in bench.opened.scopes if scope.rule == "gapless"}
    if not gapless:
        return
    floors = (await bench.adapter.account()).floors
    for scope in gapless:
        upto = bench.next_number(scope)
        for number in range(floors.get(scope, upto), upto):
            await _use_up(bench, Slot(scope, number))


async def _use_up(bench: Bench, slot: Slot) -> None:
    prep = Prep(bench.clock.now_ms(), FOREVER, lambda _: slot)
    ticket = await bench.adapter.prepare(Burn(bench.key(), slot), prep)
    if isinstance(ticket, Ticket):
        with suppress(VenueError):  # what is under way under this number does as well
            await bench.adapter.submit(ticket)
