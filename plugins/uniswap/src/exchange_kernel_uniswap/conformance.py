"""How the conformance kit reaches Uniswap: a chain of its own, real time, and the fault proxy before its node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from decimal import Decimal
from typing import Any, Final

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak

from exchange_kernel.clock import SystemClock
from exchange_kernel.schema import Side, TimeInForce
from exchange_kernel.testing.conformance import Fault, Harness, TruthOrder
from exchange_kernel.venue import Context, Spec, VenueAdapter, VenueId
from exchange_kernel_evm.testing import Chain, Rpc, calldata
from exchange_kernel_evm.testing.aside import ProxyAside
from exchange_kernel_evm.testing.wire_faults import READ_FAULTS, SEND, WIRE_FAULTS
from exchange_kernel_evm.tokens import net_transfers
from exchange_kernel_uniswap.adapter import UniswapAdapter
from exchange_kernel_uniswap.calldata import Sent, sent_by
from exchange_kernel_uniswap.deployment import MAINNET
from exchange_kernel_uniswap.testing import DECIMALS, TOKENS, UniswapStack, uniswap_stack

__all__ = ["MARKET", "UniswapHarness"]

CONFIRMATIONS: Final = 2
BLOCK_S, TIMEOUT_S, WAIT_S = 1.0, 6.0, 20
ACCOUNTS: Final[Mapping[str, LocalAccount]] = {
    name: Account.from_key(keccak(text=f"exchange kernel: the account {name} of the conformance kit"))
    for name in ("main", "second")
}
_RICH = {"WETH": 1_000 * 10**18, "USDC": 3_000_000 * 10**6}
MARKET: Final[Mapping[str, Any]] = {
    "tokens": {name: {"address": TOKENS[name], "decimals": DECIMALS[name]} for name in _RICH},
    "pools": [{"version": "v3", "tokens": ["WETH", "USDC"], "fee": fee} for fee in (500, 3000)],
    "symbols": ["WETH/USDC"],
}
_EVERYTHING = 2**256 - 1
_STEP = Decimal("0.01")
_SWAP = "a swap is done in the block that takes it, or never: it does not rest, and there is nothing a cancel could end"
_NOT_MET = "a limit that is not met is refused with the price there is, unsigned: sent, it would pay gas to revert"
_RESTING: Final = (
    "LIFE-05",
    "LIFE-08",
    "LIFE-09",
    "IDEM-11",
    "IDEM-13",
    "CXL-01",
    "CXL-02",
    "CXL-06",
    "CXL-07",
    "FILL-05",
    "MOD-01",
    "MOD-04",
    "MOD-05",
    "MOD-06",
    "MOD-07",
    "RATE-01",
    "RATE-02",
    "RATE-04",
    "CHN-05",
    "CHN-06",
    "EVT-01",
    "BAL-01",
    "BAL-02",
    "BAL-05",
    "REC-01",
    "REC-02",
    "REC-04",
    "BAD-03",
    "BAD-06",
)
"""Cases that wait for an order to rest, change one that does, or end it."""
_DEVIATIONS: Final = dict.fromkeys(_RESTING, _SWAP) | {"PREC-05": _NOT_MET}


class SkewedClock(SystemClock):
    """The machine's clock, and what the local one is ahead of it."""

    skew = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.skew


