"""What was bought and sold: every execution once, under one id, with its price and its fees, to the last one."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal

from exchange_kernel.errors import InvalidOrder, Unsupported
from exchange_kernel.schema import AmountType, Side, SupportLevel, TimeInForce
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.testing.conformance.bench import Bench, Inapplicable, Placed
from exchange_kernel.testing.conformance.evidence import (
    blind,
    landed,
    pass_by,
    settled,
    shown,
)
from exchange_kernel.testing.conformance.executions import (
    corrected,
    expect_its_terms,
    expect_sound,
    expect_unique,
    never_rests,
    sold_apart,
    sold_in_parts,
    whole_report,
)
from exchange_kernel.testing.conformance.harness import TruthOrder
from exchange_kernel.testing.conformance.listening import Ear, listening
from exchange_kernel.testing.conformance.probes import is_spot
from exchange_kernel.testing.conformance.registry import case
from exchange_kernel.testing.conformance.telling import (
    all_open,
    all_past,
    at_rest,
    caught_up,
    complete,
    done,
    never_falls,
    sums,
    told_of,
)
from exchange_kernel.value import revised
from exchange_kernel.venue import Fill, Found, History, OrderReport, VenueStatus

DAY_MS = 86_400_000
ZERO = Decimal(0)


@case(
    "FILL-01",
    "executions add up, part after part, and never fall",
    grade="silver",
    rule="filled never falls",
    needs=("fill",),
    features=("partial_fills",),
)
async def add_up(bench: Bench) -> None:
    """Hedges follow what is filled. A quantity that jumps back makes them sell what was bought, and buy it again."""
    async with listening(bench) as ear:
        placed, order = await landed(bench, bench.harness.resting(4))
        step, quarter = bench.market.amounts.step, order.amount / 4
        for part in (step, quarter, quarter - step, order.amount / 2):  # the first as little as there is
            await bench.harness.fill(order, part)
            report, now = await caught_up(bench, placed)
            right = (VenueStatus.WORKING,) if now.live else (VenueStatus.FILLED,)
            bench.expect(report.status in right, f"lookup says {report.status.value} of {now!r}")
            bench.expect(
                done(report).quote == now.filled_quote, f"lookup says {done(report)} is executed; the venue: {now!r}"
            )
            if bench.offers("stream"):
                await _heard(bench, ear, placed, now)
            await at_rest(bench)
            await bench.look(placed)
        end = await bench.ended(placed)
    order = await bench.one(placed)
    expect_its_terms(bench, placed)
    bench.expect(
        (end.filled.base, end.filled.quote) == (order.filled_base, order.filled_quote),
        f"the order's last report says {end.filled} of {order!r}",
    )
    never_falls(bench, placed)


@case(
    "FILL-02",
    "the fills of a report make what it says is filled, or it says that some are left out",
    grade="silver",
    rule="fills_complete",
    needs=("fill",),
)
async def honest_lists(bench: Bench) -> None:
    """An order is closed once its fills are all booked. A list that is called complete and is not closes it too early,
    and what was left out is a position nobody knows of."""
    async with listening(bench):
        placed, order = await landed(bench, bench.harness.resting(10))
        for _ in range(5):
            await bench.harness.fill(order, order.amount / 5 / 2)
            await bench.look(placed)
            await all_open(bench)
        crossed = await bench.put(bench.harness.crossing(2))
        await bench.cancel(placed)
        attempts = (placed, crossed)
        ends = [await bench.ended(each) for each in attempts]
        await at_rest(bench)
        await bench.quiet(1)
    if isinstance(bench.adapter, History):
        await all_past(bench)
    for each, end in zip(attempts, ends, strict=True):
        bench.expect(sums(end.fills) == done(end), f"lookup's last word on an order lacks fills: {end!r}")
        for source, report in told_of(bench, each):
            wrong = complete(report)
            bench.expect(not wrong, f"{source} says {report!r}: {wrong}")


@case("FILL-03", "an execution says price, quantities, fees and whose order rested", grade="silver", rule="Fill")
async def details(bench: Bench) -> None:
    """Profit is counted from these. A fee that is left out, or of no asset, is a loss that shows weeks later."""
    before = await bench.ask(bench.adapter.account())
    async with listening(bench):
        attempts = [await bench.put(bench.harness.crossing(2)), await bench.put(bench.harness.crossing(3))]
        makers: list[Placed] = []
        if bench.harness.offers("fill"):
            makers.append((await sold_in_parts(bench, bench.harness.resting(2), 2))[0])
        ends = [await bench.ended(each) for each in (*attempts, *makers)]
        await at_rest(bench)
    for placed in (*attempts, *makers):
        for source, report in told_of(bench, placed):
            for fill in report.fills:
                expect_sound(bench, fill, report.side, placed.spec.limit, source)
                bench.expect(
                    fill.of in (report.id, *report.links), f"{source}: {fill!r} is listed in the report of {report.id}"
                )
                rested = placed in makers
                bench.expect(
                    fill.maker in (None, rested),
                    f"{source}: {fill!r}; its order {'rested' if rested else 'took what rested'}",
                )
    if not is_spot(bench.market) or not all(fill.fees_known for end in ends for fill in end.fills):
        return
    after = await bench.ask(bench.adapter.account())
    owned = [{each.asset: each.total for each in snapshot.balances} for snapshot in (before, after)]
    paid = {asset: owned[0].get(asset, ZERO) - owned[1].get(asset, ZERO) for asset in (*owned[0], *owned[1])}
    for end in ends:
        buys = 1 if end.side is Side.BUY else -1
        for asset, amount in (
            (bench.market.quote, -buys * end.filled.quote),
            (bench.market.base, buys * end.filled.base),
            *((fee.asset, -fee.amount) for fill in end.fills for fee in fill.fees),
            *((cost.asset, -cost.amount) for cost in end.costs),
        ):
            paid[asset] = EXACT.add(paid.get(asset, ZERO), amount)
    lost = {asset: amount for asset, amount in paid.items() if amount}
    bench.expect(not lost, f"fills with their fees do not explain the balances: {lost} went somewhere else")


@case(
    "FILL-04",
    "a fill has one id, for ever, and no other fill of the account has it",
    grade="silver",
    rule="rule 12",
    needs=("fill",),
)
async def ids(bench: Bench) -> None:
    """Fills are booked once by their id. With two ids one execution counts twice; with one id for two, the second is
    taken for a repetition, and never counts."""
    alone: list[tuple[str, Fill]] = []
    async with listening(bench):
        specs = [bench.harness.resting(4), bench.harness.resting(4), bench.harness.resting(6)]
        if bench.harness.offers("elsewhere"):
            # Venues that count trades per market, or per order, count both from 1.
            specs += [bench.harness.elsewhere()] * 3
        attempts: list[Placed] = []
        for spec in specs:
            placed, order = await sold_in_parts(bench, spec, 2)
            attempts.append(placed)
            await whole_report(bench, placed, order)
        for number in (1, 1, 2):
            attempts.append(await bench.put(bench.harness.crossing(number)))
        attempts.append(await sold_apart(bench, bench.harness.resting(10)))
        open_one, order = await sold_in_parts(bench, bench.harness.resting(8), 2, of=4)
        attempts.append(open_one)
        await whole_report(bench, open_one, order)
        await all_open(bench)
        for placed in attempts[:-1]:
            await bench.ended(placed)
        await at_rest(bench)
        await bench.quiet(1)
    for fresh in (False, True):
        adapter = (await bench.another())[0] if fresh else bench.adapter
        for placed in attempts:
            await bench.look(placed, adapter=adapter)
    if isinstance(bench.adapter, History):
        items, _ = await all_past(bench)
        alone = [("history", item) for item in items if isinstance(item, Fill)]
    expect_unique(bench, attempts, alone)
    await pass_by(bench, DAY_MS)
    again, _ = await bench.another()
    for placed in attempts:
        await bench.look(placed, adapter=again)
    expect_unique(bench, attempts, alone)


@case(
    "FILL-05",
    "an order of immediate execution never rests",
    grade="silver",
    rule="tif",
    features=("ioc|fok",),
)
async def immediate(bench: Bench) -> None:
    """An IOC that stays on the book is filled an hour later, when nobody counts on it any more; a FOK that fills in
    part is the one thing it was not to do."""
    crossing = bench.adapter.check(bench.harness.crossing(4)).spec
    for tif in (TimeInForce.IOC, TimeInForce.FOK):
        if bench.offers(tif.lower()):
            await never_rests(bench, revised(bench.harness.resting(2), tif=tif, post_only=False), ZERO)
            await never_rests(bench, revised(crossing, tif=tif), crossing.amount)


@case(
    "FILL-11",
    "of an order of immediate execution that finds too little, an IOC takes that and a FOK nothing",
    grade="silver",
    rule="tif",
    needs=("liquidity",),
    features=("ioc|fok",),
)
async def in_part(bench: Bench) -> None:
    """There is rarely enough of it. Whoever asked for all or nothing and gets a half has a position he cannot use; an
    IOC whose rest stays goes on buying after the moment has passed."""
    crossing = bench.adapter.check(bench.harness.crossing(4)).spec
    half = crossing.amount / 2
    for tif in (TimeInForce.IOC, TimeInForce.FOK):
        if bench.offers(tif.lower()):
            await bench.harness.liquidity(half)
            await never_rests(bench, revised(crossing, tif=tif), half if tif is TimeInForce.IOC else ZERO)
            await bench.harness.liquidity(crossing.amount * 100)


@case(
    "FILL-07",
    "a market order is reported at the price it traded, never at none",
    grade="silver",
    rule="Fill.price",
    features=("market",),
)
async def market_price(bench: Bench) -> None:
    """Venues show a market order with price 0. Booked so, the position was free, and its profit is a fantasy."""
    crossing = bench.harness.crossing(2)
    for guard in (crossing.limit, None):
        with suppress(InvalidOrder):  # some want a worst price, some take none
            async with listening(bench):
                placed = await bench.put(revised(crossing, limit=None, guard=guard))
                end = await bench.ended(placed)
                await at_rest(bench)
            order = await bench.one(placed)
            bench.expect(end.status is VenueStatus.FILLED, f"a market order that could trade in full ended as {end!r}")
            bench.expect(
                (end.filled.base, end.filled.quote) == (order.filled_base, order.filled_quote),
                f"a market order is reported {end!r}; the venue has {order!r}",
            )
            for source, report in told_of(bench, placed):
                bench.expect(
                    report.price is None or report.price > 0, f"{source}: a market order's price is {report.price}"
                )
                bench.expect(
                    bool(done(report).base) == bool(done(report).quote),
                    f"{source}: a market order traded {done(report)}: something for nothing",
                )
                for fill in report.fills:
                    expect_sound(bench, fill, report.side, guard, source)


@case(
    "FILL-08",
    "an order in quote never spends more than it was for",
    grade="silver",
    rule="rule 18, amount_quote",
    features=("amount_quote",),
)
async def quote_amounts(bench: Bench) -> None:
    """For a thousand dollars means: not a cent more. Converted at a price of a moment ago, it is."""
    crossing = bench.harness.crossing(3)
    price = crossing.limit
    if price is None or crossing.amount_in is not AmountType.BASE:
        raise Inapplicable("the harness' crossing orders say no price to count with")
    worth = EXACT.multiply(crossing.amount, price)
    kinds: list[dict[str, Decimal | None]] = [{"limit": price}] if bench.offers("limit") else []
    kinds += [{"limit": None, "guard": price}, {"limit": None}] if bench.offers("market") else []
    taken = 0
    for kind in kinds:
        for part in ("1", "0.7777", "0.5123456789"):
            amount = EXACT.multiply(worth, Decimal(part))
            spec = revised(crossing, amount=amount, amount_in=AmountType.QUOTE, **kind)
            try:
                placed = await bench.ticket_for(spec)
            except Unsupported as error:  # an InvalidOrder, too
                partial = bench.support("amount_quote").level is SupportLevel.PARTIAL
                bench.expect(partial, f"amount_quote is declared native, and {spec!r} is refused: {error!r}")
                break
            except InvalidOrder:
                if kind["limit"] is not None or "guard" in kind:
                    raise
                break  # some take no market order without a worst price
            taken += 1
            outcome = await bench.send(placed)
            bench.expect(outcome.error is None, f"an order for {amount} {bench.market.quote}: submit {shown(outcome)}")
            await settled(bench)
            await bench.found(placed)
            order = await bench.one(placed)
            spent = order.filled_quote
            bench.expect(
                spent <= amount, f"an order for {amount} {bench.market.quote} spent {spent} at the venue: {order!r}"
            )
            bench.expect(
                spent > amount / 2, f"an order for {amount} {bench.market.quote} that could trade spent {spent} only"
            )
            report = await whole_report(bench, placed, order)
            bench.expect(done(report).quote == spent, f"reported is {report!r}; the venue has {order!r}")
    bench.expect(bool(taken), "amount_quote is declared, and no order in quote is taken: market, limit, or guarded")


@case(
    "FILL-09",
    "the last report of an order carries every fill, however many, however late",
    grade="silver",
    rule="rule 9",
    needs=("fill",),
)
async def every_fill(bench: Bench) -> None:
    """Venues page trades, cut lists at twenty, and forget. The order counts as done, and a part of it is nowhere."""
    parts = 25
    placed, order = await sold_in_parts(bench, bench.harness.resting(parts * 2), parts)
    for ms in (0, 8 * DAY_MS):
        if ms:
            await pass_by(bench, ms)
        for fresh in (False, True):
            adapter = (await bench.another())[0] if fresh else bench.adapter
            end = await bench.ended(placed) if not fresh else await bench.found(placed, adapter=adapter)
            what = f"lookup of an order that was filled in {parts} parts" + (f", {ms} ms later," if ms else "")
            bench.expect(end.status.terminal and end.final, f"{what} says {end!r}")
            bench.expect(
                sums(end.fills) == done(end) and done(end).base == order.filled_base and end.fills_complete,
                f"{what} carries {len(end.fills)} fills, of {sums(end.fills)}; the venue has {order!r}",
            )
            if bench.offers("find_by_key"):
                answer = await bench.ask(adapter.lookup(blind(placed)))
                shown_ = [
                    r for r in (answer.reports if isinstance(answer, Found) else ()) if isinstance(r, OrderReport)
                ]
                bench.expect(
                    len(shown_) == 1 and {f.id for f in shown_[0].fills} == {f.id for f in end.fills},
                    f"{what} by its key alone has other fills than by its ids: {answer!r}",
                )


@case(
    "FILL-10",
    "a correction keeps the fill's id, and a bust is told",
    grade="gold",
    rule="rule 12: correction and bust",
    needs=("correct",),
)
async def corrections(bench: Bench) -> None:
    """A venue takes trades back after a crash. Told as a new fill the position doubles; not told at all, the desk
    hedges what it does not have."""
    for share in (Decimal("0.5"), ZERO):
        async with listening(bench) as ear:
            await corrected(bench, ear, share)


async def _heard(bench: Bench, ear: Ear, placed: Placed, now: TruthOrder) -> None:
    def heard() -> bool:
        told = any(done(report).base == now.filled_base for report in ear.reports(placed))
        return told or len(ear.gaps) > 1 or bool(ear.ends)

    await bench.until(heard, f"the stream tells of {now!r}, or of a gap")
