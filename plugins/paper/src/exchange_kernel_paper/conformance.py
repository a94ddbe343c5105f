"""The paper venue's harness for the conformance kit, in virtual time, for each of its fence presets."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal
from random import Random
from typing import Any

from exchange_kernel.clock import Clock
from exchange_kernel.schema import Side, TimeInForce
from exchange_kernel.testing.conformance import Fault, Harness, TruthOrder
from exchange_kernel.testing.virtual import VirtualClock, VirtualLoop
from exchange_kernel.venue import Context, Spec, VenueAdapter, VenueId
from exchange_kernel_paper.adapter import PaperAdapter
from exchange_kernel_paper.exchange import Exchange, LoopClock
from exchange_kernel_paper.exchange.orders import Order
from exchange_kernel_paper.exchange.settings import Settings
from exchange_kernel_paper.registry import Registry

SECRET = "canary-8f3b1c"
CHANGES = ("order", "group", "amend", "cancel", "cancel_all", "burn")
_FAULTS = {
    Fault.REQUEST_LOST: "request_lost",
    Fault.ANSWER_LOST: "answer_lost",
    Fault.LATE: "late",
    Fault.ERROR_AFTER: "error_after",
    Fault.UNAVAILABLE: "unavailable",
    Fault.GARBLED: "garbled",
    Fault.RATE_LIMIT: "rate_limit",
    Fault.BANNED: "rate_limit",
    Fault.NODE_REFUSES: "misleading",
    Fault.SLOW: "delay",
    Fault.READ_FAILS: "unavailable",
    Fault.READ_GARBLED: "garbled",
    Fault.READ_LIMITED: "rate_limit",
    Fault.READ_LAGS: "query_lag",
    Fault.EVENT_LOST: "event_drop",
    Fault.EVENT_REPEATED: "event_duplicate",
    Fault.EVENTS_REORDERED: "event_reorder",
    Fault.STREAM_CUT: "disconnect",
    Fault.STREAM_SILENT: "silence",
}
_READS = ("find", "open", "account", "history", "markets", "time", "hello")
_OF_READS = (Fault.READ_FAILS, Fault.READ_GARBLED, Fault.READ_LIMITED, Fault.READ_LAGS)
_LAGS = {"read_lag_ms": 400, "engine_delay_ms": 300}
_SMALL = {"page_size": 3, "queue_size": 50}
"""Pages that fill with a handful of orders, and a queue that a reader who sleeps overruns."""
_GROUPS = {"groups": ["oco", "oto", "bracket"]}
_FORGETS = {"retention_ms": 100_000}
"""An exchange worth testing against: its reads trail, its requests queue, and what ended untouched is forgotten."""
_STREAM = (Fault.EVENT_LOST, Fault.EVENT_REPEATED, Fault.EVENTS_REORDERED, Fault.STREAM_CUT, Fault.STREAM_SILENT)


class PaperHarness(Harness):
    """An exchange in this process. ``settings``: of the exchange, the fence preset above all."""

    venue, kind, symbol = "paper", "sim", "BTC/USD"
    secrets: Mapping[str, str] = {"secret": SECRET}
    faults = frozenset(_FAULTS)

    def __init__(self, **settings: Any) -> None:
        self._loop = VirtualLoop()
        self._clock = VirtualClock(self._loop)
        self._registry = Registry()
        ledger = settings.get("fence") in ("sequence", "height")
        self._settings = _LAGS | _SMALL | _GROUPS | ({} if ledger else _FORGETS) | settings
        self._ahead = 0
        self._bid = 49_900
        self.exchange: Exchange

    @property
    def clock(self) -> Clock:
        return self._clock

    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    async def start(self) -> None:
        settings = Settings.of(self._settings)
        clock = LoopClock(lambda: self._clock.now_ms() - self._ahead)
        exchange = Exchange("kit", clock, settings, rng=Random(1))
        self.exchange = self._registry.add(exchange)
        self._quote("100")

    def _quote(self, base: str) -> None:
        self.exchange.set_ladder(self.symbol, [(str(self._bid), base)], [("50100", base)])

    def adapter(self) -> VenueAdapter:
        return PaperAdapter()

    def context(self, account: str = "main", secrets: Mapping[str, str] | None = None) -> Context:
        config = {
            "venue": "kit",
            "account": account,
            "registry": self._registry,
            "house": False,
            "balances": {"USD": "10000000", "BTC": "1000"},
        }
        return Context(
            account,
            config,
            clock=self._clock.now_ms,
            sleep=self._clock.sleep,
            secrets=self.secrets if secrets is None else secrets,
        )

    def wrong_secrets(self) -> Mapping[str, str]:
        return {"secret": "not-the-one"}

    def resting(self, steps: int = 1) -> Spec:
        return Spec(self.symbol, Side.BUY, Decimal("0.01") * steps, limit=Decimal("40000"))

    def crossing(self, steps: int = 1) -> Spec:
        return Spec(self.symbol, Side.BUY, Decimal("0.01") * steps, limit=Decimal("50100"), tif=TimeInForce.GTC)

    async def truth(self, account: str = "main") -> Sequence[TruthOrder]:
        self.exchange.refresh()
        return tuple(
            TruthOrder(
                (
                    VenueId("order", str(order.id)),
                    *([VenueId("client", order.client)] if order.client is not None else []),
                ),
                order.symbol,
                order.side,
                order.most,
                order.base,
                order.quote,
                order.live,
                *_terms(self.exchange.engine.orders.get(order.id)),
            )
            for order in self.exchange.ledger.orders()
            if order.account == account
        )

    async def changes(self) -> int:
        return self.exchange.changes

    async def requests(self) -> int:
        return self.exchange.requests

    async def inject(self, fault: Fault, *, times: int = 1, ms: int = 0, after: int = 0) -> None:
        faults, engine_ms = self.exchange.faults, self.exchange.settings.engine_delay_ms
        if fault in _STREAM:
            faults.once(_FAULTS[fault], "event", times=times, ms=ms, after=after)
            return
        every = (*_READS, *CHANGES) if fault in (Fault.SLOW, Fault.BANNED) else CHANGES
        ops = "|".join(_READS if fault in _OF_READS else every)
        code = "BANNED" if fault is Fault.BANNED else ""
        faults.once(_FAULTS[fault], ops, times=times, ms=ms, code=code, after=after)
        if fault is Fault.LATE and engine_ms:
            faults.once("engine_delay", ops, times=times, ms=engine_ms, after=after)

    async def clear(self) -> None:
        self.exchange.faults.clear()

    async def fill(self, order: TruthOrder, base: Decimal) -> None:
        self.exchange.refresh()
        price = str(self.exchange.engine.orders[self._number(order)].limit)
        self.exchange.set_ladder(order.symbol, [], [])
        self.exchange.trade_through(order.symbol, "SELL" if order.side == "BUY" else "BUY", price, f"{base:f}")
        self._quote("100")

    async def correct(self, order: TruthOrder, base: Decimal) -> None:
        self.exchange.refresh()
        mine = self.exchange.engine.orders[self._number(order)]
        self.exchange.correct(mine.id, mine.trades[-1].id, f"{base:f}")

    async def liquidity(self, base: Decimal) -> None:
        self._quote(f"{base:f}")

    async def revoke(self, revoked: bool) -> None:
        self.exchange.account("main").secret = b"another" if revoked else SECRET.encode()

    async def foreign(self) -> TruthOrder:
        from exchange_kernel_paper.exchange.filters import Terms

        exchange = self.exchange
        account, market = exchange.account("main"), exchange.market(self.symbol)
        terms = Terms("BUY", Decimal("0.02"), False, Decimal("41000"), None, "GTC", None, False, None)
        exchange.refresh()
        client = None if exchange.settings.fence == "none" else f"other-{len(exchange.ledger.orders())}"
        order = exchange.engine.place(account, market, terms, client, None)
        return next(each for each in await self.truth() if VenueId("order", str(order.id)) in each.ids)

    async def reprice(self) -> None:
        self._bid -= 10
        self._quote("100")

    async def halt(self, halted: bool) -> None:
        self.exchange.set_open(self.symbol, not halted)

    async def restart(self) -> None:
        self.exchange.restart()

    async def outage(self, ms: int) -> None:
        self.exchange.outage(ms)

    async def skew(self, ms: int) -> None:
        self._clock.skew_ms += ms
        self._ahead += ms

    async def leap(self, ms: int) -> None:
        self._clock.skew_ms += ms

    def elsewhere(self) -> Spec:
        return Spec("ETH/USD", Side.BUY, Decimal("0.1"), limit=Decimal("2000"))

    def group(self, kind: str) -> Sequence[Spec]:
        first = Spec(self.symbol, Side.BUY, Decimal("0.04"), limit=Decimal("40000"))
        second = Spec(self.symbol, Side.SELL, Decimal("0.06"), limit=Decimal("60000"))
        third = Spec(self.symbol, Side.SELL, Decimal("0.08"), limit=Decimal("65000"))
        return (first, second, third) if kind == "bracket" else (first, second)

    async def burst(self, orders: Sequence[TruthOrder]) -> None:
        self.exchange.refresh()
        self.exchange.set_ladder(self.symbol, [], [])
        for side, other, worst in (("BUY", "SELL", min), ("SELL", "BUY", max)):
            mine = [self.exchange.engine.orders[self._number(each)] for each in orders if each.side == side]
            if mine:
                price = worst(order.limit for order in mine if order.limit is not None)
                amount = sum((order.left for order in mine), Decimal(0))
                self.exchange.trade_through(self.symbol, other, f"{price:f}", f"{amount:f}")
        self._quote("100")

    async def forced(self) -> TruthOrder:
        number = self.exchange.force("main", self.symbol, "SELL", "0.03", "LIQUIDATION")
        return next(each for each in await self.truth() if VenueId("order", str(number)) in each.ids)

    async def settle(self) -> None:
        settings = self.exchange.settings
        blocks = settings.finality + 2 if settings.ledger else 0
        await self._clock.sleep((settings.block_ms * blocks + 50) / 1000)

    def _number(self, order: TruthOrder) -> int:
        return int(next(vid.value for vid in order.ids if vid.kind == "order"))


def _terms(order: Order | None) -> tuple[Decimal | None, Decimal | None, str | None, bool | None]:
    """Limit, display, time in force and post-only of an order that the engine still has."""
    if order is None:
        return None, None, None, None
    shown = order.amount if order.display is None else order.display
    return order.limit, None if order.in_quote else shown, order.tif, order.post_only
