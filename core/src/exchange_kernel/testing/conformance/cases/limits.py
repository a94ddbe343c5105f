"""Rate limits: a refusal says until when, nothing is sent again behind the kernel's back, and it is over when it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from exchange_kernel.errors import NotSent, RateLimited, Unavailable
from exchange_kernel.testing.conformance.bench import Bench, Failed, Inapplicable, Outcome, Placed
from exchange_kernel.testing.conformance.evidence import adopt, by_ledger, landed, present, settled, shown
from exchange_kernel.testing.conformance.harness import Fault
from exchange_kernel.testing.conformance.listening import about
from exchange_kernel.testing.conformance.registry import case
from exchange_kernel.testing.conformance.sweeping import sweep
from exchange_kernel.testing.conformance.telling import at_rest, orders_in
from exchange_kernel.venue import AccountSnapshot, Cancel, Found, History, OrderReport, Snapshot

PROMPT_S = 5.0
"""A call that takes longer has waited for the limit instead of telling of it."""
ROUNDING_MS = 1_000
"""Venues say when to come back in whole seconds."""
LONG_ENOUGH_MS = 2_000
"""An adapter that sends again by itself has done so by then."""
MOST_MS = 60_000
"""How much later than the venue asks an adapter may come back."""


def _expect_time(bench: Bench, retry_at: object, ms: int, began: int, what: str) -> None:
    """The time to retry at is in local ms, and about what the venue said."""
    bench.expect(type(retry_at) is int, f"{what}: retry_at is {retry_at!r}, not a number of ms")
    assert isinstance(retry_at, int)
    now = bench.clock.now_ms()
    local = f"it is {now} by the local clock (ms UTC), the limit holds for {ms} ms from {began}"
    bench.expect(retry_at > began, f"{what}: retry_at is {retry_at}, which is over; {local}")
    early = began + ms - ROUNDING_MS - bench.opened.clock_error
    bench.expect(retry_at >= early, f"{what}: retry_at is {retry_at}, too early: the venue refuses again; {local}")
    late = now + ms + MOST_MS + bench.opened.clock_error
    bench.expect(retry_at <= late, f"{what}: retry_at is {retry_at}, far later than the venue asks; {local}")


def _expect_limited(bench: Bench, outcome: Outcome, placed: Placed, ms: int, began: int, what: str) -> None:
    error = outcome.error
    if by_ledger(placed.ticket):
        bench.expect(
            outcome.effect == "unknown" or isinstance(error, NotSent),
            f"{what}: submit {shown(outcome)}; what a node says is no verdict (R10): raise Refused",
        )
        return
    bench.expect(isinstance(error, RateLimited), f"{what}: submit {shown(outcome)}; raise RateLimited(retry_at, scope)")
    assert isinstance(error, RateLimited)
    bench.expect(error.scope.strip(), f"{what}: {error!r} does not say what is limited (scope)")
    _expect_time(bench, error.retry_at, ms, began, what)


@case(
    "RATE-01",
    "a refusal for the rate is told with its time, and nothing is sent again",
    grade="silver",
    rule="RateLimited, rule 5",
    needs=(Fault.RATE_LIMIT,),
)
async def told(bench: Bench) -> None:
    """An adapter that retries by itself turns a limit into a ban, and sends an order that nobody wants any more."""
    for ahead in (0, 3_600_000):
        if ahead and not bench.harness.offers("skew"):
            continue
        if ahead:  # a laptop's clock: the venue's times are not the local ones
            await bench.harness.skew(ahead)
            await bench.ready()
        for ms in (bench.short(1_500), bench.short(40_000)):
            for cancels in (False, True):
                await _limited(bench, ms, cancels=cancels)
                await sweep(bench)


async def _limited(bench: Bench, ms: int, *, cancels: bool) -> None:
    what = f"{'a cancel' if cancels else 'an order'} refused for its rate, for {ms} ms"
    placed = (await landed(bench))[0] if cancels else await bench.ticket_for(bench.harness.resting())
    if cancels:
        placed.tickets.append(await bench.prepare(Cancel(bench.key(), bench.ref(placed))))
    before, changes = await present(bench), await bench.harness.changes()
    began, then = bench.clock.now_ms(), bench.clock.monotonic()
    await bench.harness.inject(Fault.RATE_LIMIT, ms=ms)
    outcome = await bench.send(placed)
    took = bench.clock.monotonic() - then
    await bench.clock.sleep(min(ms, bench.short(LONG_ENOUGH_MS)) / 1000)
    await bench.quiet()
    await settled(bench)
    await bench.harness.clear()
    sent = await bench.harness.changes() - changes
    bench.expect(sent <= 1, f"{what}: {sent} requests were made of one submit (rule 5); submit {shown(outcome)}")
    _expect_limited(bench, outcome, placed, ms, began, what)
    bench.expect(took < PROMPT_S, f"{what}: submit took {took:g} s; it tells of the limit, the kernel waits for it")
    fresh = await adopt(bench, placed, before)
    bench.expect(not fresh, f"{what}: the venue has {fresh!r} of it")
    if cancels:
        order = await bench.one(placed)
        report = await bench.found(placed)
        bench.expect(order.live and not report.status.terminal, f"{what}: the order is {order!r}, reported {report!r}")


@case(
    "RATE-02",
    "once the limit is over everything works again",
    grade="silver",
    rule="RateLimited(retry_at)",
    needs=(Fault.RATE_LIMIT,),
)
async def over(bench: Bench) -> None:
    """An adapter that locks itself out needs a restart in the middle of a fast market."""
    ms = bench.short(2_000)
    for _ in range(3):
        placed, before = await bench.ticket_for(bench.harness.resting()), await present(bench)
        await bench.harness.inject(Fault.RATE_LIMIT, ms=ms)
        outcome = await bench.send(placed)
        await bench.harness.clear()
        until = outcome.error.retry_at if isinstance(outcome.error, RateLimited) else bench.clock.now_ms() + ms
        wait = until - bench.clock.now_ms()
        bench.expect(wait <= ms + MOST_MS, f"retry_at is {until}, {wait} ms from now; the limit is one of {ms} ms")
        await bench.clock.sleep(max(1, wait) / 1000)
        await sweep(bench)  # of the number that was lost with it, where there are numbers
        before, placed = await present(bench), await bench.ticket_for(placed.spec)
        after = f"after a limit that was over at {until}: "
        again = await bench.send(placed)
        bench.expect(again.error is None, f"{after}submit {shown(again)}")
        await settled(bench)
        fresh = await adopt(bench, placed, before)
        bench.expect(len(fresh) == 1, f"{after}the venue has {fresh!r} of one order")
        for name, read in _reads(bench, placed):
            try:
                answer = await bench.ask(read())
            except Exception as error:
                raise Failed(f"{after}{name} raised {error!r}") from error
            bench.expect(_right(answer, placed), f"{after}{name} answered {answer!r}")
        cancel = await bench.cancel(placed)
        bench.expect(cancel.error is None, f"{after}cancel {shown(cancel)}")
        await bench.ended(placed)


@case(
    "RATE-03",
    "a cancel goes through while orders are limited",
    grade="silver",
    rule="cancel_free",
    needs=(Fault.RATE_LIMIT,),
    features=("cancel_free",),
)
async def cancels_go_first(bench: Bench) -> None:
    """The limit is reached when the market runs, and that is when the orders must come off the book. An adapter that
    makes a cancel wait behind orders, or behind their limit, keeps them there."""
    resting, _ = await landed(bench)
    refused = await bench.ticket_for(bench.harness.resting(2))
    await bench.harness.inject(Fault.RATE_LIMIT, ms=MOST_MS)
    outcome = await bench.send(refused)
    await bench.harness.clear()
    await _prompt_cancel(bench, resting, f"an order has just been refused for its rate (submit {shown(outcome)})")
    # Under pressure: behind many orders that are all on their way.
    resting, _ = await landed(bench, bench.harness.resting(3))
    crowd = [await bench.ticket_for(bench.harness.resting(4)) for _ in range(20)]
    if Fault.SLOW in bench.harness.faults:
        await bench.harness.inject(Fault.SLOW, times=len(crowd), ms=bench.short(2_000))
    sending = [asyncio.ensure_future(bench.send(each)) for each in crowd]
    await asyncio.sleep(0)
    try:
        # What is slow is the next requests, whosever they are: the crowd's have to be on their way before the cancel.
        await bench.clock.sleep(bench.short(500) / 1_000)
        await _prompt_cancel(bench, resting, f"{len(crowd)} orders are on their way")
    finally:
        await asyncio.gather(*sending)
        await bench.harness.clear()


async def _prompt_cancel(bench: Bench, placed: Placed, when: str) -> None:
    then = bench.clock.monotonic()
    outcome = await bench.cancel(placed)
    took = bench.clock.monotonic() - then
    bench.expect(
        outcome.error is None and took < PROMPT_S,
        f"cancel_free is declared; {when}, and a cancel took {took:g} s: {shown(outcome)}",
    )
    await settled(bench)
    order = await bench.one(placed)
    bench.expect(not order.live, f"cancel_free is declared; {when}, and after its cancel the venue has {order!r}")


@case(
    "RATE-04",
    "a read refused for the rate is told as that, never as an answer",
    grade="silver",
    rule="RateLimited, Unavailable",
    needs=(Fault.READ_LIMITED,),
)
async def reads_too(bench: Bench) -> None:
    """A refusal read as an empty list is an account without orders, and they are all placed again."""
    placed, _ = await landed(bench)
    ms = bench.short(3_000)
    for name, read in _reads(bench, placed):
        await bench.ask(read())  # what is asked once only has been asked then
        usual = await _requests(bench)
        await bench.ask(read())
        usual = await _requests(bench) - usual
        for after in range(max(1, min(usual, 10))):
            what = f"{name} whose request {after + 1} is refused for its rate"
            began, then, asked = bench.clock.now_ms(), bench.clock.monotonic(), await _requests(bench)
            await bench.harness.inject(Fault.READ_LIMITED, ms=ms, after=after)
            try:
                answer = await bench.ask(read())
            except RateLimited as error:
                _expect_time(bench, error.retry_at, ms, began, what)
                continue
            except Unavailable as error:
                if error.retry_at is not None:
                    _expect_time(bench, error.retry_at, ms, began, what)
                continue
            except Exception as error:
                raise Failed(f"{what} raised {error!r}; raise RateLimited, or Unavailable") from error
            finally:
                await bench.harness.clear()
            asked = await _requests(bench) - asked
            waited = (bench.clock.monotonic() - then) * 1000 >= ms - ROUNDING_MS
            bench.expect(_right(answer, placed), f"{what} answered {answer!r}: what was refused was taken for nothing")
            bench.expect(waited, f"{what} answered at once, with {asked} requests: it asked on against the limit")
        await at_rest(bench)
        answer = await bench.ask(read())
        bench.expect(_right(answer, placed), f"{name} after the limit answered {answer!r}")


@case(
    "RATE-05",
    "a ban is told as one, and a limit is not",
    grade="silver",
    rule="RateLimited(banned)",
    needs=(Fault.RATE_LIMIT,),
)
async def banned(bench: Bench) -> None:
    """Who goes on asking while banned is banned for days; who takes each limit for a ban cannot cancel while the market
    runs."""
    ms = bench.short(1_200)
    kinds = [each for each in (Fault.RATE_LIMIT, Fault.BANNED) if each in bench.harness.faults]
    for fault in kinds:
        placed = await bench.ticket_for(bench.harness.resting())
        began = bench.clock.now_ms()
        await bench.harness.inject(fault, ms=ms)
        outcome = await bench.send(placed)
        await bench.harness.clear()
        what = f"an order under {fault.value}"
        _expect_limited(bench, outcome, placed, ms, began, what)
        if isinstance(outcome.error, RateLimited):
            _expect_banned(bench, outcome.error, fault, what)
        await bench.clock.sleep(ms / 1000)
        await sweep(bench)
    if Fault.BANNED not in kinds:
        raise Inapplicable("the harness makes no ban: this venue only limits")
    placed, _ = await landed(bench)
    for name, read in _reads(bench, placed):
        what, began = f"{name} while banned", bench.clock.now_ms()
        await bench.harness.inject(Fault.BANNED, ms=ms)
        error = await bench.raises(RateLimited, bench.ask(read()), what)
        await bench.harness.clear()
        assert isinstance(error, RateLimited)
        _expect_time(bench, error.retry_at, ms, began, what)
        _expect_banned(bench, error, Fault.BANNED, what)
        await bench.clock.sleep(ms / 1000)


def _expect_banned(bench: Bench, error: RateLimited, fault: Fault, what: str) -> None:
    wanted = fault is Fault.BANNED
    bench.expect(error.banned is wanted, f"{what}: raised {error!r} with banned={error.banned!r}, not {wanted}")


async def _requests(bench: Bench) -> int:
    return await bench.harness.requests() if bench.harness.offers("requests") else 0


def _reads(bench: Bench, placed: Placed) -> list[tuple[str, Callable[[], Awaitable[object]]]]:
    adapter = bench.adapter
    out: list[tuple[str, Callable[[], Awaitable[object]]]] = [
        ("lookup()", lambda: adapter.lookup(bench.ref(placed))),
        ("open_orders()", lambda: adapter.open_orders(None)),
        ("account()", lambda: adapter.account()),
    ]
    if isinstance(adapter, History):
        out.append(("history()", lambda: adapter.history(None)))
    return out


def _right(answer: object, placed: Placed) -> bool:
    """Does the answer of a read say what is so? An order is open, and the account has money."""
    if isinstance(answer, Snapshot):
        return not answer.complete or answer.next is not None or any(about(each, placed) for each in answer.reports)
    if isinstance(answer, AccountSnapshot):
        return bool(answer.balances)
    if isinstance(answer, Found):
        return any(isinstance(each, OrderReport) for each in orders_in(answer))
    return isinstance(answer, tuple)
