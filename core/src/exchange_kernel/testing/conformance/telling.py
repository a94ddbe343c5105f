"""What an adapter has told of an order, by every way it tells, and what a reader who folds it comes to believe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import pairwise

from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.testing.conformance.bench import Bench, Failed, Placed
from exchange_kernel.testing.conformance.evidence import settled
from exchange_kernel.testing.conformance.harness import TruthOrder
from exchange_kernel.testing.conformance.listening import about
from exchange_kernel.venue import (
    Ack,
    Executed,
    Fill,
    Found,
    History,
    Lookup,
    OrderReport,
    Snapshot,
    VenueEvent,
    VenueStatus,
)

__all__ = [
    "MOST_PAGES",
    "Told",
    "all_open",
    "all_past",
    "at_rest",
    "caught_up",
    "complete",
    "done",
    "fills_of",
    "never_falls",
    "newest",
    "orders_in",
    "place_in_time",
    "sums",
    "told_of",
]

MOST_PAGES = 200
"""More than any account of a test has."""
_RANK = {status: rank for rank, status in enumerate(VenueStatus)}

Told = tuple[str, OrderReport]
"""A report, and by which way it came."""


def told_of(bench: Bench, placed: Placed | TruthOrder) -> list[Told]:
    """Every report of an order so far, in order of arrival: answers, lookups, snapshots, events, history."""
    out: list[Told] = []
    for thing in bench.seen:
        found: Sequence[object] = ()
        match thing:
            case Ack():
                source, found = "submit", thing.reports
            case Found():
                source, found = "lookup", thing.reports
            case Snapshot():
                source, found = "open_orders", thing.reports
            case VenueEvent():
                source, found = "the stream", (thing.body,)
            case (list() | tuple() as page, str() | None):
                source, found = "history", page
            case _:
                continue
        out += [(source, each) for each in found if isinstance(each, OrderReport) and about(each, placed)]
    return out


def place_in_time(report: OrderReport) -> tuple[bool, int, int, int, Decimal, Decimal]:
    """What orders the reports of one object: what has ended stays so; else version, then time. Of two that these leave
    alike, as where a venue has no versions, the one with more filled is newer: filled never falls."""
    version = -1 if report.version is None else report.version
    rank, filled = _RANK[report.status], report.filled
    return report.status.terminal, version, report.as_of, rank, filled.base, done(report).base


def newest(reports: Iterable[OrderReport]) -> OrderReport | None:
    """What a reader of all of these believes."""
    return max(reports, key=place_in_time, default=None)


def fills_of(reports: Iterable[OrderReport]) -> dict[str, Fill]:
    """Every fill in them by its id, as last restated."""
    out: dict[str, Fill] = {}
    for fill in (fill for report in reports for fill in report.fills):
        if fill.id not in out or fill.revision > out[fill.id].revision:
            out[fill.id] = fill
    return out


def sums(fills: Iterable[Fill]) -> Executed:
    """What they are together."""
    base = quote = Decimal(0)
    for fill in fills:
        base, quote = EXACT.add(base, fill.base), EXACT.add(quote, fill.quote)
    return Executed(base, quote)


def done(report: OrderReport) -> Executed:
    """What is executed, final or not."""
    return Executed(
        EXACT.add(report.filled.base, report.tentative.base), EXACT.add(report.filled.quote, report.tentative.quote)
    )


def complete(report: OrderReport) -> str:
    """What is wrong with the list of fills of a report, by its own sums; "" for nothing."""
    total, listed = done(report), sums(report.fills)
    if len({fill.id for fill in report.fills}) != len(report.fills):
        return "one fill is listed twice"
    if not report.fills_complete:
        return f"its fills are {listed}, more than all there are" if listed.base > total.base else ""
    if listed != total:
        return f"its fills are said to be complete, and make {listed}, not {total}"
    final = sums(fill for fill in report.fills if fill.final)
    return f"its final fills make {final}, it says {report.filled} is filled for good" if final != report.filled else ""


async def caught_up(bench: Bench, placed: Placed) -> tuple[OrderReport, TruthOrder]:
    """Look until lookup shows the order as the venue has it; the report, and the venue's order."""

    async def same() -> tuple[OrderReport, TruthOrder] | None:
        order = await bench.one(placed)
        report = await bench.found(placed)
        right = done(report).base == order.filled_base and report.status.terminal == (not order.live)
        return (report, order) if right else None

    seen: tuple[OrderReport, TruthOrder] = await bench.until(same, f"lookup shows {await bench.one(placed)!r} as it is")
    return seen


async def all_open(bench: Bench) -> list[OrderReport]:
    """Every page of the open orders; fails if they do not end, or say that they are not all."""
    out: list[OrderReport] = []
    page: str | None = None
    for _ in range(MOST_PAGES):
        snapshot: Snapshot = await bench.ask(bench.adapter.open_orders(page))
        bench.expect(
            snapshot.complete and snapshot.symbols is None,
            f"open_orders({page!r}) says complete={snapshot.complete}, symbols={snapshot.symbols!r}, without any fault",
        )
        out += snapshot.reports
        if snapshot.next is None:
            return out
        bench.expect(snapshot.next != page, f"open_orders({page!r}) says that the next page is {page!r}")
        page = snapshot.next
    raise Failed(f"open_orders() has more than {MOST_PAGES} pages")


async def all_past(bench: Bench, cursor: str | None = None) -> tuple[list[object], str | None]:
    """Every page of history after a cursor, and the last cursor; fails if they do not end."""
    assert isinstance(bench.adapter, History)
    out: list[object] = []
    for _ in range(MOST_PAGES):
        page, following = await bench.ask(bench.adapter.history(cursor))
        out += page
        if not page or following is None or following == cursor:
            bench.expect(
                not page or following is None or following != cursor,
                f"history({cursor!r}) brings {len(page)} entries and the same cursor again: nobody gets beyond them",
            )
            return out, cursor if following is None else following
        cursor = following
    raise Failed(f"history() has more than {MOST_PAGES} pages: does it go on from its cursor?")


async def at_rest(bench: Bench) -> None:
    """Let everything become final, and reads catch up."""
    await settled(bench)
    if bench.opened.read_lag:
        await bench.clock.sleep(bench.opened.read_lag / 1000)


def orders_in(answer: Lookup | None) -> list[OrderReport]:
    """The order reports of a lookup's answer."""
    return [r for r in (answer.reports if isinstance(answer, Found) else ()) if isinstance(r, OrderReport)]


def never_falls(bench: Bench, placed: Placed) -> None:
    """What is filled for good never falls: not with the version of the reports, nor in what one source says in turn."""
    told = sorted(told_of(bench, placed), key=lambda each: place_in_time(each[1]))
    for (source, was), (later, now) in pairwise(told):
        bench.expect(
            now.filled.base >= was.filled.base and now.filled.quote >= was.filled.quote,
            f"{source} said {was.filled} was filled, then {later} says {now.filled}: {was!r}, {now!r}",
        )
    before: dict[str, OrderReport] = {}
    for source, report in told_of(bench, placed):
        last = before.get(source)
        bench.expect(
            last is None or place_in_time(last) > place_in_time(report) or report.filled.base >= last.filled.base,
            f"{source} said {last!r}, and later {report!r}",
        )
        before[source] = report
