"""What nobody knows: lost answers, late requests, failing reads. The kernel may conclude only what was proved."""

from __future__ import annotations

from exchange_kernel.errors import Unavailable
from exchange_kernel.reconcile.proof import shows_dead
from exchange_kernel.testing.conformance.bench import PATIENCE_S, Bench, Inapplicable
from exchange_kernel.testing.conformance.evidence import (
    LONGEST_WAIT_MS,
    adopt,
    astray,
    blind,
    born,
    by_ledger,
    expect_unknown,
    judge,
    landed,
    left,
    look_once,
    lost,
    pass_by,
    present,
    settled,
    shown,
    strays,
    watch_over,
)
from exchange_kernel.testing.conformance.harness import Fault
from exchange_kernel.testing.conformance.recovery import names, recovered, try_look
from exchange_kernel.testing.conformance.registry import case
from exchange_kernel.venue import (
    FOREVER,
    Absent,
    Found,
    HeightEnd,
    Place,
    Ref,
    TimeEnd,
    Unsure,
)

DAY_MS = 86_400_000
SLOW_MS = 4_000
"""How long a read takes while something happens: long enough for blocks to become final meanwhile."""
READS = 6
"""A lookup of so many requests is tested with each of them failing."""


async def _each(bench: Bench, fault: Fault, what: str) -> None:
    """A resting and a trading order, each sent under the fault, which executes it; both are recovered."""
    for spec in (bench.harness.resting(), bench.harness.crossing(2)):
        placed, before = await bench.ticket_for(spec), await present(bench)
        expect_unknown(bench, await lost(bench, placed, fault), what)
        await recovered(bench, placed, before, what)


@case(
    "UNK-01",
    "an answer that is lost leaves the outcome unknown, and lookup finds the order",
    grade="silver",
    rule="rule 6, rule 8",
    needs=(Fault.ANSWER_LOST,),
)
async def answer_lost(bench: Bench) -> None:
    """Taken for a failure, the order is sent again, and the desk holds twice what it wanted."""
    await _each(bench, Fault.ANSWER_LOST, "the answer was lost after the venue executed the order")
    # What ended meanwhile must be found as well: lookup asks more than the open orders.
    placed, before = await bench.ticket_for(bench.harness.resting(3)), await present(bench)
    await lost(bench, placed, Fault.ANSWER_LOST)
    await settled(bench)
    await adopt(bench, placed, before)
    await bench.cancel(placed)

    async def over() -> bool:
        return not any(order.live for order in await bench.truth(placed))

    await bench.until(over, "the cancelled order ends at the venue")
    await recovered(bench, placed, before, "the answer was lost, then the order was cancelled")


@case(
    "UNK-02",
    "a request that is lost is unknown until its fence has ended, and proved dead then",
    grade="silver",
    rule="rule 6, rule 8",
    needs=(Fault.REQUEST_LOST,),
)
async def request_lost(bench: Bench) -> None:
    """Given up too early, it may still arrive; never given up, the order is never sent again."""
    placed, before = await bench.ticket_for(bench.harness.resting()), await present(bench)
    expect_unknown(bench, await lost(bench, placed, Fault.REQUEST_LOST), "the request was lost")
    bench.expect(not await born(bench, before), "the request was lost, and the venue has an order: it was sent again")
    answer = await bench.look(placed)
    bench.expect(
        not isinstance(answer, Absent) or any(source.strip() for source in answer.looked),
        f"an order that is absent was looked for somewhere: {answer!r} does not say where (looked)",
    )
    ends = placed.ticket.fence.ends
    by_itself = any(isinstance(end, TimeEnd | HeightEnd) for end in ends)
    life = bench.opened.horizon
    if not by_itself or life is None or life > 200_000:
        bench.expect(not await bench.dead(placed, 3), f"proved dead, though nothing can have ended {ends!r}")
        return
    bench.expect(
        await bench.dead(placed, life / 1000 * 2 + PATIENCE_S),
        f"the request was lost and the fence {placed.ticket.fence!r} has ended: lookup never proves it (rule 8)",
    )
    now = bench.clock.now_ms() + bench.opened.clock_offset + bench.opened.clock_error
    for end in ends:
        if isinstance(end, TimeEnd) and end.clock == "venue" and len(ends) == 1:
            bench.expect(now > end.at, f"proved dead at {now}, before the end of {placed.ticket.fence!r}")
    await landed(bench, placed.spec)
    bench.expect(len(await born(bench, before)) == 1, "a lost order and its successor are one order at the venue")


