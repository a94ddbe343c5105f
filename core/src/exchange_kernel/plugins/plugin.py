"""What is known about one installed plugin."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import Distribution

from exchange_kernel.plugins.specs import AdmissionSpec, CommandSpec, HarnessSpec, HealthSpec, SinkSpec, VenueSpec

GROUP = "exchange_kernel"
"""The entry-point group."""


class Status(StrEnum):
    """Whether a plugin can be used."""

    OK = "ok"
    FOUND = "found"
    """Installed, and not loaded because nobody asked for it."""
    BLOCKED = "blocked"
    """Installed, and not allowed to be loaded."""
    INCOMPATIBLE = "incompatible"
    """Made for another core."""
    BROKEN = "broken"
    RIVAL = "rival"
    """In order by itself, and claims what another plugin claims."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """One entry point: where it comes from, what it brings, and in ``error`` why it cannot be used.

    ``module``: what the entry point names. ``needs``: the versions of the core that its distribution asks for.
    ``origin``: ``index`` or an address, as its installer wrote it down; ``editable``: does it run from a source tree?
    ``warnings``: what its author should see to.
    """

    name: str
    distribution: str
    version: str
    module: str
    status: Status
    error: str = ""
    needs: str = ""
    origin: str = ""
    editable: bool = False
    hooks: tuple[str, ...] = ()
    venues: tuple[VenueSpec, ...] = ()
    harnesses: tuple[HarnessSpec, ...] = ()
    admissions: tuple[AdmissionSpec, ...] = ()
    sinks: tuple[SinkSpec, ...] = ()
    checks: tuple[HealthSpec, ...] = ()
    commands: tuple[CommandSpec, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Can its venues be used, at least by accounts that name its distribution?"""
        return self.status in (Status.OK, Status.RIVAL)

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages its code is in, by dotted name."""
        factories = [spec.factory for spec in self.venues]
        factories += [spec.factory for spec in self.admissions]
        factories += [spec.factory for spec in self.sinks]
        factories += [spec.factory for spec in self.checks]
        modules = [self.module, *(factory.partition(":")[0] for factory in factories)]
        return tuple(dict.fromkeys(module.rpartition(".")[0] or module for module in modules))


@dataclass(frozen=True, slots=True)
class Origin:
    """What the metadata of a distribution say, with blanks where they cannot be read."""

    distribution: str = "unknown"
    version: str = ""
    requires: tuple[str, ...] = ()
    origin: str = ""
    editable: bool = False


def origin_of(dist: Distribution | None) -> Origin:
    """Read a distribution's metadata. Never raises for what they hold."""
    if dist is None:
        return Origin()
    try:
        fields = dist.metadata
        name, version = str(fields["Name"] or "unknown"), str(fields["Version"] or "")
        requires = tuple(fields.get_all("Requires-Dist") or dist.requires or ())
    except Exception:  # noqa: BLE001 - whatever else a damaged installation raises, it is a plugin without a name
        return Origin(origin="unreadable")
    source, editable = _source(dist)
    return Origin(name, version, requires, source, editable)


def _source(dist: Distribution) -> tuple[str, bool]:
    """Where it was installed from (PEP 610), and whether it is editable."""
    try:
        text = dist.read_text("direct_url.json")
        written = None if text is None else json.loads(text)
    except (OSError, ValueError):
        return "unreadable", False
    if written is None:
        return "index", False
    url = written.get("url") if isinstance(written, dict) else None
    folder = written.get("dir_info") if isinstance(written, dict) else None
    editable = isinstance(folder, dict) and folder.get("editable") is True
    return url if isinstance(url, str) else "unreadable", editable
