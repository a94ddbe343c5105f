"""What several cases need to judge an adapter: what is new at the venue, and whether absence was claimed too early."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from exchange_kernel.errors import Unavailable
from exchange_kernel.reconcile.proof import shows_dead
from exchange_kernel.testing.conformance.bench import Bench, Inapplicable, Outcome, Placed
from exchange_kernel.testing.conformance.harness import Fault, TruthOrder
from exchange_kernel.venue import (
    Absent,
    Ack,
    Found,
    HeightEnd,
    OrderReport,
    Ref,
    Spec,
    Ticket,
    TimeEnd,
    VenueEvent,
    VenueId,
)

Ids = tuple[frozenset[VenueId], ...]

LONGEST_WAIT_MS = 60_000
"""Fences that live longer are tested within this part of their life."""
MARGIN_MS = 60
"""How far from a fence's end a request must arrive so that nobody can argue on which side of it that was."""


async def present(bench: Bench) -> Ids:
    """Every order the venue has now, by its ids."""
    return tuple(frozenset(order.ids) for order in await bench.harness.truth())


async def born(bench: Bench, before: Ids) -> list[TruthOrder]:
    """The orders the venue has and did not have when ``before`` was taken."""
    known, fresh = list(before), []
    for order in await bench.harness.truth():
        ids = frozenset(order.ids)
        same = next((each for each in known if each <= ids), None)
        if same is None:
            fresh.append(order)
        else:
            known.remove(same)
    return fresh


async def adopt(bench: Bench, placed: Placed, before: Ids) -> list[TruthOrder]:
    """The new orders, whose ids the attempt learns: what a venue without client ids cannot tell is swept as well."""
    fresh = await born(bench, before)
    placed.ids += [vid for order in fresh for vid in order.ids if vid not in placed.ids]
    return fresh


async def settled(bench: Bench) -> None:
    """Let what is under way arrive, and become final."""
    if bench.harness.offers("settle"):
        await bench.harness.settle()
    else:
        await bench.quiet(0.2)


async def landed(bench: Bench, spec: Spec | None = None) -> tuple[Placed, TruthOrder]:
    """An order that the venue has executed or put on its book, for good, and what it knows of it."""
    placed = await bench.put(spec)
    await settled(bench)
    orders = await bench.truth(placed)
    bench.expect(
        len(orders) == 1,
        f"submit and lookup showed the order of {placed.ticket.fence!r}; later, with everything final, the venue has "
        f"{len(orders)} orders of it",
    )
    return placed, orders[0]


async def pass_by(bench: Bench, ms: int) -> None:
    """Let time pass: at once where both clocks can leap, else by waiting, ten seconds at most."""
    if bench.harness.offers("leap"):
        await bench.harness.leap(ms)
    else:
        await bench.clock.sleep(min(ms, 10_000) / 1000)


def blind(placed: Placed) -> Ref:
    """What a kernel knows that committed the tickets and has heard nothing since."""
    return Ref(placed.key, placed.spec.symbol, placed.spec, placed.placed_at, (), tuple(placed.tickets))


def by_ledger(ticket: Ticket) -> bool:
    """Is a ledger, not the venue's API, the authority?"""
    return ticket.fence.authority == "ledger"


def told(bench: Bench, placed: Placed) -> list[OrderReport]:
    """Every report of the attempt's orders so far: in answers, lookups and events."""
    reports: list[object] = []
    for thing in bench.seen:
        if isinstance(thing, Ack | Found):
            reports += thing.reports
        elif isinstance(thing, VenueEvent):
            reports.append(thing.body)
    known = set(placed.ids)
    return [r for r in reports if isinstance(r, OrderReport) and (r.key == placed.key or known & {r.id, *r.links})]


def shown(outcome: Outcome) -> str:
    """An outcome in a message."""
    return f"raised {outcome.error!r}" if outcome.error is not None else f"answered {outcome.ack!r}"


def expect_unknown(bench: Bench, outcome: Outcome, fault: str) -> None:
    """After ``fault`` nobody knows what happened, and nothing else may be said."""
    why = "rule 6: only a documented verdict of the venue may say that nothing happened"
    bench.expect(outcome.effect != "none", f"{fault}: submit {shown(outcome)}, which says: no effect, ever. {why}")
    claims = outcome.ack is not None and outcome.ack.stage == "decided" and not outcome.ack.reports
    bench.expect(not claims, f"{fault}: submit {shown(outcome)}, though no whole answer came that could decide it")


async def lost(bench: Bench, placed: Placed, fault: Fault, *, ms: int = 0) -> Outcome:
    """Send the attempt's newest ticket under one fault."""
    await bench.harness.inject(fault, ms=ms)
    outcome = await bench.send(placed)
    if fault is not Fault.LATE:
        await bench.harness.clear()
    return outcome


# absence --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Stray:
    """One order under way. ``ms``: how late its request arrives; ``over``: the venue's clock is past its end then.

    ``claim``: the first answer to a lookup that proved it could never come to be."""

    placed: Placed
    ms: int
    over: bool
    claim: Absent | None = None
    looks: list[asyncio.Task[None]] = field(default_factory=list)


