"""A real kernel on Uniswap, at the table where the scenes of every on-chain venue are played."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from exchange_kernel.schema import Side, StandardOrder, TimeInForce
from exchange_kernel_evm.tokens import APPROVE
from exchange_kernel_uniswap.adapter import UniswapAdapter
from exchange_kernel_uniswap.config import Setup
from exchange_kernel_uniswap.deployment import MAINNET
from plugins.evm.tests import chain
from plugins.evm.tests.scenes import Make
from plugins.evm.tests.table import ROOM, Table
from plugins.uniswap.tests.desk import SWAPS
from plugins.uniswap.tests.ground import EVERYTHING, POOLS, TOKENS, Node, Trader

__all__ = ["SwapTable", "make"]

MARKET = {"tokens": TOKENS, "pools": POOLS["v3"], "symbols": ["WETH/USDC"]}
ERC20 = {
    name: (str(token["address"]), int(token["decimals"])) for name, token in TOKENS.items() if isinstance(token, dict)
}


class SwapTable(Table):
    """Orders that sell WETH for USDC in v3 pools, for much less than they will get."""

    venue = "uniswap"
    defaults = MARKET
    tokens = ERC20

    def __init__(self, trader: Trader, folder: Path, **config: Any) -> None:
        self.trader = trader
        self.address, self.key = trader.address, "0x" + bytes(trader.account.key).hex()
        super().__init__(chain.Node(trader.node.url), folder, UniswapAdapter, **config)

    def order(self, amount: str, price: str = "1500", tif: TimeInForce = TimeInForce.FOK) -> StandardOrder:
        return StandardOrder("WETH/USDC", Side.SELL, Decimal(amount), limit_price=Decimal(price), time_in_force=tif)

    @property
    def setup(self) -> Setup:
        """The account's configuration, checked."""
        return Setup.of({key: self.config[key] for key in MARKET}, MAINNET)

    def swaps(self) -> int:
        """Swap logs of v3 pools that name the account as recipient."""
        logs = [log for each in self.evidence.transactions() for log in each.receipt["logs"]]
        return sum(
            log["topics"][0] == SWAPS["v3"] and log["topics"][-1][-40:] == self.address[2:].lower() for log in logs
        )


def allow(trader: Trader, tokens: Sequence[str] = ("WETH", "USDC"), units: int = EVERYTHING) -> None:
    """SwapRouter02 may take so much, before any kernel looks."""
    for name in tokens:
        assert trader.send(ERC20[name][0], APPROVE.call(MAINNET.swap_router, units))[0].ok


@pytest.fixture
def make(node: Node, trader: Trader, tmp_path: Path) -> Iterator[Make]:
    """Tables at which the router may take everything: each order is one transaction. The node is put back after."""
    allow(trader)
    yield lambda **config: SwapTable(trader, tmp_path, **config)
    node("anvil_dropAllTransactions")
    node("anvil_setNextBlockBaseFeePerGas", hex(10**9))
    node("evm_setBlockGasLimit", hex(ROOM))
    node("evm_setAutomine", True)
