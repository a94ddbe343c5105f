"""Coming back: everything is found again, by the ticket, in the snapshot, in the history, and by a whole kernel."""

from __future__ import annotations

from exchange_kernel.errors import ExchangeKernelError, RateLimited, Unavailable
from exchange_kernel.testing.conformance.assorted import Sort, assorted, expect_told_whole
from exchange_kernel.testing.conformance.bench import Bench, Failed, Inapplicable, Placed
from exchange_kernel.testing.conformance.evidence import adopt, landed, present
from exchange_kernel.testing.conformance.harness import Fault, TruthOrder
from exchange_kernel.testing.conformance.listening import about, listening
from exchange_kernel.testing.conformance.plain import plain, rebuilt
from exchange_kernel.testing.conformance.registry import case
from exchange_kernel.testing.conformance.telling import (
    MOST_PAGES,
    all_open,
    all_past,
    at_rest,
    caught_up,
    orders_in,
    told_of,
)
from exchange_kernel.testing.conformance.unrest import goes_on
from exchange_kernel.testing.conformance.whole import SEEDS, run_kernel
from exchange_kernel.venue import Fill, History, OrderReport, Ref, Snapshot

READ_FAULTS = (Fault.READ_FAILS, Fault.READ_GARBLED, Fault.READ_LIMITED)


@case("REC-01", "with nothing but its ticket every order is found again", grade="gold", rule="rule 3, rule 20")
async def found_again(bench: Bench) -> None:
    """After a crash there is the store and the venue. What can't be put together again from these was never there."""
    sorts = await assorted(bench)
    await at_rest(bench)
    await bench.close()
    await bench.ready()
    for sort in sorts:
        placed = sort.placed
        tickets = tuple(rebuilt(plain(ticket)) for ticket in placed.tickets)
        ids = () if bench.offers("find_by_key") else tuple(placed.ids)
        ref = Ref(placed.key, placed.spec.symbol, placed.spec, placed.placed_at, ids, tickets)
        order = await bench.one(placed)

        async def found(ref: Ref = ref, order: TruthOrder = order) -> OrderReport | None:
            reports = orders_in(await bench.ask(bench.adapter.lookup(ref)))
            return next((r for r in reports if set(order.ids) & {r.id, *r.links}), None)

        report = await bench.until(found, f"a new session finds an order that is {sort.what}, by its ticket: {order!r}")
        expect_told_whole(bench, report, order, f"a new session's lookup of an order that is {sort.what}")
        bench.expect(report.key in (None, placed.key), f"an order that is {sort.what} has another key: {report!r}")


@case(
    "REC-02",
    "the open orders are all of them, however many pages that takes",
    grade="gold",
    rule="rule 16",
)
async def all_pages(bench: Bench) -> None:
    """An order that the snapshot leaves out counts as gone: it is looked for, given up, and placed again."""
    made = [(await landed(bench, bench.harness.resting(number)))[0] for number in range(1, 9)]
    if bench.harness.offers("elsewhere"):
        made.append((await landed(bench, bench.harness.elsewhere()))[0])
    ended = [made.pop(2), (await landed(bench, bench.harness.crossing(1)))[0]]
    await bench.cancel(ended[0])
    await bench.ended(ended[0])
    strangers: list[TruthOrder] = []
    if bench.harness.offers("foreign"):
        strangers.append(await bench.stranger())
    await at_rest(bench)
    if strangers:
        await bench.ready()  # a stranger on the account may have used a number
    reports = await all_open(bench)
    _expect_all(bench, reports, made, ended, "open_orders()")
    shown = [each for each in strangers if any(about(r, each) for r in reports)]
    if bench.offers("lists_foreign"):
        bench.expect(len(shown) == len(strangers), f"lists_foreign is declared, and {strangers!r} are not listed")
    # Orders come and go while the pages are read. Those that were there all the time are there.
    for leaving in (0, -1):
        first: Snapshot = await bench.ask(bench.adapter.open_orders(None))
        seen, page = list(first.reports), first.next
        away = made.pop(leaving)
        await bench.cancel(away)
        await bench.ended(away)
        for _ in range(MOST_PAGES):
            if page is None:
                break
            snapshot: Snapshot = await bench.ask(bench.adapter.open_orders(page))
            seen, page = [*seen, *snapshot.reports], snapshot.next
        _expect_all(bench, seen, made, [], "open_orders(), while an order ended between two pages,", once=False)
    for fault in READ_FAULTS:
        if fault in bench.harness.faults:
            await _failing_pages(bench, fault, made)


