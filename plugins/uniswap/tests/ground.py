"""A trader on the test chain: sends drafts as signed transactions, and reads what they really did."""

from __future__ import annotations

import itertools
import json
import urllib.request
from collections.abc import Sequence
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount

from exchange_kernel.clock import SystemClock
from exchange_kernel_evm.abi import Function
from exchange_kernel_evm.finality import Mined
from exchange_kernel_evm.multicall import Read, Result, read_results, request
from exchange_kernel_evm.tokens import ALLOWANCE, APPROVE, BALANCE_OF, PERMIT2_APPROVE
from exchange_kernel_uniswap.addresses import NATIVE
from exchange_kernel_uniswap.config import Setup
from exchange_kernel_uniswap.deployment import MAINNET
from exchange_kernel_uniswap.drafts import Draft
from exchange_kernel_uniswap.quotes import Moment

MULTICALL3 = "0xcA11bde05977b3631167028862bE2a173976CA11"
TOKENS = {
    "WETH": {"address": "0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2", "decimals": 18},
    "USDC": {"address": "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48", "decimals": 6},
    "USDT": {"address": "0xdAC17F958D2ee523a2206206994597C13D831ec7", "decimals": 6},
    "DAI": {"address": "0x6B175474E89094C44Da98b954EedeAC495271d0F", "decimals": 18},
    "WBTC": {"address": "0x2260FAC5E5542a773Aa44fBCfeDf7C193bc2C599", "decimals": 8},
    "ETH": "native",
}
POOLS = {
    "v3": [
        {"version": "v3", "tokens": ["WETH", "USDC"], "fee": 500},
        {"version": "v3", "tokens": ["WETH", "USDC"], "fee": 3000},
        {"version": "v3", "tokens": ["WBTC", "WETH"], "fee": 500},
        {"version": "v3", "tokens": ["WBTC", "WETH"], "fee": 3000},
        {"version": "v3", "tokens": ["DAI", "USDC"], "fee": 100},
        {"version": "v3", "tokens": ["USDC", "USDT"], "fee": 100},
        {"version": "v3", "tokens": ["WETH", "USDT"], "fee": 3000},
        {"version": "v3", "tokens": ["DAI", "WETH"], "fee": 10000},
    ],
    "v2": [
        {"version": "v2", "tokens": ["WETH", "USDC"]},
        {"version": "v2", "tokens": ["WETH", "DAI"]},
        {"version": "v2", "tokens": ["WBTC", "DAI"]},
    ],
    "v4": [
        {"version": "v4", "tokens": ["ETH", "USDC"], "fee": 500, "tick_spacing": 10},
        {"version": "v4", "tokens": ["WETH", "USDC"], "fee": 3000, "tick_spacing": 60},
        {"version": "v4", "tokens": ["USDC", "DAI"], "fee": 100, "tick_spacing": 1},
        {"version": "v4", "tokens": ["DAI", "WBTC"], "fee": 3000, "tick_spacing": 60},
    ],
}
SYMBOLS = [
    "WETH/USDC",
    "USDC/WETH",
    "ETH/USDC",
    "WBTC/WETH",
    "WBTC/USDC",
    "WETH/DAI",
    "DAI/USDC",
    "WBTC/DAI",
    "WBTC/USDT",
]
EVERYTHING = 2**256 - 1
FAR = 2**40


def configuration(*versions: str, symbols: Sequence[str] = ("WETH/USDC",)) -> dict[str, Any]:
    """An account's configuration with the pools of these releases."""
    pools = [pool for version in versions or POOLS for pool in POOLS[version]]
    return {"tokens": TOKENS, "pools": pools, "symbols": list(symbols)}


def setup(*versions: str, symbols: Sequence[str] = ("WETH/USDC",)) -> Setup:
    """The same, checked."""
    return Setup.of(configuration(*versions, symbols=symbols), MAINNET)


