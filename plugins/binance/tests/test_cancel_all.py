"""The cancel of all orders of a symbol: whom it takes, what it says, and that it is never sent twice."""

from __future__ import annotations

from typing import Any

import pytest

from exchange_kernel.errors import OutcomeUnknown, UnknownTarget, Unsupported
from exchange_kernel.venue import Ack, CancelAll, OrderReport, Place, VenueStatus
from exchange_kernel_binance.simulator import Fault
from plugins.binance.tests.test_adapter import ORDER
from plugins.binance.tests.test_spot_lists import LEGS, LOSS, PROFIT, Desk, at_the_desk, group

MARKETS = pytest.mark.parametrize("market", ["spot", "usdm"])


def live(desk: Desk, market: str) -> list[str]:
    rows = desk.binance.truth()["orders" if market == "spot" else "futures-orders"]()
    return sorted(row["symbol"] for row in rows if row["status"] == "NEW")


def rest(desk: Desk, market: str, symbol: str, price: int) -> Any:
    """A stranger's order on the same account."""
    order = {"symbol": symbol, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.02", "price": price}
    return desk.binance.act("order.place", "alice", order, market="spot" if market == "spot" else "futures")


def test_lists_and_strangers_end_with_it_and_each_is_told() -> None:
    """Every order of the symbol is told with its end, those of a list and a stranger's too; no other symbol's."""

    async def scene(desk: Desk) -> None:
        await desk.put(group("oco", PROFIT, LOSS))
        rest(desk, "spot", "BTCUSDT", 41_000)
        rest(desk, "spot", "ETHUSDT", 2_000)
        ack = await desk.adapter.submit(await desk.ticket(CancelAll(b"x" * 16, "BTC/USDT")))
        reports = [report for report in ack.reports if isinstance(report, OrderReport)]
        assert len(reports) == 3
        assert {(report.key, report.status) for report in reports} == {
            *((key, VenueStatus.CANCELED) for key in (*LEGS[:2], None))
        }
        assert live(desk, "spot") == ["ETHUSDT"]
        with pytest.raises(UnknownTarget):
            await desk.adapter.submit(await desk.ticket(CancelAll(b"y" * 16, "BTC/USDT")))

    at_the_desk(scene)


def test_futures_say_only_that_it_is_done() -> None:
    """Its answer names no order: nothing is concluded from it, and looks find their ends."""

    async def scene(desk: Desk) -> None:
        made = await desk.ticket(Place(LEGS[0], ORDER["usdm"]))
        await desk.adapter.submit(made)
        rest(desk, "usdm", "BTCUSDT", 46_000)
        rest(desk, "usdm", "ETHUSDT", 2_800)
        command = CancelAll(b"x" * 16, "BTC/USDT:USDT")
        assert await desk.adapter.submit(await desk.ticket(command)) == Ack("sent")
        assert live(desk, "usdm") == ["ETHUSDT"]
        (report,) = (await desk.told(made, LEGS[0])).values()
        assert (report.status, report.final) == (VenueStatus.CANCELED, True)

    at_the_desk(scene, "usdm")


@MARKETS
@pytest.mark.parametrize("kind", ["drop_after", "cut_body", "empty_body", "error_after"])
def test_a_lost_answer_says_nothing_and_nothing_is_sent_again(market: str, kind: str) -> None:
    """It was executed: whoever hears nothing, or half of it, knows nothing; one request was made."""

    async def scene(desk: Desk) -> None:
        rest(desk, market, "BTCUSDT", 45_000)
        desk.binance.faults["spot" if market == "spot" else "futures"][0].add(Fault(kind, "openOrders.cancelAll"))
        made = await desk.ticket(CancelAll(b"x" * 16, ORDER[market].symbol))
        assert not made.fence.repeatable  # a copy would end what was placed since
        with pytest.raises(OutcomeUnknown):
            await desk.adapter.submit(made)
        gate = desk.binance.gate if market == "spot" else desk.binance.futures.gate
        assert (live(desk, market), gate.counts["openOrders.cancelAll"]) == ([], 1)

    at_the_desk(scene, market)


@MARKETS
def test_all_symbols_at_once_are_not_offered(market: str) -> None:
    """Binance takes one symbol: what would be several requests is refused by the capability's name, and unasked."""

    async def scene(desk: Desk) -> None:
        gate = desk.binance.gate if market == "spot" else desk.binance.futures.gate
        before = dict(gate.counts)
        with pytest.raises(Unsupported) as caught:
            await desk.ticket(CancelAll(b"x" * 16, None))
        assert (caught.value.feature, dict(gate.counts)) == ("cancel_all", before)

    at_the_desk(scene, market)