def left(bench: Bench, ticket: Ticket) -> int | None:
    """Time to the end of a ticket's life by the venue's clock, ms; None where no clock of the venue ends it."""
    now = bench.clock.now_ms() + bench.opened.clock_offset
    ends = [end.at for end in ticket.fence.ends if isinstance(end, TimeEnd) and end.clock == "venue"]
    return min(ends) - now if ends else None


def soon(bench: Bench, placed: Placed, most_ms: int = 1_500) -> int:
    """How late a request may surely arrive, in the life of a ticket like this attempt's first: ms."""
    most = bench.short(most_ms)
    for end in placed.tickets[0].fence.ends:
        if isinstance(end, TimeEnd):
            most = min(most, (end.at - placed.placed_at) // 2)
        elif isinstance(end, HeightEnd):
            most = min(most, (bench.opened.horizon or most) // 5)
    return max(1, most)


def delays(bench: Bench, ticket: Ticket) -> list[int]:
    """How late a ticket's request may arrive, ms: all through its life, at its last moment, and beyond."""
    span = min(bench.opened.horizon or 3_000, LONGEST_WAIT_MS)
    out = {span * share // 20 for share in (2, 6, 10, 13, 16, 19, 23, 40)}
    rest, error = left(bench, ticket), bench.opened.clock_error
    if rest is not None:
        out |= {rest - error - 1, rest + error + MARGIN_MS}
    return sorted(ms for ms in out if 0 < ms <= LONGEST_WAIT_MS)


async def astray(bench: Bench, spec: Spec, ms: int, placed: Placed | None = None) -> Stray:
    """Send an order whose request arrives ``ms`` late, the connection having broken."""
    placed = placed or await bench.ticket_for(spec)
    if not placed.ticket.fence.ends:
        raise Inapplicable("tickets have no end here: absence never proves anything")
    rest = left(bench, placed.ticket)
    over = rest is not None and ms >= rest + bench.opened.clock_error + MARGIN_MS
    expect_unknown(bench, await lost(bench, placed, Fault.LATE, ms=ms), "the connection broke after sending")
    return Stray(placed, ms, over)


async def strays(bench: Bench, most: int = 20) -> list[Stray]:
    """Orders under way, arriving at up to ``most`` moments of their tickets' lives."""
    first = await bench.ticket_for(bench.harness.resting())
    times = delays(bench, first.ticket)
    times = times[:: max(1, len(times) // most)]
    out = [await astray(bench, first.spec, times[0], first)]
    for number, ms in enumerate(times[1:], 2):
        out.append(await astray(bench, bench.harness.resting(number), ms))
    return out


async def watch_over(bench: Bench, under_way: list[Stray], *, every_ms: int) -> None:
    """Look after each of them until long after all have arrived; fails if one was claimed dead that came to life.

    ``every_ms``: a new look begins so often, whether or not the last one is answered."""

    last = max(stray.ms for stray in under_way)
    end = bench.clock.monotonic() + last / 1000 + 4 * bench.harness.quiet_s
    try:
        while bench.clock.monotonic() < end:
            for stray in under_way:
                stray.looks.append(asyncio.ensure_future(look_once(bench, stray)))
            await bench.clock.sleep(every_ms / 1000)
        for stray in under_way:
            await asyncio.gather(*stray.looks)
    finally:
        for stray in under_way:
            for task in stray.looks:
                task.cancel()
    await judge(bench, under_way)


async def look_once(bench: Bench, stray: Stray) -> None:
    """One lookup, kept if it claims that the order can never come to be."""
    reference = bench.ref(stray.placed)
    try:
        answer = await bench.ask(bench.adapter.lookup(reference))
    except Unavailable:  # a read that took too long for its client says nothing, which is right
        return
    if isinstance(answer, Absent) and stray.claim is None and shows_dead(reference, answer, bench.opened):
        stray.claim = answer


async def judge(bench: Bench, under_way: list[Stray]) -> None:
    """When all have arrived: fails if one was claimed dead that is there, or is there though it was too late."""
    await settled(bench)
    for stray in under_way:
        orders = await bench.truth(stray.placed)
        fence, horizon = stray.placed.ticket.fence, bench.opened.horizon
        bench.expect(len(orders) <= 1, f"one ticket, sent once, made {len(orders)} orders")
        bench.expect(
            not (orders and stray.over),
            f"a request that arrived {stray.ms} ms late, when the venue's clock had passed the end of {fence!r}, made "
            "an order: what the fence says must be in the body, and nothing of it changed by submit (rules 2 and 7)",
        )
        bench.expect(
            not orders or horizon is None or stray.ms <= horizon,
            f"a request that arrived {stray.ms} ms late made an order; open() said that after {horizon} ms no ticket "
            "takes effect any more (horizon)",
        )
        bench.expect(
            not (orders and stray.claim is not None),
            f"the request arrived {stray.ms} ms late and made an order, but a lookup had answered {stray.claim!r}, "
            f"which with {fence!r} and {bench.opened!r} proves that it never would: the watermark is taken before the "
            "search, from the state that is searched; slack, read_lag and since are honest (rule 8)",
        )
