"""`exk demo --paper` from end to end, and its judge: silent where nothing is wrong, loud at every planted defect."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from exchange_kernel.cli.demo.judge import Finding, VenueSide, compare
from exchange_kernel.cli.demo.orders import FAULTS, ONCE, WORDS, batch, first_wave, second_wave
from exchange_kernel.cli.demo.play import ACCOUNT, Demo
from exchange_kernel.models import IntentStatus
from exchange_kernel.state import SqlIntentStore

PATIENCE = 150
FOREIGN = 91
WANTED = [*first_wave(), *second_wave(1_800_000_000_000), *batch()]


@dataclass
class Ran:
    """A finished demo: what it printed, and the folders it worked in."""

    code: int
    said: str
    folder: Path

    def left(self) -> list[Path]:
        """Every file below its folder, besides what it was told to keep."""
        return [path for path in self.folder.rglob("*") if path.is_file() and "kept" not in path.parts]


def demo(folder: Path, *options: str, **environment: str) -> Ran:
    """Run the demo in an empty folder, with an empty temporary folder of its own."""
    here, temporary = folder / "here", folder / "tmp"
    here.mkdir()
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "exchange_kernel.cli.main", "demo", *options],
        cwd=here,
        env={**os.environ, "TMPDIR": str(temporary), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
    )
    return Ran(done.returncode, done.stdout, folder)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """One whole demo, which keeps what it makes."""
    return demo(tmp_path_factory.mktemp("demo"), "--paper", "--keep", "kept")


def test_the_demo_agrees_with_the_venue_s_ledger(ran: Ran) -> None:
    """Orders, faults, a kill -9 with orders in flight, a new kernel; and in the end both sides say the same."""
    assert ran.code == 0, ran.said
    assert re.search(r"kill -9 \d+: [1-9]\d* orders in flight", ran.said)
    assert "Everything agrees" in ran.said
    assert "DIFFERS" not in ran.said
    assert ran.said.count("\n  ok  ") == 11
    assert re.search(r"\(exk verify\) \([1-9]\d+ checked\)", ran.said)


def test_every_kind_of_fault_that_is_forced_really_happened(ran: Ran) -> None:
    """The summary counts what the venue did to the kernel."""
    for kind, _, _ in ONCE:
        assert re.search(rf"\n +[1-9]\d*  {re.escape(WORDS[kind])}\n", ran.said), (kind, ran.said)


def test_the_demo_leaves_nothing_behind(ran: Ran, tmp_path: Path) -> None:
    """No process, and no file but what it was told to keep; none either when it cannot even begin."""
    assert ran.left() == []
    for number in re.findall(r"process (\d+), on SQLite", ran.said):
        with pytest.raises(ProcessLookupError):
            os.kill(int(number), 0)

    broken = tmp_path / "broken"
    (broken / "exchange_kernel_paper").mkdir(parents=True)
    (broken / "exchange_kernel_paper" / "__init__.py").write_text("raise SystemExit('no venue today')")
    failed = demo(tmp_path, "--paper", PYTHONPATH=str(broken))
    assert failed.code == 1
    assert "exk: the paper venue did not start: no venue today" in failed.said
    assert [path for path in failed.left() if broken not in path.parents] == []


def test_what_is_kept_can_be_looked_at(ran: Ran) -> None:
    """With --keep the store and the configuration stay, and the other commands work on them."""
    here = ran.folder / "here"
    command = [sys.executable, "-m", "exchange_kernel.cli.main", "get", "orders", "-c", "kept/exk.yaml"]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert re.search(r"\nto-be-cancelled +paper_main +BTC/USD +SELL +CANCELED", done.stdout)
    again = subprocess.run(
        [*command[:3], "demo", "--paper", "--keep", "kept"], cwd=here, capture_output=True, text=True
    )
    assert (again.returncode, again.stderr) == (2, "exk: kept is not empty\n")


# ---- the judge ------------------------------------------------------------------------------------------------------


@dataclass
class Bench:
    """The kept store, and a venue's side that agrees with it in everything."""

    orders: dict[str, list[dict[str, Any]]]
    resting: dict[str, dict[str, Any]]
    foreign: dict[int, bool]
    store: Path
    clients: list[list[str]]

    def findings(self) -> list[Finding]:
        async def run() -> list[Finding]:
            store = SqlIntentStore(f"sqlite:///{self.store}")
            await store.open()
            side = VenueSide(self.orders, self.resting, self.foreign)
            found = await compare(WANTED, side, store, ACCOUNT)
            await store.close()
            return found

        return asyncio.run(run())


