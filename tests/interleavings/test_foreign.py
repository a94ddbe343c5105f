"""Orders of somebody else on the same account: seen, told about once, and left alone (R22, R36)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from exchange_kernel.models import IntentStatus, Origin
from exchange_kernel.reconcile.session import Settings
from tests.interleavings.desk import ACCOUNT, BTC, Desk, buy, play


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
