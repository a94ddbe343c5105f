"""Finds the plugins that are installed, and the venues they bring.

No plugin can hurt another, or the process: each is checked against the core's version before it is imported, tried in a
child process, imported and asked alone; what is wrong with it is kept as its own error, and the rest goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points, version
from typing import TYPE_CHECKING, cast

from exchange_kernel.errors import ConfigError
from exchange_kernel.plugins.compat import CORE, canonical, needs
from exchange_kernel.plugins.interrogate import PluginFault, guarded, interrogate
from exchange_kernel.plugins.plugin import GROUP, Plugin, Status, origin_of
from exchange_kernel.plugins.policy import Policy
from exchange_kernel.plugins.probe import PATIENCE_S, try_out
from exchange_kernel.plugins.specs import AdmissionSpec, CommandSpec, HarnessSpec, SinkSpec, VenueSpec

if TYPE_CHECKING:
    from exchange_kernel.venue import VenueAdapter

VenueFactory = Callable[[], "VenueAdapter"]
"""Makes a new, unopened adapter. Raises ConfigError when its plugin turns out to be broken."""


@dataclass(frozen=True, slots=True)
class InstalledVenue:
    """A venue and the plugin it comes from. Calling it makes an adapter: see :data:`VenueFactory`."""

    spec: VenueSpec
    plugin: Plugin

    def __call__(self) -> VenueAdapter:
        # Imported late: it brings the venue contract and the whole schema.
        from exchange_kernel.plugins.honesty import shape

        try:
            adapter = guarded("", resolve(self.spec.factory))
            wrong = guarded("", lambda: shape(adapter))
        except PluginFault as fault:
            raise self._refused(str(fault)) from fault
        if wrong:
            raise self._refused("; ".join(f"{each.subject}: {each.text}" for each in wrong))
        return cast("VenueAdapter", adapter)

    def _refused(self, why: str) -> ConfigError:
        rule = f"the adapter of {self.plugin.distribution} cannot be made: {why}"
        return ConfigError("venue", self.spec.name, rule, "reinstall the plugin, or tell its author")


@dataclass(frozen=True, slots=True)
class InstalledPart:
    """An admission check or a sink, and the plugin it comes from. Calling it imports it and makes it.

    ``field``: where a configuration names it."""

    field: str
    spec: AdmissionSpec | SinkSpec
    plugin: Plugin

    def __call__(self, *arguments: object) -> object:
        """Raises ConfigError with what the plugin did wrong."""
        try:
            factory = cast("Callable[..., object]", resolve(self.spec.factory))
            return guarded("", lambda: factory(*arguments))
        except PluginFault as fault:
            rule = f"{self.spec.factory} of {self.plugin.distribution} cannot be made: {fault}"
            raise ConfigError(self.field, self.spec.name, rule, "repair its settings, or tell its author") from fault


def resolve(target: str) -> Callable[[], object]:
    """What ``package.module:Name`` names, imported. Raises PluginFault."""
    module, _, name = target.partition(":")
    deepest = sys.getrecursionlimit()
    try:
        held = guarded("", lambda: import_module(module))
    finally:
        # Some libraries raise it for the whole process when they are imported; then a reply that is nested deeply
        # enough overflows the stack of whoever reads it, and ends the process.
        sys.setrecursionlimit(deepest)
    found = guarded("", lambda: getattr(held, name))
    if not callable(found):
        raise PluginFault(f"{target} is no class")
    return cast("Callable[[], object]", found)


@dataclass(frozen=True, slots=True)
class Plugins:
    """Every plugin found, and the venues of those that are in order."""

    found: tuple[Plugin, ...]

    @property
    def venues(self) -> Mapping[str, InstalledVenue]:
        """The venues that any account may name."""
        sound = [plugin for plugin in self.found if plugin.status is Status.OK]
        return {spec.name: InstalledVenue(spec, plugin) for plugin in sound for spec in plugin.venues}

    @property
    def troubles(self) -> tuple[Plugin, ...]:
        """Plugins that were to be used and cannot be."""
        return tuple(each for each in self.found if each.status not in (Status.OK, Status.FOUND, Status.BLOCKED))

    def venue(self, name: str, distribution: str = "") -> InstalledVenue:
        """A venue by name, of that distribution if one is given, which decides between plugins that both claim it.

        Raises ConfigError that says what is installed, and what is broken."""
        if distribution:
            wanted = [each for each in self.found if canonical(each.distribution) == canonical(distribution)]
            for plugin in wanted:
                for spec in plugin.venues if plugin.usable else ():
                    if spec.name == name:
                        return InstalledVenue(spec, plugin)
            why = [f"{each.distribution} is {each.status}: {each.error}" for each in wanted if each.error]
            offered = [spec.name for each in wanted for spec in each.venues]
            hint = f"it offers {', '.join(offered)}" if offered else f"install {distribution}"
            raise ConfigError("venue", name, f"{distribution} does not offer it", "; ".join(why) or hint)
        found = self.venues.get(name)
        if found is not None:
            return found
        raise ConfigError("venue", name, "no plugin offers it", self._instead(name))

    def harness(self, venue: str, distribution: str = "") -> HarnessSpec:
        """How a venue is put to the conformance cases. Raises ConfigError."""
        plugin = self.venue(venue, distribution).plugin
        for harness in plugin.harnesses:
            if harness.venue == venue:
                return harness
        rule = f"{plugin.distribution} brings no harness for it"
        raise ConfigError("venue", venue, rule, "its author adds one with the hook exk_conformance")

    def admission(self, name: str, distribution: str = "", field: str = "admission") -> InstalledPart:
        """An admission check by name. Raises ConfigError when no plugin brings it, or several do and none is named."""
        return self._part(field, name, distribution, [(each, spec) for each in self.found for spec in each.admissions])

    def sink(self, name: str, distribution: str = "", field: str = "sinks") -> InstalledPart:
        """A sink of events by name. Raises as :meth:`admission`."""
        return self._part(field, name, distribution, [(each, spec) for each in self.found for spec in each.sinks])

    def command(self, name: str) -> tuple[Plugin, CommandSpec] | None:
        """The command of that name, if a plugin that is in order brings one."""
        found = [(each, spec) for each in self.found for spec in each.commands if each.status is Status.OK]
        return next(((each, spec) for each, spec in found if spec.name == name), None)

    def _part(
        self,
        field: str,
        name: str,
        distribution: str,
        brought: Sequence[tuple[Plugin, AdmissionSpec | SinkSpec]],
    ) -> InstalledPart:
        usable = [(each, spec) for each, spec in brought if each.usable]
        if distribution:
            usable = [row for row in usable if canonical(row[0].distribution) == canonical(distribution)]
        named = [InstalledPart(field, spec, plugin) for plugin, spec in usable if spec.name == name]
        if len(named) == 1:
            return named[0]
        if named:
            who = " and ".join(each.plugin.distribution for each in named)
            raise ConfigError(field, name, f"{who} both bring it", "say which with {use: NAME, plugin: DISTRIBUTION}")
        said = [f"{each.distribution} is {each.status}: {each.error}" for each in self.troubles]
        known = ", ".join(sorted({spec.name for _, spec in usable})) or "none"
        rule = f"{distribution or 'no plugin'} {'does not bring' if distribution else 'brings'} it"
        raise ConfigError(field, name, rule, "; ".join([*said, f"there are: {known}"]))

    def _instead(self, name: str) -> str:
        # Imported late: it brings the whole schema.
        from exchange_kernel.schema.fields import close_to

        said = [f"{each.distribution}: {each.error}" for each in self.found if any(s.name == name for s in each.venues)]
        said = said or [f"{each.distribution} is {each.status}: {each.error}" for each in self.found if each.error]
        venues = self.venues
        near = close_to(name, venues)
        if near:
            hint = f"did you mean {near}?"
        else:
            known = ", ".join(sorted(venues)) or "none"
            hint = f"venues installed: {known}; install the plugin, for example {CORE}-{name}"
        return "; ".join([*said, hint])


def scan(found: Iterable[EntryPoint] | None = None, policy: Policy | None = None) -> Plugins:
    """Every installed plugin (or those of ``found``), from its metadata alone: nothing of it is imported."""
    return Plugins(tuple(plugin for plugin, _ in scan_points(found, policy or Policy.of())))


def load(
    found: Iterable[EntryPoint] | None = None, *, policy: Policy | None = None, patience: float = PATIENCE_S
) -> Plugins:
    """Load every installed plugin (or those of ``found``) that ``policy`` lets in; by default the environment's policy.

    ``patience``: how long, in seconds, one plugin may take to be imported and to answer. Never raises for what a plugin
    does, except ConfigError where the policy is strict.
    """
    rules = policy or Policy.of()
    scanned = scan_points(found, rules)
    wanted = [(plugin, point) for plugin, point in scanned if plugin.status is Status.FOUND and point is not None]
    stopped = try_out([point for _, point in wanted], patience)
    loaded = {
        id(point): _refused(plugin, stopped[number]) if number in stopped else _load(plugin, point)
        for number, (plugin, point) in enumerate(wanted)
    }
    plugins = Plugins(tuple(_name_rivals([loaded.get(id(point), plugin) for plugin, point in scanned])))
    if rules.strict and plugins.troubles:
        bad = plugins.troubles[0]
        raise ConfigError("plugin", bad.name, f"{bad.distribution} is {bad.status}: {bad.error}", "repair or remove it")
    return plugins


def _load(plugin: Plugin, point: EntryPoint) -> Plugin:
    try:
        told = interrogate(point)
    except PluginFault as fault:
        return _refused(plugin, str(fault))
    return replace(
        plugin,
        status=Status.OK,
        hooks=told.hooks,
        venues=told.venues,
        harnesses=told.harnesses,
        admissions=told.admissions,
        sinks=told.sinks,
        checks=told.checks,
        commands=told.commands,
    )


def _refused(plugin: Plugin, error: str) -> Plugin:
    return replace(plugin, status=Status.BROKEN, error=error)


def scan_points(found: Iterable[EntryPoint] | None, policy: Policy) -> list[tuple[Plugin, EntryPoint | None]]:
    """What :func:`scan` finds, each with its entry point, where that can be read."""
    points, damaged = _installed() if found is None else (list(found), [])
    core = version(CORE) if points else ""
    rows: list[tuple[Plugin, EntryPoint | None]] = [(_look(point, policy, core), point) for point in points]
    rows += [(plugin, None) for plugin in damaged]
    # In one order on every machine.
    return sorted(rows, key=lambda row: (row[0].name, row[0].distribution, row[0].module))


def _look(point: EntryPoint, policy: Policy, core: str) -> Plugin:
    """What the metadata say about a plugin, and whether that is enough to refuse it."""
    where = origin_of(point.dist)
    asks = needs(where.requires, core)
    module = point.value.partition(":")[0].strip()
    warnings = []
    if point.dist is not None and not asks.stated:
        warnings.append(f"its distribution does not require {CORE}: nothing keeps it from a core it cannot work with")
    elif point.dist is not None and not asks.bounded and not asks.problem:
        warnings.append(f"its requirement on {CORE} has no upper bound: it claims to work with every later core")
    refusal = policy.refusal(point.name, where.distribution)
    status = Status.BLOCKED if refusal else Status.INCOMPATIBLE if asks.problem else Status.FOUND
    return Plugin(
        point.name,
        where.distribution,
        where.version,
        module,
        status,
        error=refusal or asks.problem,
        needs=asks.spec,
        origin=where.origin,
        editable=where.editable,
        warnings=tuple(warnings),
    )


def _installed() -> tuple[list[EntryPoint], list[Plugin]]:
    """The entry points of our group, and the distributions whose list of them is damaged."""
    try:
        return list(entry_points(group=GROUP)), []
    except Exception:  # noqa: BLE001 - one damaged distribution, of whatever kind, makes all of them unreadable at once
        return _one_by_one()


def _one_by_one() -> tuple[list[EntryPoint], list[Plugin]]:
    points: list[EntryPoint] = []
    damaged: list[Plugin] = []
    seen: set[str] = set()
    for dist in distributions():
        where = origin_of(dist)
        if canonical(where.distribution) in seen:
            continue
        seen.add(canonical(where.distribution))
        try:
            points += [point for point in dist.entry_points if point.group == GROUP]
        except Exception as error:  # noqa: BLE001 - the same, found
            if _claims(dist):
                text = f"its entry_points.txt cannot be read: {type(error).__name__}: {error}"
                damaged.append(Plugin("?", where.distribution, where.version, "", Status.BROKEN, text))
    return points, damaged


def _claims(dist: Distribution) -> bool:
    try:
        return f"[{GROUP}]" in (dist.read_text("entry_points.txt") or "")
    except Exception:  # noqa: BLE001 - what cannot be read at all claims nothing
        return False


def _name_rivals(plugins: Sequence[Plugin]) -> Iterator[Plugin]:
    """Plugins that claim the same are all refused: being installed is no right to another's accounts."""
    for plugin in plugins:
        rival = next(_claims_against(plugin, plugins), "") if plugin.status is Status.OK else ""
        yield replace(plugin, status=Status.RIVAL, error=rival) if rival else plugin


def _claims_against(plugin: Plugin, plugins: Sequence[Plugin]) -> Iterator[str]:
    advice = f"uninstall one of them, or write plugin: {plugin.distribution} into the accounts that mean this one"
    for other in plugins:
        if other is plugin or not other.usable:
            continue
        for spec in plugin.venues:
            if any(spec.name == each.name for each in other.venues):
                yield f"venue {spec.name} is claimed by {other.distribution} ({other.name}) too; {advice}"
        if other.name == plugin.name:
            yield f"{other.distribution} has a plugin named {plugin.name} too; {advice}"
