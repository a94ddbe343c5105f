"""Changing an order in place: it stays the same order, for the new total, and there is never a moment with two."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal

from exchange_kernel.errors import InvalidOrder, NoEffect, RateLimited, Rejected, UnknownTarget, Unsupported
from exchange_kernel.schema import Side, TimeInForce
from exchange_kernel.testing.conformance.amending import (
    Wanted,
    amends,
    dearer,
    expect_as_wanted,
    expect_untouched,
    kinds,
    most_exposed,
    resized,
    shown_amendment,
)
from exchange_kernel.testing.conformance.bench import Bench, Inapplicable, Outcome, Placed
from exchange_kernel.testing.conformance.evidence import (
    born,
    by_ledger,
    expect_unknown,
    landed,
    present,
    settled,
    shown,
    soon,
)
from exchange_kernel.testing.conformance.harness import Fault
from exchange_kernel.testing.conformance.listening import listening
from exchange_kernel.testing.conformance.registry import case
from exchange_kernel.testing.conformance.sweeping import sweep
from exchange_kernel.testing.conformance.telling import at_rest, caught_up, done, orders_in, told_of
from exchange_kernel.value import revised
from exchange_kernel.venue import Amend, Spec, VenueStatus


@case("MOD-01", "an amended order is the same order, and shows the amendment", grade="silver", rule="rule 13, applied")
async def identity(bench: Bench) -> None:
    """The kernel follows an order by its ids and sees by its report which change has arrived. An order that changes its
    name is taken for a stranger's; one that shows the wrong change is amended again and again."""
    for wanted in kinds(bench):
        async with listening(bench):
            placed, before = await landed(bench, bench.harness.resting(6))
            first = await bench.found(placed)
            bench.expect(
                first.applied in (None, placed.key),
                f"an order that was never amended shows {first.applied!r}",
            )
            keys = [placed.key]
            for _ in range(2):
                spec = wanted.change(placed.spec)
                outcome = await bench.amend(placed, spec)
                bench.expect(outcome.error is None, f"{wanted.what}: submit {shown(outcome)}")
                keys.append(placed.ticket.key)
                report = await shown_amendment(bench, placed, spec, wanted.what)
                placed.spec = bench.adapter.check(spec).spec
                bench.expect(report.id == first.id, f"{wanted.what}: the order was {first.id!r}, it is {report.id!r}")
                bench.expect(report.key in (None, placed.key), f"{wanted.what}: reported under another key: {report!r}")
                bench.expect(
                    report.applied in (None, keys[-1]),
                    f"{wanted.what} under {keys[-1]!r}: the report says that {report.applied!r} was applied last",
                )
                order = await bench.one(placed)
                bench.expect(set(before.ids) <= set(order.ids), f"{wanted.what}: {before!r} became {order!r}")
                bench.expect(order.live, f"{wanted.what}: the order is over: {order!r}")
            await at_rest(bench)
        for source, report in told_of(bench, placed):
            bench.expect(report.id == first.id, f"{source} calls it {report.id!r}, before it was {first.id!r}")
            bench.expect(
                report.applied is None or report.applied in keys,
                f"{source} shows {report.applied!r} as the last command applied; there were {keys!r}",
            )
        await bench.cancel(placed)


@case(
    "MOD-02",
    "the amount of an amendment is the new total, what is filled included",
    grade="silver",
    rule="R23",
    needs=("fill",),
    features=("amend_down", "partial_fills"),
)
async def new_total(bench: Bench) -> None:
    """Taken for what is still to be bought, the total is overrun by what was bought before."""
    if not amends(bench, "amend_down"):
        raise Inapplicable("an order that rests is not made smaller here")
    placed, order = await landed(bench, bench.harness.resting(8))
    await bench.harness.fill(order, order.amount / 4)
    await caught_up(bench, placed)
    spec = resized(bench, placed.spec, order.amount * 3 / 4)
    outcome = await bench.amend(placed, spec)
    bench.expect(outcome.error is None, f"less of a partly filled order: submit {shown(outcome)}")
    await shown_amendment(bench, placed, spec, "less of a partly filled order")
    now = await bench.one(placed)
    bench.expect(now.live and now.filled_base == order.amount / 4, f"the amendment changed what is filled: {now!r}")
    await bench.harness.fill(order, order.amount / 2)
    await at_rest(bench)
    now = await bench.one(placed)
    bench.expect(
        not now.live and now.filled_base == spec.amount,
        f"a quarter of {order.amount} was filled, then its total became {spec.amount}, then {order.amount / 2} more "
        f"were filled: the order is full. The venue has {now!r}",
    )
    end = await bench.ended(placed)
    bench.expect(
        end.status is VenueStatus.FILLED and end.filled.base == spec.amount and end.amount in (None, spec.amount),
        f"filled up to its new total {spec.amount}, the order is reported {end!r}",
    )


