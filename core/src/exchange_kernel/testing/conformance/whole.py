"""A whole kernel on the adapter: random orders under random faults, and then the venue's truth is asked."""

from __future__ import annotations

from decimal import Decimal
from random import Random

from exchange_kernel.errors import ExchangeKernelError
from exchange_kernel.kernel import Kernel
from exchange_kernel.models import IntentStatus
from exchange_kernel.reconcile.session import Settings
from exchange_kernel.schema import StandardOrder
from exchange_kernel.state.memory import MemoryIntentStore
from exchange_kernel.state.rows import Record
from exchange_kernel.testing.conformance.bench import Bench, Placed
from exchange_kernel.testing.conformance.harness import Fault, TruthOrder
from exchange_kernel.testing.conformance.sweeping import sweep
from exchange_kernel.testing.virtual import SeededIds
from exchange_kernel.venue import Spec, VenueId

__all__ = ["SEEDS", "run_kernel"]

SEEDS = (1, 2, 3)
INTENTS = 24
REST_S = 200.0
"""Longest time, once all is well, until everything is as it was wanted."""
_FAULTS = (
    Fault.REQUEST_LOST,
    Fault.ANSWER_LOST,
    Fault.LATE,
    Fault.ERROR_AFTER,
    Fault.UNAVAILABLE,
    Fault.GARBLED,
    Fault.RATE_LIMIT,
    Fault.NODE_REFUSES,
    Fault.READ_FAILS,
    Fault.READ_GARBLED,
    Fault.READ_LIMITED,
    Fault.READ_LAGS,
    Fault.STREAM_CUT,
    Fault.EVENT_LOST,
    Fault.EVENT_REPEATED,
    Fault.EVENTS_REORDERED,
)
_OFTEN = (Fault.ANSWER_LOST, Fault.LATE, Fault.ERROR_AFTER, Fault.GARBLED, Fault.NODE_REFUSES)
"""Nobody knows what became of the order: what a kernel is for."""
_SETTLED = (IntentStatus.WORKING, IntentStatus.PARTIALLY_FILLED)
_BEYOND = (IntentStatus.UNKNOWN, IntentStatus.PARKED)


async def run_kernel(bench: Bench, seed: int) -> None:
    """One run. The bench's own session is closed meanwhile: a kernel has the account to itself."""
    rng = Random(seed)
    run = _Run(bench, rng, f"seed {seed}: ")
    await bench.close()
    before = {frozenset(order.ids) for order in await bench.harness.truth()}
    try:
        await run.kernel.start()
        await run.trade()
        await bench.harness.clear()
        await run.comes_to_rest()
        await run.judge(before)
        await run.ends()
        await run.judge(before)
    finally:
        await bench.harness.clear()
        await run.kernel.stop()
    await bench.ready()
    for order in await bench.harness.truth():
        if order.live and frozenset(order.ids) not in before:
            placed = Placed(bench.key(), bench.harness.resting(), [], bench.clock.now_ms(), list(order.ids))
            bench.placed.append(placed)
    await sweep(bench)


def _settings(quiet_s: float) -> Settings:
    """Of a kernel as quick as its venue."""
    return Settings(
        lease_ms=30_000,
        snapshot_every=5 * quiet_s,
        first_look=quiet_s / 10,
        backoff=quiet_s * 3 / 10,
        max_backoff=3 * quiet_s,
        submit_timeout=8.0,
        read_timeout=8.0,
    )


