"""Following orders at the shell: `why`, `history`, `wait`, `get --watch`, and what explains itself."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from core.tests.processes import Daemon, Shell, Venue, configure, wait_for
from exchange_kernel.cli.explain import _roots
from exchange_kernel.cli.main import COMMANDS, cli

PLACE = ("place", "BTC/USD", "buy", "0.5", "--limit")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell beside a running kernel on a paper venue."""
    folder = tmp_path_factory.mktemp("following")
    with Venue(folder) as venue:
        configure(folder, venue)
        with Daemon(folder) as daemon:
            yield Shell(folder)
            assert daemon.stop() == 0


@pytest.fixture
def idle(tmp_path: Path) -> Shell:
    """A shell with a store, and no kernel; one order waits in it."""
    shell = Shell(tmp_path)
    shell.config.write_text("accounts: {solo: {venue: paper, config: {balances: {USD: 100000}}}}")
    shell.ok("db", "upgrade")
    shell.ok(*PLACE, "40000", "--id", "waits")
    return shell


# ---- why ------------------------------------------------------------------------------------------------------------


def test_why_names_all_that_holds_an_order(idle: Shell) -> None:
    """No kernel, a halted account, a configuration that only observes it or has forgotten it: each by its name."""
    told = idle.ok("why", "waits")
    assert told.startswith("PENDING: nothing of it has been sent yet\n")
    assert "held: no kernel runs account solo now: exk run" in told
    assert re.search(r"next: where it was not sent by 20\S+Z, it expires", told)

    idle.ok("halt", "-A", "solo", "--actor", "me\x1b[2J", "--reason", "lunch")
    told = idle.ok("why", "waits")
    assert r"held: the account is halted by me\x1b[2J: lunch; only cancels are sent" in told
    assert "\x1b" not in told

    idle.config.write_text(idle.config.read_text().replace("venue: paper", "venue: paper, mode: observe"))
    assert "held: the account is only observed (mode: observe)" in idle.ok("why", "waits")
    idle.config.write_text("accounts: {other: {venue: paper}}")
    found = idle.json("why", "waits")
    assert (found["account"], found["status"]) == ("solo", "PENDING")
    assert {"kind": "held", "text": "account solo is not in exk.yaml: no kernel of it works on this"} in found[
        "because"
    ]
    assert "have no such intent" in idle.refused(4, "why", "nothing")


def test_why_tells_what_the_venue_said(shell: Shell) -> None:
    """A working order, and one that the venue refused: with its words, and nothing that holds it where nothing does."""
    shell.ok(*PLACE, "40000", "--id", "why-1")
    shell.ok("wait", "why-1", "--for", "WORKING")
    told = shell.ok("why", "why-1")
    assert told.startswith("WORKING: it is at the venue and nothing of it has executed\n")
    assert "held:" not in told
    assert "newest: attempt 1 is LIVE, the venue says working" in told
    assert "its PLACE of" in told
    shell.ok("cancel", "why-1")
    shell.ok("wait", "why-1")
    assert shell.ok("why", "why-1").startswith("CANCELED: it is proved that nothing of it can execute any more\n")

    shell.ok("place", "BTC/USD", "buy", "900000", "--limit", "50000", "--id", "why-2")
    shell.ok("wait", "why-2", "--for", "REJECTED")
    assert "funds" in shell.ok("why", "why-2").lower()


# ---- history --------------------------------------------------------------------------------------------------------


def test_history_tells_the_steps_in_order(shell: Shell) -> None:
    """What happened, by whom and why; the same as lines, rows and a watch that ends with the order."""
    shell.ok(*PLACE, "40000", "--id", "past")
    shell.ok("wait", "past", "--for", "WORKING")
    shell.ok(*PLACE, "40000", "--id", "another")
    shell.ok("cancel", "past", "--reason", "enough")
    shell.ok("wait", "past", "another", "--for", "synced")
    lines = shell.ok("history", "past").splitlines()
    kinds = [each["event"] for each in shell.json("history", "past")]
    assert kinds[:2] == ["IntentCreated", "OrderSubmitted"]
    assert "OrderCanceled" in kinds
    assert len(lines) == len(kinds)
    assert all(kind in line for kind, line in zip(kinds, lines, strict=True))
    assert "by cli:tester" in lines[0]
    assert any("CancelRequested" in line and "(enough)" in line for line in lines)
    assert all(re.search(r"\+\d+\.\d{3} s", line) for line in lines[1:])
    watched = shell.ok("history", "past", "--watch").splitlines()
    assert watched == lines
    assert [json.loads(line)["event"] for line in shell.ok("history", "past", "-w", "-o", "json").splitlines()] == kinds


# ---- wait -----------------------------------------------------------------------------------------------------------


def test_waiting_ends_when_it_is_so(shell: Shell) -> None:
    """For a status, for the end, for what is wanted: of every order named, printed in the order of the command."""
    shell.ok(*PLACE, "60000", "--id", "w-1")
    shell.ok(*PLACE, "40000", "--id", "w-2")
    assert shell.ok("wait", "w-2", "w-1", "--for", "synced") == "paper_main w-2: WORKING\npaper_main w-1: FILLED\n"
    assert [each["status"] for each in shell.json("wait", "w-1", "--for", "filled")] == ["FILLED"]
    shell.ok("modify", "w-2", "--limit", "40100")
    shell.ok("wait", "w-2", "--for", "synced")
    assert shell.order("w-2")["observed"] == "2/2"
    shell.ok("cancel", "w-2")
    assert "w-2: CANCELED" in shell.ok("wait", "w-2")