@case(
    "MOD-03",
    "an order that fills while it is amended counts every fill once",
    grade="silver",
    rule="rule 13, R23",
    needs=(Fault.LATE, "fill"),
)
async def race(bench: Bench) -> None:
    """The amendment was written for what was open then. Applied to what is open now, it must not open it again."""
    for wanted in kinds(bench):
        for share in (Decimal("0.25"), Decimal(1)):
            placed, order = await landed(bench, bench.harness.resting(8))
            spec = bench.adapter.check(wanted.change(placed.spec), placed.spec).spec
            ticket = await bench.prepare(Amend(bench.key(), bench.ref(placed), spec))
            placed.tickets.append(ticket)
            alone = Placed(ticket.key, spec, [ticket], bench.clock.now_ms())
            await bench.harness.inject(Fault.LATE, ms=soon(bench, alone))
            outcome = await bench.send(placed, ticket)
            what = f"{wanted.what}, under way while {share} of the order fills"
            expect_unknown(bench, outcome, what)
            await bench.harness.fill(order, order.amount * share)
            await bench.quiet(2)
            await at_rest(bench)
            orders = await bench.truth(placed)
            bench.expect(len(orders) == 1, f"{what}: the venue has {orders!r}")
            report, now = await caught_up(bench, placed)
            bench.expect(
                now.filled_base == order.amount * share and now.live == (share != 1),
                f"{what}: the venue has {now!r}",
            )
            bench.expect(
                done(report).base == now.filled_base
                and report.status is (VenueStatus.WORKING if now.live else VenueStatus.FILLED),
                f"{what}: reported is {report!r}, the venue has {now!r}",
            )
            if now.live:
                await shown_amendment(bench, placed, spec, what)
            await sweep(bench)


@case(
    "MOD-04",
    "at no moment do the old order and the new one both live",
    grade="silver",
    rule="rule 13, R24",
)
async def never_two(bench: Bench) -> None:
    """Cancel-and-place sold as an amendment: for a moment the desk has two orders, or none, and if the second request
    is lost it stays so."""
    faults = (None, Fault.SLOW, Fault.REQUEST_LOST, Fault.ANSWER_LOST, Fault.ERROR_AFTER, Fault.UNAVAILABLE)
    for wanted in kinds(bench):
        for fault in faults:
            if fault is not None and fault not in bench.harness.faults:
                continue
            await _watched(bench, wanted, fault)
            await sweep(bench)


async def _watched(bench: Bench, wanted: Wanted, fault: Fault | None) -> None:
    placed, order = await landed(bench, bench.harness.resting(6))
    before = [each for each in await present(bench) if not each & set(order.ids)]
    spec = bench.adapter.check(wanted.change(placed.spec), placed.spec).spec
    ticket = await bench.prepare(Amend(bench.key(), bench.ref(placed), spec))
    placed.tickets.append(ticket)
    what = wanted.what + (f" under {fault}" if fault else "")
    changes = await bench.harness.changes()
    if fault is Fault.SLOW:
        await bench.harness.inject(fault, times=10, ms=bench.short(100))
    elif fault is not None:
        # A second request of the same submit, which there must not be, is the one that meets it.
        await bench.harness.inject(fault, after=1)
    sending = asyncio.ensure_future(bench.send(placed, ticket))
    most = max(order.amount, spec.amount)
    end = bench.clock.monotonic() + bench.short(600) / 1000
    while bench.clock.monotonic() < end:
        orders = await born(bench, tuple(before))
        live = [each for each in orders if each.live]
        bench.expect(len(live) <= 1, f"{what}: at one moment {len(live)} orders live: {live!r}")
        bench.expect(live, f"{what}: there was a moment without any order: {orders!r}; that is no amendment")
        bench.expect(most_exposed(orders) <= most, f"{what}: at one moment up to {most_exposed(orders)} could fill")
        # Every step of the loop while it is under way, then now and then.
        await (bench.clock.sleep(0.05) if sending.done() else bench.clock.sleep(0.01))
    outcome = await sending
    await bench.harness.clear()
    sent = await bench.harness.changes() - changes
    bench.expect(sent <= 1, f"{what}: one submit made {sent} requests (rule 5); submit {shown(outcome)}")
    bench.expect(outcome.error is None, f"{what}: submit {shown(outcome)}")
    await expect_as_wanted(bench, placed, spec, what)


