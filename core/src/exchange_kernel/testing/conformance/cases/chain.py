"""Ledger venues: numbers, replacements, gaps, finality. Only the ledger ends an order, and nobody hurries it."""

from __future__ import annotations

from exchange_kernel.errors import InvalidOrder, NoEffect, NotSent, Unsupported
from exchange_kernel.testing.conformance.bench import Bench, Inapplicable, Outcome, Placed
from exchange_kernel.testing.conformance.evidence import (
    adopt,
    born,
    by_ledger,
    landed,
    present,
    settled,
    shown,
    strays,
    told,
    watch_over,
)
from exchange_kernel.testing.conformance.harness import Fault, TruthOrder
from exchange_kernel.testing.conformance.registry import case
from exchange_kernel.testing.conformance.sweeping import sweep
from exchange_kernel.venue import (
    FOREVER,
    Amend,
    Cancel,
    CancelAll,
    Command,
    Found,
    OrderReport,
    Place,
    Prep,
    Scope,
    Slot,
    Ticket,
    VenueStatus,
)

FAR = 700
"""A number that no adapter would come upon by itself."""


def _scope(bench: Bench, *, gapless: bool = False) -> Scope:
    """The sequence numbers are taken from. Raises Inapplicable where there is none."""
    for scope in bench.opened.scopes:
        if not gapless or scope.rule == "gapless":
            return scope
    raise Inapplicable(f"this venue has no {'gapless ' if gapless else ''}sequence of numbers")


async def _on_a_ledger(bench: Bench, placed: Placed | None = None) -> Placed:
    """A ticket whose authority is a ledger. Raises Inapplicable where the venue's API is."""
    placed = placed or await bench.ticket_for(bench.harness.resting())
    if not by_ledger(placed.ticket):
        raise Inapplicable("this venue's API is the authority, there is no ledger")
    return placed


async def _numbered(bench: Bench, command: Command, instead_of: Ticket | None = None) -> tuple[object, list[Slot]]:
    """What prepare answers when it is given numbers nobody could guess, and the numbers it took."""
    given: list[Slot] = []

    def take(scope: str) -> Slot:
        bench.expect(
            scope in {each.name for each in bench.opened.scopes},
            f"take({scope!r}): open() named no such scope, only {bench.opened.scopes!r}",
        )
        same = instead_of.slot if instead_of is not None else None
        given.append(same or Slot(scope, _scope(bench).floor + FAR + 13 * len(given)))
        return given[-1]

    prep = Prep(bench.clock.now_ms(), FOREVER, take, instead_of)
    try:
        return await bench.ask(bench.adapter.prepare(command, prep)), given
    except (NoEffect, InvalidOrder):
        return None, given


@case("CHN-01", "numbers come only from take, one per ticket", grade="silver", rule="rule 17")
async def numbers(bench: Bench) -> None:
    """A number the kernel does not know of is used twice, or never: what lies behind it waits for ever."""
    _scope(bench)
    spec = bench.adapter.check(bench.harness.crossing(2)).spec
    await _one_each(bench, Place(bench.key(), bench.adapter.check(bench.harness.resting(2)).spec))
    await _one_each(bench, Place(bench.key(), spec))
    placed, _ = await landed(bench)
    ref = bench.ref(placed)
    await _one_each(bench, Cancel(bench.key(), ref))
    await _one_each(bench, Cancel(bench.key(), ref, force=True))
    await _one_each(bench, Amend(bench.key(), ref, bench.harness.resting(2)))
    await _one_each(bench, CancelAll(bench.key(), bench.harness.symbol))
    # The number in the fence is the number that is spent: neither a lower one nor a higher one of its own.
    for step in range(3):
        sent, _ = await landed(bench, bench.harness.resting(step + 3))
        floors, slot = (await bench.adapter.account()).floors, sent.ticket.slot
        bench.expect(
            slot is not None and floors.get(slot.scope) == slot.number + 1,
            f"{slot!r} was given and spent; account() says that the next numbers are {floors!r}",
        )


