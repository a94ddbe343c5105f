"""Resting orders where nothing rests: the kernel keeps them, and takes the price when it is met."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from exchange_kernel.errors import OrderRefused, Unavailable, Unsupported
from exchange_kernel.models import IntentStatus
from exchange_kernel.schema import MarketCapabilities, StandardOrder, Support, SupportLevel, TimeInForce
from exchange_kernel.venue import Quote
from exchange_kernel_paper.adapter import PaperAdapter
from tests.interleavings.desk import SETTINGS, Desk, buy, play

FENCES = ("time_window", "sequence", "height", "permanent_key")


def falls(desk: Desk, price: str = "48900", amount: str = "2") -> None:
    """The house offers at this price."""
    desk.quote(asks=[(price, amount)])


@pytest.mark.parametrize("fence", FENCES)
def test_an_order_waits_for_its_price_and_takes_it(fence: str) -> None:
    """Nothing is sent before; then one immediate order at its limit fills it; that it is emulated is told."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        assert (await process.kernel.dry_run(buy())).emulated == ("gtc",)
        await process.kernel.place_order(buy(), "a")
        await asyncio.sleep(20)
        assert (await desk.status("a"), desk.requests("order")) == (IntentStatus.PENDING, 0)
        state = await process.kernel.get_order_state("a")
        assert [(c.type, c.reason) for c in state.conditions if c.type == "Emulated"] == [("Emulated", "gtc")]
        falls(desk)
        record = await desk.reaches("a", IntentStatus.FILLED)
        [attempt] = record.attempts
        assert (attempt.spec.tif, attempt.spec.limit) == (TimeInForce.IOC, Decimal(49000))
        assert [order.base for order in desk.orders("a")] == [Decimal("0.1")]

    play(scene, fence=fence, rests="off")


@pytest.mark.parametrize("fence", FENCES)
def test_what_is_there_is_taken_and_the_remainder_stays(fence: str) -> None:
    """A thin offer fills a part; the rest waits on, and is taken later."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        falls(desk, amount="0.03")
        await process.kernel.place_order(buy(), "a")
        record = await desk.reaches("a", IntentStatus.PARTIALLY_FILLED)
        assert record.progress.filled_base == Decimal("0.03")
        await asyncio.sleep(10)
        assert len(desk.orders("a")) == 1
        falls(desk)
        record = await desk.reaches("a", IntentStatus.FILLED)
        assert [order.base for order in desk.orders("a")] == [Decimal("0.03"), Decimal("0.07")]

    play(scene, fence=fence, rests="off")


@pytest.mark.parametrize("label", ["before commit of place", "after commit of place", "after submit of place"])
@pytest.mark.parametrize("fence", FENCES)
def test_a_crash_when_the_price_is_met_leaves_one_order(fence: str, label: str) -> None:
    """The next process keeps the order, proves what became of the attempt, and never has two."""

    async def scene(desk: Desk) -> None:
        first = await desk.start()
        await first.kernel.place_order(buy(), "a")
        stopped = first.points.pause_at(label)
        falls(desk)
        await stopped.wait()
        await desk.start(standby=True)
        record = await desk.reaches("a", IntentStatus.FILLED)
        assert record.progress.filled_base == Decimal("0.1")

    play(scene, fence=fence, rests="off")


def test_an_order_survives_a_restart_and_outlives_the_deadline_of_others() -> None:
    """Nothing but its owner ends it: in another process, later than any other may be sent, the price is taken."""

    async def scene(desk: Desk) -> None:
        settings = replace(SETTINGS, resting_deadline_ms=10_000)
        first = await desk.start(settings=settings)
        await first.kernel.place_order(buy(), "a")
        await asyncio.sleep(1)
        first.points.stop()
        await asyncio.sleep(60)
        await desk.start(standby=True, settings=settings)
        await asyncio.sleep(5)
        assert await desk.status("a") is IntentStatus.PENDING
        falls(desk)
        await desk.reaches("a", IntentStatus.FILLED)

    play(scene, rests="off")


@pytest.mark.parametrize("fence", ["time_window", "sequence"])
def test_a_lost_race_is_waited_out_ever_longer(fence: str) -> None:
    """The price is gone when the order comes: it expires, counts as nothing, and is not tried at once again."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await process.kernel.place_order(buy(), "a")
        for n in range(1, 4):
            hold = process.points.hold("before submit of place")
            falls(desk)
            await hold.reached()
            desk.quote()
            hold.release()
            await desk.until(lambda n=n: sum(o.status == "EXPIRED" for o in desk.orders("a")) == n)  # type: ignore[misc]
        record = await desk.record("a")
        sent = [row.committed_at for row in record.tickets]
        assert sent[2] - sent[1] >= 1_000
        falls(desk)
        record = await desk.reaches("a", IntentStatus.FILLED)
        assert record.tickets[3].committed_at - sent[2] >= 4_000

    play(scene, fence=fence, rests="off")