def _expect_all(
    bench: Bench, reports: list[OrderReport], live: list[Placed], ended: list[Placed], what: str, *, once: bool = True
) -> None:
    for placed in live:
        times = sum(about(report, placed) for report in reports)
        bench.expect(times, f"{what} does not list {placed.spec!r}, which is open; it says it is complete")
        bench.expect(times == 1 or not once, f"{what} lists {placed.spec!r} {times} times")
    for placed in ended:
        wrong = [report for report in reports if about(report, placed) and not report.status.terminal]
        bench.expect(not wrong, f"{what} lists {wrong!r}, which has ended")


async def _failing_pages(bench: Bench, fault: Fault, made: list[Placed]) -> None:
    """A page that fails makes the snapshot fail, or incomplete; it is not a page without orders."""
    for after in range(12):
        await bench.harness.inject(fault, ms=bench.short(500), after=after)
        complete, seen, page = True, list[OrderReport](), None
        try:
            for _ in range(MOST_PAGES):
                snapshot: Snapshot = await bench.ask(bench.adapter.open_orders(page))
                complete, page = complete and snapshot.complete and snapshot.symbols is None, snapshot.next
                seen += snapshot.reports
                if page is None:
                    break
        except (Unavailable, RateLimited):
            continue
        except Exception as error:
            raise Failed(f"open_orders() under {fault.value} raised {error!r}, not Unavailable") from error
        finally:
            await bench.harness.clear()
        if complete:
            _expect_all(bench, seen, made, [], f"open_orders() under {fault.value}, at its request {after + 1},")


@case(
    "REC-03",
    "history tells of every end and every fill, once, from where it was left",
    grade="gold",
    rule="History",
    features=("history",),
)
async def history(bench: Bench) -> None:
    """What is skipped here is found by nobody. What is read again from the start each time takes an hour each time."""
    adapter = bench.adapter
    assert isinstance(adapter, History)
    sorts = await assorted(bench)
    await at_rest(bench)
    items, cursor = await all_past(bench)
    await _expect_past(bench, items, sorts, "history()")
    more, _ = await all_past(bench, cursor)
    bench.expect(not more, f"history({cursor!r}), its last cursor, begins again: {more[:3]!r}")
    # A new session goes on from the old cursor, and orders end between its pages.
    fresh: list[Sort] = []
    for sort in sorts:
        if (await bench.one(sort.placed)).live:
            await bench.cancel(sort.placed)
            await bench.ended(sort.placed)
            fresh.append(sort)
    sorts = [sort for sort in sorts if sort not in fresh]
    fresh += await assorted(bench)
    await at_rest(bench)
    await bench.close()
    await bench.ready()
    late: list[object] = []
    for number in range(MOST_PAGES):
        assert isinstance(bench.adapter, History)
        page, following = await bench.ask(bench.adapter.history(cursor))
        if not page:
            break
        late += page
        cursor = following if following is not None else cursor
        if number < 4:
            placed, _ = await landed(bench, bench.harness.resting(1 + number))
            await bench.cancel(placed)
            await bench.ended(placed)
            fresh.append(Sort("cancelled between two pages", placed))
            await at_rest(bench)
        if following is None:
            break
    else:
        bench.fail(f"history() goes on for more than {MOST_PAGES} pages")
    late += (await all_past(bench, cursor))[0]
    await _expect_past(bench, late, fresh, "history() from an older cursor")
    told = [item for item in late if isinstance(item, OrderReport)]
    again = [sort.what for sort in sorts if any(about(report, sort.placed) for report in told)]
    bench.expect(not again, f"history() from its cursor tells again of orders that were {', '.join(again)} before it")
    for fault in READ_FAULTS:
        if fault not in bench.harness.faults:
            continue
        await bench.harness.inject(fault, ms=bench.short(500))
        try:
            page, _ = await bench.ask(bench.adapter.history(None))
            bench.expect(page, f"history() under {fault.value} is an empty page, as at its end")
        except (Unavailable, RateLimited):
            pass
        except ExchangeKernelError as error:
            raise Failed(f"history() under {fault.value} raised {error!r}, not Unavailable") from error
        finally:
            await bench.harness.clear()
        await bench.quiet(0.6)


