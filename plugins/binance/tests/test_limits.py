"""Binance's limits against the simulated one: weights, counts, refusals, and the clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from typing import Any
from urllib.parse import urlencode

import pytest

from exchange_kernel.clock import SystemClock
from exchange_kernel.errors import RateLimited
from exchange_kernel_binance.limits import Limits, address_budget, counts_in, counts_of, retry_at, rules_of
from exchange_kernel_binance.simulator import Fault, Simulator
from exchange_kernel_binance.weights import path_of, weight_of
from exchange_kernel_ccxt.budget import Budget, Rule
from exchange_kernel_ccxt.venue_clock import VenueClock
from plugins.binance.tests.stage import Raw, on_stage

CLOCK = SystemClock()
ORDER = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "price": "40000",
    "quantity": "0.001",
}


class Client:
    """Asks only what its limits let pass, and tells them what was answered."""

    def __init__(self, simulator: Simulator, raw: Raw, reserve: Fraction = Fraction(1, 10)) -> None:
        self.raw = raw
        self.time = VenueClock(CLOCK, self._server_time)
        budget = Budget((), CLOCK, reserve=reserve, offset=lambda: self.time.offset, error=lambda: self.time.error)
        self.limits = Limits(budget, CLOCK)
        self.statuses: list[int] = []

    async def _server_time(self) -> int:
        _, _, body = await self.raw.send("GET", "/api/v3/time")
        return int(body["serverTime"])

    async def start(self, path: str = "/api/v3/exchangeInfo") -> None:
        await self.time.measure()
        _, _, info = await self.raw.send("GET", path)
        self.limits.configure(info["rateLimits"])

    async def ask(self, method: str, path: str, signed: bool = True, urgent: bool = False, **fields: str) -> Any:
        """(status, body). Raises RateLimited: it was not sent."""
        booking = self.limits.take(method, path, fields, urgent=urgent)
        if signed:
            status, headers, body = await self.raw.signed(method, path, **fields)
        else:
            status, headers, body = await self.raw.send(method, path, urlencode(fields))
        self.statuses.append(status)
        code = body.get("code") if isinstance(body, dict) else None
        self.limits.answered(booking, status, headers, code)
        return status, body


@asynccontextmanager
async def client(simulator: Simulator, **more: Any) -> AsyncIterator[Client]:
    async with Raw(simulator) as raw:
        made = Client(simulator, raw, **more)
        await made.start()
        yield made


def begin_a_window(simulator: Simulator) -> None:
    """Set the exchange's clock to the beginning of a minute: a test must not straddle two windows."""
    simulator.clock.skew += 60_000 - simulator.clock.now() % 60_000


def test_rules_of_exchange_info() -> None:
    """Spot's and futures' rules are read; what is unknown is left out."""
    minute = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000}
    seconds = {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100}
    raw = {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61000}
    new = {"rateLimitType": "CONNECTIONS", "interval": "MINUTE", "intervalNum": 5, "limit": 300}
    assert rules_of([minute, seconds, raw, new]) == (
        Rule("1M", "weight", 6000, 60_000),
        Rule("10S", "orders", 100, 10_000, "account"),
        Rule("5M", "requests", 61000, 300_000),
    )