class UniswapHarness(Harness):
    """``stack``: a chain that is shared, and put back as it was; without one every case has its own."""

    deviations = _DEVIATIONS
    venue, kind, symbol = "uniswap", "dex", "WETH/USDC"
    secrets: Mapping[str, str] = {"key": "0x" + bytes(ACCOUNTS["main"].key).hex()}
    faults = WIRE_FAULTS

    def __init__(self, stack: UniswapStack | None = None) -> None:
        self._stack, self._clock = stack, SkewedClock()
        self._running = ExitStack()
        self._base = 0
        self._chain: Chain
        self._aside: ProxyAside

    @property
    def clock(self) -> SkewedClock:
        return self._clock

    async def start(self) -> None:
        stack = self._stack or self._running.enter_context(uniswap_stack())
        self._chain = chain = stack.chain
        self._running.enter_context(chain.isolated())
        chain.rpc("evm_setTime", self._clock.now_ms() // 1000)
        for account in ACCOUNTS.values():
            chain.set_balance(account.address, 10**24)
            for token, units in _RICH.items():
                chain.rpc("anvil_dealERC20", account.address, TOKENS[token], hex(units))
                for spender in (MAINNET.swap_router, MAINNET.v3_positions):
                    approval = calldata("approve(address,uint256)", spender, _EVERYTHING)
                    chain.transact(account.address, TOKENS[token], approval)
        self._base = chain.head
        # The miner's thread has a connection of its own.
        aside = Chain(Rpc(stack.node.url))
        self._running.callback(aside.rpc.close)
        self._aside = ProxyAside(stack.node.url, lambda: aside.rpc("anvil_mine", "0x1"), BLOCK_S)
        self._aside.start()
        self._running.callback(self._aside.stop)

    async def stop(self) -> None:
        self._running.close()

    def adapter(self) -> VenueAdapter:
        return UniswapAdapter()

    def context(self, account: str = "main", secrets: Mapping[str, str] | None = None) -> Context:
        config = {
            "rpc": self._aside.proxy.url,
            "confirmations": CONFIRMATIONS,
            "address": ACCOUNTS[account].address,
            "poll_ms": 50,
            "timeout_s": TIMEOUT_S,
            "wait_s": WAIT_S,
            **MARKET,
        }
        found = {"key": "0x" + bytes(ACCOUNTS[account].key).hex()} if secrets is None else secrets
        return Context(account, config, clock=self._clock.now_ms, sleep=self._clock.sleep, secrets=found)

    def wrong_secrets(self) -> Mapping[str, str]:
        return {"key": "0x" + "77" * 32}

    def resting(self, steps: int = 1) -> Spec:
        return self.crossing(steps)

    def crossing(self, steps: int = 1) -> Spec:
        return Spec(self.symbol, Side.BUY, _STEP * steps, limit=Decimal(3300), tif=TimeInForce.FOK)

    # what the chain says ----------------------------------------------------------------------------------------

    async def truth(self, account: str = "main") -> Sequence[TruthOrder]:
        address, chain = ACCOUNTS[account].address, self._chain
        rows: list[tuple[dict[str, Any], dict[str, Any] | None]] = []
        for height in range(self._base + 1, chain.head + 1):
            block = chain.rpc("eth_getBlockByNumber", hex(height), True)
            own = (tx for tx in block["transactions"] if tx["from"].lower() == address.lower())
            rows += [(tx, chain.rpc("eth_getTransactionReceipt", tx["hash"])) for tx in own]
        pool = chain.rpc("txpool_content")
        waiting = (pool["pending"].get(address.lower()) or {}).values()  # what waits behind a gap is not there yet
        rows += [(tx, None) for tx in sorted(waiting, key=lambda tx: int(tx["nonce"], 16))]
        return tuple(each for each in self.orders(rows, address) if each is not None)

    def orders(
        self, rows: Sequence[tuple[dict[str, Any], dict[str, Any] | None]], address: str
    ) -> Iterable[TruthOrder | None]:
        """What each transaction ordered and came to; ``rows``: with their receipts, None where they wait."""
        return (_truth(tx, receipt, address) for tx, receipt in rows)

    async def changes(self) -> int:
        return self._aside.ask(lambda: self._aside.proxy.counts(rpc=SEND).forwarded)

    async def requests(self) -> int:
        return self._aside.ask(lambda: self._aside.proxy.counts().forwarded)

    # what can go wrong ------------------------------------------------------------------------------------------

    async def inject(self, fault: Fault, *, times: int = 1, ms: int = 0, after: int = 0) -> None:
        if fault in READ_FAULTS:  # what a session has read of a block it asks again only in the next one
            self._chain.mine()
        self._aside.inject(fault, times=times, ms=ms, after=after)

    async def clear(self) -> None:
        self._aside.ask(self._aside.proxy.clear)

    async def outage(self, ms: int) -> None:
        self._aside.outage(ms / 1000)

    async def settle(self) -> None:
        self._chain.rpc("anvil_mine", hex(CONFIRMATIONS + 2))
        await self._clock.sleep(0.3)  # until a session that follows the chain has seen it

    async def skew(self, ms: int) -> None:
        self._clock.skew += ms


def _truth(tx: dict[str, Any], receipt: dict[str, Any] | None, address: str) -> TruthOrder | None:
    """One transaction, if it orders a swap of WETH and USDC; amounts from its Transfer logs."""
    sent = sent_by(MAINNET, tx["to"] or "", bytes.fromhex(tx["input"][2:]))
    if sent is None:
        return None
    buys = sent.token_out == TOKENS["WETH"]
    ids = (VenueId("slot", str(int(tx["nonce"], 16))), VenueId("tx", tx["hash"].lower()))
    base = quote = Decimal(0)
    if receipt is not None and receipt["status"] == "0x1":
        net = net_transfers(receipt["logs"], address)
        base = _money("WETH", net.get(TOKENS["WETH"], 0))
        quote = _money("USDC", net.get(TOKENS["USDC"], 0))
    return TruthOrder(ids, "WETH/USDC", "BUY" if buys else "SELL", _wanted(sent), base, quote, receipt is None)


def _wanted(sent: Sent) -> Decimal:
    in_base = (sent.token_out == TOKENS["WETH"]) is not sent.exact_in
    return _money("WETH" if in_base else "USDC", sent.wanted)


def _money(token: str, units: int) -> Decimal:
    return Decimal(abs(units)).scaleb(-DECIMALS[token])
