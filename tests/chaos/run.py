"""One run: a stage, users, faults by plan; then quiet, and the judge."""

from __future__ import annotations

import asyncio
import signal
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tests.chaos.judge import Judge, Owners, Verdict
from tests.chaos.load import Load, market
from tests.chaos.plan import Fault, Size, draw
from tests.chaos.programs import Program
from tests.chaos.stage import REDIS, Stage, stage

SILENCE_S = 8.0
VENUE_OPS = "order|amend|cancel"
Say = Callable[[str], None]


@dataclass
class Report:
    """What was done and found."""

    seed: int
    mutant: str
    intents: int
    faults: Counter[str] = field(default_factory=Counter)
    venue_faults: dict[str, int] = field(default_factory=dict)
    ended: dict[str, dict[int, int]] = field(default_factory=dict)
    users: dict[str, int] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    seconds: float = 0.0
    quiet_after: float = 0.0
    longest: float = 0.0

    def lines(self) -> list[str]:
        """For people."""
        told = [
            f"seed {self.seed}{f', with the defect {self.mutant!r}' if self.mutant else ''}:"
            f" {self.intents} intents, {self.faults.total()} faults, {self.seconds:.0f} s;"
            f" everything had arrived {self.quiet_after:.1f} s after the last fault",
            f"  the longest that a user had to ask for an answer: {self.longest:.1f} s",
            *(f"  injected  {count:5}  {name}" for name, count in sorted(self.faults.items())),
            *(f"  venue     {count:5}  {name}" for name, count in sorted(self.venue_faults.items())),
            *(f"  users     {count:5}  {name}" for name, count in sorted(self.users.items())),
            *(f"  found     {count:5}  {name}" for name, count in sorted(self.ends.items())),
            *(f"  {name} ended by itself, code: times {codes}" for name, codes in self.ended.items() if codes),
            f"  {len(self.broken)} violations",
        ]
        return told + [f"    {each}" for each in self.broken[:40]]


