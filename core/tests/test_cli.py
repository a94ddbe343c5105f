"""The `exk` command, on a real store, beside a real kernel on a paper venue."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from core.tests.processes import SECRET, Daemon, Shell, Venue, configure, wait_for
from exchange_kernel.cli.exits import EXITS
from exchange_kernel.cli.main import COMMANDS, cli


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell beside a running kernel on a paper venue."""
    folder = tmp_path_factory.mktemp("cli")
    with Venue(folder) as venue:
        configure(folder, venue)
        with Daemon(folder) as daemon:
            yield Shell(folder)
            assert daemon.stop() == 0


@pytest.fixture
def idle(tmp_path: Path) -> Shell:
    """A shell with a store and an in-process paper venue, and no kernel."""
    shell = Shell(tmp_path)
    shell.config.write_text("accounts: {solo: {venue: paper, config: {balances: {USD: 100000}}}}")
    shell.ok("db", "upgrade")
    return shell


# ---- orders beside a running kernel ---------------------------------------------------------------------------------


def test_an_order_placed_at_the_shell_is_carried_out(shell: Shell) -> None:
    """`exk place` writes desired state; the running kernel makes it true; `get` and `describe` show both sides."""
    assert (
        shell.ok("place", "BTC/USD", "buy", "0.5", "--limit", "51000", "--id", "shell-1", "--label", "run=7")
        == "shell-1\n"
    )
    shell.reach("shell-1", "FILLED")

    intent = next(row for row in shell.json("get", "intents") if row["id"] == "shell-1")
    assert intent["order"] == {"symbol_id": "BTC/USD", "side": "BUY", "amount": "0.5", "limit_price": "51000"}
    assert intent["labels"] == {"run": "7"}
    assert shell.order("shell-1")["filled_base"] == "0.5"
    assert "shell-1  paper_main  BTC/USD  BUY   FILLED" in shell.ok("get", "orders")

    told = shell.json("describe", "shell-1")
    assert told["wanted"]["id"] == "shell-1"
    assert [attempt["state"] for attempt in told["attempts"]] == ["CLOSED"]
    assert [ticket["kind"] for ticket in told["attempts"][0]["tickets"]] == ["PLACE"]
    assert sum(float(fill["base"]) for fill in told["fills"]) == 0.5
    assert [event["event"] for event in told["events"]][:2] == ["IntentCreated", "OrderSubmitted"]
    assert told["events"][0]["actor"] == "cli:tester"
    page = shell.ok("describe", "shell-1")
    assert "Attempt 1" in page
    assert "OrderFilled" in page


def test_an_order_can_be_changed_and_cancelled(shell: Shell) -> None:
    """`modify` asks for another generation, `cancel` for the end; both are shown only when they are true."""
    shell.ok("place", "ETH/USD", "buy", "2", "--limit", "2000", "--id", "shell-2")
    shell.reach("shell-2", "WORKING")
    assert (
        shell.ok("modify", "shell-2", "--limit", "2100", "--amount", "3", "--expect-generation", "1")
        == "generation 2\n"
    )
    wait_for(lambda: shell.order("shell-2")["observed"] == "2/2", "the change")
    assert "generation 1" in shell.refused(6, "modify", "shell-2", "--limit", "2200", "--expect-generation", "1")
    assert "shell-2: cancel wanted" in shell.ok("cancel", "shell-2", "--reason", "enough")
    shell.reach("shell-2", "CANCELED")
    assert "finished CANCELED" in shell.refused(6, "modify", "shell-2", "--limit", "2200")
    assert "nothing to cancel" in shell.ok("cancel", "shell-2")