@case(
    "UNK-03",
    "no lookup proves an order dead whose request is still under way",
    grade="silver",
    rule="rule 7, rule 8",
    needs=(Fault.LATE,),
)
async def late(bench: Bench) -> None:
    """A request is stuck in the network; the order is given up and sent anew; then both are there."""
    await watch_over(bench, await strays(bench), every_ms=100)


@case(
    "UNK-04",
    "a server error says nothing about the order",
    grade="silver",
    rule="rule 6",
    needs=(Fault.ERROR_AFTER, Fault.UNAVAILABLE),
)
async def server_error(bench: Bench) -> None:
    """Gateways answer 502 for orders that were executed; who believes them trades twice."""
    await _each(bench, Fault.ERROR_AFTER, "a server error came after the venue executed the order")
    placed, before = await bench.ticket_for(bench.harness.resting(3)), await present(bench)
    outcome = await lost(bench, placed, Fault.UNAVAILABLE)
    expect_unknown(bench, outcome, "a server error came instead of execution")
    await settled(bench)
    bench.expect(not await born(bench, before), "a server error came instead of execution, and an order is there")


@case(
    "UNK-05",
    "an answer that breaks off says nothing about the order",
    grade="silver",
    rule="rule 6",
    needs=(Fault.GARBLED,),
)
async def garbled(bench: Bench) -> None:
    """Half an answer that reads like an error, or like nothing, hides an order that is at the venue."""
    await _each(bench, Fault.GARBLED, "the answer broke off in the middle")


@case(
    "UNK-06",
    "reads that trail the venue never prove an order dead",
    grade="silver",
    rule="rule 8, read_lag, slack",
    needs=(Fault.LATE, Fault.READ_LAGS),
)
async def reads_lag(bench: Bench) -> None:
    """A replica that trails does not show the order yet; taken for proof, that order is sent twice."""
    placed = await bench.ticket_for(bench.harness.resting(30))
    before = await present(bench)
    await bench.send(placed)
    await bench.harness.inject(Fault.READ_LAGS, times=1_000_000)
    answer = await bench.look(placed)
    bench.expect(
        not isinstance(answer, Absent) or not shows_dead(bench.ref(placed), answer, bench.opened),
        f"a read that trails answered {answer!r}, which proves an order dead that had just been placed",
    )
    await adopt(bench, placed, before)
    await watch_over(bench, await strays(bench), every_ms=50)


