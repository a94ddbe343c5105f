"""Native groups: orders whose fates the venue itself ties together, sent in one request."""

from __future__ import annotations

from typing import Any

from exchange_kernel.errors import InvalidOrder, Rejected, Unsupported
from exchange_kernel.testing.conformance.bench import Bench, Inapplicable
from exchange_kernel.testing.conformance.copies import copy_makes_nothing, repeatable
from exchange_kernel.testing.conformance.evidence import (
    born,
    by_ledger,
    delays,
    expect_unknown,
    present,
    settled,
    shown,
    soon,
)
from exchange_kernel.testing.conformance.grouped import (
    ANY,
    KINDS,
    arrives_late,
    as_it_is,
    found_whole,
    kinds,
    orders_of,
    own_report,
    put,
    send,
    stand,
    take_back,
    ticket_for,
)
from exchange_kernel.testing.conformance.harness import Fault
from exchange_kernel.testing.conformance.registry import case
from exchange_kernel.testing.conformance.sweeping import sweep
from exchange_kernel.testing.conformance.telling import done, orders_in
from exchange_kernel.value import revised
from exchange_kernel.venue import OrderReport, Place, PlaceGroup, VenueStatus


@case(
    "GRP-01",
    "every leg stands as it was asked for, with a report of its own",
    grade="silver",
    rule="rule 11",
    needs=("group",),
    features=(ANY,),
)
async def stands(bench: Bench) -> None:
    """One report for a group, or legs that nothing joins: the kernel counts one of them and meets the other as a
    stranger's order, which it cancels."""
    for kind in kinds(bench):
        group, _ = await put(bench, kind)
        pairs = await as_it_is(bench, group, f"{kind} stands")
        ids = [report.id for report, _ in pairs]
        bench.expect(len(set(ids)) == len(ids), f"two legs of {kind} are reported under one id: {ids}")
        for report, order in pairs:
            bench.expect(
                (report.side, report.amount) == (order.side, order.amount) and report.price in (None, order.price),
                f"a leg of {kind} is {order!r} at the venue, and reported as {report!r}",
            )
        reports = orders_in(await bench.look(group.whole))
        lost = [order for _, order in pairs if own_report(reports, order) is None]
        bench.expect(not lost, f"a lookup of the group shows {reports!r}; not among them is {lost!r}")
        await sweep(bench)


@case(
    "GRP-02",
    "a group is one request, and there is none before it is submitted",
    grade="silver",
    rule="rule 1, rule 5",
    needs=("group",),
    features=(ANY,),
)
async def one_request(bench: Bench) -> None:
    """Legs sent one after the other: the connection breaks in between, and half a group is a position without an
    exit."""
    for kind in kinds(bench):
        before, changes = await present(bench), await bench.harness.changes()
        group = await ticket_for(bench, kind)
        bench.expect(
            await bench.harness.changes() == changes and not await born(bench, before),
            f"prepare() of {kind} changed something at the venue: {await born(bench, before)!r}",
        )
        await send(bench, group)
        sent = await bench.harness.changes() - changes
        await stand(bench, group, before, f"{kind} was sent")
        bench.expect(sent == 1, f"one submit of {kind} made {sent} requests")
        await sweep(bench)