@case(
    "MOD-05",
    "an amendment whose answer is lost shows in the order, or shows that it is not there",
    grade="silver",
    rule="rule 13: a lost answer shows",
    needs=(Fault.ANSWER_LOST, Fault.REQUEST_LOST),
)
async def answer_lost(bench: Bench) -> None:
    """Nobody knows whether the order is the old or the new one, and the next change is written on a guess."""
    executed = (Fault.ANSWER_LOST, Fault.ERROR_AFTER, Fault.GARBLED)
    for wanted in kinds(bench):
        for fault in (*executed, Fault.REQUEST_LOST, Fault.UNAVAILABLE):
            if fault not in bench.harness.faults:
                continue
            placed, order = await landed(bench, bench.harness.resting(6))
            spec = wanted.change(placed.spec)
            await bench.harness.inject(fault)
            outcome = await bench.amend(placed, spec)
            await bench.harness.clear()
            what = f"{wanted.what} under {fault.value}"
            expect_unknown(bench, outcome, what)
            await at_rest(bench)
            if fault in executed:
                await shown_amendment(bench, placed, spec, what)
                await expect_as_wanted(bench, placed, spec, what)
            else:
                await expect_untouched(bench, placed, order, what)
            await sweep(bench)


@case("MOD-06", "a refused amendment leaves the order as it was", grade="silver", rule="R25: refused amends")
async def refused(bench: Bench) -> None:
    """The price was bad, the change is refused, and the order goes on: unless the adapter takes it for dead, or kills
    it to place a new one."""
    for what, spec, change in _impossible(bench):
        placed, order = await landed(bench, spec)
        await _refused_amendment(bench, placed, change, what)
        await expect_untouched(bench, placed, order, what)
        await sweep(bench)
    if Fault.RATE_LIMIT in bench.harness.faults:
        wanted = kinds(bench)[0]
        placed, order = await landed(bench, bench.harness.resting(6))
        await bench.harness.inject(Fault.RATE_LIMIT, ms=bench.short(500))
        outcome = await bench.amend(placed, wanted.change(placed.spec))
        await bench.harness.clear()
        what = f"{wanted.what}, refused for its rate"
        bench.expect(
            isinstance(outcome.error, RateLimited) or (outcome.effect == "unknown" and by_ledger(placed.ticket)),
            f"{what}: submit {shown(outcome)}",
        )
        await at_rest(bench)
        await expect_untouched(bench, placed, order, what)


def _impossible(bench: Bench) -> list[tuple[str, Spec, Callable[[Spec], Spec]]]:
    """Amendments that the venue must refuse, as far as this one amends so at all, and the orders they are for."""
    out: list[tuple[str, Spec, Callable[[Spec], Spec]]] = []
    names, spec = {wanted.feature for wanted in kinds(bench)}, bench.harness.resting(6)
    if "amend_up" in names:
        out.append(("more than the account can pay", spec, lambda was: resized(bench, was, was.amount * 100_000)))
    if "amend_price" in names and bench.offers("post_only"):
        crosses = "a post-only order moved to where it would trade"
        out.append((crosses, revised(spec, post_only=True), lambda was: dearer(bench, was)))
    if bench.harness.offers("fill") and "amend_down" in names:
        out.append(("less than is filled", spec, lambda was: resized(bench, was, was.amount / 3)))
        out.append(("exactly what is filled", spec, lambda was: resized(bench, was, was.amount / 2)))
    return out


async def _refused_amendment(bench: Bench, placed: Placed, change: Callable[[Spec], Spec], what: str) -> None:
    if what.endswith("is filled"):
        order = await bench.one(placed)
        await bench.harness.fill(order, order.amount / 2)
        await caught_up(bench, placed)
    try:
        outcome = await bench.amend(placed, change(placed.spec))
    except (InvalidOrder, NoEffect) as error:
        outcome = Outcome(error=error)  # known before it was sent
    await settled(bench)
    allowed = outcome.effect == "none" or by_ledger(placed.ticket)
    bench.expect(allowed or what.endswith("is filled"), f"{what}: submit {shown(outcome)}; a refusal is a Rejected")