class Chaos:
    """Does to a stage what a plan says."""

    def __init__(self, at: Stage, counts: Counter[str], say: Say) -> None:
        self._at, self._counts, self._say = at, counts, say
        self._locks: dict[str, asyncio.Lock] = {}

    async def run(self, plan: list[Fault]) -> None:
        """Every fault at its time; back when all are over."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as under_way:
            for fault in plan:
                await asyncio.sleep(max(0.0, began + fault.at - time.monotonic()))
                under_way.create_task(self._one(fault))

    async def heal(self) -> None:
        """No fault any more."""
        for line in self._at.lines.values():
            line.heal()
        await self._at.control.do("clear_faults")

    async def _one(self, fault: Fault) -> None:
        which = f"{fault.kind.target} {fault.number}" if fault.kind.target == "worker" else fault.kind.target
        async with self._locks.setdefault(which, asyncio.Lock()):
            self._say(f"{fault}")
            await self._do(fault)
            self._counts[str(fault.kind)] += 1

    async def _do(self, fault: Fault) -> None:
        at, what, lasts = self._at, fault.kind.what, fault.lasts
        match fault.kind.target:
            case "worker" | "api" | "valkey" if what == "killed":
                await self._program(fault).again(signal.SIGKILL, lasts)
            case "worker" if what == "drained":
                await self._program(fault).again(signal.SIGTERM, lasts)
            case "worker" | "valkey" if what.startswith("stopped"):
                await self._program(fault).stop_for(lasts)
            case "valkey":
                await asyncio.to_thread(_flush, at.valkey_port)
            case "postgres" if what == "restarted":
                await asyncio.to_thread(at.postgres.stop, kill=True)
                await asyncio.sleep(lasts)
                await asyncio.to_thread(at.postgres.start)
            case "postgres":
                await asyncio.to_thread(_end_backends, at.url)
            case "venue":
                await self._venue(what, lasts)
            case _:
                await self._line(fault)

    def _program(self, fault: Fault) -> Program:
        at = self._at
        return {"worker": at.workers[fault.number], "api": at.api, "valkey": at.valkey}[fault.kind.target]

    async def _line(self, fault: Fault) -> None:
        line = self._at.lines[fault.kind.target.removesuffix(" line")]
        if fault.kind.what == "cut":
            await line.cut()
            return
        if fault.kind.what == "delayed":
            line.delay = 0.02
        else:
            line.stall()
        await asyncio.sleep(fault.lasts)
        line.heal()

    async def _venue(self, what: str, lasts: float) -> None:
        kind, share, ms = {
            "loses requests": ("request_lost", 0.5, [100, 2500]),
            "loses answers": ("answer_lost", 0.5, [100, 2500]),
            "takes requests late": ("late", 0.5, [200, 1900]),
        }[what]
        for op in VENUE_OPS.split("|"):
            await self._at.control.do("fault", kind, share, op, ms=ms)
        await asyncio.sleep(lasts)
        for op in VENUE_OPS.split("|"):
            await self._at.control.do("fault", kind, 0, op)


async def run(seed: int, size: Size, *, mutant: str = "", say: Say = print, folder: Path | None = None) -> Report:
    """One run. ``folder``: where the processes' logs are left."""
    folder = folder or Path(tempfile.mkdtemp(prefix="exk-chaos-"))
    say(f"seed {seed}; logs are in {folder}")
    report = Report(seed, mutant, size.intents)
    began = time.monotonic()
    without = size.without if REDIS or mutant else (*size.without, "valkey", "valkey line")
    plan = draw(seed, size.span, size.every, size.workers, without)
    async with stage(folder, seed, size.accounts, size.workers, mutant) as at:
        say(f"{time.monotonic() - began:.0f} s: everything runs; {len(plan)} faults in {size.span:.0f} s")
        load = Load(seed, at.accounts, at.api_url, at.token, size.rate)
        chaos = Chaos(at, report.faults, say)
        judge = Judge(at.url, at.control, at.accounts, load.wishes)
        done = asyncio.Event()
        telling = asyncio.create_task(_progress(began, load, report, say, at.url))
        owners = Owners(at.url)
        watching = asyncio.create_task(owners.watch())
        trading = asyncio.create_task(market(at.control, done))
        try:
            using = asyncio.create_task(load.run(size.intents))
            try:
                await chaos.run(plan)
                await chaos.heal()
                quiet_from = time.monotonic()
                with suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(using), size.span + size.quiet)
            finally:
                if not using.done():
                    report.broken.append("L1: users are still waiting for an answer")
                    using.cancel()
                    await asyncio.gather(using, return_exceptions=True)
                else:
                    using.result()
            quiet_from = max(quiet_from, time.monotonic())
            done.set()
            unsettled = ["?"]
            while unsettled and time.monotonic() < quiet_from + size.quiet:
                unsettled = await judge.unsettled()
                if unsettled:
                    await asyncio.sleep(0.5)
            report.quiet_after = time.monotonic() - quiet_from
            say(f"quiet after {report.quiet_after:.1f} s, {len(unsettled)} unsettled")
        finally:
            done.set()
            for task in (telling, watching):
                task.cancel()
            await asyncio.gather(telling, trading, watching, return_exceptions=True)
        for program in (*at.workers, at.api):
            await program.close()
            report.ended[program.name] = dict(program.ended)
        verdict: Verdict = await judge.judge()
        report.venue_faults = await at.control.do("counts")
        report.broken += [f"answer: {each}" for each in load.surprises]
        report.broken += owners.broken + verdict.broken
        verdict.counts["takeovers"] = owners.takeovers
        report.longest = load.longest
        report.ends, report.users = dict(verdict.counts), dict(load.counts)
    report.seconds = time.monotonic() - began
    return report


async def _progress(began: float, load: Load, report: Report, say: Say, url: str) -> None:
    while True:
        await asyncio.sleep(10)
        told = f"{load.counts['placed']} placed, {load.counts['changed']} changed, {load.counts['canceled']} canceled"
        say(f"{time.monotonic() - began:.0f} s: {told}, {report.faults.total()} faults")
        silent = time.monotonic() - load.answered
        if silent > SILENCE_S:
            say(f"nobody was answered for {silent:.0f} s; the database is doing")
            for line in await asyncio.to_thread(_activity, url):
                say(f"    {line}")


def _flush(port: int) -> None:
    """FLUSHALL, where anybody answers."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 2.0) as line:
        line.sendall(b"FLUSHALL\r\n")
        line.recv(64)


def _end_backends(url: str) -> None:
    with suppress(psycopg.Error), psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'exchange-kernel' AND datname = current_database() AND pid <> pg_backend_pid()"
        )


def _activity(url: str) -> list[str]:
    try:
        with psycopg.connect(url.replace("+psycopg", ""), connect_timeout=3, autocommit=True) as connection:
            rows = connection.execute(
                "SELECT pid, state, wait_event, pg_blocking_pids(pid), now() - state_change, left(query, 90) "
                "FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle'"
            )
            return [" ".join(str(each) for each in row) for row in rows]
    except psycopg.Error as error:
        return [f"nothing: {error}"]
