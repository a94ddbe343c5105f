"""Numbers on their way to the venue: exact, on the market's grid, and never worse than what was ordered."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from decimal import Decimal

from exchange_kernel.errors import InsufficientFunds, InvalidOrder, Rejected, Unsupported
from exchange_kernel.schema import AmountType, Side, SymbolMetadata, TimeInForce
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.testing.conformance.arrived import expect_arrived
from exchange_kernel.testing.conformance.audit import deeds
from exchange_kernel.testing.conformance.bench import Bench, Failed, Inapplicable, Placed
from exchange_kernel.testing.conformance.evidence import adopt, pass_by, present, settled, shown
from exchange_kernel.testing.conformance.probes import is_spot, on_grid, plain, some_symbols, unlike
from exchange_kernel.testing.conformance.registry import case
from exchange_kernel.testing.conformance.tour import tour
from exchange_kernel.testing.conformance.variations import awkward, off_grid, out_of_bounds, random_on_grid, varied
from exchange_kernel.testing.conformance.walk import wrong_numbers
from exchange_kernel.value import revised
from exchange_kernel.venue import Money, Place, Preview, Spec, VenueStatus


@case("PREC-01", "prices and amounts are rounded to the safe side", grade="bronze", rule="rule 18")
async def safe_rounding(bench: Bench) -> None:
    """A buy rounded up and a sell rounded down cost a tick on every order, and an amount rounded up costs more than
    the desk has."""
    tried = 0
    for symbol in some_symbols(bench):
        for spec in off_grid(bench, symbol):
            sent = _preview(bench, spec)
            if sent is None:
                continue
            tried += 1
            _expect_safe(bench, sent.spec, spec, symbol)
            again = _preview(bench, sent.spec)
            bench.expect(
                again is not None and again.spec == sent.spec,
                f"what would be sent for {spec} is {sent.spec}, and for that it is {again and again.spec}",
            )
            _expect_outlay(bench, sent, symbol)
    if not tried:
        raise Inapplicable("check() refuses everything that is off the grid, and so rounds nothing")


@case("PREC-02", "what the market's bounds forbid is refused before the wire", grade="bronze", rule="check()")
async def bounds(bench: Bench) -> None:
    """The venue would refuse it too, after the intent was taken, signed and sent, and counted against the limits."""
    before = await bench.harness.changes()
    for symbol in some_symbols(bench):
        base = plain(bench, symbol)
        if base is None or _preview(bench, base) is None:
            continue
        for what, spec in out_of_bounds(base, symbol):
            try:
                preview = bench.adapter.check(spec)
            except Unsupported as error:
                raise Failed(f"{what}: check() raised {error!r}; it is InvalidOrder, not a missing feature") from error
            except InvalidOrder:
                await bench.raises(InvalidOrder, bench.draft(Place(bench.key(), spec)), f"prepare() of {what}")
                continue
            # A price beyond the highest may become the highest; an amount cannot be moved so far.
            problem = on_grid(preview.spec, symbol) or unlike(preview.spec, spec, symbol)
            bench.expect(not problem, f"{what} passes check(), which would send {preview.spec}: {problem}")
    sent = await bench.harness.changes() - before
    bench.expect(not sent, f"{sent} changes reached the venue for orders out of bounds")


@case("PREC-03", "what is on the grid arrives as it was written", grade="bronze", rule="rule 18")
async def exact_on_grid(bench: Bench) -> None:
    """A number that passes through binary floating point or scientific notation comes out as another number, or as
    none."""
    for symbol in some_symbols(bench):
        for spec in random_on_grid(bench, symbol):
            preview = _preview(bench, spec)
            if preview is None:
                bench.fail(f"check() refuses {spec}, which keeps every constraint of {symbol.symbol_id}")
            sent = preview.spec
            bench.expect(
                (sent.amount, sent.limit) == (spec.amount, spec.limit),
                f"amount {spec.amount} at {spec.limit}, on the grid, became {sent.amount} at {sent.limit}",
            )
            problem = unlike(sent, spec, symbol)
            bench.expect(not problem, f"{spec}: {problem}")
    for spec in awkward(bench):
        placed = await bench.ticket_for(spec)
        outcome = await bench.send(placed)
        if isinstance(outcome.error, InsufficientFunds):
            continue
        bench.expect(outcome.error is None, f"{spec}, on the grid, is refused: {outcome.error!r}")
        await expect_arrived(bench, placed, spec)
        await bench.cancel(placed)


@case("PREC-04", "every number is an exact one", grade="bronze", rule="rule 18")
async def no_floats(bench: Bench) -> None:
    """A float loses the last digits of large amounts, and a sum of them is nobody's balance."""
    await tour(bench)
    for thing in (bench.opened, *bench.symbols.values(), *bench.seen):
        wrong = wrong_numbers(thing)
        bench.expect(not wrong, "; ".join(wrong[:5]))


