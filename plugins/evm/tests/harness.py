"""How the conformance kit reaches the WETH venue: real time, real Anvil, and the fault proxy between the two."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from exchange_kernel.testing.conformance import Fault, Harness, TruthOrder
from exchange_kernel.venue import Context, Spec, VenueAdapter, VenueId
from exchange_kernel_evm.testing.aside import ProxyAside
from exchange_kernel_evm.testing.pace import FastClock
from exchange_kernel_evm.testing.wire_faults import READ_FAULTS, SEND, WIRE_FAULTS
from exchange_kernel_evm.transactions import Transaction, decode
from plugins.evm.tests import weth
from plugins.evm.tests.chain import ADDRESSES, CONFIRMATIONS, KEYS, Node

TIMEOUT_S, BLOCK_S = 8.0, 0.5
SPEED = 5
"""Seconds of the harness' clock in one of the machine's: a chain's time is what its blocks say."""
SELDOM = 5
LIMIT, FULL = 50_000, 30_000_000
"""Gas of a block that has no room for an order, but for the transfer that cancels it; and of one with room for all."""


class WethHarness(Harness):
    """The WETH venue on a shared Anvil, put back to its first state for every case.

    ``waits``: blocks have no room for :meth:`resting` orders until :meth:`crossing` is asked for; so they wait in the
    pool. Else every order is executed by the block that takes it. ``spares``: what a ticket is made from is answered
    while reads fail.
    """

    polled, quiet_s = True, 0.5
    venue, kind, symbol = "weth", "dex", weth.SYMBOL
    secrets: Mapping[str, str] = {"key": KEYS["main"]}
    faults = WIRE_FAULTS

    def __init__(self, node: Node, waits: bool = False, spares: bool = False) -> None:
        self._node, self._clock, self._waits, self._spares = node, FastClock(SPEED), waits, spares
        self._base = 0
        self._full, self._turn = False, 0
        self._sent: dict[str, Transaction] = {}
        self._mined: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self._mining = threading.Lock()

    @property
    def clock(self) -> FastClock:
        return self._clock

    async def start(self) -> None:
        self._node("evm_setAutomine", not self._waits)
        self._mine()
        self._base = self._node.head()
        self._taken, self._filter = set[str](), self._node("eth_newPendingTransactionFilter")
        self._aside = ProxyAside(self._node.url, self._go_on, BLOCK_S / SPEED)
        self._aside.start()
        await self.clear()

    def _mine(self, blocks: int = 1) -> None:
        with self._mining:
            self._node("evm_setTime", self._clock.true_ms() // 1000)
            if self._full:
                self._node("evm_setBlockGasLimit", hex(LIMIT))
            self._node.mine(blocks)
            if self._full:
                self._node("evm_setBlockGasLimit", hex(FULL))

    def _go_on(self) -> None:
        """The next block. While orders wait it comes at once only for somebody whom it has room for: each change of its
        limit is a moment in which the node shows another pool."""
        self._turn += 1
        waiting = [*self._node.waiting(), *self._node.waiting("second")] if self._full else []
        soon = not waiting or any(int(tx["gas"], 16) <= LIMIT for tx in waiting)
        if soon or self._turn % SELDOM == 0:
            self._mine()

    async def stop(self) -> None:
        self._aside.stop()
        self._node("evm_setAutomine", True)

    def adapter(self) -> VenueAdapter:
        return weth.adapter()

    def context(self, account: str = "main", secrets: Mapping[str, str] | None = None) -> Context:
        config = {
            "rpc": self._aside.proxy.url,
            "confirmations": CONFIRMATIONS,
            "address": ADDRESSES[account],
            "poll_ms": 50,
            "timeout_s": TIMEOUT_S / SPEED,
        }
        found = {"key": KEYS[account]} if secrets is None else secrets
        return Context(account, config, clock=self._clock.now_ms, sleep=self._clock.sleep, secrets=found)

    def wrong_secrets(self) -> Mapping[str, str]:
        return {"key": "0x" + "77" * 32}

    def resting(self, steps: int = 1) -> Spec:
        self._full = self._waits
        return weth.order(steps)

    def crossing(self, steps: int = 1) -> Spec:
        self._full = False
        return weth.order(steps)

    async def truth(self, account: str = "main") -> Sequence[TruthOrder]:
        node = self._node
        pool = sorted(node.waiting(account, ("pending",)), key=lambda tx: int(tx["nonce"], 16))
        while self._base < node.head():
            self._base += 1
            block = node("eth_getBlockByNumber", hex(self._base), True)
            self._mined += [(tx, node("eth_getTransactionReceipt", tx["hash"])) for tx in block["transactions"]]
        rows = [row for row in self._mined if row[0]["from"].lower() == ADDRESSES[account].lower()]
        known = {tx["hash"] for tx, _ in rows} | {tx["hash"] for tx in pool}
        waits = [tx for tx in pool if tx["hash"] not in {row["hash"] for row, _ in rows}]
        found = [_truth(tx, receipt) for tx, receipt in [*rows, *((tx, None) for tx in waits)]]
        # What waited and was replaced is in no block: the node told that it took it, and the wire what it was.
        self._taken |= set(node("eth_getFilterChanges", self._filter))
        replaced = {int(tx["nonce"], 16) for tx in pool}
        used = int(node("eth_getTransactionCount", ADDRESSES[account], "latest"), 16)
        for tx_hash in sorted(self._taken & self._sent.keys() - known):
            tx = self._sent[tx_hash]
            if tx.sender == ADDRESSES[account] and (tx.unsigned.nonce < used or tx.unsigned.nonce in replaced):
                found.append(_truth(_told(tx), None, live=False))
        return tuple(each for each in found if each is not None)

    async def changes(self) -> int:
        return self._aside.ask(lambda: self._aside.proxy.counts(rpc=SEND).forwarded)

    async def requests(self) -> int:
        await self._clock.sleep(0.1)  # what was on its way has arrived
        return self._aside.ask(lambda: self._aside.proxy.counts().forwarded)

    async def inject(self, fault: Fault, *, times: int = 1, ms: int = 0, after: int = 0) -> None:
        if fault in READ_FAULTS:  # what a session has read of a block it asks again only in the next one
            self._aside.ask(self._mine)
        spares = b"eth_feeHistory" if self._spares else b""
        self._aside.inject(fault, times=times, ms=ms, after=after, pace=SPEED, spares=spares)

    async def clear(self) -> None:
        def anew() -> None:
            self._aside.proxy.clear()
            self._aside.proxy.delay(0, rpc=SEND, times=None, request_body=self._note)

        self._aside.ask(anew)

    def _note(self, body: bytes) -> bool:
        tx = decode(bytes.fromhex(json.loads(body)["params"][0][2:]))
        self._sent[tx.hash] = tx
        return False

    async def outage(self, ms: int) -> None:
        self._aside.outage(ms / 1000 / SPEED)

    async def settle(self) -> None:
        self._aside.ask(lambda: self._mine(CONFIRMATIONS + 2))
        await self._clock.sleep(0.5)  # until a session that follows the chain has seen it

    async def restart(self) -> None:
        self._aside.outage(0)

    async def leap(self, ms: int) -> None:
        self._clock.leapt += ms
        self._aside.ask(self._mine)

    async def skew(self, ms: int) -> None:
        self._clock.skew += ms


def _told(tx: Transaction) -> dict[str, Any]:
    """As a node tells it."""
    plain = tx.unsigned
    data, value = "0x" + plain.data.hex(), hex(plain.value)
    return {"hash": tx.hash, "nonce": hex(plain.nonce), "input": data, "value": value}


def _truth(tx: dict[str, Any], receipt: dict[str, Any] | None, live: bool = True) -> TruthOrder | None:
    deposit, withdraw = tx["input"].startswith("0xd0e30db0"), tx["input"].startswith("0x2e1a7d4d")
    if not deposit and not withdraw:
        return None
    amount = Decimal(int(tx["value"], 16) if deposit else int(tx["input"][10:74], 16)).scaleb(-18)
    done = amount if receipt is not None and receipt["status"] == "0x1" else Decimal(0)
    ids = (VenueId("slot", str(int(tx["nonce"], 16))), VenueId("tx", tx["hash"].lower()))
    side = "BUY" if deposit else "SELL"
    return TruthOrder(ids, weth.SYMBOL, side, amount, done, done, live and receipt is None, Decimal(1))