class _Run:
    def __init__(self, bench: Bench, rng: Random, name: str) -> None:
        self.bench, self.rng, self.name = bench, rng, name
        harness = bench.harness
        context, ids = harness.context(), SeededIds(rng)
        self.account = context.account
        self.store = MemoryIntentStore(harness.clock, ids)
        self.kernel = Kernel(
            context.account,
            harness.adapter(),
            self.store,
            venue=harness.venue,
            venue_config=context.config,
            secrets=context.secrets,
            settings=_settings(harness.quiet_s),
            clock=harness.clock,
            ids=ids,
        )
        specs = [harness.resting(n) for n in (1, 2, 3, 5, 8)] + [harness.crossing(n) for n in (1, 2, 3, 4)]
        self.specs = [bench.adapter.check(spec).spec for spec in specs]
        self.wanted: dict[str, list[Decimal]] = {}
        self.orders: dict[str, StandardOrder] = {}
        self.faults = [fault for fault in (*_FAULTS, *_OFTEN, *_OFTEN) if fault in harness.faults]

    # what a user, a market and a network do ---------------------------------------------------------------------

    async def trade(self) -> None:
        """Place, modify, cancel, and let things go wrong."""
        rng, bench = self.rng, self.bench
        for number in range(INTENTS):
            if self.faults and rng.random() < 0.8:
                fault = rng.choice(self.faults)
                await bench.harness.inject(
                    fault, times=rng.choice((1, 1, 3)), ms=bench.short(rng.choice((50, 300, 900, 1_900)))
                )
            await self._place(f"i{number}")
            name = rng.choice(sorted(self.orders))
            if rng.random() < 0.5:
                await self._modify(name)
            elif rng.random() < 0.5:
                await self._cancel(name)
            if bench.harness.offers("fill") and rng.random() < 0.4:
                await self._fill()
            for _ in range(rng.choice((0, 1, 4, 16))):
                await bench.quiet(0.1)
                await self.at_any_time()

    async def _place(self, name: str) -> None:
        order = _standard(self.rng.choice(self.specs))
        await self.kernel.place_order(order, name)
        self.orders[name], self.wanted[name] = order, [order.amount]

    async def _modify(self, name: str) -> None:
        """Another amount of the same kind of order. That it comes too late is no fault of anybody's."""
        old = self.orders[name]
        resting = [s for s in self.specs if s.limit == old.limit_price and s.amount != old.amount]
        if not resting:
            return
        order = _standard(self.rng.choice(resting))
        try:
            await self.kernel.modify_order(name, order)
        except ExchangeKernelError:
            return
        self.orders[name] = order
        self.wanted[name].append(order.amount)

    async def _cancel(self, name: str) -> None:
        await self.kernel.cancel_order(name)
        self.orders.pop(name)

    async def _fill(self) -> None:
        known = {vid for _, record in await self._records() for vid in _ids(record)}
        live = [order for order in await self.bench.harness.truth() if order.live and set(order.ids) & known]
        if not live:
            return
        # The oldest: where several rest at one price, it is the one that trades.
        rest = live[0].amount - live[0].filled_base
        step = self.bench.market.amounts.step
        part = rest if self.rng.random() < 0.4 else rest / 2 // step * step
        if part:
            await self.bench.harness.fill(live[0], part)

    # what must come of it ---------------------------------------------------------------------------------------

    async def _records(self) -> list[tuple[str, Record]]:
        out = []
        for intent, _ in await self.store.intents(self.account):
            record = await self.store.record(self.account, intent.intent_id)
            assert record is not None
            out.append((intent.intent_id, record))
        return out

    async def comes_to_rest(self) -> None:
        """Every intent ends, works as it is wanted, or is beyond proof."""
        left: list[str] = []

        async def quiet() -> bool:
            await self.at_any_time()
            left[:] = [f"{name} {why}" for name, record in await self._records() if (why := _unrest(record))]
            return not left

        try:
            await self.bench.until(quiet, "everything is as it was wanted", REST_S)
        except AssertionError:
            self.bench.fail(
                f"{self.name}{REST_S:g} s after the last fault the kernel still has not done what was wanted: "
                f"{'; '.join(left)}"
            )
        await self.kernel.force_reconciliation()
        await self.bench.until(quiet, f"{self.name}everything is as it was wanted: {left}", REST_S)

    async def at_any_time(self) -> None:
        """What holds at every moment: one order at most, and none once it is said to be over."""
        orders = await self.bench.harness.truth()
        for name, record in await self._records():
            mine = [order for order in orders if set(order.ids) & _ids(record)]
            self._expect_single(name, record, mine)
            live = [order for order in mine if order.live]
            self.bench.expect(
                not (live and record.progress.status.terminal),
                f"{self.name}{name} is said to be {record.progress.status}, and at the venue it lives: {live!r}",
            )

    async def ends(self) -> None:
        """Want nothing any more."""
        await self.kernel.cancel_all_orders()
        await self.comes_to_rest()

    async def judge(self, before: set[frozenset[VenueId]]) -> None:
        """Desired, booked and true are the same; nothing is there twice, and nothing of nobody."""
        if self.bench.harness.offers("settle"):
            await self.bench.harness.settle()
        orders = [order for order in await self.bench.harness.truth() if frozenset(order.ids) not in before]
        records = await self._records()
        beyond = 0
        for name, record in records:
            mine = [order for order in orders if set(order.ids) & _ids(record)]
            orders = [order for order in orders if order not in mine]
            beyond += record.progress.status in _BEYOND
            self._expect_single(name, record, mine)
            if record.progress.status not in _BEYOND:
                self._expect_true(name, record, mine)
        self.bench.expect(
            len(orders) <= (0 if self.bench.offers("find_by_key") else beyond),
            f"{self.name}the venue has orders that no intent knows of: {orders!r}",
        )

    def _expect_single(self, name: str, record: Record, mine: list[TruthOrder]) -> None:
        live = [order for order in mine if order.live]
        self.bench.expect(len(live) <= 1, f"{self.name}{name} has {len(live)} live orders at the venue: {live!r}")
        for attempt in record.attempts:
            ids = {*attempt.ids, *(v for row in record.tickets_of(attempt.n) for v in row.ticket.ids)}
            same = [order for order in mine if ids & set(order.ids)]
            self.bench.expect(len(same) <= 1, f"{self.name}one attempt of {name} became {len(same)} orders: {same!r}")
        traded = sum((order.filled_base for order in mine), Decimal(0))
        most = max(self.wanted[name])
        self.bench.expect(
            traded <= most, f"{self.name}{name} was for {most} at most, and {traded} traded at the venue: {mine!r}"
        )

    def _expect_true(self, name: str, record: Record, mine: list[TruthOrder]) -> None:
        progress, live = record.progress, [order for order in mine if order.live]
        base = sum((order.filled_base for order in mine), Decimal(0))
        quote = sum((order.filled_quote for order in mine), Decimal(0))
        self.bench.expect(
            (progress.filled_base, progress.filled_quote) == (base, quote),
            f"{self.name}{name} is {progress.status} with {progress.filled_base} / {progress.filled_quote} booked; the "
            f"venue traded {base} / {quote}: {mine!r}",
        )
        self.bench.expect(
            len(live) == (progress.status in _SETTLED),
            f"{self.name}{name} is {progress.status}, and {len(live)} orders of it live at the venue: {mine!r}",
        )
        self.bench.expect(
            not (base and progress.status is IntentStatus.REJECTED),
            f"{self.name}{name} is REJECTED, and at the venue {base} of it traded: {mine!r}",
        )
        ids = [fill.id for fill in record.fills]
        self.bench.expect(len(set(ids)) == len(ids), f"{self.name}{name} booked a fill twice: {ids}")


