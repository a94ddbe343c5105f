"""The emergency brake: it empties an account with nothing but credentials, and the account stays halted."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.tests.processes import Daemon, Shell, Venue, configure, wait_for
from exchange_kernel import Platform, Side, StandardOrder
from exchange_kernel.clock import SystemClock, SystemIds
from exchange_kernel.config import load
from exchange_kernel.errors import AccountHalted, Unavailable
from exchange_kernel.panic import PanicResult, journal_path, panic
from exchange_kernel.plugins import load as load_plugins
from exchange_kernel.venue import Context
from exchange_kernel_paper.exchange import Exchange
from exchange_kernel_paper.registry import EXCHANGES

WHO = ("--actor", "ann", "--reason", "fire")
OURS = (("BTC/USD", "buy", "0.1", "40000"), ("BTC/USD", "sell", "0.2", "60000"), ("ETH/USD", "buy", "1", "2000"))
SHORT = {"window_ms": 1000, "future_ms": 100}
FOREIGN = {"symbol": "BTC/USD", "side": "BUY", "amount": "0.3", "limit": "41000", "tif": "GTC"}


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Venue]:
    """A paper venue with three orders of ours, placed by a kernel that was killed then, and one of somebody else."""
    with Venue(tmp_path, **SHORT) as venue:
        configure(tmp_path, venue)
        venue.order("manual-1", **FOREIGN)
        with Daemon(tmp_path):
            for symbol, side, amount, limit in OURS:
                Shell(tmp_path).ok("place", symbol, side, amount, "--limit", limit)
            wait_for(lambda: len(venue.orders(live=True)) == 4, "the orders")
        yield venue


def journal(folder: Path) -> list[dict[str, Any]]:
    lines = journal_path(folder / ".exk", "paper_main").read_text().splitlines()
    return [json.loads(line) for line in lines]


def locked(folder: Path) -> Callable[[], None]:
    """Hold the database's lock, as a process that hangs would."""
    holder = sqlite3.connect(folder / "exk.db", isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    return holder.close


def removed(folder: Path) -> Callable[[], None]:
    """Move the database away, and back."""
    files = list(folder.glob("exk.db*"))
    away = folder / "away"
    away.mkdir()
    for file in files:
        file.rename(away / file.name)

    def back() -> None:
        for file in files:
            (away / file.name).rename(file)

    return back


def broken(folder: Path) -> Callable[[], None]:
    """Overwrite the database with rubbish, and restore it."""
    good = {file: file.read_bytes() for file in folder.glob("exk.db*")}
    for file in good:
        file.write_bytes(os.urandom(8192))

    def repair() -> None:
        for file in {*folder.glob("exk.db*")} - {*good}:
            file.unlink()
        for file, content in good.items():
            file.write_bytes(content)

    return repair


@pytest.mark.parametrize("dead", [None, locked, removed, broken], ids=["works", "locked", "removed", "broken"])
def test_panic_empties_the_account_whatever_became_of_the_store(
    venue: Venue, tmp_path: Path, dead: Callable[[Path], Callable[[], None]] | None
) -> None:
    """All of ours is cancelled and nothing of others, with the kernel killed and the store gone; what was done is in
    the journal; the next start is halted, with actor and reason; resuming works."""
    shell = Shell(tmp_path)
    revive = dead(tmp_path) if dead is not None else lambda: None
    said = shell.ok("panic", "--account", "paper_main", *WHO)
    revive()

    assert "3 cancelled, 0 left open, 1 of others untouched" in said
    assert ("not halted in the store" in said) == (dead is not None)
    assert [order["client"] for order in venue.orders(live=True)] == ["manual-1"]
    entries = journal(tmp_path)
    assert entries[0] | {"at": 0} == {
        "at": 0,
        "kind": "halt",
        "account": "paper_main",
        "actor": "ann",
        "reason": "fire",
    }
    assert sum(entry["kind"] == "answer" and entry["answer"] == "ok" for entry in entries) == 3
    assert entries[-1]["kind"] == "done"

    with Daemon(tmp_path) as daemon:
        assert "sends nothing: halted: ann: panic: fire" in daemon.log.read_text()
        order = ("place", "BTC/USD", "buy", "0.1", "--limit", "40000")
        assert "is halted by ann: panic: fire" in shell.refused(3, *order)
        assert not journal_path(tmp_path / ".exk", "paper_main").exists()
        assert list((tmp_path / ".exk").glob("panic-paper_main.imported-*.jsonl"))

        def seen() -> bool:
            return {row["status"] for row in shell.json("get", "orders")} == {"CANCELED"}

        wait_for(seen, "the kernel's knowledge of the cancellations")
        resumed = shell.ok("resume", "--account", "paper_main", "--actor", "ann", "--reason", "over")
        assert resumed == "paper_main is resumed\n"
        shell.ok(*order)
        wait_for(lambda: len(venue.orders(live=True)) == 2, "the order after the halt")
    assert "in order" in shell.ok("verify")


def test_panic_stops_a_kernel_that_runs(tmp_path: Path) -> None:
    """A running kernel is halted through the store, and places nothing more."""
    order = ("place", "BTC/USD", "buy", "0.1", "--limit", "40000")
    with Venue(tmp_path, **SHORT) as venue:
        shell = Shell(tmp_path)
        configure(tmp_path, venue)
        with Daemon(tmp_path):
            shell.ok(*order)
            wait_for(lambda: len(venue.orders(live=True)) == 1, "the order")
            assert "halted in the store" in shell.ok("panic", "--all", *WHO)
            assert venue.orders(live=True) == []
            shell.refused(3, *order)
            assert venue.orders(live=True) == []


def test_panic_says_when_the_venue_cannot_be_reached(tmp_path: Path) -> None:
    """Exit code 1, and the account is halted all the same when its kernel starts next."""
    with Venue(tmp_path) as venue:
        configure(tmp_path, venue)
    done = Shell(tmp_path).run("panic", "--all", *WHO)

    assert done.exit_code == 1
    assert "FAILED, orders may be open" in done.stdout
    assert journal(tmp_path)[0]["kind"] == "halt"


def test_one_account_s_trouble_does_not_keep_the_others_from_being_emptied(venue: Venue, tmp_path: Path) -> None:
    """Accounts are emptied side by side; the broken one is named, and the exit code tells of it."""
    config = tmp_path / "exk.yaml"
    config.write_text(config.read_text() + "  bare: {venue: paper, secrets: {secret: 'env:EXK_TEST_UNSET'}}\n")
    done = Shell(tmp_path).run("panic", "--all", *WHO)

    assert done.exit_code == 1
    assert "paper_main: 3 cancelled, 0 left open" in done.stdout
    assert "bare: FAILED, orders may be open: accounts.bare.secrets.secret" in done.stdout
    assert [order["client"] for order in venue.orders(live=True)] == ["manual-1"]


# ---- in process -----------------------------------------------------------------------------------------------------


async def until(true: Callable[[], bool]) -> None:
    """Wait until it is true."""
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)


