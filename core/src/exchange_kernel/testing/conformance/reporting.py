"""What must hold of the reports of an order, whichever way they came: their order, their times, their names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from exchange_kernel.testing.conformance.bench import Bench, Placed
from exchange_kernel.testing.conformance.harness import TruthOrder
from exchange_kernel.testing.conformance.listening import Ear, about
from exchange_kernel.testing.conformance.telling import done, fills_of, newest, place_in_time, sums, told_of
from exchange_kernel.venue import Ack, Found, Gap, OrderReport, Snapshot, VenueEvent

__all__ = [
    "expect_each_told",
    "expect_listed",
    "expect_named",
    "expect_newest",
    "expect_order",
    "expect_strange",
    "expect_stranger_told",
    "expect_streamed",
    "expect_times",
]


def expect_newest(bench: Bench, placed: Placed, order: TruthOrder, when: str) -> None:
    """Whoever has heard everything so far believes what is so."""
    report = newest(report for _, report in told_of(bench, placed))
    bench.expect(
        report is not None and done(report).base == order.filled_base and report.status.terminal != order.live,
        f"{when} the venue has {order!r}; of all reports so far the newest, by version and as_of, is {report!r}",
    )
    need = report.need if report is not None else None
    idle = need is None or (order.live and need.what != "replace")
    bench.expect(idle, f"{when} the venue has {order!r}, which needs nothing of the kind: {report!r}")


def expect_order(bench: Bench, placed: Placed) -> None:
    """Versions tell which of two reports is newer; nothing is newer than an order's end."""
    told = [(source, report) for source, report in told_of(bench, placed)]
    ends = [(source, r) for source, r in told if r.status.terminal]
    for later, working in told:
        if working.status.terminal:
            continue
        for source, end in ends:
            bench.expect(
                place_in_time(working)[1:3] <= place_in_time(end)[1:3],
                f"{source} said that the order has ended, {end!r}; by {later} it is newer and works: {working!r}",
            )
    exact = [(source, r) for source, r in told if r.version is not None]
    exact.sort(key=lambda each: (each[1].version, each[1].as_of))
    for (source, was), (later, now) in pairwise(exact):
        same = (was.version, was.as_of) == (now.version, now.as_of)
        names = [
            name
            for name in ("status", "filled", "tentative", "amount", "price")
            if getattr(was, name) != getattr(now, name) and None not in (getattr(was, name), getattr(now, name))
        ]
        bench.expect(
            not same or not names,
            f"two reports of version {now.version}, as of {now.as_of}, differ in {', '.join(names)}: which is true? "
            f"{was!r} by {source}, {now!r} by {later}",
        )


def expect_times(
    bench: Bench, things: Iterable[object], attempts: Sequence[Placed], within: tuple[int, int], ahead: int
) -> None:
    """Every time told of these attempts lies within two moments, venue ms. ``ahead``: how far the local clock is."""
    for thing in things:
        reports: list[object] = []
        match thing:
            case VenueEvent():
                if not isinstance(thing.body, Gap):
                    _in_time(bench, thing.at, within, f"an event's at: {thing!r}", ahead)
                reports = [thing.body]
            case Ack() | Found() | Snapshot():
                reports = [*thing.reports]
            case (list() | tuple() as page, str() | None):
                reports = [*page]
        for report in (each for each in reports if isinstance(each, OrderReport)):
            if not any(about(report, mine) for mine in attempts):
                continue
            _in_time(bench, report.as_of, within, f"as_of of {report!r}", ahead)
            for fill in report.fills:
                _in_time(bench, fill.at, within, f"the time of {fill!r}", ahead)


def _in_time(bench: Bench, at: object, within: tuple[int, int], what: str, ahead: int) -> None:
    bench.expect(type(at) is int, f"{what}: {at!r} is not a number of ms")
    assert isinstance(at, int)
    skewed = f" (the local clock is {ahead} ms ahead of the venue's)" if ahead else ""
    bench.expect(
        within[0] <= at <= within[1],
        f"{what}: {at} is not between {within[0]} and {within[1]}, ms UTC by the venue's clock{skewed}",
    )


