"""Plugins: what other distributions bring, found by entry point, each isolated from the others."""

from __future__ import annotations

from exchange_kernel.plugins.loader import GROUP, Plugin, Plugins, VenueFactory, load

__all__ = ["GROUP", "Plugin", "Plugins", "VenueFactory", "load"]