def test_counts_of_answers() -> None:
    """Headers in any case, of spot, margin and orders; the WebSocket API's list; nothing else."""
    headers = {
        "X-MBX-USED-WEIGHT": "9",
        "x-mbx-used-weight-1m": "10",
        "X-SAPI-USED-IP-WEIGHT-1M": "12",
        "X-MBX-ORDER-COUNT-10S": "3",
        "x-mbx-order-count-1d": "x",
        "Date": "today",
    }
    assert counts_in(headers) == {("weight", "1M"): 12, ("orders", "10S"): 3}
    limits = [{"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 200000, "count": 17}]
    assert counts_of(limits) == {("orders", "1D"): 17}


def test_when_to_come_back() -> None:
    """Retry-After is obeyed; without it a 429 waits for the longest window and a ban for the shortest ban."""
    assert retry_at(429, {"retry-after": "7"}, 1_000) == 8_000
    assert retry_at(429, {}, 1_000) == 61_000
    assert retry_at(418, {}, 1_000) == 121_000


@pytest.mark.parametrize("market", ["spot", "futures"])
def test_no_request_weighs_more_than_we_say(market: str) -> None:
    """Each request that the simulator serves is in the table, with at least its weight and its orders."""
    simulator = Simulator()
    light = []
    for endpoint in simulator._endpoints[market].values():
        if endpoint.route is None:
            continue
        for fields in ({}, {"symbol": "BTCUSDT"}, {"symbol": "BTCUSDT", "orderId": "1"}, {"limit": "5000"}):
            theirs = endpoint.weight if isinstance(endpoint.weight, int) else endpoint.weight(fields)
            weight, orders = weight_of(*endpoint.route, fields)
            if weight < theirs or orders < endpoint.orders:
                light.append((endpoint.route, fields, weight, theirs))
    assert light == []


def test_paths_of_sections() -> None:
    """ccxt's sections are known by their paths."""
    assert path_of("private", "order") == "/api/v3/order"
    assert path_of("fapiPrivateV3", "account") == "/fapi/v3/account"
    assert path_of("sapi", "margin/order") == "/sapi/v1/margin/order"


def test_orders_at_the_limit() -> None:
    """A burst of three times what is allowed: exactly the limit leaves, and Binance refuses none of it."""

    async def scene(simulator: Simulator) -> None:
        begin_a_window(simulator)
        async with client(simulator) as trader:

            async def place() -> int:
                try:
                    status, _ = await trader.ask("POST", "/api/v3/order", **ORDER)
                except RateLimited as error:
                    return 0 if error.scope == "account" else -1
                return int(status)

            answers = await asyncio.gather(*(place() for _ in range(300)))
            # The filter allows 200 open orders, the interval 100.
            assert answers.count(200) == 100
            assert answers.count(0) == 200
            assert simulator.gate.counts["order.place"] == 100

    on_stage(scene)


def test_weight_at_the_limit_leaves_room_for_cancels() -> None:
    """Look-ups use up what they may; cancels still go, and Binance never answers 429."""

    async def scene(simulator: Simulator) -> None:
        begin_a_window(simulator)
        async with client(simulator) as trader:
            _, order = await trader.ask("POST", "/api/v3/order", **ORDER)

            async def use_up() -> None:
                while True:
                    await trader.ask("GET", "/api/v3/openOrders")

            with pytest.raises(RateLimited) as caught:
                await use_up()
            assert caught.value.scope == "ip"
            used = trader.limits.budget.used("weight", "1M")
            assert 5_400 - 80 < used <= 5_400
            status, _ = await trader.ask("DELETE", "/api/v3/order", symbol="BTCUSDT", orderId=str(order["orderId"]))
            assert (status, set(trader.statuses)) == (200, {200})

    on_stage(scene)


def test_another_process_on_the_same_address() -> None:
    """What somebody else used shows in the next answer, and counts."""

    async def scene(simulator: Simulator) -> None:
        begin_a_window(simulator)
        async with client(simulator) as trader, Raw(simulator, "bob") as bob:
            for _ in range(60):
                await bob.signed("GET", "/api/v3/openOrders")
            await trader.ask("GET", "/api/v3/time", signed=False)
            assert trader.limits.budget.used("weight", "1M") >= 4_800

    on_stage(scene)


@pytest.mark.parametrize(("status", "banned"), [(429, False), (418, True)])
def test_a_refusal_stops_everything(status: int, banned: bool) -> None:
    """After it no request leaves, cancels included, before the time that Binance names."""

    async def scene(simulator: Simulator) -> None:
        async with client(simulator) as trader:
            await trader.ask("POST", "/api/v3/order", **ORDER)
            simulator.gate.faults.add(Fault("error_before", "order.*", status=status, code=-1003, retry_after=30))
            before, requests = CLOCK.now_ms(), sum(simulator.gate.counts.values())
            assert (await trader.ask("GET", "/api/v3/order", symbol="BTCUSDT", orderId="1"))[0] == status
            for method in ("DELETE", "GET", "POST"):
                with pytest.raises(RateLimited) as caught:
                    await trader.ask(method, "/api/v3/order", **ORDER)
                assert before + 30_000 <= caught.value.retry_at <= CLOCK.now_ms() + 30_000
                assert caught.value.banned is banned
            assert sum(simulator.gate.counts.values()) == requests + 1

    on_stage(scene)


def test_too_many_orders_stop_orders_alone() -> None:
    """-1015 says nothing about the address: cancels and look-ups go on."""

    async def scene(simulator: Simulator) -> None:
        async with client(simulator) as trader:
            fault = Fault("error_before", "order.place", status=429, code=-1015, retry_after=10)
            _, order = await trader.ask("POST", "/api/v3/order", **ORDER)
            simulator.gate.faults.add(fault)
            assert (await trader.ask("POST", "/api/v3/order", **ORDER))[0] == 429
            with pytest.raises(RateLimited) as caught:
                await trader.ask("POST", "/api/v3/order", **ORDER)
            assert caught.value.scope == "account"
            known = {"symbol": "BTCUSDT", "orderId": str(order["orderId"])}
            assert (await trader.ask("GET", "/api/v3/order", **known))[0] == 200
            assert (await trader.ask("DELETE", "/api/v3/order", **known))[0] == 200

    on_stage(scene)


def test_the_clock_is_measured() -> None:
    """The offset is right within the error that is admitted, also when the exchange's clock moves."""

    async def scene(simulator: Simulator) -> None:
        async with client(simulator) as trader:
            for skew in (0, 45_000, -3_600_000):
                simulator.clock.skew = skew
                trader.time.refute()
                assert trader.time.stale
                await trader.time.measure()
                assert not trader.time.stale
                assert abs(trader.time.offset - skew) <= trader.time.error < 1_000

    on_stage(scene)


def test_accounts_of_one_process_share_its_address() -> None:
    """Two accounts on one address use one budget of weight; each has orders of its own; an unsent one frees both."""

    async def play() -> None:
        def made() -> Limits:
            shared = address_budget("https://api.example", lambda: Budget((), CLOCK, reserve=Fraction(0)))
            return Limits(shared, CLOCK, Budget((), CLOCK))

        day = {"interval": "DAY", "intervalNum": 1}
        alice, bob = made(), made()
        for each in (alice, bob):
            weight = {"rateLimitType": "REQUEST_WEIGHT", "limit": 5, **day}
            each.configure([weight, {"rateLimitType": "ORDERS", "limit": 2, **day}])
        assert alice.budget is bob.budget
        order = ("POST", "/api/v3/order", dict[str, str]())
        first = alice.take(*order)
        alice.take(*order)
        with pytest.raises(RateLimited) as caught:
            alice.take(*order)
        assert caught.value.scope == "account"
        assert alice.budget.used("weight", "1D") == 2  # what was refused for its orders weighs nothing
        bob.take(*order)
        bob.take(*order)
        alice.take("GET", "/api/v3/time", {})
        with pytest.raises(RateLimited) as caught:
            bob.take("DELETE", "/api/v3/order", {})
        assert caught.value.scope == "ip"
        alice.budget.never_sent(first)
        alice.take(*order)
        alice.answered(first, 429, {"Retry-After": "9"}, -1015)
        assert alice.budget.closed_until == 0
        del alice, bob, first, each, caught
        assert address_budget("https://api.example", lambda: Budget((), CLOCK)).rules == ()

    asyncio.run(play())
