"""Finding an order again with nothing but its ticket, as after a crash."""

from __future__ import annotations

from collections.abc import Sequence

from exchange_kernel.errors import Unavailable
from exchange_kernel.reconcile.proof import shows_dead
from exchange_kernel.testing.conformance.bench import Bench, Placed
from exchange_kernel.testing.conformance.evidence import Ids, adopt, blind, settled
from exchange_kernel.testing.conformance.harness import TruthOrder
from exchange_kernel.venue import Absent, Found, Lookup, OrderReport, Ref, Unsure


def names(answer: Lookup | None, order: TruthOrder, others: Sequence[TruthOrder] = ()) -> bool:
    """Does a lookup's answer show this order of the venue? ``others`` may share some of its ids."""
    reports: Sequence[object] = answer.reports if isinstance(answer, Found) else ()
    own = set(order.ids) - {vid for other in others if other is not order for vid in other.ids}
    return any(isinstance(r, OrderReport) and {r.id, *r.links} & (own or set(order.ids)) for r in reports)


async def recovered(bench: Bench, placed: Placed, before: Ids, what: str) -> None:
    """After ``what``, a kernel that has only the ticket finds the venue's one order, as it is there."""
    await settled(bench)
    orders = await adopt(bench, placed, before)
    bench.expect(len(orders) == 1, f"{what}: the venue has {len(orders)} orders, not one")
    order = orders[0]
    if not bench.offers("find_by_key"):
        answer = await bench.ask(bench.adapter.lookup(blind(placed)))
        bench.expect(
            not isinstance(answer, Absent) or not shows_dead(blind(placed), answer, bench.opened),
            f"{what}: the order is at the venue, and {answer!r} proves that it cannot be",
        )
        if isinstance(answer, Unsure) and answer.candidates:
            bench.expect(
                any({r.id, *r.links} & set(order.ids) for r in answer.candidates),
                f"{what}: the order at the venue is not among the candidates {answer.candidates!r}",
            )
        known = await bench.look(placed)
        bench.expect(names(known, order), f"{what}: its ids are known, the venue has {order!r}; lookup: {known!r}")
        return

    async def there() -> bool:
        answer = await bench.ask(bench.adapter.lookup(blind(placed)))
        if isinstance(answer, Absent) and shows_dead(blind(placed), answer, bench.opened):
            bench.fail(f"{what}: the order is at the venue as {order!r}, and {answer!r} proves that it cannot be")
        return names(answer, order)

    await bench.until(there, f"{what}: lookup by the key alone shows {order!r}")
    report = await bench.found(placed)
    done = report.filled.base + report.tentative.base
    bench.expect(report.key == placed.key, f"the report's key is {report.key!r}, the attempt's is {placed.key!r}")
    bench.expect(
        done == order.filled_base and report.status.terminal == (not order.live),
        f"{what}: lookup says {report.status.value}, {done} filled; the venue has {order!r}",
    )


async def try_look(bench: Bench, ref: Ref) -> Lookup | None:
    """One lookup's answer, None where it is Unavailable."""
    try:
        answer: Lookup = await bench.ask(bench.adapter.lookup(ref))
    except Unavailable:
        return None
    return answer
