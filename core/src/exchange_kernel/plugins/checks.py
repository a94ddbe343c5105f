"""What plugins say about their own surroundings while accounts run: ``exk_health_checks``."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Set
from typing import cast

from exchange_kernel.base import ComponentHealth
from exchange_kernel.plugins.interrogate import PluginFault, told
from exchange_kernel.plugins.loader import Plugins, resolve
from exchange_kernel.plugins.plugin import Plugin
from exchange_kernel.plugins.specs import HealthSpec

PATIENCE_S = 2.0

Check = Callable[[], Awaitable[str]]


class Checks:
    """The health checks of the plugins, each made once, when it is first asked."""

    def __init__(self, plugins: Plugins) -> None:
        self._plugins = plugins
        self._made: dict[tuple[str, str], Check | str] = {}

    async def ask(self, venues: Set[str], now: int) -> dict[str, dict[str, ComponentHealth]]:
        """Every check of the plugins that offer these venues: by venue, by name. ``now``: ms UTC."""
        wanted = [
            (venue.name, plugin, spec)
            for plugin in self._plugins.found
            if plugin.usable
            for venue in plugin.venues
            if venue.name in venues
            for spec in plugin.checks
        ]
        found = await asyncio.gather(*(self._one(plugin, spec) for _, plugin, spec in wanted))
        by_venue: dict[str, dict[str, ComponentHealth]] = {}
        for (venue, _, spec), text in zip(wanted, found, strict=True):
            health = ComponentHealth(not text, text, now if text else 0)
            by_venue.setdefault(venue, {})[f"check {spec.name}"] = health
        return by_venue

    async def _one(self, plugin: Plugin, spec: HealthSpec) -> str:
        key = (plugin.distribution, spec.name)
        if key not in self._made:
            self._made[key] = _make(spec)
        check = self._made[key]
        if isinstance(check, str):
            return check
        try:
            answer = check()
            if not inspect.isawaitable(answer):
                return f"{spec.factory} is no asynchronous check: it answered {type(answer).__name__}"
            async with asyncio.timeout(PATIENCE_S):
                text: object = await answer
        except TimeoutError:
            return f"no answer in {PATIENCE_S:g} s"
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin's check: whatever it raises is told
            return told(error)
        return text[:400] if isinstance(text, str) else f"it answered {type(text).__name__}, and must answer text"


def _make(spec: HealthSpec) -> Check | str:
    """The check, or why there is none."""
    try:
        made = resolve(spec.factory)()
    except PluginFault as fault:
        return str(fault)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin's check: whatever it raises is told
        return told(error)
    return cast("Check", made) if callable(made) else f"{spec.factory} made no callable"
