"""Where Uniswap stands on a chain. Data, not code: one record per chain."""

from __future__ import annotations

from exchange_kernel.value import Value

__all__ = ["MAINNET", "ROUTER_VERSIONS", "SIGNED_VERSIONS", "Deployment"]

ROUTER_VERSIONS = ("2.0", "2.1")
"""Releases of the Universal Router whose command encoding is known here. Later ones take more fields per swap."""
SIGNED_VERSIONS = ("2.1",)
"""Of these, those that have ``executeSigned``."""


class Deployment(Value, frozen=True):
    """The contracts of one chain; every address in EIP-55 form, code hashes as pools are computed from them.

    ``weth``: the wrapped native coin the routers were built with. ``universal_router_version``: one of
    :data:`ROUTER_VERSIONS`; the calldata depends on it.
    """

    chain_id: int
    weth: str
    v2_factory: str
    v2_router: str
    v2_code_hash: bytes
    v3_factory: str
    v3_code_hash: bytes
    v3_quoter: str
    v3_positions: str
    v4_manager: str
    v4_state: str
    v4_quoter: str
    swap_router: str
    universal_router: str
    permit2: str
    universal_router_version: str = "2.0"


# https://docs.uniswap.org/contracts/v2/reference/smart-contracts, …/v3/reference/deployments, …/v4/deployments
MAINNET = Deployment(
    chain_id=1,
    weth="0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2",
    v2_factory="0x5C69bEe701ef814a2B6a3EDD4B1652CB9cc5aA6f",
    v2_router="0x7a250d5630B4cF539739dF2C5dAcb4c659F2488D",
    v2_code_hash=bytes.fromhex("96e8ac4277198ff8b6f785478aa9a39f403cb768dd02cbee326c3e7da348845f"),
    v3_factory="0x1F98431c8aD98523631AE4a59f267346ea31F984",
    v3_code_hash=bytes.fromhex("e34f199b19b2b4f47f68442619d555527d244f78a3297ea89325f843f87b8b54"),
    v3_quoter="0x61fFE014bA17989E743c5F6cB21bF9697530B21e",
    v3_positions="0xC36442b4a4522E871399CD717aBDD847Ab11FE88",
    v4_manager="0x000000000004444c5dc75cB358380D2e3dE08A90",
    v4_state="0x7fFE42C4a5DEeA5b0feC41C94C136Cf115597227",
    v4_quoter="0x52F0E24D1c21C8A0cB1e5a5dD6198556BD9E1203",
    swap_router="0x68b3465833fb72A70ecDF485E0e4C7bD8665Fc45",
    universal_router="0x66a9893cC07D91D95644AEDD05D03f95e1dBA8Af",
    permit2="0x000000000022D473030F116dDEE9F6B43aC78BA3",
)
