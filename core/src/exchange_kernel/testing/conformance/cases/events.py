"""The stream: what it says is true and in order, and when it may have missed something, it says that."""

from __future__ import annotations

import asyncio
import threading

from exchange_kernel.schema import SupportLevel
from exchange_kernel.testing.conformance.amending import offered
from exchange_kernel.testing.conformance.bench import Bench, Inapplicable
from exchange_kernel.testing.conformance.evidence import landed, settled
from exchange_kernel.testing.conformance.harness import Fault
from exchange_kernel.testing.conformance.listening import Ear, about, listening
from exchange_kernel.testing.conformance.polling import garbled_polls, hung_polls, repeated_polls, unanswered_polls
from exchange_kernel.testing.conformance.registry import Polled, case
from exchange_kernel.testing.conformance.reporting import (
    expect_each_told,
    expect_listed,
    expect_named,
    expect_newest,
    expect_order,
    expect_strange,
    expect_stranger_told,
    expect_times,
)
from exchange_kernel.testing.conformance.sessions import expect_nothing_left, read_on
from exchange_kernel.testing.conformance.telling import (
    all_open,
    all_past,
    at_rest,
    caught_up,
    done,
    fills_of,
    sums,
    told_of,
)
from exchange_kernel.testing.conformance.unrest import (
    SILENCE_S,
    Change,
    changed,
    close_stream,
    expect_gone,
    expect_heard,
    first_of,
    goes_on,
    heard,
    heard_through_outage,
    next_of,
    placed_now,
    repeated_and_mixed,
    told_of_others,
    venue_now,
)
from exchange_kernel.value import revised
from exchange_kernel.venue import History

TOLERANCE_MS = 2_000


@case("EVT-01", "of an order's reports the newest is true", grade="silver", rule="version, as_of")
async def newest_is_true(bench: Bench) -> None:
    """Reports come by five ways, late and twice. Who cannot tell which is newer brings a dead order back to life."""
    async with listening(bench) as ear:
        placed, order = await landed(bench, bench.harness.resting(4))
        steps = ["place", *(["fill", "fill"] if bench.harness.offers("fill") else []), "cancel"]
        changes = offered(bench)
        if changes:
            steps.insert(1, "amend")
        for step in steps:
            since, venue_ms = bench.clock.monotonic(), venue_now(bench)
            if step == "fill":
                await bench.harness.fill(order, order.amount / 4)
            elif step == "amend":
                wanted = bench.adapter.check(changes[-1].change(placed.spec)).spec
                await bench.amend(placed, wanted)
            elif step == "cancel":
                await bench.cancel(placed)
            await settled(bench)
            now = await changed(bench, f"after {step}", placed, since, venue_ms)
            if step == "amend":
                now = revised(now, amended=wanted)
            if bench.offers("stream"):
                await expect_heard(bench, ear, now)
            if bench.offers("stream") and not ear.warned(since):
                expect_newest(bench, placed, await bench.one(placed), f"after {step}, when the stream had told of it,")
            await caught_up(bench, placed)
            await all_open(bench)
            expect_newest(bench, placed, await bench.one(placed), f"after {step}")
        attempts = (placed, await bench.put(bench.harness.crossing(2)))
        await bench.ended(attempts[1])
        await at_rest(bench)
        await bench.quiet(2)
        if isinstance(bench.adapter, History):
            await all_past(bench)
        for placed in attempts:
            await bench.look(placed)
            expect_newest(bench, placed, await bench.one(placed), "at rest")
            expect_order(bench, placed)