@case(
    "UNK-07",
    "a lookup one of whose sources fails is Unavailable, never Absent",
    grade="silver",
    rule="rule 8",
    needs=(Fault.READ_FAILS,),
)
async def source_fails(bench: Bench) -> None:
    """The half of the venue that did not answer is where the order was."""
    for spec in (bench.harness.resting(), bench.harness.crossing(2)):
        placed, order = await landed(bench, spec)
        ref = blind(placed) if bench.offers("find_by_key") else bench.ref(placed)
        for failing in range(READS):
            await bench.harness.inject(Fault.READ_FAILS, after=failing)
            answer = await try_look(bench, ref)
            await bench.harness.clear()
            what = f"request {failing + 1} of a lookup failed, and it answered {answer!r}"
            bench.expect(not isinstance(answer, Absent), f"{what}, though the venue has {order!r}")
            bench.expect(not isinstance(answer, Found) or names(answer, order), f"{what}, without {order!r}")
        await bench.harness.inject(Fault.READ_FAILS, times=1_000_000)
        await bench.raises(Unavailable, bench.adapter.lookup(ref), "lookup, every read failing")
        await bench.raises(Unavailable, bench.adapter.open_orders(None), "open_orders, every read failing")
        await bench.harness.clear()
    if not bench.harness.offers("requests"):
        return
    # Nothing to find: a source that failed, and was not asked again, proves no absence.
    never = blind(await bench.ticket_for(bench.harness.resting(9)))
    began = await bench.harness.requests()
    await try_look(bench, never)
    whole = await bench.harness.requests() - began
    for failing in range(whole):
        await bench.harness.inject(Fault.READ_FAILS, after=failing)
        began = await bench.harness.requests()
        answer = await try_look(bench, never)
        asked = await bench.harness.requests() - began
        await bench.harness.clear()
        bench.expect(
            not (isinstance(answer, Absent) and asked <= whole),
            f"request {failing + 1} of {whole} of a lookup failed and was not repeated; it answered {answer!r}",
        )