async def _one_each(bench: Bench, command: Command) -> None:
    """Two tickets for a command: each takes one number, and has it."""
    name = f"prepare({type(command).__name__})"
    for _ in range(2):
        ticket, given = await _numbered(bench, command)
        if isinstance(ticket, Ticket):
            bench.expect(len(given) == 1, f"{name} took {len(given)} numbers, {given!r}: one per ticket")
            bench.expect(ticket.slot == given[0], f"{name} was given {given[0]!r}; its ticket has {ticket.slot!r}")


@case(
    "CHN-02",
    "a replacement has the number of what it replaces, and only one of them takes effect",
    grade="silver",
    rule="rule 17: instead_of",
    needs=(Fault.REQUEST_LOST,),
)
async def replacement(bench: Bench) -> None:
    """Replaced under a number of its own, both orders are executed."""
    _scope(bench)
    before = await present(bench)
    placed = await bench.ticket_for(bench.harness.resting())
    old = placed.ticket
    await bench.harness.inject(Fault.REQUEST_LOST)
    await bench.send(placed)
    await bench.harness.clear()
    new, given = await _numbered(bench, Place(placed.key, placed.spec), instead_of=old)
    bench.expect(isinstance(new, Ticket), f"prepare(instead_of={old!r}) gave no ticket: {new!r}")
    assert isinstance(new, Ticket)
    bench.expect(len(given) <= 1, f"a replacement took {len(given)} numbers: {given!r}")
    bench.expect(new.slot == old.slot, f"a replacement of {old.slot!r} has {new.slot!r}")
    placed.tickets.append(new)
    await bench.send(placed, new)
    await bench.send(placed, old)  # the lost one turns up
    await settled(bench)
    orders = await adopt(bench, placed, before)
    bench.expect(len(orders) == 1, f"a ticket and its replacement made {len(orders)} orders")
    await bench.send(placed, old)
    await settled(bench)
    bench.expect(len(await bench.truth(placed)) == 1, "the ticket that was replaced made an order later")
    answer = await bench.look(placed)
    reports = [r for r in (answer.reports if isinstance(answer, Found) else ()) if isinstance(r, OrderReport)]
    bench.expect(len(reports) == 1, f"an order and the ticket it was not made by are one order; lookup: {answer!r}")
    await landed(bench, bench.harness.resting(2))  # and no number was lost on the way


@case(
    "CHN-03",
    "a burnt number is spent: its ticket is dead, provably, and nothing behind it waits",
    grade="silver",
    rule="rule 17, R13, R27",
    needs=(Fault.REQUEST_LOST,),
)
async def burnt(bench: Bench) -> None:
    """A number that is stuck stops the account; burnt only in name, its old order comes back from the pool."""
    scope = _scope(bench, gapless=True)
    before = await present(bench)
    placed = await bench.ticket_for(bench.harness.resting())
    old, slot = placed.ticket, placed.ticket.slot
    bench.expect(slot is not None, f"a ticket of {scope!r} has no number: {old!r}")
    assert slot is not None
    await bench.harness.inject(Fault.REQUEST_LOST)
    await bench.send(placed)
    await bench.harness.clear()
    bench.expect(not await bench.dead(placed, 3), "proved dead, and its number was not spent by anything yet")
    try:
        outcome = await bench.burn(placed, slot, old)
    except Unsupported as why:
        bench.fail(f"numbers of {scope!r} are gapless, so a number must be burnable: {why}")
    bench.expect(placed.ticket.slot == slot, f"Burn({slot!r}) has a ticket for {placed.ticket.slot!r}")
    bench.expect(outcome.effect != "none", f"burning {slot!r}: submit {shown(outcome)}")
    await settled(bench)
    bench.expect(await bench.dead(placed), f"{slot!r} was burnt, and lookup never shows it spent: {outcome!r}")
    await bench.send(placed, old)
    await settled(bench)
    fresh = await born(bench, before)
    bench.expect(not fresh, f"{slot!r} was burnt, and its old ticket, arriving then, made {fresh!r}")
    await landed(bench, bench.harness.resting(2))


