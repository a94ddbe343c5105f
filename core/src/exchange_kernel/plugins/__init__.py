"""Plugins: what other distributions bring, found by entry point, each isolated from the others."""

from __future__ import annotations

from exchange_kernel.plugins.hookspecs import HOOKS, hookimpl
from exchange_kernel.plugins.loader import InstalledPart, InstalledVenue, Plugins, VenueFactory, load, scan
from exchange_kernel.plugins.plugin import GROUP, Plugin, Status
from exchange_kernel.plugins.policy import Policy
from exchange_kernel.plugins.specs import (
    API,
    AdmissionSpec,
    CommandSpec,
    Finding,
    HarnessSpec,
    HealthSpec,
    Level,
    SinkSpec,
    VenueSpec,
)

__all__ = [
    "API",
    "GROUP",
    "HOOKS",
    "AdmissionSpec",
    "CommandSpec",
    "Finding",
    "HarnessSpec",
    "HealthSpec",
    "InstalledPart",
    "InstalledVenue",
    "Level",
    "Plugin",
    "Plugins",
    "Policy",
    "SinkSpec",
    "Status",
    "VenueFactory",
    "VenueSpec",
    "hookimpl",
    "load",
    "scan",
]