async def _expect_past(bench: Bench, items: list[object], sorts: list[Sort], what: str) -> None:
    for sort in sorts:
        report, order = await caught_up(bench, sort.placed)
        told = [item for item in items if isinstance(item, OrderReport) and about(item, sort.placed)]
        ends = [item for item in told if item.status.terminal]
        names = {report.id, *report.links, *order.ids}
        alone = {item.id for item in items if isinstance(item, Fill) and item.of in names}
        listed = alone | {fill.id for item in told for fill in item.fills}
        fills = {fill.id for fill in report.fills}
        bench.expect(
            fills <= listed, f"{what} lacks fills of an order that is {sort.what}: {sorted(fills - listed)}; {order!r}"
        )
        bench.expect(
            listed <= fills, f"{what} has fills of an order that is {sort.what}, and lookup none: {listed - fills}"
        )
        if order.live:
            bench.expect(not ends, f"{what} says that an order has ended that is {sort.what}: {ends!r}")
            continue
        bench.expect(ends, f"{what} does not tell of the end of an order that is {sort.what}: {order!r}")
        for end in ends:
            expect_told_whole(bench, end, order, f"{what} of an order that is {sort.what}")
            bench.expect(end.final, f"{what} tells of an end that is not final: {end!r}")


@case("REC-04", "one venue object has one id, and one report", grade="gold", rule="rule 11, links")
async def one_object(bench: Bench) -> None:
    """An order that has one name in the stream and another in the snapshot is two orders: one of them a stranger's."""
    async with listening(bench):
        sorts = await assorted(bench)
        await at_rest(bench)
        opened = await all_open(bench)
        await bench.quiet(1)
    if isinstance(bench.adapter, History):
        await all_past(bench)
    owner: dict[object, Sort] = {}
    for sort in sorts:
        await bench.look(sort.placed)
        answer = orders_in(await bench.look(sort.placed))
        bench.expect(len(answer) == 1, f"lookup shows {len(answer)} orders of one that is {sort.what}: {answer!r}")
        count = sum(about(report, sort.placed) for report in opened)
        bench.expect(count <= 1, f"open_orders() lists an order that is {sort.what} {count} times")
        told = told_of(bench, sort.placed)
        ids = {report.id: source for source, report in told}
        bench.expect(
            len(ids) == 1, f"an order that is {sort.what} has several ids, by the ways it is told of: {ids!r} (rule 11)"
        )
        for source, report in told:
            for vid in (report.id, *report.links):
                known = owner.setdefault(vid, sort)
                bench.expect(
                    known is sort, f"{source}: {vid!r} is an id of two orders, one {known.what}, one {sort.what}"
                )


@case("REC-05", "orders outlive the venue's restart", grade="gold", rule="rule 15", needs=("restart",))
async def venue_restarts(bench: Bench) -> None:
    """Sunday maintenance. On Monday the desk must have the orders it had, and no others."""
    async with listening(bench) as ear:
        sorts = await assorted(bench)
        waiting = await bench.ticket_for(bench.harness.resting(7))
        before = await present(bench)
        await bench.harness.restart()
        outcome = await bench.send(waiting)
        await at_rest(bench)
        fresh = await adopt(bench, waiting, before)
        bench.expect(len(fresh) <= 1, f"a ticket sent after the venue's restart made {len(fresh)} orders")
        bench.expect(
            fresh or outcome.error is not None,
            f"a ticket sent after the venue's restart: {outcome.ack!r}, and no order",
        )
        for sort in sorts:
            report, order = await caught_up(bench, sort.placed)
            expect_told_whole(bench, report, order, f"after the venue's restart, an order that is {sort.what}")
        want = [sort.placed for sort in sorts if (await bench.one(sort.placed)).live]
        _expect_all(bench, await all_open(bench), want, [], "open_orders() after the venue's restart")
        await bench.ask(bench.adapter.account())
        if bench.offers("stream"):
            await goes_on(bench, ear, "after the venue's restart")


@case(
    "REC-06",
    "a whole kernel trades on it through every fault, and ends where it wanted",
    grade="gold",
    rule="S1 to S18",
)
async def whole_kernel(bench: Bench) -> None:
    """All of the rules at once. What is wrong here, and in no other case, is what a desk would find first."""
    if bench.opened.mode == "live":
        raise Inapplicable("nobody does this with real money")
    for seed in SEEDS:
        await run_kernel(bench, seed)