@case(
    "EVT-02",
    "a stream that broke goes on, and what it missed is announced",
    grade="silver",
    rule="rule 15: reconnect",
    needs=(Fault.STREAM_CUT,),
    features=("stream",),
    polled=Polled((Fault.READ_FAILS,), unanswered_polls),
)
async def cut(bench: Bench) -> None:
    """A reconnect that nobody hears of is a hole in the account's history, just where the market was wild."""
    async with listening(bench) as ear:
        watched = await placed_now(bench, bench.harness.resting(9), "an order placed while all is well")
        await expect_heard(bench, ear, watched)
        for round_, times in enumerate((1, 1, 3)):
            await bench.harness.inject(Fault.STREAM_CUT, times=times)
            changes: list[Change] = []
            for number in range(200):
                what = f"order {number + 1} after the stream was cut, in round {round_ + 1},"
                away = number % 2 and bench.harness.offers("elsewhere")
                spec = bench.harness.elsewhere() if away else bench.harness.resting(1 + number % 5)
                changes.append(await placed_now(bench, spec, what))
                await bench.quiet(0.05 * (1 + number % 4))
                if number > 3 and heard(ear, changes[-1]):
                    break
            else:
                bench.fail("after its connection ended the stream never told of anything again, in 200 orders")
            for change in changes:
                await expect_heard(bench, ear, change)
            await bench.harness.clear()
            for change in changes:
                await bench.cancel(change.placed)
        if bench.harness.offers("outage"):
            await heard_through_outage(bench, ear, watched.placed)


@case(
    "EVT-03",
    "what happened while nobody listened is found, once the stream has said Gap",
    grade="silver",
    rule="rule 15, rule 16",
)
async def away(bench: Bench) -> None:
    """A restart takes a minute. The orders that filled, ended and came to be in it are the ones that matter."""
    filled, gone = [(await landed(bench, bench.harness.resting(number)))[0] for number in (4, 2)]
    async with listening(bench):
        kept, _ = await landed(bench, bench.harness.resting(3))
    venue_ms = venue_now(bench)
    await bench.quiet(1)
    others, _ = await bench.another()
    if bench.harness.offers("fill"):
        order = await bench.one(filled)
        await bench.harness.fill(order, order.amount)
    mine, bench.adapter = bench.adapter, others
    await bench.cancel(gone)
    await bench.ended(gone)
    made, _ = await landed(bench, bench.harness.resting(5))
    bench.adapter = mine
    stream = bench.adapter.events(None)
    gap = await first_of(bench, stream)
    bench.expect(
        gap.since <= venue_ms + bench.opened.clock_error,
        f"nobody listened since {venue_ms} (venue ms); the stream says that events since {gap.since} may be missing",
    )

    attempts = (filled, gone, kept, made)

    async def known() -> bool:
        shown = [r for r in await all_open(bench) if not r.status.terminal]
        return all([any(about(r, each) for r in shown) == (await bench.one(each)).live for each in attempts])

    await bench.until(known, "after the Gap a snapshot shows what is open now, and nothing that has ended")
    for each in attempts:
        report, order = await caught_up(bench, each)
        bench.expect(sums(report.fills) == done(report), f"after the Gap lookup lacks fills of {order!r}: {report!r}")
    await close_stream(stream)
    if bench.offers("stream"):
        await told_of_others(bench, others, made)


@case(
    "EVT-04",
    "events that come twice, or in another order, change nothing",
    grade="silver",
    rule="rule 10",
    needs=(Fault.EVENT_REPEATED, Fault.EVENTS_REORDERED, "fill"),
    features=("stream",),
    polled=Polled((Fault.READ_FAILS, Fault.READ_LAGS, "fill"), repeated_polls),
)
async def twice_and_mixed(bench: Bench) -> None:
    """Counted twice, an execution is a position that is not there. Believed last, an old event undoes a newer one."""
    await repeated_and_mixed(bench, (Fault.EVENT_REPEATED, Fault.EVENTS_REORDERED))


