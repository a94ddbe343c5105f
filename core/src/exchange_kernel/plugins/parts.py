"""What a configuration asks plugins for besides venues, made: admission checks and sinks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from exchange_kernel.errors import ConfigError
from exchange_kernel.orders.admission import Admission, AdmissionCheck
from exchange_kernel.plugins.loader import InstalledPart, Plugins
from exchange_kernel.reconcile.forward import EventSink


class Wanted(Protocol):
    """A part as a configuration names it."""

    @property
    def name(self) -> str: ...
    @property
    def plugin(self) -> str: ...
    @property
    def config(self) -> Mapping[str, Any]: ...
    @property
    def secrets(self) -> Mapping[str, object]: ...


def find_checks(plugins: Plugins, field: str, wanted: Sequence[Wanted]) -> list[InstalledPart]:
    """The admission checks that an account names, not imported yet. Raises ConfigError."""
    return [plugins.admission(each.name, each.plugin, field) for each in wanted]


def make_admission(plugins: Plugins, field: str, wanted: Sequence[Wanted]) -> Admission:
    """An account's checks. Raises ConfigError: no account runs without a check that its desk asked for."""
    checks = []
    for each, part in zip(wanted, find_checks(plugins, field, wanted), strict=True):
        if each.secrets:
            raise ConfigError(field, each.name, "takes no secrets", "an admission check does no I/O")
        made = part(dict(each.config))
        if not callable(made):
            raise ConfigError(field, each.name, f"{part.spec.factory} made no callable", "tell its author")
        checks.append((each.name, cast("AdmissionCheck", made)))
    return Admission(checks)


def make_sink(part: InstalledPart, config: Mapping[str, Any], secrets: Mapping[str, str]) -> EventSink:
    """Raises ConfigError."""
    made = part(dict(config), dict(secrets))
    if not isinstance(made, EventSink):
        raise ConfigError(part.field, part.spec.name, f"{part.spec.factory} made no sink", "tell its author")
    return made
