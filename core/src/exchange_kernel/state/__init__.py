"""Desired state, durable, and actual state, a cache. SQL is imported when its store is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exchange_kernel.state.memory import MemoryActualStore, MemoryIntentStore
from exchange_kernel.state.stores import ActualStateStore, IntentStateStore

if TYPE_CHECKING:
    from exchange_kernel.state.sql import SqlIntentStore

__all__ = ["ActualStateStore", "IntentStateStore", "MemoryActualStore", "MemoryIntentStore", "SqlIntentStore"]


def __getattr__(name: str) -> object:
    if name == "SqlIntentStore":
        from exchange_kernel.state.sql import SqlIntentStore

        return SqlIntentStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
