"""How the conformance kit reaches Binance: a simulated one of its own, in real time, behind the fault proxy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from exchange_kernel.clock import Clock, SystemClock
from exchange_kernel.schema import Side, TimeInForce
from exchange_kernel.testing.conformance import Fault, Harness, TruthOrder
from exchange_kernel.testing.faults import Direction, FaultProxy
from exchange_kernel.venue import Context, Spec, VenueAdapter, VenueId
from exchange_kernel_binance.adapter import BinanceAdapter
from exchange_kernel_binance.names import order_id
from exchange_kernel_binance.simulator import Fault as Trouble
from exchange_kernel_binance.simulator import Simulator, SimulatorConfig, standard_config
from exchange_kernel_binance.simulator.config import AccountConfig
from exchange_kernel_binance.simulator.wire.keys import ApiKey
from exchange_kernel_binance.testing import BinanceAside
from exchange_kernel_ccxt.requests import load

SECRETS = {"main": "canary7d1f0a6b5c", "second": "canary2e9c4488d1"}
KEYS = {"main": "kitmain" + "k" * 57, "second": "kitsecond" + "k" * 55}
CHANGING = ("POST", "PUT", "DELETE")
CHANGES = frozenset({"order.place", "order.cancel", "order.amend.keepPriority", "openOrders.cancelAll"})
CROWD = "crowd"
ENOUGH = 1_000_000
"""Requests a minute: the kit asks more often than Binance answers."""
REST = "/api/*"
_TOO_MANY = b'{"code":-1003,"msg":"Too much request weight used."}'
_SERVER = b'{"code":-1007,"msg":"Timeout waiting for response from backend server. Execution status unknown."}'
_FAULTS = frozenset(Fault) - {Fault.NODE_REFUSES}


class LocalClock(SystemClock):
    """The machine's clock, wrong by ``skew_ms``."""

    skew_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.skew_ms


