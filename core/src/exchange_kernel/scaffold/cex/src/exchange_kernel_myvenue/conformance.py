"""How the conformance kit reaches this venue, sees its truth past the adapter, and makes things go wrong.

It runs in virtual time against :mod:`.venue`. Against the real venue's test network leave out ``loop`` and ``clock``
(real time), read ``truth`` through the venue's own interface, and put a FaultProxy of
:mod:`exchange_kernel.testing.faults` between adapter and venue instead of :class:`~.wire.Faults`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal

from exchange_kernel.clock import Clock
from exchange_kernel.schema import Side
from exchange_kernel.testing.conformance import Fault, Harness, TruthOrder
from exchange_kernel.testing.virtual import VirtualClock, VirtualLoop
from exchange_kernel.venue import Context, Spec, VenueAdapter, VenueId

from .adapter import MyVenueAdapter
from .venue import Exchange, Order, sign
from .wire import VENUES, Armed, Faults, connect

NAME = "kit"
SECRETS = {"main": "canary-5d0c7e", "second": "canary-91f2b4"}
BALANCES = {"USD": "100000000", "BTC": "10000"}
CHANGES = frozenset(
    {
        Fault.REQUEST_LOST,
        Fault.ANSWER_LOST,
        Fault.LATE,
        Fault.ERROR_AFTER,
        Fault.UNAVAILABLE,
        Fault.GARBLED,
        Fault.RATE_LIMIT,
    }
)
# Reads of this venue never lag: as long ago as they ever do is now.
READS = frozenset({Fault.READ_FAILS, Fault.READ_GARBLED, Fault.READ_LIMITED, Fault.READ_LAGS})
STREAM = frozenset(
    {
        Fault.STREAM_CUT,
        Fault.STREAM_SILENT,
        Fault.EVENT_LOST,
        Fault.EVENT_REPEATED,
        Fault.EVENTS_REORDERED,
    }
)


class MyVenueHarness(Harness):
    """The exchange of :mod:`.venue`, new for every case."""

    venue, kind, symbol = "myvenue", "cex", "BTC/USD"
    secrets: Mapping[str, str] = {"secret": SECRETS["main"]}
    faults = CHANGES | READS | STREAM | {Fault.SLOW, Fault.BANNED}

    def __init__(self) -> None:
        self._loop = VirtualLoop()
        self._local, self._venue_clock = VirtualClock(self._loop), VirtualClock(self._loop)

    @property
    def clock(self) -> Clock:
        return self._local

    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    async def start(self) -> None:
        VENUES.pop(NAME, None)
        exchange, _ = connect(NAME, self._venue_clock.now_ms)
        for account, secret in SECRETS.items():
            exchange.open_account(account, secret, BALANCES)

    async def stop(self) -> None:
        VENUES.pop(NAME, None)

    def adapter(self) -> VenueAdapter:
        return MyVenueAdapter()

    def context(self, account: str = "main", secrets: Mapping[str, str] | None = None) -> Context:
        return Context(
            account,
            {"exchange": NAME},
            clock=self._local.now_ms,
            sleep=self._local.sleep,
            secrets={"secret": SECRETS[account]} if secrets is None else secrets,
        )

    def wrong_secrets(self) -> Mapping[str, str]:
        return {"secret": "not-the-one"}

    def resting(self, steps: int = 1) -> Spec:
        return Spec(self.symbol, Side.BUY, Decimal("0.01") * steps, limit=Decimal(40_000))

    def crossing(self, steps: int = 1) -> Spec:
        return Spec(self.symbol, Side.BUY, Decimal("0.01") * steps, limit=Decimal(50_100))

    async def truth(self, account: str = "main") -> Sequence[TruthOrder]:
        return tuple(_truth(order) for order in self._exchange.orders if order.account == account)

    async def changes(self) -> int:
        return self._faults.changes

    async def requests(self) -> int:
        return self._faults.requests

    async def inject(self, fault: Fault, *, times: int = 1, ms: int = 0, after: int = 0) -> None:
        if fault is Fault.STREAM_CUT:
            self._cut()
        elif fault is Fault.STREAM_SILENT:
            for stream in self._faults.streams:
                stream.silent = True
        elif fault is not Fault.READ_LAGS:
            on = "change" if fault in CHANGES else "read" if fault in READS else "event" if fault in STREAM else "any"
            self._faults.armed.append(Armed(fault.value, on, times, ms, after))

    async def clear(self) -> None:
        self._faults.armed.clear()
        self._faults.down_until = 0

    async def fill(self, order: TruthOrder, base: Decimal) -> None:
        mine = next(each for each in self._exchange.orders if VenueId("order", str(each.number)) in order.ids)
        self._exchange.trade(mine, base, mine.limit, maker=True)

    async def correct(self, order: TruthOrder, base: Decimal) -> None:
        mine = next(each for each in self._exchange.orders if VenueId("order", str(each.number)) in order.ids)
        self._exchange.correct(mine, base)

    async def liquidity(self, base: Decimal) -> None:
        self._exchange.depth = base

    async def halt(self, halted: bool) -> None:
        self._exchange.halted = halted

    async def revoke(self, revoked: bool) -> None:
        self._exchange.accounts["main"].secret = b"another" if revoked else SECRETS["main"].encode()

    async def foreign(self) -> TruthOrder:
        fields = {"symbol": self.symbol, "side": "BUY", "amount": "0.02", "limit": "41000", "tif": "GTC"}
        now = self._venue_clock.now_ms()
        request = {"op": "order", "account": "main", **fields, "client": "by-hand", "ts": now, "window": 1_000}
        self._exchange.serve(sign(request, SECRETS["main"]))
        return _truth(self._exchange.orders[-1])

    async def restart(self) -> None:
        self._cut()

    async def outage(self, ms: int) -> None:
        self._faults.down_until = self._venue_clock.now_ms() + ms
        self._cut()

    async def skew(self, ms: int) -> None:
        self._local.skew_ms += ms

    async def leap(self, ms: int) -> None:
        self._local.skew_ms += ms
        self._venue_clock.skew_ms += ms

    @property
    def _exchange(self) -> Exchange:
        return VENUES[NAME][0]

    @property
    def _faults(self) -> Faults:
        return VENUES[NAME][1]

    def _cut(self) -> None:
        for stream in list(self._faults.streams):
            stream.close()


def _truth(order: Order) -> TruthOrder:
    ids = (VenueId("order", str(order.number)), VenueId("client", order.client))
    live = order.status == "open"
    return TruthOrder(ids, "BTC/USD", order.side, order.amount, order.filled, order.spent, live, order.limit)
