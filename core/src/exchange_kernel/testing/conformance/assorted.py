"""One order of every sort there is: open, partly filled, filled, cancelled, amended."""

from __future__ import annotations

from exchange_kernel.testing.conformance.amending import offered, shown_amendment
from exchange_kernel.testing.conformance.bench import Bench, Placed
from exchange_kernel.testing.conformance.evidence import landed
from exchange_kernel.testing.conformance.executions import sold_in_parts
from exchange_kernel.testing.conformance.harness import TruthOrder
from exchange_kernel.testing.conformance.telling import complete, done, sums
from exchange_kernel.value import Value
from exchange_kernel.venue import OrderReport, VenueStatus

__all__ = ["Sort", "assorted", "expect_told_whole"]


class Sort(Value, frozen=True):
    """``what`` it is, in words, and the order."""

    what: str
    placed: Placed


async def assorted(bench: Bench) -> list[Sort]:
    """Make them, one after the other: who trades with what rests trades with the oldest first."""
    harness = bench.harness
    out = [Sort("filled at once", (await landed(bench, harness.crossing(2)))[0])]
    await bench.ended(out[0].placed)
    gone, _ = await landed(bench, harness.resting(2))
    await bench.cancel(gone)
    await bench.ended(gone)
    out.append(Sort("cancelled", gone))
    if harness.offers("fill"):
        filled, _ = await sold_in_parts(bench, harness.resting(4), 2)
        await bench.ended(filled)
        out.append(Sort("filled in two parts", filled))
        half, _ = await sold_in_parts(bench, harness.resting(4), 1, of=2)
        await bench.cancel(half)
        await bench.ended(half)
        out.append(Sort("half filled and cancelled", half))
        part, _ = await sold_in_parts(bench, harness.resting(6), 1, of=3)
        out.append(Sort("partly filled", part))
    if harness.offers("elsewhere"):
        away, _ = await landed(bench, harness.elsewhere())
        await bench.cancel(away)
        await bench.ended(away)
        out.append(Sort("cancelled in another market", away))
    out.append(Sort("open", (await landed(bench, harness.resting(3)))[0]))
    changes = offered(bench)
    if changes:
        changed, _ = await landed(bench, harness.resting(8))
        wanted = changes[-1]
        spec = wanted.change(changed.spec)
        await bench.amend(changed, spec)
        await shown_amendment(bench, changed, spec, wanted.what)
        out.append(Sort("amended", changed))
    return out


def expect_told_whole(bench: Bench, report: OrderReport, order: TruthOrder, what: str) -> None:
    """A report is the venue's order: its state, what is executed of it, and every fill."""
    right: tuple[VenueStatus, ...] = (VenueStatus.WORKING,)
    if not order.live:
        # The venue's record may keep the largest total an order ever had, so a smaller fill may be all of it.
        right = (VenueStatus.FILLED, VenueStatus.CANCELED, VenueStatus.EXPIRED)
        right = right[:1] if order.filled_base == order.amount else right
        right = right[1:] if not order.filled_base else right
    bench.expect(report.status in right, f"{what}: {report!r}; the venue has {order!r}")
    bench.expect(
        (done(report).base, done(report).quote) == (order.filled_base, order.filled_quote),
        f"{what}: executed is {done(report)}; the venue has {order!r}",
    )
    bench.expect(
        sums(report.fills) == done(report) and not complete(report),
        f"{what}: its fills make {sums(report.fills)}; the venue has {order!r}; {complete(report)}",
    )
