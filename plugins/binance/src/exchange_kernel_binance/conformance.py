"""How the conformance kit reaches Binance: a simulated one of its own, in real time, behind the fault proxy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from exchange_kernel.clock import Clock
from exchange_kernel.schema import Side, TimeInForce
from exchange_kernel.testing.conformance import Fault, Harness, TruthOrder
from exchange_kernel.venue import Context, Spec, VenueAdapter, VenueId
from exchange_kernel_binance.adapter import BinanceAdapter
from exchange_kernel_binance.limits import reopen_all
from exchange_kernel_binance.names import number_of, order_id
from exchange_kernel_binance.simulator import Fault as Trouble
from exchange_kernel_binance.simulator import Simulator, SimulatorConfig
from exchange_kernel_binance.simulator.wire.gate import Gate
from exchange_kernel_binance.simulator.wire.keys import ApiKey
from exchange_kernel_binance.testing import BinanceAside
from exchange_kernel_binance.testing.kit import CHANGES, LocalClock, funded
from exchange_kernel_binance.testing.lists import legs_of, reach_both
from exchange_kernel_binance.testing.wire_faults import arm
from exchange_kernel_ccxt.requests import load

SECRETS = {"main": "canary7d1f0a6b5c", "second": "canary2e9c4488d1"}
KEYS = {"main": "kitmain" + "k" * 57, "second": "kitsecond" + "k" * 55}
CROWD = "crowd"
ENOUGH = 1_000_000
"""Requests a minute: the kit asks more often than Binance answers."""
APIS = {"spot": "/api", "usdm": "/fapi", "margin_cross": "/*api", "margin_isolated": "/*api"}
_FAULTS = frozenset(Fault) - {Fault.NODE_REFUSES}


class BinanceHarness(Harness):
    """What the market types have in common. ``market``: as in the account's settings; ``names``: their symbols."""

    venue, kind = "binance", "cex"
    secrets: Mapping[str, str] = {"api_key": KEYS["main"], "secret": SECRETS["main"]}
    faults = _FAULTS
    quiet_s = 0.3
    limit_s = 150.0
    market: str
    stream: str
    listed = "BTCUSDT"
    requested = "order[.L]*"
    more: Mapping[str, Any] = {}
    """Other settings of the account."""
    rests_at = Decimal(40_000)
    names: Mapping[str, str]

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
        return funded(KEYS, SECRETS)

    def _ready(self, binance: Simulator) -> None:
        for limits in binance.limits.values():
            limits.rules = tuple(replace(rule, limit=ENOUGH) for rule in limits.rules)
        for account in ("main", "second"):  # an order may cost no more than there is
            binance.futures.exchange.set_leverage(account, self.listed, 1)
        self._quote(binance, Decimal(100))

    async def stop(self) -> None:
        if hasattr(self, "_aside"):
            await self._aside.stop()

    @property
    def service(self) -> str:
        return self.market if self.market == "usdm" else "spot"

    def adapter(self) -> VenueAdapter:
        return BinanceAdapter()

    def context(self, account: str = "main", secrets: Mapping[str, str] | None = None) -> Context:
        proxy = self._aside.proxy
        config = {
            "market": self.market,
            "network": "custom",
            "urls": {self.service: proxy.url, f"{self.service}_ws": proxy.ws_url + self.stream},
            **self.more,
            "recv_window_ms": 1_000,
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
        return Spec(self.symbol, Side.BUY, Decimal("0.01") * steps, limit=self.rests_at)

    def crossing(self, steps: int = 1) -> Spec:
        return Spec(self.symbol, Side.BUY, Decimal("0.01") * steps, limit=Decimal(50_100), tif=TimeInForce.GTC)

    async def truth(self, account: str = "main") -> Sequence[TruthOrder]:
        rows = await self._ask(self._rows)
        return tuple(self._truth(row) for row in rows if row["account"] == account)

    def _rows(self, binance: Simulator) -> Any:
        raise NotImplementedError

    def _truth(self, row: Mapping[str, Any]) -> TruthOrder:
        raise NotImplementedError

    def _gate(self, binance: Simulator) -> Gate:
        raise NotImplementedError

    def _habits(self, binance: Simulator) -> Any:
        raise NotImplementedError

    async def changes(self) -> int:
        counts = await self._ask(lambda binance: dict(self._gate(binance).counts))
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
            late = Trouble("late", self.requested, times=times, skip=after, ms=ms)
            await self._ask(lambda binance: self._gate(binance).faults.add(late))
        elif fault is Fault.READ_LAGS:
            await self._ask(lambda binance: setattr(self._habits(binance), "query_lag", ms or 150))
        else:
            await self._aside.ask(lambda: arm(proxy, APIS[self.market], fault, times, ms, after))

    async def clear(self) -> None:
        def calm(binance: Simulator) -> None:
            for requests, events in binance.faults.values():
                requests.clear()
                events.clear()
            self._habits(binance).query_lag = 0

        await self._aside.ask(self._aside.proxy.clear)
        await self._ask(calm)
        reopen_all()

    async def restart(self) -> None:
        def drop(binance: Simulator) -> None:
            binance.streams.disconnect()
            binance.futures.users.disconnect()

        await self._aside.ask(self._aside.proxy.cut_now)
        await self._ask(drop)

    async def outage(self, ms: int) -> None:
        await self._aside.outage(ms / 1000)

    async def revoke(self, revoked: bool) -> None:
        def change(binance: Simulator) -> None:
            binance.keys.revoke(KEYS["main"])
            if not revoked:
                binance.keys.add(ApiKey(KEYS["main"], "main", SECRETS["main"]))

        await self._ask(change)

    async def skew(self, ms: int) -> None:
        self._clock.skew_ms += ms

    async def leap(self, ms: int) -> None:
        def move(binance: Simulator) -> None:
            binance.clock.skew += ms

        await self._ask(move)
        self._clock.skew_ms += ms

    # what the market does ---------------------------------------------------------------------------------------

    async def fill(self, order: TruthOrder, base: Decimal) -> None:
        def trade(binance: Simulator) -> None:
            self._withdraw(binance)
            taker = "SELL" if order.side == "BUY" else "BUY"
            symbol = next(name for name, known in self.names.items() if known == order.symbol)
            self._crowd(binance, symbol, taker, f"{order.price:f}", f"{base:f}", "IOC")
            self._back(binance)

        await self._ask(trade)

    async def liquidity(self, base: Decimal) -> None:
        def quote(binance: Simulator) -> None:
            self._withdraw(binance)
            self._quote(binance, base)

        await self._ask(quote)

    async def reprice(self) -> None:
        self._bid -= 10
        await self.liquidity(Decimal(100))

    async def foreign(self) -> TruthOrder:
        price = f"{self.rests_at + 1_000:f}"

        def place(binance: Simulator) -> int:
            fields = {"symbol": self.listed, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
            made = self._act(binance, "main", {**fields, "quantity": "0.02", "price": price})
            return int(made["orderId"])

        number = await self._ask(place)
        return next(each for each in await self.truth() if order_id(self.listed, number) in each.ids)

    # parts ------------------------------------------------------------------------------------------------------

    async def _ask(self, what: Any) -> Any:
        return await self._aside.ask(lambda: what(self._aside.binance))

    def _quote(self, binance: Simulator, base: Decimal) -> None:
        for side, price in (("BUY", self._bid), ("SELL", 50_100)):
            if base:
                self._crowd(binance, self.listed, side, str(price), f"{base:f}", "GTC")

    def _back(self, binance: Simulator) -> None:
        """What is quoted when somebody has traded."""
        self._quote(binance, Decimal(100))

    def _withdraw(self, binance: Simulator) -> None:
        raise NotImplementedError

    def _rules(self, binance: Simulator, symbol: str) -> Any:
        raise NotImplementedError

    def _crowd(self, binance: Simulator, symbol: str, side: str, price: str, base: str, tif: str) -> None:
        fields = {"symbol": symbol, "side": side, "type": "LIMIT", "timeInForce": tif, "quantity": base, "price": price}
        rules = self._rules(binance, symbol)
        least, rules.min_notional = rules.min_notional, Decimal(0)  # a part of an order may be small
        try:
            self._act(binance, CROWD, fields)
        finally:
            rules.min_notional = least

    def _act(self, binance: Simulator, account: str, fields: Mapping[str, Any]) -> Any:
        return binance.act("order.place", account, fields, market="futures" if self.market == "usdm" else "spot")


class SpotHarness(BinanceHarness):
    """The spot account."""

    market, stream, symbol = "spot", "/ws-api/v3", "BTC/USDT"
    names: Mapping[str, str] = {"BTCUSDT": "BTC/USDT", "ETHUSDT": "ETH/USDT", "BNBUSDT": "BNB/USDT"}

    def elsewhere(self) -> Spec:
        return Spec("ETH/USDT", Side.BUY, Decimal("0.1"), limit=Decimal(2_000))

    def group(self, kind: str) -> Sequence[Spec]:
        return legs_of(kind, self.symbol)

    async def burst(self, orders: Sequence[TruthOrder]) -> None:
        numbers = {number_of(vid) for order in orders for vid in order.ids if vid.kind == "order"}

        def rush(binance: Simulator) -> None:
            self._withdraw(binance)
            reach_both(binance, numbers, lambda at: self._crowd(binance, self.listed, "BUY", at, "1", "GTC"))
            self._back(binance)

        await self._ask(rush)

    def _back(self, binance: Simulator) -> None:
        """The market is where it was."""
        self._withdraw(binance)
        binance.trade_at(self.listed, Decimal(50_000), Decimal("0.001"))
        self._quote(binance, Decimal(100))

    def _rows(self, binance: Simulator) -> Any:
        return binance.truth()["orders"]()

    def _truth(self, row: Mapping[str, Any]) -> TruthOrder:
        return TruthOrder(
            (order_id(row["symbol"], row["orderId"]), VenueId("client", row["clientOrderId"])),
            self.names[row["symbol"]],
            row["side"],
            Decimal(row["origQty"]),
            Decimal(row["executedQty"]),
            Decimal(row["cummulativeQuoteQty"]),
            row["status"] in ("NEW", "PARTIALLY_FILLED"),  # one that waits in a list is not in the market yet
            Decimal(row["price"]) or None,
            Decimal(row["icebergQty"]) or Decimal(row["origQty"]),
            row["timeInForce"],
            row["type"] == "LIMIT_MAKER",
        )

    def _gate(self, binance: Simulator) -> Gate:
        return binance.gate

    def _habits(self, binance: Simulator) -> Any:
        return binance.spot.state.habits

    async def halt(self, halted: bool) -> None:
        await self._ask(lambda binance: _halt(binance.spot.state.symbol(self.listed), "HALT" if halted else "TRADING"))

    def _withdraw(self, binance: Simulator) -> None:
        if binance.spot.state.open_orders(CROWD, self.listed):
            binance.spot.cancel_all(CROWD, self.listed)

    def _rules(self, binance: Simulator, symbol: str) -> Any:
        return binance.spot.state.symbol(symbol)


class UsdmHarness(BinanceHarness):
    """The USD-M futures account, in one-way mode."""

    market, stream, symbol = "usdm", "", "BTC/USDT:USDT"
    names: Mapping[str, str] = {"BTCUSDT": "BTC/USDT:USDT", "ETHUSDT": "ETH/USDT:USDT"}
    leg = "BOTH"
    rests_at = Decimal(45_000)

    def elsewhere(self) -> Spec:
        return Spec("ETH/USDT:USDT", Side.BUY, Decimal("0.1"), limit=Decimal(2_800))

    def _rows(self, binance: Simulator) -> Any:
        return binance.truth()["futures-orders"]()

    def _truth(self, row: Mapping[str, Any]) -> TruthOrder:
        post_only = row["timeInForce"] == "GTX"
        return TruthOrder(
            (order_id(row["symbol"], row["orderId"]), VenueId("client", row["clientOrderId"])),
            self.names[row["symbol"]],
            row["side"],
            Decimal(row["origQty"]),
            Decimal(row["executedQty"]),
            Decimal(row["cumQuote"]),
            row["status"] in ("NEW", "PARTIALLY_FILLED"),
            Decimal(row["price"]) or None,
            Decimal(row["origQty"]),
            "GTC" if post_only else row["timeInForce"],
            post_only,
        )

    def _gate(self, binance: Simulator) -> Gate:
        return binance.futures.gate

    def _habits(self, binance: Simulator) -> Any:
        return binance.futures.exchange.state.habits

    async def halt(self, halted: bool) -> None:
        status = "SETTLING" if halted else "TRADING"
        await self._ask(lambda binance: _halt(binance.futures.exchange.state.contract(self.listed), status))

    async def forced(self) -> TruthOrder:
        def deleverage(binance: Simulator) -> int:
            exchange = binance.futures.exchange
            return int(exchange.auto_deleverage("main", self.listed, self.leg, Decimal("0.01")).order_id)

        crossed = self.crossing(3)

        def hold(binance: Simulator) -> None:
            fields = {"symbol": self.listed, "side": "BUY", "type": "MARKET", "quantity": f"{crossed.amount:f}"}
            self._act(binance, "main", fields)

        await self._ask(hold)
        number = await self._ask(deleverage)
        return next(each for each in await self.truth() if order_id(self.listed, number) in each.ids)

    def _withdraw(self, binance: Simulator) -> None:
        binance.futures.exchange.cancel_all(CROWD, self.listed)

    def _rules(self, binance: Simulator, symbol: str) -> Any:
        return binance.futures.exchange.state.contract(symbol)


class HedgeHarness(UsdmHarness):
    """The same account in hedge mode: orders open the leg of their side, or reduce the other one."""

    leg = "LONG"

    def _ready(self, binance: Simulator) -> None:
        for account in ("main", "second"):
            binance.futures.exchange.set_hedge(account, True)
        super()._ready(binance)

    def _act(self, binance: Simulator, account: str, fields: Mapping[str, Any]) -> Any:
        if account != CROWD:
            fields = {**fields, "positionSide": "LONG" if fields["side"] == "BUY" else "SHORT"}
        return super()._act(binance, account, fields)


def _halt(rules: Any, status: str) -> None:
    rules.status = status
