"""An account's configuration at a paper venue, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from random import Random
from typing import Any

from exchange_kernel.errors import ConfigError
from exchange_kernel.schema import canonical
from exchange_kernel.schema.numbers import amount
from exchange_kernel.venue import Context
from exchange_kernel_paper.exchange import Exchange, House, LoopClock, Refusal, SettingError, Settings
from exchange_kernel_paper.link import InProcessLink, Link
from exchange_kernel_paper.registry import EXCHANGES, Registry
from exchange_kernel_paper.tcp import TcpLink

DEFAULT_SECRET = "paper"
_SETTINGS = frozenset(each.name for each in fields(Settings))


@dataclass(frozen=True, slots=True)
class PaperConfig:
    """What an account says about its paper venue.

    ``venue``: name of the exchange; accounts with the same name in one process meet there. ``account``: name of the
    account at it. ``connect``: ``host:port`` of an exchange in another process; everything below then belongs to that
    process. ``balances``: what a new account starts with. ``house``: does the exchange quote its markets by itself,
    with ``seed`` and a random walk every ``walk_ms`` (0: no walk)? ``settings``: the exchange's own
    (:class:`Settings`). ``registry``: where the exchange is looked for and kept.
    """

    venue: str
    account: str
    connect: str | None = None
    timeout_ms: int = 10_000
    balances: Mapping[str, str] = field(default_factory=dict)
    house: bool = True
    seed: int = 1
    walk_ms: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    registry: Registry = EXCHANGES

    @classmethod
    def of(cls, ctx: Context) -> PaperConfig:
        """From an account's configuration. Raises ConfigError with the key, the value and the rule."""
        own = {each.name for each in fields(cls)} - {"settings"}
        given: dict[str, Any] = {"venue": "paper", "account": ctx.account, "settings": {}}
        for key, value in ctx.config.items():
            if key in own:
                given[key] = value
            elif key in _SETTINGS:
                given["settings"][key] = value
            else:
                known = ", ".join(sorted(own | _SETTINGS))
                raise ConfigError(key, value, "is no setting of a paper account", f"there are {known}")
        config = cls(**given)
        config._check()
        return config

    def link(self, ctx: Context) -> Link:
        """Reach the exchange, making it if it is to live in this process. Raises ConfigError."""
        if self.connect is not None:
            host, _, port = self.connect.rpartition(":")
            return TcpLink(host, int(port), self.timeout_ms / 1000)
        exchange = self.registry.get(self.venue)
        if exchange is None:
            exchange = self._make(ctx)
        elif self.settings and self._settings(self.settings) != exchange.settings:
            rule = f"exchange {self.venue} runs with other settings"
            raise ConfigError("settings", dict(self.settings), rule, "give them once, or use another venue name")
        secret = ctx.secrets.get("secret", DEFAULT_SECRET)
        try:
            exchange.open_account(self.account, secret, self.balances)
        except Refusal as refusal:
            raise ConfigError("balances", self.balances, refusal.message) from None
        return InProcessLink(exchange, self.timeout_ms)

    def _make(self, ctx: Context) -> Exchange:
        settings = self._settings(self.settings)
        exchange = Exchange(self.venue, LoopClock(ctx.clock), settings, rng=Random(self.seed))
        if self.house:
            house = House(exchange, Random(self.seed))
            house.open()
            if self.walk_ms:
                house.walk(self.walk_ms)
        return self.registry.add(exchange)

    @staticmethod
    def _settings(given: Mapping[str, Any]) -> Settings:
        try:
            return Settings.of(given)
        except SettingError as error:
            raise ConfigError(error.name, error.value, error.rule) from None

    def _check(self) -> None:
        for key in ("venue", "account"):
            value = getattr(self, key)
            if not isinstance(value, str) or not value or not value.isprintable() or ":" in value:
                raise ConfigError(key, value, "must be printable text without a colon")
        for key in ("timeout_ms", "seed", "walk_ms"):
            value = getattr(self, key)
            if type(value) is not int or value < 0:
                raise ConfigError(key, value, "must be an int of at least 0")
        if not isinstance(self.house, bool):
            raise ConfigError("house", self.house, "must be true or false")
        if not isinstance(self.balances, Mapping):
            raise ConfigError("balances", self.balances, "must map assets to amounts")
        amounts = {
            asset: amount(f"balances.{asset}", each, zero=True, error=ConfigError)
            for asset, each in self.balances.items()
        }
        object.__setattr__(self, "balances", {asset: canonical(each) for asset, each in amounts.items()})
        if self.connect is not None:
            host, _, port = str(self.connect).rpartition(":")
            if not host or not port.isdigit():
                raise ConfigError("connect", self.connect, "must be host:port")
            for key, value in (("balances", self.balances), ("settings", self.settings)):
                if value:
                    raise ConfigError(key, dict(value), "belongs to the process named by connect")
