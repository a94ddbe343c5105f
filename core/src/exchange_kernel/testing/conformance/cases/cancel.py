"""Ending an order: what a cancel does, what it is not to touch, and when it may be said to have worked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from exchange_kernel.errors import NotSent, RateLimited, UnknownTarget, Unsupported
from exchange_kernel.schema import SupportLevel
from exchange_kernel.testing.conformance.bench import PATIENCE_S, Bench, Outcome, Placed
from exchange_kernel.testing.conformance.evidence import (
    adopt,
    blind,
    born,
    expect_unknown,
    landed,
    present,
    settled,
    shown,
    soon,
    told,
)
from exchange_kernel.testing.conformance.executions import expect_its_terms
from exchange_kernel.testing.conformance.harness import Fault, TruthOrder
from exchange_kernel.testing.conformance.registry import case
from exchange_kernel.testing.conformance.sweeping import sweep
from exchange_kernel.testing.conformance.telling import told_of
from exchange_kernel.venue import Cancel, CancelAll, Found, OrderReport, StepReport, VenueStatus, Why

OWN = (Why.NONE, Why.USER, Why.OTHER, Why.REPLACED)
"""Why an order may have ended whose cancel was sent, and nothing else happened to it."""
HARMLESS = (UnknownTarget, NotSent, RateLimited)
"""How a cancel without effect may fail, where the venue said so."""


def _sum(report: OrderReport) -> object:
    return report.filled.base + report.tentative.base


async def _true_end(bench: Bench, placed: Placed, report: OrderReport) -> TruthOrder:
    """The end a lookup reports is the venue's: state, quantities, and every fill that makes them up."""
    order = await bench.one(placed)
    full = order.filled_base == order.amount
    bench.expect(not order.live, f"lookup reports {report!r}, and the venue's order is live: {order!r}")
    bench.expect(
        (report.filled.base, report.filled.quote) == (order.filled_base, order.filled_quote),
        f"lookup reports {report.filled!r} filled, the venue {order!r}",
    )
    bench.expect(
        report.status is (VenueStatus.FILLED if full else VenueStatus.CANCELED),
        f"lookup reports the end {report.status.value}, the venue has {order!r}",
    )
    parts = [(fill.base, fill.quote) for fill in {fill.id: fill for fill in report.fills}.values()]
    bench.expect(
        sum(base for base, _ in parts) == order.filled_base and sum(quote for _, quote in parts) == order.filled_quote,
        f"the terminal report of a lookup carries all fills (rule 9): {report.fills!r} do not make up {order!r}",
    )
    ends = {each.status for each in told(bench, placed) if each.final and each.status.terminal}
    bench.expect(len(ends) <= 1, f"one order was reported to have ended finally as {sorted(ends)}")
    for each in told(bench, placed):
        bench.expect(
            not (each.final and each.status.terminal) or each.filled.base == order.filled_base,
            f"a final report says {each.filled!r} filled, the venue {order!r}: {each!r}",
        )
    return order


def _not_a_verdict(bench: Bench, outcome: Outcome, what: str) -> None:
    """A cancel that found nothing to cancel says so as UnknownTarget, or says nothing."""
    bench.expect(
        outcome.effect != "none" or isinstance(outcome.error, HARMLESS),
        f"{what}: cancel {shown(outcome)}; a refused cancel is UnknownTarget, it never ends an order as rejected "
        "(rule 14)",
    )


@case("CXL-01", "a cancel ends its order, and no other", grade="silver", rule="rule 14")
async def ends_its_order(bench: Bench) -> None:
    """A cancel that reaches further than its order takes somebody else's quotes off the book."""
    first, _ = await landed(bench, bench.harness.resting(1))
    target, _ = await landed(bench, bench.harness.resting(2))
    last, _ = await landed(bench, bench.harness.resting(3))
    others = [await bench.one(first), await bench.one(last)]
    outcome = await bench.cancel(target)
    bench.expect(outcome.effect == "done", f"cancel of an open order {shown(outcome)}")
    await settled(bench)
    now = [await bench.one(first), await bench.one(last)]
    bench.expect(now == others, f"the cancel of one order changed others: {others!r} became {now!r}")
    report = await bench.ended(target)
    bench.expect(report.status is VenueStatus.CANCELED, f"a cancelled order is reported {report.status.value}")
    strange = [(source, r.why) for source, r in told_of(bench, target) if r.status.terminal and r.why not in OWN]
    bench.expect(not strange, f"a cancelled order is said to have ended for another reason: {strange!r}")
    await _true_end(bench, target, report)