@case(
    "UNK-08",
    "the watermark is taken before the search",
    grade="silver",
    rule="rule 8",
    needs=(Fault.LATE, Fault.SLOW),
)
async def watermark_first(bench: Bench) -> None:
    """An order that arrives between the search and the watermark is absent at a time when it was there."""
    placed = await bench.put()
    found = await bench.ask(bench.adapter.lookup(bench.ref(placed)))
    now = bench.clock.now_ms() + bench.opened.clock_offset + bench.opened.clock_error
    if not isinstance(found, Unsure):
        seen = found.at.venue_ms
        bench.expect(seen is None or seen <= now, f"the watermark {found.at!r} lies in the future: now is {now}")
    if not placed.ticket.fence.ends:
        return
    # While one request of the lookup is on its way, the order arrives: before it, what was searched did not show it.
    fresh = await bench.ticket_for(bench.harness.resting(3))
    rest = left(bench, fresh.ticket)
    await bench.send(fresh)
    span = min(bench.opened.horizon or 3_000, LONGEST_WAIT_MS)
    moments = [rest - bench.opened.clock_error - 1] if rest is not None else [span // 2, span * 7 // 10]
    for ms in moments:
        for slow in range(await _reads(bench)):
            stray = await astray(bench, bench.harness.resting(2), ms)
            await bench.clock.sleep(max(0, ms - 40) / 1000)
            await bench.harness.inject(Fault.SLOW, ms=bench.short(SLOW_MS), after=slow)
            await look_once(bench, stray)
            await bench.quiet(1)
            await bench.harness.clear()
            await judge(bench, [stray])


async def _reads(bench: Bench) -> int:
    """How many requests a lookup is that finds nothing."""
    if not bench.harness.offers("requests"):
        return 4
    nobody = Ref(bench.key(), bench.harness.symbol, bench.harness.resting(), bench.clock.now_ms())
    began = await bench.harness.requests()
    await try_look(bench, nobody)
    return max(1, await bench.harness.requests() - began)


@case(
    "UNK-09",
    "a lookup returns every order that matches, not one of them",
    grade="silver",
    rule="rule 8",
)
async def several(bench: Bench) -> None:
    """Should two orders ever come to be, the one that is hidden is neither cancelled nor booked."""
    await _no_stranger(bench)
    for made, spec in enumerate((bench.harness.crossing(), bench.harness.resting(3))):
        before = await present(bench)
        placed = await bench.put(spec)
        second = await bench.prepare(Place(placed.key, bench.adapter.check(bench.harness.resting(2 + made)).spec))
        placed.tickets.append(second)
        await bench.send(placed, second)
        await settled(bench)
        orders = await adopt(bench, placed, before)
        if len(orders) < 2:
            continue
        for ref in (blind(placed), bench.ref(placed)) if bench.offers("find_by_key") else (bench.ref(placed),):
            answer = await bench.ask(bench.adapter.lookup(ref))
            hidden = [order for order in orders if not names(answer, order, orders)]
            bench.expect(not hidden, f"two orders answer to one attempt; the lookup shows {answer!r}, not {hidden!r}")
        return
    raise Inapplicable("this venue takes no second order under one key")


async def _no_stranger(bench: Bench) -> None:
    """Of an attempt that was never sent nothing is found, least of all an order that only looks like it."""
    alike, order = await landed(bench, bench.harness.resting(6))
    never = await bench.ticket_for(alike.spec)
    for ref in (blind(never), bench.ref(never)):
        answer = await try_look(bench, ref)
        bench.expect(
            not names(answer, order),
            f"an attempt was never sent; its lookup finds {answer!r}, the order of another attempt: {order!r}",
        )


@case(
    "UNK-10",
    "a copy of a ticket is never answered with: no effect",
    grade="silver",
    rule="a duplicate reply is Ack('duplicate')",
)
async def duplicate(bench: Bench) -> None:
    """The reply to a copy, read as a rejection, closes an order that is working at the venue."""
    for spec in (bench.harness.resting(), bench.harness.crossing(2)):
        before = await present(bench)
        placed = await bench.put(spec)
        for _ in range(2):
            outcome = await bench.send(placed)
            bench.expect(
                outcome.effect != "none",
                f"the venue has the order of this ticket; submit of a copy {shown(outcome)}, which says that the "
                "ticket did nothing and never will: answer Ack('duplicate'), and let the kernel look",
            )
            await settled(bench)
            if bench.clock.now_ms() > placed.ticket.send_before:
                break
        await adopt(bench, placed, before)


@case(
    "UNK-12",
    "what the venue has forgotten is not claimed never to have been",
    grade="silver",
    rule="rule 8: since is honest",
)
async def forgotten(bench: Bench) -> None:
    """Venues drop orders that ended without a fill; their absence then is no proof that they were never there."""
    kept = bench.opened.retention
    if not bench.harness.offers("leap") and kept > 8_000:
        raise Inapplicable("nobody waits until this venue forgets an order")
    placed = await bench.put()
    outcome = await bench.cancel(placed)
    bench.expect(outcome.effect == "done", f"cancel {shown(outcome)}")
    await bench.ended(placed)
    known = bench.offers("find_by_key") and bench.harness.offers("leap")
    for ms in (kept // 2, kept, DAY_MS, 400 * DAY_MS) if kept < FOREVER else (DAY_MS, 400 * DAY_MS):
        await pass_by(bench, ms + 1_000)
        kept_on = known and (kept == FOREVER or ms == kept // 2)
        for ref in (blind(placed), bench.ref(placed)):
            answer = await try_look(bench, ref)
            bench.expect(
                not (kept_on and isinstance(answer, Absent)),
                f"by open() an order that has ended can be looked up for {kept} ms; after {ms} ms: {answer!r}",
            )
            bench.expect(
                not isinstance(answer, Absent) or answer.since > placed.placed_at,
                f"the order was placed at {placed.placed_at} and cancelled. Later lookup answers {answer!r}: with that "
                "`since` it would show any order since then, so this one was never there",
            )


@case(
    "UNK-13",
    "expiry is judged by the venue's clock",
    grade="silver",
    rule="rule 8: facts of the venue's time",
    needs=(Fault.LATE, "skew"),
)
async def local_clock(bench: Bench) -> None:
    """A laptop wakes up, its clock runs ahead, and orders that are under way count as expired."""
    under_way = await strays(bench)
    if by_ledger(under_way[0].placed.ticket):
        raise Inapplicable("CHN-07 is about ledgers")
    await bench.harness.skew(DAY_MS)
    await watch_over(bench, under_way, every_ms=100)
