"""What a configuration says, checked: plain frozen data."""

# Dataclasses and not pydantic: its import alone would take a third of what `exk get orders` may take.
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from exchange_kernel.config.reference import Reference
from exchange_kernel.errors import ConfigError
from exchange_kernel.models import DeadManPolicy, Limits
from exchange_kernel.orders.observe import OBSERVE, observed
from exchange_kernel.schema.fields import close_to


@dataclass(frozen=True, slots=True)
class Drift:
    """What is done when the venue differs from the intents for a reason that is not ours.

    ``foreign``: orders of others on the account: REPORT tells about each with an event, IGNORE does not. ``ours``:
    orders of ours cancelled from outside: ACCEPT takes that as their end.
    """

    foreign: Literal["REPORT", "IGNORE"] = "REPORT"
    ours: Literal["ACCEPT"] = "ACCEPT"


@dataclass(frozen=True, slots=True)
class Use:
    """Something that a plugin brings, by name: an admission check or a sink of events. ``plugin``: the distribution
    that is meant, "" where only one brings it. ``config`` and ``secrets`` go to it as they stand."""

    name: str
    plugin: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, Reference] = field(default_factory=dict)

    def resolve_secrets(self, path: str) -> dict[str, str]:
        """Its secrets. Raises ConfigError for the first that is missing; ``path``: where it stands in the file."""
        return {name: reference.resolve(f"{path}.secrets.{name}") for name, reference in self.secrets.items()}


@dataclass(frozen=True, slots=True)
class AccountConfig:
    """One account. ``mode``: what the venue must say it is (``paper``, ``testnet``, ``fork``, ``live``), "" for any; or
    ``observe``: whatever it is, it is only looked at.

    ``plugin``: the distribution that its venue must come from, "" where only one offers it. ``config`` belongs to the
    venue's plugin and is passed on as it stands: text, ints, bools, None, lists, mappings. ``admission``: the checks
    that every order of the account must pass. ``dead_man``: the venue cancels its orders where this stops working.
    """

    name: str
    venue: str
    mode: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, Reference] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    drift: Drift = field(default_factory=Drift)
    plugin: str = ""
    admission: tuple[Use, ...] = ()
    dead_man: DeadManPolicy | None = None

    @property
    def observed(self) -> bool:
        """Is it only looked at?"""
        return self.mode == OBSERVE

    def may_trade(self) -> None:
        """Raises AdmissionDenied for an account that is only looked at."""
        if self.observed:
            raise observed(self.name)

    def resolve_secrets(self) -> dict[str, str]:
        """The account's own secrets. Raises ConfigError for the first that is missing."""
        return {
            name: reference.resolve(f"accounts.{self.name}.secrets.{name}") for name, reference in self.secrets.items()
        }


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration. ``store_url``: address of the store; ``state_dir``: where local files are kept;
    ``allowed_plugins``: distributions whose plugins may be loaded, None for all; ``sinks``: where the events of every
    account are sent; ``redis``: what several processes share beside the store."""

    accounts: Mapping[str, AccountConfig]
    store: str | Reference = field(repr=False)
    state_dir: Path
    path: Path
    allowed_plugins: tuple[str, ...] | None = None
    sinks: tuple[Use, ...] = ()
    redis: str | Reference | None = field(default=None, repr=False)

    @property
    def redis_url(self) -> str | None:
        """The address of Redis, if any; may hold a password. Raises ConfigError when it cannot be resolved."""
        return self.redis if self.redis is None or isinstance(self.redis, str) else self.redis.resolve("redis.url")

    @property
    def store_url(self) -> str:
        """The store's address for SQLAlchemy; may hold a password. Raises ConfigError when it cannot be resolved."""
        return self.store if isinstance(self.store, str) else self.store.resolve("store.url")

    def account(self, name: str) -> AccountConfig:
        """The account of that name. Raises ConfigError with the known ones."""
        found = self.accounts.get(name)
        if found is None:
            near = close_to(name, self.accounts)
            hint = f"did you mean {near}?" if near else f"there are {', '.join(sorted(self.accounts))}"
            raise ConfigError("account", name, f"is not in {self.path.name}", hint)
        return found
