"""Cancel-replace and amend on the spot matching engine."""

from __future__ import annotations

from typing import Any

import pytest

from exchange_kernel_binance.simulator.errors import ApiError
from exchange_kernel_binance.simulator.spot.changing import CancelReplace
from plugins.binance.tests.floor import D, Floor
from plugins.binance.tests.test_spot_engine import refused


def replacing(floor: Floor, order_id: int, request: Any, mode: str = "STOP_ON_FAILURE", **more: Any) -> Any:
    return floor.exchange.cancel_replace(
        "alice", CancelReplace(order_id, None, None, more.pop("restrictions", None), request, mode, None, **more)
    )


def test_cancel_replace() -> None:
    """Both halves succeed and the answer has both."""
    floor = Floor()
    old = floor.place("alice", "BUY", "LIMIT", 1, 40_000)
    reply = replacing(floor, old.order_id, floor.request("BUY", "LIMIT", 1, 41_000))
    assert (reply["cancelResult"], reply["newOrderResult"]) == ("SUCCESS", "SUCCESS")
    assert old.status == "CANCELED"
    assert reply["newOrderResponse"]["price"] == "41000.00000000"


def test_cancel_replace_half_and_none() -> None:
    """The old gone and no new one (-2021/409), the old not found and no attempt (-2022/400), ALLOW_FAILURE (-2021)."""
    floor = Floor()
    old = floor.place("alice", "BUY", "LIMIT", 1, 40_000)
    floor.place("bob", "SELL", "LIMIT", 1, 50_000)
    with pytest.raises(ApiError) as caught:
        replacing(floor, old.order_id, floor.request("BUY", "LIMIT_MAKER", 1, 50_000))
    assert (caught.value.code, caught.value.status) == (-2021, 409)
    assert caught.value.data["newOrderResponse"] == {  # type: ignore[index]
        "code": -2010,
        "msg": "Order would immediately match and take.",
    }
    assert old.status == "CANCELED"
    with pytest.raises(ApiError) as caught:
        replacing(floor, old.order_id, floor.request("BUY", "LIMIT", 1, 41_000))
    assert (caught.value.code, caught.value.status) == (-2022, 400)
    assert caught.value.data["newOrderResult"] == "NOT_ATTEMPTED"  # type: ignore[index]
    with pytest.raises(ApiError) as caught:
        replacing(floor, old.order_id, floor.request("BUY", "LIMIT", 1, 41_000), "ALLOW_FAILURE")
    assert (caught.value.code, caught.value.data["newOrderResult"]) == (-2021, "SUCCESS")  # type: ignore[index]


def test_cancel_replace_only_new() -> None:
    """ONLY_NEW refuses an order that has traded; it stays as it is."""
    floor = Floor()
    old = floor.place("alice", "BUY", "LIMIT", 1, 50_000)
    floor.place("bob", "SELL", "LIMIT", "0.5", 50_000)
    with pytest.raises(ApiError) as caught:
        replacing(floor, old.order_id, floor.request("BUY", "LIMIT", 1, 41_000), restrictions="ONLY_NEW")
    assert caught.value.data["cancelResponse"]["msg"] == (  # type: ignore[index]
        "Order was not canceled due to cancel restrictions."
    )
    assert old.is_open


def test_amend_keeps_the_place() -> None:
    """A smaller quantity keeps the queue position and frees its part of the lock."""
    floor = Floor()
    first = floor.place("alice", "BUY", "LIMIT", 3, 49_000)
    second = floor.place("bob", "BUY", "LIMIT", 3, 49_000)
    reply = floor.exchange.amend("alice", "BTCUSDT", first.order_id, None, D(1), first.client_id)
    assert reply["amendedOrder"]["qty"] == "1.00000000"
    assert floor.locked("alice", "USDT") == 49_000
    floor.place("bob", "SELL", "LIMIT", 1, 49_000)
    assert (first.status, second.status) == ("FILLED", "NEW")
    assert refused(lambda: floor.exchange.amend("alice", "BTCUSDT", first.order_id, None, D(1)))[0] == -2038
