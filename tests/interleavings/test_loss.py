"""A store that lost commits: a restored backup, and an order of ours that the store does not know (R32)."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

from exchange_kernel.base import Resolution
from exchange_kernel.kernel import Kernel
from exchange_kernel.models import IntentStatus
from exchange_kernel.reconcile.outcome import Reported
from exchange_kernel.reconcile.proof import Look
from exchange_kernel.reconcile.session import Settings, store_tag
from exchange_kernel.state import SqlIntentStore
from exchange_kernel.venue import Absent, Found, OrderReport, Watermark
from exchange_kernel_paper.adapter import PaperAdapter
from exchange_kernel_paper.exchange import Exchange, LoopClock
from exchange_kernel_paper.exchange import Settings as VenueSettings
from exchange_kernel_paper.registry import Registry
from exchange_kernel_paper.translate import client_id
from tests.interleavings.desk import ACCOUNT, BALANCES, BTC, Desk, buy, play
from tests.simulation import database


def restored(desk: Desk, saved: bytes) -> None:
    """The database is as it was when it was saved, and its witness knows better."""
    desk.database = database.restore(saved, "an old backup was restored")
    desk.store = desk.new_store()


async def ready(desk: Desk, kernel: Kernel) -> None:
    """Wait until the account has recovered."""
    await desk.store.open()

    async def over() -> bool:
        row = await desk.store.account_row(ACCOUNT)
        return row is not None and row.recovering is None

    await desk.until(over)
    await kernel.force_reconciliation()


def test_news_of_an_attempt_that_the_store_does_not_have_is_left_out_while_another_is_looked_for() -> None:
    """It neither stops the handler nor counts for the attempt that is looked for."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await process.kernel.place_order(buy(), "a")
        record = await desk.reaches("a", IntentStatus.WORKING)
        session = process.kernel._session
        assert record.live is not None
        found = await session.adapter.lookup(record.ref(record.live))
        assert isinstance(found, Found) and isinstance(found.reports[0], OrderReport)
        unseen = Look(Absent(Watermark(), 0, ("orders",)), 0.0, 1, record.live.key)
        session.watch("a").looks.append(unseen)
        session.deliver("a", Reported(2, found.reports[0], "stream"))
        await process.kernel.modify_order("a", buy("0.2"))
        await desk.until(lambda: [each for each in desk.orders("a") if each.live and str(each.most) == "0.2"])
        assert session.watch("a").looks in ([], [unseen])

    play(scene)


def test_an_attempt_made_after_the_backup_is_given_back_to_its_intent() -> None:
    """Declared before the backup, sent after it: the restored store believes nothing was sent, and finds the order."""

    async def scene(desk: Desk) -> None:
        first = await desk.start()
        hold = first.points.hold("before commit of place")
        await first.kernel.place_order(buy(), "a")
        await hold.reached()
        saved = database.backup(desk.database)
        hold.release()
        await desk.reaches("a", IntentStatus.WORKING)
        first.points.stop()
        restored(desk, saved)
        second = await desk.start()
        await ready(desk, second.kernel)
        record = await desk.reaches("a", IntentStatus.WORKING)
        assert len(record.attempts) == len(desk.orders("a")) == 1
        assert {"RecoveryStarted", "RecoveryFinished"} <= set(await desk.kinds())

    play(scene)


def test_an_intent_made_after_the_backup_is_parked_for_somebody_to_see() -> None:
    """Its very declaration is lost; the order is at the venue. It is never doubled, never overlooked, and can be
    ended."""

    async def scene(desk: Desk) -> None:
        first = await desk.start()
        await first.kernel.place_order(buy("0.2"), "old")
        await desk.reaches("old", IntentStatus.WORKING)
        saved = database.backup(desk.database)
        await first.kernel.place_order(buy("0.3"), "new")
        await desk.reaches("new", IntentStatus.WORKING)
        first.points.stop()
        restored(desk, saved)
        second = await desk.start()
        await ready(desk, second.kernel)
        [order] = desk.orders("new")
        orphan = f"orphan-{order.id}"
        await desk.reaches(orphan, IntentStatus.PARKED, IntentStatus.WORKING)
        assert len(desk.orders()) == 2
        await second.kernel.cancel_order(orphan)
        await desk.reaches(orphan, IntentStatus.CANCELED)
        assert sorted(o.status for o in desk.orders()) == ["CANCELED", "WORKING"]

    play(scene)


def test_what_was_declared_and_not_sent_before_the_backup_is_held_until_asked_for() -> None:
    """A cancel of it may be among what was lost: nothing is sent before its user says so again."""

    async def scene(desk: Desk) -> None:
        first = await desk.start()
        hold = first.points.hold("before commit of place")
        await first.kernel.place_order(buy(), "a")
        await hold.reached()
        saved = database.backup(desk.database)
        await first.kernel.cancel_order("a")
        hold.release()
        await desk.reaches("a", IntentStatus.CANCELED)
        first.points.stop()
        restored(desk, saved)
        second = await desk.start()
        await ready(desk, second.kernel)
        await desk.reaches("a", IntentStatus.PARKED)
        assert desk.orders() == []
        await second.kernel.resolve_order("a", Resolution.LOOK_AGAIN, actor="op", reason="still wanted")
        await desk.reaches("a", IntentStatus.WORKING)
        assert len(desk.orders("a")) == 1

    play(scene)


