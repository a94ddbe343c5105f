"""Orders of somebody else on the same account: seen, told about once, and left alone (R22, R36)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from exchange_kernel.errors import StoreUnavailable
from exchange_kernel.models import IntentStatus, Origin
from exchange_kernel.reconcile.session import Settings
from tests.interleavings.desk import ACCOUNT, BTC, Desk, buy, play
from tests.interleavings.venues import Venue


def by_hand(desk: Desk, amount: str, client: str | None = None) -> Any:
    """Somebody places an order on the account with another program."""
    request = {"op": "order", "symbol": BTC, "side": "BUY", "amount": amount, "limit": "48700", "tif": "GTC",
               "ts": desk.clock.now_ms(), "window": 2000}  # fmt: skip
    if client is not None:
        request["client"] = client
    return desk.exchange.trade(ACCOUNT, request)["orders"][0]


@pytest.mark.parametrize("client", [None, "my-bot-7", "exk" + "0" * 32], ids=["none", "theirs", "another store's"])
def test_a_foreign_order_is_seen_told_once_and_never_touched(client: str | None) -> None:
    """It is in the list of orders with its origin; one drift event; cancel_all takes ours and leaves it."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await process.kernel.place_order(buy(), "a")
        await desk.reaches("a", IntentStatus.WORKING)
        by_hand(desk, "0.7", client)
        for _ in range(4):
            await process.kernel.force_reconciliation()
        foreign = [s for s in await process.kernel.get_all_orders() if s.origin is not Origin.OURS]
        assert [(s.amount, s.intent_id, s.status) for s in foreign] == [(Decimal("0.7"), None, IntentStatus.WORKING)]
        assert (await desk.kinds()).count("DriftDetected") == 1
        assert await process.kernel.cancel_all_orders() == ["a"]
        await desk.reaches("a", IntentStatus.CANCELED)
        await process.kernel.force_reconciliation()
        assert {order.most: order.status for order in desk.orders()} == {
            Decimal("0.1"): "CANCELED",
            Decimal("0.7"): "WORKING",
        }
        assert desk.requests("cancel_all") == 0
        desk.trade("5")
        await process.kernel.force_reconciliation()
        assert [s for s in await process.kernel.get_all_orders() if s.origin is not Origin.OURS] == []
        assert (await desk.kinds()).count("DriftDetected") == 1
        assert await process.kernel.get_positions() == []

    play(scene)


def test_a_foreign_order_from_before_the_start_is_seen_too() -> None:
    """The first snapshot shows it; where the policy is to ignore, no event tells about it."""

    async def scene(desk: Desk) -> None:
        by_hand(desk, "0.7")
        process = await desk.start(settings=Settings(report_foreign=False))
        await process.kernel.force_reconciliation()
        assert len(await process.kernel.get_all_orders()) == 1
        assert "DriftDetected" not in await desk.kinds()

    play(scene)


def test_our_order_that_somebody_else_cancels_is_drift() -> None:
    """The intent ends CANCELED with the venue's word for it, and an event says that it was not us."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await process.kernel.place_order(buy(), "a")
        await desk.reaches("a", IntentStatus.WORKING)
        [order] = desk.orders("a")
        request = {"op": "cancel", "symbol": BTC, "order": order.id, "ts": desk.clock.now_ms(), "window": 2000}
        desk.exchange.trade(ACCOUNT, request)
        record = await desk.reaches("a", IntentStatus.CANCELED)
        assert "canceled at the venue" in record.progress.reason
        assert (await desk.kinds("a")).count("DriftDetected") == 1

    play(scene)


def test_a_foreign_order_whose_event_could_not_be_written_is_told_with_its_next_report() -> None:
    """The write fails once: the next snapshot that shows the order tells about it, and nothing does a third time."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        process.points.fail("before RecordEvents", StoreUnavailable("the database is locked"))
        by_hand(desk, "0.7")
        for _ in range(4):
            await process.kernel.force_reconciliation()
        assert (await desk.kinds()).count("DriftDetected") == 1

    play(scene)


def test_what_happens_while_the_lease_may_be_lost_is_told_when_it_is_kept_again() -> None:
    """No event is written without the lease, and none is lost for it: neither a foreign order's nor a balance's."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        process.points.fail("before renewal", StoreUnavailable("the database is locked"), times=10)
        await desk.until(lambda: not process.kernel._session.owned)
        by_hand(desk, "0.7")
        await desk.until(lambda: len(process.kernel._actual.all(ACCOUNT)) == 1)
        before = await desk.kinds()
        assert "DriftDetected" not in before
        await desk.until(lambda: process.kernel._session.owned)
        await process.kernel.force_reconciliation()
        told = (await desk.kinds())[len(before) :]
        assert (told.count("DriftDetected"), "AccountBalanceUpdated" in told) == (1, True)

    play(scene)


def test_what_an_owner_saw_before_it_was_taken_over_is_not_shown_when_it_owns_again() -> None:
    """The order goes while another process owns the account; the first owner, back, does not know of it any more."""

    async def scene(desk: Desk) -> None:
        first = await desk.start()
        order = by_hand(desk, "0.7")
        await first.kernel.force_reconciliation()
        assert len(await first.kernel.get_all_orders()) == 1
        first.points.stop()
        heir = await desk.start(standby=True)
        await desk.until(lambda: heir.kernel._session.owned)
        first.points.go_on()
        await desk.until(lambda: not first.kernel._session.epoch)
        await asyncio.sleep(1)
        desk.exchange.trade(
            ACCOUNT,
            {"op": "cancel", "symbol": BTC, "order": order["id"], "ts": desk.clock.now_ms(), "window": 2000},
        )
        await heir.kernel.stop()
        await desk.until(lambda: first.kernel._session.owned)
        await first.kernel.force_reconciliation()
        assert await first.kernel.get_all_orders() == []

    play(scene)


class Trailing(Venue):
    """Its next snapshot, once asked to, is of a state from before any order."""

    trails = False

    async def open_orders(self, page: Any) -> Any:
        snapshot = await self.inner.open_orders(page)
        if not self.trails:
            return snapshot
        type(self).trails = False
        return replace(snapshot, reports=())


def test_a_snapshot_that_trails_does_not_make_a_foreign_order_new_again() -> None:
    """Told, not shown by one complete snapshot, shown by the next: it is listed again, and told about once."""

    async def scene(desk: Desk) -> None:
        process = await desk.start(adapter=Trailing)
        by_hand(desk, "0.7")
        await process.kernel.force_reconciliation()
        Trailing.trails = True
        for _ in range(2):
            await process.kernel.force_reconciliation()
        assert not Trailing.trails
        assert len(await process.kernel.get_all_orders()) == 1
        assert (await desk.kinds()).count("DriftDetected") == 1

    play(scene)