@case("CHN-04", "what lies behind a gap waits, and goes on when it is filled", grade="silver", rule="R26")
async def gap(bench: Bench) -> None:
    """An adapter that renumbers what it sends fills the gap with the wrong order, and the right one never comes."""
    _scope(bench, gapless=True)
    before = await present(bench)
    first = await bench.ticket_for(bench.harness.resting(1))
    second = await bench.ticket_for(bench.harness.resting(2))
    outcome = await bench.send(second)
    bench.expect(outcome.effect != "none", f"sent before the number below it: submit {shown(outcome)}")
    await settled(bench)
    fresh = await born(bench, before)
    bench.expect(not fresh, f"the number below was not sent yet, and the venue has {fresh!r}")
    bench.expect(not await bench.dead(second, 2), "an order that waits for the number below it was proved dead")
    await bench.send(first)
    await bench.send(second)
    await settled(bench)
    for placed in (first, second):
        order = await bench.one(placed)
        bench.expect(
            order.amount == placed.spec.amount, f"the ticket for {placed.spec!r} became {order!r} behind the gap"
        )
        await bench.found(placed)


def _only_the_ledger(bench: Bench, outcome: Outcome, what: str) -> None:
    bench.expect(
        outcome.effect != "none" or isinstance(outcome.error, NotSent),
        f"{what}: submit {shown(outcome)}; what a node says is no verdict: Refused, or anything else that is unknown",
    )
    claims = outcome.ack is not None and outcome.ack.stage == "decided" and outcome.error is None
    final = [r for r in (outcome.ack.reports if outcome.ack else ()) if isinstance(r, OrderReport) and r.final]
    bench.expect(not (claims and final), f"{what}: submit {shown(outcome)}, final before it is in any block")


@case("CHN-05", "what a node answers is never a verdict", grade="silver", rule="R10, rule 6")
async def node(bench: Bench) -> None:
    """One node refuses, another has it in its pool: the order that was given up is executed a block later."""
    await _on_a_ledger(bench, (await landed(bench))[0])
    faults = (Fault.NODE_REFUSES, Fault.RATE_LIMIT, Fault.UNAVAILABLE, Fault.ERROR_AFTER)
    for number, fault in enumerate(faults):
        if fault not in bench.harness.faults:
            continue
        before = await present(bench)
        placed = await bench.ticket_for(bench.harness.resting(number + 2))
        await bench.harness.inject(fault)
        outcome = await bench.send(placed)
        await bench.harness.clear()
        _only_the_ledger(bench, outcome, f"an order under {fault.value}")
        await settled(bench)
        if fault in (Fault.NODE_REFUSES, Fault.ERROR_AFTER):
            orders = await adopt(bench, placed, before)
            bench.expect(len(orders) == 1, f"under {fault.value} the order is in the pool; the venue has {orders!r}")
            await bench.found(placed)
        else:
            _only_the_ledger(bench, await bench.send(placed), f"the same bytes again, after {fault.value}")
            await settled(bench)
        # Said of a copy, when the order is in a block: known, too low, too late.
        if bench.clock.now_ms() <= placed.ticket.send_before:
            _only_the_ledger(bench, await bench.send(placed), "a copy of an order that is in a block")
        cancel = await bench.prepare(Cancel(bench.key(), bench.ref(placed)))
        placed.tickets.append(cancel)
        if fault in bench.harness.faults:
            await bench.harness.inject(fault)
        _only_the_ledger(bench, await bench.send(placed, cancel), f"a cancel under {fault.value}")
        await bench.harness.clear()
        await sweep(bench)
        await settled(bench)


@case("CHN-06", "nothing is final before it is", grade="silver", rule="rule 10, filled and tentative")
async def finality(bench: Bench) -> None:
    """A reorganisation takes back a fill that was booked, and the hedge for it stays."""
    filling = await _on_a_ledger(bench, await bench.ticket_for(bench.harness.crossing(2)))
    if bench.offers("fills_final_at_once"):
        raise Inapplicable("what this ledger executes is final at once")

    async def executed() -> bool:
        orders = await bench.truth(filling)
        return bool(orders) and bool(orders[0].filled_base)

    async with bench.watching():
        outcome = await bench.send(filling)
        _only_the_ledger(bench, outcome, "an order that trades")
        await bench.until(executed, "the ledger executes the order")
        await bench.clock.sleep(0.01)  # the stream says so
        await bench.look(filling)
        _still_open_to_change(bench, filling, "the order has just been executed")
        await settled(bench)
        report = await bench.ended(filling)
        order = await bench.one(filling)
        _settled_as(bench, report, order)

        resting, _ = await landed(bench)
        cancel = await bench.cancel(resting)
        _only_the_ledger(bench, cancel, "a cancel")

        async def ended() -> bool:
            return not (await bench.one(resting)).live

        await bench.until(ended, "the ledger executes the cancel")
        await bench.clock.sleep(0.01)
        await bench.look(resting)
        _still_open_to_change(bench, resting, f"the cancel, {shown(cancel)}, has just been executed")
        await settled(bench)
        _settled_as(bench, await bench.ended(resting), await bench.one(resting))


