"""The processes under test: started by their command line, killed, stopped, drained, and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXK = (str(Path(sys.executable).parent / "exk"),)
WORKER = ("worker",)
"""The worker's command."""
PATIENCE_S = 60.0


class Program:
    """One process that is kept running. ``ended``: with which codes it ended by itself, and how often."""

    def __init__(self, name: str, command: tuple[str, ...], folder: Path, environment: Mapping[str, str]) -> None:
        self.name, self.command, self._environment = name, command, dict(environment)
        self.log = folder / f"{name}.log"
        self.ended: Counter[int] = Counter()
        self._launching = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._meant = False
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """Of the process that runs now. Raises AssertionError while there is none."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start it, and start it again whenever it ends by itself."""
        await self._launch(None)
        self._keeper = asyncio.create_task(self._keep())

    async def _launch(self, former: asyncio.subprocess.Process | None) -> None:
        """In place of the former one, unless somebody else has done it."""
        async with self._launching:
            if self._process is not former:
                return
            with self.log.open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT, env=self._environment,
                    start_new_session=True,
                )  # fmt: skip
            self._process, self._meant = process, False

    async def _keep(self) -> None:
        while True:
            process = self._process
            assert process is not None
            code = await process.wait()
            if self._process is process and not self._meant:
                self.ended[code] += 1
                await asyncio.sleep(0.5)
                if not self._meant:
                    await self._launch(process)
            else:
                await asyncio.sleep(0.05)

    async def again(self, number: signal.Signals, pause: float) -> None:
        """End it by a signal, wait, start it again. One that does not end within a minute is killed, and that is
        counted as code -1000."""
        process = self._process
        assert process is not None
        self._meant = True
        self._send(process, number)
        try:
            await asyncio.wait_for(process.wait(), PATIENCE_S)
        except TimeoutError:
            self.ended[-1000] += 1
            self._send(process, signal.SIGKILL)
            await process.wait()
        await asyncio.sleep(pause)
        await self._launch(process)

    async def stop_for(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after so many seconds."""
        process = self._process
        assert process is not None
        self._send(process, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._send(process, signal.SIGCONT)

    async def close(self, patience: float = 30.0) -> None:
        """End it for good."""
        if self._keeper is not None:
            self._keeper.cancel()
        process = self._process
        if process is None:
            return
        self._meant = True
        self._send(process, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), patience)
        except TimeoutError:
            self._send(process, signal.SIGKILL)
            await process.wait()

    @staticmethod
    def _send(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
        if process.returncode is None:
            os.kill(process.pid, number)