class Stage:
    """An in-process paper exchange, a platform on it, and panics."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.name = folder.name
        more = "".join(f", {key}: {value}" for key, value in (SHORT | settings).items())
        self.file = folder / "exk.yaml"
        self.file.write_text(
            f"accounts: {{a: {{venue: paper, config: {{venue: {self.name!r}, balances: {{USD: 100000}}{more}}}}}}}\n"
        )
        self.config = load(self.file)

    @property
    def exchange(self) -> Exchange:
        found = EXCHANGES.get(self.name)
        assert found is not None
        return found

    async def place(self, count: int) -> None:
        """Orders of ours that rest, from a kernel that is stopped then."""
        async with Platform(self.config) as platform:
            for _ in range(count):
                await platform["a"].place_order(StandardOrder("BTC/USD", Side.BUY, "0.01", limit_price="40000"))
            await until(lambda: len(self.exchange.account("a").open) == count)

    async def panic(self, **options: Any) -> PanicResult:
        account = self.config.account("a")
        clock = SystemClock()
        context = Context("a", account.config, clock.now_ms, clock.sleep)
        return await panic(
            "a",
            load_plugins().venue("paper")(),
            context,
            self.config.state_dir,
            actor="ann",
            reason="fire",
            clock=clock,
            ids=SystemIds(),
            **options,
        )


def test_an_order_under_way_is_waited_for(tmp_path: Path) -> None:
    """An order sent just before, which arrives after the first look, is cancelled too: the panic ends only when none
    can arrive any more."""

    async def run() -> None:
        stage = Stage(tmp_path)
        await stage.place(1)
        stage.exchange.faults.once("late", "order", ms=900)
        async with Platform(stage.config) as platform:
            await platform["a"].place_order(StandardOrder("BTC/USD", Side.BUY, "0.01", limit_price="40000"))
            await until(lambda: bool(stage.exchange.faults.counts["late"]))
        assert len(stage.exchange.account("a").open) == 1
        result = await stage.panic()
        assert (len(result.canceled), result.left, result.doubt) == (2, (), "")
        assert not stage.exchange.account("a").open

    asyncio.run(run())


def test_faults_are_outlasted(tmp_path: Path) -> None:
    """Lost requests, lost answers, refusals for the rate and failed reads: the account is empty in the end."""

    async def run() -> None:
        stage = Stage(tmp_path)
        await stage.place(6)
        for kind, op in (
            ("unavailable", "open"),
            ("request_lost", "cancel"),
            ("answer_lost", "cancel"),
            ("rate_limit", "cancel"),
        ):
            stage.exchange.faults.once(kind, op, times=2, ms=50)
        result = await stage.panic()
        assert (result.left, result.doubt) == ((), "")
        assert not stage.exchange.account("a").open
        assert result.errors

    asyncio.run(run())


def test_a_venue_that_does_not_let_go_is_reported(tmp_path: Path) -> None:
    """When its patience is over the panic says what was left, and why."""

    async def run() -> None:
        stage = Stage(tmp_path)
        await stage.place(2)
        stage.exchange.faults.set("request_lost", 1.0, "cancel")
        result = await stage.panic(patience_ms=500)
        assert len(result.left) == 2
        assert result.doubt == "2 orders were still open"
        assert result.canceled == ()

    asyncio.run(run())


def test_a_read_that_never_succeeds_is_no_empty_account(tmp_path: Path) -> None:
    """Not being able to look is not the same as seeing nothing."""

    async def run() -> None:
        stage = Stage(tmp_path)
        await stage.place(1)
        stage.exchange.faults.set("unavailable", 1.0, "open")
        result = await stage.panic(patience_ms=300)
        assert result.doubt == "the venue's open orders could not be read"

    asyncio.run(run())


@pytest.mark.parametrize("fence", ["none", "permanent_key"])
def test_a_venue_without_a_time_limit_leaves_a_doubt(tmp_path: Path, fence: str) -> None:
    """Where a request may arrive at any time later, an empty account is no proof, and the panic says so."""

    async def run() -> None:
        stage = Stage(tmp_path, fence=fence)
        await stage.place(2)
        result = await stage.panic(foreign_too=fence == "none")
        assert not stage.exchange.account("a").open
        assert "no time limit" in result.doubt

    asyncio.run(run())


def test_where_orders_cannot_be_told_apart_the_panic_says_so(tmp_path: Path) -> None:
    """Without client ids ours look like anybody's: nothing is cancelled unasked, and the doubt is reported."""

    async def run() -> None:
        stage = Stage(tmp_path, fence="none")
        await stage.place(2)
        result = await stage.panic()
        assert len(result.foreign) == 2
        assert "no client ids: 2 open orders may be ours" in result.doubt
        assert len(stage.exchange.account("a").open) == 2

    asyncio.run(run())