def test_a_batch_from_json_is_all_or_none(shell: Shell) -> None:
    """A list of orders is declared in one transaction, with exact numbers; one bad order refuses them all."""
    orders = '[{"symbol_id":"SOL/USD","side":"BUY","amount":0.20,"limit_price":95.5,"intent_id":"b-%d"}, %s]'
    good = '{"symbol_id":"XAU/USD","side":"BUY","amount":"0.1","limit_price":"1000","intent_id":"b-2"}'
    bad = '{"symbol_id":"XAU/USD","side":"BUY","amount":"0.1","limit_price":"1e3"}'
    assert shell.json("place", "--json", "-", stdin=orders % (1, good))["ids"] == ["b-1", "b-2"]
    assert "limit_price '1e3': is written with an exponent" in shell.refused(
        3, "place", "--json", "-", stdin=orders % (9, bad)
    )
    intents = {row["id"]: row for row in shell.json("get", "intents")}
    assert intents["b-1"]["order"]["amount"] == "0.2"
    assert intents["b-1"]["group"] == intents["b-2"]["group"] is not None
    assert "b-9" not in intents
    changed = shell.json("cancel", "--all", "--symbol", "SOL/USD")
    assert changed == {"paper_main": ["b-1"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not JSON"),
        ("[]", "must hold at least one order"),
        ("5", "must be an order"),
        ('[["x"]]', "must be an order"),
        ("[" * 5000, "is not JSON"),
        ('{"symbol_id":"BTC/USD","side":"BUY","amount":1,"amount":2}', "this key stands twice"),
        ('{"symbol_id":"BTC/USD","side":"BUY","amount":NaN}', "is not a finite number"),
        ('{"symbol_id":"BTC/USD","side":"BUY"}', "amount None: is required"),
        ('{"symbol_id":"BTC/USD","side":"BUY","amount":1,"amout":2}', "did you mean amount?"),
        ('{"symbol_id":"BTC/USD","side":"BUY","amount":1,"limit_price":50000,"intent_id":5}', "intent_id 5"),
    ],
)
def test_bad_json_is_refused_in_one_line(shell: Shell, text: str, said: str) -> None:
    """Whatever comes on standard input, the answer names the field and the rule."""
    assert said in shell.refused(3, "place", "--json", "-", stdin=text)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["btcusd", "buy", "1"], "did you mean BTC/USD?"),
        (["BTC/USD", "by", "1"], "side 'BY': is not a Side"),
        (["BTC/USD", "buy", "nan"], "amount 'nan': is not a finite number"),
        (["BTC/USD", "buy", "1_0"], "amount '1_0'"),
        (["BTC/USD", "buy", "0.5", "--limit", "50000.001"], "limit_price"),
        (["BTC/USD", "buy", "0.0001", "--limit", "10"], "notional"),
        (["BTC/USD", "buy", "1", "--post-only"], "post_only True: needs a limit_price"),
        (["BTC/USD", "buy", "1", "--tif", "gtd"], "expire_at None: is required for GTD"),
        (["BTC/USD", "buy", "1", "--tif", "gtd", "--expire-at", "soon"], "expire_at 'soon': is not a time"),
        (["BTC/USD", "buy", "1", "--tif", "GTD", "--expire-at", "2020-01-01T00:00:00Z", "--limit", "99"], "expire_at"),
        (["BTC/USD", "buy", "1", "--limit", "50000", "--id", "a b"], "intent_id 'a b'"),
        (["BTC/USD", "buy", "1", "--limit", "50000", "--label", "x"], "label 'x': must be NAME=VALUE"),
        (["NEW/USD", "sell", "10", "--limit", "3"], "side"),
    ],
)
def test_a_bad_order_is_refused_before_anything_is_written(shell: Shell, arguments: list[str], said: str) -> None:
    """The shell refuses what the kernel would refuse, with field, value and rule."""
    before = len(shell.json("get", "intents"))
    assert said in shell.refused(3, "place", *arguments)
    assert len(shell.json("get", "intents")) == before


def test_the_same_id_is_the_same_intent(shell: Shell) -> None:
    """Repeating a command does not repeat the order; another order under the id is a conflict."""
    arguments = ["place", "BTC/USD", "buy", "0.1", "--limit", "30000", "--id", "again"]
    assert shell.ok(*arguments) == shell.ok(*arguments) == "again\n"
    assert "with another order" in shell.refused(6, *arguments[:5], "31000", "--id", "again")
    assert sum(row["id"] == "again" for row in shell.json("get", "intents")) == 1


def test_a_halt_refuses_orders_until_resumed(shell: Shell) -> None:
    """Halted and resumed with actor and reason, for an account and for the platform."""
    order = ("place", "BTC/USD", "buy", "0.1", "--limit", "30000")
    who = ("--actor", "ann", "--reason", "drill")
    for scope, named in ((("--account", "paper_main"), "account paper_main"), (("--all",), "platform")):
        shell.ok("halt", *scope, *who)
        assert f"{named} is halted by ann: drill" in shell.refused(3, *order)
        assert "ann: drill" in shell.ok("get", "accounts")
        assert "resumed" in shell.ok("resume", *scope, *who)
        shell.ok(*order)
    kinds = [(row["event"], row["actor"], row["reason"]) for row in shell.json("get", "events")]
    assert ("AccountHalted", "ann", "drill") in kinds
    assert ("AccountResumed", "ann", "drill") in kinds
    assert "was not halted" in shell.ok("resume", "--all", *who)