def expect_named(bench: Bench, placed: Placed, order: TruthOrder) -> None:
    """Every report of the attempt says of which order it is."""
    for source, report in told_of(bench, placed):
        said = f"{source} says {report!r} of {placed.spec!r}: "
        bench.expect(report.id.kind.strip() and report.id.value.strip(), said + "its id is empty")
        bench.expect(report.symbol == placed.spec.symbol, said + "that is another symbol")
        bench.expect(report.side is placed.spec.side, said + "that is the other side")
        bench.expect(report.leg == placed.spec.leg, said + f"its order was for the leg {placed.spec.leg}")
        bench.expect(report.origin == "account", said + "the account placed it, and not the venue (rule 19)")
        keyed = report.key == placed.key or (report.key is None and not bench.offers("find_by_key"))
        bench.expect(keyed, said + f"its key is {report.key!r}, the attempt's {placed.key!r}")
        for fill in report.fills:
            bench.expect(fill.of in (report.id, *report.links), said + f"its fill {fill.id} is of {fill.of!r}")
    bench.expect(
        any(set(order.ids) & {r.id, *r.links} for _, r in told_of(bench, placed)),
        f"no report of {placed.spec!r} names any of the venue's ids {order.ids!r}",
    )


def expect_streamed(bench: Bench, ear: Ear, placed: Placed, order: TruthOrder, began: float, what: str) -> None:
    """Whoever has heard only the stream believes what is so, unless it has warned him."""
    told = ear.reports(placed)
    report, total = newest(told), sums(fills_of(told).values()).base
    right = report is not None and done(report).base == order.filled_base and report.status.terminal != order.live
    bench.expect(
        right or ear.warned(began, order.symbol),
        f"{what} the stream's newest word is {report!r}, without a Gap; there is {order!r}",
    )
    bench.expect(
        total <= order.filled_base, f"{what} the stream's fills make {total}, by their ids; the venue has {order!r}"
    )


def expect_each_told(bench: Bench, ear: Ear, attempts: Sequence[Placed], began: float) -> None:
    """The stream has told of each of them, in whatever market, or has warned since ``began``."""
    for placed in attempts if bench.offers("stream") else ():
        bench.expect(
            ear.reports(placed) or ear.warned(began, placed.spec.symbol),
            f"the stream, without a Gap, tells nothing of {placed.spec!r}",
        )


def expect_listed(bench: Bench, ear: Ear, attempts: Sequence[Placed]) -> None:
    """The stream tells of markets that are listed, and of nobody else's orders under the keys of these."""
    keys = {placed.key for placed in attempts}
    for report in ear.reports():
        bench.expect(report.symbol in bench.symbols, f"the stream tells of {report.symbol!r}, which is not listed")
        bench.expect(
            any(about(report, placed) for placed in attempts) or report.key not in keys,
            f"the stream tells of a stranger's order under a key of ours: {report!r}",
        )


async def expect_stranger_told(bench: Bench, ear: Ear, stranger: TruthOrder, since: float) -> None:
    """Where the account's orders are shown whoever placed them, the stream tells of this one, or warns."""
    if not (bench.offers("stream") and bench.offers("lists_foreign")):
        return
    await bench.until(
        lambda: ear.reports(stranger) or ear.warned(since, stranger.symbol),
        f"lists_foreign is declared: the stream tells of somebody else's order, or says Gap: {stranger!r}",
    )


def expect_strange(bench: Bench, stranger: TruthOrder) -> None:
    """Somebody else's order is told as the account's, and as nobody's whom the kernel knows."""
    for source, report in told_of(bench, stranger):
        said = f"{stranger!r} is somebody else's; {source} says {report!r}: "
        bench.expect(report.key is None, said + "it has a key, as if the kernel had ordered it")
        bench.expect(report.origin == "account", said + "somebody placed it, and not the venue (rule 19)")
        bench.expect(
            (report.symbol, report.side) == (stranger.symbol, stranger.side), said + "that is another market, or side"
        )
        bench.expect(not report.status.terminal or not stranger.live, said + "it lives")