def test_numbers_of_a_chain_are_used_in_order(tmp_path: Path) -> None:
    """On a venue of transactions each cancel takes the next number, and the orders are gone after a few blocks."""

    async def run() -> None:
        stage = Stage(tmp_path, fence="sequence", block_ms=100)
        await stage.place(3)
        result = await stage.panic()
        assert result.left == ()
        assert not stage.exchange.account("a").open

    asyncio.run(run())


def test_foreign_orders_are_cancelled_only_when_told(tmp_path: Path) -> None:
    """Others' orders are counted and left alone; with `foreign_too` they go as well."""

    async def run() -> None:
        stage = Stage(tmp_path)
        await stage.place(1)
        life = {"ts": stage.exchange.now, "window": 2000}
        request = {"op": "order", "account": "a", "client": "manual", **life, **(FOREIGN | {"amount": "0.1"})}
        stage.exchange.trade("a", request)
        assert len((await stage.panic()).foreign) == 1
        assert len(stage.exchange.account("a").open) == 1
        result = await stage.panic(foreign_too=True)
        assert (len(result.canceled), result.foreign, result.doubt) == (1, (), "")
        assert not stage.exchange.account("a").open

    asyncio.run(run())


def test_a_running_kernel_sees_the_journal_without_the_store(tmp_path: Path) -> None:
    """A panic on the same machine stops the kernel by its journal alone, and the halt is then in the store too."""

    async def run() -> None:
        stage = Stage(tmp_path)
        async with Platform(stage.config) as platform:
            order = StandardOrder("BTC/USD", Side.BUY, "0.01", limit_price="40000")
            await platform["a"].place_order(order)
            await stage.panic()
            await until(lambda: not journal_path(stage.config.state_dir, "a").exists())
            with pytest.raises(AccountHalted, match="ann: panic: fire"):
                await platform["a"].place_order(order)
            assert not stage.exchange.account("a").open

    asyncio.run(run())


def test_a_venue_that_is_down_raises_and_leaves_the_journal(tmp_path: Path) -> None:
    """Nothing was cancelled, but the halt is written down for the next start."""

    async def run() -> None:
        stage = Stage(tmp_path)
        await stage.place(1)
        stage.exchange.outage(10_000)
        with pytest.raises(Unavailable):
            await stage.panic()
        assert journal_path(stage.config.state_dir, "a").read_text().startswith('{"at":')

    asyncio.run(run())


def test_a_journal_that_cannot_be_written_does_not_keep_orders_alive(tmp_path: Path) -> None:
    """The orders go all the same, and the result says that the next start may not be halted."""

    async def run() -> None:
        stage = Stage(tmp_path)
        await stage.place(1)
        stage.config.state_dir.write_text("a file stands where the folder should be")
        result = await stage.panic()
        assert (len(result.canceled), result.doubt) == (1, "")
        assert "exists" in result.journal
        assert not stage.exchange.account("a").open

    asyncio.run(run())


def test_a_torn_journal_still_halts(tmp_path: Path) -> None:
    """A journal whose lines cannot be read is still a panic."""

    async def run() -> None:
        stage = Stage(tmp_path)
        path = journal_path(stage.config.state_dir, "a")
        path.parent.mkdir()
        path.write_bytes(b'{"at":1,"kind":"ha\xff')
        async with Platform(stage.config) as platform:
            with pytest.raises(AccountHalted, match="panic"):
                await platform["a"].place_order(StandardOrder("BTC/USD", Side.BUY, "0.01", limit_price="40000"))

    asyncio.run(run())
