"""How the conformance kit reaches this venue, sees its truth past the adapter, and makes things go wrong.

It runs in virtual time against :mod:`.venue`. Against a real node leave out ``loop`` and ``clock`` (real time), read
``truth`` from the contract directly, and put a FaultProxy of :mod:`exchange_kernel.testing.faults` between adapter and
node instead of :class:`~.wire.Faults`.
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
from .venue import BLOCK_MS, FINALITY, GAS, LEAST_FEE, Chain, Order, address_of, sign
from .wire import VENUES, Armed, Faults, connect

NAME = "kit"
SECRETS = {"main": "canary-5d0c7e", "second": "canary-91f2b4"}
BALANCES = {"USD": "100000000", "BTC": "10000", GAS: "1000"}
CHANGES = frozenset(
    {
        Fault.REQUEST_LOST,
        Fault.ANSWER_LOST,
        Fault.LATE,
        Fault.ERROR_AFTER,
        Fault.UNAVAILABLE,
        Fault.GARBLED,
        Fault.RATE_LIMIT,
        Fault.NODE_REFUSES,
    }
)
# Reads of this venue never lag: as long ago as they ever do is now.
READS = frozenset({Fault.READ_FAILS, Fault.READ_GARBLED, Fault.READ_LIMITED, Fault.READ_LAGS})


class MyVenueHarness(Harness):
    """The chain of :mod:`.venue`, new for every case."""

    venue, kind, symbol = "myvenue", "dex", "BTC/USD"
    secrets: Mapping[str, str] = {"secret": SECRETS["main"]}
    faults = CHANGES | READS | {Fault.SLOW, Fault.BANNED}
    polled = True

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
        chain, _ = connect(NAME, self._venue_clock.now_ms)
        for secret in SECRETS.values():
            chain.open_account(secret, BALANCES)

    async def stop(self) -> None:
        VENUES.pop(NAME, None)

    def adapter(self) -> VenueAdapter:
        return MyVenueAdapter()

    def context(self, account: str = "main", secrets: Mapping[str, str] | None = None) -> Context:
        return Context(
            account,
            {"chain": NAME, "address": address_of(SECRETS[account])},
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
        chain, owner = self._chain, address_of(SECRETS[account])
        chain.advance()
        return tuple(_truth(order) for order in chain.orders.values() if order.owner == owner)

    async def changes(self) -> int:
        return self._faults.changes

    async def requests(self) -> int:
        return self._faults.requests

    async def inject(self, fault: Fault, *, times: int = 1, ms: int = 0, after: int = 0) -> None:
        if fault is not Fault.READ_LAGS:
            on = "change" if fault in CHANGES else "read" if fault in READS else "any"
            self._faults.armed.append(Armed(fault.value, on, times, ms, after))

    async def clear(self) -> None:
        self._faults.armed.clear()
        self._faults.down_until = 0

    async def fill(self, order: TruthOrder, base: Decimal) -> None:
        chain = self._chain
        chain.advance()
        mine = next(each for each in chain.orders.values() if VenueId("order", each.key) in order.ids)
        chain.trade(mine, base, mine.limit, f"0xtaker{len(mine.trades)}{mine.key}")

    async def correct(self, order: TruthOrder, base: Decimal) -> None:
        chain = self._chain
        chain.advance()
        mine = next(each for each in chain.orders.values() if VenueId("order", each.key) in order.ids)
        chain.correct(mine, base)

    async def liquidity(self, base: Decimal) -> None:
        self._chain.depth = base

    async def halt(self, halted: bool) -> None:
        self._chain.advance()
        self._chain.halted = halted

    async def revoke(self, revoked: bool) -> None:
        self._chain.accounts[address_of(SECRETS["main"])].secret = "another" if revoked else SECRETS["main"]

    async def foreign(self) -> TruthOrder:
        chain, owner = self._chain, address_of(SECRETS["main"])
        chain.advance()
        terms = {"symbol": self.symbol, "side": "BUY", "amount": "0.02", "limit": "41000", "key": "by-hand"}
        number = len(chain.accounts[owner].heights)
        request = {"op": "order", "account": owner, **terms, "number": number, "fee": f"{LEAST_FEE:f}"}
        chain.serve(sign(request, SECRETS["main"]))
        await self.settle()
        return next(order for order in await self.truth() if VenueId("order", "by-hand") in order.ids)

    async def restart(self) -> None:
        """A node that restarts loses nothing here: its pool is everybody's."""

    async def outage(self, ms: int) -> None:
        self._faults.down_until = self._venue_clock.now_ms() + ms

    async def settle(self) -> None:
        await self._local.sleep((FINALITY + 2) * BLOCK_MS / 1000)

    async def skew(self, ms: int) -> None:
        self._local.skew_ms += ms

    @property
    def _chain(self) -> Chain:
        return VENUES[NAME][0]

    @property
    def _faults(self) -> Faults:
        return VENUES[NAME][1]


def _truth(order: Order) -> TruthOrder:
    ids = (VenueId("order", order.key), VenueId("tx", order.tx))
    spent = sum((Decimal(each["base"]) * Decimal(each["price"]) for each in order.trades), Decimal(0))
    live = order.status == "open"
    return TruthOrder(ids, "BTC/USD", order.side, order.amount, order.filled, spent, live, order.limit)
