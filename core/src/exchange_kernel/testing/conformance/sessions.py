"""What a session must not leave behind, and must not answer before it is open and after it is closed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any

from exchange_kernel.errors import ExchangeKernelError, NoEffect
from exchange_kernel.testing.conformance.bench import Bench, Failed, Placed
from exchange_kernel.testing.conformance.harness import Fault
from exchange_kernel.testing.conformance.listening import Ear
from exchange_kernel.venue import (
    History,
    OrderReport,
    Place,
    Prep,
    PriceReads,
    Prices,
    Slot,
    Snapshot,
    Ticket,
    VenueAdapter,
    VenueId,
)

__all__ = [
    "expect_cancelled",
    "expect_clear",
    "expect_nothing_left",
    "expect_refusals",
    "expect_unheard",
    "mine",
    "open_reports",
    "read_on",
]

MOST_PAGES = 200
"""More than any account of a test has."""
GRACE_S = 1.0
"""How long what close() ended may take to be gone."""


async def read_on(stream: AsyncIterator[object]) -> None:
    """Read a stream to its end."""
    async for _ in stream:
        pass


async def expect_nothing_left(bench: Bench, before: set[asyncio.Task[Any]], threads: set[threading.Thread]) -> None:
    """No task and no thread is there that was not there before."""
    end = bench.clock.monotonic() + GRACE_S
    while True:
        for _ in range(5):
            await asyncio.sleep(0)
        left = [task.get_name() for task in asyncio.all_tasks() - before if not task.done()]
        # Threads of the loop's own pool stay for whoever needs one next.
        left += [
            each.name
            for each in set(threading.enumerate()) - threads
            if each.is_alive() and not each.name.startswith(("asyncio_", "ThreadPoolExecutor"))
        ]
        if not left:
            return
        if bench.clock.monotonic() >= end:
            bench.fail(f"left running after close(): {', '.join(sorted(left))}")
        await bench.clock.sleep(GRACE_S / 10)


def expect_clear(bench: Bench, error: BaseException, what: str) -> None:
    """An error of the contract, with something to say."""
    bench.expect(
        isinstance(error, ExchangeKernelError),
        f"{what} raised {error!r}, an accident; raise an error of the contract that says the session is not open",
    )
    bench.expect(str(error).strip(), f"{what} raised {type(error).__name__} without a word")


async def expect_refusals(bench: Bench, adapter: VenueAdapter, ticket: Ticket, when: str) -> None:
    """Every call of an adapter without an open session raises a clear error."""
    spec = bench.harness.resting()
    placed = bench.placed[-1]

    def take(scope: str) -> Slot:
        return ticket.slot or Slot(scope, 0)

    prep = Prep(bench.clock.now_ms(), 2**62, take)
    calls: list[tuple[str, Callable[[], Coroutine[Any, Any, object]]]] = [
        ("markets()", lambda: adapter.markets()),
        ("account()", lambda: adapter.account()),
        ("open_orders()", lambda: adapter.open_orders(None)),
        ("lookup()", lambda: adapter.lookup(bench.ref(placed))),
        ("prepare()", lambda: adapter.prepare(Place(placed.key, spec), prep)),
        ("submit()", lambda: adapter.submit(ticket)),
        ("events()", lambda: _first(adapter.events(None))),
    ]
    if isinstance(adapter, History):
        calls.append(("history()", lambda: adapter.history(None)))
    if isinstance(adapter, Prices):
        calls.append(("prices()", lambda: _first(adapter.prices(frozenset({spec.symbol})))))
    if isinstance(adapter, PriceReads):
        calls.append(("price()", lambda: adapter.price(spec.symbol)))
    for name, call in calls:
        try:
            async with asyncio.timeout(5):
                answer = await call()
        except StopAsyncIteration:
            bench.expect(when == "after close()", f"{name} {when} ended without a word")
            continue
        except TimeoutError:
            bench.fail(f"{name} {when} neither answers nor raises")
        except Exception as error:  # noqa: BLE001 - which one it is, is the point
            expect_clear(bench, error, f"{name} {when}")
            if name == "submit()":
                bench.expect(
                    isinstance(error, NoEffect),
                    f"submit() {when} raised {type(error).__name__}, after which anything may have happened; "
                    "nothing was sent: raise NotSent",
                )
            continue
        bench.fail(f"{name} {when} answered {answer!r}")


async def _first(stream: AsyncIterator[object]) -> object:
    return await anext(stream)


async def open_reports(adapter: VenueAdapter) -> list[OrderReport]:
    """Every page of the open orders."""
    reports: list[OrderReport] = []
    page: str | None = None
    for _ in range(MOST_PAGES):
        snapshot: Snapshot = await adapter.open_orders(page)
        reports += snapshot.reports
        if snapshot.next is None:
            return reports
        page = snapshot.next
    raise Failed(f"open_orders() has more than {MOST_PAGES} pages")


def mine(reports: Iterable[object], ids: Iterable[VenueId], key: bytes) -> list[OrderReport]:
    """Those reports that are about the order with these ids, or this key."""
    known = set(ids)
    orders = (each for each in reports if isinstance(each, OrderReport))
    return [each for each in orders if each.key == key or {each.id, *each.links} & known]


async def expect_unheard(bench: Bench, other: VenueAdapter, ear: Ear, placed: Placed) -> None:
    """Another account's session tells nothing of an order, neither in its stream nor in its history."""
    told: list[object] = list(ear.reports())
    cursor: str | None = None
    for _ in range(MOST_PAGES if isinstance(other, History) else 0):
        assert isinstance(other, History)
        page, cursor = await other.history(cursor)
        told += page
        if not page:
            break
    wrong = mine(told, placed.ids, placed.key)
    bench.expect(not wrong, f"a session of the second account tells of an order of the first: {wrong!r}")


async def expect_cancelled(bench: Bench, ms: int) -> None:
    """Calls that are cancelled after ``ms`` end, without an answer, and without a claim about the order."""
    placed = await bench.ticket_for(bench.harness.resting())
    error = await _given_up(bench, bench.adapter.submit(placed.ticket), ms, "submit()")
    await bench.clock.sleep(3)
    orders = await bench.truth(placed)
    bench.expect(
        not (orders and isinstance(error, NoEffect)),
        f"submit() was cancelled after {ms} ms and raised {error!r}: no effect, ever. The venue has {orders!r}",
    )
    await _given_up(bench, bench.adapter.lookup(bench.ref(placed)), ms, "lookup()")
    await _given_up(bench, bench.adapter.open_orders(None), ms, "open_orders()")
    await _given_up(bench, bench.adapter.account(), ms, "account()")
    await bench.adapter.account()


async def _given_up(bench: Bench, call: Coroutine[Any, Any, object], ms: int, what: str) -> BaseException | None:
    """Cancel a slow call ``ms`` after it began; what it raised. None: it had answered before."""
    await bench.harness.inject(Fault.SLOW, times=20, ms=1_000)
    began = asyncio.create_task(call)
    await bench.clock.sleep(ms / 1000)
    cancelled = began.cancel()
    await asyncio.wait([began])
    await bench.harness.clear()
    if began.cancelled():
        return asyncio.CancelledError()
    error = began.exception()
    if error is not None:
        bench.seen.append(error)
        return error
    bench.expect(not cancelled, f"{what} swallowed its cancellation, and answers as if nobody had cancelled it")
    return None