def test_a_cancel_ends_what_waits_at_once_and_without_the_venue() -> None:
    """Nothing is there to cancel; the price that comes afterwards is not taken."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await process.kernel.place_order(buy(), "a")
        await asyncio.sleep(1)
        await process.kernel.cancel_order("a")
        await desk.reaches("a", IntentStatus.CANCELED)
        falls(desk)
        await asyncio.sleep(5)
        assert desk.requests("order") == desk.requests("cancel") == 0

    play(scene, rests="off")


@pytest.mark.parametrize("tif", [TimeInForce.GTD, TimeInForce.DAY])
def test_the_kernels_timer_ends_what_waits(tif: TimeInForce) -> None:
    """GTD and DAY end on time, unsent."""

    async def scene(desk: Desk) -> None:
        day = 86_400_000
        await asyncio.sleep((day - desk.clock.now_ms() % day) / 1000 - 60)
        process = await desk.start()
        until = desk.clock.now_ms() + 20_000 if tif is TimeInForce.GTD else None
        order = buy(time_in_force=tif, expire_at=until)
        assert (await process.kernel.dry_run(order)).emulated == (tif.lower(), "gtc")
        await process.kernel.place_order(order, "a")
        await asyncio.sleep(10)
        assert await desk.status("a") is IntentStatus.PENDING
        await desk.reaches("a", IntentStatus.EXPIRED, seconds=90)
        assert desk.requests("order") == 0

    play(scene, rests="off")


def test_a_changed_limit_is_the_one_that_counts() -> None:
    """Modified while it waits: the new limit is met at once."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await process.kernel.place_order(buy(), "a")
        await asyncio.sleep(1)
        await process.kernel.modify_order("a", buy(price="50020"))
        await desk.reaches("a", IntentStatus.FILLED)
        assert [order.base for order in desk.orders("a")] == [Decimal("0.1")]

    play(scene, rests="off")


@pytest.mark.parametrize("order", [buy(allow_emulation=False), buy(post_only=True), buy(iceberg_qty=Decimal("0.01"))])
def test_what_may_not_or_cannot_be_watched_is_refused_before_anything_is_written(order: StandardOrder) -> None:
    """By name, with the reason."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        with pytest.raises(Unsupported):
            await process.kernel.place_order(order, "a")
        assert await process.kernel.get_all_intents() == []

    play(scene, rests="off")


class Quoting:
    """Shows no prices, but quotes what an order would cost; takes FOK, and no IOC."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.inner, self.asked = desk, PaperAdapter(), 0

    def __getattr__(self, name: str) -> Any:
        if name in ("prices", "history"):
            raise AttributeError(name)
        return getattr(self.inner, name)

    async def markets(self) -> Any:
        return tuple(replace(m, capabilities=self._only(m.capabilities)) for m in await self.inner.markets())

    @staticmethod
    def _only(had: MarketCapabilities) -> MarketCapabilities:
        lacking = dict.fromkeys(("prices", "ioc"), Support(SupportLevel.UNSUPPORTED))
        return replace(had, features={**had.features, **lacking, "quotes": Support(SupportLevel.NATIVE)})

    async def quote(self, spec: Any) -> Quote:
        self.asked += 1
        if self.asked == 3:
            raise Unavailable("no answer")
        return Quote(self.desk.exchange.book(spec.symbol).top()[1], self.desk.clock.now_ms())


def test_where_there_are_only_quotes_the_quote_decides() -> None:
    """Asked again and again, also after a read that failed; met, the whole of it is taken at once."""

    async def scene(desk: Desk) -> None:
        process = desk.process()
        venue = Quoting(desk)
        process.kernel._adapter = venue  # type: ignore[assignment]
        await process.kernel.start()
        await process.kernel.place_order(buy(), "a")
        await asyncio.sleep(10)
        assert venue.asked >= 5
        assert desk.requests("order") == 0
        falls(desk)
        record = await desk.reaches("a", IntentStatus.FILLED)
        assert [attempt.spec.tif for attempt in record.attempts] == [TimeInForce.FOK]

    play(scene, rests="off")


class Doubting(Quoting):
    """Finds, asked to prepare the first three, that the price is gone again; remembers until when it might be sent."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.prepared = 0
        self.give_up: list[int] = []

    async def prepare(self, command: Any, prep: Any) -> Any:
        self.prepared += 1
        self.give_up.append(prep.give_up)
        if self.prepared <= 3:
            raise OrderRefused("it would revert", why="reverted")
        return await self.inner.prepare(command, prep)


def test_a_price_that_is_gone_before_anything_is_sent_ends_nothing() -> None:
    """The order is kept, asked for again, and filled; no attempt was made of what was not sent, nor anything prepared
    for longer than the order lives."""

    async def scene(desk: Desk) -> None:
        process = desk.process()
        venue = Doubting(desk)
        process.kernel._adapter = venue  # type: ignore[assignment]
        await process.kernel.start()
        end = desk.clock.now_ms() + 25_000
        await process.kernel.place_order(buy(time_in_force=TimeInForce.GTD, expire_at=end), "a")
        falls(desk)
        record = await desk.reaches("a", IntentStatus.FILLED)
        assert (venue.prepared, len(record.attempts), desk.requests("order")) == (4, 1, 1)
        assert set(venue.give_up) == {end}

    play(scene, rests="off")
