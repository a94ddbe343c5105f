"""What an order costs on its way to calldata, in gas beside the plainest call, and to quote.

uv run python -m benchmarks.uniswap_encode [ROUNDS]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from decimal import Decimal
from statistics import median

from exchange_kernel.schema import AmountType, Side
from exchange_kernel.venue import Spec
from exchange_kernel_evm.abi import Function
from exchange_kernel_evm.tokens import APPROVE, PERMIT2_APPROVE
from exchange_kernel_uniswap.config import Market, Setup
from exchange_kernel_uniswap.orders import limited_draft, range_of, swap_draft
from exchange_kernel_uniswap.quotes import quote_read
from exchange_kernel_uniswap.range_orders import mint_draft
from exchange_kernel_uniswap.routes import Route
from exchange_kernel_uniswap.swaps import Swap, swap_of
from exchange_kernel_uniswap.testing import uniswap_stack
from plugins.uniswap.tests.ground import EVERYTHING, FAR, SYMBOLS, Node, Trader, setup
from plugins.uniswap.tests.pools_made import make_pools

ENCODE_LIMIT_MS = 0.3
GAS_LIMIT = Decimal("1.06")
QUOTES = 100
ME = "0x" + "11" * 20
BUY = Spec("WETH/USDC", Side.BUY, Decimal(3000), AmountType.QUOTE, limit=Decimal(3300))
POST = Spec("WETH/USDC", Side.SELL, Decimal(1), limit=Decimal("3001.90480305"), post_only=True)
_DIRECT = Function.of("exactInputSingle", ("(address,address,uint24,address,uint256,uint256,uint160)",))


def main(rounds: int = 2000) -> int:
    good = [_encoding(rounds), _on_chain()]
    return 0 if all(good) else 1


def _encoding(rounds: int) -> bool:
    """From the order itself: amounts, guard, calldata."""
    known = setup(symbols=["WETH/USDC", "WBTC/USDT", "ETH/USDC"])
    market = known.market("WETH/USDC")
    far = known.market("WBTC/USDT")
    long = next(route for route in far.buys if len(route.pools) == 3)
    eth = known.market("ETH/USDC")
    v2, v3, v4 = (
        next(route for route in m.buys if route.version == v) for m, v in ((market, "v2"), (market, "v3"), (eth, "v4"))
    )
    kinds: dict[str, Callable[[], object]] = {
        "v2 by the Universal Router": lambda: swap_draft(known.at, v2, _swap(market, BUY), ME, FAR),
        "v3 by the Universal Router": lambda: swap_draft(known.at, v3, _swap(market, BUY), ME, FAR),
        "v4 by the Universal Router": lambda: swap_draft(known.at, v4, _swap(eth, BUY), ME, FAR),
        "v3, three hops": lambda: swap_draft(known.at, long, _swap(far, BUY), ME, FAR),
        "v3 by SwapRouter02": lambda: swap_draft(known.at, v3, _swap(market, BUY), ME, FAR, universal=False),
        "v3, price limit (IOC)": lambda: limited_draft(known.at, market, v3, _swap(market, BUY), ME, FAR),
        "range order": lambda: mint_draft(known.at, range_of(POST, market), ME, FAR),
    }
    good = True
    for name, build in kinds.items():
        taken: list[float] = []
        for _ in range(rounds):
            began = time.perf_counter()
            build()
            taken.append((time.perf_counter() - began) * 1000)
        good = good and median(taken) <= ENCODE_LIMIT_MS
        print(f"{name}: median {median(taken):.3f} ms")
    print(f"all within {ENCODE_LIMIT_MS} ms: {'yes' if good else 'NO'}")
    return good


def _swap(market: Market, spec: Spec) -> Swap:
    return swap_of(spec, market.base, market.quote)


def _on_chain() -> bool:
    known = setup(symbols=SYMBOLS)
    with uniswap_stack() as stack:
        node = Node(stack.node.url)
        make_pools(node)
        trader = Trader(node, stack.trader)
        return all([_gas(trader, known), _quotes(trader, known)])


def _gas(trader: Trader, known: Setup) -> bool:
    """One hop of the v3 pool of 0.05 %, USDC to WETH, each from the same state, everything allowed."""
    market = known.market("WETH/USDC")
    route = next(route for route in market.buys if route.version == "v3" and route.pools[0].fee == 500)
    swap = _swap(market, BUY)
    drafts = {
        "Universal Router": swap_draft(known.at, route, swap, trader.address, FAR),
        "SwapRouter02, with deadline": swap_draft(known.at, route, swap, trader.address, FAR, universal=False),
    }
    for draft in drafts.values():
        trader.allow(draft)
    # Allowances without an end are not written down again by each swap: only the routers themselves differ.
    trader.send(market.quote.address, APPROVE.call(known.at.swap_router, EVERYTHING))
    endless = (market.quote.address, known.at.universal_router, 2**160 - 1, FAR)
    trader.send(known.at.permit2, PERMIT2_APPROVE.call(*endless))
    for draft in drafts.values():
        assert trader.send(draft.to, draft.data)[0].ok
    single = (route.path[0], route.path[1], 500, trader.address, swap.amount, swap.bound, 0)
    calls = {"direct exactInputSingle": (known.at.swap_router, _DIRECT.call(single))}
    calls |= {name: (draft.to, draft.data) for name, draft in drafts.items()}
    used = {}
    for name, (to, data) in calls.items():
        mark = trader.node("evm_snapshot")
        mined, receipt = trader.send(to, data)
        assert mined.ok
        used[name] = int(receipt["gasUsed"], 16)
        trader.node("evm_revert", mark)
    plain = used["direct exactInputSingle"]
    for name, gas in used.items():
        print(f"gas, {name}: {gas} ({Decimal(gas) / plain - 1:+.1%})")
    good = all(Decimal(gas) / plain <= GAS_LIMIT for gas in used.values())
    print(f"within {GAS_LIMIT - 1:.0%} of the direct call: {'yes' if good else 'NO'}")
    return good


def _quotes(trader: Trader, known: Setup) -> bool:
    """A hundred different routes, all releases, in one request."""
    asked: list[tuple[Route, int]] = []
    for market in known.markets.values():
        swap = _swap(market, Spec(market.symbol, Side.SELL, Decimal("0.1"), limit=Decimal("1E-6")))
        asked.extend((route, swap.amount) for route in market.sells)
    for market in known.markets.values():
        swap = _swap(market, Spec(market.symbol, Side.BUY, Decimal("0.1"), AmountType.QUOTE, limit=Decimal("1E6")))
        asked.extend((route, swap.amount) for route in market.buys)
    different = list(dict.fromkeys(asked))[:QUOTES]
    reads = [quote_read(known.at, route, True, amount) for route, amount in different]
    taken: list[float] = []
    for _ in range(10):
        began = time.perf_counter()
        results = trader.read(reads)
        taken.append((time.perf_counter() - began) * 1000)
    answered = sum(result.values is not None for result in results)
    print(f"{len(reads)} routes quoted in one request: median {median(taken):.1f} ms, {answered} answered")
    return len(reads) == QUOTES and answered > 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
