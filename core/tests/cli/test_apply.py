"""`exk apply` and `exk diff`, on real stores: whoever applies, how often, at once or killed on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from core.tests.processes import Daemon, Shell, Venue, configure, wait_for

EXK = [sys.executable, "-m", "exchange_kernel.cli.main"]


@pytest.fixture
def idle(tmp_path: Path) -> Shell:
    """A shell with an in-process paper venue, two accounts, no store yet and no kernel."""
    shell = Shell(tmp_path)
    rich = "{balances: {USD: 100000000}}"
    shell.config.write_text(
        f"accounts:\n  one: {{venue: paper, config: {rich}, limits: {{max_order_notional: 1000000}}}}\n"
        f"  two: {{venue: paper, config: {rich}}}\n"
    )
    (tmp_path / "orders").mkdir()
    return shell


def manifest(name: str, price: object = 100, account: str = "one", amount: object = "0.5", **labels: str) -> str:
    return (
        "---\napiVersion: exchange-kernel/v1\nkind: Order\n"
        f"metadata: {{name: {name}, account: {account}, labels: {json.dumps(labels)}}}\n"
        f"spec: {{symbol_id: BTC/USD, side: BUY, amount: {amount}, limit_price: {price}}}\n"
    )


def write(shell: Shell, **files: str) -> str:
    for name, text in files.items():
        (shell.folder / "orders" / f"{name}.yaml").write_text(text)
    return str(shell.folder / "orders")


def actions(shell: Shell, *arguments: str, stdin: str | None = None) -> dict[str, str]:
    return {row["name"]: row["action"] for row in shell.json("apply", *arguments, stdin=stdin)}


def intents(shell: Shell) -> dict[str, tuple[str, int, str]]:
    return {row["id"]: (row["price"], row["generation"], row["desired"]) for row in shell.json("get", "intents")}


def test_apply_makes_the_store_say_what_the_files_say(idle: Shell) -> None:
    """New, equal, changed: created, unchanged, modified; the files may be repeated, and a file may come by stdin."""
    folder = write(idle, a=manifest("a") + manifest("b", account="two"), b=manifest("c"))
    assert actions(idle, "-f", folder) == {"a": "created", "b": "created", "c": "created"}
    assert actions(idle, "-f", folder) == {"a": "unchanged", "b": "unchanged", "c": "unchanged"}
    write(idle, a=manifest("a", 101) + manifest("b", account="two"))
    assert actions(idle, "-f", folder) == {"a": "modified", "b": "unchanged", "c": "unchanged"}
    assert intents(idle) == {"a": ("101", 2, "ACTIVE"), "b": ("100", 1, "ACTIVE"), "c": ("100", 1, "ACTIVE")}
    assert actions(idle, "-f", "-", stdin=manifest("d")) == {"d": "created"}
    assert idle.ok("apply", "-f", folder, "-o", "name") == "order/a\norder/b\norder/c\n"


def test_what_is_wrong_anywhere_keeps_everything_from_being_written(idle: Shell) -> None:
    """Two files, an unknown symbol in one and an order above the limit in the other: both are told, with their places,
    and the store has heard of nothing."""
    idle.ok("db", "upgrade")
    folder = write(
        idle, a=manifest("a") + manifest("b").replace("BTC/USD", "BTC-USD"), b=manifest("c", 50_000, amount=100)
    )
    done = idle.run("apply", "-f", folder)
    assert done.exit_code == 3
    first, second, last = done.stderr.splitlines()
    assert first.endswith("a.yaml:10:8: symbol_id 'BTC-USD': one does not list it; did you mean BTC/USD?")
    assert "b.yaml:5:" in second
    assert "notional above max_order_notional 1000000" in second
    assert last == "exk: 2 errors; nothing was written"
    assert intents(idle) == {}
    found = json.loads(idle.run("apply", "-f", folder, "-o", "json").stderr.removeprefix("exk: "))
    assert [(each["line"], each["field"]) for each in found["errors"]] == [(10, "symbol_id"), (5, "amount")]


def test_what_is_finished_is_never_changed_and_never_made_again(idle: Shell) -> None:
    """A cancelled intent: the same file leaves it alone, another order under its name is refused."""
    folder = write(idle, a=manifest("a"), b=manifest("b"))
    idle.ok("apply", "-f", folder)
    idle.ok("cancel", "a", "--account", "one")
    assert actions(idle, "-f", folder) == {"a": "unchanged", "b": "unchanged"}
    write(idle, a=manifest("a", 101), b=manifest("b", 102))
    done = idle.run("apply", "-f", folder)
    assert done.exit_code == 3
    assert "is to be cancelled in account one, with another order" in done.stderr
    assert intents(idle) == {"a": ("100", 1, "CANCELED"), "b": ("100", 1, "ACTIVE")}


def test_what_cannot_change_is_refused_by_name(idle: Shell) -> None:
    """Another side, another symbol: the fields are named with their places."""
    folder = write(idle, a=manifest("a"))
    idle.ok("apply", "-f", folder)
    write(idle, a=manifest("a").replace("BUY", "SELL").replace("BTC/USD", "ETH/USD"))
    done = idle.run("apply", "-f", folder)
    assert done.exit_code == 3
    assert "symbol_id 'ETH/USD': is BTC/USD in intent a and cannot change" in done.stderr
    assert "side 'SELL': is BUY in intent a and cannot change" in done.stderr


def test_pruning_takes_what_files_made_and_nothing_else(idle: Shell) -> None:
    """Of what the selector chooses: an order placed by hand, one of another app and one that is named all stay."""
    folder = write(idle, a=manifest("a", app="x"), b=manifest("b", app="x"), c=manifest("c", app="y"))
    idle.ok("apply", "-f", folder)
    idle.ok("place", "BTC/USD", "buy", "1", "--limit", "99", "--id", "by-hand", "--label", "app=x", "--account", "one")
    kept = str(idle.folder / "orders" / "a.yaml")
    assert "nothing was written" in idle.run("apply", "-f", kept, "--prune", "-l", "app=x", "--dry-run=server").stderr
    assert intents(idle)["b"][2] == "ACTIVE"
    assert actions(idle, "-f", kept, "--prune", "-l", "app=x") == {"a": "unchanged", "b": "pruned"}
    assert {name: row[2] for name, row in intents(idle).items()} == {
        "a": "ACTIVE",
        "b": "CANCELED",
        "c": "ACTIVE",
        "by-hand": "ACTIVE",
    }
    assert idle.run("apply", "-f", kept, "--prune").exit_code == 2


def test_dry_runs_and_diff_write_nothing(idle: Shell) -> None:
    """client reads the files only; server says what would be sent; diff says what would change, and exits 7."""
    folder = write(idle, a=manifest("a"))
    assert idle.json("apply", "-f", folder, "--dry-run=client")[0]["action"] == "read"
    assert not (idle.folder / "exk.db").exists()
    idle.ok("db", "upgrade")
    row = idle.json("apply", "-f", folder, "--dry-run=server")[0]
    assert (row["action"], row["would_send"]) == ("created", "BUY 0.5 BTC/USD at 100")
    assert row["costs_at_most"]["USD"].startswith("50.")
    assert row["plan"]
    assert intents(idle) == {}
    done = idle.run("diff", "-f", folder)
    assert (done.exit_code, done.stdout.splitlines()[0]) == (7, "+ one a")
    idle.ok("apply", "-f", folder)
    assert idle.run("diff", "-f", folder).exit_code == 0
    write(idle, a=manifest("a", 101))
    done = idle.run("diff", "-f", folder)
    assert (done.exit_code, done.stdout) == (7, "~ one a\n    - limit_price: 100\n    + limit_price: 101\n")
    assert intents(idle) == {"a": ("100", 1, "ACTIVE")}


def test_ten_at_once_make_one_intent_per_name(idle: Shell) -> None:
    """Ten processes apply the same folder at the same time, half of them a newer version of it: every one succeeds, and
    each name is one intent that says what one of the versions says."""
    names = [f"n{number}" for number in range(30)]
    write(idle, a="".join(manifest(name) for name in names))
    newer = idle.folder / "newer"
    newer.mkdir()
    (newer / "a.yaml").write_text("".join(manifest(name, 101) for name in names))
    idle.ok("db", "upgrade")
    running = [
        subprocess.Popen(
            [*EXK, "apply", "-f", "orders" if number % 2 else "newer", "-o", "name"],
            cwd=idle.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(10)
    ]
    for child in running:
        said, wrong = child.communicate(timeout=120)
        assert child.returncode == 0, wrong
        assert len(said.splitlines()) == 30
    found = intents(idle)
    assert sorted(found) == sorted(names)
    assert {price for price, _, _ in found.values()} in ({"100"}, {"101"}), "a file was written in part"


def test_a_kill_in_the_middle_leaves_whole_files(idle: Shell) -> None:
    """Apply is killed with SIGKILL as soon as the first file is in the store: each file is there as a whole or not at
    all, and applying again completes it."""
    files = {f"f{number:02}": "".join(manifest(f"n{number:02}-{each}") for each in range(40)) for number in range(12)}
    folder = write(idle, **files)
    idle.ok("db", "upgrade")
    child = subprocess.Popen([*EXK, "apply", "-f", folder], cwd=idle.folder, stdout=subprocess.DEVNULL)
    wait_for(lambda: bool(intents(idle)) or child.poll() is not None, "the first file")
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    counts: dict[str, int] = {}
    for name in intents(idle):
        counts[name[:3]] = counts.get(name[:3], 0) + 1
    assert counts and set(counts.values()) == {40}
    done = actions(idle, "-f", folder)
    assert len(done) == 480
    assert list(done.values()).count("unchanged") == sum(counts.values())
    assert len(intents(idle)) == 480


def test_what_is_applied_beside_a_running_kernel_is_carried_out(tmp_path: Path) -> None:
    """A file is applied, changed and applied again; the kernel that runs on the same store follows."""
    with Venue(tmp_path) as venue:
        configure(tmp_path, venue)
        shell = Shell(tmp_path)
        (tmp_path / "orders").mkdir()
        with Daemon(tmp_path) as daemon:
            folder = write(shell, a=manifest("far", 100, "paper_main") + manifest("near", 51_000, "paper_main"))
            shell.ok("apply", "-f", folder)
            shell.reach("near", "FILLED")
            shell.reach("far", "WORKING")
            write(shell, a=manifest("far", 101, "paper_main") + manifest("near", 51_000, "paper_main"))
            assert actions(shell, "-f", folder) == {"far": "modified", "near": "unchanged"}
            wait_for(lambda: shell.order("far")["observed"] == "2/2", "the change")
            wait_for(lambda: len(venue.orders(live=True)) == 1, "one order for one intent")
            assert daemon.stop() == 0
