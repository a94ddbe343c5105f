"""A chain of our own for these tests: Anvil, with WETH9 and Multicall3 at their mainnet addresses."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path
from typing import Any

from eth_account import Account

from exchange_kernel.clock import SystemClock
from exchange_kernel_evm.chains import CHAINS, MULTICALL3

WETH = CHAINS[1].wrapped
KEYS = {"main": "0x" + "5d0c7e" * 10 + "0001", "second": "0x" + "91f2b4" * 10 + "0002"}
ADDRESSES = {name: Account.from_key(key).address for name, key in KEYS.items()}
RICH = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
CONFIRMATIONS = 2
LOOKS = 100


def _address(account: str) -> str:
    return ADDRESSES.get(account, account)


class Node:
    """Anvil, asked past the adapter. ``account``: a name of :data:`ADDRESSES`, or an address."""

    def __init__(self, url: str, ws_url: str = "") -> None:
        self.url, self.ws_url = url, ws_url

    def __call__(self, method: str, *params: Any) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        ask = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(ask, timeout=30) as reply:
            answer = json.loads(reply.read())
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        return answer["result"]

    def mine(self, blocks: int = 1) -> None:
        self("anvil_mine", hex(blocks))

    def head(self) -> int:
        return int(self("eth_blockNumber"), 16)

    def calm(self) -> None:
        """Wait until what was sent is mined: a node that mines by itself answers the sender first. Where it does not
        mine by itself nothing is waited for long."""
        for _ in range(LOOKS):
            if int(self("txpool_status")["pending"], 16) == 0:
                return
        if self("anvil_getAutomine"):
            self.mine()  # on a busy machine anvil sometimes leaves a transaction until something else happens

    def nonce(self, account: str = "main", block: str = "latest") -> int:
        self.calm()
        return int(self("eth_getTransactionCount", _address(account), block), 16)

    def balance(self, account: str = "main") -> int:
        self.calm()
        return int(self("eth_getBalance", _address(account), "latest"), 16)

    def weth(self, account: str = "main") -> int:
        data = "0x70a08231" + _address(account)[2:].lower().rjust(64, "0")
        return int(self("eth_call", {"to": WETH, "data": data}, "latest"), 16)

    def sent_by(self, account: str = "main", since: int = 0) -> list[dict[str, Any]]:
        """The account's transactions in blocks, oldest first."""
        rows = []
        for height in range(since + 1, self.head() + 1):
            block = self("eth_getBlockByNumber", hex(height), True)
            rows += [tx for tx in block["transactions"] if tx["from"].lower() == _address(account).lower()]
        return rows

    def waiting(self, account: str = "main", parts: tuple[str, ...] = ("pending", "queued")) -> list[dict[str, Any]]:
        """Its transactions in the pool; queued are those behind a gap."""
        pool = self("txpool_content")
        rows = [pool[part].get(_address(account).lower()) or {} for part in parts]
        return [tx for part in rows for tx in part.values()]

    def revert(self, snapshot: str) -> None:
        """Back to a snapshot, with an empty pool and the machine's time: anvil goes on from the snapshot's."""
        self("anvil_dropAllTransactions")
        assert self("evm_revert", snapshot)
        head = int(self("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
        self("evm_setTime", max(SystemClock().now_ms() // 1000, head + 1))

    def reorganise(self, snapshot: str, blocks: int) -> None:
        """Other blocks of the same number instead of those since the snapshot; what was in them is gone."""
        self.revert(snapshot)
        self("evm_increaseTime", 1)
        self.mine(blocks)


def etch(node: Node, address: str, creation: str) -> None:
    """Put a contract at an address, its constructor run there."""
    node("anvil_setCode", address, creation)
    runtime = node("eth_call", {"from": RICH, "to": address, "data": "0x"}, "latest")
    node("eth_sendTransaction", {"from": RICH, "to": address, "data": "0x", "gas": hex(5_000_000)})
    node.mine()
    node("anvil_setCode", address, runtime)


def furnish(node: Node, packages: Path) -> None:
    """WETH9, Multicall3, and money for the accounts."""
    weth = json.loads((packages / "canonical-weth/build/contracts/WETH9.json").read_text("utf-8"))["bytecode"]
    source = (packages / "viem/constants/contracts.ts").read_text("utf-8")
    found = re.search(r"multicall3Bytecode =\s*'(0x[0-9a-f]+)'", source)
    assert found is not None
    etch(node, WETH, weth)
    etch(node, MULTICALL3, found.group(1))
    for address in ADDRESSES.values():
        node("anvil_setBalance", address, hex(10**24))
