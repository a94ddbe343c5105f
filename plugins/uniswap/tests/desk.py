"""A trading desk on the fork: a real platform and database, one account, and the chain's own word on what it did.

Whoever needs the venue at work begins here. ``Desk.platform`` opens the kernel, ``Desk.evidence`` remembers where the
chain stands and later says what the account really did since, without asking anything of ours.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from exchange_kernel import Platform
from exchange_kernel.base import ExchangeKernel
from exchange_kernel.config import load
from exchange_kernel.models import IntentStatus
from exchange_kernel.reconcile.session import Settings
from exchange_kernel.state.rows import Record
from exchange_kernel_evm.body import read_body
from exchange_kernel_evm.transactions import hash_of, key_of
from exchange_kernel_uniswap.addresses import NATIVE
from exchange_kernel_uniswap.config import Setup
from exchange_kernel_uniswap.deployment import MAINNET
from plugins.uniswap.tests.ground import POOLS, TOKENS, Node, Trader

ACCOUNT, KEY_NAME = "desk", "EXK_TEST_DESK_KEY"
SYMBOLS = ["WETH/USDC", "ETH/USDC", "WETH/USDT", "DAI/USDC", "WBTC/WETH"]
CONFIRMATIONS = 1
PATIENCE_S = 90.0
BLOCK_S = 0.2
QUICK = Settings(sweep_every=0.1, first_look=0.05, backoff=0.05, max_backoff=0.4, snapshot_every=2.0)
SWAPS = {
    "v2": "0xd78ad95fa46c994b6551d0da85fc275fe613ce37657fb8d5e3d130840159d822",
    "v3": "0xc42079f94a6350d7e6235f29174924f928cc2ac818eb64fed8004e115fbcca67",
    "v4": "0x40e9cecb9f5f1f1c5b9c97dec2917b7ee92e57ba5563708daca94dd84ad7112f",
}


class Desk:
    """``trader`` owns the key. ``config``: settings of the account besides tokens, pools and symbols."""

    def __init__(self, node: Node, trader: Trader, folder: Path, *versions: str, **config: Any) -> None:
        self.node, self.trader, self.folder = node, trader, folder
        pools = [pool for version in versions or POOLS for pool in POOLS[version]]
        self.settings: dict[str, Any] = {
            "rpc": node.url,
            "confirmations": CONFIRMATIONS,
            "poll_ms": 50,
            "tokens": TOKENS,
            "pools": pools,
            "symbols": SYMBOLS,
            **config,
        }
        self.environment = {KEY_NAME: "0x" + bytes(trader.account.key).hex()}
        node("evm_setTime", int(time.time()))
        self.mine()

    def written(self) -> Path:
        """The configuration file of the platform: everything in it, the key in the environment only."""
        account = {"venue": "uniswap", "config": self.settings, "secrets": {"key": f"env:{KEY_NAME}"}}
        whole = {"store": {"url": f"sqlite:///{self.folder / 'exk.db'}"}, "accounts": {ACCOUNT: account}}
        path = self.folder / "exk.yaml"
        path.write_text(json.dumps(whole))
        return path

    @asynccontextmanager
    async def platform(self, settings: Settings = QUICK) -> AsyncIterator[Platform]:
        """The platform, started."""
        async with Platform(load(self.written()), settings=settings) as platform:
            if ACCOUNT in platform.failures:
                raise platform.failures[ACCOUNT]
            yield platform

    def mine(self, blocks: int = 1) -> None:
        """The chain goes on."""
        self.node("anvil_mine", hex(blocks))

    def evidence(self) -> Evidence:
        """From here on."""
        return Evidence(self.node, self.trader)

    def amount(self, name: str, units: int) -> Decimal:
        """Units of a token of the list."""
        return self.setup.tokens[name].amount(units)

    @property
    def setup(self) -> Setup:
        """The account's configuration, checked."""
        return Setup.of({key: self.settings[key] for key in ("tokens", "pools", "symbols")}, MAINNET)

    async def reaches(self, kernel: ExchangeKernel, intent_id: str, *wanted: IntentStatus) -> Any:
        """Mine until an intent has one of these states, and say which it has."""

        async def there() -> Any:
            state = await kernel.get_order_state(intent_id)
            return state if state.status in wanted else None

        return await self.until(there, lambda: kernel.get_order_state(intent_id))

    async def passes(self, blocks: int) -> None:
        """So many blocks go by, as they would."""
        for _ in range(blocks):
            self.mine()
            await asyncio.sleep(BLOCK_S)

    async def until(self, true: Callable[[], Awaitable[Any]], what: Callable[[], Awaitable[Any]]) -> Any:
        """Mine until it is true."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not (found := await true()):
                    self.mine()
                    await asyncio.sleep(BLOCK_S)
                return found
        except TimeoutError:
            raise AssertionError(f"not within {PATIENCE_S} s: {await what()}") from None


class Evidence:
    """What an account did on the chain since this was made."""

    def __init__(self, node: Node, trader: Trader) -> None:
        self._node, self._trader = node, trader
        self._start = self._head()
        self._nonce = self.nonce()
        self._had = self.balances()

    def nonce(self) -> int:
        return int(self._node("eth_getTransactionCount", self._trader.address, "latest"), 16)

    def balances(self) -> dict[str, int]:
        """Units by the name of the token."""
        named = {name: NATIVE if given == "native" else given["address"] for name, given in TOKENS.items()}  # type: ignore[index]
        return {name: self._trader.balance(address) for name, address in named.items()}

    @property
    def used(self) -> int:
        """Numbers used."""
        return self.nonce() - self._nonce

    @property
    def moved(self) -> dict[str, int]:
        """Exact changes of balances, gas in ETH not counted; those that did not change are left out."""
        paid = sum(int(r["gasUsed"], 16) * int(r["effectiveGasPrice"], 16) for _, r in self.transactions())
        now = self.balances()
        change = {name: now[name] - had + (paid if name == "ETH" else 0) for name, had in self._had.items()}
        return {name: units for name, units in change.items() if units}

    def transactions(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """The account's, each with its receipt, oldest first: every block since is read."""
        rows = []
        for height in range(self._start + 1, self._head() + 1):
            block = self._node("eth_getBlockByNumber", hex(height), True)
            mine = [tx for tx in block["transactions"] if tx["from"].lower() == self._trader.address.lower()]
            rows += [(tx, self._node("eth_getTransactionReceipt", tx["hash"])) for tx in mine]
        return rows

    def swaps(self, version: str = "v3") -> int:
        """Swap logs of a release that name the account as recipient (v4 names none: those of its transactions)."""
        found = 0
        for _, receipt in self.transactions():
            for log in receipt["logs"]:
                own = version == "v4" or log["topics"][-1][-40:] == self._trader.address[2:].lower()
                found += log["topics"][0] == SWAPS[version] and own
        return found

    def by_key(self) -> Counter[bytes]:
        """Transactions that succeeded, by the key in their tag."""
        found: Counter[bytes] = Counter()
        for tx, receipt in self.transactions():
            key = key_of(bytes.fromhex(tx["input"][2:]))
            if key is not None and receipt["status"] == "0x1":
                found[key] += 1
        return found

    def judge(self, record: Record) -> None:
        """Exactly once: at most one successful transaction per tag, every one of ours stored before it was sent, the
        stored bytes those on the chain, in the block that is the chain's own at that height."""
        assert max(self.by_key().values(), default=0) <= 1
        on_chain = {tx["hash"]: (tx, receipt) for tx, receipt in self.transactions()}
        found = 0
        for row in record.tickets:
            body = read_body(row.ticket, self._trader.address, 1)
            assert body.tx.hash == hash_of(body.tx.raw)
            if body.tx.hash in on_chain:
                found += 1
                tx, receipt = on_chain[body.tx.hash]
                assert key_of(bytes.fromhex(tx["input"][2:])) == body.key
                at = self._node("eth_getBlockByNumber", receipt["blockNumber"], False)
                assert at["hash"] == receipt["blockHash"]
        assert found == 1

    def _head(self) -> int:
        return int(self._node("eth_blockNumber"), 16)


async def record_of(platform: Platform, intent_id: str) -> Record:
    """Everything stored about an intent."""
    record = await platform.store.record(ACCOUNT, intent_id)
    assert record is not None
    return record


def booked(record: Record) -> Mapping[str, Decimal]:
    """What the books say of an intent."""
    return {"base": record.progress.filled_base, "quote": record.progress.filled_quote}