def test_waiting_for_what_will_not_be_ends(shell: Shell, idle: Shell) -> None:
    """An order that finished otherwise ends it at once; the time, with another exit code; a slip is no goal."""
    shell.ok(*PLACE, "60000", "--id", "w-3")
    shell.ok("wait", "w-3")
    assert "w-3 is FILLED (executed in full): it will never be WORKING" in shell.refused(
        1, "wait", "w-3", "--for", "WORKING", "--timeout", "20"
    )
    assert "not finished within 0.2 s: waits is PENDING" in idle.refused(8, "wait", "waits", "--timeout", "0.2")
    assert "did you mean FILLED?" in idle.refused(2, "wait", "waits", "--for", "filed")
    assert "is nothing to wait for" in idle.refused(2, "wait", "waits", "--for", "condition=")
    assert "have no such intent" in idle.refused(4, "wait", "waitz")


# ---- get --watch, and selectors -------------------------------------------------------------------------------------


def test_a_watch_prints_what_changes_once(shell: Shell) -> None:
    """What is there comes first, then each change as it is seen, and nothing twice; labels choose."""
    command = [sys.executable, "-m", "exchange_kernel.cli.main", "get", "orders", "-w", "-o", "json", "-l", "watched"]
    environment = {**os.environ, "EXK_CONFIG": str(shell.config)}
    shell.ok(*PLACE, "40000", "--id", "g-1", "--label", "watched=1")
    shell.ok("wait", "g-1", "--for", "WORKING")
    shell.ok(*PLACE, "40000", "--id", "g-other")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as child:
        assert child.stdout is not None
        try:
            rows: list[dict[str, Any]] = [json.loads(child.stdout.readline())]
            shell.ok("cancel", "--all", "-l", "watched=1")
            while rows[-1]["status"] != "CANCELED":
                rows.append(json.loads(child.stdout.readline()))
        finally:
            child.send_signal(signal.SIGINT)
            rest, said = child.communicate(timeout=10)
    assert rows[0]["status"] == "WORKING"
    assert {row["id"] for row in rows} == {"g-1"}
    assert all(first != second for first, second in itertools.pairwise(rows))
    assert b"Traceback" not in said
    assert rest == b""
    assert shell.order("g-other")["status"] in ("PENDING", "SUBMITTING", "WORKING")
    assert "exk events --follow" in shell.run("get", "events", "-w").stderr
    assert "go with --all" in shell.run("cancel", "g-other", "-l", "x").stderr
    wait_for(lambda: shell.order("g-other")["status"] == "WORKING", "the other order")


# ---- what explains itself -------------------------------------------------------------------------------------------


def test_every_field_can_be_explained() -> None:
    """Whatever an order file or a configuration may hold has a page, and a slip has a proposal."""
    done = CliRunner().invoke(cli, ["explain", "order.spec.conditional_trigger.kind"])
    assert done.stdout.startswith("Order.spec.conditional_trigger.kind  <STOP_LOSS | TAKE_PROFIT | TRAILING_STOP>")
    asked = list(_roots())
    pages = 0
    while asked:
        path = asked.pop()
        done = CliRunner().invoke(cli, ["explain", path])
        assert done.exit_code == 0, f"{path}: {done.output}"
        pages += 1
        asked += [f"{path}.{name}" for name in re.findall(r"^  (\w+)(?: \*)? +<", done.stdout, re.MULTILINE)]
    assert pages > 90
    for path, said in (
        ("Order.spec.limt_price", "did you mean limit_price?"),
        ("Ordr", "did you mean Order?"),
        ("config.accounts.mode.x", "there are no fields"),
        ("", "there are Order, OrderGroup, config"),
    ):
        done = CliRunner().invoke(cli, ["explain", path])
        assert (done.exit_code, said in done.stderr) == (2, True), done.output


@pytest.mark.parametrize(
    ("words", "offered"),
    [("exk ac", ["accounts"]), ("exk get ord", ["orders"]), ("exk why x -A so", ["solo"]), ("exk", list(COMMANDS))],
)
def test_the_shell_completes(words: str, offered: list[str], idle: Shell) -> None:
    """Commands, choices and configured accounts; nothing of it imports every command, or shows an error."""
    typed = len(words.split()) - (words != "exk")
    environment = {"EXK_CONFIG": str(idle.config), "_EXK_COMPLETE": "bash_complete"}
    code = "import sys; from exchange_kernel.cli.main import cli; cli.main(prog_name='exk')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            **environment,
            "COMP_WORDS": f"{words} " if words == "exk" else words,
            "COMP_CWORD": str(typed),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert [line.partition(",")[2] for line in done.stdout.split()] == offered, done
    assert done.stderr == ""


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(shell_name: str) -> None:
    """The script names the variable that asks for completions."""
    assert "_EXK_COMPLETE" in CliRunner().invoke(cli, ["completion", shell_name]).stdout