class SpotHarness(Harness):
    """The spot account."""

    venue, kind, symbol = "binance", "cex", "BTC/USDT"
    secrets: Mapping[str, str] = {"api_key": KEYS["main"], "secret": SECRETS["main"]}
    faults = _FAULTS
    quiet_s = 0.3
    limit_s = 90.0

    def __init__(self) -> None:
        load("binance")  # what a process imports once is no part of a case
        self._clock = LocalClock()
        self._bid = 49_900
        self._aside: BinanceAside

    @property
    def clock(self) -> Clock:
        return self._clock

    # the exchange -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        self._aside = BinanceAside(self._settings(), tuple(SECRETS.values()))
        await self._aside.start()
        await self._ask(self._ready)

    def _settings(self) -> SimulatorConfig:
        config = standard_config()
        money = {"BTC": Decimal(100), "ETH": Decimal(1_000), "USDT": Decimal(8_000_000)}
        config.accounts = [
            AccountConfig(name, KEYS[name], SECRETS[name], balances=dict(money)) for name in ("main", "second")
        ]
        return config

    def _ready(self, binance: Simulator) -> None:
        limits = binance.limits["spot"]
        limits.rules = tuple(replace(rule, limit=ENOUGH) for rule in limits.rules)
        self._quote(binance, Decimal(100))

    async def stop(self) -> None:
        if hasattr(self, "_aside"):
            await self._aside.stop()

    def adapter(self) -> VenueAdapter:
        return BinanceAdapter()

    def context(self, account: str = "main", secrets: Mapping[str, str] | None = None) -> Context:
        config = {
            "market": "spot",
            "network": "custom",
            "urls": {"spot": self._aside.proxy.url, "spot_ws": self._aside.proxy.ws_url + "/ws-api/v3"},
            "recv_window_ms": 600,
            "slack_ms": 200,
            "read_lag_ms": 200,
            "timeout_ms": 3_000,
            "silence_ms": 300,
        }
        own = {"api_key": KEYS[account], "secret": SECRETS[account]}
        return Context(
            account,
            config,
            clock=self._clock.now_ms,
            sleep=self._clock.sleep,
            secrets=own if secrets is None else secrets,
        )

    def wrong_secrets(self) -> Mapping[str, str]:
        return {"api_key": KEYS["main"], "secret": "not-the-one"}

    def resting(self, steps: int = 1) -> Spec:
        return Spec(self.symbol, Side.BUY, Decimal("0.01") * steps, limit=Decimal(40_000))

    def crossing(self, steps: int = 1) -> Spec:
        return Spec(self.symbol, Side.BUY, Decimal("0.01") * steps, limit=Decimal(50_100), tif=TimeInForce.GTC)

    def elsewhere(self) -> Spec:
        return Spec("ETH/USDT", Side.BUY, Decimal("0.1"), limit=Decimal(2_000))

    async def truth(self, account: str = "main") -> Sequence[TruthOrder]:
        rows = await self._ask(lambda binance: binance.truth()["orders"]())
        return tuple(self._truth(row) for row in rows if row["account"] == account)

    def _truth(self, row: Mapping[str, Any]) -> TruthOrder:
        hidden = Decimal(row["icebergQty"])
        return TruthOrder(
            (order_id(row["symbol"], row["orderId"]), VenueId("client", row["clientOrderId"])),
            {"BTCUSDT": "BTC/USDT", "ETHUSDT": "ETH/USDT", "BNBUSDT": "BNB/USDT"}[row["symbol"]],
            row["side"],
            Decimal(row["origQty"]),
            Decimal(row["executedQty"]),
            Decimal(row["cummulativeQuoteQty"]),
            row["status"] in ("NEW", "PARTIALLY_FILLED", "PENDING_NEW"),
            Decimal(row["price"]) or None,
            hidden or Decimal(row["origQty"]),
            row["timeInForce"],
            row["type"] == "LIMIT_MAKER",
        )

    async def changes(self) -> int:
        counts = await self._ask(lambda binance: dict(binance.gate.counts))
        changing: int = sum(number for name, number in counts.items() if name in CHANGES)
        return changing

    async def requests(self) -> int:
        return await self._aside.ask(lambda: self._aside.proxy.counts().forwarded)

    # what goes wrong --------------------------------------------------------------------------------------------

    async def inject(self, fault: Fault, *, times: int = 1, ms: int = 0, after: int = 0) -> None:
        proxy = self._aside.proxy
        if fault is Fault.STREAM_CUT:
            await self._aside.ask(proxy.cut_now)
        elif fault is Fault.STREAM_SILENT:
            await self._aside.ask(proxy.silence_now)
        elif fault is Fault.LATE:
            late = Trouble("late", "order.*", times=times, skip=after, ms=ms)
            await self._ask(lambda binance: binance.gate.faults.add(late))
        elif fault is Fault.READ_LAGS:
            await self._ask(lambda binance: setattr(binance.spot.state.habits, "query_lag", ms or 150))
        else:
            await self._aside.ask(lambda: _arm(proxy, fault, times, ms, after))

    async def clear(self) -> None:
        await self._aside.ask(self._aside.proxy.clear)
        await self._ask(_calm)

    async def restart(self) -> None:
        await self._aside.ask(self._aside.proxy.cut_now)
        await self._ask(lambda binance: binance.streams.disconnect())

    async def outage(self, ms: int) -> None:
        await self._aside.outage(ms / 1000)

    # what the market does ---------------------------------------------------------------------------------------

    async def fill(self, order: TruthOrder, base: Decimal) -> None:
        def trade(binance: Simulator) -> None:
            self._withdraw(binance)
            taker = "SELL" if order.side == "BUY" else "BUY"
            symbol = order.symbol.replace("/", "")
            self._crowd(binance, symbol, taker, f"{order.price:f}", f"{base:f}", "IOC")
            self._quote(binance, Decimal(100))

        await self._ask(trade)

    async def liquidity(self, base: Decimal) -> None:
        def quote(binance: Simulator) -> None:
            self._withdraw(binance)
            self._quote(binance, base)

        await self._ask(quote)

    async def reprice(self) -> None:
        self._bid -= 10
        await self.liquidity(Decimal(100))

    async def halt(self, halted: bool) -> None:
        def set_status(binance: Simulator) -> None:
            binance.spot.state.symbol("BTCUSDT").status = "HALT" if halted else "TRADING"

        await self._ask(set_status)

    async def revoke(self, revoked: bool) -> None:
        def change(binance: Simulator) -> None:
            binance.keys.revoke(KEYS["main"])
            if not revoked:
                binance.keys.add(ApiKey(KEYS["main"], "main", SECRETS["main"]))

        await self._ask(change)

    async def foreign(self) -> TruthOrder:
        def place(binance: Simulator) -> int:
            fields = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
            made = binance.act("order.place", "main", {**fields, "quantity": "0.02", "price": "41000"})
            return int(made["orderId"])

        number = await self._ask(place)
        return next(each for each in await self.truth() if order_id("BTCUSDT", number) in each.ids)

    async def skew(self, ms: int) -> None:
        self._clock.skew_ms += ms

    async def leap(self, ms: int) -> None:
        def move(binance: Simulator) -> None:
            binance.clock.skew += ms

        await self._ask(move)
        self._clock.skew_ms += ms

    # parts ------------------------------------------------------------------------------------------------------

    async def _ask(self, what: Any) -> Any:
        return await self._aside.ask(lambda: what(self._aside.binance))

    def _quote(self, binance: Simulator, base: Decimal) -> None:
        for side, price in (("BUY", self._bid), ("SELL", 50_100)):
            if base:
                self._crowd(binance, "BTCUSDT", side, str(price), f"{base:f}", "GTC")

    def _withdraw(self, binance: Simulator) -> None:
        if binance.spot.state.open_orders(CROWD, "BTCUSDT"):
            binance.spot.cancel_all(CROWD, "BTCUSDT")

    def _crowd(self, binance: Simulator, symbol: str, side: str, price: str, base: str, tif: str) -> None:
        fields = {"symbol": symbol, "side": side, "type": "LIMIT", "timeInForce": tif, "quantity": base, "price": price}
        market = binance.spot.state.symbol(symbol)
        least, market.min_notional = market.min_notional, Decimal(0)  # a part of an order may be small
        try:
            binance.act("order.place", CROWD, fields)
        finally:
            market.min_notional = least