@case(
    "GRP-03",
    "a refused leg refuses the group",
    grade="silver",
    rule="rule 6; PlaceGroup",
    needs=("group",),
    features=(ANY,),
)
async def all_or_nothing(bench: Bench) -> None:
    """The exit is refused and the entry stays: a position that nobody protects. Or the refusal is lost in the answer,
    and the group is waited for."""
    for kind in kinds(bench):
        before = await present(bench)
        specs = [bench.adapter.check(spec).spec for spec in bench.harness.group(kind)]
        most = bench.market.amounts.max_amount or specs[0].amount * 10**9
        place = len(specs) - 1 if kind == "oco" else 0  # a leg that only waits need not be paid for yet
        specs[place] = revised(specs[place], amount=most)
        try:
            group = await ticket_for(bench, kind, specs)
        except (Rejected, InvalidOrder):
            continue  # refused before anything was sent
        outcome = await send(bench, group)
        await settled(bench)
        fresh = await born(bench, before)
        if any(order.amount == most and order.live for order in fresh):
            take_back(bench, fresh)
            raise Inapplicable(f"the account can pay for {most}: nothing here is refused for its size")
        alive = [order for order in fresh if order.live or order.filled_base]
        take_back(bench, alive)
        bench.expect(not alive, f"one leg of {kind} was refused, and of the others there is {alive!r}")
        told = [r for r in (outcome.ack.reports if outcome.ack else ()) if isinstance(r, OrderReport)]
        bench.expect(
            by_ledger(group.ticket) or outcome.effect == "none" or (told and all(r.status.terminal for r in told)),
            f"a leg of {kind} cannot be paid for, and was refused; submit {shown(outcome)}, which does not say so",
        )
        reports = orders_in(await bench.look(group.whole))
        false = [r for r in reports if not (r.status.terminal and r.final) or done(r).base]
        bench.expect(not false, f"{kind} was refused as a whole; lookup shows {false!r}")


@case(
    "GRP-04",
    "after a lost answer every leg is found from the group's key",
    grade="silver",
    rule="rule 6, rule 8",
    needs=("group", Fault.ANSWER_LOST, Fault.ERROR_AFTER, Fault.GARBLED),
    features=(ANY,),
)
async def answer_lost(bench: Bench) -> None:
    """A leg that is not found is placed again, or stands for ever: both are one order too many."""
    for kind in kinds(bench):
        for fault in (Fault.ANSWER_LOST, Fault.ERROR_AFTER, Fault.GARBLED):
            before, changes = await present(bench), await bench.harness.changes()
            group = await ticket_for(bench, kind)
            await bench.harness.inject(fault)
            outcome = await send(bench, group)
            await bench.harness.clear()
            expect_unknown(bench, outcome, f"{kind} under {fault.value}")
            orders = await stand(bench, group, before, f"{kind} under {fault.value}")
            sent = await bench.harness.changes() - changes
            bench.expect(sent == 1, f"{kind} under {fault.value}: one submit made {sent} requests")
            await found_whole(bench, group, orders, f"{kind} under {fault.value}")
            await as_it_is(bench, group, f"{kind} under {fault.value}")
            await sweep(bench)


@case(
    "GRP-05",
    "a group under way is not given up, and one that was lost is",
    grade="silver",
    rule="rule 8",
    needs=("group", Fault.LATE, Fault.REQUEST_LOST),
    features=(ANY,),
)
async def under_way(bench: Bench) -> None:
    """Given up while it is under way, the group comes to life beside the one that took its place. One that is never
    given up keeps its money and its hedge waiting."""
    for number, kind in enumerate(kinds(bench)):
        group = await ticket_for(bench, kind)
        # One kind at many moments of a ticket's life, and beyond; the others once.
        times = [soon(bench, group.whole), *(delays(bench, group.ticket) if not number else [])]
        for ms in times:
            await arrives_late(bench, group, ms)
            group = await ticket_for(bench, kind)
        if not group.ticket.fence.ends or bench.opened.scopes:
            continue  # a number that nobody uses is burnt, which is another case's business
        before = await present(bench)
        await bench.harness.inject(Fault.REQUEST_LOST)
        expect_unknown(bench, await send(bench, group), f"{kind}, lost")
        await bench.harness.clear()
        bench.expect(await bench.dead(group.whole), f"{kind} never arrived, and no lookup proves that it never will")
        await settled(bench)
        bench.expect(not await born(bench, before), f"{kind} was lost, and made {await born(bench, before)!r}")


