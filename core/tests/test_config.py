"""The configuration file: read strictly, with errors that name the place, and secrets that never show."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_kernel.config import Config, Reference, load, parse
from exchange_kernel.config.reference import FORMS
from exchange_kernel.errors import ConfigError, ExchangeKernelError, Unsupported

FULL = """
store: {url: sqlite:///data/x.db}
state_dir: journals
plugins: {allow: [exchange-kernel-paper, Acme_Exk]}
accounts:
  paper_main:
    venue: paper
    plugin: exchange-kernel-paper
    mode: paper
    config: {connect: "127.0.0.1:7007", maker_fee: 0.00020, timeout_ms: 100, house: no, walk: true, nothing: null}
    secrets: {secret: "env:EXK_TEST_SECRET"}
    limits: {max_order_notional: 0.1, max_open_notional: 1000, order_count: 5, symbols: [BTC/USD]}
    drift: {foreign: IGNORE, ours: ACCEPT}
  other: {venue: paper}
"""


def read(text: str) -> Config:
    return parse(text.encode(), Path("/etc/exk/exk.yaml"))


def secret_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    path.write_bytes(content)
    path.chmod(mode)


def account(inside: str) -> str:
    return "accounts: {a: {venue: paper, " + inside + "}}"


def test_a_full_configuration_is_read_exactly() -> None:
    """Numbers with a point stay text, whole numbers and true/false mean themselves, nothing is guessed."""
    config = read(FULL)
    found = config.account("paper_main")

    assert found.config == {
        "connect": "127.0.0.1:7007",
        "maker_fee": "0.00020",
        "timeout_ms": 100,
        "house": "no",
        "walk": True,
        "nothing": None,
    }
    assert found.limits.max_order_notional == Decimal("0.1")
    assert found.limits.max_open_notional == Decimal(1000)
    assert (found.limits.order_count, found.limits.order_period_ms) == (5, 1000)
    assert found.limits.symbols == frozenset({"BTC/USD"})
    assert (found.mode, found.drift.foreign, found.drift.ours) == ("paper", "IGNORE", "ACCEPT")


def test_the_plugins_that_may_be_loaded_are_listed() -> None:
    """By distribution, for the whole file; an account may pin the one its venue comes from. No list allows all."""
    config = read(FULL)

    assert config.allowed_plugins == ("exchange-kernel-paper", "Acme_Exk")
    assert config.account("paper_main").plugin == "exchange-kernel-paper"
    assert config.account("other").plugin == ""
    assert read(account("mode: paper")).allowed_plugins is None
    assert read("plugins: {allow: []}\n" + account("mode: paper")).allowed_plugins == ()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("plugins: {allow: paper}", "plugins.allow 'paper': must be a list of distributions"),
        ("plugins: {allow: ['../x']}", "plugins.allow '../x': is no name of a distribution"),
        ("plugins: {allow: [5]}", "plugins.allow 5: is no name"),
        ("plugins: {allowed: []}", "did you mean allow?"),
        ("plugins: [x]", "plugins"),
    ],
)
def test_a_list_of_plugins_that_means_nothing_is_refused(more: str, said: str) -> None:
    """A misspelt key or a value that no distribution can have would let in more, or less, than is meant."""
    with pytest.raises(ConfigError) as caught:
        read(f"{more}\n{account('mode: paper')}")
    assert said in str(caught.value)


def test_an_account_needs_only_its_venue() -> None:
    """Everything else has a default."""
    config = read(FULL)
    other = config.account("other")

    assert (other.mode, other.config, other.secrets) == ("", {}, {})
    assert (other.drift.foreign, other.drift.ours, other.limits.complete) == ("REPORT", "ACCEPT", False)


def test_relative_paths_begin_at_the_file() -> None:
    """The same file means the same store, from whatever folder the command is run."""
    config = read(FULL)

    assert config.store_url == "sqlite:////etc/exk/data/x.db"
    assert config.state_dir == Path("/etc/exk/journals")
    assert read("accounts: {a: {venue: p}}").store_url == "sqlite:////etc/exk/exk.db"
    assert read("accounts: {a: {venue: p}}\nstore: {url: sqlite:////var/x.db}").store_url == "sqlite:////var/x.db"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\na: 2", "line 2, column 1 'a': this key stands here twice"),
        ("accounts: {a: {venue: x, venue: y}}", "column 26 'venue': this key stands here twice"),
        ("x: &a 1", "column 4 'a': anchors and aliases are not allowed"),
        ("x: *a", "column 4 'a': anchors and aliases are not allowed"),
        ("x: !!python/object:os.system y", "tags are not allowed"),
        ("<<: {a: 1}", "merge keys are not allowed"),
        ("? [a]\n: 1", "a key must be text"),
        ("a: 1\n---\na: 2", "only one document is allowed"),
        ("%YAML 1.1\n---\na: 1", "directives are not allowed"),
        ("[" * 100_000, "nested more than 12 deep"),
        ("- " * 20 + "x", "nested more than 12 deep"),
        ("a: [" + "1," * 30_000 + "]", "has more than 20000 values"),
        ("a: " + "x" * 5_000, "must be at most 4096 characters"),
        ("#" * 300_000, "must be at most 262144 bytes"),
        ("a: 'x", "is not YAML"),
        ("a:\tb: c", "line 1, column 5"),
        ("a: \x00", "is not YAML"),
        ("", "is empty"),
        ("- a", "the file (a list): must be a mapping"),
    ],
)
def test_what_yaml_would_guess_or_choke_on_is_refused(text: str, said: str) -> None:
    """Twice the same key, anchors, tags, merges, bombs: each is refused, with its place."""
    with pytest.raises(ConfigError) as caught:
        read(text)

    assert said in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("acounts: {}", "acounts (not shown): is no setting (exk.yaml, line 1, column 1); did you mean accounts?"),
        ("store: {url: sqlite:///x.db}", "accounts (nothing): is required"),
        ("accounts: {}", "accounts (nothing): is required"),
        ("accounts: []", "accounts (a list): must be a mapping"),
        ("accounts: {a: {venu: paper}}", "accounts.a.venue (nothing): is required"),
        ("accounts: {a: {venu: paper}}", "venu looks like it"),
        ("accounts: {a: {venue: 5}}", "accounts.a.venue 5: must be text"),
        ("accounts: {a b: {venue: p}}", "accounts 'a b': must be 1 to 64 characters"),
        ("accounts: {'../x': {venue: p}}", "accounts '../x': must be 1 to 64 characters"),
        (account("mode: lve"), "accounts.a.mode 'lve': must be one of paper, testnet, fork, live"),
        (account("mode: lve"), "did you mean live?"),
        (account("limit: {}"), "accounts.a.limit (not shown): is no setting"),
        (account("limit: {}"), "did you mean limits?"),
        (account("limits: {max_order_notional: 1e5}"), "max_order_notional '1e5': is written with an exponent"),
        (account("limits: {max_order_notional: .nan}"), "max_order_notional"),
        (account("limits: {max_order_notional: -1}"), "must be greater than 0"),
        (account("limits: {max_order_notional: 0}"), "must be greater than 0"),
        (account("limits: {max_order_notional: true}"), "max_order_notional True: is not a number"),
        (account("limits: {order_count: 0}"), "order_count 0: must be a whole number of at least 1"),
        (account("limits: {order_count: 1.5}"), "order_count '1.5': must be a whole number"),
        (account("limits: {symbols: BTC/USD}"), "symbols 'BTC/USD': must be a list of symbols"),
        (account("limits: {symbols: [BTC USD]}"), "symbols 'BTC USD'"),
        (account("limits: {max_ordr_notional: 5}"), "did you mean max_order_notional?"),
        (account("drift: {foreign: REPOR}"), "did you mean REPORT?"),
        (account("dead_man: {}"), "accounts.a.dead_man.after_s None: is required"),
        (account("dead_man: {after_s: 9}"), "after_s 9: must be a whole number of seconds from 10 to 3600"),
        (account("dead_man: {after_s: '60'}"), "after_s '60': must be a whole number"),
        (account("dead_man: {after_s: true}"), "after_s True: must be a whole number"),
        (account("dead_man: {after_s: 60, cancels_everything: 1}"), "cancels_everything 1: must be true or false"),
        (account("dead_man: {after_s: 60, at_stop: LEAVES}"), "did you mean LEAVE?"),
        (account("dead_man: {after_s: 60, cancel_everything: true}"), "did you mean cancels_everything?"),
        (
            account("secrets: {key: [a]}"),
            f"accounts.a.secrets.key (not shown): must be {FORMS}",
        ),
        ("accounts: {a: {venue: p}}\nstore: {url: mysql://h/d}", "store.url (not shown): must be sqlite:///FILE"),
        ("accounts: {a: {venue: p}}\nstore: {url: sqlite://}", "store.url"),
        ("accounts: {a: {venue: p}}\nstore: {url: 'sqlite:///:memory:'}", "must name a file"),
        ("accounts: {a: {venue: p}}\nstore: {ur: x}", "ur looks like it"),
    ],
)
def test_a_wrong_setting_is_named_with_its_place(text: str, said: str) -> None:
    """The error names key, value, rule and place, and what was probably meant."""
    with pytest.raises(ConfigError) as caught:
        read(text)

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("policy", "feature"),
    [
        ("foreign: ADOPT", "drift.foreign ADOPT"),
        ("foreign: CANCEL", "foreign CANCEL"),
        ("ours: RESTORE", "ours RESTORE"),
    ],
)
def test_policies_of_later_releases_are_unsupported(policy: str, feature: str) -> None:
    """A drift policy that does not exist yet is not silently replaced by another."""
    with pytest.raises(Unsupported, match=feature):
        read(account(f"drift: {{{policy}}}"))


@pytest.mark.parametrize(
    "text",
    [
        account("secrets: {api_key: hunter2}"),
        account("secrets: hunter2"),
        account("config: {api_key: hunter2}"),
        account("config: {Private-Key: hunter2}"),
        account("config: {auth: {password: hunter2}}"),
        account("api_key: hunter2"),
        "hunter: {api_key: hunter2}",
        "accounts: {a: {venue: p}}\nstore: {url: 'postgresql://u:hunter2@h/d'}",
        "accounts: {a: {venue: p}}\nstore: {url: 'postgresql://u@h/d?password=hunter2'}",
        "accounts: {a: {venue: p}}\nstore: {url: 'mysql://u:hunter2@h/d'}",
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(text: str) -> None:
    """What looks like a literal secret is refused, and the message does not show it."""
    with pytest.raises(ConfigError) as caught:
        read(text)

    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value)


def test_references_resolve_from_environment_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`env:` reads the environment, `file:` a file beside the configuration, without the end of its last line."""
    monkeypatch.setenv("EXK_TEST_SECRET", "canary-env")
    secret_file(tmp_path / "key", b"canary-file\n")
    path = tmp_path / "exk.yaml"
    path.write_text(account("secrets: {one: 'env:EXK_TEST_SECRET', two: 'file:key'}"))
    found = load(path).account("a")

    assert found.resolve_secrets() == {"one": "canary-env", "two": "canary-file"}
    assert "canary" not in repr(load(path))


def test_a_store_s_address_can_be_a_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address with a password comes from outside the file, and does not show in the configuration."""
    monkeypatch.setenv("EXK_TEST_STORE", "postgresql://u:hunter2@h/d")
    config = read("accounts: {a: {venue: p}}\nstore: {url: 'env:EXK_TEST_STORE'}")

    assert config.store_url == "postgresql://u:hunter2@h/d"
    assert "hunter2" not in repr(config)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("env:EXK_TEST_UNSET", "this environment variable is not set"),
        ("file:missing", "cannot be read: No such file"),
        ("file:empty", "is empty"),
        ("file:binary", "is not UTF-8 text"),
        ("file:huge", "is larger than 65536 bytes"),
        ("file:.", "cannot be read: Is a directory"),
    ],
)
def test_a_reference_that_leads_nowhere_says_why(reference: str, said: str, tmp_path: Path) -> None:
    """A missing secret names its key and its reference."""
    secret_file(tmp_path / "empty", b"\n")
    secret_file(tmp_path / "binary", b"\xff\xfe")
    secret_file(tmp_path / "huge", b"x" * 70_000)

    with pytest.raises(ConfigError) as caught:
        Reference(reference, tmp_path).resolve("accounts.a.secrets.key")

    assert str(caught.value).startswith(f"accounts.a.secrets.key '{reference}': {said}")


def test_a_missing_file_says_how_to_name_one(tmp_path: Path) -> None:
    """The most common mistake has the most helpful answer."""
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory; name the file with --config"):
        load(tmp_path / "exk.yaml")


def test_an_unknown_account_is_refused_with_a_guess() -> None:
    """Asking for an account that is not there names the one that probably was meant."""
    with pytest.raises(ConfigError, match=r"account 'paper_mian': is not in exk\.yaml; did you mean paper_main"):
        read(FULL).account("paper_mian")


@given(st.binary(max_size=200) | st.text("{}[]:,-&*!%?<>'\"|\n ab1.~#", max_size=80).map(str.encode))
def test_any_bytes_are_a_configuration_or_a_clear_refusal(raw: bytes) -> None:
    """Whatever stands in the file, the only errors are the documented ones."""
    try:
        config = parse(raw, Path("exk.yaml"))
    except ExchangeKernelError:
        return
    assert config.accounts is not None


def test_the_example_is_complete_and_correct() -> None:
    """The commented example parses, and shows every setting there is."""
    path = Path(__file__).resolve().parent.parent.parent / "examples" / "exk.yaml"
    found = load(path).account("paper_main")

    assert found.limits.complete
    text = path.read_text()
    for setting in (*found.__dataclass_fields__, *found.limits.__dataclass_fields__, *found.drift.__dataclass_fields__):
        assert setting == "name" or f"{setting}:" in text, setting