def _calm(binance: Simulator) -> None:
    binance.gate.faults.clear()
    binance.streams.faults.clear()
    binance.spot.state.habits.query_lag = 0


def _arm(proxy: FaultProxy, fault: Fault, times: int, ms: int, after: int) -> None:
    """Faults of requests and of events, on the wire."""
    if fault in (Fault.EVENT_LOST, Fault.EVENT_REPEATED, Fault.EVENTS_REORDERED):
        events: dict[str, Any] = {"times": times, "skip": after, "direction": Direction.TO_CLIENT, "data": _is_event}
        if fault is Fault.EVENT_LOST:
            proxy.drop_frame(**events)
        elif fault is Fault.EVENT_REPEATED:
            proxy.duplicate_frame(**events)
        else:
            proxy.reorder_frames(2, **events)
        return
    how: dict[str, Any] = {"times": times, "skip": after, "path": REST}
    changes, reads = how | {"method": CHANGING}, how | {"method": "GET"}
    wait = {"Retry-After": str(math.ceil(ms / 1000)), "Content-Type": "application/json"}
    match fault:
        case Fault.REQUEST_LOST:
            proxy.drop_request(**changes)
        case Fault.ANSWER_LOST:
            proxy.drop_answer(**changes)
        case Fault.ERROR_AFTER:
            proxy.status(503, body=_SERVER, after_asking=True, **changes)
        case Fault.UNAVAILABLE:
            proxy.status(503, body=_SERVER, **changes)
        case Fault.GARBLED:
            proxy.garble(_half, **changes)
        case Fault.RATE_LIMIT:
            proxy.status(429, headers=wait, body=_TOO_MANY, **changes)
        case Fault.BANNED:
            proxy.status(418, headers=wait, body=_TOO_MANY, **how)
        case Fault.SLOW:
            proxy.delay(ms / 1000, **how)
        case Fault.READ_FAILS:
            proxy.status(502, **reads)
        case Fault.READ_GARBLED:
            proxy.garble(_half, **reads)
        case Fault.READ_LIMITED:
            proxy.status(429, headers=wait, body=_TOO_MANY, **reads)
        case _:
            raise AssertionError(f"{fault} is not offered")


def _half(body: bytes) -> bytes:
    return body[: len(body) // 2]


def _is_event(data: str | bytes) -> bool:
    return '"event"' in str(data)