@case("CXL-02", "a second cancel is harmless", grade="silver", rule="rule 14")
async def twice(bench: Bench) -> None:
    """Cancels are sent again until the order has ended; the second must not turn its end into something else."""
    placed, _ = await landed(bench)
    await bench.cancel(placed)
    await bench.ended(placed)
    for _ in range(2):
        _not_a_verdict(bench, await bench.cancel(placed), "the order was cancelled before")
        await settled(bench)
    report = await bench.ended(placed)
    bench.expect(report.status is VenueStatus.CANCELED, f"after two more cancels the order is {report.status.value}")
    await _true_end(bench, placed, report)
    # Both on their way at once, as after a lost answer.
    placed, _ = await landed(bench, bench.harness.resting(2))
    tickets = [await bench.prepare(Cancel(bench.key(), bench.ref(placed))) for _ in range(2)]
    placed.tickets += tickets
    for outcome in await asyncio.gather(*(bench.send(placed, ticket) for ticket in tickets)):
        _not_a_verdict(bench, outcome, "two cancels at once")
    await _true_end(bench, placed, await bench.ended(placed))


@case("CXL-03", "the cancel of a filled order leaves it filled", grade="silver", rule="rule 14")
async def filled_before(bench: Bench) -> None:
    """The order filled while the cancel was written: it must go on counting as bought."""
    placed, order = await landed(bench, bench.harness.crossing(2))
    bench.expect(order.filled_base == order.amount, f"the harness' crossing order did not fill: {order!r}")
    outcome = await bench.cancel(placed)
    _not_a_verdict(bench, outcome, "the order had filled")
    await settled(bench)
    report = await bench.ended(placed)
    bench.expect(report.status is VenueStatus.FILLED, f"after a cancel a filled order is reported {report!r}")
    await _true_end(bench, placed, report)


@case("CXL-04", "a cancel that finds no order says only that", grade="silver", rule="rule 14: UnknownTarget")
async def unknown_target(bench: Bench) -> None:
    """The order may be late on its way; reported as cancelled, it is given up, and then it is filled."""
    nobody = Placed(bench.key(), bench.adapter.check(bench.harness.resting()).spec, [], bench.clock.now_ms())
    outcome = await bench.cancel(nobody)
    _claims_nothing(bench, nobody, outcome, "nothing was ever placed under this key")
    await settled(bench)
    if nobody.tickets:
        answer = await bench.ask(bench.adapter.lookup(blind(nobody)))
        ended = isinstance(answer, Found) and any(isinstance(r, OrderReport) for r in answer.reports)
        bench.expect(not ended, f"after the cancel of an order that never was, lookup answers {answer!r}")
    if Fault.LATE not in bench.harness.faults:
        return
    placed, before = await bench.ticket_for(bench.harness.resting(2)), await present(bench)
    await bench.harness.inject(Fault.LATE, ms=soon(bench, placed))
    await bench.send(placed)
    cancel = await bench.cancel(placed)
    if not await born(bench, before):
        _claims_nothing(bench, placed, cancel, "the order is still on its way")

    if placed.ticket.slot is not None and all(ticket.slot == placed.ticket.slot for ticket in placed.tickets):
        # Both spend one number: whichever comes first is the one that ever does.
        await settled(bench)
        if not await adopt(bench, placed, before):
            return

    async def there() -> bool:
        return bool(await adopt(bench, placed, before))

    await bench.until(there, "the late order arrives")
    await settled(bench)
    order = await bench.one(placed)
    if bench.offers("find_by_key"):
        report = await bench.found(placed)
        bench.expect(
            report.status.terminal != order.live,
            f"a cancel overtook its order ({shown(cancel)}); now the venue has {order!r}, and lookup says {report!r}",
        )


