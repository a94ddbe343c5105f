"""How the conformance kit reaches Uniswap: a chain of its own, real time, and the fault proxy before its node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from decimal import Decimal
from typing import Any, Final

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from exchange_kernel.schema import Side, TimeInForce
from exchange_kernel.testing.conformance import Fault, Harness, TruthOrder
from exchange_kernel.value import revised
from exchange_kernel.venue import Context, Spec, VenueAdapter, VenueId
from exchange_kernel_evm.abi import Event
from exchange_kernel_evm.lookups import unsigned_of
from exchange_kernel_evm.testing import Chain, Rpc, calldata
from exchange_kernel_evm.testing.aside import ProxyAside
from exchange_kernel_evm.testing.pace import FastClock
from exchange_kernel_evm.testing.wire_faults import READ_FAULTS, SEND, WIRE_FAULTS
from exchange_kernel_evm.tokens import net_transfers
from exchange_kernel_uniswap.adapter import UniswapAdapter
from exchange_kernel_uniswap.calldata import Sent, sent_by
from exchange_kernel_uniswap.config import Setup, known_router
from exchange_kernel_uniswap.deployment import MAINNET, Deployment
from exchange_kernel_uniswap.range_terms import terms_minted
from exchange_kernel_uniswap.receipts import INCREASE
from exchange_kernel_uniswap.testing import DECIMALS, TOKENS, UNIVERSAL_ROUTER_2_1, UniswapStack, uniswap_stack
from exchange_kernel_uniswap.withdrawals import DECREASED

__all__ = ["MARKET", "UniswapHarness"]

CONFIRMATIONS: Final = 2
BLOCK_S, TIMEOUT_S, WAIT_S = 1.0, 6.0, 20
SPEED: Final = 4
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
_ROUTER_2_1 = to_checksum_address(UNIVERSAL_ROUTER_2_1)
_ONCE: Final[Mapping[str, Any]] = {
    "universal_router": _ROUTER_2_1,
    "universal_router_version": "2.1",
    "dedupe": "onchain",
}
_EVERYTHING = 2**256 - 1
_STEP, _BELOW = Decimal("0.01"), Decimal(2500)
"""What is bought, and a price far below the market, at which it rests."""
_ROUNDS = "a pool rounds in its own favour: the smallest unit of a token is gone with each position"
_PAYS = "what rests is in the pool: exactly what its step can cost, which is less than the amount at its limit"
_DEVIATIONS: Final = {"BAL-01": _ROUNDS, "BAL-02": _PAYS}
Transaction = tuple[dict[str, Any], dict[str, Any] | None]


class UniswapHarness(Harness):
    """``stack``: a chain that is shared, and put back as it was; without one every case has its own. ``speed``: seconds
    of the harness' clock in one of the machine's. ``once``: the router itself executes each order once."""

    deviations = _DEVIATIONS
    venue, kind, symbol = "uniswap", "dex", "WETH/USDC"
    secrets: Mapping[str, str] = {"key": "0x" + bytes(ACCOUNTS["main"].key).hex()}
    faults = WIRE_FAULTS

    def __init__(self, stack: UniswapStack | None = None, speed: int = SPEED, *, once: bool = False) -> None:
        self._stack, self._clock = stack, FastClock(speed)
        self._more = _ONCE if once else {}
        self._running = ExitStack()
        self._base = 0
        self._setup = Setup.of(MARKET, known_router(MAINNET, _ROUTER_2_1, "2.1") if once else MAINNET)
        self._chain: Chain
        self._aside: ProxyAside

    @property
    def clock(self) -> FastClock:
        return self._clock

    async def start(self) -> None:
        stack = self._stack or self._running.enter_context(uniswap_stack())
        self._chain = chain = stack.chain
        self._running.enter_context(chain.isolated())
        self._mine_at(chain)
        for account in ACCOUNTS.values():
            chain.set_balance(account.address, 10**24)
            for token, units in _RICH.items():
                chain.rpc("anvil_dealERC20", account.address, TOKENS[token], hex(units))
                for spender in (MAINNET.swap_router, MAINNET.v3_positions):
                    approval = calldata("approve(address,uint256)", spender, _EVERYTHING)
                    chain.transact(account.address, TOKENS[token], approval)
                if self._more:
                    approval = calldata("approve(address,uint256)", MAINNET.permit2, _EVERYTHING)
                    chain.transact(account.address, TOKENS[token], approval)
                    inside = (TOKENS[token], _ROUTER_2_1, 2**160 - 1, 2**48 - 1)
                    approval = calldata("approve(address,address,uint160,uint48)", *inside)
                    chain.transact(account.address, MAINNET.permit2, approval)
        self._base = chain.head
        # The miner's thread has a connection of its own.
        aside = Chain(Rpc(stack.node.url))
        self._running.callback(aside.rpc.close)
        self._aside = ProxyAside(stack.node.url, lambda: self._mine_at(aside), BLOCK_S / self._clock.speed)
        self._aside.start()
        self._running.callback(self._aside.stop)

    def _mine_at(self, chain: Chain, blocks: int = 1) -> None:
        chain.rpc("evm_setTime", self._clock.true_ms() // 1000)
        chain.rpc("anvil_mine", hex(blocks))

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
            "timeout_s": TIMEOUT_S / self._clock.speed,
            "wait_s": WAIT_S,
            **MARKET,
            **self._more,
        }
        found = {"key": "0x" + bytes(ACCOUNTS[account].key).hex()} if secrets is None else secrets
        return Context(account, config, clock=self._clock.now_ms, sleep=self._clock.sleep, secrets=found)

    def wrong_secrets(self) -> Mapping[str, str]:
        return {"key": "0x" + "77" * 32}

    def resting(self, steps: int = 1) -> Spec:
        return self.near(Spec(self.symbol, Side.BUY, _STEP * steps, limit=_BELOW, post_only=True))

    def near(self, spec: Spec) -> Spec:
        if not spec.post_only or spec.limit is None:
            return spec
        market = self._setup.market(self.symbol)
        below, above = market.scale.edges(spec.limit, spec.side, market.makers[0].spacing)
        edge = below or above
        assert edge is not None
        return revised(spec, limit=edge[0])

    def crossing(self, steps: int = 1) -> Spec:
        return Spec(self.symbol, Side.BUY, _STEP * steps, limit=Decimal(3300), tif=TimeInForce.FOK)

    # what the chain says ----------------------------------------------------------------------------------------

    async def truth(self, account: str = "main") -> Sequence[TruthOrder]:
        address, chain = ACCOUNTS[account].address, self._chain
        pool = chain.rpc("txpool_content")  # first: what a block takes meanwhile is in one of the two
        waiting = (pool["pending"].get(address.lower()) or {}).values()  # what waits behind a gap is not there yet
        rows: list[Transaction] = []
        for height in range(self._base + 1, chain.head + 1):
            block = chain.rpc("eth_getBlockByNumber", hex(height), True)
            own = (tx for tx in block["transactions"] if tx["from"].lower() == address.lower())
            rows += [(tx, chain.rpc("eth_getTransactionReceipt", tx["hash"])) for tx in own]
        done = {tx["hash"] for tx, _ in rows}
        rows += [(tx, None) for tx in sorted(waiting, key=lambda tx: int(tx["nonce"], 16)) if tx["hash"] not in done]
        return tuple(each for each in self.orders(rows, address) if each is not None)

    def orders(self, rows: Sequence[Transaction], address: str) -> Iterable[TruthOrder | None]:
        """What each transaction ordered and came to; ``rows``: with their receipts, None where they wait."""
        ended = [receipt for _, receipt in rows if receipt is not None and receipt["status"] == "0x1"]
        ends = {_position(receipt["logs"], DECREASED): receipt for receipt in ended}
        for row in rows:
            swap = _truth(*row, address, self._setup.at)
            yield swap if swap is not None else self._rests(*row, ends, address)

    def _rests(
        self,
        tx: dict[str, Any],
        receipt: dict[str, Any] | None,
        ends: Mapping[int | None, dict[str, Any]],
        address: str,
    ) -> TruthOrder | None:
        """It lives until a transaction takes its liquidity out; what it bought is what that one transferred."""
        terms = terms_minted(unsigned_of(tx), self._setup, address)
        if terms is None:
            return None
        made = None if receipt is None else _position(receipt["logs"], INCREASE)
        end = None if made is None else ends.get(made)
        bought = 0 if end is None else net_transfers(end["logs"], address).get(TOKENS["WETH"], 0)
        ids = (VenueId("slot", str(int(tx["nonce"], 16))), VenueId("tx", tx["hash"].lower()))
        live = receipt is None or (made is not None and end is None)
        base = Decimal(bought).scaleb(-18)
        return TruthOrder(ids, terms.symbol, terms.side, terms.amount, base, Decimal(0), live, terms.price)

    async def changes(self) -> int:
        return self._aside.ask(lambda: self._aside.proxy.counts(rpc=SEND).forwarded)

    async def requests(self) -> int:
        return self._aside.ask(lambda: self._aside.proxy.counts().forwarded)

    # what can go wrong ------------------------------------------------------------------------------------------

    async def inject(self, fault: Fault, *, times: int = 1, ms: int = 0, after: int = 0) -> None:
        if fault in READ_FAULTS:  # what a session has read of a block it asks again only in the next one
            self._mine_at(self._chain)
        self._aside.inject(fault, times=times, ms=ms, after=after, pace=self._clock.speed)

    async def clear(self) -> None:
        self._aside.ask(self._aside.proxy.clear)

    async def outage(self, ms: int) -> None:
        self._aside.outage(ms / 1000 / self._clock.speed)

    async def settle(self) -> None:
        self._mine_at(self._chain, CONFIRMATIONS + 2)
        await self._clock.sleep(1)  # until a session that follows the chain has seen it

    async def skew(self, ms: int) -> None:
        self._clock.skew += ms


def _truth(tx: dict[str, Any], receipt: dict[str, Any] | None, address: str, at: Deployment) -> TruthOrder | None:
    """One transaction, if it orders a swap of WETH and USDC; amounts from its Transfer logs."""
    sent = sent_by(at, tx["to"] or "", bytes.fromhex(tx["input"][2:]))
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


def _position(logs: Sequence[dict[str, Any]], event: Event) -> int | None:
    own = (log for log in logs if log["address"].lower() == MAINNET.v3_positions.lower())
    return next((found[0] for log in own if (found := event.read(log)) is not None), None)
