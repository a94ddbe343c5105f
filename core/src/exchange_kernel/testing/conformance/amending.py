"""Amendments of each kind a venue declares, and what must be seen of them afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

from exchange_kernel.errors import Unsupported
from exchange_kernel.schema import Side, SupportLevel
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.testing.conformance.bench import Bench, Inapplicable, Placed
from exchange_kernel.testing.conformance.harness import TruthOrder
from exchange_kernel.testing.conformance.telling import done, orders_in
from exchange_kernel.value import Value, revised
from exchange_kernel.venue import OrderReport, Spec, VenueStatus

__all__ = [
    "AMENDS",
    "Wanted",
    "amends",
    "dearer",
    "expect_as_wanted",
    "expect_untouched",
    "kinds",
    "most_exposed",
    "offered",
    "resized",
    "shown_amendment",
]

AMENDS = ("amend_price", "amend_up", "amend_down")


class Wanted(Value, frozen=True):
    """One kind of amendment: the capability, in words, and the change, which can be made again and again."""

    feature: str
    what: str
    change: Callable[[Spec], Spec]


def kinds(bench: Bench) -> list[Wanted]:
    """One amendment of each kind that is offered; none of them trades. Raises Inapplicable where there is none."""
    found = offered(bench)
    if not found:
        raise Inapplicable(f"{bench.harness.symbol} does not amend orders that rest")
    return found


def offered(bench: Bench) -> list[Wanted]:
    """As :func:`kinds`. Of what is declared in part, what check() takes of the harness' resting orders."""
    made = (
        Wanted("amend_price", "another price", lambda was: _away(bench, was)),
        Wanted("amend_up", "more of it", lambda was: resized(bench, was, was.amount * 3 / 2)),
        Wanted("amend_down", "less of it", lambda was: resized(bench, was, was.amount * 3 / 4)),
    )
    return [each for each in made if bench.offers(each.feature) and _taken(bench, each)]


def amends(bench: Bench, feature: str) -> bool:
    """Is a resting order changed so here?"""
    return any(each.feature == feature for each in offered(bench))


def _taken(bench: Bench, wanted: Wanted) -> bool:
    if bench.support(wanted.feature).level is SupportLevel.NATIVE:
        return True
    was = bench.adapter.check(bench.harness.resting(8)).spec
    try:
        bench.adapter.check(wanted.change(was), was)
    except Unsupported:
        return False
    return True


def resized(bench: Bench, was: Spec, amount: Decimal) -> Spec:
    """The order with another total, on the market's grid."""
    step = bench.market.amounts.step
    return revised(was, amount=EXACT.multiply(amount // step, step))


def _away(bench: Bench, was: Spec) -> Spec:
    """The order at a price at which it trades even less."""
    if was.limit is None:
        raise Inapplicable("the harness' resting orders have no limit price")
    away = Decimal("0.98") if was.side is Side.BUY else Decimal("1.02")
    return bench.adapter.check(bench.harness.near(revised(was, limit=EXACT.multiply(was.limit, away)))).spec


def dearer(bench: Bench, was: Spec) -> Spec:
    """The order at a price at which it would trade at once."""
    return revised(was, limit=bench.adapter.check(bench.harness.crossing()).spec.limit)


async def shown_amendment(bench: Bench, placed: Placed, spec: Spec, what: str) -> OrderReport:
    """Look until the order shows the amendment; its report."""
    exact = bench.adapter.check(spec).spec
    last: list[OrderReport] = []

    async def shows() -> OrderReport | None:
        last[:] = orders_in(await bench.look(placed))
        same = [r for r in last if r.amount in (None, exact.amount) and r.price in (None, exact.limit)]
        return next((r for r in same if r.status is VenueStatus.WORKING), None)

    report: OrderReport = await bench.until(shows, f"{what}: lookup shows {exact!r}")
    bench.expect(
        report.amount is not None or report.applied is not None,
        f"{what}: the report shows neither amount nor the key of the amendment, so nobody can tell whether it has "
        f"arrived: {report!r}",
    )
    return report


async def expect_as_wanted(bench: Bench, placed: Placed, spec: Spec, what: str) -> None:
    """The venue's one order of the attempt has the new price; and exactly the new total can fill, no more."""
    exact = bench.adapter.check(spec).spec
    order = await bench.one(placed)
    bench.expect(order.live, f"{what}: the order is over: {order!r}")
    bench.expect(order.price in (None, exact.limit), f"{what}: the limit was to be {exact.limit}; it is {order!r}")
    if not bench.harness.offers("fill"):
        return
    # The venue's record may keep the largest total there was: what fills it up tells.
    step = bench.market.amounts.step
    await bench.harness.fill(order, exact.amount - step - order.filled_base)
    order = await bench.one(placed)
    bench.expect(order.live, f"{what}: the total was to be {exact.amount}; with less filled it is over: {order!r}")
    await bench.harness.fill(order, step)
    order = await bench.one(placed)
    bench.expect(
        not order.live and order.filled_base == exact.amount,
        f"{what}: the total was to be {exact.amount}; with as much filled the venue has {order!r}",
    )


async def expect_untouched(bench: Bench, placed: Placed, before: TruthOrder, what: str) -> None:
    """The order lives as it was before, and is reported so."""
    order = await bench.one(placed)
    # Where the total was to be what is filled, or less, ending the order is the other way to do that.
    ended = what.endswith("is filled") and not order.live
    bench.expect(order.live or ended, f"{what}: the order is over: {order!r}")
    bench.expect(
        order.price == before.price and order.amount == before.amount and order.filled_base <= order.amount,
        f"{what}: the order was {before!r}, it is {order!r}",
    )
    keys = [ticket.key for ticket in placed.tickets[1:]]

    async def shows() -> OrderReport | None:
        reports = orders_in(await bench.look(placed))
        return next((r for r in reports if done(r).base == order.filled_base), None)

    for _ in range(2):
        report: OrderReport = await bench.until(shows, f"{what}: lookup shows {order!r}")
        bench.expect(
            report.status.terminal == (not order.live), f"{what}: the order is {order!r}, reported is {report!r}"
        )
        same = report.amount in (None, placed.spec.amount) and report.price in (None, placed.spec.limit)
        bench.expect(same or ended, f"{what}: the order stays {placed.spec!r}; reported is {report!r}")
        bench.expect(
            report.applied not in keys or ended, f"{what}: it was not applied, and the report says it was: {report!r}"
        )
        await bench.quiet(1)


def most_exposed(orders: Sequence[TruthOrder]) -> Decimal:
    """The most that all of these can come to fill: what has filled, and what their totals leave."""
    return sum((order.amount if order.live else order.filled_base for order in orders), Decimal(0))