@case(
    "GRP-10",
    "a copy of a group's ticket does nothing, where its fence says so",
    grade="silver",
    rule="rule 7",
    needs=("group",),
    features=(ANY,),
)
async def copies(bench: Bench) -> None:
    """A proxy held the request back: the group comes a second time, when the first has done its work."""
    for kind in kinds(bench):
        group = await ticket_for(bench, kind)
        ticket = repeatable(group.whole)
        before = await present(bench)
        await send(bench, group)
        await stand(bench, group, before, f"{kind} was sent")
        before = await present(bench)
        await copy_makes_nothing(bench, group.whole, ticket, before, f"{kind} stands")
        await bench.cancel(group.legs[0])
        await settled(bench)
        await copy_makes_nothing(bench, group.whole, ticket, before, f"the first leg of {kind} was cancelled")
        await sweep(bench)
        await settled(bench)
        await copy_makes_nothing(bench, group.whole, ticket, before, f"{kind} is over")


@case(
    "GRP-11",
    "a new session finds the group, and what its legs did meanwhile",
    grade="gold",
    rule="rule 20",
    needs=("group", "fill"),
    features=(ANY,),
)
async def restarted(bench: Bench) -> None:
    """The process dies between the entry and the exit. What it knew of the group has to be in its ticket, or at the
    venue."""
    for kind in kinds(bench):
        group, orders = await put(bench, kind)
        await bench.close()
        if bench.harness.offers("restart"):
            await bench.harness.restart()
        await bench.harness.fill(orders[0], orders[0].amount)
        await settled(bench)
        await bench.ready()
        if bench.offers("find_by_key"):
            for leg in group.legs:
                leg.ids.clear()
        await found_whole(bench, group, await orders_of(bench, group), f"{kind}, after a restart")
        pairs = await as_it_is(bench, group, f"{kind}, after a restart")
        first, _ = pairs[0]
        bench.expect(first.status is VenueStatus.FILLED, f"the first leg filled while nobody watched: {first!r}")
        await sweep(bench)


@case(
    "GRP-12",
    "what is no group here is refused before anything is sent",
    grade="silver",
    rule="rule 1; Unsupported",
    needs=("requests",),
)
async def no_group(bench: Bench) -> None:
    """A group that is not one becomes loose orders, of which nothing cancels the other."""
    spec = bench.adapter.check(bench.harness.resting(1)).spec
    other = bench.adapter.check(bench.harness.resting(2)).spec
    third = bench.adapter.check(bench.harness.resting(3)).spec
    await bench.draft(Place(bench.key(), spec))  # whatever has to be read once is read now
    before, changes = await present(bench), await bench.harness.changes()
    for kind in KINDS:
        offered = bench.offers(f"group_{kind}")
        bad: list[tuple[Any, ...]] = [(), (spec,), (spec, other, third, spec)]
        if bench.harness.offers("elsewhere"):
            away = bench.adapter.check(bench.harness.elsewhere()).spec
            bad.append((spec, away) if kind != "bracket" else (spec, other, away))
        if not offered:
            bad = [(spec, other, third) if kind == "bracket" else (spec, other)]
        for specs in bad:
            command = PlaceGroup(bench.key(), kind, tuple(Place(bench.key(), each) for each in specs))
            what = f"{kind} of {len(specs)} legs" + ("" if offered else ", which is declared unsupported,")
            error: object = None
            requests = await bench.harness.requests()
            try:
                ticket = await bench.draft(command)
            except (Unsupported, InvalidOrder, Rejected) as refused:
                error = refused
            except Inapplicable:
                bench.fail(f"{what} asks for an Enable first, where it should be refused")
            if error is None:
                bench.fail(f"{what} makes a ticket: {ticket.body[:200]!r}")
            if not offered:
                sent = await bench.harness.requests() - requests
                bench.expect(not sent, f"refusing {what} took {sent} requests: the venue need not be asked")
                bench.expect(
                    isinstance(error, Unsupported) and error.feature == f"group_{kind}",
                    f"{what} is refused with {error!r}; raise Unsupported('group_{kind}'), by which the kernel decides "
                    "whether it can do it itself",
                )
    bench.expect(await bench.harness.changes() == changes, "a group that was refused reached the venue")
    bench.expect(not await born(bench, before), f"refused groups made {await born(bench, before)!r}")
