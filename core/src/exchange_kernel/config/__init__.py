"""The configuration file: which accounts there are, at which venues, with which limits, and where the truth is kept."""

from __future__ import annotations

from exchange_kernel.config.load import DEFAULT_PATH, load, parse
from exchange_kernel.config.reference import Reference
from exchange_kernel.config.settings import AccountConfig, Config, Drift, Use

__all__ = ["DEFAULT_PATH", "AccountConfig", "Config", "Drift", "Reference", "Use", "load", "parse"]
