"""The adapter against the simulated Binance: both ways to it, TLS included, and what it never tells."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from exchange_kernel.errors import ConfigError, NotAuthorized, VenueError
from exchange_kernel.schema import Side
from exchange_kernel.venue import Cancel, Context, Found, Place, Prep, Ref, Spec, Ticket
from exchange_kernel_binance.adapter import BinanceAdapter
from exchange_kernel_binance.simulator import Fault, Simulator
from plugins.binance.tests.stage import on_stage

KEY = b"0123456789abcdef"
ORDER = {
    "spot": Spec("BTC/USDT", Side.BUY, Decimal("0.01"), limit=Decimal(45_000)),
    "usdm": Spec("BTC/USDT:USDT", Side.BUY, Decimal("0.01"), limit=Decimal(45_000)),
}
MARKETS = pytest.mark.parametrize("market", ["spot", "usdm"])


def by_address(binance: Simulator, market: str) -> dict[str, Any]:
    """The plain way: other addresses."""
    stream = "/ws-api/v3" if market == "spot" else ""
    urls = {market: binance.url, f"{market}_ws": binance.ws_url + stream}
    return {"network": "custom", "urls": urls}


def by_name(binance: Simulator, market: str) -> dict[str, Any]:
    """The faithful way: the addresses of the real one; only the resolver and the trusted authority differ."""
    resolve = f"127.0.0.1:{binance.tls_port}"
    return {
        "network": "live",
        "confirm_live": "real money",
        "resolve": resolve,
        "ca_file": str(binance.ca_file),
    }


def context(binance: Simulator, config: Mapping[str, Any], secrets: Mapping[str, str] | None = None) -> Context:
    key = binance.keys_of["alice"]
    own = {"api_key": key.key, "secret": key.secret}
    return Context("desk", config, clock=binance.clock.now, sleep=asyncio.sleep, secrets=secrets or own)


def prep(binance: Simulator) -> Prep:
    def take(scope: str) -> Any:
        raise AssertionError(scope)

    now = binance.clock.now()
    return Prep(now, now + 60_000, take)


async def ticket(adapter: BinanceAdapter, binance: Simulator, market: str, key: bytes = KEY) -> Ticket:
    made = await adapter.prepare(Place(key, ORDER[market]), prep(binance))
    assert isinstance(made, Ticket)
    return made


@MARKETS
@pytest.mark.parametrize("way", [by_address, by_name])
def test_an_order_goes_both_ways(market: str, way: Any) -> None:
    """Placed, heard of in the stream, found and cancelled; over plain addresses, and over TLS with the real names."""

    async def scene(binance: Simulator) -> None:
        adapter = BinanceAdapter()
        opened = await adapter.open(context(binance, {"market": market, **way(binance, market)}))
        assert opened.mode == "testnet"
        events = adapter.events(None)
        first = await anext(events)
        assert type(first.body).__name__ == "Gap"
        made = await ticket(adapter, binance, market)
        ack = await adapter.submit(made)
        (report,) = ack.reports
        ref = Ref(KEY, ORDER[market].symbol, ORDER[market], binance.clock.now() - 1_000, (report.id,), (made,))
        while getattr((heard := await anext(events)).body, "id", None) != report.id:
            pass
        assert heard.body.key == KEY  # type: ignore[union-attr]
        found = await adapter.lookup(ref)
        assert isinstance(found, Found)
        cancel = await adapter.prepare(Cancel(b"c" * 16, ref), prep(binance))
        assert isinstance(cancel, Ticket)
        (ended,) = (await adapter.submit(cancel)).reports
        assert ended.final  # type: ignore[union-attr]
        await adapter.close()

    on_stage(scene)


@MARKETS
def test_the_secret_is_nowhere(market: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the key nor the secret is in a ticket, a report, an error or the log, whatever goes wrong."""
    caplog.set_level(logging.DEBUG)
    said: list[str] = []

    async def scene(binance: Simulator) -> None:
        key = binance.keys_of["alice"]
        adapter = BinanceAdapter()
        await adapter.open(context(binance, {"market": market, "timeout_ms": 400, **by_address(binance, market)}))
        faults = binance.faults["spot" if market == "spot" else "futures"][0]
        for number, kind in enumerate(("drop_after", "cut_body", "error_after", "silent_after", "error_before")):
            faults.add(Fault(kind, "order.place", ms=1_000))
            made = await ticket(adapter, binance, market, bytes([number]) * 16)
            said.append(repr(made))
            with pytest.raises(VenueError) as caught:
                await adapter.submit(made)
            said.append(repr(caught.value) + str(caught.value) + repr(caught.value.__cause__))
        said.append(repr(await adapter.open_orders(None)) + repr(await adapter.account()) + repr(adapter))
        await adapter.close()
        wrong = {"api_key": key.key, "secret": "canary9902fe"}
        denied = context(binance, {"market": market, **by_address(binance, market)}, wrong)
        with pytest.raises(NotAuthorized) as refused:
            await BinanceAdapter().open(denied)
        said.append(repr(refused.value))
        told = "\n".join([*said, *(record.getMessage() for record in caplog.records)])
        for secret in (key.secret, key.key, "canary9902fe"):
            assert secret not in told

    on_stage(scene)


@MARKETS
def test_a_request_that_binance_finds_too_old_is_not_executed(market: str) -> None:
    """The window is in the body: what is held back longer than that is refused, and says that it did nothing."""

    async def scene(binance: Simulator) -> None:
        adapter = BinanceAdapter()
        config = {"market": market, "recv_window_ms": 200, **by_address(binance, market)}
        await adapter.open(context(binance, config))
        faults = binance.faults["spot" if market == "spot" else "futures"][0]
        faults.add(Fault("delay", "order.place", ms=500))
        with pytest.raises(VenueError) as caught:
            await adapter.submit(await ticket(adapter, binance, market))
        assert (type(caught.value).__name__, caught.value.effect) == ("ClockSkew", "none")
        name = "orders" if market == "spot" else "futures-orders"
        assert binance.truth()[name]() == []
        await adapter.close()

    on_stage(scene)


@MARKETS
@pytest.mark.parametrize("symbol", ["BTCUSDT", "BTC/USDTT", "BTC-USDT"])
def test_a_symbol_that_is_configured_and_not_listed_is_refused(market: str, symbol: str) -> None:
    """Instead of an account that trades nothing, and nobody knows why."""

    async def scene(binance: Simulator) -> None:
        settings = {"market": market, "symbols": [symbol], **by_address(binance, market)}
        with pytest.raises(ConfigError) as refused:
            await BinanceAdapter().open(context(binance, settings))
        assert refused.value.field == "symbols"

    on_stage(scene)
