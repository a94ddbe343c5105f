"""Plugins: what other distributions bring, found by entry point, each isolated from the others."""

from __future__ import annotations

from exchange_kernel.plugins.hookspecs import HOOKS, hookimpl
from exchange_kernel.plugins.loader import InstalledVenue, Plugins, VenueFactory, load, scan
from exchange_kernel.plugins.plugin import GROUP, Plugin, Status
from exchange_kernel.plugins.policy import Policy
from exchange_kernel.plugins.specs import API, Finding, HarnessSpec, Level, VenueSpec

__all__ = [
    "API",
    "GROUP",
    "HOOKS",
    "Finding",
    "HarnessSpec",
    "InstalledVenue",
    "Level",
    "Plugin",
    "Plugins",
    "Policy",
    "Status",
    "VenueFactory",
    "VenueSpec",
    "hookimpl",
    "load",
    "scan",
]
