"""The configuration against the chain, in one multicall."""

from __future__ import annotations

import pytest

from exchange_kernel.errors import ConfigError
from exchange_kernel_uniswap.chain_facts import fact_reads, refuse_other_facts
from exchange_kernel_uniswap.config import Setup
from exchange_kernel_uniswap.deployment import MAINNET
from plugins.uniswap.tests.ground import TOKENS, Trader, configuration, setup


def test_what_is_configured_is_there(trader: Trader) -> None:
    """Every token's decimals and every pool, as its own factory and the v4 state view know them."""
    known = setup()
    refuse_other_facts(known, trader.read(fact_reads(known)))


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("tokens.USDC.decimals", {"tokens": TOKENS | {"USDC": TOKENS["USDC"] | {"decimals": 18}}}),  # type: ignore[operator]
        ("tokens.X.decimals", {"tokens": TOKENS | {"X": {"address": MAINNET.permit2, "decimals": 18}}}),
        ("pools[0]", {"pools": [{"version": "v2", "tokens": ["WBTC", "USDT"]}, *configuration("v3")["pools"]]}),
        ("pools[0]", {"pools": [{"version": "v3", "tokens": ["WETH", "USDC"], "fee": 100}]}),
        ("pools[0]", {"pools": [{"version": "v4", "tokens": ["WETH", "USDC"], "fee": 1, "tick_spacing": 1}]}),
    ],
)
def test_what_is_not_there_is_refused(trader: Trader, field: str, change: dict[str, object]) -> None:
    """Other decimals, no token, a pool that was never made: an error that names the entry."""
    known = Setup.of(configuration("v3") | change, MAINNET)
    with pytest.raises(ConfigError) as refused:
        refuse_other_facts(known, trader.read(fact_reads(known)))
    assert refused.value.field == field