@case(
    "EVT-05",
    "a reader who is slow is told what he missed, or that he missed it",
    grade="silver",
    rule="rule 15: overflow",
    needs=("fill",),
    features=("stream",),
)
async def slow_reader(bench: Bench) -> None:
    """Buffers are finite. What falls out of one in silence was the fill, more often than not."""
    async with listening(bench) as ear:
        early = await placed_now(bench, bench.harness.resting(2), "an order placed while all is well")
        await expect_heard(bench, ear, early)
        ear.deaf = True
        placed, order = await landed(bench, bench.harness.resting(150))
        since, venue_ms = bench.clock.monotonic(), venue_now(bench)
        await bench.cancel(early.placed)
        await bench.ended(early.placed)
        ended = await changed(bench, "an order that ended while the reader slept", early.placed, since, venue_ms)
        for number in range(150):
            if number == 149:
                last, last_ms = bench.clock.monotonic(), venue_now(bench)
            await bench.harness.fill(order, order.amount / 150)
            await bench.clock.sleep(0.005)
        await at_rest(bench)
        full = await changed(bench, "an order that filled, 150 times, while the reader slept", placed, last, last_ms)
        ear.deaf = False
        for change in (ended, full):
            await expect_heard(bench, ear, change)

        def counted() -> bool:
            fills = fills_of(ear.reports(placed)).values()
            return sums(fills).base == order.amount or ear.warned(since)

        await bench.until(counted, "every one of 150 fills is told to the slow reader, or Gap")
        await goes_on(bench, ear, "after the reader woke up")


@case("EVT-06", "every time is the venue's, in ms UTC", grade="silver", rule="as_of, at: venue ms UTC")
async def times(bench: Bench) -> None:
    """Seconds for milliseconds puts a fill into 1970; local for venue time puts it before the order that made it."""
    for ahead in (0, 7_200_000):
        if ahead and not bench.harness.offers("skew"):
            continue
        if ahead:
            await bench.harness.skew(ahead)
            await bench.ready()
        first, began = len(bench.seen), venue_now(bench) - TOLERANCE_MS
        async with listening(bench):
            placed = await bench.put()
            await bench.put(bench.harness.crossing(2))
            await all_open(bench)
            await bench.cancel(placed)
            await bench.ended(placed)
            await at_rest(bench)
            await bench.quiet(1)
        if isinstance(bench.adapter, History):
            await all_past(bench)
        by = bench.clock.now_ms() + bench.opened.clock_offset + bench.opened.clock_error + TOLERANCE_MS
        expect_times(bench, bench.seen[first:], bench.placed[-2:], (began, by), ahead)


@case("EVT-07", "every report says of which order it is", grade="silver", rule="OrderReport.id, key, symbol")
async def names(bench: Bench) -> None:
    """A report that names no order is of no use; one that names another order is worse."""
    async with listening(bench) as ear:
        began = bench.clock.monotonic() + 0.001
        attempts = [await bench.put(bench.harness.resting(2)), await bench.put(bench.harness.crossing(2))]
        if bench.harness.offers("elsewhere"):
            attempts.append(await bench.put(bench.harness.elsewhere()))
        await at_rest(bench)
        await all_open(bench)
        await bench.cancel(attempts[0])
        await bench.ended(attempts[0])
        await bench.ended(attempts[1])
        await at_rest(bench)
        stranger = None
        if bench.harness.offers("foreign"):
            since = bench.clock.monotonic()
            stranger = await bench.stranger()
            await at_rest(bench)
            await expect_stranger_told(bench, ear, stranger, since)
            await bench.ready()  # a stranger on the account may have used a number
        await all_open(bench)
        await bench.quiet(1)
        expect_each_told(bench, ear, attempts, began)
    if isinstance(bench.adapter, History):
        await all_past(bench)
    for placed in attempts:
        expect_named(bench, placed, await bench.one(placed))
    expect_listed(bench, ear, attempts)
    if stranger is not None:
        ours = [r for _, r in told_of(bench, stranger) if any(about(r, each) for each in attempts)]
        bench.expect(not ours, f"{stranger!r} is somebody else's; it is reported as ours: {ours!r}")
        expect_strange(bench, stranger)


@case("EVT-08", "a stream ends at once when its reader goes away", grade="silver", rule="events, close")
async def ends(bench: Bench) -> None:
    """A stop that hangs on a stream is killed after a minute, in the middle of something else."""
    before, threads = asyncio.all_tasks(), set(threading.enumerate())
    for steps in (0, 1, 2, 3, 4, 5, 7, 9, 12, 20, 50):
        stream = bench.adapter.events(None)
        reader = asyncio.ensure_future(read_on(stream))
        for _ in range(min(steps, 12)):
            await asyncio.sleep(0)
        if steps > 12:
            await bench.quiet(steps / 100)
        await expect_gone(bench, reader, stream, f"at its step {steps}" if steps <= 12 else "while it waited")
    await expect_nothing_left(bench, before, threads)
    session, _ = await bench.another()
    quiet = set(asyncio.all_tasks())
    reader = asyncio.ensure_future(read_on(session.events(None)))
    await bench.quiet(0.5)
    await session.close()
    await asyncio.wait([reader], timeout=5)
    bench.expect(reader.done(), "close() was called, and the session's stream goes on for another 5 s")
    if not reader.cancelled():
        reader.exception()  # how it ends is its own affair
    await expect_nothing_left(bench, quiet | {reader}, threads)
    again = bench.adapter.events(None)
    await first_of(bench, again)
    await close_stream(again)


