"""What Binance promises of cancel-and-place in one request, which is what the protocol's R24 would stand on.

rest-api.md, "Cancel an Existing Order and Send a New Order": with ``STOP_ON_FAILURE`` nothing is placed after a failed
cancel, with ``cancelRestrictions=ONLY_NEW`` an order that has traded is not cancelled. Either alone is not enough.
"""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from exchange_kernel.errors import OutcomeUnknown
from exchange_kernel_binance.simulator import Fault, Simulator
from plugins.binance.tests.stage import Raw, on_stage
from plugins.binance.tests.test_verdicts import at_the_desk

ORDER = "/api/v3/order"
SAFE = {"cancelReplaceMode": "STOP_ON_FAILURE", "cancelRestrictions": "ONLY_NEW"}


async def old(raw: Raw) -> None:
    """The order that is to be replaced: 1 BTC at the market's price, resting."""
    await raw.order("BUY", "LIMIT", quantity=1, price=50_000, newClientOrderId="old")


async def replaced(raw: Raw, **how: Any) -> tuple[int, dict[str, Any]]:
    """Ask for 1 BTC a little higher instead, as was decided while nothing of the old one had filled."""
    status, _, body = await raw.signed(
        "POST",
        f"{ORDER}/cancelReplace",
        symbol="BTCUSDT",
        side="BUY",
        type="LIMIT",
        timeInForce="GTC",
        quantity=1,
        price=50_001,
        cancelOrigClientOrderId="old",
        newClientOrderId="new",
        **how,
    )
    return status, body


async def at_the_venue(raw: Raw) -> dict[str, tuple[str, float]]:
    """Status and executed quantity by client id."""
    orders = await raw.ok("GET", "/api/v3/allOrders", symbol="BTCUSDT")
    return {order["clientOrderId"]: (order["status"], float(order["executedQty"])) for order in orders}


@pytest.mark.parametrize(
    ("filled", "status", "code", "found"),
    [
        ("0.25", 400, -2022, {"old": ("PARTIALLY_FILLED", 0.25)}),
        ("1", 400, -2022, {"old": ("FILLED", 1.0)}),
    ],
)
def test_a_fill_between_decision_and_arrival_of_a_cancel_replace(
    filled: str, status: int, code: int, found: dict[str, tuple[str, float]]
) -> None:
    """Decided while nothing had filled, arrived after a fill: nothing is cancelled, nothing placed."""

    async def scene(simulator: Simulator) -> None:
        async with Raw(simulator) as raw, Raw(simulator, "bob") as other:
            await old(raw)
            await other.order("SELL", "LIMIT", quantity=filled, price=50_000)
            answer, body = await replaced(raw, **SAFE)
            assert (answer, body["code"]) == (status, code)
            assert (body["data"]["cancelResult"], body["data"]["newOrderResult"]) == ("FAILURE", "NOT_ATTEMPTED")
            assert await at_the_venue(raw) == found

    on_stage(scene)


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"cancelReplaceMode": "STOP_ON_FAILURE"}, id="without ONLY_NEW"),
        pytest.param({**SAFE, "cancelReplaceMode": "ALLOW_FAILURE"}, id="with ALLOW_FAILURE"),
    ],
)
def test_either_half_of_the_promise_alone_buys_too_much(how: dict[str, str]) -> None:
    """After a fill, a request that lacks one of the two places the whole amount once more."""

    async def scene(simulator: Simulator) -> None:
        async with Raw(simulator) as raw, Raw(simulator, "bob") as other:
            await old(raw)
            await other.order("SELL", "LIMIT", quantity="0.25", price=50_000)
            await replaced(raw, **how)
            assert (await at_the_venue(raw))["new"] == ("NEW", 0.0)
            await other.order("SELL", "LIMIT", quantity="1", price=50_000)
            assert sum(executed for _, executed in (await at_the_venue(raw)).values()) == 1.25

    on_stage(scene)


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("drop_before", {"old": ("NEW", 0.0)}),
        ("drop_after", {"old": ("CANCELED", 0.0), "new": ("NEW", 0.0)}),
    ],
)
def test_an_answer_to_a_cancel_replace_that_is_lost(kind: str, found: dict[str, tuple[str, float]]) -> None:
    """Each order is found, or not, under its own id: both legs are settled by looking."""

    async def scene(simulator: Simulator) -> None:
        async with Raw(simulator) as raw:
            await old(raw)
            simulator.gate.faults.add(Fault(kind, "order.cancelReplace"))
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await replaced(raw, **SAFE)
            assert await at_the_venue(raw) == found

    on_stage(scene)


@pytest.mark.parametrize(
    ("status", "code", "text"),
    [
        (409, -2021, "Order cancel-replace partially failed."),
        (400, -2022, "Order cancel-replace failed."),
    ],
)
def test_a_partial_answer_decides_nothing(status: int, code: int, text: str) -> None:
    """On the spot account a half-failed cancel-replace proves neither half by its code."""
    assert type(at_the_desk(status, code, text)) is OutcomeUnknown