@case("PREC-05", "what is sent is what was previewed", grade="bronze", rule="rule 18")
async def sent_equals_previewed(bench: Bench) -> None:
    """The kernel and its limits decide by the preview. A body that says something else is an order nobody approved."""
    sent = 0
    for spec in varied(bench):
        preview = _preview(bench, spec)
        if preview is None:
            continue
        bench.expect(preview.spec.side == spec.side, f"check() turns a {spec.side} into a {preview.spec.side}")
        now = bench.clock.now_ms() + bench.opened.clock_offset - bench.opened.clock_error
        key = bench.key()
        # Straight to prepare(): it must not matter whether somebody asked check() before.
        try:
            ticket = await bench.prepare(Place(key, spec))
        except Inapplicable:
            continue
        _expect_covers(bench, ticket.outlay, preview.outlay)
        placed = Placed(key, preview.spec, [ticket], now, list(ticket.ids))
        bench.placed.append(placed)
        outcome = await bench.send(placed)
        if isinstance(outcome.error, InsufficientFunds) and spec.side is not bench.harness.resting().side:
            continue  # the account holds one side of the market only
        bench.expect(outcome.error is None, f"{spec}, which passed check(), is refused: {outcome.error!r}")
        await expect_arrived(bench, placed, preview.spec)
        sent += 1
        await bench.cancel(placed)
    bench.expect(sent, "check() refused everything, also the harness' own orders")


@case("PREC-06", "check is synchronous, pure and asks nobody", grade="bronze", rule="rule 1")
async def check_is_pure(bench: Bench) -> None:
    """The kernel asks check() on every order, many times, in its critical path; what it answers must not depend on who
    asked before, nor cost a request."""
    answer: object = bench.adapter.check(bench.harness.resting())
    if inspect.iscoroutine(answer):
        answer.close()
        bench.fail("check() is a coroutine; it is a plain function")
    specs = [bench.harness.resting(each) for each in (1, 2, 3)]
    specs += list(off_grid(bench, bench.market))[:10]
    if bench.offers("market"):
        specs.append(revised(specs[0], limit=None))
    before = [repr(spec) for spec in specs]
    with deeds() as done:
        for spec in specs:
            _outcome(bench, spec)
    bench.expect(not done, f"check() does more than compute: {', '.join(sorted(set(done)))}")
    await _expect_no_requests(bench, specs)
    tasks, changes = asyncio.all_tasks(), await bench.harness.changes()
    first = [_outcome(bench, spec) for spec in specs]
    for _ in range(3):
        for spec, was in reversed(list(zip(specs, first, strict=True))):
            _expect_same(bench, _outcome(bench, spec), was, spec, "asked again")
    bench.expect([repr(spec) for spec in specs] == before, "check() changed the order it was asked about")
    bench.expect(asyncio.all_tasks() <= tasks, "check() started a task")
    placed = await bench.put(bench.harness.crossing())
    await bench.ended(placed)
    for spec, was in zip(specs, first, strict=True):
        _expect_same(bench, _outcome(bench, spec), was, spec, "asked after an order was filled")
    if bench.harness.offers("fill"):  # the last price is another one now
        rested = await bench.put()
        changes += len(rested.tickets)
        await bench.until(lambda: bench.truth(rested), "the order is at the venue")
        order = await bench.one(rested)
        await bench.harness.fill(order, order.amount)
        await bench.ended(rested)
    await bench.quiet(5)
    other, _ = await bench.another()
    for spec, was in zip(specs, first, strict=True):
        _expect_same(bench, _outcome(bench, spec), was, spec, "asked a while later")
        _expect_same(bench, _outcome(bench, spec, other.check), was, spec, "asked of another session")
    changed = await bench.harness.changes() - changes - len(placed.tickets)
    bench.expect(changed <= 0, f"check() changed something at the venue: {changed} more requests than sent here")


