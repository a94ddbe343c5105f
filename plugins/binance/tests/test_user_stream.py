"""The three user streams against the simulated Binance: what happens to an account is told once, and losses show."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from exchange_kernel.errors import NotAuthorized, RateLimited, Unavailable
from exchange_kernel_binance.simulator import Fault, Simulator
from exchange_kernel_binance.user_stream import Keyed, ListenKey
from exchange_kernel_ccxt.stream_link import Dial, Patience
from plugins.binance.tests.ears import CLOCK, ORDER, Ear, Post, buy, heard, on_spot, posted, trade
from plugins.binance.tests.stage import Raw, on_stage

# the three generations ---------------------------------------------------------------------------------------------


def test_spot_tells_orders_and_balances() -> None:
    """Subscribed first, then every change: placed, two executions, cancelled, with numbers as text."""

    async def scene(simulator: Simulator, post: Post, ear: Ear) -> None:
        order = buy(simulator)
        trade(simulator)
        trade(simulator)
        simulator.act("order.cancel", "alice", {"symbol": "BTCUSDT", "orderId": order["orderId"]})
        await ear.until("executionReport", x="CANCELED")
        reports = ear.events("executionReport")
        assert [report["x"] for report in reports] == ["NEW", "TRADE", "TRADE", "CANCELED"]
        assert [report["z"] for report in reports] == ["0.00000000", "0.01000000", "0.02000000", "0.02000000"]
        assert ear.events("outboundAccountPosition")
        assert ear.gaps == ["not subscribed yet"]

    on_spot(scene)


@pytest.mark.parametrize("symbol", ["", "BTCUSDT"])
def test_margin_tells_its_wallet(symbol: str) -> None:
    """A listen token opens the cross wallet, or the isolated one of a symbol, and nothing of the spot account."""

    async def play(simulator: Simulator) -> None:
        async with posted(simulator) as post, Raw(simulator) as raw, heard(post.margin(symbol)) as ear:
            wallet = {"isIsolated": "TRUE"} if symbol else {}
            await raw.signed("GET", "/sapi/v1/margin/openOrders", symbol="BTCUSDT", **wallet)
            name = f"alice@{symbol or 'cross'}"
            simulator.spot.state.accounts[name].credit("USDT", Decimal(100_000))
            await ear.live()
            buy(simulator)
            await raw.ok("POST", "/sapi/v1/margin/order", **ORDER, newClientOrderId="margin-order", **wallet)
            report = await ear.until("executionReport", x="NEW")
            assert report.event["c"] == "margin-order"

    on_stage(play)


def test_futures_tell_orders_positions_and_conditional_orders() -> None:
    """A listen key opens the futures account."""

    async def play(simulator: Simulator) -> None:
        async with posted(simulator) as post, heard(post.futures()) as ear:
            await ear.live()
            limit = {"symbol": "BTCUSDT", "type": "LIMIT", "timeInForce": "GTC", "price": "50000", "quantity": "0.010"}
            simulator.act("order.place", "alice", {**limit, "side": "BUY"}, market="futures")
            simulator.act("order.place", "bob", {**limit, "side": "SELL"}, market="futures")
            filled = await ear.until("ORDER_TRADE_UPDATE", X="FILLED")
            assert (filled.event["o"]["z"], filled.late) == ("0.010", False)
            stop = {"symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET", "triggerPrice": "45000"}
            stop |= {"algoType": "CONDITIONAL", "quantity": "0.010"}
            simulator.act("algoOrder.place", "alice", stop, market="futures")
            await ear.until("ALGO_UPDATE", X="NEW")
            assert ear.events("ACCOUNT_UPDATE")[0]["a"]["P"][0]["pa"] == "0.010"
            assert ear.gaps == ["not subscribed yet"]

    on_stage(play)


# losses show -------------------------------------------------------------------------------------------------------


def test_a_lost_execution_shows() -> None:
    """An execution that never comes is found out by the cumulative amount of the next report."""

    async def scene(simulator: Simulator, post: Post, ear: Ear) -> None:
        order = buy(simulator)
        simulator.streams.faults.add(Fault("lose", "executionReport", account="alice"))
        trade(simulator)
        trade(simulator)
        live = await ear.live()
        assert ear.gaps[1] == f"0.01000000 of order BTCUSDT/{order['orderId']} executed without an event"
        assert live.since <= live.at

    on_spot(scene)


def test_a_lost_futures_execution_shows() -> None:
    """The same by the listen key."""

    async def play(simulator: Simulator) -> None:
        async with posted(simulator) as post, heard(post.futures()) as ear:
            await ear.live()
            limit = {"symbol": "BTCUSDT", "type": "LIMIT", "timeInForce": "GTC", "price": "50000"}
            simulator.act("order.place", "alice", {**limit, "side": "BUY", "quantity": "0.010"}, market="futures")
            users = simulator.futures.users
            await ear.until("ORDER_TRADE_UPDATE", X="NEW")
            users.faults.add(Fault("lose", "ORDER_TRADE_UPDATE", account="alice"))
            for _ in range(2):
                simulator.act("order.place", "bob", {**limit, "side": "SELL", "quantity": "0.002"}, market="futures")
            await ear.live()
            assert "0.002 of order BTCUSDT/" in ear.gaps[1]

    on_stage(play)


def test_doubled_and_swapped_events() -> None:
    """A copy is dropped; an execution that the next one overtook is told as late, and none of it is a gap."""

    async def scene(simulator: Simulator, post: Post, ear: Ear) -> None:
        faults = simulator.streams.faults
        faults.add(Fault("duplicate", "executionReport", account="alice"))
        buy(simulator)
        await ear.until("executionReport", x="NEW")
        # What a reordered event waits for is the next event, whatever it is.
        faults.add(Fault("lose", "outboundAccountPosition", times=9))
        faults.add(Fault("reorder", "executionReport", account="alice"))
        trade(simulator, "0.01")
        trade(simulator, "0.02")
        second = await ear.until("executionReport", x="TRADE")
        first = await ear.until("executionReport", x="TRADE")
        assert (second.event["l"], second.late) == ("0.02000000", False)
        assert (first.event["l"], first.late) == ("0.01000000", True)
        faults.clear()
        trade(simulator, "0.07")
        await ear.until("executionReport", X="FILLED")
        buy(simulator, price="30000")
        await ear.until("executionReport", x="NEW")
        assert [report["x"] for report in ear.events("executionReport")] == ["NEW", "TRADE", "TRADE", "TRADE", "NEW"]
        assert ear.gaps == ["not subscribed yet"]

    on_spot(scene)


def test_the_end_absorbs_what_comes_after_it() -> None:
    """A report of a living order that arrives after its end says nothing new, and is not told."""

    async def scene(simulator: Simulator, post: Post, ear: Ear) -> None:
        simulator.streams.faults.add(Fault("lose", "outboundAccountPosition", times=9))
        simulator.streams.faults.add(Fault("reorder", "executionReport"))
        order = buy(simulator)
        simulator.act("order.cancel", "alice", {"symbol": "BTCUSDT", "orderId": order["orderId"]})
        buy(simulator, price="30000")
        await ear.until("executionReport", p="30000.00000000")
        assert [report["x"] for report in ear.events("executionReport")] == ["CANCELED", "NEW"]

    on_spot(scene)


def test_a_terminated_subscription() -> None:
    """eventStreamTerminated on a connection that stays: a gap, a new subscription, and events again."""

    async def scene(simulator: Simulator, post: Post, ear: Ear) -> None:
        assert simulator.spot_ws.terminate("alice") == 1
        await ear.live()
        assert ear.gaps[1] == "Binance ended the subscription (eventStreamTerminated)"
        buy(simulator)
        await ear.until("executionReport", x="NEW")

    on_spot(scene)


def test_a_subscription_that_is_silently_gone() -> None:
    """A subscription that ends without a word is found out by asking which there are."""

    async def scene(simulator: Simulator, post: Post, ear: Ear) -> None:
        (session,) = simulator.spot_ws.sessions
        for subscription in session.subscriptions.values():
            simulator.streams.remove(subscription)
        session.subscriptions.clear()
        await ear.live()
        assert ear.gaps[1] == "the subscription is gone"

    on_spot(scene)


def test_a_server_that_stalls() -> None:
    """A connection that stays open and says nothing, not even to a question, counts as broken after a while."""

    async def scene(simulator: Simulator, post: Post, ear: Ear) -> None:
        (session,) = simulator.spot_ws.sessions
        session.outbox.put = lambda frame: None  # type: ignore[method-assign]
        await ear.live()
        assert ear.gaps[1] == "silent for 1 s"

    on_spot(scene, Patience(probe_s=0.3, silence_s=1, overlap_s=0.1, settle_s=0.05, backoff_s=(0.01, 0.1)))


def test_a_disconnect() -> None:
    """The connection ends instead of an event: a gap, then events again."""

    async def scene(simulator: Simulator, post: Post, ear: Ear) -> None:
        simulator.streams.faults.add(Fault("disconnect", "executionReport"))
        buy(simulator)
        await ear.live()
        assert "the connection ended" in ear.gaps[1]
        buy(simulator, price="39000")
        await ear.until("executionReport", p="39000.00000000")

    on_spot(scene)


def test_an_announced_shutdown_without_a_gap() -> None:
    """serverShutdown brings a second connection, then the first is left; orders meanwhile are told once."""

    async def scene(simulator: Simulator, post: Post, ear: Ear) -> None:
        simulator.spot_ws.announce_shutdown()
        while len(simulator.streams.of("alice")) < 2:
            await asyncio.sleep(0)
        buy(simulator, price="39000")
        while len(simulator.streams.of("alice")) > 1:
            await asyncio.sleep(0)
        buy(simulator, price="38000")
        await ear.until("executionReport", p="38000.00000000")
        assert [report["p"] for report in ear.events("executionReport")] == ["39000.00000000", "38000.00000000"]
        assert ear.gaps == ["not subscribed yet"]

    on_spot(scene)


@pytest.mark.parametrize("market", ["spot", "futures"])
def test_rollover_under_fire(market: str) -> None:
    """Connections are replaced again and again while orders come: each event is told once, none is missing, no gap."""

    async def play(simulator: Simulator) -> None:
        patience = Patience(life_s=0.3, overlap_s=0.1, settle_s=0.5, backoff_s=(0.01, 0.1))
        async with posted(simulator) as post:
            dial = post.spot() if market == "spot" else post.futures()
            async with heard(dial, patience) as ear:
                await ear.live()
                kind = "executionReport" if market == "spot" else "ORDER_TRADE_UPDATE"
                quantity = "0.1" if market == "spot" else "0.100"
                for number in range(150):
                    order = {**ORDER, "quantity": quantity, "price": str(30_000 + number)}
                    simulator.act("order.place", "alice", order, market=market)
                    # Other things go on for a moment, as they do between orders.
                    for _ in range(20):
                        await asyncio.sleep(0.0005)
                simulator.act("order.place", "alice", {**ORDER, "quantity": quantity, "price": "20000"}, market=market)
                price = "20000.00000000" if market == "spot" else "20000.00"
                await ear.until(kind, p=price)
                told = [each if market == "spot" else each["o"] for each in ear.events(kind)]
                numbers = [int(float(each["p"])) for each in told]
                assert numbers == [*range(30_000, 30_150), 20_000]
                assert ear.gaps == ["not subscribed yet"]
                assert simulator.gate.counts["userDataStream.subscribe.signature"] > 3 or market == "futures"

    on_stage(play)


def test_a_listen_key_that_expired() -> None:
    """listenKeyExpired: a gap, a new key, and events again."""

    async def play(simulator: Simulator) -> None:
        async with posted(simulator) as post, heard(post.futures()) as ear:
            await ear.live()
            assert simulator.futures.streams.expire("alice") == 1
            await ear.live()
            assert ear.gaps[1] == "Binance ended the listen key (listenKeyExpired)"
            order = {**ORDER, "quantity": "0.100"}
            simulator.act("order.place", "alice", order, market="futures")
            await ear.until("ORDER_TRADE_UPDATE", X="NEW")

    on_stage(play)


class HalfHours:
    """A clock whose sleeps end when the test says so."""

    def __init__(self) -> None:
        self.seconds, self.slept = 0.0, list[float]()
        self.woken = asyncio.Event()

    def now_ms(self) -> int:
        return CLOCK.now_ms()

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.woken.clear()
        await self.woken.wait()
        self.seconds += seconds


def test_a_listen_key_is_kept_alive() -> None:
    """Each half hour the key is renewed, sooner after a failure; once it is gone another is taken, after a gap."""

    async def play(simulator: Simulator) -> None:
        clock = HalfHours()
        async with posted(simulator) as post:
            url = simulator.ws_url + "/private/ws"
            async with heard(ListenKey(lambda: post.session, url, post.keyed(), clock)) as ear:
                await ear.live()

                async def later(times: int) -> None:
                    """The key's next sleep ends; until it sleeps again."""
                    while len(clock.slept) < times:
                        await asyncio.sleep(0.001)
                    clock.woken.set()
                    while len(clock.slept) < times + 1:
                        await asyncio.sleep(0.001)

                gate = simulator.futures.gate
                await later(1)
                assert gate.counts["userDataStream.ping"] == 1
                gate.faults.add(Fault("error_before", "userDataStream.ping"))
                await later(2)
                await later(3)
                assert clock.slept == [1800, 1800, 60, 1800]
                simulator.futures.streams._keys.clear()
                clock.woken.set()
                await ear.live()
                assert ear.gaps[1] == "the listen key is gone"
                assert gate.counts["userDataStream.start"] == 2

    on_stage(play)


# refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["secret", "key"])
def test_wrong_credentials(wrong: str) -> None:
    """A key that Binance does not know, or a wrong secret, ends the stream as NotAuthorized, without the secret."""

    async def play(simulator: Simulator) -> None:
        async with posted(simulator) as post:
            dial = post.spot("a-canary-secret")
            if wrong == "key":
                simulator.keys.revoke(post.key.key)
            async with heard(dial) as ear:
                with pytest.raises(NotAuthorized) as caught:
                    await ear.live()
        assert "canary" not in repr(caught.value) + repr(dial)

    on_stage(play)


def test_a_clock_that_is_off() -> None:
    """-1021 makes the stream measure the time again and subscribe with the right one."""

    async def play(simulator: Simulator) -> None:
        async with posted(simulator) as post:
            await post.time.measure()
            simulator.clock.skew = 60_000
            async with heard(post.spot()) as ear:
                await ear.live()
            assert abs(post.time.offset - 60_000) <= post.time.error
            assert simulator.gate.counts["userDataStream.subscribe.signature"] == 2

    on_stage(play)


@pytest.mark.parametrize("generation", ["spot", "margin", "futures"])
def test_a_ban_is_obeyed(generation: str) -> None:
    """418 while subscribing: the venue's word on when to come back is passed on."""

    async def play(simulator: Simulator) -> None:
        async with posted(simulator) as post:
            await post.time.measure()
            gate = simulator.futures.gate if generation == "futures" else simulator.gate
            names = {
                "spot": "userDataStream.subscribe.*",
                "margin": "margin.listenToken",
                "futures": "userDataStream.*",
            }
            gate.faults.add(Fault("error_before", names[generation], status=418, code=-1003, msg="x", retry_after=120))
            dial: Dial = getattr(post, generation)()
            before = CLOCK.now_ms()
            with pytest.raises(RateLimited) as caught:
                await dial()
            assert caught.value.banned
            assert before + 115_000 <= caught.value.retry_at <= CLOCK.now_ms() + 125_000

    on_stage(play)


def test_no_server() -> None:
    """Where nobody answers the error says so without an address or a key."""

    async def play(simulator: Simulator) -> None:
        async with posted(simulator) as post:
            keyed = Keyed(lambda: post.session, "http://127.0.0.1:9", post.key.key, CLOCK)
            with pytest.raises(Unavailable) as caught:
                await keyed("POST", "/fapi/v1/listenKey")
            assert str(caught.value) == "POST /fapi/v1/listenKey: ClientConnectorError"

    on_stage(play)
