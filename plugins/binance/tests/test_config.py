"""An account's settings: which Binance it is, and that real money is never traded by accident."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pytest

from exchange_kernel.errors import ConfigError
from exchange_kernel.venue import Context
from exchange_kernel_binance.config import BinanceConfig, secrets_of

CUSTOM = {"network": "custom", "urls": {"spot": "http://127.0.0.1:1", "spot_ws": "ws://127.0.0.1:1/ws-api/v3"}}


USDM = {"market": "usdm"}


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
        ({"leverage": {"BTC/USDT:USDT": 5}}, "leverage"),
        (USDM | {"leverage": {"BTC/USDT:USDT": 0}}, "leverage.BTC/USDT:USDT"),
        (USDM | {"leverage": {"BTC/USDT:USDT": "5"}}, "leverage.BTC/USDT:USDT"),
        (USDM | {"leverage": {"BTC/USDT:USDT": True}}, "leverage.BTC/USDT:USDT"),
        (USDM | {"margin_type": "isolated"}, "margin_type"),
        (USDM | {"margin_type": {"BTC/USDT:USDT": "cross"}}, "margin_type.BTC/USDT:USDT"),
        (USDM | {"position_mode": "both"}, "position_mode"),
        (USDM | {"symbols": ["ETH/USDT:USDT"], "leverage": {"BTC/USDT:USDT": 5}}, "leverage.BTC/USDT:USDT"),
        ({"position_mode": "hedge"}, "position_mode"),
        ({"allow_withdraw_key": "yes"}, "allow_withdraw_key"),
        ({"allow_withdraw_key": 1}, "allow_withdraw_key"),
        ({"budget_url": "redis://:secret@localhost"}, "budget_url"),
        ({"network": "Live", "confirm_live": "real money"}, "network"),
        ({"network": "live", "confirm_live": True}, "confirm_live"),
        ({"network": "live", "confirm_live": "Real Money"}, "confirm_live"),
        ({"network": "live", "confirm_live": "real money", "urls": CUSTOM["urls"]}, "urls"),
    ],
)
def test_a_setting_that_cannot_be_is_named(settings: dict[str, Any], key: str) -> None:
    """With its key, its value and the rule."""
    with pytest.raises(ConfigError) as caught:
        BinanceConfig.of(context(settings))
    assert caught.value.field == key


@pytest.mark.parametrize(
    ("settings", "meant"),
    [
        ({"network": "testnt"}, "testnet"),
        ({"network": "LIVE"}, "live"),
        ({"market": "usd-m"}, "usdm"),
        ({"confirm_liv": "real money"}, "confirm_live"),
        ({"sharepercent": 5}, "share_percent"),
        ({"allow_withdrawal_key": True}, "allow_withdraw_key"),
        (USDM | {"margin_type": {"BTC/USDT:USDT": "cross"}}, "crossed"),
        (USDM | {"position_mode": "oneway"}, "one_way"),
        (USDM | {"symbols": ["BTC/USDT:USDT"], "leverage": {"BTC/USDT": 5}}, "BTC/USDT:USDT"),
        ({"network": "custom", "urls": {"spt": "http://a", "spot": "http://a", "spot_ws": "ws://a"}}, "spot"),
    ],
)
def test_what_was_probably_meant_is_said(settings: dict[str, Any], meant: str) -> None:
    """A typing mistake is not silently another setting, nor a riddle."""
    with pytest.raises(ConfigError) as caught:
        BinanceConfig.of(context(settings))
    assert caught.value.hint == f"did you mean {meant}?"


HOSTILE: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2**80, 1.5, "", " ", "x" * 10_000, "\x00", "\n", "..", "{}", "live ", b"live"),
    *([], [None], ["x", 1], {}, {"": ""}, {"spot": None}, {1: 2}, ("live",), object()),
)


@pytest.mark.parametrize("name", [each.name for each in fields(BinanceConfig)])
def test_whatever_stands_there_is_a_setting_or_a_clear_refusal(name: str) -> None:
    """No other error comes of any value of any setting, the refusal names it, and nothing of it is live."""
    for base in ({}, USDM, CUSTOM, {"network": "live", "confirm_live": "real money"}):
        for value in HOSTILE:
            try:
                config = BinanceConfig.of(context({**base, name: value}))
            except ConfigError as refused:
                related = {"urls", "confirm_live"} if name in ("network", "market", "resolve") else set()
                assert refused.field.split(".")[0] in {name, *related}, refused  # noqa: PT017
            else:
                assert config.mode == "testnet" or base.get("network") == "live"


def test_a_key_that_was_pasted_with_something_is_refused_unseen() -> None:
    """A line end or a space in it: the refusal says so, and shows nothing of it."""
    for broken in ("canary55bb\n", " canary55bb", "canary 55bb"):
        with pytest.raises(ConfigError) as caught:
            secrets_of(context({}, {"api_key": broken, "secret": "s"}))
        assert caught.value.field == "secrets.api_key"
        assert "canary" not in str(caught.value)


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
