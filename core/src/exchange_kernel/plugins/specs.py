"""What plugins answer: venues and what else they bring, as plain frozen data that is checked when it is made."""

# Dataclasses and no structs: this module is imported by every plugin's entry module, which must stay light.
from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from exchange_kernel.errors import InvalidMetadata

__all__ = [
    "API",
    "AdmissionSpec",
    "CommandSpec",
    "Finding",
    "HarnessSpec",
    "HealthSpec",
    "Level",
    "SinkSpec",
    "VenueSpec",
    "check_target",
]

API = (1, 0)
"""The venue contract of this release: a plugin made for the same major and no later minor version can be used."""

_VENUE = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII).fullmatch
_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII).fullmatch
_KINDS = ("cex", "dex", "sim")


def check_target(field: str, target: object) -> None:
    """Is it ``package.module:Name``? Raises InvalidMetadata."""
    if not isinstance(target, str) or not _TARGET(target):
        raise InvalidMetadata(field, target, "must be 'package.module:Class'", "name a class that is imported later")


def _check_venue(field: str, name: object, what: str = "venue name") -> None:
    if not isinstance(name, str) or not _VENUE(name):
        rule = f"is no {what}: a lower-case letter, then up to 31 lower-case letters, digits, _ and -"
        raise InvalidMetadata(field, name, rule)


def _check_line(field: str, text: object) -> None:
    if not isinstance(text, str) or not text.strip() or not text.isprintable():
        raise InvalidMetadata(field, text, "must be a line of text")


@dataclass(frozen=True, slots=True)
class VenueSpec:
    """One kind of venue that a plugin offers.

    ``name``: what accounts say in ``venue:``. ``title``: for people. ``kind``: a central exchange (cex), a chain's
    (dex), or none that is real (sim). ``factory``: the adapter's class as ``"package.module:Class"``, called without
    arguments; it is imported when an account first uses it. ``config``: the class that describes the settings of an
    account, in the same form, or None; only tools import it. ``api``: version of the venue contract (:data:`API`) that
    the adapter was written for. ``docs_url``: where its page is, or "". Raises InvalidMetadata.
    """

    name: str
    title: str
    kind: Literal["cex", "dex", "sim"]
    factory: str
    config: str | None = None
    api: tuple[int, int] = (1, 0)
    docs_url: str = ""

    def __post_init__(self) -> None:
        _check_venue("name", self.name)
        _check_line("title", self.title)
        if self.kind not in _KINDS:
            raise InvalidMetadata("kind", self.kind, f"must be one of {', '.join(_KINDS)}")
        check_target("factory", self.factory)
        if self.config is not None:
            check_target("config", self.config)
        if (
            not isinstance(self.api, tuple)
            or len(self.api) != 2
            or not all(type(n) is int and n >= 0 for n in self.api)
        ):
            raise InvalidMetadata("api", self.api, "must be two whole numbers, major and minor", f"for example {API}")
        if not isinstance(self.docs_url, str) or (
            self.docs_url and not self.docs_url.startswith(("https://", "http://"))
        ):
            raise InvalidMetadata("docs_url", self.docs_url, "must be an http address, or empty")


@dataclass(frozen=True, slots=True)
class HarnessSpec:
    """How one venue of the same plugin is put to the conformance cases: ``factory`` is the harness's class."""

    venue: str
    factory: str

    def __post_init__(self) -> None:
        _check_venue("venue", self.venue)
        check_target("factory", self.factory)


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """``exk NAME``: what the plugin adds to the shell. ``name``: a venue of the plugin or the plugin itself, so that no
    command can stand in for another's. ``title``: what it does, in a line. ``factory``: the ``click`` command or group,
    as ``"package.module:name"``; it is imported when it is used."""

    name: str
    title: str
    factory: str

    def __post_init__(self) -> None:
        _check_venue("name", self.name, "name of a command")
        _check_line("title", self.title)
        check_target("factory", self.factory)


@dataclass(frozen=True, slots=True)
class AdmissionSpec:
    """A check that accounts may name under ``admission:``. ``factory``: a callable as ``"package.module:Name"`` that
    takes the settings (a mapping) and returns an :class:`~exchange_kernel.orders.admission.AdmissionCheck`."""

    name: str
    title: str
    factory: str

    def __post_init__(self) -> None:
        _check_venue("name", self.name, "name of an admission check")
        _check_line("title", self.title)
        check_target("factory", self.factory)


@dataclass(frozen=True, slots=True)
class SinkSpec:
    """Where events can be sent, as a configuration names it under ``sinks:``. ``factory``: a callable as
    ``"package.module:Name"`` that takes settings and secrets (mappings) and returns an
    :class:`~exchange_kernel.reconcile.forward.EventSink`."""

    name: str
    title: str
    factory: str

    def __post_init__(self) -> None:
        _check_venue("name", self.name, "name of a sink")
        _check_line("title", self.title)
        check_target("factory", self.factory)


@dataclass(frozen=True, slots=True)
class HealthSpec:
    """Something that can be unwell: a component of every account at this plugin's venues. ``factory``: a callable as
    ``"package.module:Name"`` without arguments that returns an asynchronous callable without arguments, which returns
    "" when all is well and else what is wrong. Asked at every ``health_check()``, for two seconds at most."""

    name: str
    factory: str

    def __post_init__(self) -> None:
        _check_venue("name", self.name, "name of a health check")
        check_target("factory", self.factory)


class Level(StrEnum):
    """How much a finding matters. A FAILURE makes ``exk plugins doctor`` exit with 1."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was looked at: ``subject`` in a word or two, ``text``: what was found, ``hint``: what to do."""

    level: Level
    subject: str
    text: str
    hint: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.level, Level):
            raise InvalidMetadata("level", self.level, f"must be one of {', '.join(Level)}")
        for field in ("subject", "text", "hint"):
            if not isinstance(getattr(self, field), str):
                raise InvalidMetadata(field, getattr(self, field), "must be text")
