"""Setting up: `exk init`, `doctor`, `accounts` and `symbols` say what is there, what is missing, and what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from core.tests.processes import SECRET, Daemon, Shell, Venue, configure
from exchange_kernel.config import load, parse
from exchange_kernel.config.json_schema import config_schema

SOLO = "accounts: {solo: {venue: paper, config: {balances: {USD: 100000}}"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shell, Venue]]:
    """A shell beside a running kernel on a paper venue."""
    folder = tmp_path_factory.mktemp("setting-up")
    with Venue(folder) as venue:
        configure(folder, venue)
        with Daemon(folder) as daemon:
            yield Shell(folder), venue
            assert daemon.stop() == 0


def written(folder: Path, text: str) -> Shell:
    shell = Shell(folder)
    shell.config.write_text(text)
    return shell


def findings(shell: Shell, *words: str) -> dict[str, str]:
    """Every failure and warning by its subject, of a command that found some."""
    done = shell.run(*words, "-o", "json")
    assert done.exit_code in (0, 1), done.output
    told = [each for part in json.loads(done.stdout) for each in part["findings"]]
    assert done.exit_code == any(each["level"] == "failure" for each in told)
    return {each["subject"]: f"{each['text']}; {each['hint']}" for each in told if each["level"] != "ok"}


# ---- init -----------------------------------------------------------------------------------------------------------


def test_what_init_writes_works_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From an empty folder: init, doctor, an order. A second init replaces nothing."""
    monkeypatch.chdir(tmp_path)
    shell = Shell(tmp_path)
    assert "wrote exk.yaml" in shell.ok("init")
    assert "0 failures, 0 warnings" in shell.ok("doctor")
    shell.ok("db", "upgrade")
    assert shell.ok("place", "BTC/USD", "buy", "0.1", "--limit", "40000", "--id", "first") == "first\n"
    shell.config.write_text(shell.config.read_text() + "# mine\n")
    assert "exists: name another file, or replace it with --force" in shell.refused(2, "init")
    assert shell.config.read_text().endswith("# mine\n")
    shell.ok("init", "--force")
    assert not shell.config.read_text().endswith("# mine\n")


@pytest.mark.parametrize("venue", ["paper", "binance", "uniswap"])
def test_every_setting_that_init_explains_exists(venue: str, tmp_path: Path) -> None:
    """With all commented settings switched on, the file is still read, and the editor's schema agrees."""
    path = tmp_path / "some.yaml"
    Shell(tmp_path).ok("init", str(path), "--venue", venue, "--account", "desk-1")
    plain = load(path).account("desk-1")
    assert plain.observed == (venue != "paper")
    assert plain.limits.complete

    text = re.sub(
        r"^( *)# ((?:  )*(?:- )?[a-z_{]+: .*|(?:  )*- \{.*|plugins:|sinks:)$", r"\1\2", path.read_text(), flags=re.M
    )
    text = re.sub(r"^ *(url: env|foreign|observe|ours|To trade):.*\n", "", text, flags=re.M)
    text = re.sub(r"^    mode: observe$", "    mode: testnet", text, flags=re.M)
    whole = parse(text.encode(), path)
    found = whole.account("desk-1")
    assert found.dead_man is not None
    assert found.admission[0].name == "acme-risk"
    assert found.limits.symbols == {"BTC/USD"}
    assert whole.allowed_plugins == (f"exchange-kernel-{venue}",)
    assert whole.sinks[0].name == "acme-sink"
    assert bool(found.secrets) == (venue != "paper")
    assert Draft202012Validator(config_schema()).is_valid(yaml.safe_load(text))


def test_init_refuses_what_cannot_be(tmp_path: Path) -> None:
    """A venue that is not installed, a name that is none, a folder that is not there: nothing is written."""
    shell = Shell(tmp_path)
    path = tmp_path / "no" / "exk.yaml"
    assert "no plugin offers it" in shell.refused(2, "init", str(shell.config), "--venue", "nowhere")
    assert "account '../x'" in shell.refused(2, "init", str(shell.config), "--account", "../x")
    assert "cannot be written: No such file" in shell.refused(1, "init", str(path))
    assert list(tmp_path.iterdir()) == []


# ---- doctor and accounts test ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "subject", "said"),
    [
        ("accounts: {", "configuration", "is not YAML"),
        (f"{SOLO}, secrets: {{secret: 'env:EXK_TEST_UNSET'}}}}}}", "secrets", "accounts.solo.secrets.secret"),
        (f"{SOLO}, secrets: {{secret: 'file:open'}}}}}}", "secrets", "can be read by other users"),
        (f"{SOLO}, mode: testnet}}}}", "mode", "the configuration says testnet; set the mode to what it is"),
        (f"{SOLO}, mode: live}}}}", "limits", "a live account needs max_order_notional"),
        (
            f"{SOLO}, limits: {{symbols: [BTC/USD, BTC/EUR]}}}}}}",
            "limits",
            "symbols names BTC/EUR, which is not listed",
        ),
        (f"{SOLO}, admission: [acme-risk]}}}}", "plugin", "acme-risk"),
        ("accounts: {solo: {venue: papr}}", "plugin", "did you mean paper?"),
        ("accounts: {solo: {venue: paper, config: {connect: '127.0.0.1:1', account: a}}}", "opened", "127.0.0.1"),
        ("accounts: {solo: {venue: paper, config: {balancs: {USD: 1}}}}", "opened", "balancs"),
        (f"{SOLO}}}}}\nsinks: [acme-sink]", "sink", "acme-sink"),
        (f"{SOLO}}}}}\nstore: {{url: 'env:EXK_TEST_UNSET'}}", "store", "this environment variable is not set"),
        (f"{SOLO}}}}}\nstate_dir: open/journals", "state_dir", "cannot be written"),
    ],
)
def test_the_doctor_names_what_is_missing(text: str, subject: str, said: str, tmp_path: Path) -> None:
    """Each mistake is found, is named where it is, and exits 1; none of them hides the others."""
    (tmp_path / "open").write_text("canary-2b7d")
    (tmp_path / "open").chmod(0o644)
    shell = written(tmp_path, text)
    told = findings(shell, "doctor")
    assert said in told[subject], told
    assert "canary" not in shell.run("doctor").output
    assert list(tmp_path.glob("*.db*")) == []


