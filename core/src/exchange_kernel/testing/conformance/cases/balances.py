"""Money: what the account has, what its orders hold, and that every change of it is accounted for."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from exchange_kernel.schema import AmountType, Side
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.testing.conformance.attempts import Missing
from exchange_kernel.testing.conformance.bench import Bench, Inapplicable, Placed
from exchange_kernel.testing.conformance.listening import listening
from exchange_kernel.testing.conformance.moments import expect_mark
from exchange_kernel.testing.conformance.probes import is_spot
from exchange_kernel.testing.conformance.registry import case
from exchange_kernel.testing.conformance.telling import all_open, all_past, at_rest, complete, done, newest, told_of
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    AccountSnapshot,
    Balance,
    Fill,
    Found,
    History,
    OrderReport,
    StepReport,
)

ZERO = Decimal(0)


@case("BAL-01", "total is what is free and what orders hold", grade="silver", rule="Balance")
async def totals(bench: Bench) -> None:
    """An order moves money from free to held and back, and nothing else. A total that forgets what is held makes the
    risk limits see a loss with every order."""
    before = await _account(bench)
    bench.expect(before.complete, "account() says that its snapshot is not complete")
    placed = await bench.put()
    await _working(bench, placed)
    during = await _account(bench)
    costs = await _costs(bench, [placed])
    for asset in {each.asset for each in (*before.balances, *during.balances)}:
        was, now, paid = _of(before, asset), _of(during, asset), costs.get(asset, ZERO)
        bench.expect(
            now.total == was.total - paid,
            f"an order that only rests changes the total of {asset} from {was.total} to {now.total}"
            + (f", with costs of {paid}" if paid else ""),
        )
        bench.expect(now.borrowed == was.borrowed, f"an order that rests borrows: {asset} is {was!r}, and then {now!r}")
        bench.expect(
            now.free <= was.free, f"an order that rests makes more of {asset} free: {was.free}, then {now.free}"
        )
    await bench.cancel(placed)
    await bench.ended(placed)
    await _settled(bench)
    after, costs = await _account(bench), await _costs(bench, [placed])
    for asset in {each.asset for each in (*before.balances, *after.balances)}:
        was, now, paid = _of(before, asset), _of(after, asset), costs.get(asset, ZERO)
        bench.expect(
            (now.total, now.free) == (was.total - paid, was.free - paid),
            f"after its order was cancelled {asset} is {now.total}, {now.free} of it free; before it was {was.total} "
            f"and {was.free}, and costs of {paid} were reported",
        )


@case("BAL-02", "an open order holds what it may pay", grade="silver", rule="Balance")
async def held(bench: Bench) -> None:
    """Money that an order holds and that looks free is spent twice: the next order is refused, or trades on credit."""
    if not is_spot(bench.market):
        raise Inapplicable(f"{bench.harness.symbol} holds margin, not what it trades")
    before = await _account(bench)
    first = await bench.put(bench.harness.resting(1))
    await _working(bench, first)
    one = await _account(bench)
    second = await bench.put(bench.harness.resting(2))
    await _working(bench, second)
    both = await _account(bench)
    spec = first.spec
    asset = bench.market.quote if spec.side is Side.BUY else bench.market.base
    held = [_of(each, asset).total - _of(each, asset).free for each in (before, one, both)]
    if held[0] == held[1] == held[2] and first.ticket.fence.authority == "ledger":
        raise Inapplicable("orders of this venue hold nothing while they rest")
    for placed, was, now in ((first, held[0], held[1]), (second, held[1], held[2])):
        least = _pays(placed)
        most = sum((each.amount for each in placed.ticket.outlay if each.asset == asset), ZERO)
        bench.expect(
            now - was >= least, f"an order that may pay {least} {asset} holds {now - was}: the rest looks free"
        )
        bench.expect(
            not placed.ticket.outlay or now - was <= most,
            f"an order holds {now - was} {asset}; its ticket said that it costs at most {most}",
        )
    await _nearly_all_held(bench, asset)


async def _nearly_all_held(bench: Bench, asset: str) -> None:
    """An asset of which hardly anything is free is there all the same."""
    before, spec = await _account(bench), bench.harness.resting()
    assert spec.limit is not None
    share = EXACT.multiply(_of(before, asset).free, Decimal("0.985"))
    step, most = bench.market.amounts.step, bench.market.amounts.max_amount
    amount = (share / spec.limit if spec.side is Side.BUY else share) // step * step
    if spec.amount_in is not AmountType.BASE or amount < spec.amount or (most is not None and amount > most):
        return
    placed = await bench.ticket_for(revised(spec, amount=amount))
    outcome = await bench.send(placed)
    await _settled(bench)
    if outcome.error is not None or not await _there(bench, placed):
        return
    after, paid = await _account(bench), (await _costs(bench, [placed])).get(asset, ZERO)
    bench.expect(
        _of(after, asset).total == _of(before, asset).total - paid,
        f"with nearly all of it held by an order {asset} is {_of(after, asset)!r}; before it was "
        f"{_of(before, asset)!r}",
    )


@case("BAL-03", "balances change by fills and fees, and by nothing else", grade="silver", rule="R12")
async def deltas(bench: Bench) -> None:
    """Positions and profit are counted from fills. Where fees are missing from them the books drift away from the
    venue with every trade, until a human must find out why."""
    before = await _account(bench)
    placed = [await bench.put(bench.harness.crossing(each)) for each in (1, 3)]
    if bench.harness.offers("fill"):
        rested = await bench.put()
        await _working(bench, rested)
        order = await bench.one(rested)
        await bench.harness.fill(order, order.amount)
        placed.append(rested)
    for each in placed:
        report = await bench.ended(each)
        bench.expect(report.fills and report.fills_complete, "the last report of a filled order lacks fills")
    await _settled(bench)
    if not is_spot(bench.market):
        owned = await _account(bench)
        bench.expect(
            any(each.symbol == bench.harness.symbol for each in (*before.positions, *owned.positions)),
            f"{bench.harness.symbol} is listed as {bench.market.asset_type}; orders in it were filled, and account() "
            f"shows no position in it: {owned.positions!r}",
        )
        raise Inapplicable(f"{bench.harness.symbol} settles in margin")
    expected = await _expected(bench, placed)
    after = await _account(bench)
    for asset in sorted(set(expected) | {each.asset for each in (*before.balances, *after.balances)}):
        change = _of(after, asset).total - _of(before, asset).total
        said = expected.get(asset, ZERO)
        bench.expect(
            change == said,
            f"{asset} changed by {change}, fills, fees and costs as reported make {said}; {change - said} are missing",
        )


@case("BAL-05", "costs of the network are accounted for", grade="silver", rule="costs")
async def network_costs(bench: Bench) -> None:
    """On a chain also what is cancelled costs. Gas that nobody reports is a leak that shows in no fill."""
    before = await _account(bench)
    placed = await bench.put()
    if placed.ticket.fence.authority != "ledger":
        raise Inapplicable("requests cost nothing where the venue is the authority")
    await _working(bench, placed)
    await bench.cancel(placed)
    await bench.ended(placed)
    await _settled(bench)
    after, costs = await _account(bench), await _costs(bench, [placed])
    for asset in {each.asset for each in (*before.balances, *after.balances)}:
        paid = _of(before, asset).total - _of(after, asset).total
        said = costs.get(asset, ZERO)
        bench.expect(paid == said, f"placing and cancelling cost {paid} {asset}; the reports say {said}")
    most: dict[str, Decimal] = {}
    for ticket in placed.tickets:
        for money in ticket.outlay:
            most[money.asset] = most.get(money.asset, ZERO) + money.amount
    for asset, paid in costs.items():
        bench.expect(paid <= most.get(asset, ZERO), f"{paid} {asset} were paid, the tickets said at most {most}")


@case("BAL-08", "an order never costs more than its outlay", grade="silver", rule="rule 18")
async def outlay(bench: Bench) -> None:
    """Limits are held by what tickets say they may cost."""
    if not is_spot(bench.market):
        raise Inapplicable(f"{bench.harness.symbol} pays with margin")
    for number in (1, 2):
        before = await _account(bench)
        placed = await bench.put(bench.harness.crossing(number))
        await bench.ended(placed)
        await _settled(bench)
        after = await _account(bench)
        said: dict[str, Decimal] = {}
        for money in placed.ticket.outlay:
            said[money.asset] = said.get(money.asset, ZERO) + money.amount
        asset = bench.market.quote if placed.spec.side is Side.BUY else bench.market.base
        if asset not in said:
            bench.expect(
                placed.spec.limit is None and placed.spec.guard is None,
                f"a {placed.spec.side} at {placed.spec.limit} has no outlay in {asset}, which it pays",
            )
        for asset, most in said.items():
            paid = _of(before, asset).total - _of(after, asset).total
            bench.expect(paid <= most, f"the order cost {paid} {asset}; its ticket said at most {most}")


@case("BAL-09", "balances of the stream are those of account()", grade="silver", rule="rule 15", features=("stream",))
async def streamed(bench: Bench) -> None:
    """The kernel believes the newest it heard. Where stream and snapshot count differently the money moves with who
    spoke last."""
    async with bench.watching() as watch:
        resting = await bench.put()
        await _settled(bench)
        await bench.quiet(1)  # so that its hold is told of alone
        filled = await bench.put(bench.harness.crossing())
        await bench.ended(filled)
        await _settled(bench)
        await bench.quiet(2)
        told = [event.body for event in watch.events if isinstance(event.body, AccountSnapshot)]
        if not told:
            raise Inapplicable("the stream says nothing of balances")
        snapshot = await _account(bench)
        newest = {each.asset: each for part in told for each in part.balances}
        for asset, balance in newest.items():
            bench.expect(
                balance == _of(snapshot, asset),
                f"the stream's last word on {asset} is {balance}, account() says {_of(snapshot, asset)}",
            )
        for part in told:
            _expect_sound(bench, part, "the stream")
            expect_mark(bench, part.at, "what the stream says of balances")
            lacking = {b.asset for b in snapshot.balances if b.total} - {b.asset for b in part.balances}
            bench.expect(
                not (part.complete and lacking),
                f"the stream says that {part!r} is complete, and account() lists {sorted(lacking)} beside that: its "
                "reader believes they are gone",
            )
        await bench.cancel(resting)


# ------------------------------------------------------------------------------------------------------------------


async def _account(bench: Bench) -> AccountSnapshot:
    """A snapshot that is sound in itself, from after every change so far."""
    if bench.opened.read_lag:
        await bench.clock.sleep(bench.opened.read_lag / 1000)
    snapshot: AccountSnapshot = await bench.ask(bench.adapter.account())
    _expect_sound(bench, snapshot, "account()")
    return snapshot


def _expect_sound(bench: Bench, snapshot: AccountSnapshot, who: str) -> None:
    names = [each.asset for each in snapshot.balances]
    bench.expect(len(names) == len(set(names)), f"{who} lists an asset twice: {sorted(names)}")
    for each in snapshot.balances:
        bench.expect(
            ZERO <= each.free <= each.total or each.borrowed,
            f"{who} says of {each.asset} that {each.free} of {each.total} are free",
        )


def _of(snapshot: AccountSnapshot, asset: str) -> Balance:
    return next((each for each in snapshot.balances if each.asset == asset), Balance(asset, ZERO, ZERO))


def _pays(placed: Placed) -> Decimal:
    """What the order pays without fees, in the asset it pays."""
    spec = placed.spec
    assert spec.limit is not None
    base = spec.amount_in is AmountType.BASE
    if spec.side is Side.BUY:
        return EXACT.multiply(spec.amount, spec.limit) if base else spec.amount
    return spec.amount if base else EXACT.divide(spec.amount, spec.limit)


async def _working(bench: Bench, placed: Placed) -> None:
    """The order is at the venue itself, not on its way there."""
    await bench.until(lambda: _there(bench, placed), "the order is at the venue")
    await _settled(bench)


async def _there(bench: Bench, placed: Placed) -> bool:
    return any(order.live for order in await bench.truth(placed))


async def _settled(bench: Bench) -> None:
    if bench.harness.offers("settle"):
        await bench.harness.settle()


async def _reports(bench: Bench, placed: Placed) -> tuple[OrderReport | StepReport, ...]:
    """Everything lookup says of the attempt, and of each of its commands that is no order."""
    out: list[OrderReport | StepReport] = []
    for key in dict.fromkeys((placed.key, *(ticket.key for ticket in placed.tickets))):
        ref = revised(bench.ref(placed), key=key)
        answer = await bench.ask(bench.adapter.lookup(ref))
        out += answer.reports if isinstance(answer, Found) else ()
    return tuple(out)


async def _costs(bench: Bench, attempts: Iterable[Placed]) -> dict[str, Decimal]:
    """Costs apart from fills, per asset, each counted once."""
    known = {cost.id: cost for each in attempts for report in await _reports(bench, each) for cost in report.costs}
    out: dict[str, Decimal] = {}
    for cost in known.values():
        out[cost.asset] = out.get(cost.asset, ZERO) + cost.amount
    return out


async def _expected(bench: Bench, attempts: list[Placed]) -> dict[str, Decimal]:
    """By how much fills, their fees and other costs change each asset."""
    market = bench.market
    out = {asset: -paid for asset, paid in (await _costs(bench, attempts)).items()}

    def add(asset: str, amount: Decimal) -> None:
        out[asset] = EXACT.add(out.get(asset, ZERO), amount)

    fills: dict[str, tuple[Side, Fill]] = {}
    for each in attempts:
        for report in await _reports(bench, each):
            if isinstance(report, OrderReport) and report.symbol == market.symbol_id:
                fills.update((fill.id, (report.side, fill)) for fill in report.fills)
    for side, fill in fills.values():
        bench.expect(fill.fees_known, "a fill of an order that has ended says its fees are not known yet")
        sign = 1 if side is Side.BUY else -1
        add(market.base, sign * fill.base)
        add(market.quote, -sign * fill.quote)
        for fee in fill.fees:
            add(fee.asset, -fee.amount)
    return out


@case("BAL-10", "what the venue does by itself has the origin venue", grade="gold", rule="rule 19")
async def venue_made(bench: Bench) -> None:
    """Nobody ordered a liquidation, and no intent explains it. Told as the account's own order it is drift, which
    policy cancels or undoes; told under an attempt's key it counts as what the user wanted."""
    if not bench.harness.offers("forced"):
        if is_spot(bench.market):
            raise Inapplicable("a spot market: there is no position that the venue could close")
        raise Missing("the harness has no forced()")
    own = await bench.put()
    async with listening(bench) as ear:
        order = await bench.harness.forced()
        await at_rest(bench)
        order = next(each for each in await bench.harness.truth() if set(each.ids) & set(order.ids))

        async def told() -> bool:
            return any(done(report).base == order.filled_base for report in ear.reports(order))

        if bench.offers("stream"):
            await bench.until(told, f"the stream tells of what the venue did by itself: {order!r}")
        await bench.found(own)
        await bench.look(own)
    if isinstance(bench.adapter, History):
        await bench.ask(all_past(bench))
    await all_open(bench)
    reports = told_of(bench, order)
    for source, report in reports:
        bench.expect(
            report.origin == "venue",
            f"{source} tells of {order!r}, which the venue did by itself, as {report!r}: its origin is the venue",
        )
        bench.expect(
            report.key is None, f"{source} tells of {order!r} under a key, though nobody ordered it: {report!r}"
        )
        bench.expect(
            (report.side, report.symbol) == (order.side, order.symbol) and done(report).base <= order.filled_base,
            f"{source} tells of {order!r} as {report!r}",
        )
    last = newest(report for _, report in reports)
    bench.expect(
        last is not None and last.status.terminal and not complete(last),
        f"what the venue did by itself is over, {order!r}; told was last {last!r}",
    )
    mine = [(source, report) for source, report in told_of(bench, own) if report.origin != "account"]
    bench.expect(not mine, f"an order of the account is told to be the venue's: {mine!r}")
