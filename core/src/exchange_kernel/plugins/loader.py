"""Finds the plugins that are installed, and the venues they bring.

A plugin registers a light module under the entry-point group ``exchange_kernel``. That module has ``VENUES``, a mapping
of venue names to adapter classes by dotted name (``"package.module:Class"``), which are imported when an account first
uses them. A plugin that cannot be imported, or says something else, is listed with its error, and the rest goes on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from exchange_kernel.errors import ConfigError
from exchange_kernel.schema.fields import close_to
from exchange_kernel.venue import VenueAdapter

GROUP = "exchange_kernel"

VenueFactory = Callable[[], VenueAdapter]
"""Makes a new, unopened adapter. Raises ConfigError when its plugin turns out to be broken."""

_VENUE = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII).fullmatch
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", re.ASCII).fullmatch


@dataclass(frozen=True, slots=True)
class Plugin:
    """One entry point: what it brings, or in ``error`` why it brings nothing."""

    name: str
    distribution: str
    version: str
    venues: Mapping[str, str]
    error: str = ""


@dataclass(frozen=True, slots=True)
class Plugins:
    """Every plugin found, and the venues of those that are in order."""

    found: tuple[Plugin, ...]
    venues: Mapping[str, VenueFactory]

    def venue(self, name: str) -> VenueFactory:
        """The factory of a venue. Raises ConfigError that says what is installed, and what is broken."""
        factory = self.venues.get(name)
        if factory is not None:
            return factory
        claims = [f"{plugin.distribution}: {plugin.error}" for plugin in self.found if name in plugin.venues]
        broken = [f"{plugin.distribution} is broken: {plugin.error}" for plugin in self.found if plugin.error]
        near = close_to(name, self.venues)
        if near:
            hint = f"did you mean {near}?"
        else:
            known = ", ".join(sorted(self.venues)) or "none"
            hint = f"venues installed: {known}; install the plugin, for example exchange-kernel-{name}"
        raise ConfigError("venue", name, "no plugin offers it", "; ".join([*(claims or broken), hint]))


def load(found: Iterable[EntryPoint] | None = None) -> Plugins:
    """Look at every installed plugin (or at ``found``). Never raises for what a plugin does."""
    points = entry_points(group=GROUP) if found is None else found
    plugins = _refuse_rivals([_read(point) for point in sorted(points, key=_order)])
    sound = [plugin for plugin in plugins if not plugin.error]
    venues = {venue: _factory(plugin, venue, target) for plugin in sound for venue, target in plugin.venues.items()}
    return Plugins(tuple(plugins), venues)


def _order(point: EntryPoint) -> tuple[str, str]:
    return (point.name, _distribution(point)[0])


def _distribution(point: EntryPoint) -> tuple[str, str]:
    return ("unknown", "") if point.dist is None else (point.dist.name, point.dist.version)


def _read(point: EntryPoint) -> Plugin:
    name, version = _distribution(point)
    try:
        venues = _venues(point.load())
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever a plugin raises, SystemExit included, is its own trouble
        return Plugin(point.name, name, version, {}, f"{type(error).__name__}: {error}")
    return Plugin(point.name, name, version, venues)


def _venues(module: object) -> dict[str, str]:
    venues = getattr(module, "VENUES", None)
    if not isinstance(venues, Mapping):
        raise TypeError("VENUES must map venue names to adapter classes")
    for name, target in venues.items():
        if not isinstance(name, str) or not _VENUE(name):
            raise ValueError(f"VENUES: {name!r} is no venue name: lower-case letters, digits, _ and -")
        if not isinstance(target, str) or not _TARGET(target):
            raise ValueError(f"VENUES[{name!r}] must be 'package.module:Class'")
    return dict(venues)


def _refuse_rivals(plugins: list[Plugin]) -> list[Plugin]:
    """Two plugins that claim one venue are both refused: being installed is no right to another's accounts."""
    claims: dict[str, list[Plugin]] = {}
    for plugin in plugins:
        for venue in plugin.venues:
            claims.setdefault(venue, []).append(plugin)
    out = []
    for plugin in plugins:
        rivals = [
            f"venue {venue} is claimed by {rival.distribution} too"
            for venue in plugin.venues
            for rival in claims[venue]
            if rival is not plugin
        ]
        error = f"{rivals[0]}; uninstall one of them" if rivals else plugin.error
        out.append(replace(plugin, error=error))
    return out


def _factory(plugin: Plugin, venue: str, target: str) -> VenueFactory:
    def make() -> VenueAdapter:
        module, _, name = target.partition(":")
        try:
            made = getattr(import_module(module), name)()
        except Exception as error:
            rule = f"the adapter of {plugin.distribution} cannot be made: {type(error).__name__}: {error}"
            raise ConfigError("venue", venue, rule, "reinstall the plugin, or tell its author") from error
        return cast("VenueAdapter", made)

    return make
