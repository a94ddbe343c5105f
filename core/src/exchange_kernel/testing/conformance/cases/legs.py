"""Legs of native groups: how the fate of one moves the others, and what is told of that."""

from __future__ import annotations

from decimal import Decimal

from exchange_kernel.testing.conformance.bench import Bench
from exchange_kernel.testing.conformance.evidence import (
    landed,
    settled,
    shown,
)
from exchange_kernel.testing.conformance.grouped import (
    ANY,
    WAITING,
    as_it_is,
    joined,
    kinds,
    orders_of,
    put,
)
from exchange_kernel.testing.conformance.harness import TruthOrder
from exchange_kernel.testing.conformance.listening import listening
from exchange_kernel.testing.conformance.registry import case
from exchange_kernel.testing.conformance.sweeping import sweep
from exchange_kernel.testing.conformance.telling import at_rest, complete, done
from exchange_kernel.venue import OrderReport, VenueStatus


@case(
    "GRP-06",
    "when one leg trades the end of the other is told, with all fills of both",
    grade="silver",
    rule="rule 9, rule 11",
    needs=("group", "fill"),
    features=("group_oco|group_bracket",),
)
async def sibling(bench: Bench) -> None:
    """Nobody cancelled the other leg. Who is not told waits for it, or cancels the group's last leg in its place."""
    for kind in kinds(bench, "oco", "bracket"):
        group, orders = await put(bench, kind)
        if kind == "bracket":
            await bench.harness.fill(orders[0], orders[0].amount)
            await as_it_is(bench, group, "a bracket's first leg is filled")
            orders = await orders_of(bench, group)
        first = 0 if kind == "oco" else 1
        async with listening(bench) as ear:
            await bench.harness.fill(orders[first], orders[first].amount / 2)
            await as_it_is(bench, group, f"half of one leg of {kind} traded")
            now = await orders_of(bench, group)
            if now[first].live:
                await bench.harness.fill(now[first], now[first].amount / 2)
            pairs = await as_it_is(bench, group, f"one leg of {kind} is filled")
            alive = [order for _, order in pairs if order.live]
            bench.expect(not alive, f"one leg of {kind} is filled, and the venue goes on with {alive!r}")
            for report, order in pairs[first:]:

                async def over(order: TruthOrder = order) -> bool:
                    return any(r.status.terminal for r in ear.reports() if _same(r, order))

                if bench.offers("stream"):
                    await bench.until(over, f"the stream tells that a leg of {kind} has ended: {order!r}, {report!r}")
            told = [r for r in ear.reports() for order in now if set(order.ids) & {r.id, *r.links}]
            loose = [r for r in told if not any(joined([r, report]) for report, o in pairs if not _same(r, o))]
            bench.expect(not loose, f"the stream tells of legs of {kind} without a link to the others: {loose!r}")


def _same(report: OrderReport, order: TruthOrder) -> bool:
    return bool(set(order.ids) & {report.id, *report.links})


@case(
    "GRP-07",
    "where both legs could trade at once, what did is what is told",
    grade="silver",
    rule="rule 9, rule 10",
    needs=("group", "fill", "burst"),
    features=("group_oco|group_bracket",),
)
async def both_at_once(bench: Bench) -> None:
    """One leg's trade taken as the other's end, without a look: where the market was faster than the venue, a position
    is twice what the books say; where it was not, it is half."""
    for kind in kinds(bench, "oco", "bracket"):
        group, orders = await put(bench, kind)
        if kind == "bracket":
            await bench.harness.fill(orders[0], orders[0].amount)
            await settled(bench)
            orders = (await orders_of(bench, group))[1:]
        async with listening(bench) as ear:
            await bench.harness.burst(orders)
            await at_rest(bench)
            pairs = await as_it_is(bench, group, f"both legs of {kind} could trade at once")
            bench.expect(
                any(order.filled_base for _, order in pairs), f"the harness' burst() traded nothing: {pairs!r}"
            )
            for report, order in pairs:
                told = [r for r in ear.reports() if _same(r, order)]
                most = max((done(r).base for r in told), default=Decimal(0))
                bench.expect(
                    most <= order.filled_base, f"the stream told of {most} executed of {order!r}, lookup of {report!r}"
                )
                bench.expect(not complete(report), f"{report!r}: {complete(report)}")


@case(
    "GRP-08",
    "a leg that waits is not alive before the first is filled",
    grade="silver",
    rule="rule 10, rule 11",
    needs=("group", "fill"),
    features=("group_oto|group_bracket",),
)
async def child(bench: Bench) -> None:
    """Reported as working, it counts as an order in the market: for risk, for drift, for whoever waits for its fill.
    Not reported at all, it is a stranger's when it wakes."""
    for kind in kinds(bench, "oto", "bracket"):
        group, orders = await put(bench, kind)
        early = [order for order in orders[1:] if order.live or order.filled_base]
        bench.expect(not early, f"the first leg of {kind} rests, and at the venue those that wait live: {early!r}")
        for report, order in (await as_it_is(bench, group, f"{kind} waits for its first leg"))[1:]:
            bench.expect(report.status in WAITING, f"{order!r} waits, and is reported as {report!r}")
        async with listening(bench) as ear:
            await bench.harness.fill(orders[0], orders[0].amount / 2)
            await as_it_is(bench, group, f"half of the first leg of {kind} traded")
            await bench.harness.fill(orders[0], orders[0].amount / 2)
            await at_rest(bench)
            pairs = await as_it_is(bench, group, f"the first leg of {kind} is filled")
            bench.expect(
                all(order.live for _, order in pairs[1:]),
                f"the first leg of {kind} is filled; those after it: {pairs!r}",
            )
            first, _ = pairs[0]
            for leg, (_, order) in zip(group.legs[1:], pairs[1:], strict=True):
                if leg.spec.trigger is not None:
                    continue  # it waits for a price now

                async def awake(order: TruthOrder = order, first: OrderReport = first) -> bool:
                    mine = [r for r in ear.reports() if _same(r, order) and joined([r, first])]
                    return any(r.status is VenueStatus.WORKING for r in mine)

                if not bench.offers("stream"):
                    continue
                await bench.until(
                    awake, f"the stream tells, with a link to the first leg, that a leg of {kind} is alive: {order!r}"
                )
        await sweep(bench)


@case(
    "GRP-09",
    "a cancel of one leg ends that leg, and what it does to the others is told",
    grade="silver",
    rule="rule 14; PlaceGroup",
    needs=("group",),
    features=(ANY,),
)
async def cancel_one(bench: Bench) -> None:
    """Venues differ in what goes with a leg. Who is told what this one did can place the rest anew; who is told that
    all is as it was has an exit that is no longer there."""
    for kind in kinds(bench):
        for place in range(len(bench.harness.group(kind))):
            bystander, other = await landed(bench)
            group, orders = await put(bench, kind)
            waits = group.waits(place, orders)
            outcome = await bench.cancel(group.legs[place])
            bench.expect(outcome.error is None, f"the cancel of leg {place + 1} of {kind} {shown(outcome)}")
            await settled(bench)
            now = await orders_of(bench, group)
            bench.expect(not now[place].live, f"leg {place + 1} of {kind} was cancelled, and lives: {now[place]!r}")
            await as_it_is(
                bench, group, f"leg {place + 1} of {kind} was cancelled{' while it waited' if waits else ''}"
            )
            same = await bench.one(bystander)
            bench.expect(same == other, f"the cancel of a leg of {kind} changed an order beside it: {same!r}")
            await sweep(bench)