def test_events_are_printed_in_order_and_can_be_resumed(shell: Shell) -> None:
    """One line or one JSON object per event; `--after` goes on behind what was seen, `--for` keeps to one intent."""
    shell.ok("place", "BTC/USD", "buy", "0.1", "--limit", "30000", "--id", "eventful")
    shell.reach("eventful", "WORKING")
    rows = [json.loads(line) for line in shell.ok("events", "-o", "json").splitlines()]
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    assert all(row["time"].endswith("Z") for row in rows)
    rest = [json.loads(line) for line in shell.ok("events", "-o", "json", "--after", "5").splitlines()]
    assert rest[0]["seq"] == 6
    lines = shell.ok("events", "--for", "eventful").splitlines()
    assert "IntentCreated" in lines[0]
    assert all("eventful" in line for line in lines)


def test_events_can_be_followed(shell: Shell) -> None:
    """`--follow` prints what is added, as it is added, and ends without a word when interrupted."""
    newest = shell.json("get", "accounts")[0]["events"]
    command = [sys.executable, "-u", "-m", "exchange_kernel.cli.main", "events", "--follow", "--after", str(newest)]
    with subprocess.Popen(
        command, cwd=shell.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        shell.ok("place", "BTC/USD", "buy", "0.1", "--limit", "30000", "--id", "followed")
        assert child.stdout is not None
        line = next(line for line in child.stdout if "followed" in line)
        assert "IntentCreated" in line
        child.send_signal(2)
        _, error = child.communicate(timeout=20)
        assert "Traceback" not in error


def test_accounts_and_positions_are_listed(shell: Shell) -> None:
    """Who runs an account, in which mode, and what its fills built."""
    shell.ok("place", "ETH/USD", "buy", "1", "--limit", "3100", "--id", "position")
    shell.reach("position", "FILLED")
    account = shell.json("get", "accounts")[0]
    assert (account["account"], account["venue"], account["mode"]) == ("paper_main", "paper", "paper")
    assert account["owner"] != "nobody"
    assert account["identity"].startswith("paper:")
    positions = {row["symbol"]: row["amount"] for row in shell.json("get", "positions")}
    assert positions["ETH/USD"] == "1"


def test_a_terminal_never_gets_control_characters(shell: Shell) -> None:
    """Text from outside is shown by codes where it could steer a terminal, in tables, lines and errors."""
    evil = "\x1b[2J\u202eevil\x07\n"
    shell.ok("place", "BTC/USD", "buy", "0.1", "--limit", "30000", "--id", "evil", "--label", f"note={evil}")
    shell.ok("cancel", "evil", "--reason", evil)
    outputs = [
        shell.ok("describe", "evil"),
        shell.ok("events", "--for", "evil"),
        shell.ok("get", "events"),
        shell.ok("get", "intents", "-o", "json"),
        shell.refused(4, "describe", f"no{evil}"),
        shell.refused(3, "place", evil, "buy", "1"),
    ]
    for text in outputs:
        assert not any(c in text for c in "\x1b\x07\u202e")
    assert "\\x1b[2J\\u202eevil\\x07\\n" in outputs[1]


def test_no_secret_is_ever_printed(shell: Shell) -> None:
    """The account's credential shows up in no output, no log and not in the store."""
    texts = [shell.ok("get", what, "-o", "json") for what in ("intents", "orders", "accounts", "events")]
    texts.append((shell.folder / "run.log").read_text())
    texts += [path.read_bytes().decode("latin-1") for path in shell.folder.glob("exk.db*")]
    for text in texts:
        assert SECRET not in text


def test_verify_finds_a_changed_row(shell: Shell) -> None:
    """In order while nobody meddles; a row changed behind the log's back is a difference, and exit code 1."""
    assert "in order" in shell.ok("verify")
    shell.ok("place", "BTC/USD", "buy", "0.1", "--limit", "30000", "--id", "meddled")
    shell.reach("meddled", "WORKING")
    import sqlite3

    meddled = "UPDATE intent SET status = ? WHERE intent_id = 'meddled'"
    with sqlite3.connect(shell.folder / "exk.db") as database:
        database.execute(meddled, ("PARKED",))
    done = shell.run("verify")
    with sqlite3.connect(shell.folder / "exk.db") as database:
        database.execute(meddled, ("WORKING",))
    assert done.exit_code == 1
    assert "differs" in done.stdout
    assert "meddled" in done.stdout


# ---- without a kernel -----------------------------------------------------------------------------------------------


def test_desired_state_can_be_written_while_no_kernel_runs(idle: Shell) -> None:
    """An order is declared and changed all the same, and a remark says that nobody acts on it yet."""
    done = idle.run("place", "BTC/USD", "buy", "0.5", "--limit", "50000", "--id", "waiting")
    assert done.exit_code == 0
    assert "no kernel runs solo now" in done.stderr
    assert idle.order("waiting")["status"] == "PENDING"
    assert idle.ok("modify", "waiting", "--limit", "49000") == "generation 2\n"
    assert "waiting: cancel wanted" in idle.ok("cancel", "waiting")
    assert idle.json("get", "accounts")[0]["owner"] == "nobody"


def test_an_operator_can_resolve_an_order(idle: Shell) -> None:
    """Abandoning is wanting it gone, under the rules of proof; the actor and the reason are in the log."""
    idle.ok("place", "BTC/USD", "buy", "0.5", "--limit", "50000", "--id", "stuck")
    who = ("--actor", "ann", "--reason", "tested")
    assert "no kernel ever ran" in idle.refused(6, "resolve", "stuck", "--as", "look-again", *who)
    assert "nothing was sent" in idle.refused(6, "resolve", "stuck", "--as", "abandon", *who)
    assert next(row for row in idle.json("get", "intents") if row["id"] == "stuck")["desired"] == "CANCELED"
    assert "no such intent" in idle.refused(4, "resolve", "nothing", "--as", "abandon", *who)
    assert "actor" in idle.refused(3, "resolve", "stuck", "--as", "abandon", "--actor", " ", "--reason", "x")


def test_resolving_beside_a_running_kernel_is_seen_by_it(shell: Shell) -> None:
    """The resolution is written under the owner's epoch by compare-and-swap; what the venue can prove stays its own."""
    shell.ok("place", "BTC/USD", "buy", "0.1", "--limit", "30000", "--id", "resolved")
    shell.reach("resolved", "WORKING")
    who = ("--actor", "ann", "--reason", "tested")
    assert "resolved: WORKING" in shell.ok("resolve", "resolved", "--as", "look-again", *who)
    assert "no attempt of unknown outcome" in shell.refused(6, "resolve", "resolved", "--as", "never-sent", *who)
    shell.ok("resolve", "resolved", "--as", "abandon", *who)
    shell.reach("resolved", "CANCELED")
    told = [(row["event"], row["actor"]) for row in shell.json("describe", "resolved")["events"]]
    assert told.count(("OrderResolved", "ann")) == 2
    assert "nothing to resolve" in shell.refused(6, "resolve", "resolved", "--as", "look-again", *who)
    assert "in order" in shell.ok("verify")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["cancel", "nothing"], 4, "intent nothing: solo have no such intent"),
        (["describe", "nothing"], 4, "no such intent"),
        (["get", "orders", "--account", "sol"], 2, "did you mean solo?"),
        (["halt", "--account", "solo", "--actor", "a", "--reason", "r"], 2, "its kernel was never started"),
        (["get", "orders", "--config", "/nonexistent.yaml"], 2, "cannot be read: No such file or directory"),
    ],
)
def test_a_refusal_is_one_line_with_its_exit_code(idle: Shell, arguments: list[str], code: int, said: str) -> None:
    """Errors name what is wrong, on standard error, without a traceback."""
    assert said in idle.refused(code, *arguments)


