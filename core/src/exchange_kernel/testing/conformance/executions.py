"""What must hold of single fills, and of all fills of several orders together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from exchange_kernel.errors import Rejected
from exchange_kernel.schema import Side
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.testing.conformance.bench import Bench, Placed
from exchange_kernel.testing.conformance.evidence import adopt, by_ledger, landed, present, settled, shown
from exchange_kernel.testing.conformance.harness import TruthOrder
from exchange_kernel.testing.conformance.listening import Ear
from exchange_kernel.testing.conformance.telling import complete, done, fills_of, orders_in, sums, told_of
from exchange_kernel.venue import Fill, OrderReport, Spec, VenueStatus

__all__ = [
    "corrected",
    "expect_its_terms",
    "expect_sound",
    "expect_unique",
    "never_rests",
    "sold_apart",
    "sold_in_parts",
    "whole_report",
]


SECOND_MS = 1_000
"""Some venues date their fills in whole seconds."""


async def sold_in_parts(bench: Bench, spec: Spec, parts: int, of: int | None = None) -> tuple[Placed, TruthOrder]:
    """A resting order, and somebody who trades ``parts`` of the ``of`` equal portions that make it, one by one."""
    placed, order = await landed(bench, spec)
    for _ in range(parts):
        await bench.harness.fill(order, order.amount / (of or parts))
    order = await bench.one(placed)
    bench.expect(
        order.filled_base == order.amount * parts / (of or parts),
        f"the harness' fill() was to trade {parts} of {of or parts} parts of an order; the venue has {order!r}",
    )
    return placed, order


async def whole_report(bench: Bench, placed: Placed, order: TruthOrder) -> OrderReport:
    """Look until lookup shows what is executed; the report, whose fills must be all there are."""

    async def shows() -> OrderReport | None:
        return next((r for r in orders_in(await bench.look(placed)) if done(r).base == order.filled_base), None)

    report: OrderReport = await bench.until(shows, f"lookup shows what is executed of {order!r}")
    bench.expect(done(report).quote == order.filled_quote, f"lookup says {done(report)} is executed of {order!r}")
    return report


async def sold_apart(bench: Bench, spec: Spec) -> Placed:
    """A resting order that trades in two halves, a while apart; each keeps the time at which it traded."""
    placed, order = await landed(bench, spec)
    error, moments = bench.opened.clock_error + SECOND_MS, list[int]()
    for _ in range(2):
        moments.append(_venue_ms(bench))
        await bench.harness.fill(order, order.amount / 2)
        await settled(bench)
        await whole_report(bench, placed, await bench.one(placed))
        moments.append(_venue_ms(bench))
        await bench.quiet(5)
    report = await bench.ended(placed)
    if len(report.fills) == 2:
        for place, fill in enumerate(sorted(report.fills, key=lambda each: each.at)):
            began, over = moments[2 * place : 2 * place + 2]
            bench.expect(
                began - error <= fill.at <= over + error,
                f"half of an order traded between {began} and {over} (venue ms), and its fill is told as of {fill.at}: "
                f"{report!r}",
            )
    return placed


def _venue_ms(bench: Bench) -> int:
    return bench.clock.now_ms() + bench.opened.clock_offset


def expect_its_terms(bench: Bench, placed: Placed) -> None:
    """Amount and price of a report are the order's, however much of it has traded."""
    for source, report in told_of(bench, placed):
        bench.expect(
            report.amount in (None, placed.spec.amount) and report.price in (None, placed.spec.limit),
            f"{source}: an order for {placed.spec.amount} at {placed.spec.limit} is reported as {report!r}: its amount "
            "is the total, and its price the limit, whatever has traded",
        )


