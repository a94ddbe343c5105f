"""What a swap costs through the whole product, on a local fork: questions to the node, and time to build and sign.

uv run python -m benchmarks.uniswap [ROUNDS]

Gas beside the plainest call, and a hundred quotes in one request: `benchmarks.uniswap_encode`.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from statistics import median

from exchange_kernel.clock import SystemClock
from exchange_kernel.models import IntentStatus
from exchange_kernel.schema import AmountType, Side, StandardOrder, TimeInForce
from exchange_kernel.venue import Context, Place, Prep, Slot, Spec, Ticket
from exchange_kernel_evm.rpc import Rpc
from exchange_kernel_uniswap.adapter import UniswapAdapter
from exchange_kernel_uniswap.testing import uniswap_stack
from plugins.uniswap.tests.desk import ACCOUNT, Desk
from plugins.uniswap.tests.ground import Node, Trader, setup
from plugins.uniswap.tests.pools_made import enrich, make_pools

BUILD_LIMIT_MS = 1.0
AT_ONCE = (0, 1, 5, 20)
BLOCKS = 12
QUOTE, BROADCAST = "eth_call", "eth_sendRawTransaction"
RECEIPT, POOL = "eth_getTransactionReceipt", "eth_getTransactionByHash"
CLOCK = SystemClock()


def main(rounds: int = 500) -> int:
    with uniswap_stack() as stack, tempfile.TemporaryDirectory() as folder:
        node = Node(stack.node.url)
        make_pools(node)
        trader = Trader(node)
        enrich(node, trader.address, setup(), 8_000_000)
        found: dict[int, Counter[str]] = {}
        for swaps in AT_ONCE:
            place = Path(folder) / str(swaps)
            place.mkdir()
            desk = Desk(node, trader, place, allow_ahead={"WETH": "1000"})
            os.environ.update(desk.environment)
            found[swaps] = asyncio.run(_counted(desk, swaps))
        good = _told(found)
        return 0 if all([good, asyncio.run(_built(desk, rounds))]) else 1


async def _counted(desk: Desk, swaps: int) -> Counter[str]:
    """Questions by method over BLOCKS blocks, at whose beginning so many swaps were declared; everything warm."""
    counts: list[Counter[str]] = []
    inner = Rpc.__init__

    def noted(self: Rpc, *given: object, **named: object) -> None:
        inner(self, *given, **named)  # type: ignore[arg-type]
        counts.append(self.counts)

    Rpc.__init__ = noted  # type: ignore[method-assign]
    try:
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            await kernel.place_order(_order(), "warm")
            await desk.reaches(kernel, "warm", IntentStatus.FILLED)
            await desk.passes(4)
            desk.node("evm_setAutomine", False)
            before = sum(counts, Counter[str]())
            for n in range(swaps):
                await kernel.place_order(_order(), str(n))
            await desk.passes(BLOCKS)
            after = sum(counts, Counter[str]())
            states = [(await kernel.get_order_state(str(n))).status for n in range(swaps)]
            assert states == [IntentStatus.FILLED] * swaps, states
            return after - before
    finally:
        Rpc.__init__ = inner  # type: ignore[method-assign]
        desk.node("evm_setAutomine", True)


def _told(found: dict[int, Counter[str]]) -> bool:
    idle = found[0]
    print(f"over {BLOCKS} blocks with nothing to do: {sum(idle.values())} questions, {dict(idle)}")
    print("swaps at once | more questions a swap | quote | broadcast | receipt | pool | the rest")
    for swaps, counts in found.items():
        if not swaps:
            continue
        more = {name: (counts[name] - idle[name]) / swaps for name in counts}
        quote, sent = more.get(QUOTE, 0), more.get(BROADCAST, 0)
        receipt, pool = more.get(RECEIPT, 0), more.get(POOL, 0)
        whole = sum(more.values())
        rest = whole - quote - sent - receipt - pool
        print(f"{swaps:13} | {whole:21.1f} | {quote:5.1f} | {sent:9.1f} | {receipt:7.1f} | {pool:4.1f} | {rest:.1f}")
    good = all((found[n][QUOTE] - idle[QUOTE]) / n <= 1 and found[n][BROADCAST] == n for n in AT_ONCE if n)
    good = good and all(found[n][RECEIPT] <= n for n in AT_ONCE if n)
    print(f"at most one quote, one broadcast and one receipt a swap: {'yes' if good else 'NO'}")
    return good


async def _built(desk: Desk, rounds: int) -> bool:
    """From the order to a signed transaction, with what the block says in hand."""
    adapter = UniswapAdapter()
    secret = next(iter(desk.environment.values()))
    settings = {**desk.settings, "poll_ms": 10_000}
    opened = await adapter.open(Context("desk", settings, CLOCK.now_ms, CLOCK.sleep, {"key": secret}))
    try:
        spec = Spec("WETH/USDC", Side.SELL, Decimal("0.01"), tif=TimeInForce.FOK, limit=Decimal(2000))
        exact = adapter.check(spec).spec
        numbers = iter(range(opened.scopes[0].floor, 10**9))
        taken: list[float] = []
        asked: Counter[str] = Counter()
        for n in range(rounds):
            key = n.to_bytes(16, "big")
            now = CLOCK.now_ms()
            prep = Prep(now, now + 60_000, lambda scope: Slot(scope, next(numbers)))
            before = Counter(adapter._rpc.counts)
            began = time.perf_counter()
            ticket = await adapter.prepare(Place(key, exact), prep)
            spent = (time.perf_counter() - began) * 1000
            assert isinstance(ticket, Ticket), ticket
            if n:  # the first one asks
                taken.append(spent)
                asked += Counter(adapter._rpc.counts) - before
        print(f"build and sign: median {median(taken):.2f} ms, {sum(asked.values())} questions in {len(taken)} of them")
        good = median(taken) <= BUILD_LIMIT_MS
        print(f"within {BUILD_LIMIT_MS} ms: {'yes' if good else 'NO'}")
        return good
    finally:
        await adapter.close()


def _order() -> StandardOrder:
    amount, slip = Decimal("0.01"), Decimal("0.01")
    return StandardOrder(
        "WETH/USDC", Side.SELL, amount, AmountType.BASE, max_slippage=slip, time_in_force=TimeInForce.FOK
    )


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