def _standard(spec: Spec) -> StandardOrder:
    return StandardOrder(
        spec.symbol, spec.side, spec.amount, spec.amount_in, spec.limit, spec.tif, post_only=spec.post_only
    )


def _ids(record: Record) -> set[VenueId]:
    return {vid for attempt in record.attempts for vid in attempt.ids} | {
        vid for row in record.tickets for vid in row.ticket.ids
    }


def _unrest(record: Record) -> str:
    """What an intent still waits for; "" for nothing."""
    intent, progress = record.intent, record.progress
    told = f"{progress.status} ({progress.reason or intent.desired})"
    if record.revived is not None:
        return f"{told}: an order that should be over is alive"
    if progress.status.terminal or progress.status is IntentStatus.PARKED:
        return ""
    live = record.live
    if progress.status is IntentStatus.UNKNOWN and live is not None and not _provable(record):
        return ""
    if progress.status not in _SETTLED or live is None or intent.desired == "CANCELED":
        return told
    if intent.generation not in (live.generation, progress.amend_refused):
        return f"{told}: generation {intent.generation} is wanted, {live.generation} is at the venue"
    return "" if live.booked_base == live.cum_base else f"{told}: fills are missing"


def _provable(record: Record) -> bool:
    return all(row.ticket.fence.ends for row in record.tickets)
