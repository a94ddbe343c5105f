"""How the conformance kit reaches the WETH venue: real time, real Anvil, and the fault proxy between the two."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from exchange_kernel.clock import SystemClock
from exchange_kernel.testing.conformance import Fault, Harness, TruthOrder
from exchange_kernel.testing.faults import FaultProxy
from exchange_kernel.venue import Context, Spec, VenueAdapter, VenueId
from exchange_kernel_evm.testing.aside import ProxyAside
from plugins.evm.tests import weth
from plugins.evm.tests.chain import ADDRESSES, CONFIRMATIONS, KEYS, Node

SEND, READ = "eth_sendRawTransaction", "eth_getBlockByNumber"
TIMEOUT_S, BLOCK_S = 6.0, 1.0
INSTANT = "an order here is executed by the block that takes it: nothing rests, so there is nothing a cancel could end"


RESTING = (
    "LIFE-05",
    "LIFE-08",
    "LIFE-09",
    "CXL-01",
    "CXL-02",
    "CXL-06",
    "CXL-07",
    "FILL-05",
    "IDEM-11",
    "IDEM-13",
    "RATE-01",
    "RATE-02",
    "RATE-04",
    "BAL-01",
    "BAL-02",
    "BAL-05",
    "REC-02",
    "BAD-03",
    "CHN-05",
    "CHN-06",
    "BAD-06",
)
"""Cases that wait for an order to rest, or end one that does."""


class SkewedClock(SystemClock):
    """The machine's clock, and what the local one is ahead of it."""

    skew = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.skew


class WethHarness(Harness):
    """The WETH venue on a shared Anvil, put back to its first state for every case."""

    deviations = dict.fromkeys(RESTING, INSTANT)
    venue, kind, symbol = "weth", "dex", weth.SYMBOL
    secrets: Mapping[str, str] = {"key": KEYS["main"]}
    faults = frozenset(
        {
            Fault.REQUEST_LOST,
            Fault.ANSWER_LOST,
            Fault.LATE,
            Fault.ERROR_AFTER,
            Fault.UNAVAILABLE,
            Fault.GARBLED,
            Fault.RATE_LIMIT,
            Fault.NODE_REFUSES,
            Fault.SLOW,
            Fault.READ_FAILS,
            Fault.READ_GARBLED,
            Fault.READ_LIMITED,
        }
    )

    def __init__(self, node: Node) -> None:
        self._node, self._clock = node, SkewedClock()
        self._base = 0

    @property
    def clock(self) -> SkewedClock:
        return self._clock

    async def start(self) -> None:
        node = self._node
        node("evm_setTime", self._clock.now_ms() // 1000)
        node.mine()
        self._base = node.head()
        self._aside = ProxyAside(node.url, node.mine, BLOCK_S)
        self._aside.start()

    async def stop(self) -> None:
        self._aside.stop()

    def adapter(self) -> VenueAdapter:
        return weth.adapter()

    def context(self, account: str = "main", secrets: Mapping[str, str] | None = None) -> Context:
        config = {
            "rpc": self._aside.proxy.url,
            "confirmations": CONFIRMATIONS,
            "address": ADDRESSES[account],
            "poll_ms": 50,
            "timeout_s": TIMEOUT_S,
        }
        found = {"key": KEYS[account]} if secrets is None else secrets
        return Context(account, config, clock=self._clock.now_ms, sleep=self._clock.sleep, secrets=found)

    def wrong_secrets(self) -> Mapping[str, str]:
        return {"key": "0x" + "77" * 32}

    def resting(self, steps: int = 1) -> Spec:
        return weth.order(steps)

    def crossing(self, steps: int = 1) -> Spec:
        return weth.order(steps)

    async def truth(self, account: str = "main") -> Sequence[TruthOrder]:
        node = self._node
        rows = [(tx, node("eth_getTransactionReceipt", tx["hash"])) for tx in node.sent_by(account, self._base)]
        waiting = sorted(node.waiting(account), key=lambda tx: int(tx["nonce"], 16))
        found = [_truth(tx, receipt) for tx, receipt in [*rows, *((tx, None) for tx in waiting)]]
        return tuple(each for each in found if each is not None)

    async def changes(self) -> int:
        return self._aside.ask(lambda: self._aside.proxy.counts(rpc=SEND).forwarded)

    async def requests(self) -> int:
        return self._aside.ask(lambda: self._aside.proxy.counts().forwarded)

    async def inject(self, fault: Fault, *, times: int = 1, ms: int = 0, after: int = 0) -> None:
        self._aside.ask(lambda: _arm(self._aside.proxy, fault, times, ms, after))

    async def clear(self) -> None:
        self._aside.ask(self._aside.proxy.clear)

    async def outage(self, ms: int) -> None:
        self._aside.outage(ms / 1000)

    async def settle(self) -> None:
        self._node.mine(CONFIRMATIONS + 2)
        await self._clock.sleep(0.3)  # until a session that follows the chain has seen it

    async def skew(self, ms: int) -> None:
        self._clock.skew += ms


def _arm(proxy: FaultProxy, fault: Fault, times: int, ms: int, after: int) -> None:
    how: dict[str, Any] = {"times": times, "skip": after}
    refusal = {"jsonrpc": "2.0", "id": None, "error": {"code": -32000, "message": "transaction underpriced"}}
    later = {"Retry-After": str(math.ceil(ms / 1000))}
    match fault:
        case Fault.REQUEST_LOST:
            proxy.drop_request(rpc=SEND, **how)
        case Fault.ANSWER_LOST:
            proxy.drop_answer(rpc=SEND, **how)
        case Fault.LATE:
            proxy.delay(ms / 1000, rpc=SEND, **how)
            proxy.drop_answer(rpc=SEND, **how)
        case Fault.ERROR_AFTER:
            proxy.status(503, after_asking=True, rpc=SEND, **how)
        case Fault.UNAVAILABLE:
            proxy.status(503, rpc=SEND, **how)
        case Fault.GARBLED:
            proxy.truncate(30, rpc=SEND, **how)
        case Fault.RATE_LIMIT:
            proxy.status(429, headers=later, rpc=SEND, **how)
        case Fault.NODE_REFUSES:
            proxy.status(200, body=json.dumps(refusal).encode(), after_asking=True, rpc=SEND, **how)
        case Fault.SLOW:
            proxy.delay(ms / 1000, **how)
        case Fault.READ_FAILS:
            proxy.status(502, rpc=READ, **how)
        case Fault.READ_GARBLED:
            proxy.truncate(30, rpc=READ, **how)
        case Fault.READ_LIMITED:
            proxy.status(429, headers=later, rpc=READ, **how)
        case _:
            raise NotImplementedError(fault)


def _truth(tx: dict[str, Any], receipt: dict[str, Any] | None) -> TruthOrder | None:
    deposit, withdraw = tx["input"].startswith("0xd0e30db0"), tx["input"].startswith("0x2e1a7d4d")
    if not deposit and not withdraw:
        return None
    amount = Decimal(int(tx["value"], 16) if deposit else int(tx["input"][10:74], 16)).scaleb(-18)
    done = amount if receipt is not None and receipt["status"] == "0x1" else Decimal(0)
    ids = (VenueId("slot", str(int(tx["nonce"], 16))), VenueId("tx", tx["hash"].lower()))
    side = "BUY" if deposit else "SELL"
    return TruthOrder(ids, weth.SYMBOL, side, amount, done, done, receipt is None, Decimal(1))