def _claims_nothing(bench: Bench, placed: Placed, outcome: Outcome, what: str) -> None:
    _not_a_verdict(bench, outcome, what)
    ack = outcome.ack
    if ack is None:
        return
    ended = [r for r in ack.reports if isinstance(r, OrderReport) or (isinstance(r, StepReport) and r.state == "done")]
    bench.expect(
        ack.stage != "decided" and not ended,
        f"{what}: cancel {shown(outcome)}, which reads as success; raise UnknownTarget: the order may be anywhere",
    )


@case(
    "CXL-05",
    "an order that fills while it is cancelled ends once, with every fill",
    grade="silver",
    rule="rule 9, rule 10",
    needs=(Fault.LATE, "fill"),
)
async def race(bench: Bench) -> None:
    """The end reported by the cancel, with what was filled before it was sent, loses what was filled since."""
    for share in (2, 1):
        placed, order = await landed(bench, bench.harness.resting(2))
        async with bench.watching() as watch:
            await bench.harness.inject(Fault.LATE, ms=soon(bench, placed))
            outcome = await bench.cancel(placed)
            await bench.harness.fill(order, order.amount / share)
            report = await bench.ended(placed)
        full = share == 1
        _not_a_verdict(bench, outcome, "the cancel was under way")
        bench.expect(
            report.status is (VenueStatus.FILLED if full else VenueStatus.CANCELED),
            f"{'all' if full else 'half'} of it filled before the cancel arrived; lookup reports {report!r}",
        )
        await _true_end(bench, placed, report)
        ends = {r.status for r in watch.reports if r.key == placed.key and r.status.terminal and r.final}
        bench.expect(len(ends) <= 1, f"the stream reported two ends: {sorted(ends)}")


@case(
    "CXL-06",
    "an order is reported cancelled only when it is",
    grade="silver",
    rule="rule 10, rule 14",
    needs=(Fault.LATE, Fault.REQUEST_LOST, Fault.UNAVAILABLE),
)
async def only_when_true(bench: Bench) -> None:
    """Reported cancelled at the request, the order is replaced; then both fill."""
    for fault in (Fault.LATE, Fault.REQUEST_LOST, Fault.UNAVAILABLE, None):
        placed, _ = await landed(bench)
        async with bench.watching():
            if fault is not None:
                await bench.harness.inject(fault, ms=soon(bench, placed) if fault is Fault.LATE else 0)
            outcome = await bench.cancel(placed)
            if fault in (Fault.REQUEST_LOST, Fault.UNAVAILABLE):
                await bench.harness.clear()
            if fault is not None:
                expect_unknown(bench, outcome, f"a cancel under {fault.value}")
            lives = fault in (Fault.REQUEST_LOST, Fault.UNAVAILABLE)
            await _no_false_end(bench, placed, outcome, bench.short(2_000) / 1000 if lives else PATIENCE_S, lives=lives)
        if lives:
            await sweep(bench)
        report = await bench.ended(placed)
        bench.expect(report.status is VenueStatus.CANCELED, f"the cancelled order is reported {report!r}")
        await _true_end(bench, placed, report)


async def _no_false_end(bench: Bench, placed: Placed, outcome: Outcome, seconds: float, *, lives: bool) -> None:
    """While the venue's order is live nobody says otherwise. ``lives``: it stays so for all this time."""
    end = bench.clock.monotonic() + seconds
    while bench.clock.monotonic() < end:
        await bench.look(placed)
        order = await bench.one(placed)
        if not order.live:
            bench.expect(not lives, f"a cancel that never arrived, or was not executed, ended {order!r}")
            return
        false = [report for report in told(bench, placed) if report.status.terminal]
        bench.expect(
            not false, f"the venue's order is live, {order!r}; reported was {false!r}; cancel {shown(outcome)}"
        )
        await bench.quiet(0.1)
    bench.expect(lives, f"the cancelled order was still live at the venue after {seconds:g} s")