@case(
    "MOD-07",
    "every declared kind of amendment does what it says",
    grade="silver",
    rule="amend_price, amend_up, amend_down",
)
async def as_declared(bench: Bench) -> None:
    """A change that is declared, taken, and then only half done leaves an order that nobody has asked for."""
    wanted = kinds(bench)
    both = [first for first in wanted if first.feature != "amend_price"]
    if any(each.feature == "amend_price" for each in wanted) and both:
        moved = next(each for each in wanted if each.feature == "amend_price")
        wanted += [
            Wanted(f"{moved.feature} and {each.feature}", f"{each.what} at another price", _both(moved, each))
            for each in both
        ]
    for each in wanted:
        placed, _ = await landed(bench, bench.harness.resting(6))
        spec = bench.adapter.check(each.change(placed.spec), placed.spec).spec
        outcome = await bench.amend(placed, spec)
        bench.expect(outcome.error is None, f"{each.what}: submit {shown(outcome)}")
        await shown_amendment(bench, placed, spec, each.what)
        await expect_as_wanted(bench, placed, spec, each.what)
        await sweep(bench)


def _both(first: Wanted, second: Wanted) -> Callable[[Spec], Spec]:
    return lambda was: second.change(first.change(was))


@case("MOD-08", "an amendment of an order that is over makes nothing", grade="silver", rule="UnknownTarget")
async def too_late(bench: Bench) -> None:
    """Cancelled a moment ago, the order comes back to life as the amendment's."""
    wanted = kinds(bench)[0]
    filled, _ = await landed(bench, bench.harness.crossing(6))
    cancelled, _ = await landed(bench, bench.harness.resting(6))
    await bench.cancel(cancelled)
    await bench.ended(cancelled)
    never = Placed(bench.key(), cancelled.spec, [], bench.clock.now_ms())
    for placed, what in ((filled, "filled"), (cancelled, "cancelled"), (never, "never there")):
        before, ends = await present(bench), orders_in(await bench.look(placed)) if placed.ids else []
        try:
            spec = wanted.change(placed.spec)
            outcome = await bench.amend(placed, spec)
        except (InvalidOrder, NoEffect) as error:
            outcome = Outcome(error=error)
        await at_rest(bench)
        fresh = await born(bench, before)
        bench.expect(not fresh, f"the amendment of an order that was {what} made {fresh!r}; submit {shown(outcome)}")
        harmless = isinstance(outcome.error, (UnknownTarget, Rejected, NoEffect, InvalidOrder))
        bench.expect(
            harmless or by_ledger(filled.ticket),
            f"the amendment of an order that was {what}: submit {shown(outcome)}; it found no order: UnknownTarget",
        )
        if ends:
            again = await bench.ended(placed)
            bench.expect(
                (again.status, again.filled) == (ends[0].status, ends[0].filled),
                f"an order that was {what} was reported {ends[0]!r}; after an amendment {again!r}",
            )


@case("MOD-09", "what an amendment cannot change is refused, not left out", grade="bronze", rule="rule 18: check(was)")
async def whole_or_not(bench: Bench) -> None:
    """A desk that turns an order to the other side, and is told that it is done, has the opposite of what it wants."""
    wanted = kinds(bench)[0]
    was = bench.adapter.check(bench.harness.resting(6)).spec
    offered = [tif for tif in (TimeInForce.IOC, TimeInForce.DAY) if bench.offers(tif.lower()) and tif is not was.tif]
    changes: list[dict[str, object]] = [
        {"side": Side.SELL if was.side is Side.BUY else Side.BUY},
        {"reduce_only": True},
    ]
    changes += [{"tif": tif} for tif in offered]
    changes += [{"post_only": not was.post_only}] if bench.offers("post_only") else []
    changes += [{"display": bench.market.amounts.step}] if bench.offers("iceberg") else []
    fields = ("side", "tif", "post_only", "display", "reduce_only")
    for spec in (revised(order, **change) for order in (was, wanted.change(was)) for change in changes):
        try:
            sent = bench.adapter.check(spec, was).spec
        except (Unsupported, InvalidOrder):
            continue
        dropped = [name for name in fields if getattr(sent, name) != getattr(spec, name)]
        bench.expect(
            not dropped,
            f"check() takes {spec!r} as an amendment of {was!r}, and would send {sent!r}: "
            f"{', '.join(dropped)} left out",
        )
