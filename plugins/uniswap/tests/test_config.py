"""The configuration: what is refused, and that pools are computed."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from exchange_kernel.errors import ConfigError, UnknownSymbol
from exchange_kernel_uniswap.addresses import NATIVE, address
from exchange_kernel_uniswap.config import Setup, known_router
from exchange_kernel_uniswap.deployment import MAINNET
from plugins.uniswap.tests.ground import TOKENS, configuration, setup

USDC = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"


def test_pools_are_where_mainnet_has_them() -> None:
    """Computed from factory, tokens and fee alone, the addresses are the well-known ones."""
    found = {pool.id for pool in setup("v2", "v3").pools}
    assert found >= {
        "0x88e6A0c2dDD26FEEb64F039a2c41296FcB3f5640",
        "0x8ad599c3A0ff1De082011EFDDc58f1908eb6e6D8",
        "0xCBCdF9626bC03E24f779434178A73a0B4bad62eD",
        "0x4585FE77225b41b697C938B018E2Ac67Ac5a20c0",
        "0x5777d92f208679DB4b9778590Fa3CAB3aC9e2168",
        "0x3416cF6C708Da44DB2624D63ea0AAef7113527C6",
        "0x4e68Ccd3E89f51C3074ca5072bbAC773960dFa36",
        "0xB4e16d0168e52d35CaCD2c6185b44281Ec28C9Dc",
    }


def test_a_v4_pool_has_the_id_the_chain_gives_it() -> None:
    """ETH/USDC 0.05 % without hooks, as on mainnet."""
    (pool,) = (pool for pool in setup("v4").pools if pool.token0 == NATIVE)
    assert pool.id == "0x21c67e77068de97969ba93d4aab21826d33ca12bb9f565d8496e8fda8a82ca27"


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (USDC.lower(), "does not have a valid EIP-55 checksum"),
        (USDC[:-1] + "9", "does not have a valid EIP-55 checksum"),
        (USDC[:-1], "is not an address"),
        (USDC[2:] + "00", "is not an address"),
        ("0x" + "g" * 40, "has characters that are not hexadecimal digits"),
        (None, "is not an address"),
        (12, "is not an address"),
    ],
)
def test_a_mistyped_address_is_refused(value: Any, rule: str) -> None:
    """By its form, or by the checksum in its letters; the error names the field."""
    with pytest.raises(ConfigError, match=rule) as refused:
        address("tokens.USDC.address", value)
    assert refused.value.field == "tokens.USDC.address"


def changed(**parts: Any) -> dict[str, Any]:
    return deepcopy(configuration("v3", "v4")) | parts


BAD = [
    ("tokens", changed(tokens={}), "must map names"),
    ("tokens.USDC", changed(tokens=TOKENS | {"USDC": {"address": USDC}}), "needs address and decimals"),
    ("tokens.USDC.decimals", changed(tokens=TOKENS | {"USDC": {"address": USDC, "decimals": 6.0}}), "must be an int"),
    ("tokens.FAKE", changed(tokens=TOKENS | {"FAKE": {"address": USDC, "decimals": 6}}), "is already USDC"),
    ("tokens.X.address", changed(tokens=TOKENS | {"X": {"address": NATIVE, "decimals": 18}}), "is no token"),
    ("tokens", changed(tokens=TOKENS | {"US DC": "native"}), "must be named with"),
    ("pools", changed(pools=[]), "at least one"),
    ("pools[0]", changed(pools=[{"version": "v5"}]), "needs a version"),
    ("pools[0]", changed(pools=[{"version": "v3", "tokens": ["WETH", "USDC"]}]), "a pool of v3 has fee"),
    ("pools[0]", changed(pools=[{"version": "v2", "tokens": ["WETH", "USDC"], "hooks": "0x"}]), "a pool of v2 has"),
    ("fee", changed(pools=[{"version": "v3", "tokens": ["WETH", "USDC"], "fee": 400}]), "is no fee tier"),
    ("pools[0]", changed(pools=[{"version": "v2", "tokens": ["WETH", "USDC"], 1: 2}]), "a pool of v2 has"),
    ("symbols", changed(symbols=[["WETH", "USDC"]]), "must be BASE/QUOTE"),
    ("symbols", changed(symbols=[{"WETH": "USDC"}]), "must be BASE/QUOTE"),
    ("pools[0].tokens", changed(pools=[{"version": "v2", "tokens": ["WETH", "UNI"]}]), "is not in the token list"),
    ("tokens", changed(pools=[{"version": "v2", "tokens": ["ETH", "USDC"]}]), "is in no v2 or v3 pool"),
    ("tokens", changed(pools=[{"version": "v2", "tokens": ["WETH", "WETH"]}]), "is given twice"),
    ("pools[1]", changed(pools=[{"version": "v2", "tokens": ["WETH", "USDC"]}] * 2), "is configured twice"),
    (
        "tick_spacing",
        changed(pools=[{"version": "v4", "tokens": ["ETH", "USDC"], "fee": 1, "tick_spacing": 0}]),
        "must be an int from 1",
    ),
    ("symbols", changed(symbols=[]), "at least one"),
    ("symbols", changed(symbols=["WETHUSDC"]), "must be BASE/QUOTE"),
    ("symbols", changed(symbols=["WETH/UNI"]), "is not in the token list"),
    ("symbols", changed(symbols=["ETH/WETH"]), "has one token twice"),
    ("symbols", changed(symbols=["WETH/USDC", "WETH/USDC"]), "is listed twice"),
    (
        "symbols",
        changed(pools=[{"version": "v2", "tokens": ["WETH", "USDC"]}], symbols=["WBTC/DAI"]),
        "cannot be traded",
    ),
]


@pytest.mark.parametrize(("field", "config", "rule"), BAD)
def test_a_bad_configuration_is_refused_by_name(field: str, config: dict[str, Any], rule: str) -> None:
    """Each names the key and the rule; nothing is guessed."""
    with pytest.raises(ConfigError, match=rule) as refused:
        Setup.of(config, MAINNET)
    assert refused.value.field == field


def test_an_unknown_symbol_is_refused_with_a_guess() -> None:
    """A symbol is what the account lists, not what could be traded."""
    with pytest.raises(UnknownSymbol, match="did you mean WETH/USDC"):
        setup("v3").market("WETH/USDT")


def test_the_router_can_be_another() -> None:
    """With its release, which must be one whose calldata is known."""
    assert known_router(MAINNET, USDC, "2.1").universal_router == USDC
    with pytest.raises(ConfigError, match=r"is not known; known are 2\.0, 2\.1"):
        known_router(MAINNET, USDC, "3.0")
