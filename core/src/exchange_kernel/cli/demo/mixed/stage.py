"""The processes of the demo, and the configuration that brings them together."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

from exchange_kernel.cli.demo.wire import Process
from exchange_kernel.cli.exits import Failed
from exchange_kernel.clock import SystemClock

SPOT, FUTURES, DEX = "binance_spot", "binance_futures", "uniswap"
ACCOUNTS: Final = (SPOT, FUTURES, DEX)
TRADER: Final = "alice"
SOMEBODY: Final = "bob"
EXK: Final = ("-m", "exchange_kernel.cli.main")
ORDERS: Final = Path(__file__).parent / "orders"
DOWNLOAD_S: Final = 900.0
"""The longest that a first download may take."""
START_S: Final = 40.0
Say = Callable[[str], None]


class Child:
    """A program of ours that says where it is, by a line of JSON."""

    def __init__(self, process: Process, log: Path, say: Say) -> None:
        self._process, self._log, self._say = process, log, say
        self._told = 0
        self.facts: dict[str, Any] = {}

    @classmethod
    async def start(cls, folder: Path, name: str, arguments: list[str], say: Say) -> Self:
        """Start it; what it says goes to ``NAME.log``."""
        log = folder / f"{name}.log"
        return cls(await Process.start([*EXK, *arguments], log), log, say)

    async def ready(self, clock: SystemClock) -> dict[str, Any]:
        """Its line of JSON; what it says before is told. Raises Failed."""
        give_up = clock.monotonic() + DOWNLOAD_S
        while not self.facts:
            lines = self._lines()
            for line in lines[self._told :]:
                if line.startswith("{"):
                    self.facts = json.loads(line)
                else:
                    self._say(f"  {line}")
            self._told = len(lines)
            if self.facts:
                break
            if self._process.dead or clock.monotonic() > give_up:
                raise Failed(f"{self._log.stem} did not start: {(lines or ['it said nothing'])[-1]}")
            await clock.sleep(0.05)
        return self.facts

    async def end(self) -> dict[str, Any]:
        """End it. Returns its last line, where that is JSON."""
        await self._process.end()
        lines = self._lines()[self._told :]
        return json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}

    def _lines(self) -> list[str]:
        whole = self._log.read_text(errors="replace") if self._log.exists() else ""
        return whole[: whole.rfind("\n") + 1].splitlines()


class Kernel:
    """``exk run``, started, killed and started again."""

    def __init__(self, folder: Path, config: Path, clock: SystemClock) -> None:
        self._log, self._config, self._clock = folder / "kernel.log", config, clock
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        """Of the one that runs."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start it, and wait until every account runs. Raises Failed."""
        before = self._running()
        arguments = [*EXK, "run", "--config", str(self._config)]
        self._process = await Process.start(arguments, self._log, {**os.environ, "PYTHONUNBUFFERED": "1"})
        give_up = self._clock.monotonic() + START_S
        while self._running() < before + len(ACCOUNTS):
            if self._process.dead or self._clock.monotonic() > give_up:
                last = self._log.read_text().strip().splitlines()[-1:] or ["it said nothing"]
                raise Failed(f"the kernel did not start: {last[0]}")
            await self._clock.sleep(0.02)

    def _running(self) -> int:
        return self._log.read_text().count(" is running") if self._log.exists() else 0

    async def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            await self._process.kill()

    async def end(self) -> None:
        """SIGTERM."""
        if self._process is not None:
            await self._process.end()


async def exk(config: Path, *arguments: str) -> str:
    """Run a command as a user would; what it prints. Raises Failed with what it says against it."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *EXK,
        *arguments,
        "--config",
        str(config),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, wrong = await child.communicate()
    if child.returncode:
        raise Failed(f"exk {' '.join(arguments)}: {wrong.decode(errors='replace').strip()}")
    return out.decode()


def configure(folder: Path, binance: dict[str, Any], chain: dict[str, Any]) -> Path:
    """Write ``exk.yaml`` with the three accounts; keys in files that only their owner can read."""
    key = binance["accounts"][TRADER]
    for name, text in (("binance.key", key["key"]), ("binance.secret", key["secret"]), ("dex.key", chain["key"])):
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(text)
    urls = {"spot": binance["url"], "spot_ws": binance["ws_url"]}
    # Answers are expected sooner than from the real ones, or nobody would watch to the end.
    quick = {"network": "custom", "recv_window_ms": 1500, "slack_ms": 500, "read_lag_ms": 300, "timeout_ms": 1500}
    wallet = {"api_key": "file:binance.key", "secret": "file:binance.secret"}
    limits = {"max_order_notional": 20_000, "max_open_notional": 100_000, "order_count": 20}
    tokens = {name: chain["tokens"][name] for name in ("WETH", "USDC")}
    accounts = {
        SPOT: {
            "venue": "binance",
            "config": {"market": "spot", "symbols": ["BTC/USDT", "ETH/USDT"], "urls": urls, **quick},
            "secrets": wallet,
        },
        FUTURES: {
            "venue": "binance",
            "config": {
                "market": "usdm",
                "symbols": ["BTC/USDT:USDT", "ETH/USDT:USDT"],
                "urls": {"usdm": binance["url"], "usdm_ws": binance["ws_url"], **urls},
                **quick,
            },
            "secrets": wallet,
        },
        DEX: {
            "venue": "uniswap",
            "config": {
                "rpc": chain["url"],
                "confirmations": 2,
                "poll_ms": 250,
                "address": chain["address"],
                "tokens": tokens,
                "pools": [{"version": "v3", "tokens": ["WETH", "USDC"], "fee": fee} for fee in (500, 3000)],
                "symbols": ["WETH/USDC"],
            },
            "secrets": {"key": "file:dex.key"},
        },
    }
    whole = {"accounts": {name: {**account, "limits": limits} for name, account in accounts.items()}}
    path = folder / "exk.yaml"
    path.write_text(json.dumps(whole, indent=2))
    return path