@case(
    "CXL-07",
    "a cancel whose answer is lost converges",
    grade="silver",
    rule="rule 6, rule 14",
    needs=(Fault.ANSWER_LOST, Fault.ERROR_AFTER, Fault.GARBLED),
)
async def answer_lost(bench: Bench) -> None:
    """Nobody knows whether it worked: lookup must show it, and a further cancel must do no harm."""
    for fault in (Fault.ANSWER_LOST, Fault.ERROR_AFTER, Fault.GARBLED):
        placed, _ = await landed(bench)
        await bench.harness.inject(fault)
        outcome = await bench.cancel(placed)
        await bench.harness.clear()
        expect_unknown(bench, outcome, f"a cancel under {fault.value}")
        _not_a_verdict(bench, await bench.cancel(placed), f"a cancel after one under {fault.value}")
        report = await bench.ended(placed)
        bench.expect(report.status is VenueStatus.CANCELED, f"after {fault.value} the order is reported {report!r}")
        await _true_end(bench, placed, report)


@case(
    "CXL-08",
    "cancel_all touches only what it names",
    grade="silver",
    rule="R22",
    needs=("elsewhere",),
    features=("cancel_all",),
)
async def cancel_all(bench: Bench) -> None:
    """Everything in this market, where it means everything takes the hedge off in another."""
    here = [(await landed(bench, bench.harness.resting(n)))[0] for n in (1, 2)]
    there, other = await landed(bench, bench.harness.elsewhere())
    taken = 0
    for symbol, gone in ((bench.harness.symbol, here), (None, [*here, there])):
        before = await present(bench)
        try:
            ticket = await bench.prepare(CancelAll(bench.key(), symbol))
        except Unsupported as error:
            partial = bench.support("cancel_all").level is SupportLevel.PARTIAL
            bench.expect(partial and error.feature == "cancel_all", f"cancel_all({symbol!r}) is declared: {error!r}")
            continue
        taken += 1
        helper = Placed(ticket.key, there.spec, [ticket], there.placed_at)
        outcome = await bench.send(helper)
        bench.expect(outcome.effect == "done", f"cancel_all({symbol!r}) {shown(outcome)}")
        await _all_ended(bench, gone, f"cancel_all({symbol!r})")
        bench.expect(before == await present(bench), f"cancel_all({symbol!r}) made orders")
        if symbol is not None:
            now = await bench.one(there)
            bench.expect(now == other, f"cancel_all({symbol!r}) changed {other!r}, which is elsewhere, to {now!r}")
    bench.expect(taken, "cancel_all is declared, and refused with a symbol and without")


async def _all_ended(bench: Bench, attempts: Iterable[Placed], what: str) -> None:
    for placed in attempts:

        async def over(placed: Placed = placed) -> bool:
            return not (await bench.one(placed)).live

        await bench.until(over, f"{what} ends {placed.spec!r}")
        await _true_end(bench, placed, await bench.ended(placed))


@case(
    "CXL-09",
    "the end of an order that was partly filled carries its fills",
    grade="silver",
    rule="rule 9",
    needs=("fill",),
)
async def partly_filled(bench: Bench) -> None:
    """Cancelled with half of it bought: the half that the last report leaves out is a position nobody knows of."""
    for portions in (1, 2):
        placed, order = await landed(bench, bench.harness.resting(4))
        for _ in range(portions):
            await bench.harness.fill(order, order.amount / 4)
        await settled(bench)
        await bench.cancel(placed)
        report = await bench.ended(placed)
        ended = await _true_end(bench, placed, report)
        expect_its_terms(bench, placed)
        bench.expect(ended.filled_base == order.amount * portions / 4, f"the cancel changed what was filled: {ended!r}")
        blindly = await bench.ask(bench.adapter.lookup(blind(placed)))
        if isinstance(blindly, Found):
            same = [r for r in blindly.reports if isinstance(r, OrderReport)]
            bench.expect(
                len(same) == 1 and {fill.id for fill in same[0].fills} == {fill.id for fill in report.fills},
                f"found by its key alone the order reads {blindly!r}, found by its ids {report!r}",
            )
