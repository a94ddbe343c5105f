"""The paper venue as a process of its own, and what the demo asks it: faults, quotes, its ledger. Plain JSON lines.

The judge speaks the venue's protocol itself and shares no code with the kernel's adapter.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

from exchange_kernel.cli.exits import Failed
from exchange_kernel.clock import SystemClock

ACCOUNT, SECRET = "demo", "demo-secret"
LINE_LIMIT = 2**26
START_S = 20.0


class Process:
    """A child whose output goes to a file."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def dead(self) -> bool:
        """Has it ended?"""
        return self._child.returncode is not None

    @classmethod
    async def start(cls, arguments: list[str], output: Path, environment: dict[str, str] | None = None) -> Process:
        """Run this Python with ``arguments``."""
        with output.open("ab") as file:
            child = await asyncio.create_subprocess_exec(
                sys.executable, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=file, stderr=file, env=environment
            )
        return cls(child)

    async def kill(self) -> None:
        """SIGKILL: it gets no chance to say anything."""
        if not self.dead:
            self._child.kill()
        await self._child.wait()

    async def end(self, patience: float = 10.0) -> None:
        """SIGTERM, and SIGKILL for one that does not listen."""
        if not self.dead:
            self._child.terminate()
        try:
            await asyncio.wait_for(self._child.wait(), patience)
        except TimeoutError:
            await self.kill()


class Venue:
    """The running venue."""

    def __init__(self, process: Process, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._process, self.port, self._reader, self._writer = process, port, reader, writer
        self._count = 0

    @classmethod
    async def start(cls, folder: Path, seed: int) -> Venue:
        """Start it with its state in ``folder``. Raises Failed."""
        config = {
            "settings": {"window_ms": 2_000, "read_lag_ms": 200, "engine_delay_ms": 300},
            "accounts": {ACCOUNT: {"secret": SECRET, "balances": {"USD": "20000000", "BTC": "1000", "ETH": "10000"}}},
        }
        (folder / "venue.json").write_text(json.dumps(config))
        output = folder / "venue.log"
        server = ["-m", "exchange_kernel_paper.server", "--config", str(folder / "venue.json")]
        server += ["--state", str(folder / "venue.journal"), "--seed", str(seed)]
        process = await Process.start(server, output)
        clock = SystemClock()
        give_up = clock.monotonic() + START_S
        while not (text := output.read_text()).endswith("}\n"):
            if process.dead or clock.monotonic() > give_up:
                await process.kill()
                why = text.strip().splitlines()[-1:] or ["it said nothing"]
                raise Failed(f"the paper venue did not start: {why[0]}; install exchange-kernel-paper")
            await clock.sleep(0.02)
        port = int(json.loads(text.splitlines()[-1])["port"])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=LINE_LIMIT)
        return cls(process, port, reader, writer)

    async def control(self, name: str, *args: object, **kwargs: object) -> Any:
        """One control operation. Raises Failed with what the venue said against it."""
        answer = await self._exchange({"op": "control", "do": name, "args": args, "kwargs": kwargs})
        if "error" in answer:
            raise Failed(f"the paper venue refused {name}: {answer['error']}")
        return answer["result"]

    async def request(self, op: str, **fields: object) -> dict[str, Any]:
        """One signed request in the account's name, as a second program with its credentials would make it."""
        payload = json.dumps({"op": op, "account": ACCOUNT, **fields}).encode()
        body = payload + b"\n" + hmac.digest(SECRET.encode(), payload, "sha256").hex().encode()
        answer = await self._exchange({"op": op, "body": body.decode()})
        found: dict[str, Any] = json.loads(answer["body"])
        return found

    async def open_orders(self) -> list[dict[str, Any]]:
        """Every open order of the account, whoever placed it."""
        found: list[dict[str, Any]] = []
        after = 0
        while True:
            reply = await self.request("open", after=after)
            found += reply["orders"]
            if not reply.get("next"):
                return found
            after = reply["next"]

    async def close(self) -> None:
        """End it."""
        self._writer.close()
        await self._process.end()

    async def _exchange(self, message: dict[str, Any]) -> dict[str, Any]:
        self._count += 1
        self._writer.write(json.dumps({"id": self._count, **message}).encode() + b"\n")
        await self._writer.drain()
        line = await asyncio.wait_for(self._reader.readline(), START_S)
        if not line:
            raise Failed("the paper venue closed the connection")
        answer: dict[str, Any] = json.loads(line)
        return answer


def number(text: str) -> Decimal:
    """An amount of the ledger."""
    return Decimal(text)
