"""An account's settings: which Binance it is, and that real money is never traded by accident."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from exchange_kernel.errors import ConfigError
from exchange_kernel.venue import Context
from exchange_kernel_binance.config import BinanceConfig, secrets_of

CUSTOM = {"network": "custom", "urls": {"spot": "http://127.0.0.1:1", "spot_ws": "ws://127.0.0.1:1/ws-api/v3"}}


def context(config: Mapping[str, Any], secrets: Mapping[str, str] | None = None) -> Context:
    return Context("a", config, clock=lambda: 0, sleep=asyncio.sleep, secrets=secrets or {})


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"network": "live"}, "confirm_live"),
        ({"network": "live", "confirm_live": "yes"}, "confirm_live"),
        ({"network": "main"}, "network"),
        ({"market": "options"}, "market"),
        ({"network": "custom"}, "urls"),
        ({"urls": CUSTOM["urls"]}, "urls"),
        (CUSTOM | {"market": "usdm"}, "urls.usdm"),
        ({"network": "custom", "urls": {"spot": "https://api.binance.com", "spot_ws": "ws://a"}}, "urls.spot"),
        ({"network": "custom", "urls": {"spot": "ftp://a", "spot_ws": "ws://a"}}, "urls.spot"),
        ({"network": "custom", "urls": {"spot": "http://a", "spot_ws": "http://a"}}, "urls.spot_ws"),
        ({"recv_window_ms": 60_001}, "recv_window_ms"),
        ({"recv_window_ms": 0}, "recv_window_ms"),
        ({"slack_ms": -1}, "slack_ms"),
        ({"timeout_ms": "10"}, "timeout_ms"),
        ({"resolve": "localhost"}, "resolve"),
        ({"symbols": "BTC/USDT"}, "symbols"),
        ({"leverage": 5}, "leverage"),
    ],
)
def test_a_setting_that_cannot_be_is_named(settings: dict[str, Any], key: str) -> None:
    """With its key, its value and the rule."""
    with pytest.raises(ConfigError) as caught:
        BinanceConfig.of(context(settings))
    assert caught.value.field == key


@pytest.mark.parametrize(
    ("settings", "mode", "place"),
    [
        ({}, "testnet", "testnet"),
        ({"network": "demo"}, "testnet", "demo"),
        ({"network": "live", "confirm_live": "real money"}, "live", "live"),
        (
            {"network": "live", "confirm_live": "real money", "resolve": "127.0.0.1:4", "ca_file": "x"},
            "testnet",
            "live@127.0.0.1:4",
        ),
        (CUSTOM, "testnet", "custom"),
    ],
)
def test_only_the_real_binance_is_live(settings: dict[str, Any], mode: str, place: str) -> None:
    """What the store is bound to tells real money from anything else."""
    config = BinanceConfig.of(context(settings))
    assert (config.mode, config.place) == (mode, place)


def test_keys_are_required_and_never_shown() -> None:
    """Without one of them nothing is opened, and the refusal does not show the other."""
    with pytest.raises(ConfigError) as caught:
        secrets_of(context({}, {"api_key": "canary44aa"}))
    assert caught.value.field == "secrets.secret"
    assert "canary44aa" not in str(caught.value)


def test_what_the_loader_imports_is_light() -> None:
    """Neither ccxt nor the HTTP client nor the adapter comes with the entry point."""
    heavy = ("ccxt", "aiohttp", "cryptography", "exchange_kernel_ccxt", "exchange_kernel_binance.adapter")
    code = f"import sys, exchange_kernel_binance.plugin; print([n for n in {heavy} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