class Node:
    """JSON-RPC with nothing around it."""

    def __init__(self, url: str) -> None:
        self.url, self._ids = url, itertools.count(1)

    def __call__(self, method: str, *params: Any) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}).encode()
        asked = urllib.request.Request(self.url, body, {"content-type": "application/json"})
        with urllib.request.urlopen(asked, timeout=60) as reply:
            answer = json.load(reply)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def revert(self, mark: str) -> None:
        """Back to a snapshot, in the machine's time: anvil goes on from the snapshot's, and a kernel that takes long
        finds its newest block too old."""
        assert self("evm_revert", mark)
        head = int(self("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
        self("evm_setTime", max(SystemClock().now_ms() // 1000, head + 1))


class Trader:
    """One account. Every transaction is signed here and mined at once."""

    def __init__(self, node: Node, account: LocalAccount | None = None) -> None:
        self.node = node
        self.account: LocalAccount = account or Account.from_key("0x" + "a7" * 32)
        self.address: str = self.account.address

    def send(self, to: str, data: bytes, value: int = 0, gas: int = 3_000_000) -> tuple[Mined, dict[str, Any]]:
        """One transaction; the way back tells what became of it, failed or not."""
        return settled(self.node, self.broadcast(to, data, value, gas))

    def broadcast(
        self, to: str, data: bytes, value: int = 0, gas: int = 3_000_000, tip: int = 10**9, ahead: int = 0
    ) -> str:
        """The same, for whoever makes the blocks, behind so many that wait; its hash."""
        head = self.node("eth_getBlockByNumber", "latest", False)
        base = int(head["baseFeePerGas"], 16)
        fields = {
            "type": 2,
            "chainId": int(self.node("eth_chainId"), 16),
            "nonce": int(self.node("eth_getTransactionCount", self.address, "latest"), 16) + ahead,
            "to": to,
            "value": value,
            "data": data,
            "gas": gas,
            "maxPriorityFeePerGas": tip,
            "maxFeePerGas": 2 * base + tip,
        }
        signed = self.account.sign_transaction(fields)
        return str(self.node("eth_sendRawTransaction", "0x" + bytes(signed.raw_transaction).hex()))

    def swap(self, draft: Draft) -> tuple[Mined, dict[str, Any]]:
        """What a draft needs is allowed first, exactly; then it is sent."""
        self.allow(draft)
        return self.send(draft.to, draft.data, draft.value)

    def allow(self, draft: Draft) -> None:
        for need in draft.needs:
            spender = MAINNET.permit2 if need.permit2 else need.spender
            if self.view(need.token, ALLOWANCE, self.address, spender)[0] < need.units:
                self.send(need.token, APPROVE.call(spender, EVERYTHING))
            if need.permit2:
                self.send(MAINNET.permit2, PERMIT2_APPROVE.call(need.token, need.spender, need.units, FAR))

    def view(self, to: str, function: Function, *values: Any) -> tuple[Any, ...]:
        call = {"from": self.address, "to": to, "data": "0x" + function.call(*values).hex()}
        return function.result(bytes.fromhex(self.node("eth_call", call, "latest")[2:]))

    def balance(self, token: str) -> int:
        if token == NATIVE:
            return int(self.node("eth_getBalance", self.address, "latest"), 16)
        return int(self.view(token, BALANCE_OF, self.address)[0])

    def read(self, reads: Sequence[Read]) -> list[Result]:
        """All of them in one request."""
        method, params = request(MULTICALL3, reads, "latest")
        return read_results(self.node(method, *params), reads)

    def moment(self) -> Moment:
        head = self.node("eth_getBlockByNumber", "latest", False)
        return Moment(int(head["number"], 16), int(head["timestamp"], 16))


def settled(node: Node, tx: str) -> tuple[Mined, dict[str, Any]]:
    """The receipt, once there is one: blocks are mined at once, but not before the answer."""
    for _ in range(20_000):
        receipt = node("eth_getTransactionReceipt", tx)
        if receipt:
            break
    else:
        raise AssertionError(f"{tx} was not mined")
    gas = int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
    ok = int(receipt["status"], 16) == 1
    at = int(node("eth_getBlockByHash", receipt["blockHash"], False)["timestamp"], 16) * 1000
    return Mined(
        tx, int(receipt["blockNumber"], 16), receipt["blockHash"], at, ok, gas, tuple(receipt["logs"])
    ), receipt