def test_a_store_that_is_not_there_yet_says_who_makes_it(tmp_path: Path) -> None:
    """Looking does not create a store."""
    shell = Shell(tmp_path)
    shell.config.write_text("accounts: {solo: {venue: paper}}")
    assert "there is no store at" in shell.refused(5, "get", "orders")
    assert [path.name for path in tmp_path.iterdir()] == ["exk.yaml"]


def test_a_locked_store_is_told_from_a_missing_one(idle: Shell) -> None:
    """Another process holds the database's lock: one line says so, and the exit code says "not now"."""
    import sqlite3

    holder = sqlite3.connect(idle.folder / "exk.db", isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    assert "lock" in idle.refused(5, "get", "orders")
    holder.close()
    assert idle.ok("get", "orders") == "no orders\n"


def test_a_store_from_a_newer_release_is_refused(idle: Shell) -> None:
    """The message says that this program is the older one."""
    import sqlite3

    with sqlite3.connect(idle.folder / "exk.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    assert "newer release" in idle.refused(2, "get", "orders")


def test_an_unexpected_error_is_one_line_too(idle: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug shows no traceback either, and says how to get one."""
    monkeypatch.setattr("exchange_kernel.cli.get.show", lambda *_: 1 / 0)
    assert "EXK_TRACEBACK=1" in idle.refused(1, "get", "orders")


@pytest.mark.parametrize(
    "arguments",
    [
        ["gett"],
        ["get", "oders"],
        ["get"],
        ["place"],
        ["place", "BTC/USD", "buy"],
        ["place", "BTC/USD", "buy", "1", "--json", "-"],
        ["cancel"],
        ["cancel", "x", "--all"],
        ["cancel", "x", "--symbol", "BTC/USD"],
        ["modify", "x"],
        ["halt", "--actor", "a", "--reason", "r"],
        ["halt", "--all", "--account", "x", "--actor", "a", "--reason", "r"],
        ["halt", "--all", "--reason", "r"],
        ["panic", "--actor", "a", "--reason", "r"],
        ["resolve", "x", "--as", "guess", "--actor", "a", "--reason", "r"],
        ["events", "--after", "-1"],
    ],
)
def test_wrong_usage_is_exit_code_2(idle: Shell, arguments: list[str]) -> None:
    """What cannot be meant is refused before the store is touched."""
    done = idle.run(*arguments)
    assert done.exit_code == 2
    assert "Error" in done.stderr or "exk:" in done.stderr
    assert "Traceback" not in done.stderr


# ---- the command itself ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_that_fits_its_line(name: str) -> None:
    """The list in `exk --help` and each command's own help are there, and named alike."""
    module, words = COMMANDS[name]
    done = CliRunner().invoke(cli, [name, "--help"])
    assert done.exit_code == 0
    assert f"Usage: cli {name}" in done.stdout
    assert words.endswith(".")
    assert module == name.replace("-", "_")


def test_help_lists_every_command_and_exit_code() -> None:
    """`exk --help` is complete."""
    text = CliRunner().invoke(cli, ["--help"]).stdout
    assert all(f"\n  {name} " in text for name in COMMANDS)
    assert all(f"  {code}  {meaning}" in text for code, meaning in EXITS.items())


def test_help_imports_next_to_nothing() -> None:
    """`exk --help` loads neither the store nor a venue nor a table drawer."""
    program = "import sys, exchange_kernel.cli.main as m\ntry: m.main(['--help'])\nexcept SystemExit: pass\n"
    program += "print(sorted({n.partition('.')[0] for n in sys.modules} & {'sqlalchemy', 'rich', 'yaml', 'asyncio'}))"
    done = subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, text=True)
    assert done.stdout.endswith("\n[]\n")


def test_a_closed_pipe_is_no_error(shell: Shell) -> None:
    """`exk events | head -1` ends quietly."""
    command = f"{sys.executable} -m exchange_kernel.cli.main events | head -1"
    done = subprocess.run(command, shell=True, cwd=shell.folder, capture_output=True, text=True)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_run_can_be_interrupted_while_it_starts(tmp_path: Path) -> None:
    """Waiting for an account that another process owns does not make it deaf to Ctrl-C."""
    path = tmp_path / "exk.yaml"
    path.write_text("accounts: {solo: {venue: paper}}")
    with Daemon(tmp_path):
        command = [sys.executable, "-m", "exchange_kernel.cli.main", "run"]
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as second:
            assert second.stdout is not None
            assert second.stdout.readline() == b"starting solo\n"
            second.send_signal(2)
            out, _ = second.communicate(timeout=9)
        assert (second.returncode, out) == (0, b"")


def test_run_says_what_keeps_every_account_from_starting(tmp_path: Path) -> None:
    """With no account to run, `exk run` ends with the reason and not with silence."""
    (tmp_path / "exk.yaml").write_text("accounts: {odd: {venue: papr}}")
    began = time.monotonic()
    command = [sys.executable, "-m", "exchange_kernel.cli.main", "run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "did you mean paper?" in done.stderr
    assert "exk: no account could be started" in done.stderr
    assert time.monotonic() - began < 50