@pytest.fixture
def bench(ran: Ran) -> Bench:
    """Built from the store alone, so that it agrees by construction."""
    path = ran.folder / "here" / "kept" / "exk.db"

    async def build() -> Bench:
        store = SqlIntentStore(f"sqlite:///{path}")
        await store.open()
        orders: dict[str, list[dict[str, Any]]] = {}
        resting: dict[str, dict[str, Any]] = {}
        clients: list[list[str]] = []
        for wanted in WANTED:
            record = await store.record(ACCOUNT, wanted.intent_id)
            assert record is not None
            clients.append([next(i.value for i in each.ids if i.kind == "client") for each in record.attempts])
            for attempt in record.attempts:
                if not attempt.seen:
                    continue
                client = next(each.value for each in attempt.ids if each.kind == "client")
                fills = sum(fill.attempt == attempt.n for fill in record.fills)
                orders[client] = [
                    {
                        "symbol": wanted.order.symbol_id,
                        "side": wanted.order.side.value,
                        "base": str(attempt.booked_base),
                        "quote": str(attempt.booked_quote),
                        "fills": fills,
                        "status": "WORKING" if attempt.state.live else "FILLED",
                    }
                ]
                if attempt.state.live:
                    order = record.intent.order
                    resting[client] = {"limit": str(order.limit_price), "amount": str(order.amount)}
        await store.close()
        return Bench(orders, resting, {FOREIGN: True}, path, clients)

    return asyncio.run(build())


def test_the_judge_finds_nothing_where_all_agrees(bench: Bench) -> None:
    """The base case of every test below."""
    assert [(each.what, each.against) for each in bench.findings() if each.against] == []
    assert all(each.cases for each in bench.findings())


def _doubled(bench: Bench) -> None:
    client = next(iter(bench.resting))
    bench.orders[client].append(dict(bench.orders[client][0], base="0", quote="0", fills=0))


def _revived(bench: Bench) -> None:
    bench.resting.update({client: {"limit": "1", "amount": "1"} for client in bench.orders})


def _two_live(bench: Bench) -> None:
    tried_again = next(clients for clients in bench.clients if len(clients) > 1)
    bench.resting.update({client: {"limit": "1", "amount": "1"} for client in tried_again})


def _executed_more(bench: Bench) -> None:
    next(order for (order,) in bench.orders.values() if order["fills"])["base"] = "1000000"


def _lost_fill(bench: Bench) -> None:
    next(order for (order,) in bench.orders.values() if order["fills"])["fills"] += 1


def _gone(bench: Bench) -> None:
    bench.resting.pop(next(iter(bench.resting)))


def _other_price(bench: Bench) -> None:
    next(iter(bench.resting.values()))["limit"] = "123"


def _other_amount(bench: Bench) -> None:
    next(iter(bench.resting.values()))["amount"] = "123"


def _unknown(bench: Bench) -> None:
    bench.orders["exkabcdef"] = [dict(next(iter(bench.orders.values()))[0], base="0", quote="0", fills=0)]


def _foreign_gone(bench: Bench) -> None:
    bench.foreign[FOREIGN] = False


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (_doubled, "an attempt became at most one order"),
        (_executed_more, "nothing was executed beyond what was asked"),
        (_executed_more, "our fills are the venue's fills"),
        (_executed_more, "positions are the sum of the venue's executions"),
        (_lost_fill, "our fills are the venue's fills"),
        (_gone, "our statuses are the venue's"),
        (_two_live, "an intent has at most one live order"),
        (_revived, "our statuses are the venue's"),
        (_other_price, "our statuses are the venue's"),
        (_other_amount, "our statuses are the venue's"),
        (_unknown, "every order of ours at the venue is known to the store"),
        (_foreign_gone, "orders of others were left alone"),
    ],
)
def test_the_judge_finds_each_defect(bench: Bench, spoil: Callable[[Bench], None], what: str) -> None:
    """A check that cannot fail is worth nothing: each one fails for what it is there for."""
    spoil(bench)

    assert [each.what for each in bench.findings() if each.what == what and each.against] == [what]


def test_an_intent_that_ended_wrongly_or_is_lost_is_found(bench: Bench) -> None:
    """Where an intent should have come to another end, or is not in the store at all, the judge says so."""

    async def run() -> list[Finding]:
        store = SqlIntentStore(f"sqlite:///{bench.store}")
        await store.open()
        side = VenueSide(bench.orders, bench.resting, bench.foreign)
        wrong = replace(WANTED[0], ends=frozenset({IntentStatus.REJECTED}))
        lost = replace(WANTED[1], intent_id="never-declared")
        found = await compare([wrong, lost], side, store, ACCOUNT)
        await store.close()
        return found

    against = {each.what: each.against for each in asyncio.run(run())}
    assert against["intents that were acknowledged are in the store"] == ("never-declared is not in the store",)
    assert len(against["each intent came to where it was meant to"]) == 1


def test_a_difference_or_a_timeout_fails_the_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only a complete agreement is a success."""
    demo = Demo(tmp_path, 1)
    good, bad = Finding("good", 3, ()), Finding("bad", 2, ("one case",))

    assert demo._sum_up([good], {"late": 1}, ["x"], settled=True)
    assert not demo._sum_up([good], {"late": 1}, ["x"], settled=False)
    assert not demo._sum_up([good, bad], {"late": 1}, ["x"], settled=True)
    assert "DIFFERS  bad (2 checked)" in capsys.readouterr().out


def test_every_fault_has_words() -> None:
    """The summary can name whatever is switched on."""
    assert {kind for kind, *_ in (*FAULTS, *ONCE)} <= set(WORDS)