def expect_sound(bench: Bench, fill: Fill, side: Side, limit: Decimal | None, source: str) -> None:
    """One execution: numbers that fit each other, fees that say of what."""
    what = f"{source} tells of {fill!r}: "
    bench.expect(fill.id.strip(), what + "it has no id")
    bench.expect(fill.base > 0 and fill.quote > 0, what + "nothing was exchanged for something")
    bench.expect(fill.price > 0, what + "an execution has a price")
    # A venue rounds the quote, or an average price: never by more than a unit of the last place it shows.
    off = abs(EXACT.subtract(EXACT.multiply(fill.price, fill.base), fill.quote))
    places = [number.as_tuple().exponent for number in (fill.price, fill.quote)]
    unit = max(EXACT.multiply(_unit(places[0]), fill.base), _unit(places[1]))
    bench.expect(off <= unit, what + f"price times base is not its quote, by {off}")
    if limit is not None:
        worse = fill.price > limit if side is Side.BUY else fill.price < limit
        bench.expect(not worse, what + f"worse than the limit {limit} of its order")
    for fee in fill.fees:
        bench.expect(fee.asset.strip(), what + "a fee that does not say of which asset")
        bench.expect(fee.id.strip(), what + "a fee has an id, unique in the account")
    bench.expect(fill.revision >= 0, what + "revisions count from 0")


def _unit(exponent: int | str) -> Decimal:
    return Decimal(1).scaleb(exponent) if isinstance(exponent, int) else Decimal(0)


def expect_unique(bench: Bench, attempts: Sequence[Placed], others: Iterable[tuple[str, Fill]] = ()) -> None:
    """Of all that was told so far: one id for one execution, wherever and whenever it was told, and no id for two.

    ``others``: fills that came on their own, and how."""
    owner: dict[str, Placed] = {}
    fees: dict[str, str] = {}
    known: dict[str, tuple[str, Fill]] = {}
    for placed in attempts:
        told = told_of(bench, placed)
        whole = [(source, r) for source, r in told if r.fills_complete and r.fills and not complete(r)]
        most = max((len(report.fills) for _, report in whole), default=0)
        ids = fills_of(report for _, report in told)
        sources = sorted({source for source, report in told if report.fills})
        bench.expect(
            len(ids) <= most or not most,
            f"an order has {most} fills; told of it by {', '.join(sources)} were {len(ids)} ids, {sorted(ids)}: a fill "
            "has the same id wherever it shows (rule 12)",
        )
        for source, report in told:
            listed = [fill.id for fill in report.fills]
            bench.expect(len(set(listed)) == len(listed), f"{source}: two fills of one order have one id: {listed}")
            for fill in report.fills:
                bench.expect(
                    owner.setdefault(fill.id, placed) is placed,
                    f"{source} tells of {fill!r}; a fill of another order, {owner[fill.id].spec!r}, has that id too: "
                    "fill ids are unique in the account for ever (rule 12)",
                )
                _same(bench, known, source, fill)
                for fee in fill.fees:
                    bench.expect(
                        fees.setdefault(fee.id, fill.id) == fill.id,
                        f"the fee {fee!r} of fill {fill.id} has the id of a fee of fill {fees[fee.id]}",
                    )
    for source, fill in others:
        bench.expect(
            fill.id in known, f"{source} tells of {fill!r}, whose id no report of its order has: {sorted(known)}"
        )
        _same(bench, known, source, fill)


def _same(bench: Bench, known: dict[str, tuple[str, Fill]], source: str, fill: Fill) -> None:
    first, other = known.setdefault(fill.id, (source, fill))
    bench.expect(
        other.revision == fill.revision,
        f"nothing was corrected, and fill {fill.id} has the revision {other.revision} by {first}, {fill.revision} by "
        f"{source}: revisions rise with corrections, and with nothing else",
    )
    alike = ("base", "quote", "price", "at", "maker", "fees")
    differ = [name for name in alike if getattr(other, name) != getattr(fill, name)]
    if not (other.fees_known and fill.fees_known):
        differ = [name for name in differ if name != "fees"]
    differ = [name for name in differ if name != "maker" or None not in (other.maker, fill.maker)]
    bench.expect(
        not differ, f"fill {fill.id} is {other!r} by {first}, {fill!r} by {source}: {', '.join(differ)} differ"
    )