def test_the_doctor_reads_the_store(tmp_path: Path) -> None:
    """A halt and an account that no configuration has are told; a store of another release names its remedy."""
    shell = written(tmp_path, f"{SOLO}}}, gone: {{venue: paper}}}}")
    shell.ok("db", "upgrade")
    shell.ok("place", "BTC/USD", "buy", "0.1", "--limit", "40000", "-A", "gone")
    shell.ok("place", "BTC/USD", "buy", "0.1", "--limit", "40000", "-A", "solo")
    shell.ok("halt", "-A", "solo", "--actor", "me", "--reason", "lunch")
    shell.config.write_text(f"{SOLO}}}}}")
    told = findings(shell, "doctor", "--offline")
    assert told["halted"].startswith("account solo, by me: lunch; exk resume")
    assert told["account"].startswith("account gone is in the store and in no configuration")
    assert "no kernel runs solo now" in shell.ok("doctor", "--offline")

    (tmp_path / "exk.db").write_bytes(b"not a database")
    assert "store" in findings(shell, "doctor", "--offline")


def test_accounts_are_tested_side_by_side(shell: tuple[Shell, Venue], tmp_path: Path) -> None:
    """Beside a running kernel, and one that is wrong hurts no other; the names choose."""
    at, venue = shell
    told = at.ok("accounts", "test")
    assert "secrets: secret can be read" in told
    assert "which its venue says is paper" in told
    text = at.config.read_text() + "  broken: {venue: paper, config: {connect: '127.0.0.1:1', account: a}}\n"
    other = written(tmp_path, text)
    configure_secret(tmp_path)
    done = other.run("accounts", "test", "-o", "json")
    assert done.exit_code == 1
    assert {each["account"]: each["well"] for each in json.loads(done.stdout)} == {"paper_main": True, "broken": False}
    other.ok("accounts", "test", "paper_main")
    assert "did you mean broken?" in other.refused(2, "accounts", "test", "brokn")
    assert venue.orders() == []


def configure_secret(folder: Path) -> None:
    (folder / "paper.secret").write_text(SECRET)
    (folder / "paper.secret").chmod(0o600)


# ---- what is there --------------------------------------------------------------------------------------------------


def test_an_account_shows_what_its_venue_has(shell: tuple[Shell, Venue]) -> None:
    """Balances, our orders and those of others, told apart; the secret's place and never the secret."""
    at, venue = shell
    at.ok("place", "BTC/USD", "buy", "0.5", "--limit", "40000", "--id", "seen")
    at.reach("seen", "WORKING")
    foreign = venue.order("other", symbol="ETH/USD", side="BUY", amount="1", limit="1500", tif="GTC")
    before = [each["id"] for each in venue.orders()]
    found: dict[str, Any] = at.json("accounts", "show", "paper_main")
    assert {each["asset"] for each in found["balances"]} == {"USD", "BTC", "ETH"}
    origins = {each["symbol"]: each["origin"] for each in found["orders"]}
    assert origins == {"BTC/USD": "OURS", "ETH/USD": "FOREIGN"}
    assert str(foreign) in [each["id"] for each in found["orders"]]
    assert found["secrets"] == {"secret": "file:paper.secret"}
    page = at.ok("accounts", "show")
    assert "FOREIGN" in page
    assert SECRET not in page + json.dumps(found) + at.ok("accounts", "list", "-o", "wide")
    assert [each["id"] for each in venue.orders()] == before
    at.ok("cancel", "seen")
    at.reach("seen", "CANCELED")


def test_symbols_are_listed_with_their_steps(shell: tuple[Shell, Venue]) -> None:
    """All of them, those with a text in their name, and what one of them can do; a slip is answered with a proposal."""
    at, _ = shell
    rows = {each["symbol"]: each for each in at.json("symbols")}
    assert rows["BTC/USD"]["step"] == "0.0001"
    assert rows["SOL/USD"]["tick"] == "0.0001 from 0, 0.01 from 10, 0.1 from 100"
    assert at.ok("symbols", "btc", "-o", "name") == "symbol/BTC/USD\n"
    assert {each["feature"]: each["level"] for each in at.json("symbols", "BTC/USD", "--capabilities")}[
        "fok"
    ] == "native"
    assert "did you mean BTC/USD?" in at.refused(3, "symbols", "BTC/USDD")
    assert "did you mean BTC/USD?" in at.refused(3, "symbols", "BTC/USDD", "--capabilities")
