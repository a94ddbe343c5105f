"""The chains that can be traded on, as data. A chain whose fees are not modelled in full is not offered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from exchange_kernel.errors import ConfigError, Unsupported
from exchange_kernel.value import Value, revised

__all__ = ["CHAINS", "MULTICALL3", "PERMIT2", "Chain", "Finality", "chain_of"]

MULTICALL3 = "0xcA11bde05977b3631167028862bE2a173976CA11"
"""Multicall3 has this address on every chain of the table (mds1/multicall3, README, deployments)."""
PERMIT2 = "0x000000000022D473030F116dDEE9F6B43aC78BA3"
"""Permit2 has this address on every chain of the table (Uniswap/permit2, README)."""


class Finality(Value, frozen=True):
    """When a block cannot go any more: at the node's ``finalized`` tag, or ``confirmations`` blocks below the newest.

    Exactly one of them. ``confirmations`` 1 means: one more block is on top of it.
    """

    tag: bool = False
    confirmations: int = 0

    def __post_init__(self) -> None:
        if self.tag == (self.confirmations > 0):
            raise ConfigError("finality", self.confirmations, "is the finalized tag, or a number of confirmations")


class Chain(Value, frozen=True):
    """One chain. ``block_ms``: usual time between blocks. ``native``: symbol of what pays for gas (18 decimals).

    ``fee_model``: ``eip1559`` is all there is to pay; ``l2`` adds a fee for another chain, which is not modelled.
    ``mode``: what :attr:`exchange_kernel.venue.Opened.mode` says of it.
    """

    id: int
    name: str
    native: str
    wrapped: str
    finality: Finality
    block_ms: int
    fee_model: Literal["eip1559", "l2"] = "eip1559"
    mode: Literal["live", "testnet"] = "live"
    multicall3: str = MULTICALL3
    permit2: str = PERMIT2


_WITH_L1_FEE = {10: "optimism", 8453: "base", 42161: "arbitrum", 534352: "scroll", 324: "zksync"}
"""Rollups: a transaction there pays for data on another chain too, and that part is not modelled."""

CHAINS: Mapping[int, Chain] = {
    chain.id: chain
    for chain in (
        Chain(1, "mainnet", "ETH", "0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2", Finality(tag=True), 12_000),
        Chain(
            11155111,
            "sepolia",
            "ETH",
            "0xfFf9976782d46CC05630D1f6eBAb18b2324d6B14",
            Finality(tag=True),
            12_000,
            mode="testnet",
        ),
        *(Chain(id_, name, "ETH", "", Finality(tag=True), 2_000, "l2") for id_, name in _WITH_L1_FEE.items()),
    )
}
"""Every chain that is known, by chain id."""


def chain_of(name: object, *, confirmations: object = None) -> Chain:
    """The chain of this id or name; ``confirmations`` replaces its rule of finality.

    Raises ConfigError for one that is not known, Unsupported for one whose fees are not modelled.
    """
    text = str(name).strip().lower()
    found = next((chain for chain in CHAINS.values() if text in (chain.name, str(chain.id))), None)
    if found is None:
        offered = ", ".join(chain.name for chain in CHAINS.values() if chain.fee_model == "eip1559")
        raise ConfigError("chain", name, "is not in the table of chains", f"there are {offered}")
    if found.fee_model != "eip1559":
        raise Unsupported(
            f"chain {found.name}", "what a transaction there pays for data on another chain is not modelled"
        )
    if confirmations is None:
        return found
    if isinstance(confirmations, bool) or not isinstance(confirmations, int) or not 1 <= confirmations <= 10_000:
        raise ConfigError("confirmations", confirmations, "must be a whole number from 1 to 10000")
    return revised(found, finality=Finality(confirmations=confirmations))
