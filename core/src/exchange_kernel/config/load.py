"""From ``exk.yaml`` to a :class:`Config`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, cast
from urllib.parse import urlsplit

from exchange_kernel.config.reference import FORMS, Reference, is_reference
from exchange_kernel.config.section import Described, Section
from exchange_kernel.config.settings import AccountConfig, Config, Drift, Use
from exchange_kernel.config.strict_yaml import MAX_BYTES, Node, read
from exchange_kernel.errors import ConfigError, Unsupported
from exchange_kernel.models import DeadManPolicy, Limits
from exchange_kernel.orders.names import check_id
from exchange_kernel.orders.observe import OBSERVE
from exchange_kernel.schema import amount
from exchange_kernel.schema.fields import identifier
from exchange_kernel.state.redis.address import Address

DEFAULT_PATH = "exk.yaml"
DEFAULT_DATABASE = "exk.db"

MODES = ("paper", "testnet", "fork", "live", OBSERVE)
LATER = {"foreign": ("ADOPT", "CANCEL"), "ours": ("RESTORE",)}
"""Policies that are named in the design and not built yet."""

_DISTRIBUTION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?", re.ASCII).fullmatch
_SECRET_NAMES = frozenset(
    ("apikey", "apisecret", "mnemonic", "passphrase", "password", "privatekey", "secret", "secretkey", "seedphrase")
)


def load(path: str | Path) -> Config:
    """Read a configuration file. Raises ConfigError naming the key, its place and the rule; Unsupported for policies
    that do not exist yet."""
    where = Path(path)
    try:
        with where.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        hint = "name the file with --config" if isinstance(error, FileNotFoundError) else ""
        raise ConfigError("config", str(path), f"cannot be read: {error.strerror}", hint) from None
    return parse(raw, where)


def parse(raw: bytes, path: Path) -> Config:
    """A configuration from its text. ``path`` names it, and relative paths in it begin in its folder."""
    folder = path.resolve().parent
    top = Section(read(raw, path.name), "")
    store = top.section("store")
    redis = top.section("redis")
    state_dir = folder / Path(top.text("state_dir", ".exk")).expanduser()
    plugins = top.section("plugins")
    accounts = top.section("accounts")
    sinks = _uses(top, "sinks", folder)
    top.done()
    named = [] if accounts is None else _named(accounts)
    if not named:
        raise ConfigError("accounts", Described("(nothing)"), f"is required ({path.name})", "list at least one account")
    return Config(
        accounts={name: _account(name, section, folder) for name, section in named},
        store=_store_url(store, folder),
        state_dir=state_dir,
        path=path,
        allowed_plugins=None if plugins is None else _allowed(plugins),
        sinks=sinks,
        redis=None if redis is None else _redis_url(redis, folder),
    )


def _named(accounts: Section) -> list[tuple[str, Section]]:
    found = accounts.sections()
    for name, _ in found:
        check_id("accounts", name, ConfigError)
    return found


def _store_url(section: Section | None, folder: Path) -> str | Reference:
    if section is None:
        return f"sqlite:///{folder / DEFAULT_DATABASE}"
    url = section.text("url")
    section.done()
    if is_reference(url):
        return Reference(url, folder)
    scheme, _, rest = url.partition("://")
    kind = scheme.partition("+")[0]
    if kind == "postgresql" and rest:
        parts = urlsplit(url)
        if parts.password is not None or "password" in parts.query:
            rule = "holds a password, which does not belong in this file"
            raise section.refuse(
                "url", rule, "put the whole address into env:NAME, file:PATH or keyring:SERVICE/USER", hide=True
            )
        return url
    if kind != "sqlite" or not rest:
        raise section.refuse("url", f"must be sqlite:///FILE or postgresql://…, or {FORMS}", hide=True)
    file = rest.removeprefix("/")
    if not rest.startswith("/") or not file or file.startswith(":") or "?" in file:
        raise section.refuse("url", "must name a file: sqlite:///relative.db or sqlite:////absolute.db")
    return f"{scheme}:///{folder / Path(file).expanduser()}"


def _redis_url(section: Section, folder: Path) -> str | Reference:
    url = section.text("url")
    section.done()
    if is_reference(url):
        return Reference(url, folder)
    try:
        password = urlsplit(url).password
    except ValueError:
        password = None
    if password is not None:
        rule = "holds a password, which does not belong in this file"
        hint = "put the whole address into env:NAME, file:PATH or keyring:SERVICE/USER"
        raise section.refuse("url", rule, hint, hide=True)
    Address.parse(url)
    return url


def _allowed(section: Section) -> tuple[str, ...] | None:
    node = section.node("allow")
    section.done()
    if node is None:
        return None
    if not isinstance(node.value, list):
        raise section.refuse("allow", "must be a list of distributions", "for example [exchange-kernel-paper]")
    return tuple(_distribution(f"{section.path}.allow", item.value) for item in node.value)


def _distribution(field: str, value: object) -> str:
    if not isinstance(value, str) or not _DISTRIBUTION(value):
        raise ConfigError(field, value, "is no name of a distribution", "for example exchange-kernel-paper")
    return value


def _account(name: str, section: Section, folder: Path) -> AccountConfig:
    venue = section.text("venue")
    plugin = section.text("plugin", "")
    mode = section.choice("mode", MODES, "")
    config = section.node("config")
    secrets = section.section("secrets")
    limits = section.section("limits")
    drift = section.section("drift")
    admission = _uses(section, "admission", folder)
    dead_man = section.section("dead_man")
    if mode == OBSERVE and dead_man is not None:
        raise section.refuse("dead_man", "must not stand where nothing is sent (mode: observe)", "leave it out")
    section.done()
    return AccountConfig(
        name=name,
        venue=venue,
        mode=mode,
        config={} if config is None else _venue_config(config, section),
        secrets={} if secrets is None else _secrets(secrets, folder),
        limits=Limits() if limits is None else _limits(limits),
        drift=Drift() if drift is None else _drift(drift),
        plugin=_distribution(f"{section.path}.plugin", plugin) if plugin else "",
        admission=admission,
        dead_man=None if dead_man is None else _dead_man(dead_man),
    )


def _uses(section: Section, key: str, folder: Path) -> tuple[Use, ...]:
    """A list of what plugins bring: a name each, or a mapping with use, plugin, config and secrets."""
    node = section.node(key)
    if node is None:
        return ()
    if not isinstance(node.value, list):
        raise section.refuse(key, "must be a list", "for example [acme-risk]")
    path = f"{section.path}.{key}" if section.path else key
    found = [_use(each, f"{path}[{number}]", folder) for number, each in enumerate(node.value)]
    for number, use in enumerate(found):
        if any(each.name == use.name for each in found[:number]):
            raise ConfigError(f"{path}[{number}]", use.name, "stands there twice")
    return tuple(found)


def _use(node: Node, path: str, folder: Path) -> Use:
    if isinstance(node.value, str):
        return Use(identifier(path, node.value, ConfigError))
    section = Section(node, path)
    name, plugin = section.text("use"), section.text("plugin", "")
    config, secrets = section.node("config"), section.section("secrets")
    section.done()
    return Use(
        identifier(f"{path}.use", name, ConfigError),
        _distribution(f"{path}.plugin", plugin) if plugin else "",
        {} if config is None else _venue_config(config, section),
        {} if secrets is None else _secrets(secrets, folder),
    )


def _venue_config(node: Node, account: Section) -> dict[str, object]:
    section = Section(node, f"{account.path}.config")
    _refuse_secrets(section, f"write {account.path}.secrets.NAME: {FORMS}")
    plain = node.plain()
    assert isinstance(plain, dict)
    return plain


def _refuse_secrets(section: Section, hint: str) -> None:
    for key, node in section.nodes():
        if key.replace("_", "").replace("-", "").lower() in _SECRET_NAMES:
            raise section.refuse(key, "secrets do not belong in this file", hint, hide=True)
        if isinstance(node.value, dict):
            _refuse_secrets(Section(node, f"{section.path}.{key}"), hint)


def _secrets(section: Section, folder: Path) -> dict[str, Reference]:
    found = {}
    for key, node in section.nodes():
        if not isinstance(node.value, str) or not is_reference(node.value):
            rule = f"must be {FORMS}, never the secret itself"
            raise section.refuse(key, rule, "if it was the secret itself, treat it as leaked", hide=True)
        found[key] = Reference(node.value, folder)
    return found


def _limits(section: Section) -> Limits:
    def money(key: str) -> object:
        node = section.node(key)
        return None if node is None else amount(f"{section.path}.{key}", node.value, error=ConfigError)

    def count(key: str, default: int | None) -> int | None:
        node = section.node(key)
        if node is None:
            return default
        if type(node.value) is not int or node.value < 1:
            raise section.refuse(key, "must be a whole number of at least 1")
        return node.value

    period = count("order_period_ms", 1000)
    assert period is not None
    order, total = money("max_order_notional"), money("max_open_notional")
    limits = Limits(
        max_order_notional=order,  # type: ignore[arg-type]
        max_open_notional=total,  # type: ignore[arg-type]
        order_count=count("order_count", None),
        order_period_ms=period,
        symbols=_symbols(section),
    )
    section.done()
    return limits


def _symbols(section: Section) -> frozenset[str] | None:
    node = section.node("symbols")
    if node is None:
        return None
    if not isinstance(node.value, list):
        raise section.refuse("symbols", "must be a list of symbols", "for example [BTC/USD, ETH/USD]")
    return frozenset(identifier(f"{section.path}.symbols", item.value, ConfigError) for item in node.value)


def _dead_man(section: Section) -> DeadManPolicy:
    after, everything = section.node("after_s"), section.node("cancels_everything")
    if after is None:
        raise ConfigError(f"{section.path}.after_s", None, "is required: seconds without a sign of life", "write 60")
    if type(after.value) is not int or not 10 <= after.value <= 3_600:
        raise section.refuse("after_s", "must be a whole number of seconds from 10 to 3600")
    if everything is not None and type(everything.value) is not bool:
        raise section.refuse("cancels_everything", "must be true or false")
    at_stop = section.choice("at_stop", ("DISARM", "LEAVE"), "DISARM")
    section.done()
    allowed = everything is not None and everything.value is True
    return DeadManPolicy(after.value, allowed, cast('Literal["DISARM", "LEAVE"]', at_stop))


def _drift(section: Section) -> Drift:
    for key, later in LATER.items():
        policy = section.text(key, "")
        if policy in later:
            note = f"this release has {'REPORT and IGNORE' if key == 'foreign' else 'ACCEPT'}"
            raise Unsupported(f"{section.path}.{key} {policy}", note)
    foreign = section.choice("foreign", ("REPORT", "IGNORE"), "REPORT")
    ours = section.choice("ours", ("ACCEPT",), "ACCEPT")
    section.done()
    return Drift(cast('Literal["REPORT", "IGNORE"]', foreign), cast('Literal["ACCEPT"]', ours))