# verdicts ---------------------------------------------------------------------------------------------------------


def _preview(bench: Bench, spec: Spec) -> Preview | None:
    """What check() says, or None where it refuses by name."""
    try:
        preview = bench.adapter.check(revised(spec))  # a copy: what it is compared with stays as it is
    except InvalidOrder as error:
        bench.seen.append(error)
        return None
    bench.seen.append(preview)
    return preview


def _outcome(bench: Bench, spec: Spec, check: Callable[[Spec], Preview] | None = None) -> object:
    try:
        return (check or bench.adapter.check)(spec)
    except InvalidOrder as error:
        return f"{type(error).__name__}: {error}"


def _expect_same(bench: Bench, now: object, was: object, spec: Spec, when: str) -> None:
    bench.expect(now == was, f"check() of {spec} said {was}, and {when} {now}")


def _expect_safe(bench: Bench, sent: Spec, spec: Spec, symbol: SymbolMetadata) -> None:
    problem = unlike(sent, spec, symbol) or on_grid(sent, symbol)
    bench.expect(not problem, f"{symbol.symbol_id}: {problem}")


def _expect_outlay(bench: Bench, preview: Preview, symbol: SymbolMetadata) -> None:
    """The most it may cost is at least what it costs without fees."""
    sent = preview.spec
    if not is_spot(symbol) or sent.side is not Side.BUY or not preview.outlay:
        return
    price = sent.limit if sent.limit is not None else sent.guard
    in_quote = sent.amount_in is AmountType.QUOTE
    least = sent.amount if in_quote else None if price is None else EXACT.multiply(sent.amount, price)
    said = sum((each.amount for each in preview.outlay if each.asset == symbol.quote), Decimal(0))
    bench.expect(
        least is None or said >= least,
        f"check() says {said} {symbol.quote} is the most that {sent} costs; it is {least}",
    )


def _expect_covers(bench: Bench, ticket: tuple[Money, ...], preview: tuple[Money, ...]) -> None:
    for each in preview:
        said = sum((money.amount for money in ticket if money.asset == each.asset), Decimal(0))
        bench.expect(
            said >= each.amount, f"the ticket's outlay is {said} {each.asset}, the preview's was {each.amount}"
        )


async def _expect_no_requests(bench: Bench, specs: list[Spec]) -> None:
    """Three new sessions, so that nothing is in a cache: whoever asks the venue does so in each of them."""
    if not bench.harness.offers("requests"):
        return
    asked = 0
    for _ in range(3):
        session, _ = await bench.another()
        quiet = await _requests_while(bench, lambda: None)
        busy = await _requests_while(bench, lambda: [_outcome(bench, spec, session.check) for spec in specs])  # noqa: B023
        asked += busy > quiet
    bench.expect(asked < 3, "check() makes requests to the venue")


async def _requests_while(bench: Bench, work: Callable[[], object]) -> int:
    before = await bench.harness.requests()
    work()
    for _ in range(10):
        await asyncio.sleep(0)
    return await bench.harness.requests() - before


@case(
    "PREC-07",
    "a market order never trades past its worst price",
    grade="silver",
    rule="rules 2 and 18: its price is in the body",
    features=("market",),
)
async def worst_price(bench: Bench) -> None:
    """The worst price is all that stands between a market order and an empty book. Left out of the request, it is a
    promise of the preview's, and nobody keeps it."""
    crossing, away = bench.harness.crossing(), bench.harness.resting()
    if away.limit is None or away.side is not crossing.side:
        raise Inapplicable("the harness' resting orders say no price at which nothing trades")
    worst = away.limit
    spec = revised(crossing, limit=None, guard=worst, post_only=False)
    try:
        if bench.adapter.check(spec).spec.guard is None:
            bench.fail(f"check() of {spec} answers without its worst price: refuse what is not kept")
    except (Unsupported, InvalidOrder) as error:
        raise Inapplicable(f"no market order has a worst price here: {error}") from None
    before = await present(bench)
    try:
        placed = await bench.ticket_for(spec)
    except Rejected:  # for the price there is, before anything is signed
        return
    outcome = await bench.send(placed)
    await settled(bench)
    for order in await adopt(bench, placed, before):
        limit = EXACT.multiply(worst, order.filled_base)
        worse = order.filled_quote > limit if spec.side is Side.BUY else order.filled_quote < limit
        bench.expect(
            not worse,
            f"a market {spec.side} at {worst} or better traded: {order!r}; submit {shown(outcome)}",
        )