def _still_open_to_change(bench: Bench, placed: Placed, when: str) -> None:
    for report in told(bench, placed):
        bench.expect(not report.final, f"{when}, in the newest block, and is reported final: {report!r}")
        bench.expect(
            not report.filled.base and not any(fill.final for fill in report.fills),
            f"{when}, in the newest block, and counts as filled for good, not as tentative: {report!r}",
        )


def _settled_as(bench: Bench, report: OrderReport, order: TruthOrder) -> None:
    bench.expect(
        report.filled.base == order.filled_base and not report.tentative.base and all(f.final for f in report.fills),
        f"everything is final now; the ledger has {order!r}, reported is {report!r}",
    )


@case(
    "CHN-07",
    "expiry is judged by the ledger, not by the local clock",
    grade="silver",
    rule="rule 8, R11",
    needs=(Fault.LATE, "skew"),
)
async def ledger_clock(bench: Bench) -> None:
    """Blocks stop for a minute, the local clock does not: what waits in the pool counts as expired, and is mined."""
    under_way = await strays(bench)
    if not by_ledger(under_way[0].placed.ticket):
        raise Inapplicable("UNK-13 is about venues whose API is the authority")
    await bench.harness.skew(86_400_000)
    await watch_over(bench, under_way, every_ms=100)


async def _in_a_block(bench: Bench, placed: Placed) -> bool:
    """Does the venue have it, and does it no longer wait? Some venues' truth holds what waits as well."""
    if not await bench.truth(placed):
        return False
    answer = await bench.look(placed)
    reports = answer.reports if isinstance(answer, Found) else ()
    return not any(isinstance(each, OrderReport) and each.status is VenueStatus.PENDING for each in reports)


@case("CHN-08", "a replacement offers enough to take the other's place", grade="silver", rule="prep.instead_of")
async def fees(bench: Bench) -> None:
    """With the same fee the pool keeps the old one: the order is never replaced, and the account stands still."""
    _scope(bench)
    placed = await bench.ticket_for(bench.harness.resting())
    outcome = await bench.send(placed)
    bench.expect(outcome.error is None, f"a transaction with the usual fee: submit {shown(outcome)}")
    for _ in range(3):
        newer = await bench.prepare(Place(placed.key, placed.spec), instead_of=placed.ticket)
        if await _in_a_block(bench, placed):
            break  # there is nothing left to replace
        bench.expect(newer.slot == placed.ticket.slot, f"{newer.slot!r} does not replace {placed.ticket.slot!r}")
        outcome = await bench.send(placed, newer)
        taken = outcome.ack is not None and outcome.ack.stage != "duplicate" and newer.body != placed.ticket.body
        bench.expect(
            taken or await _in_a_block(bench, placed),
            f"a replacement of a waiting transaction: submit {shown(outcome)}; its fee must beat the other's",
        )
        placed.tickets.append(newer)
    await settled(bench)
    await bench.one(placed)
    stuck = await bench.ticket_for(bench.harness.resting(2))
    await bench.send(stuck)
    assert stuck.ticket.slot is not None
    if _scope(bench).rule != "gapless":
        return
    outcome = await bench.burn(stuck, stuck.ticket.slot, stuck.ticket)
    bench.expect(
        (outcome.ack is not None and outcome.ack.stage != "duplicate") or await _in_a_block(bench, stuck),
        f"burning the number of a waiting transaction: submit {shown(outcome)}; its fee must beat the other's",
    )
    await settled(bench)
