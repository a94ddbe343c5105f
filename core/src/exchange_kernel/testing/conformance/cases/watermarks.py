"""As of when: no answer claims to be newer than what it shows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial

from exchange_kernel.testing.conformance.bench import Bench, Inapplicable, Placed
from exchange_kernel.testing.conformance.evidence import settled
from exchange_kernel.testing.conformance.harness import Fault
from exchange_kernel.testing.conformance.listening import about
from exchange_kernel.testing.conformance.moments import expect_mark, meanwhile, reached, requests_of
from exchange_kernel.testing.conformance.registry import case
from exchange_kernel.testing.conformance.telling import orders_in
from exchange_kernel.venue import AccountSnapshot, Cancel, Found, Ref, Snapshot, VenueStatus, Watermark

_ROUNDS = 5


@case("BAL-07", "snapshots never go back, and are never old", grade="silver", rule="rule 8")
async def no_way_back(bench: Bench) -> None:
    """A balance from before the fill, with the watermark of after it, is how a position is bought twice."""
    last: Watermark | None = None
    began = await _account(bench)
    for number in range(_ROUNDS):
        snapshot = await _account(bench)
        _expect_forward(bench, last, snapshot)
        last = snapshot.at
        await bench.quiet(0.2 * number)
    filled = await bench.put(bench.harness.crossing())
    end = await bench.ended(filled)

    async def caught_up() -> AccountSnapshot | None:
        nonlocal last
        snapshot = await _account(bench)
        _expect_forward(bench, last, snapshot)
        last = snapshot.at
        reached = snapshot.at.venue_ms if snapshot.at.venue_ms is not None else snapshot.at.ledger_ms
        return snapshot if reached is None or reached > end.as_of else None

    snapshot = await bench.until(caught_up, "the watermark of account() passes the last fill")
    bench.expect(
        snapshot.balances != began.balances,
        f"account() says it is as of {snapshot.at}, after the order of {end.as_of} was filled, and shows the balances "
        "of before",
    )
    other, _ = await bench.another()
    own, fresh = await _account(bench), await other.account()
    bench.expect(
        _totals(own) == _totals(fresh), f"account() says {own.balances}, asked in another session {fresh.balances}"
    )


@case(
    "BAL-11",
    "what a snapshot shows is as of its watermark",
    grade="silver",
    rule="rule 8",
    needs=(Fault.SLOW,),
)
async def snapshots(bench: Bench) -> None:
    """First the page, then the clock: what happened in between is called part of a snapshot that does not show it. An
    order that has ended counts as open, and money that is spent as there."""
    first: Snapshot = await bench.ask(bench.adapter.open_orders(None))
    expect_mark(bench, first.at, "open_orders()")
    expect_mark(bench, (await _account(bench)).at, "account()")
    reader, _ = await bench.another()  # a session of its own: a clock that is measured slowly is measured badly

    async def page() -> Snapshot:
        snapshot: Snapshot = await bench.ask(reader.open_orders(None))
        return snapshot

    async def money() -> AccountSnapshot:
        snapshot: AccountSnapshot = await bench.ask(reader.account())
        return snapshot

    for slow in range(await requests_of(bench, lambda: reader.open_orders(None))):
        resting = await _rests(bench)
        if resting is None:
            break
        answer, moment = await meanwhile(bench, slow, page, await _cancel(bench, resting))
        if answer is None or not reached(bench, answer.at, moment):
            continue
        alive = [r for r in answer.reports if about(r, resting) and not r.status.terminal]
        bench.expect(
            not alive,
            f"an order was cancelled by {moment} (venue ms); open_orders(), the request {slow + 1} of which took long, "
            f"is as of {answer.at!r}, and lists {alive!r}: first the watermark, then the search (rule 8)",
        )
    for slow in range(await requests_of(bench, reader.account)):
        was = await _account(bench)
        placed = await bench.ticket_for(bench.harness.crossing(1 + slow))
        told, moment = await meanwhile(bench, slow, money, partial(_trades, bench, placed))
        bench.expect(
            told is None or not reached(bench, told.at, moment) or told.balances != was.balances,
            f"an order traded by {moment} (venue ms); account(), the request {slow + 1} of which took long, is as of "
            f"{told and told.at!r}, and shows the balances of before: first the watermark, then the search (rule 8)",
        )


@case("UNK-16", "what is found is as of its watermark", grade="silver", rule="rule 8", needs=(Fault.SLOW,))
async def found(bench: Bench) -> None:
    """A lookup that finds the order is believed as well: as of when it is says which of two reads is newer, and whether
    a number is spent."""
    sent = await bench.ticket_for(bench.harness.resting(2))
    outcome = await bench.send(sent)
    bench.expect(outcome.error is None, f"submit without any fault raised {outcome.error!r}")

    async def shows() -> Found | None:
        answer = await bench.look(sent)
        return answer if isinstance(answer, Found) else None

    early: Found = await bench.until(shows, "lookup shows the order")
    _expect_unspent(bench, sent, early)
    await settled(bench)
    for answer in (early, await bench.until(shows, "lookup shows the order")):
        expect_mark(bench, answer.at, "a lookup that found the order")
    await _not_ahead(bench, sent)
    reader, _ = await bench.another()
    for slow in range(await requests_of(bench, lambda: bench.look(sent, adapter=reader))):
        resting = await _rests(bench)
        if resting is None:
            raise Inapplicable("nothing rests here")
        look = partial(bench.look, resting, adapter=reader)
        looked, moment = await meanwhile(bench, slow, look, await _cancel(bench, resting))
        if not isinstance(looked, Found) or not reached(bench, looked.at, moment):
            continue
        alive = [r for r in orders_in(looked) if not r.status.terminal]
        bench.expect(
            not alive,
            f"an order was cancelled by {moment} (venue ms); a lookup, the request {slow + 1} of which took long, is "
            f"as of {looked.at!r}, and says {alive!r}: first the watermark, then the search (rule 8)",
        )


# ------------------------------------------------------------------------------------------------------------------


async def _rests(bench: Bench) -> Placed | None:
    placed = await bench.put()
    await settled(bench)
    return placed if (await bench.one(placed)).live else None


async def _cancel(bench: Bench, placed: Placed) -> Callable[[], Awaitable[object]]:
    ticket = await bench.prepare(Cancel(bench.key(), bench.ref(placed)))
    placed.tickets.append(ticket)

    async def ends() -> None:
        await bench.send(placed, ticket)

        async def over() -> bool:
            return not any(order.live for order in await bench.truth(placed))

        await bench.until(over, "the cancelled order is over at the venue")

    return ends


async def _trades(bench: Bench, placed: Placed) -> None:
    await bench.send(placed)

    async def traded() -> bool:
        return any(order.filled_base for order in await bench.truth(placed))

    await bench.until(traded, "the crossing order trades")


def _expect_unspent(bench: Bench, sent: Placed, answer: Found) -> None:
    """The number of an order that waits is not spent."""
    slot, waits = sent.ticket.slot, any(r.status is VenueStatus.PENDING for r in orders_in(answer))
    bench.expect(
        slot is None or not waits or slot not in answer.at.spent,
        f"the order waits for its block; the lookup that found it says that its number is spent: {answer!r}",
    )


async def _not_ahead(bench: Bench, sent: Placed) -> None:
    """What is found is not read from a later state than what is not, a moment after."""
    never = Ref(bench.key(), sent.spec.symbol, sent.spec, sent.placed_at)
    known, absent = await bench.look(sent), await bench.ask(bench.adapter.lookup(never))
    for name in ("venue_ms", "ledger_ms", "height"):
        mine = getattr(known.at, name) if isinstance(known, Found) else None
        other = getattr(getattr(absent, "at", Watermark()), name)
        lag = bench.opened.read_lag if name != "height" else 1
        bench.expect(
            mine is None or other is None or mine <= other + lag,
            f"a lookup that found its order is as of {name} {mine}; the next one, which found none, as of {other}",
        )


async def _account(bench: Bench) -> AccountSnapshot:
    snapshot: AccountSnapshot = await bench.ask(bench.adapter.account())
    return snapshot


def _expect_forward(bench: Bench, last: Watermark | None, snapshot: AccountSnapshot) -> None:
    at = snapshot.at
    marks = [(name, getattr(at, name)) for name in ("venue_ms", "ledger_ms", "height")]
    bench.expect(any(mark is not None for _, mark in marks), "account() does not say as of when it is")
    now = bench.clock.now_ms() + bench.opened.clock_offset + bench.opened.clock_error
    bench.expect(at.venue_ms is None or at.venue_ms <= now, f"account() is as of {at.venue_ms}, which is yet to come")
    for name, mark in marks:
        was = getattr(last, name) if last is not None else None
        bench.expect(mark is None or was is None or mark >= was, f"{name} of account() went back from {was} to {mark}")


def _totals(snapshot: AccountSnapshot) -> dict[str, tuple[Decimal, Decimal]]:
    return {each.asset: (each.total, each.free) for each in snapshot.balances if each.total}
