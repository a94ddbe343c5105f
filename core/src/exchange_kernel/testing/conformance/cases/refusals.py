"""What the venue refuses: a verdict, of the kind that it is, and nothing happened."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import ceil
from typing import Any

from exchange_kernel.errors import (
    ClockSkew,
    InsufficientFunds,
    InvalidOrder,
    MarketClosed,
    NoEffect,
    NotAuthorized,
    NotSent,
    PostOnlyWouldCross,
    Rejected,
    Unsupported,
)
from exchange_kernel.schema import AmountType, Side
from exchange_kernel.testing.conformance.bench import Bench, Inapplicable, Placed
from exchange_kernel.testing.conformance.evidence import (
    adopt,
    by_ledger,
    landed,
    present,
    settled,
    shown,
)
from exchange_kernel.testing.conformance.registry import case
from exchange_kernel.value import revised
from exchange_kernel.venue import History, Spec, VenueStatus


@case(
    "UNK-11",
    "a documented refusal is a verdict, and nothing happened",
    grade="silver",
    rule="rule 6",
)
async def refused(bench: Bench) -> None:
    """An order refused for its funds that counts as unknown, or as accepted, is looked for until somebody gives up."""
    try:
        placed = await bench.ticket_for(await _unaffordable(bench))
    except Unsupported as why:
        raise Inapplicable(f"no order can be too large for the account: {why}") from None
    except NoEffect:
        return
    except InvalidOrder as why:
        raise Inapplicable(f"check knows that the account cannot pay: {why}") from None
    before = await present(bench)
    outcome = await bench.send(placed)
    await settled(bench)
    alive = [order for order in await adopt(bench, placed, before) if order.live or order.filled_base]
    bench.expect(not alive, f"an order for twice the account's money is at the venue: {alive!r}")
    if outcome.effect == "none":
        bench.expect(
            not isinstance(outcome.error, Rejected) or isinstance(outcome.error, InsufficientFunds),
            f"an order for twice the account's money: submit {shown(outcome)}; raise InsufficientFunds, by which the "
            "kernel and its user know that more money would do",
        )
        return
    bench.expect(
        outcome.error is None or by_ledger(placed.ticket),
        f"an order for twice the account's money: submit {shown(outcome)}. The venue's documented refusal is a "
        "Rejected (InsufficientFunds); left unknown, the kernel looks for an order that is not there",
    )
    report = await bench.ended(placed)
    bench.expect(not report.filled.base, f"the refused order is reported filled: {report!r}")


async def _unaffordable(bench: Bench) -> Spec:
    """An order for twice what the account has."""
    spec, market = bench.harness.resting(), bench.market
    if spec.limit is None or spec.amount_in is not AmountType.BASE:
        raise Inapplicable("the harness' resting orders have no limit price")
    free = {balance.asset: balance.free for balance in (await bench.adapter.account()).balances}
    amount = free.get(market.quote, spec.amount) / spec.limit if spec.side is Side.BUY else free.get(market.base)
    if not amount:
        raise Inapplicable("the account has nothing to pay with")
    return revised(spec, amount=ceil(amount) * 2 + spec.amount)


@case(
    "UNK-14",
    "an order to a closed market is refused as that, and taken once it is open",
    grade="gold",
    rule="MarketClosed",
    needs=("halt",),
)
async def closed(bench: Bench) -> None:
    """Told as a rule that the order breaks, nobody tries again when the market opens; and a session that remembers it
    does not either."""
    resting = await bench.put(bench.harness.resting(2))
    await settled(bench)
    placed = await bench.ticket_for(bench.harness.resting())
    await bench.harness.halt(True)
    try:
        await _closed(bench, resting, placed)
    finally:
        await bench.harness.halt(False)
    listed = {each.symbol_id: each for each in await bench.adapter.markets()}[bench.harness.symbol]
    bench.expect(listed.active, f"{listed.symbol_id} takes orders again, and markets() lists it as inactive")
    await bench.put(bench.harness.resting(3))


async def _closed(bench: Bench, resting: Placed, placed: Placed) -> None:
    before = await present(bench)
    outcome = await bench.send(placed)
    await settled(bench)
    alive = [order for order in await adopt(bench, placed, before) if order.live or order.filled_base]
    bench.expect(not alive, f"the harness' halt() was to close the market; the venue took {alive!r}")
    told = outcome.error
    bench.expect(
        isinstance(told, MarketClosed) or by_ledger(placed.ticket) or (told is None and outcome.ack is not None),
        f"an order to a closed market: submit {shown(outcome)}; raise MarketClosed",
    )
    if outcome.effect != "none":
        report = await bench.ended(placed)
        bench.expect(not report.filled.base, f"an order to a closed market is reported {report!r}")
    listed = {each.symbol_id: each for each in await bench.adapter.markets()}[bench.harness.symbol]
    bench.expect(not listed.active, f"{listed.symbol_id} takes no orders, and markets() lists it as active")
    order = await bench.one(resting)
    report = await bench.found(resting)
    bench.expect(
        report.status.terminal == (not order.live), f"while the market is closed an order that rests is {report!r}"
    )


@case(
    "UNK-15",
    "a request refused for its timestamp is told as that, and the next one is right",
    grade="silver",
    rule="ClockSkew",
    needs=("skew",),
)
async def wrong_time(bench: Bench) -> None:
    """A laptop wakes up with a wrong clock. Told as a rejection, its orders end one by one with a reason that is none;
    and if nobody measures the clock again, that does not stop."""
    for ms in (3_600_000, -7_200_000):
        await bench.harness.skew(ms)
        placed, before = await bench.ticket_for(bench.harness.resting()), await present(bench)
        outcome = await bench.send(placed)
        await settled(bench)
        fresh = await adopt(bench, placed, before)
        bench.expect(
            outcome.effect != "none" or isinstance(outcome.error, (ClockSkew, NotSent)),
            f"the local clock is {ms} ms off; submit {shown(outcome)}; raise ClockSkew: the order is fine",
        )
        bench.expect(not (fresh and outcome.effect == "none"), f"submit {shown(outcome)}; the venue has {fresh!r}")
        if isinstance(outcome.error, ClockSkew):
            again = await bench.ticket_for(bench.harness.resting(2))
            next_one = await bench.send(again)
            bench.expect(
                next_one.error is None,
                f"an order was refused for its timestamp; for the next one submit {shown(next_one)}: measure the clock "
                "again before the next ticket",
            )
    await bench.harness.skew(3_600_000)


@case(
    "FILL-06",
    "a post-only order that would trade at once is refused, or does not trade",
    grade="silver",
    rule="post_only",
    features=("post_only",),
)
async def post_only(bench: Bench) -> None:
    """Whoever posts for the rebate pays the fee, and holds what was never to be bought at that price."""
    rests = revised(bench.harness.crossing(2), post_only=True, tif=bench.harness.resting().tif)
    spec = bench.harness.near(rests)
    before = await present(bench)
    try:
        placed = await bench.ticket_for(spec)
    except PostOnlyWouldCross:  # seen before anything was signed
        return
    outcome = await bench.send(placed)
    await settled(bench)
    orders = await adopt(bench, placed, before)
    traded = [order for order in orders if order.filled_base]
    bench.expect(not traded, f"a post-only order traded at once: {traded!r}; submit {shown(outcome)}")
    bench.expect(
        not isinstance(outcome.error, Rejected) or isinstance(outcome.error, PostOnlyWouldCross),
        f"a post-only order that would trade: submit {shown(outcome)}; raise PostOnlyWouldCross",
    )
    if not any(order.live for order in orders) and outcome.effect != "none":
        bench.expect(
            orders or by_ledger(placed.ticket),
            f"a post-only order that would trade: submit {shown(outcome)}, and there is no order. The venue's "
            "documented refusal is PostOnlyWouldCross; left unknown, the kernel looks for it until somebody gives up",
        )
        end = await bench.ended(placed)
        bench.expect(
            not end.filled.base and end.status is not VenueStatus.FILLED, f"a refused order is reported {end!r}"
        )
    resting, order = await landed(bench, revised(bench.harness.resting(2), post_only=True))
    bench.expect(order.live and not order.filled_base, f"a post-only order far from the market became {order!r}")
    report = await bench.found(resting)
    bench.expect(report.status is VenueStatus.WORKING, f"a post-only order that rests is reported {report!r}")


@case(
    "BAD-07",
    "credentials that are revoked are told as that",
    grade="gold",
    rule="NotAuthorized",
    needs=("revoke",),
)
async def revoked(bench: Bench) -> None:
    """Somebody has withdrawn the key. Told as an outage it is asked for ever; told as absence, everything is placed
    again with the next key; told as a rule of the venue, order after order is refused and nobody is called."""
    placed = await bench.put()
    await settled(bench)
    later = await bench.ticket_for(bench.harness.resting(2))
    await bench.harness.revoke(True)
    try:
        adapter = bench.adapter
        reads: list[tuple[str, Callable[[], Awaitable[Any]]]] = [
            ("lookup()", lambda: adapter.lookup(bench.ref(placed))),
            ("open_orders()", lambda: adapter.open_orders(None)),
            ("account()", lambda: adapter.account()),
        ]
        if isinstance(adapter, History):
            reads.append(("history()", lambda: adapter.history(None)))
        for name, read in reads:
            await bench.raises(NotAuthorized, read(), f"{name} with credentials that were revoked")
        outcome = await bench.send(later)
    finally:
        await bench.harness.revoke(False)
    bench.expect(
        isinstance(outcome.error, NotAuthorized) or (by_ledger(later.ticket) and outcome.effect == "unknown"),
        f"an order with credentials that were revoked: submit {shown(outcome)}; raise NotAuthorized",
    )
    await bench.ready()
