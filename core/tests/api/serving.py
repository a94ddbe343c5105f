"""A real server on loopback over a real platform on the paper venue, and tokens for it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from exchange_kernel.api.grants import parse_grants
from exchange_kernel.api.serve import Listen, serve
from exchange_kernel.api.tokens import mint
from exchange_kernel.clock import SystemClock, SystemIds
from exchange_kernel.config import load
from exchange_kernel.platform import Platform
from exchange_kernel.reconcile.session import Settings
from exchange_kernel.state.sql.tokens import SqlTokens

QUICK = Settings(lease_ms=2000, sweep_every=0.05)
ORDER = {"symbol_id": "BTC/USD", "side": "BUY", "amount": "0.1", "limit_price": "40000"}


class Served:
    """A running server: ``url``, the platform behind it, and tokens."""

    def __init__(self, url: str, platform: Platform) -> None:
        self.url, self.platform = url, platform

    def token(self, *allow: str, name: str = "test", days: float = 1) -> str:
        """A new token."""
        lasts = int(days * 86_400_000)
        text, row = mint(SystemIds(), name, parse_grants(allow), SystemClock().now_ms(), lasts)
        tokens = SqlTokens(self.platform.config.store_url)
        tokens.add(row)
        tokens.close()
        return text

    def http(self, token: str = "") -> httpx.AsyncClient:
        """A plain client with a token."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.AsyncClient(base_url=self.url, headers=headers, trust_env=False, timeout=20)


def platform_of(folder: Path, *accounts: str, **more: Any) -> Platform:
    """A platform of paper accounts, each at an exchange of its own."""
    secret = ", secrets: {secret: 'env:EXK_TEST_SECRET'}" if "EXK_TEST_SECRET" in os.environ else ""
    lines = ", ".join(
        f"{name}: {{venue: paper, config: {{venue: '{folder.name}-{name}', balances: {{USD: 1000000}}}}{secret}}}"
        for name in accounts
    )
    path = folder / "exk.yaml"
    path.write_text(f"accounts: {{{lines}}}\n")
    return Platform(load(path), settings=QUICK, **more)


@asynccontextmanager
async def served(folder: Path, *accounts: str, port: int = 0) -> AsyncIterator[Served]:
    """A platform of these accounts, served on this port, or a free one."""
    async with platform_of(folder, *(accounts or ("one",))) as platform:
        assert not platform.failures
        async with serve(platform, Listen.parse(f"127.0.0.1:{port}")) as url:
            yield Served(url, platform)