@case(
    "PREC-08",
    "an order with an end is open until then, and no longer",
    grade="silver",
    rule="rule 2: its life is in the body",
    features=("gtd",),
)
async def good_till_date(bench: Bench) -> None:
    """An order whose end was dropped on its way rests for ever, and fills the morning after."""
    if not bench.harness.offers("leap"):
        raise Inapplicable("nobody waits until an order of this venue ends")
    if bench.harness.offers("skew"):  # the end is a time of the venue's clock
        await bench.harness.skew(7_200_000)
        await bench.ready()
    for minutes in (2, 15, 1500):  # venues ask for a least life, of up to a day
        now = (bench.clock.now_ms() + bench.opened.clock_offset) // 1000 * 1000
        until = now + minutes * 60_000
        placed = await bench.ticket_for(revised(bench.harness.resting(), tif=TimeInForce.GTD, until=until))
        outcome = await bench.send(placed)
        if isinstance(outcome.error, Rejected):
            continue
        bench.expect(outcome.error is None, f"an order for {minutes} minutes: submit {shown(outcome)}")
        await bench.found(placed)
        await settled(bench)
        await pass_by(bench, until - 10_000 - bench.clock.now_ms() - bench.opened.clock_offset)
        order = await bench.one(placed)
        bench.expect(order.live, f"an order until {until} is over ten seconds before: {order!r}")
        await pass_by(bench, 10_000)

        async def over(placed: Placed = placed) -> bool:
            return not (await bench.one(placed)).live

        await bench.until(over, f"an order until {until} is over at the venue after that")
        end = await bench.ended(placed)
        right = (VenueStatus.EXPIRED, VenueStatus.CANCELED)
        bench.expect(end.status in right, f"an order whose time was over is reported {end!r}")
        return
    raise Inapplicable("the venue refuses orders with an end two minutes, a quarter of an hour and a day from now")


@case(
    "PREC-09",
    "the least that the metadata allow is taken by the venue",
    grade="bronze",
    rule="markets(): constraints are the venue's",
    features=("limit", "amount_base"),
)
async def least(bench: Bench) -> None:
    """Below what the venue takes, the bounds of check() bound nothing: the order is stored, sent, and refused."""
    specs = [bench.harness.resting()]
    if bench.harness.offers("elsewhere"):
        specs.append(bench.harness.elsewhere())
    for spec in specs:
        await _least(bench, spec)


async def _least(bench: Bench, spec: Spec) -> None:
    if spec.limit is None or spec.amount_in is not AmountType.BASE:
        raise Inapplicable("the harness' resting orders say no price to count with")
    market = bench.symbols[spec.symbol]
    amounts = market.amounts
    steps = max(amounts.min_amount // amounts.step, Decimal(1))
    if amounts.min_notional is not None:
        of_worth, rest = divmod(amounts.min_notional, EXACT.multiply(spec.limit, amounts.step))
        steps = max(steps, of_worth + bool(rest))
    for more in (0, 1):  # what is a multiple of another market's step by chance is none with one more
        await _taken(bench, revised(spec, amount=EXACT.multiply(steps + more, amounts.step)))


async def _taken(bench: Bench, smallest: Spec) -> None:
    """It is previewed as it is, taken by the venue, and not refused later. One step above the least is as good."""
    market = bench.symbols[smallest.symbol]
    amounts = market.amounts
    if _preview(bench, smallest) is None:
        bench.fail(f"check() refuses {smallest}, which keeps every constraint of {market.symbol_id}")
    placed = await bench.ticket_for(smallest)
    outcome = await bench.send(placed)
    if isinstance(outcome.error, InsufficientFunds):
        raise Inapplicable("the account of the harness lacks the money")
    bench.expect(
        outcome.error is None,
        f"{smallest.amount} at {smallest.limit} is the least by {amounts!r}: submit {shown(outcome)}",
    )
    await bench.found(placed)
    await settled(bench)
    report = await bench.found(placed)  # a ledger refuses later than its node
    bench.expect(
        report.status is not VenueStatus.REJECTED,
        f"{smallest.amount} at {smallest.limit} is the least by {amounts!r}; the venue refused it: {report!r}",
    )