def test_nothing_is_sent_before_the_longest_fence_has_passed() -> None:
    """A request from before the loss may still arrive: an order declared at once waits for that, then goes out once."""

    async def scene(desk: Desk) -> None:
        first = await desk.start()
        saved = database.backup(desk.database)
        first.points.stop()
        restored(desk, saved)
        second = await desk.start()
        began = desk.loop.time()
        health = await second.kernel.health_check()
        assert not health.ready
        await second.kernel.place_order(buy(), "a")
        await desk.store.open()
        await desk.until(lambda: desk.requests("order"))
        assert desk.loop.time() - began > 2.0
        assert "RecoveryFinished" in await desk.kinds()
        await desk.reaches("a", IntentStatus.WORKING)

    play(scene)


def test_an_order_of_ours_that_the_store_does_not_know_means_a_lost_commit() -> None:
    """Its client id carries our store's tag: the account recovers, the order is parked, and trading goes on."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await process.kernel.place_order(buy("0.2"), "a")
        await desk.reaches("a", IntentStatus.WORKING)
        row = await desk.store.store_row()
        ours = client_id(store_tag(bytes.fromhex(row.store_id)) + b"lost-in-time"[:12])
        now = desk.clock.now_ms()
        request = {"op": "order", "symbol": BTC, "side": "BUY", "amount": "0.7", "limit": "48900", "tif": "GTC",
                   "client": ours, "ts": now, "window": 2000}  # fmt: skip
        desk.exchange.trade(ACCOUNT, request)

        async def parked() -> bool:
            rows = await desk.store.intents(ACCOUNT)
            return any(i.intent_id.startswith("orphan-") for i, _ in rows) and "RecoveryFinished" in await desk.kinds()

        await desk.until(parked)
        await process.kernel.place_order(buy("0.4"), "b")
        await desk.reaches("b", IntentStatus.WORKING)
        assert len(desk.orders()) == 3
        orphan = next(i for i in await process.kernel.get_all_intents() if i.intent_id.startswith("orphan-"))
        assert orphan.order.amount == buy("0.7").amount
        assert (await desk.kinds()).count("RecoveryStarted") == 1

    play(scene)


def test_a_restored_file_with_its_witness_makes_no_order_twice(tmp_path: Path) -> None:
    """A real SQLite file: back up, trade, restore, start. What was sent since is found, and nothing is sent again."""
    registry = Registry()

    async def run() -> None:
        exchange = Exchange(
            "hall", LoopClock(lambda: time.time_ns() // 1_000_000), VenueSettings(window_ms=300, future_ms=100)
        )
        exchange.open_account(ACCOUNT, "paper", BALANCES)
        registry.add(exchange)

        def kernel(path: Path) -> Kernel:
            config = {"venue": "hall", "account": ACCOUNT, "registry": registry, "house": False}
            quick = Settings(backoff=0.05, max_backoff=0.3, snapshot_every=0.5, first_look=0.05)
            return Kernel(
                ACCOUNT, PaperAdapter(), SqlIntentStore(f"sqlite:///{path}"), venue_config=config, settings=quick
            )

        path = tmp_path / "store.db"
        first = kernel(path)
        await first.start()
        await first.place_order(buy("0.1"), "a")
        await arrived(first, "a", IntentStatus.WORKING)
        await first.stop()
        shutil.copy(path, tmp_path / "backup")
        second = kernel(path)
        await second.start()
        await second.place_order(buy("0.2"), "b")
        await second.modify_order("a", buy("0.3"))
        await arrived(second, "b", IntentStatus.WORKING)
        await second.force_reconciliation()
        await second.stop()
        for leftover in ("-wal", "-shm"):
            (tmp_path / f"store.db{leftover}").unlink(missing_ok=True)
        shutil.copy(tmp_path / "backup", path)
        third = kernel(path)
        await third.start()
        assert not (await third.health_check()).ready
        await third.place_order(buy("0.2"), "b")
        async with asyncio.timeout(20):
            while not (await third.health_check()).ready:
                await asyncio.sleep(0.02)
        await third.force_reconciliation()
        orders = [order for order in exchange.ledger.orders() if order.account == ACCOUNT]
        assert len(orders) == 2
        assert sum(order.live for order in orders) == 2
        await third.stop()

    async def arrived(kernel: Kernel, name: str, status: IntentStatus) -> None:
        async with asyncio.timeout(20):
            while (await kernel.get_order_state(name)).status is not status:
                await asyncio.sleep(0.01)

    asyncio.run(run())
