"""Killed at any moment, a store keeps what it answered, and nothing by halves (S12)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from core.tests.state.build import ACCOUNT
from exchange_kernel.state import SqlIntentStore
from exchange_kernel.state.sql.verify import verify
from exchange_kernel.state.sql.witness import Witness

ROOT = Path(__file__).resolve().parents[3]
KILLS = 20


def test_what_was_answered_survives_sigkill(tmp_path: Path) -> None:
    """Twenty times a process that trades is killed in the middle of it: every answered step is there, the database is
    whole, the log tells the rows, the witness is not ahead, and nothing is suspected."""
    path = tmp_path / "store.db"
    url = f"sqlite:///{path}"
    chance = random.Random(7)
    answered: dict[str, str] = {}
    command = [sys.executable, "-m", "core.tests.state.crash_child", url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        assert child.stdin is not None
        for kill in range(KILLS):
            child.stdin.write(f"{kill}\n")
            child.stdin.flush()
            kill_after(child.stdout, chance.randrange(1, 150), answered)
            with contextlib.closing(sqlite3.connect(path)) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                commits = connection.execute("SELECT commit_seq FROM store").fetchone()[0]
            said = Witness(Path(f"{path}.witness")).read()
            assert said is not None
            assert said.counters["commits"] <= commits
        child.stdin.close()
        child.wait()
    assert len(answered) > KILLS
    asyncio.run(check(url, answered))


def kill_after(lines: Any, answers: int, answered: dict[str, str]) -> None:
    """Read answers, kill the process after so many, and read what it had still said."""
    pid = int(lines.readline().split()[1])
    for line in lines:
        kind, _, name = line.strip().partition(" ")
        if kind == "end":
            return
        assert kind in "csb", line
        answered[name] = kind
        answers -= 1
        if answers == 0:
            os.kill(pid, signal.SIGKILL)


async def check(url: str, answered: dict[str, str]) -> None:
    """Everything that was answered is in the store."""
    store = SqlIntentStore(url)
    assert await store.open() is None
    for name, kind in answered.items():
        record = await store.record(ACCOUNT, name)
        assert record is not None, name
        assert kind == "c" or len(record.attempts) == 1, name
        assert kind != "b" or [fill.id for fill in record.fills] == [f"fill {name}"], name
    assert (await verify(store, ACCOUNT)).differences == ()
    await store.close()
