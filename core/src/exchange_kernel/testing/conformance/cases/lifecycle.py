"""Opening, closing, and leaving nothing behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from exchange_kernel.errors import NotAuthorized, Rejected, Unavailable
from exchange_kernel.testing.conformance.bench import Bench, Failed, Inapplicable
from exchange_kernel.testing.conformance.harness import Fault
from exchange_kernel.testing.conformance.listening import listening
from exchange_kernel.testing.conformance.registry import case
from exchange_kernel.testing.conformance.sessions import (
    expect_clear,
    expect_nothing_left,
    expect_refusals,
    expect_unheard,
    mine,
    open_reports,
    read_on,
)
from exchange_kernel.venue import (
    Absent,
    AccountSnapshot,
    Cancel,
    Found,
    Prices,
    VenueAdapter,
)

QUIET = 3
"""How long nothing may reach the venue after the last session was closed."""
MODES = ("paper", "testnet", "fork", "live")


@case("LIFE-01", "open and close twice is harmless", grade="bronze", rule="close is idempotent")
async def open_and_close_twice(bench: Bench) -> None:
    """A kernel closes a session on every path out, also where open never succeeded; that must not raise, nor disturb
    a new session."""
    await bench.harness.adapter().close()
    adapter = bench.harness.adapter()
    await adapter.open(bench.harness.context())
    await adapter.close()
    await adapter.close()
    again = bench.harness.adapter()
    await again.open(bench.harness.context())
    await adapter.close()
    await again.account()
    await again.close()
    await asyncio.gather(again.close(), again.close())


@case("LIFE-02", "close ends every task, thread and request", grade="bronze", rule="close ends own tasks and sockets")
async def close_ends_every_task(bench: Bench) -> None:
    """A task that outlives its session goes on talking to the venue in the name of an account that was given up."""
    await bench.close()
    before = asyncio.all_tasks()
    threads = set(threading.enumerate())
    adapter = bench.harness.adapter()
    await adapter.open(bench.harness.context())
    bench.adapter = adapter
    readers = [asyncio.create_task(read_on(adapter.events(None)))]
    if isinstance(adapter, Prices):
        readers.append(asyncio.create_task(read_on(adapter.prices(frozenset({bench.harness.symbol})))))
    await bench.quiet(0.2)
    placed = await bench.put()
    await adapter.account()
    await adapter.open_orders(None)
    if bench.harness.offers("restart"):
        await bench.harness.restart()
        await bench.until(lambda: _answers(adapter), "account() works after the venue restarted")
    await bench.cancel(placed)
    await bench.ended(placed)
    await bench.quiet(QUIET)
    await adapter.close()
    for reader in readers:
        reader.cancel()
    await asyncio.wait(readers)
    await expect_nothing_left(bench, before, threads)
    if bench.harness.offers("requests"):
        await bench.quiet(0.5)  # what was on its way when it was closed arrives
        heard = await bench.harness.requests()
        await bench.quiet(QUIET)
        more = await bench.harness.requests() - heard
        bench.expect(not more, f"{more} requests reached the venue after close()")
    bench.adapter, _ = await bench.another()


@case("LIFE-03", "a call without an open session raises a clear error", grade="bronze", rule="errors of the contract")
async def calls_without_a_session(bench: Bench) -> None:
    """Calls that come too early or too late happen in every shutdown. An AttributeError says nothing to whoever reads
    it, and an order that leaves through a closed session belongs to nobody."""
    before = asyncio.all_tasks()
    placed = await bench.ticket_for(bench.harness.resting())
    changes = await bench.harness.changes()
    new = bench.harness.adapter()
    bench.expect(asyncio.all_tasks() <= before, "making an adapter, before open(), starts a task")
    await expect_refusals(bench, new, placed.ticket, "before open()")
    try:
        answer: object = new.check(placed.spec)
        bench.fail(f"check() before open() answered {answer!r}, though no market is known")
    except Exception as error:  # noqa: BLE001 - which one it is, is the point
        expect_clear(bench, error, "check() before open()")
    closed = bench.harness.adapter()
    await closed.open(bench.harness.context())
    await closed.close()
    await expect_refusals(bench, closed, placed.ticket, "after close()")
    await bench.quiet(0.1)
    sent = await bench.harness.changes() - changes
    bench.expect(not sent, f"{sent} changes reached the venue through sessions that were not open")
    await bench.send(placed)  # through the open one, so that its number is spent


@case("LIFE-04", "cancelled while opening, it leaves nothing behind", grade="silver", rule="close ends own tasks")
async def cancelled_open(bench: Bench) -> None:
    """A start that times out is cancelled, closed and tried again; what each attempt leaves adds up."""
    harness = bench.harness
    slow = Fault.SLOW in harness.faults
    moments = (0.05, 0.15, 0.25, 0.35, 0.45)
    for attempt in range(30):
        before, threads = asyncio.all_tasks(), set(threading.enumerate())
        adapter = harness.adapter()
        by_time = slow and attempt < len(moments)
        if by_time:
            await harness.inject(Fault.SLOW, times=20, ms=bench.short(100))
        opening = asyncio.create_task(_opened(adapter, bench))
        if by_time:
            await bench.quiet(moments[attempt])
        else:
            for _ in range(attempt):
                await asyncio.sleep(0)
        in_time = opening.cancel()
        await asyncio.wait([opening])
        bench.expect(
            not in_time or opening.cancelled() or opening.exception() is not None,
            "open() swallowed its cancellation, and whoever cancelled it now waits for nothing",
        )
        await adapter.close()
        await harness.clear()
        await expect_nothing_left(bench, before | {opening}, threads)
        if not in_time:
            break
    again, _ = await bench.another()
    await again.account()


@case("LIFE-05", "sessions of two accounts share nothing", grade="bronze", rule="rule 20")
async def two_accounts(bench: Bench) -> None:
    """One process serves many accounts of a venue. What one adapter keeps where the other finds it books the orders
    and the money of one account on another."""
    first, facts = bench.adapter, bench.opened
    placed = await bench.put()
    try:
        second, others = await bench.another("second")
    except NotImplementedError:
        raise Inapplicable("the harness has no second account") from None
    bench.expect(facts.identity != others.identity, f"two accounts have the identity {facts.identity!r}")
    shared = {each.name for each in facts.scopes} & {each.name for each in others.scopes}
    bench.expect(not shared, f"two accounts take numbers of the same scope {shared}")
    bench.expect(
        not mine(await open_reports(second), placed.ids, placed.key),
        "open_orders() of the second account shows an order of the first",
    )
    answer = await second.lookup(bench.ref(placed))
    shown = answer.reports if isinstance(answer, Found) else getattr(answer, "candidates", ())
    bench.expect(
        not mine(shown, placed.ids, placed.key) and not isinstance(answer, Found),
        "lookup() of the second account finds an order of the first",
    )
    bench.expect(
        mine(await open_reports(first), placed.ids, placed.key),
        "after a second account was opened, open_orders() of the first no longer shows its order",
    )
    own, stranger = await first.account(), await second.account()
    async with listening(bench, second) as ear:
        filled = await bench.put(bench.harness.crossing())
        await bench.quiet(1)
    await expect_unheard(bench, second, ear, filled)
    bench.expect(
        filled.ticket.identity == facts.identity,
        f"after a second account was opened, the first makes tickets for {filled.ticket.identity!r}",
    )
    bench.expect(not await bench.truth(filled, "second"), "an order of the first account is one of the second")
    if bench.harness.offers("settle"):
        await bench.harness.settle()

    async def paid() -> bool:
        return _totals(await first.account()) != _totals(own)

    await bench.until(paid, "account() of the first account shows that its order has traded")
    after = await second.account()
    bench.expect(
        _totals(after) == _totals(stranger),
        f"the first account traded, and account() of the second went from {stranger.balances} to {after.balances}",
    )
    await second.close()
    await first.account()
    await bench.found(placed)


@case(
    "LIFE-06", "wrong credentials are refused at open", grade="silver", rule="NotAuthorized", needs=("wrong_secrets",)
)
async def wrong_credentials(bench: Bench) -> None:
    """Credentials that do not work must show before the first order, not with it."""
    adapter = bench.harness.adapter()
    context = bench.harness.context(secrets=bench.harness.wrong_secrets())
    await bench.raises(NotAuthorized, adapter.open(context), "open with wrong credentials")
    await adapter.close()


@case("LIFE-07", "an outage is told as one, and is over when it is over", grade="silver", rule="R9", needs=("outage",))
async def outage(bench: Bench) -> None:
    """While a venue cannot be reached nothing is known. A session that calls that "no orders" doubles them, and one
    that needs a restart afterwards leaves the desk blind."""
    adapter = bench.adapter
    placed, later = await bench.put(), await bench.ticket_for(bench.harness.resting(2))
    leaving, late = bench.harness.adapter(), bench.harness.adapter()
    await leaving.open(bench.harness.context())
    async with bench.watching() as watch:
        gaps = watch.gaps
        await bench.harness.outage(bench.short(3_000))
        for name, call in _reads(bench, placed):
            await _unavailable_or_right(bench, name, call, placed)
        outcome = await bench.send(later)
        bench.expect(outcome.error is not None, "submit() during an outage answered as if the venue had")
        bench.expect(
            not isinstance(outcome.error, (Rejected, NotAuthorized)),
            f"submit() during an outage raised {outcome.error!r}: nobody at the venue has decided anything",
        )
        try:
            async with asyncio.timeout(2):
                await leaving.close()
        except Exception as error:
            raise Failed(f"close() during an outage raised {error!r}; it ends what is here") from error
        await _opens_not(bench, late)
        await bench.quiet(3)
        await bench.until(lambda: _answers(adapter), "account() works again after the outage, in the same session")
        await bench.found(placed)
        if not watch.ended:
            await bench.until(
                lambda: watch.gaps > gaps or watch.ended, "the stream says Gap, or ends, after the connection broke"
            )
    if later.ticket.fence.repeatable:
        await bench.send(later)
    after = await bench.put(bench.harness.resting(3))
    await bench.found(after)


@case("LIFE-08", "a new session knows as much as the old one", grade="bronze", rule="rule 20")
async def no_state_of_its_own(bench: Bench) -> None:
    """After a crash there is only what the kernel stored and what the venue says. What an adapter kept in memory, or
    in a file of its own, is gone or wrong."""
    placed = await bench.put()
    if bench.harness.offers("settle"):
        await bench.harness.settle()  # what it costs to place it is paid
    unsent = await bench.ticket_for(bench.harness.resting(2))
    balances = await bench.adapter.account()
    await bench.close()
    fresh, opened = await bench.another()
    bench.expect(
        opened.identity == bench.opened.identity,
        f"the same account has the identity {bench.opened.identity!r}, then {opened.identity!r}",
    )
    symbols = {each.symbol_id for each in await fresh.markets()}
    bench.expect(symbols == set(bench.symbols), "another session lists other symbols")
    report = await bench.found(placed, adapter=fresh)
    bench.expect(not report.status.terminal, f"another session says of a working order that it is {report.status}")
    bench.expect(
        mine(await open_reports(fresh), placed.ids, placed.key), "another session does not list the open order"
    )
    now = await fresh.account()
    bench.expect(
        {each.asset: each.total for each in now.balances} == {each.asset: each.total for each in balances.balances},
        f"another session says {now.balances}, the one before said {balances.balances}",
    )
    outcome = await bench.send(unsent, adapter=fresh)
    bench.expect(
        outcome.effect != "none", f"another session of the account does not send its tickets: {outcome.error!r}"
    )
    bench.adapter = fresh
    await bench.found(unsent)
    ticket = await bench.prepare(Cancel(bench.key(), bench.ref(placed)))
    placed.tickets.append(ticket)
    await bench.send(placed, ticket)
    await bench.until(lambda: _gone(bench, placed), "another session cancels the order")


@case("LIFE-09", "close cancels no order", grade="bronze", rule="close cancels no order")
async def close_cancels_nothing(bench: Bench) -> None:
    """Restarting a program must not take its orders off the market: whoever wants that asks for it."""
    placed = await bench.put()
    changes = await bench.harness.changes()
    await bench.close()
    await bench.quiet(1)
    changed = await bench.harness.changes() - changes
    bench.expect(not changed, f"close() sent {changed} changes to the venue")
    bench.adapter, opened = await bench.another()
    if not bench.opened.orders_die_with_session:
        order = await bench.one(placed)
        bench.expect(order.live, "the order that rested when its session was closed no longer does")
    bench.expect(opened.identity == bench.opened.identity, "the same account has another identity")


@case("LIFE-10", "open says who and what this is", grade="bronze", rule="Opened")
async def open_states_the_facts(bench: Bench) -> None:
    """A kernel binds its store to the account's identity and refuses live money in a test; both need the truth at
    once, and the same every time."""
    opened = bench.opened
    bench.expect(opened.identity.strip() and opened.identity.isprintable(), f"identity {opened.identity!r} is no name")
    bench.expect(opened.mode in MODES, f"mode {opened.mode!r} is none of {', '.join(MODES)}")
    for name in ("retention", "read_lag", "clock_error"):
        value = getattr(opened, name)
        bench.expect(type(value) is int and value >= 0, f"{name} is {value!r}, not a number of ms")
    bench.expect(type(opened.clock_offset) is int, f"clock_offset is {opened.clock_offset!r}, not a number of ms")
    for scope in opened.scopes:
        bench.expect(type(scope.floor) is int and scope.floor >= 0, f"the floor of {scope.name} is {scope.floor!r}")
    changes = await bench.harness.changes()
    _, again = await bench.another()
    changes = await bench.harness.changes() - changes
    bench.expect(not changes, f"open() made {changes} requests that could change something; it says, and does nothing")
    bench.expect(again.identity == opened.identity, f"identity {opened.identity!r}, then {again.identity!r}")
    bench.expect(again.mode == opened.mode, f"mode {opened.mode!r}, then {again.mode!r}")
    snapshot = await bench.adapter.account()
    now = bench.clock.now_ms() + opened.clock_offset
    if snapshot.at.venue_ms is not None:
        away = abs(now - snapshot.at.venue_ms) - opened.clock_error - opened.read_lag
        bench.expect(away <= 2_000, f"by clock_offset the venue's clock is {away} ms away from what a read says")


# ------------------------------------------------------------------------------------------------------------------


async def _opened(adapter: VenueAdapter, bench: Bench) -> None:
    await adapter.open(bench.harness.context())


def _totals(snapshot: AccountSnapshot) -> dict[str, tuple[Decimal, Decimal]]:
    return {each.asset: (each.total, each.free) for each in snapshot.balances if each.total}


def _reads(bench: Bench, placed: Any) -> list[tuple[str, Callable[[], Awaitable[Any]]]]:
    adapter = bench.adapter
    return [
        ("account()", lambda: adapter.account()),
        ("open_orders()", lambda: open_reports(adapter)),
        ("lookup()", lambda: bench.look(placed)),
        ("markets()", lambda: adapter.markets()),
    ]


async def _unavailable_or_right(bench: Bench, name: str, call: Callable[[], Awaitable[Any]], placed: Any) -> None:
    try:
        answer = await call()
    except Unavailable:
        return
    except Exception as error:
        raise Failed(f"{name} while nothing can be reached raised {error!r}, not Unavailable") from error
    right = (
        isinstance(answer, Found)
        if name == "lookup()"
        else bool(mine(answer, placed.ids, placed.key))
        if name == "open_orders()"
        else bool(answer.balances)
        if name == "account()"
        else bool(answer)
    )
    why = "an absence nobody saw" if isinstance(answer, Absent) else "not the truth"
    bench.expect(right, f"{name} while nothing can be reached answered {answer!r}: {why}")


async def _opens_not(bench: Bench, adapter: VenueAdapter) -> None:
    try:
        async with asyncio.timeout(20):
            await adapter.open(bench.harness.context())
    except (Unavailable, TimeoutError):
        pass  # some go on trying until they are cancelled, and some until the outage is over
    except Exception as error:
        raise Failed(f"open() during an outage raised {error!r}, not Unavailable") from error
    await adapter.close()


async def _answers(adapter: VenueAdapter) -> bool:
    try:
        await adapter.account()
    except Unavailable:
        return False
    return True


async def _gone(bench: Bench, placed: Any) -> bool:
    return not any(order.live for order in await bench.truth(placed))