@case("EVT-09", "first subscribed, then Gap, then data", grade="silver", rule="rule 15", features=("stream",))
async def gap_first(bench: Bench) -> None:
    """The reader takes his snapshot at the Gap. What happens between that and a subscription that comes later is in
    neither."""
    for round_ in range(4):
        stream = bench.adapter.events(None)
        beginning = asyncio.ensure_future(first_of(bench, stream))
        for _ in range(round_):
            await asyncio.sleep(0)
        busy = await placed_now(bench, bench.harness.resting(2), "an order placed while the stream began")
        await beginning
        # The stream stands still at its Gap, as while a snapshot is taken, and goes on only when the order is there.
        change = await placed_now(bench, bench.harness.resting(3), "an order placed right after the first Gap")
        ear = Ear(bench.clock.monotonic)
        for _ in range(100):
            ear.keep(await next_of(bench, stream, f"{change.what}: the stream tells of it, or says Gap again"))
            if heard(ear, change) or ear.gaps:
                break
        else:
            bench.fail(f"{change.what}: of 100 events none is about it")
        await close_stream(stream)
        for each in (busy, change):
            await bench.cancel(each.placed)


@case(
    "EVT-10",
    "a stream that has fallen silent is noticed",
    grade="silver",
    rule="rule 15: silence beyond the heartbeat",
    needs=(Fault.STREAM_SILENT,),
    features=("stream",),
    polled=Polled((Fault.READ_FAILS, Fault.SLOW), hung_polls),
)
async def silent(bench: Bench) -> None:
    """The connection stands, and nothing comes: for the reader the market has stopped, until somebody restarts him."""
    async with listening(bench) as ear:
        for round_ in range(2):
            await bench.quiet(round_ * 3.3)
            await bench.harness.inject(Fault.STREAM_SILENT)
            await bench.quiet(1.5)
            change = await placed_now(bench, bench.harness.resting(2), "an order placed while the stream was silent")
            await expect_heard(bench, ear, change, SILENCE_S)
            await bench.harness.clear()
            await goes_on(bench, ear, "after the silence")


@case(
    "EVT-11",
    "an event that is lost is noticed when the next one comes",
    grade="silver",
    rule="rule 15",
    needs=(Fault.EVENT_LOST,),
    features=("stream",),
    polled=Polled((Fault.READ_FAILS, Fault.READ_GARBLED), garbled_polls),
)
async def lost(bench: Bench) -> None:
    """Numbers on events are there to be compared. A venue that does not number them has a stream that is partial, with
    a note that says so: its reader asks more often."""
    if bench.support("stream").level is SupportLevel.PARTIAL:
        raise Inapplicable(f"the stream is declared partial: {bench.support('stream').note}")
    async with listening(bench) as ear:
        target, _ = await landed(bench, bench.harness.resting(5))
        for round_ in range(4):
            await bench.harness.inject(Fault.EVENT_LOST)
            if round_ < 3:
                change = await placed_now(bench, bench.harness.resting(2), "an order whose event was lost")
            else:
                since, venue_ms = bench.clock.monotonic(), venue_now(bench)
                await bench.cancel(target)
                await bench.ended(target)
                change = await changed(bench, "a cancel whose event was lost", target, since, venue_ms)
            await bench.harness.clear()
            await bench.quiet(0.5)
            for number in range(3):
                await placed_now(bench, bench.harness.resting(1), f"order {number + 1} after a lost event")
            await expect_heard(bench, ear, change, SILENCE_S)