async def never_rests(bench: Bench, spec: Spec, expected: Decimal) -> None:
    """An order of immediate execution: trades ``expected`` at once, and is over."""
    what = f"a {spec.tif} order for {spec.amount}, of which {expected} can trade at once,"
    before = await present(bench)
    try:
        placed = await bench.ticket_for(spec)
    except Rejected as error:
        bench.expect(not expected, f"{what} is refused: {error!r}")
        return
    outcome = await bench.send(placed)
    # What waits for its block is on its way, and does not rest.
    there = () if by_ledger(placed.ticket) else await bench.harness.truth()
    resting = [order for order in there if order.live and set(order.ids) & set(placed.ids)]
    await settled(bench)
    orders = await adopt(bench, placed, before)
    resting += [order for order in orders if order.live]
    bench.expect(not resting, f"{what} rests at the venue: {resting!r}")
    traded = sum((order.filled_base for order in orders), Decimal(0))
    bench.expect(traded == expected, f"{what} traded {traded}; submit {shown(outcome)}")
    if outcome.effect == "none":
        bench.expect(not expected, f"{what} traded, and submit {shown(outcome)}")
        return
    report = await bench.ended(placed)
    full = expected == report.amount
    right = (
        (VenueStatus.FILLED,)
        if full
        else (VenueStatus.CANCELED, VenueStatus.EXPIRED, *(() if expected else (VenueStatus.REJECTED,)))
    )
    bench.expect(report.status in right, f"{what} is reported {report!r}; it can only be {' or '.join(right)}")
    bench.expect(report.filled.base == expected, f"{what} is reported {report!r}")
    wrong = complete(report)
    bench.expect(not wrong, f"{what} is reported {report!r}: {wrong}")


async def _restated(bench: Bench, placed: Placed, before: dict[str, Fill], last: Fill, share: Decimal) -> Fill | None:
    """What lookup says of a corrected fill; None where it does not list it any more."""
    order = await bench.one(placed)

    async def shows() -> OrderReport | None:
        return next((r for r in orders_in(await bench.look(placed)) if sums(r.fills).base == order.filled_base), None)

    report: OrderReport = await bench.until(
        shows, f"the fills of a lookup make what was left after the correction, {order!r}"
    )
    now = fills_of([report])
    new = sorted(set(now) - set(before))
    bench.expect(not new, f"{last!r} was corrected; lookup tells of it under new ids {new}, as if it were another")
    fill: Fill | None = now.get(last.id)
    if fill is None:
        bench.expect(not share, f"{last!r} was corrected, and lookup lists it no more")
        return None
    bench.expect(fill.revision > last.revision, f"{last!r} was corrected to {fill!r}: a correction raises the revision")
    return fill


def _correction_told(ear: Ear, placed: Placed, last: Fill, after: Fill | None) -> bool:
    """Did the stream say that ``last`` was restated as ``after``, or taken back?"""
    if after is None or not after.base:
        return any(each.id == last.id and each.revision > last.revision for each in ear.voided())
    told = fills_of(ear.reports(placed)).get(last.id)
    return told is not None and told.revision == after.revision and told.base == after.base


async def corrected(bench: Bench, ear: Ear, share: Decimal) -> None:
    """An order trades, and its last fill is restated to ``share`` of it; lookup shows that, and the stream tells it."""
    placed = await bench.put(bench.harness.crossing(4))

    async def traded() -> bool:
        return any(order.filled_base for order in await bench.truth(placed))

    await bench.until(traded, "the crossing order trades")
    if not by_ledger(placed.ticket):
        await settled(bench)
    before = fills_of([await whole_report(bench, placed, await bench.one(placed))])
    last = list(before.values())[-1]
    await bench.quiet(1)
    streamed = fills_of(ear.reports(placed))
    began = bench.clock.monotonic()
    await bench.harness.correct(await bench.one(placed), last.base * share)
    after = await _restated(bench, placed, before, last, share)
    if not streamed:
        return  # a stream that tells of no fills: who asks for them is told by what he asked, which is right
    told = "void (FillVoided)" if after is None or not share else f"{after!r} (same id, higher revision)"

    def heard() -> bool:
        return ear.warned(began) or _correction_told(ear, placed, last, after)

    await bench.until(heard, f"the stream tells that {last!r} is {told}")
