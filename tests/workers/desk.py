"""A desk as it would run: a venue, PostgreSQL, Valkey and workers as processes of their own, and this one beside."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

from exchange_kernel.clock import SystemClock
from exchange_kernel.config import load
from exchange_kernel.platform import Platform
from exchange_kernel.reconcile.ownership import worker_of
from exchange_kernel.schema import Side, StandardOrder
from exchange_kernel.state.sql.workers import Fleet, SqlWorkers
from exchange_kernel_paper.tcp import Control

SECRET = "canary-77aa"
PATIENCE_S = 60.0
RICH = {"USD": "1000000000", "BTC": "100000"}


class Desk:
    """``accounts``: how many. Use as an async context manager; whatever was started is ended with it."""

    def __init__(self, folder: Path, store: str, redis: str | None, accounts: int = 6, **settings: Any) -> None:
        self.folder, self.store, self.redis = folder, store, redis
        self.accounts = [f"a{n:02d}" for n in range(accounts)]
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self._settings = {"window_ms": 2_000, "maker_fee": "0", "taker_fee": "0", **settings}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.fleet = SqlWorkers(self.store, SystemClock())
        self._stack.callback(self.fleet.close)
        self._stack.callback(self._end_workers)
        port = await self._start_venue()
        self.control = Control("127.0.0.1", port)
        self._stack.push_async_callback(self.control.close)
        lines = [f"store: {{url: 'env:DESK_STORE'}}\nstate_dir: '{self.folder / 'state'}'\naccounts:\n"]
        for name in self.accounts:
            config = f"{{connect: '127.0.0.1:{port}', account: {name}}}"
            lines.append(
                f"  {name}: {{venue: paper, mode: paper, config: {config}, secrets: {{secret: 'env:DESK_KEY'}}}}\n"
            )
        if self.redis is not None:
            lines.append(f"redis: {{url: '{self.redis}'}}\n")
        self.config = self.folder / "exk.yaml"
        self.config.write_text("".join(lines))
        os.environ |= {"DESK_STORE": self.store, "DESK_KEY": SECRET}
        self.api = Platform(load(self.config), follow=True)
        await self._stack.enter_async_context(self.api)
        assert not self.api.failures, self.api.failures
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _start_venue(self) -> int:
        accounts = {name: {"secret": SECRET, "balances": RICH} for name in self.accounts}
        config = {"settings": self._settings, "accounts": accounts, "house": False}
        process = subprocess.Popen(
            [sys.executable, "-m", "exchange_kernel_paper.server", "--config", "-"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.venue = process

        def end() -> None:
            process.kill()
            process.communicate()

        self._stack.callback(end)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(config).encode())
        process.stdin.close()
        process.stdin = None
        port: int = json.loads(process.stdout.readline())["port"]
        return port

    def start(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        """A worker of this name."""
        log = (self.folder / f"{name}.log").open("ab")
        command = [sys.executable, "-m", "exchange_kernel.cli.main", "worker", "--config", str(self.config)]
        process = subprocess.Popen([*command, "--worker-name", name, *options], stdout=log, stderr=log)
        log.close()
        self.workers[name] = process
        return process

    def said(self, name: str) -> str:
        """What a worker has printed."""
        path = self.folder / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def _end_workers(self) -> None:
        for process in self.workers.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()

    async def owners(self) -> dict[str, str]:
        """From account to the worker whose lease runs now."""
        fleet: Fleet = await asyncio.to_thread(self.fleet.look)
        return {account: worker_of(owner) for account, owner in fleet.holders.items()}

    async def until(self, true: Callable[[], Any], what: str, patience: float = PATIENCE_S) -> Any:
        """Poll, with or without awaiting, until it is true; what it said."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + patience
        while True:
            found = true()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            assert loop.time() < give_up, f"{what}: not within {patience} s\n" + "\n".join(map(self.said, self.workers))
            await asyncio.sleep(0.02)

    async def spread(self, *names: str) -> dict[str, str]:
        """Wait until these workers, and only these, hold every account."""

        async def spread() -> dict[str, str] | None:
            owners = await self.owners()
            whole = set(owners) == set(self.accounts) and set(owners.values()) == set(names)
            sizes = [list(owners.values()).count(name) for name in names]
            return owners if whole and max(sizes) - min(sizes) < 2 else None

        found: dict[str, str] = await self.until(spread, f"accounts spread over {names}")
        return found

    async def place(self, account: str, intent_id: str, price: str = "40000", amount: str = "0.01") -> None:
        """Declare a bid that rests."""
        order = StandardOrder("BTC/USD", Side.BUY, amount, limit_price=price)
        await self.api[account].place_order(order, intent_id)

    async def orders(self, account: str | None = None, live: bool = True) -> list[dict[str, Any]]:
        """What the venue's ledger has."""
        dump = await self.control.do("dump")
        found = [order for order in dump["orders"] if account in (None, order["account"])]
        return [order for order in found if not live or order["status"] in ("WORKING", "PARTIALLY_FILLED")]

    async def settled(self, intents: Iterable[tuple[str, str]], status: str = "WORKING") -> None:
        """Wait until these intents, (account, id) each, are what they should be; then the ledger must agree: one order
        for each, and none that nobody declared."""
        wanted = list(intents)

        async def all_are() -> bool:
            states = [await self.api[account].get_order_state(intent_id) for account, intent_id in wanted]
            return {state.status.value for state in states} == {status}

        await self.until(all_are, f"{len(wanted)} intents {status}")
        by_account = Counter(order["account"] for order in await self.orders(live=False))
        assert by_account == Counter(account for account, _ in wanted)
